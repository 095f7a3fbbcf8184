//! Whether the other side of a connection is still there. A server that is well has nothing to say for minutes now and
//! then; a connection that has gone without a word (a router that was restarted, a machine that lost its power) looks
//! the same. So who was quiet for a while is asked for something that must be answered, whatever the answer is.

use std::time::Duration;

use adit_proto::Time;

/// How long a silence may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without a word for so long: ask.
    pub ask_after: Duration,
    /// How long the answer may take.
    pub answer_within: Duration,
}

impl Default for Patience {
    /// A dead connection is known after 35 seconds.
    fn default() -> Self {
        Self {
            ask_after: Duration::from_secs(20),
            answer_within: Duration::from_secs(15),
        }
    }
}

/// What is to be done about a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Ask.
    Ask,
    /// Nobody is there any more.
    Gone,
}

/// The silence on one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    patience: Patience,
    /// The last word; none before the first.
    heard: Option<Time>,
    /// When we asked, since then.
    asked: Option<Time>,
}

impl Quiet {
    pub(super) const fn new(patience: Patience) -> Self {
        Self {
            patience,
            heard: None,
            asked: None,
        }
    }

    /// The other side has said something. Whether we had asked.
    pub(super) fn heard(&mut self, now: Time) -> bool {
        self.heard = Some(now);
        self.asked.take().is_some()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match (self.heard, self.asked) {
            (_, Some(asked)) => Some(asked + self.patience.answer_within),
            (Some(heard), None) => Some(heard + self.patience.ask_after),
            (None, None) => None,
        }
    }

    /// What is due; [`Due::Ask`] is said once.
    pub(super) fn due(&mut self, now: Time) -> Due {
        if self.deadline().is_none_or(|at| at > now) {
            return Due::Nothing;
        }
        match self.asked {
            Some(_) => Due::Gone,
            None => {
                self.asked = Some(now);
                Due::Ask
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_quiet_is_asked_once_and_then_gone() {
        let start = Time(1_000_000);
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut quiet = Quiet::new(Patience::default());
        assert_eq!(quiet.deadline(), None, "nothing was said at all yet");
        assert!(!quiet.heard(start));
        assert_eq!(quiet.due(after(19)), Due::Nothing);
        assert_eq!(quiet.due(after(20)), Due::Ask);
        assert_eq!(quiet.due(after(20)), Due::Nothing);
        assert!(quiet.heard(after(30)), "any word is an answer");
        assert_eq!(quiet.due(after(49)), Due::Nothing);
        assert_eq!(quiet.due(after(50)), Due::Ask);
        assert_eq!(quiet.due(after(64)), Due::Nothing);
        assert_eq!(quiet.due(after(65)), Due::Gone);
    }

    /// A dead upstream is left within 40 seconds of its last word.
    #[test]
    fn the_usual_patience_ends_within_forty_seconds() {
        let Patience {
            ask_after,
            answer_within,
        } = Patience::default();
        assert!(ask_after + answer_within < Duration::from_secs(40));
    }
}
