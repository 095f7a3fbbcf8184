//! A mining client under test and the messages of its server.
#![allow(dead_code, reason = "each scenario file uses a part of this")]

use std::time::Duration;

use adit_proto::mining::client::{Client, Event, Input, Kind, Open, Output, Settings, Share, Work};
use adit_proto::{Fault, Time};
use adit_wire::mining::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess,
    SetNewPrevHash, ToClient, ToServer,
};
use adit_wire::{B0_32, B0_64K, Seq0_255, Str0_255, U256};

/// When everything starts.
pub(crate) const START: Time = Time(1_700_000_000_000_000);
/// The smallest header time that the server below gives.
pub(crate) const NTIME: u32 = 1_700_000_000;

pub(crate) fn text(text: &str) -> Str0_255 {
    Str0_255::try_from(text).expect("short")
}

pub(crate) fn bytes(bytes: &[u8]) -> B0_32 {
    B0_32::new(bytes).expect("short")
}

pub(crate) fn settings() -> Settings {
    Settings {
        channels_max: 8,
        ..Settings::default()
    }
}

/// A client and its time.
pub(crate) struct Miner {
    pub(crate) client: Client,
    pub(crate) now: Time,
}

impl Miner {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            client: Client::new(settings),
            now: START,
        }
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    pub(crate) fn give(&mut self, input: Input) -> (Vec<Output>, Result<(), Fault>) {
        let mut out = Vec::new();
        let result = self.client.handle(self.now, input, &mut out);
        (out, result)
    }

    /// Gives what must be well.
    pub(crate) fn well(&mut self, input: Input) -> Vec<Output> {
        let (out, result) = self.give(input);
        assert_eq!(result, Ok(()));
        out
    }

    pub(crate) fn hear(&mut self, message: impl Into<ToClient>) -> Vec<Output> {
        self.well(Input::Message(message.into()))
    }

    pub(crate) fn fault(&mut self, message: impl Into<ToClient>) -> Fault {
        let (out, result) = self.give(Input::Message(message.into()));
        assert_eq!(out, []);
        result.expect_err("a fault")
    }

    /// All work among the outputs of a message.
    pub(crate) fn work(&mut self, message: impl Into<ToClient>) -> Vec<Work> {
        let outputs = self.hear(message);
        outputs
            .into_iter()
            .map(|output| match output {
                Output::Work(work) => work,
                other => panic!("work, not {other:?}"),
            })
            .collect()
    }

    pub(crate) fn ask(&mut self, kind: Kind) -> Vec<Output> {
        let (user_identity, max_target) = (text("user"), U256::MAX);
        self.well(Input::Open(Open {
            kind,
            user_identity,
            nominal_hash_rate: 1e6,
            max_target,
        }))
    }

    /// Opens a standard channel, its prefix 7 times its id.
    pub(crate) fn open_standard(&mut self, channel: u32, group: u32) {
        let request_id = request(&self.ask(Kind::Standard));
        self.hear(opened_standard(request_id, channel, group));
    }

    /// Opens an extended channel with 8 bytes to roll.
    pub(crate) fn open_extended(&mut self, channel: u32, group: u32) {
        let request_id = request(&self.ask(Kind::Extended {
            min_extranonce_size: 4,
        }));
        self.hear(opened_extended(request_id, channel, group, 8));
    }

    /// A standard channel 1 in group 100 that mines job 1.
    pub(crate) fn mining_standard(settings: Settings) -> Self {
        let mut miner = Self::new(settings);
        miner.open_standard(1, 100);
        miner.hear(job(1, 1, None));
        miner.hear(prev_hash(1, 1, 0xaa));
        miner
    }

    /// An extended channel 1 in group 100 that mines job 1.
    pub(crate) fn mining_extended(settings: Settings) -> Self {
        let mut miner = Self::new(settings);
        miner.open_extended(1, 100);
        miner.hear(extended_job(1, 1, None));
        miner.hear(prev_hash(1, 1, 0xaa));
        miner
    }
}

pub(crate) fn request(out: &[Output]) -> u32 {
    match out {
        [Output::Send(ToServer::OpenStandardMiningChannel(open))] => open.request_id,
        [Output::Send(ToServer::OpenExtendedMiningChannel(open))] => open.request_id,
        other => panic!("a request, not {other:?}"),
    }
}

pub(crate) fn target(work_bits: u8) -> U256 {
    let mut bytes = [0xff; 32];
    bytes[31] >>= work_bits;
    U256(bytes)
}

pub(crate) fn opened_standard(
    request_id: u32,
    channel_id: u32,
    group_channel_id: u32,
) -> OpenStandardMiningChannelSuccess {
    let extranonce_prefix = bytes(&[channel_id as u8; 15]);
    OpenStandardMiningChannelSuccess {
        request_id,
        channel_id,
        target: target(1),
        extranonce_prefix,
        group_channel_id,
    }
}

pub(crate) fn opened_extended(
    request_id: u32,
    channel_id: u32,
    group_channel_id: u32,
    extranonce_size: u16,
) -> OpenExtendedMiningChannelSuccess {
    let (target, extranonce_prefix) = (target(1), bytes(&[channel_id as u8; 7]));
    OpenExtendedMiningChannelSuccess {
        request_id,
        channel_id,
        target,
        extranonce_size,
        extranonce_prefix,
        group_channel_id,
    }
}

pub(crate) fn job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
    NewMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        merkle_root: U256([job_id as u8; 32]),
    }
}

pub(crate) fn extended_job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::new(vec![U256([5; 32])]).expect("short"),
        coinbase_tx_prefix: B0_64K::new(&[job_id as u8; 60]).expect("short"),
        coinbase_tx_suffix: B0_64K::new(&[2; 90]).expect("short"),
    }
}

pub(crate) fn prev_hash(channel_id: u32, job_id: u32, tip: u8) -> SetNewPrevHash {
    SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: U256([tip; 32]),
        min_ntime: NTIME,
        nbits: 0x207f_ffff,
    }
}

/// A share of job `job_id` on channel 1, as it would be found right at the start.
pub(crate) fn share(job_id: u32, extranonce: &[u8]) -> Share {
    Share {
        channel: 1,
        job_id,
        nonce: 9,
        ntime: NTIME,
        version: 0x2000_0000,
        extranonce: bytes(extranonce),
    }
}

pub(crate) fn event(out: Vec<Output>) -> Event {
    match <[Output; 1]>::try_from(out) {
        Ok([Output::Event(event)]) => event,
        other => panic!("one event, not {other:?}"),
    }
}
