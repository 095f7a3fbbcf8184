//! Frames over an unprotected socket: a device or an upstream that says what it is told to.

use adit_net::Url;
use adit_wire::common::{SetupConnectionSuccess, flags};
use adit_wire::{Header, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::support::SOON;
use super::support::peer;

/// Keys of a proxy whose neighbours are plain.
pub(crate) const PLAIN: [(&str, &str); 2] =
    [("upstream.keyless", "plain"), ("security.plaintext", "loopback")];

/// One end of a plain connection.
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub(crate) async fn say(&mut self, message: &impl Message) {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        self.say_bytes(&frame).await;
    }

    pub(crate) async fn say_any(&mut self, header: &Header, payload: &[u8]) {
        self.say_bytes(&[&header.encode()[..], payload].concat()).await;
    }

    async fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn hear(&mut self) -> Option<(Header, Vec<u8>)> {
        let heard = async {
            let mut head = [0; Header::LEN];
            self.stream.read_exact(&mut head).await.ok()?;
            let header = Header::parse(head);
            let mut payload = vec![0; header.msg_length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some((header, payload))
        };
        timeout(SOON, heard).await.expect("something is said, or the end")
    }

    /// The next frame, which must be this message.
    pub(crate) async fn expect<M: Message>(&mut self) -> M {
        let (header, payload) = self.hear().await.expect(M::NAME);
        assert_eq!(
            (header.extension(), header.msg_type),
            (M::EXTENSION, M::TYPE),
            "{}",
            M::NAME
        );
        M::decode(&payload).unwrap()
    }

    /// A device that is set up. Its setup is answered when the upstream's is.
    pub(crate) async fn device(url: &Url, flags: u32) -> Self {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self { stream };
        wire.say(&peer::setup(flags)).await;
        wire
    }
}

/// An upstream that does nothing by itself.
pub(crate) struct Stage {
    listener: TcpListener,
}

impl Stage {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self { listener }
    }

    pub(crate) fn url(&self) -> Url {
        Url {
            host: "127.0.0.1".into(),
            port: self.listener.local_addr().unwrap().port(),
            key: None,
        }
    }

    /// The next connection, with its SetupConnection answered; and what flags it had.
    pub(crate) async fn accept(&self, success_flags: u32) -> (Wire, u32) {
        let accepted = timeout(SOON, self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection").unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Wire { stream };
        let setup = wire.expect::<adit_wire::common::SetupConnection>().await;
        assert_eq!(setup.flags & !flags::REQUIRES_STANDARD_JOBS & !0b110, 0);
        wire.say(&SetupConnectionSuccess {
            used_version: 2,
            flags: success_flags,
        })
        .await;
        (wire, setup.flags)
    }
}
