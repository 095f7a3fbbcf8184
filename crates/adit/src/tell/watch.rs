//! Pictures of a pool in, notices out: a machine of pictures alone.
//!
//! Each picture carries its own time, so a test is a list of pictures. What changes back and forth is told when it has stayed
//! for a while ([`Patience`]), and taken back only if it was told.

use std::collections::{HashMap, HashSet};

use super::notice::{Kind, Notice};
use crate::observe::{LedgerState, NodeState, Status, Worker};

/// Shares of a window of which so many hundredths must be refused to be a spike, and how many there must be at least.
const SPIKE_PERCENT: u64 = 10;
const SPIKE_SHARES_MIN: u64 = 50;
/// The window, seconds.
const SPIKE_WINDOW_S: u64 = 300;
/// Workers that are followed; those beyond are not missed.
const WORKERS_MAX: usize = 10_000;
/// Notices of one picture; what is beyond is summed up in the last.
const NOTICES_MAX: usize = 8;

/// How long something must stay before it is told, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A worker without a channel.
    pub gone_s: u64,
    /// A worker with a channel and without a share.
    pub silent_s: u64,
    /// A node or upstream in trouble.
    pub trouble_s: u64,
}

/// Follows the pictures of one pool.
#[derive(Debug)]
pub struct Watcher {
    patience: Patience,
    blocks: Option<Blocks>,
    node: Trouble,
    alarm: Trouble,
    upstream: Trouble,
    ledger: Trouble,
    rejects: Rejects,
    workers: HashMap<String, Follow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blocks {
    found: u64,
    rejected: u64,
}

/// Something that is wrong or not.
#[derive(Debug, Default)]
struct Trouble {
    /// Since when, microseconds.
    since: Option<u64>,
    told: bool,
}

/// What a change of trouble calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Nothing,
    Tell,
    TakeBack,
}

impl Trouble {
    fn turn(&mut self, now_us: u64, wrong: bool, patience_s: u64) -> Turn {
        match (wrong, self.since) {
            (false, _) => {
                self.since = None;
                match std::mem::take(&mut self.told) {
                    true => Turn::TakeBack,
                    false => Turn::Nothing,
                }
            }
            (true, since) => {
                let was_told = self.told;
                let since = *self.since.insert(since.unwrap_or(now_us));
                let due = now_us.saturating_sub(since) >= patience_s.saturating_mul(1_000_000);
                let told = std::mem::replace(&mut self.told, due || was_told);
                match due && !told {
                    true => Turn::Tell,
                    false => Turn::Nothing,
                }
            }
        }
    }
}

/// Counts at the start of the window, and whether its spike was told.
#[derive(Debug, Default)]
struct Rejects {
    since_us: u64,
    accepted: u64,
    rejected: u64,
    told: bool,
}

/// One worker.
#[derive(Debug, Default)]
struct Follow {
    gone: Trouble,
    silent: Trouble,
    /// When it was first seen with a channel.
    here_us: u64,
}

