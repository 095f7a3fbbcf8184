//! One test a rule: a block broken in exactly one way is refused with the reason, and the same
//! block unbroken is accepted, so that nothing else was wrong with it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;

use adit_node::embedded::{
    BLOCK_WEIGHT_MAX, BOOTSTRAP_HEIGHT, BlockError, COINBASE_MATURITY, Chain, Connected, FORK_DEPTH_MAX,
    Rules, subsidy,
};
use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::{Message, SecretKey};
use bitcoin::sighash::SighashCache;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, Transaction,
    TxIn, TxMerkleNode, TxOut, WPubkeyHash, WScriptHash, Witness, absolute, ecdsa, script, transaction,
};
use common::{mine, unmine};

/// Value of one bootstrap coin.
const COIN: u64 = 78_125_000;

fn chain() -> Chain {
    Chain::bootstrapped(Rules::new(2).unwrap()).unwrap()
}

/// A clock that no block of these tests is ahead of.
fn now(chain: &Chain) -> u64 {
    u64::from(chain.median_time()) + 10_000
}

fn open_script() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&WScriptHash::from_raw_hash(sha256::Hash::hash(&[0x51])))
}

fn pay(value: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut {
        value: Amount::from_sat(value),
        script_pubkey,
    }
}

/// A bootstrap coin whose coinbase stands at `height`.
fn bootstrap_coin(chain: &Chain, height: u32, vout: u32) -> OutPoint {
    let mut at_height = chain.coins().filter(|(_, coin)| coin.height == height);
    let txid = at_height.next().unwrap().0.txid;
    OutPoint { txid, vout }
}

/// Spends an anyone-can-spend coin.
fn spend(point: OutPoint, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: point,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0x51u8]]),
        }],
        output,
    }
}

/// A block on the tip that pays `fees` less than it may, with these transactions.
fn block(chain: &Chain, transactions: Vec<Transaction>) -> Block {
    block_on(
        chain.tip(),
        chain.height() + 1,
        chain.median_time() + 600,
        transactions,
    )
}

fn block_on(prev: BlockHash, height: u32, time: u32, transactions: Vec<Transaction>) -> Block {
    let script_sig = script::Builder::new()
        .push_int(i64::from(height))
        .push_slice(b"tests");
    let coinbase = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: script_sig.into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0u8; 32]]),
        }],
        output: vec![pay(subsidy(height), open_script())],
    };
    let mut txdata = vec![coinbase];
    txdata.extend(transactions);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: prev,
        merkle_root: TxMerkleNode::all_zeros(),
        time,
        bits: Rules::new(2).unwrap().nbits_at(BOOTSTRAP_HEIGHT + 1),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    commit(&mut block);
    seal(&mut block);
    block
}

/// Adds the witness commitment with the library's own functions.
fn commit(block: &mut Block) {
    let root = block.witness_root().unwrap();
    let hash = Block::compute_witness_commitment(&root, &[0; 32]);
    let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], hash.as_byte_array()].concat();
    block.txdata[0].output.push(pay(0, ScriptBuf::from_bytes(script)));
}

/// Makes merkle root and nonce right again after a change.
fn seal(block: &mut Block) {
    block.header.merkle_root = block.compute_merkle_root().unwrap_or(TxMerkleNode::all_zeros());
    mine(&mut block.header);
}

/// Makes commitment, merkle root and nonce right again after a change of transactions.
fn reseal(block: &mut Block) {
    block.txdata[0].output.pop();
    commit(block);
    seal(block);
}

/// The unbroken block is accepted by a copy of the chain; the broken one is refused by the chain
/// and leaves it as it was.
fn refused(chain: &Chain, good: &Block, breaking: impl FnOnce(&mut Block), want: BlockError) {
    accepted(chain, good);
    let mut bad = good.clone();
    breaking(&mut bad);
    let mut copy = chain.clone();
    let error = copy.connect(bad.clone(), now(chain)).unwrap_err();
    assert_eq!(error, want);
    assert_eq!(copy.tip(), chain.tip());
    assert_eq!(copy.coins().count(), chain.coins().count());
    let again = copy.connect(bad, now(chain)).unwrap_err();
    assert_eq!(again, want, "a refused block is not remembered as known");
    accepted(&copy, good);
}

