//! Handshakes of both suites, up to the certificate and no further than it is believed.

use std::rc::Rc;

use adit_net::random;
use adit_noise::draft2022::{self, Aeads, LENGTH_BYTES};
use adit_noise::{ACT2_BYTES, Aead, AuthorityKey, HandshakeError, Initiator, Session, Trust};

use super::ground::Ground;
use super::peer::{Got, Line};
use super::verdict::Miss;

/// A server that has shown its certificate and is not yet believed.
pub(super) enum Examined {
    Current(Box<adit_noise::Examined>),
    Draft(Box<draft2022::Examined>),
}

/// What it has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) version: u16,
    pub(super) valid_from: u32,
    pub(super) not_valid_after: u32,
    pub(super) server_key: [u8; 32],
}

impl Examined {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::Current(it) => Shown {
                version: it.certificate().version(),
                valid_from: it.certificate().valid_from(),
                not_valid_after: it.certificate().not_valid_after(),
                server_key: it.server_key(),
            },
            Self::Draft(it) => Shown {
                version: it.certificate().version(),
                valid_from: it.certificate().valid_from(),
                not_valid_after: it.certificate().not_valid_after(),
                server_key: it.server_key(),
            },
        }
    }

    /// A session, if the server is believed. A key of the other suite vouches for nobody.
    pub(super) fn believe(self, ground: &Ground) -> Result<Session, HandshakeError> {
        let now = ground.clock.unix_s();
        match (self, ground.authority()) {
            (Self::Current(it), None) => it.believe(&Trust::AnyKey, now),
            (Self::Draft(it), None) => it.believe(&Trust::AnyKey, now),
            (Self::Current(it), Some(AuthorityKey::Current(key))) => it.believe(&Trust::Authority(key), now),
            (Self::Draft(it), Some(AuthorityKey::Draft2022(key))) => it.believe(&Trust::Authority(key), now),
            _ => Err(HandshakeError::Authentication),
        }
    }
}

/// Where a handshake led.
pub(super) enum Shaken {
    /// Act 2 authenticates.
    Hands(Examined, Line),
    /// The server did not answer, or not in this language: what it said, and how it ended.
    Not(Vec<u8>, Got),
    /// It answered with bytes that do not authenticate.
    Wrong(Vec<u8>),
}

/// The handshake that the URL's key asks for; the current one without a key.
pub(super) fn shake(ground: &Rc<Ground>) -> Result<Shaken, Miss> {
    match ground.authority() {
        Some(AuthorityKey::Draft2022(_)) => draft(ground, Aeads::default()),
        None | Some(AuthorityKey::Current(_)) => current(ground),
    }
}

/// Spec 4.5.
pub(super) fn current(ground: &Rc<Ground>) -> Result<Shaken, Miss> {
    let mut line = Line::connect(ground)?;
    let (initiator, act1) = Initiator::new(random::bytes()).map_err(ours)?;
    line.say(&act1)?;
    let (bytes, last) = line.hear_exactly(ACT2_BYTES)?;
    let Some(act2) = bytes.first_chunk::<ACT2_BYTES>() else {
        return Ok(Shaken::Not(bytes, last));
    };
    let leeway_s = ground.settings.clock_leeway_s;
    Ok(match initiator.with_leeway(leeway_s).examine(act2) {
        Ok(it) => Shaken::Hands(Examined::Current(Box::new(it)), line),
        Err(_) => Shaken::Wrong(bytes),
    })
}

/// Seeds 3.3.3, offering these algorithms.
pub(super) fn draft(ground: &Rc<Ground>, offer: Aeads) -> Result<Shaken, Miss> {
    let mut line = Line::connect(ground)?;
    let (initiator, frame) = draft2022::Initiator::new(offer, random::bytes()).map_err(ours)?;
    line.say(&frame)?;
    let choice = match framed(&mut line, |head| initiator.frame_bytes(head))? {
        Ok(choice) => choice,
        Err((bytes, last)) => return Ok(Shaken::Not(bytes, last)),
    };
    let (awaiting, act1) = match initiator.chosen(&choice) {
        Ok(next) => next,
        Err(_) => return Ok(Shaken::Wrong(choice)),
    };
    line.say(&act1)?;
    let awaiting = awaiting.with_leeway(ground.settings.clock_leeway_s);
    let act2 = match framed(&mut line, |head| awaiting.frame_bytes(head))? {
        Ok(act2) => act2,
        Err((bytes, last)) => return Ok(Shaken::Not(bytes, last)),
    };
    Ok(match awaiting.examine(&act2) {
        Ok(it) => Shaken::Hands(Examined::Draft(Box::new(it)), line),
        Err(_) => Shaken::Wrong(act2),
    })
}

/// Offers an algorithm that nobody has defined, and gives what comes within the time of an answer.
pub(super) fn draft_with_unknown_code(ground: &Rc<Ground>) -> Result<Got, Miss> {
    let mut line = Line::connect(ground)?;
    let body = [&draft2022::MAGIC[..], &[1], b"NONE"].concat();
    let length = u16::try_from(body.len()).unwrap_or(0);
    line.say(&[&length.to_le_bytes()[..], &body].concat())?;
    line.hear(ground.settings.answer())
}

/// The name of the suite with this algorithm.
pub(super) const fn draft_name(aead: Aead) -> &'static str {
    match aead {
        Aead::ChaChaPoly => "Noise_NX_25519_ChaChaPoly_BLAKE2s",
        Aead::AesGcm => "Noise_NX_25519_AESGCM_BLAKE2s",
    }
}

/// A whole frame; or what came instead, and how it ended.
type Framed = Result<Vec<u8>, (Vec<u8>, Got)>;

/// A frame behind its length; or what came instead, and how it ended.
fn framed(
    line: &mut Line,
    whole: impl FnOnce([u8; LENGTH_BYTES]) -> Result<usize, HandshakeError>,
) -> Result<Framed, Miss> {
    let (mut bytes, last) = line.hear_exactly(LENGTH_BYTES)?;
    let Some(length) = bytes
        .first_chunk::<LENGTH_BYTES>()
        .and_then(|head| whole(*head).ok())
    else {
        return Ok(Err((bytes, last)));
    };
    let (rest, last) = line.hear_exactly(length.saturating_sub(LENGTH_BYTES))?;
    bytes.extend_from_slice(&rest);
    Ok(if bytes.len() == length {
        Ok(bytes)
    } else {
        Err((bytes, last))
    })
}

fn ours(error: HandshakeError) -> Miss {
    Miss::skip(format!("our handshake: {error}"))
}
