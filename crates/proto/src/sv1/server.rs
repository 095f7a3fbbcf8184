//! The pool's side of one Stratum V1 connection.
//!
//! ```text
//!   Start --subscribe--> Subscribed --authorize--> Mining: one extended channel
//!      \--authorize--> Authorized --subscribe--/
//! ```
//!
//! Behind it stands [`crate::mining::server::Server`], which decides everything about jobs, shares and difficulty; here its
//! messages are told in other words. Extranonce1 is the prefix of its only channel. A request is answered before
//! anything that follows from it is told: old firmware crashes otherwise. A good share is answered when it is on disk.

mod enter;
mod shares;
mod tell;

use super::difficulty::Difficulty;
use super::line::{Line, LineError};
use super::refusal::Refusal;
use super::request::Request;
use super::{Id, say};
use crate::extranonce::Slot;
use crate::mining::server as mining;
use crate::setup::{Device, Established};
use crate::{Fault, Time};
use adit_wire::types::Str0_255;
use enter::Wishes;
use shares::{Jobs, Pending};
use std::borrow::Cow;
use std::sync::Arc;

/// Lines in a row that cannot be read; more end the connection.
pub const UNREADABLE_MAX: u32 = 8;

/// Longest name of a miner's software that is kept, in bytes.
const AGENT_BYTES_MAX: usize = 64;

/// What the pool wants; one value for all connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those of the machine behind; its works are difficulties ([`crate::vardiff::Steps::Difficulties`]).
    pub mining: Arc<mining::Settings>,
    /// Where a miner starts that wishes for nothing.
    pub start: Difficulty,
}

/// What changes a [`Server`].
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The peer said this: a line without its newline.
    Line(&'a [u8]),
    /// Anything but a message, for the machine behind.
    Mining(mining::Input),
    /// The pool is being drained: go there.
    Reconnect {
        /// Host, or empty for the same.
        host: &'a str,
        /// Port, or 0 for the same.
        port: u16,
    },
}

/// One Stratum V1 connection, pool side.
#[derive(Debug)]
pub struct Server {
    settings: Arc<Settings>,
    mining: mining::Server,
    /// Names this session for `mining.subscribe`.
    session: Box<str>,
    extranonce1: Box<[u8]>,
    /// Bytes of extranonce2.
    rolled: usize,
    /// What the miner calls itself.
    agent: Box<str>,
    subscribed: bool,
    /// Authorized, and the channel is not open yet.
    waiting: Option<Waiting>,
    channel: Option<Channel>,
    /// Why the last opening failed.
    turned_away: Option<TurnedAway>,
    /// What is wrong with the user name that is about to be turned away.
    unknown_user: Option<Box<str>>,
    wishes: Wishes,
    /// Version bits that the miner could roll; nothing before `mining.configure`.
    rolls: Option<u32>,
    /// Version bits that it was last told.
    mask: u32,
    /// Understands `mining.set_extranonce`.
    moves: bool,
    /// What it was last told.
    difficulty: Option<Difficulty>,
    /// A job that was sent and has not started.
    future: Option<mining::JobFrame>,
    /// The newest job that has, and its time.
    current: Option<(mining::JobFrame, u32)>,
    /// The miner has come back and is not authorized again: it is told nothing of jobs.
    returning: bool,
    jobs: Jobs,
    pending: Pending,
    unreadable: u32,
}

/// Who mines, before there is a channel.
#[derive(Debug)]
struct Waiting {
    account: Box<str>,
}

/// Why a channel was not opened.
#[derive(Debug)]
struct TurnedAway {
    code: u8,
    why: Cow<'static, str>,
}

impl From<Refusal> for TurnedAway {
    fn from(Refusal { code, text }: Refusal) -> Self {
        Self {
            code,
            why: text.into(),
        }
    }
}

/// The only channel.
#[derive(Debug)]
struct Channel {
    id: u32,
    account: Box<str>,
}

impl Server {
    /// A connection whose first line is about to be read. `slot` is its own until [`Server::into_slot`]; `session` is
    /// random.
    pub fn new(now: Time, settings: Arc<Settings>, slot: Slot, session: [u8; 8]) -> Self {
        let mut name = Vec::new();
        super::hex::write(&session, &mut name);
        let (layout, prefix) = (slot.layout(), slot.channel_prefix(0));
        Self {
            extranonce1: prefix.get(..layout.prefix_bytes()).unwrap_or_default().into(),
            rolled: layout.default_size().rolled(),
            mining: mining::Server::new(now, Arc::clone(&settings.mining), &established(), slot),
            settings,
            session: String::from_utf8_lossy(&name).into(),
            agent: Box::default(),
            subscribed: false,
            waiting: None,
            channel: None,
            turned_away: None,
            unknown_user: None,
            wishes: Wishes::default(),
            rolls: None,
            mask: 0,
            moves: false,
            difficulty: None,
            future: None,
            current: None,
            returning: false,
            jobs: Jobs::default(),
            pending: Pending::default(),
            unreadable: 0,
        }
    }

    /// The one door. What is to be sent is appended to `lines`; what else is to be done, never a message, to `actions`.
    ///
    /// # Errors
    /// The fault that ends the connection; `lines` still holds last words.
    pub fn handle(
        &mut self,
        now: Time,
        input: Input<'_>,
        lines: &mut Vec<u8>,
        actions: &mut Vec<mining::Output>,
    ) -> Result<(), Fault> {
        let out = &mut Out { lines, actions };
        match input {
            Input::Line(line) => self.line(now, line, out),
            Input::Mining(mining::Input::Message(_)) => Ok(()),
            Input::Mining(input) => self.feed(now, input, out),
            Input::Reconnect { host, port } => {
                say::reconnect(host, port, out.lines);
                self.feed(now, mining::Input::Drain, out)
            }
        }
    }

