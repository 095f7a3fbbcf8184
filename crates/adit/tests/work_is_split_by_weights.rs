//! Several upstreams share the work of one machine or of many as their weights say: a proxy's deals against simulated
//! miners, whose shares come by chance as real ones do.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

use std::time::Duration;

use adit::proxy::split::{Input, SLICE, Split};
use adit_proto::Time;

const START: Time = Time(1_800_000_000_000_000);
/// Between two looks of the simulation.
const STEP: Duration = Duration::from_secs(1);
/// Shares below come this often.
const SHARE_S: u64 = 5;

/// Dice of a known seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }

    /// True once in `of` times.
    fn one_in(&mut self, of: u64) -> bool {
        self.roll().is_multiple_of(of.max(1))
    }
}

/// Miners of these hash rates, and upstreams of these weights.
struct World {
    split: Split,
    dice: Dice,
    now: Time,
    rates: Vec<u64>,
    live: Vec<bool>,
    /// Expected hashes of a share of each upstream.
    share_work: u64,
    /// Expected hashes that each was sent.
    sent: Vec<u64>,
    /// Since when each connection is where it is.
    since: Vec<(usize, Time)>,
    shortest: Duration,
    moves: u64,
}

impl World {
    fn new(rates: &[u64], weights: &[u32]) -> Self {
        let whole: u64 = rates.iter().sum();
        let mut world = Self {
            split: Split::new(SLICE, weights.iter().map(|weight| Some(*weight))),
            dice: Dice(7),
            now: START,
            rates: rates.to_vec(),
            live: vec![false; weights.len()],
            share_work: whole * SHARE_S,
            sent: vec![0; weights.len()],
            since: vec![(0, START); rates.len()],
            shortest: Duration::MAX,
            moves: 0,
        };
        (0..weights.len()).for_each(|lane| world.turn(lane, true));
        world
    }

    fn turn(&mut self, lane: usize, live: bool) {
        self.live[lane] = live;
        let input = if live {
            Input::Up { lane }
        } else {
            Input::Down { lane }
        };
        self.split.handle(self.now, input);
        self.note_moves(false);
    }

    fn lane_of(&self, connection: usize) -> usize {
        let deal = self.split.current();
        let known = deal.of.get(&u32::try_from(connection).unwrap());
        known.copied().unwrap_or(deal.rest)
    }

