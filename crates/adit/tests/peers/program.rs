//! A program started by a test: what it says is kept, and it never outlives the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use adit_testkit::{Running, until};

/// How long a test waits for anything. Far more than is needed: the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// Lines of a log that a failure repeats.
const TAIL_LINES: usize = 25;

/// A running program.
pub(crate) struct Program {
    name: String,
    process: Running,
    output: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; its standard output and error go to files of `folder`.
    pub(crate) fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let (output, log) = (
            folder.join(format!("{name}.out")),
            folder.join(format!("{name}.err")),
        );
        let create = |path| File::create(path).expect("a file for what a program says");
        command
            .stdin(Stdio::null())
            .stdout(create(&output))
            .stderr(create(&log));
        let process = Running::start(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name: name.to_owned(),
            process,
            output,
            log,
        }
    }

    /// What it wrote to standard output.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Waits for its end; whether that was a success.
    pub(crate) fn finish(&mut self) -> bool {
        let status = self.process.wait(LIMIT);
        status
            .unwrap_or_else(|| panic!("it does not end{}", self.said()))
            .success()
    }

    /// Asks it to end (SIGTERM) and waits.
    pub(crate) fn stop(&mut self) {
        self.process.signal("TERM");
        assert!(self.finish(), "it does not stop in order{}", self.said());
    }

    /// Stops it where it is (SIGSTOP): what it listened on takes connections and says nothing, like a black hole.
    pub(crate) fn pause(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Kills it at once (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// The end of what it said, for failures.
    pub(crate) fn said(&self) -> String {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let text = read(&self.output) + &read(&self.log);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!(
            "\n--- {} said\n{}\n",
            self.name,
            lines.get(from..).unwrap_or_default().join("\n")
        )
    }
}

/// Waits for `condition`. When it does not come: what was awaited, and what the programs said.
pub(crate) fn wait<T>(what: &str, programs: &[&Program], condition: impl FnMut() -> Option<T>) -> T {
    until(LIMIT, condition).unwrap_or_else(|| {
        let said: String = programs.iter().map(|program| program.said()).collect();
        panic!("{what}: not within {LIMIT:?}{said}")
    })
}

/// A port that was free a moment ago, for programs that cannot choose one themselves.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
