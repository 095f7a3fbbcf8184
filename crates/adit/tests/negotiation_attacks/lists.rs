//! Declarations whose lists, or whose provided transactions, are not what they should be.

use adit_wire::common::flags;
use adit_wire::declare::{ProvideMissingTransactionsSuccess, ToClient};
use adit_wire::{B0_16M, Message, Seq0_64K, TransactionList, U256};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};

use crate::support::House;
use crate::support::negotiator::{Negotiator, SUBSIDY};
use crate::support::peer::Heard;

/// As many as a block of the smallest transactions has.
const TRANSACTIONS_MAX: usize = 16_666;
/// As many as the field can name.
const FIELD_MAX: usize = 65_535;

/// A transaction that spends output `n` of nothing in particular.
pub(crate) fn transaction(n: u32) -> Transaction {
    let mut txid = [1; 32];
    txid[..4].copy_from_slice(&n.to_le_bytes());
    spend(OutPoint::new(Txid::from_byte_array(txid), 0), n)
}

/// A spend of `coin` unlike all others by its number.
pub(crate) fn spend(coin: OutPoint, number: u32) -> Transaction {
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: coin,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(u64::from(number)),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
        }],
    }
}

pub(crate) fn wtxid(transaction: &Transaction) -> U256 {
    U256(transaction.compute_wtxid().to_byte_array())
}

fn ids(count: usize) -> Vec<U256> {
    let id = |n: u32| {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        U256(id)
    };
    (0..u32::try_from(count).unwrap()).map(id).collect()
}

pub(crate) fn provided(request_id: u32, transactions: &[Vec<u8>]) -> ProvideMissingTransactionsSuccess {
    let list = transactions.iter().map(|it| B0_16M::new(it).unwrap()).collect();
    ProvideMissingTransactionsSuccess {
        request_id,
        transaction_list: TransactionList::new(list).unwrap(),
    }
}

/// What the server says to a declaration of these transactions.
async fn listed(alice: &mut Negotiator, wtxids: Vec<U256>) -> (u32, ToClient) {
    let token = alice.allocate().await;
    let coinbase = alice.coinbase(&token, SUBSIDY);
    let mut job = alice.declaration(&token.mining_job_token, &coinbase);
    job.wtxid_list = Seq0_64K::new(wtxids).unwrap();
    alice.declarer.say(&job).await;
    (job.request_id, alice.declarer.hear_declare().await)
}

/// The code of a refusal.
pub(crate) fn code(answer: &ToClient) -> String {
    match answer {
        ToClient::DeclareMiningJobError(error) => error.error_code.to_string(),
        other => panic!("expected a refusal, heard {other:?}"),
    }
}

/// Who was refused is no enemy: the next honest job is taken on the same connection.
async fn goes_on(alice: &mut Negotiator) {
    let (token, coinbase) = alice.declared().await;
    let job = alice.custom(&token, &coinbase);
    assert!(alice.set(&job).await.is_ok());
}

async fn open() -> (House, Negotiator) {
    let house = House::open(&[]).await;
    let alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    (house, alice)
}

/// REQ-JD-032: 65,535 unknown wtxids are more than any block has and cost nothing: neither a question to the node nor bytes.
#[tokio::test]
async fn a_list_of_65535_unknown_wtxids_is_refused_at_once() {
    let (house, mut alice) = open().await;
    let (_, answer) = listed(&mut alice, ids(FIELD_MAX)).await;
    assert_eq!(code(&answer), "invalid-job-param-value-wtxid_list");
    goes_on(&mut alice).await;
    let now = house
        .picture("one check of one block", |now| {
            now.negotiation.custom_accepted == 1
        })
        .await;
    assert_eq!(now.negotiation.node_calls, 1);
    house.close().await;
}

/// The longest list that a block can have: asked for once, by place, and then waited for, not held room for.
#[tokio::test]
async fn a_whole_block_of_unknown_wtxids_is_asked_for_and_holds_no_room() {
    let (house, mut alice) = open().await;
    let (_, answer) = listed(&mut alice, ids(TRANSACTIONS_MAX)).await;
    let ToClient::ProvideMissingTransactions(ask) = answer else {
        panic!("expected a question, heard {answer:?}")
    };
    assert_eq!(ask.unknown_tx_position_list.len(), TRANSACTIONS_MAX);
    let now = house
        .picture("it is counted", |now| now.negotiation.bytes > 500_000)
        .await;
    // The list and its places; no room for transactions that may never come.
    assert!(now.negotiation.bytes < 1 << 20, "{}", now.negotiation.bytes);
    drop(alice);
    house
        .picture("it comes back", |now| now.negotiation.bytes == 0)
        .await;
    house.close().await;
}

/// REQ-JD-032
#[tokio::test]
async fn a_duplicate_wtxid_is_refused() {
    let (house, mut alice) = open().await;
    let mut list = ids(3);
    list[2] = list[0];
    let (_, answer) = listed(&mut alice, list).await;
    assert_eq!(code(&answer), "invalid-job-param-value-wtxid_list");
    goes_on(&mut alice).await;
    house.close().await;
}