fn accepted(chain: &Chain, good: &Block) {
    let mut copy = chain.clone();
    let verdict = copy.connect(good.clone(), now(chain));
    assert!(matches!(verdict, Ok(Connected::Tip(_))), "{verdict:?}");
    assert_eq!(copy.tip(), good.block_hash());
    assert!(good.check_merkle_root() && good.check_witness_commitment());
}

/// A chain and a block with one transaction that pays a fee of 1000 satoshis.
fn with_transaction() -> (Chain, Block, OutPoint) {
    let chain = chain();
    let point = bootstrap_coin(&chain, 1, 0);
    let tx = spend(point, vec![pay(COIN - 1000, open_script())]);
    let block = block(&chain, vec![tx]);
    (chain, block, point)
}

#[test]
fn proof_of_work() {
    let (chain, good, _) = with_transaction();
    refused(
        &chain,
        &good,
        |block| unmine(&mut block.header),
        BlockError::HighHash,
    );
}

#[test]
fn bits() {
    let (chain, good, _) = with_transaction();
    for bits in [0x207f_ffff, 0x1d00_ffff, 0, u32::MAX] {
        let breaking = |block: &mut Block| block.header.bits = CompactTarget::from_consensus(bits);
        refused(&chain, &good, breaking, BlockError::BadBits);
    }
}

#[test]
fn previous_block() {
    let (chain, good, _) = with_transaction();
    let breaking = |block: &mut Block| {
        block.header.prev_blockhash = BlockHash::all_zeros();
        mine(&mut block.header);
    };
    refused(&chain, &good, breaking, BlockError::PrevUnknown);
}

#[test]
fn time_too_old() {
    let (chain, mut good, _) = with_transaction();
    good.header.time = chain.median_time() + 1;
    mine(&mut good.header);
    let breaking = |block: &mut Block| {
        block.header.time -= 1;
        mine(&mut block.header);
    };
    refused(&chain, &good, breaking, BlockError::TimeTooOld);
}

#[test]
fn time_too_new() {
    let (chain, mut good, _) = with_transaction();
    good.header.time = u32::try_from(now(&chain)).unwrap() + 7200;
    mine(&mut good.header);
    let breaking = |block: &mut Block| {
        block.header.time += 1;
        mine(&mut block.header);
    };
    refused(&chain, &good, breaking, BlockError::TimeTooNew);
}

#[test]
fn version() {
    let (chain, good, _) = with_transaction();
    for version in [3, 1, 0, -1] {
        let breaking = |block: &mut Block| {
            block.header.version = Version::from_consensus(version);
            mine(&mut block.header);
        };
        refused(&chain, &good, breaking, BlockError::BadVersion);
    }
}

#[test]
fn merkle_root() {
    let (chain, good, _) = with_transaction();
    let breaking = |block: &mut Block| {
        block.header.merkle_root = TxMerkleNode::all_zeros();
        mine(&mut block.header);
    };
    refused(&chain, &good, breaking, BlockError::MerkleRoot);
    let swapped = |block: &mut Block| block.txdata.swap(0, 1);
    refused(&chain, &good, swapped, BlockError::MerkleRoot);
}

#[test]
fn duplicate_transaction() {
    let chain = chain();
    let one = spend(bootstrap_coin(&chain, 1, 0), vec![pay(COIN, open_script())]);
    let two = spend(bootstrap_coin(&chain, 1, 1), vec![pay(COIN, open_script())]);
    let good = block(&chain, vec![one, two]);
    // Three leaves: repeating the last gives the same root (CVE-2012-2459).
    let breaking = |block: &mut Block| block.txdata.push(block.txdata[2].clone());
    refused(&chain, &good, breaking, BlockError::DuplicateTransaction);
}

#[test]
fn witness_commitment() {
    let (chain, good, _) = with_transaction();
    let breaking = |block: &mut Block| {
        let output = block.txdata[0].output.last_mut().unwrap();
        let mut script = output.script_pubkey.to_bytes();
        script[20] ^= 1;
        output.script_pubkey = ScriptBuf::from_bytes(script);
        seal(block);
    };
    refused(&chain, &good, breaking, BlockError::WitnessCommitment);
    let witness = |block: &mut Block| block.txdata[1].input[0].witness.push([1]);
    refused(&chain, &good, witness, BlockError::WitnessCommitment);
    let none = |block: &mut Block| {
        block.txdata[0].output.pop();
        seal(block);
    };
    refused(&chain, &good, none, BlockError::UnexpectedWitness);
}

