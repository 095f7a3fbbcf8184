//! Shares: what is sent, what is held back, and how answers are booked (spec 5.3.11 to 5.3.14).

mod miner;

use adit_proto::mining::client::{Event, Input, Output, Settings, Share, Withheld};
use adit_wire::common::flags;
use adit_wire::mining::{SubmitSharesError, SubmitSharesSuccess, ToServer};
use miner::*;
use proptest::prelude::*;

fn sequence(out: &[Output]) -> u32 {
    match out {
        [Output::Send(ToServer::SubmitSharesStandard(it))] => it.sequence_number,
        [Output::Send(ToServer::SubmitSharesExtended(it))] => it.sequence_number,
        other => panic!("a share, not {other:?}"),
    }
}

fn success(last: u32, count: u32) -> SubmitSharesSuccess {
    SubmitSharesSuccess {
        channel_id: 1,
        last_sequence_number: last,
        new_submits_accepted_count: count,
        new_shares_sum: u64::from(count),
    }
}

fn error(sequence_number: u32) -> SubmitSharesError {
    SubmitSharesError {
        channel_id: 1,
        sequence_number,
        error_code: text("stale-share"),
    }
}

/// REQ-MIN-051, REQ-MIN-055, REQ-MIN-058: shares carry the whole version and count up.
#[test]
fn shares_are_numbered() {
    let mut miner = Miner::mining_standard(settings());
    let rolled = Share {
        version: 0x2000_2000,
        ..share(1, &[])
    };
    let out = miner.well(Input::Share(rolled));
    let [Output::Send(ToServer::SubmitSharesStandard(message))] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(
        (message.channel_id, message.sequence_number, message.job_id),
        (1, 1, 1)
    );
    assert_eq!(
        (message.nonce, message.ntime, message.version),
        (9, NTIME, 0x2000_2000)
    );
    assert_eq!(sequence(&miner.well(Input::Share(share(1, &[])))), 2);
}

/// REQ-MIN-057.
#[test]
fn extended_shares_carry_the_rolled_extranonce() {
    let mut miner = Miner::mining_extended(settings());
    let out = miner.well(Input::Share(share(1, &[7; 8])));
    let [Output::Send(ToServer::SubmitSharesExtended(message))] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(message.extranonce, bytes(&[7; 8]));
}

/// REQ-MIN-017, REQ-MIN-046, REQ-MIN-051, REQ-MIN-057, REQ-MIN-080: the server could only refuse these.
#[test]
fn shares_that_cannot_be_accepted_are_held_back() {
    let mut miner = Miner::mining_extended(settings());
    miner.wait(2);
    let good = share(1, &[7; 8]);
    for (bad, why) in [
        (Share { channel: 2, ..good }, Withheld::UnknownChannel),
        (Share { job_id: 2, ..good }, Withheld::StaleJob),
        (
            Share {
                version: 0x2000_0001,
                ..good
            },
            Withheld::Version,
        ),
        (
            Share {
                ntime: NTIME - 1,
                ..good
            },
            Withheld::Time,
        ),
        (
            Share {
                ntime: NTIME + 3,
                ..good
            },
            Withheld::Time,
        ),
        (
            Share {
                extranonce: bytes(&[7; 7]),
                ..good
            },
            Withheld::ExtranonceSize,
        ),
    ] {
        assert_eq!(event(miner.well(Input::Share(bad))), Event::Withheld(why));
    }
    let late = Share {
        ntime: NTIME + 2,
        ..good
    };
    assert_eq!(
        sequence(&miner.well(Input::Share(late))),
        1,
        "nothing was counted before"
    );

    // Who sends on what others found allows for their clocks, as servers do.
    let mut relay = Miner::mining_extended(Settings {
        time_ahead_s: 60,
        ..settings()
    });
    relay.wait(2);
    let ahead = |seconds| Share {
        ntime: NTIME + seconds,
        ..good
    };
    assert_eq!(
        event(relay.well(Input::Share(ahead(63)))),
        Event::Withheld(Withheld::Time)
    );
    assert_eq!(sequence(&relay.well(Input::Share(ahead(62)))), 1);

    let success_flags = flags::REQUIRES_FIXED_VERSION;
    let mut miner = Miner::mining_standard(Settings {
        success_flags,
        ..settings()
    });
    let rolled = Share {
        version: 0x2000_2000,
        ..share(1, &[])
    };
    assert_eq!(
        event(miner.well(Input::Share(rolled))),
        Event::Withheld(Withheld::Version)
    );
}

