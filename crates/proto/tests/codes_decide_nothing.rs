//! Codes are for people: machines do the same whatever a code says, and say nothing but what the table holds
//! (spec 3.5, decision C-22).

mod miner;
mod pool;

use adit_proto::Fault;
use adit_proto::mining::client::{Event, Input, Output};
use adit_proto::mining::server;
use adit_proto::setup;
use adit_wire::common::{SetupConnection, SetupConnectionError, protocol};
use adit_wire::mining::*;
use adit_wire::{Str0_255, U256, refusal};
use miner::{Miner, START, job, prev_hash, settings, share, text};
use pool::Pool;
use proptest::prelude::*;

/// What a peer may write: any bytes, codes that mean something elsewhere, and codes of the very message.
fn any_code() -> impl Strategy<Value = Str0_255> {
    let known: Vec<&str> = refusal::TABLES
        .iter()
        .flat_map(|table| table.rows)
        .map(|row| row.code)
        .collect();
    prop_oneof![
        proptest::sample::select(known).prop_map(text),
        proptest::collection::vec(any::<u8>(), 0..=255)
            .prop_map(|bytes| Str0_255::new(&bytes).expect("short")),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    OpenError(u32),
    UpdateError(u32),
    ShareError(u32),
    Close(u32),
    Share,
    Job(u32),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Open),
        2 => (0u32..6).prop_map(Step::OpenError),
        1 => (0u32..3).prop_map(Step::UpdateError),
        2 => (0u32..6).prop_map(Step::ShareError),
        1 => prop_oneof![Just(1u32), Just(100), Just(7)].prop_map(Step::Close),
        3 => Just(Step::Share),
        1 => (2u32..9).prop_map(Step::Job),
        1 => Just(Step::Wait),
    ]
}

/// All outputs and ends of a client whose server refuses with `code`, the code itself left out.
fn client_with(steps: &[Step], code: &Str0_255) -> Vec<(Vec<Output>, Result<(), Fault>)> {
    let mut miner = Miner::mining_standard(settings());
    let error_code = || code.clone();
    let mut all = Vec::new();
    for step in steps {
        let message: ToClient = match *step {
            Step::Open => {
                all.push((miner.ask(adit_proto::mining::client::Kind::Standard), Ok(())));
                continue;
            }
            Step::Share => {
                all.push(miner.give(Input::Share(share(1, &[]))));
                continue;
            }
            Step::Wait => {
                miner.wait(20);
                all.push(miner.give(Input::Deadline));
                continue;
            }
            Step::OpenError(request_id) => OpenMiningChannelError {
                request_id,
                error_code: error_code(),
            }
            .into(),
            Step::UpdateError(channel_id) => UpdateChannelError {
                channel_id,
                error_code: error_code(),
            }
            .into(),
            Step::ShareError(sequence_number) => SubmitSharesError {
                channel_id: 1,
                sequence_number,
                error_code: error_code(),
            }
            .into(),
            Step::Close(channel_id) => CloseChannel {
                channel_id,
                reason_code: code.clone(),
            }
            .into(),
            Step::Job(id) => {
                all.push(miner.give(Input::Message(job(1, id, None).into())));
                prev_hash(1, id, id as u8).into()
            }
        };
        let (mut out, end) = miner.give(Input::Message(message));
        out.iter_mut().for_each(without_code);
        let over = end.is_err();
        all.push((out, end));
        if over {
            break;
        }
    }
    all
}

/// The one place where a code may go: the event that tells people of it.
fn without_code(output: &mut Output) {
    if let Output::Event(
        Event::OpenRefused { code, .. }
        | Event::UpdateRefused { code, .. }
        | Event::Rejected { code, .. }
        | Event::Closed { reason: code, .. },
    ) = output
    {
        *code = Str0_255::default();
    }
}

fn setup_refused_with(error_code: Str0_255, flags: u32) -> (Vec<setup::ClientOutput>, Result<(), Fault>) {
    let mut client = setup::Client::new(setup::Request {
        protocol: protocol::MINING,
        flags: 0,
        endpoint_host: text("pool.example"),
        endpoint_port: 3333,
        device: setup::Device::default(),
        timeout: std::time::Duration::from_secs(5),
    });
    let mut out = Vec::new();
    client
        .handle(START, setup::ClientInput::Start, &mut out)
        .expect("starts");
    let error = SetupConnectionError { flags, error_code };
    let end = client.handle(START, setup::ClientInput::Message(error.into()), &mut out);
    for output in &mut out {
        if let setup::ClientOutput::Event(setup::ClientEvent::Refused { code, .. }) = output {
            *code = Str0_255::default();
        }
    }
    (out, end)
}

