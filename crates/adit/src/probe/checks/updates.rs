//! MIN: UpdateChannel, SetTarget, CloseChannel, SetCustomMiningJob.

use adit_proto::target::Target;
use adit_wire::mining::{CloseChannel, SetCustomMiningJob, ToClient, UpdateChannel};
use adit_wire::{B0_64K, B0_255, Seq0_255, U256};

use super::super::Probe;
use super::super::frame::names;
use super::super::miner::{Fate, Miner, plain};
use super::super::peer::{CLAIM, Heard, Peer};
use super::super::scene::{EXTENDED, addressee, open, opened};
use super::super::verdict::{Miss, Outcome};
use crate::device::upstream::text;

/// An id that no server gives.
const UNKNOWN_CHANNEL: u32 = 0xdead_beef;
/// How much harder the target is made.
const HARDER: u64 = 16;

fn update(channel_id: u32, maximum_target: U256) -> UpdateChannel {
    UpdateChannel {
        channel_id,
        nominal_hash_rate: CLAIM,
        maximum_target,
    }
}

/// UpdateChannel of a channel that is not there.
pub(in crate::probe) fn unknown(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    miner.peer.say(&update(UNKNOWN_CHANNEL, U256::MAX))?;
    refused(
        &mut miner.peer,
        UNKNOWN_CHANNEL,
        "UpdateChannel.Error for an unknown channel",
    )
}

/// UpdateChannel that is fine gets no answer.
pub(in crate::probe) fn silent(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    miner.peer.say(&update(miner.channel, U256::MAX))?;
    super::ignored(miner.peer.barrier()?)
}

/// A lower maximum is followed with SetTarget.
pub(in crate::probe) fn lowered(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    lower(&mut miner).map(|(text, _)| text)
}

/// Lowers the channel's maximum target and waits for SetTarget; gives the new target too.
fn lower(miner: &mut Miner) -> Result<(String, Target), Miss> {
    let work = miner.work()?;
    let harder = Target(work.target.0)
        .share_work()
        .checked_mul(HARDER)
        .ok_or_else(|| Miss::skip("the target cannot be made harder"))?;
    let wanted = Target::from_work(harder);
    miner.peer.say(&update(miner.channel, U256(wanted.0)))?;
    let ground = std::rc::Rc::clone(miner.peer.ground());
    let until = ground.clock.now() + ground.settings.answer();
    let mut seen = Vec::new();
    loop {
        let heard = miner.hear(until - ground.clock.now())?;
        let Heard::Frame(frame) = heard else {
            return Err(Miss::fail(
                "SetTarget not above the new maximum",
                format!("{}, then {}", names(&seen), heard.text()),
            ));
        };
        match frame.mining() {
            Some(ToClient::SetTarget(it)) if Target(it.maximum_target.0) <= wanted => {
                return Ok((
                    format!("SetTarget of {} hashes", Target(it.maximum_target.0).work()),
                    Target(it.maximum_target.0),
                ));
            }
            Some(ToClient::UpdateChannelError(_)) => {
                return Err(
                    Miss::fail("SetTarget not above the new maximum", "UpdateChannel.Error")
                        .with(&frame.bytes()),
                );
            }
            _ => seen.push(frame),
        }
    }
}

/// SetTarget is for later jobs: one that is under way keeps its target.
pub(in crate::probe) fn old_target(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let old = miner.work()?;
    let (_, new) =
        lower(&mut miner).map_err(|_| Miss::skip("the target was not lowered; see update.lower"))?;
    let network = Target::from_nbits(old.nbits);
    let mut found = None;
    for _ in 0..64 {
        let share = miner.find(&old, plain(&old))?;
        let hash = Miner::hash(&old, &share);
        if !new.is_met_by(&hash) && (!network.is_met_by(&hash) || network >= Target(old.target.0)) {
            found = Some(share);
            break;
        }
    }
    let share = found.ok_or_else(|| Miss::skip("no share between the two targets was found"))?;
    let sequence = miner.submit(&share, &[])?;
    let fate = miner.fate(sequence)?;
    let now = miner.work()?;
    if now.prev_hash != old.prev_hash {
        return Err(Miss::skip("a new block came in between"));
    }
    match &fate {
        Fate::Accepted(_) => Ok("a share at the old target on the old job is accepted".to_owned()),
        Fate::Unanswered(Heard::Silence) => Err(Miss::skip("no verdict in time; see share.acknowledged")),
        Fate::Refused(_, frame) => Err(Miss::fail(
            "SubmitShares.Success for a share at the old target on the job from before SetTarget",
            fate.text(),
        )
        .with(&frame.bytes())),
        Fate::Unanswered(_) => Err(Miss::fail("SubmitShares.Success", fate.text())),
    }
}

