//! Our load generator as a process of its own, with a look at the pool when all connections are open.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

/// How long opening may take, waves included: ten times what the slower pool needs on a quiet machine.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// One run of the generator.
pub(crate) struct Load {
    child: Child,
}

/// Kills a generator that nobody waited for.
impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Load {
    /// Starts the generator and waits until all its connections are open.
    pub(crate) fn ready(
        program: &Path,
        url: &str,
        connections: u32,
        seconds: u64,
        more: &[&str],
    ) -> Result<Self, Failure> {
        let mut child = Command::new(program)
            .args(["load", "--json", "--claim", "0.001", "--upstream", url])
            .args([
                "--connections",
                &connections.to_string(),
                "--seconds",
                &seconds.to_string(),
            ])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = child.stderr.take().ok_or("the generator has no standard error")?;
        let load = Self { child };
        let (tell, lines) = channel();
        // Reads to the end: the generator must never wait for somebody to read what it says.
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let (until, mut heard) = (Instant::now() + READY_LIMIT, String::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = lines.recv_timeout(left).map_err(|error| {
                format!(
                    "not all of {connections} connections opened within {READY_LIMIT:?} ({error}) {heard}"
                )
            })?;
            if line.starts_with("ready:") {
                break;
            }
            heard.push_str(&line);
            heard.push_str("; ");
        }
        Ok(load)
    }

    /// Asks it to end before its time.
    pub(crate) fn stop(&self) -> Result<(), Failure> {
        let id = self.child.id().to_string();
        if Command::new("kill").args(["-INT", &id]).status()?.success() {
            Ok(())
        } else {
            Err("the generator has ended before it was asked to".into())
        }
    }

    /// Waits for its end; its report.
    pub(crate) fn report(mut self) -> Result<Value, Failure> {
        let mut text = String::new();
        let mut out = self.child.stdout.take().ok_or("the generator has no output")?;
        out.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the generator failed ({status}): {text}").into());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// A number of a report, by JSON pointer.
pub(crate) fn number(report: &Value, pointer: &str) -> Result<f64, Failure> {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .ok_or_else(|| format!("the generator's report has no {pointer}").into())
}
