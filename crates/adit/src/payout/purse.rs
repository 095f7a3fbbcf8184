//! A purse: the outputs of every plan at one moment.

use std::sync::Arc;

use adit_ledger::payout::{Payee, Snapshot, Split, solo};
use adit_proto::plan::{Payouts, Plan};
use bitcoin::{Amount, Network, ScriptBuf, TxOut};

use super::{address, payee_of, room};

/// A snapshot, and what outputs follow from it.
#[derive(Debug)]
pub struct Purse {
    snapshot: Arc<Snapshot>,
    network: Network,
    outputs_max: u32,
    /// How the pool's own payee is booked.
    pool: Arc<str>,
}

/// One line of a split as it is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Who.
    pub payee: Payee,
    /// The address, or for the pool what was configured.
    pub name: String,
    /// Part of the value, satoshis.
    pub earned_sat: u64,
    /// Output in the coinbase, satoshis.
    pub received_sat: u64,
}

impl Purse {
    /// A purse. `pool` is the name of the rules' pool.
    pub fn new(snapshot: Arc<Snapshot>, network: Network, outputs_max: u32, pool: Arc<str>) -> Self {
        Self {
            snapshot,
            network,
            outputs_max,
            pool,
        }
    }

    /// What it follows from.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The split of a coinbase that pays `value_sat`.
    pub fn split(&self, plan: &Plan, value_sat: u64) -> Split {
        match plan {
            Plan::Pooled => self.snapshot.pooled(value_sat, room(self.outputs_max, None)),
            Plan::PooledSmall(bytes) => self
                .snapshot
                .pooled(value_sat, room(self.outputs_max, Some(*bytes))),
            Plan::Solo(script) => {
                // Every solo plan was made of an address.
                let miner = payee_of(script.script(), self.network);
                solo(
                    &self.snapshot.rules,
                    miner.as_ref().unwrap_or(&self.snapshot.rules.pool),
                    value_sat,
                )
            }
        }
    }

    /// The lines of a split, with their names.
    pub fn booked(&self, split: Split) -> Vec<Booked> {
        let lines = split.lines.into_iter().map(|line| Booked {
            name: self.name(&line.payee),
            payee: line.payee,
            earned_sat: line.earned_sat,
            received_sat: line.received_sat,
        });
        lines.collect()
    }

    /// How a payee is shown and booked.
    pub fn name(&self, payee: &Payee) -> String {
        let own = || self.pool.to_string();
        address(bitcoin::Script::from_bytes(&payee.script), self.network).unwrap_or_else(own)
    }
}

impl Payouts for Purse {
    fn number(&self) -> u64 {
        self.snapshot.number
    }

    fn outputs(&self, plan: &Plan, value: u64) -> Vec<TxOut> {
        let split = self.split(plan, value);
        let outputs = split.outputs().map(|line| TxOut {
            value: Amount::from_sat(line.received_sat),
            script_pubkey: ScriptBuf::from_bytes(line.payee.script.to_vec()),
        });
        outputs.collect()
    }
}
