//! The unspent outputs, and what a block does to them.

use std::collections::HashMap;

use bitcoin::{Block, OutPoint, Transaction, TxOut, Txid};

use super::BlockError;
use super::check::Place;
use super::rules::{BLOCK_SIGOPS_MAX, COINBASE_MATURITY, subsidy};
use super::script;

/// Bits of a relative lock (BIP68).
const SEQUENCE_DISABLED: u32 = 1 << 31;
const SEQUENCE_IS_TIME: u32 = 1 << 22;
const SEQUENCE_MASK: u32 = 0xffff;
/// Seconds a unit of a relative time lock, as a power of two.
const SEQUENCE_TIME_SHIFT: u32 = 9;

/// One unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The output.
    pub output: TxOut,
    /// Height of the block that made it.
    pub height: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// What a block spent, in order: enough to take it back.
#[derive(Clone, Debug, Default)]
pub(super) struct Undo(Vec<(OutPoint, Coin)>);

/// All unspent outputs at the tip.
#[derive(Clone, Debug, Default)]
pub(super) struct Coins(HashMap<OutPoint, Coin>);

/// Gives the median time past of a block below the one being judged, by height.
pub(super) type MedianAt<'a> = &'a dyn Fn(u32) -> u32;

impl Coins {
    pub(super) fn coin(&self, point: &OutPoint) -> Option<&Coin> {
        self.0.get(point)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.0.iter()
    }

    /// Spends and creates what `block` does, checked; on error nothing has changed.
    pub(super) fn connect(
        &mut self,
        block: &Block,
        txids: &[Txid],
        place: &Place,
        median_at: MedianAt<'_>,
    ) -> Result<Undo, BlockError> {
        let mut undo = Undo::default();
        let mut done = 0;
        let mut total = Totals::default();
        for (tx, txid) in block.txdata.iter().zip(txids) {
            let step = self.transact(tx, *txid, place, median_at, &mut undo, &mut total);
            if let Err(error) = step {
                self.take_back(block, txids, done, undo);
                return Err(error);
            }
            done += 1;
        }
        if let Err(error) = coinbase_value(block, place.height, total.fees) {
            self.take_back(block, txids, done, undo);
            return Err(error);
        }
        Ok(undo)
    }

    /// Takes a connected block back.
    pub(super) fn disconnect(&mut self, block: &Block, txids: &[Txid], undo: Undo) {
        self.take_back(block, txids, block.txdata.len(), undo);
    }

    fn transact(
        &mut self,
        tx: &Transaction,
        txid: Txid,
        place: &Place,
        median_at: MedianAt<'_>,
        undo: &mut Undo,
        total: &mut Totals,
    ) -> Result<(), BlockError> {
        let coinbase = tx.is_coinbase();
        let mut spent = Vec::with_capacity(tx.input.len());
        if !coinbase {
            for input in &tx.input {
                let point = input.previous_output;
                let coin = self.0.get(&point).ok_or(BlockError::MissingOrSpent(point))?;
                spent.push(coin.clone());
            }
            total.fees = total.fees.saturating_add(spend(tx, &spent, place, median_at)?);
        }
        total.sigops = total.sigops.saturating_add(sigop_cost(tx, &spent));
        if total.sigops > BLOCK_SIGOPS_MAX {
            return Err(BlockError::Sigops(total.sigops));
        }
        if (0..tx.output.len()).any(|vout| self.0.contains_key(&point(txid, vout))) {
            return Err(BlockError::Overwrites);
        }
        for (input, coin) in tx.input.iter().zip(spent) {
            self.0.remove(&input.previous_output);
            undo.0.push((input.previous_output, coin));
        }
        for (vout, output) in tx.output.iter().enumerate() {
            if !output.script_pubkey.is_op_return() {
                let output = output.clone();
                let coin = Coin {
                    output,
                    height: place.height,
                    coinbase,
                };
                self.0.insert(point(txid, vout), coin);
            }
        }
        Ok(())
    }

    /// Takes the first `done` transactions back, the last first.
    fn take_back(&mut self, block: &Block, txids: &[Txid], done: usize, mut undo: Undo) {
        for (tx, txid) in block.txdata.iter().zip(txids).take(done).rev() {
            for vout in 0..tx.output.len() {
                self.0.remove(&point(*txid, vout));
            }
            if !tx.is_coinbase() {
                let from = undo.0.len().saturating_sub(tx.input.len());
                self.0.extend(undo.0.drain(from..));
            }
        }
    }
}

#[derive(Default)]
struct Totals {
    fees: u64,
    sigops: u64,
}

fn point(txid: Txid, vout: usize) -> OutPoint {
    OutPoint {
        txid,
        vout: u32::try_from(vout).unwrap_or(u32::MAX),
    }
}

fn coinbase_value(block: &Block, height: u32, fees: u64) -> Result<(), BlockError> {
    let outputs = block
        .txdata
        .first()
        .into_iter()
        .flat_map(|coinbase| &coinbase.output);
    let paid = outputs.fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    let allowed = subsidy(height).saturating_add(fees);
    if paid > allowed {
        return Err(BlockError::CoinbaseValue { paid, allowed });
    }
    Ok(())
}

/// The cost of a transaction's signature operations (BIP141), given what it spends.
pub(super) fn sigop_cost(tx: &Transaction, spent: &[Coin]) -> u64 {
    let points = tx.input.iter().map(|input| input.previous_output);
    let outputs: HashMap<OutPoint, &TxOut> = points.zip(spent.iter().map(|coin| &coin.output)).collect();
    tx.total_sigop_cost(|point| outputs.get(point).map(|output| (*output).clone())) as u64
}

/// Judges a transaction against the coins it spends, in the order of its inputs: maturity,
/// relative locks, amounts, scripts. Gives its fee in satoshis.
pub(super) fn spend(
    tx: &Transaction,
    spent: &[Coin],
    place: &Place,
    median_at: MedianAt<'_>,
) -> Result<u64, BlockError> {
    let mut value = 0u64;
    for (input, coin) in tx.input.iter().zip(spent) {
        if coin.coinbase && place.height.saturating_sub(coin.height) < COINBASE_MATURITY {
            return Err(BlockError::Immature(input.previous_output));
        }
        let relative = tx.version.0.cast_unsigned() >= 2;
        if relative && is_locked(input.sequence.0, coin.height, place, median_at) {
            return Err(BlockError::NonFinal);
        }
        value = value.saturating_add(coin.output.value.to_sat());
    }
    let paid = tx
        .output
        .iter()
        .fold(0u64, |sum, o| sum.saturating_add(o.value.to_sat()));
    let fee = value.checked_sub(paid).ok_or(BlockError::InBelowOut)?;
    let outputs: Vec<TxOut> = spent.iter().map(|coin| coin.output.clone()).collect();
    script::verify(tx, &outputs).map_err(|(input, why)| BlockError::Script { input, why })?;
    Ok(fee)
}

/// Whether a relative lock (BIP68) still holds for a coin of `height`.
fn is_locked(sequence: u32, height: u32, place: &Place, median_at: MedianAt<'_>) -> bool {
    if sequence & SEQUENCE_DISABLED != 0 {
        return false;
    }
    let units = sequence & SEQUENCE_MASK;
    if sequence & SEQUENCE_IS_TIME != 0 {
        let from = median_at(height.saturating_sub(1));
        return from.saturating_add(units << SEQUENCE_TIME_SHIFT) > place.median_time;
    }
    height.saturating_add(units) > place.height
}
