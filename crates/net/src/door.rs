//! The server's side of the first moments: who is calling, may they, and the handshake that goes with it.
//!
//! One deadline covers everything from the first byte to the end of the handshake, the classification included, and the
//! buffer for it is one key long (REQ-SEC-037).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use adit_noise::{ServerIdentity, Session, draft2022};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::classify::{Class, FIRST_BYTES_MAX, Kind, classify};
use crate::link::{LinkError, Speech};
use crate::{local, random};

/// A draft peer without negotiation has said all it has to say when it was silent for so long. A current client sends
/// its 64 bytes in one piece; peers of 2020 give up after two seconds.
const SILENCE: Duration = Duration::from_millis(500);
/// Longest line of Stratum V1 that is looked at for its id.
const LINE_BYTES_MAX: usize = 1_024;
/// Bytes of a refused peer that are read and dropped, so that it gets to see the answer before the connection ends.
const DRAIN_BYTES_MAX: usize = 16 * 1_024;
/// How long a refused peer may take to hang up.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Longest id that is echoed.
const ID_BYTES_MAX: usize = 64;

/// A server's keys and certificates for every suite it speaks.
pub struct Identities {
    /// For the current handshake.
    pub current: ServerIdentity,
    /// For that of the 2022 draft.
    pub draft2022: draft2022::ServerIdentity,
}

/// From whom frames without any protection are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plaintext {
    /// From nobody.
    #[default]
    Off,
    /// From this machine.
    Loopback,
    /// From this machine and private networks.
    Private,
}

impl Plaintext {
    /// Whether a peer with this address is among them.
    #[must_use]
    pub fn allows(self, peer: IpAddr) -> bool {
        match self {
            Self::Off => false,
            Self::Loopback => local::is_loopback(peer),
            Self::Private => local::is_private(peer),
        }
    }
}

/// What a port speaks besides the current suite.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The 2022 draft, if it is spoken, and what is agreed to.
    pub draft2022: Option<draft2022::Terms>,
    /// Also with its peers that know no negotiation.
    pub draft2022_fallback: bool,
    /// Frames without any handshake.
    pub plaintext: Plaintext,
    /// Lines of Stratum V1, which have no handshake either.
    pub stratum_v1: bool,
    /// What a miner of Stratum V1 is told where it is not served: one line of plain ASCII without quotes.
    pub stratum_v1_hint: &'static str,
}

/// What helps a miner of Stratum V1 that is not served.
const STRATUM_V1_HINT: &str = "this port speaks Stratum V2, not V1: use firmware that speaks V2 (stratum2+tcp://), or put a \
                               V1 to V2 translation proxy in between";

impl Default for Rules {
    /// Both suites, negotiated; nothing in the clear, and no Stratum V1.
    fn default() -> Self {
        Self {
            draft2022: Some(draft2022::Terms::default()),
            draft2022_fallback: false,
            plaintext: Plaintext::Off,
            stratum_v1: false,
            stratum_v1_hint: STRATUM_V1_HINT,
        }
    }
}

/// What is spoken, and bytes of it that came with the handshake.
pub(crate) struct Entered {
    pub(crate) speech: Speech,
    pub(crate) early: Vec<u8>,
}

/// Lets one peer in, or says why not. The caller holds the deadline.
pub(crate) async fn enter(
    stream: &mut TcpStream,
    peer: SocketAddr,
    identities: &Identities,
    rules: &Rules,
    gate: &Semaphore,
) -> Result<Entered, LinkError> {
    let mut first = First::default();
    let greeting = first.classify(stream, rules).await?;
    let mut caller = Caller { stream, first, gate };
    let session = match greeting {
        Greeting::Kind(Kind::Current) => caller.current(&identities.current).await?,
        Greeting::Kind(Kind::Draft2022) => {
            let terms = rules.draft2022.ok_or(LinkError::Draft2022Off)?;
            caller.negotiate(&identities.draft2022, terms).await?
        }
        Greeting::Older(terms) => {
            let answering = draft2022::Responder::new(terms).without_negotiation()?;
            caller.answer(answering, &identities.draft2022).await?
        }
        Greeting::Kind(Kind::Plaintext) if rules.plaintext.allows(peer.ip()) => Session::plain(),
        Greeting::Kind(Kind::Plaintext) => return Err(LinkError::PlaintextRefused),
        Greeting::Kind(Kind::StratumV1) if rules.stratum_v1 => return Ok(caller.lines()),
        Greeting::Kind(Kind::StratumV1) => {
            caller.refuse_stratum_v1(rules.stratum_v1_hint).await;
            return Err(LinkError::StratumV1);
        }
    };
    Ok(caller.entered(Speech::Frames(session)))
}

