//! A Stratum V1 device of a hundred lines, for our pool and for the proxy of the reference implementation: it hashes
//! for real and rolls the version (BIP 310).
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use adit_testkit::until;
use bitcoin::hashes::{Hash, sha256d};
use serde_json::{Value, json};

/// How long a test waits for anything. Far more than is needed: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(90);
/// Bits that BIP 320 lets devices roll.
const ROLLED_MASK: u32 = 0x1fff_e000;
/// The bits that this device sets.
const ROLLED_BITS: u32 = 0x0000_a000;
/// Headers hashed between two looks at the socket.
const BATCH: u32 = 20_000;
/// Hash of difficulty 1, as a number.
const DIFFICULTY_1: f64 = 65_535.0 * ((1u128 << 104) as f64) * ((1u128 << 104) as f64);

/// How a device fared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) refused: Vec<Value>,
}

/// A device at work.
pub(crate) struct Device {
    user: String,
    stream: TcpStream,
    lines: Receiver<Value>,
    extranonce_1: String,
    extranonce_2_bytes: usize,
    rolls: bool,
    difficulty: f64,
    job: Option<Job>,
    /// Jobs so far: each is searched with another extranonce 2.
    jobs: u64,
    next_id: u64,
    submitted_from: u64,
    tally: Tally,
}

/// `mining.notify`, ready to hash.
struct Job {
    id: String,
    header: [u8; 80],
    version: u32,
    time: String,
    extranonce_2: String,
    nonce: u32,
}

/// Mines at `address` until `goal` shares are accepted.
pub(crate) fn mine(address: &str, user: &str, goal: u64) -> Tally {
    let mut device = Device::connect(address, user);
    let done = until(LIMIT, || {
        while let Ok(message) = device.lines.try_recv() {
            device.take(&message);
        }
        device.hash();
        (device.tally.accepted >= goal).then_some(())
    });
    assert!(
        done.is_some(),
        "{user} has {:?}, not {goal}, at difficulty {}",
        device.tally,
        device.difficulty
    );
    device.tally
}

impl Device {
    fn connect(address: &str, user: &str) -> Self {
        let stream = until(LIMIT, || TcpStream::connect(address).ok()).expect("it listens");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let messages = reader.lines().map_while(Result::ok);
            for message in messages.filter_map(|line| serde_json::from_str(&line).ok()) {
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut this = Self {
            user: user.to_owned(),
            stream,
            lines,
            extranonce_1: String::new(),
            extranonce_2_bytes: 0,
            rolls: false,
            difficulty: f64::INFINITY,
            job: None,
            jobs: 0,
            next_id: 0,
            submitted_from: u64::MAX,
            tally: Tally::default(),
        };
        this.introduce();
        this
    }

    fn introduce(&mut self) {
        let options =
            json!({"version-rolling.mask": format!("{ROLLED_MASK:08x}"), "version-rolling.min-bit-count": 2});
        let granted = self.ask("mining.configure", json!([["version-rolling"], options]));
        let mask = granted["version-rolling.mask"].as_str().unwrap_or("0");
        self.rolls = u32::from_str_radix(mask, 16).is_ok_and(|mask| mask & ROLLED_BITS == ROLLED_BITS);
        let subscribed = self.ask("mining.subscribe", json!(["peer test"]));
        subscribed[1]
            .as_str()
            .expect("an extranonce 1")
            .clone_into(&mut self.extranonce_1);
        self.extranonce_2_bytes = subscribed[2]
            .as_u64()
            .and_then(|bytes| bytes.try_into().ok())
            .expect("a size");
        assert_eq!(self.ask("mining.authorize", json!([self.user, "x"])), true);
        self.submitted_from = self.next_id;
    }

    fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let line = json!({"id": id, "method": method, "params": params}).to_string() + "\n";
        self.stream.write_all(line.as_bytes()).expect("it takes a line");
        id
    }

    /// Sends a request and waits for its result; whatever comes before is taken as usual.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        loop {
            let message = self.lines.recv_timeout(LIMIT.max(Duration::from_secs(1)));
            let mut message = message.unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
            if message["id"] == id && message.get("method").is_none() {
                return message["result"].take();
            }
            self.take(&message);
        }
    }

    fn take(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("mining.set_difficulty") => self.difficulty = params[0].as_f64().expect("a difficulty"),
            Some("mining.notify") => {
                self.jobs += 1;
                self.job = Some(self.read_job(params));
            }
            Some("mining.set_extranonce") => {
                params[0]
                    .as_str()
                    .expect("an extranonce 1")
                    .clone_into(&mut self.extranonce_1);
            }
            Some(_) => {}
            None if message["id"].as_u64().is_some_and(|id| id >= self.submitted_from) => {
                if message["result"] == true {
                    self.tally.accepted += 1;
                } else {
                    self.tally.refused.push(message["error"].clone());
                }
            }
            None => {}
        }
    }

    fn read_job(&self, params: &Value) -> Job {
        let text = |index: usize| params[index].as_str().expect("text");
        let number = |index: usize| u32::from_str_radix(text(index), 16).expect("a number");
        let extranonce_2 = format!("{:01$x}", self.jobs, self.extranonce_2_bytes * 2);
        let coinbase = bytes(&[text(2), &self.extranonce_1, &extranonce_2, text(3)].concat());
        let mut root = sha256d::Hash::hash(&coinbase).to_byte_array();
        for branch in params[4].as_array().expect("branches") {
            let branch = bytes(branch.as_str().expect("a branch"));
            root = sha256d::Hash::hash(&[&root[..], &branch].concat()).to_byte_array();
        }
        let rolled = if self.rolls { ROLLED_BITS } else { 0 };
        let version = (number(5) & !ROLLED_MASK) | (number(5) & ROLLED_MASK & !rolled) | rolled;
        // Stratum V1 swaps the bytes of every word of the previous hash.
        let previous: Vec<u8> = bytes(text(1))
            .chunks(4)
            .flat_map(|word| word.iter().rev().copied())
            .collect();
        let parts = [
            &version.to_le_bytes()[..],
            &previous,
            &root,
            &number(7).to_le_bytes(),
            &number(6).to_le_bytes(),
            &[0; 4],
        ];
        let header = parts.concat().try_into().expect("eighty bytes");
        Job {
            id: text(0).to_owned(),
            header,
            version,
            time: text(7).to_owned(),
            extranonce_2,
            nonce: 0,
        }
    }

    /// Tries some nonces of the newest job and submits what is good enough.
    fn hash(&mut self) {
        let Some(mut job) = self.job.take() else { return };
        for _ in 0..BATCH {
            job.header[76..].copy_from_slice(&job.nonce.to_le_bytes());
            let hash = sha256d::Hash::hash(&job.header).to_byte_array();
            let value = hash
                .iter()
                .rev()
                .fold(0.0, |value, &byte| value * 256.0 + f64::from(byte));
            if value * self.difficulty <= DIFFICULTY_1 {
                let mut params = vec![
                    self.user.clone(),
                    job.id.clone(),
                    job.extranonce_2.clone(),
                    job.time.clone(),
                    format!("{:08x}", job.nonce),
                ];
                if self.rolls {
                    params.push(format!("{:08x}", job.version & ROLLED_MASK));
                }
                self.send("mining.submit", json!(params));
            }
            job.nonce = job.nonce.wrapping_add(1);
        }
        self.job = Some(job);
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| {
        hex.get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    (0..hex.len())
        .step_by(2)
        .map(|at| digits(at).expect("hex"))
        .collect()
}
