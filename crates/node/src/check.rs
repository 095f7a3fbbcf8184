//! What has made pools lose blocks, looked for before anything is mined: sums, outputs, room, weight, signature
//! operations, witness commitment and merkle path.
//!
//! Pure functions of a template, a coinbase and, where they are known, the other transactions.

use std::fmt;

use adit_proto::template::{BLOCK_SIGOPS_MAX, BLOCK_WEIGHT_MAX};
use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Transaction, VarInt, Weight};

use crate::{Template, merkle};

/// Longest scriptSig of a coinbase (consensus), and the shortest.
const SCRIPT_SIG_BYTES: std::ops::RangeInclusive<usize> = 2..=100;
/// Start of the script of a witness commitment (BIP141).
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Bytes of a block header.
const HEADER_BYTES: u64 = 80;
/// A signature operation outside of witnesses counts four times.
const SIGOPS_SCALE: u64 = 4;

/// One thing that would cost a block, or a pool money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It does not have the one input of a coinbase.
    NoCoinbase,
    /// The scriptSig does not start with the template's prefix, so that its height is wrong.
    Prefix,
    /// The scriptSig has a length that consensus refuses.
    ScriptSig {
        /// Its bytes.
        bytes: usize,
    },
    /// Version, sequence or lock time are not the template's.
    Field {
        /// Which.
        name: &'static str,
        /// What the template says.
        expected: u32,
        /// What stands there.
        found: u32,
    },
    /// The outputs together pay another sum than there is: more loses the block, less the difference.
    Value {
        /// Satoshis that there are.
        expected: u64,
        /// Satoshis paid.
        found: u64,
    },
    /// The template's outputs do not stand unchanged at the end.
    RequiredOutputs,
    /// The witness is not the one that the commitment counts on.
    Witness,
    /// Our outputs take more room than was asked for.
    Size {
        /// Bytes asked for.
        room: u64,
        /// Bytes taken.
        found: u64,
    },
    /// Our outputs have more signature operations than were asked for.
    Sigops {
        /// Cost asked for.
        room: u64,
        /// Cost found.
        found: u64,
    },
    /// A transaction does not decode.
    Transaction {
        /// Its place behind the coinbase, from 0.
        place: usize,
    },
    /// There are other transactions than the template counts.
    Count {
        /// What the template says.
        expected: u32,
        /// What there are.
        found: usize,
    },
    /// The merkle path is not that of the transactions.
    MerklePath,
    /// There is no commitment to the witnesses, or another one.
    Commitment,
    /// The block is too heavy.
    BlockWeight {
        /// Its weight units.
        found: u64,
    },
    /// The block has too many signature operations, even without those that only spent coins show.
    BlockSigops {
        /// Their cost.
        found: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCoinbase => f.write_str("not a coinbase: it must have one input, which spends nothing"),
            Self::Prefix => f.write_str("the scriptSig does not start with the template's height"),
            Self::ScriptSig { bytes } => write!(f, "the scriptSig has {bytes} bytes; 2 to 100 are allowed"),
            Self::Field {
                name,
                expected,
                found,
            } => write!(f, "{name} is {found}, the template says {expected}"),
            Self::Value { expected, found } if found > expected => {
                write!(f, "pays {found} satoshis where there are only {expected}")
            }
            Self::Value { expected, found } => {
                write!(f, "pays {found} of {expected} satoshis; the rest would be lost")
            }
            Self::RequiredOutputs => f.write_str("the template's outputs do not stand unchanged at the end"),
            Self::Witness => {
                f.write_str("the input's witness is not the 32 bytes that the commitment counts on")
            }
            Self::Size { room, found } => {
                write!(f, "the added outputs take {found} bytes, {room} were asked for")
            }
            Self::Sigops { room, found } => write!(
                f,
                "the added outputs have signature operations of cost {found}, {room} was asked for"
            ),
            Self::Transaction { place } => write!(f, "transaction {} does not decode", place + 1),
            Self::Count { expected, found } => {
                write!(f, "{found} transactions, the template says {expected}")
            }
            Self::MerklePath => f.write_str("the merkle path is not that of the transactions"),
            Self::Commitment => f.write_str("the witness commitment is not that of the transactions"),
            Self::BlockWeight { found } => {
                write!(
                    f,
                    "the block weighs {found} units; {BLOCK_WEIGHT_MAX} are allowed"
                )
            }
            Self::BlockSigops { found } => write!(
                f,
                "signature operations of cost {found} at least; {BLOCK_SIGOPS_MAX} is allowed"
            ),
        }
    }
}

