//! What a mining client puts on the wire about extensions, byte for byte, against a server made of messages.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::time::Duration;

use adit::device::upstream::{Heard, Upstream};
use adit_proto::extension::Wishes;
use adit_proto::mining::client::{Event, Kind, Open, Settings, Share};
use adit_proto::{Fault, Time};
use adit_wire::common::{ChannelEndpointChanged, SetupConnectionSuccess};
use adit_wire::mining::{
    NewExtendedMiningJob, OpenExtendedMiningChannelSuccess, SetNewPrevHash, SubmitSharesExtended,
};
use adit_wire::negotiation::{RequestExtensionsError, RequestExtensionsSuccess};
use adit_wire::tlv::{WorkerName, user_identity};
use adit_wire::{B0_32, Header, Message, Seq0_64K, U256};

const NOW: Time = Time(1_800_000_000_000_000);
const PATIENCE: Duration = Duration::from_secs(1);

/// The client, and everything it said.
struct Client {
    upstream: Upstream,
    heard: Vec<Heard>,
}

impl Client {
    /// Set up; what it asks for then is the first frame it says.
    fn set_up(wanted: &[u16], worker: &str) -> (Self, Vec<(Header, Vec<u8>)>) {
        let wishes = Wishes {
            wanted: wanted.to_vec(),
            required: Vec::new(),
            able: vec![2],
            answer_timeout: PATIENCE,
        };
        let url = "stratum2+tcp://127.0.0.1:3333".parse().unwrap();
        let settings = Settings {
            version_mask: 0,
            ..Settings::default()
        };
        let upstream = Upstream::new(&url, 0, settings).with_extensions(
            wishes,
            (!worker.is_empty()).then(|| WorkerName::new(worker).unwrap()),
        );
        let mut client = Self {
            upstream,
            heard: Vec::new(),
        };
        let mut out = Vec::new();
        client.upstream.start(NOW, &mut out, &mut client.heard).unwrap();
        let said = client.hear(&SetupConnectionSuccess {
            used_version: 2,
            flags: 0,
        });
        (client, said)
    }

    fn hear(&mut self, message: &impl Message) -> Vec<(Header, Vec<u8>)> {
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        message.encode_frame(&mut frame);
        let header = Header::parse(*frame.first_chunk().unwrap());
        self.upstream
            .frame(NOW, &header, &frame[Header::LEN..], &mut out, &mut self.heard)
            .unwrap();
        frames(&out)
    }

    fn is_established(&self) -> bool {
        self.heard.iter().any(|it| matches!(it, Heard::Established))
    }

    /// Opens an extended channel and gives it work.
    fn open(&mut self) {
        let open = Open {
            kind: Kind::Extended {
                min_extranonce_size: 4,
            },
            user_identity: "farm".try_into().unwrap(),
            nominal_hash_rate: 1.0,
            max_target: U256::MAX,
        };
        self.upstream
            .open(NOW, open, &mut Vec::new(), &mut self.heard)
            .unwrap();
        self.hear(&OpenExtendedMiningChannelSuccess {
            request_id: 0,
            channel_id: 3,
            target: U256::MAX,
            extranonce_size: 4,
            extranonce_prefix: B0_32::new(&[1; 4]).unwrap(),
            group_channel_id: 9,
        });
        self.hear(&NewExtendedMiningJob {
            channel_id: 3,
            job_id: 1,
            min_ntime: None,
            version: 0x2000_0000,
            version_rolling_allowed: false,
            merkle_path: adit_wire::Seq0_255::empty(),
            coinbase_tx_prefix: vec![1; 60].try_into().unwrap(),
            coinbase_tx_suffix: vec![2; 60].try_into().unwrap(),
        });
        self.hear(&SetNewPrevHash {
            channel_id: 3,
            job_id: 1,
            prev_hash: U256([5; 32]),
            min_ntime: 1_800_000_000,
            nbits: 0x207f_ffff,
        });
        assert!(
            self.heard
                .iter()
                .any(|it| matches!(it, Heard::Event(Event::Opened { .. })))
        );
        assert!(self.heard.iter().any(|it| matches!(it, Heard::Work(_))));
    }

