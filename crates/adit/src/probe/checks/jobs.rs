//! MIN: the first jobs of a channel and what they hold.

use adit_wire::common::flags;
use adit_wire::mining::{NewExtendedMiningJob, ToClient};
use bitcoin::consensus::Decodable;

use super::super::Probe;
use super::super::frame::{Frame, names};
use super::super::scene::{Opened, Scene};
use super::super::verdict::{Miss, Outcome};

/// A standard channel's first message is a future NewMiningJob.
pub(in crate::probe) fn first_standard(probe: &Probe) -> Outcome {
    let scene = probe.header_only()?;
    first(
        scene,
        false,
        "NewMiningJob without min_ntime",
        |message| matches!(message, ToClient::NewMiningJob(job) if job.min_ntime.is_none()),
    )
}

/// An extended channel's first message is a future NewExtendedMiningJob.
pub(in crate::probe) fn first_extended(probe: &Probe) -> Outcome {
    let scene = probe.grouped()?;
    first(
        scene,
        true,
        "NewExtendedMiningJob without min_ntime",
        |message| matches!(message, ToClient::NewExtendedMiningJob(job) if job.min_ntime.is_none()),
    )
}

fn first(scene: &Scene, extended: bool, expected: &str, is: impl Fn(&ToClient) -> bool) -> Outcome {
    let channels: Vec<Opened> = scene
        .opened()
        .into_iter()
        .filter(|it| it.extended == extended)
        .collect();
    if channels.is_empty() {
        return Err(Miss::skip("no such channel was opened"));
    }
    for channel in &channels {
        let after = works(scene, channel);
        let frame = after
            .first()
            .ok_or_else(|| Miss::fail(expected, format!("nothing came: {}", scene.seen())))?;
        if !frame.mining().is_some_and(|message| is(&message)) {
            let seen = names(after.iter().copied());
            return Err(Miss::fail(expected, seen).with(&frame.bytes()));
        }
    }
    Ok(expected.to_owned())
}

/// Then SetNewPrevHash names that job.
pub(in crate::probe) fn then_prev_hash(probe: &Probe) -> Outcome {
    let mut count = 0;
    for scene in [probe.grouped()?, probe.header_only()?] {
        for channel in scene.opened() {
            let after = works(scene, &channel);
            let messages: Vec<ToClient> = after.iter().filter_map(|frame| frame.mining()).collect();
            let future = messages.iter().find_map(|message| match message {
                ToClient::NewMiningJob(job) if job.min_ntime.is_none() => Some(job.job_id),
                ToClient::NewExtendedMiningJob(job) if job.min_ntime.is_none() => Some(job.job_id),
                _ => None,
            });
            // A server that sends no future job at all is found by the checks of the first message.
            let Some(job) = future else { continue };
            let named = messages
                .iter()
                .any(|message| matches!(message, ToClient::SetNewPrevHash(tip) if tip.job_id == job));
            if !named {
                return Err(Miss::fail(
                    format!("SetNewPrevHash that names job {job} of channel {}", channel.id),
                    names(after.iter().copied()),
                ));
            }
            count += 1;
        }
    }
    match count {
        0 => Err(Miss::skip("no future job came")),
        _ => Ok(format!("for {count} channels")),
    }
}

/// With REQUIRES_STANDARD_JOBS there are neither extended jobs nor SetGroupChannel.
pub(in crate::probe) fn header_only(probe: &Probe) -> Outcome {
    let scene = probe.header_only()?;
    let wrong = |frame: &&Frame| {
        matches!(
            frame.mining(),
            Some(ToClient::NewExtendedMiningJob(_) | ToClient::SetGroupChannel(_))
        )
    };
    match scene.frames.iter().find(wrong) {
        None if scene.opened().is_empty() => Err(Miss::skip("no channel was opened")),
        None => Ok(names(&scene.frames)),
        Some(frame) => Err(Miss::fail("NewMiningJob only", frame.name()).with(&frame.bytes())),
    }
}

/// With REQUIRES_VERSION_ROLLING every job allows it.
pub(in crate::probe) fn rolling_allowed(probe: &Probe) -> Outcome {
    let scene = probe.rolling()?;
    let jobs = extended_jobs(scene);
    if jobs.is_empty() {
        return Err(Miss::skip("no extended job came"));
    }
    match jobs.iter().find(|(job, _)| !job.version_rolling_allowed) {
        None => Ok(format!("in {} jobs", jobs.len())),
        Some((_, frame)) => {
            Err(Miss::fail("version_rolling_allowed", "a job without it").with(&frame.bytes()))
        }
    }
}

/// With REQUIRES_FIXED_VERSION no job allows it.
pub(in crate::probe) fn fixed_jobs(probe: &Probe) -> Outcome {
    let scene = probe.grouped()?;
    if scene.success_flags & flags::REQUIRES_FIXED_VERSION == 0 {
        return Err(Miss::skip("the server does not require a fixed version"));
    }
    let jobs = extended_jobs(scene);
    match jobs.iter().find(|(job, _)| job.version_rolling_allowed) {
        None => Ok(format!("in {} jobs", jobs.len())),
        Some((_, frame)) => {
            Err(Miss::fail("jobs that forbid version rolling", "one that allows it").with(&frame.bytes()))
        }
    }
}

/// Prefix, extranonce and suffix make a transaction with one input and no witness.
pub(in crate::probe) fn stripped_coinbase(probe: &Probe) -> Outcome {
    let scene = probe.grouped()?;
    let channels = scene.opened();
    let mut count = 0;
    for (job, frame) in extended_jobs(scene) {
        let size = channels
            .iter()
            .find(|it| it.id == job.channel_id || it.group == job.channel_id)
            .map(|it| it.prefix.len() + usize::from(it.size));
        let Some(size) = size else { continue };
        let coinbase = [
            &job.coinbase_tx_prefix[..],
            &vec![0; size],
            &job.coinbase_tx_suffix,
        ]
        .concat();
        let fail = |seen: &str| {
            let expected =
                format!("a coinbase without marker, flag and witness around {size} bytes of extranonce");
            Err(Miss::fail(expected, seen).with(&frame.bytes()))
        };
        // Version, then the count of inputs: 0 is the marker of BIP 141.
        if coinbase.get(4) != Some(&1) {
            return fail("it does not have one input");
        }
        let mut rest = &coinbase[..];
        match bitcoin::Transaction::consensus_decode(&mut rest) {
            Ok(it) if rest.is_empty() && it.is_coinbase() => count += 1,
            Ok(_) if !rest.is_empty() => return fail("bytes behind the transaction"),
            Ok(_) => return fail("no coinbase"),
            Err(_) => return fail("no transaction"),
        }
    }
    match count {
        0 => Err(Miss::skip("no extended job came")),
        _ => Ok(format!("{count} coinbases")),
    }
}

/// What came for a channel, targets and groupings aside.
fn works<'a>(scene: &'a Scene, channel: &Opened) -> Vec<&'a Frame> {
    let mut after = scene.after_opening(channel);
    after.retain(|frame| {
        matches!(
            frame.mining(),
            Some(ToClient::NewMiningJob(_) | ToClient::NewExtendedMiningJob(_) | ToClient::SetNewPrevHash(_))
        )
    });
    after
}

fn extended_jobs(scene: &Scene) -> Vec<(NewExtendedMiningJob, &Frame)> {
    let job = |frame: &Frame| match frame.mining() {
        Some(ToClient::NewExtendedMiningJob(job)) => Some(job),
        _ => None,
    };
    scene
        .frames
        .iter()
        .filter_map(|frame| Some((job(frame)?, frame)))
        .collect()
}
