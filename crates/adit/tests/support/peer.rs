//! A peer that speaks frames over an encrypted socket and may say anything at any time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use adit_net::{Clock, Url, random};
use adit_noise::draft2022::Aeads;
use adit_noise::{ACT2_BYTES, AuthorityKey, Feed, Initiator, Session, Trust, draft2022};
use adit_wire::Header;
use adit_wire::common::{self, PROTOCOL_VERSION, SetupConnection, protocol};
use adit_wire::declare;
use adit_wire::distribute;
use adit_wire::message::Message;
use adit_wire::mining::ToClient;
use adit_wire::negotiation;
use adit_wire::template;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::SOON;

/// One end of a connection to a pool.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    session: Session,
    received: Vec<u8>,
}

/// What a pool says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Common(common::ToClient),
    Mining(ToClient),
    Extension(negotiation::ToClient),
    Template(template::ToClient),
    Declare(declare::ToClient),
    Distribute(distribute::ToClient),
    /// It hung up.
    End,
}

/// A plain TCP connection, from an address of ours.
pub(crate) async fn tcp(url: &Url, from: Ipv4Addr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    let to: IpAddr = url.host.parse().unwrap();
    socket.connect(SocketAddr::new(to, url.port)).await
}

/// What a polite device says first.
pub(crate) fn setup(flags: u32) -> SetupConnection {
    let text = |text: &str| text.try_into().unwrap();
    SetupConnection {
        protocol: protocol::MINING,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags,
        endpoint_host: text("127.0.0.1"),
        endpoint_port: 3333,
        vendor: text("adit tests"),
        hardware_version: text("none"),
        firmware: text("none"),
        device_id: text(""),
    }
}

/// The current handshake.
async fn shake_hands(stream: &mut TcpStream, key: adit_noise::AuthorityPublicKey) -> Option<Session> {
    let (initiator, act1) = Initiator::new(random::bytes()).unwrap();
    stream.write_all(&act1).await.ok()?;
    let mut act2 = [0; ACT2_BYTES];
    stream.read_exact(&mut act2).await.ok()?;
    let trust = Trust::Authority(key);
    Some(initiator.finish(&act2, &trust, Clock::system().unix_s()).unwrap())
}

/// That of the 2022 draft.
pub(crate) async fn shake_hands_draft2022(
    stream: &mut TcpStream,
    key: draft2022::AuthorityPublicKey,
    offer: Aeads,
) -> Option<Session> {
    let (initiator, offer) = draft2022::Initiator::new(offer, random::bytes()).unwrap();
    stream.write_all(&offer).await.ok()?;
    let choice = draft2022_frame(stream).await?;
    let (awaiting, act1) = initiator.chosen(&choice).unwrap();
    stream.write_all(&act1).await.ok()?;
    let act2 = draft2022_frame(stream).await?;
    let trust = draft2022::Trust::Authority(key);
    Some(awaiting.finish(&act2, &trust, Clock::system().unix_s()).unwrap())
}

/// A frame of the draft's handshake; `None` when the other side hangs up.
pub(crate) async fn draft2022_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame).await.ok()?;
    frame.resize(2 + usize::from(u16::from_le_bytes([frame[0], frame[1]])), 0);
    stream.read_exact(&mut frame[2..]).await.ok()?;
    Some(frame)
}

impl Peer {
    /// Connects and shakes hands, as the URL's key asks for; without a key it does not.
    pub(crate) async fn greet(url: &Url) -> Self {
        Self::greet_from(url, Ipv4Addr::LOCALHOST)
            .await
            .expect("a handshake")
    }

    /// The same from another address of this machine; `None` when the pool hangs up on it.
    pub(crate) async fn greet_from(url: &Url, from: Ipv4Addr) -> Option<Self> {
        Self::greet_on(url, tcp(url, from).await.ok()?).await
    }

    /// The same on a socket that is connected already.
    pub(crate) async fn greet_on(url: &Url, mut stream: TcpStream) -> Option<Self> {
        let greeting = async {
            stream.set_nodelay(true).unwrap();
            let session = match url.key {
                None => Session::plain(),
                Some(AuthorityKey::Current(key)) => shake_hands(&mut stream, key).await?,
                Some(AuthorityKey::Draft2022(key)) => {
                    shake_hands_draft2022(&mut stream, key, Aeads::default()).await?
                }
            };
            Some(Self::on(stream, session))
        };
        timeout(SOON, greeting).await.expect("an answer to the handshake")
    }

    /// Speaks over a session that somebody else opened.
    pub(crate) fn on(stream: TcpStream, session: Session) -> Self {
        Self {
            stream,
            session,
            received: Vec::new(),
        }
    }

    /// A connection that is set up for mining.
    pub(crate) async fn join(url: &Url, flags: u32) -> Self {
        let mut peer = Self::greet(url).await;
        peer.set_up(flags).await;
        peer
    }

