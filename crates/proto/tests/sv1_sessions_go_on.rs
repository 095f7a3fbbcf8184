//! A Stratum V1 miner that comes back to its session: work under way stays good, and nothing counts twice.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::mining::server::Input as MiningInput;
use adit_proto::sv1::server::wanted_session;
use serde_json::{Value, json};
use sv1::*;

/// The socket breaks, and the miner is on another connection.
fn reconnected(mut line: Line) -> Line {
    let fresh = Line::new().server;
    let (server, _slot) = line.server.resume(fresh);
    line.server = server;
    line.give(MiningInput::Committed {
        through: line.server.mining().share_count(),
    });
    line
}

#[test]
fn a_session_goes_on_where_it_was() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice.rig", "x");
    let extranonce1 = line.extranonce1();
    let before = line.solve(&line.notified(), line.difficulty(), "0000000000000001", None);
    let under_way = line.solve(&line.notified(), line.difficulty(), "0000000000000002", None);
    line.hand_in("alice.rig", before.clone());

    let mut line = reconnected(line);
    assert_eq!(
        line.work(&job(1, 2)),
        [] as [Value; 0],
        "nobody has subscribed yet"
    );
    let subscribed = line.ask("mining.subscribe", json!(["x", line.server.session()]));
    assert_eq!(subscribed[0]["result"][1], *extranonce1);
    let told = line.ask("mining.authorize", json!(["alice.rig", "x"]));
    assert_eq!(kinds(&told), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(
        (&told[2]["params"][0], &told[2]["params"][8]),
        (&json!("2"), &json!(true))
    );

    assert_eq!(
        code(&line.hand_in("alice.rig", before)),
        22,
        "it was counted already"
    );
    assert_eq!(line.hand_in("alice.rig", under_way), [] as [Value; 0]);
    assert_eq!(line.shares.len(), 2);
    assert_eq!(
        kinds(&line.commit()),
        ["answer"],
        "only the request of this connection"
    );
}

#[test]
fn a_session_is_not_for_others() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice.rig", "x");
    let mut line = reconnected(line);
    line.ask("mining.subscribe", json!([]));
    assert_eq!(code(&line.ask("mining.authorize", json!(["bob", "x"]))), 24);
    assert_eq!(
        line.server.channel(),
        Some((line.server.channel().unwrap().0, "alice"))
    );
}

#[test]
fn a_session_is_asked_for_in_subscribe_alone() {
    let wanted = |line: Value| wanted_session(line.to_string().as_bytes());
    let subscribe = |params: Value| json!({"id": 1, "method": "mining.subscribe", "params": params});
    assert_eq!(wanted(subscribe(json!(["x", "5e55"]))), Some("5e55".into()));
    assert_eq!(wanted(subscribe(json!(["x"]))), None);
    assert_eq!(wanted(subscribe(json!(["x", null]))), None);
    assert_eq!(wanted(subscribe(json!(["x", "y".repeat(65)]))), None);
    assert_eq!(
        wanted(json!({"id": 1, "method": "mining.authorize", "params": ["mining.subscribe", "5e55"]})),
        None
    );
}
