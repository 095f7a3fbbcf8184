//! Client and server of the setup, each fed with what the other puts out.

use std::sync::Arc;
use std::time::Duration;

use adit_proto::setup::{
    Client, ClientEvent, ClientInput, ClientOutput, Device, Request, Served, Server, ServerInput,
    ServerOutput, Settings,
};
use adit_proto::{Fault, Time};
use adit_wire::Str0_255;
use adit_wire::common::protocol;
use proptest::prelude::*;

struct End {
    client: Vec<ClientEvent>,
    client_result: Result<(), Fault>,
    server_flags: Option<(u32, u32)>,
}

/// Runs a whole setup in no time.
fn meet(asked: u32, supported_flags: u32, success_flags: u32) -> End {
    let now = Time(1);
    let text = |text: &str| Str0_255::try_from(text).expect("short");
    let mut client = Client::new(Request {
        protocol: protocol::MINING,
        flags: asked,
        endpoint_host: text("h"),
        endpoint_port: 1,
        device: Device {
            vendor: text("v"),
            hardware_version: text("h"),
            ..Device::default()
        },
        timeout: Duration::from_secs(1),
    });
    let served = Served {
        protocol: protocol::MINING,
        supported_flags,
        required_flags: 0,
        success_flags,
    };
    let settings = Settings {
        protocols: vec![served],
        timeout: Duration::from_secs(1),
    };
    let mut server = Server::new(now, Arc::new(settings));

    let (mut up, mut down, mut events, mut server_flags) = (Vec::new(), Vec::new(), Vec::new(), None);
    client.handle(now, ClientInput::Start, &mut up).expect("starts");
    for output in up.drain(..) {
        let ClientOutput::Send(message) = output else {
            panic!("{output:?}")
        };
        let _ = server.handle(now, ServerInput::Message(message), &mut down);
    }
    let mut client_result = Ok(());
    for output in down {
        match output {
            ServerOutput::Send(message) => {
                client_result = client.handle(now, ClientInput::Message(message), &mut up);
            }
            ServerOutput::Established(it) => server_flags = Some((it.flags, it.success_flags)),
        }
    }
    for output in up {
        let ClientOutput::Event(event) = output else {
            panic!("{output:?}")
        };
        events.push(event);
    }
    End {
        client: events,
        client_result,
        server_flags,
    }
}

proptest! {
    /// Either both sides stand with the same flags, or neither does; a server never grants what contradicts it.
    /// REQ-COM-003, REQ-COM-013, REQ-COM-018, REQ-MIN-015.
    #[test]
    fn both_agree_or_neither(asked in 0u32..16, supported in 0u32..8, required in 0u32..4) {
        let end = meet(asked, supported, required);
        match (&end.client[..], end.server_flags) {
            ([ClientEvent::Established { version, success_flags }], Some(flags)) => {
                prop_assert_eq!((asked, *success_flags), flags);
                prop_assert_eq!(*version, 2);
                prop_assert_eq!(end.client_result, Ok(()));
            }
            ([ClientEvent::Refused { flags, .. }], None) => {
                prop_assert!(end.client_result.is_err());
                // What is left when the refused flags are taken away is granted at the second try.
                let retry = meet(asked & !flags, supported, required);
                prop_assert_eq!(retry.client_result, Ok(()));
                prop_assert!(retry.server_flags.is_some());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
