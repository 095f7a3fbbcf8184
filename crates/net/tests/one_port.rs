//! One port over real loopback sockets: who comes in, who does not, and that nobody else notices.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it should be"
)]

use std::net::SocketAddr;
use std::time::Duration;

use adit_net::{
    Clock, DialError, Dialling, Identities, Keyless, Limits, Link, LinkError, Listener, Plaintext, Rules,
    Url, dial_with,
};
use adit_noise::draft2022::{self, Aeads, SignatureForm, Terms};
use adit_noise::{
    Aead, Authority, AuthorityKey, AuthorityKeypair, CertificateError, HandshakeError, ServerIdentity, Suite,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_secs(20);

/// A listener with the identities of both suites, and the URLs that lead to it.
struct Port {
    listener: Listener,
    identities: Identities,
    current: Url,
    draft: Url,
    clock: Clock,
}

impl Port {
    fn new() -> Self {
        Self::issued_at(Clock::system().unix_s())
    }

    fn issued_at(now: u64) -> Self {
        let authority = Authority::new(AuthorityKeypair::from_secret([7; 32]).unwrap(), 86_400);
        let old = draft2022::AuthorityKeypair::from_secret([7; 32]).unwrap();
        let old = draft2022::Authority::new(old, 86_400);
        let limits = Limits {
            connections_max: 100,
            connections_per_address_max: 100,
        };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), limits).unwrap();
        let url = |key| Url {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            key,
        };
        let current = url(Some(authority.public().into()));
        let draft = url(Some(old.public().into()));
        Self {
            identities: Identities {
                current: ServerIdentity::issued_by(&authority, [3; 32], now, [0; 32]).unwrap(),
                draft2022: draft2022::ServerIdentity::issued_by(&old, [3; 32], now).unwrap(),
            },
            clock: Clock::system(),
            listener,
            current,
            draft,
        }
    }

    async fn accept(&self, rules: Rules) -> Result<Link, LinkError> {
        self.accept_within(rules, PATIENCE).await
    }

    async fn accept_within(&self, rules: Rules, timeout: Duration) -> Result<Link, LinkError> {
        let (stream, _, _permit) = self.listener.accept().await;
        Link::accept(stream, &self.identities, &rules, timeout, &Semaphore::new(1)).await
    }

    async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.listener.local_addr().unwrap())
            .await
            .unwrap()
    }

    /// Both ends, one dialling by this URL.
    async fn meet(
        &self,
        url: &Url,
        dialling: Dialling,
        rules: Rules,
    ) -> (Result<Link, DialError>, Result<Link, LinkError>) {
        within(async { tokio::join!(dial_with(url, &self.clock, &dialling), self.accept(rules)) }).await
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("done in time")
}

fn rules(terms: Terms) -> Rules {
    Rules {
        draft2022: Some(terms),
        ..Rules::default()
    }
}

/// REQ-SEC-005, REQ-SEC-007, REQ-SEC-024: the URL's key chooses the suite, the server the algorithm.
#[tokio::test]
async fn the_key_in_the_url_chooses_the_suite() {
    let port = Port::new();
    let (dialled, accepted) = port
        .meet(&port.current, Dialling::default(), Rules::default())
        .await;
    assert_eq!(
        (dialled.unwrap().suite(), accepted.unwrap().suite()),
        (Suite::Current, Suite::Current)
    );
    for (aeads, aead) in [
        (Aeads::default(), Aead::ChaChaPoly),
        (Aeads::preferring(Aead::AesGcm), Aead::AesGcm),
        (Aeads::only(Aead::AesGcm), Aead::AesGcm),
    ] {
        for signature in [SignatureForm::Raw, SignatureForm::Prefixed] {
            let rules = rules(Terms { aeads, signature });
            let (dialled, accepted) = port.meet(&port.draft, Dialling::default(), rules).await;
            let suite = Suite::Draft2022(aead);
            assert_eq!(
                (dialled.unwrap().suite(), accepted.unwrap().suite()),
                (suite, suite)
            );
        }
    }
}

/// REQ-SEC-015, REQ-COM-036: the other suite's key, or another operator's, is not believed.
#[tokio::test]
async fn another_authority_is_refused() {
    let port = Port::new();
    let other = draft2022::AuthorityKeypair::from_secret([8; 32])
        .unwrap()
        .public();
    let url = Url {
        key: Some(AuthorityKey::Draft2022(other)),
        ..port.draft.clone()
    };
    let (dialled, _) = port.meet(&url, Dialling::default(), Rules::default()).await;
    let error = dialled.unwrap_err();
    let expected = HandshakeError::Certificate(CertificateError::Signature);
    assert!(
        matches!(&error, DialError::Link(LinkError::Handshake(found)) if *found == expected),
        "{error}"
    );
}

