//! Extension 0x0001, both sides: what is asked for, granted, required, refused, and what silence means.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

use std::sync::Arc;
use std::time::Duration;

use adit_proto::extension::{
    Client, ClientEvent, ClientInput, ClientOutput, Server, ServerInput, ServerOutput, ServerSettings, Wishes,
};
use adit_proto::{Fault, Time};
use adit_wire::negotiation::{RequestExtensions, ToClient, ToServer};
use adit_wire::{Header, Message, Seq0_64K};
use proptest::prelude::*;

const NOW: Time = Time(1_800_000_000_000_000);
const TIMEOUT: Duration = Duration::from_secs(1);

fn server(supported: &[u16], required: &[u16]) -> Server {
    Server::new(Arc::new(ServerSettings {
        supported: supported.to_vec(),
        required: required.to_vec(),
    }))
}

fn wishes(wanted: &[u16], required: &[u16], able: &[u16]) -> Wishes {
    Wishes {
        wanted: wanted.to_vec(),
        required: required.to_vec(),
        able: able.to_vec(),
        answer_timeout: TIMEOUT,
    }
}

fn request(request_id: u16, ids: &[u16]) -> ServerInput {
    ServerInput::Message(
        RequestExtensions {
            request_id,
            requested_extensions: Seq0_64K::new(ids.to_vec()).unwrap(),
        }
        .into(),
    )
}

/// What the server answers, as (granted, unsupported, required); granted is `None` for an Error.
fn answer(server: &mut Server, request_id: u16, ids: &[u16]) -> (Option<Vec<u16>>, Vec<u16>, Vec<u16>) {
    let mut out = Vec::new();
    server.handle(request(request_id, ids), &mut out).unwrap();
    let [ServerOutput::Send(answer)] = out.as_slice() else {
        panic!("{out:?}")
    };
    match answer.clone() {
        ToClient::RequestExtensionsSuccess(it) => {
            assert_eq!(it.request_id, request_id);
            (Some(it.supported_extensions.into_inner()), vec![], vec![])
        }
        ToClient::RequestExtensionsError(it) => {
            assert_eq!(it.request_id, request_id);
            (
                None,
                it.unsupported_extensions.into_inner(),
                it.required_extensions.into_inner(),
            )
        }
    }
}

fn started(wishes: Wishes) -> (Client, Vec<ClientOutput>) {
    let (mut client, mut out) = (Client::new(wishes), Vec::new());
    client.handle(NOW, ClientInput::Start, &mut out).unwrap();
    (client, out)
}

fn asked(out: &[ClientOutput]) -> (u16, Vec<u16>) {
    let sent = out.iter().find_map(|output| match output {
        ClientOutput::Send(ToServer::RequestExtensions(it)) => {
            Some((it.request_id, it.requested_extensions.clone().into_inner()))
        }
        ClientOutput::Event(_) => None,
    });
    sent.expect("a request")
}

fn is_settled(out: &[ClientOutput]) -> bool {
    out.contains(&ClientOutput::Event(ClientEvent::Settled))
}

/// REQ-EXT-012, REQ-EXT-013: the bytes of the spec's example.
#[test]
fn the_request_has_the_bytes_of_the_spec() {
    let (_, out) = started(wishes(&[2], &[], &[2]));
    let [ClientOutput::Send(message)] = out.as_slice() else {
        panic!("{out:?}")
    };
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    assert_eq!(frame, [1, 0, 0, 6, 0, 0, 1, 0, 1, 0, 2, 0]);
    assert_eq!(
        Header::parse(*frame.first_chunk().unwrap()).extension(),
        RequestExtensions::EXTENSION
    );
}

/// REQ-EXT-025, REQ-EXT-026, C-37: the supported ones of the request, or an Error when none is.
#[test]
fn the_server_grants_what_it_supports() {
    let mut it = server(&[2], &[]);
    assert_eq!(answer(&mut it, 7, &[2, 3]), (Some(vec![2]), vec![], vec![]));
    assert_eq!(it.agreed(), [2]);
    assert_eq!(
        answer(&mut it, 8, &[0x4001, 3, 3]),
        (None, vec![0x4001, 3], vec![])
    );
    assert!(it.agreed().is_empty(), "the last answer holds");
    assert_eq!(answer(&mut it, 9, &[]), (Some(vec![]), vec![], vec![]));
    assert_eq!(
        it.handle(ServerInput::Other, &mut Vec::new()),
        Ok(()),
        "nothing is required"
    );
}

