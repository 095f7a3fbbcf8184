//! Shares of a Stratum V1 miner: judged by the machine behind, answered one by one, and only when they are on disk.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::mining::server::{AccountId, Event, Input as MiningInput, WorkerId, WorkerName};
use adit_proto::sv1::difficulty::Difficulty;
use core::time::Duration;
use serde_json::{Value, json};
use sv1::*;

fn mining(user: &str) -> Line {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.ask(
        "mining.configure",
        json!([["version-rolling"], {"version-rolling.mask": "1fffe000"}]),
    );
    line.enter(user, "x");
    line
}

/// Acknowledged is what is on disk, each share under its own id, in one go.
#[test]
fn a_good_share_is_answered_when_it_is_durable() {
    let mut line = mining("alice");
    let mut last = 0;
    for extranonce2 in ["0000000000000001", "0000000000000002", "0000000000000003"] {
        assert_eq!(
            line.submit("alice", extranonce2),
            [] as [Value; 0],
            "not yet on disk"
        );
        last += 1;
        assert_eq!(line.shares.len(), last);
    }
    let through = line.shares[1].index;
    let first = line.give(MiningInput::Committed { through });
    assert_eq!(
        first,
        [
            json!({"id": 4, "result": true, "error": null}),
            json!({"id": 5, "result": true, "error": null})
        ]
    );
    assert_eq!(line.commit(), [json!({"id": 6, "result": true, "error": null})]);
    assert_eq!(line.shares[0].work, 256);
}

/// What is credited is what the difficulty stands for.
#[test]
fn a_share_is_worth_its_difficulty() {
    let mut line = mining("alice");
    let difficulty = Difficulty::nearest(line.difficulty()).unwrap();
    line.submit("alice", "0000000000000001");
    assert_eq!(line.shares[0].work, difficulty.work());
}

/// Account and worker go into the ledger as extension 0x0002 has them; a plain address is an account.
#[test]
fn user_names_are_accounts_and_workers() {
    let mut line = mining("alice.rig1");
    line.submit("alice.rig1", "0000000000000001");
    line.submit("alice.rig2", "0000000000000002");
    line.submit("alice", "0000000000000003");
    let worker = |name: &str| Some(WorkerId::of(&WorkerName::new(name).unwrap()));
    let seen: Vec<_> = line.shares.iter().map(|share| share.worker).collect();
    assert_eq!(seen, [worker("rig1"), worker("rig2"), None]);
    assert!(
        line.shares
            .iter()
            .all(|share| share.account == AccountId::of(b"alice"))
    );
    let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let mut line = mining(address);
    line.submit(address, "0000000000000001");
    assert_eq!(
        (line.shares[0].account, line.shares[0].worker),
        (AccountId::of(address.as_bytes()), None)
    );
}

/// The codes 20 to 25, each at once.
#[test]
fn bad_shares_are_refused_with_their_code() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    let any = json!(["1", "0000000000000001", "6b49d1fc", "00000000"]);
    assert_eq!(code(&line.hand_in("alice", any.clone())), 25, "not subscribed");
    line.ask("mining.subscribe", json!([]));
    assert_eq!(code(&line.hand_in("alice", any.clone())), 24, "not authorized");
    line.ask("mining.authorize", json!(["alice", ""]));
    assert_eq!(code(&line.hand_in("bob", any)), 24, "somebody else");

    let good = line.solve(&line.notified(), line.difficulty(), "0000000000000001", None);
    let with = |at: usize, value: &str| {
        let mut other = good.clone();
        other[at] = json!(value);
        other
    };
    assert_eq!(code(&line.hand_in("alice", with(0, "77"))), 21, "no such job");
    assert_eq!(code(&line.hand_in("alice", with(0, "not ours"))), 21);
    assert_eq!(
        code(&line.hand_in("alice", with(1, "000000000000000001"))),
        20,
        "nine bytes"
    );
    assert_eq!(code(&line.hand_in("alice", with(2, "00000001"))), 20, "long ago");
    let bad = with(1, "0000000000000002");
    assert_eq!(
        code(&line.hand_in("alice", bad)),
        23,
        "another coinbase, another hash"
    );
    assert_eq!(line.hand_in("alice", good.clone()), [] as [Value; 0]);
    assert_eq!(code(&line.hand_in("alice", good.clone())), 22, "twice");
    assert_eq!(code(&line.ask("mining.submit", json!(["alice", "1"]))), 20);
    line.work(&job(2, 1));
    assert_eq!(code(&line.hand_in("alice", good)), 21, "stale");
    assert_eq!(line.commit().len(), 1, "the good one is still answered");
    let refused = line
        .events
        .iter()
        .filter(|event| matches!(event, Event::Refused { .. }));
    assert_eq!(
        refused.count(),
        7,
        "whoever watches hears of those that were judged"
    );
}

