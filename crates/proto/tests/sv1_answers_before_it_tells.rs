//! The first lines of a Stratum V1 miner: what is answered, in which order, and what follows.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::job::{Fields, Job};
use adit_proto::mining::server::Input as MiningInput;
use adit_proto::sv1::server::{Input, UNREADABLE_MAX};
use adit_wire::refusal;
use serde_json::{Value, json};
use std::sync::Arc;
use sv1::*;

const ASKS: &str = "version-rolling.mask";

/// Old firmware crashes on a notification before the answer it waits for: answers come first, then difficulty, then
/// work.
#[test]
fn every_answer_comes_before_what_follows_from_it() {
    let mut line = Line::new();
    assert_eq!(
        kinds(&line.work(&job(1, 1))),
        Vec::<String>::new(),
        "nobody has asked"
    );
    let answer = line.ask(
        "mining.configure",
        json!([["version-rolling"], {ASKS: "1fffe000"}]),
    );
    assert_eq!(kinds(&answer), ["answer"]);
    let answer = line.ask("mining.subscribe", json!(["cgminer/4.12"]));
    assert_eq!(kinds(&answer), ["answer"]);
    let told = line.ask("mining.authorize", json!(["alice.rig", "x"]));
    assert_eq!(kinds(&told), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(told[0], json!({"id": 3, "result": true, "error": null}));
    assert_eq!(told[2]["params"][8], true, "the first job is a clean one");
    assert_eq!(line.server.agent(), "cgminer/4.12");
}

/// Extranonce1 is the prefix that the channel has, and the session has a name.
#[test]
fn subscribing_gives_the_extranonce_of_the_channel_to_come() {
    let mut line = Line::new();
    let first = line.ask("mining.subscribe", json!([]));
    let expected = json!([
        [
            ["mining.set_difficulty", "5e55100000000001"],
            ["mining.notify", "5e55100000000001"]
        ],
        "01020304050000",
        8
    ]);
    assert_eq!(first[0]["result"], expected);
    let again = line.ask("mining.subscribe", json!(["x", "5e55100000000001"]));
    assert_eq!(again[0]["result"], expected, "asked twice, answered alike");
}

/// Some authorize first. Nothing is told before both are there.
#[test]
fn authorizing_before_subscribing_is_fine() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    assert_eq!(
        kinds(&line.ask("mining.authorize", json!(["alice", ""]))),
        ["answer"]
    );
    let told = line.ask("mining.subscribe", json!([]));
    assert_eq!(kinds(&told), ["answer", "mining.set_difficulty", "mining.notify"]);
}

/// Ids are echoed as they came: numbers, text, none.
#[test]
fn ids_are_echoed_as_they_came() {
    let mut line = Line::new();
    for id in [
        json!(0),
        json!(u64::MAX),
        json!(-5),
        json!(1.5),
        json!("a\"b\\"),
        Value::Null,
    ] {
        let said = line.raw(&json!({"id": id, "method": "mining.ping", "params": []}).to_string());
        assert_eq!((&said[0]["id"], &said[0]["result"]), (&id, &json!("pong")));
    }
    assert_eq!(line.raw("{\"method\":\"mining.ping\"}")[0]["id"], Value::Null);
}

/// BIP310: the job's real permission counts, and what is not known is answered with no.
#[test]
fn version_rolling_is_granted_as_far_as_jobs_allow() {
    let ask = |line: &mut Line, mask: &str| {
        let extensions = json!([["version-rolling", "moon", "info", "subscribe-extranonce"], {ASKS: mask}]);
        line.ask("mining.configure", extensions)[0]["result"].clone()
    };
    let mut line = Line::new();
    line.work(&job(1, 1));
    let expected = json!({
        "version-rolling": true, ASKS: "1fffe000", "moon": false, "info": true, "subscribe-extranonce": true
    });
    assert_eq!(ask(&mut line, "1FFFE000"), expected);
    assert_eq!(ask(&mut line, "ffffffff")[ASKS], "1fffffe0");
    assert_eq!(
        ask(&mut line, "0000001f")["version-rolling"],
        false,
        "no bit in common"
    );

    let fixed = |tip| {
        let fields = Fields {
            version_rolling_allowed: false,
            ..sv1::pool::fields(tip, 1)
        };
        Arc::new(Job::new(fields).unwrap())
    };
    let mut line = Line::new();
    line.work(&fixed(1));
    assert_eq!(ask(&mut line, "1fffe000")["version-rolling"], false);
    // Later work allows it, and later work does not: the miner is told right before the job.
    line.enter("alice", "");
    let told = line.work(&job(2, 1));
    assert_eq!(kinds(&told), ["mining.set_version_mask", "mining.notify"]);
    assert_eq!(told[0]["params"], json!(["1fffe000"]));
    assert_eq!(line.work(&fixed(3))[0]["params"], json!(["00000000"]));
}

/// Nobody who did not ask for version rolling is told of it.
#[test]
fn a_miner_without_version_rolling_hears_nothing_of_it() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice", "");
    line.work(&job(2, 1));
    assert!(!kinds(&line.said).contains(&"mining.set_version_mask".to_owned()));
}