#[test]
fn reserved_value() {
    let (chain, good, _) = with_transaction();
    let witnesses: [&[&[u8]]; 4] = [&[], &[&[0; 31]], &[&[0; 33]], &[&[0; 32], &[0; 32]]];
    for witness in witnesses {
        let breaking = |block: &mut Block| block.txdata[0].input[0].witness = Witness::from_slice(witness);
        refused(&chain, &good, breaking, BlockError::WitnessReserved);
    }
    let other = |block: &mut Block| {
        block.txdata[0].input[0].witness = Witness::from_slice(&[[1u8; 32]]);
    };
    refused(&chain, &good, other, BlockError::WitnessCommitment);
}

#[test]
fn coinbase_height() {
    let (chain, good, _) = with_transaction();
    let height = i64::from(chain.height()) + 1;
    let late = script::Builder::new()
        .push_int(height + 1)
        .push_slice(b"tests")
        .into_script();
    let padded = ScriptBuf::from_bytes(vec![2, height as u8, 0, 1, 1]);
    for script_sig in [late, padded] {
        let breaking = |block: &mut Block| {
            block.txdata[0].input[0].script_sig = script_sig;
            seal(block);
        };
        refused(&chain, &good, breaking, BlockError::CoinbaseHeight);
    }
}

#[test]
fn coinbase_length() {
    let (chain, mut good, _) = with_transaction();
    let mut bytes = good.txdata[0].input[0].script_sig.to_bytes();
    bytes.resize(100, 0);
    good.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(bytes.clone());
    seal(&mut good);
    bytes.push(0);
    for script_sig in [bytes, vec![1]] {
        let breaking = |block: &mut Block| {
            block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(script_sig);
            seal(block);
        };
        refused(&chain, &good, breaking, BlockError::CoinbaseLength);
    }
}

#[test]
fn coinbase_value() {
    let (chain, mut good, _) = with_transaction();
    let allowed = subsidy(chain.height() + 1) + 1000;
    good.txdata[0].output[0].value = Amount::from_sat(allowed);
    seal(&mut good);
    let breaking = |block: &mut Block| {
        block.txdata[0].output[0].value = Amount::from_sat(allowed + 1);
        seal(block);
    };
    let want = BlockError::CoinbaseValue {
        paid: allowed + 1,
        allowed,
    };
    refused(&chain, &good, breaking, want);
}

#[test]
fn coinbase_first_and_only() {
    let (chain, good, _) = with_transaction();
    let missing = |block: &mut Block| {
        block.txdata.remove(0);
        seal(block);
    };
    refused(&chain, &good, missing, BlockError::CoinbaseMissing);
    let two = |block: &mut Block| {
        block.txdata.push(block.txdata[0].clone());
        seal(block);
    };
    refused(&chain, &good, two, BlockError::CoinbaseMultiple);
    let empty = |block: &mut Block| {
        block.txdata.clear();
        seal(block);
    };
    refused(&chain, &good, empty, BlockError::CoinbaseMissing);
}

#[test]
fn maturity() {
    let chain = chain();
    let ripe = chain.height() + 1 - COINBASE_MATURITY;
    let point = bootstrap_coin(&chain, ripe, 0);
    let young = bootstrap_coin(&chain, ripe + 1, 0);
    let good = block(&chain, vec![spend(point, vec![pay(COIN, open_script())])]);
    let breaking = |block: &mut Block| {
        block.txdata[1].input[0].previous_output = young;
        reseal(block);
    };
    refused(&chain, &good, breaking, BlockError::Immature(young));
}

#[test]
fn missing_input() {
    let (chain, good, mut point) = with_transaction();
    point.vout = 1000;
    let breaking = |block: &mut Block| {
        block.txdata[1].input[0].previous_output = point;
        reseal(block);
    };
    refused(&chain, &good, breaking, BlockError::MissingOrSpent(point));
}

