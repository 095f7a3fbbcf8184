//! Which upstream is worked for: the first of the list that is well, the next one when it fails, nobody but ourselves
//! when all do, and the preferred one again when it has been well for a while.
//!
//! A machine without I/O: it hears what became of connections and says which to make, which to end and whom to work for.
//!
//! ```text
//!   Idle --Connect--> Connecting --Ready--> Ready --Down--> Waiting (back-off, or quarantine after an offence) --> Idle
//! ```
//!
//! Besides the upstream in use, all better ones are tried for ever and one worse one is kept ready, so that a failover
//! waits for no handshake.
//!
//! Those that share the work by weights are one choice together, the best of all, as long as any of them is well; all of them
//! are tried for ever. The others are what is left when none of them is.

use std::fmt;
use std::time::Duration;

use adit_proto::Time;
use serde::Serialize;

/// Upstreams in one list.
pub const UPSTREAMS_MAX: usize = 16;

/// How patient we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From the start of a connection until it can be worked on.
    pub connect_timeout: Duration,
    /// Before a lost connection is made again; doubles from time to time.
    pub retry: Duration,
    /// Longest such wait.
    pub retry_max: Duration,
    /// How long an upstream that broke the rules is left alone; doubles from time to time.
    pub quarantine: Duration,
    /// Longest such time.
    pub quarantine_max: Duration,
    /// How long a better upstream must be ready before a worse one is left for it.
    pub settle: Duration,
    /// How long a better one is waited for at the start, while a worse one is ready already.
    pub start_grace: Duration,
    /// An upstream that was ready this long starts with a clean sheet.
    pub good_after: Duration,
    /// Connections kept ready besides the one in use.
    pub standby: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            retry: Duration::from_millis(250),
            retry_max: Duration::from_secs(30),
            quarantine: Duration::from_secs(60),
            quarantine_max: Duration::from_secs(3600),
            settle: Duration::from_secs(10),
            start_grace: Duration::from_secs(3),
            good_after: Duration::from_secs(300),
            standby: 1,
        }
    }
}

/// Why an upstream is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Nobody answers there, or not in the way that was asked for.
    Unreachable,
    /// It refuses the connection or the channel that we need.
    Refused,
    /// The connection ended.
    Lost,
    /// The server drains: it asked us to connect again (spec 3.6.5).
    Moved,
    /// Shares stay without an answer.
    Silent,
    /// It gives no token, or not in time (spec 6.2).
    NoToken,
    /// It does not say in time whether it takes a declared job.
    DeclarationUnanswered,
    /// It refuses a declared job (spec 6.4.6).
    DeclarationRefused,
    /// It does not say in time whether it takes a custom job (spec 5.3.19).
    JobUnanswered,
    /// It refuses a custom job (spec 5.3.19).
    JobRefused,
    /// It refuses valid shares of a job that it had acknowledged (spec 6.2).
    SharesRefused,
    /// It breaks the protocol.
    Misbehaved,
}

impl Cause {
    /// Its name in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Moved => "moved",
            Self::Silent => "silent",
            Self::NoToken => "no-token",
            Self::DeclarationUnanswered => "declaration-unanswered",
            Self::DeclarationRefused => "declaration-refused",
            Self::JobUnanswered => "job-unanswered",
            Self::JobRefused => "job-refused",
            Self::SharesRefused => "shares-refused",
            Self::Misbehaved => "misbehaved",
        }
    }

    /// Whether it is the upstream's own doing, so that trying again at once is of no use.
    #[must_use]
    pub const fn is_offence(self) -> bool {
        !matches!(self, Self::Unreachable | Self::Lost | Self::Moved | Self::Silent)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "it cannot be reached",
            Self::Refused => "it refuses the connection or the channel",
            Self::Lost => "the connection was lost",
            Self::Moved => "it sent us to another place",
            Self::Silent => "it does not answer shares",
            Self::NoToken => "it gives no token",
            Self::DeclarationUnanswered => "it does not answer a declared job",
            Self::DeclarationRefused => "it refuses a declared job",
            Self::JobUnanswered => "it does not answer a custom job",
            Self::JobRefused => "it refuses a custom job",
            Self::SharesRefused => "it refuses valid shares of a job that it took",
            Self::Misbehaved => "it breaks the protocol",
        })
    }
}

