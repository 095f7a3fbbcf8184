//! The consumer beside a writer: it catches up after anything, and holds nobody up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit::books::{Consumer, Db, Keep, View, check, consumer};
use adit::observe::{BooksState, BooksStatus};
use adit_ledger::journal::Settings;
use adit_ledger::{Durable, Lane, Share, Writer, writer};
use adit_net::Clock;
use adit_testkit::{Postgres, until};

use super::journal::{House, account, worker};

/// What ought to happen happens within this.
const SOON: Duration = Duration::from_secs(120);

/// A writer with its lane and what follows it.
struct Pool {
    writer: Writer,
    lane: Lane,
    sent: u64,
    clock: Clock,
}

impl Pool {
    fn open(data: &Path) -> Self {
        let clock = Clock::system();
        let settings = Settings {
            segment_bytes_max: 1 << 20,
            ..Settings::default()
        };
        let opened = adit_ledger::open(data, settings, "adit test", clock.now().0).unwrap();
        // It lives as long as the test does.
        std::mem::forget(opened.lock);
        let time = clock.clone();
        let settings = writer::Settings::default();
        let writer = Writer::spawn(opened.journal, settings, Arc::new(move || time.now().0)).unwrap();
        let lane = writer.lane(Arc::new(|| {}));
        Self {
            writer,
            lane,
            sent: 0,
            clock,
        }
    }

    /// So many shares, acknowledged; the longest wait of a hundred of them.
    fn mine(&mut self, shares: u64) -> Duration {
        let mut longest = Duration::ZERO;
        for _ in 0..shares / 100 {
            let before = self.clock.now();
            let mut batch: Vec<_> = (0..100).map(|_| self.share()).collect();
            let mark = self.lane.send(&mut batch).unwrap();
            until(SOON, || (self.lane.committed() >= mark).then_some(())).expect("acknowledged");
            longest = longest.max(self.clock.now() - before);
        }
        longest
    }

