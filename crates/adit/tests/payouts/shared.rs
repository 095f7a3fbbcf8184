//! Shared in the coinbase: the split follows from the work, to the satoshi, and fits the device.

use adit::payout::Preview;
use adit_wire::common::SetupConnection;
use adit_wire::message::Message;
use bitcoin::hex::FromHex;

use super::support::miner::{How, Miner};
use super::support::peer::{Heard, Peer, setup};
use super::support::{House, until};
use super::{address, coinbase, credits, find_block, outputs, pool_address, work};

fn changes<'a>(pool: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut changes = vec![
        ("payout.scheme", "pplns"),
        ("payout.address", pool),
        ("payout.fee_bp", "100"),
        ("payout.refresh_ms", "100"),
        ("embedded.transactions", "2"),
        ("node", "embedded:14"),
    ];
    changes.extend(more);
    changes
}

/// Waits until the coinbase that everybody mines has these weights, by name.
async fn weighs(house: &House, weights: &[(&str, u64)]) -> Preview {
    let mut found = None;
    until("the work is in the coinbase", || {
        let Some(preview) = house.pool.prover().preview() else {
            return false;
        };
        let weight = |name: &str| {
            let line = preview.lines.iter().find(|line| line.name == name);
            line.map_or("0", |line| line.weight.as_str()).to_owned()
        };
        let all = weights
            .iter()
            .all(|(name, work)| weight(name) == work.to_string());
        found = all.then_some(preview);
        all
    })
    .await;
    found.unwrap()
}

/// Listens until the job is the one that `preview` speaks of.
async fn catch_up(miner: &mut Miner, preview: &Preview) {
    let paid: Vec<u64> = preview
        .lines
        .iter()
        .map(|line| line.output_sat)
        .filter(|sat| *sat > 0)
        .collect();
    loop {
        let (_, job) = coinbase(miner);
        let outputs: Vec<u64> = outputs(&job).iter().map(|(_, sat)| *sat).collect();
        if outputs == paid {
            return;
        }
        miner.next_job().await;
    }
}

/// Three miners with work of 1, 2 and 5 parts, one of them under two names: the block pays exactly that; and what it paid
/// is in the ledger. Work done on the next block counts for the next one.
#[tokio::test]
async fn a_block_pays_everybody_by_work() {
    let pool = pool_address();
    let house = House::open(&changes(&pool.text, &[])).await;
    let url = house.pool.url().clone();
    let (a, b, c) = (address(1), address(2), address(3));
    let mut miners = Vec::new();
    for (name, shares) in [
        (a.text.clone(), 100),
        (format!("{}.one", b.text), 120),
        (format!("{}.two", b.text), 80),
        (c.text.clone(), 500),
    ] {
        let mut miner = Miner::start(&url, How::Extended, &name).await;
        work(&mut miner, shares).await;
        miners.push(miner);
    }
    let preview = weighs(&house, &[(&a.text, 100), (&b.text, 200), (&c.text, 500)]).await;
    let mut finder = miners.remove(0);
    catch_up(&mut finder, &preview).await;
    let block = find_block(&house, &mut finder).await;
    let value: u64 = block.outputs().iter().map(|(_, sat)| sat).sum();
    let rest = value - value / 100;
    let part = |work: u64| rest * work / 800;
    let script = |payout: &adit::config::Payout| payout.script.to_bytes();
    let expected = vec![
        (script(&c), part(500)),
        (script(&b), part(200)),
        (script(&a), part(100)),
        (script(&pool), value - part(500) - part(200) - part(100)),
    ];
    assert_eq!(block.outputs(), expected);
    let booked: Vec<(String, u64)> = credits(house.data.path(), &block, expected.len())
        .await
        .into_iter()
        .map(|(name, sat, _)| (name, sat))
        .collect();
    let names = [&c.text, &b.text, &a.text, &pool.text];
    let expected: Vec<(String, u64)> = names
        .iter()
        .zip(&expected)
        .map(|(name, (_, sat))| ((*name).clone(), *sat))
        .collect();
    assert_eq!(booked, expected);
    // The finder's share counts like any other from now on; nothing is left unpaid.
    let next = weighs(&house, &[(&a.text, 101), (&b.text, 200), (&c.text, 500)]).await;
    assert!(next.lines.iter().all(|line| line.carry_sat == 0));
    drop((miners, finder));
    house.close().await;
}

