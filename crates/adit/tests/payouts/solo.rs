//! Solo: whoever finds a block is paid by it, on whatever connection.

use adit_wire::mining::{NewExtendedMiningJob, SubmitSharesExtended, ToClient};
use adit_wire::{B0_32, U256};
use bitcoin::Transaction;
use bitcoin::consensus::deserialize;
use std::collections::BTreeMap;

use super::support::miner::{How, Miner, ask};
use super::support::peer::{Heard, Peer};
use super::support::{House, records, until};
use super::{address, coinbase, credits, find_block, mined, outputs, pool_address};

fn changes(pool: &str) -> Vec<(&str, &str)> {
    vec![
        ("payout.scheme", "solo"),
        ("payout.fee_bp", "150"),
        ("payout.address", pool),
        ("embedded.transactions", "2"),
        ("node", "embedded:12"),
    ]
}

/// The miner's output first, what of it is the pool's fee second, to the satoshi.
fn expected(miner: &[u8], pool: &[u8], value: u64) -> Vec<(Vec<u8>, u64)> {
    let fee = value * 150 / 10_000;
    vec![(miner.to_vec(), value - fee), (pool.to_vec(), fee)]
}

/// Two miners on two connections, each with its own address: each one's blocks pay that one.
#[tokio::test]
async fn each_miner_is_paid_by_its_own_blocks() {
    let pool = pool_address();
    let house = House::open(&changes(&pool.text)).await;
    let url = house.pool.url().clone();
    for (n, suffix) in [(1, ".rig1"), (2, ""), (1, ".rig2")] {
        let payout = address(n);
        let name = format!("{}{suffix}", payout.text);
        let mut miner = Miner::start(&url, How::Extended, &name).await;
        let (_, job) = coinbase(&miner);
        let value = job.output.iter().map(|output| output.value.to_sat()).sum();
        let expected = expected(payout.script.as_bytes(), pool.script.as_bytes(), value);
        assert_eq!(outputs(&job), expected, "the miner sees what it mines");
        let block = find_block(&house, &mut miner).await;
        assert!(block.is_of(&name));
        assert_eq!(block.outputs(), expected, "the chain has what it saw");
        let lines = credits(house.data.path(), &block, 2).await;
        let (earned, fee) = (expected[0].1, expected[1].1);
        assert_eq!(
            lines,
            [
                (
                    payout.text.clone(),
                    earned,
                    format!("received {earned}, line 1 of 2")
                ),
                (pool.text.clone(), fee, format!("received {fee}, line 2 of 2")),
            ]
        );
    }
    let data = house.data.path().to_owned();
    let solo = records(&data)
        .into_iter()
        .filter(|it| it["kind"] == "share")
        .all(|it| it["note"] == "solo");
    assert!(solo, "their shares are no part of a window");
    house.close().await;
}

/// Two channels of one connection with two addresses: each gets jobs of its own, and a block pays the one that found it.
#[tokio::test]
async fn two_addresses_on_one_connection_are_kept_apart() {
    let pool = pool_address();
    let house = House::open(&changes(&pool.text)).await;
    let mut peer = Peer::join(house.pool.url(), 0).await;
    let payouts = [address(3), address(4)];
    let mut channels = Channels::default();
    for (request_id, payout) in (1..).zip(&payouts) {
        ask(&mut peer, How::Extended, &payout.text, request_id).await;
        channels
            .hear_until(&mut peer, |it| it.times.len() == request_id as usize)
            .await;
    }
    let ids: Vec<u32> = channels.prefixes.keys().copied().collect();
    assert_ne!(
        channels.groups[&ids[0]], channels.groups[&ids[1]],
        "a group has one coinbase"
    );
    for (id, payout) in ids.iter().zip(&payouts) {
        let job = channels.coinbase(*id);
        let value = job.output.iter().map(|output| output.value.to_sat()).sum();
        assert_eq!(
            outputs(&job),
            expected(payout.script.as_bytes(), pool.script.as_bytes(), value)
        );
    }
    // A block takes four thousand hashes.
    let data = house.data.path().to_owned();
    let mut sequence_number = 0;
    for (id, payout) in ids.iter().zip(&payouts) {
        while !mined(&data).iter().any(|block| block.is_of(&payout.text)) {
            channels.submit(&mut peer, *id, &mut sequence_number, 2_000).await;
        }
    }
    // Each block is in the ledger, and none pays the other one.
    until("blocks are settled", || {
        house.pool.status().borrow().blocks.pending == 0
    })
    .await;
    let blocks = mined(&data);
    assert!(blocks.len() >= 2);
    for block in blocks {
        let finder = payouts.iter().find(|payout| block.is_of(&payout.text)).unwrap();
        let value = block.outputs().iter().map(|(_, sat)| sat).sum();
        let expected = expected(finder.script.as_bytes(), pool.script.as_bytes(), value);
        assert_eq!(block.outputs(), expected);
    }
    drop(peer);
    house.close().await;
}

