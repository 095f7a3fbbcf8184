//! The embedded chain as a template source, through its thread and queues.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_node::embedded::{Embedded, Error, Provider, Settings};
use adit_node::{BlockStatus, Constraints, Event, SubmitError, TemplateId, Verdict, spawn};
use bitcoin::Transaction;
use bitcoin::consensus::encode;
use common::{conformance, solve, template_with_transactions, tip_change, unmine, unsolved};

const NOW: u64 = 1_800_000_000;

fn settings(work_log2: u8) -> Settings {
    Settings::new(work_log2, || NOW)
}

fn transactions(provider: &Provider) -> Vec<Transaction> {
    let kept = provider.template().unwrap();
    kept.encoded
        .iter()
        .map(|bytes| encode::deserialize(bytes).unwrap())
        .collect()
}

/// REQ-TDP-002, REQ-TDP-005, REQ-TDP-015, REQ-TDP-017, REQ-TDP-021, REQ-TDP-038, REQ-TDP-040
#[tokio::test]
async fn the_embedded_chain_is_a_conforming_source() {
    let (node, block) = conformance(Embedded::new(settings(8)).unwrap()).await;
    assert!(block.txdata.len() > 20, "{}", block.txdata.len());
    drop(node);
}

#[tokio::test]
async fn a_reorganisation_makes_found_blocks_stale_and_gives_a_new_tip() {
    for depth in 1..=6u32 {
        let mut node = spawn(Embedded::new(settings(4)).unwrap()).unwrap();
        let mut found = Vec::new();
        for _ in 0..depth {
            let (template, transactions) = template_with_transactions(&mut node).await;
            let (solution, block) = solve(&template, &transactions);
            assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
            found.push(block);
        }
        let (before, _) = template_with_transactions(&mut node).await;
        assert_eq!(node.handle.reorganise(depth).await, Ok(()));
        let after = tip_change(&mut node, before.prev_hash).await;
        assert_eq!(after.height, before.height + 1, "depth {depth}");
        for block in &found {
            let status = node.handle.status(block.block_hash()).await;
            assert_eq!(status, Ok(BlockStatus::Stale), "depth {depth}");
        }
    }
}

#[tokio::test]
async fn a_reorganisation_that_would_take_too_long_is_refused() {
    let node = spawn(Embedded::new(settings(40)).unwrap()).unwrap();
    assert_eq!(node.handle.reorganise(0).await, Err(SubmitError::Unsupported));
    let easy = spawn(Embedded::new(settings(4)).unwrap()).unwrap();
    assert_eq!(
        easy.handle.reorganise(1).await,
        Err(SubmitError::Unsupported),
        "into the bootstrap"
    );
    assert_eq!(easy.handle.reorganise(0).await, Ok(()));
}

#[tokio::test]
async fn a_bad_block_is_rejected_with_the_reason() {
    let mut node = spawn(Embedded::new(settings(8)).unwrap()).unwrap();
    let (template, transactions) = template_with_transactions(&mut node).await;
    let (mut solution, mut block) = unsolved(&template, &transactions);
    unmine(&mut block.header);
    solution.header_nonce = block.header.nonce;
    let verdict = node.handle.submit(solution.clone()).await;
    assert_eq!(verdict, Ok(Verdict::Rejected("high-hash".into())));
    solution.coinbase_tx.pop();
    let verdict = node.handle.submit(solution).await.unwrap();
    assert!(matches!(verdict, Verdict::Rejected(why) if why.starts_with("coinbase transaction")));
    let verdict = node.handle.submit_block(vec![0; 100]).await.unwrap();
    assert!(matches!(verdict, Verdict::Rejected(why) if why.starts_with("bad-block-encoding")));
}

