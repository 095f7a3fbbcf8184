//! The checks, by chapter. Each is a function from the probe to what was seen; [`table`](super::table) lists them.

pub(super) mod capture;
pub(super) mod channels;
pub(super) mod declaration;
pub(super) mod extensions;
pub(super) mod framing;
pub(super) mod jobs;
pub(super) mod security;
pub(super) mod setup;
pub(super) mod shares;
pub(super) mod templates;
pub(super) mod updates;

use adit_wire::common::{flags, protocol};
use adit_wire::mining::ToClient;

use super::Probe;
use super::frame::{Frame, Message, names};
use super::miner::Miner;
use super::peer::{Heard, Peer};
use super::scene::{EXTENDED, STANDARD, Scene};
use super::verdict::{Miss, Outcome};

impl Probe {
    /// The sub-protocol that most is asked about.
    fn main(&self) -> Result<u8, Miss> {
        self.survey
            .main
            .ok_or_else(|| Miss::skip("no SetupConnection was answered with Success"))
    }

    /// Skips what only a mining server can be asked.
    fn mining(&self) -> Result<(), Miss> {
        if self.survey.serves(protocol::MINING) {
            return Ok(());
        }
        Err(Miss::skip("mining is not served here"))
    }

    /// A connection of the main sub-protocol.
    fn join(&self) -> Result<Peer, Miss> {
        Peer::join(&self.ground, self.main()?, 0).map(|(peer, _)| peer)
    }

    /// A miner with a standard channel where the server gives one, else with an extended one.
    fn miner(&self) -> Result<Miner, Miss> {
        self.mining()?;
        match &self.survey.header_only {
            Ok(scene) if !scene.opened().is_empty() => self.standard(),
            _ => self.extended(),
        }
    }

    /// A header-only miner with a standard channel.
    fn standard(&self) -> Result<Miner, Miss> {
        self.mining()?;
        Miner::start(&self.ground, flags::REQUIRES_STANDARD_JOBS, STANDARD)
    }

    /// A miner with an extended channel.
    fn extended(&self) -> Result<Miner, Miss> {
        self.mining()?;
        Miner::start(&self.ground, 0, EXTENDED)
    }

    fn grouped(&self) -> Result<&Scene, Miss> {
        self.survey.grouped.as_ref().map_err(Clone::clone)
    }

    fn header_only(&self) -> Result<&Scene, Miss> {
        self.survey.header_only.as_ref().map_err(Clone::clone)
    }

    fn rolling(&self) -> Result<&Scene, Miss> {
        self.survey.rolling.as_ref().map_err(Clone::clone)
    }
}

/// What was sent before has to have been ignored: the barrier is answered, and nothing but work came before it.
fn ignored(barrier: Result<Vec<Frame>, Heard>) -> Outcome {
    let others = barrier.map_err(|heard| {
        Miss::fail(
            "no answer, and the connection goes on",
            format!("the next request gets: {}", heard.text()),
        )
        .with(&heard.bytes())
    })?;
    match others.iter().find(|frame| !is_work(frame)) {
        None => Ok("ignored; the next request is answered".to_owned()),
        Some(reply) => Err(Miss::fail("no answer", names(&others)).with(&reply.bytes())),
    }
}

/// Whether a server sends this unasked while it serves a channel.
fn is_work(frame: &Frame) -> bool {
    use adit_wire::template::ToClient as Template;
    matches!(
        frame.message(),
        Ok(Message::Mining(
            ToClient::NewMiningJob(_)
                | ToClient::NewExtendedMiningJob(_)
                | ToClient::SetNewPrevHash(_)
                | ToClient::SetTarget(_)
                | ToClient::SetExtranoncePrefix(_)
                | ToClient::SetGroupChannel(_)
                | ToClient::SubmitSharesSuccess(_)
        ) | Message::Template(Template::NewTemplate(_) | Template::SetNewPrevHash(_)))
    )
}