    fn share(&mut self) -> Share {
        self.sent += 1;
        let n = self.sent;
        let mut hash = [0xee; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        Share {
            account: account(n % 7),
            worker: n.is_multiple_of(2).then(|| worker(n % 3)),
            hash,
            work: n,
            channel: n % 50,
            time_us: self.clock.now().0,
            ntime: 0,
            nonce: n as u32,
            version: 0,
            height: 1,
            is_block: false,
            solo: false,
        }
    }

    fn durable(&self) -> Durable {
        self.writer.durable()
    }

    fn follow(&self, db: &Db, data: &Path) -> Consumer {
        start(db, data, self.durable()).unwrap()
    }
}

fn start(db: &Db, data: &Path, durable: Durable) -> Result<Consumer, adit::exit::Exit> {
    let settings = consumer::Settings {
        db: db.clone(),
        data: data.to_owned(),
        keep: Keep {
            history: [1, 30, 0],
            sessions: 90,
        },
    };
    Consumer::start(settings, durable, Clock::system()).map(Option::unwrap)
}

fn wait(view: &View, what: &str, mut wish: impl FnMut(&BooksStatus) -> bool) -> BooksStatus {
    let now = || view.picture(Clock::system().now().0);
    until(SOON, || Some(now()).filter(|it| wish(it))).unwrap_or_else(|| panic!("{what}: {:?}", now()))
}

fn agrees(db: &Db, data: &Path, shares: u64) {
    let mut store = db.open().unwrap();
    let agreement = check::compare(store.as_mut(), data, true).unwrap();
    assert_eq!(agreement.behind, 0);
    let totals = adit::books::query::totals(store.as_mut(), adit::books::query::Whose::Pool).unwrap();
    assert_eq!(totals.shares, shares);
}

/// It counts what comes, catches up what came while it was away, and at its end has everything.
#[test]
fn it_follows_and_catches_up() {
    for house in House::both() {
        let data = tempfile::tempdir().unwrap();
        let mut pool = Pool::open(data.path());
        pool.mine(500);
        let consumer = pool.follow(&house.db(), data.path());
        pool.mine(500);
        let picture = wait(&consumer.view(), "it catches up", |it| it.backlog == 0);
        assert_eq!((picture.state, picture.behind_ms), (BooksState::Up, 0));
        assert_eq!(picture.position, 1_001);
        consumer.stop();
        // Longer than one file of the journal.
        pool.mine(20_000);
        let consumer = pool.follow(&house.db(), data.path());
        pool.mine(1_000);
        pool.writer.stop().unwrap();
        consumer.stop();
        agrees(&house.db(), data.path(), 22_000);
    }
}

/// At a steady rate it is never far behind.
#[test]
fn it_keeps_up_with_five_thousand_shares_a_second() {
    const TICKS: u32 = 200;
    const TICK: Duration = Duration::from_millis(20);
    let (house, data) = (House::sqlite(), tempfile::tempdir().unwrap());
    let mut pool = Pool::open(data.path());
    let consumer = pool.follow(&house.db(), data.path());
    let start = pool.clock.now();
    let mut furthest = 0;
    for tick in 0..TICKS {
        let mut batch: Vec<_> = (0..100).map(|_| pool.share()).collect();
        pool.lane.send(&mut batch).unwrap();
        let due = start + TICK * tick;
        until(SOON, || (pool.clock.now() >= due).then_some(())).expect("time goes on");
        furthest = furthest.max(consumer.view().picture(pool.clock.now().0).behind_ms);
    }
    let picture = wait(&consumer.view(), "it has all", |it| {
        it.position > u64::from(TICKS) * 100
    });
    // 2 s on a machine of its own; here others build.
    assert!(furthest < 10_000, "{furthest} ms behind; {picture:?}");
    consumer.stop();
    agrees(&house.db(), data.path(), u64::from(TICKS) * 100);
}

/// The server is killed, paused and killed again while shares come: every one is acknowledged at once, and counted once
/// in the end.
#[test]
fn a_database_that_is_killed_and_paused_holds_nobody_up() {
    let Some(mut server) = Postgres::start() else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let db = Db::parse(&server.url()).unwrap();
    let mut pool = Pool::open(data.path());
    let consumer = pool.follow(&db, data.path());
    let view = consumer.view();
    for round in 0..3 {
        pool.mine(1_000);
        wait(&view, "it counts", |it| it.backlog == 0);
        // Mid-flight as often as not.
        pool.mine(300 * (round + 1));
        server.kill();
        let waited = pool.mine(2_000);
        assert!(
            waited < Duration::from_secs(10),
            "{waited:?} for an acknowledgement without a database"
        );
        let down = wait(&view, "it notices", |it| it.state == BooksState::Down);
        assert!(
            down.reason.contains("safe in the journal") && down.backlog >= 2_000,
            "{down:?}"
        );
        server.launch();
        wait(&view, "it catches up", |it| {
            it.backlog == 0 && it.state == BooksState::Up
        });
    }
    server.pause();
    pool.mine(3_000);
    wait(&view, "it waits", |it| it.backlog >= 2_000);
    server.resume();
    wait(&view, "it goes on", |it| it.backlog == 0);
    let shares = pool.sent;
    pool.writer.stop().unwrap();
    consumer.stop();
    agrees(&db, data.path(), shares);
}

/// A server that is away does not keep a pool from starting; one that does not let us in does.
#[test]
fn a_start_without_the_server() {
    let Some(mut server) = Postgres::start() else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let db = Db::parse(&server.url()).unwrap();
    let mut pool = Pool::open(data.path());
    server.kill();
    let consumer = pool.follow(&db, data.path());
    pool.mine(500);
    wait(&consumer.view(), "it waits", |it| it.state == BooksState::Down);
    server.launch();
    wait(&consumer.view(), "it counts", |it| {
        it.backlog == 0 && it.state == BooksState::Up
    });
    consumer.stop();
    let nobody = Db::parse(&server.url().replace("user=adit", "user=nobody_like_that")).unwrap();
    let told = start(&nobody, data.path(), pool.durable()).unwrap_err();
    assert!(
        told.message.contains("does not let us in") && told.hint.contains("--db"),
        "{told}"
    );
    agrees(&db, data.path(), 500);
}

/// The database of another journal, and one that has seen more than the journal has, are refused at the start.
#[test]
fn the_database_of_another_journal_is_refused() {
    let house = House::sqlite();
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut pool = Pool::open(data.path());
    pool.mine(300);
    pool.follow(&house.db(), data.path()).stop();
    let mut stranger = Pool::open(other.path());
    for shares in [100, 400] {
        stranger.mine(shares);
        let told = start(&house.db(), other.path(), stranger.durable()).unwrap_err();
        assert!(told.message.contains("not those of this journal"), "{told}");
        assert!(
            told.hint.contains("rebuild") && told.hint.contains("front_end"),
            "{told}"
        );
    }
    let nowhere = Db::Sqlite(Some("/proc/nothing/books.sqlite".into()));
    let told = start(&nowhere, data.path(), pool.durable()).unwrap_err();
    assert!(told.message.contains("/proc/nothing"), "{told}");
}
