//! The window: who did the last so much work, in slices of time.
//!
//! ```text
//!   age    32 s·2^k ........ 640 s      320 s      now
//!          | 40 s | 40 s | 20 s | 20 s | 10 s | 10 s |      a slice's width is at most 1/32 of its age
//! ```
//!
//! A slice holds the sum of each account's work in it, so the order of shares inside a slice is nothing, and neither is the
//! way that shares came here: the window of two journals is the [`Window::merge`] of their windows. Which slices there are
//! follows from the time of the newest share alone. As slices age they are joined in pairs, so that a year of work takes
//! six hundred of them. The oldest one that a window of a given work reaches counts in part, alike for everybody in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::record::{AccountId, Share};

/// Width of the youngest slices, microseconds.
pub const UNIT_US: u64 = 10_000_000;
/// A slice is joined with its neighbour when both together are at most this part of their age.
pub const AGE_IN_SLICES: u64 = 32;
/// Widest slices: 2^LEVEL_MAX units, some centuries.
const LEVEL_MAX: u32 = 30;
/// Units that time goes on by one by one; after a longer pause all slices are looked at.
const STEPS_MAX: u64 = 64;

/// Who did the last work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// By the unit that each begins with. Shared with those who look at the window while work goes on.
    slices: BTreeMap<u64, Arc<Slice>>,
    /// The newest unit that a share fell into.
    newest: u64,
    /// The sum of all slices.
    work: u128,
}

/// The work of some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    /// It is 2^level units wide.
    pub(crate) level: u32,
    pub(crate) work: u128,
    pub(crate) accounts: HashMap<AccountId, u128>,
}

/// What each account did in the last so much work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Expected hashes by account, sorted by account; none is zero.
    pub accounts: Vec<(AccountId, u128)>,
    /// Work that was there to be counted, up to what was asked for.
    pub work: u128,
}

impl Window {
    /// Counts a share, unless its finder was paid by a coinbase of its own.
    pub fn share(&mut self, share: &Share) {
        if !share.solo {
            self.add(share.account, share.work, share.time_us);
        }
    }

    /// Counts `work` of an account, done at `time_us` (Unix microseconds).
    pub fn add(&mut self, account: AccountId, work: u64, time_us: u64) {
        let unit = time_us / UNIT_US;
        self.turn_to(unit);
        let level = level(unit, self.newest);
        let slice = self.slices.entry(start(unit, level)).or_default();
        let slice = Arc::make_mut(slice);
        slice.level = level;
        slice.work += u128::from(work);
        *slice.accounts.entry(account).or_default() += u128::from(work);
        self.work += u128::from(work);
    }

    /// All work that is kept.
    pub fn work(&self) -> u128 {
        self.work
    }

    /// When the newest share was found, rounded down to a slice, microseconds since 1970.
    pub fn newest_us(&self) -> u64 {
        self.newest.saturating_mul(UNIT_US)
    }