/// What a block would measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Weight units, header and counts included.
    pub weight: u64,
    /// Cost of the signature operations that its outputs and scriptSigs show; spent coins may add to it.
    pub sigops: u64,
    /// Transactions, the coinbase included.
    pub transactions: usize,
}

/// Holds a coinbase against its template.
pub fn coinbase(template: &Template, coinbase: &Transaction) -> Vec<Problem> {
    let [input] = coinbase.input.as_slice() else {
        return vec![Problem::NoCoinbase];
    };
    if !coinbase.is_coinbase() {
        return vec![Problem::NoCoinbase];
    }
    let mut problems = Vec::new();
    let script = input.script_sig.as_bytes();
    if !script.starts_with(&template.coinbase_prefix) {
        problems.push(Problem::Prefix);
    }
    if !SCRIPT_SIG_BYTES.contains(&script.len()) {
        problems.push(Problem::ScriptSig { bytes: script.len() });
    }
    let fields = [
        (
            "version",
            template.coinbase_tx_version,
            coinbase.version.0.cast_unsigned(),
        ),
        ("sequence", template.coinbase_tx_input_sequence, input.sequence.0),
        (
            "lock time",
            template.coinbase_tx_locktime,
            coinbase.lock_time.to_consensus_u32(),
        ),
    ];
    for (name, expected, found) in fields {
        if expected != found {
            problems.push(Problem::Field {
                name,
                expected,
                found,
            });
        }
    }
    let expected: Vec<&[u8]> = template
        .coinbase_witness
        .iter()
        .map(<[u8; 32]>::as_slice)
        .collect();
    if !input.witness.iter().eq(expected) {
        problems.push(Problem::Witness);
    }
    outputs(template, coinbase, &mut problems);
    problems
}

fn outputs(template: &Template, coinbase: &Transaction, problems: &mut Vec<Problem>) {
    let required = &template.coinbase_tx_outputs;
    if !coinbase.output.ends_with(required) {
        problems.push(Problem::RequiredOutputs);
        return;
    }
    let added = coinbase.output.len() - required.len();
    let added = coinbase.output.get(..added).unwrap_or_default();
    let found = added
        .iter()
        .fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    let expected = template.coinbase_tx_value_remaining;
    if found != expected {
        problems.push(Problem::Value { expected, found });
    }
    let size: u64 = added.iter().map(|output| output.size() as u64).sum();
    let room = u64::from(template.constraints.max_additional_size);
    if size > room {
        problems.push(Problem::Size { room, found: size });
    }
    let sigops: u64 = added
        .iter()
        .map(|output| output.script_pubkey.count_sigops_legacy() as u64)
        .sum();
    let (found, room) = (
        sigops * SIGOPS_SCALE,
        u64::from(template.constraints.max_additional_sigops),
    );
    if found > room {
        problems.push(Problem::Sigops { room, found });
    }
}

