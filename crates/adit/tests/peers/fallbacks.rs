//! Pools that stop answering, die, refuse, and come back, above our negotiator: all of them processes, and the device below
//! stays connected.

use adit_testkit::BitcoinNode;
use serde_json::Value;

use crate::negotiator::Negotiator;
use crate::pool::{self, Pool, device};
use crate::program::{Program, wait};
use crate::templates::node;

/// Expected hashes of a share on our pools, as below the negotiator.
const SHARE_WORK: u64 = 300_000;

fn pool_on(node: &BitcoinNode, more: &[&str]) -> Pool {
    Pool::start_with(&format!("ipc:{}", node.socket().display()), SHARE_WORK, more)
}

/// What the negotiator's page says.
struct Page {
    http: String,
}

impl Page {
    fn of(negotiator: &Negotiator) -> Self {
        let http = wait("the page of the negotiator", &[&negotiator.program], || {
            let said = negotiator.program.output();
            let place = said
                .split_whitespace()
                .find_map(|word| word.strip_prefix("http://"));
            place.map(|place| place.trim_end_matches('/').to_owned())
        });
        Self { http }
    }

    fn text(&self, pointer: &str) -> Option<Value> {
        pool::status(&self.http)?.pointer(pointer).cloned()
    }

    /// Waits until it works for the pool at this place of the list; `None`: for nobody.
    fn works_for(&self, place: Option<u64>, programs: &[&Program]) {
        let wanted = place.map_or(Value::Null, Value::from);
        wait(&format!("upstream {place:?}"), programs, || {
            (self.text("/uplink/place")? == wanted).then_some(())
        });
    }

    /// Waits until the device has found more shares than now.
    fn goes_on(&self, programs: &[&Program]) {
        let count = || self.text("/shares/accepted")?.as_u64();
        let before = wait("a count of shares", programs, count);
        wait("more shares of the device", programs, || {
            (count()? >= before + 3).then_some(())
        });
    }
}

/// REQ-JD-038: the first pool of the list takes no jobs and refuses; the second is stopped where it is, so that connections to
/// it stand and nothing is ever answered; the third is killed; then nobody is left, and the negotiator mines alone; the third
/// comes back and is used again. The device below has one connection for all of this, and
/// its shares go on.
#[test]
fn a_device_stays_connected_while_pools_hang_die_and_refuse() {
    let Some((node, _)) = node() else { return };
    let (refuses, hangs) = (pool_on(&node, &["negotiation.mode=off"]), pool_on(&node, &[]));
    let mut dies = pool_on(&node, &[]);
    let upstreams = [refuses.url(), hangs.url(), dies.url()];
    let negotiator = Negotiator::start(hangs.folder(), &node, &upstreams, &[]);
    let page = Page::of(&negotiator);
    let miner = device(hangs.folder(), &negotiator.url.to_string(), "us", "extended", &[]);
    let programs = [&negotiator.program, &miner];
    page.works_for(Some(1), &programs);
    hangs.reaches("/negotiation/custom_accepted", 1, &programs);
    page.goes_on(&programs);

    hangs.program.pause();
    page.works_for(Some(2), &programs);
    dies.reaches("/negotiation/custom_accepted", 1, &programs);
    page.goes_on(&programs);

    dies.kill();
    page.works_for(None, &programs);
    // A node that is asked while blocks come may not answer every time.
    let alone = || {
        let tip = node.cli(&["getbestblockhash"]).ok()?;
        let block: Value = serde_json::from_str(&node.cli(&["getblock", &tip, "2"]).ok()?).ok()?;
        let paid = block.pointer("/tx/0/vout/0/scriptPubKey/hex")?.as_str()?;
        (paid == "51").then_some(())
    };
    wait("a block for ourselves", &programs, alone);
    page.goes_on(&programs);

    dies.start_again();
    page.works_for(Some(2), &programs);
    dies.reaches("/negotiation/custom_accepted", 1, &programs);
    page.goes_on(&programs);

    hangs.program.resume();
    let causes = page.text("/uplink/causes").expect("causes");
    assert!(causes.get("refused").is_some(), "{causes}");
    let accepted = page.text("/connections/accepted").and_then(|it| it.as_u64());
    assert_eq!(accepted, Some(1), "the device had to come again");
    drop(miner);
}
