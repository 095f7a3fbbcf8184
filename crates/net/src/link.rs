//! A TCP stream with a noise session on it: frames in, frames out, in place.
//!
//! A link owns no buffer while nothing is under way: it reads into the worker's buffer and keeps only the
//! start of an unfinished frame; it writes from the worker's buffer and keeps only what the socket
//! did not take.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_noise::{HandshakeError, Session, SessionError, Suite};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::door::{self, Entered, Identities, Rules};
use crate::security::{self, Security};
use crate::socket;
use crate::tls::{Stream, Tls, TlsDialling};

/// A read asks for at least this many bytes.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// What a link carries.
#[expect(clippy::large_enum_variant, reason = "nearly every link is one of frames")]
pub(crate) enum Speech {
    /// Frames, protected by whatever was agreed on.
    Frames(Session),
    /// Lines of Stratum V1.
    Lines,
}

/// Why there is no link, or no longer one.
#[derive(Debug)]
pub enum LinkError {
    /// The socket failed.
    Io(io::Error),
    /// The handshake failed.
    Handshake(HandshakeError),
    /// A record failed authentication, a frame was too long, or the nonces ran out.
    Session(SessionError),
    /// The peer did not finish the handshake in time.
    Timeout,
    /// The peer ended the connection during the handshake.
    Closed,
    /// A Stratum V1 miner, which is not served here; it was told so.
    StratumV1,
    /// Frames without a handshake, which are not taken from this peer.
    PlaintextRefused,
    /// The handshake of the 2022 draft, which is not spoken here.
    Draft2022Off,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "socket: {error}"),
            Self::Handshake(error) => write!(f, "handshake: {error}"),
            Self::Session(error) => write!(f, "session: {error}"),
            Self::Timeout => f.write_str("the handshake took too long"),
            Self::Closed => f.write_str("the peer closed the connection during the handshake"),
            Self::StratumV1 => f.write_str("a Stratum V1 miner: this port speaks Stratum V2 (sv1.enabled)"),
            Self::PlaintextRefused => {
                f.write_str("frames without a handshake: not taken from this peer (security.plaintext)")
            }
            Self::Draft2022Off => {
                f.write_str("the handshake of the 2022 draft: not spoken here (security.draft2022)")
            }
        }
    }
}

impl std::error::Error for LinkError {}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<HandshakeError> for LinkError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<SessionError> for LinkError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

/// The parts of a link, see [`Link::detach`].
pub struct Detached {
    /// The socket; it does not block.
    pub stream: std::net::TcpStream,
    /// What protects its frames; none on a link of lines.
    pub session: Option<Session>,
    /// The start of a frame or line whose end has not arrived.
    pub partial: Vec<u8>,
    /// Ciphertext bytes received so far.
    pub bytes_in: u64,
    /// Ciphertext bytes sent so far.
    pub bytes_out: u64,
}

/// A connection to one peer, secured by whatever suite the two agreed on, or one of lines.
pub struct Link {
    stream: Stream,
    peer: SocketAddr,
    pub(crate) speech: Speech,
    /// The start of a frame whose end has not arrived.
    partial: Vec<u8>,
    /// How many bytes `partial` must grow to before the session can go on.
    need: usize,
    /// `partial` came with the handshake, and nobody has looked at it yet.
    early: bool,
    /// Sealed bytes the socket has not taken, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    /// Something was written that the stream may still hold.
    unflushed: bool,
    /// Ciphertext bytes received so far.
    pub bytes_in: u64,
    /// Ciphertext bytes sent so far.
    pub bytes_out: u64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Lets a client in on an accepted socket: finds out who it is by its first bytes (see [`crate::classify`]) and
    /// answers the handshake that goes with it (spec 4.5, seeds 3.3). The one expensive step, 100 us of elliptic
    /// curves, waits for a place in `gate` and keeps it until other tasks had a turn, so that a storm of
    /// handshakes cannot hold up the connections that are there already.
    ///
    /// # Errors
    /// [`LinkError`]; one deadline covers everything from the first byte on, however slowly bytes come.
    pub async fn accept(
        mut stream: TcpStream,
        identities: &Identities,
        rules: &Rules,
        timeout: Duration,
        gate: &Semaphore,
    ) -> Result<Self, LinkError> {
        let peer = stream.peer_addr()?;
        socket::tune(&stream)?;
        let entering = door::enter(&mut stream, peer, identities, rules, gate);
        let entered = tokio::time::timeout(timeout, entering)
            .await
            .map_err(|_| LinkError::Timeout)??;
        Ok(Self::new(Stream::Tcp(stream), peer, entered))
    }

    /// Lets a miner of Stratum V1 in on the port for TLS.
    ///
    /// # Errors
    /// [`LinkError`], also for who speaks no TLS.
    pub async fn accept_tls(stream: TcpStream, tls: &Tls, timeout: Duration) -> Result<Self, LinkError> {
        let peer = stream.peer_addr()?;
        socket::tune(&stream)?;
        let stream = tokio::time::timeout(timeout, tls.accept(stream))
            .await
            .map_err(|_| LinkError::Timeout)??;
        Ok(Self::of_lines(stream, peer))
    }

    /// Opens a session as client on a connected socket (spec 4.5, seeds 3.3).
    ///
    /// # Errors
    /// [`LinkError`]; the server's certificate is checked as `security` says at `now_unix_s`, with `leeway_s` seconds
    /// for a clock that is off.
    pub async fn connect(
        mut stream: TcpStream,
        security: &Security,
        now_unix_s: u64,
        leeway_s: u32,
        timeout: Duration,
    ) -> Result<Self, LinkError> {
        let peer = stream.peer_addr()?;
        socket::tune(&stream)?;
        let greeting = security::greet(&mut stream, security, now_unix_s, leeway_s);
        let session = tokio::time::timeout(timeout, greeting)
            .await
            .map_err(|_| LinkError::Timeout)??;
        let entered = Entered {
            speech: Speech::Frames(session),
            early: Vec::new(),
        };
        Ok(Self::new(Stream::Tcp(stream), peer, entered))
    }

