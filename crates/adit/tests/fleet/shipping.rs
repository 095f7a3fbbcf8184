//! Whatever the transport does: each record is in the database once.

use adit::books::{Db, check};
use adit::fleet::{Accountant, batch};
use adit_ledger::Follower;
use adit_ledger::verify::JOURNAL_FOLDER;
use adit_testkit::NatsServer;
use tempfile::TempDir;

use crate::folder::Folder;
use crate::transport::{nats, until};

struct Office {
    accountant: Option<Accountant>,
    db: Db,
    _folder: TempDir,
}

impl Office {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::Sqlite(Some(folder.path().join("books.sqlite")));
        Self {
            accountant: None,
            db,
            _folder: folder,
        }
    }

    async fn open(&mut self, url: &str) {
        self.accountant = Some(Accountant::start(nats(url), self.db.clone()).await.unwrap());
    }

    async fn close(&mut self) {
        self.accountant.take().unwrap().stop().await;
    }

    fn last(&self, front_end: u16) -> u64 {
        let mut store = self.db.open().unwrap();
        store.position(front_end).unwrap().last
    }

    async fn has_all_of(&self, folders: &[&Folder]) {
        for folder in folders {
            until("all records in the database", || {
                self.last(folder.front_end) == folder.last()
            })
            .await;
            until("the front end knows it", || {
                folder.shipping().booked == folder.last()
            })
            .await;
        }
    }

    fn agrees_with(&self, folders: &[&Folder]) {
        for folder in folders {
            let mut store = self.db.open().unwrap();
            let agreed = check::compare(&mut *store, folder.data(), true).unwrap();
            assert_eq!(agreed.last, folder.last());
        }
    }
}

/// The front ends need numbers, or no accountant looks for them.
pub(crate) async fn hold(url: &str, folders: &[&Folder]) -> Vec<adit::fleet::Lease> {
    let bus = adit::fleet::Bus::connect(&nats(url), "a test").await.unwrap();
    let mut leases = Vec::new();
    for folder in folders {
        let mine = crate::leases::holding(folder.front_end);
        leases.push(adit::fleet::Lease::take(&bus, mine).await.unwrap());
    }
    leases
}

#[tokio::test]
async fn a_transport_that_dies_is_cut_off_and_forgets_loses_nothing() {
    let Some(mut server) = NatsServer::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut two) = (Folder::new(1), Folder::new(2));
    let mut leases = hold(&url, &[&one, &two]).await;
    let mut office = Office::new();
    office.open(&url).await;
    one.ship(nats(&url));
    two.ship(nats(&url));

    // As it should be.
    one.write(20_000).await;
    two.write(5_000).await;
    office.has_all_of(&[&one, &two]).await;
    office.agrees_with(&[&one, &two]);

    // Killed, and back with what it had.
    server.kill();
    one.write(3_000).await;
    server.launch();
    two.write(3_000).await;
    office.has_all_of(&[&one, &two]).await;

    // Killed, and everything forgotten: nobody's number is lost, and no record.
    server.kill();
    two.write(3_000).await;
    server.wipe();
    server.launch();
    for lease in &mut leases {
        let mut held = lease.beat(|_| {}).await;
        while held != adit::fleet::Beat::Held {
            assert!(matches!(held, adit::fleet::Beat::Unheard(_)), "{held:?}");
            held = lease.beat(|_| {}).await;
        }
    }
    one.write(3_000).await;
    office.has_all_of(&[&one, &two]).await;

    // Cut off for everybody.
    server.way().cut();
    one.write(3_000).await;
    server.way().mend();
    office.has_all_of(&[&one]).await;

    // A way on which nothing comes through.
    server.way().swallow();
    two.write(3_000).await;
    server.way().mend();
    office.has_all_of(&[&two]).await;

    // Paused.
    server.process().signal("STOP");
    one.write(3_000).await;
    server.process().signal("CONT");
    office.has_all_of(&[&one, &two]).await;
    office.agrees_with(&[&one, &two]);

    one.stop_shipping().await;
    two.stop_shipping().await;
    office.close().await;
}