/// REQ-SEC-017: over either suite, a clock that is off is named with how far it is off.
#[tokio::test]
async fn a_clock_that_is_off_is_named() {
    let port = Port::issued_at(Clock::system().unix_s() + 100_000);
    for url in [&port.current, &port.draft] {
        let (dialled, _) = port.meet(url, Dialling::default(), Rules::default()).await;
        let error = dialled.unwrap_err().to_string();
        assert!(error.contains("s before: check the clock"), "{error}");
    }
    let dialling = Dialling {
        leeway_s: 200_000,
        ..Dialling::default()
    };
    let (dialled, _) = port.meet(&port.draft, dialling, Rules::default()).await;
    assert!(dialled.is_ok());
}

/// REQ-SEC-001, REQ-SEC-004: without a key only by name, and in the clear only where the server allows it.
#[tokio::test]
async fn without_a_key_only_by_name() {
    let port = Port::new();
    let url = Url {
        key: None,
        ..port.current.clone()
    };
    let by = |keyless| Dialling {
        keyless,
        ..Dialling::default()
    };
    let open = Rules {
        plaintext: Plaintext::Loopback,
        ..Rules::default()
    };
    for suite in [Suite::Current, Suite::Draft2022(Aead::ChaChaPoly)] {
        let (dialled, accepted) = port
            .meet(&url, by(Keyless::AnyKey(suite)), Rules::default())
            .await;
        assert_eq!(
            (dialled.unwrap().suite(), accepted.unwrap().suite()),
            (suite, suite)
        );
    }
    for (rules, in_the_clear) in [(Rules::default(), false), (open, true)] {
        let client = async {
            let mut raw = port.raw().await;
            raw.write_all(&[0, 0, 0, 22, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0])
                .await
                .unwrap();
            // A server that takes it waits for the rest of the frame; the other hangs up without a byte.
            raw
        };
        let (mut raw, accepted) = within(async { tokio::join!(client, port.accept(rules)) }).await;
        match accepted {
            Ok(link) => assert!(in_the_clear && link.suite() == Suite::Plain),
            Err(error) => {
                assert!(
                    !in_the_clear && matches!(error, LinkError::PlaintextRefused),
                    "{error}"
                );
                let mut byte = [0];
                assert_eq!(
                    within(raw.read(&mut byte)).await.unwrap_or(0),
                    0,
                    "closed without a byte"
                );
            }
        }
    }
}

/// REQ-SEC-008: an offer of strangers is closed without an answer, and so is the draft where it is switched off.
#[tokio::test]
async fn no_common_algorithm_closes() {
    let port = Port::new();
    let off = Rules {
        draft2022: None,
        ..Rules::default()
    };
    for (offer, rules) in [
        (b"\x09\0STR3\x01XXXX".as_slice(), Rules::default()),
        (
            b"\x09\0STR3\x01AESG",
            rules(Terms {
                aeads: Aeads::only(Aead::ChaChaPoly),
                ..Terms::default()
            }),
        ),
        (b"\x09\0STR3\x01CHCH", off),
    ] {
        let client = async {
            let mut raw = port.raw().await;
            raw.write_all(offer).await.unwrap();
            let mut byte = [0];
            raw.read(&mut byte).await.unwrap_or(0)
        };
        let (read, accepted) = within(async { tokio::join!(client, port.accept(rules)) }).await;
        assert_eq!(read, 0, "no answer");
        let error = accepted.unwrap_err();
        let expected = matches!(
            error,
            LinkError::Handshake(HandshakeError::NoCommonAlgorithm) | LinkError::Draft2022Off
        );
        assert!(expected, "{error}");
    }
}

/// C-90: peers without negotiation come in where that is switched on, and nowhere else.
#[tokio::test]
async fn the_fallback_is_for_those_who_ask_for_it() {
    let port = Port::new();
    let dialling = Dialling {
        negotiate: false,
        timeout: Duration::from_secs(2),
        ..Dialling::default()
    };
    let on = Rules {
        draft2022_fallback: true,
        ..Rules::default()
    };
    let (dialled, accepted) = port.meet(&port.draft, dialling, on).await;
    let suite = Suite::Draft2022(Aead::ChaChaPoly);
    assert_eq!(
        (dialled.unwrap().suite(), accepted.unwrap().suite()),
        (suite, suite)
    );
    let client = dial_with(&port.draft, &port.clock, &dialling);
    let server = port.accept_within(Rules::default(), Duration::from_millis(700));
    let (dialled, accepted) = within(async { tokio::join!(client, server) }).await;
    assert!(dialled.is_err());
    assert!(matches!(accepted, Err(LinkError::Timeout)));
}

