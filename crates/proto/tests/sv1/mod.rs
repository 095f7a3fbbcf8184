//! The Stratum V1 machine with a miner that knows nothing but lines: it rebuilds coinbase and header from what it was
//! told, and hashes with another library.
#![allow(dead_code, reason = "each scenario uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

#[path = "../pool/mod.rs"]
pub(crate) mod pool;

use adit_proto::extranonce::Space;
use adit_proto::job::Job;
use adit_proto::mining::server::{
    Event, Found, Input as MiningInput, Output, Settings as MiningSettings, Share,
};
use adit_proto::sv1::difficulty::Difficulty;
use adit_proto::sv1::server::{Input, Server, Settings};
use adit_proto::target::Target;
use adit_proto::vardiff::Steps;
use adit_proto::{Fault, Time};
use bitcoin::hashes::{Hash, sha256d};
use serde_json::{Value, json};
use std::sync::Arc;

#[allow(unused_imports, reason = "each scenario uses its part")]
pub(crate) use pool::{START, easy_job, job};

/// A share takes 256 hashes.
pub(crate) fn settings() -> MiningSettings {
    MiningSettings {
        vardiff: false,
        steps: Steps::Difficulties,
        work_min: 256,
        channels_max: 1,
        ..MiningSettings::default()
    }
}

