//! The error codes of Stratum V1, and which of our refusals is which.

use adit_wire::refusal::{OpenMiningChannel, SubmitShares};

/// Why a request is not granted: `[code, text, null]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 20 to 25.
    pub code: u8,
    /// A few words; ours where Stratum V1 has none.
    pub text: &'static str,
}

impl Refusal {
    /// 20: anything else.
    pub const fn other(text: &'static str) -> Self {
        Self { code: 20, text }
    }

    /// 24: not authorized as this worker, or at all.
    pub const fn unauthorized(text: &'static str) -> Self {
        Self { code: 24, text }
    }

    /// 25: `mining.subscribe` comes first.
    pub const NOT_SUBSCRIBED: Self = Self {
        code: 25,
        text: "Not subscribed",
    };
}

impl From<SubmitShares> for Refusal {
    /// Words that miners' statistics look for come first: "Job not found", "Duplicate", "Low difficulty".
    fn from(refusal: SubmitShares) -> Self {
        use SubmitShares as Why;
        let (code, text) = match refusal {
            Why::StaleShare => (21, "Job not found (stale-share): it ended with a new block"),
            Why::InvalidJobId => (21, "Job not found (invalid-job-id)"),
            Why::DuplicateShare => (22, "Duplicate share"),
            Why::DifficultyTooLow => (23, "Low difficulty share"),
            Why::InvalidChannelId => (24, "Unauthorized worker"),
            Why::BadExtranonceSize => (20, "Wrong size of extranonce2 (bad-extranonce-size)"),
            Why::VersionRollingNotAllowed => (20, "Version rolling is not allowed on this job"),
            Why::InvalidNonRollableVersionBit => (20, "Version bits outside of the mask"),
            Why::InvalidNtime => (20, "Time out of range (invalid-ntime)"),
            Why::RateLimited => (20, "Too many shares (rate-limited): follow set_difficulty"),
            Why::LedgerUnavailable => (20, "The pool cannot record shares now (ledger-unavailable)"),
            _ => (20, "Invalid share"),
        };
        Self { code, text }
    }
}

impl From<OpenMiningChannel> for Refusal {
    fn from(refusal: OpenMiningChannel) -> Self {
        use OpenMiningChannel as Why;
        match refusal {
            Why::NotReady => Self::other("The pool is being drained: connect again"),
            Why::ExtranonceSpaceExhausted | Why::TooManyChannels => {
                Self::other("The pool is full: connect again later")
            }
            Why::InvalidUserIdentity => Self::unauthorized("The user name is not accepted"),
            _ => Self::unauthorized("The pool does not let this user in"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code_of_stratum_v1_and_short_words() {
        for refusal in SubmitShares::ALL {
            let refusal = Refusal::from(*refusal);
            assert!(
                (20..=25).contains(&refusal.code) && refusal.text.len() <= 64,
                "{refusal:?}"
            );
            assert!(!refusal.text.contains(['"', '\\']), "{refusal:?}");
        }
        for refusal in OpenMiningChannel::ALL {
            assert!([20, 24].contains(&Refusal::from(*refusal).code));
        }
        let code = |refusal: SubmitShares| Refusal::from(refusal).code;
        assert_eq!(code(SubmitShares::StaleShare), 21);
        assert_eq!(code(SubmitShares::DuplicateShare), 22);
        assert_eq!(code(SubmitShares::DifficultyTooLow), 23);
    }
}
