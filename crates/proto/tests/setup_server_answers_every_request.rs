//! What a server says to every kind of SetupConnection (spec 3.6).

use std::sync::Arc;
use std::time::Duration;

use adit_proto::setup::{Served, Server, ServerInput as Input, ServerOutput as Output, Settings};
use adit_proto::{Fault, Time};
use adit_wire::Str0_255;
use adit_wire::common::{SetupConnection, ToClient, flags, protocol};
use proptest::prelude::*;

const START: Time = Time(1_000_000);
const SUPPORTED: u32 = flags::REQUIRES_STANDARD_JOBS | flags::REQUIRES_VERSION_ROLLING;

fn settings(success_flags: u32) -> Arc<Settings> {
    let mining = Served {
        protocol: protocol::MINING,
        supported_flags: SUPPORTED,
        required_flags: 0,
        success_flags,
    };
    let templates = Served {
        protocol: protocol::TEMPLATE_DISTRIBUTION,
        supported_flags: 0,
        required_flags: 0,
        success_flags: 0,
    };
    Arc::new(Settings {
        protocols: vec![mining, templates],
        timeout: Duration::from_secs(10),
    })
}

fn setup() -> SetupConnection {
    let text = |text: &str| Str0_255::try_from(text).expect("short");
    SetupConnection {
        protocol: protocol::MINING,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text("127.0.0.1"),
        endpoint_port: 3333,
        vendor: text("adit"),
        hardware_version: text("cpu"),
        firmware: text("1"),
        device_id: text(""),
    }
}

fn send(server: &mut Server, message: SetupConnection) -> (Vec<Output>, Result<(), Fault>) {
    let mut out = Vec::new();
    let result = server.handle(START, Input::Message(message.into()), &mut out);
    (out, result)
}

/// The answer to `message` as (flags, code) of an Error, or `None` for Success.
fn refusal(message: SetupConnection) -> Option<(u32, String)> {
    let mut server = Server::new(START, settings(0));
    let (out, result) = send(&mut server, message);
    match &out[..] {
        [Output::Send(ToClient::SetupConnectionError(error))] => {
            assert!(
                matches!(result, Err(Fault::Incompatible(_))),
                "closes after the Error (REQ-COM-013)"
            );
            assert_eq!(server.deadline(), None);
            Some((error.flags, error.error_code.as_str().expect("text").to_owned()))
        }
        [
            Output::Send(ToClient::SetupConnectionSuccess(_)),
            Output::Established(_),
        ] => {
            assert_eq!(result, Ok(()));
            None
        }
        other => panic!("one answer, not {other:?}"),
    }
}

/// REQ-COM-003, REQ-COM-011.
#[test]
fn a_fitting_request_is_established() {
    let mut server = Server::new(START, settings(0));
    assert_eq!(server.deadline(), Some(START + Duration::from_secs(10)));
    let message = SetupConnection {
        max_version: 5,
        flags: SUPPORTED,
        ..setup()
    };
    let (out, result) = send(&mut server, message);
    assert_eq!(result, Ok(()));
    let [
        Output::Send(ToClient::SetupConnectionSuccess(success)),
        Output::Established(established),
    ] = &out[..]
    else {
        panic!("{out:?}");
    };
    assert_eq!((success.used_version, success.flags), (2, 0));
    assert_eq!(
        (established.protocol, established.version, established.flags),
        (protocol::MINING, 2, SUPPORTED)
    );
    assert_eq!(established.device.vendor.as_str(), Some("adit"));
    assert_eq!(established.endpoint_port, 3333);
    assert_eq!(server.deadline(), None);
}

/// REQ-COM-012: no common version, and flags 0 as the cause is another (REQ-COM-017).
#[test]
fn versions_without_two_are_refused() {
    for (min_version, max_version) in [(3, 3), (0, 1), (3, 2), (2, 1), (3, u16::MAX)] {
        let refused = refusal(SetupConnection {
            min_version,
            max_version,
            ..setup()
        });
        assert_eq!(
            refused,
            Some((0, "protocol-version-mismatch".into())),
            "{min_version}..{max_version}"
        );
    }
    for (min_version, max_version) in [(2, 2), (0, u16::MAX), (1, 2), (2, 5)] {
        assert_eq!(
            refusal(SetupConnection {
                min_version,
                max_version,
                ..setup()
            }),
            None
        );
    }
}

/// REQ-COM-020, REQ-COM-017, REQ-JDIST-001, REQ-JDIST-002: whatever else is wrong, flags stay 0; Job Distribution is a
/// protocol like any other that is not served.
#[test]
fn a_protocol_not_served_is_refused() {
    for number in [protocol::JOB_DECLARATION, protocol::JOB_DISTRIBUTION, 9, 255] {
        let refused = refusal(SetupConnection {
            protocol: number,
            flags: u32::MAX,
            ..setup()
        });
        assert_eq!(refused, Some((0, "unsupported-protocol".into())));
    }
    assert_eq!(
        refusal(SetupConnection {
            protocol: protocol::TEMPLATE_DISTRIBUTION,
            ..setup()
        }),
        None
    );
}

