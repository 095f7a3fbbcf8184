//! The answer to `getblocktemplate` as a template of ours, with its transactions (BIP22, BIP23, BIP145).

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::hex::FromHex;
use bitcoin::script::Builder;
use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, TxOut, Txid};
use serde::Deserialize;

use crate::{Constraints, Template, TemplateId, merkle};

/// A block of 4 million weight units has fewer than 2^16 transactions.
const TRANSACTIONS_MAX: usize = 1 << 16;
/// The network's limits, should the node name larger ones or none.
const WEIGHT_MAX: u64 = 4_000_000;
const SIGOPS_MAX: u64 = 80_000;
/// What we do about these rules is right even where a node insists (`!`) that we know them.
const RULES_KNOWN: [&str; 4] = ["segwit", "taproot", "csv", "signet"];
/// The challenge of a signet that anybody may mine.
const OPEN_SIGNET: &str = "51";
/// Start of a witness commitment's script (BIP141): OP_RETURN, push of 36 bytes, tag.
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// What the node says. Fields that we have no use for are left out.
#[derive(Clone, Deserialize)]
pub(super) struct Answer {
    version: i64,
    previousblockhash: String,
    transactions: Vec<Row>,
    coinbasevalue: Option<u64>,
    pub(super) longpollid: Option<String>,
    mintime: Option<u32>,
    curtime: u32,
    bits: String,
    height: u32,
    default_witness_commitment: Option<String>,
    weightlimit: Option<u64>,
    sigoplimit: Option<u64>,
    #[serde(default)]
    rules: Vec<String>,
    signet_challenge: Option<String>,
}

/// One transaction of a template.
#[derive(Clone, Deserialize)]
struct Row {
    data: String,
    /// Absent before BIP145, when `hash` was the txid.
    txid: Option<String>,
    hash: String,
    fee: Option<i64>,
    sigops: Option<i64>,
    weight: Option<u64>,
}

/// A template and its transactions but the coinbase, in block order, consensus encoded.
pub(super) struct Whole {
    pub(super) template: Template,
    pub(super) transactions: Vec<Vec<u8>>,
}