/// One proof in another spelling is the same proof: bytes are compared, not text.
#[test]
fn every_spelling_is_read_and_none_is_a_new_share() {
    let mut line = mining("alice");
    let good = line.solve(&line.notified(), line.difficulty(), "00000000000000ab", None);
    let text = |at: usize| good[at].as_str().unwrap().to_owned();
    let spellings = [
        json!([text(0), "ab", text(2), text(3)]),
        json!([
            format!("0x{}", text(0)),
            "0xAB",
            format!("0x{}", text(2)),
            format!("0X{}", text(3))
        ]),
        json!([
            format!("00{}", text(0)),
            "0AB",
            text(2).to_uppercase(),
            text(3).to_uppercase()
        ]),
        json!([text(0), "ab", text(2), text(3).trim_start_matches('0')]),
        good,
    ];
    assert_eq!(
        line.hand_in("alice", spellings[0].clone()),
        [] as [Value; 0],
        "a good share"
    );
    for spelling in &spellings[1..] {
        assert_eq!(code(&line.hand_in("alice", spelling.clone())), 22, "{spelling}");
    }
    assert_eq!(line.shares.len(), 1);
}

/// BIP310: bits of the mask, whole versions as some firmware sends them, and nothing outside of the mask.
#[test]
fn rolled_versions_are_counted() {
    let mut line = mining("alice");
    let solve = |line: &Line, extranonce2, bits| {
        line.solve(&line.notified(), line.difficulty(), extranonce2, Some(bits))
    };
    let rolled = solve(&line, "0000000000000001", 0x0000_a000);
    assert_eq!(line.hand_in("alice", rolled.clone()), [] as [Value; 0]);
    assert_eq!(line.shares[0].version, 0x2000_a000);
    let mut whole = rolled;
    whole[4] = json!("2000a000");
    assert_eq!(
        code(&line.hand_in("alice", whole)),
        22,
        "the same version, said in whole"
    );
    for bits in ["4000a000", "00000001"] {
        let mut outside = solve(&line, "0000000000000002", 0x0000_a000);
        outside[4] = json!(bits);
        assert_eq!(code(&line.hand_in("alice", outside)), 20, "{bits}");
    }
}

/// Difficulty goes up while a job is worked on: its shares count by what was told before it, and the change is told
/// before the job that it is for.
#[test]
fn a_share_is_judged_by_the_difficulty_of_its_job() {
    let vardiff = adit_proto::mining::server::Settings {
        vardiff: true,
        ..settings()
    };
    let mut line = Line::with(vardiff, Difficulty::MIN);
    line.work(&job(1, 1));
    line.enter("alice", "x");
    let (before, old) = (line.difficulty(), line.notified());
    let mut number = 0;
    while line.difficulty() <= before {
        number += 1;
        assert!(number < 100, "a flood is noticed");
        line.now = line.now + Duration::from_millis(10);
        line.submit("alice", &format!("{number:016x}"));
    }
    let order = kinds(&line.said[line.said.len() - 2..]);
    assert_eq!(order, ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(line.notified()[8], false, "the old job is still good");
    let late = line.solve(&old, before, "00000000000ffff1", None);
    assert_eq!(line.hand_in("alice", late), [] as [Value; 0]);
    assert_eq!(
        line.shares.last().unwrap().work,
        Difficulty::nearest(before).unwrap().work()
    );
    line.submit("alice", "00000000000ffff2");
    assert_eq!(
        line.shares.last().unwrap().work,
        Difficulty::nearest(line.difficulty()).unwrap().work()
    );
}

/// A block goes out with its share, and its header is the one that the miner hashed.
#[test]
fn a_block_is_found() {
    let mut line = Line::new();
    line.work(&easy_job(1, 1));
    line.enter("alice.rig", "x");
    let hard = line.solve(
        &line.notified(),
        1.0 / f64::from(1u32 << 23),
        "0000000000000001",
        None,
    );
    line.hand_in("alice.rig", hard);
    assert_eq!(line.blocks.len(), 1);
    assert_eq!(line.blocks[0].hash, line.shares[0].hash);
    assert_eq!(line.blocks[0].account, AccountId::of(b"alice"));
}
