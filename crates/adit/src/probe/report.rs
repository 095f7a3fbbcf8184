//! What a probe found out: one value, printed as text, JSON or Markdown.

use adit_noise::Utc;
use serde::Serialize;

use super::ground::Used;
use super::verdict::{Level, Verdict};

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Who asked, and when.
    pub probe: ProbeReport,
    /// Who was asked.
    pub server: ServerReport,
    /// What is spoken on the port.
    pub suites: Vec<SuiteReport>,
    /// What the server shows in the handshake.
    pub certificate: Option<CertificateReport>,
    /// Answers to SetupConnection.
    pub setup: Vec<SetupReport>,
    /// Answers to RequestExtensions.
    pub extensions: Vec<ExtensionReport>,
    /// Channels that were opened.
    pub channels: Vec<ChannelReport>,
    /// Every check, in the order of the table.
    pub checks: Vec<CheckReport>,
    /// What the probe took of the server.
    pub used: Used,
    /// How many of what.
    pub summary: Summary,
}

/// Who asked.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeReport {
    /// `adit 0.1.0`
    pub software: String,
    /// UTC.
    pub time: String,
}

/// Who was asked.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// As it was given.
    pub url: String,
    /// The address that the name stands for.
    pub address: String,
}

/// One language of the port.
#[derive(Clone, Debug, Serialize)]
pub struct SuiteReport {
    /// Its name.
    pub name: String,
    /// Whether it is spoken.
    pub served: bool,
    /// What was seen, if there is more to say.
    pub detail: String,
}

/// The server's certificate.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateReport {
    /// Version of its form.
    pub version: u16,
    /// The authority's key, from the URL.
    pub authority: Option<String>,
    /// Whether that authority signed it; none without a key in the URL.
    pub verified: Option<bool>,
    /// The server's static key, in hex.
    pub server_key: String,
    /// First second of validity, UTC.
    pub valid_from: String,
    /// Last second of validity, UTC.
    pub not_valid_after: String,
    /// Our clock, UTC.
    pub our_clock: String,
    /// Our clock in words, against the window.
    pub skew: String,
    /// Whether our clock is inside.
    pub valid_now: bool,
}

/// One SetupConnection.
#[derive(Clone, Debug, Serialize)]
pub struct SetupReport {
    /// Protocol asked for.
    pub protocol: u8,
    /// Lowest and highest version offered.
    pub versions: [u16; 2],
    /// Flags asked for.
    pub flags: u32,
    /// What came.
    #[serde(flatten)]
    pub answer: SetupAnswer,
}

/// The answer to SetupConnection.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum SetupAnswer {
    /// SetupConnection.Success.
    Success {
        /// Version chosen.
        used_version: u16,
        /// The server's flags.
        flags: u32,
    },
    /// SetupConnection.Error.
    Error {
        /// Flags it names.
        flags: u32,
        /// Its code, escaped and cut.
        code: String,
        /// Whether the server hung up after it.
        closed: bool,
    },
    /// Anything else.
    Other {
        /// What was seen.
        seen: String,
    },
}

/// One RequestExtensions.
#[derive(Clone, Debug, Serialize)]
pub struct ExtensionReport {
    /// Ids asked for.
    pub requested: Vec<u16>,
    /// `success`, `error`, or what was seen instead.
    pub answer: String,
    /// Ids granted.
    pub supported: Vec<u16>,
    /// Ids that the server insists on.
    pub required: Vec<u16>,
}

/// One channel that was opened.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelReport {
    /// Flags of its connection's SetupConnection.
    pub setup_flags: u32,
    /// `standard` or `extended`.
    pub kind: &'static str,
    /// Its id.
    pub channel_id: u32,
    /// Its group.
    pub group_channel_id: u32,
    /// Its target in hex, as people write it.
    pub target: String,
    /// Expected hashes of a share.
    pub expected_hashes: String,
    /// Extranonce bytes that the server chose, in hex.
    pub extranonce_prefix: String,
    /// Extranonce bytes to roll.
    pub extranonce_size: Option<u16>,
    /// What came first for it.
    pub first_messages: Vec<String>,
}

/// One check and its verdict.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Its name, unique and stable.
    pub name: &'static str,
    /// Requirements of docs/spec/requirements.md, the one it is named for first.
    pub requirements: &'static [&'static str],
    /// Section of the spec, as in that list: S the seeds, C the current spec, E extensions.
    pub section: &'static str,
    /// How strongly the first requirement is worded.
    pub level: Level,
    /// What is expected.
    pub title: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl CheckReport {
    /// Whether a MUST is broken.
    #[must_use]
    pub const fn breaks(&self) -> bool {
        self.level.binds() && matches!(self.verdict, Verdict::Fail { .. })
    }

    /// The chapter of the requirement list: `COM`, `FRM`, `SEC`, ...
    #[must_use]
    pub fn chapter(&self) -> &'static str {
        let first = self.requirements.first().copied().unwrap_or_default();
        first.split('-').nth(1).unwrap_or_default()
    }
}

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Checks in all.
    pub checks: usize,
    /// Those that passed.
    pub passed: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those of them that are a MUST or MUST NOT.
    pub must_failed: usize,
    /// Those that could not be found out.
    pub skipped: usize,
}

impl Summary {
    pub(super) fn of(checks: &[CheckReport]) -> Self {
        let count = |is: fn(&CheckReport) -> bool| checks.iter().filter(|check| is(check)).count();
        Self {
            checks: checks.len(),
            passed: count(|check| matches!(check.verdict, Verdict::Pass { .. })),
            failed: count(|check| matches!(check.verdict, Verdict::Fail { .. })),
            must_failed: count(CheckReport::breaks),
            skipped: count(|check| matches!(check.verdict, Verdict::Skip { .. })),
        }
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} checks: {} passed, {} failed ({} of them MUST), {} skipped",
            self.checks, self.passed, self.failed, self.must_failed, self.skipped
        )
    }
}

impl Report {
    pub(super) fn software() -> String {
        concat!("adit ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    pub(super) fn time(now_unix_s: u64) -> String {
        Utc(now_unix_s).to_string()
    }
}

/// Our clock against a window of validity, in words.
pub(super) fn ago(now: u64, from: u32, to: u32) -> String {
    let (from, to) = (u64::from(from), u64::from(to));
    if now < from {
        return format!("our clock is {} s before the window", from - now);
    }
    if now > to {
        return format!("our clock is {} s after the window", now - to);
    }
    format!(
        "our clock is {} s after the start and {} s before the end",
        now - from,
        to - now
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skew_is_named() {
        assert_eq!(ago(5, 10, 20), "our clock is 5 s before the window");
        assert_eq!(ago(25, 10, 20), "our clock is 5 s after the window");
        assert_eq!(
            ago(12, 10, 20),
            "our clock is 2 s after the start and 8 s before the end"
        );
    }
}
