//! Where a front end is with shipping its journal: decided without I/O.
//!
//! The transport may lose, double and reorder what it was given, and forget all of it. What counts is what an
//! accountant says that it has. When it says that nothing more comes and it still lacks what was shipped, shipping
//! goes back to there.

/// How often in a row an accountant must lack the same record before shipping goes back to it: the first time,
/// messages may still be on their way.
const HUNGRY_TIMES: u32 = 2;

/// What an accountant says about a front end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Have {
    /// The first sequence that is not in the database.
    pub next: u64,
    /// Whether nothing more came from the transport for a while.
    pub hungry: bool,
}

/// Sequences of shipping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What is shipped next.
    next: u64,
    /// The transport says that it has everything before this.
    taken: u64,
    /// An accountant says so of the database.
    booked: u64,
    hungry: u32,
    reshipped: u64,
}

impl Cursor {
    /// Begins at `next`.
    pub const fn new(next: u64) -> Self {
        Self {
            next,
            taken: next,
            booked: 0,
            hungry: 0,
            reshipped: 0,
        }
    }

    /// What is shipped next.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Everything before this is in the database; 0 while nobody has said so.
    pub const fn booked(&self) -> u64 {
        self.booked
    }

    /// Everything before this is in the transport, as far as it says.
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// Records that had to be shipped again.
    pub const fn reshipped(&self) -> u64 {
        self.reshipped
    }

    /// Everything before `next` was handed to the transport.
    pub fn shipped(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// The transport has everything before `next`.
    pub fn acknowledged(&mut self, next: u64) {
        self.taken = self.taken.max(next.min(self.next));
    }

    /// The transport did not take something: what it has not acknowledged is shipped again.
    pub fn failed(&mut self) {
        self.reshipped += self.next - self.taken.min(self.next);
        self.next = self.taken.min(self.next);
    }

    /// An accountant has said what it has. `durable` is the sequence after the last record that may be shipped.
    /// Gives whether shipping went to another place.
    pub fn heard(&mut self, have: Have, durable: u64) -> bool {
        // It cannot have what is not there; a database of another journal is found out by the records' marks.
        let have_next = have.next.min(durable);
        let same = have_next == self.booked;
        self.booked = have_next;
        if have_next > self.next {
            (self.next, self.taken, self.hungry) = (have_next, have_next, 0);
            return true;
        }
        self.taken = self.taken.max(have_next);
        if !have.hungry || have_next >= self.taken {
            self.hungry = 0;
            return false;
        }
        self.hungry = if same { self.hungry + 1 } else { 1 };
        if self.hungry < HUNGRY_TIMES {
            return false;
        }
        self.reshipped += self.next - have_next;
        (self.next, self.taken, self.hungry) = (have_next, have_next, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn have(next: u64, hungry: bool) -> Have {
        Have { next, hungry }
    }

    #[test]
    fn what_the_transport_lost_is_shipped_again() {
        let mut cursor = Cursor::new(1);
        cursor.shipped(101);
        cursor.acknowledged(101);
        assert!(!cursor.heard(have(41, false), 200), "the rest is on its way");
        assert!(!cursor.heard(have(41, true), 200), "once may be a matter of time");
        assert!(cursor.heard(have(41, true), 200));
        assert_eq!((cursor.next(), cursor.booked(), cursor.reshipped()), (41, 41, 60));
    }

    #[test]
    fn nobody_is_hungry_for_what_was_not_shipped() {
        let mut cursor = Cursor::new(1);
        cursor.shipped(101);
        cursor.acknowledged(101);
        for _ in 0..5 {
            assert!(!cursor.heard(have(101, true), 500));
        }
        assert_eq!(cursor.next(), 101);
    }

    #[test]
    fn hunger_for_different_records_is_progress() {
        let mut cursor = Cursor::new(1);
        cursor.shipped(101);
        cursor.acknowledged(101);
        for next in [10, 20, 30, 40] {
            assert!(!cursor.heard(have(next, true), 500));
        }
        assert_eq!(cursor.next(), 101);
    }

    #[test]
    fn a_front_end_that_starts_again_goes_on_where_the_database_is() {
        let mut cursor = Cursor::new(1);
        assert!(cursor.heard(have(5_000, false), 6_000));
        assert_eq!((cursor.next(), cursor.taken()), (5_000, 5_000));
        assert!(cursor.heard(have(u64::MAX, false), 6_000));
        assert_eq!(cursor.next(), 6_000, "nobody has more than there is");
    }

    #[test]
    fn what_was_not_taken_is_shipped_again() {
        let mut cursor = Cursor::new(10);
        cursor.shipped(20);
        cursor.acknowledged(15);
        cursor.shipped(30);
        cursor.failed();
        assert_eq!((cursor.next(), cursor.reshipped()), (15, 15));
        cursor.acknowledged(1_000);
        assert_eq!(cursor.taken(), 15, "it cannot have what was not shipped");
    }
}
