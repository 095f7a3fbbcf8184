//! A declared job: everything of a block but the extranonce and the last header fields.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bitcoin::consensus::encode::Encodable;
use bitcoin::hashes::Hash;

use super::{Budget, Coinbase, Held};
use crate::job::VERSION_MASK;
use crate::mining::server::AccountId;
use crate::target::Target;
use crate::{merkle, sha};

/// A transaction that is held, counted once however many hold it.
pub struct Transaction {
    bytes: Box<[u8]>,
    txid: [u8; 32],
    wtxid: [u8; 32],
    _held: Held,
}

impl Transaction {
    /// Bytes that holding a transaction takes beside its own.
    pub const OVERHEAD: usize = 160;

    /// Reads a consensus-encoded transaction and takes its bytes from `budget`. Nothing where it is none, is a
    /// coinbase, or there are no bytes left.
    pub fn read(bytes: &[u8], budget: &Budget) -> Option<Self> {
        Self::read_in(bytes, &mut budget.take(bytes.len() + Self::OVERHEAD)?)
    }

    /// The same with a part of what was taken already.
    pub fn read_in(bytes: &[u8], room: &mut Held) -> Option<Self> {
        let read: bitcoin::Transaction = bitcoin::consensus::deserialize(bytes).ok()?;
        if read.is_coinbase() {
            return None;
        }
        Some(Self {
            _held: room.split(bytes.len() + Self::OVERHEAD)?,
            txid: read.compute_txid().to_byte_array(),
            wtxid: read.compute_wtxid().to_byte_array(),
            bytes: bytes.into(),
        })
    }

    /// Consensus encoded, with witness.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Witness id, raw hash order.
    pub const fn wtxid(&self) -> &[u8; 32] {
        &self.wtxid
    }

    /// Transaction id, raw hash order.
    pub const fn txid(&self) -> &[u8; 32] {
        &self.txid
    }

    /// Bytes it was counted with.
    pub fn counted(&self) -> usize {
        self.bytes.len() + Self::OVERHEAD
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction({} bytes)", self.bytes.len())
    }
}

/// A job as it was declared, with all its transactions (spec 6.4.4).
#[derive(Debug)]
pub struct Declared {
    /// Whose job.
    pub account: AccountId,
    /// Header version.
    pub version: u32,
    /// The coinbase but for its extranonce.
    pub coinbase: Coinbase,
    /// The other transactions in block order.
    pub transactions: Vec<Arc<Transaction>>,
    /// Hashes beside the coinbase's branch, deepest first.
    pub merkle_path: Vec<[u8; 32]>,
    /// The tip that it builds on, as this side knows it: raw hash order.
    pub prev_hash: [u8; 32],
    /// That tip's compact target.
    pub nbits: u32,
    /// Height of the block.
    pub height: u32,
    /// Bytes of the transactions that nobody here knew, and that its client provided.
    pub provided: usize,
    pub(super) _held: Held,
}

/// A block found on a declared job.
#[derive(Clone, Debug)]
pub struct Solved {
    /// The job.
    pub job: Arc<Declared>,
    /// The 80 bytes of the header.
    pub header: [u8; 80],
    /// Block hash, raw hash order.
    pub hash: [u8; 32],
    /// The coinbase transaction with its BIP141 fields.
    pub coinbase: Vec<u8>,
}

impl Declared {
    /// Bytes that a job with this coinbase and so many transactions holds beside them.
    pub(super) fn overhead(coinbase: &Coinbase, transactions: usize) -> usize {
        size_of::<Self>() + coinbase.bytes() + transactions * size_of::<Arc<Transaction>>() + 32 * 32
    }

    /// The block with this header and coinbase, consensus encoded.
    pub fn block(&self, header: &[u8; 80], coinbase: &[u8]) -> Vec<u8> {
        let bytes: usize = self.transactions.iter().map(|it| it.bytes.len()).sum();
        let mut block = Vec::with_capacity(header.len() + 9 + coinbase.len() + bytes);
        block.extend_from_slice(header);
        // Writing to a vector cannot fail.
        let _ = bitcoin::VarInt(self.transactions.len() as u64 + 1).consensus_encode(&mut block);
        block.extend_from_slice(coinbase);
        for transaction in &self.transactions {
            block.extend_from_slice(&transaction.bytes);
        }
        block
    }

    /// The block as a node can check it before it is found: an extranonce of zeros, header time `ntime`, no proof of
    /// work.
    pub fn unsolved_block(&self, ntime: u32) -> Vec<u8> {
        let extranonce = vec![0; self.coinbase.extranonce_size];
        let header = self.header(&extranonce, self.version, ntime, 0);
        self.block(&header, &self.coinbase.transaction(&extranonce))
    }

    /// The block of a solution, if it is one of this job: every field is compared and the hash is below the target.
    pub(super) fn solve(self: &Arc<Self>, solution: &adit_wire::declare::PushSolution) -> Option<Solved> {
        let extranonce: &[u8] = solution.extranonce.as_bytes();
        let fits = extranonce.len() == self.coinbase.extranonce_size
            && solution.prev_hash.0 == self.prev_hash
            && solution.nbits == self.nbits
            && (solution.version ^ self.version) & !VERSION_MASK == 0;
        if !fits {
            return None;
        }
        let header = self.header(extranonce, solution.version, solution.ntime, solution.nonce);
        let hash = sha::double(&header);
        Target::from_nbits(self.nbits).is_met_by(&hash).then(|| Solved {
            job: Arc::clone(self),
            header,
            hash,
            coinbase: self.coinbase.transaction(extranonce),
        })
    }

    fn header(&self, extranonce: &[u8], version: u32, ntime: u32, nonce: u32) -> [u8; 80] {
        let stripped = [&self.coinbase.prefix(), extranonce, &self.coinbase.suffix()].concat();
        let root = merkle::fold(sha::double(&stripped), &self.merkle_path);
        let mut header = [0; 80];
        let fields: [&[u8]; 6] = [
            &version.to_le_bytes(),
            &self.prev_hash,
            &root,
            &ntime.to_le_bytes(),
            &self.nbits.to_le_bytes(),
            &nonce.to_le_bytes(),
        ];
        for (to, from) in header.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        header
    }

    /// Bytes of the jobs together, transactions that several hold counted once.
    pub(super) fn counted<'a>(jobs: impl Iterator<Item = &'a Arc<Self>>) -> usize {
        let mut seen = HashSet::new();
        jobs.map(|job| {
            let own = job.transactions.iter();
            let new: usize = own
                .filter(|it| seen.insert(Arc::as_ptr(it)))
                .map(|it| it.counted())
                .sum();
            job._held.bytes() + new
        })
        .sum()
    }
}