/// REQ-MIN-080: earlier jobs of the same tip stay good, those of the old tip do not.
#[test]
fn jobs_stay_good_until_the_tip_changes() {
    let mut miner = Miner::mining_standard(settings());
    miner.hear(job(1, 2, Some(NTIME)));
    assert_eq!(sequence(&miner.well(Input::Share(share(1, &[])))), 1);
    assert_eq!(sequence(&miner.well(Input::Share(share(2, &[])))), 2);
    miner.hear(job(1, 3, None));
    miner.hear(prev_hash(1, 3, 0xbb));
    for old in [1, 2] {
        assert_eq!(
            event(miner.well(Input::Share(share(old, &[])))),
            Event::Withheld(Withheld::StaleJob)
        );
    }
}

/// REQ-MIN-059, REQ-MIN-060, REQ-MIN-064, REQ-MIN-024: batches are booked by their counts.
#[test]
fn answers_are_booked_exactly() {
    let mut miner = Miner::mining_standard(settings());
    for _ in 0..10 {
        miner.well(Input::Share(share(1, &[])));
    }
    let Event::Accepted {
        count,
        outstanding,
        surplus,
        difficulty_sum,
        ..
    } = event(miner.hear(success(4, 4)))
    else {
        panic!()
    };
    assert_eq!((count, outstanding, surplus, difficulty_sum), (4, 6, 0, 4));
    let rejected = Event::Rejected {
        channel: 1,
        sequence: 5,
        code: text("stale-share"),
        outstanding: 5,
    };
    assert_eq!(event(miner.hear(error(5))), rejected);
    let Event::Accepted {
        outstanding,
        surplus,
        last_sequence,
        ..
    } = event(miner.hear(success(10, 7)))
    else {
        panic!()
    };
    assert_eq!(
        (last_sequence, outstanding, surplus),
        (10, 0, 2),
        "a server that counts too many is told apart"
    );
}

/// Answers for a channel that is gone are of no interest.
#[test]
fn late_answers_are_ignored() {
    let mut miner = Miner::mining_standard(settings());
    miner.well(Input::Share(share(1, &[])));
    miner.well(Input::Close {
        channel: 1,
        reason: text("done"),
    });
    assert_eq!(miner.hear(success(1, 1)), []);
    assert_eq!(miner.hear(error(1)), []);
}

#[derive(Clone, Debug)]
enum Step {
    Share,
    Success(u32),
    Error(u32),
    Job(bool),
    PrevHash(u32),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Share),
        2 => (0u32..5).prop_map(Step::Success),
        1 => (0u32..9).prop_map(Step::Error),
        2 => any::<bool>().prop_map(Step::Job),
        1 => (0u32..9).prop_map(Step::PrevHash),
        1 => Just(Step::Wait),
    ]
}

/// Runs steps; also says how many shares were sent and how many the last answer left waiting.
fn run(steps: &[Step]) -> (Vec<String>, u32, u32) {
    let mut miner = Miner::mining_standard(settings());
    let (mut log, mut sent, mut answered, mut jobs, mut job_id) = (Vec::new(), 0u32, 0u32, 1, 1);
    for step in steps {
        let input = match step {
            Step::Share => Input::Share(share(job_id, &[])),
            Step::Success(count) => Input::Message(success(sent, *count).into()),
            Step::Error(sequence) => Input::Message(error(*sequence).into()),
            Step::Job(future) => {
                jobs += 1;
                if !future {
                    job_id = jobs;
                }
                Input::Message(job(1, jobs, (!future).then_some(NTIME)).into())
            }
            Step::PrevHash(id) => Input::Message(prev_hash(1, *id, *id as u8).into()),
            Step::Wait => {
                miner.wait(1);
                Input::Deadline
            }
        };
        let (out, result) = miner.give(input);
        for output in &out {
            match output {
                Output::Send(_) => sent += 1,
                Output::Event(Event::Accepted {
                    count,
                    surplus,
                    outstanding,
                    ..
                }) => {
                    answered += count - surplus;
                    assert_eq!(*outstanding, sent - answered);
                }
                Output::Event(Event::Rejected { outstanding, .. }) => {
                    answered = sent - outstanding;
                }
                Output::Work(work) => job_id = work.job_id,
                Output::Event(_) => {}
            }
        }
        log.push(format!("{out:?} {result:?}"));
    }
    (log, sent, answered)
}

proptest! {
    /// Replay gives the same outputs, and the books always add up.
    #[test]
    fn replay_gives_the_same_outputs(steps in proptest::collection::vec(step(), 0..200)) {
        let first = run(&steps);
        prop_assert!(first.2 <= first.1);
        prop_assert_eq!(&first, &run(&steps));
    }
}