impl Watcher {
    /// Nothing has been seen yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            blocks: None,
            node: Trouble::default(),
            alarm: Trouble::default(),
            upstream: Trouble::default(),
            ledger: Trouble::default(),
            rejects: Rejects::default(),
            workers: HashMap::new(),
        }
    }

    /// The next picture; what is to be told of it.
    pub fn see(&mut self, now: &Status) -> Vec<Notice> {
        let mut out = Vec::new();
        self.blocks(now, &mut out);
        self.node(now, &mut out);
        self.upstream(now, &mut out);
        self.ledger(now, &mut out);
        self.rejects(now, &mut out);
        self.workers(now, &mut out);
        if out.len() > NOTICES_MAX {
            let more = out.split_off(NOTICES_MAX - 1);
            let text = format!("And {} more at the same time: see the page.", more.len());
            let urgent = more.iter().any(|notice| notice.urgent);
            out.push(Notice::new(
                Kind::Worker,
                urgent,
                "Much has changed",
                &text,
                now.taken_at_us,
            ));
        }
        out
    }

    fn blocks(&mut self, now: &Status, out: &mut Vec<Notice>) {
        let blocks = Blocks {
            found: now.blocks.found,
            rejected: now.blocks.rejected,
        };
        // What was found before anybody looked is no news.
        let before = *self.blocks.get_or_insert(blocks);
        self.blocks = Some(blocks);
        if blocks.found > before.found {
            let last = now.blocks.last.clone().unwrap_or_default();
            let title = format!("Block {} found", last.height);
            let finder = if last.worker.is_empty() {
                "somebody"
            } else {
                &last.worker
            };
            let text = format!("{finder} found {}.", last.hash);
            out.push(Notice::new(Kind::Block, false, &title, &text, now.taken_at_us));
        }
        if blocks.rejected > before.rejected {
            let text = "The node refused a block of ours; its reason is in the log, and the block in the data folder.";
            out.push(Notice::new(
                Kind::Block,
                true,
                "Block refused",
                text,
                now.taken_at_us,
            ));
        }
    }

    fn node(&mut self, now: &Status, out: &mut Vec<Notice>) {
        let node = &now.node;
        let (at, patience) = (now.taken_at_us, self.patience.trouble_s);
        match self.node.turn(at, node.state == NodeState::Down, patience) {
            Turn::Tell => out.push(Notice::new(Kind::Node, true, "No node", &node.reason, at)),
            Turn::TakeBack => out.push(Notice::new(Kind::Node, false, "The node is back", &node.name, at)),
            Turn::Nothing => {}
        }
        match self.alarm.turn(at, !node.alarm.is_empty(), 0) {
            Turn::Tell => out.push(Notice::new(Kind::Node, true, "Look at the node", &node.alarm, at)),
            Turn::TakeBack => {
                let text = "What was wrong with the node is over.";
                out.push(Notice::new(Kind::Node, false, "The node is well", text, at));
            }
            Turn::Nothing => {}
        }
    }

    fn upstream(&mut self, now: &Status, out: &mut Vec<Notice>) {
        let Some(uplink) = &now.uplink else { return };
        let at = now.taken_at_us;
        let wrong = uplink.upstream.is_empty();
        match self.upstream.turn(at, wrong, self.patience.trouble_s) {
            Turn::Tell => {
                let causes: Vec<String> = uplink.causes.keys().map(|cause| format!("{cause:?}")).collect();
                let text = format!(
                    "No upstream is worked for. They were left for: {}.",
                    causes.join(", ")
                );
                out.push(Notice::new(Kind::Upstream, true, "No upstream", &text, at));
            }
            Turn::TakeBack => {
                let text = "Shares go up again.";
                out.push(Notice::new(
                    Kind::Upstream,
                    false,
                    "The upstream is back",
                    text,
                    at,
                ));
            }
            Turn::Nothing => {}
        }
    }

    fn ledger(&mut self, now: &Status, out: &mut Vec<Notice>) {
        let at = now.taken_at_us;
        match self.ledger.turn(at, now.ledger.state == LedgerState::Down, 0) {
            Turn::Tell => out.push(Notice::new(
                Kind::Ledger,
                true,
                "Shares wait",
                &now.ledger.reason,
                at,
            )),
            Turn::TakeBack => {
                let text = "Shares are on disk again.";
                out.push(Notice::new(Kind::Ledger, false, "The ledger is back", text, at));
            }
            Turn::Nothing => {}
        }
    }

    fn rejects(&mut self, now: &Status, out: &mut Vec<Notice>) {
        let (at, shares) = (now.taken_at_us, &now.shares);
        let window = &mut self.rejects;
        let (accepted, rejected) = (
            shares.accepted.saturating_sub(window.accepted),
            shares.rejected.saturating_sub(window.rejected),
        );
        let all = accepted.saturating_add(rejected);
        let is_spike =
            all >= SPIKE_SHARES_MIN && rejected.saturating_mul(100) >= all.saturating_mul(SPIKE_PERCENT);
        if is_spike && !window.told {
            window.told = true;
            let worst = shares.by_reason.iter().max_by_key(|(_, count)| **count);
            let worst = worst.map_or("no reason", |(reason, _)| *reason);
            let text = format!("{rejected} of the last {all} shares were refused, most of all for {worst}.");
            out.push(Notice::new(
                Kind::Rejects,
                true,
                "Many shares are refused",
                &text,
                at,
            ));
        }
        if window.since_us == 0 || at.saturating_sub(window.since_us) >= SPIKE_WINDOW_S * 1_000_000 {
            *window = Rejects {
                since_us: at,
                accepted: shares.accepted,
                rejected: shares.rejected,
                // One spike that goes on is told once.
                told: window.told && is_spike,
            };
        }
    }

    fn workers(&mut self, now: &Status, out: &mut Vec<Notice>) {
        for worker in &now.workers {
            if !self.workers.contains_key(&worker.name) {
                // Who was never here is not missed.
                if worker.channels == 0 || self.workers.len() >= WORKERS_MAX {
                    continue;
                }
                self.workers.insert(worker.name.clone(), Follow::default());
            }
            if let Some(follow) = self.workers.get_mut(&worker.name) {
                follow.see(now.taken_at_us, worker, &self.patience, out);
            }
        }
        // Those who are shown no more have been away for long, or others do more: they make room when there is none.
        if self.workers.len() >= WORKERS_MAX {
            let shown: HashSet<&str> = now.workers.iter().map(|worker| worker.name.as_str()).collect();
            self.workers.retain(|name, _| shown.contains(name.as_str()));
        }
    }
}

