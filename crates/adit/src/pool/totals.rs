//! What all workers reported, summed up for people.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use adit_noise::Suite;
use adit_proto::Time;
use adit_proto::mining::server::{AccountId, WorkerId, WorkerName};
use adit_proto::target::Target;

use super::peers::{ChannelKey, Peers};
use super::report::{ByWorker, Report, Tally, WorkerKey};
use crate::observe::{self as status, Decays, HashRate, History, Latency, Pace, Slot, State, text};

/// Accounts, and workers of accounts, that are followed one by one. Shares of any others are counted in the sums and in the ledger.
const ACCOUNTS_MAX: usize = 20_000;
/// An account without a channel and without a share for this long is forgotten here (not in the ledger).
const FORGET_AFTER_S: u64 = 3 * 3600;
/// Last shares that are shown.
const RECENT_MAX: usize = 24;
/// Window of "lately", in seconds.
const LATELY_S: u64 = 600;
const DAY_S: u64 = 86_400;

/// Sums since the start of the process.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) connections: status::Connections,
    standard: i64,
    extended: i64,
    accepted: u64,
    work: u128,
    refused: BTreeMap<&'static str, u64>,
    rate: HashRate,
    history: History,
    best: Option<([u8; 32], AccountId, Time)>,
    ack: Latency,
    fan_out: Latency,
    accounts: HashMap<AccountId, Account>,
    /// Parts of the accounts; named `account.worker`.
    workers: HashMap<WorkerKey, Account>,
    peers: Peers,
    recent: VecDeque<Recent>,
}

#[derive(Debug)]
struct Account {
    name: Arc<str>,
    since: Time,
    channels: i64,
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
    work: u128,
    /// The smallest header hash, raw hash order; all ones when there was none.
    best: [u8; 32],
    last_share: Option<Time>,
    pace: Pace,
    decays: Decays,
    /// The channel that it used last.
    channel: Option<ChannelKey>,
}

/// Shares of one channel in one report.
#[derive(Debug)]
struct Recent {
    at: Time,
    account: AccountId,
    channel: ChannelKey,
    count: u64,
    work: u128,
    best: [u8; 32],
}

/// What stands for Stratum V1 among the suites.
pub(super) const STRATUM_V1: &str = "stratum-v1";
/// The same over TLS.
pub(super) const STRATUM_V1_TLS: &str = "stratum-v1-tls";

impl Totals {
    /// Starts to count at `now`; channels are led to so many shares a minute.
    pub(super) fn starting(now: Time, shares_per_minute: u32) -> Self {
        Self {
            connections: status::Connections::default(),
            standard: 0,
            extended: 0,
            accepted: 0,
            work: 0,
            refused: BTreeMap::new(),
            rate: HashRate::starting(now.unix_s()),
            history: History::starting(now.unix_s()),
            best: None,
            ack: Latency::default(),
            fan_out: Latency::default(),
            accounts: HashMap::new(),
            workers: HashMap::new(),
            peers: Peers::new(shares_per_minute),
            recent: VecDeque::new(),
        }
    }

    /// Adds one worker's report.
    pub(super) fn add(&mut self, now: Time, report: Report) {
        let connections = &mut self.connections;
        connections.accepted += report.connections_accepted;
        for (suite, count) in Suite::ALL.iter().zip(report.accepted_by_suite) {
            *connections.by_suite.entry(suite.name()).or_default() += count;
        }
        *connections.by_suite.entry(STRATUM_V1).or_default() += report.accepted_lines;
        *connections.by_suite.entry(STRATUM_V1_TLS).or_default() += report.accepted_tls;
        connections.refused += report.handshakes_refused;
        connections.faulted += report.faulted + report.handshakes_failed;
        connections.open =
            (connections.open + report.connections_accepted).saturating_sub(report.connections_ended);
        self.standard += report.standard;
        self.extended += report.extended;
        self.ack.merge(&report.ack);
        self.fan_out.merge(&report.fan_out);
        self.peers.tell(now, report.peers, report.peers_missed);
        for (account, name) in report.names {
            self.name(now, account, &name);
        }
        for (worker, name) in report.worker_names {
            self.name_worker(now, worker, &name);
        }
        for (account, channels) in report.accounts {
            if let Some(account) = self.accounts.get_mut(&account) {
                account.channels += channels;
            }
        }
        let mut slot = Slot {
            channels: u64::try_from(self.standard + self.extended).unwrap_or(0),
            ..Slot::default()
        };
        for (code, count) in report.refused {
            *self.refused.entry(code).or_default() += count;
            slot.rejected += count;
        }
        for ((channel, code), count) in report.refused_of {
            self.refused(channel, code, count);
        }
        for tally in report.channels.values() {
            self.accepted(now, tally);
            slot.accepted += tally.accepted;
            slot.work += tally.work as f64;
            slot.squares += tally.squares;
        }
        self.worker_tallies(now, &report.workers);
        self.history.add(now.unix_s(), &slot);
    }

