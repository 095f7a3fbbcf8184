//! Variable difficulty against simulated miners whose shares are a Poisson process.

mod pool;

use adit_proto::Time;
use adit_proto::mining::server::{Input, Output, Settings};
use adit_proto::target::Target;
use adit_proto::vardiff::{Aim, Bounds, SHARES_PER_MINUTE, Steps, Vardiff};
use adit_wire::U256;
use adit_wire::mining::*;
use core::time::Duration;
use pool::*;

const AIM: Aim = Aim {
    adjust: true,
    shares_per_minute: SHARES_PER_MINUTE,
};
const OPEN: Bounds = Bounds {
    min: 1,
    max: u64::MAX,
    steps: Steps::Any,
};

/// Numbers from a seed: what a test may know of randomness.
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn seconds_until_share(&mut self, hash_rate: f64, work: u64) -> f64 {
        -(1.0 - self.uniform()).ln() * work as f64 / hash_rate
    }
}

/// A miner of constant hash rate on one channel.
struct Miner {
    vardiff: Vardiff,
    now: Time,
    hash_rate: f64,
    dice: Dice,
    changes: u32,
    shares: u64,
}

impl Miner {
    fn new(seed: u64, hash_rate: f64, claim: f32) -> Self {
        let vardiff = Vardiff::new(START, claim, AIM, OPEN);
        Self {
            vardiff,
            now: START,
            hash_rate,
            dice: Dice(seed),
            changes: 0,
            shares: 0,
        }
    }

    fn run_until(&mut self, end: Time) {
        while self.now < end {
            let wait = self.dice.seconds_until_share(self.hash_rate, self.vardiff.work());
            let share_at = self.now + Duration::from_secs_f64(wait.clamp(1e-6, 1e6));
            let next = share_at.min(self.vardiff.deadline()).min(end);
            self.now = next;
            let mut look = next >= self.vardiff.deadline();
            if share_at <= next {
                self.shares += 1;
                look |= self.vardiff.note(next);
            }
            if look && self.vardiff.look(next, AIM, OPEN) {
                self.changes += 1;
            }
        }
    }

    /// Shares a minute at the present work, over the configured rate.
    fn pace(&self) -> f64 {
        self.hash_rate * 60.0 / self.vardiff.work() as f64 / f64::from(SHARES_PER_MINUTE)
    }
}

/// The promise: settled within three minutes from any claim wrong by 1,000 times either way.
#[test]
fn settles_within_three_minutes_from_a_wrong_claim() {
    let mut paces = Vec::new();
    for factor in [1e-6, 1e-3, 0.03, 1.0, 30.0, 1e3, 1e6] {
        for seed in 0..200 {
            let hash_rate = 1e13;
            let mut miner = Miner::new(seed, hash_rate, (hash_rate * factor) as f32);
            miner.run_until(START + Duration::from_secs(180));
            let pace = miner.pace();
            assert!(
                (0.5..2.0).contains(&pace),
                "claim x{factor}, seed {seed}: pace {pace}"
            );
            assert!(
                miner.changes <= 40,
                "claim x{factor}, seed {seed}: {} changes",
                miner.changes
            );
            paces.push(pace);
        }
    }
    let near = paces.iter().filter(|pace| (0.7..1.3).contains(*pace)).count();
    assert!(
        near * 100 >= paces.len() * 95,
        "{near} of {} within 30 %",
        paces.len()
    );
}

/// Many shares before the clock moves at all are evidence too.
#[test]
fn a_flood_within_one_tick_of_the_clock_raises_the_work() {
    let mut vardiff = Vardiff::new(START, 0.0, AIM, OPEN);
    let looks = (0..200)
        .filter(|_| vardiff.note(START) && vardiff.look(START, AIM, OPEN))
        .count();
    assert!(
        looks > 0 && vardiff.work() > 10,
        "{looks} changes, work {}",
        vardiff.work()
    );
}

/// In steady state luck changes next to nothing, and the rate is what was asked for.
#[test]
fn a_settled_channel_stays_put() {
    let (mut changes, mut shares, mut hours) = (0, 0, 0);
    for seed in 0..30 {
        let mut miner = Miner::new(1_000 + seed, 3e12, 3e12);
        miner.run_until(START + Duration::from_secs(600));
        let before = (miner.changes, miner.shares);
        miner.run_until(START + Duration::from_secs(600 + 4 * 3_600));
        changes += miner.changes - before.0;
        shares += miner.shares - before.1;
        hours += 4;
    }
    assert!(changes <= hours / 2, "{changes} changes in {hours} hours");
    let rate = shares as f64 / (f64::from(hours) * 60.0 * f64::from(SHARES_PER_MINUTE));
    assert!((0.85..1.15).contains(&rate), "{rate} of the configured rate");
}

/// A proxy that gains or loses most of its devices is followed.
#[test]
fn a_miner_that_changes_is_followed() {
    for (factor, minutes) in [(100.0, 4), (5.0, 6), (0.2, 10), (0.01, 10)] {
        for seed in 0..50 {
            let mut miner = Miner::new(5_000 + seed, 1e13, 1e13);
            let change = START + Duration::from_secs(1_200);
            miner.run_until(change);
            miner.hash_rate *= factor;
            miner.run_until(change + Duration::from_secs(60 * minutes));
            let pace = miner.pace();
            assert!((0.45..2.2).contains(&pace), "x{factor}, seed {seed}: pace {pace}");
        }
    }
}