/// Whom to work for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// All those together that share the work and are ready.
    Split,
    /// The upstream with this place in the list.
    Upstream(usize),
    /// Nobody but ourselves, until an upstream is ready.
    Solo,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// To be said once, first.
    Start,
    /// A connection can be worked on.
    Ready {
        /// Whose.
        upstream: usize,
    },
    /// A connection has ended, or must end. Not to be said of one that was disconnected on our word.
    Down {
        /// Whose.
        upstream: usize,
        /// Why.
        cause: Cause,
        /// Any number: spreads the next tries of many.
        dice: u64,
    },
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect.
    Connect {
        /// Where.
        upstream: usize,
    },
    /// End the connection.
    Disconnect {
        /// Whose.
        upstream: usize,
    },
    /// Work for this one from now on.
    Use(Choice),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Waiting { until: Time },
    Connecting { until: Time },
    Ready { since: Time },
}

#[derive(Clone, Copy, Debug)]
struct Upstream {
    state: State,
    /// Connections in a row that were lost.
    losses: u32,
    /// Offences since it was last well for long.
    offences: u32,
    /// It shares the work with others.
    shares: bool,
}

impl Upstream {
    const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// What is chosen when it is ready.
    const fn choice(&self, place: usize) -> Choice {
        match self.shares {
            true => Choice::Split,
            false => Choice::Upstream(place),
        }
    }
}

/// Decides for an ordered list of upstreams.
#[derive(Clone, Debug)]
pub struct Supervisor {
    settings: Settings,
    upstreams: Vec<Upstream>,
    choice: Choice,
    start: Time,
}

impl Supervisor {
    /// For `count` upstreams, the preferred one first; at most [`UPSTREAMS_MAX`] are looked at.
    #[must_use]
    pub fn new(settings: Settings, count: usize) -> Self {
        let fresh = Upstream {
            state: State::Idle,
            losses: 0,
            offences: 0,
            shares: false,
        };
        Self {
            settings,
            upstreams: vec![fresh; count.min(UPSTREAMS_MAX)],
            choice: Choice::Solo,
            start: Time(0),
        }
    }

    /// The same, where these share the work.
    #[must_use]
    pub fn splitting(mut self, members: impl IntoIterator<Item = bool>) -> Self {
        for (upstream, shares) in self.upstreams.iter_mut().zip(members) {
            upstream.shares = shares;
        }
        self
    }

