//! Pairs of sessions and frames for the scenarios.
#![allow(dead_code, reason = "every scenario file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

use adit_noise::{Authority, AuthorityKeypair, Feed, Header, Initiator, ServerIdentity, Session, Trust};

/// What all clocks say unless a test is about clocks.
pub(crate) const NOW: u64 = 1_700_000_000;

/// An operator with certificates of one day.
pub(crate) fn authority() -> Authority {
    Authority::new(AuthorityKeypair::from_secret([0x44; 32]).unwrap(), 86_400)
}

/// A server of that operator.
pub(crate) fn identity() -> ServerIdentity {
    ServerIdentity::issued_by(&authority(), [0x33; 32], NOW, [0; 32]).unwrap()
}

/// A client that knows the operator.
pub(crate) fn trust() -> Trust {
    Trust::Authority(authority().public())
}

/// Both ends of a finished handshake: initiator, responder.
pub(crate) fn sessions() -> (Session, Session) {
    let (initiator, act1) = Initiator::new([0x11; 32]).unwrap();
    let (act2, server) = adit_noise::respond(&identity(), &act1, [0x22; 32]).unwrap();
    let client = initiator.finish(&act2, &trust(), NOW).unwrap();
    (client, server)
}

/// A plain frame whose payload is `length` bytes that tell where they stand.
pub(crate) fn frame(msg_type: u8, length: usize) -> Vec<u8> {
    let mut frame = Header::new(0, false, msg_type, length as u32).encode().to_vec();
    frame.extend((0..length).map(|at| ((at * 31) >> 3) as u8 ^ msg_type));
    frame
}

/// The records of some frames, one after the other.
pub(crate) fn sealed(session: &mut Session, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        session.seal(frame, &mut out).unwrap();
    }
    out
}

/// Any length goes.
pub(crate) fn any(_: &Header) -> u32 {
    u32::MAX
}

/// The plain frame at the start of `bytes`, which holds it whole.
pub(crate) fn opened(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match session.feed(&mut bytes, any).unwrap() {
        Feed::Frame { header, payload, .. } => [&header.encode(), payload].concat(),
        need => panic!("{need:?}"),
    }
}

/// The operator, its server and its client in the 2022 draft, and how two of them meet.
pub(crate) mod draft {
    use adit_noise::Session;
    use adit_noise::draft2022::{
        Aeads, Answering, Authority, AuthorityKeypair, Awaiting, Initiator, Responder, ServerIdentity, Terms,
        Trust,
    };

    use super::NOW;

    /// An operator with certificates of one day.
    pub(crate) fn authority() -> Authority {
        Authority::new(AuthorityKeypair::from_secret([0x44; 32]).unwrap(), 86_400)
    }

    /// A server of that operator.
    pub(crate) fn identity() -> ServerIdentity {
        ServerIdentity::issued_by(&authority(), [0x33; 32], NOW).unwrap()
    }

    /// A client that knows the operator.
    pub(crate) fn trust() -> Trust {
        Trust::Authority(authority().public())
    }

    /// Both after the negotiation, and act 1.
    pub(crate) fn negotiated(offer: Aeads, terms: Terms) -> (Awaiting, Answering, Vec<u8>) {
        let (initiator, offer) = Initiator::new(offer, [0x11; 32]).unwrap();
        let (answering, choice) = Responder::new(terms).answer(&offer).unwrap();
        let (awaiting, act1) = initiator.chosen(&choice).unwrap();
        (awaiting, answering, act1)
    }

    /// Both ends of a finished handshake: initiator, responder.
    pub(crate) fn sessions(offer: Aeads) -> (Session, Session) {
        let (awaiting, answering, act1) = negotiated(offer, Terms::default());
        let (act2, server) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
        (awaiting.finish(&act2, &trust(), NOW).unwrap(), server)
    }
}

/// Both ends of a finished handshake of any suite.
pub(crate) fn sessions_of(suite: adit_noise::Suite) -> (Session, Session) {
    use adit_noise::Suite;
    match suite {
        Suite::Current => sessions(),
        Suite::Draft2022(aead) => draft::sessions(adit_noise::draft2022::Aeads::only(aead)),
        Suite::Plain => (Session::plain(), Session::plain()),
    }
}

/// Reads a stream cut at these lengths (again and again) through one buffer, as a connection does.
pub(crate) fn read(session: &mut Session, stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (mut frames, mut buffer, mut rest) = (Vec::new(), Vec::new(), stream);
    for cut in cuts.iter().cycle() {
        let mut start = 0;
        loop {
            match session.feed(&mut buffer[start..], any).unwrap() {
                Feed::Need(bytes) => {
                    assert!(bytes > buffer.len() - start, "what is there was not enough");
                    break;
                }
                Feed::Frame {
                    used,
                    header,
                    payload,
                } => {
                    frames.push([&header.encode(), payload].concat());
                    start += used;
                }
            }
        }
        buffer.drain(..start);
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*cut).min(rest.len()));
        buffer.extend_from_slice(now);
        rest = later;
    }
    assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
    frames
}
