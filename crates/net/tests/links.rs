//! Links and the driver over real loopback sockets: frames both ways, deadlines, slow and hostile peers.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it should be"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adit_net::drive::Bounds;
use adit_net::{
    Clock, End, Identities, Limits, Link, LinkError, Listener, Protocol, Rules, Shared, Url, dial, drive,
    push_all,
};
use adit_noise::{Authority, AuthorityKeypair, ServerIdentity, SessionError, draft2022};
use adit_proto::{Fault, Time};
use adit_wire::frame::Header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_secs(20);
const LIMITS: Limits = Limits {
    connections_max: 100,
    connections_per_address_max: 100,
};

/// A server of one connection at a time: listener, identity, and the URL that leads to it.
struct Server {
    listener: Listener,
    identities: Identities,
    url: Url,
    clock: Clock,
}

impl Server {
    fn new() -> Self {
        let clock = Clock::system();
        let authority = Authority::new(AuthorityKeypair::from_secret([7; 32]).unwrap(), 86_400);
        let random = adit_net::random::bytes;
        let now = clock.unix_s();
        let old = draft2022::AuthorityKeypair::from_secret([7; 32]).unwrap();
        let old = draft2022::Authority::new(old, 86_400);
        let identities = Identities {
            current: ServerIdentity::issued_by(&authority, random(), now, random()).unwrap(),
            draft2022: draft2022::ServerIdentity::issued_by(&old, adit_net::random::bytes(), now).unwrap(),
        };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), LIMITS).unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url {
            host: "127.0.0.1".into(),
            port,
            key: Some(authority.public().into()),
        };
        Self {
            listener,
            identities,
            url,
            clock,
        }
    }

    async fn accept(&self, timeout: Duration) -> Result<Link, LinkError> {
        let (stream, _, _permit) = self.listener.accept().await;
        let rules = Rules::default();
        Link::accept(stream, &self.identities, &rules, timeout, &Semaphore::new(1)).await
    }
}

/// Sends `to_send` at the start, collects what comes, and ends when it has `expect` frames.
struct Talk {
    to_send: VecDeque<Vec<u8>>,
    got: Vec<Vec<u8>>,
    expect: usize,
    echo: bool,
    length_max: u32,
    waker: Option<Waker>,
}

impl Talk {
    fn new(to_send: impl IntoIterator<Item = Vec<u8>>, expect: usize) -> Self {
        let to_send = to_send.into_iter().collect();
        Self {
            to_send,
            got: vec![],
            expect,
            echo: false,
            length_max: 1 << 23,
            waker: None,
        }
    }
}

impl Protocol for Talk {
    fn length_max(&self, _: &Header) -> u32 {
        self.length_max
    }
    fn frame(&mut self, _: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let frame = frame(header.msg_type, payload);
        if self.echo {
            out.extend_from_slice(&frame);
        }
        self.got.push(frame);
        Ok(())
    }
    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.to_send.is_empty() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
    fn mail(&mut self, _: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Some(frame) = self.to_send.pop_front() {
            out.extend_from_slice(&frame);
        }
        Ok(())
    }
    fn deadline(&self) -> Option<Time> {
        None
    }
    fn expire(&mut self, _: Time, _: &mut Vec<u8>) -> Result<(), Fault> {
        Ok(())
    }
    fn finished(&self) -> bool {
        self.to_send.is_empty() && self.got.len() >= self.expect
    }
}

fn frame(msg_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&Header::new(0, true, msg_type, payload.len() as u32).encode());
    out.extend_from_slice(payload);
    out
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("done in time")
}

