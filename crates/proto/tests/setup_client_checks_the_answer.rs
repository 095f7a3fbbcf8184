//! What a client sends first and how it takes the answer (spec 3.6).

use std::time::Duration;

use adit_proto::setup::{
    Client, ClientEvent as Event, ClientInput as Input, ClientOutput as Output, Device, Request,
};
use adit_proto::{Fault, Time};
use adit_wire::common::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
    ToClient, ToServer, flags, protocol,
};
use adit_wire::{Message, Str0_255};

const START: Time = Time(5_000_000);

fn text(text: &str) -> Str0_255 {
    Str0_255::try_from(text).expect("short")
}

fn request(flags: u32) -> Request {
    Request {
        protocol: protocol::MINING,
        flags,
        endpoint_host: text("pool.example"),
        endpoint_port: 3336,
        device: Device {
            vendor: text("adit"),
            hardware_version: text("cpu"),
            ..Device::default()
        },
        timeout: Duration::from_secs(5),
    }
}

fn started(flags: u32) -> (Client, SetupConnection) {
    let mut client = Client::new(request(flags));
    assert_eq!(client.deadline(), None);
    let mut out = Vec::new();
    client.handle(START, Input::Start, &mut out).expect("starts");
    match out.pop() {
        Some(Output::Send(ToServer::SetupConnection(setup))) if out.is_empty() => (client, setup),
        other => panic!("{other:?}"),
    }
}

fn give(client: &mut Client, message: impl Into<ToClient>) -> (Vec<Output>, Result<(), Fault>) {
    let mut out = Vec::new();
    let result = client.handle(START, Input::Message(message.into()), &mut out);
    (out, result)
}

/// REQ-COM-002, REQ-COM-007, REQ-COM-008, REQ-COM-009, REQ-COM-010, REQ-COM-021: the first bytes of a client.
#[test]
fn setup_comes_first_and_once() {
    let (mut client, setup) = started(flags::REQUIRES_STANDARD_JOBS);
    assert_eq!((setup.min_version, setup.max_version), (2, 2));
    assert!(!setup.vendor.is_empty() && !setup.hardware_version.is_empty() && setup.device_id.is_empty());
    assert_eq!(
        (setup.endpoint_host.as_str(), setup.endpoint_port),
        (Some("pool.example"), 3336)
    );
    let mut bytes = Vec::new();
    setup.encode_frame(&mut bytes);
    assert_eq!(bytes[..3], [0, 0, 0]);
    assert_eq!(bytes[6..11], [0, 2, 0, 2, 0]);

    let mut out = Vec::new();
    client.handle(START, Input::Start, &mut out).unwrap();
    assert!(out.is_empty(), "said once");
}

/// REQ-COM-011, REQ-COM-019: the answer is checked and its flags are handed on.
#[test]
fn success_establishes() {
    let (mut client, _) = started(0);
    let success = SetupConnectionSuccess {
        used_version: 2,
        flags: flags::REQUIRES_EXTENDED_CHANNELS,
    };
    let (out, result) = give(&mut client, success);
    assert_eq!(result, Ok(()));
    let success_flags = flags::REQUIRES_EXTENDED_CHANNELS;
    assert_eq!(
        out,
        [Output::Event(Event::Established {
            version: 2,
            success_flags
        })]
    );
    assert_eq!(client.deadline(), None);
    assert_eq!(client.handle(START, Input::Other, &mut Vec::new()), Ok(()));
}

/// REQ-COM-011, REQ-MIN-015, C-53.
#[test]
fn an_answer_that_does_not_fit_ends_the_connection() {
    let rolling = flags::REQUIRES_VERSION_ROLLING;
    let standard = flags::REQUIRES_STANDARD_JOBS;
    for (asked, used_version, flags) in [
        (0, 3, 0),
        (0, 1, 0),
        (rolling, 2, flags::REQUIRES_FIXED_VERSION),
        (standard, 2, flags::REQUIRES_EXTENDED_CHANNELS),
    ] {
        let (mut client, _) = started(asked);
        let (out, result) = give(&mut client, SetupConnectionSuccess { used_version, flags });
        assert!(matches!(result, Err(Fault::Incompatible(_))) && out.is_empty());
    }
}

