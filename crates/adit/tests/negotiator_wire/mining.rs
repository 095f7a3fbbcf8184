//! What goes up when nothing is wrong.

use adit::device::Channel;

use crate::Farm;
use crate::upstream::{FLAGS, Manner, Upstream};

/// REQ-MIN-012, REQ-MIN-087, REQ-JD-012, REQ-JD-020, REQ-JD-024, REQ-JD-033: both kinds of channel below, one custom job a
/// template, every transaction that is asked for, and shares that are shares.
#[tokio::test(flavor = "multi_thread")]
async fn custom_jobs_are_declared_paid_for_and_mined() {
    let upstream = Upstream::open(Manner::Curious).await;
    let farm = Farm::open(
        &[&upstream.url],
        "full-template",
        &[Channel::Extended, Channel::Standard],
    )
    .await;
    let seen = upstream.until("shares", |seen| seen.good >= 20).await;
    assert_eq!(seen.bad, Vec::<String>::new());
    assert_eq!(seen.setup_flags, FLAGS.into_iter().collect());
    assert!(
        seen.provided > 0 && seen.provided.is_multiple_of(seen.wtxids),
        "{seen:?}"
    );
    assert!(seen.payouts.iter().all(|paid| *paid > 0) && seen.users.iter().all(|user| user == "adit"));
    assert!(
        seen.jobs_of_template.values().all(|count| *count == 1),
        "{seen:?}"
    );
    let picture = farm
        .until("acknowledged shares", |picture| {
            picture.figures.shares_accepted >= 20
        })
        .await;
    assert_eq!((picture.place, picture.mode), (Some(0), "full-template"));
    assert_eq!((picture.figures.shares_refused, picture.causes.len()), (0, 0));
    // Whoever stops has sent everything up, and has heard the answers.
    let picture = farm.negotiator.picture();
    farm.close(2).await;
    let figures = picture.borrow().figures;
    assert_eq!(
        (upstream.seen().good, figures.shares_accepted),
        (figures.shares_sent, figures.shares_sent)
    );
}

/// REQ-JD-031, REQ-JD-037: the server learns no transaction.
#[tokio::test(flavor = "multi_thread")]
async fn coinbase_only_mode_reveals_no_transactions() {
    let upstream = Upstream::open(Manner::Fair).await;
    let farm = Farm::open(&[&upstream.url], "coinbase-only", &[Channel::Extended]).await;
    let seen = upstream.until("shares", |seen| seen.good >= 5).await;
    assert_eq!((seen.declared, seen.provided, seen.bad.len()), (0, 0, 0));
    assert_eq!(seen.setup_flags.get(&1), Some(&0));
    farm.close(1).await;
}

/// REQ-JD-039, REQ-MIN-092, REQ-MIN-094: the miners begin before the pool has answered; what they found meanwhile goes up at
/// once when it has.
#[tokio::test(flavor = "multi_thread")]
async fn shares_of_the_time_before_the_answer_are_not_lost() {
    let upstream = Upstream::open(Manner::Slow).await;
    let farm = Farm::open(&[&upstream.url], "full-template", &[Channel::Extended]).await;
    let picture = farm
        .until("cached shares", |picture| picture.figures.shares_pending >= 5)
        .await;
    assert_eq!(picture.figures.shares_sent, 0);
    upstream.go.send_replace(true);
    let seen = upstream
        .until("the cached shares", |seen| {
            seen.good >= picture.figures.shares_pending
        })
        .await;
    assert_eq!(seen.bad, Vec::<String>::new());
    farm.close(1).await;
}

/// A malicious pool: what nobody asked for changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_babbles_changes_nothing() {
    let upstream = Upstream::open(Manner::Babbles).await;
    let farm = Farm::open(&[&upstream.url], "full-template", &[Channel::Extended]).await;
    let seen = upstream.until("shares", |seen| seen.good >= 5).await;
    assert_eq!(seen.bad, Vec::<String>::new());
    farm.until("acknowledged shares", |picture| {
        picture.figures.shares_accepted >= 5
    })
    .await;
    farm.close(1).await;
}
