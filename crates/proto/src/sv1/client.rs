//! The miner's side of one Stratum V1 connection: what a proxy has of a pool that has not moved yet.
//!
//! ```text
//!   Start --configure--> ExpectMask --subscribe--> ExpectSession --authorize--> ExpectEntry --> Mining
//! ```
//!
//! A job comes out as [`Fields`] whose coinbase is given in halves: extranonce1 is a part of the first one, and
//! extranonce2 is the whole extranonce of this side. A share goes in by the number that its job came out with.

mod notify;
mod shares;

use super::difficulty::Difficulty;
use super::line::Line;
use super::{Id, hex, say};
use crate::coinbase::Body;
use crate::job::Fields;
use crate::mining::client as mining;
use crate::target::Target;
use crate::{Fault, Time};
use adit_wire::{B0_32, U256};
use core::time::Duration;
use serde_json::{Value, json};
use shares::{Jobs, Pending};
use std::sync::Arc;

pub use notify::heard;
pub use shares::Share;

/// Longest line of a pool in bytes: coinbases with many outputs.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How long the pool may take for each of the first answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for `mining.configure`, which old pools leave without any.
const PATIENCE_CONFIGURE: Duration = Duration::from_secs(4);

/// Longest message for people that is handed on, in bytes.
const MESSAGE_BYTES_MAX: usize = 256;

/// Largest extranonce2 that is taken, in bytes.
const EXTRANONCE2_MAX: u64 = 32;

const CONFIGURE: u64 = 1;
const SUBSCRIBE: u64 = 2;
const AUTHORIZE: u64 = 3;
const EXTRANONCE: u64 = 4;
const ALIVE: u64 = 5;

/// Who mines, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// User name at the pool.
    pub user: String,
    /// Its password.
    pub password: String,
    /// What we call ourselves.
    pub agent: String,
    /// Version bits that are asked for.
    pub version_mask: u32,
    /// Fewest bytes of extranonce2 that are enough.
    pub extranonce2_min: usize,
    /// Where `client.reconnect` may send us: hosts with their ports. It is ignored for all others, since nobody knows who
    /// says it.
    pub reconnect_to: Vec<(String, u16)>,
}

/// What changes a [`Client`].
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The connection is there.
    Start,
    /// The pool said this: a line without its newline.
    Line(&'a [u8]),
    /// A share was found.
    Share(Share),
    /// Ask for something that every pool answers: who knows us may let us in again.
    Ask,
    /// [`Client::deadline`] has come.
    Deadline,
}

/// News.
#[derive(Clone, Debug)]
pub enum Event {
    /// The pool has let us in.
    Entered {
        /// Bytes of the extranonce that is left to this side.
        extranonce_bytes: usize,
        /// Version bits that may be rolled.
        version_mask: u32,
    },
    /// Work.
    Job(Box<Work>),
    /// Another extranonce for later jobs.
    Moved {
        /// As in [`Event::Entered`].
        extranonce_bytes: usize,
    },
    /// Shares of later jobs must meet this.
    Target(Target),
    /// The pool has taken a share.
    Accepted {
        /// [`Share::number`].
        number: u64,
    },
    /// The pool has not taken a share, or would not have.
    Refused {
        /// [`Share::number`].
        number: u64,
        /// Its code, 20 to 25; 21 where the job is over and nothing was sent.
        code: u64,
        /// In its own words.
        text: String,
    },
    /// The pool sends us to another place that we allow.
    Reconnect {
        /// Host; empty: the same.
        host: String,
        /// Port; 0: the same.
        port: u16,
    },
    /// The pool wanted to send us where we do not go.
    ReconnectIgnored {
        /// Host.
        host: String,
    },
    /// Words of the pool for people.
    Message(String),
}

/// A job of the pool.
#[derive(Clone, Debug)]
pub struct Work {
    /// Our number for it, counted up.
    pub number: u32,
    /// What it is made of. `tip` counts up with every new previous hash.
    pub fields: Fields,
    /// Version bits that may be rolled. Where these are not all of [`crate::job::VERSION_MASK`], shares that roll others
    /// cannot be handed in.
    pub version_mask: u32,
    /// Nothing older is worth anything any more.
    pub clean: bool,
}

impl Work {
    /// The same in the words of Stratum V2: a job of `channel` with this target, known since `since`. `None` where the coinbase is
    /// not given in halves, which a pool of Stratum V1 always does.
    pub fn of_channel(self, channel: u32, target: U256, since: Time, new_tip: bool) -> Option<mining::Work> {
        let fields = self.fields;
        let Body::Given(halves) = fields.coinbase else {
            return None;
        };
        Some(mining::Work {
            channel,
            job_id: self.number,
            version: fields.version,
            version_mask: self.version_mask,
            prev_hash: U256(fields.prev_hash),
            root: mining::Root::Coinbase {
                extranonce_size: u16::try_from(halves.size).ok()?,
                extranonce_prefix: B0_32::default(),
                coinbase: Arc::new(mining::Coinbase {
                    version: fields.version,
                    version_rolling_allowed: fields.version_rolling_allowed,
                    prefix: halves.prefix,
                    suffix: halves.suffix,
                    path: fields.merkle_path,
                }),
            },
            min_ntime: fields.min_ntime,
            since,
            nbits: fields.nbits,
            target,
            new_tip,
        })
    }
}

