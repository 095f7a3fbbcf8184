//! Custom jobs on somebody else's channel (spec 5.3.18 to 5.3.20): where they may be sent, whose answer counts, and which
//! shares follow.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

use std::time::Duration;

use adit_proto::Time;
use adit_proto::mining::client::{
    CUSTOM_WAITING_MAX, Client, Event, Input, Kind, Open, Output, Settings, Share, Withheld,
};
use adit_wire::mining::{
    OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess, SetCustomMiningJob,
    SetCustomMiningJobError, SetCustomMiningJobSuccess, SetExtranoncePrefix, SetTarget, ToServer,
};
use adit_wire::{B0_32, B0_64K, B0_255, Seq0_255, Str0_255, U256};

const NOW: Time = Time(1_800_000_000_000_000);
const NTIME: u32 = 1_700_000_000;

struct World {
    client: Client,
    now: Time,
}

impl World {
    fn new(work_selection: bool, kind: Kind) -> Self {
        let settings = Settings {
            work_selection,
            ..Settings::default()
        };
        let mut world = Self {
            client: Client::new(settings),
            now: NOW,
        };
        world.tell(Input::Open(Open {
            kind,
            user_identity: Str0_255::default(),
            nominal_hash_rate: 1.0,
            max_target: U256::MAX,
        }));
        world.tell(Input::Message(match kind {
            Kind::Standard => OpenStandardMiningChannelSuccess {
                request_id: 0,
                channel_id: 5,
                target: U256([9; 32]),
                extranonce_prefix: B0_32::default(),
                group_channel_id: 1,
            }
            .into(),
            Kind::Extended { min_extranonce_size } => OpenExtendedMiningChannelSuccess {
                request_id: 0,
                channel_id: 5,
                target: U256([9; 32]),
                extranonce_size: min_extranonce_size,
                extranonce_prefix: B0_32::default(),
                group_channel_id: 1,
            }
            .into(),
        }));
        world
    }

    fn extended() -> Self {
        Self::new(
            true,
            Kind::Extended {
                min_extranonce_size: 4,
            },
        )
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.client.handle(self.now, input, &mut out).unwrap();
        out
    }

