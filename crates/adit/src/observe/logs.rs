//! Where log lines go: stderr, under the live view if there is one.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

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
/// control character within it, which only foreign text can have brought, is written as `\u{..}`, or in JSON as `\u....`.
#[derive(Debug)]
pub struct Lines {
    screen: Screen,
    format: LogFormat,
}

/// Makes one for each event.
struct Writer {
    screen: Screen,
    format: LogFormat,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = one_line(&String::from_utf8_lossy(bytes), self.format);
        self.screen
            .bars
            .suspend(|| io::stderr().write_all(line.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines {
            screen: self.screen.clone(),
            format: self.format,
        }
    }
}

fn one_line(text: &str, format: LogFormat) -> String {
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.trim_end_matches('\n').chars() {
        match (invisible(character), format) {
            (false, _) => line.push(character),
            (true, LogFormat::Text) => line.extend(character.escape_unicode()),
            (true, LogFormat::Json) => {
                // JSON writes what lies beyond 16 bits in two.
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('\n');
    line
}

/// Starts logging for the whole process; a second call changes nothing. One event is one line, whatever
/// foreign text stands in it.
pub fn start(settings: &Log, screen: &Screen) {
    let lines = Writer {
        screen: screen.clone(),
        format: settings.format,
    };
    let (level, handle) = reload::Layer::new(filter(settings.level));
    let events = fmt::layer().with_writer(lines);
    let events = match settings.format {
        LogFormat::Json => events.json().flatten_event(true).boxed(),
        LogFormat::Text => events.with_ansi(false).with_target(false).boxed(),
    };
    // An error means that an embedding program logs in its own way already.
    if tracing_subscriber::registry()
        .with(level)
        .with(events)
        .try_init()
        .is_ok()
    {
        let set = move |level| drop(handle.reload(level));
        drop(LEVEL.set(Box::new(set)));
    }
}

/// Sets how much is logged from now on.
type SetLevel = dyn Fn(LevelFilter) + Send + Sync;

static LEVEL: OnceLock<Box<SetLevel>> = OnceLock::new();

/// Logs more or less from now on, where [`start`] has started it.
pub fn set_level(level: Level) {
    if let Some(set) = LEVEL.get() {
        set(filter(level));
    }
}

const fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_forge_a_log_line() {
        let forged = "INFO user=\"bob\n2026-01-01 INFO block found\u{1b}[2J\"\n";
        assert_eq!(
            one_line(forged, LogFormat::Text),
            "INFO user=\"bob\\u{a}2026-01-01 INFO block found\\u{1b}[2J\"\n"
        );
    }

    #[test]
    fn a_json_line_stays_json_whatever_stands_in_it() {
        // As the formatter writes it: what JSON forbids is escaped already, the rest is not.
        let name = "bob\u{202e}\u{200b}\u{e0041}";
        let line = one_line(&format!("{{\"user\":\"{name}\\n\\u001b\"}}\n"), LogFormat::Json);
        assert_eq!(line, "{\"user\":\"bob\\u202e\\u200b\\udb40\\udc41\\n\\u001b\"}\n");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["user"], format!("{name}\n\u{1b}"));
    }
}
