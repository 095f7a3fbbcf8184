//! The one table of error codes: what we tell a peer whose request cannot be served (spec 3.5).
//!
//! A refusal is a value: the connection goes on. Codes are free text in the current spec and nobody may act on
//! them (C-22), so each comes with a cause and a cure in words, for our logs and pages and for the peer's operator.
//!
//! `docs/error-codes.md` is made from [`TABLES`] by `cargo xtask docs`.

use core::fmt;

use crate::types::Str0_255;

/// The codes of one message, as data.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The field that carries them, such as `SubmitShares.Error.error_code`.
    pub field: &'static str,
    /// Its codes, in the order of the enum.
    pub rows: &'static [Row],
}

/// One code, as data.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The code that we send.
    pub code: &'static str,
    /// Other spellings that are recognised.
    pub aliases: &'static [&'static str],
    /// Why the request was refused, as a sentence.
    pub cause: &'static str,
    /// What its sender can do, as a sentence.
    pub cure: &'static str,
}

/// One enum a message family. A row is `Variant "code" "cause" "cure"`, with other spellings seen after `or`.
macro_rules! refusals {
    ($($(#[$doc:meta])* $Family:ident in $field:literal { $($V:ident $code:literal $(or $alias:literal)* $cause:literal $cure:literal)+ })+) => {
        /// Every code that we send or recognise, one table a message.
        pub const TABLES: &[Table] = &[$(Table { field: $field, rows: $Family::ROWS }),+];
    $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $Family { $(
            #[doc = concat!("`", $code, "`: ", $cause)]
            $V,
        )+ }

        impl $Family {
            /// Every refusal of this family.
            pub const ALL: &'static [Self] = &[$(Self::$V),+];

            const ROWS: &'static [Row] = &[$(
                Row { code: $code, aliases: &[$($alias),*], cause: $cause, cure: $cure },
            )+];

            /// The code on the wire.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$V => $code,)+ }
            }

            /// Why the request was refused, as a sentence.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$V => $cause,)+ }
            }

            /// What its sender can do, as a sentence.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$V => $cure,)+ }
            }

            /// The refusal a peer's code stands for, other spellings included; for logs and statistics only.
            pub fn of_code(code: &[u8]) -> Option<Self> {
                match code {
                    $(code if code == $code.as_bytes() $(|| code == $alias.as_bytes())* => Some(Self::$V),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $Family {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}: {} {}", self.code(), self.cause(), self.cure())
            }
        }

        impl From<$Family> for Str0_255 {
            /// The code as a field. No code is longer than 255 bytes.
            fn from(refusal: $Family) -> Self {
                Self::try_from(refusal.code()).unwrap_or_default()
            }
        }
    )+};
}

