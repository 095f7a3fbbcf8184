//! The client's side of the first moments: which handshake, and who is believed.

use adit_noise::draft2022::{self, Aeads};
use adit_noise::{ACT2_BYTES, AuthorityKey, Initiator, Session, Suite, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::link::LinkError;
use crate::{DialError, Dialling, Url, random};

/// What to do about a URL without a key. All but [`Keyless::Refuse`] hold for this machine and private networks only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keyless {
    /// No key, no connection.
    #[default]
    Refuse,
    /// Neither encryption nor authentication.
    Plain,
    /// Encryption by this suite, but whoever is in between may be the one who answers. [`Suite::Plain`] is
    /// [`Keyless::Plain`].
    AnyKey(Suite),
}

/// How a client protects a connection, and whom it believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// The current handshake.
    Current(Trust),
    /// That of the 2022 draft.
    Draft2022 {
        /// Who is believed.
        trust: draft2022::Trust,
        /// The AEADs that are offered; `None` speaks to servers that know no negotiation.
        offer: Option<Aeads>,
    },
    /// None.
    Plain,
}

impl Security {
    /// What a URL asks for: its key chooses the suite (C-93).
    ///
    /// # Errors
    /// [`DialError::NoKey`] if it has none and `dialling` does not say what then, or the host is not near.
    pub fn of(url: &Url, dialling: &Dialling) -> Result<Self, DialError> {
        let draft = |trust| Self::Draft2022 {
            trust,
            offer: dialling.negotiate.then(Aeads::default),
        };
        let local = url.is_local();
        Ok(match (url.key, dialling.keyless) {
            (Some(AuthorityKey::Current(key)), _) => Self::Current(Trust::Authority(key)),
            (Some(AuthorityKey::Draft2022(key)), _) => draft(Trust::Authority(key)),
            (None, Keyless::AnyKey(Suite::Current)) if local => Self::Current(Trust::AnyKey),
            (None, Keyless::AnyKey(Suite::Draft2022(_))) if local => draft(Trust::AnyKey),
            (None, Keyless::Plain | Keyless::AnyKey(Suite::Plain)) if local => Self::Plain,
            (None, _) => return Err(DialError::NoKey { local }),
        })
    }
}

/// Shakes hands. The caller holds the deadline.
pub(crate) async fn greet(
    stream: &mut TcpStream,
    security: &Security,
    now_unix_s: u64,
    leeway_s: u32,
) -> Result<Session, LinkError> {
    match security {
        Security::Plain => Ok(Session::plain()),
        Security::Current(trust) => {
            let (initiator, act1) = Initiator::new(random::bytes())?;
            stream.write_all(&act1).await?;
            let mut act2 = [0; ACT2_BYTES];
            stream.read_exact(&mut act2).await?;
            Ok(initiator.with_leeway(leeway_s).finish(&act2, trust, now_unix_s)?)
        }
        Security::Draft2022 { trust, offer } => {
            let (awaiting, act1) = match offer {
                Some(offer) => negotiate(stream, *offer).await?,
                None => draft2022::Initiator::without_negotiation(random::bytes())?,
            };
            stream.write_all(&act1).await?;
            let act2 = frame(stream, |head| awaiting.frame_bytes(head)).await?;
            Ok(awaiting.with_leeway(leeway_s).finish(&act2, trust, now_unix_s)?)
        }
    }
}

async fn negotiate(
    stream: &mut TcpStream,
    offer: Aeads,
) -> Result<(draft2022::Awaiting, Vec<u8>), LinkError> {
    let (initiator, offer) = draft2022::Initiator::new(offer, random::bytes())?;
    stream.write_all(&offer).await?;
    let choice = frame(stream, |head| initiator.frame_bytes(head)).await?;
    Ok(initiator.chosen(&choice)?)
}

/// One frame of the draft's handshake, whose length `fits` finds right before its body is waited for.
async fn frame(
    stream: &mut TcpStream,
    fits: impl FnOnce([u8; draft2022::LENGTH_BYTES]) -> Result<usize, adit_noise::HandshakeError>,
) -> Result<Vec<u8>, LinkError> {
    let mut head = [0; draft2022::LENGTH_BYTES];
    stream.read_exact(&mut head).await?;
    let mut frame = vec![0; fits(head)?];
    let (start, body) = frame.split_at_mut(head.len());
    start.copy_from_slice(&head);
    stream.read_exact(body).await?;
    Ok(frame)
}