/// Extended channels of one connection, and what they mine.
#[derive(Default)]
struct Channels {
    prefixes: BTreeMap<u32, (Vec<u8>, usize)>,
    groups: BTreeMap<u32, u32>,
    jobs: BTreeMap<u32, NewExtendedMiningJob>,
    times: BTreeMap<u32, u32>,
    tip: U256,
    answered: u64,
    nonce: u32,
}

impl Channels {
    async fn hear_until(&mut self, peer: &mut Peer, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let Heard::Mining(message) = peer.hear().await else {
                panic!("the pool hung up");
            };
            self.hear(message);
        }
    }

    fn hear(&mut self, message: ToClient) {
        match message {
            ToClient::OpenExtendedMiningChannelSuccess(open) => {
                let size = usize::from(open.extranonce_size);
                let prefix = open.extranonce_prefix.as_bytes().to_vec();
                self.prefixes.insert(open.channel_id, (prefix, size));
                self.groups.insert(open.channel_id, open.group_channel_id);
            }
            ToClient::NewExtendedMiningJob(job) => {
                let known = self.prefixes.contains_key(&job.channel_id);
                assert!(known, "alone in its group, each is spoken to by its own id");
                if let Some(ntime) = job.min_ntime {
                    self.times.insert(job.channel_id, ntime);
                }
                self.jobs.insert(job.channel_id, job);
            }
            ToClient::SetNewPrevHash(tip) => {
                self.times.insert(tip.channel_id, tip.min_ntime);
                self.tip = tip.prev_hash;
            }
            ToClient::SubmitSharesSuccess(success) => {
                self.answered += u64::from(success.new_submits_accepted_count)
            }
            // A share may be late for the tip that another one made.
            ToClient::SubmitSharesError(_) => self.answered += 1,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn coinbase(&self, id: u32) -> Transaction {
        let (job, (prefix, size)) = (&self.jobs[&id], &self.prefixes[&id]);
        let (before, after) = (
            job.coinbase_tx_prefix.as_bytes(),
            job.coinbase_tx_suffix.as_bytes(),
        );
        deserialize(&[before, prefix, &vec![0; *size], after].concat()).unwrap()
    }

    /// So many shares of a channel's present job, answered.
    async fn submit(&mut self, peer: &mut Peer, id: u32, sequence_number: &mut u32, count: u32) {
        use adit_wire::message::Message;
        let mut frames = Vec::new();
        let expected = self.answered + u64::from(count);
        for _ in 0..count {
            *sequence_number += 1;
            self.nonce += 1;
            let job = &self.jobs[&id];
            let share = SubmitSharesExtended {
                channel_id: id,
                sequence_number: *sequence_number,
                job_id: job.job_id,
                nonce: self.nonce,
                ntime: self.times[&id],
                version: job.version,
                extranonce: B0_32::new(&vec![0x33; self.prefixes[&id].1]).unwrap(),
            };
            share.encode_frame(&mut frames);
        }
        peer.say_frames(&frames).await;
        self.hear_until(peer, |it| it.answered >= expected).await;
    }
}
