//! TDP: a template provider, asked for templates and their transactions.

use adit_wire::B0_64K;
use adit_wire::common::protocol;
use adit_wire::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, SubmitSolution, ToClient,
};
use bitcoin::consensus::Decodable;

use super::super::Probe;
use super::super::frame::{Frame, Message, names};
use super::super::peer::{Heard, Peer};
use super::super::verdict::{Miss, Outcome};

/// Room in the coinbase that is asked for, in bytes and signature operations.
const ROOM: (u32, u16) = (200, 16);
/// An id that no provider gives.
const UNKNOWN_TEMPLATE: u64 = u64::MAX - 11;

impl Probe {
    fn provider(&self) -> Result<Peer, Miss> {
        if !self.survey.serves(protocol::TEMPLATE_DISTRIBUTION) {
            return Err(Miss::skip("template distribution is not served here"));
        }
        Peer::join(&self.ground, protocol::TEMPLATE_DISTRIBUTION, 0).map(|(peer, _)| peer)
    }

    /// A provider that has heard how much room is needed, and what it says until a template is active.
    fn templates(&self) -> Result<(Peer, Vec<Frame>), Miss> {
        let mut peer = self.provider()?;
        let frames = constrain(&mut peer, ROOM)?;
        Ok((peer, frames))
    }
}

/// Sends constraints and listens until a template and a previous block have come.
fn constrain(peer: &mut Peer, (size, sigops): (u32, u16)) -> Result<Vec<Frame>, Miss> {
    peer.say(&CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: size,
        coinbase_output_max_additional_sigops: sigops,
    })?;
    let mut seen = (false, false);
    let mut last = None;
    let (_, mut frames) = peer.await_frame(|frame| {
        match message(frame) {
            Some(ToClient::NewTemplate(_)) => seen.0 = true,
            Some(ToClient::SetNewPrevHash(_)) => seen.1 = true,
            _ => {}
        }
        let done = seen == (true, true);
        if done {
            last = Some(frame.clone());
        }
        done.then_some(())
    })?;
    frames.extend(last);
    Ok(frames)
}

fn message(frame: &Frame) -> Option<ToClient> {
    match frame.message() {
        Ok(Message::Template(message)) => Some(message),
        _ => None,
    }
}

fn news(frames: &[Frame]) -> Vec<(NewTemplate, &Frame)> {
    let new = |frame: &Frame| match message(frame) {
        Some(ToClient::NewTemplate(it)) => Some(it),
        _ => None,
    };
    frames
        .iter()
        .filter_map(|frame| Some((new(frame)?, frame)))
        .collect()
}

/// A template follows the constraints at once.
pub(in crate::probe) fn answers(probe: &Probe) -> Outcome {
    let (_, frames) = probe.templates()?;
    match news(&frames).is_empty() {
        false => Ok(names(&frames)),
        true => Err(Miss::fail("NewTemplate", names(&frames))),
    }
}

/// Nothing comes before them.
pub(in crate::probe) fn waits(probe: &Probe) -> Outcome {
    let mut peer = probe.provider()?;
    match peer.hear(probe.ground.settings.quiet())? {
        Heard::Frame(frame) => {
            Err(Miss::fail("nothing before CoinbaseOutputConstraints", frame.name()).with(&frame.bytes()))
        }
        _ => Ok(format!(
            "silent for {} ms",
            probe.ground.settings.options.quiet_ms
        )),
    }
}

/// New constraints replace the earlier ones.
pub(in crate::probe) fn replaced(probe: &Probe) -> Outcome {
    let (mut peer, _) = probe.templates()?;
    peer.say(&CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: ROOM.0 + 100,
        coinbase_output_max_additional_sigops: ROOM.1,
    })?;
    let is_new = |frame: &Frame| matches!(message(frame), Some(ToClient::NewTemplate(_)));
    let (answer, others) = peer.await_frame(|frame| is_new(frame).then(|| frame.name()))?;
    answer.map_err(|heard| {
        let seen = format!("{}, then {}", names(&others), heard.text());
        Miss::fail("NewTemplate after new constraints", seen)
    })
}

/// The prefix of the script has at most 8 bytes.
pub(in crate::probe) fn prefix(probe: &Probe) -> Outcome {
    each(probe, "at most 8 bytes of coinbase_prefix", |it| {
        let length = it.coinbase_prefix.len();
        (length <= 8)
            .then_some(())
            .ok_or_else(|| format!("{length} bytes"))
    })
}

/// coinbase_tx_outputs holds as many outputs as its count says, and no count of its own.
pub(in crate::probe) fn outputs(probe: &Probe) -> Outcome {
    each(
        probe,
        "as many outputs as coinbase_tx_outputs_count says, without a count before them",
        |it| {
            let outputs = decode(it)?;
            let counted = usize::try_from(it.coinbase_tx_outputs_count).unwrap_or(usize::MAX);
            (outputs.len() == counted)
                .then_some(())
                .ok_or_else(|| format!("{} outputs, {counted} counted", outputs.len()))
        },
    )
}

/// One of them is the witness commitment, where transactions are in the template.
pub(in crate::probe) fn commitment(probe: &Probe) -> Outcome {
    each(probe, "an OP_RETURN output aa21a9ed", |it| {
        if it.merkle_path.is_empty() {
            return Ok(());
        }
        let magic = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
        let found = decode(it)?
            .iter()
            .any(|output| output.script_pubkey.as_bytes().starts_with(&magic));
        found.then_some(()).ok_or_else(|| "none".to_owned())
    })
}

