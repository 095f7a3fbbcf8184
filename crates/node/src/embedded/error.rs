//! Why a block is refused, and why the embedded chain cannot start.

use std::fmt;
use std::path::PathBuf;

use bitcoin::OutPoint;

/// The one rule that a block (or a transaction) breaks first. `Display` starts with the reason
/// string that Bitcoin Core gives for the same rule, so that both sources read alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// Not a consensus-encoded block, or bytes left over.
    Undecodable(String),
    /// The block it builds on is not known.
    PrevUnknown,
    /// It forks off too many blocks below the tip ([`super::FORK_DEPTH_MAX`]).
    ForkTooDeep,
    /// Too many blocks outside the best chain are kept already.
    SideFull,
    /// The chain has reached its largest height.
    ChainFull,
    /// Asked about as the next block, it does not build on the tip.
    NotOnTip,
    /// nBits is not what this height asks for.
    BadBits,
    /// The header hash does not meet the target.
    HighHash,
    /// Time is not above the median time past.
    TimeTooOld,
    /// Time is more than two hours ahead.
    TimeTooNew,
    /// nVersion below 4 (BIP34, BIP65, BIP66).
    BadVersion,
    /// The header's merkle root is not that of the transactions.
    MerkleRoot,
    /// Equal neighbours in the merkle tree (CVE-2012-2459).
    DuplicateTransaction,
    /// More than 4,000,000 weight units.
    Weight,
    /// No transactions, or the first is not a coinbase.
    CoinbaseMissing,
    /// More than one coinbase.
    CoinbaseMultiple,
    /// Coinbase scriptSig not 2 to 100 bytes.
    CoinbaseLength,
    /// Coinbase scriptSig does not start with the height (BIP34).
    CoinbaseHeight,
    /// Coinbase pays more than subsidy and fees.
    CoinbaseValue {
        /// Satoshis paid.
        paid: u64,
        /// Satoshis allowed.
        allowed: u64,
    },
    /// The coinbase witness is not one item of 32 bytes (BIP141).
    WitnessReserved,
    /// The witness commitment is wrong (BIP141).
    WitnessCommitment,
    /// Witness data without a commitment.
    UnexpectedWitness,
    /// More than 80,000 units of signature operations.
    Sigops(u64),
    /// A lock time or a relative lock (BIP68, BIP113) is not yet over.
    NonFinal,
    /// A transaction without inputs.
    InputsEmpty,
    /// A transaction without outputs.
    OutputsEmpty,
    /// An output, or the sum of outputs, above 21 million bitcoin.
    OutputValue,
    /// A transaction spends the same output twice.
    InputTwice,
    /// A transaction that is no coinbase spends the null outpoint.
    PrevoutNull,
    /// An input does not exist or is spent already, perhaps in this block.
    MissingOrSpent(OutPoint),
    /// A coinbase output is spent before 100 blocks.
    Immature(OutPoint),
    /// Outputs exceed inputs.
    InBelowOut,
    /// Overwrites a transaction with unspent outputs (BIP30).
    Overwrites,
    /// An input's script fails, or is of a form this chain does not evaluate.
    Script {
        /// Index of the input in its transaction.
        input: usize,
        /// What failed.
        why: &'static str,
    },
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::Undecodable(why) => return write!(f, "bad-block-encoding: {why}"),
            Self::CoinbaseValue { paid, allowed } => {
                return write!(f, "bad-cb-amount: pays {paid} sat, allowed {allowed} sat");
            }
            Self::Sigops(cost) => return write!(f, "bad-blk-sigops: cost {cost} of 80000"),
            Self::MissingOrSpent(point) => {
                return write!(f, "bad-txns-inputs-missingorspent: {point}");
            }
            Self::Immature(point) => {
                return write!(f, "bad-txns-premature-spend-of-coinbase: {point}");
            }
            Self::Script { input, why } => {
                return write!(f, "block-script-verify-flag-failed: input {input}: {why}");
            }
            Self::PrevUnknown => "prev-blk-not-found",
            Self::ForkTooDeep => "fork-too-deep",
            Self::SideFull => "too-many-side-blocks",
            Self::NotOnTip => crate::BlockCheck::NOT_ON_TIP,
            Self::ChainFull => "chain-full",
            Self::BadBits => "bad-diffbits",
            Self::HighHash => "high-hash",
            Self::TimeTooOld => "time-too-old",
            Self::TimeTooNew => "time-too-new",
            Self::BadVersion => "bad-version",
            Self::MerkleRoot => "bad-txnmrklroot",
            Self::DuplicateTransaction => "bad-txns-duplicate",
            Self::Weight => "bad-blk-weight",
            Self::CoinbaseMissing => "bad-cb-missing",
            Self::CoinbaseMultiple => "bad-cb-multiple",
            Self::CoinbaseLength => "bad-cb-length",
            Self::CoinbaseHeight => "bad-cb-height",
            Self::WitnessReserved => "bad-witness-nonce-size",
            Self::WitnessCommitment => "bad-witness-merkle-match",
            Self::UnexpectedWitness => "unexpected-witness",
            Self::NonFinal => "bad-txns-nonfinal",
            Self::InputsEmpty => "bad-txns-vin-empty",
            Self::OutputsEmpty => "bad-txns-vout-empty",
            Self::OutputValue => "bad-txns-txouttotal-toolarge",
            Self::InputTwice => "bad-txns-inputs-duplicate",
            Self::PrevoutNull => "bad-txns-prevout-null",
            Self::InBelowOut => "bad-txns-in-belowout",
            Self::Overwrites => "bad-txns-BIP30",
        };
        f.write_str(reason)
    }
}

impl std::error::Error for BlockError {}

/// Why the embedded chain cannot start. `Display` says what would be right.
#[derive(Debug)]
pub enum Error {
    /// A setting outside its range.
    Setting {
        /// Its name in [`super::Settings`].
        name: &'static str,
        /// What it was.
        given: String,
        /// What it may be.
        want: String,
    },
    /// The block file cannot be opened, read or written.
    Io {
        /// The file or its folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process holds the block file.
    InUse(PathBuf),
    /// The block file is of another format or another chain.
    Foreign(PathBuf),
    /// The block file is damaged before its last record.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, bytes from its start.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { name, given, want } => {
                write!(f, "embedded chain: {name} is {given}; it must be {want}")
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::InUse(path) => write!(
                f,
                "{}: in use by another process; stop it or give another data folder",
                path.display()
            ),
            Self::Foreign(path) => write!(
                f,
                "{}: not a block file of this chain; move it away to start a new chain",
                path.display()
            ),
            Self::Damaged { path, offset, why } => write!(
                f,
                "{}: damaged at byte {offset} ({why}); restore it from a copy, or move it away to start a new chain",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