/// REQ-SEC-033: with the fallback on, a current key that begins like an older act 1 is a key all the same.
#[tokio::test]
async fn a_key_that_begins_like_the_fallback_is_a_key() {
    let port = Port::new();
    let on = Rules {
        draft2022_fallback: true,
        ..Rules::default()
    };
    let client = async {
        let mut raw = port.raw().await;
        let mut key = [9; 64];
        (key[0], key[1]) = (32, 0);
        raw.write_all(&key).await.unwrap();
        let mut act2 = [0; 234];
        raw.read_exact(&mut act2).await.map(drop)
    };
    let (answered, accepted) = within(async { tokio::join!(client, port.accept(on)) }).await;
    assert!(answered.is_ok());
    assert_eq!(accepted.unwrap().suite(), Suite::Current);
}

/// REQ-SEC-011, REQ-SEC-033: byte by byte, each handshake is still what it is.
#[tokio::test]
async fn bytes_may_trickle() {
    let port = Port::new();
    let slowly = async |raw: &mut TcpStream, bytes: &[u8]| {
        raw.set_nodelay(true).unwrap();
        for byte in bytes {
            raw.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let client = async {
        let mut raw = port.raw().await;
        let (initiator, offer) = draft2022::Initiator::new(Aeads::default(), [5; 32]).unwrap();
        slowly(&mut raw, &offer).await;
        let mut choice = [0; draft2022::CHOICE_FRAME_BYTES];
        raw.read_exact(&mut choice).await.unwrap();
        let (awaiting, act1) = initiator.chosen(&choice).unwrap();
        slowly(&mut raw, &act1).await;
        let mut act2 = [0; 172];
        raw.read_exact(&mut act2).await.unwrap();
        let Some(AuthorityKey::Draft2022(key)) = port.draft.key else {
            panic!("a key of the draft")
        };
        let trust = draft2022::Trust::Authority(key);
        awaiting.finish(&act2, &trust, port.clock.unix_s()).unwrap()
    };
    let (session, accepted) = within(async { tokio::join!(client, port.accept(Rules::default())) }).await;
    assert_eq!(session.suite(), accepted.unwrap().suite());
    let client = async {
        let mut raw = port.raw().await;
        slowly(&mut raw, &[0xa5; 64]).await;
        let mut act2 = [0; 234];
        raw.read_exact(&mut act2).await.map(drop)
    };
    let (answered, accepted) = within(async { tokio::join!(client, port.accept(Rules::default())) }).await;
    assert!(answered.is_ok() && accepted.is_ok());
}

/// REQ-SEC-037: the deadline holds before anybody knows who is calling, and in the middle of each handshake.
#[tokio::test]
async fn the_deadline_holds_from_the_first_byte_on() {
    let port = Port::new();
    let act1 = [[32, 0].as_slice(), &[9; 20]].concat();
    for start in [
        b"".as_slice(),
        b"\0",
        b"\0\0\0\x10",
        b"{\"id\":1,",
        b"\x0d\0STR3",
        b"\x0d\0STR3\x02CHCHAE",
        &[0xa5; 63],
        &act1,
        b"\x09\0STR3\x01CHCH\x20\0abc",
    ] {
        let mut raw = port.raw().await;
        raw.write_all(start).await.unwrap();
        let accepted = within(port.accept_within(Rules::default(), Duration::from_millis(40))).await;
        let error = accepted.unwrap_err();
        assert!(matches!(error, LinkError::Timeout), "{start:?}: {error}");
    }
}

/// A Stratum V1 miner is told so in its own words, with its id, and sees the end of the line.
#[tokio::test]
async fn stratum_v1_is_refused_politely() {
    let port = Port::new();
    for (line, id) in [
        (
            "{\"id\": 7, \"method\": \"mining.subscribe\", \"params\": []}\n".to_owned(),
            "\"id\":7,",
        ),
        (
            format!(
                "{{\"params\":[\"{}\"],\"id\":8,\"method\":\"mining.subscribe\"}}\n",
                "a".repeat(200)
            ),
            "\"id\":8,",
        ),
    ] {
        let client = async {
            let mut raw = port.raw().await;
            raw.write_all(line.as_bytes()).await.unwrap();
            let mut answer = String::new();
            raw.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (answer, accepted) = within(async { tokio::join!(client, port.accept(Rules::default())) }).await;
        assert!(matches!(accepted, Err(LinkError::StratumV1)));
        assert!(answer.contains(id) && answer.ends_with('\n'), "{answer}");
        assert!(answer.contains("speaks Stratum V2"), "{answer}");
    }
}
