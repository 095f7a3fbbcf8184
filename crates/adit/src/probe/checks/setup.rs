//! COM: how SetupConnection is answered, and what may come before and after it.

use adit_wire::common::{flags, protocol};
use adit_wire::mining::OpenStandardMiningChannel;
use adit_wire::{U256, refusal};

use super::super::Probe;
use super::super::frame::{names, told};
use super::super::peer::{Answer, CLAIM, Heard, Peer, setup};
use super::super::survey::{FLAG_BITS, RANGES, Try, UNDEFINED_PROTOCOL};
use super::super::verdict::{Miss, Outcome};
use crate::device::upstream::text;

/// The highest bit of SetupConnection.flags that means something in some protocol.
const DEFINED_BIT_MAX: u32 = 2;

impl Probe {
    fn try_of(&self, protocol: u8, min: u16, max: u16, flags: u32) -> Result<&Try, Miss> {
        self.survey
            .tried(protocol, min, max, flags)
            .ok_or_else(|| Miss::skip("it could not be asked"))
    }

    fn refused(&self) -> impl Iterator<Item = (&Try, &adit_wire::common::SetupConnectionError)> {
        self.survey.tries.iter().filter_map(|it| match &it.answer {
            Answer::Error(error) => Some((it, error)),
            _ => None,
        })
    }
}

fn text_of(answer: &Answer) -> String {
    match answer {
        Answer::Success(it) => format!(
            "SetupConnection.Success with version {} and flags {:#x}",
            it.used_version, it.flags
        ),
        Answer::Error(it) => format!(
            "SetupConnection.Error {:?} with flags {:#x}",
            told(&it.error_code),
            it.flags
        ),
        Answer::Other(heard) => heard.text(),
    }
}

fn wrong(expected: &str, it: &Try) -> Miss {
    let asked = format!(
        "protocol {}, versions {}..{}, flags {:#x}: ",
        it.asked.protocol, it.asked.min_version, it.asked.max_version, it.asked.flags
    );
    Miss::fail(expected, asked + &text_of(&it.answer)).with(&it.bytes)
}

/// Every SetupConnection of a protocol that is defined gets Success or Error.
pub(in crate::probe) fn answered(probe: &Probe) -> Outcome {
    let defined: Vec<&Try> = probe
        .survey
        .tries
        .iter()
        .filter(|it| it.asked.protocol <= protocol::TEMPLATE_DISTRIBUTION)
        .collect();
    if defined.is_empty() {
        return Err(Miss::skip("there was no handshake"));
    }
    match defined.iter().find(|it| matches!(it.answer, Answer::Other(_))) {
        None => Ok(format!("{} of them", defined.len())),
        Some(it) => Err(wrong("SetupConnection.Success or .Error", it)),
    }
}

/// Something else first is no beginning.
pub(in crate::probe) fn first_message(probe: &Probe) -> Outcome {
    let mut peer = Peer::greet(&probe.ground)?;
    peer.say(&OpenStandardMiningChannel {
        request_id: 1,
        user_identity: text(&probe.ground.settings.options.user),
        nominal_hash_rate: CLAIM,
        max_target: U256::MAX,
    })?;
    let (ended, said) = peer.ends()?;
    if let Some(first) = said.first() {
        return Err(Miss::fail("the end of the connection", names(&said)).with(&first.bytes()));
    }
    match ended {
        true => Ok("the server hangs up".to_owned()),
        false => Err(Miss::fail(
            "the end of the connection",
            "no answer, and it stays open",
        )),
    }
}

/// The server speaks second.
pub(in crate::probe) fn silent_first(probe: &Probe) -> Outcome {
    let mut peer = Peer::greet(&probe.ground)?;
    match peer.hear(probe.ground.settings.quiet())? {
        Heard::Silence => Ok(format!(
            "silent for {} ms",
            probe.ground.settings.options.quiet_ms
        )),
        other => Err(Miss::fail("silence before SetupConnection", other.text()).with(&other.bytes())),
    }
}

