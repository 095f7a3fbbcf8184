//! One number, one holder.

use adit::fleet::lease::{fresh_name, release};
use adit::fleet::{Beat, Bus, Holding, Lease, LeaseError};
use adit_testkit::NatsServer;

use crate::transport::nats;

pub(crate) fn holding(front_end: u16) -> Holding {
    Holding {
        front_end,
        ledger: fresh_name(),
        instance: fresh_name(),
        host: "here".into(),
        software: "a test".into(),
        ..Holding::default()
    }
}

#[tokio::test]
async fn a_number_belongs_to_one_folder_and_a_folder_to_one_process() {
    let Some(server) = NatsServer::start() else { return };
    let bus = Bus::connect(&nats(&server.url()), "a test").await.unwrap();
    let first = holding(1);
    let mut lease = Lease::take(&bus, first.clone()).await.unwrap();

    // Another folder, whether the holder lives or has stopped.
    let other = Lease::take(&bus, holding(1)).await;
    assert!(matches!(other, Err(LeaseError::Taken(by)) if by.ledger == first.ledger));

    // A copy of the folder, while the first one shows signs of life.
    let copy = Holding {
        instance: fresh_name(),
        ..first.clone()
    };
    let beating = async {
        loop {
            assert_eq!(lease.beat(|mine| mine.height += 1).await, Beat::Held);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    let refused = tokio::select! {
        taken = Lease::take(&bus, copy.clone()) => taken,
        () = beating => unreachable!(),
    };
    assert!(matches!(refused, Err(LeaseError::Running(by)) if by.instance == first.instance));

    // The first one is silent for long: the copy takes over, and the first one finds out.
    let mut second = Lease::take(&bus, copy.clone()).await.unwrap();
    let lost = lease.beat(|_| {}).await;
    assert!(matches!(lost, Beat::Lost(by) if by.instance == copy.instance));
    assert_eq!(second.beat(|_| {}).await, Beat::Held);

    // Stopped in order: the same folder starts at once, another one is refused until the number is freed.
    second.stop().await;
    let again = Holding {
        instance: fresh_name(),
        ..first.clone()
    };
    let started = tokio::time::Instant::now();
    let third = Lease::take(&bus, again).await.unwrap();
    assert!(started.elapsed().as_secs() < 5, "nothing is waited for");
    third.stop().await;
    assert!(matches!(
        Lease::take(&bus, holding(1)).await,
        Err(LeaseError::Taken(_))
    ));
    release(&bus, 1).await.unwrap();
    Lease::take(&bus, holding(1)).await.unwrap();
}

#[tokio::test]
async fn a_table_that_was_wiped_is_written_again_by_those_who_hold() {
    let Some(mut server) = NatsServer::start() else {
        return;
    };
    let bus = Bus::connect(&nats(&server.url()), "a test").await.unwrap();
    let first = holding(3);
    let mut lease = Lease::take(&bus, first.clone()).await.unwrap();
    server.kill();
    assert!(
        matches!(lease.beat(|_| {}).await, Beat::Unheard(_)),
        "nobody can take it from us either"
    );
    server.wipe();
    server.launch();

    let beating = async {
        loop {
            let beat = lease.beat(|_| {}).await;
            assert!(matches!(beat, Beat::Held | Beat::Unheard(_)), "{beat:?}");
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    // Whoever makes the table anew gives the holders the time to write first.
    let late = async {
        loop {
            match Lease::take(&bus, holding(3)).await {
                Err(LeaseError::Away(_)) => {}
                other => break other,
            }
        }
    };
    let refused = tokio::select! {
        taken = late => taken,
        () = beating => unreachable!(),
    };
    assert!(matches!(refused, Err(LeaseError::Taken(by)) if by.ledger == first.ledger));
}