/// `clean_jobs` exactly where everything older is worth nothing any more.
#[test]
fn only_a_new_tip_is_a_clean_job() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice", "");
    let clean = |told: Vec<Value>| told.last().unwrap()["params"][8].clone();
    assert_eq!(clean(line.work(&job(1, 2))), false);
    assert_eq!(clean(line.work(&job(2, 3))), true);
    let ids: Vec<&Value> = line
        .said
        .iter()
        .filter(|it| it["method"] == "mining.notify")
        .map(|it| &it["params"][0])
        .collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

/// Every method that firmware is known to send gets an answer; unknown ones a refusal.
#[test]
fn every_method_is_answered() {
    let mut line = Line::new();
    let result = |line: &mut Line, method: &str, params: Value| line.ask(method, params)[0]["result"].clone();
    for (method, params, expected) in [
        ("mining.ping", json!([]), json!("pong")),
        ("mining.extranonce.subscribe", json!([]), json!(true)),
        ("mining.suggest_difficulty", json!([1000]), json!(true)),
        ("mining.suggest_difficulty", json!(["0.001"]), json!(true)),
        ("mining.suggest_target", json!(["00000000ffff"]), json!(true)),
        ("mining.multi_version", json!([1]), json!(true)),
        ("mining.multi_version", json!([4]), json!(false)),
        ("mining.get_transactions", json!(["1"]), json!([])),
    ] {
        assert_eq!(result(&mut line, method, params), expected, "{method}");
    }
    for (method, params) in [
        ("mining.moon", json!([])),
        ("mining.suggest_difficulty", json!([0])),
        ("mining.suggest_difficulty", json!([])),
        ("mining.suggest_target", json!(["xyz"])),
        ("mining.configure", json!([])),
    ] {
        assert_eq!(code(&line.ask(method, params)), 20, "{method}");
    }
    assert_eq!(code(&line.ask("mining.authorize", json!([]))), 24);
    assert_eq!(
        line.raw("{\"id\":1,\"result\":\"cgminer\",\"error\":null}"),
        [] as [Value; 0],
        "an answer is no request"
    );
}

/// A connection is one account with any number of workers.
#[test]
fn another_account_needs_another_connection() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice.rig1", "x");
    assert_eq!(
        line.ask("mining.authorize", json!(["alice.rig2", "x"]))[0]["result"],
        true
    );
    assert_eq!(code(&line.ask("mining.authorize", json!(["bob.rig1", "x"]))), 24);
}

/// User names as long as firmware has them: 63 (Avalon cuts there), 127 (Whatsminer overflows above), and all that an
/// account may have; longer ones are refused in words.
#[test]
fn names_may_be_as_long_as_firmware_has_them() {
    for (length, fits) in [
        (1, true),
        (63, true),
        (127, true),
        (255, true),
        (256, false),
        (2_000, false),
    ] {
        let mut line = Line::new();
        line.work(&job(1, 1));
        let told = line.enter(&"n".repeat(length), "x");
        assert_eq!(told[0]["result"] == true, fits, "{length}");
        assert!(fits || code(&told) == 24);
    }
}

/// A few lines that are no requests are answered; too many end the connection, and so does one that is too long.
#[test]
fn garbage_costs_its_sender_the_connection() {
    let mut line = Line::new();
    for _ in 1..UNREADABLE_MAX {
        assert_eq!(code(&line.raw("nonsense")), 20);
    }
    line.ask("mining.ping", json!([]));
    for _ in 1..UNREADABLE_MAX {
        line.raw("{}");
    }
    assert_eq!(line.try_give(Input::Line(b"{}")).unwrap_err().kind(), "malformed");
    let mut line = Line::new();
    let long = vec![b' '; 9_000];
    let long = [
        &b"{\"id\":1,\"method\":\"mining.ping\",\"params\":[\""[..],
        &long,
        b"\"]}",
    ]
    .concat();
    assert_eq!(line.try_give(Input::Line(&long)).unwrap_err().kind(), "malformed");
}

/// A drained pool sends its miners away with `client.reconnect`, and lets nobody new in.
#[test]
fn a_drained_pool_sends_miners_away() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice", "");
    let told = line
        .try_give(Input::Reconnect {
            host: "b.example",
            port: 3333,
        })
        .unwrap();
    assert_eq!(told[0]["params"], json!(["b.example", 3333, 0]));
    assert_eq!(
        kinds(&line.work(&job(2, 1))),
        ["mining.notify"],
        "those who are there go on"
    );
    let mut late = Line::new();
    late.give(MiningInput::Drain);
    assert_eq!(code(&late.enter("bob", "")), 20);
}

/// The extranonce moves only for those who can move it; others come back for a new one.
#[test]
fn set_extranonce_goes_only_to_who_subscribed_to_it() {
    for asked in [true, false] {
        let mut line = Line::new();
        line.work(&job(1, 1));
        if asked {
            line.ask("mining.extranonce.subscribe", json!([]));
        }
        line.enter("alice", "");
        let moved = line.try_give(Input::Mining(MiningInput::MoveExtranonce { channel_id: 2 }));
        match moved {
            Ok(told) => {
                assert!(asked);
                assert_eq!(told[0]["params"], json!(["01020304050001", 8]));
            }
            Err(fault) => assert!(!asked && fault.kind() == "incompatible"),
        }
    }
}

/// The end of a connection from this side is no message: the socket just closes.
#[test]
fn closing_says_nothing_that_firmware_does_not_know() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice", "");
    let reason = refusal::CloseChannel::ShuttingDown;
    assert_eq!(
        kinds(&line.give(MiningInput::Close { reason })),
        Vec::<String>::new()
    );
}