    fn name(&mut self, now: Time, account: AccountId, name: &str) {
        if self.accounts.len() < ACCOUNTS_MAX || self.accounts.contains_key(&account) {
            let entry = self
                .accounts
                .entry(account)
                .or_insert_with(|| Account::starting(now));
            if entry.name.is_empty() {
                entry.name = text::clean(name).into();
            }
        }
    }

    fn name_worker(&mut self, now: Time, key: WorkerKey, name: &WorkerName) {
        let owner = self.name_of(key.0);
        if self.workers.len() < ACCOUNTS_MAX || self.workers.contains_key(&key) {
            let entry = self.workers.entry(key).or_insert_with(|| Account::starting(now));
            entry.name = format!("{owner}.{}", text::clean(name.as_str())).into();
        }
    }

    fn worker_tallies(&mut self, now: Time, workers: &ByWorker<Tally>) {
        for (key, tally) in workers {
            self.peers.worked(*key, tally.channel);
            if let Some(worker) = self.workers.get_mut(key) {
                worker.add(now, tally);
            }
        }
    }

    fn refused(&mut self, channel: ChannelKey, code: &'static str, count: u64) {
        let Some((account, worker)) = self.peers.refused(channel, code, count) else {
            return;
        };
        if let Some(account) = self.accounts.get_mut(&account) {
            *account.refused.entry(code).or_default() += count;
        }
        if let Some(worker) = worker.and_then(|worker| self.workers.get_mut(&worker)) {
            *worker.refused.entry(code).or_default() += count;
        }
    }

    fn accepted(&mut self, now: Time, tally: &Tally) {
        self.accepted += tally.accepted;
        self.work = self.work.saturating_add(tally.work);
        self.rate.add(now.unix_s(), tally.work, tally.squares);
        let better = self
            .best
            .is_none_or(|(best, ..)| tally.best.iter().rev().lt(best.iter().rev()));
        let at = tally.last_share.unwrap_or(now);
        if better {
            self.best = Some((tally.best, tally.account, at));
        }
        self.peers.accepted(now, tally);
        if let Some(account) = self.accounts.get_mut(&tally.account) {
            account.add(now, tally);
        }
        self.recent.push_front(Recent {
            at,
            account: tally.account,
            channel: tally.channel,
            count: tally.accepted,
            work: tally.work,
            best: tally.best,
        });
        self.recent.truncate(RECENT_MAX);
    }

    /// Forgets who has left long ago.
    pub(super) fn sweep(&mut self, now: Time) {
        let stays = |account: &mut Account| {
            let last = account.last_share.unwrap_or(account.since);
            let idle_s = now.unix_s().saturating_sub(last.unix_s());
            account.channels > 0 || idle_s < FORGET_AFTER_S
        };
        self.accounts.retain(|_, account| stays(account));
        self.workers.retain(|_, worker| stays(worker));
    }

    /// Everybody's name, for a message.
    pub(super) fn name_of(&self, account: AccountId) -> String {
        self.accounts
            .get(&account)
            .map(|account| account.name.to_string())
            .unwrap_or_default()
    }

    /// The name of who found something: `account.worker`, or the account's where no worker is known.
    pub(super) fn name_of_finder(&self, account: AccountId, worker: Option<WorkerId>) -> String {
        self.shown(account, worker).to_string()
    }

    /// The same, shared with those who keep it.
    fn shown(&self, account: AccountId, worker: Option<WorkerId>) -> Arc<str> {
        let worker = worker.and_then(|worker| self.workers.get(&(account, worker)));
        let shown = worker.or_else(|| self.accounts.get(&account));
        shown.map_or_else(Arc::default, |shown| Arc::clone(&shown.name))
    }

    /// Rows of the next [`Totals::roster`], about.
    pub(super) fn len(&self) -> usize {
        self.peers.len() + self.accounts.len() + self.workers.len()
    }

    /// Writes the sums into a picture.
    pub(super) fn paint(&self, now: Time, picture: &mut status::Status) {
        let now_s = now.unix_s();
        picture.connections = self.connections.clone();
        picture.channels = status::Channels {
            standard: u64::try_from(self.standard).unwrap_or(0),
            extended: u64::try_from(self.extended).unwrap_or(0),
        };
        picture.hash_rate = self.rate.rates(now_s, self.history.over(now_s, DAY_S));
        let (accepted_10m, rejected_10m) = self.history.shares(now_s, LATELY_S);
        picture.shares = status::Shares {
            accepted: self.accepted,
            rejected: self.refused.values().sum(),
            by_reason: self.refused.clone(),
            work: self.work,
            accepted_10m,
            rejected_10m,
        };
        picture.best_share = self.best.map(|(hash, account, at)| status::BestShare {
            work: Target(hash).work(),
            worker: self.name_of(account),
            at_us: at.0,
        });
        picture.ack_latency = self.ack.clone();
        picture.fan_out_latency = self.fan_out.clone();
        let everybody = self.accounts.values().chain(self.workers.values());
        picture.set_workers(everybody.map(|account| account.picture(now)).collect());
    }