/// Who it is, and what follows from it.
enum Greeting {
    Kind(Kind),
    /// A draft peer without negotiation, which the rules allow.
    Older(draft2022::Terms),
}

/// The first bytes of a connection, and how many of them are used up.
struct First {
    bytes: [u8; FIRST_BYTES_MAX],
    length: usize,
    used: usize,
}

impl Default for First {
    fn default() -> Self {
        Self {
            bytes: [0; FIRST_BYTES_MAX],
            length: 0,
            used: 0,
        }
    }
}

impl First {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.used..self.length]
    }

    async fn read(&mut self, stream: &mut TcpStream) -> Result<(), LinkError> {
        match stream.read(&mut self.bytes[self.length..]).await? {
            0 => Err(LinkError::Closed),
            got => {
                self.length += got;
                Ok(())
            }
        }
    }

    /// Reads until it is clear who is calling.
    async fn classify(&mut self, stream: &mut TcpStream, rules: &Rules) -> Result<Greeting, LinkError> {
        let older = rules.draft2022.filter(|_| rules.draft2022_fallback);
        loop {
            match (classify(&self.bytes[..self.length]), older) {
                (Class::Is(kind), _) => return Ok(Greeting::Kind(kind)),
                (Class::Silence, Some(terms)) => {
                    match tokio::time::timeout(SILENCE, self.read(stream)).await {
                        Ok(read) => read?,
                        Err(_) => return Ok(Greeting::Older(terms)),
                    }
                }
                _ => self.read(stream).await?,
            }
        }
    }
}

/// One connection during its handshake.
struct Caller<'a> {
    stream: &'a mut TcpStream,
    first: First,
    gate: &'a Semaphore,
}

impl Caller<'_> {
    fn entered(&self, speech: Speech) -> Entered {
        let early = self.first.rest().to_vec();
        Entered { speech, early }
    }

    /// Stratum V1: nothing of its first line is used up.
    fn lines(&self) -> Entered {
        self.entered(Speech::Lines)
    }

    /// Spec 4.5: the 64 bytes are there.
    async fn current(&mut self, identity: &ServerIdentity) -> Result<Session, LinkError> {
        self.first.used = FIRST_BYTES_MAX;
        let turn = self.gate.acquire().await;
        let (act2, session) = adit_noise::respond(identity, &self.first.bytes, random::bytes())?;
        tokio::task::yield_now().await;
        drop(turn);
        self.stream.write_all(&act2).await?;
        Ok(session)
    }

    /// Seeds 3.3.3, with negotiation.
    async fn negotiate(
        &mut self,
        identity: &draft2022::ServerIdentity,
        terms: draft2022::Terms,
    ) -> Result<Session, LinkError> {
        let responder = draft2022::Responder::new(terms);
        let offer = self.frame(|head| responder.frame_bytes(head)).await?;
        let (answering, choice) = responder.answer(&offer)?;
        self.stream.write_all(&choice).await?;
        self.answer(answering, identity).await
    }

    /// Seeds 3.3.3 from act 1 on.
    async fn answer(
        &mut self,
        answering: draft2022::Answering,
        identity: &draft2022::ServerIdentity,
    ) -> Result<Session, LinkError> {
        let act1 = self.frame(|head| answering.frame_bytes(head)).await?;
        let turn = self.gate.acquire().await;
        let (act2, session) = answering.respond(identity, &act1, random::bytes())?;
        tokio::task::yield_now().await;
        drop(turn);
        self.stream.write_all(&act2).await?;
        Ok(session)
    }

    /// One frame of the draft's handshake, whose length `fits` finds right before its body is waited for.
    async fn frame(
        &mut self,
        fits: impl FnOnce([u8; draft2022::LENGTH_BYTES]) -> Result<usize, adit_noise::HandshakeError>,
    ) -> Result<Vec<u8>, LinkError> {
        let mut head = [0; draft2022::LENGTH_BYTES];
        self.read_exact(&mut head).await?;
        let mut frame = vec![0; fits(head)?];
        let (start, body) = frame.split_at_mut(head.len());
        start.copy_from_slice(&head);
        self.read_exact(body).await?;
        Ok(frame)
    }

    /// Reads from what came already, then from the socket.
    async fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), LinkError> {
        let there = self.first.rest();
        let (early, late) = buf.split_at_mut(there.len().min(buf.len()));
        early.copy_from_slice(&there[..early.len()]);
        self.first.used += early.len();
        self.stream.read_exact(late).await?;
        Ok(())
    }

    /// Tells a Stratum V1 miner, in its own words, where it has come to. Whether it hears it is its own business.
    async fn refuse_stratum_v1(&mut self, hint: &str) {
        let mut line = self.first.rest().to_vec();
        while !line.contains(&b'\n') && line.len() < LINE_BYTES_MAX {
            let mut more = [0; 256];
            match self.stream.read(&mut more).await {
                Ok(got) if got > 0 => line.extend_from_slice(&more[..got]),
                _ => break,
            }
        }
        let answer = refusal(id(&line), hint);
        if self.stream.write_all(answer.as_bytes()).await.is_ok() {
            let _ = self.stream.shutdown().await;
            let _ = tokio::time::timeout(DRAIN_MAX, self.drain()).await;
        }
    }

    /// Reads until the peer hangs up: a socket that is closed on unread bytes takes its last answer back.
    async fn drain(&mut self) {
        let (mut dropped, mut buf) = (0, [0; 1_024]);
        while dropped < DRAIN_BYTES_MAX {
            match self.stream.read(&mut buf).await {
                Ok(got) if got > 0 => dropped += got,
                _ => break,
            }
        }
    }
}

