//! The coinbase transaction: in halves for jobs, whole for blocks.
//!
//! ```text
//! version | 1 input: null outpoint, scriptSig, sequence | outputs | lock time
//!                                  |
//!        BIP34 height and more of the template | tag | start epoch | full extranonce
//! ```
//!
//! The scriptSig stands whole in the first half, with the extranonce as its end: some devices check
//! payouts by parsing the second half. Tag, and epoch with extranonce, are pushes, so that the script
//! holds no signature operations. Jobs carry the halves without BIP141 fields (spec 5.3.16), so that
//! the hash is the txid; blocks need them back (spec 3.7.1).

mod halves;

use crate::extranonce::{Extranonce, FULL_SIZE_MAX, FullSize};
use crate::sha::{self, BLOCK_BYTES, Block, START, State};
use bitcoin::consensus::Encodable;
use bitcoin::{Script, TxOut};
use core::fmt;

pub use halves::Halves;

/// Largest scriptSig of a coinbase in bytes (consensus).
pub const SCRIPT_SIG_MAX: usize = 100;

/// Largest start of the scriptSig that a template may give, in bytes (spec 7.2, C-85).
pub const SCRIPT_PREFIX_MAX: usize = 8;

/// Bytes of the start epoch.
const EPOCH_BYTES: usize = 4;

/// Largest tag in bytes: what consensus leaves beside the longest other parts and the two push
/// opcodes.
pub const TAG_MAX: usize = SCRIPT_SIG_MAX - SCRIPT_PREFIX_MAX - 2 - EPOCH_BYTES - FULL_SIZE_MAX;

/// Largest half in bytes: a job carries it as B0_64K.
const HALF_MAX: usize = 65_535;

/// All of a coinbase transaction but the extranonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// Transaction version.
    pub version: u32,
    /// Start of the scriptSig as the template gives it (BIP34 height), at most 8 bytes.
    pub script_prefix: Vec<u8>,
    /// The pool's signature in the chain, at most [`TAG_MAX`] bytes; may be empty.
    pub tag: Vec<u8>,
    /// Counts the starts of the data folder up, so that work from before a restart has another hash.
    pub start_epoch: u32,
    /// nSequence of the input.
    pub sequence: u32,
    /// Satoshis that `outputs` must share out, to the last one.
    pub value: u64,
    /// The pool's outputs; the first in the transaction.
    pub outputs: Vec<TxOut>,
    /// The template's outputs as they must stay, such as the witness commitment; the last ones.
    pub required_outputs: Vec<TxOut>,
    /// Lock time of the transaction.
    pub locktime: u32,
    /// The input's witness item (BIP141 reserved value), where the block has a commitment.
    pub witness: Option<[u8; 32]>,
}

/// The coinbase of a job: made here of its parts, or given in halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Made here; serves every full extranonce size.
    Own(Coinbase),
    /// Made by an upstream or a job negotiator; serves the one size that it was made for.
    Given(Halves),
}

impl From<Coinbase> for Body {
    fn from(own: Coinbase) -> Self {
        Self::Own(own)
    }
}

impl From<Halves> for Body {
    fn from(given: Halves) -> Self {
        Self::Given(given)
    }
}

impl Body {
    /// Checks everything that does not depend on the extranonce.
    ///
    /// # Errors
    /// When no miner could use it.
    pub fn check(&self) -> Result<(), CoinbaseError> {
        match self {
            Self::Own(own) => own.check(),
            Self::Given(given) => given.check(),
        }
    }

    /// The one size in bytes that a full extranonce may have; any if none.
    pub const fn size(&self) -> Option<usize> {
        match self {
            Self::Own(_) => None,
            Self::Given(given) => Some(given.size),
        }
    }

    /// The stripped transaction up to the extranonce (spec 5.3.16).
    pub fn prefix(&self, size: FullSize) -> Vec<u8> {
        match self {
            Self::Own(own) => own.prefix(size),
            Self::Given(given) => given.prefix.clone(),
        }
    }

    /// The stripped transaction after the extranonce (spec 5.3.16).
    pub fn suffix(&self) -> Vec<u8> {
        match self {
            Self::Own(own) => own.suffix(),
            Self::Given(given) => given.suffix.clone(),
        }
    }

