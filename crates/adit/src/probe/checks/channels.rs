//! MIN: how channels are opened.

use std::collections::{BTreeMap, BTreeSet};

use adit_proto::target::Target;
use adit_wire::U256;
use adit_wire::common::flags;

use super::super::Probe;
use super::super::frame::Frame;
use super::super::peer::{Heard, answers};
use super::super::scene::{EXTENDED, EXTRANONCE_MIN, Opened, STANDARD, open, opened};
use super::super::verdict::{Miss, Outcome};

/// A request id like no other.
const ODD_REQUEST: u32 = 0x00c0_ffee;
/// Work of a target that no pool gives of its own: hard, but not impossible.
const HARD_WORK: u64 = 1 << 44;

/// Standard and extended channels, unless the server says that it has extended ones only.
pub(in crate::probe) fn both_kinds(probe: &Probe) -> Outcome {
    let scene = probe.grouped()?;
    let channels = scene.opened();
    if !channels.iter().any(|it| it.extended) {
        return Err(Miss::fail("an extended channel", scene.seen()));
    }
    let standard = channels.iter().any(|it| !it.extended);
    if scene.success_flags & flags::REQUIRES_EXTENDED_CHANNELS != 0 {
        return Ok("extended channels only, as Success says".to_owned());
    }
    if standard {
        return Ok("both are opened".to_owned());
    }
    let header_only = probe.header_only().is_ok_and(|scene| !scene.opened().is_empty());
    match header_only {
        true => Ok("standard ones with REQUIRES_STANDARD_JOBS".to_owned()),
        false => Err(Miss::fail("a standard channel", scene.seen())),
    }
}

/// With REQUIRES_EXTENDED_CHANNELS standard channels are refused.
pub(in crate::probe) fn extended_only(probe: &Probe) -> Outcome {
    let scene = probe.grouped()?;
    if scene.success_flags & flags::REQUIRES_EXTENDED_CHANNELS == 0 {
        return Err(Miss::skip("the server does not require extended channels"));
    }
    match scene.opened().iter().find(|it| !it.extended) {
        None => Ok("standard channels are refused".to_owned()),
        Some(_) => Err(Miss::fail(
            "OpenMiningChannel.Error for a standard channel",
            scene.seen(),
        )),
    }
}

/// Requests sent in one go each get an answer with their id.
pub(in crate::probe) fn request_ids(probe: &Probe) -> Outcome {
    for scene in [probe.grouped()?, probe.header_only()?] {
        for (at, _) in (0..).zip(&scene.asked) {
            if scene.answer(at).is_none() {
                let expected = format!(
                    "an answer with the id of request {} of {}",
                    at + 1,
                    scene.asked.len()
                );
                return Err(Miss::fail(expected, scene.seen()));
            }
        }
    }
    Ok("six requests, six answers".to_owned())
}

/// Channel ids differ.
pub(in crate::probe) fn distinct_ids(probe: &Probe) -> Outcome {
    each_scene(probe, |channels| {
        let mut seen = BTreeSet::new();
        let twice = channels.iter().find(|it| !seen.insert(it.id))?;
        Some(Miss::fail(
            "different ids for the channels of a connection",
            format!("id {} twice", twice.id),
        ))
    })
}

/// Groups and channels do not share ids.
pub(in crate::probe) fn id_space(probe: &Probe) -> Outcome {
    each_scene(probe, |channels| {
        let group = channels
            .iter()
            .find(|it| channels.iter().any(|other| other.id == it.group))?;
        Some(Miss::fail(
            "group ids that are no channel ids",
            format!(
                "group {} of channel {} is the id of a channel",
                group.group, group.id
            ),
        ))
    })
}

/// No channel's part of the search space is a part of another's.
pub(in crate::probe) fn unique_space(probe: &Probe) -> Outcome {
    each_scene(probe, |channels| {
        channels.iter().enumerate().find_map(|(at, one)| {
            let inside = channels
                .iter()
                .enumerate()
                .find(|(other_at, other)| *other_at != at && other.prefix.starts_with(&one.prefix));
            inside.map(|(_, other)| {
                Miss::fail(
                    "extranonce prefixes none of which begins with another",
                    format!(
                        "channel {}: {}, channel {}: {}",
                        one.id,
                        super::super::frame::hex(&one.prefix),
                        other.id,
                        super::super::frame::hex(&other.prefix)
                    ),
                )
            })
        })
    })
}