/// What the machine awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    ExpectMask,
    ExpectSession,
    ExpectEntry,
    Mining,
}

/// One Stratum V1 connection, miner's side.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    state: State,
    due: Option<Time>,
    mask: u32,
    extranonce1: Vec<u8>,
    extranonce2_bytes: usize,
    target: Target,
    tip: u64,
    prev_hash: Option<[u8; 32]>,
    jobs: Jobs,
    pending: Pending,
    /// Work that came before we were let in.
    early: Option<Box<Work>>,
}

impl Client {
    /// A connection that is about to be made.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Start,
            due: None,
            mask: 0,
            extranonce1: Vec::new(),
            extranonce2_bytes: 0,
            target: Difficulty::ONE.target(),
            tip: 0,
            prev_hash: None,
            jobs: Jobs::default(),
            pending: Pending::default(),
            early: None,
        }
    }

    /// The one door. What is to be sent is appended to `lines`.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub fn handle(
        &mut self,
        now: Time,
        input: Input<'_>,
        lines: &mut Vec<u8>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        match input {
            Input::Start => {
                self.expect(now, State::ExpectMask);
                let options = json!({
                    "version-rolling.mask": format!("{:08x}", self.settings.version_mask),
                    "version-rolling.min-bit-count": 2,
                });
                ask(
                    CONFIGURE,
                    "mining.configure",
                    &json!([["version-rolling"], options]),
                    lines,
                );
                Ok(())
            }
            Input::Line(line) => self.line(now, line, lines, out),
            Input::Share(share) => {
                self.submit(&share, lines, out);
                Ok(())
            }
            Input::Ask => {
                if self.state == State::Mining {
                    self.authorize(ALIVE, lines);
                }
                Ok(())
            }
            Input::Deadline => self.overdue(now, lines),
        }
    }

    /// When [`Input::Deadline`] is due, if ever.
    pub fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// Shares without an answer.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    fn expect(&mut self, now: Time, state: State) {
        self.state = state;
        self.due = match state {
            State::Mining => None,
            State::ExpectMask => Some(now + PATIENCE_CONFIGURE),
            _ => Some(now + PATIENCE),
        };
    }

    /// Old pools do not know `mining.configure`, and some say nothing to it.
    fn overdue(&mut self, now: Time, lines: &mut Vec<u8>) -> Result<(), Fault> {
        match (self.state, self.due) {
            (_, due) if due.is_none_or(|due| due > now) => Ok(()),
            (State::ExpectMask, _) => {
                self.subscribe(now, lines);
                Ok(())
            }
            _ => Err(Fault::Expired("the pool does not answer")),
        }
    }

    fn line(
        &mut self,
        now: Time,
        line: &[u8],
        lines: &mut Vec<u8>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let line = Line::read_within(line, LINE_BYTES_MAX);
        match line.map_err(|_| Fault::Malformed("a line of the pool cannot be read"))? {
            Line::Call { id, method, params } => self.told(&id, &method, &params, lines, out),
            Line::Answer { id, result, error } => {
                let Id::Number(id) = &id else { return Ok(()) };
                match id.as_u64() {
                    Some(id) => self.answered(now, id, &result, &error, lines, out),
                    None => Ok(()),
                }
            }
        }
    }

    fn answered(
        &mut self,
        now: Time,
        id: u64,
        result: &Value,
        error: &Value,
        lines: &mut Vec<u8>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        match (self.state, id) {
            (State::ExpectMask, CONFIGURE) => {
                let mask = result.get("version-rolling.mask").and_then(Value::as_str);
                let granted = result.get("version-rolling") == Some(&Value::Bool(true));
                let mask = mask.and_then(hex::number).filter(|_| granted);
                self.mask = mask.unwrap_or(0) & self.settings.version_mask;
                self.subscribe(now, lines);
                Ok(())
            }
            (State::ExpectSession, SUBSCRIBE) => self.subscribed(now, result, lines),
            (State::ExpectEntry, AUTHORIZE) => self.entered(now, result, out),
            _ => {
                self.judged(id, result, error, out);
                Ok(())
            }
        }
    }

    fn subscribe(&mut self, now: Time, lines: &mut Vec<u8>) {
        self.expect(now, State::ExpectSession);
        ask(
            SUBSCRIBE,
            "mining.subscribe",
            &json!([self.settings.agent]),
            lines,
        );
    }

    fn subscribed(&mut self, now: Time, result: &Value, lines: &mut Vec<u8>) -> Result<(), Fault> {
        self.take_extranonce(result.get(1), result.get(2))?;
        self.expect(now, State::ExpectEntry);
        self.authorize(AUTHORIZE, lines);
        ask(EXTRANONCE, "mining.extranonce.subscribe", &json!([]), lines);
        Ok(())
    }

    fn authorize(&self, id: u64, lines: &mut Vec<u8>) {
        let Settings { user, password, .. } = &self.settings;
        ask(id, "mining.authorize", &json!([user, password]), lines);
    }

    fn entered(&mut self, now: Time, result: &Value, out: &mut Vec<Event>) -> Result<(), Fault> {
        if *result != Value::Bool(true) {
            return Err(Fault::Incompatible("the pool does not let this user in"));
        }
        self.expect(now, State::Mining);
        out.push(Event::Entered {
            extranonce_bytes: self.extranonce2_bytes,
            version_mask: self.mask,
        });
        out.push(Event::Target(self.target));
        out.extend(self.early.take().map(Event::Job));
        Ok(())
    }

    fn take_extranonce(&mut self, one: Option<&Value>, bytes: Option<&Value>) -> Result<(), Fault> {
        const BAD: Fault = Fault::Malformed("the pool gives no extranonce that can be used");
        let one = one.and_then(Value::as_str).ok_or(BAD)?;
        let bytes = bytes
            .and_then(Value::as_u64)
            .filter(|bytes| *bytes <= EXTRANONCE2_MAX);
        let bytes = usize::try_from(bytes.ok_or(BAD)?).map_err(|_| BAD)?;
        if bytes < self.settings.extranonce2_min {
            return Err(Fault::Incompatible("the pool leaves too few bytes of extranonce"));
        }
        self.extranonce1 = hex::bytes(one, one.len() / 2)
            .filter(|it| it.len() <= 32)
            .ok_or(BAD)?;
        self.extranonce2_bytes = bytes;
        Ok(())
    }

    /// What the pool says by itself.
    fn told(
        &mut self,
        id: &Id,
        method: &str,
        params: &[Value],
        lines: &mut Vec<u8>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        match method {
            "mining.notify" => return self.notified(params, out),
            "mining.set_difficulty" => self.set_difficulty(params, out)?,
            "mining.set_version_mask" => {
                let mask = params.first().and_then(Value::as_str).and_then(hex::number);
                self.mask = mask.unwrap_or(0) & self.settings.version_mask;
            }
            "mining.set_extranonce" => {
                self.take_extranonce(params.first(), params.get(1))?;
                out.push(Event::Moved {
                    extranonce_bytes: self.extranonce2_bytes,
                });
            }
            "client.reconnect" => out.push(self.sent_away(params)),
            "client.show_message" => {
                let words = params.first().and_then(Value::as_str).unwrap_or_default();
                out.push(Event::Message(
                    words.chars().take(MESSAGE_BYTES_MAX / 4).collect(),
                ));
            }
            "client.get_version" => say::words(id, &self.settings.agent, lines),
            "mining.ping" => say::words(id, "pong", lines),
            _ => {}
        }
        Ok(())
    }

    fn set_difficulty(&mut self, params: &[Value], out: &mut Vec<Event>) -> Result<(), Fault> {
        let number = params.first().and_then(Value::as_f64);
        let number = number.filter(|number| number.is_finite() && *number > 0.0);
        let number = number.ok_or(Fault::Malformed("a difficulty is a number above zero"))?;
        let power = Difficulty::nearest(number).filter(|it| it.as_f64() == number);
        self.target = match power {
            Some(power) => power.target(),
            // Rounded up, so that no share of ours is too easy for the pool.
            None => Target::from_work((number * Difficulty::ONE.work() as f64).ceil() as u64),
        };
        if self.state == State::Mining {
            out.push(Event::Target(self.target));
        }
        Ok(())
    }

    /// Only to where we were told that it may send us.
    fn sent_away(&self, params: &[Value]) -> Event {
        let host = params
            .first()
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let port = match params.get(1) {
            Some(Value::String(digits)) => digits.parse().unwrap_or(0),
            Some(number) => number
                .as_u64()
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(0),
            None => 0,
        };
        let allowed = |(known, at): &(String, u16)| known.eq_ignore_ascii_case(&host) && *at == port;
        let same = host.is_empty() && port == 0;
        match same || self.settings.reconnect_to.iter().any(allowed) {
            true => Event::Reconnect { host, port },
            false => Event::ReconnectIgnored { host },
        }
    }
}

/// Appends a request.
fn ask(id: u64, method: &str, params: &Value, lines: &mut Vec<u8>) {
    let line = json!({"id": id, "method": method, "params": params});
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}
