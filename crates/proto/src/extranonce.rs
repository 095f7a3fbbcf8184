//! Who searches where: extranonce prefixes that are never live twice.
//!
//! Full extranonce = prefix chosen by us + what the miner rolls. Prefix = front end | connection slot |
//! channel, big endian, as wide as the [`Layout`] says: a pool has 2 + 3 + 2 bytes; who stands below an
//! upstream has to fit into what that leaves. A connection leases its slot from the
//! [`Space`] of its worker, and a channel leases its number from the connection. What is given back
//! rests until no work made with it can be credited any more: [`TIPS_KEPT`] further tips.

use core::ops::Range;
use std::collections::VecDeque;

/// Most bytes of the prefix that names a channel.
pub const PREFIX_BYTES: usize = 7;

/// Largest full extranonce (spec 5.1.2, messages B0_32).
pub const FULL_SIZE_MAX: usize = 32;

/// How many tips a former tip can be away and still return by a reorganisation. Duplicates are known
/// that long, and a released prefix rests that long.
pub const TIPS_KEPT: u64 = 6;

/// End of the slot numbers of a pool: they have three bytes.
pub const SLOTS_END: u32 = 1 << 24;

/// Smallest extranonce that can be shared out below an upstream.
pub const BRANCH_BYTES_MIN: usize = 4;

/// How the extranonce of this side is shared out: the bytes of the prefix that name front end, slot and
/// channel, and how large the whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    front_end: u8,
    slot: u8,
    channel: u8,
    /// Bytes of every full extranonce, where none may have another size.
    fixed: Option<u8>,
}

impl Layout {
    /// A pool's: 2 bytes of front end, 3 of slot, 2 of channel, and as much to roll as a miner asks for.
    pub const POOL: Self = Self {
        front_end: 2,
        slot: 3,
        channel: 2,
        fixed: None,
    };

    /// That of a proxy or negotiator whose upstream leaves it `bytes` to roll: all of them are used, in
    /// prefixes as long as the room allows. Nothing if they are fewer than [`BRANCH_BYTES_MIN`] or more
    /// than [`FULL_SIZE_MAX`].
    ///
    /// From 8 bytes on 2^24 connections with 256 channels roll the rest, with 6 there are 2^16
    /// connections, and with 4 each of those has one channel.
    pub fn branch(bytes: usize) -> Option<Self> {
        let (slot, channel) = match bytes {
            8..=FULL_SIZE_MAX => (3, 1),
            6..8 => (2, 1),
            BRANCH_BYTES_MIN..6 => (2, 0),
            _ => return None,
        };
        Some(Self {
            front_end: 0,
            slot,
            channel,
            fixed: u8::try_from(bytes).ok(),
        })
    }

    /// Bytes of a channel's prefix.
    pub const fn prefix_bytes(self) -> usize {
        (self.front_end + self.slot + self.channel) as usize
    }

    /// The slot number of a prefix that [`Slot::channel_prefix`] gave.
    pub fn slot_of(self, prefix: [u8; PREFIX_BYTES]) -> u32 {
        let slot = prefix
            .iter()
            .skip(usize::from(self.front_end))
            .take(usize::from(self.slot));
        slot.fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    /// End of the slot numbers.
    pub const fn slots_end(self) -> u32 {
        1 << (8 * self.slot as u32)
    }

    /// End of a connection's channel numbers.
    pub const fn channels_end(self) -> u32 {
        1 << (8 * self.channel as u32)
    }

    /// The size of every channel that asks for nothing larger: 8 bytes to roll, where no size is fixed.
    pub fn default_size(self) -> FullSize {
        let prefix = self.front_end + self.slot + self.channel;
        FullSize {
            prefix,
            full: self.fixed.unwrap_or(prefix + ROLLED_DEFAULT),
        }
    }

    /// The smallest size that leaves the miner `bytes` to roll, at least the default; nothing if that
    /// is too much.
    pub fn rolling(self, bytes: u16) -> Option<FullSize> {
        let full = usize::from(bytes) + self.prefix_bytes();
        let most = self.fixed.map_or(FULL_SIZE_MAX, usize::from);
        let wanted = |size: FullSize| FullSize {
            full: size.full.max(full as u8),
            ..size
        };
        (full <= most).then(|| wanted(self.default_size()))
    }
}

/// What a miner rolls when it asks for nothing, in bytes.
const ROLLED_DEFAULT: u8 = 8;

/// Bytes of a full extranonce: prefix and rolled part, up to [`FULL_SIZE_MAX`]. All
/// channels of a group have the same (spec 5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullSize {
    prefix: u8,
    full: u8,
}