/// REQ-COM-018, REQ-COM-024: the refusal is handed on whatever its code, and the connection ends.
#[test]
fn refusal_ends_the_connection() {
    for code in ["unsupported-feature-flags", "zz-unknown", ""] {
        let (mut client, _) = started(flags::REQUIRES_WORK_SELECTION);
        let (out, result) = give(
            &mut client,
            SetupConnectionError {
                flags: 2,
                error_code: text(code),
            },
        );
        assert_eq!(
            out,
            [Output::Event(Event::Refused {
                flags: 2,
                code: text(code)
            })]
        );
        assert!(matches!(result, Err(Fault::Incompatible(_))));
        let (_, again) = give(
            &mut client,
            SetupConnectionSuccess {
                used_version: 2,
                flags: 0,
            },
        );
        assert!(again.is_err(), "a refused connection stays refused");
    }
}

/// REQ-COM-005: a server that speaks before its answer is let go.
#[test]
fn a_server_that_speaks_out_of_turn_misbehaves() {
    let early: [Input; 3] = [
        Input::Other,
        Input::Message(
            Reconnect {
                new_host: text(""),
                new_port: 0,
            }
            .into(),
        ),
        Input::Message(ChannelEndpointChanged { channel_id: 1 }.into()),
    ];
    for input in early {
        let (mut client, _) = started(0);
        let mut out = Vec::new();
        assert!(matches!(
            client.handle(START, input, &mut out),
            Err(Fault::Misbehaved(_))
        ));
        assert!(out.is_empty());
    }
}

/// REQ-COM-038: Reconnect is understood in every sub-protocol, as it is a common message.
#[test]
fn reconnect_is_understood_in_every_protocol() {
    for protocol in [
        protocol::MINING,
        protocol::JOB_DECLARATION,
        protocol::TEMPLATE_DISTRIBUTION,
    ] {
        let mut client = Client::new(Request {
            protocol,
            ..request(0)
        });
        client
            .handle(START, Input::Start, &mut Vec::new())
            .expect("starts");
        let success = SetupConnectionSuccess {
            used_version: 2,
            flags: 0,
        };
        give(&mut client, success).1.unwrap();
        let (new_host, new_port) = (text("b"), 5);
        let (out, result) = give(&mut client, Reconnect { new_host, new_port });
        let (host, port) = (Some(text("b")), Some(5));
        assert_eq!(
            (out, result),
            (vec![Output::Event(Event::Reconnect { host, port })], Ok(()))
        );
    }
}

/// REQ-COM-033: an empty host and port 0 mean the present ones.
#[test]
fn reconnect_has_four_forms() {
    let (mut client, _) = started(0);
    give(
        &mut client,
        SetupConnectionSuccess {
            used_version: 2,
            flags: 0,
        },
    )
    .1
    .unwrap();
    for (new_host, new_port) in [("", 0), ("other.example", 0), ("", 34), ("other.example", 34)] {
        let (out, result) = give(
            &mut client,
            Reconnect {
                new_host: text(new_host),
                new_port,
            },
        );
        assert_eq!(result, Ok(()));
        let host = (!new_host.is_empty()).then(|| text(new_host));
        let port = (new_port != 0).then_some(new_port);
        assert_eq!(out, [Output::Event(Event::Reconnect { host, port })]);
    }
    let (out, _) = give(&mut client, ChannelEndpointChanged { channel_id: 7 });
    assert_eq!(out, [Output::Event(Event::EndpointChanged { channel: 7 })]);
}

#[test]
fn a_silent_server_expires() {
    let (mut client, _) = started(0);
    let until = client.deadline().unwrap();
    assert_eq!(until, START + Duration::from_secs(5));
    let mut out = Vec::new();
    assert_eq!(
        client.handle(Time(until.0 - 1), Input::Deadline, &mut out),
        Ok(())
    );
    assert!(matches!(
        client.handle(until, Input::Deadline, &mut out),
        Err(Fault::Expired(_))
    ));
}