#[test]
fn double_spend() {
    let (mut chain, good, point) = with_transaction();
    let rival = spend(point, vec![pay(COIN - 2000, open_script())]);
    let in_block = |block: &mut Block| {
        block.txdata.push(rival.clone());
        reseal(block);
    };
    refused(&chain, &good, in_block, BlockError::MissingOrSpent(point));
    chain.connect(good, now(&chain)).unwrap();
    let next = block(&chain, vec![]);
    let after = |block: &mut Block| {
        block.txdata.push(rival.clone());
        reseal(block);
    };
    refused(&chain, &next, after, BlockError::MissingOrSpent(point));
}

#[test]
fn child_before_parent() {
    let chain = chain();
    let parent = spend(bootstrap_coin(&chain, 1, 0), vec![pay(COIN, open_script())]);
    let point = OutPoint {
        txid: parent.compute_txid(),
        vout: 0,
    };
    let child = spend(point, vec![pay(COIN, open_script())]);
    let good = block(&chain, vec![parent, child]);
    let breaking = |block: &mut Block| {
        block.txdata.swap(1, 2);
        reseal(block);
    };
    refused(&chain, &good, breaking, BlockError::MissingOrSpent(point));
}

#[test]
fn shape_of_transactions() {
    let (chain, good, point) = with_transaction();
    let change = |change: fn(&mut Transaction)| {
        move |block: &mut Block| {
            change(&mut block.txdata[1]);
            reseal(block);
        }
    };
    let twice = change(|tx| tx.input.push(tx.input[0].clone()));
    refused(&chain, &good, twice, BlockError::InputTwice);
    let no_outputs = change(|tx| tx.output.clear());
    refused(&chain, &good, no_outputs, BlockError::OutputsEmpty);
    let no_inputs = change(|tx| tx.input.clear());
    refused(&chain, &good, no_inputs, BlockError::InputsEmpty);
    let more = change(|tx| tx.output[0].value = Amount::from_sat(COIN + 1));
    refused(&chain, &good, more, BlockError::InBelowOut);
    let huge = change(|tx| tx.output[0].value = Amount::from_sat(u64::MAX));
    refused(&chain, &good, huge, BlockError::OutputValue);
    let wraps = change(|tx| {
        let half = tx.output[0].clone();
        tx.output = vec![half; 2];
        tx.output
            .iter_mut()
            .for_each(|o| o.value = Amount::from_sat(1_100_000_000_000_000));
    });
    refused(&chain, &good, wraps, BlockError::OutputValue);
    let null = change(|tx| {
        let mut input = tx.input[0].clone();
        input.previous_output = OutPoint::null();
        tx.input.push(input);
    });
    refused(&chain, &good, null, BlockError::PrevoutNull);
    assert!(chain.coin(&point).is_some());
}

#[test]
fn lock_times() {
    let (chain, mut good, _) = with_transaction();
    let next = chain.height() + 1;
    good.txdata[1].input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
    for (over, held) in [(next - 1, next), (chain.median_time() - 1, chain.median_time())] {
        good.txdata[1].lock_time = absolute::LockTime::from_consensus(over);
        reseal(&mut good);
        let breaking = |block: &mut Block| {
            block.txdata[1].lock_time = absolute::LockTime::from_consensus(held);
            reseal(block);
        };
        refused(&chain, &good, breaking, BlockError::NonFinal);
    }
}

#[test]
fn relative_locks() {
    let (chain, mut good, _) = with_transaction();
    // The coin is of height 1 and the next block of 111: 110 blocks on. Bootstrap blocks are
    // some hours apart in all: the lock is in units of 512 seconds.
    let blocks = chain.height();
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest)
        .header
        .time;
    let units = (chain.median_time() - genesis) / 512;
    for (over, held) in [(blocks, blocks + 1), (1 << 22 | units, 1 << 22 | (units + 1))] {
        good.txdata[1].input[0].sequence = Sequence(over);
        reseal(&mut good);
        let breaking = |block: &mut Block| {
            block.txdata[1].input[0].sequence = Sequence(held);
            reseal(block);
        };
        refused(&chain, &good, breaking, BlockError::NonFinal);
    }
}