/// REQ-EXT-027, REQ-EXT-029, C-33: what is required and missing is named, and who goes on without is left.
#[test]
fn the_server_insists_on_what_it_requires() {
    let mut it = server(&[3], &[2]);
    let error = it.clone().handle(ServerInput::Other, &mut Vec::new());
    assert!(matches!(error, Err(Fault::Incompatible(_))), "without a request");
    assert_eq!(answer(&mut it, 1, &[3, 9]), (None, vec![9], vec![2]));
    let error = it.clone().handle(ServerInput::Other, &mut Vec::new());
    assert!(matches!(error, Err(Fault::Incompatible(_))), "after an Error");
    assert_eq!(answer(&mut it, 2, &[3, 2]), (Some(vec![3, 2]), vec![], vec![]));
    assert_eq!(it.handle(ServerInput::Other, &mut Vec::new()), Ok(()));
    assert_eq!(it.agreed(), [2, 3]);
}

/// C-36: who wants nothing asks for nothing and goes on at once.
#[test]
fn a_client_without_wishes_is_silent() {
    let (client, out) = started(Wishes::default());
    assert_eq!(out, [ClientOutput::Event(ClientEvent::Settled)]);
    assert_eq!((client.deadline(), client.agreed()), (None, &[][..]));
}

/// REQ-EXT-011, REQ-EXT-023, REQ-EXT-024, REQ-EXT-032: nothing else is sent and nothing is in use before the answer.
#[test]
fn a_client_waits_for_the_answer() {
    let (mut client, out) = started(wishes(&[2, 3], &[], &[2, 3]));
    assert_eq!((asked(&out), out.len()), ((1, vec![2, 3]), 1));
    assert_eq!(
        (client.deadline(), client.agreed()),
        (Some(NOW + TIMEOUT), &[][..])
    );
    let mut out = Vec::new();
    client.handle(NOW, ClientInput::Deadline, &mut out).unwrap();
    let mut it = server(&[2], &[]);
    pass(&mut it, &mut client, 9, &[2], &mut out);
    assert_eq!(out, [], "an answer to another request is none");
    pass(&mut it, &mut client, 1, &[2, 3], &mut out);
    assert!(is_settled(&out) && out.contains(&ClientOutput::Event(ClientEvent::Unsupported(vec![3]))));
    assert_eq!((client.deadline(), client.agreed()), (None, &[2][..]));
}

/// The server answers a request, and the client hears it.
fn pass(server: &mut Server, client: &mut Client, request_id: u16, ids: &[u16], out: &mut Vec<ClientOutput>) {
    let mut answers = Vec::new();
    server.handle(request(request_id, ids), &mut answers).unwrap();
    for ServerOutput::Send(answer) in answers {
        client.handle(NOW, ClientInput::Message(answer), out).unwrap();
    }
}

/// REQ-EXT-033: silence ends the connection; what the next one does says `Patience`.
#[test]
fn silence_ends_the_connection() {
    let (mut client, _) = started(wishes(&[2], &[], &[2]));
    let error = client.handle(NOW + TIMEOUT, ClientInput::Deadline, &mut Vec::new());
    assert!(matches!(error, Err(Fault::Expired(_))));
}

/// REQ-EXT-028: what the server requires and we can speak is asked for, once.
#[test]
fn a_client_tries_again_with_what_is_required() {
    let (mut client, out) = started(wishes(&[9], &[], &[2, 9]));
    let (mut it, mut out) = (server(&[], &[2]), {
        let (id, ids) = asked(&out);
        let mut out = Vec::new();
        pass(&mut server(&[], &[2]), &mut client, id, &ids, &mut out);
        out
    });
    assert_eq!(asked(&out), (2, vec![2]));
    assert!(!is_settled(&out));
    out.clear();
    pass(&mut it, &mut client, 2, &[2], &mut out);
    assert!(is_settled(&out));
    assert_eq!(client.agreed(), [2]);
}

