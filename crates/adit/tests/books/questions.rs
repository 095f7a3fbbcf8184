//! What is asked of both databases is answered alike.

use adit::books::query::{self, Order, Page, Span, Whose};
use adit::books::{Books, Keep};
use adit_ledger::record::{BlockFound, Ending, Outcome, OutcomeNote, Payout, PayoutState, Protocol};
use adit_ledger::record::{ChannelKind, Rejects, SessionClosed, SessionOpened, WorkerNamed, account_parts};
use adit_ledger::{Entry, Record, Share};

use super::journal::{House, NOON_US, account, worker};

const MINUTE_US: u64 = 60_000_000;
const NOON_S: u64 = NOON_US / 1_000_000;

fn share(owner: u64, machine: Option<u64>, minute: u64, work: u64, hash: u8) -> Entry {
    Entry::Share(Share {
        account: account(owner),
        worker: machine.map(worker),
        hash: [hash; 32],
        work,
        channel: 5,
        time_us: NOON_US + minute * MINUTE_US + 1,
        ntime: 0,
        nonce: 0,
        version: 0,
        height: 900_000,
        is_block: false,
        solo: false,
    })
}

fn story() -> Vec<Record> {
    let mut entries: Vec<Entry> = [(0, "bc1qalice"), (1, "bc1qbob")]
        .into_iter()
        .flat_map(|(n, name)| account_parts(account(n), name).map(Entry::Account))
        .collect();
    let session = |number, opened| {
        let (kind, protocol) = (ChannelKind::Standard, Protocol::StratumV1);
        SessionOpened::new(account(0), number, 5, NOON_US + opened, kind, protocol).on("bitaxe/2.1")
    };
    entries.extend([
        Entry::Worker(WorkerNamed::new(account(0), worker(0), "shed")),
        Entry::Session(session(1, 0)),
        Entry::Session(session(2, 10)),
        share(0, Some(0), 0, 100, 9),
        share(0, Some(0), 0, 100, 7),
        share(0, None, 1, 1_000, 8),
        share(1, None, 11, 5_000, 3),
        share(1, None, 70, 5_000, 4),
        Entry::Rejects(Rejects::new(Some(account(0)), None, "stale-share", 4, NOON_US)),
        Entry::Rejects(Rejects::new(None, None, "difficulty-too-low", 9, NOON_US)),
        Entry::Block(BlockFound {
            hash: [3; 32],
            height: 900_000,
            value: 312_500_001,
            account: account(1),
            channel: 5,
            worker: None,
        }),
        Entry::Outcome(OutcomeNote::new([3; 32], 900_000, Outcome::Accepted, 0, "")),
        Entry::Outcome(OutcomeNote::new([3; 32], 900_000, Outcome::Confirmed, 6, "")),
        Entry::Closed(SessionClosed {
            account: account(0),
            session: 1,
            channel: 5,
            ending: Ending::Fault,
        }),
    ]);
    entries.extend([PayoutState::Planned, PayoutState::Sent].map(|state| {
        Entry::Payout(Payout {
            account: account(1),
            batch: [8; 16],
            txid: [4; 32],
            satoshis: 1_000,
            vout: 2,
            height: 0,
            fee: 12,
            state,
        })
    }));
    let record = |(sequence, entry): (u64, Entry)| Record {
        sequence,
        time_us: entry.time_us().unwrap_or(NOON_US + 2 * MINUTE_US),
        front_end: 0,
        epoch: 1,
        group_index: 0,
        entry,
    };
    (1..).zip(entries).map(record).collect()
}

