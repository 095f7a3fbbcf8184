//! The first blocks: the same on every machine, so that a chain can be named by its tip.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, ScriptBuf, TxOut, WScriptHash};

use super::assemble::{empty_block, solve};
use super::rules::{BOOTSTRAP_HEIGHT, subsidy};
use super::{BlockError, Chain};

/// Seconds between bootstrap blocks; regtest's genesis is of 2011, so the last is long past.
const SPACING_S: u32 = 600;
/// Coins of one bootstrap coinbase: users with coins of their own need not wait for each other.
const COINS: usize = 64;
/// Far more nonces than two expected hashes need.
const TRIES_MAX: u64 = 1 << 16;

/// Output script of anyone-can-spend coins: P2WSH of `OP_TRUE`.
pub(super) fn open_script() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&WScriptHash::from_raw_hash(sha256::Hash::hash(&[0x51])))
}

/// Mines and connects the bootstrap blocks; each pays its subsidy to anyone, in even coins.
pub(super) fn extend(chain: &mut Chain) -> Result<(), BlockError> {
    for height in 1..=BOOTSTRAP_HEIGHT {
        let place = chain.next_place();
        let time = chain.median_time().saturating_add(SPACING_S);
        let coin = TxOut {
            value: Amount::from_sat(subsidy(height) / COINS as u64),
            script_pubkey: open_script(),
        };
        let coins = vec![coin; COINS];
        let mut block = empty_block(height, chain.tip(), (time, place.nbits), 0, coins);
        if !solve(&mut block.header, TRIES_MAX) {
            return Err(BlockError::HighHash);
        }
        chain.connect(block, u64::from(time))?;
    }
    Ok(())
}