#[test]
fn weight() {
    let chain = chain();
    let mut good = block(&chain, vec![]);
    let filler = |bytes: usize| {
        let mut script = vec![0u8; bytes];
        script[0] = 0x6a;
        pay(0, ScriptBuf::from_bytes(script))
    };
    good.txdata[0].output.insert(0, filler(900_000));
    let room = (BLOCK_WEIGHT_MAX - good.weight().to_wu()) / 4;
    good.txdata[0].output[0] = filler(900_000 + usize::try_from(room).unwrap());
    seal(&mut good);
    assert!(good.weight().to_wu() > BLOCK_WEIGHT_MAX - 4);
    let breaking = |block: &mut Block| {
        block.txdata[0].output[0] = filler(900_001 + usize::try_from(room).unwrap());
        seal(block);
    };
    refused(&chain, &good, breaking, BlockError::Weight);
}

/// 20,000 legacy operations cost 80,000; one witness key spend beside them costs 80,001.
#[test]
fn sigops() {
    let secp = Secp256k1::new();
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let public = key.public_key(&secp);
    let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(&public.serialize()));
    let (mut chain, mut first, _) = with_transaction();
    first.txdata[1].output[0].script_pubkey = script.clone();
    reseal(&mut first);
    chain.connect(first.clone(), now(&chain)).unwrap();

    let point = OutPoint {
        txid: first.txdata[1].compute_txid(),
        vout: 0,
    };
    let mut tx = spend(point, vec![pay(COIN - 2000, open_script())]);
    let value = Amount::from_sat(COIN - 1000);
    let kind = EcdsaSighashType::All;
    let hash = SighashCache::new(&tx)
        .p2wpkh_signature_hash(0, &script, value, kind)
        .unwrap();
    let message = Message::from_digest(hash.to_byte_array());
    let signature = ecdsa::Signature::sighash_all(secp.sign_ecdsa(&message, &key));
    tx.input[0].witness = Witness::p2wpkh(&signature, &public);

    let checks = |count: usize| pay(0, ScriptBuf::from_bytes(vec![0xac; count]));
    let mut full = block(&chain, vec![]);
    full.txdata[0].output.insert(0, checks(20_000));
    seal(&mut full);
    let one_more = |block: &mut Block| {
        block.txdata.push(tx.clone());
        reseal(block);
    };
    refused(&chain, &full, one_more, BlockError::Sigops(80_001));

    let mut with_spend = block(&chain, vec![tx.clone()]);
    with_spend.txdata[0].output.insert(0, checks(19_999));
    seal(&mut with_spend);
    let legacy = |block: &mut Block| {
        block.txdata[0].output[0] = checks(20_001);
        seal(block);
    };
    refused(&chain, &with_spend, legacy, BlockError::Sigops(80_004));

    let forged = |block: &mut Block| {
        block.txdata[1].output[0].value = Amount::from_sat(COIN - 1999);
        reseal(block);
    };
    let why = "signature does not verify";
    refused(&chain, &with_spend, forged, BlockError::Script { input: 0, why });
}

#[test]
fn scripts() {
    let (chain, good, _) = with_transaction();
    let items = |items: &[&[u8]]| {
        let witness = Witness::from_slice(items);
        move |block: &mut Block| {
            block.txdata[1].input[0].witness = witness;
            reseal(block);
        }
    };
    let failed = |why| BlockError::Script { input: 0, why };
    let empty = failed("witness program with an empty witness");
    refused(&chain, &good, items(&[]), empty);
    let other = failed("witness script does not match its hash");
    refused(&chain, &good, items(&[&[0x52]]), other);
    let more = failed("witness leaves more than one stack item");
    refused(&chain, &good, items(&[&[1], &[0x51]]), more);
    let script_sig = |block: &mut Block| {
        block.txdata[1].input[0].script_sig = ScriptBuf::from_bytes(vec![0x51]);
        reseal(block);
    };
    refused(&chain, &good, script_sig, failed("scriptSig not empty"));
}

/// Other forms may be paid to, never spent: nothing is waved through.
#[test]
fn scripts_of_other_forms_cannot_be_spent() {
    let (mut chain, mut first, _) = with_transaction();
    first.txdata[1].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51, 0x51]);
    reseal(&mut first);
    chain.connect(first.clone(), now(&chain)).unwrap();
    let point = OutPoint {
        txid: first.txdata[1].compute_txid(),
        vout: 0,
    };
    let mut tx = spend(point, vec![pay(1000, open_script())]);
    tx.input[0].witness = Witness::new();
    let breaking = |block: &mut Block| {
        block.txdata.push(tx.clone());
        reseal(block);
    };
    let why = "script of a form this chain does not evaluate";
    let empty = block(&chain, vec![]);
    refused(&chain, &empty, breaking, BlockError::Script { input: 0, why });
}

