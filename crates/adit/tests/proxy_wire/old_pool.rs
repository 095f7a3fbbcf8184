//! A pool of Stratum V1 that says what a test wants it to.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::SOON;

/// A caller that has said nothing for so long stays.
const HANGING_UP: Duration = Duration::from_secs(3);

/// One pool, and its newest connection.
pub(crate) struct OldPool {
    listener: TcpListener,
    mask: &'static str,
    extranonce1: &'static str,
    extranonce2: usize,
    read: Option<BufReader<OwnedReadHalf>>,
    write: Option<OwnedWriteHalf>,
}

impl OldPool {
    pub(crate) async fn open(mask: &'static str, extranonce2: usize) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            mask,
            extranonce1: "aaaaaaaa",
            extranonce2,
            read: None,
            write: None,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("stratum+tcp://{}", self.listener.local_addr().unwrap())
    }

    async fn accept(&mut self) {
        let accepted: (TcpStream, _) = timeout(SOON, self.listener.accept())
            .await
            .expect("a caller")
            .unwrap();
        let (read, write) = accepted.0.into_split();
        (self.read, self.write) = (Some(BufReader::new(read)), Some(write));
    }

    /// The next line of this method; what else is asked meanwhile is left unanswered.
    pub(crate) async fn hear(&mut self, method: &str) -> Value {
        loop {
            let line = self
                .line()
                .await
                .unwrap_or_else(|| panic!("the end, not {method}"));
            if line["method"] == method {
                return line;
            }
        }
    }

    async fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.read.as_mut()?.read_line(&mut line);
        let got = timeout(SOON, read).await.expect("a line, or the end");
        got.is_ok_and(|got| got > 0)
            .then(|| serde_json::from_str(&line).unwrap())
    }

    async fn write(&mut self, line: &Value) {
        let line = line.to_string() + "\n";
        if let Some(write) = &mut self.write {
            // Whoever has hung up does not want it.
            let _ = write.write_all(line.as_bytes()).await;
        }
    }

    pub(crate) async fn answer(&mut self, asked: &Value, result: Value) {
        self.write(&json!({"id": asked["id"], "result": result, "error": null}))
            .await;
    }

    pub(crate) async fn say(&mut self, method: &str, params: Value) {
        self.write(&json!({"id": null, "method": method, "params": params}))
            .await;
    }

    /// A connection, and what it may roll.
    pub(crate) async fn configure(&mut self) {
        self.accept().await;
        let asked = self.hear("mining.configure").await;
        let mask = self.mask;
        self.answer(
            &asked,
            json!({"version-rolling": true, "version-rolling.mask": mask}),
        )
        .await;
    }

    /// The same on another connection, where the last one has ended.
    pub(crate) async fn configure_again(&mut self) {
        let ended = async { while self.line().await.is_some() {} };
        timeout(SOON + Duration::from_secs(1), ended)
            .await
            .expect("the end");
        self.configure().await;
    }

    pub(crate) async fn subscribe(&mut self) {
        let asked = self.hear("mining.subscribe").await;
        let session = json!([[["mining.notify", "s"]], self.extranonce1, self.extranonce2]);
        self.answer(&asked, session).await;
    }

    /// A caller is let in and told the smallest difficulty. The first one only wants to know how much extranonce there is.
    pub(crate) async fn enter(&mut self) {
        loop {
            self.configure().await;
            self.subscribe().await;
            let asked = self.hear("mining.authorize").await;
            self.answer(&asked, json!(true)).await;
            self.say("mining.set_difficulty", json!([0.000_000_000_1])).await;
            // Who stays asks for its extranonce to be kept current, and goes on.
            let asked = self.hear("mining.extranonce.subscribe").await;
            self.answer(&asked, json!(true)).await;
            if !self.has_ended().await {
                return;
            }
        }
    }

    /// Whether the caller hangs up at once.
    async fn has_ended(&mut self) -> bool {
        let Some(read) = &mut self.read else { return true };
        match timeout(HANGING_UP, read.fill_buf()).await {
            // A reset is an end, too.
            Ok(got) => got.map_or(true, <[u8]>::is_empty),
            Err(_) => false,
        }
    }

    /// Another extranonce, for the jobs that follow.
    pub(crate) async fn move_to(&mut self, extranonce1: &'static str, extranonce2: usize) {
        (self.extranonce1, self.extranonce2) = (extranonce1, extranonce2);
        self.say("mining.set_extranonce", json!([extranonce1, extranonce2]))
            .await;
    }

    /// A job on the block of which `tip` is every byte.
    pub(crate) async fn notify(&mut self, id: &str, tip: &str, clean: bool) {
        let script = 4 + self.extranonce1.len() / 2 + self.extranonce2;
        let first = format!("0100000001{}ffffffff{script:02x}03010203", "00".repeat(32));
        let params = json!([
            id,
            tip.repeat(32),
            first,
            "ffffffff0100f2052a01000000015100000000",
            [],
            "20000000",
            "207fffff",
            "65000000",
            clean
        ]);
        self.say("mining.notify", params).await;
    }
}
