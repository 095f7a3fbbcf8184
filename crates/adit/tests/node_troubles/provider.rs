//! A provider on a node that would refuse a block of its own template.

use std::sync::Arc;

use adit::config::{Settings, Sources};
use adit::provider::Provider;
use adit_net::{Clock, Dialling};
use adit_node::{Constraints, Event, Node, Template, spawn, tdp};

use super::support::rpc_node::{Fault, RpcNode};
use super::support::{SOON, folder};

async fn provider(data: &std::path::Path, node: &str) -> Provider {
    let mut sources = Sources {
        pays_nobody: true,
        ..Default::default()
    };
    for (key, value) in [
        ("data", data.to_str().unwrap()),
        ("provider.listen", "127.0.0.1:0"),
        ("node", node),
        ("ipc.fee_delta_sat", "1"),
        ("ipc.interval_ms", "100"),
    ] {
        sources.flag(key, value, "test");
    }
    Provider::start(&Settings::load(&sources).unwrap()).await.unwrap()
}

async fn template(client: &mut Node, wish: impl Fn(&Template) -> bool) -> Arc<Template> {
    let wished = async {
        loop {
            match client.events.recv().await.unwrap() {
                Event::Template(template) if wish(&template) => return template,
                _ => {}
            }
        }
    };
    tokio::time::timeout(SOON, wished)
        .await
        .expect("a template in time")
}

/// Its clients have the template at once and the last good one again when the node has refused it; the alarm is shown
/// until the node is well.
#[tokio::test]
async fn a_template_that_its_node_refuses_gives_way_to_the_last_good_one() {
    let data = folder();
    let node = RpcNode::start(Fault::None).await;
    let provider = provider(data.path(), &node.spec()).await;
    let mut status = provider.status();
    let mut client = spawn(tdp::Tdp::new(tdp::Settings {
        url: provider.url().clone(),
        constraints: Constraints::default(),
        dialling: Dialling::default(),
        clock: Clock::system(),
    }))
    .unwrap();
    let good = template(&mut client, |_| true).await;
    let passed = status.wait_for(|now| now.node.jobs_valid >= 1);
    tokio::time::timeout(SOON, passed)
        .await
        .expect("it passes")
        .unwrap();
    {
        let mut state = node.state.lock().unwrap();
        let count = state.chain.template().unwrap().encoded.len();
        state.fault = Fault::Refuses(count);
        while state.chain.template().unwrap().encoded.len() <= count {
            state.chain.tick();
        }
    }
    template(&mut client, |it| it.merkle_path != good.merkle_path).await;
    let again = template(&mut client, |it| it.merkle_path == good.merkle_path).await;
    assert!(again.id > good.id && again.prev_hash == good.prev_hash);
    let alarm = status.wait_for(|now| now.node.jobs_refused >= 1);
    let alarm = tokio::time::timeout(SOON, alarm)
        .await
        .expect("an alarm")
        .unwrap()
        .node
        .alarm
        .clone();
    assert!(alarm.contains("bad-blk-sigops"), "{alarm}");

    node.has(Fault::None);
    node.state.lock().unwrap().chain.reorganise(0).unwrap();
    let well = status.wait_for(|now| now.node.alarm.is_empty());
    tokio::time::timeout(SOON, well).await.expect("no alarm").unwrap();
    provider.stop().await.unwrap();
}
