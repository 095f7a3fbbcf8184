//! Work on the wire: first jobs, new tips, stale shares, reorganisations; all kinds of channel side by side.

use adit_wire::mining::{CloseChannel, ToClient};

use super::support::House;
use super::support::miner::{How, Miner, ask};
use super::support::peer::Peer;

const KINDS: [How; 3] = [How::HeaderOnly, How::Grouped, How::Extended];

async fn one_of_each(house: &House) -> Vec<Miner> {
    let mut miners = Vec::new();
    for how in KINDS {
        miners.push(Miner::start(house.pool.url(), how, &format!("{how:?}")).await);
    }
    miners
}

/// REQ-MIN-022, REQ-MIN-028, REQ-MIN-029, REQ-MIN-030, REQ-MIN-060, REQ-MIN-063, REQ-MIN-080: Success, a future job
/// and the tip that starts it, in this order; a new tip reaches everybody; everybody's shares are in the ledger.
#[tokio::test]
async fn every_kind_of_channel_mines_through_new_tips() {
    let house = House::open(&[]).await;
    let mut miners = one_of_each(&house).await;
    for round in 0..3 {
        for miner in &mut miners {
            miner.mine(round * 100..round * 100 + 20).await;
        }
        house.pool.node().reorganise(0).await.unwrap();
        for miner in &mut miners {
            miner.next_tip().await;
        }
        let tips: Vec<_> = miners
            .iter()
            .map(|miner| (miner.tip.prev_hash, miner.tip.nbits))
            .collect();
        assert!(tips.iter().all(|tip| *tip == tips[0]), "one chain for all");
    }
    let prefixes: std::collections::BTreeSet<_> = miners.iter().map(|miner| miner.prefix.clone()).collect();
    assert_eq!(
        prefixes.len(),
        miners.len(),
        "no two channels search the same space"
    );
    let last = house.close().await;
    assert_eq!((last.shares.accepted, last.shares.rejected), (180, 0));
}

/// REQ-MIN-064, REQ-MIN-066, REQ-MIN-067: a share of a job that a new tip has ended is stale, one of a job that never
/// was is unknown, one that was there before is a duplicate; none of them is in the ledger.
#[tokio::test]
async fn stale_unknown_and_repeated_shares_are_refused_by_name() {
    let house = House::open(&[]).await;
    for how in KINDS {
        let mut miner = Miner::start(house.pool.url(), how, "late").await;
        let old = miner.job_id;
        miner.mine([1]).await;
        miner.submit([1]).await;
        miner.submit_on(old + 1000, [2]).await;
        miner.settle().await;
        house.pool.node().reorganise(0).await.unwrap();
        miner.next_tip().await;
        miner.submit_on(old, [3]).await;
        miner.settle().await;
        let codes: Vec<&str> = miner.refused.iter().map(|(_, code)| code.as_str()).collect();
        assert_eq!(
            codes,
            ["duplicate-share", "invalid-job-id", "stale-share"],
            "{:?}",
            miner.how
        );
        miner.mine([4]).await;
    }
    let last = house.close().await;
    assert_eq!((last.shares.accepted, last.shares.rejected), (6, 9));
}

/// A chain that turns back is followed, and what was mined on the block it gave up is stale.
#[tokio::test]
async fn a_reorganisation_is_a_new_tip() {
    let house = House::open(&[]).await;
    let mut miners = one_of_each(&house).await;
    house.pool.node().reorganise(0).await.unwrap();
    for miner in &mut miners {
        miner.next_tip().await;
        miner.mine([1]).await;
    }
    let given_up = miners[0].tip.prev_hash;
    house.pool.node().reorganise(1).await.unwrap();
    for miner in &mut miners {
        let old = miner.job_id;
        miner.next_tip().await;
        assert_ne!(miner.tip.prev_hash, given_up);
        miner.submit_on(old, [2]).await;
        miner.settle().await;
        assert_eq!(miner.refused, [(2, "stale-share".to_owned())]);
        miner.mine([3]).await;
    }
    house.close().await;
}

/// REQ-MIN-037, REQ-MIN-042, REQ-MIN-073, REQ-MIN-081: channels of both kinds on one connection share a group, whose
/// job is sent once; closing the group closes them all, and the connection may open others.
#[tokio::test]
async fn a_group_gets_one_job_for_all_its_channels() {
    let house = House::open(&[]).await;
    let mut peer = Peer::join(house.pool.url(), 0).await;
    let (mut channels, mut groups) = (Vec::new(), Vec::new());
    for (request_id, how) in (1..).zip([How::Grouped, How::Extended, How::Grouped]) {
        ask(&mut peer, how, "group", request_id).await;
        let (id, group) = match peer.hear_mining().await {
            ToClient::OpenStandardMiningChannelSuccess(open) => (open.channel_id, open.group_channel_id),
            ToClient::OpenExtendedMiningChannelSuccess(open) => (open.channel_id, open.group_channel_id),
            other => panic!("{other:?}"),
        };
        let first = peer.hear_mining().await;
        assert!(
            matches!(
                first,
                ToClient::NewMiningJob(_) | ToClient::NewExtendedMiningJob(_)
            ),
            "{first:?}"
        );
        assert!(matches!(peer.hear_mining().await, ToClient::SetNewPrevHash(_)));
        channels.push(id);
        groups.push(group);
    }
    channels.sort_unstable();
    channels.dedup();
    assert_eq!(channels.len(), 3);
    groups.sort_unstable();
    groups.dedup();

    house.pool.node().reorganise(0).await.unwrap();
    let mut reached = Vec::new();
    for _ in &groups {
        let ToClient::NewExtendedMiningJob(job) = peer.hear_mining().await else {
            panic!("a group's job")
        };
        let ToClient::SetNewPrevHash(tip) = peer.hear_mining().await else {
            panic!("its tip")
        };
        assert_eq!(
            (job.min_ntime, job.job_id, job.channel_id),
            (None, tip.job_id, tip.channel_id)
        );
        reached.push(job.channel_id);
    }
    reached.sort_unstable();
    if groups.len() == 1 {
        assert_eq!(reached, groups);
    }

    for group in groups {
        peer.say(&CloseChannel {
            channel_id: group,
            reason_code: "done".try_into().unwrap(),
        })
        .await;
    }
    house
        .picture("all channels closed", |now| {
            now.channels.standard + now.channels.extended == 0
        })
        .await;
    // The next thing that is heard is about the new channel only.
    let miner = Miner::open(peer, How::Extended, "again").await;
    assert!(!channels.contains(&miner.channel_id));
    house.close().await;
}

/// New work that comes while somebody is not set up yet is what his channels begin with.
#[tokio::test]
async fn work_that_comes_before_the_setup_is_not_lost() {
    let house = House::open(&[]).await;
    // As many as there are workers, so that each has one that tells us when it has told its own.
    let mut others = one_of_each(&house).await;
    let mut early = Vec::new();
    for _ in 0..4 {
        early.push(Peer::greet(house.pool.url()).await);
    }
    house
        .picture("all are seated", |now| now.connections.open == 7)
        .await;
    house.pool.node().reorganise(0).await.unwrap();
    for miner in &mut others {
        miner.next_tip().await;
    }
    for mut peer in early {
        peer.set_up(0).await;
        let mut miner = Miner::open(peer, How::Extended, "early").await;
        assert_eq!(miner.tip.prev_hash, others[0].tip.prev_hash);
        miner.mine([1]).await;
    }
    house.close().await;
}