    /// When [`mining::Input::Deadline`] is due, if ever.
    pub fn deadline(&self) -> Option<Time> {
        self.mining.deadline()
    }

    /// The machine behind: its tip, and shares that wait.
    pub fn mining(&self) -> &mining::Server {
        &self.mining
    }

    /// What the miner calls its software, as far as it is kept; empty before `mining.subscribe`.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Expected hashes of a share at the difficulty that it was last told; 0 before that.
    pub fn share_work(&self) -> u64 {
        self.difficulty.map_or(0, |difficulty| difficulty.work())
    }

    /// Whether `mining.subscribe` was answered: before that nothing else may be told.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// The name of this session.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The open channel and its account, if there is one: then the session is worth keeping for a while.
    pub fn channel(&self) -> Option<(u32, &str)> {
        self.channel
            .as_ref()
            .map(|channel| (channel.id, &*channel.account))
    }

    /// Goes on with this session on the connection of `fresh`, whose slot is given back. Jobs, difficulty and what was
    /// submitted are as they were, so that work under way is still good and nothing counts twice; what the miner can do
    /// is as it said on the new connection. Nothing is told before it has subscribed and authorized again.
    #[must_use]
    pub fn resume(mut self, fresh: Self) -> (Self, Slot) {
        self.rolls = fresh.rolls;
        self.mask = fresh.mask;
        self.moves = fresh.moves;
        self.wishes.renewed_by(&fresh.wishes);
        self.pending = Pending::default();
        self.subscribed = false;
        self.returning = true;
        self.unreadable = 0;
        (self, fresh.into_slot())
    }

    /// Ends the machine and gives its slot back, to be released together with the tip of [`Server::mining`].
    pub fn into_slot(self) -> Slot {
        self.mining.into_slot()
    }

    fn line(&mut self, now: Time, line: &[u8], out: &mut Out<'_>) -> Result<(), Fault> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return self.unreadable();
        }
        match Line::read(line) {
            Ok(Line::Call { id, method, params }) => {
                self.unreadable = 0;
                match Request::read(&method, &params) {
                    Ok(request) => self.request(now, id, request, out),
                    Err(refusal) => {
                        say::refused(&id, refusal, out.lines);
                        Ok(())
                    }
                }
            }
            // Answers to our notifications: some firmware sends them.
            Ok(Line::Answer { .. }) => Ok(()),
            Err(LineError::TooLong) => Err(Fault::Malformed("a line is too long")),
            Err(_) => {
                say::refused(
                    &Id::Null,
                    Refusal::other("This line is no request of Stratum V1"),
                    out.lines,
                );
                self.unreadable()
            }
        }
    }

    fn unreadable(&mut self) -> Result<(), Fault> {
        self.unreadable += 1;
        if self.unreadable >= UNREADABLE_MAX {
            return Err(Fault::Malformed("too many lines that are no requests"));
        }
        Ok(())
    }

    fn request(&mut self, now: Time, id: Id, request: Request, out: &mut Out<'_>) -> Result<(), Fault> {
        match request {
            Request::Submit(share) => return self.submit(now, id, &share, out),
            Request::Configure(extensions) => self.configure(now, &id, &extensions, out)?,
            Request::Subscribe { agent, .. } => return self.subscribe(now, &id, &agent, out),
            Request::Authorize { user, password } => return self.authorize(now, &id, &user, &password, out),
            Request::SuggestDifficulty(number) => {
                say::yes_or_no(&id, true, out.lines);
                return self.suggested(now, Difficulty::nearest(number), out);
            }
            Request::SuggestTarget(target) => {
                say::yes_or_no(&id, true, out.lines);
                return self.suggested(now, Some(enter::difficulty_of(target)), out);
            }
            Request::ExtranonceSubscribe => {
                self.moves = true;
                say::yes_or_no(&id, true, out.lines);
            }
            Request::Ping => say::words(&id, "pong", out.lines),
            // One version is what everybody has.
            Request::MultiVersion(count) => say::yes_or_no(&id, count <= 1, out.lines),
            Request::Transactions => say::nothing(&id, out.lines),
            Request::Unknown => say::refused(&id, Refusal::other("Unknown method"), out.lines),
        }
        Ok(())
    }

    /// Gives an input to the machine behind and tells what comes of it.
    fn feed(&mut self, now: Time, input: mining::Input, out: &mut Out<'_>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let handled = self.mining.handle(now, input, &mut outputs);
        for output in outputs {
            self.tell(output, out)?;
        }
        handled
    }
}

/// The session that a `mining.subscribe` asks to go on with, if the line is one and does.
pub fn wanted_session(line: &[u8]) -> Option<String> {
    const SUBSCRIBE: &[u8] = b"mining.subscribe";
    line.windows(SUBSCRIBE.len()).find(|part| *part == SUBSCRIBE)?;
    let Ok(Line::Call { method, params, .. }) = Line::read(line) else {
        return None;
    };
    match Request::read(&method, &params) {
        Ok(Request::Subscribe { session, .. }) => session,
        _ => None,
    }
}

/// Where things go.
struct Out<'a> {
    lines: &'a mut Vec<u8>,
    actions: &'a mut Vec<mining::Output>,
}

/// What the machine behind takes for the first exchange of messages: a client that insists on nothing.
fn established() -> Established {
    Established {
        protocol: adit_wire::common::protocol::MINING,
        version: adit_wire::common::PROTOCOL_VERSION,
        flags: 0,
        success_flags: 0,
        endpoint_host: Str0_255::default(),
        endpoint_port: 0,
        device: Device::default(),
    }
}

/// The start of `text`, at most `bytes_max` long.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