    fn note_moves(&mut self, usual: bool) {
        for connection in 0..self.rates.len() {
            let lane = self.lane_of(connection);
            let (before, since) = self.since[connection];
            if lane != before {
                if usual {
                    self.shortest = self.shortest.min(self.now - since);
                }
                self.moves += 1;
                self.since[connection] = (lane, self.now);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + STEP;
            for connection in 0..self.rates.len() {
                self.mine(connection);
            }
            if self.split.deadline().is_some_and(|at| at <= self.now) {
                self.split.handle(self.now, Input::Deadline);
                self.note_moves(true);
            }
        }
    }

    /// A second of one miner: perhaps a share below, and perhaps that is one of the upstream, too.
    fn mine(&mut self, connection: usize) {
        if !self.dice.one_in(SHARE_S) {
            return;
        }
        let lane = self.lane_of(connection);
        let work = self.rates[connection] * SHARE_S;
        let id = u32::try_from(connection).unwrap();
        self.split.handle(self.now, Input::Mined { connection: id, work });
        assert!(self.live[lane], "nobody mines for an upstream that is away");
        if self.dice.one_in(self.share_work / work) {
            let work = self.share_work.max(work);
            self.sent[lane] += work;
            self.split.handle(self.now, Input::Sent { lane, work });
        }
    }

    /// Parts of what was sent since `before`, in percent.
    fn parts(&self, before: &[u64]) -> Vec<f64> {
        let since: Vec<f64> = self
            .sent
            .iter()
            .zip(before)
            .map(|(now, then)| (now - then) as f64)
            .collect();
        let whole: f64 = since.iter().sum();
        since.iter().map(|part| part * 100.0 / whole).collect()
    }

    #[track_caller]
    fn is_split(&self, before: &[u64], percent: &[f64], within: f64) {
        let parts = self.parts(before);
        for (part, wanted) in parts.iter().zip(percent) {
            assert!(
                (part - wanted).abs() <= within,
                "{parts:?} where {percent:?} was wanted"
            );
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn one_machine_works_for_all_in_slices_of_time() {
    for (weights, percent) in [
        (&[70, 30][..], &[70.0, 30.0][..]),
        (&[50, 50], &[50.0, 50.0]),
        (&[90, 7, 3], &[90.0, 7.0, 3.0]),
        (&[1, 2, 1], &[25.0, 50.0, 25.0]),
    ] {
        let mut world = World::new(&[200_000_000_000_000], weights);
        world.pass(HOUR * 4);
        world.is_split(&vec![0; weights.len()], percent, 2.0);
        assert!(world.shortest >= SLICE, "{:?}", world.shortest);
    }
}

/// From an ESP32 to a rack: work is split, not machines.
#[test]
fn forty_machines_of_very_different_size_work_for_all() {
    let rates: Vec<u64> = (0..40).map(|number| 50_000 << (number * 3 / 4)).collect();
    for (weights, percent) in [
        (&[70, 30][..], &[70.0, 30.0][..]),
        (&[10, 90], &[10.0, 90.0]),
        (&[60, 30, 10], &[60.0, 30.0, 10.0]),
    ] {
        let mut world = World::new(&rates, weights);
        world.pass(HOUR * 4);
        world.is_split(&vec![0; weights.len()], percent, 2.0);
    }
}

#[test]
fn equal_machines_stay_where_they_are() {
    let mut world = World::new(&[1_000_000_000_000; 100], &[70, 30]);
    world.pass(HOUR);
    let (moves, before) = (world.moves, world.sent.clone());
    world.pass(HOUR);
    world.is_split(&before, &[70.0, 30.0], 3.0);
    assert!(
        world.moves - moves < 800,
        "{} moves in an hour",
        world.moves - moves
    );
}

/// The part of one that dies falls to the others, by their weights, and comes back with it; what it has missed is not made
/// up for.
#[test]
fn the_part_of_a_dead_upstream_falls_to_the_others() {
    let rates: Vec<u64> = (1..=12).map(|number| number * 10_000_000_000_000).collect();
    let mut world = World::new(&rates, &[50, 30, 20]);
    world.pass(HOUR);
    world.turn(0, false);
    let before = world.sent.clone();
    world.pass(HOUR * 4);
    assert_eq!(world.sent[0], before[0]);
    world.is_split(&before, &[0.0, 60.0, 40.0], 2.0);
    world.turn(0, true);
    let before = world.sent.clone();
    world.pass(HOUR * 4);
    world.is_split(&before, &[50.0, 30.0, 20.0], 2.0);
}

#[test]
fn shares_that_are_refused_do_not_count() {
    let mut split = Split::new(SLICE, [Some(1), Some(1)]);
    split.handle(START, Input::Up { lane: 0 });
    split.handle(START, Input::Up { lane: 1 });
    let mut now = START;
    let mut lanes = [0, 0];
    for _ in 0..100 {
        let lane = split
            .current()
            .of
            .get(&1)
            .copied()
            .unwrap_or(split.current().rest);
        lanes[lane] += 1;
        split.handle(
            now,
            Input::Mined {
                connection: 1,
                work: 100,
            },
        );
        split.handle(now, Input::Sent { lane, work: 100 });
        if lane == 0 && lanes[0] % 2 == 0 {
            split.handle(now, Input::Refused { lane, work: 100 });
        }
        now = now + SLICE;
        split.handle(now, Input::Deadline);
    }
    assert!(
        (62..=71).contains(&lanes[0]),
        "every other one is refused: {lanes:?}"
    );
}
