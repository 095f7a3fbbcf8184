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
use super::peers::{ChannelKey, Door, News, PeerId, Role};
use crate::observe::{Device, Latency, text};

/// Accounts and names of one report; more wait for the next one.
const ACCOUNTS_MAX: usize = 100_000;
/// News of connections and channels in one report. More: whoever listens has missed some, and starts over.
const NEWS_MAX: usize = 200_000;
/// Pairs of channel and reason by which refused shares are told apart in one report; the sums have all of them.
const REFUSED_MAX: usize = 100_000;

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

/// An account id is a hash already, and so is a worker's. Numbers of connections and channels are given by us, in order.
#[derive(Debug, Default)]
pub(super) struct Identity(u64);

/// Spreads numbers that count up: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = self.0.rotate_left(32) ^ u64::from_le_bytes(*first);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(32) ^ number).wrapping_mul(SPREAD);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, _length: usize) {}
}

pub(super) type ByAccount<T> = HashMap<AccountId, T, BuildHasherDefault<Identity>>;
/// One worker of one account.
pub(super) type WorkerKey = (AccountId, WorkerId);
pub(super) type ByWorker<T> = HashMap<WorkerKey, T, BuildHasherDefault<Identity>>;
pub(super) type ByChannel<T> = HashMap<ChannelKey, T, BuildHasherDefault<Identity>>;

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
    /// Channels opened, less those closed.
    pub(super) accounts: ByAccount<i64>,
    pub(super) names: Vec<(AccountId, String)>,
    pub(super) channels: ByChannel<Tally>,
    /// Parts of the channels' tallies.
    pub(super) workers: ByWorker<Tally>,
    pub(super) worker_names: Vec<(WorkerKey, WorkerName)>,
    pub(super) refused: Vec<(&'static str, u64)>,
    /// Parts of it, where it is known whose they would have been.
    pub(super) refused_of: HashMap<(ChannelKey, &'static str), u64>,
    /// Who came, opened, closed and left, in this order.
    pub(super) peers: Vec<News>,
    /// There was more than fits into `peers`.
    pub(super) peers_missed: bool,
    /// Accepted shares that the uplink had no room for.
    pub(super) not_sent_up: u64,
    pub(super) ack: Latency,
    pub(super) fan_out: Latency,
}

/// What one channel or worker did since the last report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) account: AccountId,
    /// The channel; that of the last share, for a worker.
    pub(super) channel: ChannelKey,
    pub(super) accepted: u64,
    pub(super) work: u128,
    /// Sum of the squares of the works of its shares: for how far luck may have moved their sum.
    pub(super) squares: f64,
    /// The smallest header hash, raw hash order; all ones when there was none.
    pub(super) best: [u8; 32],
    pub(super) last_share: Option<Time>,
}

impl Tally {
    /// Of nothing yet.
    pub(super) const fn new(account: AccountId, channel: ChannelKey) -> Self {
        Self {
            account,
            channel,
            accepted: 0,
            work: 0,
            squares: 0.0,
            best: [0xff; 32],
            last_share: None,
        }
    }

    fn accepted(&mut self, now: Time, share: &Share) {
        self.accepted += 1;
        self.work = self.work.saturating_add(u128::from(share.work));
        self.squares += share.work as f64 * share.work as f64;
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
    pub(super) fn accepted(&mut self, now: Time, peer: PeerId, share: &Share) {
        let channel = ChannelKey {
            peer,
            channel_id: share.channel_id,
        };
        let fresh = || Tally::new(share.account, channel);
        self.channels
            .entry(channel)
            .or_insert_with(fresh)
            .accepted(now, share);
        if let Some(worker) = share.worker {
            let tally = self.workers.entry((share.account, worker)).or_insert_with(fresh);
            tally.channel = channel;
            tally.accepted(now, share);
        }
    }

    /// A connection came through the door.
    pub(super) fn came(&mut self, peer: PeerId, door: Door) {
        self.news(News::Came { peer, door });
    }

    /// It said what it is and what it wants.
    pub(super) fn told(&mut self, peer: PeerId, role: Role, device: [&[u8]; 3]) {
        let [vendor, model, firmware] = device.map(|text| text::clean(&String::from_utf8_lossy(text)));
        let device = Box::new(Device {
            vendor,
            model,
            firmware,
        });
        self.news(News::Told { peer, role, device });
    }

    /// A channel's shares have another work from now on.
    pub(super) fn retargeted(&mut self, channel: ChannelKey, work: u64) {
        self.news(News::Retargeted { channel, work });
    }

    /// It is gone.
    pub(super) fn left(&mut self, peer: PeerId) {
        self.news(News::Left { peer });
    }

    fn news(&mut self, news: News) {
        if self.peers.len() < NEWS_MAX {
            self.peers.push(news);
        } else {
            self.peers_missed = true;
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

    /// A channel was opened by `name`, with shares of `work`; it claims so many hashes a second.
    pub(super) fn opened(
        &mut self,
        channel: ChannelKey,
        account: AccountId,
        kind: Kind,
        name: &[u8],
        work: u64,
        claimed: f32,
    ) {
        self.channel(account, kind, 1);
        self.news(News::Opened {
            channel,
            account,
            kind,
            work,
            claimed,
        });
        if self.names.len() < ACCOUNTS_MAX {
            self.names
                .push((account, String::from_utf8_lossy(name).into_owned()));
        }
    }

    /// A channel was closed, or its connection is over.
    pub(super) fn closed(&mut self, channel: ChannelKey, account: AccountId, kind: Kind) {
        self.channel(account, kind, -1);
        self.news(News::Closed { channel });
    }

    /// A share was refused; whose it would have been is not always known.
    pub(super) fn refused(&mut self, code: &'static str, channel: Option<ChannelKey>) {
        match self.refused.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((code, 1)),
        }
        if let Some(channel) = channel
            && (self.refused_of.len() < REFUSED_MAX || self.refused_of.contains_key(&(channel, code)))
        {
            *self.refused_of.entry((channel, code)).or_default() += 1;
        }
    }

    /// A connection is over.
    pub(super) fn ended(&mut self, end: &End) {
        self.connections_ended += 1;
        self.faulted += u64::from(matches!(end, End::Fault(_) | End::Session(_) | End::Slow));
    }

    fn channel(&mut self, account: AccountId, kind: Kind, by: i64) {
        *self.accounts.entry(account).or_default() += by;
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
        let channel = ChannelKey {
            peer: PeerId::new(0, 0),
            channel_id: 0,
        };
        let mut tally = Tally::new(AccountId([0; 16]), channel);
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
