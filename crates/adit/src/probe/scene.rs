//! A polite conversation: some channels opened at once, and everything that the server says until each can mine.

use std::rc::Rc;

use adit_wire::common::protocol;
use adit_wire::mining::{OpenExtendedMiningChannel, OpenStandardMiningChannel, ToClient};
use adit_wire::{B0_32, U256};

use super::frame::{Frame, names};
use super::ground::Ground;
use super::peer::{CLAIM, Heard, Peer, answers};
use super::report::ChannelReport;
use super::verdict::Miss;
use crate::device::upstream::text;

/// Smallest extranonce that is asked for.
pub(super) const EXTRANONCE_MIN: u16 = 4;
/// The first request id; strange on purpose.
const REQUEST_FIRST: u32 = 0x00ad_1700;

/// Kind of a channel to open.
pub(super) type Extended = bool;
/// An extended channel.
pub(super) const EXTENDED: Extended = true;
/// A standard channel.
pub(super) const STANDARD: Extended = false;

/// A channel as the server opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) id: u32,
    pub(super) group: u32,
    pub(super) extended: Extended,
    pub(super) target: U256,
    pub(super) prefix: B0_32,
    pub(super) size: u16,
}

/// What was said on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scene {
    /// Flags of SetupConnection.Success.
    pub(super) success_flags: u32,
    /// Kinds that were asked for, request ids counting up.
    pub(super) asked: Vec<Extended>,
    /// Everything after SetupConnection.Success, in order.
    pub(super) frames: Vec<Frame>,
    /// How it ended when not everything came.
    pub(super) missing: Option<String>,
}

impl Scene {
    /// Opens channels of these kinds in one go and listens until each has its first job and previous block.
    pub(super) fn play(ground: &Rc<Ground>, flags: u32, kinds: &[Extended]) -> Result<Self, Miss> {
        let (mut peer, success) = Peer::join(ground, protocol::MINING, flags)?;
        let mut frames = Vec::new();
        for (at, extended) in (0..).zip(kinds) {
            let open = open(ground, *extended, REQUEST_FIRST + at, U256::MAX, EXTRANONCE_MIN);
            frames.extend_from_slice(&open);
        }
        let sealed = seal_all(&mut peer, &frames)?;
        peer.line.say(&sealed)?;
        let mut scene = Self {
            success_flags: success.flags,
            asked: kinds.to_vec(),
            frames: Vec::new(),
            missing: None,
        };
        let until = ground.clock.now() + ground.settings.answer();
        while scene.waits() {
            match peer.hear(until - ground.clock.now())? {
                Heard::Frame(frame) => scene.frames.push(frame),
                other => {
                    scene.missing = Some(other.text());
                    break;
                }
            }
        }
        // What follows unasked belongs to the scene too.
        while let Heard::Frame(frame) = peer.hear(ground.settings.quiet())? {
            scene.frames.push(frame);
        }
        Ok(scene)
    }

    /// The channels that were opened, in the order of the answers.
    pub(super) fn opened(&self) -> Vec<Opened> {
        self.frames.iter().filter_map(opened).collect()
    }

    /// The answer to the request with this place in `asked`.
    pub(super) fn answer(&self, at: u32) -> Option<&Frame> {
        self.frames
            .iter()
            .find(|frame| answers(frame, REQUEST_FIRST + at))
    }

    /// What the server said, for reports.
    pub(super) fn seen(&self) -> String {
        let end = self
            .missing
            .as_ref()
            .map(|end| format!(", then {end}"))
            .unwrap_or_default();
        names(&self.frames) + &end
    }

    /// What comes for one channel after its Success: messages to it or to its group.
    pub(super) fn after_opening(&self, channel: &Opened) -> Vec<&Frame> {
        let opens = |frame: &&Frame| opened(frame).is_some_and(|it| it.id == channel.id);
        let concerns = |frame: &&Frame| {
            addressee(frame).is_some_and(|id| id == channel.id || id == channel.group)
                && opened(frame).is_none()
        };
        self.frames
            .iter()
            .skip_while(|frame| !opens(frame))
            .filter(concerns)
            .collect()
    }

