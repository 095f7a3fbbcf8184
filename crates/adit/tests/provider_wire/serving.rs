//! Templates out, transactions out, blocks in.

use adit_net::Url;
use adit_node::BlockStatus;
use adit_wire::message::Message;
use adit_wire::template::{CoinbaseOutputConstraints, NewTemplate, SubmitSolution};

use crate::client::{Client, House, ROOM, block, provider};
use crate::support::until;

/// REQ-TDP-001, REQ-TDP-002, REQ-TDP-005, REQ-TDP-024, REQ-TDP-040, REQ-TDP-044, REQ-TDP-046: over an encrypted
/// connection the first template follows the constraints at once; a solution with the longest scriptSig becomes the tip,
/// which everybody hears of.
#[tokio::test]
async fn a_solution_becomes_the_tip_of_everybody() {
    let house = House::open(&[]).await;
    let (mut finder, work) = Client::join(house.url(), ROOM).await;
    let (mut other, _) = Client::join(house.url(), ROOM).await;
    let (solution, header, _) = work.solve();
    finder.peer.say(&solution).await;
    let hash = header.block_hash();
    for client in [&mut finder, &mut other] {
        let next = client.next_tip().await;
        assert_eq!(next.tip.prev_hash.0, *AsRef::<[u8; 32]>::as_ref(&hash));
    }
    assert_eq!(house.status(hash).await, BlockStatus::Confirmed(1));
    let mut status = house.provider.status();
    status.wait_for(|now| now.blocks.accepted == 1).await.unwrap();
    let last = house.provider.stop().await.unwrap();
    assert_eq!(
        (last.blocks.found, last.blocks.accepted, last.blocks.rejected),
        (1, 1, 0)
    );
    assert_eq!(last.connections.accepted, 2);
}

/// REQ-TDP-019, REQ-TDP-021, REQ-TDP-032, REQ-TDP-036, REQ-TDP-038, REQ-TDP-043: the transactions of a template come
/// whole and in the order of the block, and the block built from them is valid down to the witness commitment.
#[tokio::test]
async fn a_block_can_be_built_from_what_was_sent() {
    let house = House::open(&[]).await;
    let (mut client, work) = Client::join(house.url(), ROOM).await;
    let transactions = client.transactions(work.template.template_id).await.unwrap();
    assert!(transactions.len() > 5, "{}", transactions.len());
    let (_, header, coinbase) = work.solve();
    let block = block(header, coinbase, &transactions);
    assert!(block.check_merkle_root() && block.check_witness_commitment());
    let has_witness = |tx: &bitcoin::Transaction| tx.input.iter().any(|input| !input.witness.is_empty());
    assert!(block.txdata[1..].iter().any(has_witness));
    let commitment = work.outputs().iter().any(|output| {
        let script = output.script_pubkey.as_bytes();
        script.starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed])
    });
    assert!(commitment, "the witness commitment is an output of the template");
    let bytes = bitcoin::consensus::serialize(&block);
    let verdict = house.provider.node().submit_block(bytes).await;
    assert_eq!(verdict, Ok(adit_node::Verdict::Accepted));
    let unknown = client.transactions(u64::MAX).await;
    assert_eq!(unknown, Err("template-id-not-found".to_owned()), "REQ-TDP-033");
}

/// REQ-TDP-006: the block of an older tip still goes to the node, which keeps it beside its chain.
#[tokio::test]
async fn a_solution_of_an_old_template_reaches_the_node() {
    let house = House::open(&[]).await;
    let (mut client, old) = Client::join(house.url(), ROOM).await;
    for _ in 0..3 {
        house.provider.node().reorganise(0).await.unwrap();
        client.next_tip().await;
    }
    let transactions = client.transactions(old.template.template_id).await;
    assert!(transactions.is_ok(), "those of the last tips are kept");
    let (solution, header, _) = old.solve();
    let hash = header.block_hash();
    assert_eq!(house.status(hash).await, BlockStatus::Unknown);
    client.peer.say(&solution).await;
    let node = house.provider.node();
    let seen = async {
        while node.status(hash).await != Ok(BlockStatus::Stale) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::SOON, seen)
        .await
        .expect("the node has it");

    // REQ-TDP-045: one of a template that nobody knows costs nothing.
    let unknown = SubmitSolution {
        template_id: 1 << 40,
        ..solution
    };
    client.peer.say(&unknown).await;
    node.reorganise(0).await.unwrap();
    client.next_tip().await;
}