    pub(crate) async fn set_up(&mut self, flags: u32) {
        self.say(&setup(flags)).await;
        let heard = self.hear().await;
        let common::ToClient::SetupConnectionSuccess(success) = heard.common() else {
            panic!("expected SetupConnection.Success")
        };
        assert_eq!((success.used_version, success.flags), (PROTOCOL_VERSION, 0));
    }

    /// Says one message. That the pool has hung up already shows when it is listened to.
    pub(crate) async fn say(&mut self, message: &impl Message) {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        self.say_frames(&frame).await;
    }

    /// Says whole frames, one after the other, in one write.
    pub(crate) async fn say_frames(&mut self, frames: &[u8]) {
        let sealed = self.seal(frames);
        self.say_bytes(&sealed).await;
    }

    /// Seals whole frames, which must be the next that are said.
    pub(crate) fn seal(&mut self, mut frames: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        while let Some(header) = frames.first_chunk() {
            let length = Header::LEN + Header::parse(*header).msg_length as usize;
            let (frame, rest) = frames.split_at(length);
            self.session.seal(frame, &mut sealed).unwrap();
            frames = rest;
        }
        sealed
    }

    /// Says a frame of any type.
    pub(crate) async fn say_any(&mut self, extension: u16, channel: bool, msg_type: u8, payload: &[u8]) {
        let header = Header::new(
            extension,
            channel,
            msg_type,
            u32::try_from(payload.len()).unwrap(),
        );
        self.say_frames(&[&header.encode(), payload].concat()).await;
    }

    /// Seals a frame and lets only its first bytes go.
    pub(crate) async fn say_start(&mut self, frame: &[u8], bytes: usize) {
        let mut sealed = Vec::new();
        self.session.seal(frame, &mut sealed).unwrap();
        self.say_bytes(&sealed[..bytes]).await;
    }

    /// Puts bytes on the wire as they are.
    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        // An error is heard as the end.
        let _ = timeout(SOON, self.stream.write_all(bytes))
            .await
            .expect("the pool reads");
    }

    /// The next thing the pool says.
    pub(crate) async fn hear(&mut self) -> Heard {
        timeout(SOON, self.listen())
            .await
            .expect("the pool says something or hangs up")
    }

    /// The next message of job declaration.
    pub(crate) async fn hear_declare(&mut self) -> declare::ToClient {
        match self.hear().await {
            Heard::Declare(message) => message,
            other => panic!("expected a message of job declaration, heard {other:?}"),
        }
    }

    /// The next message of job distribution.
    pub(crate) async fn hear_distribute(&mut self) -> distribute::ToClient {
        match self.hear().await {
            Heard::Distribute(message) => message,
            other => panic!("expected a message of job distribution, heard {other:?}"),
        }
    }

    /// The next mining message.
    pub(crate) async fn hear_mining(&mut self) -> ToClient {
        match self.hear().await {
            Heard::Mining(message) => message,
            other => panic!("expected a mining message, heard {other:?}"),
        }
    }

    /// Listens until the pool hangs up; gives what it said until then.
    pub(crate) async fn hear_all(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            match self.hear().await {
                Heard::End => return heard,
                other => heard.push(other),
            }
        }
    }

    /// Without a deadline. Cancel safe.
    pub(crate) async fn listen(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.next_frame() {
                return heard;
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Heard::End,
            }
        }
    }

    fn next_frame(&mut self) -> Option<Heard> {
        if self.received.is_empty() {
            return None;
        }
        let fed = self
            .session
            .feed(&mut self.received, |_| 8 << 20)
            .expect("the pool's records are whole");
        let Feed::Frame {
            used,
            header,
            payload,
        } = fed
        else {
            return None;
        };
        let heard = match common::ToClient::decode(&header, payload) {
            Ok(message) => Heard::Common(message),
            Err(_) if header.extension() == 1 => {
                let answer = negotiation::ToClient::decode(&header, payload);
                Heard::Extension(answer.expect("a message of extension 0x0001"))
            }
            Err(_) => match ToClient::decode(&header, payload) {
                Ok(message) => Heard::Mining(message),
                Err(_) => match declare::ToClient::decode(&header, payload) {
                    Ok(message) => Heard::Declare(message),
                    Err(_) => match distribute::ToClient::decode(&header, payload) {
                        Ok(message) => Heard::Distribute(message),
                        Err(_) => {
                            let message = template::ToClient::decode(&header, payload);
                            Heard::Template(message.expect("a message of the spec"))
                        }
                    },
                },
            },
        };
        self.received.drain(..used);
        Some(heard)
    }
}

impl Heard {
    pub(crate) fn common(self) -> common::ToClient {
        match self {
            Self::Common(message) => message,
            other => panic!("expected a common message, heard {other:?}"),
        }
    }
}
