//! A server that stands before our pool, passes everything on, and lies in one point.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use adit_net::{Clock, Url, random};
use adit_noise::{
    ACT1_BYTES, ACT2_BYTES, Authority, AuthorityKey, AuthorityKeypair, Feed, Initiator, Session, Trust,
    respond,
};
use adit_wire::Header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::lies::{Lie, Teller};
use super::support::SOON;

/// How long a client may be silent before a server that cannot wait speaks: far longer than a polite one is.
const IMPATIENCE: std::time::Duration = std::time::Duration::from_millis(400);

/// A frame: header and payload.
pub(crate) type Frame = Vec<u8>;

/// One end of a secured connection.
pub(crate) struct Side {
    stream: TcpStream,
    session: Session,
    received: Vec<u8>,
}

impl Side {
    /// The next frame; none at the end, or when what came is damaged. Cancel safe.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if !self.received.is_empty() {
                let fed = self.session.feed(&mut self.received, |_| 1 << 24).ok()?;
                if let Feed::Frame {
                    used,
                    header,
                    payload,
                } = fed
                {
                    let frame = [&header.encode()[..], payload].concat();
                    self.received.drain(..used);
                    return Some(frame);
                }
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    pub(crate) async fn send(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            let mut frame = frame;
            // What a lie made of a frame may have another length.
            let length = u32::try_from(frame.len() - Header::LEN).unwrap();
            frame[3..6].copy_from_slice(&length.to_le_bytes()[..3]);
            let mut sealed = Vec::new();
            self.session.seal(&frame, &mut sealed).unwrap();
            // That the other side has gone shows when it is listened to.
            let _ = self.stream.write_all(&sealed).await;
        }
    }

    async fn until_closed(&mut self) {
        let mut rest = [0; 1024];
        while let Ok(1..) = self.stream.read(&mut rest).await {}
    }
}

/// A listening socket with an authority of its own, and its URL.
pub(crate) async fn listen(valid_from_now_s: i64) -> (TcpListener, Url, Arc<adit_noise::ServerIdentity>) {
    let authority = Authority::new(AuthorityKeypair::from_secret(random::bytes()).unwrap(), 3_600);
    let now = i64::try_from(Clock::system().unix_s()).unwrap() + valid_from_now_s;
    let now = u64::try_from(now).unwrap();
    let identity =
        adit_noise::ServerIdentity::issued_by(&authority, random::bytes(), now, random::bytes()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = Url {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        key: Some(authority.public().into()),
    };
    (listener, url, Arc::new(identity))
}

/// Answers a handshake. None when the peer has something else in mind.
pub(crate) async fn welcome(mut stream: TcpStream, identity: &adit_noise::ServerIdentity) -> Option<Side> {
    stream.set_nodelay(true).unwrap();
    let mut act1 = [0; ACT1_BYTES];
    let (head, rest) = act1.split_at_mut(6);
    stream.read_exact(head).await.ok()?;
    // Only the current suite is spoken here: who offers those of the 2022 draft need not wait.
    if head.ends_with(b"STR3") {
        return None;
    }
    stream.read_exact(rest).await.ok()?;
    let (act2, session) = respond(identity, &act1, random::bytes()).unwrap();
    stream.write_all(&act2).await.ok()?;
    Some(Side {
        stream,
        session,
        received: Vec::new(),
    })
}

async fn dial(url: &Url) -> Side {
    let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (initiator, act1) = Initiator::new(random::bytes()).unwrap();
    stream.write_all(&act1).await.unwrap();
    let mut act2 = [0; ACT2_BYTES];
    stream.read_exact(&mut act2).await.unwrap();
    let Some(AuthorityKey::Current(key)) = url.key else {
        panic!("a key of the current suite")
    };
    let trust = Trust::Authority(key);
    let session = initiator.finish(&act2, &trust, Clock::system().unix_s()).unwrap();
    Side {
        stream,
        session,
        received: Vec::new(),
    }
}

/// Serves until the test's runtime ends.
pub(crate) async fn lie(real: &Url, lie: Lie) -> Url {
    let (listener, url, identity) = listen(if lie == Lie::Expired { -100_000 } else { 0 }).await;
    let real = real.clone();
    let dead = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if dead.load(Relaxed) {
                return;
            }
            let (identity, real, dead) = (Arc::clone(&identity), real.clone(), Arc::clone(&dead));
            tokio::spawn(async move {
                if let Ok(Some(front)) = timeout(SOON, welcome(stream, &identity)).await {
                    let back = dial(&real).await;
                    let _ = timeout(SOON, pass_on(front, back, Teller::new(lie), &dead)).await;
                }
            });
        }
    });
    url
}

async fn pass_on(mut front: Side, mut back: Side, mut teller: Teller, dead: &AtomicBool) {
    loop {
        tokio::select! {
            frame = front.frame() => match frame {
                Some(frame) => {
                    dead.fetch_or(teller.dies_of(&frame), Relaxed);
                    let answers = teller.heard(frame);
                    front.send(answers.down).await;
                    back.send(answers.up).await;
                    if answers.end {
                        return;
                    }
                }
                // Damaged, or gone.
                None => {
                    if teller.stays() {
                        front.until_closed().await;
                    }
                    return;
                }
            },
            frame = back.frame() => match frame {
                Some(frame) => {
                    let frames = teller.said(frame);
                    front.send(frames).await;
                }
                None => {
                    if teller.stays() {
                        front.until_closed().await;
                    }
                    return;
                }
            },
            () = tokio::time::sleep(IMPATIENCE), if teller.is_impatient() => {
                let frames = teller.interrupts();
                front.send(frames).await;
            }
        }
    }
}