    /// A connected socket as a link of lines: as client of a server of Stratum V1.
    ///
    /// # Errors
    /// [`LinkError::Io`] when the socket is not connected any more.
    pub fn lines(stream: TcpStream) -> Result<Self, LinkError> {
        let peer = stream.peer_addr()?;
        socket::tune(&stream)?;
        Ok(Self::of_lines(Stream::Tcp(stream), peer))
    }

    /// [`Self::lines`] behind TLS, by which is found out that the server is the one called `host`.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn lines_tls(
        stream: TcpStream,
        tls: &TlsDialling,
        host: &str,
        timeout: Duration,
    ) -> Result<Self, LinkError> {
        let peer = stream.peer_addr()?;
        socket::tune(&stream)?;
        let stream = tokio::time::timeout(timeout, tls.connect(host, stream))
            .await
            .map_err(|_| LinkError::Timeout)??;
        Ok(Self::of_lines(stream, peer))
    }

    /// Takes the link apart, for who moves its bytes without [`drive()`](crate::drive()) from now on.
    ///
    /// # Errors
    /// When the socket cannot be taken out of the runtime, or stands behind TLS.
    pub fn detach(self) -> io::Result<Detached> {
        let Stream::Tcp(stream) = self.stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        Ok(Detached {
            stream: stream.into_std()?,
            session: match self.speech {
                Speech::Frames(session) => Some(session),
                Speech::Lines => None,
            },
            partial: self.partial,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        })
    }

    fn of_lines(stream: Stream, peer: SocketAddr) -> Self {
        let entered = Entered {
            speech: Speech::Lines,
            early: Vec::new(),
        };
        Self::new(stream, peer, entered)
    }

    fn new(stream: Stream, peer: SocketAddr, entered: Entered) -> Self {
        let Entered { speech, early } = entered;
        Self {
            stream,
            peer,
            speech,
            early: !early.is_empty(),
            partial: early,
            need: 0,
            pending: Vec::new(),
            sent: 0,
            unflushed: false,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// What protects this connection: nothing, where it is one of lines.
    #[must_use]
    pub fn suite(&self) -> Suite {
        match &self.speech {
            Speech::Frames(session) => session.suite(),
            Speech::Lines => Suite::Plain,
        }
    }

    /// Whether it carries lines of Stratum V1.
    #[must_use]
    pub fn is_lines(&self) -> bool {
        matches!(self.speech, Speech::Lines)
    }

    /// Whether TLS protects it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Sealed bytes the socket has not taken yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.pending.len() - self.sent
    }

    /// Reads once: `buf` begins with the kept start of a frame and what the socket had. Ready with the
    /// number of bytes that are there, or none at the end of the stream. `buf` only ever grows.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<Option<usize>>> {
        let kept = self.partial.len();
        if std::mem::take(&mut self.early) {
            // A peer that has said all it wants to say waits for an answer now.
            buf.resize(kept.max(buf.len()), 0);
            buf[..kept].copy_from_slice(&self.partial);
            return Poll::Ready(Ok(Some(kept)));
        }
        let room = self.need.saturating_sub(kept).max(READ_BYTES);
        if buf.len() < kept + room {
            buf.resize(kept + room, 0);
        }
        let mut read = ReadBuf::new(&mut buf[kept..kept + room]);
        ready!(self.stream.poll_read(cx, &mut read))?;
        let got = read.filled().len();
        buf[..kept].copy_from_slice(&self.partial);
        self.bytes_in += got as u64;
        Poll::Ready(Ok((got > 0).then_some(kept + got)))
    }

    /// Keeps the start of an unfinished frame for the next read.
    pub(crate) fn keep(&mut self, rest: &[u8], need: usize) {
        self.need = need;
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
    }

    /// Sends `sealed`, after what is queued already: writes what the socket takes now, queues the rest.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, sealed: &[u8]) -> io::Result<()> {
        let mut rest = sealed;
        if self.queued() == 0 {
            while !rest.is_empty() {
                match self.stream.poll_write(cx, rest)? {
                    Poll::Ready(taken) => {
                        self.bytes_out += taken as u64;
                        rest = &rest[taken..];
                    }
                    Poll::Pending => break,
                }
            }
        }
        self.pending.extend_from_slice(rest);
        if self.stream.is_buffered() {
            self.unflushed = true;
            // What is not taken now goes on when the socket has room.
            let _: Poll<()> = self.stream.poll_flush(cx)?.map(|()| self.unflushed = false);
        }
        Ok(())
    }

    /// Sends `sealed` without waiting for anything, from outside of the link's task; what the socket does not take is
    /// queued, and the task has to be woken to go on with it.
    pub(crate) fn push(&mut self, sealed: &[u8]) -> io::Result<()> {
        let mut rest = sealed;
        if let (Stream::Tcp(stream), 0) = (&self.stream, self.pending.len()) {
            while !rest.is_empty() {
                match stream.try_write(rest) {
                    Ok(taken) => {
                        self.bytes_out += taken as u64;
                        rest = &rest[taken..];
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Writes queued bytes. Ready when none is left.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            let taken = ready!(self.stream.poll_write(cx, &self.pending[self.sent..]))?;
            self.bytes_out += taken as u64;
            self.sent += taken;
        }
        if self.sent > 0 {
            self.pending = Vec::new();
            self.sent = 0;
            self.unflushed |= self.stream.is_buffered();
        }
        if self.unflushed {
            ready!(self.stream.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
