//! MIN: what becomes of shares, good and bad.

use adit_proto::mining::client::{Share, Work};
use adit_proto::target::Target;
use adit_wire::B0_32;
use adit_wire::mining::ToClient;

use super::super::Probe;
use super::super::miner::{Fate, Miner, plain};
use super::super::peer::Heard;
use super::super::scene::{EXTENDED, STANDARD};
use super::super::verdict::{Miss, Outcome};

/// Hashes of one unit of difficulty.
const DIFFICULTY: u128 = 1 << 32;
/// Seconds ahead of the clock that consensus allows with ease.
const AHEAD_S: u64 = 600;

fn accepted(fate: &Fate, expected: &str) -> Outcome {
    match fate {
        Fate::Accepted(_) => Ok(fate.text()),
        Fate::Refused(_, frame) => Err(Miss::fail(expected, fate.text()).with(&frame.bytes())),
        Fate::Unanswered(Heard::Silence) => Err(Miss::skip("no verdict in time; see share.acknowledged")),
        Fate::Unanswered(_) => Err(Miss::fail(expected, fate.text())),
    }
}

fn refused(fate: &Fate, what: &str) -> Outcome {
    match fate {
        Fate::Refused(..) => Ok(fate.text()),
        _ => Err(Miss::fail(format!("SubmitShares.Error for {what}"), fate.text())),
    }
}

/// A share at the channel's target is taken, header-only.
pub(in crate::probe) fn standard(probe: &Probe) -> Outcome {
    let (_, fate) = probe.standard()?.good(plain, &[])?;
    accepted(&fate, "SubmitShares.Success for a hash that meets the target")
}

/// The same with an extranonce of our own: the coinbase is put together as the spec says.
pub(in crate::probe) fn extended(probe: &Probe) -> Outcome {
    let (_, fate) = probe.extended()?.good(plain, &[])?;
    accepted(
        &fate,
        "SubmitShares.Success for a hash that meets the target, with an extranonce of ours",
    )
}

/// A few shares are acknowledged though no more follow.
pub(in crate::probe) fn acknowledged(probe: &Probe) -> Outcome {
    let (_, fate) = probe.miner()?.good(plain, &[])?;
    match &fate {
        Fate::Unanswered(Heard::Silence) => Err(Miss::fail(
            "SubmitShares.Success for a single share",
            format!("no answer within {} ms", probe.ground.settings.options.answer_ms),
        )),
        Fate::Accepted(_) => Ok(fate.text()),
        _ => Err(Miss::skip("the share was not accepted")),
    }
}

/// Three shares one after the other: the answers count them, and name the last.
pub(in crate::probe) fn counts(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let mut counted = 0;
    for submitted in 1..=3 {
        let (_, fate) = miner.good(plain, &[])?;
        let Fate::Accepted(it) = &fate else {
            return Err(Miss::skip(format!("a share got no Success: {}", fate.text())));
        };
        counted += it.new_submits_accepted_count;
        if counted != submitted {
            return Err(Miss::fail(
                format!("{submitted} shares counted in all, each in one Success"),
                format!("{counted} counted; the last answer is {}", fate.text()),
            ));
        }
    }
    Ok("3 shares, 3 counted".to_owned())
}

/// new_shares_sum is the difficulty of the share's target.
pub(in crate::probe) fn sum(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let target = miner.work()?.target;
    let (_, fate) = miner.good(plain, &[])?;
    let Fate::Accepted(it) = &fate else {
        return Err(Miss::skip(format!("the share got no Success: {}", fate.text())));
    };
    let expected = Target(target.0).work() / DIFFICULTY;
    // Servers round in their own ways, and some count fractions from before.
    let leeway = expected / 500 + 1;
    if u128::from(it.new_shares_sum).abs_diff(expected) > leeway {
        return Err(Miss::fail(
            format!("a sum of {expected}, the difficulty of the target (2^32 hashes a unit)"),
            fate.text(),
        ));
    }
    Ok(format!(
        "{} for {} hashes",
        it.new_shares_sum,
        Target(target.0).work()
    ))
}

/// A hash above the target.
pub(in crate::probe) fn too_easy(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let work = miner.work()?;
    let share = miner.find_bad(&work, plain(&work))?;
    refused(&miner.share(&share)?, "a hash above the target")
}

/// The same share twice.
pub(in crate::probe) fn duplicate(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let (share, fate) = miner.good(plain, &[])?;
    if matches!(fate, Fate::Refused(..)) {
        return Err(Miss::skip("the share was refused the first time"));
    }
    refused(&miner.share(&share)?, "a share that was submitted before")
}

/// A job that was never sent.
pub(in crate::probe) fn unknown_job(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let work = miner.work()?;
    let share = miner
        .find(&work, plain(&work))
        .or_else(|_| miner.find_bad(&work, plain(&work)))?;
    let job_id = work.job_id ^ 0x5a5a_0000;
    refused(
        &miner.share(&Share { job_id, ..share })?,
        "a job that was never sent",
    )
}

/// A channel that is not there: Error, or nothing, but no end.
pub(in crate::probe) fn unknown_channel(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let work = miner.work()?;
    let channel = u32::MAX - 3;
    let fate = miner.share(&Share {
        channel,
        ..plain(&work)
    })?;
    match &fate {
        Fate::Refused(..) => Ok(fate.text()),
        Fate::Unanswered(Heard::Silence) => super::ignored(miner.peer.barrier()?),
        _ => Err(Miss::fail(
            "SubmitShares.Error for an unknown channel, or nothing",
            fate.text(),
        )),
    }
}