/// What is below the minimum waits with the pool, and is paid when it is enough: from the book alone.
#[tokio::test]
async fn what_is_too_little_waits_and_is_paid_later() {
    let pool = pool_address();
    // Four parts of a thousand of the first value are below the minimum, those of two blocks are above it.
    let house = House::open(&changes(
        &pool.text,
        &[("payout.fee_bp", "0"), ("payout.minimum_sat", "25000000")],
    ))
    .await;
    let url = house.pool.url().clone();
    let (large, small) = (address(1), address(2));
    let mut one = Miner::start(&url, How::Extended, &large.text).await;
    let mut other = Miner::start(&url, How::Extended, &small.text).await;
    work(&mut one, 996).await;
    work(&mut other, 4).await;
    let preview = weighs(&house, &[(&large.text, 996), (&small.text, 4)]).await;
    let line = preview.lines.iter().find(|line| line.name == small.text).unwrap();
    assert!(line.output_sat == 0 && line.earned_sat > 10_000_000, "{line:?}");
    let waits = line.earned_sat;
    catch_up(&mut one, &preview).await;
    let first = find_block(&house, &mut one).await;
    assert!(
        first
            .outputs()
            .iter()
            .all(|(script, _)| *script != small.script.to_bytes())
    );
    let mut preview = None;
    until("the carry is in the coinbase", || {
        preview = house.pool.prover().preview();
        let lines = preview.iter().flat_map(|preview| &preview.lines);
        lines
            .clone()
            .any(|line| line.name == small.text && line.carry_sat == waits as i64 && line.output_sat > waits)
    })
    .await;
    let preview = preview.unwrap();
    catch_up(&mut one, &preview).await;
    let second = find_block(&house, &mut one).await;
    let paid = second
        .outputs()
        .into_iter()
        .find(|(script, _)| *script == small.script.to_bytes());
    let line = preview.lines.iter().find(|line| line.name == small.text).unwrap();
    assert_eq!(paid.map(|(_, sat)| sat), Some(line.earned_sat + waits));
    drop((one, other));
    house.close().await;
}

/// A device that says it is a small one gets a short message with fewer outputs; the others wait for them.
#[tokio::test]
async fn a_small_device_gets_a_small_coinbase() {
    let pool = pool_address();
    let devices = [
        ("payout.small_devices", "tiny:2048"),
        ("payout.minimum_sat", "546"),
    ];
    let house = House::open(&changes(&pool.text, &devices)).await;
    let url = house.pool.url().clone();
    let mut miners = Vec::new();
    let payouts: Vec<_> = (0..40).map(address).collect();
    for payout in &payouts {
        let mut miner = Miner::start(&url, How::Extended, &payout.text).await;
        work(&mut miner, 10).await;
        miners.push(miner);
    }
    let weights: Vec<(&str, u64)> = payouts.iter().map(|payout| (payout.text.as_str(), 10)).collect();
    let preview = weighs(&house, &weights).await;
    let large = &mut miners[0];
    catch_up(large, &preview).await;
    assert_eq!(outputs(&coinbase(large).1).len(), 41, "everybody and the pool");
    let peer = join_as(&url, "Tiny/1").await;
    let mut small = Miner::open(peer, How::Extended, &payouts[0].text).await;
    let job = small.parts.clone().unwrap();
    let mut frame = Vec::new();
    job.encode_frame(&mut frame);
    let few = outputs(&coinbase(&small).1);
    assert!(frame.len() <= 2_048, "{}", frame.len());
    assert!((10..40).contains(&few.len()), "{}", few.len());
    let sum = |outputs: &[(Vec<u8>, u64)]| outputs.iter().map(|(_, sat)| sat).sum::<u64>();
    assert_eq!(sum(&few), preview.value_sat);
    // A block of it is as good as any, and who has no output in it is owed.
    let block = find_block(&house, &mut small).await;
    assert_eq!(block.outputs().len(), few.len());
    let left = house.pool.prover().clone();
    until("those without an output are owed", || {
        let preview = left.preview();
        let lines = preview.iter().flat_map(|preview| &preview.lines);
        lines.filter(|line| line.carry_sat > 0).count() == 40 + 1 - few.len()
    })
    .await;
    drop((miners, small));
    house.close().await;
}