impl FullSize {
    /// The default size of a pool's channels: 8 bytes to roll.
    pub const DEFAULT: Self = Self {
        prefix: PREFIX_BYTES as u8,
        full: PREFIX_BYTES as u8 + ROLLED_DEFAULT,
    };

    /// As [`Layout::rolling`] of a pool.
    pub fn rolling(bytes: u16) -> Option<Self> {
        Layout::POOL.rolling(bytes)
    }

    /// A size for somebody else's extranonce of `bytes`, at most [`FULL_SIZE_MAX`]: nothing of it is prefix.
    pub fn whole(bytes: usize) -> Self {
        Self {
            prefix: 0,
            full: bytes.min(FULL_SIZE_MAX) as u8,
        }
    }

    /// Every size there is in a pool.
    pub fn all() -> impl Iterator<Item = Self> {
        (PREFIX_BYTES as u8..=FULL_SIZE_MAX as u8).map(|full| Self {
            prefix: PREFIX_BYTES as u8,
            full,
        })
    }

    /// Bytes of prefix and rolled part together.
    pub const fn bytes(self) -> usize {
        self.full as usize
    }

    /// Bytes of the prefix.
    pub const fn prefix(self) -> usize {
        self.prefix as usize
    }

    /// Bytes that the miner rolls.
    pub const fn rolled(self) -> usize {
        self.bytes() - self.prefix()
    }
}

/// One full extranonce: what a coinbase holds between its halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extranonce {
    bytes: [u8; FULL_SIZE_MAX],
    size: FullSize,
}

impl Extranonce {
    /// The only extranonce of a standard channel: its prefix, zeros up to the group's size. `prefix`
    /// is what [`Slot::channel_prefix`] gives: zeros behind the bytes of the layout.
    pub fn fixed(prefix: [u8; PREFIX_BYTES], size: FullSize) -> Self {
        let mut bytes = [0; FULL_SIZE_MAX];
        if let Some((head, _)) = bytes.split_first_chunk_mut() {
            *head = prefix;
        }
        Self { bytes, size }
    }

    /// An extranonce of an extended channel, or nothing if `rolled` has not exactly the bytes that
    /// the miner was given (spec 5.3.12).
    pub fn rolled(prefix: [u8; PREFIX_BYTES], rolled: &[u8], size: FullSize) -> Option<Self> {
        let mut whole = Self::fixed(prefix, size);
        let place = whole.bytes.get_mut(size.prefix()..size.bytes())?;
        (place.len() == rolled.len()).then(|| place.copy_from_slice(rolled))?;
        Some(whole)
    }

    /// The bytes as they stand in the coinbase.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.size.bytes()).unwrap_or(&self.bytes)
    }

    /// How many they are.
    pub const fn size(&self) -> FullSize {
        self.size
    }
}

/// A share of the connection slots of one front end. Belongs to one worker.
#[derive(Debug)]
pub struct Space {
    layout: Layout,
    front_end: u16,
    leases: Leases,
}

impl Space {
    /// All prefixes of `front_end` whose slot lies in `slots` (cut at [`SLOTS_END`]). Two live spaces
    /// must not overlap: the owner deals the ranges out.
    pub fn new(front_end: u16, slots: Range<u32>) -> Self {
        Self::of(Layout::POOL, front_end, slots)
    }

    /// As [`Space::new`], with prefixes of another layout, whose end of slots cuts the range. A layout
    /// without front ends has room for one: `front_end` does not matter then.
    pub fn of(layout: Layout, front_end: u16, slots: Range<u32>) -> Self {
        let end = slots.end.min(layout.slots_end());
        Self {
            layout,
            front_end,
            leases: Leases::new(slots.start.min(end)..end),
        }
    }

    /// Leases a slot for a new connection, or nothing if all are leased or resting. `tip` is the
    /// generation of the newest tip ([`Job::tip`](crate::job::Job::tip)).
    pub fn lease(&mut self, tip: u64) -> Option<Slot> {
        let number = self.leases.lease(tip)?;
        Some(Slot {
            layout: self.layout,
            front_end: self.front_end,
            number,
            mark: None,
        })
    }

    /// Takes a slot back when its connection has ended. `tip` is the newest tip of any job that was
    /// sent with it; the slot rests until that tip cannot return, more than [`TIPS_KEPT`] tips later.
    pub fn release(&mut self, slot: Slot, tip: u64) {
        debug_assert_eq!(
            slot.front_end, self.front_end,
            "a slot goes back to its own space"
        );
        self.leases.release(slot.number, tip);
    }
}

/// The right to use the prefixes of one connection slot. Not `Clone`: one owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    layout: Layout,
    front_end: u16,
    number: u32,
    /// Start epoch, where it stands behind the prefix.
    mark: Option<u32>,
}