proptest! {
    /// REQ-COM-015, REQ-COM-027: whenever and on whichever connection or server of one configuration it is asked, the
    /// same request gets the same answer, and its code is one of the table.
    #[test]
    fn servers_of_one_configuration_answer_alike(
        flags: u32, number in 0u8..6, min_version in 0u16..4, max_version in 0u16..4, later in 0u64..1_000_000,
    ) {
        let request = SetupConnection { protocol: number, min_version, max_version, flags, ..setup() };
        let first = send(&mut Server::new(START, settings(0)), request.clone());
        let mut out = Vec::new();
        let end = Server::new(Time(START.0 - later), settings(0)).handle(START, Input::Message(request.into()), &mut out);
        let other = (out, end);
        if let [Output::Send(ToClient::SetupConnectionError(error))] = &first.0[..] {
            let known = adit_wire::refusal::SetupConnection::of_code(&error.error_code);
            prop_assert_eq!(known.map(|it| it.code()), error.error_code.as_str());
        }
        prop_assert_eq!(first, other);
    }

    /// REQ-COM-014, REQ-COM-016, REQ-MIN-013: exactly the unsupported bits come back, undefined ones too.
    #[test]
    fn unsupported_flags_come_back_exactly(flags: u32) {
        let refused = refusal(SetupConnection { flags, ..setup() });
        let unsupported = flags & !SUPPORTED;
        let expected = (unsupported != 0).then(|| (unsupported, "unsupported-feature-flags".to_owned()));
        prop_assert_eq!(refused, expected);
    }

    /// Replay: the same list of inputs gives the same outputs.
    #[test]
    fn replay_gives_the_same_outputs(inputs in proptest::collection::vec((0u64..20_000_000, 0u8..4, any::<u32>()), 0..12)) {
        let run = || {
            let mut server = Server::new(START, settings(0));
            let mut out = Vec::new();
            let results: Vec<_> = inputs.iter().map(|(after, kind, flags)| {
                let input = match kind {
                    0 => Input::Message(SetupConnection { flags: flags & 7, ..setup() }.into()),
                    1 => Input::Message(SetupConnection { protocol: *flags as u8, ..setup() }.into()),
                    2 => Input::Other,
                    _ => Input::Deadline,
                };
                server.handle(Time(START.0 + after), input, &mut out)
            }).collect();
            (out, results)
        };
        prop_assert_eq!(run(), run());
    }
}

/// REQ-MIN-015, C-53: what the server requires of everybody rules out what contradicts it.
#[test]
fn own_requirements_rule_flags_out() {
    for (success_flags, asked) in [
        (flags::REQUIRES_FIXED_VERSION, flags::REQUIRES_VERSION_ROLLING),
        (flags::REQUIRES_EXTENDED_CHANNELS, flags::REQUIRES_STANDARD_JOBS),
    ] {
        let mut server = Server::new(START, settings(success_flags));
        let (out, _) = send(
            &mut server,
            SetupConnection {
                flags: SUPPORTED,
                ..setup()
            },
        );
        let [Output::Send(ToClient::SetupConnectionError(error))] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(error.flags, asked);

        let mut server = Server::new(START, settings(success_flags));
        let (out, _) = send(
            &mut server,
            SetupConnection {
                flags: SUPPORTED & !asked,
                ..setup()
            },
        );
        let Some(Output::Send(ToClient::SetupConnectionSuccess(success))) = out.first() else {
            panic!("{out:?}")
        };
        assert_eq!(success.flags, success_flags);
    }
}

/// REQ-COM-004, REQ-COM-005: anything else first ends the connection, without a word.
#[test]
fn another_first_message_ends_the_connection() {
    let mut server = Server::new(START, settings(0));
    let mut out = Vec::new();
    assert!(matches!(
        server.handle(START, Input::Other, &mut out),
        Err(Fault::Misbehaved(_))
    ));
    assert!(out.is_empty());
}

/// REQ-COM-006: a second SetupConnection changes nothing.
#[test]
fn a_second_setup_is_ignored() {
    let mut server = Server::new(START, settings(0));
    send(&mut server, setup()).1.unwrap();
    let (out, result) = send(
        &mut server,
        SetupConnection {
            protocol: 9,
            ..setup()
        },
    );
    assert_eq!((out, result), (vec![], Ok(())));
    assert_eq!(server.handle(START, Input::Other, &mut Vec::new()), Ok(()));
}

/// A silent client is let go at the deadline, not before, and never after it is established.
#[test]
fn silence_expires() {
    let mut server = Server::new(START, settings(0));
    let until = server.deadline().unwrap();
    let mut out = Vec::new();
    assert_eq!(
        server.handle(Time(until.0 - 1), Input::Deadline, &mut out),
        Ok(())
    );
    assert!(matches!(
        server.handle(until, Input::Deadline, &mut out),
        Err(Fault::Expired(_))
    ));
    assert!(out.is_empty());

    let mut server = Server::new(START, settings(0));
    send(&mut server, setup()).1.unwrap();
    assert_eq!(server.handle(Time(u64::MAX), Input::Deadline, &mut out), Ok(()));
}
