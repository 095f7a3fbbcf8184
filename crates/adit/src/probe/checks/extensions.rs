//! EXT: unknown extensions, negotiation (0x0001) and worker names (0x0002).

use adit_wire::extension::WORKER_HASH_RATE;
use adit_wire::negotiation::ToClient;

use super::super::Probe;
use super::super::miner::{Fate, Miner, plain};
use super::super::peer::{Heard, Peer};
use super::super::scene::EXTENDED;
use super::super::survey::{Asked, UNKNOWN_EXTENSION, request_extensions};
use super::super::verdict::{Miss, Outcome};
use super::ignored;

/// Longest name of a worker, and a byte more.
const NAME_TOO_LONG: usize = 33;

/// One that nobody knows, without the channel bit.
pub(in crate::probe) fn unknown_discarded(probe: &Probe) -> Outcome {
    let mut peer = probe.join()?;
    peer.say_any(UNKNOWN_EXTENSION, false, 0x00, &[0xa5; 12])?;
    peer.say_any(0x3abc, false, 0x42, &[0xa5; 12])?;
    ignored(peer.barrier()?)
}

/// The same for a channel of ours, which ends at the server.
pub(in crate::probe) fn unknown_channel_discarded(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    for id in [miner.channel, u32::MAX - 1] {
        let payload = [&id.to_le_bytes()[..], &[0xa5; 8]].concat();
        miner.peer.say_any(UNKNOWN_EXTENSION, true, 0x01, &payload)?;
    }
    ignored(miner.peer.barrier()?)
}

impl Probe {
    fn asked(&self, at: usize) -> Result<&Asked, Miss> {
        self.mining()?;
        let asked = self.survey.extensions.get(at);
        asked.ok_or_else(|| Miss::skip("it could not be asked"))
    }

    /// The answer to a request of the survey; silence is support of no extension (E1 4.3).
    fn negotiated(&self, at: usize) -> Result<(&Asked, &ToClient), Miss> {
        let asked = self.asked(at)?;
        match &asked.heard {
            Ok((answer, _)) => Ok((asked, answer)),
            Err(Heard::Silence) => Err(Miss::skip("the server negotiates no extensions")),
            Err(heard) => Err(Miss::fail(
                "an answer to RequestExtensions, or silence",
                heard.text(),
            )),
        }
    }

    /// A connection on which workers are named.
    fn with_workers(&self) -> Result<Miner, Miss> {
        let (_, answer) = self.negotiated(0)?;
        let granted = matches!(answer, ToClient::RequestExtensionsSuccess(it) if it.supported_extensions.contains(&WORKER_HASH_RATE));
        if !granted {
            return Err(Miss::skip("extension 0x0002 is not supported"));
        }
        let (mut peer, success) = Peer::join(&self.ground, 0, 0)?;
        let (heard, _) = request_extensions(&mut peer, 1, &[WORKER_HASH_RATE])?;
        if !matches!(heard, Ok((ToClient::RequestExtensionsSuccess(_), _))) {
            return Err(Miss::skip("extension 0x0002 alone is not granted"));
        }
        Miner::on(peer, success.flags, EXTENDED)
    }
}

/// RequestExtensions is answered, or not known and ignored.
pub(in crate::probe) fn request_ignored_or_answered(probe: &Probe) -> Outcome {
    let asked = probe.asked(0)?;
    match &asked.heard {
        Ok((_, frame)) => Ok(frame.name()),
        Err(Heard::Silence) => Ok("not answered: the server negotiates no extensions".to_owned()),
        Err(heard) => Err(Miss::fail("an answer, or silence", heard.text()).with(&heard.bytes())),
    }
}

/// Success names the part of the request that is supported, with its id.
pub(in crate::probe) fn supported_subset(probe: &Probe) -> Outcome {
    let (asked, answer) = probe.negotiated(0)?;
    let ToClient::RequestExtensionsSuccess(success) = answer else {
        return Err(Miss::skip("extension 0x0002 is not supported"));
    };
    let listed = success.supported_extensions.to_vec();
    let strange = listed.iter().find(|id| !asked.wanted.contains(id));
    if success.request_id != asked.request_id || strange.is_some() || listed.is_empty() {
        let seen = format!("id {:#06x}, supported {listed:#06x?}", success.request_id);
        return Err(Miss::fail(
            format!(
                "id {:#06x} and a part of {:#06x?}",
                asked.request_id, asked.wanted
            ),
            seen,
        ));
    }
    Ok(format!("supported: {listed:#06x?}").replace('\n', " "))
}

/// Nothing of what was asked for: Error.
pub(in crate::probe) fn none_supported(probe: &Probe) -> Outcome {
    let (asked, answer) = probe.negotiated(1)?;
    match answer {
        ToClient::RequestExtensionsError(error) if error.request_id == asked.request_id => {
            Ok(answer.name().to_owned())
        }
        _ => Err(Miss::fail(
            "RequestExtensions.Error with the request's id, as 0x4001 is not supported",
            answer.name(),
        )),
    }
}

/// TLVs that were not negotiated change nothing.
pub(in crate::probe) fn unnegotiated_tlv(probe: &Probe) -> Outcome {
    let mut miner = probe.extended()?;
    let (_, fate) = miner.good(plain, &tlv(b"worker"))?;
    accepted(&fate, "SubmitShares.Success, as without the TLV")
}

/// A worker's name is taken.
pub(in crate::probe) fn worker_named(probe: &Probe) -> Outcome {
    let mut miner = probe.with_workers()?;
    let (_, fate) = miner.good(plain, &tlv(b"worker"))?;
    accepted(&fate, "SubmitShares.Success for a share with a worker's name")
}

/// A worker's name of 33 bytes is refused.
pub(in crate::probe) fn worker_name_too_long(probe: &Probe) -> Outcome {
    let mut miner = probe.with_workers()?;
    let (_, fate) = miner.good(plain, &tlv(&[b'w'; NAME_TOO_LONG]))?;
    match &fate {
        Fate::Refused(..) | Fate::Unanswered(Heard::End) => Ok(fate.text()),
        _ => Err(Miss::fail("SubmitShares.Error", fate.text())),
    }
}

fn accepted(fate: &Fate, expected: &str) -> Outcome {
    match fate {
        Fate::Accepted(_) => Ok(fate.text()),
        Fate::Refused(_, frame) => Err(Miss::fail(expected, fate.text()).with(&frame.bytes())),
        Fate::Unanswered(Heard::Silence) => Err(Miss::skip("no verdict in time; see share.acknowledged")),
        Fate::Unanswered(_) => Err(Miss::fail(expected, fate.text())),
    }
}

/// A `user_identity` TLV of extension 0x0002 (docs/spec/messages.md 9), of any length.
fn tlv(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    [&[2, 0, 1], &length.to_le_bytes()[..], name].concat()
}
