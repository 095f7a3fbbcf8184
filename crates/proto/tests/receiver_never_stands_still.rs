//! What a receiver mines on its own connection to the pool (`docs/job-distribution.md`, 6).

mod distribution;

use std::sync::Arc;

use adit_proto::distribute::Active;
use adit_proto::distribute::receiver::{Channel, Input, Mine, Output, Receiver};
use adit_wire::refusal::JobRefused;
use distribution::{FULL_SIZE, job, tip};

const CHANNEL: Channel = Channel {
    id: 5,
    full_size: FULL_SIZE as usize,
};

fn active(job_id: u32, block: u8) -> Active {
    let mut job = job(job_id as u8);
    job.job_id = job_id;
    Active {
        job: Arc::from(job),
        tip: tip(block),
    }
}

/// What the receiver did, in words.
fn feed(receiver: &mut Receiver, input: Input) -> Vec<String> {
    let mut out = Vec::new();
    receiver.handle(input, &mut out);
    let word = |output: Output| match output {
        Output::Custom(message) => {
            assert_eq!(message.channel_id, CHANNEL.id);
            format!("ask {} as {}", message.mining_job_token[0], message.request_id)
        }
        Output::Mine(Mine::Own) => "own".to_owned(),
        Output::Mine(Mine::Custom { job_id, active }) => format!("mine {} as {job_id}", active.job.job_id),
        Output::Refused { job_id, code } => format!("{job_id} refused: {code}"),
    };
    out.into_iter().map(word).collect()
}

/// A receiver that mines job 1 of block 1, which its pool calls 70.
fn mining() -> Receiver {
    let mut receiver = Receiver::new();
    let none: [&str; 0] = [];
    assert_eq!(feed(&mut receiver, Input::Channel(Some(CHANNEL))), none);
    assert_eq!(feed(&mut receiver, Input::PoolTip(tip(1).prev_hash)), none);
    assert_eq!(feed(&mut receiver, Input::Job(active(1, 1))), ["ask 1 as 1"]);
    let taken = Input::JobTaken {
        request_id: 1,
        job_id: 70,
    };
    assert_eq!(feed(&mut receiver, taken), ["mine 1 as 70"]);
    receiver
}

/// The token, the tip and every field of the coinbase go to the pool as they were distributed.
#[test]
fn a_distributed_job_is_set_with_its_token_and_fields() {
    let mut receiver = Receiver::new();
    let mut out = Vec::new();
    receiver.handle(Input::Job(active(1, 1)), &mut out);
    assert_eq!(out, [], "there is no channel yet");
    receiver.handle(Input::Channel(Some(CHANNEL)), &mut out);
    let [Output::Custom(message)] = &out[..] else {
        panic!("{out:?}");
    };
    let (job, tip) = (job(1), tip(1));
    assert_eq!(message.mining_job_token, job.mining_job_token);
    assert_eq!(
        (message.prev_hash, message.min_ntime, message.nbits),
        (tip.prev_hash, tip.min_ntime, tip.nbits)
    );
    assert_eq!(message.coinbase_prefix, job.coinbase_prefix);
    assert_eq!(message.coinbase_tx_outputs, job.coinbase_tx_outputs);
    assert_eq!(message.merkle_path, job.merkle_path);
    assert_eq!(
        (
            message.version,
            message.coinbase_tx_version,
            message.coinbase_tx_locktime
        ),
        (job.version, job.coinbase_tx_version, job.coinbase_tx_locktime)
    );
}

/// What was mined is mined on until the pool has taken the next job of the same block.
#[test]
fn the_job_before_is_mined_until_the_next_is_taken() {
    let mut receiver = mining();
    assert_eq!(feed(&mut receiver, Input::Job(active(2, 1))), ["ask 2 as 2"]);
    assert_eq!(feed(&mut receiver, Input::Job(active(3, 1))), ["ask 3 as 3"]);
    let late = Input::JobTaken {
        request_id: 2,
        job_id: 71,
    };
    assert!(feed(&mut receiver, late).is_empty(), "another job has followed");
    let taken = Input::JobTaken {
        request_id: 3,
        job_id: 72,
    };
    assert_eq!(feed(&mut receiver, taken), ["mine 3 as 72"]);
    let refused = Input::JobRefused {
        request_id: 4,
        code: None,
    };
    assert_eq!(feed(&mut receiver, Input::Job(active(4, 1))), ["ask 4 as 4"]);
    assert_eq!(feed(&mut receiver, refused), ["4 refused: no-answer"]);
    assert!(receiver.is_custom(), "job 3 is as good as before");
}

