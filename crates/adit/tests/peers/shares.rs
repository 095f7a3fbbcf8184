//! Their devices on our pool: accepted, acknowledged, and in the ledger.

use adit_testkit::peers;

use crate::pool::Pool;
use crate::program::wait;
use crate::reference::{self, Translator, says};
use crate::{SHARE_WORK, stratum_v1};

/// An embedded chain on which nobody finds a block.
const NO_BLOCKS: &str = "embedded:60";
/// Hashes a second that the proxy claims for each of its devices.
const STRATUM_V1_RATE: u64 = 300_000;
/// Shares of each Stratum V1 device.
const STRATUM_V1_SHARES: u64 = 6;

/// REQ-MIN-004, REQ-MIN-050: a standard channel of a device that somebody else wrote.
#[test]
fn their_device_mines_on_our_pool() {
    if peers::need(["mining_device"]).is_none() {
        return;
    }
    let pool = Pool::start(NO_BLOCKS, SHARE_WORK);
    let mut device = reference::mining_device(&pool, "them.w1");
    pool.reaches("/shares/accepted", 10, &[&device]);
    says(&device, "Received SubmitSharesSuccess");
    assert!(
        !device.output().contains("SubmitSharesError"),
        "{}",
        device.said()
    );
    device.kill();

    let channels = |count: u64| pool.count("/channels/standard").filter(|&open| open == count);
    wait("the end of the channel", &[&pool.program], || channels(0));
    let accepted = pool.count("/shares/accepted").expect("a count");
    assert_eq!(pool.count("/shares/rejected"), Some(0), "{}", pool.program.said());
    assert_eq!(pool.shares(), accepted);
    assert_eq!(pool.top(), [("them.w1".to_owned(), accepted, 0)]);
    // All shares of the channel took the same work: what its claim called for.
    let work = pool.verify()["work"]
        .as_str()
        .and_then(|work| work.parse::<u64>().ok());
    let work = work.expect("a number");
    assert!(
        work.is_multiple_of(accepted) && work / accepted >= SHARE_WORK,
        "{work} for {accepted} shares"
    );
}

/// Two Stratum V1 devices below their proxy share one extended channel.
#[test]
fn their_proxy_mines_on_our_pool_with_one_channel() {
    stratum_v1_devices_mine(true);
}

/// Two Stratum V1 devices below their proxy have an extended channel each.
#[test]
fn their_proxy_mines_on_our_pool_with_a_channel_each() {
    stratum_v1_devices_mine(false);
}

fn stratum_v1_devices_mine(aggregate: bool) {
    if peers::need(["translator_sv2"]).is_none() {
        return;
    }
    // Easier than what the proxy asks of its devices, so that it forwards all shares.
    let pool = Pool::start(NO_BLOCKS, STRATUM_V1_RATE / 8);
    let proxy = Translator::start(&pool, aggregate, STRATUM_V1_RATE);
    let tallies = std::thread::scope(|scope| {
        let device = |user| {
            let address = &proxy.address;
            scope.spawn(move || stratum_v1::mine(address, user, STRATUM_V1_SHARES))
        };
        let both = [device("v1.left"), device("v1.right")];
        both.map(|device| {
            device
                .join()
                .unwrap_or_else(|_| panic!("a device failed{}", proxy.program.said()))
        })
    });
    for tally in &tallies {
        assert!(tally.refused.is_empty(), "{tally:?}{}", proxy.program.said());
    }
    let accepted = pool.reaches("/shares/accepted", 2 * STRATUM_V1_SHARES, &[&proxy.program]);
    assert_eq!(
        pool.count("/shares/rejected"),
        Some(0),
        "{}{}",
        pool.program.said(),
        proxy.program.said()
    );
    assert!(pool.shares() >= accepted);
    let names = pool.top();
    assert_eq!(names.len(), if aggregate { 1 } else { 2 }, "{names:?}");
    for (name, shares, _) in names {
        assert!(name.starts_with("farm") && shares > 0, "{name}: {shares}");
    }
}