    /// The bytes behind the next share.
    fn share(&mut self, nonce: u32) -> Vec<u8> {
        let share = Share {
            channel: 3,
            job_id: 1,
            nonce,
            ntime: 1_800_000_000,
            version: 0x2000_0000,
            extranonce: B0_32::new(&[7; 4]).unwrap(),
        };
        let mut out = Vec::new();
        self.upstream.share(NOW, share, &mut out).unwrap();
        let said = frames(&out);
        let [(header, payload)] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert_eq!(
            (header.extension(), header.msg_type),
            (0, SubmitSharesExtended::TYPE)
        );
        let (read, rest) = SubmitSharesExtended::decode_with_rest(payload).unwrap();
        assert_eq!(read.nonce, nonce);
        rest.to_vec()
    }
}

fn frames(mut bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(header) = bytes.first_chunk() {
        let header = Header::parse(*header);
        let (frame, rest) = bytes.split_at(Header::LEN + header.msg_length as usize);
        frames.push((header, frame[Header::LEN..].to_vec()));
        bytes = rest;
    }
    frames
}

fn granted(request_id: u16, ids: &[u16]) -> RequestExtensionsSuccess {
    RequestExtensionsSuccess {
        request_id,
        supported_extensions: Seq0_64K::new(ids.to_vec()).unwrap(),
    }
}

/// REQ-EXT-022, REQ-EXT-023, REQ-EXT-034, REQ-EXT-035: it asks first and waits, and from then on every share names the worker,
/// in as many bytes as the name has.
#[test]
fn every_share_names_the_worker_once_that_is_agreed() {
    let (mut client, said) = Client::set_up(&[2], "rig1");
    let [(header, payload)] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(
        (header.extension(), header.msg_type, payload.as_slice()),
        (1, 0, &[1, 0, 1, 0, 2, 0][..])
    );
    assert!(!client.is_established(), "nothing else is sent before the answer");
    assert_eq!(client.upstream.deadline(), Some(NOW + PATIENCE));
    assert_eq!(client.hear(&granted(1, &[2])), []);
    assert!(client.is_established());
    client.open();
    for nonce in 0..3 {
        assert_eq!(client.share(nonce), b"\x02\x00\x01\x04\x00rig1");
    }
}

/// REQ-EXT-024, REQ-EXT-036, REQ-EXT-030: what was not agreed on is not used.
#[test]
fn no_share_names_a_worker_unless_that_is_agreed() {
    let (mut client, _) = Client::set_up(&[2], "rig1");
    client.hear(&RequestExtensionsError {
        request_id: 1,
        unsupported_extensions: Seq0_64K::new(vec![2]).unwrap(),
        required_extensions: Seq0_64K::empty(),
    });
    assert!(client.is_established());
    client.open();
    assert_eq!(client.share(1), b"");
    let (mut plain, said) = Client::set_up(&[], "");
    assert!(
        said.is_empty() && plain.is_established(),
        "who wants nothing asks for nothing"
    );
    plain.open();
    assert_eq!(plain.share(1), b"");
}

/// REQ-COM-032: after ChannelEndpointChanged it asks again, and names no worker before the answer.
#[test]
fn a_changed_endpoint_is_asked_again() {
    let (mut client, _) = Client::set_up(&[2], "rig1");
    client.hear(&granted(1, &[2]));
    client.open();
    let said = client.hear(&ChannelEndpointChanged { channel_id: 3 });
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (said[0].0.extension(), said[0].1.as_slice()),
        (1, &[2, 0, 1, 0, 2, 0][..])
    );
    assert_eq!(client.share(1), b"");
    client.hear(&granted(2, &[2]));
    assert_eq!(user_identity(&client.share(2), &[2]), Ok(Some("rig1")));
}

/// REQ-EXT-033: silence ends the connection, and the role is told what it was.
#[test]
fn silence_is_told_apart_from_other_ends() {
    let (mut client, _) = Client::set_up(&[2], "rig1");
    let (mut out, mut heard) = (Vec::new(), Vec::new());
    assert_eq!(client.upstream.expire(NOW, &mut out, &mut heard), Ok(()));
    assert!(!client.upstream.silent());
    let end = client.upstream.expire(NOW + PATIENCE, &mut out, &mut heard);
    assert!(matches!(end, Err(Fault::Expired(_))), "{end:?}");
    assert!(client.upstream.silent());
}
