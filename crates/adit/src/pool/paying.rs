//! The hub pays: which outputs work has, and what a found block earns for whom.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use adit_ledger::money::MATURITY;
use adit_ledger::payout::{Custody, Payee, Rules, Snapshot};
use adit_ledger::record::Outcome;
use adit_node::Template;
use adit_proto::Time;
use adit_proto::job::Job;
use adit_proto::mining::server::AccountId;
use adit_proto::plan::{Payouts, Plan};
use bitcoin::{Network, Transaction, TxOut};
use tokio::sync::{Notify, watch};

use super::blocks::Earlier;
use super::hub::Hub;
use crate::payout::Purse;
use crate::payout::credits::Credits;

/// Snapshots whose jobs may still be mined on.
const PURSES_KEPT: usize = 64;
/// Names of the pool's payee that are kept for them.
const POOL_NAMES_KEPT: usize = 16;
/// Looks at the book after which a changed split replaces the job that is mined.
const LOOKS_BEFORE_RENEWAL: u32 = 3;
/// Blocks whose depth is asked for with one template.
const COUNTED_AT_ONCE: usize = 16;

/// What the hub pays from.
pub(super) struct Paying {
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) network: Network,
    pub(super) outputs_max: u32,
    /// For whoever makes snapshots: the pool's payee may change.
    pub(super) rules: watch::Sender<Rules>,
    /// How the pool's own payee is booked, and was before; newest last.
    pub(super) pool: VecDeque<Arc<str>>,
    /// Whether blocks are booked: not where they are the pool's, whoever finds them.
    pub(super) books: bool,
    /// Whether miners share what is pooled.
    pub(super) shares_out: bool,
    pub(super) refresh: Duration,
    /// Expected hashes of a block, for whoever makes snapshots.
    pub(super) block_work: watch::Sender<u128>,
    /// The book has changed by more than shares.
    pub(super) wake: Arc<Notify>,
    /// The last ones, newest last.
    pub(super) purses: VecDeque<Arc<Purse>>,
    /// The newest of them, for those who look on.
    pub(super) newest: watch::Sender<Option<Arc<Purse>>>,
    /// When the job that is mined was made, and of which snapshot.
    pub(super) made: Option<(Time, u64)>,
}

impl Paying {
    /// The purse of the newest snapshot.
    pub(super) fn purse(&mut self) -> Arc<Purse> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        if let Some(last) = self
            .purses
            .back()
            .filter(|last| last.snapshot().number == snapshot.number)
        {
            return Arc::clone(last);
        }
        let pool = self.pool_name(&snapshot.rules.pool);
        let purse = Arc::new(Purse::new(snapshot, self.network, self.outputs_max, pool));
        if self.purses.len() >= PURSES_KEPT {
            self.purses.pop_front();
        }
        self.purses.push_back(Arc::clone(&purse));
        self.newest.send_replace(Some(Arc::clone(&purse)));
        purse
    }

    /// The pool's part pays somebody else from the next snapshot on.
    pub(super) fn pay_pool(&mut self, pool: Payee, name: Arc<str>) {
        if self.rules.borrow().pool == pool {
            return;
        }
        if self.pool.len() >= POOL_NAMES_KEPT {
            self.pool.pop_front();
        }
        self.pool.push_back(name);
        self.rules.send_modify(|rules| rules.pool = pool);
        self.wake.notify_one();
    }

    fn pool_name(&self, pool: &Payee) -> Arc<str> {
        let is_its = |name: &&Arc<str>| AccountId::of(name.as_bytes()).0 == pool.id;
        let name = self.pool.iter().rev().find(is_its).or(self.pool.back());
        name.cloned().unwrap_or_default()
    }

    /// The purse that a job was made from.
    fn purse_of(&self, job: &Job) -> Option<&Arc<Purse>> {
        let number = job.payouts()?;
        self.purses.iter().rev().find(|purse| purse.number() == number)
    }

    /// What a block of a job earns for whom; empty where that is not booked. What the pool holds for others is shared out by
    /// the newest window, what the coinbase pays them by the one that it was made of.
    pub(super) fn credits(&mut self, job: &Job) -> Credits {
        if !(self.books && (self.shares_out || job.plan().is_solo())) {
            return Credits::default();
        }
        let purse = match self.in_custody() && !job.plan().is_solo() {
            true => Some(self.purse()),
            false => self.purse_of(job).cloned(),
        };
        purse.map_or_else(Credits::default, |purse| {
            purse
                .booked(purse.split(job.plan(), job.fields().coinbase.value()))
                .into()
        })
    }

    /// Whether pooled coinbases pay the pool, whatever anybody has earned.
    fn in_custody(&self) -> bool {
        self.snapshots.borrow().rules.custody == Custody::Pool
    }

    /// The same for a job of a miner's own making: what its coinbase pays the pool is shared out.
    pub(super) fn credits_of_custom(&mut self, coinbase: &[u8]) -> Credits {
        if !(self.books && self.shares_out) {
            return Credits::default();
        }
        let purse = self.purse();
        let transaction: Option<Transaction> = bitcoin::consensus::deserialize(coinbase).ok();
        let pool = &purse.snapshot().rules.pool.script;
        let is_pools = |output: &&TxOut| *output.script_pubkey.as_bytes() == **pool;
        let value = transaction.iter().flat_map(|it| &it.output).filter(is_pools);
        let value = value.map(|output| output.value.to_sat()).sum();
        purse.booked(purse.split(&Plan::Pooled, value)).into()
    }
}

