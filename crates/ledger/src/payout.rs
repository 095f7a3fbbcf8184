//! Who is paid what: pure functions of the book, to the last satoshi.
//!
//! ```text
//!   value of the coinbase = fee + donation + what miners earn        split by work, rounded down; the rest is the fee's
//!   wish of a payee       = what it earns + what earlier blocks left unpaid
//!   outputs               = who is owed most first, then the largest, none below the minimum, as many as fit;
//!                           what is left over is paid to the pool, which owes it
//! ```
//!
//! Each block's [`Split`] adds the value of its coinbase to what payees have earned and to what they have received, so
//! that the balances of all, the pool's included, are zero together. Nobody gains by taking several names: a part
//! rounded down is never less than its pieces rounded down.

use std::sync::Arc;

use crate::record::AccountId;
use crate::window::share_of;

/// Smallest output that nodes pass on, whatever its script, in satoshis.
pub const DUST_SAT: u64 = 546;
/// All of something in basis points.
pub const BASIS_POINTS: u16 = 10_000;

/// Somebody who is paid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Payee {
    /// The account whose name is the address or descriptor.
    pub id: AccountId,
    /// The output script.
    pub script: Arc<[u8]>,
}

impl Payee {
    /// Bytes of its output in a transaction: value, length and script.
    pub fn output_bytes(&self) -> usize {
        8 + 1 + self.script.len()
    }
}

/// What the operator has configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The pool: gets the fee and holds in trust what no output can carry.
    pub pool: Payee,
    /// The pool's part of the value, in basis points.
    pub fee_bp: u16,
    /// Whom the donation goes to, and its part of the value in basis points.
    pub donation: Option<(Payee, u16)>,
    /// Smallest output of a pooled coinbase, satoshis; at least [`DUST_SAT`].
    pub minimum_sat: u64,
    /// Where the value goes first.
    pub custody: Custody,
}

/// Who holds what miners have earned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// The coinbase pays them.
    Coinbase,
    /// The coinbase pays the pool; balances are paid in batches.
    Pool,
}

/// Room for outputs of payees in a coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Room {
    /// Most outputs, the pool's included; at least 2.
    pub outputs: usize,
    /// Most bytes that they take.
    pub bytes: usize,
}

/// What one payee may claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub payee: Payee,
    /// Work in the window, expected hashes.
    pub weight: u128,
    /// What earlier blocks have left unpaid, satoshis; negative when they have paid too much.
    pub carry_sat: i64,
}

/// All that the outputs of pooled work follow from, at one moment. A number, so that front ends can say which they go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Counts up.
    pub number: u64,
    /// Rules of the moment.
    pub rules: Rules,
    /// Who claims, sorted by payee, each once.
    pub claims: Vec<Claim>,
    /// The window that was asked for, expected hashes.
    pub window: u128,
    /// The work that was found in it, that of unpaid names included.
    pub work: u128,
}

/// What a block does to one payee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who.
    pub payee: Payee,
    /// Its part of the value, satoshis.
    pub earned_sat: u64,
    /// Its output in the coinbase, satoshis; 0 is none.
    pub received_sat: u64,
}

/// What a block does to all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Outputs first, in their order; then those who earn and wait.
    pub lines: Vec<Line>,
}

impl Split {
    /// The outputs of the coinbase, in order; never none.
    pub fn outputs(&self) -> impl Iterator<Item = &Line> {
        let only = usize::from(self.lines.iter().all(|line| line.received_sat == 0));
        let paid = self.lines.iter().filter(|line| line.received_sat > 0);
        paid.chain(self.lines.iter().take(only))
    }
}

impl Snapshot {
    /// Sorts claims and joins those of one payee.
    pub fn new(number: u64, rules: Rules, mut claims: Vec<Claim>, window: u128, work: u128) -> Self {
        claims.sort_by_key(|claim| claim.payee.id);
        claims.dedup_by(|next, kept| {
            let same = next.payee.id == kept.payee.id;
            if same {
                kept.weight = kept.weight.saturating_add(next.weight);
                kept.carry_sat = kept.carry_sat.saturating_add(next.carry_sat);
            }
            same
        });
        Self {
            number,
            rules,
            claims,
            window,
            work,
        }
    }

    /// The split of a coinbase that pays `value_sat` to those of the window.
    pub fn pooled(&self, value_sat: u64, room: Room) -> Split {
        let mut wishes = self.earnings(value_sat);
        match self.rules.custody {
            Custody::Coinbase => self.pay(value_sat, room, &mut wishes),
            Custody::Pool => wishes.iter_mut().for_each(|wish| wish.wish_sat = 0),
        }
        let received: u64 = wishes.iter().map(|wish| wish.line.received_sat).sum();
        let earned: u64 = wishes.iter().map(|wish| wish.line.earned_sat).sum();
        let pool = Line {
            payee: self.rules.pool.clone(),
            earned_sat: value_sat - earned,
            received_sat: value_sat - received,
        };
        let lines = wishes.into_iter().map(|wish| wish.line);
        let mut lines: Vec<Line> = lines
            .filter(|it| it.earned_sat > 0 || it.received_sat > 0)
            .collect();
        let outputs = lines.iter().filter(|line| line.received_sat > 0).count();
        lines.insert(outputs, pool);
        Split { lines }
    }