/// A second SetupConnection is ignored, or ends the connection.
pub(in crate::probe) fn second_setup(probe: &Probe) -> Outcome {
    let mut peer = probe.join()?;
    peer.say(&setup(&probe.ground, probe.main()?, 0))?;
    match peer.barrier()? {
        Err(Heard::End) => Ok("the server hangs up".to_owned()),
        other => super::ignored(other),
    }
}

/// used_version lies in the range offered.
pub(in crate::probe) fn version_chosen(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    let mut seen = Vec::new();
    for (min, max) in [(2, 2), (2, 5)] {
        let it = probe.try_of(main, min, max, 0)?;
        match &it.answer {
            Answer::Success(success) if (min..=max).contains(&success.used_version) => {
                seen.push(format!("{min}..{max}: {}", success.used_version));
            }
            _ => return Err(wrong("SetupConnection.Success with a version of the range", it)),
        }
    }
    Ok(seen.join(", "))
}

/// Ranges without version 2 are refused.
pub(in crate::probe) fn version_mismatch(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    for (min, max) in RANGES {
        let it = probe.try_of(main, min, max, 0)?;
        let possible = (min..=max).contains(&2);
        let refused = matches!(it.answer, Answer::Error(_)) && it.closed == Some(true);
        if !possible && !refused {
            return Err(wrong("SetupConnection.Error, and the end", it));
        }
    }
    Ok("refused and hung up on".to_owned())
}

/// After Error comes the end.
pub(in crate::probe) fn closes_after_error(probe: &Probe) -> Outcome {
    if let Some((it, _)) = probe.refused().find(|(it, _)| it.closed == Some(false)) {
        return Err(wrong("the end of the connection after Error", it));
    }
    match probe.refused().count() {
        0 => Err(Miss::skip("no SetupConnection was refused")),
        count => Ok(format!("{count} times")),
    }
}

/// Error.flags has exactly the bits that cannot be had. A server that grants all bits at once has to grant each; whether
/// it may grant those that nobody has defined is asked by [`undefined_flags`].
pub(in crate::probe) fn error_flags(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    let all = probe.try_of(main, 2, 2, u32::MAX)?;
    let named = match &all.answer {
        Answer::Error(error) => error.flags,
        Answer::Success(_) => 0,
        Answer::Other(_) => return Err(wrong("SetupConnection.Error or .Success", all)),
    };
    for bit in FLAG_BITS {
        let it = probe.try_of(main, 2, 2, 1 << bit)?;
        let defined = bit <= DEFINED_BIT_MAX;
        match (&it.answer, named & (1 << bit) != 0) {
            (Answer::Error(alone), true) if alone.flags == 1 << bit => {}
            // Another cause than an unsupported flag, such as a flag that may not come alone.
            (Answer::Error(alone), false) if alone.flags == 0 && defined => {}
            (Answer::Success(_), false) => {}
            (Answer::Error(_), true) => {
                return Err(wrong("Error.flags with the one bit that was asked for", it));
            }
            (_, true) => {
                let expected = "an Error, as the bit is named when all bits are asked for";
                return Err(wrong(expected, it));
            }
            (_, false) => {
                let expected = "Success, as the bit is not named when all bits are asked for";
                return Err(wrong(expected, it));
            }
        }
    }
    Ok(match named {
        0 => "no bit is named when all are asked for".to_owned(),
        _ => format!("all bits: {named:#010x} are not supported"),
    })
}

/// Bits that nobody has defined are refused.
pub(in crate::probe) fn undefined_flags(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    for bit in [3, 31] {
        let it = probe.try_of(main, 2, 2, 1 << bit)?;
        if !matches!(it.answer, Answer::Error(_)) {
            return Err(wrong("SetupConnection.Error", it));
        }
    }
    Ok("bits 3 and 31 are refused".to_owned())
}

