//! A declared coinbase, read from the bytes before and after its extranonce (spec 6.4.4).

use bitcoin::consensus::encode::{Decodable, VarInt};
use bitcoin::{Script, TxOut, script};

use crate::coinbase::SCRIPT_SIG_MAX;

/// Largest extranonce of a coinbase: PushSolution carries it as B0_32.
pub const EXTRANONCE_MAX: usize = 32;

/// Shortest scriptSig of a coinbase (consensus).
const SCRIPT_SIG_MIN: usize = 2;

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
            let segwit = head.0.starts_with(&[0, 1]);
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

    /// The height at the start of the scriptSig (BIP34), if it says one.
    pub fn height(&self) -> Option<u32> {
        height(&self.script_prefix)
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

    /// The whole transaction with its BIP141 fields.
    pub fn transaction(&self, extranonce: &[u8]) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        if self.witness.is_some() {
            bytes.extend_from_slice(&[0, 1]);
        }
        self.write_input(&mut bytes);
        bytes.extend_from_slice(extranonce);
        bytes.extend_from_slice(&self.sequence_and_outputs());
        if let Some(witness) = &self.witness {
            bytes.extend_from_slice(&[1, 32]);
            bytes.extend_from_slice(witness);
        }
        bytes.extend_from_slice(&self.locktime.to_le_bytes());
        bytes
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
        bytes.extend_from_slice(&bitcoin::consensus::serialize(&self.outputs));
        bytes
    }
}

/// The height that a scriptSig starts with (BIP34).
pub(super) fn height(script: &[u8]) -> Option<u32> {
    use script::Instruction;
    // The extranonce behind it is not there: only the first instruction is of interest.
    match Script::from_bytes(script).instructions_minimal().next()? {
        Ok(Instruction::PushBytes(bytes)) => {
            u32::try_from(script::read_scriptint(bytes.as_bytes()).ok()?).ok()
        }
        Ok(Instruction::Op(op)) => {
            let number = op
                .to_u8()
                .checked_sub(bitcoin::opcodes::all::OP_PUSHNUM_1.to_u8())?;
            (number < 16).then_some(u32::from(number) + 1)
        }
        Err(_) => None,
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
mod tests {
    use super::*;
    use bitcoin::{Amount, ScriptBuf, Transaction};
    use proptest::prelude::*;

    fn coinbase() -> Coinbase {
        let output = |value, script: Vec<u8>| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(script),
        };
        Coinbase {
            version: 2,
            script_prefix: vec![3, 0x40, 0x0d, 0x03, 8],
            extranonce_size: 8,
            sequence: 0xffff_fffe,
            outputs: vec![output(5_000_000_000, vec![0x51; 22]), output(0, vec![0x6a; 38])],
            witness: Some([0; 32]),
            locktime: 199_999,
        }
    }

    fn halves(coinbase: &Coinbase) -> (Vec<u8>, Vec<u8>) {
        let whole = coinbase.transaction(&[0xee; 8]);
        let at = whole.windows(8).position(|it| it == [0xee; 8]).unwrap();
        (whole[..at].to_vec(), whole[at + 8..].to_vec())
    }

    /// REQ-JD-032: the halves keep their BIP141 fields; with and without a witness they read back.
    #[test]
    fn halves_read_back_with_their_witness() {
        for witness in [Some([0; 32]), None] {
            let coinbase = Coinbase {
                witness,
                ..coinbase()
            };
            let (prefix, suffix) = halves(&coinbase);
            assert_eq!(Coinbase::read(&prefix, &suffix), Ok(coinbase.clone()));
            let whole: Transaction = bitcoin::consensus::deserialize(&coinbase.transaction(&[1; 8])).unwrap();
            assert!(whole.is_coinbase());
            let stripped = [coinbase.prefix(), vec![1; 8], coinbase.suffix()].concat();
            use bitcoin::hashes::{Hash, sha256d};
            assert_eq!(
                sha256d::Hash::hash(&stripped).to_byte_array(),
                whole.compute_txid().to_byte_array()
            );
            assert_eq!(coinbase.height(), Some(200_000));
            assert_eq!(coinbase.value(), Some(5_000_000_000));
        }
    }

    #[test]
    fn stripped_cut_or_overfull_halves_are_refused() {
        let (prefix, suffix) = halves(&coinbase());
        let stripped = [&prefix[..4], &prefix[6..]].concat();
        assert!(matches!(
            Coinbase::read(&stripped, &suffix),
            Err(CoinbaseProblem::Suffix(_))
        ));
        assert!(matches!(
            Coinbase::read(&prefix[..30], &suffix),
            Err(CoinbaseProblem::Prefix(_))
        ));
        let full = [prefix.clone(), vec![0; 8]].concat();
        assert!(matches!(
            Coinbase::read(&full, &suffix),
            Err(CoinbaseProblem::Input(_))
        ));
        let longer = [suffix.clone(), vec![0]].concat();
        assert!(matches!(
            Coinbase::read(&prefix, &longer),
            Err(CoinbaseProblem::Suffix(_))
        ));
        let mut spends = prefix.clone();
        spends[10] = 1;
        assert!(matches!(
            Coinbase::read(&spends, &suffix),
            Err(CoinbaseProblem::Prefix(_))
        ));
    }

    #[test]
    fn heights_are_read_as_consensus_writes_them() {
        assert_eq!(height(&[0x51]), Some(1));
        assert_eq!(height(&[0x60, 9, 9]), Some(16));
        assert_eq!(height(&[1, 17]), Some(17));
        assert_eq!(height(&[2, 17, 0]), None, "not minimal");
        assert_eq!(height(&[]), None);
        assert_eq!(height(&[5, 1]), None);
    }

    proptest! {
        #[test]
        fn no_halves_panic(prefix: Vec<u8>, suffix: Vec<u8>, place in 0usize..120, byte: u8) {
            let _ = Coinbase::read(&prefix, &suffix);
            let (mut good, mut end) = halves(&coinbase());
            if let Some(at) = good.get_mut(place) { *at = byte; }
            if let Some(at) = end.get_mut(place) { *at = byte; }
            if let Ok(read) = Coinbase::read(&good, &end) {
                let _ = (read.height(), read.value(), read.sigops());
            }
        }
    }
}
