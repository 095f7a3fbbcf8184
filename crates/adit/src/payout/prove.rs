//! Prove my coinbase: for every open channel, the coinbase that it mines at this moment, taken apart.
//!
//! What is asked here is answered from the work that everybody has, and from what was noted when the channel opened: no
//! connection is asked, and no worker is disturbed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_ledger::payout::Custody;
use adit_proto::extranonce::{Extranonce, FullSize, PREFIX_BYTES};
use adit_proto::mining::server::Kind;
use adit_proto::plan::Plan;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use bitcoin::{BlockHash, Network, Script, Transaction};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::preview::plan_name;
use super::{Names, Preview, Purse};
use crate::observe::text::clean;
use crate::pool::Published;

/// Channels that are noted; of any more nothing can be proven.
const OPEN_MAX: usize = 1_000_000;

/// An open channel, by its number in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenChannel {
    pub(crate) user_identity: Arc<str>,
    pub(crate) channel_id: u32,
    pub(crate) kind: Kind,
    pub(crate) plan: Plan,
    pub(crate) prefix: [u8; PREFIX_BYTES],
    pub(crate) size: FullSize,
}

/// The open channels. Touched when one opens or closes, never by a share.
#[derive(Debug, Default)]
pub(crate) struct OpenChannels(Mutex<HashMap<u64, OpenChannel>>);

impl OpenChannels {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, OpenChannel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, number: u64, channel: OpenChannel) {
        let mut open = self.lock();
        if open.len() < OPEN_MAX {
            open.insert(number, channel);
        }
    }

    pub(crate) fn close(&self, number: u64) {
        self.lock().remove(&number);
    }
}

/// Answers questions about coinbases.
#[derive(Clone, Debug)]
pub struct Prover {
    pub(crate) open: Arc<OpenChannels>,
    pub(crate) work: watch::Receiver<Option<Published>>,
    /// The purse of the newest snapshot.
    pub(crate) newest: watch::Receiver<Option<Arc<Purse>>>,
    pub(crate) names: Option<Arc<Names>>,
    pub(crate) network: Network,
}

/// The coinbase of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Proof {
    /// The channel's number in the ledger: its extranonce prefix in hex.
    pub channel: String,
    /// Its number on its connection.
    pub channel_id: u32,
    /// `standard` or `extended`.
    pub kind: &'static str,
    /// The owner in the peer's words, made harmless.
    pub user: String,
    /// `pooled`, `pooled-small` or `solo`.
    pub plan: &'static str,
    /// The owner's payout address, where user names pay.
    pub address: Option<String>,
    /// Whether the coinbase pays that address.
    pub pays_you: bool,
    /// Satoshis of the outputs to that address.
    pub yours_sat: u64,
    /// What the owner has earned and no output has paid yet, were this block found: satoshis.
    pub waits_sat: i64,
    /// In words: whether all is well, and if not why.
    pub says: String,
    /// The work.
    pub template: Template,
    /// The whole scriptSig in hex; what the miner rolls is zeros.
    pub script_sig: String,
    /// The readable part of it.
    pub tag: String,
    /// Bytes at the end of the scriptSig that the miner rolls.
    pub rolled_bytes: usize,
    /// The outputs, in order.
    pub outputs: Vec<Output>,
    /// The stripped transaction in hex; what the miner rolls is zeros.
    pub coinbase: String,
    /// SHA-256 of all of the above, written as JSON in this order.
    pub sha256: String,
}

/// What a channel works on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Template {
    /// Height of the block.
    pub height: u32,
    /// The block that it builds on, as explorers write it.
    pub prev_hash: String,
    /// What the coinbase pays, satoshis.
    pub value_sat: u64,
    /// What of it are fees, as far as the source says so.
    pub fees_sat: u64,
    /// Branches of the merkle path: 0 is a block without other transactions.
    pub merkle_branches: usize,
    /// Compact target of the network, hex.
    pub nbits: String,
    /// Header version, hex.
    pub version: String,
    /// Header time to start from, Unix seconds.
    pub ntime: u32,
    /// Number of the snapshot of payouts; none where an upstream gives the coinbase.
    pub snapshot: Option<u64>,
}

