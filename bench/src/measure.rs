//! Alternating batches in CPU time.

use rustix::time::{ClockId, clock_gettime};

/// Something to measure. Preparation is not counted.
pub trait Work {
    /// Makes ready what the next `count` operations use up.
    fn prepare(&mut self, _count: u32) {}

    /// Does `count` operations.
    fn run(&mut self, count: u32);
}

impl<F: FnMut(u32)> Work for F {
    fn run(&mut self, count: u32) {
        self(count);
    }
}

/// What ours has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// So many times faster than the reference implementation.
    Faster(f64),
    /// The same, without a single allocation.
    FasterWithoutAllocating(f64),
    /// At most this multiple of the floor, without a single allocation.
    OfFloor(f64),
    /// At most so many nanoseconds an item.
    Nanoseconds(f64),
}

/// One line of the table: the same task done by each side.
pub struct Case {
    /// What is done.
    pub what: String,
    /// Operations of one batch.
    pub count: u32,
    /// Items of one operation, such as channels of a job.
    pub items: u32,
    /// The reference implementation's way.
    pub reference: Box<dyn Work>,
    /// Our way.
    pub ours: Box<dyn Work>,
    /// What the task cannot be done without, and how it is called.
    pub floor: Option<(&'static str, Box<dyn Work>)>,
    /// What ours has to reach.
    pub goal: Goal,
}

/// Cost of one item on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Median over the batches, in nanoseconds.
    pub ns: f64,
    /// The fastest tenth is faster than this, in nanoseconds.
    pub ns_fast: f64,
}

/// What a case came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The reference implementation.
    pub reference: Cost,
    /// We.
    pub ours: Cost,
    /// The floor.
    pub floor: Option<Cost>,
    /// Median over the rounds of reference by ours, both of one round.
    pub times_faster: f64,
    /// Median over the rounds of ours by floor.
    pub of_floor: Option<f64>,
}

impl Case {
    /// Measures all sides in `rounds` rounds, one batch of each side a round.
    pub fn measure(&mut self, rounds: usize) -> Outcome {
        let items = f64::from(self.count) * f64::from(self.items);
        let (mut reference, mut ours, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms caches, pools and branch predictors.
        for round in 0..=rounds {
            let of_reference = batch(self.reference.as_mut(), self.count) / items;
            let of_ours = batch(self.ours.as_mut(), self.count) / items;
            let of_floor = self
                .floor
                .as_mut()
                .map(|(_, work)| batch(work.as_mut(), self.count) / items);
            if round > 0 {
                reference.push(of_reference);
                ours.push(of_ours);
                floor.extend(of_floor);
            }
        }
        Outcome {
            times_faster: quantile(&ratios(&reference, &ours), 0.5),
            of_floor: (!floor.is_empty()).then(|| quantile(&ratios(&ours, &floor), 0.5)),
            floor: (!floor.is_empty()).then(|| cost(&floor)),
            reference: cost(&reference),
            ours: cost(&ours),
        }
    }
}

/// CPU time of one batch in nanoseconds.
fn batch(work: &mut dyn Work, count: u32) -> f64 {
    work.prepare(count);
    let start = thread_ns();
    work.run(count);
    (thread_ns() - start) as f64
}

/// CPU time of this thread.
fn thread_ns() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    above
        .iter()
        .zip(below)
        .filter(|(_, below)| **below > 0.0)
        .map(|(above, below)| above / below)
        .collect()
}

fn cost(batches: &[f64]) -> Cost {
    Cost {
        ns: quantile(batches, 0.5),
        ns_fast: quantile(batches, 0.1),
    }
}

/// The value below which a share `q` of the values lies; 0 of none.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * q) as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.1), 1.0);
    }

    #[test]
    fn twice_the_work_takes_longer() {
        let spin = |times: u32| {
            move |count: u32| {
                for at in 0..count * times {
                    black_box(at);
                }
            }
        };
        let mut case = Case {
            what: "spin".to_owned(),
            count: 20_000,
            items: 1,
            reference: Box::new(spin(8)),
            ours: Box::new(spin(1)),
            floor: Some(("the same", Box::new(spin(1)))),
            goal: Goal::Faster(1.0),
        };
        let outcome = case.measure(9);
        assert!(outcome.times_faster > 2.0, "{outcome:?}");
        assert!(outcome.of_floor.is_some_and(|of| of < 4.0), "{outcome:?}");
    }
}