/// The machine, its clock, and what came out of it.
pub(crate) struct Line {
    pub(crate) server: Server,
    pub(crate) now: Time,
    /// All lines so far.
    pub(crate) said: Vec<Value>,
    pub(crate) shares: Vec<Share>,
    pub(crate) blocks: Vec<Found>,
    pub(crate) events: Vec<Event>,
    next_id: u64,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self::with(settings(), Difficulty::MIN)
    }

    pub(crate) fn with(mining: MiningSettings, start: Difficulty) -> Self {
        let slot = Space::new(0x0102, 0x03_0405..0x03_0406).lease(0).unwrap();
        let settings = Arc::new(Settings {
            mining: Arc::new(mining),
            start,
        });
        Self {
            server: Server::new(START, settings, slot, *b"\x5e\x55\x10\x00\0\0\0\x01"),
            now: START,
            said: Vec::new(),
            shares: Vec::new(),
            blocks: Vec::new(),
            events: Vec::new(),
            next_id: 1,
        }
    }

    /// Gives an input; what was said to it.
    pub(crate) fn try_give(&mut self, input: Input<'_>) -> Result<Vec<Value>, Fault> {
        let (mut lines, mut actions) = (Vec::new(), Vec::new());
        let result = self.server.handle(self.now, input, &mut lines, &mut actions);
        assert!(lines.is_empty() || lines.ends_with(b"\n"), "whole lines");
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        self.said.extend(lines.clone());
        for action in actions {
            match action {
                Output::Share(share) => self.shares.push(share),
                Output::Block(found) => self.blocks.push(found),
                Output::Event(event) => self.events.push(event),
                other => panic!("a message among the actions: {other:?}"),
            }
        }
        result.map(|()| lines)
    }

    pub(crate) fn give(&mut self, input: MiningInput) -> Vec<Value> {
        self.try_give(Input::Mining(input)).unwrap()
    }

    pub(crate) fn work(&mut self, job: &Arc<Job>) -> Vec<Value> {
        self.give(MiningInput::Work(Arc::clone(job)))
    }

    /// Every share so far is on disk.
    pub(crate) fn commit(&mut self) -> Vec<Value> {
        let through = self.shares.last().map_or(0, |share| share.index);
        self.give(MiningInput::Committed { through })
    }

    pub(crate) fn raw(&mut self, line: &str) -> Vec<Value> {
        self.try_give(Input::Line(line.as_bytes())).unwrap()
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Vec<Value> {
        let id = self.next_id;
        self.next_id += 1;
        self.raw(&json!({"id": id, "method": method, "params": params}).to_string())
    }

    /// Subscribes and authorizes.
    pub(crate) fn enter(&mut self, user: &str, password: &str) -> Vec<Value> {
        self.ask("mining.subscribe", json!(["test/1.0"]));
        self.ask("mining.authorize", json!([user, password]))
    }

    fn last(&self, method: &str) -> &Value {
        let found = self.said.iter().rev().find(|line| line["method"] == method);
        &found.unwrap_or_else(|| panic!("no {method}"))["params"]
    }

    /// Parameters of the newest notify.
    pub(crate) fn notified(&self) -> Value {
        self.last("mining.notify").clone()
    }

    /// The difficulty now.
    pub(crate) fn difficulty(&self) -> f64 {
        self.last("mining.set_difficulty")[0].as_f64().unwrap()
    }

    pub(crate) fn extranonce1(&self) -> String {
        let answer = self
            .said
            .iter()
            .find(|line| line["result"][0].is_array())
            .unwrap();
        answer["result"][1].as_str().unwrap().to_owned()
    }

    /// Solves a job as told, to the difficulty, at this extranonce2 and these version bits: parameters of submit.
    pub(crate) fn solve(
        &self,
        notify: &Value,
        difficulty: f64,
        extranonce2: &str,
        bits: Option<u32>,
    ) -> Value {
        let text = |at: usize| notify[at].as_str().unwrap().to_owned();
        let number = |at: usize| u32::from_str_radix(&text(at), 16).unwrap();
        let coinbase = bytes(&[text(2), self.extranonce1(), extranonce2.to_owned(), text(3)].concat());
        let mut root = sha256d::Hash::hash(&coinbase).to_byte_array();
        for branch in notify[4].as_array().unwrap() {
            root = sha256d::Hash::hash(&[root.to_vec(), bytes(branch.as_str().unwrap())].concat())
                .to_byte_array();
        }
        let previous = bytes(&text(1));
        let previous = previous.chunks(4).flat_map(|word| word.iter().rev().copied());
        let version = number(5) & !bits.map_or(0, |_| 0x1fff_ffe0) | bits.unwrap_or(0);
        let mut header = version.to_le_bytes().to_vec();
        header.extend(previous);
        header.extend(root);
        header.extend(number(7).to_le_bytes());
        header.extend(number(6).to_le_bytes());
        let target = theirs(difficulty);
        for nonce in 0u32.. {
            let hash = sha256d::Hash::hash(&[&header[..], &nonce.to_le_bytes()].concat());
            if target.is_met_by(&hash.to_byte_array()) {
                let mut params = vec![text(0), extranonce2.to_owned(), text(7), format!("{nonce:08x}")];
                params.extend(bits.map(|bits| format!("{bits:08x}")));
                return json!(params);
            }
        }
        panic!("no nonce is good");
    }

    /// Solves the newest job and submits it.
    pub(crate) fn submit(&mut self, user: &str, extranonce2: &str) -> Vec<Value> {
        let solved = self.solve(&self.notified(), self.difficulty(), extranonce2, None);
        self.hand_in(user, solved)
    }

    /// Submits what [`Line::solve`] gave.
    pub(crate) fn hand_in(&mut self, user: &str, solved: Value) -> Vec<Value> {
        let mut params = vec![json!(user)];
        params.extend(solved.as_array().unwrap().iter().cloned());
        self.ask("mining.submit", Value::Array(params))
    }
}

/// The target that a miner computes from a difficulty: a power of two.
fn theirs(difficulty: f64) -> Target {
    let shift = (208.0 - difficulty.log2()) as usize;
    let mut target = [0u8; 32];
    for bit in shift..(shift + 16).min(256) {
        target[bit / 8] |= 1 << (bit % 8);
    }
    Target(target)
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// The methods of lines; answers are `"answer"`.
pub(crate) fn kinds(lines: &[Value]) -> Vec<String> {
    let kind = |line: &Value| line["method"].as_str().unwrap_or("answer").to_owned();
    lines.iter().map(kind).collect()
}

/// Code of the only answer among lines.
pub(crate) fn code(lines: &[Value]) -> u64 {
    let answers: Vec<&Value> = lines.iter().filter(|line| line["method"].is_null()).collect();
    assert_eq!(answers.len(), 1, "{lines:?}");
    answers[0]["error"][0]
        .as_u64()
        .unwrap_or_else(|| panic!("no refusal: {lines:?}"))
}
