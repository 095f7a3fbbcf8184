//! Where log lines go: stderr, under the live view if there is one.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::text::invisible;
use crate::config::{Level, LogFormat, table::Log};

/// The terminal, shared by the live view and the log so that neither writes over the other.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Screen {
    bars: MultiProgress,
    live: bool,
}

impl Screen {
    /// A live screen where both stdout and stderr are a terminal, otherwise plain lines.
    pub fn of_process() -> Self {
        if io::stderr().is_terminal() && io::stdout().is_terminal() {
            Self {
                bars: MultiProgress::new(),
                live: true,
            }
        } else {
            Self::plain()
        }
    }

    /// No live view, only lines.
    pub fn plain() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            live: false,
        }
    }

    /// Whether there is a live view.
    pub fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Prints a line to stdout, above the live view.
    pub fn say(&self, line: &str) {
        // Whoever closed our stdout does not want the line.
        self.bars.suspend(|| drop(writeln!(io::stdout(), "{line}")));
    }

    /// Prints a line to stderr, above the live view.
    pub fn note(&self, line: &str) {
        self.bars.suspend(|| drop(writeln!(io::stderr(), "{line}")));
    }
}

/// Writes one log line at a time above the live view. What it is given in one call is one line: a
/// control character within it, which only foreign text can have brought, is written as `\u{..}`.
#[derive(Debug)]
pub struct Lines(Screen);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = one_line(&String::from_utf8_lossy(bytes));
        self.0.bars.suspend(|| io::stderr().write_all(line.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines(self.clone())
    }
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.trim_end_matches('\n').chars() {
        if invisible(character) {
            line.extend(character.escape_unicode())
        } else {
            line.push(character)
        }
    }
    line.push('\n');
    line
}

/// Starts logging for the whole process; a second call changes nothing. One event is one line, whatever
/// foreign text stands in it.
pub fn start(settings: &Log, screen: &Screen) {
    let level = match settings.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(screen.clone());
    // An error means that an embedding program logs in its own way already.
    drop(match settings.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(false).with_target(false).try_init(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_forge_a_log_line() {
        let forged = "INFO user=\"bob\n2026-01-01 INFO block found\u{1b}[2J\"\n";
        assert_eq!(
            one_line(forged),
            "INFO user=\"bob\\u{a}2026-01-01 INFO block found\\u{1b}[2J\"\n"
        );
    }
}
