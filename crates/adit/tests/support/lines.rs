//! A Stratum V1 miner that does not hash: where every hash is a share, any nonce will do. And lines as rude as one likes.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use adit_net::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::SOON;
use super::peer::tcp;

/// A connection of lines.
pub(crate) struct Lines {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    next_id: u64,
}

impl Lines {
    pub(crate) async fn connect(url: &Url) -> Self {
        let stream = tcp(url, Ipv4Addr::LOCALHOST).await.unwrap();
        let (read, write) = stream.into_split();
        Self {
            read: BufReader::new(read),
            write,
            next_id: 1,
        }
    }

    /// Sends bytes as they are; whether somebody took them.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> bool {
        self.write.write_all(bytes).await.is_ok()
    }

    /// Sends a request; its id.
    pub(crate) async fn say(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let line = json!({"id": id, "method": method, "params": params}).to_string() + "\n";
        self.raw(line.as_bytes()).await;
        id
    }

    /// The next line; nothing at the end.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = timeout(SOON, self.read.read_line(&mut line));
        match read.await.expect("a line, or the end") {
            Ok(got) if got > 0 => Some(serde_json::from_str(&line).unwrap()),
            _ => None,
        }
    }

    /// Sends a request and waits for its answer; what else is told in between is dropped.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.say(method, params).await;
        loop {
            let line = self
                .hear()
                .await
                .unwrap_or_else(|| panic!("the end, not an answer to {method}"));
            if line["method"].is_null() && line["id"] == id {
                return line;
            }
        }
    }

    /// Reads to the end; how many lines there were.
    pub(crate) async fn hear_all(&mut self) -> usize {
        let mut count = 0;
        while self.hear().await.is_some() {
            count += 1;
        }
        count
    }
}

/// A miner for which every hash is good.
pub(crate) struct Rig {
    pub(crate) lines: Lines,
    pub(crate) user: String,
    /// What it rolls, always the same.
    pub(crate) extranonce2: String,
    /// Parameters of the newest job.
    pub(crate) job: Value,
    /// Id and nonce of shares without an answer.
    pub(crate) waiting: BTreeMap<u64, u32>,
    pub(crate) acknowledged: BTreeSet<u32>,
    pub(crate) refused: Vec<Value>,
    /// Parameters of `client.reconnect`.
    pub(crate) sent_away: Option<Value>,
}

impl Rig {
    /// Enters at the smallest difficulty and waits for work.
    pub(crate) async fn start(url: &Url, user: &str) -> Self {
        Self::start_with(url, user, "0000000000000001").await
    }

    /// The same with this extranonce2, which is as long as there must be room for.
    pub(crate) async fn start_with(url: &Url, user: &str, extranonce2: &str) -> Self {
        let mut lines = Lines::connect(url).await;
        let subscribed = lines.ask("mining.subscribe", json!(["rig/1.0"])).await;
        assert_eq!(subscribed["result"][2], extranonce2.len() / 2, "{subscribed}");
        let authorized = lines
            .ask("mining.authorize", json!([user, "x,d=0.0000000001"]))
            .await;
        assert_eq!(authorized["result"], true, "{authorized}");
        let mut rig = Self {
            lines,
            user: user.to_owned(),
            extranonce2: extranonce2.to_owned(),
            job: Value::Null,
            waiting: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            refused: Vec::new(),
            sent_away: None,
        };
        while rig.job.is_null() {
            assert!(rig.hear().await, "work comes");
        }
        rig
    }

    /// Submits a share for each nonce.
    pub(crate) async fn submit(&mut self, nonces: std::ops::Range<u32>) {
        for nonce in nonces {
            let nonce_text = format!("{nonce:08x}");
            let params = json!([self.user, self.job[0], self.extranonce2, self.job[7], nonce_text]);
            let id = self.lines.say("mining.submit", params).await;
            self.waiting.insert(id, nonce);
        }
    }

    /// Takes one line; false at the end.
    pub(crate) async fn hear(&mut self) -> bool {
        let Some(line) = self.lines.hear().await else {
            return false;
        };
        match line["method"].as_str() {
            Some("mining.notify") => self.job = line["params"].clone(),
            Some("client.reconnect") => self.sent_away = Some(line["params"].clone()),
            Some(_) => {}
            None => {
                let nonce = line["id"].as_u64().and_then(|id| self.waiting.remove(&id));
                let nonce = nonce.unwrap_or_else(|| panic!("an answer to nothing: {line}"));
                match line["result"] == true {
                    true => drop(self.acknowledged.insert(nonce)),
                    false => self.refused.push(line["error"].clone()),
                }
            }
        }
        true
    }

    /// Submits, and waits until all is answered.
    pub(crate) async fn mine(&mut self, nonces: std::ops::Range<u32>) {
        self.submit(nonces).await;
        while !self.waiting.is_empty() {
            assert!(self.hear().await, "{} ends with {:?}", self.user, self.waiting);
        }
        assert_eq!(self.refused, [] as [Value; 0]);
    }
}
