//! A node that is absent, dies, stops or is something else.

mod ipc_support;

use std::io::Write;
use std::os::unix::net::UnixListener;

use adit_node::ipc::Settings;
use adit_node::{SubmitError, Verdict};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY};
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ipc_support::*;

#[tokio::test]
async fn a_missing_socket_is_said_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    let mut node = source(Settings::new(&path));
    let reason = down(&mut node).await;
    assert!(
        reason.contains(path.to_str().unwrap()) && reason.contains("-ipcbind=unix"),
        "{reason}"
    );
    let answer = node.handle.status(BlockHash::all_zeros()).await;
    assert_eq!(answer, Err(SubmitError::Unavailable(reason)));
}

#[tokio::test]
async fn a_file_and_a_dead_socket_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let reason = down(&mut source(Settings::new(&file))).await;
    assert!(reason.contains("is not a socket"), "{reason}");
    let dead = folder.path().join("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let reason = down(&mut source(Settings::new(&dead))).await;
    assert!(reason.contains("nobody listens"), "{reason}");
}

/// Whatever a stranger sends, the source says so and stays.
#[tokio::test]
async fn a_stranger_on_the_socket_is_no_bitcoin_core() {
    let junk: [&[u8]; 4] = [b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0; 64], &[0xff; 64], b""];
    for bytes in junk {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut peer, _)) = listener.accept() {
                let _ = peer.write_all(bytes);
            }
        });
        let mut node = source(Settings::new(&path));
        let reason = down(&mut node).await;
        assert!(reason.contains("Bitcoin Core"), "{reason}");
        assert!(matches!(
            node.handle.submit_block(vec![]).await,
            Err(SubmitError::Unavailable(_))
        ));
    }
}

/// A socket that takes connections and never answers.
#[tokio::test]
async fn silence_is_down_within_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let reason = down(&mut source(Settings::new(&path))).await;
    assert!(reason.contains("Init.construct"), "{reason}");
}

/// The node is killed and comes back: Down, Up, templates. A solution of a template from before goes in
/// as a whole block.
#[tokio::test]
async fn a_killed_node_comes_back_and_no_block_is_lost() {
    let Some(mut core) = BitcoinNode::start() else {
        return;
    };
    core.mine(COINBASE_MATURITY + 1);
    core.cli(&["gettxoutsetinfo"]).unwrap(); // flushes the chain to disk
    core.spend(1, 5_000);
    let mut node = source(eager(core.socket()));
    let before = template(&mut node).await;
    assert_eq!(before.transaction_count, Some(1));
    transactions(&mut node, before.id).await;
    core.kill();
    let reason = down(&mut node).await;
    assert!(reason.contains("ended"), "{reason}");
    let (solution, header) = solve(&before, 1);
    let away = node.handle.submit(solution.clone()).await;
    assert!(matches!(away, Err(SubmitError::Unavailable(_))), "{away:?}");

    core.launch();
    up(&mut node).await;
    let after = template(&mut node).await;
    assert!(after.id > before.id);
    assert_eq!(after.prev_hash, before.prev_hash);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), header.block_hash().to_string());
    let next = template_where(&mut node, |template| template.prev_hash == header.block_hash()).await;
    let (solution, header) = solve(&next, 2);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), header.block_hash().to_string());
}

/// A node that stops answering is noticed in seconds; when it goes on, so do we, on the same connection.
#[tokio::test]
async fn a_stopped_node_is_noticed_and_taken_back() {
    let Some(core) = BitcoinNode::start() else { return };
    core.mine(1);
    let mut node = source(eager(core.socket()));
    let before = template(&mut node).await;
    core.pause();
    let paused = tokio::time::Instant::now();
    let reason = down(&mut node).await;
    let noticed = paused.elapsed();
    assert!(reason.contains("getTip"), "{reason}");
    assert!(noticed < std::time::Duration::from_secs(5), "{noticed:?}");
    core.resume();
    up(&mut node).await;
    let after = template(&mut node).await;
    assert!(after.id > before.id);
    let (solution, header) = solve(&before, 1);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), header.block_hash().to_string());
}
