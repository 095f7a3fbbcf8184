//! SEC: what the handshake shows and how the records behave.

use std::time::Duration;

use adit_noise::{CertificateError, HandshakeError};

use super::super::Probe;
use super::super::frame::names;
use super::super::peer::{Answer, Got, Line, Peer, frame_of, setup};
use super::super::survey::CURRENT;
use super::super::verdict::{Miss, Outcome};
use super::ignored;

/// The current suite is served: act 2 authenticates.
pub(in crate::probe) fn current_suite(probe: &Probe) -> Outcome {
    let suite = probe.survey.suites.iter().find(|suite| suite.name == CURRENT);
    match suite {
        Some(suite) if suite.served => Ok("act 2 of 234 bytes authenticates".to_owned()),
        Some(suite) => Err(Miss::fail("act 2 of 234 bytes", suite.detail.clone())),
        None => Err(Miss::skip("it was not asked")),
    }
}

/// Offered one algorithm of the 2022 draft at a time, the server takes it and shows a certificate in act 2.
pub(in crate::probe) fn draft_suites(probe: &Probe) -> Outcome {
    let drafts = &probe.survey.drafts;
    if drafts.iter().all(Result::is_err) {
        return Err(Miss::skip("the suites of the 2022 draft are not served"));
    }
    drafts.iter().cloned().collect::<Result<(), Miss>>()?;
    Ok("ChaChaPoly alone and AESGCM alone are taken; act 2 authenticates".to_owned())
}

/// An offer without a known algorithm ends the connection.
pub(in crate::probe) fn draft_unknown(probe: &Probe) -> Outcome {
    match &probe.survey.unknown_code {
        None => Err(Miss::skip("the suites of the 2022 draft are not served")),
        Some(Err(miss)) => Err(miss.clone()),
        Some(Ok(Got::End)) => Ok("the server hangs up".to_owned()),
        Some(Ok(Got::Silence)) => Err(Miss::fail("the end of the connection", "it stays open")),
        Some(Ok(Got::Bytes(bytes))) => Err(Miss::fail("the end of the connection", "an answer").with(bytes)),
    }
}

/// The certificate is signed by the authority of the URL.
pub(in crate::probe) fn signature(probe: &Probe) -> Outcome {
    let Some(certificate) = &probe.survey.certificate else {
        return Err(Miss::skip("there was no handshake"));
    };
    match (certificate.verified, &certificate.authority) {
        (Some(true), Some(key)) => Ok(format!("signed by {key}")),
        (Some(false), _) => Err(Miss::fail(
            "a certificate signed by the authority of the URL",
            "a signature that does not verify: the URL has another server's key, or somebody else answers",
        )),
        _ => Err(Miss::skip("the URL has no key")),
    }
}

/// The certificate's form is the one there is.
pub(in crate::probe) fn version(probe: &Probe) -> Outcome {
    let Some(certificate) = &probe.survey.certificate else {
        return Err(Miss::skip("there was no handshake"));
    };
    match certificate.version {
        0 => Ok("version 0".to_owned()),
        other => Err(Miss::fail("version 0", format!("version {other}"))),
    }
}

/// Clients, which must refuse a certificate outside its window, will take it.
pub(in crate::probe) fn window(probe: &Probe) -> Outcome {
    let Some(certificate) = &probe.survey.certificate else {
        return Err(Miss::skip("there was no handshake"));
    };
    let (from, to) = (&certificate.valid_from, &certificate.not_valid_after);
    let refused = matches!(
        probe.survey.distrust,
        Some(HandshakeError::Certificate(
            CertificateError::NotYetValid { .. } | CertificateError::Expired { .. }
        ))
    );
    if refused || !certificate.valid_now {
        return Err(Miss::fail(
            "a certificate that is valid now",
            format!("valid from {from} to {to}; {}", certificate.skew),
        ));
    }
    Ok(format!("valid from {from} to {to}; {}", certificate.skew))
}