#[test]
fn a_client_gives_up_on_what_it_cannot_speak() {
    for (wished, theirs) in [
        (wishes(&[9], &[], &[9]), server(&[], &[2])),
        (wishes(&[], &[9], &[9]), server(&[2], &[])),
        (wishes(&[2], &[9], &[2, 9]), server(&[2], &[])),
    ] {
        let (mut client, out) = started(wished);
        let (id, ids) = asked(&out);
        let mut answers = Vec::new();
        theirs.clone().handle(request(id, &ids), &mut answers).unwrap();
        let ServerOutput::Send(answer) = answers.remove(0);
        let error = client.handle(NOW, ClientInput::Message(answer), &mut Vec::new());
        assert!(matches!(error, Err(Fault::Incompatible(_))), "{ids:?}");
    }
}

/// REQ-EXT-030: an Error that asks nothing of us is an answer.
#[test]
fn a_client_goes_on_without_extensions() {
    let (mut client, out) = started(wishes(&[2], &[], &[2]));
    let (id, ids) = asked(&out);
    let mut out = Vec::new();
    pass(&mut server(&[3], &[]), &mut client, id, &ids, &mut out);
    assert!(is_settled(&out) && client.agreed().is_empty());
}

/// REQ-COM-032: after ChannelEndpointChanged nothing is in use until it is negotiated again, on both sides (C-39).
#[test]
fn a_changed_endpoint_is_negotiated_with_again() {
    let (mut client, out) = started(wishes(&[2], &[], &[2]));
    let mut it = server(&[2], &[2]);
    let (id, ids) = asked(&out);
    let mut out = Vec::new();
    pass(&mut it, &mut client, id, &ids, &mut out);
    out.clear();
    client
        .handle(NOW, ClientInput::EndpointChanged, &mut out)
        .unwrap();
    it.handle(ServerInput::EndpointChanged, &mut Vec::new()).unwrap();
    assert!(client.agreed().is_empty() && it.agreed().is_empty());
    assert_eq!(
        it.handle(ServerInput::Other, &mut Vec::new()),
        Ok(()),
        "shares under way are no offence"
    );
    let (id, ids) = asked(&out);
    assert_eq!((id, &*ids), (2, &[2][..]));
    out.clear();
    client
        .handle(NOW, ClientInput::EndpointChanged, &mut out)
        .unwrap();
    assert_eq!(out, [], "it is being negotiated already");
    pass(&mut it, &mut client, id, &ids, &mut out);
    assert_eq!((client.agreed(), it.agreed()), (&[2][..], &[2][..]));
    assert!(!is_settled(&out), "that is said once");
}

#[test]
fn a_server_that_grants_what_nobody_asked_for_is_left() {
    let (mut client, _) = started(wishes(&[3], &[], &[3]));
    let mut answers = Vec::new();
    server(&[2], &[]).handle(request(1, &[2]), &mut answers).unwrap();
    let ServerOutput::Send(answer) = answers.remove(0);
    let error = client.handle(NOW, ClientInput::Message(answer), &mut Vec::new());
    assert!(matches!(error, Err(Fault::Misbehaved(_))));
}

proptest! {
    /// Whatever both sides want, they end with the same extensions, or without a connection; never with one that is not
    /// supported, and in at most two requests.
    #[test]
    fn both_sides_agree(wanted in ids(), required in ids(), able in ids(), supported in ids(), insisted in ids()) {
        let mut theirs = server(&supported, &insisted);
        let (mut client, mut out) = started(wishes(&wanted, &required, &able));
        let mut requests = 0;
        let mut lost = false;
        while let Some(ClientOutput::Send(ToServer::RequestExtensions(it))) =
            out.iter().find(|output| matches!(output, ClientOutput::Send(_))).cloned()
        {
            requests += 1;
            out.clear();
            let mut answers = Vec::new();
            theirs.handle(ServerInput::Message(it.into()), &mut answers).unwrap();
            let ServerOutput::Send(answer) = answers.remove(0);
            lost = client.handle(NOW, ClientInput::Message(answer), &mut out).is_err();
            if lost { break; }
        }
        prop_assert!(requests <= 2);
        let served = theirs.handle(ServerInput::Other, &mut Vec::new()).is_ok();
        if !lost {
            prop_assert!(is_settled(&out));
            prop_assert_eq!(client.agreed(), theirs.agreed());
            prop_assert!(required.iter().all(|id| client.agreed().contains(id)));
            prop_assert!(theirs.agreed().iter().all(|id| supported.contains(id) || insisted.contains(id)));
            prop_assert!(served || requests == 0);
        }
    }
}

fn ids() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(2u16..6, 0..3)
}