impl Follow {
    fn see(&mut self, at: u64, worker: &Worker, patience: &Patience, out: &mut Vec<Notice>) {
        let name = &worker.name;
        let is_here = worker.channels > 0;
        match self.gone.turn(at, !is_here, patience.gone_s) {
            Turn::Tell => {
                let text = format!("{name} has not been connected for {} s.", patience.gone_s);
                out.push(Notice::new(
                    Kind::Worker,
                    true,
                    &format!("{name} is gone"),
                    &text,
                    at,
                ));
            }
            Turn::TakeBack => {
                let text = format!("{name} is connected again.");
                out.push(Notice::new(
                    Kind::Worker,
                    false,
                    &format!("{name} is back"),
                    &text,
                    at,
                ));
            }
            Turn::Nothing => {}
        }
        if !is_here {
            self.here_us = 0;
        } else if self.here_us == 0 {
            self.here_us = at;
        }
        let heard = worker.last_share_us.unwrap_or(0).max(self.here_us);
        let quiet = is_here && at.saturating_sub(heard) >= patience.silent_s.saturating_mul(1_000_000);
        match self.silent.turn(at, quiet, 0) {
            Turn::Tell => {
                let text = format!(
                    "{name} is connected, but has found no share for {} s.",
                    patience.silent_s
                );
                out.push(Notice::new(
                    Kind::Silent,
                    true,
                    &format!("{name} is silent"),
                    &text,
                    at,
                ));
            }
            Turn::TakeBack if is_here => {
                let text = format!("{name} finds shares again.");
                out.push(Notice::new(
                    Kind::Silent,
                    false,
                    &format!("{name} is at work"),
                    &text,
                    at,
                ));
            }
            Turn::TakeBack | Turn::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LastBlock;

    const PATIENCE: Patience = Patience {
        gone_s: 300,
        silent_s: 600,
        trouble_s: 60,
    };

    /// A pool at `seconds` with one worker at work.
    fn at(seconds: u64) -> Status {
        let mut now = Status {
            taken_at_us: 1_000_000_000 + seconds * 1_000_000,
            ..Status::default()
        };
        now.node.state = NodeState::Up;
        now.workers.push(Worker {
            name: "bob".into(),
            channels: 1,
            last_share_us: Some(now.taken_at_us),
            ..Worker::default()
        });
        now
    }

    fn watcher() -> Watcher {
        let mut watcher = Watcher::new(PATIENCE);
        assert_eq!(watcher.see(&at(0)), []);
        watcher
    }

    /// What is told of a picture: kind, whether it is urgent, and the title.
    fn told(watcher: &mut Watcher, now: &Status) -> Vec<(Kind, bool, String)> {
        let notices = watcher.see(now).into_iter();
        notices
            .map(|notice| (notice.kind, notice.urgent, notice.title))
            .collect()
    }

    #[test]
    fn a_block_is_told_once_and_a_refused_one_is_urgent() {
        let mut watcher = watcher();
        let mut now = at(1);
        now.blocks.found = 1;
        now.blocks.last = Some(LastBlock {
            height: 7,
            hash: "00ff".into(),
            worker: "bob".into(),
            at_us: 1,
        });
        let notices = watcher.see(&now);
        assert_eq!(notices.len(), 1);
        assert_eq!(
            (notices[0].title.as_str(), notices[0].text.as_str()),
            ("Block 7 found", "bob found 00ff.")
        );
        assert_eq!(watcher.see(&now), []);
        now.blocks.rejected = 1;
        assert_eq!(
            told(&mut watcher, &now),
            [(Kind::Block, true, "Block refused".into())]
        );
    }

    #[test]
    fn blocks_of_before_are_no_news() {
        let mut now = at(0);
        now.blocks.found = 9;
        assert_eq!(Watcher::new(PATIENCE).see(&now), []);
    }

    #[test]
    fn a_worker_is_missed_after_a_while_and_welcomed_back_only_then() {
        let mut watcher = watcher();
        let away = |seconds| {
            let mut now = at(seconds);
            now.workers[0].channels = 0;
            now
        };
        for seconds in [10, 200, 309] {
            assert_eq!(watcher.see(&away(seconds)), []);
        }
        // Away again and again, but never for long: nobody is told.
        assert_eq!(watcher.see(&at(309)), []);
        for seconds in [310, 609] {
            assert_eq!(watcher.see(&away(seconds)), []);
        }
        assert_eq!(
            told(&mut watcher, &away(610)),
            [(Kind::Worker, true, "bob is gone".into())]
        );
        assert_eq!(watcher.see(&away(2_000)), []);
        assert_eq!(
            told(&mut watcher, &at(2_001)),
            [(Kind::Worker, false, "bob is back".into())]
        );
    }

    #[test]
    fn a_worker_that_never_was_here_is_not_missed() {
        let mut watcher = Watcher::new(PATIENCE);
        let mut now = at(0);
        now.workers[0].channels = 0;
        watcher.see(&now);
        now.taken_at_us += 10_000 * 1_000_000;
        assert_eq!(watcher.see(&now), []);
    }

    #[test]
    fn who_is_connected_and_silent_is_told_of() {
        let mut watcher = watcher();
        let quiet = |seconds| {
            let mut now = at(seconds);
            now.workers[0].last_share_us = Some(at(0).taken_at_us);
            now
        };
        assert_eq!(watcher.see(&quiet(599)), []);
        assert_eq!(
            told(&mut watcher, &quiet(600)),
            [(Kind::Silent, true, "bob is silent".into())]
        );
        assert_eq!(watcher.see(&quiet(900)), []);
        assert_eq!(
            told(&mut watcher, &at(901)),
            [(Kind::Silent, false, "bob is at work".into())]
        );
    }

    #[test]
    fn trouble_that_stays_is_told_and_taken_back() {
        let mut watcher = watcher();
        let down = |seconds| {
            let mut now = at(seconds);
            now.node.state = NodeState::Down;
            now.node.reason = "no node answers".into();
            now
        };
        assert_eq!(watcher.see(&down(1)), []);
        assert_eq!(watcher.see(&at(2)), [], "a moment is nothing");
        assert_eq!(watcher.see(&down(3)), []);
        let notices = watcher.see(&down(63));
        assert_eq!(
            (notices[0].urgent, notices[0].text.as_str()),
            (true, "no node answers")
        );
        assert_eq!(
            told(&mut watcher, &at(64)),
            [(Kind::Node, false, "The node is back".into())]
        );

        let mut alarm = at(70);
        alarm.node.alarm = "would refuse a block".into();
        assert_eq!(
            told(&mut watcher, &alarm),
            [(Kind::Node, true, "Look at the node".into())]
        );
        assert_eq!(watcher.see(&alarm), []);
        let mut ledger = at(71);
        ledger.ledger.state = LedgerState::Down;
        let said = told(&mut watcher, &ledger);
        assert_eq!(
            said,
            [
                (Kind::Node, false, "The node is well".into()),
                (Kind::Ledger, true, "Shares wait".into())
            ]
        );
        assert_eq!(
            told(&mut watcher, &at(72)),
            [(Kind::Ledger, false, "The ledger is back".into())]
        );
    }

    #[test]
    fn a_spike_of_refusals_is_told_once() {
        let mut watcher = watcher();
        let refused = |seconds, accepted, rejected| {
            let mut now = at(seconds);
            (now.shares.accepted, now.shares.rejected) = (accepted, rejected);
            now.shares.by_reason.insert("stale-share", rejected);
            now
        };
        assert_eq!(watcher.see(&refused(10, 30, 19)), [], "too few to tell");
        assert_eq!(watcher.see(&refused(11, 1_000, 50)), [], "one in twenty is usual");
        let notices = watcher.see(&refused(12, 1_000, 200));
        assert_eq!(notices.len(), 1);
        assert!(notices[0].text.contains("200 of the last 1200") && notices[0].text.contains("stale-share"));
        assert_eq!(watcher.see(&refused(13, 1_000, 300)), []);
        // It goes on beyond the window: still one.
        assert_eq!(watcher.see(&refused(310, 1_000, 400)), []);
        assert_eq!(watcher.see(&refused(311, 1_000, 500)), []);
    }

    #[test]
    fn names_cannot_forge_what_is_told() {
        let mut watcher = Watcher::new(PATIENCE);
        let mut now = at(0);
        now.workers[0].name = "bob\n\u{1b}[2J\u{202e}".into();
        watcher.see(&now);
        now.workers[0].channels = 0;
        watcher.see(&now);
        now.taken_at_us += 400 * 1_000_000;
        let notices = watcher.see(&now);
        for text in [&notices[0].title, &notices[0].text] {
            assert!(!text.contains(['\n', '\u{1b}', '\u{202e}']), "{text:?}");
        }
    }

    #[test]
    fn a_whole_farm_that_goes_is_few_notices() {
        let mut watcher = Watcher::new(PATIENCE);
        let mut now = at(0);
        let one = now.workers[0].clone();
        now.workers = (0..50)
            .map(|number| Worker {
                name: format!("w{number}"),
                ..one.clone()
            })
            .collect();
        watcher.see(&now);
        now.workers.iter_mut().for_each(|worker| worker.channels = 0);
        watcher.see(&now);
        now.taken_at_us += 301 * 1_000_000;
        let notices = watcher.see(&now);
        assert_eq!(notices.len(), NOTICES_MAX);
        assert!(notices[NOTICES_MAX - 1].text.contains("43 more"));
    }
}