/// All channels of a group have the same full extranonce size.
pub(in crate::probe) fn group_size(probe: &Probe) -> Outcome {
    let full = |it: &Opened| it.prefix.len() + usize::from(it.size);
    let scene = probe.grouped()?;
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    for channel in scene.opened() {
        let size = *sizes.entry(channel.group).or_insert_with(|| full(&channel));
        if size != full(&channel) {
            return Err(Miss::fail(
                "one full extranonce size (prefix and rolled part) in a group",
                format!("{size} and {} bytes in group {}", full(&channel), channel.group),
            ));
        }
    }
    match sizes.len() {
        0 => Err(Miss::skip("no channel was opened")),
        _ => Ok(sizes
            .iter()
            .map(|(id, size)| format!("group {id}: {size} bytes"))
            .collect::<Vec<_>>()
            .join(", ")),
    }
}

/// A target is never above what the client asked for.
pub(in crate::probe) fn max_target(probe: &Probe) -> Outcome {
    probe.mining()?;
    let wanted = U256(Target::from_work(HARD_WORK).0);
    let mut one = U256::ZERO;
    if let Some(low) = one.0.first_mut() {
        *low = 1;
    }
    let mut seen = Vec::new();
    for (what, max_target) in [("of 2^44 hashes", wanted), ("of 1", one)] {
        let frame = ask(probe, 0, EXTENDED, max_target, EXTRANONCE_MIN)?;
        match opened(&frame) {
            Some(it) if Target(it.target.0) > Target(max_target.0) => {
                let target = super::super::scene::big_endian(&it.target);
                let seen = format!("for a max_target {what}: target {target}");
                return Err(
                    Miss::fail("a target not above max_target, or an Error", seen).with(&frame.bytes())
                );
            }
            _ => seen.push(format!("a max_target {what}: {}", frame.name())),
        }
    }
    Ok(seen.join("; "))
}

/// The extranonce is as long as was asked for, or the channel is refused; never beyond 32 bytes in all.
pub(in crate::probe) fn extranonce_size(probe: &Probe) -> Outcome {
    probe.mining()?;
    let mut seen = Vec::new();
    for size in [0, 8, 16, 33] {
        let frame = ask(probe, 0, EXTENDED, U256::MAX, size)?;
        let expected = format!("at least {size} bytes, 32 with the prefix, or an Error");
        if let Some(it) = opened(&frame) {
            let text = format!(
                "min_extranonce_size {size}: {} bytes after a prefix of {}",
                it.size,
                it.prefix.len()
            );
            if it.size < size || it.prefix.len() + usize::from(it.size) > 32 {
                return Err(Miss::fail(expected, text).with(&frame.bytes()));
            }
            seen.push(text);
        } else {
            seen.push(format!("min_extranonce_size {size}: {}", frame.name()));
        }
    }
    Ok(seen.join("; "))
}

/// Opens one channel on a connection of its own and gives the answer.
fn ask(probe: &Probe, flags: u32, extended: bool, max_target: U256, min: u16) -> Result<Frame, Miss> {
    let (mut peer, _) = super::super::peer::Peer::join(&probe.ground, 0, flags)?;
    peer.say_frame(&open(&probe.ground, extended, ODD_REQUEST, max_target, min))?;
    let (answer, _) = peer.await_frame(|frame| answers(frame, ODD_REQUEST).then(|| frame.clone()))?;
    let kind = if extended == STANDARD {
        "standard"
    } else {
        "extended"
    };
    answer.map_err(|heard: Heard| {
        Miss::fail(
            format!("an answer to an open request for a {kind} channel"),
            heard.text(),
        )
    })
}

/// Holds the channels of each scene to a rule.
fn each_scene(probe: &Probe, broken: impl Fn(&[Opened]) -> Option<Miss>) -> Outcome {
    let mut count = 0;
    for scene in [probe.grouped(), probe.header_only(), probe.rolling()] {
        let channels = scene.map(|scene| scene.opened()).unwrap_or_default();
        count += channels.len();
        if let Some(miss) = broken(&channels) {
            return Err(miss);
        }
    }
    match count {
        0 | 1 => Err(Miss::skip("fewer than two channels were opened")),
        _ => Ok(format!("{count} channels on three connections")),
    }
}