/// Withdrawn, another pool, or the distributor is gone: the pool's own jobs are mined, at once.
#[test]
fn without_a_distributed_job_the_pools_own_are_mined() {
    let mut receiver = mining();
    assert_eq!(feed(&mut receiver, Input::NoJob), ["own"]);
    assert_eq!(feed(&mut receiver, Input::Job(active(2, 1))), ["ask 2 as 2"]);
    assert!(feed(&mut receiver, Input::NoJob).is_empty());
    let late = Input::JobTaken {
        request_id: 2,
        job_id: 71,
    };
    assert!(feed(&mut receiver, late).is_empty(), "its job is withdrawn");
}

/// A block that the pool knows and the distributor does not ends the distributed job: a distributor that hangs costs nothing.
#[test]
fn a_new_block_of_the_pool_ends_the_job() {
    let mut receiver = mining();
    assert!(feed(&mut receiver, Input::PoolTip(tip(1).prev_hash)).is_empty());
    assert_eq!(feed(&mut receiver, Input::PoolTip(tip(2).prev_hash)), ["own"]);
    assert_eq!(feed(&mut receiver, Input::Job(active(2, 2))), ["ask 2 as 2"]);
}

/// A distributor whose node is ahead of the pool's: the pool says when it takes the job.
#[test]
fn a_job_ahead_of_the_pool_waits_for_its_word() {
    let mut receiver = mining();
    assert_eq!(
        feed(&mut receiver, Input::Job(active(2, 2))),
        ["own", "ask 2 as 2"]
    );
    assert!(feed(&mut receiver, Input::PoolTip(tip(2).prev_hash)).is_empty());
    let taken = Input::JobTaken {
        request_id: 2,
        job_id: 71,
    };
    assert_eq!(feed(&mut receiver, taken), ["mine 2 as 71"]);
}

/// A new connection to the pool knows nothing of a job that was taken on another one: it is set again.
#[test]
fn a_new_channel_asks_again() {
    let mut receiver = mining();
    assert_eq!(feed(&mut receiver, Input::Channel(None)), ["own"]);
    assert_eq!(feed(&mut receiver, Input::Channel(Some(CHANNEL))), ["ask 1 as 2"]);
}

/// A job that was negotiated for another size of the extranonce cannot be made of this channel: nobody is asked.
#[test]
fn a_job_of_another_size_is_refused_here() {
    let mut receiver = Receiver::new();
    let small = Channel {
        full_size: 12,
        ..CHANNEL
    };
    assert!(feed(&mut receiver, Input::Channel(Some(small))).is_empty());
    let code = JobRefused::ExtranonceSizeMismatch.code();
    let refused = format!("1 refused: {code}");
    assert_eq!(feed(&mut receiver, Input::Job(active(1, 1))), [refused]);
    assert!(!receiver.is_custom());
}

/// A distributor that sends one job after the other fills no pool with requests: four are open at most, the newest job waits for
/// an answer to one of them, whatever it is, and those in between are never asked about.
#[test]
fn requests_without_an_answer_are_bounded() {
    for refused in [false, true] {
        let mut receiver = mining();
        for number in 2..=5 {
            let asked = feed(&mut receiver, Input::Job(active(number, 1)));
            assert_eq!(asked, [format!("ask {number} as {number}")]);
        }
        let none: [&str; 0] = [];
        for number in 6..=9 {
            assert_eq!(feed(&mut receiver, Input::Job(active(number, 1))), none);
        }
        let (answer, said) = match refused {
            true => {
                let code = Some("no".try_into().unwrap());
                (Input::JobRefused { request_id: 5, code }, "5 refused: no")
            }
            false => (
                Input::JobTaken {
                    request_id: 5,
                    job_id: 80,
                },
                "mine 5 as 80",
            ),
        };
        assert_eq!(feed(&mut receiver, answer), [said, "ask 9 as 6"]);
        let taken = Input::JobTaken {
            request_id: 6,
            job_id: 81,
        };
        assert_eq!(feed(&mut receiver, taken), ["mine 9 as 81"]);
    }
}
