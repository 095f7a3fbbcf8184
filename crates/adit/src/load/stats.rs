//! What one thread of the load generator saw, and how several add up.

use std::collections::BTreeMap;

use adit_proto::Time;
use adit_wire::U256;
use hdrhistogram::Histogram;

/// Tips told apart; a run that sees more has other worries.
const TIPS_MAX: usize = 1_024;
/// Codes and errors told apart.
const NAMES_MAX: usize = 64;
/// Latencies above this are counted as this, microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// When the connections heard of a previous block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) count: u64,
}

/// Everything that is counted.
#[derive(Clone, Debug)]
pub(super) struct Stats {
    pub(super) opened: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    /// Accepted while it was measured.
    pub(super) accepted_measured: u64,
    pub(super) rejected: BTreeMap<String, u64>,
    /// Sent and never answered.
    pub(super) unanswered: u64,
    /// By how much the counts in answers differ from the shares that they name.
    pub(super) miscounted: u64,
    /// Found while the tip changed, so not sent.
    pub(super) withheld: u64,
    pub(super) jobs: u64,
    /// Microseconds from sending to acceptance, of shares sent while it was measured.
    pub(super) latency_us: Histogram<u64>,
    pub(super) tips: BTreeMap<[u8; 32], Tip>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Those of `bytes_in` that came while there was nothing to do but to listen.
    pub(super) bytes_listened: u64,
    /// CPU time of the thread while shares were sent, nanoseconds.
    pub(super) cpu_ns: u64,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            opened: 0,
            failed: 0,
            lost: 0,
            sent: 0,
            accepted: 0,
            accepted_measured: 0,
            rejected: BTreeMap::new(),
            unanswered: 0,
            miscounted: 0,
            withheld: 0,
            jobs: 0,
            #[expect(
                clippy::expect_used,
                reason = "three digits and these bounds are always possible"
            )]
            latency_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("valid bounds"),
            tips: BTreeMap::new(),
            errors: BTreeMap::new(),
            bytes_in: 0,
            bytes_out: 0,
            bytes_listened: 0,
            cpu_ns: 0,
        }
    }

    pub(super) fn latency(&mut self, us: u64) {
        self.latency_us.saturating_record(us.max(1));
    }

    pub(super) fn tip(&mut self, prev_hash: U256, now: Time) {
        self.add_tip(
            prev_hash.0,
            Tip {
                first: now,
                last: now,
                count: 1,
            },
        );
    }

    pub(super) fn reject(&mut self, code: String) {
        count(&mut self.rejected, code, 1);
    }

    pub(super) fn error(&mut self, what: String) {
        count(&mut self.errors, what, 1);
    }

    pub(super) fn rejected_sum(&self) -> u64 {
        self.rejected.values().sum()
    }

    fn add_tip(&mut self, prev_hash: [u8; 32], tip: Tip) {
        if let Some(known) = self.tips.get_mut(&prev_hash) {
            known.first = known.first.min(tip.first);
            known.last = known.last.max(tip.last);
            known.count += tip.count;
        } else if self.tips.len() < TIPS_MAX {
            self.tips.insert(prev_hash, tip);
        }
    }

    /// Adds what another thread saw.
    pub(super) fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.failed += other.failed;
        self.lost += other.lost;
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.accepted_measured += other.accepted_measured;
        self.unanswered += other.unanswered;
        self.miscounted += other.miscounted;
        self.withheld += other.withheld;
        self.jobs += other.jobs;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.bytes_listened += other.bytes_listened;
        self.cpu_ns += other.cpu_ns;
        // Both have the same bounds.
        let _ = self.latency_us.add(other.latency_us);
        other
            .tips
            .into_iter()
            .for_each(|(prev_hash, tip)| self.add_tip(prev_hash, tip));
        other
            .rejected
            .into_iter()
            .for_each(|(code, number)| count(&mut self.rejected, code, number));
        other
            .errors
            .into_iter()
            .for_each(|(what, number)| count(&mut self.errors, what, number));
    }
}

/// Counts under a name, or under `other` when there are too many names.
fn count(map: &mut BTreeMap<String, u64>, name: String, number: u64) {
    let name = if map.contains_key(&name) || map.len() < NAMES_MAX {
        name
    } else {
        "other".to_owned()
    };
    *map.entry(name).or_default() += number;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let (mut a, mut b) = (Stats::new(), Stats::new());
        a.tip(U256([1; 32]), Time(5));
        a.latency(10);
        a.reject("stale-share".into());
        b.tip(U256([1; 32]), Time(3));
        b.tip(U256([1; 32]), Time(9));
        b.latency(0);
        b.reject("stale-share".into());
        b.accepted = 4;
        a.add(b);
        assert_eq!(
            a.tips[&[1; 32]],
            Tip {
                first: Time(3),
                last: Time(9),
                count: 3
            }
        );
        assert_eq!(
            (
                a.accepted,
                a.rejected_sum(),
                a.latency_us.len(),
                a.latency_us.max()
            ),
            (4, 2, 2, 10)
        );
    }

    #[test]
    fn names_are_bounded() {
        let mut stats = Stats::new();
        (0..1_000).for_each(|number| stats.error(format!("{number}")));
        assert_eq!(stats.errors.len(), NAMES_MAX + 1);
        assert_eq!(stats.errors.values().sum::<u64>(), 1_000);
    }
}