    /// Whoever did work in it; some more than once.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.slices.values().flat_map(|slice| slice.accounts.keys())
    }

    /// Slices that are kept.
    pub fn slices(&self) -> usize {
        self.slices.len()
    }

    /// Entries of all slices: what the memory is taken by.
    pub fn entries(&self) -> usize {
        self.slices.values().map(|slice| slice.accounts.len()).sum()
    }

    /// What each account did in the last `work` (expected hashes): the youngest slices whole, the last one in proportion,
    /// rounded down.
    pub fn weights(&self, work: u128) -> Weights {
        weigh(self.slices.values().rev().map(std::slice::from_ref), work)
    }

    /// The same in all of `windows` together, which are brought to one time for it: the [`Window::weights`] of their
    /// [`Window::merge`], without making that.
    pub fn weights_of(windows: &mut [Self], work: u128) -> Weights {
        let newest = windows.iter().map(|window| window.newest).max().unwrap_or(0);
        let mut slices: BTreeMap<u64, Vec<Arc<Slice>>> = BTreeMap::new();
        for window in windows {
            window.turn_to(newest);
            for (from, slice) in &window.slices {
                slices.entry(*from).or_default().push(Arc::clone(slice));
            }
        }
        weigh(slices.values().rev().map(Vec::as_slice), work)
    }

    /// Forgets the oldest slices as far as more than `work` stays.
    pub fn keep(&mut self, work: u128) {
        while let Some(oldest) = self.slices.first_entry() {
            let rest = self.work.saturating_sub(oldest.get().work);
            if rest < work {
                return;
            }
            self.work = rest;
            oldest.remove();
        }
    }

    /// Adds another front end's window.
    pub fn merge(&mut self, other: &Self) {
        self.turn_to(other.newest);
        for (from, slice) in &other.slices {
            self.join(*from, Arc::clone(slice));
        }
        self.work += other.work;
    }

    /// Whether this is `whole` as far as it goes back: what was forgotten may be missing, and nothing else.
    pub fn is_end_of(&self, whole: &Self) -> bool {
        let Some((first, _)) = self.slices.first_key_value() else {
            return whole.slices.is_empty() || self.newest == whole.newest;
        };
        self.newest == whole.newest && whole.slices.range(first..).eq(self.slices.iter())
    }

    /// The newest unit that a share fell into.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn parts(&self) -> (u64, impl ExactSizeIterator<Item = (u64, &Slice)>) {
        let slices = self.slices.iter().map(|(start, slice)| (*start, &**slice));
        (self.newest, slices)
    }

    /// The slices, shared: one that is the same as before has not changed.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (u64, &Arc<Slice>)> {
        self.slices.iter().map(|(start, slice)| (*start, slice))
    }

    /// Puts a window together from its [`Window::parts`].
    pub(crate) fn of_parts(newest: u64, slices: impl IntoIterator<Item = (u64, Slice)>) -> Self {
        let slices = slices.into_iter();
        Self::of_shared(newest, slices.map(|(start, slice)| (start, Arc::new(slice))))
    }

    /// The same from slices that others have as well.
    pub(crate) fn of_shared(newest: u64, slices: impl IntoIterator<Item = (u64, Arc<Slice>)>) -> Self {
        let slices: BTreeMap<_, _> = slices.into_iter().collect();
        let work = slices.values().map(|slice| slice.work).sum();
        Self { slices, newest, work }
    }

    /// Time has come to `unit`: older slices are joined.
    fn turn_to(&mut self, unit: u64) {
        if unit.saturating_sub(self.newest) > STEPS_MAX {
            self.newest = unit;
            let old = |(from, slice): &(&u64, &Arc<Slice>)| slice.level < level(**from, unit);
            let outgrown = self.slices.iter().filter(old).map(|(from, _)| *from).collect();
            return self.rejoin(outgrown);
        }
        while self.newest < unit {
            self.newest += 1;
            // The slices that come of age now: for each width, those that end 32 widths ago.
            for level in 1..=self.newest.trailing_zeros().min(LEVEL_MAX) {
                let Some(end) = self.newest.checked_sub(AGE_IN_SLICES << level) else {
                    break;
                };
                let begin = end.saturating_sub(1 << level);
                let outgrown = self.slices.range(begin..end).map(|(from, _)| *from).collect();
                self.rejoin(outgrown);
            }
        }
    }

    fn rejoin(&mut self, outgrown: Vec<u64>) {
        for from in outgrown {
            if let Some(slice) = self.slices.remove(&from) {
                self.join(from, slice);
            }
        }
    }

    /// Puts the work of a slice that begins at `from` where it belongs now.
    fn join(&mut self, from: u64, slice: Arc<Slice>) {
        let level = level(from, self.newest).max(slice.level);
        match self.slices.entry(start(from, level)) {
            std::collections::btree_map::Entry::Vacant(place) => {
                let mut slice = slice;
                if slice.level != level {
                    Arc::make_mut(&mut slice).level = level;
                }
                place.insert(slice);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let whole = Arc::make_mut(place.get_mut());
                whole.work += slice.work;
                for (account, work) in &slice.accounts {
                    *whole.accounts.entry(*account).or_default() += work;
                }
            }
        }
    }
}

/// Sums slices up, youngest first, until there is `work`. Those of one time are given together.
fn weigh<'a>(slices: impl Iterator<Item = &'a [Arc<Slice>]>, work: u128) -> Weights {
    let mut sums: HashMap<AccountId, u128> = HashMap::new();
    let mut left = work;
    for together in slices {
        let whole: u128 = together.iter().map(|slice| slice.work).sum();
        let part = whole.min(left);
        let done = together.iter().flat_map(|slice| &slice.accounts);
        if part == whole {
            done.for_each(|(account, done)| *sums.entry(*account).or_default() += done);
        } else {
            let mut last: HashMap<AccountId, u128> = HashMap::new();
            done.for_each(|(account, done)| *last.entry(*account).or_default() += done);
            for (account, done) in last {
                *sums.entry(account).or_default() += share_of(part, done, whole);
            }
        }
        left -= part;
        if left == 0 {
            break;
        }
    }
    let mut accounts: Vec<_> = sums.into_iter().filter(|(_, work)| *work > 0).collect();
    accounts.sort_unstable();
    Weights {
        accounts,
        work: work - left,
    }
}

