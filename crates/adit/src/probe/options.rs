//! What the operator chooses, and the bounds of a probe.

use std::time::Duration;

use adit_net::Url;
use clap::Args;

/// Flags of `adit probe` beside the URL. Each is also a bound: a probe is a guest.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Options {
    /// The name to open channels and ask for tokens with, for pools that check it
    #[arg(long, value_name = "NAME", default_value = "adit.probe")]
    pub user: String,
    /// Longest time of the whole probe; what is not done by then is skipped
    #[arg(long, value_name = "S", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Longest wait for one answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub answer_ms: u64,
    /// How long a server is watched that ought to say nothing, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 400, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    pub quiet_ms: u64,
    /// How long a peer that says nothing waits to be hung up on; 0 skips that check
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub idle_seconds: u64,
    /// Pause before each connection, in milliseconds; there is never more than one at a time
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub pause_ms: u64,
    /// Most connections of the whole probe
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// Most bytes sent in the whole probe, encryption included
    #[arg(long, value_name = "N", default_value_t = 262_144, value_parser = clap::value_parser!(u64).range(1_024..=16_777_216))]
    pub bytes: u64,
    /// Most shares submitted in the whole probe, good and bad
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub shares: u32,
    /// Most hashes tried for one good share; a pool whose easiest share is harder is not asked about good ones
    #[arg(long, value_name = "N", default_value_t = 1 << 24, value_parser = clap::value_parser!(u64).range(0..=1 << 36))]
    pub hashes: u64,
}

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub url: Url,
    /// How wrong our clock may be, in seconds.
    pub clock_leeway_s: u32,
    /// Name and bounds.
    pub options: Options,
}

impl Settings {
    pub(super) const fn answer(&self) -> Duration {
        Duration::from_millis(self.options.answer_ms)
    }

    pub(super) const fn quiet(&self) -> Duration {
        Duration::from_millis(self.options.quiet_ms)
    }
}
