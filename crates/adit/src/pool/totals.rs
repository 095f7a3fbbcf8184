//! What all workers reported, summed up for people.

use std::collections::{BTreeMap, HashMap};

use adit_noise::Suite;
use adit_proto::Time;
use adit_proto::mining::server::{AccountId, WorkerId, WorkerName};
use adit_proto::target::Target;

use super::report::{ByAccount, ByWorker, Report, Tally, WorkerKey};
use crate::observe::{self as status, HashRate, Latency, text};

/// Accounts, and workers of accounts, that are followed one by one. Shares of any others are counted in the sums and in the ledger.
const ACCOUNTS_MAX: usize = 20_000;
/// An account without a channel and without a share for this long is forgotten here (not in the ledger).
const FORGET_AFTER_S: u64 = 3 * 3600;

/// Sums since the start of the process.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) connections: status::Connections,
    standard: i64,
    extended: i64,
    accepted: u64,
    work: u128,
    refused: BTreeMap<&'static str, u64>,
    rate: HashRate,
    best: Option<([u8; 32], AccountId, Time)>,
    ack: Latency,
    fan_out: Latency,
    accounts: HashMap<AccountId, Account>,
    /// Parts of the accounts; named `account.worker`.
    workers: HashMap<WorkerKey, Account>,
}

#[derive(Debug, Default)]
struct Account {
    name: String,
    sums: Tally,
    rate: HashRate,
}

/// What stands for Stratum V1 among the suites.
const STRATUM_V1: &str = "stratum-v1";
const STRATUM_V1_TLS: &str = "stratum-v1-tls";

impl Totals {
    /// Starts to count at `now`.
    pub(super) fn starting(now: Time) -> Self {
        Self {
            rate: HashRate::starting(now.unix_s()),
            ..Self::default()
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
        for (code, count) in report.refused {
            *self.refused.entry(code).or_default() += count;
        }
        for (account, name) in report.names {
            self.name(account, &name);
        }
        for (worker, name) in report.worker_names {
            self.name_worker(worker, &name);
        }
        self.tallies(now, &report.accounts);
        self.worker_tallies(now, &report.workers);
    }

    fn name(&mut self, account: AccountId, name: &str) {
        if self.accounts.len() < ACCOUNTS_MAX || self.accounts.contains_key(&account) {
            let entry = self.accounts.entry(account).or_default();
            if entry.name.is_empty() {
                entry.name = text::clean(name);
            }
        }
    }

    fn name_worker(&mut self, key: WorkerKey, name: &WorkerName) {
        let owner = self.name_of(key.0);
        if self.workers.len() < ACCOUNTS_MAX || self.workers.contains_key(&key) {
            let entry = self.workers.entry(key).or_default();
            entry.name = format!("{owner}.{}", text::clean(name.as_str()));
        }
    }

    fn worker_tallies(&mut self, now: Time, workers: &ByWorker<Tally>) {
        for (key, tally) in workers {
            if let Some(worker) = self.workers.get_mut(key) {
                worker.add(now.unix_s(), tally);
            }
        }
    }

    fn tallies(&mut self, now: Time, accounts: &ByAccount<Tally>) {
        let now_s = now.unix_s();
        for (id, tally) in accounts {
            self.accepted += tally.accepted;
            self.work = self.work.saturating_add(tally.work);
            self.rate.add(now_s, tally.work);
            let better = self
                .best
                .is_none_or(|(best, ..)| tally.best.iter().rev().lt(best.iter().rev()));
            if tally.accepted > 0 && better {
                self.best = Some((tally.best, *id, tally.last_share.unwrap_or(now)));
            }
            if let Some(account) = self.accounts.get_mut(id) {
                account.add(now_s, tally);
            }
        }
    }

    /// Forgets who has left long ago.
    pub(super) fn sweep(&mut self, now: Time) {
        let stays = |account: &mut Account| {
            let idle_s = now
                .unix_s()
                .saturating_sub(account.sums.last_share.map_or(0, Time::unix_s));
            account.sums.channels > 0 || idle_s < FORGET_AFTER_S
        };
        self.accounts.retain(|_, account| stays(account));
        self.workers.retain(|_, worker| stays(worker));
    }

    /// Everybody's name, for a message.
    pub(super) fn name_of(&self, account: AccountId) -> String {
        self.accounts
            .get(&account)
            .map(|account| account.name.clone())
            .unwrap_or_default()
    }

    /// The name of who found something: `account.worker`, or the account's where no worker is known.
    pub(super) fn name_of_finder(&self, account: AccountId, worker: Option<WorkerId>) -> String {
        let worker = worker.and_then(|worker| self.workers.get(&(account, worker)));
        worker.map_or_else(|| self.name_of(account), |worker| worker.name.clone())
    }

    /// Writes the sums into a picture.
    pub(super) fn paint(&self, now: Time, picture: &mut status::Status) {
        let now_s = now.unix_s();
        picture.connections = self.connections.clone();
        picture.channels = status::Channels {
            standard: u64::try_from(self.standard).unwrap_or(0),
            extended: u64::try_from(self.extended).unwrap_or(0),
        };
        picture.hash_rate = self.rate.rates(now_s);
        picture.shares = status::Shares {
            accepted: self.accepted,
            rejected: self.refused.values().sum(),
            by_reason: self.refused.clone(),
            work: self.work,
        };
        picture.best_share = self.best.map(|(hash, account, at)| status::BestShare {
            work: Target(hash).work(),
            worker: self.name_of(account),
            at_us: at.0,
        });
        picture.ack_latency = self.ack.clone();
        picture.fan_out_latency = self.fan_out.clone();
        picture.set_workers(
            self.accounts
                .values()
                .chain(self.workers.values())
                .map(|account| account.picture(now_s))
                .collect(),
        );
    }
}

impl Account {
    fn add(&mut self, now_s: u64, tally: &Tally) {
        let sums = &mut self.sums;
        sums.accepted += tally.accepted;
        sums.rejected += tally.rejected;
        sums.work = sums.work.saturating_add(tally.work);
        sums.channels += tally.channels;
        sums.better(&tally.best);
        sums.last_share = tally.last_share.or(sums.last_share);
        if tally.work > 0 {
            self.rate.add(now_s, tally.work);
        }
    }

    fn picture(&self, now_s: u64) -> status::Worker {
        let sums = &self.sums;
        status::Worker {
            name: self.name.clone(),
            hash_rate: self.rate.rates(now_s).m10,
            channels: u64::try_from(sums.channels).unwrap_or(0),
            accepted: sums.accepted,
            rejected: sums.rejected,
            best_work: if sums.accepted > 0 {
                Target(sums.best).work()
            } else {
                0
            },
            last_share_us: sums.last_share.map(|time| time.0),
        }
    }
}