fn decode(template: &NewTemplate) -> Result<Vec<bitcoin::TxOut>, String> {
    let mut rest = &template.coinbase_tx_outputs[..];
    let mut outputs = Vec::new();
    while !rest.is_empty() {
        let output = bitcoin::TxOut::consensus_decode(&mut rest);
        outputs.push(output.map_err(|_| "bytes that are no outputs".to_owned())?);
    }
    Ok(outputs)
}

/// Template ids go up.
pub(in crate::probe) fn ids(probe: &Probe) -> Outcome {
    let (mut peer, mut frames) = probe.templates()?;
    frames.extend(constrain(&mut peer, (ROOM.0 + 50, ROOM.1))?);
    let ids: Vec<u64> = news(&frames).iter().map(|(it, _)| it.template_id).collect();
    if ids.len() < 2 {
        return Err(Miss::skip("fewer than two templates came"));
    }
    match ids.is_sorted_by(|one, next| one < next) {
        true => Ok(format!("{ids:?}")),
        false => Err(Miss::fail("ids that go up", format!("{ids:?}"))),
    }
}

/// Before the first SetNewPrevHash comes the future template that it names.
pub(in crate::probe) fn future_first(probe: &Probe) -> Outcome {
    let (_, frames) = probe.templates()?;
    let Some(at) = frames
        .iter()
        .position(|frame| matches!(message(frame), Some(ToClient::SetNewPrevHash(_))))
    else {
        return Err(Miss::skip("no SetNewPrevHash came"));
    };
    let before = frames.get(..at).unwrap_or_default();
    match news(before).iter().any(|(it, _)| it.future_template) {
        true => Ok(names(&frames)),
        false => Err(Miss::fail(
            "a NewTemplate with future_template before SetNewPrevHash",
            names(&frames),
        )),
    }
}

/// The transactions of a template can be had.
pub(in crate::probe) fn transactions(probe: &Probe) -> Outcome {
    let (mut peer, frames) = probe.templates()?;
    let newest = news(&frames).last().map(|(it, _)| it.template_id);
    let template_id = newest.ok_or_else(|| Miss::skip("no template came"))?;
    let frame = data(&mut peer, template_id)?;
    match message(&frame) {
        Some(ToClient::RequestTransactionDataSuccess(it)) if it.template_id == template_id => {
            Ok(format!("{} transactions", it.transaction_list.into_inner().len()))
        }
        Some(ToClient::RequestTransactionDataError(it)) if it.template_id == template_id => {
            Ok("an Error for that template".to_owned())
        }
        _ => Err(
            Miss::fail("an answer for the template that was asked for", frame.name()).with(&frame.bytes()),
        ),
    }
}

/// Those of an unknown one cannot.
pub(in crate::probe) fn unknown_template(probe: &Probe) -> Outcome {
    let (mut peer, _) = probe.templates()?;
    let frame = data(&mut peer, UNKNOWN_TEMPLATE)?;
    match message(&frame) {
        Some(ToClient::RequestTransactionDataError(it)) if it.template_id == UNKNOWN_TEMPLATE => {
            Ok(frame.name())
        }
        _ => Err(
            Miss::fail("RequestTransactionData.Error for that template", frame.name()).with(&frame.bytes()),
        ),
    }
}

fn data(peer: &mut Peer, template_id: u64) -> Result<Frame, Miss> {
    peer.say(&RequestTransactionData { template_id })?;
    let is_data = |frame: &Frame| {
        matches!(
            message(frame),
            Some(ToClient::RequestTransactionDataSuccess(_) | ToClient::RequestTransactionDataError(_))
        )
    };
    let (answer, others) = peer.await_frame(|frame| is_data(frame).then(|| frame.clone()))?;
    answer.map_err(|heard| {
        let seen = format!("{}, then {}", names(&others), heard.text());
        Miss::fail("an answer to RequestTransactionData", seen)
    })
}

/// A solution of an unknown template changes nothing.
pub(in crate::probe) fn unknown_solution(probe: &Probe) -> Outcome {
    let (mut peer, _) = probe.templates()?;
    peer.say(&SubmitSolution {
        template_id: UNKNOWN_TEMPLATE,
        version: 0x2000_0000,
        header_timestamp: 0,
        header_nonce: 0,
        coinbase_tx: B0_64K::new(&[0; 60]).unwrap_or_default(),
    })?;
    let frame = data(&mut peer, UNKNOWN_TEMPLATE);
    match frame {
        Ok(frame) => Ok(format!("the next request is answered: {}", frame.name())),
        Err(Miss::Fail { seen, .. }) => Err(Miss::fail("that the connection goes on", seen)),
        Err(skip) => Err(skip),
    }
}

/// Holds every template to a rule that gives what is wrong with it.
fn each(probe: &Probe, expected: &str, rule: impl Fn(&NewTemplate) -> Result<(), String>) -> Outcome {
    let (_, frames) = probe.templates()?;
    let templates = news(&frames);
    for (template, frame) in &templates {
        if let Err(seen) = rule(template) {
            return Err(Miss::fail(expected, seen).with(&frame.bytes()));
        }
    }
    match templates.len() {
        0 => Err(Miss::skip("no template came")),
        count => Ok(format!("{count} templates")),
    }
}
