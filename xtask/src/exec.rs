//! Running a program for a bounded time: its output in a log file, its progress on ours.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often a line of progress is printed.
const PROGRESS_EVERY: Duration = Duration::from_secs(20);
/// How long a program that was told to stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How much of a log's end is read for the progress line and for error messages.
const TAIL_BYTES: u64 = 4096;
/// Lines of the log that an error message repeats.
const TAIL_LINES: usize = 12;
/// Widest progress text in characters.
const PROGRESS_CHARS: usize = 90;

/// What went wrong and what to do about it, for people.
pub(crate) type Failure = String;

/// Runs `command`, appending its output to `log`, for `limit` at most.
pub(crate) fn logged(label: &str, command: &mut Command, log: &Path, limit: Duration) -> Result<(), Failure> {
    let started = Instant::now();
    let status = run(label, command, log, limit, started)?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!(
            "{label}: {} failed ({status}) after {}\n{}\nwhole log: {}",
            command.get_program().to_string_lossy(),
            elapsed(started),
            tail(log, TAIL_LINES),
            log.display()
        )),
        None => Err(format!(
            "{label}: {} was stopped: it took longer than {} minutes. Run the command again, it goes on \
             where it was; log: {}",
            command.get_program().to_string_lossy(),
            limit.as_secs() / 60,
            log.display()
        )),
    }
}

/// The exit status, or `None` when the time was over and the program was stopped.
fn run(
    label: &str,
    command: &mut Command,
    log: &Path,
    limit: Duration,
    started: Instant,
) -> Result<Option<ExitStatus>, Failure> {
    let mut child = start(label, command, log)?;
    let mut said = started;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| format!("{label}: {e}"))? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            stop(&mut child);
            return Ok(None);
        }
        if said.elapsed() > PROGRESS_EVERY {
            said = Instant::now();
            println!("[{}] {label}: {}", elapsed(started), last_line(log));
        }
        std::thread::sleep(POLL);
    }
}

fn start(label: &str, command: &mut Command, log: &Path) -> Result<Child, Failure> {
    let open = || File::options().create(true).append(true).open(log);
    let out = open().map_err(|e| format!("{label}: cannot write {}: {e}", log.display()))?;
    let err = out.try_clone().map_err(|e| format!("{label}: {e}"))?;
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|e| format!("{label}: cannot start `{program}`: {e}; is it installed and on the PATH?"))
}

/// Asks the program to end (cargo and ninja then stop their compilers too), kills it when it does not.
fn stop(child: &mut Child) {
    let _ = Command::new("kill")
        .arg("-TERM")
        .arg(child.id().to_string())
        .status();
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(POLL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Standard output of a short program.
pub(crate) fn output(label: &str, command: &mut Command) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{label}: cannot start `{program}`: {e}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!(
            "{label}: `{program}` failed ({}): {}",
            done.status,
            said.trim()
        ));
    }
    String::from_utf8(done.stdout).map_err(|_| format!("{label}: `{program}` did not print UTF-8"))
}

/// Minutes and seconds since `started`.
pub(crate) fn elapsed(started: Instant) -> String {
    let seconds = started.elapsed().as_secs();
    format!("{:2}m{:02}s", seconds / 60, seconds % 60)
}

fn last_line(log: &Path) -> String {
    tail(log, 1).trim().chars().take(PROGRESS_CHARS).collect()
}

fn tail(log: &Path, lines: usize) -> String {
    let text = read_end(log).unwrap_or_default();
    let all: Vec<&str> = text
        .split(['\n', '\r'])
        .filter(|line| !line.trim().is_empty())
        .collect();
    all.iter()
        .skip(all.len().saturating_sub(lines))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

fn read_end(log: &Path) -> std::io::Result<String> {
    let length = fs::metadata(log)?.len();
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_repeats_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let limit = Duration::from_secs(60);
        assert_eq!(logged("good", &mut shell("echo fine"), &log, limit), Ok(()));
        let failure = logged("bad", &mut shell("echo what is wrong >&2; exit 3"), &log, limit).unwrap_err();
        assert!(
            failure.contains("what is wrong") && failure.contains("exit status: 3"),
            "{failure}"
        );
        assert!(fs::read_to_string(&log).unwrap().starts_with("fine"));
        let failure = logged("none", &mut Command::new("./no-such-program"), &log, limit).unwrap_err();
        assert!(failure.contains("is it installed"), "{failure}");
    }

    #[test]
    fn a_program_that_takes_too_long_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let failure = logged(
            "slow",
            &mut shell("exec sleep 600"),
            &log,
            Duration::from_millis(50),
        )
        .unwrap_err();
        assert!(failure.contains("was stopped"), "{failure}");
    }
}
