//! Rules for everything that was heard, on all connections of the probe.

use std::collections::{BTreeMap, BTreeSet};

use adit_proto::target::Target;
use adit_wire::mining::ToClient;
use adit_wire::{Str0_255, TABLES};

use super::super::Probe;
use super::super::frame::{Frame, Message, told};
use super::super::scene::{Opened, opened};
use super::super::verdict::{Miss, Outcome};

/// Holds every frame to a rule that gives what is wrong with it; `None` for a frame that it says nothing about.
fn every(probe: &Probe, expected: &str, rule: impl Fn(&Frame) -> Option<Result<(), String>>) -> Outcome {
    let mut count = 0;
    for frame in probe.ground.heard() {
        match rule(&frame) {
            None => {}
            Some(Ok(())) => count += 1,
            Some(Err(seen)) => return Err(Miss::fail(expected, seen).with(&frame.bytes())),
        }
    }
    match count {
        0 => Err(Miss::skip("no such message came")),
        _ => Ok(format!("{count} messages")),
    }
}

/// Every frame is a whole message of the spec.
pub(in crate::probe) fn well_formed(probe: &Probe) -> Outcome {
    every(probe, "messages of the spec, whole", |frame| {
        Some(frame.message().map(|_| ()).map_err(|_| frame.name()))
    })
}

/// Core messages have extension 0, those of 0x0001 its number.
pub(in crate::probe) fn core_extension(probe: &Probe) -> Outcome {
    every(probe, "extension 0 in the header of a core message", |frame| {
        let core = frame.header.extension() == 0 || matches!(frame.message(), Ok(Message::Negotiation(_)));
        Some(core.then_some(()).ok_or_else(|| frame.name()))
    })
}

/// The channel bit is set where the table of messages says so.
pub(in crate::probe) fn channel_bits(probe: &Probe) -> Outcome {
    every(probe, "the channel bit as in the table of messages", |frame| {
        let row = row(frame)?;
        let right = row.channel_msg == frame.header.channel_msg();
        Some(right.then_some(()).ok_or_else(|| {
            let is = if row.channel_msg { "without" } else { "with" };
            format!("{} {is} the channel bit", row.name)
        }))
    })
}

/// Messages of job declaration and template distribution never have it.
pub(in crate::probe) fn no_channel_bit(probe: &Probe) -> Outcome {
    every(probe, "no channel bit outside mining", |frame| {
        let is = matches!(frame.message(), Ok(Message::Declare(_) | Message::Template(_)));
        is.then(|| {
            let right = !frame.header.channel_msg();
            right.then_some(()).ok_or_else(|| frame.name())
        })
    })
}

/// A message with the channel bit begins with a channel id.
pub(in crate::probe) fn channel_id_counts(probe: &Probe) -> Outcome {
    every(probe, "at least 4 bytes behind the channel bit", |frame| {
        frame.header.channel_msg().then(|| {
            let right = frame.payload.len() >= 4;
            right.then_some(()).ok_or_else(|| frame.name())
        })
    })
}

fn row(frame: &Frame) -> Option<&'static adit_wire::message::Row> {
    let same = |row: &&adit_wire::message::Row| {
        (row.extension, row.msg_type) == (frame.header.extension(), frame.header.msg_type)
    };
    TABLES.iter().flat_map(|table| table.iter()).find(same)
}

/// Error codes are printable ASCII.
pub(in crate::probe) fn codes_printable(probe: &Probe) -> Outcome {
    codes(probe, "printable ASCII", Frame::code, |byte| {
        (0x20..0x7f).contains(&byte)
    })
}

/// Error codes have no control characters.
pub(in crate::probe) fn codes_without_control(probe: &Probe) -> Outcome {
    codes(probe, "no control characters", Frame::code, |byte| {
        !byte.is_ascii_control()
    })
}

/// Nor has the reason of CloseChannel.
pub(in crate::probe) fn reasons_without_control(probe: &Probe) -> Outcome {
    let reason = |frame: &Frame| match frame.mining() {
        Some(ToClient::CloseChannel(it)) => Some(it.reason_code),
        _ => None,
    };
    codes(probe, "no control characters", reason, |byte| {
        !byte.is_ascii_control()
    })
}

fn codes(
    probe: &Probe,
    expected: &str,
    text: impl Fn(&Frame) -> Option<Str0_255>,
    allowed: impl Fn(u8) -> bool,
) -> Outcome {
    every(probe, expected, |frame| {
        let code = text(frame)?;
        let right = code.iter().all(|byte| allowed(*byte));
        Some(right.then_some(()).ok_or_else(|| format!("{:?}", told(&code))))
    })
}

/// NewMiningJob goes to standard channels.
pub(in crate::probe) fn standard_jobs(probe: &Probe) -> Outcome {
    followed(
        probe,
        "NewMiningJob for standard channels only",
        |known, message| {
            let ToClient::NewMiningJob(job) = message else {
                return None;
            };
            let right = known.channels.get(&job.channel_id).is_some_and(|it| !it.extended);
            Some(
                right
                    .then_some(())
                    .ok_or_else(|| format!("NewMiningJob for {}", job.channel_id)),
            )
        },
    )
}

/// NewExtendedMiningJob goes to extended channels and groups.
pub(in crate::probe) fn extended_jobs(probe: &Probe) -> Outcome {
    let expected = "NewExtendedMiningJob for extended channels and groups only";
    followed(probe, expected, |known, message| {
        let ToClient::NewExtendedMiningJob(job) = message else {
            return None;
        };
        let id = job.channel_id;
        let right = known.channels.get(&id).is_some_and(|it| it.extended) || known.groups.contains(&id);
        Some(
            right
                .then_some(())
                .ok_or_else(|| format!("NewExtendedMiningJob for {id}")),
        )
    })
}