refusals! {
    /// Codes of SetupConnection.Error.
    SetupConnection in "SetupConnection.Error.error_code" {
        UnsupportedFeatureFlags "unsupported-feature-flags"
            "The connection asks for features that this server does not have."
            "Clear the flags named in the answer, or connect to another server."
        UnsupportedProtocol "unsupported-protocol"
            "This port does not serve the protocol that was asked for."
            "Check the port: mining, job declaration and template distribution may have ports of their own."
        ProtocolVersionMismatch "protocol-version-mismatch"
            "No protocol version is common to both sides."
            "Offer version 2."
        MissingDeclareTxDataFlag "missing-declare-tx-data-flag"
            "This job declaration server needs the transactions of every job."
            "Set DECLARE_TX_DATA (bit 0) in the flags."
    }
    /// Codes of OpenMiningChannel.Error.
    OpenMiningChannel in "OpenMiningChannel.Error.error_code" {
        UnknownUser "unknown-user"
            "The user identity is not known here."
            "Check the spelling of the user name or payout address."
        InvalidUserIdentity "invalid-user-identity"
            "The user identity is not text of the expected form."
            "Send a user name or payout address in UTF-8."
        MaxTargetOutOfRange "max-target-out-of-range"
            "The highest target that was asked for is harder than any this server gives."
            "Raise max_target; all ones leaves the choice to the server."
        InvalidNominalHashRate "invalid-nominal-hashrate" or "invalid-nominal-hash-rate"
            "The nominal hash rate is not a number this server can work with."
            "Send the expected hashes a second, finite and above zero."
        MinExtranonceSizeTooLarge "min-extranonce-size-too-large"
            "More extranonce bytes were asked for than this server can give."
            "Ask for a smaller min_extranonce_size."
        UnsupportedMinExtranonceSize "unsupported-min-extranonce-size"
            "This server does not give extranonces of that size."
            "Ask for another min_extranonce_size."
        StandardChannelsNotSupportedForCustomWork "standard-channels-not-supported-for-custom-work"
            "The connection was set up for custom work, which needs extended channels."
            "Open an extended channel, or clear REQUIRES_WORK_SELECTION."
        ExtendedChannelsNotSupportedForStandardJobs "extended-channels-not-supported-for-standard-jobs"
            "The connection was set up for standard jobs only."
            "Open a standard channel, or clear REQUIRES_STANDARD_JOBS."
        StandardChannelsNotSupported "standard-channels-not-supported"
            "This server gives extended channels only."
            "Open an extended channel."
        TooManyChannels "too-many-channels"
            "The connection holds as many channels as it may."
            "Close a channel, or open another connection."
        ExtranonceSpaceExhausted "extranonce-space-exhausted"
            "No extranonce prefix is free."
            "Try again later."
        DuplicateRequestId "duplicate-request-id"
            "A request with this id is still open."
            "Use each request_id once on a connection."
        NotReady "not-ready"
            "The server has no work to give yet."
            "Try again in a few seconds."
        RateLimited "rate-limited"
            "Channels are being opened too fast."
            "Wait before asking again."
    }
    /// Codes of UpdateChannel.Error.
    UpdateChannel in "UpdateChannel.Error.error_code" {
        MaxTargetOutOfRange "max-target-out-of-range"
            "The highest target that was asked for is harder than any this server gives."
            "Raise maximum_target; all ones leaves the choice to the server."
        InvalidChannelId "invalid-channel-id"
            "The connection has no such channel."
            "Use the channel_id of the answer that opened the channel."
        InvalidNominalHashRate "invalid-nominal-hashrate" or "invalid-nominal-hash-rate"
            "The nominal hash rate is not a number this server can work with."
            "Send the expected hashes a second, finite and above zero."
    }
    /// Codes of SubmitShares.Error.
    SubmitShares in "SubmitShares.Error.error_code" {
        InvalidChannelId "invalid-channel-id"
            "The connection has no such channel."
            "Use the channel_id of the answer that opened the channel."
        StaleShare "stale-share"
            "The job ended when a new block arrived."
            "A few after every block are normal; many mean a slow link or a device slow to change jobs."
        DifficultyTooLow "difficulty-too-low" or "too-low-difficulty"
            "The hash is above the target of the job."
            "Check that the device follows SetTarget and hashes the header as the job says."
        DuplicateShare "duplicate-share"
            "This share was submitted before."
            "Check that no two chips search the same range."
        InvalidJobId "invalid-job-id"
            "The channel has no such job."
            "Use a job_id that was sent to this channel."
        BadExtranonceSize "bad-extranonce-size"
            "The extranonce does not have the channel's size."
            "Send exactly extranonce_size bytes."
        VersionRollingNotAllowed "version-rolling-not-allowed"
            "The version was changed on a job that forbids it."
            "Send the version of the job."
        InvalidNonRollableVersionBit "invalid-non-rollable-version-bit"
            "The version was changed outside the bits that may roll."
            "Roll only the bits 0x1fffe000."
        InvalidNtime "invalid-ntime"
            "The header time is before the job's smallest or too far ahead."
            "Start at min_ntime and add the seconds that have gone by."
        InvalidShare "invalid-share"
            "The share cannot be judged as it was sent."
            "Check that message kind and channel kind agree."
        InvalidUserIdentity "invalid-user-identity"
            "The name of the worker that was appended to the share is malformed or too long."
            "Append one user_identity (extension 0x0002) of at most 32 bytes of UTF-8, without padding."
        RateLimited "rate-limited"
            "The channel submits more shares than it may."
            "Follow SetTarget: harder shares come less often."
        LedgerUnavailable "ledger-unavailable"
            "The pool cannot write shares down at the moment, so it cannot credit them."
            "Go on mining; the operator has been told. Or change to another pool."
    }
    /// Codes of SetCustomMiningJob.Error.
    SetCustomMiningJob in "SetCustomMiningJob.Error.error_code" {
        InvalidChannelId "invalid-channel-id"
            "The connection has no such extended channel."
            "Use the channel_id of the answer that opened the channel."
        InvalidMiningJobToken "invalid-mining-job-token"
            "The token was not given out here, was used before, or is too old."
            "Ask for a new token with AllocateMiningJobToken."
        JdNotSupported "jd-not-supported"
            "This pool does not take custom jobs."
            "Mine the jobs the pool sends."
        JobNotYetValidated "job-not-yet-validated"
            "The declared job is still being checked."
            "Wait for DeclareMiningJob.Success."
        StaleChainTip "stale-chain-tip"
            "The job builds on a block that is not the tip."
            "Make a job on the newest block."
        InvalidVersion "invalid-job-param-value-version"
            "The field version is not acceptable."
            "Use the version of the template."
        InvalidPrevHash "invalid-job-param-value-prev_hash"
            "The field prev_hash is not acceptable."
            "Use the hash of the newest block, in the byte order of the hash function."
        InvalidMinNtime "invalid-job-param-value-min_ntime"
            "The field min_ntime is not acceptable."
            "Use the time that the template provider gave."
        InvalidNbits "invalid-job-param-value-nbits"
            "The field nbits is not acceptable."
            "Use the nBits that the template provider gave."
        InvalidCoinbaseTxVersion "invalid-job-param-value-coinbase_tx_version"
            "The field coinbase_tx_version is not acceptable."
            "Use the value of the template."
        InvalidCoinbasePrefix "invalid-job-param-value-coinbase_prefix"
            "The field coinbase_prefix is not acceptable."
            "Use the bytes of the template, at most 8."
        InvalidCoinbaseTxInputNSequence "invalid-job-param-value-coinbase_tx_input_nSequence"
            "The field coinbase_tx_input_nSequence is not acceptable."
            "Use the value of the template."
        InvalidCoinbaseTxOutputs "invalid-job-param-value-coinbase_tx_outputs"
            "The field coinbase_tx_outputs is not acceptable."
            "Pay the pool's output first, and keep the outputs of the template."
        InvalidCoinbaseTxLocktime "invalid-job-param-value-coinbase_tx_locktime"
            "The field coinbase_tx_locktime is not acceptable."
            "Use the value of the template."
        InvalidMerklePath "invalid-job-param-value-merkle_path"
            "The field merkle_path is not acceptable."
            "Use the hashes of the template, deepest first."
        CreditExhausted "credit-exhausted"
            "The identity has as much credit for jobs that nobody can check as the pool gives before a block covers it."
            "Declare jobs with their transactions (DECLARE_TX_DATA), or mine the pool's jobs."
        RateLimited "rate-limited"
            "Custom jobs are coming too fast."
            "Send a job when the template changes."
    }
    /// Codes of DeclareMiningJob.Error.
    DeclareMiningJob in "DeclareMiningJob.Error.error_code" {
        InvalidMiningJobToken "invalid-mining-job-token"
            "The token was not given out here, was used before, or is too old."
            "Ask for a new token with AllocateMiningJobToken."
        MissingDeclareTxDataFlag "missing-declare-tx-data-flag"
            "The connection was not set up to reveal transactions, or this pool takes no declared jobs."
            "Set DECLARE_TX_DATA (bit 0) in the flags of SetupConnection, or send SetCustomMiningJob at once."
        MissingTxs "missing-txs"
            "Transactions of the job are not known here and were not provided."
            "Answer ProvideMissingTransactions with all of them, in the order asked for."
        InvalidCoinbaseTx "invalid-coinbase-tx"
            "Prefix, extranonce and suffix do not make a coinbase transaction."
            "Check the serialization; BIP141 fields stay in."
        InvalidCoinbaseTxInput "invalid-coinbase-tx-input"
            "The coinbase input is not what the height requires."
            "Start the scriptSig with the coinbase_prefix of the template."
        InvalidVersion "invalid-job-param-value-version"
            "The field version is not acceptable."
            "Use the version of the template."
        InvalidCoinbaseTxPrefix "invalid-job-param-value-coinbase_tx_prefix"
            "The field coinbase_tx_prefix is not acceptable."
            "Check the serialization up to the extranonce."
        InvalidCoinbaseTxSuffix "invalid-job-param-value-coinbase_tx_suffix"
            "The field coinbase_tx_suffix is not acceptable."
            "Pay the outputs that AllocateMiningJobToken.Success named."
        InvalidWtxidList "invalid-job-param-value-wtxid_list"
            "The field wtxid_list is not acceptable."
            "List every transaction but the coinbase once, in block order."
        StaleChainTip "stale-chain-tip"
            "The job builds on a block that is not the tip."
            "Declare a job on the newest block."
        InvalidJob "invalid-job"
            "The block that the job makes is not valid."
            "Take the template from an up-to-date node, unchanged."
        InternalError "internal-error"
            "The server could not check the job."
            "Try again; mine the pool's jobs in the meantime."
        RateLimited "rate-limited"
            "Jobs are being declared too fast."
            "Declare a job when the template changes."
    }
    /// Codes of RequestTransactionData.Error.
    RequestTransactionData in "RequestTransactionData.Error.error_code" {
        TemplateIdNotFound "template-id-not-found"
            "No template has this id."
            "Ask for a template that NewTemplate announced on this connection."
        StaleTemplateId "stale-template-id"
            "The template is no longer kept."
            "Ask for the newest template."
    }
    /// Reasons in WithdrawJob.reason_code (job distribution 4.4).
    WithdrawJob in "WithdrawJob.reason_code" {
        StaleChainTip "stale-chain-tip"
            "A new block has ended the job, and none for the new block is negotiated yet."
            "Mine the pool's own jobs until the next distributed one."
        RefusedByPool "refused-by-pool"
            "The pool does not take the job after all."
            "Mine the pool's own jobs; the distributor negotiates again."
        UpstreamLost "upstream-lost"
            "The distributor's connection to the pool is gone."
            "Mine the pool's own jobs, if it is not gone for you too."
        NoTemplate "no-template"
            "The distributor has no block template any more."
            "Mine the pool's own jobs until the next distributed one."
        Replaced "replaced"
            "Another future job took this one's place."
            "Forget the future job."
    }
    /// Codes of JobRefused that are not the pool's own (job distribution 4.5).
    JobRefused in "JobRefused.error_code" {
        ExtranonceSizeMismatch "extranonce-size-mismatch"
            "The pool gave a channel whose extranonce has another size than the job was negotiated with."
            "Open the channel with the min_extranonce_size of SetPool, at the pool that SetPool names."
        WorkSelectionRefused "work-selection-refused"
            "The pool does not take custom jobs on this connection."
            "Check that the pool serves REQUIRES_WORK_SELECTION on that port."
        NoAnswer "no-answer"
            "The pool did not answer SetCustomMiningJob in time."
            "Check the pool; the receiver mines the pool's own jobs."
    }
    /// Reasons in CloseChannel.reason_code. The spec names none.
    CloseChannel in "CloseChannel.reason_code" {
        Done "done"
            "The channel is no longer needed."
            "Nothing to do."
        ShuttingDown "shutting-down"
            "The server is stopping."
            "Connect again, or to another server."
        UpstreamLost "upstream-lost"
            "The connection that the work came from is gone."
            "Open the channel again."
        Replaced "replaced"
            "Another channel took this one's place."
            "Use the newer channel."
        Idle "idle"
            "No valid share came for too long."
            "Open the channel again when hashing."
        RateLimited "rate-limited"
            "The channel kept exceeding its limits."
            "Open a channel with the right nominal hash rate."
        TooManyInvalidShares "too-many-invalid-shares"
            "Most of the channel's shares were refused."
            "Read the codes of the refused shares and mend the device."
        ExtranonceSpaceExhausted "extranonce-space-exhausted"
            "The extranonce prefix had to be taken back."
            "Open the channel again."
        ClosedByOperator "closed-by-operator"
            "The pool's operator closed the channel."
            "Ask the operator, or open the channel again."
        InternalError "internal-error"
            "The server could not go on with the channel."
            "Open the channel again."
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn check(code: &str, cause: &str, cure: &str, printed: String, again: bool) {
        assert!(!code.is_empty() && code.len() <= 64, "{code}");
        assert!(
            code.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "{code}"
        );
        for sentence in [cause, cure] {
            assert!(
                sentence.bytes().all(|b| (b' '..=b'~').contains(&b)),
                "{code}: {sentence}"
            );
            assert!(
                sentence.ends_with('.') && sentence.len() > 10,
                "{code}: {sentence}"
            );
        }
        assert!(printed.starts_with(code) && again, "{code}");
    }

    macro_rules! check_families {
        ($($Family:ident)*) => {$(
            let mut codes: Vec<_> = $Family::ALL.iter().map(|r| r.code()).collect();
            for r in $Family::ALL {
                let again = $Family::of_code(r.code().as_bytes()) == Some(*r);
                check(r.code(), r.cause(), r.cure(), r.to_string(), again);
                assert_eq!(&*Str0_255::from(*r), r.code().as_bytes());
            }
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), $Family::ALL.len(), "codes of a family differ");
        )*};
    }

    /// REQ-COM-027, REQ-COM-028, REQ-COM-029: letters, digits, `-` and `_` only. That nothing but these codes is sent
    /// is for the machines' tests to show.
    #[test]
    fn every_code_is_printable_and_found_again() {
        check_families! { SetupConnection OpenMiningChannel UpdateChannel SubmitShares SetCustomMiningJob
        DeclareMiningJob RequestTransactionData WithdrawJob JobRefused CloseChannel }
    }

    /// No code is told in two ways: within a table, codes and other spellings are all different.
    #[test]
    fn tables_hold_every_family_once() {
        assert_eq!(TABLES.len(), 10);
        for table in TABLES {
            let mut all: Vec<_> = table.rows.iter().map(|row| row.code).collect();
            all.extend(table.rows.iter().flat_map(|row| row.aliases));
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "{}", table.field);
        }
        let shares = TABLES
            .iter()
            .find(|table| table.field == "SubmitShares.Error.error_code");
        assert_eq!(
            shares.map(|table| table.rows.len()),
            Some(SubmitShares::ALL.len())
        );
    }

    /// C-23: the older spelling is recognised, the newer one is sent.
    #[test]
    fn older_spellings_are_recognised() {
        assert_eq!(
            SubmitShares::of_code(b"too-low-difficulty"),
            Some(SubmitShares::DifficultyTooLow)
        );
        assert_eq!(SubmitShares::of_code(b"no-such-code"), None);
    }
}
