//! Each mistake is named with what would be right, costs nobody the connection, and is over when it is mended.

use std::os::unix::net::UnixListener;

use adit::config::Settings;
use adit::observe::{NodeState, Status};
use adit_testkit::{BitcoinNode, MINE_TO};

use super::support::House;
use super::support::miner::{How, Miner};
use super::support::peer::Peer;
use super::support::rpc_node::{Fault, RpcNode};

/// An address of the real network.
const MAIN_ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

/// Nobody has come but the one that is there.
fn has_one(now: &Status) -> bool {
    (now.connections.open, now.connections.accepted) == (1, 1)
}

/// A pool whose node is in trouble, and a miner that waits.
struct Waiting {
    house: House,
    peer: Peer,
}

impl Waiting {
    async fn on(spec: &str, payout: &str) -> Self {
        let changes = [
            ("node", spec),
            ("payout.address", payout),
            ("shares.work_min", "1"),
        ];
        let house = House::open(&changes).await;
        let peer = Peer::join(house.pool.url(), 0).await;
        Self { house, peer }
    }

    /// Waits until the pool says all of these; never the password.
    async fn says(&self, parts: &[&str]) {
        let told = |now: &Status| {
            let said = parts.iter().all(|part| now.node.reason.contains(part));
            now.node.state == NodeState::Down && said && has_one(now)
        };
        let now = self.house.picture(&format!("{parts:?}"), told).await;
        let shown = serde_json::to_string(&now).unwrap();
        assert!(!shown.contains("p@ss"), "{shown}");
    }

    async fn is_up(&self) {
        let up = |now: &Status| now.node.state == NodeState::Up && now.node.template_age_ms.is_some();
        self.house.picture("a node that is up", up).await;
    }

    /// It was mended: the miner that waited mines, on the connection that it had.
    async fn goes_on(self) -> (House, Miner) {
        self.is_up().await;
        let mut miner = Miner::open(self.peer, How::Extended, "patient").await;
        miner.mine(0..20).await;
        let mined = |now: &Status| now.shares.accepted == 20 && has_one(now);
        self.house.picture("the connection of before", mined).await;
        (self.house, miner)
    }
}

/// What is wrong with the node from the start, and what is said of it.
#[tokio::test]
async fn each_trouble_of_a_node_is_named_and_over_when_it_goes_on() {
    let troubles: [(Fault, &[&str]); 6] = [
        (
            Fault::Chain("test"),
            &["\"test\"", "set to \"regtest\"", "`network`", "payout.address"],
        ),
        (Fault::Forbidden, &["rpcallowip"]),
        (
            Fault::Error(-28, "Loading block index"),
            &["is starting", "Loading block index"],
        ),
        (Fault::Downloading, &["initial download", "Let it finish"]),
        (Fault::Error(-9, "not connected"), &["has no peers", "connect it"]),
        (Fault::Error(-1, "no idea"), &["no idea"]),
    ];
    for (fault, parts) in troubles {
        let node = RpcNode::start(fault).await;
        let waiting = Waiting::on(&node.spec(), MINE_TO).await;
        waiting.says(&[parts, &[&*node.address]].concat()).await;
        node.has(Fault::None);
        let (house, miner) = waiting.goes_on().await;
        drop(miner);
        house.close().await;
    }
}

/// The real network's node, which has headers whose blocks it has not.
#[tokio::test]
async fn a_download_is_waited_for() {
    let node = RpcNode::start(Fault::Behind).await;
    let waiting = Waiting::on(&node.spec(), MAIN_ADDRESS).await;
    waiting.says(&["catching up with main"]).await;
    node.has(Fault::Chain("main"));
    let (house, _miner) = waiting.goes_on().await;
    house.close().await;
}

/// The payout address says that it is the real network, and the node that it is not.
#[tokio::test]
async fn an_address_of_another_network_is_named() {
    let node = RpcNode::start(Fault::None).await;
    let waiting = Waiting::on(&node.spec(), MAIN_ADDRESS).await;
    waiting.says(&["\"regtest\"", "\"main\"", "payout.address"]).await;
    node.has(Fault::Chain("main"));
    let (house, _miner) = waiting.goes_on().await;
    house.close().await;
    // Where the network is known before the node is asked, the pool does not start with it.
    let told = Settings::with(&[
        ("node", &node.spec()),
        ("network", "regtest"),
        ("payout.address", MAIN_ADDRESS),
    ]);
    let refused = told.unwrap_err().to_string();
    for part in ["payout.address", MAIN_ADDRESS, "regtest", "bcrt1"] {
        assert!(refused.contains(part), "{refused}");
    }
}