/// REQ-COM-001, REQ-SEC-021, REQ-SEC-030..033: frames of all sizes arrive whole and in order, both ways.
#[tokio::test]
async fn frames_of_all_sizes_go_both_ways() {
    let server = Server::new();
    let frames: Vec<_> = [1usize, 24, 33, 65_519, 65_520, 70_000, 1_000_000, 5]
        .iter()
        .enumerate()
        .map(|(i, n)| frame(i as u8, &vec![i as u8; *n]))
        .collect();
    let client = async {
        let mut link = dial(&server.url, &server.clock, PATIENCE).await.unwrap();
        let mut talk = Talk::new(frames.clone(), frames.len());
        let bounds = Bounds {
            queue_high_bytes: 1 << 22,
            queue_max_bytes: 1 << 23,
            ..Bounds::default()
        };
        let end = drive(&mut link, &mut talk, &server.clock, bounds).await;
        assert!(matches!(end, End::Finished), "{end}");
        talk.got
    };
    let serve = async {
        let mut link = server.accept(PATIENCE).await.unwrap();
        let mut talk = Talk {
            echo: true,
            ..Talk::new([], usize::MAX)
        };
        let bounds = Bounds {
            queue_high_bytes: 1 << 22,
            queue_max_bytes: 1 << 23,
            ..Bounds::default()
        };
        drive(&mut link, &mut talk, &server.clock, bounds).await
    };
    let (got, end) = within(async { tokio::join!(client, serve) }).await;
    assert_eq!(got, frames);
    assert!(matches!(end, End::Closed | End::Io(_)), "{end}");
}

/// REQ-SEC-037: one deadline for the whole handshake, however the bytes trickle.
#[tokio::test]
async fn a_trickling_handshake_is_cut_off() {
    let server = Server::new();
    let to = server.listener.local_addr().unwrap();
    let mut slow = TcpStream::connect(to).await.unwrap();
    slow.write_all(&[1; 10]).await.unwrap();
    let error = within(server.accept(Duration::from_millis(50)))
        .await
        .unwrap_err();
    assert!(matches!(error, LinkError::Timeout), "{error}");
    let mut byte = [0];
    assert_eq!(
        within(slow.read(&mut byte)).await.unwrap_or(0),
        0,
        "closed without a byte"
    );
}

/// REQ-SEC-015, REQ-COM-036: a server with another authority is not talked to.
#[tokio::test]
async fn another_authority_is_refused() {
    let server = Server::new();
    let other = AuthorityKeypair::from_secret([8; 32]).unwrap().public();
    let url = Url {
        key: Some(other.into()),
        ..server.url.clone()
    };
    let (dialled, _) =
        within(async { tokio::join!(dial(&url, &server.clock, PATIENCE), server.accept(PATIENCE)) }).await;
    assert!(dialled.is_err());
}

/// REQ-FRM-024: a frame too long for its place is refused from its header.
#[tokio::test]
async fn an_oversized_frame_ends_the_connection() {
    let server = Server::new();
    let client = async {
        let mut link = dial(&server.url, &server.clock, PATIENCE).await.unwrap();
        let mut talk = Talk::new([frame(1, &[0; 5000])], 1);
        drive(&mut link, &mut talk, &server.clock, Bounds::default()).await
    };
    let serve = async {
        let mut link = server.accept(PATIENCE).await.unwrap();
        let mut talk = Talk {
            length_max: 4999,
            ..Talk::new([], usize::MAX)
        };
        drive(&mut link, &mut talk, &server.clock, Bounds::default()).await
    };
    let (client, serve) = within(async { tokio::join!(client, serve) }).await;
    assert!(
        matches!(serve, End::Session(SessionError::TooLong { .. })),
        "{serve}"
    );
    assert!(matches!(client, End::Closed | End::Io(_)), "{client}");
}

/// REQ-SEC-022: text instead of records ends the connection at once.
#[tokio::test]
async fn garbage_after_the_handshake_ends_the_connection() {
    let server = Server::new();
    let to = server.listener.local_addr().unwrap();
    let client = async {
        let mut raw = TcpStream::connect(to).await.unwrap();
        raw.write_all(&[3; 64]).await.unwrap();
        let mut act2 = [0; 234];
        raw.read_exact(&mut act2).await.unwrap();
        raw.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        raw.read(&mut byte).await.unwrap_or(0)
    };
    let serve = async {
        let mut link = server.accept(PATIENCE).await.unwrap();
        let mut talk = Talk::new([], usize::MAX);
        drive(&mut link, &mut talk, &server.clock, Bounds::default()).await
    };
    let (read, end) = within(async { tokio::join!(client, serve) }).await;
    assert!(matches!(end, End::Session(_)), "{end}");
    assert_eq!(read, 0);
}

