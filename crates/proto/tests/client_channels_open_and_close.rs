//! Channels from the request to the end (spec 5.3.2 to 5.3.9).

mod miner;

use std::time::Duration;

use adit_proto::Fault;
use adit_proto::mining::client::{Event, Input, Kind, Output, Settings, Withheld};
use adit_wire::U256;
use adit_wire::common::flags;
use adit_wire::mining::{CloseChannel, OpenMiningChannelError, ToServer, UpdateChannelError};
use miner::*;

/// REQ-MIN-019, REQ-MIN-021, REQ-MIN-025, REQ-MIN-026: requests are numbered and say who and how fast.
#[test]
fn requests_have_ids_of_their_own() {
    let mut miner = Miner::new(settings());
    let [first, second] = [
        Kind::Standard,
        Kind::Extended {
            min_extranonce_size: 6,
        },
    ]
    .map(|kind| miner.ask(kind));
    let [Output::Send(ToServer::OpenStandardMiningChannel(first))] = &first[..] else {
        panic!("{first:?}")
    };
    let [Output::Send(ToServer::OpenExtendedMiningChannel(second))] = &second[..] else {
        panic!("{second:?}")
    };
    assert_eq!((first.request_id, second.request_id), (0, 1));
    assert_eq!(
        (first.user_identity.as_str(), first.nominal_hash_rate),
        (Some("user"), 1e6)
    );
    assert_eq!((second.min_extranonce_size, second.max_target), (6, U256::MAX));

    // Answers may come in any order.
    let opened = event(miner.hear(opened_extended(1, 7, 100, 6)));
    let expected = Event::Opened {
        request: 1,
        channel: 7,
        group: 100,
        target: target(1),
        extranonce_prefix: bytes(&[7; 7]),
        extranonce_size: Some(6),
    };
    assert_eq!(opened, expected);
    let code = text("unknown-user");
    let refused = event(miner.hear(OpenMiningChannelError {
        request_id: 0,
        error_code: code.clone(),
    }));
    assert_eq!(refused, Event::OpenRefused { request: 0, code });
    assert_eq!((miner.client.channel_count(), miner.client.deadline()), (1, None));
}

/// REQ-COM-019: a server that wants extended channels is not asked for a standard one.
#[test]
fn no_standard_channel_where_extended_ones_are_required() {
    let success_flags = flags::REQUIRES_EXTENDED_CHANNELS;
    let mut miner = Miner::new(Settings {
        success_flags,
        ..settings()
    });
    assert_eq!(
        event(miner.ask(Kind::Standard)),
        Event::Withheld(Withheld::StandardChannel)
    );
    assert_eq!(
        request(&miner.ask(Kind::Extended {
            min_extranonce_size: 0
        })),
        0
    );
}

#[test]
fn channels_are_bounded_requests_included() {
    let mut miner = Miner::new(Settings {
        channels_max: 2,
        ..settings()
    });
    miner.open_standard(1, 100);
    miner.ask(Kind::Standard);
    assert_eq!(
        event(miner.ask(Kind::Standard)),
        Event::Withheld(Withheld::TooManyChannels)
    );
}

/// REQ-MIN-007, REQ-MIN-008, REQ-MIN-022, REQ-MIN-027: answers that no server may give.
#[test]
fn impossible_answers_are_faults() {
    type Act = fn(&mut Miner) -> Fault;
    let acts: [Act; 8] = [
        |miner| miner.fault(opened_standard(3, 2, 100)),
        |miner| {
            miner.fault(OpenMiningChannelError {
                request_id: 3,
                error_code: text("x"),
            })
        },
        |miner| miner.fault(opened_standard(1, 1, 100)),
        |miner| miner.fault(opened_standard(1, 100, 101)),
        |miner| miner.fault(opened_standard(1, 2, 1)),
        |miner| miner.fault(opened_extended(1, 2, 100, 8)),
        |miner| {
            miner.ask(Kind::Extended {
                min_extranonce_size: 8,
            });
            miner.fault(opened_extended(2, 2, 100, 7))
        },
        |miner| {
            miner.ask(Kind::Extended {
                min_extranonce_size: 8,
            });
            miner.fault(opened_extended(2, 2, 100, 26))
        },
    ];
    for act in acts {
        let mut miner = Miner::new(settings());
        miner.open_standard(1, 100);
        miner.ask(Kind::Standard);
        assert!(matches!(act(&mut miner), Fault::Misbehaved(_)));
    }
}

