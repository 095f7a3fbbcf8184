//! How often each case of the library touches the heap: `WHAT <tab> REFERENCE <tab> OURS`, one line a case.
//!
//! A program of its own, so that the counting allocator slows no measurement of time.

use adit_bench::library;
use adit_bench::measure::Work;

fn main() {
    for mut case in library::cases() {
        let reference = counted(case.reference.as_mut(), case.count, case.items);
        let ours = counted(case.ours.as_mut(), case.count, case.items);
        println!("{}\t{reference:.3}\t{ours:.3}", case.what);
    }
}

/// Allocations of one item once buffers and pools are warm.
fn counted(work: &mut dyn Work, count: u32, items: u32) -> f64 {
    for _ in 0..8 {
        work.prepare(count);
        work.run(count);
    }
    work.prepare(count);
    let counted = allocation_counter::measure(|| work.run(count));
    counted.count_total as f64 / (f64::from(count) * f64::from(items))
}