/// No claim and no `max_target` gets below the floor or above the client's own maximum.
#[test]
fn whatever_a_peer_claims_the_floor_holds() {
    let rates = [
        0.0,
        -0.0,
        1e-45,
        f32::MIN_POSITIVE,
        1.0,
        1e6,
        1e12,
        1e18,
        1e21,
        1e30,
        1e38,
        f32::MAX,
    ];
    let targets = [U256::MAX, target(1), target(1_000), target(1 << 40)];
    for adjust in [false, true] {
        for rate in rates {
            for max_target in targets {
                let settings = Settings {
                    vardiff: adjust,
                    work_min: 64,
                    ..Settings::default()
                };
                let mut pool = Pool::with(settings, 0);
                pool.work(&job(1, 1));
                let id = id_of(&pool.say(open_standard(1, rate, max_target)));
                let given = Target(pool.device.channels[&id].target);
                assert!(given <= Target(max_target.0), "{rate} {max_target:?}");
                assert!(given.work() >= 64, "{rate} {max_target:?}");
                let network = job(1, 1).network_work();
                let own = Target(max_target.0).share_work();
                assert!(
                    given.share_work() <= network.max(own),
                    "never harder than a block unless asked to"
                );
            }
        }
    }
    for claim in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
        let work = Vardiff::new(
            START,
            claim,
            AIM,
            Bounds {
                min: 64,
                max: 1 << 40,
                steps: Steps::Any,
            },
        )
        .work();
        assert!((64..=1 << 40).contains(&work), "{claim}");
    }
}

fn target(work: u64) -> U256 {
    U256(Target::from_work(work).0)
}

/// A miner that really hashes, on jobs old and new, while its difficulty moves all the time: not one
/// share is judged by another target than that of its job (REQ-MIN-062, REQ-MIN-095, REQ-MIN-096).
#[test]
fn no_share_is_judged_by_the_target_of_another_job() {
    let settings = Settings {
        vardiff: true,
        work_min: 1,
        shares_per_minute: 12,
        ..Settings::default()
    };
    let mut pool = Pool::with(settings, 0);
    pool.work(&job(1, 1));
    let channels = [pool.standard(), pool.extended()];
    let mut dice = Dice(7);
    let (mut retargets, mut credited, mut refused, mut old_credited) = (0, 0, 0, 0);
    let mut template = 1;
    for round in 0..3_000u64 {
        // Bursts and pauses, so that difficulty has reason to go both ways.
        let pause = if (round / 300) % 2 == 0 { 0.02 } else { 20.0 } * dice.uniform();
        pool.now = pool.now + Duration::from_secs_f64(pause);
        let mut out = Vec::new();
        if pool
            .server
            .deadline()
            .is_some_and(|deadline| deadline <= pool.now)
        {
            out.extend(pool.give(Input::Deadline));
        }
        if round % 97 == 0 {
            template += 1;
            out.extend(pool.work(&job(template / 4, template)));
        }
        let id = channels[(round % 2) as usize];
        let active = pool.device.active(id);
        let jobs: Vec<u32> = pool.device.channels[&id]
            .jobs
            .keys()
            .copied()
            .filter(|job| *job <= active)
            .collect();
        let back = (dice.uniform() * 3.0) as usize;
        let job_id = jobs[jobs.len().saturating_sub(1 + back)];
        let known = pool.device.channels[&id].jobs[&job_id].clone();
        let expected = Target(known.target);
        // One hash of any quality; the device knows what the pool must say.
        let mut last = [0; 32];
        let mut tries = 0;
        let share = pool.device.search(id, job_id, 0, |hash| {
            last = *hash;
            tries += 1;
            expected.is_met_by(hash) || tries > 40
        });
        let answer = pool.say(share);
        retargets += names(&answer)
            .iter()
            .chain(names(&out).iter())
            .filter(|it| **it == "SetTarget")
            .count();
        let errors = errors(&answer);
        if errors
            .iter()
            .any(|code| code == "stale-share" || code == "duplicate-share")
        {
            continue;
        }
        let good = expected.is_met_by(&last);
        let judged: Vec<u64> = shares(&answer).iter().map(|share| share.work).collect();
        if good {
            assert_eq!(judged, [expected.share_work()], "round {round}");
            credited += 1;
            old_credited += u32::from(job_id != active);
        } else {
            assert_eq!(errors, ["difficulty-too-low"], "round {round}");
            refused += 1;
        }
    }
    assert!(retargets >= 10, "{retargets} retargets");
    assert!(
        credited > 1_000 && refused > 50 && old_credited > 50,
        "{credited} {refused} {old_credited}"
    );
}

/// SetTarget comes with the active job under a new number, at once (spec 5.3.21).
#[test]
fn a_new_target_takes_effect_with_a_job_sent_right_after_it() {
    let settings = Settings {
        vardiff: true,
        work_min: 1,
        ..Settings::default()
    };
    let mut pool = Pool::with(settings, 0);
    pool.work(&job(1, 1));
    let (standard, extended) = (pool.standard(), pool.extended());
    for (id, expected) in [(standard, "NewMiningJob"), (extended, "NewExtendedMiningJob")] {
        let out = loop {
            pool.now = pool.now + Duration::from_millis(5);
            let active = pool.device.active(id);
            let solved = pool.device.solve(id, active, 0);
            let out = pool.say(solved);
            if out.len() > 1 {
                break out;
            }
        };
        assert_eq!(names(&out), ["SetTarget", expected]);
        assert!(
            matches!(out[0], Output::Share(_)),
            "the share was good by its own job"
        );
        let ToClient::SetTarget(set) = &sent(&out)[0] else {
            panic!()
        };
        assert_eq!(set.channel_id, id);
        let active = pool.device.active(id);
        let work = pool.submit(id, active).unwrap().work;
        assert_eq!(work, Target(set.maximum_target.0).share_work());
    }
}