/// A flipped bit, in the header's record and in the payload's, ends the connection without a word.
pub(in crate::probe) fn damaged_record(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    for (place, at) in [("header", 3), ("payload", 30)] {
        let mut peer = Peer::greet(&probe.ground)?;
        let mut sealed = peer.seal(&frame_of(&setup(&probe.ground, main, 0), &[]))?;
        if let Some(byte) = sealed.get_mut(at) {
            *byte ^= 1;
        }
        peer.line.say(&sealed)?;
        let (ended, said) = peer.ends()?;
        if let Some(first) = said.first() {
            let seen = format!("after a flipped bit in the {place}: {}", names(&said));
            return Err(Miss::fail("the end of the connection without an answer", seen).with(&first.bytes()));
        }
        if !ended {
            return Err(Miss::fail(
                "the end of the connection",
                format!("after a flipped bit in the {place} the connection stays open"),
            ));
        }
    }
    Ok("the server hangs up".to_owned())
}

/// Frames may come in any pieces.
pub(in crate::probe) fn trickled(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    let mut peer = Peer::greet(&probe.ground)?;
    let sealed = peer.seal(&frame_of(&setup(&probe.ground, main, 0), &[]))?;
    for piece in sealed.chunks(7) {
        peer.line.say(piece)?;
        std::thread::sleep(Duration::from_millis(1));
    }
    let heard = peer.hear(probe.ground.settings.answer())?;
    match heard {
        super::Heard::Frame(frame) => Ok(format!("answered with {}", frame.name())),
        other => Err(Miss::fail(
            "an answer to SetupConnection in many small pieces",
            other.text(),
        )),
    }
}

/// A frame without payload has no payload record.
pub(in crate::probe) fn empty_payload(probe: &Probe) -> Outcome {
    let mut peer = probe.join()?;
    peer.say_any(0, false, 0x7f, &[])?;
    ignored(peer.barrier()?)
}

/// Who says nothing at all is not waited for without end.
pub(in crate::probe) fn idle_peer(probe: &Probe) -> Outcome {
    let seconds = probe.ground.settings.options.idle_seconds;
    if seconds == 0 {
        return Err(Miss::skip("not asked for; see --idle-seconds"));
    }
    let mut line = Line::connect(&probe.ground)?;
    let start = probe.ground.clock.now();
    match line.hear(Duration::from_secs(seconds))? {
        Got::End => {
            let after = probe.ground.clock.now() - start;
            Ok(format!("hung up on after {:.1} s", after.as_secs_f64()))
        }
        Got::Silence => Err(Miss::fail(
            format!("the end of a connection that never begins the handshake within {seconds} s"),
            "it stays open",
        )),
        Got::Bytes(bytes) => {
            Err(Miss::fail("silence, then the end", format!("{} bytes", bytes.len())).with(&bytes))
        }
    }
}

/// Nothing readable on a port that is not local.
pub(in crate::probe) fn plaintext(probe: &Probe) -> Outcome {
    let plain = probe
        .survey
        .suites
        .iter()
        .find(|suite| suite.name.starts_with("plaintext"));
    match plain {
        None => Err(Miss::skip("it was not asked")),
        Some(suite) if !suite.served => Ok(format!("not served: {}", suite.detail)),
        Some(_) if probe.ground.settings.url.is_local() => {
            Ok("served, which a local network allows".to_owned())
        }
        Some(suite) => Err(Miss::fail(
            "no answer to unencrypted frames from afar",
            format!("an answer: {}", suite.detail),
        )),
    }
}

/// SetupConnection of a polite client; used where only its being answered matters.
pub(in crate::probe) fn still_answers(probe: &Probe) -> Outcome {
    let main = probe.main()?;
    let greeted = Peer::greet(&probe.ground).and_then(|mut peer| peer.set_up(&setup(&probe.ground, main, 0)));
    match greeted {
        Ok(Answer::Success(_)) => Ok("SetupConnection is answered as at the beginning".to_owned()),
        Ok(_) => Err(Miss::fail(
            "SetupConnection.Success as at the beginning",
            "another answer",
        )),
        // What a connection costs may be used up; a server that is gone is another matter.
        Err(miss @ Miss::Skip(_)) if probe.ground.open().is_err() => Err(miss),
        Err(Miss::Skip(why)) if why.contains("used up") => Err(Miss::Skip(why)),
        Err(Miss::Skip(why) | Miss::Fail { seen: why, .. }) => {
            Err(Miss::fail("a server that is still there", why))
        }
    }
}
