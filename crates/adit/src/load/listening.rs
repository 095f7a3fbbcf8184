//! Connections that only listen: no runtime, no tasks.
//!
//! The generator shares the cores with the pool that it measures. A connection that has nothing to send costs it what
//! it must: its part of one poll for the whole thread, one read, and one open a frame.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use adit_net::{Clock, Detached};
use adit_noise::{Feed, Session};
use adit_proto::{Time, sv1};
use adit_wire::mining::ToClient;
use adit_wire::{Header, U256, common};
use mio::{Events, Interest, Poll, Token};

use super::stats::Stats;
use crate::device::upstream::Upstream;

/// Connections that one poll can tell of.
const EVENTS_MAX: usize = 1_024;
/// A read asks for so many bytes: more than a new tip comes to.
const READ_BYTES: usize = 16 * 1024;
/// How long a burst is left to gather before the next poll, as a network card does: a thread that is woken for each
/// connection takes the cores from the pool more often than any miner on another machine could.
const GATHER: Duration = Duration::from_micros(500);
/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// All listening connections of a thread.
pub(super) struct Listeners {
    poll: Poll,
    events: Events,
    ears: Vec<Ear>,
    input: Vec<u8>,
}

/// One of them.
struct Ear {
    /// None once it is lost.
    stream: Option<mio::net::TcpStream>,
    /// None: lines.
    session: Option<Session>,
    partial: Vec<u8>,
    /// Received and sent before it only listened, and received since.
    bytes: (u64, u64, u64),
}

impl Listeners {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_MAX),
            ears: Vec::new(),
            input: vec![0; READ_BYTES],
        })
    }

    /// Takes over a connection that has its first work.
    pub(super) fn add(&mut self, link: Detached) -> io::Result<()> {
        let mut stream = mio::net::TcpStream::from_std(link.stream);
        let token = Token(self.ears.len());
        self.poll
            .registry()
            .register(&mut stream, token, Interest::READABLE)?;
        self.ears.push(Ear {
            stream: Some(stream),
            session: link.session,
            partial: link.partial,
            bytes: (link.bytes_in, link.bytes_out, 0),
        });
        Ok(())
    }

    /// Listens until `until`, or until `over` says so. Blocks the thread.
    pub(super) fn listen(
        &mut self,
        until: Time,
        clock: &Clock,
        stats: &mut Stats,
        over: impl Fn() -> bool,
    ) -> io::Result<()> {
        while clock.now() < until && !over() {
            match self.poll.poll(&mut self.events, Some(LOOK)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &self.events {
                if let Some(ear) = self.ears.get_mut(event.token().0)
                    && let Err(why) = ear.read(&mut self.input, clock, stats)
                {
                    ear.stream = None;
                    stats.lost += 1;
                    stats.error(format!("connection lost: {why}"));
                }
            }
            if !self.events.is_empty() {
                std::thread::sleep(GATHER);
            }
        }
        Ok(())
    }

    /// Closes all connections and books their bytes.
    pub(super) fn close(&mut self, stats: &mut Stats) {
        for ear in self.ears.drain(..) {
            let (opening, sent, listened) = ear.bytes;
            stats.bytes_in += opening + listened;
            stats.bytes_out += sent;
            stats.bytes_listened += listened;
        }
    }
}

impl Ear {
    /// Reads what is there; why the connection is over, if it is.
    fn read(&mut self, input: &mut Vec<u8>, clock: &Clock, stats: &mut Stats) -> Result<(), String> {
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            let kept = self.partial.len();
            if input.len() < kept + READ_BYTES {
                input.resize(kept + READ_BYTES, 0);
            }
            let got = match stream.read(&mut input[kept..]) {
                Ok(0) => return Err("closed by the peer".to_owned()),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            let whole = kept + got == input.len();
            input[..kept].copy_from_slice(&self.partial);
            self.bytes.2 += got as u64;
            self.take(&mut input[..kept + got], clock.now(), stats)?;
            // A read that did not fill its buffer has emptied the socket.
            if !whole {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &mut [u8], now: Time, stats: &mut Stats) -> Result<(), String> {
        let used = match &mut self.session {
            Some(session) => take_frames(session, bytes, now, stats)?,
            None => take_lines(bytes, now, stats)?,
        };
        self.partial.clear();
        self.partial.extend_from_slice(&bytes[used..]);
        Ok(())
    }
}

fn take_frames(
    session: &mut Session,
    bytes: &mut [u8],
    now: Time,
    stats: &mut Stats,
) -> Result<usize, String> {
    let mut at = 0;
    loop {
        match session.feed(&mut bytes[at..], Upstream::length_max) {
            Ok(Feed::Need(_)) => return Ok(at),
            Ok(Feed::Frame {
                used,
                header,
                payload,
            }) => {
                take_frame(&header, payload, now, stats)?;
                at += used;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Notes a job or a new tip; what else is said changes nothing for who sends nothing.
fn take_frame(header: &Header, payload: &[u8], now: Time, stats: &mut Stats) -> Result<(), String> {
    match ToClient::decode(header, payload) {
        Ok(ToClient::SetNewPrevHash(it)) => stats.tip(it.prev_hash, now),
        Ok(ToClient::NewMiningJob(_) | ToClient::NewExtendedMiningJob(_)) => stats.jobs += 1,
        Ok(ToClient::CloseChannel(it)) => return Err(format!("channel closed: {}", it.reason_code)),
        Ok(_) => {}
        Err(_) => {
            if let Ok(common::ToClient::Reconnect(_)) = common::ToClient::decode(header, payload) {
                return Err("the server sent Reconnect".to_owned());
            }
        }
    }
    Ok(())
}

fn take_lines(bytes: &[u8], now: Time, stats: &mut Stats) -> Result<usize, String> {
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let tip = sv1::client::heard(&bytes[at..at + length]).map_err(|error| error.to_string())?;
        if let Some(tip) = tip {
            stats.jobs += 1;
            stats.tip(U256(tip), now);
        }
        at += length + 1;
    }
    match bytes.len() - at > sv1::client::LINE_BYTES_MAX {
        true => Err("a line is too long".to_owned()),
        false => Ok(at),
    }
}