/// REQ-JD-032: the coinbase is not part of the list, be it by the zeros that stand for it, or as a transaction.
#[tokio::test]
async fn the_coinbase_in_the_list_is_refused() {
    let (house, mut alice) = open().await;
    let (_, answer) = listed(&mut alice, vec![U256([0; 32])]).await;
    assert_eq!(code(&answer), "invalid-job-param-value-wtxid_list");
    let coinbase = spend(OutPoint::null(), 5);
    let (request, answer) = listed(&mut alice, vec![wtxid(&coinbase)]).await;
    assert!(
        matches!(answer, ToClient::ProvideMissingTransactions(_)),
        "{answer:?}"
    );
    let bytes = bitcoin::consensus::serialize(&coinbase);
    alice.declarer.say(&provided(request, &[bytes])).await;
    assert_eq!(code(&alice.declarer.hear_declare().await), "missing-txs");
    goes_on(&mut alice).await;
    house.close().await;
}

/// What is provided must be what was asked for: the same one twice, in another order, fewer, more, or none of them at all.
#[tokio::test]
async fn provided_transactions_in_the_wrong_order_or_twice_are_refused() {
    let (house, mut alice) = open().await;
    let [a, b] = [1, 2].map(transaction);
    let bytes = |it: &Transaction| bitcoin::consensus::serialize(it);
    let wrong: [(&str, Vec<Vec<u8>>); 6] = [
        ("wrong order", vec![bytes(&b), bytes(&a)]),
        ("duplicate", vec![bytes(&a), bytes(&a)]),
        ("fewer", vec![bytes(&a)]),
        ("more", vec![bytes(&a), bytes(&b), bytes(&b)]),
        ("others", vec![bytes(&transaction(3)), bytes(&transaction(4))]),
        ("no transactions", vec![vec![1, 2, 3], Vec::new()]),
    ];
    for (what, list) in wrong {
        let (request, answer) = listed(&mut alice, vec![wtxid(&a), wtxid(&b)]).await;
        assert!(
            matches!(answer, ToClient::ProvideMissingTransactions(_)),
            "{what}: {answer:?}"
        );
        alice.declarer.say(&provided(request, &list)).await;
        assert_eq!(
            code(&alice.declarer.hear_declare().await),
            "missing-txs",
            "{what}"
        );
    }
    goes_on(&mut alice).await;
    house
        .picture("nothing of it is held", |now| now.negotiation.bytes < 10_000)
        .await;
    house.close().await;
}

/// Transactions that nobody asked for end the connection that sent them, and no other.
#[tokio::test]
async fn unrequested_transactions_end_the_connection() {
    let (house, mut alice) = open().await;
    let mut mallory = Negotiator::start(house.pool.url(), "mallory", flags::DECLARE_TX_DATA).await;
    let transaction = bitcoin::consensus::serialize(&transaction(1));
    mallory.declarer.say(&provided(77, &[transaction])).await;
    assert_eq!(mallory.declarer.hear().await, Heard::End);
    goes_on(&mut alice).await;
    house.close().await;
}

/// A frame of 16 MiB, where a block has at most 4: its header is the last thing that is read of it. The same for one that
/// is a little longer than what is left of the block.
#[tokio::test]
async fn oversized_transactions_are_not_even_read() {
    let (house, mut alice) = open().await;
    for length in [(1u32 << 24) - 1, 4_100_000] {
        let mut mallory = Negotiator::start(house.pool.url(), "mallory", flags::DECLARE_TX_DATA).await;
        let (_, answer) = listed(&mut mallory, vec![wtxid(&transaction(1))]).await;
        assert!(
            matches!(answer, ToClient::ProvideMissingTransactions(_)),
            "{answer:?}"
        );
        let header = adit_wire::Header::new(
            0,
            false,
            <ProvideMissingTransactionsSuccess as Message>::TYPE,
            length,
        );
        let mut frame = header.encode().to_vec();
        frame.resize(frame.len() + length as usize, 3);
        // The header's record and the start of the payload: the pool does not wait for more.
        mallory.declarer.say_start(&frame, 1_000).await;
        assert_eq!(mallory.declarer.hear().await, Heard::End, "{length} bytes");
    }
    goes_on(&mut alice).await;
    house.close().await;
}

/// Ten thousand spends of one coin: the node refuses the block, and nothing of it stays, so that it cannot be used to fill the
/// memory for what everybody has: declared once more, all of it is asked for once more.
#[tokio::test]
async fn ten_thousand_spends_of_one_coin_leave_nothing_behind() {
    let (house, mut alice) = open().await;
    let coin = OutPoint::new(Txid::from_byte_array([9; 32]), 0);
    let all: Vec<Transaction> = (0..10_000).map(|n| spend(coin, n)).collect();
    let bytes: Vec<Vec<u8>> = all.iter().map(bitcoin::consensus::serialize).collect();
    for _ in 0..2 {
        let (request, answer) = listed(&mut alice, all.iter().map(wtxid).collect()).await;
        let ToClient::ProvideMissingTransactions(ask) = answer else {
            panic!("expected a question, heard {answer:?}")
        };
        assert_eq!(ask.unknown_tx_position_list.len(), all.len());
        alice.declarer.say(&provided(request, &bytes)).await;
        assert_eq!(code(&alice.declarer.hear_declare().await), "invalid-job");
        house
            .picture("nothing of it is held", |now| now.negotiation.bytes < 10_000)
            .await;
    }
    goes_on(&mut alice).await;
    house.close().await;
}