/// After CloseChannel the channel is not known any more, and nothing comes for it.
pub(in crate::probe) fn close(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let id = miner.channel;
    miner.peer.say(&CloseChannel {
        channel_id: id,
        reason_code: text("probe"),
    })?;
    if let Err(heard) = miner.peer.barrier()? {
        // A server may end a connection that has no channel left.
        return match heard {
            Heard::End => Ok("the server ends the connection, which has no channel left".to_owned()),
            other => Err(Miss::fail("that the connection goes on", other.text())),
        };
    }
    miner.peer.say(&update(id, U256::MAX))?;
    let text = refused(
        &mut miner.peer,
        id,
        "UpdateChannel.Error, as the channel was closed",
    )?;
    let quiet = probe.ground.settings.quiet();
    while let Heard::Frame(frame) = miner.peer.hear(quiet)? {
        if addressee(&frame) == Some(id) {
            return Err(Miss::fail("nothing more for the closed channel", frame.name()).with(&frame.bytes()));
        }
    }
    Ok(text)
}

/// CloseChannel on a group closes all its channels.
pub(in crate::probe) fn close_group(probe: &Probe) -> Outcome {
    probe.mining()?;
    let (mut peer, _) = Peer::join(&probe.ground, 0, 0)?;
    let mut channels = Vec::new();
    for request in [71, 72] {
        peer.say_frame(&open(&probe.ground, EXTENDED, request, U256::MAX, 4))?;
        let (answer, _) = peer.await_frame(opened)?;
        channels.push(answer.map_err(|_| Miss::skip("no extended channel was opened"))?);
    }
    let [one, two] = channels.as_slice() else {
        return Err(Miss::skip("no channels"));
    };
    if one.group != two.group {
        return Err(Miss::skip("two equal channels are in two groups"));
    }
    peer.say(&CloseChannel {
        channel_id: one.group,
        reason_code: text("probe"),
    })?;
    for channel in &channels {
        peer.say(&update(channel.id, U256::MAX))?;
        match refused(
            &mut peer,
            channel.id,
            "UpdateChannel.Error, as the group was closed",
        ) {
            Err(Miss::Fail { seen, .. }) if seen.ends_with("the server hung up") => {
                return Ok("the server ends the connection, which has no channel left".to_owned());
            }
            other => other?,
        };
    }
    Ok("both channels of the group are closed".to_owned())
}

/// A job of the client's own without agreement on it is refused.
pub(in crate::probe) fn custom_job(probe: &Probe) -> Outcome {
    let mut miner = probe.extended()?;
    let work = miner.work()?;
    let (channel_id, request_id) = (miner.channel, 0x51de);
    miner.peer.say(&SetCustomMiningJob {
        channel_id,
        request_id,
        mining_job_token: B0_255::new(&[0xa5; 16]).unwrap_or_default(),
        version: work.version,
        prev_hash: work.prev_hash,
        min_ntime: work.min_ntime,
        nbits: work.nbits,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::new(&[1, 1]).unwrap_or_default(),
        coinbase_tx_input_n_sequence: u32::MAX,
        coinbase_tx_outputs: B0_64K::new(&[0]).unwrap_or_default(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::empty(),
    })?;
    let (answer, others) = miner.peer.await_frame(|frame| match frame.mining() {
        Some(ToClient::SetCustomMiningJobError(it)) => Some((it.channel_id, it.request_id, frame.clone())),
        Some(ToClient::SetCustomMiningJobSuccess(_)) => Some((0, 0, frame.clone())),
        _ => None,
    })?;
    let expected = "SetCustomMiningJob.Error with the ids of the request";
    match answer {
        Ok((channel, request, _)) if (channel, request) == (channel_id, request_id) => {
            Ok("SetCustomMiningJob.Error".to_owned())
        }
        Ok((.., frame)) => Err(Miss::fail(expected, frame.name()).with(&frame.bytes())),
        Err(heard) => Err(Miss::fail(
            expected,
            format!("{}, then {}", names(&others), heard.text()),
        )),
    }
}

/// Waits for UpdateChannel.Error.
fn refused(peer: &mut Peer, id: u32, expected: &str) -> Outcome {
    let (answer, others) = peer.await_frame(|frame| match frame.mining() {
        Some(ToClient::UpdateChannelError(it)) if it.channel_id == id => Some(frame.name()),
        _ => None,
    })?;
    answer.map_err(|heard| Miss::fail(expected, format!("{}, then {}", names(&others), heard.text())))
}
