//! FRM: odd frames, and frames that are cut.

use adit_noise::HEADER_RECORD_BYTES;
use adit_wire::common::protocol;
use adit_wire::declare::AllocateMiningJobToken;
use adit_wire::frame::MSG_LENGTH_MAX;
use adit_wire::mining::{OpenStandardMiningChannel, ToClient, UpdateChannel};
use adit_wire::template::RequestTransactionData;
use adit_wire::{Header, Str0_255, U256};

use super::super::Probe;
use super::super::frame::names;
use super::super::peer::{Answer, CLAIM, Heard, Peer, answers, frame_of, setup};
use super::super::verdict::{Miss, Outcome};
use super::{ignored, is_work};
use crate::device::upstream::text;

/// A request id like no other.
const ODD_REQUEST: u32 = 0x00fe_ed01;

impl Probe {
    fn odd_open(&self, nominal_hash_rate: f32, user_identity: Str0_255) -> OpenStandardMiningChannel {
        OpenStandardMiningChannel {
            request_id: ODD_REQUEST,
            user_identity,
            nominal_hash_rate,
            max_target: U256::MAX,
        }
    }
}

/// Bytes behind the last field are room for extensions: of SetupConnection and of a request.
pub(in crate::probe) fn trailing_bytes(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    let mut peer = Peer::greet(&probe.ground)?;
    peer.say_with(&setup(&probe.ground, main, 0), &[0xa5; 5])?;
    match peer.hear(probe.ground.settings.answer())? {
        Heard::Frame(frame) if matches!(frame.header.msg_type, 0x01) => {}
        other => {
            let seen = format!("SetupConnection with 5 bytes more: {}", other.text());
            return Err(Miss::fail("an answer as without them", seen).with(&other.bytes()));
        }
    }
    if main != protocol::MINING {
        return Ok("SetupConnection with 5 bytes more is answered".to_owned());
    }
    let user = text(&probe.ground.settings.options.user);
    peer.say_with(&probe.odd_open(CLAIM, user), &[0xa5; 5])?;
    let (answer, others) = peer.await_frame(|frame| answers(frame, ODD_REQUEST).then(|| frame.name()))?;
    answer.map_err(|heard| {
        let seen = format!(
            "OpenStandardMiningChannel with 5 bytes more: {}, then {}",
            names(&others),
            heard.text()
        );
        Miss::fail("an answer as without them", seen)
    })
}

/// A payload that ends inside a field is no message.
pub(in crate::probe) fn truncated(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    let mut peer = probe.join()?;
    let whole = match main {
        protocol::TEMPLATE_DISTRIBUTION => frame_of(&RequestTransactionData { template_id: 7 }, &[]),
        protocol::JOB_DECLARATION => {
            let user_identifier = text(&probe.ground.settings.options.user);
            frame_of(
                &AllocateMiningJobToken {
                    user_identifier,
                    request_id: ODD_REQUEST,
                },
                &[],
            )
        }
        _ => frame_of(
            &probe.odd_open(CLAIM, text(&probe.ground.settings.options.user)),
            &[],
        ),
    };
    let Some((head, payload)) = whole.split_first_chunk::<{ Header::LEN }>() else {
        return Err(Miss::skip("no message to cut"));
    };
    let cut = payload.get(..payload.len() - 3).unwrap_or_default();
    peer.say_any(0, false, Header::parse(*head).msg_type, cut)?;
    let (ended, said) = peer.ends()?;
    match (ended, said.iter().find(|frame| !is_work(frame))) {
        (true, None) => Ok("the server hangs up".to_owned()),
        (_, Some(first)) => Err(Miss::fail("the end of the connection", names(&said)).with(&first.bytes())),
        (false, None) => Err(Miss::fail(
            "the end of the connection",
            "the message without its last 3 bytes is not answered, and the connection stays open",
        )),
    }
}

/// Message types that nobody knows are ignored.
pub(in crate::probe) fn unknown_message(probe: &Probe) -> Outcome {
    let mut peer = probe.join()?;
    peer.say_any(0, false, 0x7f, &[0xa5; 10])?;
    ignored(peer.barrier()?)
}