/// REQ-TDP-009, REQ-TDP-014: clients with other constraints have other templates; who changes his mind has
/// one with that room next.
#[tokio::test]
async fn each_client_has_the_room_that_it_asked_for() {
    let house = House::open(&[]).await;
    let mut nearly_all = ROOM;
    nearly_all.max_additional_size = 999_700;
    let (mut small, first) = Client::join(house.url(), ROOM).await;
    let (mut large, second) = Client::join(house.url(), nearly_all).await;
    assert!(first.template.merkle_path.len() > 2);
    assert_eq!(second.template.merkle_path.len(), 0, "no transaction has room");
    assert!(first.template.coinbase_tx_value_remaining > second.template.coinbase_tx_value_remaining);
    let (solution, ..) = second.solve();
    large.peer.say(&solution).await;
    let path = |template: &NewTemplate| template.merkle_path.len();
    let (first, second) = (small.next_tip().await, large.next_tip().await);
    assert_eq!(first.tip.prev_hash, second.tip.prev_hash);
    assert!(path(&first.template) > 2 && path(&second.template) == 0);

    small.peer.say(&CoinbaseOutputConstraints::from(nearly_all)).await;
    let mut work = small.work().await;
    while path(&work.template) != 0 {
        work = small.work().await;
    }
    assert!(!work.template.future_template, "the tip is the same");
}

/// More kinds of clients than the node makes templates for: who comes late shares those with more room.
#[tokio::test]
async fn too_many_kinds_of_clients_share_the_roomiest() {
    let house = House::open(&[]).await;
    let mut clients = Vec::new();
    for size in 0..adit_node::CONSTRAINTS_MAX as u32 + 4 {
        let mut room = ROOM;
        room.max_additional_size = 5_000 - size;
        clients.push(Client::join(house.url(), room).await.0);
    }
    house.provider.node().reorganise(0).await.unwrap();
    for client in &mut clients {
        client.next_tip().await;
    }
    // Nobody has the room that this one wants.
    let mut room = ROOM;
    room.max_additional_size = 6_000;
    let mut last = Client::greet(house.url()).await;
    last.peer.say(&CoinbaseOutputConstraints::from(room)).await;
    assert_eq!(last.peer.hear_all().await, []);
    // With the others gone there is a place for it.
    drop(clients);
    let mut status = house.provider.status();
    status.wait_for(|now| now.connections.open == 0).await.unwrap();
    Client::join(house.url(), room).await;
}

/// REQ-TDP-013 on the wire: a client of 2022 says four bytes and is served.
#[tokio::test]
async fn a_client_of_2022_is_served() {
    let house = House::open(&[]).await;
    let mut client = Client::greet(house.url()).await;
    let kind = CoinbaseOutputConstraints::TYPE;
    client.peer.say_any(0, false, kind, &100u32.to_le_bytes()).await;
    client.work().await;
}

/// The key, and with it the URL, outlives a restart; so does the embedded chain.
#[tokio::test]
async fn a_restart_changes_nothing() {
    let House {
        data,
        provider: first,
    } = House::open(&[]).await;
    let url = first.url().clone();
    let (_, before) = Client::join(&url, ROOM).await;
    first.node().reorganise(0).await.unwrap();
    first.stop().await.unwrap();
    let second = provider(data.path(), &[]).await;
    assert_eq!(second.url().key, url.key);
    let (_, after) = Client::join(second.url(), ROOM).await;
    assert_ne!(before.tip.prev_hash, after.tip.prev_hash);
    let moved = Url {
        port: second.url().port,
        ..url
    };
    assert_eq!(*second.url(), moved);
    until("the last client has left", || {
        second.status().borrow().connections.open == 0
    })
    .await;
}
