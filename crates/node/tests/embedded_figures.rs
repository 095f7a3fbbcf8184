//! How long the embedded chain takes; run by hand with `--ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![allow(clippy::disallowed_methods, reason = "measuring needs the clock itself")]

mod common;

use std::time::{Duration, Instant};

use adit_node::Verdict;
use adit_node::embedded::{Provider, Settings};
use bitcoin::consensus::encode;
use common::solve;

#[test]
#[ignore = "measures; a busy machine would fail it"]
fn start_and_new_tips_are_quick() {
    for transactions_per_block in [50, 200, 2000] {
        let settings = Settings {
            transactions_per_block,
            ..Settings::new(4, || 1_800_000_000)
        };
        let began = Instant::now();
        let mut provider = Provider::new(settings).unwrap();
        let start = began.elapsed();
        for _ in 0..40 {
            provider.tick();
        }
        let (mut ticks, mut tips) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            for _ in 0..4 {
                let began = Instant::now();
                provider.tick();
                ticks.push(began.elapsed());
            }
            let kept = provider.template().unwrap().clone();
            let others: Vec<_> = kept
                .encoded
                .iter()
                .map(|bytes| encode::deserialize(bytes).unwrap())
                .collect();
            let (solution, _) = solve(&kept.template, &others);
            let began = Instant::now();
            assert_eq!(provider.submit(&solution), Ok(Verdict::Accepted));
            tips.push(began.elapsed());
        }
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        let (tick, tip) = (median(ticks), median(tips));
        println!(
            "{transactions_per_block} transactions: start {start:?}, tick (users, template) {tick:?}, solution to new template {tip:?}"
        );
        assert!(start < Duration::from_secs(1) && tip < Duration::from_secs(1));
    }
}