/// REQ-TDP-009, REQ-TDP-014: every room that is asked for has templates of its own, on every tip, and all of them can
/// be solved.
#[tokio::test]
async fn each_room_has_templates_of_its_own() {
    let room = |max_additional_size| Constraints {
        max_additional_size,
        max_additional_sigops: 8,
    };
    let mut provider = Provider::new(Settings {
        constraints: room(50),
        ..settings(4)
    })
    .unwrap();
    let full = provider.template().unwrap().template.clone();
    assert_eq!(full.constraints, room(50));
    // So little is left that no transaction fits any more.
    provider.constrain(vec![room(50), room(999_700), room(50)]);
    let both: Vec<_> = provider.templates().map(|kept| kept.template.clone()).collect();
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].id, full.id, "what was there stays");
    assert_eq!(both[1].transaction_count, Some(0));
    assert!(both[1].id > full.id && full.transaction_count > Some(0));
    let (solution, _) = solve(&both[1], &[]);
    assert_eq!(provider.submit(&solution), Ok(Verdict::Accepted));
    let next: Vec<_> = provider.templates().map(|kept| kept.template.prev_hash).collect();
    assert_eq!(next.len(), 2);
    assert!(next.iter().all(|tip| *tip != full.prev_hash));
    provider.constrain(vec![room(999_700)]);
    assert_eq!(provider.templates().count(), 1);
}

/// REQ-TDP-004
#[tokio::test(start_paused = true)]
async fn fees_grow_on_one_tip_until_the_users_pay_no_more() {
    let mut provider = Provider::new(settings(40)).unwrap();
    let first = provider.template().unwrap().template.clone();
    let mut last = first.clone();
    let mut news = 0;
    for _ in 0..100 {
        let new = provider.tick();
        let now = provider.template().unwrap().template.clone();
        assert_eq!(now.prev_hash, first.prev_hash);
        assert_eq!(new, now.id > last.id);
        assert!(now.fees >= last.fees, "fees of templates on one tip only grow");
        news += usize::from(new);
        last = now;
    }
    assert!(news > 50, "{news} new templates");
    assert_eq!(last.transaction_count, Some(50));
    assert!(last.merkle_path.len() == 6, "{}", last.merkle_path.len());
}

/// REQ-TDP-006: a template stays good for solutions after newer ones on the same tip, and the
/// block of an older tip is kept beside the chain.
#[test]
fn older_templates_can_still_be_solved() {
    let mut provider = Provider::new(settings(4)).unwrap();
    let old = provider.template().unwrap().template.clone();
    let old_transactions = transactions(&provider);
    assert!(provider.tick());
    let (solution, block) = solve(&old, &old_transactions);
    assert_eq!(provider.submit(&solution), Ok(Verdict::Accepted));
    assert_eq!(provider.status(&block.block_hash()), BlockStatus::Confirmed(1));
    let (mut late, mut rival) = unsolved(&old, &old_transactions);
    late.header_timestamp += 1;
    rival.header.time += 1;
    common::mine(&mut rival.header);
    late.header_nonce = rival.header.nonce;
    assert_eq!(provider.submit(&late), Ok(Verdict::Accepted));
    assert_eq!(provider.status(&rival.block_hash()), BlockStatus::Stale);
    assert_eq!(provider.chain().tip(), block.block_hash());
}

#[test]
fn templates_are_forgotten_after_a_bounded_number() {
    let mut provider = Provider::new(settings(4)).unwrap();
    let (solution, _) = solve(
        &provider.template().unwrap().template.clone(),
        &transactions(&provider),
    );
    for _ in 0..64 {
        assert_eq!(provider.reorganise(0), Ok(()));
    }
    assert_eq!(provider.submit(&solution), Err(SubmitError::UnknownTemplate));
    assert_eq!(solution.template, TemplateId(1));
}

