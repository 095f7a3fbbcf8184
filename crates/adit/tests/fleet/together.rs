//! Front ends that share blocks out by the work of all: the same split everywhere, whatever is broken meanwhile.

use std::path::Path;

use adit::config::Payout;
use adit_testkit::NatsServer;
use serde_json::Value;
use tempfile::TempDir;

use super::processes::FrontEnd;
use super::support::miner::{How, Miner};
use super::support::process::run;
use super::transport::until;

fn scheme() -> String {
    let pool = Payout::throw_away(999).text;
    format!(
        "--set payout.scheme=pplns --set payout.refresh_ms=400 --set payout.address={pool} --set network=regtest"
    )
}

/// Name, weight and carry of everybody in the next coinbase.
fn split(home: &Path) -> Vec<(String, String, i64)> {
    let data = home.join("data");
    let line = format!("payout preview --json --data {} {}", data.display(), scheme());
    let output = run(home, &line);
    let preview: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = preview["lines"].as_array().into_iter().flatten();
    let mut lines: Vec<_> = lines
        .map(|line| {
            let carry = line["carry_sat"].as_i64().unwrap_or_default();
            (text(&line["name"]), text(&line["weight"]), carry)
        })
        .collect();
    lines.sort();
    lines
}

/// What it is when these have done that work and nobody is owed anything.
fn by_work(done: &[(&str, u32)]) -> Vec<(String, String, i64)> {
    let pool = Payout::throw_away(999).text;
    let mut lines: Vec<_> = done
        .iter()
        .map(|(name, work)| ((*name).to_owned(), work.to_string(), 0))
        .chain([(pool, "0".to_owned(), 0)])
        .collect();
    lines.sort();
    lines
}

/// What an order to pay prints in that data folder.
fn pay(home: &Path, data: &Path, line: &str) -> String {
    let output = run(home, &format!("{line} --data {} {}", data.display(), scheme()));
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// One that shares blocks out.
struct Sharer(FrontEnd);

impl Sharer {
    fn start(number: u16, nats: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), number, nats)
    }

    fn start_in(home: TempDir, number: u16, nats: &str) -> Self {
        Self(FrontEnd::start_in(home, number, nats, &scheme()))
    }

    async fn mine(&self, name: &str, nonces: std::ops::Range<u32>) {
        let mut miner = Miner::start(&self.0.url, How::Extended, name).await;
        miner.mine(nonces).await;
    }

    /// What that says of who can be paid, or why it does not.
    fn pay(&self, line: &str) -> String {
        let home = self.0.home.path();
        pay(home, &home.join("data"), line)
    }

    async fn pays(&self, what: &str, expected: &[(&str, u32)]) {
        until(what, || split(self.0.home.path()) == by_work(expected)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_front_end_pays_for_the_work_of_all() {
    let Some(mut nats) = NatsServer::start() else {
        return;
    };
    let url = nats.url();
    let [a, b, c] = [1, 2, 3].map(|n| Payout::throw_away(1_000 + n).text);
    let (first, second) = (Sharer::start(1, &url), Sharer::start(2, &url));
    first.mine(&a, 0..60).await;
    second.mine(&b, 0..40).await;
    second.mine(&format!("{a}.elsewhere"), 100..110).await;
    let all = [(&*a, 70), (&*b, 40)];
    first.pays("the first pays all", &all).await;
    second.pays("the second pays all", &all).await;

    // One that dies is paid for by the others, and knows all when it comes back.
    let FrontEnd { home, process, .. } = second.0;
    process.kill();
    first.mine(&a, 1_000..1_005).await;
    let all = [(&*a, 75), (&*b, 40)];
    first.pays("the first pays for one that is gone", &all).await;
    let second = Sharer::start_in(home, 2, &url);
    second.pays("the second knows all again", &all).await;

    // Without the transport everybody goes on with what was said last, and with its own work.
    nats.kill();
    let refused = first.pay("payout export");
    assert!(refused.contains("nothing is paid twice"), "{refused}");
    first.mine(&c, 0..7).await;
    let alone = [(&*a, 75), (&*b, 40), (&*c, 7)];
    first.pays("the first goes on alone", &alone).await;
    second.pays("the second goes on with what it has", &all).await;

    // All that the transport had is gone: it is said again. A third one joins.
    nats.wipe();
    nats.launch();
    second.pays("the second hears again", &alone).await;
    let third = Sharer::start(3, &url);
    third.pays("the third pays for all from the start", &alone).await;
    third.mine(&b, 0..9).await;
    let all = [(&*a, 75), (&*b, 49), (&*c, 7)];
    for front_end in [&first, &second, &third] {
        front_end.pays("all pay all", &all).await;
        // All have their turn, and have nobody to pay.
        assert_eq!(front_end.pay("payout export"), "address,sat\n");
        let nobody = front_end.pay("payout export --batch may");
        assert!(nobody.contains("nothing is booked"), "{nobody}");
    }
    let data = third.0.home.path().join("data");
    third.0.process.kill();
    let stopped = pay(
        third.0.home.path(),
        &data,
        &format!("payout export --set nats.url={url}"),
    );
    assert!(stopped.contains("start it"), "{stopped}");
}
