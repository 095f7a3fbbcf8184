//! A site on a free port, and the smallest client that can be rude to it.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;

use adit::config::Settings;
use adit::http::{Views, bind};
use adit::observe::{Roster, Status};
use adit::shutdown::{Shutdown, Stop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running site; it ends when this is dropped.
pub(crate) struct Site {
    pub(crate) addr: SocketAddr,
    pub(crate) publish: watch::Sender<Arc<Status>>,
    pub(crate) roster: watch::Sender<Arc<Roster>>,
    pub(crate) stop: Stop,
    pub(crate) task: JoinHandle<()>,
}

impl Site {
    pub(crate) async fn start(status: Status, hosts: &[&str]) -> Self {
        Self::with(status, &[("http.hosts", &hosts.join(","))]).await
    }

    pub(crate) async fn with(status: Status, changes: &[(&str, &str)]) -> Self {
        let changes = [&[("http.listen", "127.0.0.1:0")], changes].concat();
        let settings = Settings::with(&changes).unwrap();
        let server = bind(&settings.http, false).await.unwrap().unwrap();
        let (publish, watch) = watch::channel(Arc::new(status));
        let (stop, shutdown) = Shutdown::new();
        let addr = server.addr();
        let (roster, roster_rx) = watch::channel(Arc::new(Roster::default()));
        let views = Views {
            roster: roster_rx,
            ..Views::of(watch, &settings)
        };
        let task = tokio::spawn(server.serve(views, shutdown));
        Self {
            addr,
            publish,
            roster,
            stop,
            task,
        }
    }
}

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &'_ str| {
            line.split_once(": ")
                .is_some_and(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        self.head
            .lines()
            .find(|text| line(text))?
            .split_once(": ")
            .map(|(_, value)| value)
    }
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, "GET", path, "127.0.0.1").await
}

pub(crate) async fn ask(addr: SocketAddr, method: &str, path: &str, host: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    say(addr, request.as_bytes()).await
}

/// Says anything and listens until the site hangs up.
pub(crate) async fn say(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The site may hang up while we still talk.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    Answer {
        code,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