/// Holds the transactions of a template, consensus encoded and in block order, against it, with the coinbase that shall
/// stand before them.
pub fn block(
    template: &Template,
    coinbase: &Transaction,
    transactions: &[Vec<u8>],
) -> (Figures, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut decoded: Vec<Transaction> = Vec::with_capacity(transactions.len());
    for (place, bytes) in transactions.iter().enumerate() {
        match deserialize(bytes) {
            Ok(transaction) => decoded.push(transaction),
            Err(_) => problems.push(Problem::Transaction { place }),
        }
    }
    if let Some(expected) = template.transaction_count
        && expected as usize != transactions.len()
    {
        problems.push(Problem::Count {
            expected,
            found: transactions.len(),
        });
    }
    let txids = decoded
        .iter()
        .map(|tx| tx.compute_txid().to_byte_array())
        .collect();
    if merkle::path(txids) != template.merkle_path {
        problems.push(Problem::MerklePath);
    }
    if !commits(coinbase, template.coinbase_witness, &decoded) {
        problems.push(Problem::Commitment);
    }
    let figures = figures(coinbase, &decoded);
    if figures.weight > BLOCK_WEIGHT_MAX {
        problems.push(Problem::BlockWeight {
            found: figures.weight,
        });
    }
    if figures.sigops > BLOCK_SIGOPS_MAX {
        problems.push(Problem::BlockSigops {
            found: figures.sigops,
        });
    }
    (figures, problems)
}

/// Whether the last commitment of the coinbase is that of the witnesses; without any witness none is needed (BIP141).
fn commits(coinbase: &Transaction, reserved: Option<[u8; 32]>, transactions: &[Transaction]) -> bool {
    let scripts = coinbase
        .output
        .iter()
        .map(|output| output.script_pubkey.as_bytes());
    let found = scripts.rev().find_map(|script| {
        let digest = script.strip_prefix(&COMMITMENT)?;
        digest.first_chunk::<32>().copied()
    });
    match (found, reserved) {
        (Some(found), Some(reserved)) => {
            let wtxids = transactions.iter().map(|tx| tx.compute_wtxid().to_byte_array());
            let (root, _) = merkle::root(std::iter::once([0; 32]).chain(wtxids).collect());
            found == sha256d::Hash::hash(&[root, reserved].concat()).to_byte_array()
        }
        (Some(_), None) => false,
        (None, _) => {
            let mut inputs = transactions.iter().flat_map(|tx| &tx.input);
            inputs.all(|input| input.witness.is_empty())
        }
    }
}

fn figures(coinbase: &Transaction, transactions: &[Transaction]) -> Figures {
    let all = || std::iter::once(coinbase).chain(transactions);
    let count = all().count();
    let count_bytes = VarInt(count as u64).size() as u64;
    let head = Weight::from_wu((HEADER_BYTES + count_bytes).saturating_mul(4));
    let weight = all()
        .map(Transaction::weight)
        .fold(head, |sum, weight| sum + weight);
    Figures {
        weight: weight.to_wu(),
        sigops: all().map(sigops).fold(0, u64::saturating_add),
        transactions: count,
    }
}

