//! Where a value was given, and how to say that it is wrong.

use std::fmt;

use crate::exit::Exit;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// A configuration file.
    File {
        /// The file as the operator named it.
        path: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A flag of the command line as typed, such as `--listen` or `--set shares.vardiff=no`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl Problem {
    /// All problems as one exit; `None` when there are none.
    pub fn exit(problems: &[Problem]) -> Option<Exit> {
        let (first, rest) = problems.split_first()?;
        if rest.is_empty() {
            return Some(Exit::usage(first.to_string()).help(&first.right));
        }
        let mut message = format!("{} mistakes in the configuration", problems.len());
        for problem in problems {
            message.push_str(&format!("\n  {problem}\n    help: {}", problem.right));
        }
        Some(Exit::usage(message).help("docs/configuration.md lists every key; so does `adit --help`"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str(&self.what),
            origin => write!(f, "{origin}: {}", self.what),
        }
    }
}

/// The candidate that `typed` was most likely meant to be, when one is near enough.
pub fn suggestion<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(typed, candidate);
    let nearest = candidates
        .into_iter()
        .min_by_key(|candidate| distance(candidate))?;
    // A third of the word wrong is a typing mistake; more is another word.
    (distance(nearest) <= 1.max(typed.len() / 3)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let keys = ["shares.vardiff", "shares.work_min", "listen"];
        assert_eq!(suggestion("shares.vardif", keys), Some("shares.vardiff"));
        assert_eq!(suggestion("lisetn", keys), Some("listen"));
        assert_eq!(suggestion("entirely.else", keys), None);
    }

    #[test]
    fn several_mistakes_are_all_told() {
        let wrong = |what: &str| Problem {
            origin: Origin::Default,
            what: what.into(),
            right: "x".into(),
        };
        assert_eq!(Problem::exit(&[]), None);
        let both = Problem::exit(&[wrong("one"), wrong("two")]).unwrap();
        assert!(both.message.contains("2 mistakes") && both.message.contains("two"));
    }
}
