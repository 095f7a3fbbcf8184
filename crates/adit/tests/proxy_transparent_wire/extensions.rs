//! Extensions through a proxy: names of workers, and messages that nobody here knows.

use adit_wire::common::{ChannelEndpointChanged, SetupConnectionSuccess};
use adit_wire::mining::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, SetExtranoncePrefix, SetTarget,
};
use adit_wire::negotiation::RequestExtensions;
use adit_wire::{B0_32, Header, Seq0_64K, U256};

use super::Between;
use super::support::House;
use super::support::miner::{How, Miner};
use super::support::peer::{Heard, Peer};
use super::support::records;
use super::wire::{PLAIN, Stage, Wire};

/// Opens an extended channel on both sides; gives the upstream's id of it.
async fn open(device: &mut Wire, above: &mut Wire, channel_id: u32) {
    device
        .say(&OpenExtendedMiningChannel {
            request_id: 9,
            user_identity: "a".try_into().unwrap(),
            nominal_hash_rate: 1.0,
            max_target: U256::MAX,
            min_extranonce_size: 4,
        })
        .await;
    grant(above, channel_id).await;
    let opened = device.expect::<OpenExtendedMiningChannelSuccess>().await;
    assert_eq!((opened.request_id, opened.channel_id), (9, 1));
}

async fn grant(above: &mut Wire, channel_id: u32) {
    let asked = above.expect::<OpenExtendedMiningChannel>().await;
    above
        .say(&OpenExtendedMiningChannelSuccess {
            request_id: asked.request_id,
            channel_id,
            target: U256::MAX,
            extranonce_size: 4,
            extranonce_prefix: B0_32::new(&channel_id.to_be_bytes()).unwrap(),
            group_channel_id: 1,
        })
        .await;
}

fn unknown(channel_id: u32, rest: &[u8]) -> (Header, Vec<u8>) {
    let payload = [&channel_id.to_le_bytes()[..], rest].concat();
    let header = Header::new(0x4a2b, true, 0xfe, u32::try_from(payload.len()).unwrap());
    (header, payload)
}

/// REQ-EXT-005, REQ-EXT-006, REQ-EXT-007, REQ-EXT-009, REQ-COM-031: byte for byte but for the channel id, both ways; dropped
/// where nobody has the channel; and when the upstream is another one, whoever has spoken with it hears so, and nobody else.
#[tokio::test]
async fn what_nobody_knows_goes_through_as_it_is() {
    let (first, second) = (Stage::open().await, Stage::open().await);
    let between = Between::with(&[&first.url(), &second.url()], &PLAIN).await;
    let mut speaker = Wire::device(between.proxy.url(), 0).await;
    let (mut above, _) = first.accept(0).await;
    speaker.expect::<SetupConnectionSuccess>().await;
    open(&mut speaker, &mut above, 501).await;
    let mut other = Wire::device(between.proxy.url(), 0).await;
    other.expect::<SetupConnectionSuccess>().await;
    open(&mut other, &mut above, 502).await;
    for rest in [&b""[..], b"\0\0\xff", &[7; 9_000]] {
        let (header, payload) = unknown(77, rest);
        speaker.say_any(&header, &payload).await;
        let (header, payload) = unknown(1, rest);
        speaker.say_any(&header, &payload).await;
        assert_eq!(above.hear().await, Some(unknown(501, rest)), "id 77 is nobody's");
        let (header, payload) = unknown(999, rest);
        above.say_any(&header, &payload).await;
        let (header, payload) = unknown(501, rest);
        above.say_any(&header, &payload).await;
        assert_eq!(speaker.hear().await, Some(unknown(1, rest)));
    }
    // Without the channel bit it is for us, and nobody is told.
    let silent = Header::new(0x4a2b, false, 0xfe, 2);
    speaker.say_any(&silent, &[1, 2]).await;
    // The first upstream dies.
    drop(first);
    drop(above);
    let (mut above, _) = second.accept(0).await;
    grant(&mut above, 601).await;
    grant(&mut above, 602).await;
    assert_eq!(speaker.expect::<ChannelEndpointChanged>().await.channel_id, 1);
    speaker.expect::<SetExtranoncePrefix>().await;
    speaker.expect::<SetTarget>().await;
    other.expect::<SetExtranoncePrefix>().await;
    other.expect::<SetTarget>().await;
    let (header, payload) = unknown(1, b"again");
    speaker.say_any(&header, &payload).await;
    let (_, heard) = above.hear().await.unwrap();
    assert_eq!(&heard[4..], b"again");
    between.close().await;
}

/// A device that has asked for extension 0x0002.
async fn named(between: &Between, worker: &str) -> Miner {
    let mut peer = Peer::join(between.proxy.url(), 0).await;
    peer.say(&RequestExtensions {
        request_id: 3,
        requested_extensions: Seq0_64K::new(vec![2]).unwrap(),
    })
    .await;
    assert!(matches!(peer.hear().await, Heard::Extension(_)));
    let mut miner = Miner::open(peer, How::Extended, "farm").await;
    let name = worker.as_bytes();
    let head = [2, 0, 1, u8::try_from(name.len()).unwrap(), 0];
    miner.trailer = [&head[..], name].concat();
    miner
}

/// The workers that the ledger of a pool knows of.
fn workers(house: &House) -> Vec<String> {
    let mut names: Vec<String> = records(house.data.path())
        .iter()
        .filter(|record| record["kind"] == "share")
        .map(|record| record["worker"].as_str().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// REQ-EXT-039: each side negotiates for itself. A name goes up where both have agreed; where only the device has, it is
/// stripped; where only the upstream has, an empty one is added.
#[tokio::test]
async fn names_of_workers_go_as_far_as_was_negotiated() {
    let house = House::open(&[]).await;
    let between = Between::with(&[house.pool.url()], &[("extensions.wanted", "0x0002")]).await;
    let mut miner = named(&between, "rack7.unit3").await;
    miner.mine([1, 2]).await;
    // A name that is too long is refused, and by us.
    miner.trailer = [&[2, 0, 1, 33, 0][..], &[b'x'; 33]].concat();
    miner.submit([3]).await;
    miner.settle().await;
    assert_eq!(miner.refused[0].1, "invalid-user-identity");
    let mut plain = between.miner(How::Extended, "farm").await;
    plain.mine([4]).await;
    between.close().await;
    assert_eq!(workers(&house).len(), 2, "one with a name, one without");
    assert!(
        workers(&house).iter().any(|name| name.contains("rack7.unit3")),
        "{:?}",
        workers(&house)
    );
    house.close().await;

    // An upstream that is not asked is not told.
    let house = House::open(&[]).await;
    let between = Between::open(&[house.pool.url()]).await;
    let mut miner = named(&between, "rack7.unit3").await;
    miner.mine([1]).await;
    between.close().await;
    assert_eq!(workers(&house), [""]);
    house.close().await;
}