/// A job id comes once for a channel.
pub(in crate::probe) fn job_ids(probe: &Probe) -> Outcome {
    followed(probe, "job ids that come once for a channel", |known, message| {
        let (id, job, _) = job(message)?;
        let fresh = !known.jobs.contains_key(&(id, job));
        Some(
            fresh
                .then_some(())
                .ok_or_else(|| format!("job {job} twice for {id}")),
        )
    })
}

/// SetNewPrevHash names a job that was sent as a future job there.
pub(in crate::probe) fn prev_hash_names_future(probe: &Probe) -> Outcome {
    let expected = "SetNewPrevHash that names a job sent as a future job to that channel or its group";
    followed(probe, expected, |known, message| {
        let ToClient::SetNewPrevHash(tip) = message else {
            return None;
        };
        let named = known
            .jobs
            .iter()
            .any(|((id, job), future)| *future && *job == tip.job_id && known.related(*id, tip.channel_id));
        Some(
            named
                .then_some(())
                .ok_or_else(|| format!("job {} for {}", tip.job_id, tip.channel_id)),
        )
    })
}

/// SetExtranoncePrefix is not for groups.
pub(in crate::probe) fn prefix_to_channel(probe: &Probe) -> Outcome {
    followed(
        probe,
        "SetExtranoncePrefix for channels only",
        |known, message| {
            let ToClient::SetExtranoncePrefix(it) = message else {
                return None;
            };
            let right = known.channels.contains_key(&it.channel_id);
            Some(
                right
                    .then_some(())
                    .ok_or_else(|| format!("for {}", it.channel_id)),
            )
        },
    )
}

/// SetGroupChannel names open channels.
pub(in crate::probe) fn grouping(probe: &Probe) -> Outcome {
    followed(
        probe,
        "SetGroupChannel that names open channels",
        |known, message| {
            let ToClient::SetGroupChannel(it) = message else {
                return None;
            };
            let strange = it.channel_ids.iter().find(|id| !known.channels.contains_key(id));
            let group = known.channels.contains_key(&it.group_channel_id);
            Some(match (strange, group) {
                (None, false) => Ok(()),
                (Some(id), _) => Err(format!("channel {id}, which is not open")),
                (None, true) => Err(format!("group {}, which is a channel", it.group_channel_id)),
            })
        },
    )
}

/// Targets are targets: not zero.
pub(in crate::probe) fn targets(probe: &Probe) -> Outcome {
    let expected = "a target that some hash can meet";
    followed(probe, expected, |_, message| {
        let target = match message {
            ToClient::SetTarget(it) => it.maximum_target,
            ToClient::OpenStandardMiningChannelSuccess(it) => it.target,
            ToClient::OpenExtendedMiningChannelSuccess(it) => it.target,
            _ => return None,
        };
        let right = Target(target.0) > Target([0; 32]);
        Some(right.then_some(()).ok_or_else(|| "a target of 0".to_owned()))
    })
}

/// What is known of one connection before a message.
#[derive(Default)]
struct Known {
    channels: BTreeMap<u32, Opened>,
    groups: BTreeSet<u32>,
    /// Job by addressee and id; whether it is a future job.
    jobs: BTreeMap<(u32, u32), bool>,
}

impl Known {
    /// Whether a message to `one` is for `other` too, or the other way round.
    fn related(&self, one: u32, other: u32) -> bool {
        let group = |id| self.channels.get(&id).map(|it| it.group);
        one == other || group(one) == Some(other) || group(other) == Some(one)
    }

    fn learn(&mut self, frame: &Frame, message: &ToClient) {
        if let Some(channel) = opened(frame) {
            self.groups.insert(channel.group);
            self.channels.insert(channel.id, channel);
        }
        if let Some((id, number, future)) = job(message) {
            self.jobs.insert((id, number), future);
        }
        if let ToClient::SetGroupChannel(it) = message {
            self.groups.insert(it.group_channel_id);
            for id in it.channel_ids.iter() {
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.group = it.group_channel_id;
                }
            }
        }
    }
}

/// Addressee, id, and whether it is a future job.
fn job(message: &ToClient) -> Option<(u32, u32, bool)> {
    match message {
        ToClient::NewMiningJob(it) => Some((it.channel_id, it.job_id, it.min_ntime.is_none())),
        ToClient::NewExtendedMiningJob(it) => Some((it.channel_id, it.job_id, it.min_ntime.is_none())),
        _ => None,
    }
}

/// Holds every mining message to a rule that may look at what was known of its connection.
fn followed(
    probe: &Probe,
    expected: &str,
    rule: impl Fn(&Known, &ToClient) -> Option<Result<(), String>>,
) -> Outcome {
    let mut connections: BTreeMap<u32, Known> = BTreeMap::new();
    let mut count = 0;
    for frame in probe.ground.heard() {
        let Some(message) = frame.mining() else { continue };
        let known = connections.entry(frame.connection).or_default();
        match rule(known, &message) {
            None => {}
            Some(Ok(())) => count += 1,
            Some(Err(seen)) => return Err(Miss::fail(expected, seen).with(&frame.bytes())),
        }
        known.learn(&frame, &message);
    }
    match count {
        0 => Err(Miss::skip("no such message came")),
        _ => Ok(format!("{count} messages")),
    }
}