/// One output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Output {
    /// The address, if the script has one.
    pub address: Option<String>,
    /// `you`, `pool`, `donation`, `miner`, `commitment` or `other`.
    pub purpose: &'static str,
    /// Satoshis.
    pub value_sat: u64,
    /// Part of all outputs in percent, with four decimals.
    pub percent: String,
    /// The script, hex.
    pub script: String,
}

impl Prover {
    /// The channels of which something can be proven, by number and user name; sorted.
    pub fn channels(&self) -> Vec<(String, String)> {
        let open = self.open.lock();
        let mut channels: Vec<_> = open
            .iter()
            .map(|(number, channel)| (shown(*number), clean(&channel.user_identity)))
            .collect();
        drop(open);
        channels.sort_unstable();
        channels
    }

    /// The coinbase that a channel mines now; `None`: there is no such channel, or no work. `channel` as in the ledger:
    /// fourteen hex digits.
    pub fn prove(&self, channel: &str) -> Option<Proof> {
        let number = u64::from_str_radix(channel, 16).ok()?;
        let channel = self.open.lock().get(&number)?.clone();
        let work = self.work.borrow().clone()?;
        self.proof(number, &channel, &work)
    }

    /// The next coinbase of those who mine together.
    pub fn preview(&self) -> Option<Preview> {
        let work = self.work.borrow().clone()?;
        let value = work.job.fields().coinbase.value();
        // Where the pool has custody, jobs are the same whatever the book says.
        let newest = self.newest.borrow().clone();
        let newest = newest.filter(|purse| purse.snapshot().rules.custody == Custody::Pool);
        let purse = newest.or(work.purse)?;
        Some(Preview::of(&purse, &Plan::Pooled, work.height, value))
    }

    fn proof(&self, number: u64, channel: &OpenChannel, work: &Published) -> Option<Proof> {
        let job = work.job.of_plan(&channel.plan)?;
        let fields = job.fields();
        let rolled = vec![0; channel.size.rolled()];
        let extranonce = match channel.kind {
            Kind::Standard => Extranonce::fixed(channel.prefix, channel.size),
            Kind::Extended => Extranonce::rolled(channel.prefix, &rolled, channel.size)?,
        };
        let coinbase: Transaction = deserialize(&job.coinbase_tx(&extranonce)).ok()?;
        let script_sig = coinbase.input.first()?.script_sig.clone();
        let payee = self
            .names
            .as_ref()
            .and_then(|names| names.payee(&channel.user_identity).ok());
        let own: Option<&[u8]> = payee.as_ref().map(|(payee, _)| &*payee.script);
        let yours_sat: u64 = coinbase
            .output
            .iter()
            .filter(|output| Some(output.script_pubkey.as_bytes()) == own)
            .map(|output| output.value.to_sat())
            .sum();
        let value_sat = fields.coinbase.value();
        let waits_sat = match (&work.purse, &payee) {
            (Some(purse), Some((payee, _))) if !channel.plan.is_solo() => {
                waits(purse, &channel.plan, value_sat, payee.id)
            }
            _ => 0,
        };
        let stripped = [
            fields.coinbase.prefix(channel.size),
            extranonce.as_bytes().to_vec(),
            fields.coinbase.suffix(),
        ];
        let mut proof = Proof {
            channel: shown(number),
            channel_id: channel.channel_id,
            kind: match channel.kind {
                Kind::Standard => "standard",
                Kind::Extended => "extended",
            },
            user: clean(&channel.user_identity),
            plan: plan_name(&channel.plan),
            pays_you: yours_sat > 0,
            yours_sat,
            waits_sat,
            says: says(payee.is_some(), yours_sat, waits_sat),
            address: payee.as_ref().map(|(_, name)| name.clone()),
            template: Template {
                height: work.height,
                prev_hash: BlockHash::from_byte_array(fields.prev_hash).to_string(),
                value_sat,
                fees_sat: work.fees,
                merkle_branches: fields.merkle_path.len(),
                nbits: format!("{:08x}", fields.nbits),
                version: format!("{:08x}", fields.version),
                ntime: job.start_ntime(),
                snapshot: job.payouts(),
            },
            tag: readable(&script_sig),
            script_sig: script_sig.as_bytes().to_lower_hex_string(),
            rolled_bytes: match channel.kind {
                Kind::Standard => 0,
                Kind::Extended => channel.size.rolled(),
            },
            outputs: self.outputs(&coinbase, own, work.purse.as_deref()),
            coinbase: stripped.concat().to_lower_hex_string(),
            sha256: String::new(),
        };
        let text = serde_json::to_vec(&proof).ok()?;
        proof.sha256 = sha256::Hash::hash(&text).to_string();
        Some(proof)
    }

