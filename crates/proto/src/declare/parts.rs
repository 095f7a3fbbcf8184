//! The coinbase of a custom job: stripped halves for hashing, halves with BIP141 fields for declaring.
//!
//! A pool rebuilds the coinbase from the fields of SetCustomMiningJob (spec 5.3.18): the scriptSig is the
//! `coinbase_prefix` and the whole extranonce, nothing else. DeclareMiningJob carries the same transaction in halves with
//! marker, flag and witness (spec 6.4.4). Both must agree to the byte, so both are made here.

use bitcoin::TxOut;
use bitcoin::consensus::{deserialize, serialize};

use crate::coinbase::{SCRIPT_PREFIX_MAX, SCRIPT_SIG_MAX};
use crate::extranonce::FULL_SIZE_MAX;

/// Marker and flag of a transaction with witness (BIP144).
const MARKER_AND_FLAG: [u8; 2] = [0x00, 0x01];

/// All of a custom job's coinbase but the extranonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Transaction version.
    pub version: u32,
    /// The scriptSig before the extranonce, at most [`SCRIPT_PREFIX_MAX`] bytes (REQ-MIN-090).
    pub script_prefix: Vec<u8>,
    /// nSequence of the input.
    pub sequence: u32,
    /// All outputs in order.
    pub outputs: Vec<TxOut>,
    /// Lock time.
    pub locktime: u32,
    /// The input's witness item (BIP141 reserved value), where the block has a commitment.
    pub witness: Option<[u8; 32]>,
}

/// Why a coinbase cannot be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The scriptSig's start is longer than [`SCRIPT_PREFIX_MAX`].
    Prefix,
    /// The whole scriptSig would be too short or too long for consensus.
    ScriptSig,
}

impl core::fmt::Display for Unfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Prefix => "the coinbase prefix has more than 8 bytes",
            Self::ScriptSig => "the scriptSig would not have 2 to 100 bytes",
        })
    }
}

impl Parts {
    /// `script_prefix` with the push opcode of an extranonce of `size` bytes behind it, if there is room: bytes that are
    /// pushed hold no signature operations.
    #[must_use]
    pub fn pushing(script_prefix: &[u8], size: usize) -> Vec<u8> {
        let mut script = script_prefix.to_vec();
        if script.len() < SCRIPT_PREFIX_MAX
            && let Ok(opcode) = u8::try_from(size)
            && (1..=FULL_SIZE_MAX as u8).contains(&opcode)
        {
            script.push(opcode);
        }
        script
    }

    /// Whether it can be mined with an extranonce of `size` bytes.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, size: usize) -> Result<(), Unfit> {
        if self.script_prefix.len() > SCRIPT_PREFIX_MAX {
            return Err(Unfit::Prefix);
        }
        let script = self.script_prefix.len().saturating_add(size);
        if size > FULL_SIZE_MAX || !(2..=SCRIPT_SIG_MAX).contains(&script) {
            return Err(Unfit::ScriptSig);
        }
        Ok(())
    }

    /// The outputs with their count, as SetCustomMiningJob and AllocateMiningJobToken.Success carry them.
    #[must_use]
    pub fn serialized_outputs(&self) -> Vec<u8> {
        serialize(&self.outputs)
    }

    /// The stripped transaction before an extranonce of `size` bytes.
    #[must_use]
    pub fn stripped_prefix(&self, size: usize) -> Vec<u8> {
        [&self.version.to_le_bytes()[..], &self.input(size)].concat()
    }

    /// The stripped transaction after the extranonce.
    #[must_use]
    pub fn stripped_suffix(&self) -> Vec<u8> {
        [self.tail(), self.locktime.to_le_bytes().to_vec()].concat()
    }

    /// `coinbase_tx_prefix` of DeclareMiningJob: not stripped where the block has a commitment (REQ-JD-032).
    #[must_use]
    pub fn declared_prefix(&self, size: usize) -> Vec<u8> {
        let marker: &[u8] = if self.witness.is_some() {
            &MARKER_AND_FLAG
        } else {
            &[]
        };
        [&self.version.to_le_bytes()[..], marker, &self.input(size)].concat()
    }

    /// `coinbase_tx_suffix` of DeclareMiningJob, with the witness.
    #[must_use]
    pub fn declared_suffix(&self) -> Vec<u8> {
        let mut bytes = self.tail();
        if let Some(witness) = &self.witness {
            bytes.extend_from_slice(&[1, 32]); // one item of 32 bytes
            bytes.extend_from_slice(witness);
        }
        bytes.extend_from_slice(&self.locktime.to_le_bytes());
        bytes
    }

    fn input(&self, size: usize) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&[0; 32]);
        bytes.extend_from_slice(&[0xff; 4]);
        // At most SCRIPT_SIG_MAX after `check`, so that CompactSize is one byte.
        bytes.push((self.script_prefix.len() + size) as u8);
        bytes.extend_from_slice(&self.script_prefix);
        bytes
    }

    fn tail(&self) -> Vec<u8> {
        [self.sequence.to_le_bytes().to_vec(), self.serialized_outputs()].concat()
    }
}

/// Takes apart the outputs of AllocateMiningJobToken.Success or SetCustomMiningJob: a count and that many outputs, byte
/// for byte.
#[must_use]
pub fn outputs(bytes: &[u8]) -> Option<Vec<TxOut>> {
    deserialize(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, ScriptBuf, Transaction};

    fn parts() -> Parts {
        let output = |value, script: &[u8]| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
        };
        Parts {
            version: 2,
            script_prefix: Parts::pushing(&[3, 0x40, 0x0d, 0x03], 20),
            sequence: 0xffff_fffe,
            outputs: vec![output(5_000_000_000, &[0x51]), output(0, &[0x6a; 38])],
            locktime: 839_999,
            witness: Some([0; 32]),
        }
    }

    /// REQ-JD-032, REQ-MIN-090: the declared halves hold marker, flag and witness, and are the same transaction.
    #[test]
    fn declared_and_stripped_halves_are_one_transaction() {
        let parts = parts();
        assert_eq!(parts.check(20), Ok(()));
        assert_eq!(parts.script_prefix, [3, 0x40, 0x0d, 0x03, 20]);
        let extranonce = [7; 20];
        let declared = [
            &parts.declared_prefix(20)[..],
            &extranonce,
            &parts.declared_suffix(),
        ]
        .concat();
        let stripped = [
            &parts.stripped_prefix(20)[..],
            &extranonce,
            &parts.stripped_suffix(),
        ]
        .concat();
        assert_eq!(declared[4..6], MARKER_AND_FLAG);
        let whole: Transaction = deserialize(&declared).unwrap();
        assert!(whole.is_coinbase());
        assert_eq!(whole.input[0].witness.iter().next(), Some(&[0u8; 32][..]));
        assert_eq!(whole.input[0].script_sig.count_sigops_legacy(), 0);
        assert_eq!(
            whole.compute_txid().to_byte_array(),
            crate::sha::double(&stripped)
        );
        assert_eq!(outputs(&parts.serialized_outputs()), Some(whole.output));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut long = parts();
        long.script_prefix = vec![0; 9];
        assert_eq!(long.check(20), Err(Unfit::Prefix));
        assert_eq!(parts().check(33), Err(Unfit::ScriptSig));
        // No room for an opcode: left out.
        assert_eq!(Parts::pushing(&[1; 8], 20).len(), 8);
        assert_eq!(outputs(&[2, 0]), None);
        let mut trailing = parts().serialized_outputs();
        trailing.push(0);
        assert_eq!(outputs(&trailing), None);
    }
}
