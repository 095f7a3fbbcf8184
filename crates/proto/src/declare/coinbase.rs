//! A declared coinbase: made by a job negotiator, read by a pool from the bytes before and after its extranonce.
//!
//! DeclareMiningJob carries it in halves with marker, flag and witness (spec 6.4.4); a pool rebuilds the same transaction
//! from the fields of SetCustomMiningJob (spec 5.3.18): the scriptSig is the `coinbase_prefix` and the whole extranonce,
//! nothing else. Both must agree to the byte, so both are made here.

use core::fmt;

use bitcoin::consensus::encode::{Decodable, VarInt};
use bitcoin::{Script, TxOut};

use crate::coinbase::{self, SCRIPT_PREFIX_MAX, SCRIPT_SIG_MAX};

/// Largest extranonce of a coinbase: PushSolution carries it as B0_32.
pub const EXTRANONCE_MAX: usize = 32;

/// Shortest scriptSig of a coinbase (consensus).
const SCRIPT_SIG_MIN: usize = 2;

/// Marker and flag of a transaction with witness (BIP144).
const MARKER_AND_FLAG: [u8; 2] = [0x00, 0x01];

/// Start of the script of a witness commitment (BIP141).
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Everything of a coinbase transaction but the extranonce, which ends its scriptSig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// Transaction version.
    pub version: u32,
    /// The scriptSig before the extranonce.
    pub script_prefix: Vec<u8>,
    /// Bytes of the extranonce: what the script still lacks.
    pub extranonce_size: usize,
    /// nSequence of the input.
    pub sequence: u32,
    /// The outputs in their order.
    pub outputs: Vec<TxOut>,
    /// The input's witness item, where there is one.
    pub witness: Option<[u8; 32]>,
    /// Lock time.
    pub locktime: u32,
}

/// What is wrong with a declared coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoinbaseProblem {
    /// The first half is no start of a coinbase.
    Prefix(&'static str),
    /// The second half is no end of one.
    Suffix(&'static str),
    /// The scriptSig cannot be.
    Input(&'static str),
}

/// Why a coinbase of our own cannot be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The scriptSig's start is longer than [`SCRIPT_PREFIX_MAX`].
    Prefix,
    /// The whole scriptSig would be too short or too long for consensus.
    ScriptSig,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "the coinbase prefix has more than 8 bytes",
            Self::ScriptSig => "the scriptSig would not have 2 to 100 bytes",
        })
    }
}

impl CoinbaseProblem {
    /// What is wrong, in words.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Prefix(why) | Self::Suffix(why) | Self::Input(why) => why,
        }
    }
}

impl Coinbase {
    /// Reads the two halves with their BIP141 fields. What is missing between them, by the length of the script, is
    /// the extranonce.
    pub fn read(prefix: &[u8], suffix: &[u8]) -> Result<Self, CoinbaseProblem> {
        let mut head = Bytes(prefix);
        let start = (|| {
            let version = head.u32()?;
            let segwit = head.0.starts_with(&MARKER_AND_FLAG);
            if segwit {
                head.take(2)?;
            }
            (head.take(1)? == [1]).then_some(())?;
            (head.take(32)? == [0; 32] && head.take(4)? == [0xff; 4]).then_some(())?;
            let length = usize::try_from(head.var()?).ok()?;
            Some((version, segwit, length))
        })();
        let (version, segwit, length) =
            start.ok_or(CoinbaseProblem::Prefix("not the start of a coinbase transaction"))?;
        if !(SCRIPT_SIG_MIN..=SCRIPT_SIG_MAX).contains(&length) {
            return Err(CoinbaseProblem::Input("the scriptSig must have 2 to 100 bytes"));
        }
        let extranonce_size = length
            .checked_sub(head.0.len())
            .filter(|size| (1..=EXTRANONCE_MAX).contains(size))
            .ok_or(CoinbaseProblem::Input(
                "no room for an extranonce of 1 to 32 bytes at the end of the scriptSig",
            ))?;
        let mut tail = Bytes(suffix);
        let rest = (|| {
            let sequence = tail.u32()?;
            let outputs = tail.outputs()?;
            let witness = if segwit { Some(tail.witness()?) } else { None };
            let locktime = tail.u32()?;
            tail.0
                .is_empty()
                .then_some((sequence, outputs, witness, locktime))
        })();
        let (sequence, outputs, witness, locktime) = rest.ok_or(CoinbaseProblem::Suffix(
            "not the end of a coinbase transaction with its BIP141 fields",
        ))?;
        Ok(Self {
            version,
            script_prefix: head.0.to_vec(),
            extranonce_size,
            sequence,
            outputs,
            witness,
            locktime,
        })
    }

    /// Reads outputs as messages carry them: a count and the outputs, nothing behind them.
    pub fn read_outputs(bytes: &[u8]) -> Option<Vec<TxOut>> {
        let mut bytes = Bytes(bytes);
        let outputs = bytes.outputs()?;
        bytes.0.is_empty().then_some(outputs)
    }

    /// `script_prefix` with the push opcode of an extranonce of `size` bytes behind it, if there is room: bytes that are
    /// pushed hold no signature operations.
    #[must_use]
    pub fn pushing(script_prefix: &[u8], size: usize) -> Vec<u8> {
        let mut script = script_prefix.to_vec();
        if script.len() < SCRIPT_PREFIX_MAX
            && let Ok(opcode) = u8::try_from(size)
            && (1..=EXTRANONCE_MAX as u8).contains(&opcode)
        {
            script.push(opcode);
        }
        script
    }