    /// Counts who is silent, and names the first of them. Looks at every channel.
    pub(super) fn paint_silent(&self, now: Time, picture: &mut status::Status) {
        let (silent, first) = self.peers.silent(now);
        picture.silent = silent;
        picture.silent_names = first.iter().map(|account| self.name_of(*account)).collect();
    }

    /// Who is here, one by one.
    pub(super) fn roster(&self, now: Time) -> status::Roster {
        let liveliest = self.peers.liveliest(now);
        let mut workers_of: HashMap<AccountId, u64> = HashMap::new();
        for (owner, _) in self.workers.keys() {
            *workers_of.entry(*owner).or_default() += 1;
        }
        let accounts = self.accounts.iter().map(|(id, account)| {
            let live = liveliest.get(id).copied();
            status::Name {
                workers: workers_of.get(id).copied().unwrap_or(0),
                id: Some((id.0, None)),
                ..self.row(now, account, live)
            }
        });
        let workers = self.workers.iter().map(|((owner, id), worker)| {
            let channel = worker.channel.filter(|channel| self.peers.has(*channel));
            let live = channel.map(|channel| (self.peers.state_on(now, channel, worker.last_share), channel));
            status::Name {
                account: Some(self.name_of(*owner)),
                id: Some((owner.0, Some(id.0))),
                ..self.row(now, worker, live)
            }
        });
        let mut names: Vec<status::Name> = accounts.chain(workers).collect();
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        status::Roster {
            taken_at_us: now.0,
            names,
            peers: self.peers.paint(now, |account, worker| {
                self.shown(account, worker.map(|(_, worker)| worker))
            }),
            peers_unlisted: self.peers.unlisted(),
            shares: self.recent.iter().map(|recent| self.recent(recent)).collect(),
            history: Some(self.history.clone().into()),
            ..status::Roster::default()
        }
    }

    /// A row, shown with what it does on which channel.
    fn row(&self, now: Time, account: &Account, live: Option<(State, ChannelKey)>) -> status::Name {
        let seen = live.and_then(|(_, channel)| self.peers.seen(channel));
        let seen = seen.unwrap_or_default();
        status::Name {
            name: account.name.to_string(),
            account: None,
            workers: 0,
            state: live.map_or(State::Offline, |(state, _)| state),
            pace: account.pace.estimate(now.0),
            hash_rates: account.decays.averages(now.0),
            channels: u64::try_from(account.channels).unwrap_or(0),
            share_work: seen.work.into(),
            accepted: account.accepted,
            rejected: account.refused.values().sum(),
            by_reason: account.refused.clone(),
            work: account.work,
            best_work: account.best_work(),
            since_us: account.since.0,
            last_share_us: account.last_share.map(|time| time.0),
            device: seen.device,
            protocol: seen.protocol,
            id: None,
        }
    }

    fn recent(&self, recent: &Recent) -> status::Recent {
        let worker = self.peers.worker_on(recent.channel);
        status::Recent {
            at_us: recent.at.0,
            name: self.name_of_finder(recent.account, worker),
            count: recent.count,
            work: recent.work,
            best_work: Target(recent.best).work(),
        }
    }
}

impl Account {
    fn starting(now: Time) -> Self {
        Self {
            name: Arc::default(),
            since: now,
            channels: 0,
            accepted: 0,
            refused: BTreeMap::new(),
            work: 0,
            best: [0xff; 32],
            last_share: None,
            pace: Pace::starting(now.0),
            decays: Decays::starting(now.0),
            channel: None,
        }
    }

    fn add(&mut self, now: Time, tally: &Tally) {
        self.accepted += tally.accepted;
        self.work = self.work.saturating_add(tally.work);
        if tally.best.iter().rev().lt(self.best.iter().rev()) {
            self.best = tally.best;
        }
        self.last_share = tally.last_share.max(self.last_share);
        self.pace.add(now.0, tally.work as f64, tally.squares);
        self.decays.add(now.0, tally.work as f64);
        self.channel = Some(tally.channel);
    }

    fn best_work(&self) -> u128 {
        match self.accepted {
            0 => 0,
            _ => Target(self.best).work(),
        }
    }

    fn picture(&self, now: Time) -> status::Worker {
        let pace = self.pace.estimate(now.0);
        status::Worker {
            name: self.name.to_string(),
            hash_rate: pace.hash_rate,
            error: pace.error,
            channels: u64::try_from(self.channels).unwrap_or(0),
            accepted: self.accepted,
            rejected: self.refused.values().sum(),
            best_work: self.best_work(),
            last_share_us: self.last_share.map(|time| time.0),
        }
    }
}
