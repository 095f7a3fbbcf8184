//! Records that come in any order, into the order of their journal: without I/O.

use std::collections::BTreeMap;

use adit_ledger::Record;

/// Records that may wait for others before them; what lies farthest ahead is let go for more, and comes again.
pub const HELD_MAX: usize = 1 << 18;

/// Puts batches of one front end in order. `T` is what is given back when a batch is of no more use here: counted,
/// known before, or let go.
#[derive(Debug)]
pub struct Sequencer<T> {
    /// The first sequence that is not counted.
    next: u64,
    /// Batches by their first sequence.
    waiting: BTreeMap<u64, (Vec<Record>, T)>,
    held: usize,
}

impl<T> Sequencer<T> {
    /// Everything before `next` is counted.
    pub const fn new(next: u64) -> Self {
        Self {
            next,
            waiting: BTreeMap::new(),
            held: 0,
        }
    }

    /// The first sequence that is not counted.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Records that wait.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Takes a batch in order and without gaps. What is of no more use goes to `done`.
    pub fn push(&mut self, records: Vec<Record>, token: T, done: &mut Vec<T>) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return done.push(token);
        };
        if last.sequence < self.next {
            return done.push(token);
        }
        let (key, count) = (first.sequence, records.len());
        match self.waiting.get(&key) {
            // Of two that begin alike the longer one counts; this one is the shorter, or the same again.
            Some((known, _)) if known.len() >= count => return done.push(token),
            _ => {}
        }
        self.held += count;
        if let Some((known, old)) = self.waiting.insert(key, (records, token)) {
            self.held -= known.len();
            done.push(old);
        }
        while self.held > HELD_MAX && self.waiting.len() > 1 {
            let Some((_, (records, token))) = self.waiting.pop_last() else {
                break;
            };
            self.held -= records.len();
            done.push(token);
        }
    }

    /// The records that can be counted now, about `most` of them and at least one batch: in order, without gaps. They may begin with some
    /// that are counted already. Nothing is forgotten before [`Sequencer::counted`].
    pub fn ready(&self, most: usize) -> Vec<Record> {
        let mut ready: Vec<Record> = Vec::new();
        let mut next = self.next;
        for (first, (records, _)) in &self.waiting {
            if *first > next || ready.len() >= most {
                break;
            }
            let known = match ready.is_empty() {
                true => 0,
                false => usize::try_from(next - first).unwrap_or(usize::MAX),
            };
            ready.extend(records.get(known..).unwrap_or_default());
            if let Some(last) = records.last() {
                next = next.max(last.sequence + 1);
            }
        }
        ready
    }

    /// Everything before `next` is counted, for good.
    pub fn counted(&mut self, next: u64, done: &mut Vec<T>) {
        self.next = self.next.max(next);
        let known = |records: &[Record]| records.last().is_none_or(|last| last.sequence < self.next);
        let keys: Vec<u64> = self
            .waiting
            .iter()
            .take_while(|(first, _)| **first < self.next)
            .filter(|(_, (records, _))| known(records))
            .map(|(first, _)| *first)
            .collect();
        for key in keys {
            if let Some((records, token)) = self.waiting.remove(&key) {
                self.held -= records.len();
                done.push(token);
            }
        }
    }

    /// Lets everything go, as when the database says that it stands elsewhere.
    pub fn restart(&mut self, next: u64, done: &mut Vec<T>) {
        self.next = next;
        self.held = 0;
        done.extend(
            std::mem::take(&mut self.waiting)
                .into_values()
                .map(|(_, token)| token),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_ledger::Entry;
    use proptest::prelude::*;

    fn records(range: std::ops::Range<u64>) -> Vec<Record> {
        range
            .map(|sequence| Record {
                sequence,
                time_us: 1,
                front_end: 1,
                epoch: 1,
                group_index: 0,
                entry: Entry::Stop,
            })
            .collect()
    }

    fn sequences(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.sequence).collect()
    }

    #[test]
    fn what_comes_early_waits_and_what_is_known_is_given_back() {
        let (mut it, mut done) = (Sequencer::new(1), Vec::new());
        it.push(records(4..7), "b", &mut done);
        assert!(it.ready(100).is_empty() && done.is_empty());
        it.push(records(1..4), "a", &mut done);
        assert_eq!(sequences(&it.ready(100)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(sequences(&it.ready(1)), [1, 2, 3], "whole batches");
        it.counted(7, &mut done);
        assert_eq!((done.as_slice(), it.held()), (["a", "b"].as_slice(), 0));
        it.push(records(2..6), "again", &mut done);
        assert_eq!((done.last(), it.held()), (Some(&"again"), 0));
    }

    #[test]
    fn a_batch_may_begin_with_what_is_known() {
        let (mut it, mut done) = (Sequencer::new(5), Vec::new());
        it.push(records(4..8), 1, &mut done);
        it.push(records(7..9), 2, &mut done);
        assert_eq!(sequences(&it.ready(100)), [4, 5, 6, 7, 8]);
    }

    #[test]
    fn what_waits_is_bounded_and_the_nearest_stays() {
        let (mut it, mut done) = (Sequencer::new(1), Vec::new());
        let size = 4_096;
        for batch in (1..=100).rev() {
            let first = 10 + batch * size;
            it.push(records(first..first + size), batch, &mut done);
        }
        assert!(it.held() <= HELD_MAX);
        assert_eq!(done.len(), 100 - HELD_MAX / size as usize);
        assert!(
            done.iter().all(|batch| *batch > (HELD_MAX as u64 / size)),
            "{done:?}"
        );
    }

    proptest! {
        /// Whatever comes, however often and in whatever order: each record is counted once, in order, and every token comes back.
        #[test]
        fn every_record_is_counted_once(
            order in prop::collection::vec((0u64..40, 1u64..9), 0..120),
            most in 1usize..30,
        ) {
            let (mut it, mut done) = (Sequencer::new(1), Vec::new());
            let mut counted = 0u64;
            let (mut pushed, whole) = (0usize, (0..40).map(|first| (first, 2)));
            for (first, count) in order.into_iter().chain(whole) {
                it.push(records(first + 1..first + 1 + count), pushed, &mut done);
                pushed += 1;
                let ready = sequences(&it.ready(most));
                if let (Some(first), Some(last)) = (ready.first(), ready.last()) {
                    prop_assert!(*first <= counted + 1);
                    prop_assert!(ready.windows(2).all(|pair| pair[0] + 1 == pair[1]));
                    counted = counted.max(*last);
                    it.counted(counted + 1, &mut done);
                }
            }
            while let Some(last) = it.ready(most).last() {
                counted = counted.max(last.sequence);
                it.counted(counted + 1, &mut done);
            }
            prop_assert!(counted >= 41);
            it.restart(1, &mut done);
            done.sort_unstable();
            prop_assert_eq!(done, (0..pushed).collect::<Vec<_>>());
        }
    }
}