/// The error line of JSON-RPC, as Stratum V1 writes it.
fn refusal(id: &str, hint: &str) -> String {
    format!("{{\"id\":{id},\"result\":null,\"error\":[20,\"{hint}\",null]}}\n")
}

/// The id of a request as it stands there, if it is a number, a plain string or null; otherwise `null`.
fn id(line: &[u8]) -> &str {
    let found = || {
        let text = std::str::from_utf8(line.split(|&b| b == b'\n').next()?).ok()?;
        let value = text.split_once("\"id\"")?.1.trim_start().strip_prefix(':')?;
        let value = value.trim_start();
        let end = match value.strip_prefix('"') {
            Some(string) => string.find('"')? + 2,
            None => value.find([',', '}', ' '])?,
        };
        let value = value.get(..end).filter(|value| value.len() <= ID_BYTES_MAX)?;
        let is_string = value.starts_with('"') && !value.contains(['\\', '\t']);
        let is_number = value.bytes().all(|b| b.is_ascii_digit());
        (is_string || (is_number && !value.is_empty())).then_some(value)
    };
    found().unwrap_or("null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_echoed_only_where_it_is_plain() {
        for (line, expected) in [
            ("{\"id\":7,\"method\":\"mining.subscribe\"}\n", "7"),
            ("{\"id\": 12345 , \"method\":\"x\"}", "12345"),
            ("{\"method\":\"x\",\"id\":\"a-1\"}\n", "\"a-1\""),
            ("{\"id\":null}\n", "null"),
            ("{\"id\":[1]}\n", "null"),
            ("{\"id\":\"a\\\"b\"}\n", "null"),
            ("{\"id\":}\n", "null"),
            ("{\"id\"", "null"),
            ("{}\n{\"id\":7}\n", "null"),
        ] {
            assert_eq!(id(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(id(&[b'{', 0xff]), "null");
        let long = format!("{{\"id\":{}}}", "1".repeat(65));
        assert_eq!(id(long.as_bytes()), "null");
    }

    #[test]
    fn the_refusal_is_one_line_that_says_what_to_do() {
        let line = refusal("7", STRATUM_V1_HINT);
        assert!(
            line.starts_with("{\"id\":7,\"result\":null,\"error\":[20,\""),
            "{line}"
        );
        assert!(
            line.ends_with("\",null]}\n") && line.matches('\n').count() == 1,
            "{line}"
        );
        assert!(line.contains("Stratum V2") && line.contains("proxy"));
    }

    #[test]
    fn plaintext_is_for_those_who_are_near() {
        let ip = |text: &str| text.parse().unwrap();
        for (peer, loopback, private) in [
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("::ffff:127.0.0.1", true, true),
            ("192.168.1.9", false, true),
            ("::ffff:10.0.0.1", false, true),
            ("fd00::1", false, true),
            ("8.8.8.8", false, false),
            ("2001:db8::1", false, false),
        ] {
            assert_eq!(Plaintext::Loopback.allows(ip(peer)), loopback, "{peer}");
            assert_eq!(Plaintext::Private.allows(ip(peer)), private, "{peer}");
            assert!(!Plaintext::Off.allows(ip(peer)));
        }
    }
}
