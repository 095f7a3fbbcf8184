//! Properties of payouts: no satoshi is lost or made, nobody gains by names, and what waits is paid in the end.

use std::collections::HashMap;

use adit_ledger::payout::{Claim, Custody, DUST_SAT, Payee, Room, Rules, Snapshot, Split, solo};
use adit_ledger::record::{BlockFound, Credit, Entry, Outcome, OutcomeNote, Payout, PayoutState};
use adit_ledger::{AccountId, Book, Record};
use proptest::prelude::*;

const POOL: u16 = 9_999;
const DONATION: u16 = 9_998;
/// A block's subsidy.
const SUBSIDY: u64 = 312_500_000;

fn payee(n: u16) -> Payee {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_le_bytes());
    Payee {
        id,
        script: vec![0x51; 22 + usize::from(n % 2) * 12].into(),
    }
}

fn rules(fee_bp: u16, donation_bp: u16, minimum_sat: u64) -> Rules {
    Rules {
        pool: payee(POOL),
        fee_bp,
        donation: (donation_bp > 0).then(|| (payee(DONATION), donation_bp)),
        minimum_sat,
        custody: Custody::Coinbase,
    }
}

fn snapshot(rules: Rules, claims: &[(u16, u128, i64)]) -> Snapshot {
    let claims: Vec<Claim> = claims
        .iter()
        .map(|(n, weight, carry_sat)| Claim {
            payee: payee(*n),
            weight: *weight,
            carry_sat: *carry_sat,
        })
        .collect();
    let work = claims.iter().map(|claim| claim.weight).sum();
    Snapshot::new(1, rules, claims, work, work)
}

fn earned(split: &Split, n: u16) -> u64 {
    let of = split.lines.iter().filter(|line| line.payee == payee(n));
    of.map(|line| line.earned_sat).sum()
}

/// Name, work and carry of at most sixty miners.
fn claims() -> impl Strategy<Value = Vec<(u16, u128, i64)>> {
    let weight = prop_oneof![0u128..1_000, 0u128..1 << 40, 0u128..1 << 100];
    prop::collection::vec((0u16..40, weight, -2_000_000i64..20_000_000), 0..60)
}

fn room() -> impl Strategy<Value = Room> {
    (2usize..70, 100usize..4_000).prop_map(|(outputs, bytes)| Room { outputs, bytes })
}

prop_compose! {
    fn any_rules()(fee in 0u16..=10_000, donation in 0u16..=10_000, minimum in 0u64..5_000_000, pool in any::<bool>()) -> Rules {
        let custody = if pool { Custody::Pool } else { Custody::Coinbase };
        Rules { custody, ..rules(fee, donation, minimum) }
    }
}