impl Hub {
    /// The outputs of a template's coinbase for those who mine together, and what they follow from.
    pub(super) fn pooled_outputs(&mut self, template: &Template) -> (Arc<Purse>, Vec<TxOut>) {
        let purse = self.paying.purse();
        let outputs = purse.outputs(&Plan::Pooled, template.coinbase_tx_value_remaining);
        (purse, outputs)
    }

    /// If the book says something new, the job that is mined follows when it is old enough, or paid nobody.
    pub(super) fn renew_payouts(&mut self) {
        let snapshot = Arc::clone(&self.paying.snapshots.borrow_and_update());
        let Some((made, of)) = self.paying.made.filter(|(_, of)| *of != snapshot.number) else {
            return;
        };
        let before = self.paying.purses.iter().rev().find(|purse| purse.number() == of);
        let paid_nobody = before.is_none_or(|purse| purse.snapshot().claims.is_empty());
        let is_ruled_otherwise = before.is_some_and(|purse| purse.snapshot().rules != snapshot.rules);
        let is_same = self.paying.in_custody() || (paid_nobody && snapshot.claims.is_empty());
        if is_same && !is_ruled_otherwise {
            // Its outputs would be the same.
            self.paying.purse();
            return;
        }
        let old = self.clock.now() - made >= self.paying.refresh * LOOKS_BEFORE_RENEWAL;
        if (old || paid_nobody || is_ruled_otherwise)
            && self.mines_own()
            && let Some((template, _)) = self.state.template.clone()
        {
            let job = self.job(&template);
            self.publish_job(job, template.height, template.fees.unwrap_or(0), self.clock.now());
        }
    }

    /// Books what a block earned.
    pub(super) fn book_credits(&mut self, height: u32, hash: [u8; 32], credits: &Credits) {
        if credits.is_empty() {
            return;
        }
        if credits.book(&mut self.lane, height, hash).is_err() {
            tracing::error!(
                height,
                "the ledger is down: what this block earned is in its own file, and is booked after the next start"
            );
        }
        self.paying.wake.notify_one();
    }

    /// Blocks of earlier runs whose credits did not all become durable are booked from their files.
    pub(super) fn book_earlier(&mut self, earlier: Vec<Earlier>) {
        for Earlier {
            height,
            hash,
            credits,
        } in earlier
        {
            let known = {
                let book = self.ledger.book();
                let book = book.lock().unwrap_or_else(PoisonError::into_inner);
                book.money().knows(height, &hash)
            };
            match Credits::of_text(&credits) {
                Some(credits) if !known => self.book_credits(height, hash, &credits),
                Some(_) => {}
                None => tracing::error!(
                    height,
                    "what a block of an earlier run earned cannot be read from its file"
                ),
            }
        }
    }

    /// Asks how deep blocks are that could have matured with this template.
    pub(super) fn count_mature(&mut self, height: u32) {
        if !self.paying.books {
            return;
        }
        let book = self.ledger.book();
        let book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let could = |found: u32| found.saturating_add(MATURITY) <= height;
        let due = book.money().open().filter(|(found, _, block)| {
            could(*found) && block.is_whole() && block.outcome() != Some(Outcome::Rejected)
        });
        for (found, hash, _) in due.take(COUNTED_AT_ONCE) {
            self.blocks.count(found, *hash);
        }
    }
}
