//! A pool that breaks the rules is left for the next one, and for mining alone, and no miner notices.

use adit::device::Channel;
use adit::uplink::Cause;

use crate::Farm;
use crate::upstream::{Manner, Upstream};

/// The first pool behaves like this; the second one gets the shares, and the device below stays where it is.
async fn leaves(manner: Manner, cause: Cause) {
    let (bad, good) = (Upstream::open(manner).await, Upstream::open(Manner::Fair).await);
    let farm = Farm::open(&[&bad.url, &good.url], "full-template", &[Channel::Extended]).await;
    let picture = farm
        .until("the second pool", |picture| {
            picture.place == Some(1) && picture.causes.contains_key(&cause)
        })
        .await;
    assert_eq!(picture.causes.keys().collect::<Vec<_>>(), [&cause]);
    let seen = good.until("shares", |seen| seen.good >= 3).await;
    assert_eq!(seen.bad, Vec::<String>::new());
    farm.goes_on(3).await;
    farm.close(1).await;
}

/// REQ-JD-038
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_gives_no_token_is_left() {
    leaves(Manner::NoToken, Cause::NoToken).await;
}

/// REQ-JD-038
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_refuses_declarations_is_left() {
    leaves(Manner::RefusesDeclarations, Cause::DeclarationRefused).await;
}

/// REQ-JD-038
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_answers_no_declaration_is_left() {
    leaves(Manner::IgnoresDeclarations, Cause::DeclarationUnanswered).await;
}

/// REQ-MIN-093
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_refuses_custom_jobs_is_left() {
    leaves(Manner::RefusesJobs, Cause::JobRefused).await;
}

/// REQ-MIN-093
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_answers_no_custom_job_is_left() {
    leaves(Manner::IgnoresJobs, Cause::JobUnanswered).await;
}

/// REQ-JD-038
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_refuses_shares_of_a_job_it_took_is_left() {
    leaves(Manner::RefusesShares, Cause::SharesRefused).await;
}

/// REQ-JD-038: the last resort, on our own node, and nobody below stands still.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_pool_we_mine_alone() {
    let bad = Upstream::open(Manner::RefusesShares).await;
    let farm = Farm::open(
        &[&bad.url],
        "full-template",
        &[Channel::Extended, Channel::Standard],
    )
    .await;
    let left = |picture: &adit::observe::Uplink| {
        picture.place.is_none() && picture.causes.contains_key(&Cause::SharesRefused)
    };
    farm.until("mining alone", left).await;
    farm.goes_on(10).await;
    farm.close(2).await;
}

/// A connection that is lost costs the time to the next pool; the preferred one is used again when it is well.
#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_pool_is_used_again() {
    let (first, second) = (
        Upstream::open(Manner::ClosesOnce).await,
        Upstream::open(Manner::Fair).await,
    );
    let farm = Farm::open(&[&first.url, &second.url], "full-template", &[Channel::Extended]).await;
    farm.until("the second pool", |picture| picture.place == Some(1))
        .await;
    farm.until("the first pool", |picture| picture.place == Some(0))
        .await;
    let seen = first.until("shares", |seen| seen.good >= 3).await;
    assert_eq!(seen.bad, Vec::<String>::new());
    assert!(second.seen().bad.is_empty());
    farm.close(1).await;
}

/// Shares of one upstream's jobs never go to another.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_there_is_passed_over() {
    let good = Upstream::open(Manner::Fair).await;
    let key = good.url.rsplit('/').next().unwrap();
    // Nobody listens on port 1.
    let nobody = format!("stratum2+tcp://127.0.0.1:1/{key}");
    let farm = Farm::open(&[&nobody, &good.url], "full-template", &[Channel::Extended]).await;
    let seen = good.until("shares", |seen| seen.good >= 3).await;
    assert_eq!(seen.bad, Vec::<String>::new());
    let picture = farm
        .until("figures", |picture| picture.figures.shares_accepted >= 3)
        .await;
    assert_eq!(picture.place, Some(1));
    assert!(picture.causes.contains_key(&Cause::Unreachable));
    farm.close(1).await;
}