#[test]
fn most_work_wins_and_a_broken_branch_is_left() {
    for depth in 1..=6u32 {
        let mut chain = chain();
        let fork = (chain.tip(), chain.height(), chain.median_time());
        let now = now(&chain) + 100_000;
        let mut given_up = Vec::new();
        for _ in 0..depth {
            let mut next = block(&chain, vec![]);
            next.header.version = Version::from_consensus(0x2000_0004);
            mine(&mut next.header);
            given_up.push(next.block_hash());
            chain.connect(next, now).unwrap();
        }
        let before = chain.clone();
        let (mut prev, height, time) = fork;
        for step in 1..=depth {
            let rival = block_on(prev, height + step, time + 600 + step * 600, vec![]);
            prev = rival.block_hash();
            assert!(
                matches!(chain.connect(rival, now), Ok(Connected::Side)),
                "{depth} {step}"
            );
        }
        assert_eq!(chain.tip(), before.tip());

        // The last block of the branch spends what is not there: all is as before.
        let last = (prev, height + depth + 1, time + 600 + (depth + 1) * 600);
        let missing = OutPoint {
            txid: before.coins().next().unwrap().0.txid,
            vout: 99,
        };
        let tx = spend(missing, vec![pay(1, open_script())]);
        let broken = block_on(last.0, last.1, last.2, vec![tx]);
        let error = chain.connect(broken, now).unwrap_err();
        assert_eq!(error, BlockError::MissingOrSpent(missing));
        assert_eq!(chain.tip(), before.tip());
        assert!(
            before
                .coins()
                .all(|(point, coin)| chain.coin(point) == Some(coin))
        );
        assert_eq!(chain.coins().count(), before.coins().count());

        let good = block_on(last.0, last.1, last.2, vec![]);
        let hash = good.block_hash();
        let Ok(Connected::Tip(change)) = chain.connect(good, now) else {
            panic!("no new tip")
        };
        assert_eq!(chain.tip(), hash);
        assert_eq!(chain.height(), height + depth + 1);
        let hashes: Vec<_> = change
            .disconnected
            .iter()
            .map(|block| block.block_hash())
            .collect();
        assert_eq!(hashes, given_up, "depth {depth}");
        assert_eq!(change.connected.len(), depth as usize + 1);
        let spendable = chain.coins().filter(|(_, coin)| coin.height > height).count();
        assert_eq!(spendable, depth as usize + 1, "only the coins of the new branch");
    }
}

#[test]
fn forks_deeper_than_the_kept_blocks_are_refused() {
    let mut chain = chain();
    let fork = (chain.tip(), chain.height(), chain.median_time());
    let now = now(&chain) + 1_000_000;
    let rival = |version| {
        let mut rival = block_on(fork.0, fork.1 + 1, fork.2 + 700, vec![]);
        rival.header.version = Version::from_consensus(version);
        mine(&mut rival.header);
        rival
    };
    for _ in 0..FORK_DEPTH_MAX {
        chain.connect(block(&chain, vec![]), now).unwrap();
    }
    assert!(matches!(
        chain.connect(rival(0x2000_0000), now),
        Ok(Connected::Side)
    ));
    chain.connect(block(&chain, vec![]), now).unwrap();
    assert_eq!(
        chain.connect(rival(0x2000_0004), now).unwrap_err(),
        BlockError::ForkTooDeep
    );
}

#[test]
fn a_known_block_is_a_duplicate() {
    let (mut chain, good, _) = with_transaction();
    let time = now(&chain);
    chain.connect(good.clone(), time).unwrap();
    assert!(matches!(chain.connect(good, time), Ok(Connected::Duplicate)));
}

#[test]
fn the_bootstrap_is_the_same_for_every_work() {
    let easy = Chain::bootstrapped(Rules::new(1).unwrap()).unwrap();
    let hard = Chain::bootstrapped(Rules::new(60).unwrap()).unwrap();
    assert_eq!(easy.tip(), hard.tip());
    assert_eq!(easy.height(), BOOTSTRAP_HEIGHT);
}