#[test]
fn everything_that_was_counted_can_be_asked_for() {
    for house in House::both() {
        let mut store = house.open();
        store.apply(0, &story()).unwrap();
        let mut reader = house.db().open_to_read().unwrap();
        let store = reader.as_mut();
        let page = Page::default();

        let accounts = query::accounts(store, Order::Work, page).unwrap();
        let names: Vec<_> = accounts
            .iter()
            .map(|it| (it.name.as_str(), it.sums.work))
            .collect();
        assert_eq!(names, [("bc1qbob", 10_000), ("bc1qalice", 1_200)]);
        let by_name = query::accounts(store, Order::Name, Page { skip: 0, rows: 1 }).unwrap();
        assert_eq!((by_name.len(), by_name[0].name.as_str()), (1, "bc1qalice"));
        let second = query::accounts(store, Order::LastShare, Page { skip: 1, rows: 1 }).unwrap();
        assert_eq!(second[0].name, "bc1qalice");
        assert_eq!(query::account_named(store, "bc1qbob").unwrap(), Some(account(1)));
        assert_eq!(query::account_named(store, "nobody").unwrap(), None);
        let alice = query::account(store, account(0)).unwrap().unwrap();
        assert_eq!(
            (alice.sums.shares, alice.sums.rejected, alice.sums.best_hash),
            (3, 4, [7; 32])
        );
        assert_eq!(alice.sums.best_us, NOON_US + 1);
        assert_eq!(query::account(store, account(4)).unwrap(), None);

        let workers = query::workers(store, account(0), Order::Work, page).unwrap();
        assert_eq!(workers.len(), 1);
        assert_eq!((workers[0].name.as_str(), workers[0].sums.work), ("shed", 200));
        let shed = query::worker(store, account(0), worker(0)).unwrap().unwrap();
        assert_eq!(shed, workers[0]);

        let pool = query::totals(store, Whose::Pool).unwrap();
        assert_eq!((pool.shares, pool.work, pool.rejected), (5, 11_200, 13));
        assert_eq!((pool.blocks, pool.paid), (1, 1_000));

        // In steps of a minute, ten minutes and an hour.
        let span = |resolution_s| Span {
            from_s: NOON_S,
            until_s: NOON_S + 7_200,
            resolution_s,
        };
        let work = |points: Vec<query::Point>| -> Vec<(u64, u64, u128)> {
            let point = |it: &query::Point| ((it.start_s - NOON_S) / 60, it.shares, it.work);
            points.iter().map(point).collect()
        };
        let minutes = work(query::series(store, Whose::Pool, span(60)).unwrap());
        assert_eq!(
            minutes,
            [(0, 2, 200), (1, 1, 1_000), (11, 1, 5_000), (70, 1, 5_000)]
        );
        let tens = work(query::series(store, Whose::Pool, span(600)).unwrap());
        assert_eq!(tens, [(0, 3, 1_200), (10, 1, 5_000), (70, 1, 5_000)]);
        let hours = work(query::series(store, Whose::Account(account(1)), span(3_600)).unwrap());
        assert_eq!(hours, [(0, 1, 5_000), (60, 1, 5_000)]);
        let shed = work(query::series(store, Whose::Worker(account(0), worker(0)), span(60)).unwrap());
        assert_eq!(shed, [(0, 2, 200)]);
        assert_eq!(Span::fine(0, 86_400, 500).resolution_s, 600);

        let refused = query::rejects(store, Whose::Pool, span(3_600)).unwrap();
        let reasons: Vec<_> = refused.iter().map(|it| (it.reason.as_str(), it.count)).collect();
        assert_eq!(reasons, [("difficulty-too-low", 9), ("stale-share", 4)]);
        let alices = query::rejects_series(store, Whose::Account(account(0)), span(60)).unwrap();
        assert_eq!(
            (alices.len(), alices[0].start_s, alices[0].count),
            (1, NOON_S + 120, 4)
        );

        let best = query::best_shares(store, Whose::Pool, NOON_S, page).unwrap();
        let hashes: Vec<_> = best
            .iter()
            .map(|it| (it.hash[0], it.worker_name.as_str()))
            .collect();
        assert_eq!(hashes, [(3, ""), (7, "shed"), (8, "")]);
        assert_eq!((best[0].name.as_str(), best[0].height), ("bc1qbob", 900_000));
        assert_eq!(
            query::best_shares(store, Whose::Pool, NOON_S + 86_400, page).unwrap(),
            []
        );
        let sheds = query::best_shares(store, Whose::Worker(account(0), worker(0)), 0, page).unwrap();
        assert_eq!((sheds.len(), sheds[0].hash), (1, [7; 32]));

        let sessions = query::sessions(store, Some(account(0)), false, page).unwrap();
        assert_eq!(sessions.iter().map(|it| it.session).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(
            (
                sessions[1].ending,
                sessions[1].device.as_str(),
                sessions[1].protocol
            ),
            (Some(Ending::Fault), "bitaxe/2.1", Some(Protocol::StratumV1))
        );
        let open = query::sessions(store, None, true, page).unwrap();
        assert_eq!((open.len(), open[0].session, open[0].closed_us), (1, 2, None));
        assert_eq!(open[0].name, "bc1qalice");

        let blocks = query::blocks(store, None, page).unwrap();
        assert_eq!(
            (blocks.len(), blocks[0].height, blocks[0].satoshis),
            (1, 900_000, 312_500_001)
        );
        assert_eq!(
            (
                blocks[0].outcome,
                blocks[0].confirmations,
                blocks[0].name.as_str()
            ),
            (Some(Outcome::Confirmed), 6, "bc1qbob")
        );
        assert_eq!(query::blocks(store, Some(account(0)), page).unwrap(), []);

        let payouts = query::payouts(store, Some(account(1)), page).unwrap();
        assert_eq!(
            (payouts.len(), payouts[0].satoshis, payouts[0].fee),
            (1, 1_000, 12)
        );
        assert_eq!(
            (payouts[0].state, payouts[0].txid),
            (Some(PayoutState::Sent), [4; 32])
        );
    }
}

/// A restart ends what a killed process has left open; old history goes, sums stay.
#[test]
fn sessions_end_with_their_process_and_old_history_goes() {
    for house in House::both() {
        let mut store = house.open();
        let mut records = story();
        let started = Record {
            sequence: records.len() as u64 + 1,
            time_us: NOON_US + 99 * MINUTE_US,
            front_end: 0,
            epoch: 2,
            group_index: 0,
            entry: Entry::Start(adit_ledger::record::Start::new("adit test")),
        };
        store.apply(0, &records).unwrap();
        records.push(started);
        store.apply(0, &records).unwrap();
        let page = Page::default();
        assert_eq!(query::sessions(store.as_mut(), None, true, page).unwrap(), []);
        let ended = query::sessions(store.as_mut(), None, false, page).unwrap();
        let killed = ended.iter().find(|it| it.session == 2).unwrap();
        assert_eq!(
            (killed.ending, killed.closed_us),
            (None, Some(NOON_US + 2 * MINUTE_US))
        );

        let keep = Keep {
            history: [1, 30, 0],
            sessions: 90,
        };
        let days = |days: u64| NOON_S + days * 86_400 + 7_200;
        let span = |resolution_s| Span {
            from_s: 0,
            until_s: u64::from(u32::MAX),
            resolution_s,
        };
        let mut left = |now_s| {
            store.prune(keep, now_s).unwrap();
            let steps = [60, 600, 3_600].map(|step| {
                query::series(store.as_mut(), Whose::Pool, span(step))
                    .unwrap()
                    .len()
            });
            let sessions = query::sessions(store.as_mut(), None, false, page).unwrap().len();
            (steps, sessions)
        };
        assert_eq!(left(NOON_S), ([4, 3, 2], 2));
        assert_eq!(left(days(1)), ([0, 3, 2], 2));
        assert_eq!(left(days(30)), ([0, 0, 2], 2));
        assert_eq!(left(days(1_000)), ([0, 0, 2], 0));
        assert_eq!(query::totals(store.as_mut(), Whose::Pool).unwrap().work, 11_200);
    }
}

/// The way for everybody who asks: answers come, a database that is away is an error, and it is found again.
#[tokio::test]
async fn many_ask_at_once_and_a_database_may_be_away() {
    let house = House::sqlite();
    let books = Books::start(house.db()).unwrap();
    let blocks = |books: Books| async move {
        books
            .ask(|store| query::blocks(store, None, Page::default()))
            .await
    };
    assert!(
        blocks(books.clone()).await.unwrap_err().may_pass(),
        "there is no file yet"
    );
    house.open().apply(0, &story()).unwrap();
    assert_eq!(blocks(books.clone()).await.unwrap().len(), 1);
    let many: Vec<_> = (0..40).map(|_| tokio::spawn(blocks(books.clone()))).collect();
    for asked in many {
        assert_eq!(asked.await.unwrap().unwrap().len(), 1);
    }
}