    fn event(&mut self, input: Input) -> Event {
        match self.tell(input).pop() {
            Some(Output::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    fn share(&mut self, job_id: u32, ntime: u32) -> Output {
        let share = Share {
            channel: 5,
            job_id,
            nonce: 1,
            ntime,
            version: 0x2000_2000,
            extranonce: B0_32::new(&[0; 4]).unwrap(),
        };
        self.tell(Input::Share(share)).pop().unwrap()
    }
}

fn custom(channel_id: u32, request_id: u32, prefix: usize) -> Input {
    Input::Custom {
        message: Box::new(SetCustomMiningJob {
            channel_id,
            request_id,
            mining_job_token: B0_255::default(),
            version: 0x2000_0000,
            prev_hash: U256([1; 32]),
            min_ntime: NTIME,
            nbits: 0x207f_ffff,
            coinbase_tx_version: 2,
            coinbase_prefix: B0_255::new(&vec![1; prefix]).unwrap(),
            coinbase_tx_input_n_sequence: 0,
            coinbase_tx_outputs: B0_64K::default(),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0_255::default(),
        }),
        since: NOW,
    }
}

fn taken(channel_id: u32, request_id: u32) -> Input {
    Input::Message(
        SetCustomMiningJobSuccess {
            channel_id,
            request_id,
            job_id: 77,
        }
        .into(),
    )
}

fn refused(request_id: u32) -> Input {
    Input::Message(
        SetCustomMiningJobError {
            channel_id: 5,
            request_id,
            error_code: Str0_255::default(),
        }
        .into(),
    )
}

/// REQ-MIN-085, REQ-MIN-087, REQ-MIN-090: what the server could only refuse is not sent.
#[test]
fn jobs_go_to_extended_channels_of_connections_with_work_selection() {
    let extended = Kind::Extended {
        min_extranonce_size: 4,
    };
    for (work_selection, kind, channel, prefix, why) in [
        (false, extended, 5, 4, Withheld::NoWorkSelection),
        (true, Kind::Standard, 5, 4, Withheld::NoWorkSelection),
        (true, extended, 6, 4, Withheld::UnknownChannel),
        (true, extended, 5, 9, Withheld::CoinbasePrefix),
    ] {
        let mut world = World::new(work_selection, kind);
        assert_eq!(world.event(custom(channel, 1, prefix)), Event::Withheld(why));
    }
    let sent = World::extended().tell(custom(5, 1, 8)).pop();
    assert!(
        matches!(sent, Some(Output::Send(ToServer::SetCustomMiningJob(_)))),
        "{sent:?}"
    );
}

/// REQ-MIN-094: shares go out under the server's number of the job, as soon as there is one.
#[test]
fn shares_follow_the_answer() {
    let mut world = World::extended();
    world.tell(custom(5, 1, 4));
    assert!(matches!(
        world.share(77, NTIME),
        Output::Event(Event::Withheld(Withheld::StaleJob))
    ));
    let accepted = world.event(taken(5, 1));
    let expected = Event::CustomAccepted {
        channel: 5,
        request: 1,
        job_id: 77,
        target: U256([9; 32]),
    };
    assert_eq!(accepted, expected);
    assert!(matches!(world.share(77, NTIME), Output::Send(_)));
    // As late as the clock has moved since the job was first hashed, and no later.
    world.now = NOW + Duration::from_secs(30);
    assert!(matches!(world.share(77, NTIME + 30), Output::Send(_)));
    assert!(matches!(
        world.share(77, NTIME + 31),
        Output::Event(Event::Withheld(Withheld::Time))
    ));
    assert!(matches!(
        world.share(77, NTIME - 1),
        Output::Event(Event::Withheld(Withheld::Time))
    ));
}

/// Answers count once, for the job and the channel that they were asked for.
#[test]
fn answers_to_nobodys_question_change_nothing() {
    let mut world = World::extended();
    world.tell(custom(5, 1, 4));
    assert_eq!(world.event(taken(5, 2)), Event::CustomUnasked);
    assert_eq!(world.event(taken(6, 1)), Event::CustomUnasked);
    assert_eq!(world.event(refused(9)), Event::CustomUnasked);
    assert!(matches!(
        world.share(77, NTIME),
        Output::Event(Event::Withheld(Withheld::StaleJob))
    ));
    assert!(matches!(
        world.event(refused(1)),
        Event::CustomRefused { request: 1, .. }
    ));
    assert_eq!(world.event(taken(5, 1)), Event::CustomUnasked);
}

/// REQ-MIN-093: silence is told, and is not the end of the connection.
#[test]
fn no_answer_is_told_in_time() {
    let mut world = World::extended();
    world.tell(custom(5, 1, 4));
    world.now = world.client.deadline().unwrap();
    assert_eq!(world.now - NOW, Settings::default().answer_timeout);
    let unanswered = Event::CustomUnanswered {
        channel: 5,
        request: 1,
    };
    assert_eq!(world.event(Input::Deadline), unanswered);
    assert_eq!(world.client.deadline(), None);
}

#[test]
fn jobs_without_an_answer_are_bounded_and_numbered_once() {
    let mut world = World::extended();
    for request in 0..CUSTOM_WAITING_MAX as u32 {
        world.tell(custom(5, request, 4));
    }
    assert_eq!(
        world.event(custom(5, 99, 4)),
        Event::Withheld(Withheld::TooManyJobs)
    );
    world.event(refused(3));
    assert_eq!(
        world.event(custom(5, 4, 4)),
        Event::Withheld(Withheld::TooManyJobs)
    );
    assert!(matches!(world.tell(custom(5, 3, 4)).pop(), Some(Output::Send(_))));
}

/// REQ-MIN-043: what jobs to come are made with is told when it changes.
#[test]
fn targets_and_prefixes_are_told() {
    let mut world = World::extended();
    let target = SetTarget {
        channel_id: 5,
        maximum_target: U256([7; 32]),
    };
    let told = world.event(Input::Message(target.into()));
    assert_eq!(
        told,
        Event::Target {
            channel: 5,
            target: U256([7; 32])
        }
    );
    let prefix = B0_32::new(&[1, 2]).unwrap();
    let message = SetExtranoncePrefix {
        channel_id: 5,
        extranonce_prefix: prefix,
    };
    let told = world.event(Input::Message(message.into()));
    assert_eq!(told, Event::ExtranoncePrefix { channel: 5, prefix });
    world.tell(custom(5, 1, 4));
    assert!(
        matches!(world.event(taken(5, 1)), Event::CustomAccepted { target: U256(bytes), .. } if bytes == [7; 32])
    );
}