    /// The whole transaction for a block, consensus encoded, with its BIP141 fields where they are known.
    pub fn transaction(&self, extranonce: &Extranonce) -> Vec<u8> {
        match self {
            Self::Own(own) => own.transaction(extranonce),
            Self::Given(given) => given.transaction(extranonce),
        }
    }

    /// Satoshis that the outputs of whoever mines share out; of given halves, of all outputs.
    pub const fn value(&self) -> u64 {
        match self {
            Self::Own(own) => own.value,
            Self::Given(given) => given.value,
        }
    }

    /// The block's height as the scriptSig starts with it (BIP34), if it does.
    pub fn height(&self) -> Option<u32> {
        height(match self {
            Self::Own(own) => &own.script_prefix,
            Self::Given(given) => given.script(),
        })
    }
}

/// The height that a scriptSig starts with (BIP34), if it does.
pub fn height(script: &[u8]) -> Option<u32> {
    use bitcoin::script::{self, Instruction};
    // The extranonce behind it need not be there: only the first instruction is of interest.
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

/// Why a coinbase cannot be mined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoinbaseError {
    /// The template's start of the scriptSig is longer than [`SCRIPT_PREFIX_MAX`].
    ScriptPrefixTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// The tag is longer than [`TAG_MAX`].
    TagTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// The pool's outputs do not add up to what the template leaves for them.
    ValueMismatch {
        /// Satoshis to share out.
        expected: u64,
        /// Satoshis of the outputs, all together; saturated.
        found: u64,
    },
    /// Halves that make no coinbase transaction: what is wrong with them.
    NotACoinbase(&'static str),
    /// The outputs do not fit the message that carries them.
    TooLarge {
        /// Bytes of the half that is too large.
        bytes: usize,
    },
}

impl Coinbase {
    /// Checks everything that does not depend on the extranonce; if this is well, a job of any full
    /// size can be made.
    pub fn check(&self) -> Result<(), CoinbaseError> {
        if self.script_prefix.len() > SCRIPT_PREFIX_MAX {
            return Err(CoinbaseError::ScriptPrefixTooLong {
                bytes: self.script_prefix.len(),
            });
        }
        if self.tag.len() > TAG_MAX {
            return Err(CoinbaseError::TagTooLong {
                bytes: self.tag.len(),
            });
        }
        let found = self
            .outputs
            .iter()
            .fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
        if found != self.value {
            return Err(CoinbaseError::ValueMismatch {
                expected: self.value,
                found,
            });
        }
        // The first half is small whatever the size: only the second holds outputs.
        match self.suffix().len() {
            bytes if bytes > HALF_MAX => Err(CoinbaseError::TooLarge { bytes }),
            _ => Ok(()),
        }
    }

    /// The stripped transaction up to the extranonce: `coinbase_tx_prefix` of a job (spec 5.3.16).
    pub fn prefix(&self, size: FullSize) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        self.write_input_until_extranonce(size, &mut bytes);
        bytes
    }

    /// The stripped transaction after the extranonce: `coinbase_tx_suffix` of a job (spec 5.3.16).
    pub fn suffix(&self) -> Vec<u8> {
        let mut bytes = self.sequence_and_outputs();
        bytes.extend_from_slice(&self.locktime.to_le_bytes());
        bytes
    }

    /// The whole transaction with its BIP141 fields, consensus encoded, for a block.
    pub fn transaction(&self, extranonce: &Extranonce) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        if self.witness.is_some() {
            bytes.extend_from_slice(&[0x00, 0x01]); // marker and flag
        }
        self.write_input_until_extranonce(extranonce.size(), &mut bytes);
        bytes.extend_from_slice(extranonce.as_bytes());
        bytes.extend_from_slice(&self.sequence_and_outputs());
        if let Some(witness) = &self.witness {
            bytes.extend_from_slice(&[1, 32]); // one item of 32 bytes
            bytes.extend_from_slice(witness);
        }
        bytes.extend_from_slice(&self.locktime.to_le_bytes());
        bytes
    }

    fn write_input_until_extranonce(&self, size: FullSize, out: &mut Vec<u8>) {
        out.push(1);
        out.extend_from_slice(&[0; 32]);
        out.extend_from_slice(&[0xff; 4]);
        let script = self.script_until_extranonce(size);
        // At most SCRIPT_SIG_MAX after `check`, so that CompactSize is one byte.
        out.push((script.len() + size.bytes()) as u8);
        out.extend_from_slice(&script);
    }

    fn script_until_extranonce(&self, size: FullSize) -> Vec<u8> {
        let mut script = self.script_prefix.clone();
        if !self.tag.is_empty() {
            script.push(self.tag.len() as u8); // OP_PUSHBYTES_n: at most 75
            script.extend_from_slice(&self.tag);
        }
        script.push((EPOCH_BYTES + size.bytes()) as u8);
        script.extend_from_slice(&self.start_epoch.to_be_bytes());
        script
    }

    fn sequence_and_outputs(&self) -> Vec<u8> {
        let mut bytes = self.sequence.to_le_bytes().to_vec();
        let outputs: Vec<&TxOut> = self.outputs.iter().chain(&self.required_outputs).collect();
        let count = bitcoin::VarInt(outputs.len() as u64);
        // Writing to a vector cannot fail.
        let _ = count.consensus_encode(&mut bytes);
        for output in outputs {
            let _ = output.consensus_encode(&mut bytes);
        }
        bytes
    }
}