    /// The one door.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Start => {
                self.start = now;
                out.push(Output::Use(Choice::Solo));
            }
            Input::Ready { upstream } => self.ready(now, upstream),
            Input::Down {
                upstream,
                cause,
                dice,
            } => self.down(now, upstream, cause, dice),
            Input::Deadline => self.expire(now, out),
        }
        self.choose(now, out);
        self.connect(now, out);
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let states = self.upstreams.iter().filter_map(|it| match it.state {
            State::Waiting { until } | State::Connecting { until } => Some(until),
            State::Idle | State::Ready { .. } => None,
        });
        states.chain(self.change_at()).min()
    }

    /// Whom we work for.
    #[must_use]
    pub const fn choice(&self) -> Choice {
        self.choice
    }

    fn ready(&mut self, now: Time, upstream: usize) {
        if let Some(it) = self.upstreams.get_mut(upstream)
            && matches!(it.state, State::Connecting { .. })
        {
            it.state = State::Ready { since: now };
        }
    }

    fn down(&mut self, now: Time, upstream: usize, cause: Cause, dice: u64) {
        let settings = self.settings;
        let Some(it) = self.upstreams.get_mut(upstream) else {
            return;
        };
        match it.state {
            State::Ready { since } if now - since >= settings.good_after => {
                (it.losses, it.offences) = (0, 0);
            }
            State::Ready { .. } | State::Connecting { .. } => {}
            State::Idle | State::Waiting { .. } => return,
        }
        let (count, first, longest) = if cause.is_offence() {
            (&mut it.offences, settings.quarantine, settings.quarantine_max)
        } else {
            (&mut it.losses, settings.retry, settings.retry_max)
        };
        let step = doubled(first, *count).min(longest);
        *count = count.saturating_add(1);
        // A server that sends us elsewhere has spread its clients itself.
        let wait = if cause == Cause::Moved { first } else { step };
        it.state = State::Waiting {
            until: now + jittered(wait, dice),
        };
    }

    /// Connections that did not become ready, and waits that are over.
    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        for upstream in 0..self.upstreams.len() {
            let Some(it) = self.upstreams.get_mut(upstream) else {
                continue;
            };
            match it.state {
                State::Connecting { until } if until <= now => {
                    out.push(Output::Disconnect { upstream });
                    self.down(now, upstream, Cause::Unreachable, now.0);
                }
                State::Waiting { until } if until <= now => it.state = State::Idle,
                _ => {}
            }
        }
    }

    fn choose(&mut self, now: Time, out: &mut Vec<Output>) {
        let choice = self.best(now);
        if choice != self.choice {
            self.choice = choice;
            out.push(Output::Use(choice));
        }
    }

    fn best(&self, now: Time) -> Choice {
        let Some(best) = self.best_ready() else {
            return Choice::Solo;
        };
        let due = self.change_at().is_none_or(|at| at <= now);
        match self.choice {
            Choice::Solo if due => best,
            Choice::Solo => Choice::Solo,
            current if self.is_ready(current) => {
                let better = best < current && due;
                if better { best } else { current }
            }
            // It has just failed: whoever is ready is good enough.
            _ => best,
        }
    }

    /// When a choice that is not the best one any more will be changed.
    fn change_at(&self) -> Option<Time> {
        let best = self.best_ready()?;
        match self.choice {
            Choice::Solo => {
                // Only one that is on its first way is waited for.
                let coming = self.each().any(|(it, choice)| {
                    let first = it.losses == 0 && it.offences == 0;
                    choice < best && first && matches!(it.state, State::Connecting { .. })
                });
                coming.then(|| self.start + self.settings.start_grace)
            }
            current if best < current && self.is_ready(current) => {
                let better = self.each().filter(|(_, choice)| *choice < current);
                let ready = better.filter_map(|(it, _)| match it.state {
                    State::Ready { since } => Some(since + self.settings.settle),
                    _ => None,
                });
                ready.min()
            }
            _ => None,
        }
    }

    /// All upstreams, with what is chosen when they are ready.
    fn each(&self) -> impl Iterator<Item = (&Upstream, Choice)> {
        self.upstreams
            .iter()
            .enumerate()
            .map(|(place, it)| (it, it.choice(place)))
    }

    fn best_ready(&self) -> Option<Choice> {
        self.each()
            .filter(|(it, _)| it.is_ready())
            .map(|(_, choice)| choice)
            .min()
    }

    fn is_ready(&self, choice: Choice) -> bool {
        self.each().any(|(it, its)| its == choice && it.is_ready())
    }

    /// Makes and ends connections, so that from the top of the list as many are up or on their way as are wanted.
    fn connect(&mut self, now: Time, out: &mut Vec<Output>) {
        let split = self.upstreams.iter().any(|it| it.shares && it.is_ready());
        let wanted = self.settings.standby + usize::from(!split);
        let mut promising = 0;
        for (upstream, it) in self.upstreams.iter_mut().enumerate() {
            let used = self.choice == Choice::Upstream(upstream);
            match it.state {
                // All of these are wanted, and none makes another superfluous.
                State::Idle if it.shares => {
                    it.state = State::Connecting {
                        until: now + self.settings.connect_timeout,
                    };
                    out.push(Output::Connect { upstream });
                }
                _ if it.shares => {}
                State::Ready { .. } | State::Connecting { .. } if promising >= wanted && !used => {
                    it.state = State::Idle;
                    out.push(Output::Disconnect { upstream });
                }
                // One that never was ready may never be: the next one is tried beside it.
                State::Connecting { .. } => promising += usize::from(it.losses + it.offences < 2),
                State::Ready { .. } => promising += 1,
                State::Idle if promising < wanted => {
                    it.state = State::Connecting {
                        until: now + self.settings.connect_timeout,
                    };
                    promising += usize::from(it.losses + it.offences < 2);
                    out.push(Output::Connect { upstream });
                }
                State::Idle | State::Waiting { .. } => {}
            }
        }
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(times.min(20)).unwrap_or(u32::MAX))
}

/// Between half and all of `wait`.
fn jittered(wait: Duration, dice: u64) -> Duration {
    let half_us = u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX);
    Duration::from_micros(half_us + dice % (half_us + 1))
}
