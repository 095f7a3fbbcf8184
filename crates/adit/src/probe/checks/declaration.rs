//! JD: a job declaration server, asked for tokens and given a job that it must refuse.

use adit_wire::common::{flags, protocol};
use adit_wire::declare::{AllocateMiningJobToken, AllocateMiningJobTokenSuccess, DeclareMiningJob, ToClient};
use adit_wire::{B0_64K, B0_255, Seq0_64K};
use bitcoin::consensus::deserialize;

use super::super::Probe;
use super::super::frame::{Frame, Message, names};
use super::super::peer::Peer;
use super::super::verdict::{Miss, Outcome};
use crate::device::upstream::text;

impl Probe {
    fn declarer(&self) -> Result<Peer, Miss> {
        if !self.survey.serves(protocol::JOB_DECLARATION) {
            return Err(Miss::skip("job declaration is not served here"));
        }
        let wanted = match self.survey.tried(protocol::JOB_DECLARATION, 2, 2, 0) {
            Some(it) if matches!(it.answer, super::super::peer::Answer::Success(_)) => 0,
            _ => flags::DECLARE_TX_DATA,
        };
        Peer::join(&self.ground, protocol::JOB_DECLARATION, wanted).map(|(peer, _)| peer)
    }

    /// Two tokens, asked for in one go with these request ids.
    fn tokens(&self, ids: [u32; 2]) -> Result<Vec<(AllocateMiningJobTokenSuccess, Frame)>, Miss> {
        let mut peer = self.declarer()?;
        for request_id in ids {
            let user_identifier = text(&self.ground.settings.options.user);
            peer.say(&AllocateMiningJobToken {
                user_identifier,
                request_id,
            })?;
        }
        let mut tokens = Vec::new();
        while tokens.len() < ids.len() {
            let (answer, others) = peer.await_frame(|frame| match frame.message() {
                Ok(Message::Declare(ToClient::AllocateMiningJobTokenSuccess(it))) => {
                    Some((it, frame.clone()))
                }
                _ => None,
            })?;
            tokens.push(answer.map_err(|heard| {
                let seen = format!("{}, then {}", names(&others), heard.text());
                Miss::fail("AllocateMiningJobToken.Success for each of two requests", seen)
            })?);
        }
        Ok(tokens)
    }
}

/// Answers have the ids of their requests.
pub(in crate::probe) fn request_ids(probe: &Probe) -> Outcome {
    let ids = [0x0bad_cafe, 7];
    let tokens = probe.tokens(ids)?;
    let seen: Vec<u32> = tokens.iter().map(|(it, _)| it.request_id).collect();
    if ids.iter().all(|id| seen.contains(id)) {
        return Ok("two requests, two answers".to_owned());
    }
    Err(Miss::fail(format!("the ids {ids:?}"), format!("{seen:?}")))
}

/// No two tokens are the same.
pub(in crate::probe) fn tokens(probe: &Probe) -> Outcome {
    let tokens = probe.tokens([1, 2])?;
    match tokens.as_slice() {
        [(one, _), (two, frame)] if one.mining_job_token == two.mining_job_token => {
            Err(Miss::fail("two tokens", "the same one twice").with(&frame.bytes()))
        }
        [(one, _), ..] => Ok(format!("of {} bytes", one.mining_job_token.len())),
        [] => Err(Miss::skip("no token came")),
    }
}

/// The first output is the pool's and has no value yet.
pub(in crate::probe) fn payout(probe: &Probe) -> Outcome {
    for (token, frame) in probe.tokens([1, 2])? {
        let outputs: Result<Vec<bitcoin::TxOut>, _> = deserialize(&token.coinbase_tx_outputs);
        let expected = "a count and outputs, the first of them with a script and a value of 0";
        let seen = match outputs {
            Err(_) => "no outputs".to_owned(),
            Ok(outputs) => match outputs.first() {
                None => "a count of 0".to_owned(),
                Some(first) if first.value != bitcoin::Amount::ZERO => {
                    format!("a value of {}", first.value)
                }
                Some(first) if first.script_pubkey.is_empty() => "an empty script".to_owned(),
                Some(_) => continue,
            },
        };
        return Err(Miss::fail(expected, seen).with(&frame.bytes()));
    }
    Ok("of each token".to_owned())
}

/// A token that was never given.
pub(in crate::probe) fn unknown_token(probe: &Probe) -> Outcome {
    let mut peer = probe.declarer()?;
    peer.say(&DeclareMiningJob {
        request_id: 0x1eaf,
        mining_job_token: B0_255::new(&[0xa5; 16]).unwrap_or_default(),
        version: 0x2000_0000,
        coinbase_tx_prefix: B0_64K::new(&[1, 0, 0, 0]).unwrap_or_default(),
        coinbase_tx_suffix: B0_64K::new(&[0; 4]).unwrap_or_default(),
        wtxid_list: Seq0_64K::empty(),
        excess_data: B0_64K::default(),
    })?;
    let (answer, others) = peer.await_frame(|frame| match frame.message() {
        Ok(Message::Declare(ToClient::DeclareMiningJobError(it))) => Some((it.request_id, frame.clone())),
        Ok(Message::Declare(ToClient::DeclareMiningJobSuccess(_))) => Some((0, frame.clone())),
        _ => None,
    })?;
    let expected = "DeclareMiningJob.Error with the id of the request";
    match answer {
        Ok((0x1eaf, frame)) => Ok(frame.name()),
        Ok((_, frame)) => Err(Miss::fail(expected, frame.name()).with(&frame.bytes())),
        Err(heard) => Err(Miss::fail(
            expected,
            format!("{}, then {}", names(&others), heard.text()),
        )),
    }
}