/// Cost of the signature operations that a transaction shows; the coins that it spends may add to it.
pub(crate) fn sigops(tx: &Transaction) -> u64 {
    let inputs = tx
        .input
        .iter()
        .map(|input| input.script_sig.count_sigops_legacy());
    let outputs = tx
        .output
        .iter()
        .map(|output| output.script_pubkey.count_sigops_legacy());
    inputs.chain(outputs).map(|count| count as u64).sum::<u64>() * SIGOPS_SCALE
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, ScriptBuf, TxOut};

    use super::*;
    use crate::embedded::{Provider, Settings};

    fn provider() -> Provider {
        Provider::new(Settings::new(4, || 1_800_000_000)).unwrap()
    }

    /// A coinbase that is right.
    fn right(template: &Template) -> Transaction {
        let mut script = template.coinbase_prefix.clone();
        script.extend([4, 1, 2, 3, 4]);
        let paid = TxOut {
            value: Amount::from_sat(template.coinbase_tx_value_remaining),
            script_pubkey: ScriptBuf::from_bytes([&[0x00, 0x14][..], &[7; 20]].concat()),
        };
        Transaction {
            version: bitcoin::transaction::Version(2),
            lock_time: bitcoin::absolute::LockTime::from_consensus(template.coinbase_tx_locktime),
            input: vec![bitcoin::TxIn {
                previous_output: bitcoin::OutPoint::null(),
                script_sig: ScriptBuf::from_bytes(script),
                sequence: bitcoin::Sequence(template.coinbase_tx_input_sequence),
                witness: bitcoin::Witness::from_slice(&[[0; 32]]),
            }],
            output: [paid]
                .into_iter()
                .chain(template.coinbase_tx_outputs.clone())
                .collect(),
        }
    }

    #[test]
    fn a_right_coinbase_and_its_block_have_no_problem() {
        let provider = provider();
        let kept = provider.template().unwrap();
        let made = right(&kept.template);
        assert_eq!(coinbase(&kept.template, &made), []);
        let (figures, problems) = block(&kept.template, &made, &kept.encoded);
        assert_eq!(problems, []);
        assert_eq!(figures.transactions, kept.encoded.len() + 1);
        let bytes: u64 = kept.encoded.iter().map(|tx| tx.len() as u64).sum();
        assert!(figures.weight > bytes && figures.weight < BLOCK_WEIGHT_MAX);
    }

    /// REQ-TDP-018, REQ-TDP-023: each mistake in a coinbase is named.
    #[test]
    fn each_mistake_in_a_coinbase_is_named() {
        let provider = provider();
        let template = &*provider.template().unwrap().template;
        let wrong = |change: &dyn Fn(&mut Transaction)| {
            let mut made = right(template);
            change(&mut made);
            let problems = coinbase(template, &made);
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems[0].to_string()
        };
        let one = Amount::from_sat(1);
        for (said, part) in [
            (wrong(&|it| it.input.clear()), "not a coinbase"),
            (
                wrong(&|it| it.input[0].previous_output.vout = 0),
                "not a coinbase",
            ),
            (wrong(&|it| it.output[0].value += one), "where there are only"),
            (wrong(&|it| it.output[0].value -= one), "would be lost"),
            (wrong(&|it| it.output.reverse()), "unchanged at the end"),
            (wrong(&|it| it.output[1].value += one), "unchanged at the end"),
            (
                wrong(&|it| it.input[0].witness = bitcoin::Witness::new()),
                "32 bytes",
            ),
            (wrong(&|it| it.input[0].sequence.0 ^= 1), "sequence"),
            (wrong(&|it| it.version.0 = 1), "version is 1"),
            (
                wrong(&|it| it.lock_time = bitcoin::absolute::LockTime::ZERO),
                "lock time",
            ),
            (
                wrong(&|it| it.input[0].script_sig = ScriptBuf::from_bytes(vec![0; 20])),
                "height",
            ),
            (
                wrong(&|it| {
                    let longer = [it.input[0].script_sig.as_bytes(), &[0; 100]].concat();
                    it.input[0].script_sig = ScriptBuf::from_bytes(longer);
                }),
                "2 to 100",
            ),
            (
                wrong(&|it| it.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51; 2_000])),
                "bytes, 1708",
            ),
            (
                wrong(&|it| it.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xac; 101])),
                "cost 404, 400",
            ),
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    /// REQ-TDP-021: transactions that are not those of the template are noticed.
    #[test]
    fn each_mistake_in_the_transactions_is_named() {
        let provider = provider();
        let kept = provider.template().unwrap();
        let made = right(&kept.template);
        let problems = |transactions: &[Vec<u8>]| block(&kept.template, &made, transactions).1;
        let mut swapped = Vec::clone(&kept.encoded);
        swapped.swap(0, 1);
        assert_eq!(problems(&swapped), [Problem::MerklePath, Problem::Commitment]);
        let mut cut = Vec::clone(&kept.encoded);
        cut[0].pop();
        assert!(problems(&cut).contains(&Problem::Transaction { place: 0 }));
        let fewer = &kept.encoded[1..];
        assert!(matches!(problems(fewer)[0], Problem::Count { .. }));
        let mut bare = made.clone();
        bare.output.truncate(1);
        let (_, found) = block(&kept.template, &bare, &kept.encoded);
        assert_eq!(found, [Problem::Commitment]);
        let heavy = vec![kept.encoded[0].clone(); 40_000];
        let found = problems(&heavy);
        assert!(
            found.iter().any(|it| matches!(it, Problem::BlockWeight { .. })),
            "{found:?}"
        );
    }
}