/// A connection of a device by this name.
async fn join_as(url: &adit_net::Url, vendor: &str) -> Peer {
    let mut peer = Peer::greet(url).await;
    peer.say(&SetupConnection {
        vendor: vendor.try_into().unwrap(),
        ..setup(0)
    })
    .await;
    assert!(matches!(peer.hear().await, Heard::Common(_)));
    peer
}

/// Everybody can see what their channel mines, in one list with everybody else, without a word to the channel.
#[tokio::test]
async fn coinbases_are_proven_channel_by_channel() {
    let pool = pool_address();
    let house = House::open(&changes(
        &pool.text,
        &[("payout.other", "solo"), ("coinbase.tag", "adit")],
    ))
    .await;
    let url = house.pool.url().clone();
    let (a, b) = (address(1), address(2));
    let mut shared = Miner::start(&url, How::Extended, &format!("{}.rig", a.text)).await;
    let alone = Miner::start(&url, How::HeaderOnly, &format!("solo:{}", b.text)).await;
    let prover = house.pool.prover().clone();
    let channel = |user: &str| {
        let mut channels = prover.channels().into_iter();
        channels
            .find(|(_, name)| name == user)
            .map(|(channel, _)| channel)
    };
    let of_shared = channel(&format!("{}.rig", a.text)).unwrap();
    let before = prover.prove(&of_shared).unwrap();
    assert!(!before.pays_you && before.says.contains("mine on"), "{before:?}");
    work(&mut shared, 30).await;
    let preview = weighs(&house, &[(&a.text, 30)]).await;
    catch_up(&mut shared, &preview).await;
    let proof = prover.prove(&of_shared).unwrap();
    assert_eq!(
        (proof.plan, proof.kind, proof.pays_you),
        ("pooled", "extended", true)
    );
    assert_eq!(proof.address.as_deref(), Some(a.text.as_str()));
    let own = &proof.outputs[0];
    assert_eq!(
        (own.purpose, own.percent.as_str(), own.value_sat),
        ("you", "99.0000", proof.yours_sat)
    );
    assert_eq!(
        (proof.outputs[1].purpose, proof.outputs[2].purpose),
        ("pool", "commitment")
    );
    assert_eq!(proof.tag, "adit");
    // What it is told is what it mines, but for what it rolls itself.
    let (bytes, _) = coinbase(&shared);
    let mut told = Vec::<u8>::from_hex(&proof.coinbase).unwrap();
    let job = shared.parts.as_ref().unwrap();
    let rolled = job.coinbase_tx_prefix.as_bytes().len() + shared.prefix.len();
    told[rolled..rolled + shared.size].fill(0x5a);
    assert_eq!(told, bytes);
    let solo = prover
        .prove(&channel(&format!("solo:{}", b.text)).unwrap())
        .unwrap();
    assert_eq!(
        (solo.plan, solo.kind, solo.outputs[0].purpose),
        ("solo", "standard", "you")
    );
    assert!(solo.pays_you && solo.rolled_bytes == 0);
    // A closed channel is no longer there.
    drop(alone);
    let gone = format!("solo:{}", b.text);
    until("it has gone", || {
        prover.channels().iter().all(|(_, name)| *name != gone)
    })
    .await;
    drop(shared);
    house.close().await;
}