/// A stripped coinbase laid out for hashing: what no extranonce changes is hashed once, the rest
/// stands in padded blocks.
#[derive(Debug)]
pub(crate) struct Hasher {
    /// State after the blocks that lie wholly before the extranonce.
    midstate: State,
    /// The first one or two blocks after them, which hold the extranonce; zeros in its place.
    open: [[u8; BLOCK_BYTES]; 2],
    /// How many of `open` are used.
    open_count: usize,
    /// Where in `open` the extranonce starts.
    offset: usize,
    /// All blocks after those.
    rest: Box<[Block]>,
}

impl Hasher {
    pub(crate) fn new(prefix: &[u8], size: FullSize, suffix: &[u8]) -> Self {
        let message = [prefix, &[0; FULL_SIZE_MAX][..size.bytes()], suffix].concat();
        let mut blocks = sha::padded(&message);
        let mut later = blocks.split_off(prefix.len() / BLOCK_BYTES);
        let mut midstate = START;
        sha::compress(&mut midstate, &blocks);
        let offset = prefix.len() % BLOCK_BYTES;
        let open_count = (offset + size.bytes()).div_ceil(BLOCK_BYTES);
        let rest = later.split_off(open_count).into_boxed_slice();
        let mut open = [[0; BLOCK_BYTES]; 2];
        for (to, from) in open.iter_mut().zip(later) {
            *to = from.into();
        }
        Self {
            midstate,
            open,
            open_count,
            offset,
            rest,
        }
    }

    /// The txid in raw hash order: leaf of the Merkle tree.
    #[inline]
    pub(crate) fn txid(&self, extranonce: &Extranonce) -> [u8; 32] {
        let mut open = self.open;
        let bytes = extranonce.as_bytes();
        if let Some(place) = open
            .as_flattened_mut()
            .get_mut(self.offset..self.offset + bytes.len())
        {
            place.copy_from_slice(bytes);
        }
        let [first, second] = open.map(sha::block);
        let mut state = self.midstate;
        if self.open_count == 1 {
            sha::compress(&mut state, &[first]);
        } else {
            sha::compress(&mut state, &[first, second]);
        }
        sha::compress(&mut state, &self.rest);
        sha::second(&state)
    }
}

impl fmt::Display for CoinbaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScriptPrefixTooLong { bytes } => {
                write!(
                    f,
                    "the template's coinbase prefix has {bytes} bytes, more than {SCRIPT_PREFIX_MAX}"
                )
            }
            Self::TagTooLong { bytes } => {
                write!(f, "the coinbase tag has {bytes} bytes, more than {TAG_MAX}")
            }
            Self::ValueMismatch { expected, found } => {
                write!(
                    f,
                    "the coinbase outputs pay {found} satoshis where the template leaves {expected}"
                )
            }
            Self::NotACoinbase(why) => write!(f, "this is no coinbase: {why}"),
            Self::TooLarge { bytes } => write!(f, "half a coinbase has {bytes} bytes, more than {HALF_MAX}"),
        }
    }
}

