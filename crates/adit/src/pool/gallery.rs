//! Pictures that are made now and then, away from every share: who is here, the last blocks, the next coinbase.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_proto::extranonce::{Extranonce, FullSize, PREFIX_BYTES};
use adit_proto::job::Job;
use adit_proto::mining::server::{AccountId, WorkerId};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{Address, BlockHash, Network, Transaction, TxOut};

use super::blocks::What;
use super::hub::Hub;
use crate::observe::{Block, Coinbase, Fate, Payment, Roster, text};

/// Blocks that are shown.
const BLOCKS_MAX: usize = 256;
/// Pictures of the status between two of who is here, and the same where there are many.
const ROSTER_EVERY: u32 = 2;
const LARGE_ROSTER_EVERY: u32 = 10;
/// Rows of a large one.
const LARGE_ROSTER: usize = 4_000;
/// How the output begins that commits to the witness data (BIP141): OP_RETURN, 36 bytes, the mark.
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// What there is to be shown besides sums.
#[derive(Debug)]
pub(super) struct Gallery {
    network: Network,
    /// The job that everybody mines.
    pub(super) job: Option<Arc<Job>>,
    /// That job's coinbase, once it was looked at.
    coinbase: Option<(Arc<Job>, Arc<Coinbase>)>,
    /// Newest first, with their finders: a name may come with a report after its block.
    blocks: VecDeque<(Block, Finder)>,
}

/// Who found a block.
pub(super) type Finder = (AccountId, Option<WorkerId>);

impl Gallery {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            job: None,
            coinbase: None,
            blocks: VecDeque::new(),
        }
    }

    /// A block was found.
    pub(super) fn found(&mut self, block: Block, finder: Finder) {
        self.blocks.push_front((block, finder));
        self.blocks.truncate(BLOCKS_MAX);
    }

    /// Something became of one.
    pub(super) fn settled(&mut self, hash: &str, what: &What) {
        let Some((block, _)) = self.blocks.iter_mut().find(|(block, _)| block.hash == hash) else {
            return;
        };
        block.fate = match what {
            What::Submitted(_) => return,
            What::Buried(_) | What::Matured(_) => Fate::Confirmed,
            What::Accepted => Fate::Accepted,
            What::Confirmed => Fate::Confirmed,
            What::Stale => Fate::Stale,
            What::Rejected(reason) => {
                block.reason = text::clean(reason);
                Fate::Rejected
            }
        };
        block.confirmations = what.confirmations();
    }

    fn coinbase(&mut self, more: Coinbase) -> Option<Arc<Coinbase>> {
        let job = self.job.as_ref()?;
        if let Some((of, known)) = &self.coinbase
            && Arc::ptr_eq(of, job)
        {
            return Some(Arc::clone(known));
        }
        let made = Arc::new(picture(job, self.network, more)?);
        self.coinbase = Some((Arc::clone(job), Arc::clone(&made)));
        Some(made)
    }
}

impl Hub {
    /// Who is here, once in a while: the more they are, the more seldom.
    pub(super) fn show_roster(&mut self, beat: u32) {
        let every = match self.totals.len() {
            0..LARGE_ROSTER => ROSTER_EVERY,
            _ => LARGE_ROSTER_EVERY,
        };
        if !beat.is_multiple_of(every) {
            return;
        }
        let now = self.clock.now();
        self.totals.paint_silent(now, &mut self.picture);
        let own = self.mines_own();
        let template = self.template_picture();
        let upstream = self.picture.uplink.as_ref().map(|uplink| uplink.upstream.clone());
        let coinbase = self.gallery.coinbase(Coinbase {
            upstream: upstream.filter(|_| !own).unwrap_or_default(),
            ..template.filter(|_| own).unwrap_or_default()
        });
        for (block, (account, worker)) in &mut self.gallery.blocks {
            if block.worker.is_empty() {
                block.worker = self.totals.name_of_finder(*account, *worker);
            }
        }
        self.roster.send_replace(Arc::new(Roster {
            blocks: self
                .gallery
                .blocks
                .iter()
                .map(|(block, _)| block.clone())
                .collect(),
            coinbase,
            ..self.totals.roster(now)
        }));
    }
}

/// The coinbase of a job, decoded. Each miner's has another extranonce, and is the same otherwise.
fn picture(job: &Job, network: Network, more: Coinbase) -> Option<Coinbase> {
    let fields = job.fields();
    let size = fields.coinbase.size().map_or(FullSize::DEFAULT, FullSize::whole);
    let bytes = fields
        .coinbase
        .transaction(&Extranonce::fixed([0; PREFIX_BYTES], size));
    let transaction: Transaction = deserialize(&bytes).ok()?;
    let script_sig = transaction.input.first()?.script_sig.as_bytes();
    let value: u64 = transaction
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .sum();
    Some(Coinbase {
        height: fields.coinbase.height().unwrap_or(0).into(),
        prev_hash: BlockHash::from_byte_array(fields.prev_hash).to_string(),
        value_sat: value,
        tag: readable(script_sig),
        script_sig: hex(script_sig),
        outputs: transaction
            .output
            .iter()
            .map(|output| payment(output, value, network))
            .collect(),
        bytes: bytes.len() as u64,
        block_work: job.network().work(),
        ..more
    })
}

fn payment(output: &TxOut, whole: u64, network: Network) -> Payment {
    let script = &output.script_pubkey;
    let value_sat = output.value.to_sat();
    let address = Address::from_script(script, network).ok();
    Payment {
        address: address.map(|address| address.to_string()),
        purpose: match value_sat {
            0 if script.as_bytes().starts_with(&COMMITMENT) => "commitment",
            0 => "other",
            _ => "payout",
        },
        value_sat,
        part: match whole {
            0 => 0.0,
            _ => value_sat as f64 / whole as f64,
        },
        script: hex(script.as_bytes()),
    }
}

/// The longest run of printable characters: what explorers show.
fn readable(script_sig: &[u8]) -> String {
    let runs = script_sig.split(|byte| !(b' '..=b'~').contains(byte));
    let longest = runs.max_by_key(|run| run.len()).filter(|run| run.len() >= 3);
    longest
        .map(|run| String::from_utf8_lossy(run).into_owned())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(hash: &str) -> Block {
        Block {
            hash: hash.into(),
            ..Block::default()
        }
    }

    #[test]
    fn blocks_are_bounded_and_say_what_became_of_them() {
        let mut gallery = Gallery::new(Network::Regtest);
        for number in 0..BLOCKS_MAX + 5 {
            gallery.found(block(&number.to_string()), (AccountId([0; 16]), None));
        }
        assert_eq!(gallery.blocks.len(), BLOCKS_MAX);
        gallery.settled("260", &What::Rejected("high-hash\n".into()));
        gallery.settled("259", &What::Accepted);
        gallery.settled("259", &What::Confirmed);
        gallery.settled("259", &What::Buried(100));
        gallery.settled("nobody's", &What::Stale);
        let fates: Vec<Fate> = gallery
            .blocks
            .iter()
            .take(3)
            .map(|(block, _)| block.fate)
            .collect();
        assert_eq!(fates, [Fate::Rejected, Fate::Confirmed, Fate::Pending]);
        assert_eq!(gallery.blocks[1].0.confirmations, 100);
        assert_eq!(gallery.blocks[0].0.reason, "high-hash\\u{a}");
    }

    #[test]
    fn the_tag_is_what_can_be_read() {
        assert_eq!(readable(b"\x03\x01\x02\x03\x04/adit/\x00\x00a\x00"), "/adit/");
        assert_eq!(readable(b"\x03ab\x00"), "");
    }
}