/// A password that the node does not take: at the start, and when the node has got another one while everybody mines.
#[tokio::test]
async fn a_wrong_password_is_named_and_costs_nobody_the_connection() {
    let node = RpcNode::start(Fault::None).await;
    let spec = node.spec();
    let login = |login: &str| node.state.lock().unwrap().login = login.into();
    let right = node.state.lock().unwrap().login.clone();
    let parts = [
        "user \"u\"",
        "rpcuser and rpcpassword, or rpcauth",
        "bitcoin.conf",
    ];
    login("u:another");
    let waiting = Waiting::on(&spec, MINE_TO).await;
    waiting.says(&parts).await;
    login(&right);
    let (house, mut miner) = waiting.goes_on().await;

    login("u:another");
    let down = |now: &Status| now.node.state == NodeState::Down && now.node.reason.contains(parts[1]);
    house.picture("a password that is wrong now", down).await;
    // The last template is still good.
    miner.mine(100..120).await;
    login(&right);
    let up = |now: &Status| now.node.state == NodeState::Up;
    house.picture("a node that is up again", up).await;
    // A share of before may have been a block, which is the tip now: the next job is good.
    let goal = miner.acknowledged.len() + 20;
    let mut nonces = 200u32..;
    while miner.acknowledged.len() < goal {
        miner.submit(nonces.next()).await;
        miner.settle().await;
    }
    let late = |(_, code): &(u32, String)| code == "stale-share";
    assert!(miner.refused.iter().all(late), "{:?}", miner.refused);
    drop(miner);
    let last = house.close().await;
    assert_eq!(last.connections.accepted, 1);
}

/// A cookie that is not there, and one of another node.
#[tokio::test]
async fn a_cookie_that_is_missing_or_wrong_is_named() {
    let node = RpcNode::start(Fault::None).await;
    let path = node.cookie.to_str().unwrap();
    let waiting = Waiting::on(&format!("rpc:{}?cookie={path}", node.address), MINE_TO).await;
    waiting
        .says(&["cannot read the node's cookie", path, "user and password"])
        .await;
    std::fs::write(&node.cookie, "__cookie__:of another node").unwrap();
    waiting
        .says(&["does not accept the cookie", path, "the cookie of this node?"])
        .await;
    let right = node.state.lock().unwrap().login.clone();
    std::fs::write(&node.cookie, right).unwrap();
    let (house, _miner) = waiting.goes_on().await;
    house.close().await;
}

/// Nobody listens at the node's address; then somebody does.
#[tokio::test]
async fn a_node_that_is_not_there_is_waited_for() {
    // An address of its own, so that nobody takes the port meanwhile.
    let free = std::net::TcpListener::bind("127.0.7.11:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let spec = format!("rpc:u:p@ss%@{address}");
    let waiting = Waiting::on(&spec, MINE_TO).await;
    waiting.says(&["no node answers at", &address, "server=1"]).await;
    let node = RpcNode::start_at(&address).await;
    let (house, _miner) = waiting.goes_on().await;
    assert!(node.calls("getblocktemplate") > 0);
    house.close().await;
}

/// The socket of a real node: not there, dead, and alive.
#[tokio::test]
async fn a_socket_that_is_missing_or_dead_is_named() {
    let Some(mut core) = BitcoinNode::start() else {
        return;
    };
    let socket = core.socket();
    let path = socket.to_str().unwrap().to_owned();
    core.stop();
    // A node that stopped in order may have taken its socket with it.
    let _ = std::fs::remove_file(&socket);
    let waiting = Waiting::on(&format!("ipc:{path}"), MINE_TO).await;
    waiting.says(&["no socket at", &path, "-ipcbind=unix"]).await;
    drop(UnixListener::bind(&socket).unwrap());
    waiting.says(&["nobody listens", &path, "start it"]).await;
    let _ = std::fs::remove_file(&socket);
    core.launch();
    waiting.is_up().await;
    let (house, _miner) = waiting.goes_on().await;
    house.close().await;
}
