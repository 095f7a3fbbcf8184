//! The end of the process: what happened, and what the operator can do about it.

use std::fmt;
use std::process::ExitCode;

/// How a process ended badly; the number is its exit status. Success is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1: it was started rightly and then failed.
    Failed = 1,
    /// 2: the command line or the configuration is wrong; starting again changes nothing.
    Usage = 2,
    /// 3: the server that was to be asked cannot be reached.
    Unreachable = 3,
}

/// The error of everything that ends the process (see "three scopes" in ARCHITECTURE.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit status.
    pub code: Code,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it; empty when there is nothing to say.
    pub hint: String,
}

impl Exit {
    /// A failure at run time: exit status 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    /// A wrong command line or configuration: exit status 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A server that is not there: exit status 3.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Code::Unreachable, message)
    }

    fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: String::new(),
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The machine's form: `{"error":{"code":1,"message":"...","help":"..."}}`.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "error": { "code": self.code as u8, "message": self.message, "help": self.hint }
        })
    }

    /// Tells the operator on stderr, and with `json` a program on stdout; gives the exit status.
    pub fn report(&self, json: bool) -> ExitCode {
        eprintln!("{self}");
        if json {
            println!("{}", self.json());
        }
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.hint.is_empty() {
            Ok(())
        } else {
            write!(f, "\n  help: {}", self.hint)
        }
    }
}

impl std::error::Error for Exit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_and_what_to_do() {
        let exit = Exit::usage("no such key").help("look it up");
        assert_eq!(exit.to_string(), "error: no such key\n  help: look it up");
        assert_eq!(exit.json()["error"]["code"], 2);
        assert_eq!(Exit::failed("disk").to_string(), "error: disk");
    }
}