#[tokio::test]
async fn an_accountant_that_was_away_catches_up_and_what_comes_twice_counts_once() {
    let Some(server) = NatsServer::start() else { return };
    let url = server.url();
    let mut one = Folder::new(1);
    let leases = hold(&url, &[&one]).await;
    one.ship(nats(&url));
    one.write(30_000).await;
    let mut office = Office::new();
    office.open(&url).await;
    office.has_all_of(&[&one]).await;
    office.close().await;

    // Old records again, records out of order, and messages that are no records at all.
    let bus = async_nats::connect(&url).await.unwrap();
    let disk = adit_ledger::FileDisk::open(&one.data().join(JOURNAL_FOLDER)).unwrap();
    for first in [1, 20_001, 9_001, 1] {
        let mut records = Vec::new();
        Follower::new(disk.clone(), first)
            .read(one.last() + 1, 700, &mut records)
            .unwrap();
        bus.publish("test.journal.1", batch::encode(&records).into())
            .await
            .unwrap();
        bus.publish("test.journal.1", b"no records".as_slice().into())
            .await
            .unwrap();
    }
    // Records of another front end on this one's subject.
    let mut stranger = Folder::new(9);
    stranger.write(10).await;
    let other = adit_ledger::FileDisk::open(&stranger.data().join(JOURNAL_FOLDER)).unwrap();
    let mut records = Vec::new();
    Follower::new(other, 1)
        .read(stranger.last() + 1, 10, &mut records)
        .unwrap();
    bus.publish("test.journal.1", batch::encode(&records).into())
        .await
        .unwrap();
    bus.flush().await.unwrap();

    one.write(10_000).await;
    office.open(&url).await;
    office.has_all_of(&[&one]).await;
    office.agrees_with(&[&one]);
    let picture = office.accountant.as_ref().unwrap().picture();
    until("spoiled messages are counted", || {
        picture
            .borrow()
            .front_ends
            .get(&1)
            .is_some_and(|lane| lane.spoiled == 5)
    })
    .await;

    // The last ones first, by hand.
    one.stop_shipping().await;
    one.write(3_000).await;
    let from = office.last(1);
    for first in (from..one.last())
        .step_by(500)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let mut records = Vec::new();
        Follower::new(disk.clone(), first)
            .read(one.last() + 1, 501, &mut records)
            .unwrap();
        bus.publish("test.journal.1", batch::encode(&records).into())
            .await
            .unwrap();
    }
    bus.flush().await.unwrap();
    until("what came in another order is counted", || {
        office.last(1) == one.last()
    })
    .await;
    office.agrees_with(&[&one]);

    // The front end starts again, and the same records are not counted again.
    one.close().await;
    one.open();
    one.ship(nats(&url));
    office.has_all_of(&[&one]).await;
    office.agrees_with(&[&one]);
    one.stop_shipping().await;
    office.close().await;
    drop(leases);
}

/// A number must not be given to another journal: what is counted would be mixed.
#[tokio::test]
async fn another_journal_under_the_same_number_is_refused_and_says_so() {
    let Some(server) = NatsServer::start() else { return };
    let url = server.url();
    let mut one = Folder::new(1);
    let leases = hold(&url, &[&one]).await;
    let mut office = Office::new();
    office.open(&url).await;
    one.ship(nats(&url));
    one.write(1_000).await;
    office.has_all_of(&[&one]).await;
    one.stop_shipping().await;
    let counted = office.last(1);

    let mut impostor = Folder::of(1, 7);
    impostor.write(5_000).await;
    impostor.ship(nats(&url));
    until("the impostor is told", || {
        impostor.shipping().trouble.contains("not those of this journal")
    })
    .await;
    assert_eq!(office.last(1), counted);
    office.agrees_with(&[&one]);
    impostor.stop_shipping().await;
    office.close().await;
    drop(leases);
}