    /// What everybody but the pool earns of a value, and wishes for.
    fn earnings(&self, value_sat: u64) -> Vec<Wish> {
        let rules = &self.rules;
        let fee = part_bp(value_sat, rules.fee_bp);
        let given = rules
            .donation
            .as_ref()
            .map_or(0, |(_, bp)| part_bp(value_sat, *bp));
        let donation = given.min(value_sat - fee);
        let miners = value_sat - fee - donation;
        let is_pool = |payee: &Payee| payee.id == rules.pool.id;
        let total: u128 = self.claims.iter().map(|claim| claim.weight).sum();
        let mut wishes: Vec<Wish> = self
            .claims
            .iter()
            .filter(|claim| !is_pool(&claim.payee))
            .map(|claim| Wish::of(claim, part(miners, claim.weight, total)))
            .collect();
        if let Some((payee, _)) = rules.donation.as_ref().filter(|(payee, _)| !is_pool(payee)) {
            let nothing = Claim {
                payee: payee.clone(),
                weight: 0,
                carry_sat: 0,
            };
            match wishes.iter_mut().find(|wish| wish.line.payee.id == payee.id) {
                Some(wish) => wish.earn(donation),
                None => wishes.push(Wish::of(&nothing, donation)),
            }
        }
        wishes
    }

    /// Grants wishes as far as value and room go: who is owed most comes first, then the largest. All wishes together are more
    /// than the value as long as anybody is owed: those who come last wait in their turn. Sorts them in the order of the
    /// outputs, the largest first.
    fn pay(&self, value_sat: u64, room: Room, wishes: &mut [Wish]) {
        let rank = |wish: &Wish| (wish.owed_sat, wish.wish_sat);
        wishes.sort_by(|a, b| rank(b).cmp(&rank(a)).then(a.line.payee.id.cmp(&b.line.payee.id)));
        let minimum = self.rules.minimum_sat.max(DUST_SAT);
        let mut left = value_sat;
        let mut outputs = room.outputs.saturating_sub(1);
        let mut bytes = room.bytes.saturating_sub(self.rules.pool.output_bytes());
        for wish in &mut *wishes {
            let pays = u64::try_from(wish.wish_sat).unwrap_or(0).min(left);
            if outputs == 0 {
                break;
            }
            if pays < minimum {
                continue;
            }
            let Some(rest) = bytes.checked_sub(wish.line.payee.output_bytes()) else {
                continue;
            };
            (bytes, outputs, left) = (rest, outputs - 1, left - pays);
            wish.line.received_sat = pays;
        }
        wishes.sort_by(|a, b| {
            let (a, b) = (&a.line, &b.line);
            b.received_sat
                .cmp(&a.received_sat)
                .then(a.payee.id.cmp(&b.payee.id))
        });
        if let Some(first) = wishes.first_mut()
            && left < DUST_SAT
            && first.line.received_sat > 0
        {
            // Too little for an output of the pool's: an advance on what the first one earns next.
            first.line.received_sat += left;
        }
    }
}

/// The split of a coinbase that is its finder's.
pub fn solo(rules: &Rules, miner: &Payee, value_sat: u64) -> Split {
    let mut lines = vec![Line {
        payee: miner.clone(),
        earned_sat: 0,
        received_sat: 0,
    }];
    let pool = (part_bp(value_sat, rules.fee_bp) >= DUST_SAT).then_some((&rules.pool, rules.fee_bp));
    let others = pool
        .into_iter()
        .chain(rules.donation.as_ref().map(|(payee, bp)| (payee, *bp)));
    let mut left = value_sat;
    for (payee, bp) in others {
        let sat = part_bp(value_sat, bp).min(left);
        if sat < DUST_SAT || payee.id == miner.id {
            continue;
        }
        left -= sat;
        match lines.iter_mut().find(|line| line.payee.id == payee.id) {
            Some(line) => line.earned_sat += sat,
            None => lines.push(Line {
                payee: payee.clone(),
                earned_sat: sat,
                received_sat: 0,
            }),
        }
    }
    // The miner's output is the first one.
    if let Some(first) = lines.first_mut() {
        first.earned_sat = left;
    }
    for line in &mut lines {
        line.received_sat = line.earned_sat;
    }
    Split { lines }
}

/// A payee on its way to an output.
struct Wish {
    line: Line,
    /// What earlier blocks have left unpaid.
    owed_sat: i64,
    /// That, and what this block earns.
    wish_sat: i64,
}

impl Wish {
    fn of(claim: &Claim, earned_sat: u64) -> Self {
        let mut wish = Self {
            line: Line {
                payee: claim.payee.clone(),
                earned_sat: 0,
                received_sat: 0,
            },
            owed_sat: claim.carry_sat.max(0),
            wish_sat: claim.carry_sat,
        };
        wish.earn(earned_sat);
        wish
    }

    fn earn(&mut self, sat: u64) {
        self.line.earned_sat += sat;
        self.wish_sat = self.wish_sat.saturating_add_unsigned(sat);
    }
}

/// `floor(value * bp / 10000)`.
fn part_bp(value_sat: u64, bp: u16) -> u64 {
    let bp = bp.min(BASIS_POINTS);
    part(value_sat, bp.into(), BASIS_POINTS.into())
}

/// `floor(value * weight / total)`, nothing of nothing.
fn part(value_sat: u64, weight: u128, total: u128) -> u64 {
    // Not more than `value_sat`.
    u64::try_from(share_of(value_sat.into(), weight, total)).unwrap_or(value_sat)
}