/// A share of the other kind.
pub(in crate::probe) fn wrong_kind(probe: &Probe) -> Outcome {
    let mut miner = probe.extended()?;
    let work = miner.work()?;
    let share = miner.find(&work, plain(&work))?;
    let sequence = miner.submit_as(STANDARD, &share, &[])?;
    let fate = miner.fate(sequence)?;
    match &fate {
        Fate::Accepted(_) => Err(Miss::fail(
            "no Success for SubmitSharesStandard on an extended channel",
            fate.text(),
        )),
        _ => Ok(fate.text()),
    }
}

/// An extranonce that is a byte short.
pub(in crate::probe) fn short_extranonce(probe: &Probe) -> Outcome {
    let mut miner = probe.extended()?;
    let work = miner.work()?;
    let whole = plain(&work);
    let cut = whole.extranonce.len().saturating_sub(1);
    let extranonce = B0_32::new(whole.extranonce.get(..cut).unwrap_or_default()).unwrap_or_default();
    let share = miner.find(&work, Share { extranonce, ..whole })?;
    let sequence = miner.submit_as(EXTENDED, &share, &[])?;
    match miner.fate(sequence)? {
        Fate::Unanswered(Heard::End) => Ok("the server hangs up".to_owned()),
        fate => refused(&fate, "an extranonce a byte shorter than the channel's"),
    }
}

/// A version with a bit flipped that may not be rolled.
pub(in crate::probe) fn version_bits(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let work = miner.work()?;
    let flipped = |work: &Work| Share {
        version: work.version ^ 1,
        ..plain(work)
    };
    let share = miner.find(&work, flipped(&work))?;
    refused(&miner.share(&share)?, "a version that differs in bit 0")
}

/// A header time before the job's.
pub(in crate::probe) fn early_ntime(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let work = miner.work()?;
    let early = Share {
        ntime: work.min_ntime.saturating_sub(1),
        ..plain(&work)
    };
    let share = miner.find(&work, early)?;
    refused(&miner.share(&share)?, "a header time below min_ntime")
}

/// A header time that has been rolled for as long as the job is known.
pub(in crate::probe) fn rolled_ntime(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let known = miner.work()?.job_id;
    std::thread::sleep(std::time::Duration::from_millis(1_050));
    let clock = probe.ground.clock.clone();
    let (share, fate) = miner.good(
        |work| Share {
            ntime: work.max_ntime(clock.now()),
            ..plain(work)
        },
        &[],
    )?;
    let rolled = if share.job_id == known {
        "rolled by a second"
    } else {
        "of a newer job"
    };
    accepted(&fate, &format!("SubmitShares.Success for a header time {rolled}"))
}

/// A header time ten minutes ahead, which consensus allows.
pub(in crate::probe) fn late_ntime(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let ahead = u32::try_from(probe.ground.clock.unix_s() + AHEAD_S).unwrap_or(u32::MAX);
    let (_, fate) = miner.good(
        |work| Share {
            ntime: ahead.max(work.min_ntime),
            ..plain(work)
        },
        &[],
    )?;
    accepted(
        &fate,
        "SubmitShares.Success for a header time 600 s ahead of the clock",
    )
}

/// A share of a job from before the newest block. Where a block takes few hashes, as on test chains, one is found.
pub(in crate::probe) fn stale(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let (old, block) = next_block(&mut miner)?;
    let share = miner.find(&old, plain(&old))?;
    if Miner::hash(&old, &share) == block {
        return Err(Miss::skip("the old job has only one solution"));
    }
    refused(&miner.share(&share)?, "a job from before the newest block")
}

/// A block that a client finds becomes the next block.
pub(in crate::probe) fn block_found(probe: &Probe) -> Outcome {
    let mut miner = probe.miner()?;
    let (_, hash) = next_block(&mut miner)?;
    let now = miner.work()?.prev_hash.0;
    if now == hash {
        return Ok("our block is the next job's previous block".to_owned());
    }
    Err(Miss::skip("another block came first"))
}

/// Finds a block, if the chain is one where that is quick, and waits for the next previous block. Gives the work
/// before it and the hash of the block.
fn next_block(miner: &mut Miner) -> Result<(Work, [u8; 32]), Miss> {
    let ground = std::rc::Rc::clone(miner.peer.ground());
    let old = miner.work()?;
    let network = Target::from_nbits(old.nbits);
    let most = ground.settings.options.hashes / 4;
    if network.work() > u128::from(most) {
        return Err(Miss::skip(
            "no new block came, and finding one takes more hashes than may be tried",
        ));
    }
    let target = network.min(Target(old.target.0));
    let share = miner.find_at(&old, plain(&old), &target.0)?;
    let sequence = miner.submit(&share, &[])?;
    let until = ground.clock.now() + ground.settings.answer();
    loop {
        let heard = miner.hear(until - ground.clock.now())?;
        let Heard::Frame(frame) = heard else {
            return Err(Miss::fail(
                "SetNewPrevHash after a block was found",
                format!("share {sequence} is a block; {}", heard.text()),
            ));
        };
        match frame.mining() {
            Some(ToClient::SetNewPrevHash(it)) if it.prev_hash != old.prev_hash => {
                return Ok((old.clone(), Miner::hash(&old, &share)));
            }
            Some(ToClient::SubmitSharesError(it)) if it.sequence_number == sequence => {
                return Err(Miss::skip("the block was refused as a share"));
            }
            _ => {}
        }
    }
}
