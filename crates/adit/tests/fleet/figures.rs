//! How fast journals are shipped and counted on this machine: figures for docs/fleet.md.
//!
//!     cargo test -p adit --test fleet -- --ignored --nocapture figures

use adit::books::Db;
use adit::fleet::Accountant;
use adit_testkit::{NatsServer, Postgres};
use tokio::time::Instant;

use crate::folder::Folder;
use crate::processes::position;
use crate::shipping::hold;
use crate::transport::{nats, until};

const FRONT_ENDS: u16 = 2;
const RECORDS: u64 = 150_000;
const ACCOUNTS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures, not a proof"]
async fn figures_of_a_backlog() {
    let (Some(server), Some(postgres)) = (NatsServer::start(), Postgres::start()) else {
        return;
    };
    let url = server.url();
    let db = Db::parse(&postgres.url()).unwrap();
    let mut folders: Vec<Folder> = (1..=FRONT_ENDS)
        .map(|number| Folder::of(number, ACCOUNTS))
        .collect();
    for folder in &mut folders {
        for _ in 0..RECORDS / 10_000 {
            folder.write(10_000).await;
        }
    }
    let leases = hold(&url, &folders.iter().collect::<Vec<_>>()).await;
    let all = u64::from(FRONT_ENDS) * RECORDS;
    let rate = |began: Instant| all as f64 / began.elapsed().as_secs_f64();

    let began = Instant::now();
    folders.iter_mut().for_each(|folder| folder.ship(nats(&url)));
    until("all is with the transport", || {
        folders
            .iter()
            .all(|folder| folder.shipping().shipped == folder.last())
    })
    .await;
    println!(
        "journal to JetStream, {FRONT_ENDS} front ends: {:.0} records/s",
        rate(began)
    );

    let began = Instant::now();
    let accountant = Accountant::start(nats(&url), db.clone()).await.unwrap();
    until("all is counted", || {
        folders
            .iter()
            .all(|folder| position(&db, folder.front_end) == folder.last())
    })
    .await;
    println!(
        "JetStream to PostgreSQL, {FRONT_ENDS} lanes, {ACCOUNTS} accounts each: {:.0} records/s",
        rate(began)
    );
    for folder in &mut folders {
        folder.stop_shipping().await;
    }
    accountant.stop().await;
    drop(leases);
}