/// Bytes of a start epoch behind the prefix.
const MARK_BYTES: u8 = 4;

impl Slot {
    /// The same slot with a start epoch in all its extranonces, behind the prefix and a part of it for the miner: for
    /// jobs whose scriptSig is not ours. Work from before a restart is then never that of after it.
    pub fn marked(self, mark: Option<u32>) -> Self {
        Self { mark, ..self }
    }

    /// As [`Layout::default_size`], with room for the mark.
    pub fn default_size(&self) -> FullSize {
        let size = self.layout.default_size();
        // Eight rolled bytes and four more always fit into a pool's.
        self.with_mark(size).unwrap_or(size)
    }

    /// As [`Layout::rolling`], with room for the mark.
    pub fn rolling(&self, bytes: u16) -> Option<FullSize> {
        self.with_mark(self.layout.rolling(bytes)?)
    }

    fn with_mark(&self, size: FullSize) -> Option<FullSize> {
        if self.mark.is_none() {
            return Some(size);
        }
        let full = size.full + MARK_BYTES;
        (usize::from(full) <= FULL_SIZE_MAX).then_some(FullSize {
            prefix: size.prefix + MARK_BYTES,
            full,
        })
    }

    /// The only extranonce of a standard channel, see [`Extranonce::fixed`].
    pub fn fixed(&self, channel: u16, size: FullSize) -> Extranonce {
        let mut whole = Extranonce::fixed(self.channel_prefix(channel), size);
        self.write_mark(&mut whole);
        whole
    }

    /// An extranonce of an extended channel, see [`Extranonce::rolled`].
    #[inline]
    pub fn rolled(&self, channel: u16, rolled: &[u8], size: FullSize) -> Option<Extranonce> {
        let mut whole = Extranonce::rolled(self.channel_prefix(channel), rolled, size)?;
        self.write_mark(&mut whole);
        Some(whole)
    }

    #[inline]
    fn write_mark(&self, whole: &mut Extranonce) {
        let from = self.layout.prefix_bytes();
        if let Some(mark) = self.mark
            && let Some(place) = whole.bytes.get_mut(from..from + usize::from(MARK_BYTES))
        {
            place.copy_from_slice(&mark.to_be_bytes());
        }
    }

    /// The prefix of channel number `channel` of this connection, in as many bytes as the layout has;
    /// zeros after them.
    pub fn channel_prefix(&self, channel: u16) -> [u8; PREFIX_BYTES] {
        let Layout {
            front_end,
            slot,
            channel: width,
            ..
        } = self.layout;
        let front = u64::from(self.front_end) & ((1 << (8 * front_end)) - 1);
        let numbers = (front << (8 * slot) | u64::from(self.number)) << (8 * width) | u64::from(channel);
        let [prefix @ .., _] = (numbers << (64 - 8 * self.layout.prefix_bytes())).to_be_bytes();
        prefix
    }

    /// How this side shares its extranonces out.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The slot's number within its front end, for logs.
    pub const fn number(&self) -> u32 {
        self.number
    }
}

/// Numbers of a range, given out and taken back; a number that came back rests first.
#[derive(Debug)]
pub(crate) struct Leases {
    fresh: Range<u32>,
    resting: VecDeque<Resting>,
    newest: u64,
}

#[derive(Debug)]
struct Resting {
    number: u32,
    until: u64,
}

impl Leases {
    pub(crate) const fn new(numbers: Range<u32>) -> Self {
        Self {
            fresh: numbers,
            resting: VecDeque::new(),
            newest: 0,
        }
    }

    /// Rested numbers first, so that memory follows the churn of a few tips and not all time.
    pub(crate) fn lease(&mut self, tip: u64) -> Option<u32> {
        self.newest = self.newest.max(tip);
        match self.resting.front() {
            Some(first) if first.until <= self.newest => self.resting.pop_front().map(|it| it.number),
            _ => self.fresh.next(),
        }
    }

