//! Leaving the node, politely and not: it must not notice (Bitcoin Core has crashed in its cleanup when
//! a client vanished while it waited for a template).

mod ipc_support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use adit_node::{Event, Node, Template};
use adit_testkit::{BitcoinNode, until};
use ipc_support::*;

const TIMES: usize = 20;

/// How often each leaves: `ADIT_TEST_LEAVINGS`, to hunt what is seen once in many.
fn times() -> usize {
    let told = std::env::var("ADIT_TEST_LEAVINGS").ok();
    told.and_then(|times| times.parse().ok()).unwrap_or(TIMES)
}

/// The next template. When there is none in time: what the source said, whether the node lives and answers, what its
/// threads wait for, and the end of its log.
async fn template_or_why(core: &mut BitcoinNode, node: &mut Node, left: usize) -> Arc<Template> {
    let mut said = Vec::new();
    let found = async {
        loop {
            match node.events.recv().await.expect("the source runs") {
                Event::Template(template) => return template,
                event => said.push(format!("{event:?}")),
            }
        }
    };
    if let Ok(template) = tokio::time::timeout(LIMIT, found).await {
        return template;
    }
    let (runs, threads) = (core.is_running(), core.threads());
    panic!(
        "no template in {LIMIT:?} after leaving {left} times; the node runs: {runs}, it answers: {:?}, the source said \
         {said:?}, the node's threads:\n{threads}\nand its log ends:\n{}",
        core.cli(&["getblockcount"]),
        core.log().lines().rev().take(40).collect::<Vec<_>>().join("\n")
    );
}

/// The source ends in order twenty times, half of them while a tip changes.
#[tokio::test]
async fn an_ended_source_leaves_the_node_up() {
    let Some(mut core) = BitcoinNode::start() else {
        return;
    };
    core.mine(1);
    for time in 0..times() {
        let mut node = source(eager(core.socket()));
        template_or_why(&mut core, &mut node, time).await;
        drop(node.handle);
        if time % 2 == 0 {
            core.mine(1);
        }
        while node.events.recv().await.is_some() {}
        assert!(
            core.is_running(),
            "the node died after leaving it {} times",
            time + 1
        );
    }
    let mut node = source(eager(core.socket()));
    let template = template_or_why(&mut core, &mut node, times()).await;
    assert_eq!(template.prev_hash.to_string(), core.tip());
}

/// Our process is killed twenty times while the node waits on its behalf.
#[tokio::test]
async fn a_killed_process_leaves_the_node_up() {
    let Some(mut core) = BitcoinNode::start() else {
        return;
    };
    core.mine(1);
    for time in 0..times() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "the_process_that_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env("ADIT_TEST_SOCKET", core.socket())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines
            .map_while(Result::ok)
            .any(|line| line.contains("has a template"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ready);
        if time % 2 == 0 {
            core.mine(1);
        }
        assert!(core.is_running(), "the node died after {} kills", time + 1);
    }
    let mut node = source(eager(core.socket()));
    assert_eq!(template(&mut node).await.prev_hash.to_string(), core.tip());
    drop(node);
    let served = until(LIMIT, || core.cli(&["getblockcount"]).ok());
    assert!(served.is_some() && core.is_running());
}

/// Not a test by itself: the test above runs it as a process and kills it.
#[tokio::test]
#[ignore = "run by a_killed_process_leaves_the_node_up"]
async fn the_process_that_is_killed() {
    let Some(socket) = std::env::var_os("ADIT_TEST_SOCKET") else {
        return;
    };
    let mut node = source(eager(socket.into()));
    let first = template(&mut node).await;
    assert!(first.height > 0);
    writeln!(std::io::stdout(), "has a template").unwrap();
    loop {
        event(&mut node, |_| Some(())).await;
    }
}