    /// Whether one of our own can be declared (REQ-MIN-090) and mined.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self) -> Result<(), Unfit> {
        if self.script_prefix.len() > SCRIPT_PREFIX_MAX {
            return Err(Unfit::Prefix);
        }
        let script = self.script_prefix.len().saturating_add(self.extranonce_size);
        if self.extranonce_size > EXTRANONCE_MAX || !(SCRIPT_SIG_MIN..=SCRIPT_SIG_MAX).contains(&script) {
            return Err(Unfit::ScriptSig);
        }
        Ok(())
    }

    /// The height at the start of the scriptSig (BIP34), if it says one.
    pub fn height(&self) -> Option<u32> {
        coinbase::height(&self.script_prefix)
    }

    /// Satoshis of all outputs; nothing where that is more than there will ever be.
    pub fn value(&self) -> Option<u64> {
        value(&self.outputs)
    }

    /// Cost of the signature operations of scriptSig and outputs.
    pub fn sigops(&self) -> u64 {
        sigops(&self.script_prefix, &self.outputs)
    }

    /// Whether there is an output that commits to the witnesses (BIP141).
    pub fn commits(&self) -> bool {
        commits(&self.outputs)
    }

    /// The stripped transaction before the extranonce.
    pub fn prefix(&self) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        self.write_input(&mut bytes);
        bytes
    }

    /// The stripped transaction after the extranonce.
    pub fn suffix(&self) -> Vec<u8> {
        let mut bytes = self.sequence_and_outputs();
        bytes.extend_from_slice(&self.locktime.to_le_bytes());
        bytes
    }

    /// The transaction before the extranonce, as DeclareMiningJob carries it: not stripped where the block has a
    /// commitment (REQ-JD-032).
    #[must_use]
    pub fn declared_prefix(&self) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        if self.witness.is_some() {
            bytes.extend_from_slice(&MARKER_AND_FLAG);
        }
        self.write_input(&mut bytes);
        bytes
    }

    /// The transaction after the extranonce, as DeclareMiningJob carries it: with the witness.
    #[must_use]
    pub fn declared_suffix(&self) -> Vec<u8> {
        let mut bytes = self.sequence_and_outputs();
        if let Some(witness) = &self.witness {
            bytes.extend_from_slice(&[1, 32]); // one item of 32 bytes
            bytes.extend_from_slice(witness);
        }
        bytes.extend_from_slice(&self.locktime.to_le_bytes());
        bytes
    }

    /// The whole transaction with its BIP141 fields.
    pub fn transaction(&self, extranonce: &[u8]) -> Vec<u8> {
        [&self.declared_prefix()[..], extranonce, &self.declared_suffix()].concat()
    }

    /// The outputs with their count, as SetCustomMiningJob and AllocateMiningJobToken.Success carry them.
    #[must_use]
    pub fn serialized_outputs(&self) -> Vec<u8> {
        bitcoin::consensus::serialize(&self.outputs)
    }

    /// Bytes that the value holds in memory, about.
    pub fn bytes(&self) -> usize {
        let scripts: usize = self.outputs.iter().map(|output| output.script_pubkey.len()).sum();
        size_of::<Self>() + self.script_prefix.len() + self.outputs.len() * size_of::<TxOut>() + scripts
    }

    fn write_input(&self, out: &mut Vec<u8>) {
        out.push(1);
        out.extend_from_slice(&[0; 32]);
        out.extend_from_slice(&[0xff; 4]);
        // At most 100, so that CompactSize is one byte.
        out.push((self.script_prefix.len() + self.extranonce_size) as u8);
        out.extend_from_slice(&self.script_prefix);
    }

    fn sequence_and_outputs(&self) -> Vec<u8> {
        let mut bytes = self.sequence.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.serialized_outputs());
        bytes
    }
}

pub(super) fn value(outputs: &[TxOut]) -> Option<u64> {
    let sum = outputs
        .iter()
        .try_fold(0u64, |sum, output| sum.checked_add(output.value.to_sat()))?;
    (sum <= bitcoin::Amount::MAX_MONEY.to_sat()).then_some(sum)
}

pub(super) fn sigops(script_prefix: &[u8], outputs: &[TxOut]) -> u64 {
    let own = Script::from_bytes(script_prefix).count_sigops_legacy() as u64;
    let count =
        |sum: u64, output: &TxOut| sum.saturating_add(output.script_pubkey.count_sigops_legacy() as u64);
    outputs.iter().fold(own, count).saturating_mul(4)
}

pub(super) fn commits(outputs: &[TxOut]) -> bool {
    let commitment = |output: &TxOut| {
        let script = output.script_pubkey.as_bytes();
        script.starts_with(&COMMITMENT) && script.len() >= 38
    };
    outputs.iter().any(commitment)
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn var(&mut self) -> Option<u64> {
        VarInt::consensus_decode(&mut self.0).ok().map(|number| number.0)
    }

    fn outputs(&mut self) -> Option<Vec<TxOut>> {
        let outputs: Vec<TxOut> = Decodable::consensus_decode(&mut self.0).ok()?;
        (!outputs.is_empty()).then_some(outputs)
    }

    fn witness(&mut self) -> Option<[u8; 32]> {
        (self.take(2)? == [1, 32]).then_some(())?;
        self.take(32)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests;