/// A core message with the wrong channel bit is still that message.
pub(in crate::probe) fn channel_bit(probe: &Probe) -> Outcome {
    probe.mining()?;
    let mut peer = probe.join()?;
    let mut frame = frame_of(
        &probe.odd_open(CLAIM, text(&probe.ground.settings.options.user)),
        &[],
    );
    if let Some(byte) = frame.get_mut(1) {
        *byte |= 0x80;
    }
    peer.say_frame(&frame)?;
    let (answer, _) = peer.await_frame(|frame| answers(frame, ODD_REQUEST).then(|| frame.name()))?;
    let opened = answer.map_err(|heard| {
        Miss::fail(
            "an answer to OpenStandardMiningChannel with the channel bit",
            heard.text(),
        )
    })?;
    let update = UpdateChannel {
        channel_id: u32::MAX - 7,
        nominal_hash_rate: CLAIM,
        maximum_target: U256::MAX,
    };
    let mut frame = frame_of(&update, &[]);
    if let Some(byte) = frame.get_mut(1) {
        *byte &= 0x7f;
    }
    peer.say_frame(&frame)?;
    let is_error = |frame: &super::Frame| matches!(frame.mining(), Some(ToClient::UpdateChannelError(_)));
    let (answer, _) = peer.await_frame(|frame| is_error(frame).then(|| frame.name()))?;
    let update = answer.map_err(|heard| {
        Miss::fail(
            "UpdateChannel.Error to UpdateChannel of an unknown channel without the channel bit",
            heard.text(),
        )
    })?;
    Ok(format!("{opened}, {update}"))
}

/// A hash rate that is no number, or below zero, is refused.
pub(in crate::probe) fn odd_floats(probe: &Probe) -> Outcome {
    probe.mining()?;
    for rate in [f32::NAN, f32::INFINITY, -1.0] {
        let mut peer = probe.join()?;
        peer.say(&probe.odd_open(rate, text(&probe.ground.settings.options.user)))?;
        let (answer, _) = peer.await_frame(|frame| answers(frame, ODD_REQUEST).then(|| frame.clone()))?;
        match answer {
            Ok(frame) if frame.code().is_some() => {}
            Err(Heard::End) => {}
            Ok(frame) => {
                let seen = format!("a nominal_hash_rate of {rate}: {}", frame.name());
                return Err(Miss::fail("OpenMiningChannel.Error", seen).with(&frame.bytes()));
            }
            Err(heard) => {
                let seen = format!("a nominal_hash_rate of {rate}: {}", heard.text());
                return Err(Miss::fail("OpenMiningChannel.Error", seen));
            }
        }
    }
    Ok("NaN, infinity and -1 are refused".to_owned())
}

/// Text may have 255 bytes, and none.
pub(in crate::probe) fn text_lengths(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    let mut peer = Peer::greet(&probe.ground)?;
    let mut long = setup(&probe.ground, main, 0);
    long.device_id = Str0_255::new(&[b'x'; 255]).unwrap_or_default();
    long.vendor = Str0_255::new(&[b'v'; 255]).unwrap_or_default();
    long.firmware = Str0_255::default();
    match peer.set_up(&long)? {
        Answer::Success(_) => Ok("vendor and device_id of 255 bytes, firmware of none".to_owned()),
        Answer::Error(error) => Err(Miss::fail(
            "SetupConnection.Success with texts of 255 bytes",
            "an Error",
        )
        .with(&frame_of(&error, &[]))),
        Answer::Other(heard) => Err(Miss::fail(
            "SetupConnection.Success with texts of 255 bytes",
            heard.text(),
        )),
    }
}

/// A frame of 16 MiB is announced, and never comes: that costs the server one connection at most.
pub(in crate::probe) fn huge_frame(probe: &Probe) -> Outcome {
    let mut peer = probe.join()?;
    let header = Header::new(0, false, 0x7f, MSG_LENGTH_MAX);
    let mut frame = header.encode().to_vec();
    frame.resize(Header::LEN + MSG_LENGTH_MAX as usize, 0);
    let sealed = peer.seal(&frame)?;
    drop(frame);
    let start = sealed.get(..HEADER_RECORD_BYTES + 1_000).unwrap_or_default();
    peer.line.say(start)?;
    let heard = peer.hear(probe.ground.settings.quiet())?;
    if let Heard::Frame(frame) = &heard
        && !is_work(frame)
    {
        return Err(Miss::fail("no answer to a frame that has not come", frame.name()).with(&frame.bytes()));
    }
    drop(peer);
    match probe.join() {
        Ok(_) => Ok(format!("16 MiB announced: {}; others are served", heard.text())),
        Err(Miss::Skip(why) | Miss::Fail { seen: why, .. }) => {
            Err(Miss::fail("a server that serves others meanwhile", why))
        }
    }
}
