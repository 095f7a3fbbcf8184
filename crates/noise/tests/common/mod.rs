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