/// The node's answer as a template; an error in words when no good block can be made of it.
pub(super) fn template(
    mut answer: Answer,
    constraints: Constraints,
    id: TemplateId,
) -> Result<Whole, String> {
    acceptable(&answer)?;
    let mut value = answer
        .coinbasevalue
        .ok_or("a template without coinbasevalue, which old mining proxies give")?;
    let left_out = make_room(&mut answer, &constraints);
    for row in &left_out {
        let fee = row.fee.and_then(|fee| u64::try_from(fee).ok());
        let fee = fee.ok_or(
            "transactions must be left out to make room for the coinbase, but their fees are unknown",
        )?;
        value = value.checked_sub(fee).ok_or("fees above the coinbase's value")?;
    }
    let rows = &answer.transactions;
    let (txids, wtxids) = ids(rows)?;
    let commitment = commitment(&answer, &txids, &wtxids, left_out.is_empty())?;
    let fees = rows
        .iter()
        .try_fold(0u64, |sum, row| sum.checked_add(u64::try_from(row.fee?).ok()?));
    let transactions = rows
        .iter()
        .map(|row| {
            Vec::from_hex(&row.data).map_err(|_| format!("transaction {} is no hexadecimal", row.hash))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let template = Template {
        id,
        constraints,
        height: answer.height,
        prev_hash: hash::<BlockHash>(&answer.previousblockhash)?,
        version: u32::try_from(answer.version & 0xffff_ffff).unwrap_or_default(),
        nbits: CompactTarget::from_unprefixed_hex(&answer.bits)
            .map_err(|_| format!("bits {:?}", answer.bits))?,
        header_timestamp: answer.curtime,
        min_ntime: answer.mintime.unwrap_or(answer.curtime),
        coinbase_tx_version: 2,
        coinbase_prefix: Builder::new().push_int(i64::from(answer.height)).into_bytes(),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: value,
        coinbase_tx_outputs: commitment.iter().cloned().collect(),
        coinbase_tx_locktime: 0,
        coinbase_witness: commitment.map(|_| [0; 32]),
        target: None,
        merkle_path: merkle::path(txids),
        transaction_count: u32::try_from(transactions.len()).ok(),
        fees,
    };
    Ok(Whole {
        template,
        transactions,
    })
}

/// Whether a block of ours could be good at all.
fn acceptable(answer: &Answer) -> Result<(), String> {
    if answer.transactions.len() > TRANSACTIONS_MAX {
        return Err(format!(
            "a template of {} transactions",
            answer.transactions.len()
        ));
    }
    if let Some(challenge) = answer.signet_challenge.as_deref()
        && challenge != OPEN_SIGNET
    {
        return Err("a signet whose blocks must be signed: only its signers can mine it".into());
    }
    let unknown = answer
        .rules
        .iter()
        .filter_map(|rule| rule.strip_prefix('!'))
        .find(|rule| !RULES_KNOWN.contains(rule));
    unknown.map_or(Ok(()), |rule| {
        Err(format!("a rule that this version does not know: {rule:?}"))
    })
}

/// Leaves transactions out, from the end, until our coinbase fits; gives those left out. Transactions
/// stand behind what they spend, so the last one is never needed by another.
fn make_room(answer: &mut Answer, constraints: &Constraints) -> Vec<Row> {
    let weight_max = answer.weightlimit.unwrap_or(WEIGHT_MAX).min(WEIGHT_MAX);
    let sigops_max = answer.sigoplimit.unwrap_or(SIGOPS_MAX).min(SIGOPS_MAX);
    let weight_max = weight_max.saturating_sub(constraints.reserved_weight());
    let sigops_max = sigops_max.saturating_sub(constraints.max_additional_sigops.into());
    let rows = &mut answer.transactions;
    let mut weight = rows.iter().map(weight_of).fold(0, u64::saturating_add);
    let mut sigops = rows.iter().map(sigops_of).fold(0, u64::saturating_add);
    let mut left_out = Vec::new();
    while (weight > weight_max || sigops > sigops_max)
        && let Some(row) = rows.pop()
    {
        weight = weight.saturating_sub(weight_of(&row));
        sigops = sigops.saturating_sub(sigops_of(&row));
        left_out.push(row);
    }
    left_out
}

/// Its weight; four units a byte where the node does not tell, which is never too little.
fn weight_of(row: &Row) -> u64 {
    row.weight.unwrap_or(row.data.len() as u64 / 2 * 4)
}

fn sigops_of(row: &Row) -> u64 {
    row.sigops
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or_default()
}

/// Hashes of a block's transactions but the coinbase, in block order, raw hash order.
type Hashes = Vec<[u8; 32]>;

/// Transaction ids without and with witness.
fn ids(rows: &[Row]) -> Result<(Hashes, Hashes), String> {
    let txid = |row: &Row| hash::<Txid>(row.txid.as_ref().unwrap_or(&row.hash)).map(|id| id.to_byte_array());
    let wtxid = |row: &Row| hash::<Txid>(&row.hash).map(|id| id.to_byte_array());
    Ok((
        rows.iter().map(txid).collect::<Result<_, _>>()?,
        rows.iter().map(wtxid).collect::<Result<_, _>>()?,
    ))
}

/// The witness commitment (BIP141), where the block needs or may have one. It is computed here even where
/// the node gives one: a block with another commitment than its transactions have is lost.
fn commitment(
    answer: &Answer,
    txids: &[[u8; 32]],
    wtxids: &[[u8; 32]],
    whole: bool,
) -> Result<Option<TxOut>, String> {
    if answer.default_witness_commitment.is_none() && txids == wtxids {
        return Ok(None);
    }
    let leaves = [&[[0; 32]], wtxids].concat();
    let (root, _) = merkle::root(leaves);
    let digest = sha256d::Hash::hash(&[root, [0; 32]].concat());
    let script = [&COMMITMENT[..], digest.as_byte_array()].concat();
    let given = answer
        .default_witness_commitment
        .as_deref()
        .map(Vec::<u8>::from_hex);
    if let (Some(given), true) = (given, whole)
        && given.as_deref() != Ok(&script)
    {
        return Err("the node's witness commitment is not that of its transactions".into());
    }
    Ok(Some(TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(script),
    }))
}

/// A hash as nodes print it: reversed.
fn hash<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "a hash that is not 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;
    use bitcoin::{OutPoint, Sequence, Transaction, TxIn, Witness, absolute, transaction};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn transaction(number: u32, witness: bool) -> Transaction {
        let mut input = TxIn {
            previous_output: OutPoint::new(Txid::all_zeros(), number),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        if witness {
            input.witness.push([number as u8; 70]);
        }
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![input],
            output: vec![TxOut {
                value: Amount::ONE_SAT,
                script_pubkey: ScriptBuf::new(),
            }],
        }
    }

    fn answer(transactions: &[Transaction]) -> Value {
        let rows = transactions.iter().map(|tx| {
            let data = bitcoin::hex::DisplayHex::to_lower_hex_string(&serialize(tx));
            json!({ "data": data, "txid": tx.compute_txid().to_string(), "hash": tx.compute_wtxid().to_string(),
                    "fee": 100, "sigops": 1, "weight": tx.weight().to_wu() })
        });
        json!({ "version": 0x2000_0000, "previousblockhash": "11".repeat(32), "transactions": rows.collect::<Vec<_>>(),
                "coinbasevalue": 5_000_000_000_u64 + 100 * transactions.len() as u64, "longpollid": "x", "mintime": 9,
                "curtime": 10, "bits": "207fffff", "height": 900_000, "rules": ["csv", "!segwit", "taproot"],
                "weightlimit": 4_000_000, "sigoplimit": 80_000 })
    }

    fn read(value: Value) -> Result<Whole, String> {
        template(
            serde_json::from_value(value).unwrap(),
            Constraints::default(),
            TemplateId(1),
        )
    }

    /// REQ-TDP-017, REQ-TDP-021
    #[test]
    fn an_answer_becomes_a_template() {
        let transactions = [transaction(1, true), transaction(2, false), transaction(3, true)];
        let whole = read(answer(&transactions)).unwrap();
        let made = whole.template;
        assert_eq!(
            (made.height, made.min_ntime, made.header_timestamp),
            (900_000, 9, 10)
        );
        assert_eq!((made.fees, made.transaction_count), (Some(300), Some(3)));
        assert_eq!(made.coinbase_prefix, [3, 0xa0, 0xbb, 0x0d]);
        assert_eq!(whole.transactions, transactions.each_ref().map(serialize));
        assert_eq!(
            made.merkle_path.first(),
            Some(&transactions[0].compute_txid().to_byte_array())
        );
        let wtxids = transactions.iter().map(|tx| tx.compute_wtxid().to_raw_hash());
        let leaves = std::iter::once(sha256d::Hash::all_zeros()).chain(wtxids);
        let root = bitcoin::merkle_tree::calculate_root(leaves).unwrap();
        let commitment = bitcoin::Block::compute_witness_commitment(
            &bitcoin::WitnessMerkleNode::from_raw_hash(root),
            &[0; 32],
        );
        let script = made.coinbase_tx_outputs[0].script_pubkey.as_bytes();
        assert_eq!(&script[6..], commitment.as_byte_array());
        assert_eq!(made.coinbase_witness, Some([0; 32]));
    }

    #[test]
    fn a_full_template_loses_its_last_transactions_and_their_fees() {
        let transactions: Vec<_> = (0..10).map(|number| transaction(number, true)).collect();
        let mut full = answer(&transactions);
        let each = transactions[0].weight().to_wu();
        full["weightlimit"] = json!(8_000 + each * 7 + 1);
        full["default_witness_commitment"] = json!("6a24aa21a9ed".to_owned() + &"00".repeat(32));
        let whole = read(full.clone()).unwrap();
        assert_eq!((whole.transactions.len(), whole.template.fees), (7, Some(700)));
        assert_eq!(whole.template.coinbase_tx_value_remaining, 5_000_000_700);
        let mut sigops = answer(&transactions);
        sigops["sigoplimit"] = json!(404);
        assert_eq!(read(sigops).unwrap().transactions.len(), 4);
        // With all transactions in, a commitment that does not fit them is noticed.
        full["weightlimit"] = json!(4_000_000);
        assert!(read(full).err().unwrap().contains("witness commitment"));
    }

    #[test]
    fn what_makes_no_good_block_is_named() {
        let broken = |change: fn(&mut Value)| {
            let mut value = answer(&[transaction(1, true)]);
            change(&mut value);
            read(value).err().unwrap()
        };
        assert!(broken(|v| v["signet_challenge"] = json!("5121")).contains("signed"));
        assert!(broken(|v| v["rules"] = json!(["!new"])).contains("\"new\""));
        assert!(broken(|v| v["coinbasevalue"] = Value::Null).contains("coinbasevalue"));
        assert!(broken(|v| v["previousblockhash"] = json!("xx")).contains("hash"));
        assert!(broken(|v| v["bits"] = json!("zz")).contains("bits"));
        assert!(broken(|v| v["transactions"][0]["data"] = json!("0")).contains("hexadecimal"));
    }

    #[test]
    fn a_block_without_witnesses_needs_no_commitment() {
        let made = read(answer(&[transaction(1, false)])).unwrap().template;
        assert!(made.coinbase_tx_outputs.is_empty() && made.coinbase_witness.is_none());
    }

    proptest! {
        /// Whatever numbers a node names, nothing panics and the limits hold.
        #[test]
        fn limits_hold(weight: u64, weightlimit: u64, sigops: i64, sigoplimit: u64, fee: i64) {
            let mut value = answer(&[transaction(1, true), transaction(2, true)]);
            for row in 0..2 {
                value["transactions"][row]["weight"] = json!(weight);
                value["transactions"][row]["sigops"] = json!(sigops);
                value["transactions"][row]["fee"] = json!(fee);
            }
            value["weightlimit"] = json!(weightlimit);
            value["sigoplimit"] = json!(sigoplimit);
            if let Ok(whole) = read(value) {
                let count = whole.transactions.len() as u64;
                prop_assert!(count == 0 || weight.saturating_mul(count) <= WEIGHT_MAX - 8_000);
            }
        }
    }
}