impl std::error::Error for CoinbaseError {}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, ScriptBuf, Transaction};

    #[test]
    fn heights_are_read_as_consensus_writes_them() {
        assert_eq!(height(&[0x51]), Some(1));
        assert_eq!(height(&[0x60, 9, 9]), Some(16));
        assert_eq!(height(&[1, 17]), Some(17));
        assert_eq!(height(&[2, 17, 0]), None, "not minimal");
        assert_eq!(height(&[]), None);
        assert_eq!(height(&[5, 1]), None);
    }

    fn coinbase(tag: usize) -> Coinbase {
        let output = |value, script: &[u8]| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
        };
        Coinbase {
            version: 2,
            script_prefix: vec![3, 0x40, 0x0d, 0x03],
            tag: vec![b'a'; tag],
            start_epoch: 7,
            sequence: 0xffff_fffe,
            value: 5_000_000_100,
            outputs: vec![output(5_000_000_000, &[0x51]), output(100, &[0x52])],
            required_outputs: vec![output(0, &[0x6a; 38])],
            locktime: 839_999,
            witness: Some([0; 32]),
        }
    }

    fn extranonce(size: FullSize) -> Extranonce {
        let rolled: Vec<u8> = (0..size.rolled() as u8).map(|n| n ^ 0xa5).collect();
        Extranonce::rolled([1, 2, 3, 4, 5, 6, 7], &rolled, size).unwrap()
    }

    /// REQ-MIN-076, REQ-MIN-077, REQ-MIN-078
    #[test]
    fn halves_hash_to_the_txid_of_the_transaction_in_the_block() {
        for tag in [0, 1, 20, TAG_MAX] {
            let coinbase = coinbase(tag);
            assert_eq!(coinbase.check(), Ok(()));
            for size in FullSize::all() {
                let extranonce = extranonce(size);
                let whole: Transaction =
                    bitcoin::consensus::deserialize(&coinbase.transaction(&extranonce)).unwrap();
                assert!(whole.is_coinbase());
                assert_eq!(whole.input[0].witness.iter().next(), Some(&[0u8; 32][..]));
                assert_eq!(whole.output.len(), 3);
                let script = &whole.input[0].script_sig;
                assert!(script.len() <= SCRIPT_SIG_MAX && script.as_bytes().ends_with(extranonce.as_bytes()));
                assert_eq!(script.count_sigops_legacy(), 0);
                let (prefix, suffix) = (coinbase.prefix(size), coinbase.suffix());
                let txid = whole.compute_txid().to_byte_array();
                assert_eq!(
                    sha::double(&[&prefix, extranonce.as_bytes(), &suffix].concat()),
                    txid
                );
                assert_eq!(
                    Hasher::new(&prefix, size, &suffix).txid(&extranonce),
                    txid,
                    "{tag} {size:?}"
                );
            }
        }
    }

    #[test]
    fn without_a_commitment_there_is_no_witness() {
        let coinbase = Coinbase {
            witness: None,
            ..coinbase(3)
        };
        let bytes = coinbase.transaction(&extranonce(FullSize::DEFAULT));
        let whole: Transaction = bitcoin::consensus::deserialize(&bytes).unwrap();
        assert!(whole.input[0].witness.is_empty());
    }

    #[test]
    fn what_cannot_be_mined_is_named() {
        let long = Coinbase {
            script_prefix: vec![0; 9],
            ..coinbase(0)
        };
        assert_eq!(long.check(), Err(CoinbaseError::ScriptPrefixTooLong { bytes: 9 }));
        let tagged = coinbase(TAG_MAX + 1);
        assert_eq!(
            tagged.check(),
            Err(CoinbaseError::TagTooLong { bytes: TAG_MAX + 1 })
        );
        let poor = Coinbase {
            value: 5_000_000_101,
            ..coinbase(0)
        };
        let error = poor.check().unwrap_err();
        assert_eq!(
            error,
            CoinbaseError::ValueMismatch {
                expected: 5_000_000_101,
                found: 5_000_000_100
            }
        );
        let mut large = coinbase(0);
        large.required_outputs = vec![large.required_outputs[0].clone(); 1_400];
        assert!(matches!(large.check(), Err(CoinbaseError::TooLarge { .. })));
    }
}