/// What a server does after a client closed channels for this reason.
fn server_after_close(reason_code: &Str0_255, whole_group: bool) -> Vec<String> {
    let mut pool = Pool::new(0);
    pool.work(&pool::job(1, 1));
    let (id, other) = (pool.standard(), pool.extended());
    let channel_id = if whole_group {
        pool.device.channels[&id].group
    } else {
        id
    };
    pool.device
        .channels
        .retain(|channel, _| !whole_group && *channel == other);
    let closed = pool.say(CloseChannel {
        channel_id,
        reason_code: reason_code.clone(),
    });
    let next = pool
        .server
        .handle(pool.now, server::Input::Work(pool::job(2, 2)), &mut Vec::new());
    vec![
        format!("{closed:?}"),
        format!("{next:?} {}", pool.server.channel_count()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// REQ-COM-022, REQ-COM-024, REQ-COM-025: with any two codes a mining client does the same, to the last byte; what
    /// it does follows from the message and its own state.
    #[test]
    fn a_client_does_not_read_codes(
        steps in proptest::collection::vec(step(), 1..60), one in any_code(), other in any_code(),
    ) {
        prop_assert_eq!(client_with(&steps, &one), client_with(&steps, &other));
    }

    /// REQ-COM-022, REQ-COM-024, REQ-COM-025: nor does the client that is refused at the setup.
    #[test]
    fn a_refused_setup_ends_alike_with_any_code(one in any_code(), other in any_code(), flags: u32) {
        let (out, end) = setup_refused_with(one, flags);
        prop_assert!(end.is_err());
        prop_assert_eq!((out, end), setup_refused_with(other, flags));
    }

    /// REQ-COM-022, REQ-COM-024: nor a server the reason why a channel was closed.
    #[test]
    fn a_server_does_not_read_reasons(one in any_code(), other in any_code(), whole_group: bool) {
        prop_assert_eq!(server_after_close(&one, whole_group), server_after_close(&other, whole_group));
    }

    /// A code that a peer made up cannot move a cursor, end a line or turn text around in a log.
    #[test]
    fn a_peers_code_is_printed_harmlessly(code in any_code()) {
        prop_assert!(code.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
}

/// REQ-COM-030: the suggested codes are those that are sent where they fit, `difficulty-too-low` in its newer spelling
/// (C-23). `unknown-user` fits a pool that knows its users.
#[test]
fn the_suggested_codes_are_used() {
    let settings = std::sync::Arc::new(setup::Settings {
        protocols: vec![setup::Served {
            protocol: protocol::MINING,
            supported_flags: 1,
            required_flags: 0,
            success_flags: 0,
        }],
        timeout: std::time::Duration::from_secs(5),
    });
    let refused = |protocol, max_version, flags| {
        let request = SetupConnection {
            protocol,
            min_version: 2,
            max_version,
            flags,
            endpoint_host: text("h"),
            endpoint_port: 1,
            vendor: text("v"),
            hardware_version: text("h"),
            firmware: text(""),
            device_id: text(""),
        };
        let mut out = Vec::new();
        let input = setup::ServerInput::Message(request.into());
        let end = setup::Server::new(START, settings.clone()).handle(START, input, &mut out);
        match (&out[..], end) {
            (
                [setup::ServerOutput::Send(adit_wire::common::ToClient::SetupConnectionError(error))],
                Err(_),
            ) => error.error_code.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(protocol::MINING, 2, 4), "unsupported-feature-flags");
    assert_eq!(refused(9, 2, 0), "unsupported-protocol");
    assert_eq!(refused(protocol::MINING, 1, 0), "protocol-version-mismatch");

    let mut pool = Pool::new(0);
    pool.work(&pool::job(1, 1));
    let id = pool.standard();
    let old = pool.device.active(id);
    let weak = pool.device.search(id, old, 0, |hash| hash[31] == 0xff);
    assert_eq!(pool.offer(weak), Err("difficulty-too-low".into()));
    let late = pool.device.solve(id, old, 0);
    pool.work(&pool::job(2, 2));
    assert_eq!(pool.offer(late), Err("stale-share".into()));
    assert_eq!(
        refusal::SubmitShares::of_code(b"too-low-difficulty").map(refusal::SubmitShares::code),
        Some("difficulty-too-low")
    );
    let hard = pool.say(pool::open_standard(9, 0.0, U256([0; 32])));
    let [ToClient::OpenMiningChannelError(error)] = &pool::sent(&hard)[..] else {
        panic!("{hard:?}")
    };
    assert_eq!(error.error_code.to_string(), "max-target-out-of-range");
}
