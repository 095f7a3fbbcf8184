//! Whatever lines a peer sends, in whatever order: a refusal or a fault, never a panic, never a share that was not
//! mined, and the same again for the same lines.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::mining::server::Input as MiningInput;
use adit_proto::sv1::server::Input;
use core::time::Duration;
use proptest::prelude::*;
use serde_json::{Value, json};
use sv1::*;

#[derive(Clone, Debug)]
enum Step {
    Line(String),
    Bytes(Vec<u8>),
    Work(u8),
    Commit,
    Wait(u16),
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[0-9a-fxA-F.]{0,20}".prop_map(Value::from),
        Just(json!("alice.rig")),
        Just(json!("1")),
        Just(json!(["version-rolling", "minimum-difficulty"])),
        Just(json!({"version-rolling.mask": "ffffffff", "minimum-difficulty.value": 1e9})),
    ]
}

fn call() -> impl Strategy<Value = String> {
    let methods = prop::sample::select(vec![
        "mining.configure",
        "mining.subscribe",
        "mining.authorize",
        "mining.suggest_difficulty",
        "mining.suggest_target",
        "mining.extranonce.subscribe",
        "mining.submit",
        "mining.submit",
        "mining.ping",
        "mining.multi_version",
        "client.get_version",
    ]);
    (value(), methods, prop::collection::vec(value(), 0..7))
        .prop_map(|(id, method, params)| json!({"id": id, "method": method, "params": params}).to_string())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => call().prop_map(Step::Line),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Bytes),
        1 => any::<u8>().prop_map(Step::Work),
        1 => Just(Step::Commit),
        1 => any::<u16>().prop_map(Step::Wait),
    ]
}

fn run(steps: &[Step]) -> Vec<Result<Vec<Value>, String>> {
    let vardiff = adit_proto::mining::server::Settings {
        vardiff: true,
        ..settings()
    };
    let mut line = Line::with(vardiff, adit_proto::sv1::difficulty::Difficulty::ONE);
    let mut said = Vec::new();
    let mut tip = 0;
    for step in steps {
        let result = match step {
            Step::Line(text) => line.try_give(Input::Line(text.as_bytes())),
            Step::Bytes(bytes) => line.try_give(Input::Line(bytes)),
            Step::Work(template) => {
                tip += u64::from(template % 2);
                line.try_give(Input::Mining(MiningInput::Work(job(tip, u64::from(*template)))))
            }
            Step::Commit => line.try_give(Input::Mining(MiningInput::Committed { through: u64::MAX })),
            Step::Wait(millis) => {
                line.now = line.now + Duration::from_millis((*millis).into());
                match line.server.deadline() {
                    Some(at) if at <= line.now => line.try_give(Input::Mining(MiningInput::Deadline)),
                    _ => Ok(Vec::new()),
                }
            }
        };
        let over = result.is_err();
        said.push(result.map_err(|fault| fault.to_string()));
        if over {
            break;
        }
    }
    assert!(line.shares.is_empty() && line.blocks.is_empty(), "nobody hashed");
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_lines_are_survived_and_replay_alike(steps in prop::collection::vec(step(), 1..40)) {
        prop_assert_eq!(run(&steps), run(&steps));
    }
}