#[test]
fn a_request_without_answer_expires() {
    let mut miner = Miner::new(Settings {
        answer_timeout: Duration::from_secs(3),
        ..settings()
    });
    miner.ask(Kind::Standard);
    miner.wait(1);
    miner.ask(Kind::Standard);
    assert_eq!(miner.client.deadline(), Some(START + Duration::from_secs(3)));
    assert_eq!(miner.well(Input::Deadline), []);
    miner.wait(2);
    assert!(matches!(miner.give(Input::Deadline).1, Err(Fault::Expired(_))));
}

/// REQ-MIN-038, REQ-MIN-042: the server closes one channel, or a whole group with one message.
#[test]
fn the_server_closes_channels_and_groups() {
    let mut miner = Miner::new(settings());
    miner.open_standard(1, 100);
    miner.open_extended(2, 100);
    miner.open_standard(3, 101);
    let reason_code = text("bye");
    let closed = |channel| {
        Output::Event(Event::Closed {
            channel,
            reason: text("bye"),
        })
    };
    let close = |channel_id| CloseChannel {
        channel_id,
        reason_code: reason_code.clone(),
    };
    assert_eq!(miner.hear(close(100)), [closed(1), closed(2)]);
    assert_eq!(miner.hear(close(100)), [], "the group is gone");
    assert_eq!(miner.hear(close(3)), [closed(3)]);
    assert_eq!(miner.hear(close(3)), []);
    assert_eq!(miner.client.channel_count(), 0);
    let withheld = event(miner.well(Input::Share(share(1, &[]))));
    assert_eq!(withheld, Event::Withheld(Withheld::UnknownChannel));
}

/// REQ-MIN-039, REQ-COM-029: what we close is forgotten at once; messages that cross are ignored.
#[test]
fn the_client_closes_a_channel() {
    let mut miner = Miner::mining_standard(settings());
    let out = miner.well(Input::Close {
        channel: 1,
        reason: text("done"),
    });
    let message = CloseChannel {
        channel_id: 1,
        reason_code: text("done"),
    };
    assert_eq!(out, [Output::Send(message.into())]);
    assert_eq!(miner.hear(job(1, 2, Some(NTIME))), []);
    assert_eq!(miner.hear(prev_hash(1, 2, 1)), []);
    let again = event(miner.well(Input::Close {
        channel: 1,
        reason: text("done"),
    }));
    assert_eq!(again, Event::Withheld(Withheld::UnknownChannel));
}

/// REQ-MIN-035, REQ-MIN-036: UpdateChannel has no answer but an error.
#[test]
fn update_tells_the_hash_rate() {
    let mut miner = Miner::mining_standard(settings());
    let update = |channel| Input::Update {
        channel,
        nominal_hash_rate: 5.0,
        max_target: target(3),
    };
    let out = miner.well(update(1));
    let [Output::Send(ToServer::UpdateChannel(message))] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(
        (message.nominal_hash_rate, message.maximum_target),
        (5.0, target(3))
    );
    let code = text("max-target-out-of-range");
    let refused = event(miner.hear(UpdateChannelError {
        channel_id: 1,
        error_code: code.clone(),
    }));
    assert_eq!(refused, Event::UpdateRefused { channel: 1, code });
    assert_eq!(
        event(miner.well(update(9))),
        Event::Withheld(Withheld::UnknownChannel)
    );
}