proptest! {
    /// Sums are exact to the satoshi; no output is below the minimum, and none is too many.
    #[test]
    fn a_split_is_exact_and_in_bounds(
        claims in claims(), rules in any_rules(), room in room(), value in prop_oneof![0u64..2_000_000, 0u64..21_000_000 * 100_000_000],
    ) {
        let minimum = rules.minimum_sat.max(DUST_SAT);
        let split = snapshot(rules, &claims).pooled(value, room);
        prop_assert_eq!(split.lines.iter().map(|line| line.earned_sat).sum::<u64>(), value);
        prop_assert_eq!(split.lines.iter().map(|line| line.received_sat).sum::<u64>(), value);
        let outputs: Vec<_> = split.outputs().collect();
        prop_assert!(!outputs.is_empty() && outputs.len() <= room.outputs);
        prop_assert!(outputs.len() == 1 || outputs.iter().map(|it| it.payee.output_bytes()).sum::<usize>() <= room.bytes);
        for line in outputs.iter().filter(|line| line.payee != payee(POOL)) {
            prop_assert!(line.received_sat >= minimum, "{line:?}");
        }
        let pool = outputs.iter().find(|line| line.payee == payee(POOL));
        if let Some(pool) = pool && outputs.len() > 1 {
            prop_assert!(pool.received_sat >= DUST_SAT);
        }
        // Outputs stand first, and nobody twice.
        let first_without = split.lines.iter().position(|line| line.received_sat == 0).unwrap_or(split.lines.len());
        prop_assert!(value == 0 || split.lines[first_without..].iter().all(|line| line.received_sat == 0));
        let mut ids: Vec<AccountId> = split.lines.iter().map(|line| line.payee.id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), split.lines.len());
    }

    /// The same claims in another order, or in pieces: the same split.
    #[test]
    fn order_does_not_matter(claims in claims(), rules in any_rules(), room in room()) {
        let forwards = snapshot(rules.clone(), &claims);
        let backwards: Vec<_> = claims.iter().rev().copied().collect();
        prop_assert_eq!(forwards.pooled(SUBSIDY, room), snapshot(rules, &backwards).pooled(SUBSIDY, room));
    }

    /// What one name earns is at least what it would earn under two.
    #[test]
    fn several_names_earn_nothing_more(
        claims in claims(), work in 0u128..1 << 90, cut in 0u128..1 << 90, rules in any_rules(), room in room(),
    ) {
        let cut = cut.min(work);
        let mut one = claims.clone();
        one.push((100, work, 0));
        let mut two = claims;
        two.extend([(101, cut, 0), (102, work - cut, 0)]);
        let one = snapshot(rules.clone(), &one).pooled(SUBSIDY, room);
        let two = snapshot(rules, &two).pooled(SUBSIDY, room);
        prop_assert!(earned(&two, 101) + earned(&two, 102) <= earned(&one, 100));
    }

    #[test]
    fn a_solo_coinbase_is_exact(fee in 0u16..=5_000, donation in 0u16..=4_000, value in 0u64..21_000_000 * 100_000_000) {
        let split = solo(&rules(fee, donation, 10_000), &payee(3), value);
        prop_assert_eq!(split.lines.iter().map(|line| line.received_sat).sum::<u64>(), value);
        prop_assert!(split.lines.iter().all(|line| line.earned_sat == line.received_sat));
        let first = split.outputs().next().unwrap();
        prop_assert_eq!(&first.payee, &payee(3));
        for other in split.outputs().skip(1) {
            prop_assert!(other.received_sat >= DUST_SAT);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Block after block, from the book alone: balances are zero together, what somebody waits for stays bounded, so
    /// that everybody receives what it earns but for the last part.
    #[test]
    fn what_waits_is_paid_in_the_end(
        weights in prop::collection::vec(1u128..1_000_000, 1..30), cap in 2usize..40, fee in 0u16..500, stale in 0u32..10,
    ) {
        let minimum = 100_000;
        let room = Room { outputs: cap, bytes: 4_000 };
        let mut world = World::default();
        let mut most_waiting = 0;
        for height in 1..=400 {
            let carries = world.book.money().carries();
            let claims: Vec<_> = weights.iter().zip(0u16..).map(|(weight, n)| {
                let carry = carries.get(&payee(n).id).copied().unwrap_or(0);
                (n, *weight, carry)
            }).collect();
            let split = snapshot(rules(fee, 0, minimum), &claims).pooled(SUBSIDY, room);
            world.found(height, &split, if height % 10 == stale { Outcome::Stale } else { Outcome::Confirmed });
            let carries = world.book.money().carries();
            prop_assert_eq!(carries.values().map(|carry| i128::from(*carry)).sum::<i128>(), 0);
            let waiting: i64 = carries.iter().filter(|(id, _)| **id != payee(POOL).id).map(|(_, carry)| *carry).sum();
            most_waiting = most_waiting.max(waiting);
        }
        // Every round of `names / (cap - 1)` blocks pays everybody, so that no more than some blocks' values wait.
        let round = weights.len().div_ceil(cap - 1) as i64 + 2;
        prop_assert!(most_waiting <= round * SUBSIDY as i64, "{most_waiting} in {round}");
        for n in (0u16..).take(weights.len()) {
            let (earned, received) = world.sums(n);
            // Who is owed most comes first, and as much as a block's value is granted: nobody waits for three of them.
            prop_assert!(earned.saturating_sub(received) <= 3 * SUBSIDY, "{n} earned {earned}, received {received}");
        }
    }
}

/// A book and the blocks that it has.
#[derive(Default)]
struct World {
    book: Book,
    sums: HashMap<AccountId, (u64, u64)>,
}

impl World {
    fn tell(&mut self, entry: Entry) {
        self.book.apply(&Record::alone(1, entry));
    }

    fn found(&mut self, height: u32, split: &Split, outcome: Outcome) {
        let mut block = [0; 32];
        block[..4].copy_from_slice(&height.to_le_bytes());
        self.tell(Entry::Block(BlockFound {
            hash: block,
            height,
            value: SUBSIDY,
            account: [1; 16],
            channel: 1,
            worker: None,
        }));
        let lines = split.lines.len() as u32;
        for (line, it) in (0..).zip(&split.lines) {
            // Some of the lines are not all of them.
            let before = (height < 8).then(|| self.book.money().carries());
            self.tell(Entry::Credit(Credit {
                block,
                height,
                line,
                lines,
                account: it.payee.id,
                earned_sat: it.earned_sat,
                received_sat: it.received_sat,
            }));
            if let Some(before) = before.filter(|_| line + 1 < lines) {
                assert_eq!(self.book.money().carries(), before);
            }
        }
        assert!(self.book.money().knows(height, &block));
        self.tell(Entry::Outcome(OutcomeNote::new(block, height, outcome, 1, "")));
        if outcome == Outcome::Confirmed {
            for line in &split.lines {
                let sums = self.sums.entry(line.payee.id).or_default();
                *sums = (sums.0 + line.earned_sat, sums.1 + line.received_sat);
            }
            // It matures, sooner or later: the sums are the same.
            if !height.is_multiple_of(30) {
                let before = self.book.money().carries();
                self.tell(Entry::Outcome(OutcomeNote::new(block, height, outcome, 100, "")));
                assert_eq!(self.book.money().carries(), before);
                assert!(self.book.money().knows(height, &block));
            }
        }
    }

    /// Earned and received, all blocks together.
    fn sums(&self, n: u16) -> (u64, u64) {
        self.sums.get(&payee(n).id).copied().unwrap_or_default()
    }
}

/// Examples that can be worked out by hand.
#[test]
fn small_splits_are_as_on_paper() {
    let room = Room {
        outputs: 10,
        bytes: 4_000,
    };
    let rules = rules(100, 50, 10_000);
    let split = snapshot(rules.clone(), &[(1, 3, 0), (2, 1, 0)]).pooled(1_000_000, room);
    let shown: Vec<_> = split
        .lines
        .iter()
        .map(|line| (line.payee.id[0], line.earned_sat, line.received_sat))
        .collect();
    // 10,000 fee and 5,000 donation; 985,000 by three to one. The donation is below the minimum: it waits with the pool.
    let (one, two, donation, pool) = (1, 2, payee(DONATION).id[0], payee(POOL).id[0]);
    assert_eq!(
        shown,
        [
            (one, 738_750, 738_750),
            (two, 246_250, 246_250),
            (pool, 10_000, 15_000),
            (donation, 5_000, 0)
        ]
    );
    // The next block pays it.
    let claims = [(1, 3, 0), (2, 1, 0), (DONATION, 0, 5_000), (POOL, 0, -5_000)];
    let split = snapshot(rules, &claims).pooled(1_000_000, room);
    let of = |n| split.lines.iter().find(|line| line.payee == payee(n)).unwrap();
    assert_eq!(
        (of(DONATION).received_sat, of(POOL).received_sat),
        (10_000, 5_000)
    );
}

/// A small miner beside a large one, without a fee and with room for all: what it is owed is paid before what the large one
/// earns, as soon as it makes an output.
#[test]
fn who_is_owed_comes_before_who_is_large() {
    let room = Room {
        outputs: 100,
        bytes: 4_000,
    };
    let rules = rules(0, 0, 25_000);
    let first = snapshot(rules.clone(), &[(1, 996, 0), (2, 4, 0)]).pooled(5_000_000, room);
    let of = |split: &Split, n| {
        split
            .lines
            .iter()
            .find(|line| line.payee == payee(n))
            .unwrap()
            .received_sat
    };
    assert_eq!(
        (of(&first, 1), first.outputs().count(), of(&first, POOL)),
        (4_980_000, 2, 20_000)
    );
    let second =
        snapshot(rules.clone(), &[(1, 996, 0), (2, 4, 20_000), (POOL, 0, -20_000)]).pooled(5_000_000, room);
    assert_eq!(
        (of(&second, 1), of(&second, 2), second.outputs().count()),
        (4_960_000, 40_000, 2)
    );
    let third = snapshot(rules, &[(1, 996, 20_000), (2, 4, 0), (POOL, 0, -20_000)]).pooled(5_000_000, room);
    assert_eq!((of(&third, 1), third.outputs().count()), (5_000_000, 1));
}

/// The pool keeps all of it, and everybody has a balance.
#[test]
fn in_the_pools_custody_the_coinbase_pays_the_pool() {
    let rules = Rules {
        custody: Custody::Pool,
        ..rules(100, 0, 10_000)
    };
    let room = Room {
        outputs: 10,
        bytes: 4_000,
    };
    let split = snapshot(rules, &[(1, 3, 7), (2, 1, -9)]).pooled(1_000_000, room);
    let outputs: Vec<_> = split
        .outputs()
        .map(|line| (line.payee.clone(), line.received_sat))
        .collect();
    assert_eq!(outputs, [(payee(POOL), 1_000_000)]);
    assert_eq!(
        (earned(&split, 1), earned(&split, 2), earned(&split, POOL)),
        (742_500, 247_500, 10_000)
    );
}

/// A window of nobody: all of it is the pool's.
#[test]
fn without_miners_the_pool_is_paid() {
    let room = Room {
        outputs: 2,
        bytes: 100,
    };
    for value in [0, 1, SUBSIDY] {
        let split = snapshot(rules(0, 0, 10_000), &[]).pooled(value, room);
        let outputs: Vec<_> = split
            .outputs()
            .map(|line| (line.payee.clone(), line.received_sat))
            .collect();
        assert_eq!(outputs, [(payee(POOL), value)]);
    }
}

fn payout(n: u16, batch: u8, satoshis: u64, state: PayoutState) -> Entry {
    Entry::Payout(Payout {
        account: payee(n).id,
        batch: [batch; 16],
        txid: [0; 32],
        satoshis,
        vout: u32::MAX,
        height: 0,
        fee: 0,
        state,
    })
}

proptest! {
    /// Balances go down by exactly what is sent, and up again by what is cancelled, whatever else happens; what batches have open
    /// is what was paid.
    #[test]
    fn batches_are_taken_from_balances(
        steps in prop::collection::vec((0u16..4, 0u8..5, 1u64..50_000_000, any::<bool>()), 0..60),
    ) {
        let mut world = World::default();
        let rules = Rules { custody: Custody::Pool, ..rules(100, 0, 10_000) };
        let room = Room { outputs: 10, bytes: 4_000 };
        let claims = [(0, 5, 0), (1, 3, 0), (2, 1, 0), (3, 1, 0)];
        world.found(101, &snapshot(rules, &claims).pooled(SUBSIDY, room), Outcome::Confirmed);
        let before = world.book.money().carries();
        let mut sent: HashMap<(u16, u8), (u64, bool)> = HashMap::new();
        for (n, batch, sat, cancel) in steps {
            // As the pool does it: a line is sent once, and cancelled once.
            let open = sent.get(&(n, batch)).copied();
            let state = match (open, cancel) {
                (None, false) => PayoutState::Sent,
                (Some((_, true)), true) => PayoutState::Cancelled,
                _ => continue,
            };
            let sat = open.map_or(sat, |(sat, _)| sat);
            world.tell(payout(n, batch, sat, state));
            sent.insert((n, batch), (sat, state == PayoutState::Sent));
        }
        let money = world.book.money();
        for n in 0..4 {
            let mine = sent.iter().filter(|((of, _), (_, open))| *of == n && *open);
            let paid: u64 = mine.map(|(_, (sat, _))| sat).sum();
            let was = before.get(&payee(n).id).copied().unwrap_or(0);
            prop_assert_eq!(money.carry_sat(&payee(n).id), was - paid as i64);
        }
        let lines = money.batches().all().into_iter().flat_map(|(_, batch)| batch.lines().collect::<Vec<_>>());
        let open = lines.filter(|line| line.state == PayoutState::Sent);
        prop_assert_eq!(
            open.map(|line| line.satoshis).sum::<u64>(),
            sent.values().filter(|(_, open)| *open).map(|(sat, _)| sat).sum::<u64>()
        );
    }
}