#[test]
fn blocks_carry_transactions_for_many_rounds_and_the_same_seed_gives_the_same_chain() {
    let run = |seed| {
        let mut provider = Provider::new(Settings { seed, ..settings(2) }).unwrap();
        let mut dependants = 0;
        for round in 0..300 {
            let template = provider.template().unwrap().template.clone();
            let others = transactions(&provider);
            assert!(others.len() >= 25, "round {round}: {}", others.len());
            let txids: Vec<_> = others.iter().map(|tx| tx.compute_txid()).collect();
            let depends = |tx: &&Transaction| {
                tx.input
                    .iter()
                    .any(|input| txids.contains(&input.previous_output.txid))
            };
            dependants += others.iter().filter(depends).count();
            let (solution, block) = solve(&template, &others);
            assert!(block.check_merkle_root() && block.check_witness_commitment());
            assert_eq!(provider.submit(&solution), Ok(Verdict::Accepted), "round {round}");
            assert_eq!(provider.chain().tip(), block.block_hash());
            if round % 3 == 0 {
                provider.tick();
            }
        }
        assert!(
            dependants > 300,
            "{dependants} transactions that depend on others"
        );
        provider.chain().tip()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_full_template_of_two_thousand_transactions_is_accepted() {
    let many = Settings {
        transactions_per_block: 2000,
        ..settings(2)
    };
    let mut provider = Provider::new(many).unwrap();
    for _ in 0..6 {
        provider.tick();
    }
    let template = provider.template().unwrap().template.clone();
    assert!(
        template.merkle_path.len() >= 11,
        "{:?}",
        template.transaction_count
    );
    let (solution, _) = solve(&template, &transactions(&provider));
    assert_eq!(provider.submit(&solution), Ok(Verdict::Accepted));
}

#[test]
fn a_chain_without_users_has_empty_templates() {
    let mut provider = Provider::new(Settings {
        transactions_per_block: 0,
        ..settings(2)
    })
    .unwrap();
    let template = provider.template().unwrap().template.clone();
    assert!(template.merkle_path.is_empty() && !provider.tick());
    let (solution, _) = solve(&template, &[]);
    assert_eq!(provider.submit(&solution), Ok(Verdict::Accepted));
}

#[tokio::test(start_paused = true)]
async fn a_template_comes_at_every_interval_while_fees_grow() {
    let clock = Arc::new(AtomicU64::new(NOW));
    let reading = clock.clone();
    let settings = Settings {
        template_interval: Duration::from_secs(2),
        ..Settings::new(40, move || reading.load(Ordering::Relaxed))
    };
    let source = Embedded::new(settings).unwrap();
    let (_requests_in, requests) = tokio::sync::mpsc::channel(1);
    let (events_in, mut events) = tokio::sync::mpsc::channel(1);
    let started = tokio::time::Instant::now();
    let read = async {
        let mut templates = Vec::new();
        while templates.len() < 4 {
            if let Some(Event::Template(template)) = events.recv().await {
                clock.fetch_add(2, Ordering::Relaxed);
                templates.push((started.elapsed().as_secs(), template.header_timestamp));
            }
        }
        templates
    };
    let run = adit_node::TemplateSource::run(source, requests, events_in);
    let templates = tokio::select! {
        templates = read => templates,
        () = run => Vec::new(),
    };
    let base = NOW as u32;
    assert_eq!(
        templates,
        [(0, base), (2, base + 2), (4, base + 4), (6, base + 6)]
    );
}

#[test]
fn settings_out_of_range_are_refused_with_what_would_be_right() {
    let refused = |settings| Provider::new(settings).unwrap_err();
    for log2 in [0, 61, 255] {
        let error = refused(settings(log2));
        assert!(matches!(
            error,
            Error::Setting {
                name: "work_log2",
                ..
            }
        ));
        assert!(error.to_string().contains("1 to 60"), "{error}");
    }
    let error = refused(Settings {
        transactions_per_block: 2001,
        ..settings(2)
    });
    assert!(error.to_string().contains("at most 2000"), "{error}");
    let error = refused(Settings {
        template_interval: Duration::ZERO,
        ..settings(2)
    });
    assert!(error.to_string().contains("template_interval"), "{error}");
}
