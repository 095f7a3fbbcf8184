//! `kill -9` at any moment: what was acknowledged is in the ledger, once; and journal, book and database agree.

use std::collections::{BTreeMap, BTreeSet};

use adit::books::{Books, Db, check, query};
use adit_net::random;
use adit_testkit::Postgres;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::support::miner::{How, Miner};
use super::support::process::Process;
use super::support::shares;

/// Times that the pool is killed, unless `ADIT_KILLS` says otherwise.
const KILLS: u32 = 12;
/// The same on PostgreSQL.
const KILLS_POSTGRES: u32 = 5;
/// Devices that mine meanwhile.
const DEVICES: u32 = 6;
/// Shares that each has under way.
const WINDOW: usize = 64;

/// Nonces of one device, over all of the pool's lives.
#[derive(Default)]
struct Tally {
    sent: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
}

/// Mines until the pool is gone, and tells of every acknowledgement.
async fn device(mut miner: Miner, number: u32, first: u32, under_way: mpsc::Sender<u32>) -> (u32, Tally) {
    let (mut nonce, mut told) = (first, 0);
    loop {
        let room = WINDOW - miner.waiting.len();
        if room >= WINDOW / 4 {
            let last = nonce + u32::try_from(room).unwrap();
            miner.submit(nonce..last).await;
            nonce = last;
        }
        if !miner.hear().await {
            break;
        }
        for _ in told..miner.acknowledged.len() {
            // The test has seen enough of this life.
            let _ = under_way.try_send(number);
        }
        told = miner.acknowledged.len();
    }
    assert_eq!(miner.refused, [], "honest shares are never refused");
    (
        number,
        Tally {
            sent: (first..nonce).collect(),
            acknowledged: miner.acknowledged,
        },
    )
}

/// Every share that was acknowledged is in the ledger exactly once, whenever the process died; none is there that
/// nobody sent; the sums are those of the shares; the database agrees with them as far as it goes, and in the end about all.
#[tokio::test]
async fn acknowledged_shares_survive_kill_9() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::Sqlite(None).within(&home.path().join("data"));
    kill_again_and_again(home.path(), kills(KILLS), "", &db).await;
}

/// The same with PostgreSQL behind the pool.
#[tokio::test]
async fn the_same_with_postgresql() {
    let Some(server) = Postgres::start() else { return };
    let home = tempfile::tempdir().unwrap();
    let (url, kills) = (server.url(), kills(KILLS_POSTGRES));
    kill_again_and_again(
        home.path(),
        kills,
        &format!(" --db {url}"),
        &Db::parse(&url).unwrap(),
    )
    .await;
}

/// Journal, book and database agree.
async fn agreement(db: &Db, data: &std::path::Path) -> check::Agreement {
    let (db, data) = (db.clone(), data.to_owned());
    let compare = move || check::compare(db.open().unwrap().as_mut(), &data, true).unwrap();
    tokio::task::spawn_blocking(compare).await.unwrap()
}

fn kills(usual: u32) -> u32 {
    let asked = std::env::var("ADIT_KILLS").ok();
    asked.map_or(usual, |kills| kills.parse().expect("ADIT_KILLS is a number"))
}

async fn kill_again_and_again(home: &std::path::Path, kills: u32, more: &str, db: &Db) {
    let data = home.join("data");
    let line = format!("--node embedded:40{more}");
    let mut devices: BTreeMap<u32, Tally> = BTreeMap::new();
    for _ in 0..kills {
        let pool = Process::pool(home, &line);
        let url = pool.url();
        let (send, mut under_way) = mpsc::channel(1 << 16);
        let mut running = JoinSet::new();
        let mut miners = Vec::new();
        for number in 0..DEVICES {
            let how = [How::HeaderOnly, How::Grouped, How::Extended][number as usize % 3];
            miners.push(Miner::start(&url, how, &format!("device{number}")).await);
        }
        for (number, miner) in (0..).zip(miners) {
            let sent = devices.get(&number).and_then(|tally| tally.sent.last());
            let first = sent.map_or(0, |last| last + 1);
            running.spawn(device(miner, number, first, send.clone()));
        }
        drop(send);
        // Somewhere between the first acknowledgement and the two thousandth.
        for _ in 0..=random::below(2_000) {
            under_way.recv().await.expect("devices mine");
        }
        pool.kill();
        while let Some(ended) = running.join_next().await {
            let (number, life) = ended.unwrap();
            let tally = devices.entry(number).or_default();
            tally.sent.extend(life.sent);
            tally.acknowledged.extend(life.acknowledged);
        }
        check(&data, &devices);
        agreement(db, &data).await;
    }
    // One more life in peace: recovery left a ledger that takes shares.
    let mut pool = Process::pool(home, &line);
    let mut last = Miner::start(&pool.url(), How::Extended, "last").await;
    last.mine(0..100).await;
    pool.signal("TERM");
    assert!(pool.ended().await.success());
    let report = adit_ledger::verify::verify(&data).unwrap();
    assert_eq!((report.torn_bytes, report.duplicate_hashes), (0, Some(0)));
    assert_ne!(report.checkpoint_agrees, Some(false));
    assert_eq!(report.book.starts, u64::from(kills) + 1);
    let agreement = agreement(db, &data).await;
    assert_eq!((agreement.behind, agreement.last), (0, report.last_sequence));
    let shares = shares(&data);
    assert_eq!(
        (report.book.shares, report.book.work),
        (shares.len() as u64, shares.len() as u128)
    );
    assert_eq!(shares.iter().filter(|(name, _)| name == "last").count(), 100);
    // Sessions are noted with their first share, and those of killed processes have ended.
    let page = query::Page { skip: 0, rows: 1_000 };
    let books = Books::start(db.clone()).unwrap();
    let sessions = books
        .ask(move |store| query::sessions(store, None, false, page))
        .await
        .unwrap();
    assert!(sessions.len() as u32 > kills, "{}", sessions.len());
    assert!(
        sessions.iter().all(|session| session.closed_us.is_some()),
        "{sessions:?}"
    );
    assert!(
        sessions.iter().any(|session| session.device.contains("test")),
        "{sessions:?}"
    );
}

fn check(data: &std::path::Path, devices: &BTreeMap<u32, Tally>) {
    let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (name, nonce) in shares(data) {
        assert!(
            found.entry(name.clone()).or_default().insert(nonce),
            "{name}'s {nonce} is there twice"
        );
    }
    let mut known = 0;
    for (number, tally) in devices {
        let there = found.remove(&format!("device{number}")).unwrap_or_default();
        let lost: Vec<_> = tally.acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "device {number} was promised {lost:?}");
        let invented: Vec<_> = there.difference(&tally.sent).collect();
        assert!(invented.is_empty(), "device {number} never sent {invented:?}");
        known += tally.acknowledged.len();
    }
    assert!(known > 0 && found.is_empty(), "{found:?}");
}
