//! `adit` as a process of its own: started, listened to, signalled, killed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use adit_net::Url;

use super::{SOON, until};

/// A running process; it is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// The command without anything of this machine's environment.
pub(crate) fn adit(home: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command
        .env_clear()
        .env("HOME", home)
        .args(line.split(' ').filter(|part| !part.is_empty()));
    command
}

/// Runs to the end.
pub(crate) fn run(home: &Path, line: &str) -> Output {
    adit(home, line).output().unwrap()
}

impl Process {
    /// Starts it; what it prints is kept.
    pub(crate) fn start(mut command: Command) -> Self {
        let piped = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (send, lines) = channel();
        for pipe in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let send = send.clone();
            std::thread::spawn(move || {
                // Whoever does not listen any more is no reason to let the pipe fill.
                BufReader::new(pipe)
                    .lines()
                    .map_while(Result::ok)
                    .for_each(|line| drop(send.send(line)));
            });
        }
        Self { child, lines }
    }

    /// A pool on the data folder `home/data`.
    pub(crate) fn pool(home: &Path, more: &str) -> Self {
        Self::pool_at("127.0.0.1:0", home, more)
    }

    /// The same at an address.
    pub(crate) fn pool_at(listen: &str, home: &Path, more: &str) -> Self {
        let line = "--http off --set pool.workers=2 --set shares.vardiff=false \
                    --set limits.shares_per_second=0 --set shares.seen_max=1048576";
        let data = home.join("data");
        Self::start(adit(
            home,
            &format!("pool --data {} --listen {listen} {line} {more}", data.display()),
        ))
    }

    /// Waits for a line that has `word`.
    pub(crate) fn line_with(&self, word: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(SOON) else {
                panic!("no line with {word:?} among {seen:#?}")
            };
            if line.contains(word) {
                return line;
            }
            seen.push(line);
        }
    }

    /// Where it listens, once it does.
    pub(crate) fn url(&self) -> Url {
        let line = self.line_with("stratum2+tcp://");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("stratum2+tcp://"))
            .unwrap();
        url.parse().unwrap()
    }

    /// What it has said since this was asked last.
    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// What is left of what it said, once it has ended.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -NAME`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// `kill -9`, and the process is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its own end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
