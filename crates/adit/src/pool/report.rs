//! What a worker tells the hub: blocks at once, everything else summed up twice a second.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use adit_net::End;
use adit_noise::Suite;
use adit_proto::Time;
use adit_proto::declare::Solved;
use adit_proto::mining::server::{AccountId, Found, Kind, Share, WorkerId, WorkerName};

use super::desk::{Counts, Judged};
use crate::observe::Latency;

/// Accounts and names of one report; more wait for the next one.
const ACCOUNTS_MAX: usize = 100_000;

/// From a worker to the hub.
#[derive(Debug)]
pub(super) enum ToHub {
    /// A block, and when its share was read: before anything else.
    Block(Box<Found>, Time),
    /// What happened since this worker's last report.
    Report(Box<Report>),
    /// The desk's verdict on a custom job.
    Custom(Box<Judged>),
    /// A solved block of a declared job, and when it came.
    Solved(Box<Solved>, Time),
    /// What the desk has done so far.
    Desk(Box<Counts>),
}

/// An account id is a hash already, and so is a worker's.
#[derive(Debug, Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = self.0.rotate_left(32) ^ u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

pub(super) type ByAccount<T> = HashMap<AccountId, T, BuildHasherDefault<Identity>>;
/// One worker of one account.
pub(super) type WorkerKey = (AccountId, WorkerId);
pub(super) type ByWorker<T> = HashMap<WorkerKey, T, BuildHasherDefault<Identity>>;

/// What happened at one worker since its last report. Counts are differences.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) connections_accepted: u64,
    /// The same by suite, in the order of [`Suite::ALL`].
    pub(super) accepted_by_suite: [u64; Suite::ALL.len()],
    /// Those of Stratum V1, which have no suite.
    pub(super) accepted_lines: u64,
    /// The same over TLS.
    pub(super) accepted_tls: u64,
    pub(super) connections_ended: u64,
    pub(super) faulted: u64,
    pub(super) handshakes_refused: u64,
    pub(super) handshakes_failed: u64,
    pub(super) standard: i64,
    pub(super) extended: i64,
    pub(super) accounts: ByAccount<Tally>,
    pub(super) names: Vec<(AccountId, String)>,
    /// Parts of the accounts' tallies.
    pub(super) workers: ByWorker<Tally>,
    pub(super) worker_names: Vec<(WorkerKey, WorkerName)>,
    pub(super) refused: Vec<(&'static str, u64)>,
    /// Accepted shares that the uplink had no room for.
    pub(super) not_sent_up: u64,
    pub(super) ack: Latency,
    pub(super) fan_out: Latency,
}

/// What one account did since the last report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) work: u128,
    pub(super) channels: i64,
    /// The smallest header hash, raw hash order; all ones when there was none.
    pub(super) best: [u8; 32],
    pub(super) last_share: Option<Time>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            accepted: 0,
            rejected: 0,
            work: 0,
            channels: 0,
            best: [0xff; 32],
            last_share: None,
        }
    }
}

impl Tally {
    fn accepted(&mut self, now: Time, share: &Share) {
        self.accepted += 1;
        self.work = self.work.saturating_add(u128::from(share.work));
        self.better(&share.hash);
        self.last_share = Some(now);
    }

    /// Keeps the smaller hash.
    pub(super) fn better(&mut self, hash: &[u8; 32]) {
        // Hashes are numbers with the highest byte last.
        if hash.iter().rev().lt(self.best.iter().rev()) {
            self.best = *hash;
        }
    }
}

impl Report {
    /// A handshake has ended well.
    pub(super) fn entered(&mut self, suite: Suite) {
        self.connections_accepted += 1;
        for (count, known) in self.accepted_by_suite.iter_mut().zip(Suite::ALL) {
            *count += u64::from(known == suite);
        }
    }

    /// A miner of Stratum V1 is there.
    pub(super) fn entered_lines(&mut self, tls: bool) {
        self.connections_accepted += 1;
        match tls {
            true => self.accepted_tls += 1,
            false => self.accepted_lines += 1,
        }
    }

    /// A share was accepted.
    pub(super) fn accepted(&mut self, now: Time, share: &Share) {
        self.accounts
            .entry(share.account)
            .or_default()
            .accepted(now, share);
        if let Some(worker) = share.worker {
            let tally = self.workers.entry((share.account, worker)).or_default();
            tally.accepted(now, share);
        }
    }

    /// A worker showed behind a channel of its account.
    pub(super) fn worker(&mut self, worker: WorkerKey, name: WorkerName) {
        if self.worker_names.len() < ACCOUNTS_MAX {
            self.worker_names.push((worker, name));
        }
    }

    /// The acknowledgement of a batch goes out this long after the batch was read.
    pub(super) fn acknowledged(&mut self, after: Duration, shares: u64) {
        self.ack.record_many(us(after), shares);
    }

    /// A job reached one connection this long after its template came.
    pub(super) fn fanned_out(&mut self, after: Duration) {
        self.fan_out.record(us(after));
    }

    /// A channel was opened by `name`.
    pub(super) fn opened(&mut self, account: AccountId, kind: Kind, name: &[u8]) {
        self.channel(account, kind, 1);
        if self.names.len() < ACCOUNTS_MAX {
            self.names
                .push((account, String::from_utf8_lossy(name).into_owned()));
        }
    }

    /// A channel was closed, or its connection is over.
    pub(super) fn closed(&mut self, account: AccountId, kind: Kind) {
        self.channel(account, kind, -1);
    }

    /// A share was refused; whose it would have been is not always known.
    pub(super) fn refused(&mut self, code: &'static str, account: Option<AccountId>) {
        match self.refused.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((code, 1)),
        }
        if let Some(account) = account {
            self.accounts.entry(account).or_default().rejected += 1;
        }
    }

    /// A connection is over.
    pub(super) fn ended(&mut self, end: &End) {
        self.connections_ended += 1;
        self.faulted += u64::from(matches!(end, End::Fault(_) | End::Session(_) | End::Slow));
    }

    fn channel(&mut self, account: AccountId, kind: Kind, by: i64) {
        self.accounts.entry(account).or_default().channels += by;
        match kind {
            Kind::Standard => self.standard += by,
            Kind::Extended => self.extended += by,
        }
    }
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_number_is_the_better_hash() {
        let mut tally = Tally::default();
        let mut high = [0; 32];
        high[31] = 2;
        let mut low = [0xff; 32];
        low[31] = 1;
        tally.better(&high);
        tally.better(&low);
        assert_eq!(tally.best, low);
        tally.better(&high);
        assert_eq!(tally.best, low);
    }
}