    /// Whether an answer, a job or a previous block is still to come.
    fn waits(&self) -> bool {
        let answered = (0..).zip(&self.asked).all(|(at, _)| self.answer(at).is_some());
        let minable = |channel: &Opened| {
            let after = self.after_opening(channel);
            let has = |wanted: fn(&ToClient) -> bool| {
                after
                    .iter()
                    .any(|frame| frame.mining().is_some_and(|it| wanted(&it)))
            };
            has(|it| matches!(it, ToClient::NewMiningJob(_) | ToClient::NewExtendedMiningJob(_)))
                && has(|it| matches!(it, ToClient::SetNewPrevHash(_)))
        };
        !answered || !self.opened().iter().all(minable)
    }

    /// The channels, for the report.
    pub(super) fn report(&self, flags: u32) -> Vec<ChannelReport> {
        let report = |channel: &Opened| ChannelReport {
            setup_flags: flags,
            kind: if channel.extended { "extended" } else { "standard" },
            channel_id: channel.id,
            group_channel_id: channel.group,
            target: big_endian(&channel.target),
            expected_hashes: adit_proto::target::Target(channel.target.0).work().to_string(),
            extranonce_prefix: super::frame::hex(&channel.prefix),
            extranonce_size: channel.extended.then_some(channel.size),
            first_messages: self
                .after_opening(channel)
                .iter()
                .take(4)
                .map(|frame| frame.name())
                .collect(),
        };
        self.opened().iter().map(report).collect()
    }
}

/// A target as people write it.
pub(super) fn big_endian(target: &U256) -> String {
    let mut bytes = target.0;
    bytes.reverse();
    super::frame::hex(&bytes)
}

/// An open request as a frame.
pub(super) fn open(
    ground: &Ground,
    extended: Extended,
    request_id: u32,
    max_target: U256,
    min_extranonce_size: u16,
) -> Vec<u8> {
    let user_identity = text(&ground.settings.options.user);
    let nominal_hash_rate = CLAIM;
    if extended {
        let open = OpenExtendedMiningChannel {
            request_id,
            user_identity,
            nominal_hash_rate,
            max_target,
            min_extranonce_size,
        };
        return super::peer::frame_of(&open, &[]);
    }
    let open = OpenStandardMiningChannel {
        request_id,
        user_identity,
        nominal_hash_rate,
        max_target,
    };
    super::peer::frame_of(&open, &[])
}

/// Seals frames that stand one after the other, so that they can go in one write.
pub(super) fn seal_all(peer: &mut Peer, mut frames: &[u8]) -> Result<Vec<u8>, Miss> {
    use adit_wire::Header;
    let mut sealed = Vec::new();
    while let Some(header) = frames.first_chunk() {
        let length = Header::LEN + Header::parse(*header).msg_length as usize;
        let Some((frame, rest)) = frames.split_at_checked(length) else {
            break;
        };
        sealed.extend_from_slice(&peer.seal(frame)?);
        frames = rest;
    }
    Ok(sealed)
}

/// The channel that a frame opens.
pub(super) fn opened(frame: &Frame) -> Option<Opened> {
    match frame.mining()? {
        ToClient::OpenStandardMiningChannelSuccess(it) => Some(Opened {
            id: it.channel_id,
            group: it.group_channel_id,
            extended: STANDARD,
            target: it.target,
            prefix: it.extranonce_prefix,
            size: 0,
        }),
        ToClient::OpenExtendedMiningChannelSuccess(it) => Some(Opened {
            id: it.channel_id,
            group: it.group_channel_id,
            extended: EXTENDED,
            target: it.target,
            prefix: it.extranonce_prefix,
            size: it.extranonce_size,
        }),
        _ => None,
    }
}

/// The channel or group that a mining message is for.
pub(super) fn addressee(frame: &Frame) -> Option<u32> {
    Some(match frame.mining()? {
        ToClient::NewMiningJob(it) => it.channel_id,
        ToClient::NewExtendedMiningJob(it) => it.channel_id,
        ToClient::SetNewPrevHash(it) => it.channel_id,
        ToClient::SetTarget(it) => it.channel_id,
        ToClient::SetExtranoncePrefix(it) => it.channel_id,
        ToClient::SubmitSharesSuccess(it) => it.channel_id,
        ToClient::SubmitSharesError(it) => it.channel_id,
        ToClient::UpdateChannelError(it) => it.channel_id,
        ToClient::CloseChannel(it) => it.channel_id,
        ToClient::SetGroupChannel(it) => it.group_channel_id,
        _ => return None,
    })
}