    pub(crate) fn release(&mut self, number: u32, tip: u64) {
        // The newest tip anyone told us of: a connection may have ended before it heard of it, and
        // the queue stays sorted.
        self.newest = self.newest.max(tip);
        self.resting.push_back(Resting {
            number,
            until: self.newest.saturating_add(TIPS_KEPT + 1),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_prefix_names_front_end_slot_and_channel() {
        let slot = |layout| Slot {
            layout,
            front_end: 0x0102,
            number: 0x03_0405,
            mark: None,
        };
        assert_eq!(slot(Layout::POOL).channel_prefix(0x0607), [1, 2, 3, 4, 5, 6, 7]);
        let branch = Layout::branch(8).unwrap();
        assert_eq!(slot(branch).channel_prefix(0x07), [3, 4, 5, 7, 0, 0, 0]);
        assert_eq!(branch.slot_of([3, 4, 5, 7, 0, 0, 0]), 0x03_0405);
        assert_eq!(Layout::POOL.slot_of([1, 2, 3, 4, 5, 6, 7]), 0x03_0405);
        assert_eq!(Layout::branch(4).unwrap().slot_of([3, 4, 0, 0, 0, 0, 0]), 0x0304);
    }

    #[test]
    fn a_branch_uses_all_that_its_upstream_leaves() {
        for bytes in 0..=FULL_SIZE_MAX + 2 {
            let layout = Layout::branch(bytes);
            assert_eq!(
                layout.is_some(),
                (BRANCH_BYTES_MIN..=FULL_SIZE_MAX).contains(&bytes)
            );
            let Some(layout) = layout else { continue };
            let size = layout.default_size();
            assert_eq!(size.bytes(), bytes);
            assert_eq!(size.prefix(), layout.prefix_bytes());
            assert!(size.rolled() >= 2, "{bytes}");
            // Whatever is asked for, the size is the same or none.
            assert_eq!(layout.rolling(0), Some(size));
            assert_eq!(layout.rolling(size.rolled() as u16), Some(size));
            assert_eq!(layout.rolling(size.rolled() as u16 + 1), None);
            assert_eq!(layout.rolling(u16::MAX), None);
        }
        let small = Layout::branch(4).unwrap();
        assert_eq!((small.slots_end(), small.channels_end()), (1 << 16, 1));
        let mut space = Space::of(small, 0, (1 << 16) - 1..u32::MAX);
        let slot = space.lease(0).unwrap();
        assert_eq!(space.lease(0), None);
        let whole = Extranonce::rolled(slot.channel_prefix(0), &[1, 2], small.default_size()).unwrap();
        assert_eq!(whole.as_bytes(), [0xff, 0xff, 1, 2]);
    }

    /// REQ-MIN-027, REQ-MIN-057
    #[test]
    fn sizes_leave_what_was_asked_or_nothing() {
        assert_eq!(FullSize::rolling(0), Some(FullSize::DEFAULT));
        assert_eq!(FullSize::rolling(8), Some(FullSize::DEFAULT));
        assert_eq!(FullSize::rolling(25).map(FullSize::bytes), Some(32));
        assert_eq!(FullSize::rolling(26), None);
        assert_eq!(FullSize::rolling(u16::MAX), None);
        for length in [0, 7, 9, 25, 32] {
            assert_eq!(
                Extranonce::rolled([0; 7], &vec![1; length], FullSize::DEFAULT),
                None
            );
        }
        let whole = Extranonce::rolled([9; 7], &[1; 8], FullSize::DEFAULT).unwrap();
        assert_eq!(whole.as_bytes(), [9, 9, 9, 9, 9, 9, 9, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(
            Extranonce::fixed([9; 7], FullSize::DEFAULT).as_bytes()[6..],
            [9, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn exhaustion_is_an_answer() {
        let mut space = Space::new(1, SLOTS_END - 1..u32::MAX);
        let slot = space.lease(0).unwrap();
        assert_eq!(space.lease(0), None);
        space.release(slot, 3);
        assert_eq!(space.lease(3 + TIPS_KEPT), None);
        assert!(space.lease(3 + TIPS_KEPT + 1).is_some());
    }

    proptest! {
        /// REQ-MIN-002: no slot is leased twice while it is live or creditable.
        #[test]
        fn no_slot_is_live_twice(steps in proptest::collection::vec((0u8..4, 0usize..8), 1..400)) {
            let mut spaces = [Space::new(1, 0..4), Space::new(1, 4..8), Space::new(2, 0..8)];
            let mut held: Vec<(usize, Slot)> = Vec::new();
            let mut creditable_until: HashMap<[u8; 7], u64> = HashMap::new();
            let mut tip = 0u64;
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        let from = which % spaces.len();
                        if let Some(slot) = spaces[from].lease(tip) {
                            let prefix = slot.channel_prefix(0);
                            prop_assert!(held.iter().all(|(_, other)| *other != slot));
                            prop_assert!(creditable_until.get(&prefix).is_none_or(|until| *until < tip));
                            held.push((from, slot));
                        }
                    }
                    2 if !held.is_empty() => {
                        let (from, slot) = held.swap_remove(which % held.len());
                        creditable_until.insert(slot.channel_prefix(0), tip + TIPS_KEPT);
                        spaces[from].release(slot, tip);
                    }
                    _ => tip += 1,
                }
            }
        }
    }
}
