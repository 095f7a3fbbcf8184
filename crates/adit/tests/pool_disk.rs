//! A disk that takes no more: alone in its process, because the limit that plays the full disk is the process's.

#[path = "support/mod.rs"]
mod support;

use adit::observe::LedgerState;
use rlimit::Resource;
use support::House;
use support::miner::{How, Miner};
use tokio::signal::unix::{SignalKind, signal};

/// SIGXFSZ, with which Linux ends a process that writes beyond its limit, unless somebody listens.
const FILE_TOO_LARGE: i32 = 25;
/// Where files end while the disk is full: 3,000 shares are 384,000 bytes of journal.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Shares of one connection that may wait for the ledger.
const PENDING_MAX: u32 = 4_096;

/// No acknowledgement without a disk; jobs go on; the picture says what is wrong; what waited is acknowledged when the
/// disk takes it, and what was refused meanwhile was not credited.
#[tokio::test]
async fn a_full_disk_stops_acknowledgements_and_not_jobs() {
    let _heard = signal(SignalKind::from_raw(FILE_TOO_LARGE)).unwrap();
    let house = House::open(&[("node", "embedded:20"), ("embedded.transactions", "0")]).await;
    // The journal shall be longer than the limit, and the embedded chain shorter: only the journal is stopped.
    let mut first = Miner::start(house.pool.url(), How::Extended, "first").await;
    first.mine(0..3_000).await;
    // One of so many may have been a block: who comes now knows its tip.
    house
        .picture("all of it is known", |now| {
            now.shares.accepted == 3_000 && now.blocks.found == now.blocks.accepted
        })
        .await;
    let mut miner = Miner::start(house.pool.url(), How::Extended, "patient").await;
    let mut other = Miner::start(house.pool.url(), How::HeaderOnly, "other").await;

    let (_, hard) = Resource::FSIZE.get().unwrap();
    Resource::FSIZE.set(FILE_BYTES_MAX, hard).unwrap();

    miner.submit(10_000..10_100).await;
    let picture = house
        .picture("the ledger is down", |now| now.ledger.state == LedgerState::Down)
        .await;
    assert!(!picture.ledger.reason.is_empty());
    assert_ne!(picture.health().light, adit::observe::Light::Green);
    for _ in 0..3 {
        house.pool.node().reorganise(0).await.unwrap();
        miner.next_tip().await;
        other.next_tip().await;
    }
    other.submit(0..10).await;
    // What is too much to keep in memory is refused, by name; what is kept stays unanswered.
    miner.submit(20_000..20_000 + PENDING_MAX).await;
    while miner.refused.len() < 100 {
        assert!(miner.hear().await);
    }
    assert!(
        miner.refused.iter().all(|(_, code)| code == "ledger-unavailable"),
        "{:?}",
        miner.refused.first()
    );
    assert_eq!((miner.acknowledged.len(), other.acknowledged.len()), (0, 0));
    // Who comes now may come, and mine.
    let mut late = Miner::start(house.pool.url(), How::Grouped, "late").await;
    late.submit(0..5).await;

    Resource::FSIZE.set(hard, hard).unwrap();
    miner.settle().await;
    other.settle().await;
    late.settle().await;
    assert_eq!(miner.acknowledged.len(), PENDING_MAX as usize);
    assert_eq!((&other.refused, &late.refused), (&vec![], &vec![]));
    assert_eq!(
        (
            miner.refused.len(),
            other.acknowledged.len(),
            late.acknowledged.len()
        ),
        (100, 10, 5)
    );
    house
        .picture("the ledger is up", |now| {
            now.ledger.state == LedgerState::Up && now.ledger.reason.is_empty()
        })
        .await;
    // A refused share was not credited, and may come again.
    let again: Vec<u32> = miner.refused.iter().map(|(nonce, _)| *nonce).collect();
    miner.mine(again).await;
    house.close().await;
}