    fn outputs(&self, coinbase: &Transaction, own: Option<&[u8]>, purse: Option<&Purse>) -> Vec<Output> {
        let total: u64 = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
        let rules = purse.map(|purse| &purse.snapshot().rules);
        let purpose = |script: &Script| match rules {
            _ if Some(script.as_bytes()) == own => "you",
            _ if script.is_op_return() => "commitment",
            Some(rules) if *script.as_bytes() == *rules.pool.script => "pool",
            Some(rules)
                if (rules.donation.as_ref()).is_some_and(|(to, _)| *script.as_bytes() == *to.script) =>
            {
                "donation"
            }
            Some(_) => "miner",
            None => "other",
        };
        let outputs = coinbase.output.iter().map(|output| Output {
            address: super::address(&output.script_pubkey, self.network),
            purpose: purpose(&output.script_pubkey),
            value_sat: output.value.to_sat(),
            percent: percent(output.value.to_sat(), total),
            script: output.script_pubkey.as_bytes().to_lower_hex_string(),
        });
        outputs.collect()
    }
}

/// What a payee would have earned without being paid, were the block found.
fn waits(purse: &Purse, plan: &Plan, value_sat: u64, payee: [u8; 16]) -> i64 {
    let preview = Preview::of(purse, plan, 0, value_sat);
    let split = purse.split(plan, value_sat);
    let mut lines = split.lines.iter().zip(&preview.lines);
    let line = lines.find(|(line, _)| line.payee.id == payee);
    line.map_or(0, |(_, line)| line.left_sat)
}

fn says(has_address: bool, yours_sat: u64, waits_sat: i64) -> String {
    match (has_address, yours_sat, waits_sat) {
        (false, ..) => "user names are no addresses here: the pool's operator pays".into(),
        (true, 1.., ..=0) => "this coinbase pays you".into(),
        (true, 1.., waits) => format!("this coinbase pays you; {waits} satoshis wait for a later block"),
        (true, 0, ..=0) => "nothing of yours is in the window yet: mine on".into(),
        (true, 0, waits) => format!(
            "no output of yours in this block: {waits} satoshis of yours are too few, or too many others come first; \
             they are booked and wait for a later block or payment"
        ),
    }
}

/// `12.3456`: rounded down.
fn percent(part: u64, all: u64) -> String {
    let millionths = (u128::from(part) * 1_000_000)
        .checked_div(all.into())
        .unwrap_or(0);
    format!("{}.{:04}", millionths / 10_000, millionths % 10_000)
}

fn shown(number: u64) -> String {
    format!("{number:014x}")
}

/// The longest run of printable characters in a scriptSig, if there is one of three or more.
fn readable(script: &Script) -> String {
    let runs = script.as_bytes().split(|byte| !(b' '..=b'~').contains(byte));
    let longest = runs.max_by_key(|run| run.len()).unwrap_or_default();
    if longest.len() < 3 {
        return String::new();
    }
    String::from_utf8_lossy(longest).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_exact() {
        assert_eq!(percent(1, 3), "33.3333");
        assert_eq!(percent(0, 0), "0.0000");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0000");
        assert_eq!(percent(1, 100_000), "0.0010");
    }
}