/// Flags are 0 when they are not the cause.
pub(in crate::probe) fn error_flags_zero(probe: &Probe) -> Outcome {
    let mut refused = 0;
    for (it, error) in probe.refused().filter(|(it, _)| it.asked.flags == 0) {
        refused += 1;
        if error.flags != 0 {
            return Err(wrong("Error.flags of 0, as no flag was asked for", it));
        }
    }
    // A flag that was asked for may be named as a hint; one that was not may not.
    if let Some((it, _)) = probe
        .refused()
        .find(|(it, error)| error.flags & !it.asked.flags != 0)
    {
        return Err(wrong("only flags that were asked for", it));
    }
    match refused {
        0 => Err(Miss::skip("nothing was refused for another cause than flags")),
        _ => Ok(format!("{refused} times")),
    }
}

/// A protocol that nobody has defined is refused.
pub(in crate::probe) fn unknown_protocol(probe: &Probe) -> Outcome {
    let it = probe.try_of(UNDEFINED_PROTOCOL, 2, 2, 0)?;
    match &it.answer {
        Answer::Error(_) => Ok(text_of(&it.answer)),
        _ => Err(wrong("SetupConnection.Error", it)),
    }
}

/// Job distribution is no protocol of the current spec.
pub(in crate::probe) fn job_distribution(probe: &Probe) -> Outcome {
    let it = probe.try_of(protocol::JOB_DISTRIBUTION, 2, 2, 0)?;
    match &it.answer {
        Answer::Error(_) => Ok(text_of(&it.answer)),
        Answer::Success(_) => Ok("served: this implementation defines it".to_owned()),
        Answer::Other(_) => Err(wrong("SetupConnection.Error", it)),
    }
}

/// The codes of the spec, where they fit.
pub(in crate::probe) fn suggested_codes(probe: &Probe) -> Outcome {
    use refusal::SetupConnection as Code;
    let mut seen = 0;
    for (it, error) in probe.refused() {
        let versions = it.asked.min_version..=it.asked.max_version;
        let code = match () {
            () if !probe.survey.serves(it.asked.protocol) => Code::UnsupportedProtocol,
            () if !versions.contains(&2) => Code::ProtocolVersionMismatch,
            () if error.flags != 0 => Code::UnsupportedFeatureFlags,
            () => continue,
        };
        seen += 1;
        if Code::of_code(error.error_code.as_bytes()) != Some(code) {
            return Err(wrong(&format!("the code {:?}", code.code()), it));
        }
    }
    match seen {
        0 => Err(Miss::skip("no SetupConnection was refused")),
        _ => Ok(format!("in {seen} answers")),
    }
}

/// Work selection is granted or refused, never overlooked.
pub(in crate::probe) fn work_selection(probe: &Probe) -> Outcome {
    probe.mining()?;
    let it = probe.try_of(protocol::MINING, 2, 2, flags::REQUIRES_WORK_SELECTION)?;
    match &it.answer {
        Answer::Success(_) => Ok("supported".to_owned()),
        Answer::Error(error) if error.flags & flags::REQUIRES_WORK_SELECTION != 0 => Ok(text_of(&it.answer)),
        _ => Err(wrong("Success, or an Error that names bit 1", it)),
    }
}

/// A server that fixes the version does not take a client that rolls it.
pub(in crate::probe) fn fixed_version(probe: &Probe) -> Outcome {
    probe.mining()?;
    let it = probe.try_of(protocol::MINING, 2, 2, flags::REQUIRES_VERSION_ROLLING)?;
    match &it.answer {
        Answer::Success(success) if success.flags & flags::REQUIRES_FIXED_VERSION != 0 => {
            Err(wrong("Success without REQUIRES_FIXED_VERSION, or an Error", it))
        }
        Answer::Success(_) | Answer::Error(_) => Ok(text_of(&it.answer)),
        Answer::Other(_) => Err(wrong("an answer", it)),
    }
}