/// A peer that reads nothing is neither waited for nor allowed to fill our memory.
#[tokio::test]
async fn a_peer_that_does_not_read_is_disconnected() {
    let server = Server::new();
    let serve = async {
        let mut link = server.accept(PATIENCE).await.unwrap();
        let endless = (0..4000).map(|_| frame(1, &[0; 60_000]));
        let mut talk = Talk::new(endless, usize::MAX);
        let bounds = Bounds {
            stall: Duration::from_millis(100),
            ..Bounds::default()
        };
        let end = drive(&mut link, &mut talk, &server.clock, bounds).await;
        (end, link.queued(), talk.to_send.len())
    };
    let (link, (end, queued, left)) =
        within(async { tokio::join!(dial(&server.url, &server.clock, PATIENCE), serve) }).await;
    let _open = link.unwrap();
    assert!(matches!(end, End::Slow), "{end}");
    assert!(queued <= Bounds::default().queue_max_bytes, "{queued}");
    assert!(
        left > 0,
        "not everything was sealed for a peer that does not read"
    );
}

/// Mail for many connections is sealed and sent without a wake-up of their tasks; what a socket does not take, a fault and
/// the end of a conversation are left to the task.
#[tokio::test]
async fn mail_is_pushed_to_many_at_once() {
    let server = Server::new();
    let local = tokio::task::LocalSet::new();
    let small = vec![frame(1, &[1; 40]), frame(2, &[2; 50])];
    // More than socket buffers hold.
    let large = vec![frame(3, &vec![3; 8_000_000])];
    let told = [small.clone(), large, small];
    let work = async {
        let (mut shared, mut clients, mut servers) = (Vec::new(), Vec::new(), Vec::new());
        for told in &told {
            let dialled = dial(&server.url, &server.clock, PATIENCE);
            let (client, link) = tokio::join!(dialled, server.accept(PATIENCE));
            let (mut client, clock) = (client.unwrap(), server.clock.clone());
            let mut talk = Talk::new([], told.len());
            clients.push(tokio::task::spawn_local(async move {
                let end = drive(&mut client, &mut talk, &clock, Bounds::default()).await;
                (end, talk.got)
            }));
            let bounds = Bounds {
                queue_max_bytes: 1 << 24,
                ..Bounds::default()
            };
            let connection = Shared::new(
                link.unwrap(),
                Talk::new([], usize::MAX),
                server.clock.clone(),
                bounds,
            );
            let driven = std::rc::Rc::clone(&connection);
            servers.push(tokio::task::spawn_local(async move { driven.drive().await }));
            shared.push(connection);
        }
        tokio::task::yield_now().await;
        for round in 0..2 {
            for (connection, told) in shared.iter().zip(&told) {
                // Without a wake-up.
                connection.with(|talk| talk.to_send.extend(told.get(round).cloned()));
            }
            push_all(&shared);
            let left: usize = shared.iter().map(|it| it.with(|talk| talk.to_send.len())).sum();
            assert_eq!(left, 0, "all mail is taken on the spot");
        }
        for (client, told) in clients.into_iter().zip(&told) {
            let (end, got) = client.await.unwrap();
            assert!(matches!(end, End::Finished), "{end}");
            assert!(got == *told, "{} frames of {}", got.len(), told.len());
        }
        for server in servers {
            let end = server.await.unwrap();
            assert!(matches!(end, End::Closed | End::Io(_)), "{end}");
        }
    };
    within(local.run_until(work)).await;
}