/// How wide the slice of `unit` is when `newest` is the newest one: the widest whose age is [`AGE_IN_SLICES`] widths.
fn level(unit: u64, newest: u64) -> u32 {
    let grown = |level: &u32| {
        let end = start(unit, *level).saturating_add(1 << level);
        newest
            .checked_sub(end)
            .is_some_and(|age| age >> level >= AGE_IN_SLICES)
    };
    (1..=LEVEL_MAX).take_while(grown).last().unwrap_or(0)
}

/// The first unit of a slice.
const fn start(unit: u64, level: u32) -> u64 {
    (unit >> level) << level
}

/// `floor(whole * part / all)` for `part <= all`, exact whatever the numbers are.
pub(crate) fn share_of(whole: u128, part: u128, all: u128) -> u128 {
    debug_assert!(part <= all);
    if let Some(product) = whole.checked_mul(part) {
        return product.checked_div(all).unwrap_or(0);
    }
    // Bit by bit: `quotient` and `rest` are those of the bits of `whole` read so far, times `part`.
    let (mut quotient, mut rest) = (0u128, 0u128);
    for bit in (0..u128::BITS).rev() {
        quotient <<= 1;
        for addend in [rest, if whole >> bit & 1 == 1 { part } else { 0 }] {
            // `rest` and the addend are below or at `all`: the sum is compared without building it.
            if rest >= all - addend.min(all) {
                rest -= all - addend;
                quotient += 1;
            } else {
                rest += addend;
            }
        }
    }
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Account, work and time in seconds.
    fn shares() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
        prop::collection::vec((0u8..5, 1u64..1_000_000, 0u64..50_000), 0..120)
    }

    fn window<'a>(shares: impl IntoIterator<Item = &'a (u8, u64, u64)>) -> Window {
        let mut window = Window::default();
        for (account, work, at_s) in shares {
            window.add([*account; 16], *work, at_s * 1_000_000);
        }
        window
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_no_work_is_lost(shares in shares()) {
            let whole = window(&shares);
            prop_assert_eq!(&whole, &window(shares.iter().rev()));
            let sum: u128 = shares.iter().map(|(_, work, _)| u128::from(*work)).sum();
            prop_assert_eq!(whole.work(), sum);
            let all = whole.weights(u128::MAX);
            prop_assert_eq!(all.accounts.iter().map(|(_, work)| work).sum::<u128>(), sum);
        }

        /// Several front ends: however the shares came apart, and in whatever order the windows are joined.
        #[test]
        fn parts_make_the_whole(shares in shares(), cut in any::<prop::sample::Index>()) {
            let (left, right) = shares.split_at(cut.index(shares.len() + 1));
            let (mut a, mut b) = (window(left), window(right));
            let before = a.clone();
            a.merge(&b);
            b.merge(&before);
            prop_assert_eq!(&a, &window(&shares));
            prop_assert_eq!(&b, &a);
        }

        /// Without making the whole: the same to the last hash.
        #[test]
        fn parts_weigh_what_the_whole_weighs(shares in shares(), cuts in prop::collection::vec(0usize..3, 120), work in 0u128..40_000_000) {
            let mut windows = [Window::default(), Window::default(), Window::default()];
            for ((account, done, at_s), cut) in shares.iter().zip(cuts) {
                windows[cut].add([*account; 16], *done, at_s * 1_000_000);
            }
            prop_assert_eq!(Window::weights_of(&mut windows, work), window(&shares).weights(work));
        }

        #[test]
        fn a_window_is_never_more_than_was_asked_for(shares in shares(), work in 0u128..40_000_000) {
            let whole = window(&shares);
            let weights = whole.weights(work);
            let sum: u128 = weights.accounts.iter().map(|(_, work)| work).sum();
            prop_assert_eq!(weights.work, work.min(whole.work()));
            // Rounding takes less than one hash an account.
            prop_assert!(sum <= weights.work && weights.work - sum <= 5);
        }

        #[test]
        fn what_is_forgotten_is_not_missed(shares in shares(), work in 1u128..40_000_000) {
            let whole = window(&shares);
            let mut kept = whole.clone();
            kept.keep(work);
            prop_assert_eq!(kept.weights(work), whole.weights(work));
            prop_assert!(kept.is_end_of(&whole) && kept.slices() <= whole.slices());
        }

        #[test]
        fn parts_of_wholes_are_exact(whole in any::<u128>(), part in any::<u128>(), all in 1u128..) {
            let part = all.checked_add(1).map_or(part, |all| part % all);
            let got = share_of(whole, part, all);
            prop_assert!(got <= whole);
            // Against the same by halves: whole = a + b, floor(a) + floor(b) is at most one below.
            let (a, b) = (whole / 2, whole - whole / 2);
            let sum = share_of(a, part, all) + share_of(b, part, all);
            prop_assert!(got - sum <= 1);
        }
    }

    /// Small numbers, where the product is known.
    #[test]
    fn long_division_agrees_with_the_short_one() {
        let high = u128::MAX / 3;
        assert_eq!(share_of(u128::MAX, high, u128::MAX), high);
        assert_eq!(share_of(high, u128::MAX, u128::MAX), high);
        assert_eq!(share_of(1 << 100, 1 << 60, 1 << 70), 1 << 90);
        assert_eq!(
            share_of((1 << 100) + 7, 3 << 60, 1 << 70),
            ((1 << 100) + 7) / 1024 * 3
        );
        assert_eq!(share_of(5, 2, 3), 3);
        assert_eq!(share_of(5, 0, 0), 0);
    }

    /// A slice is narrow for its age, and a long time takes few of them.
    #[test]
    fn a_year_takes_six_hundred_slices() {
        let mut window = Window::default();
        let year = 365 * 24 * 360;
        for unit in 0..year {
            if unit % 6 == 0 {
                window.add([1; 16], 1, unit * UNIT_US);
            }
        }
        assert!(window.slices() < 620, "{}", window.slices());
        for (start, slice) in window.parts().1 {
            let width = 1u64 << slice.level;
            let age = window.newest.saturating_sub(start + width);
            assert!(slice.level == 0 || width * AGE_IN_SLICES <= age, "{start}");
        }
    }

    /// Who mines only in the first, or only in the last part of slices, gets per work what others get, within the width
    /// of a slice: 1/32 of the window's length.
    #[test]
    fn hopping_between_slices_gains_nothing_to_speak_of() {
        // One unit of work a second; the hopper in the first two seconds of every four, where slices are 4 units wide.
        let (steady, hopper) = ([1; 16], [2; 16]);
        let mut window = Window::default();
        let (mut paid_steady, mut paid_hopper, mut blocks) = (0u128, 0u128, 0u128);
        for second in 0..40_000u64 {
            let us = second * 1_000_000;
            window.add(steady, 1_000, us);
            if second % 40 < 20 {
                window.add(hopper, 1_000, us);
            }
            if second > 20_000 && second % 7 == 0 {
                let weights = window.weights(3_000 * 1_000);
                for (account, work) in weights.accounts {
                    if account == steady {
                        paid_steady += work
                    } else {
                        paid_hopper += work
                    }
                }
                blocks += 1;
            }
        }
        assert!(blocks > 2_000);
        // The hopper did half of the steady one's work.
        let (twice, once) = (paid_hopper * 2, paid_steady);
        assert!(twice.abs_diff(once) * 32 < once, "{twice} {once}");
    }

    /// Pays a block of a million by the last `window` of work. Gives what the account earns.
    fn earned(kept: &Window, window: u128, account: AccountId) -> u128 {
        let weights = kept.weights(window);
        let own = weights.accounts.iter().find(|(of, _)| *of == account);
        own.map_or(0, |(_, work)| share_of(1_000_000, *work, weights.work))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        /// However somebody comes and goes, its work earns what work is worth: not more, and not less.
        #[test]
        fn coming_and_going_gains_nothing(there in prop::collection::vec(any::<bool>(), 4..40), every in 20u64..90) {
            let (steady, hopper) = ([1; 16], [2; 16]);
            let (window, block) = (3_000_000u128, 9_000u64);
            let mut kept = Window::default();
            let (mut done, mut paid, mut since) = (0u128, 0u128, 0u64);
            // Before and after it comes, the window is full of others' work.
            for second in 0..18_000u64 {
                let us = second * 1_000_000;
                kept.add(steady, 1_000, us);
                since += 1_000;
                let turn = (second / every) as usize % there.len();
                if (4_000..12_000).contains(&second) && there[turn] {
                    kept.add(hopper, 1_000, us);
                    (done, since) = (done + 1_000, since + 1_000);
                }
                if since >= block {
                    since -= block;
                    paid += earned(&kept, window, hopper);
                    kept.keep(window);
                }
            }
            let worth = done * 1_000_000 / u128::from(block);
            prop_assert!(paid.abs_diff(worth) * 20 <= worth, "{paid} for {worth}");
        }
    }
}
