//! The coinbase that we mine, and whether it is one that a node takes.

use adit_node::Template;
use adit_node::check::{self, Problem};
use adit_proto::coinbase::Coinbase;
use adit_proto::extranonce::{Extranonce, FullSize, PREFIX_BYTES};
use bitcoin::consensus::deserialize;
use bitcoin::{Amount, Script, Transaction, TxOut};

/// The coinbase of a template that pays everything to one script.
pub(crate) fn of(template: &Template, payout: &Script, tag: &[u8], start_epoch: u32) -> Coinbase {
    let outputs = vec![TxOut {
        value: Amount::from_sat(template.coinbase_tx_value_remaining),
        script_pubkey: payout.to_owned(),
    }];
    paying(template, outputs, tag, start_epoch)
}

/// The coinbase of a template with these outputs.
pub(crate) fn paying(template: &Template, outputs: Vec<TxOut>, tag: &[u8], start_epoch: u32) -> Coinbase {
    let value = template.coinbase_tx_value_remaining;
    Coinbase {
        version: template.coinbase_tx_version,
        script_prefix: template.coinbase_prefix.clone(),
        tag: tag.to_vec(),
        start_epoch,
        sequence: template.coinbase_tx_input_sequence,
        value,
        outputs,
        required_outputs: template.coinbase_tx_outputs.clone(),
        locktime: template.coinbase_tx_locktime,
        witness: template.coinbase_witness,
    }
}

/// The coinbase as a transaction, with an extranonce of zeros.
pub(crate) fn transaction(coinbase: &Coinbase) -> Option<Transaction> {
    let extranonce = Extranonce::fixed([0; PREFIX_BYTES], FullSize::DEFAULT);
    deserialize(&coinbase.transaction(&extranonce)).ok()
}

/// What would cost a block mined on this template with this coinbase.
pub(crate) fn check(template: &Template, coinbase: &Coinbase) -> Vec<Problem> {
    match transaction(coinbase) {
        Some(transaction) => check::coinbase(template, &transaction),
        None => vec![Problem::NoCoinbase],
    }
}
