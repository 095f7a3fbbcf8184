//! Clients that say too much, the wrong thing, or do not listen: each costs only itself.

use adit_wire::common::{self, protocol};
use adit_wire::message::Message;
use adit_wire::template::{CoinbaseOutputConstraints, RequestTransactionData, SubmitSolution};

use crate::client::{Client, House, ROOM};
use crate::support::peer::{Peer, setup};

/// REQ-COM-010: who wants to mine is told that this is not the place.
#[tokio::test]
async fn another_protocol_is_refused() {
    let house = House::open(&[]).await;
    let mut peer = Peer::greet(house.url()).await;
    peer.say(&setup(0)).await;
    let common::ToClient::SetupConnectionError(error) = peer.hear().await.common() else {
        panic!("expected SetupConnection.Error");
    };
    assert_eq!(error.error_code.to_string(), "unsupported-protocol");
    assert_eq!(protocol::MINING, 0);
    assert_eq!(peer.hear_all().await, []);
}

/// What cannot be read and what no block has room for (C-87) ends that connection, and no other.
#[tokio::test]
async fn nonsense_ends_one_connection() {
    let house = House::open(&[]).await;
    let (mut polite, _) = Client::join(house.url(), ROOM).await;
    let constraints = CoinbaseOutputConstraints::TYPE;
    for payload in [&[][..], &[1, 2, 3], &[0xff; 6], &[0, 0, 0x80, 0, 0, 0]] {
        let mut rude = Client::greet(house.url()).await;
        rude.peer.say_any(0, false, constraints, payload).await;
        assert_eq!(rude.peer.hear_all().await, [], "{payload:?}");
    }
    let mut rude = Client::greet(house.url()).await;
    rude.peer.say_any(0, false, SubmitSolution::TYPE, &[1; 30]).await;
    assert_eq!(rude.peer.hear_all().await, []);
    // What is unknown is passed over (REQ-FRM-023).
    polite.peer.say_any(0, false, 0x7f, &[1, 2, 3]).await;
    house.provider.node().reorganise(0).await.unwrap();
    polite.next_tip().await;
    let mut status = house.provider.status();
    let told = status.wait_for(|now| now.connections.faulted == 5 && now.connections.open == 1);
    told.await.unwrap();
}

/// Solutions that are no blocks never reach the node.
#[tokio::test]
async fn a_solution_without_work_is_refused() {
    let house = House::open(&[("node", "embedded:18")]).await;
    let (mut client, work) = Client::join(house.url(), ROOM).await;
    let (solution, ..) = work.solve();
    let lazy = SubmitSolution {
        header_nonce: solution.header_nonce.wrapping_add(1),
        ..solution.clone()
    };
    let broken = SubmitSolution {
        coinbase_tx: [7; 12][..].try_into().unwrap(),
        ..solution
    };
    client.peer.say(&lazy).await;
    client.peer.say(&broken).await;
    let mut status = house.provider.status();
    let told = status.wait_for(|now| now.blocks.rejected == 2);
    assert_eq!(told.await.unwrap().blocks.found, 0);
}

/// A client that asks and asks and never reads has one answer made for it, not one for each question; one that talks
/// without end is cut off. Others hear of a new block meanwhile.
#[tokio::test]
async fn floods_cost_only_who_floods() {
    let changes = [
        ("limits.messages_per_second", "100"),
        ("embedded.transactions", "1000"),
    ];
    let house = House::open(&changes).await;
    let (mut polite, work) = Client::join(house.url(), ROOM).await;
    let (mut deaf, theirs) = Client::join(house.url(), ROOM).await;
    let template_id = theirs.template.template_id;
    for _ in 0..20 {
        deaf.peer.say(&RequestTransactionData { template_id }).await;
    }
    let (mut loud, _) = Client::join(house.url(), ROOM).await;
    let mut frames = Vec::new();
    for _ in 0..2_000 {
        RequestTransactionData { template_id: 9_999 }.encode_frame(&mut frames);
    }
    loud.peer.say_frames(&frames).await;
    let (mut fickle, _) = Client::join(house.url(), ROOM).await;
    let mut frames = Vec::new();
    for _ in 0..20 {
        CoinbaseOutputConstraints::from(ROOM).encode_frame(&mut frames);
    }
    fickle.peer.say_frames(&frames).await;

    let (solution, ..) = work.solve();
    polite.peer.say(&solution).await;
    polite.next_tip().await;
    let mut status = house.provider.status();
    let told = status.wait_for(|now| now.connections.faulted == 2 && now.connections.open == 2);
    tokio::time::timeout(crate::support::SOON, told)
        .await
        .expect("two are cut off")
        .unwrap();
    // Who listens again after all finds everything that was asked for.
    for _ in 0..20 {
        loop {
            use adit_wire::template::ToClient;
            if let ToClient::RequestTransactionDataSuccess(it) = deaf.hear().await {
                assert_eq!(it.template_id, template_id);
                break;
            }
        }
    }
}
