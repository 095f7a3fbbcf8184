//! A pool's machine with a list of its inputs, and a device that follows the spec on its own: it
//! rebuilds coinbases and headers from messages alone, and hashes with another library.
#![allow(dead_code, reason = "each scenario uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

use adit_proto::coinbase::Coinbase;
use adit_proto::extranonce::Space;
use adit_proto::job::{Fields, Job};
use adit_proto::mining::server::{Event, Input, Output, Server, Settings, Share};
use adit_proto::setup::Established;
use adit_proto::target::Target;
use adit_proto::{Fault, Time};
use adit_wire::mining::*;
use adit_wire::refusal;
use adit_wire::{B0_32, Header, Str0_255, U256};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Amount, ScriptBuf, TxOut};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A block takes 65,537 hashes.
pub(crate) const NBITS: u32 = 0x1f00_ffff;
/// A block takes 256 hashes.
pub(crate) const NBITS_EASY: u32 = 0x2000_ffff;
/// When everything starts.
pub(crate) const START: Time = Time(1_800_000_000_000_000);
/// Header time of jobs.
pub(crate) const NTIME: u32 = 1_799_999_900;

pub(crate) fn fields(tip: u64, template: u64) -> Fields {
    let output = |value, script: Vec<u8>| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(script),
    };
    Fields {
        tip,
        template,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        prev_hash: sha256d::Hash::hash(&tip.to_le_bytes()).to_byte_array(),
        nbits: NBITS,
        header_timestamp: NTIME,
        min_ntime: NTIME - 600,
        merkle_path: (0..3u8)
            .map(|n| sha256d::Hash::hash(&[n, template as u8]).to_byte_array())
            .collect(),
        coinbase: adit_proto::coinbase::Body::Own(Coinbase {
            version: 2,
            script_prefix: vec![3, 1, 2, 3],
            tag: b"adit".to_vec(),
            start_epoch: 1,
            sequence: 0xffff_fffe,
            value: 5_000_000_000 + template,
            outputs: vec![output(5_000_000_000 + template, vec![0x51; 22])],
            required_outputs: vec![output(0, vec![0x6a; 38])],
            locktime: 0,
            witness: Some([0; 32]),
        }),
        share_work_max: None,
        block_target: None,
        publish: true,
    }
}

pub(crate) fn job(tip: u64, template: u64) -> Arc<Job> {
    Arc::new(Job::new(fields(tip, template)).unwrap())
}

pub(crate) fn easy_job(tip: u64, template: u64) -> Arc<Job> {
    Arc::new(
        Job::new(Fields {
            nbits: NBITS_EASY,
            ..fields(tip, template)
        })
        .unwrap(),
    )
}

/// Fixed difficulty of four hashes a share.
pub(crate) fn settings() -> Settings {
    Settings {
        vardiff: false,
        work_min: 4,
        ..Settings::default()
    }
}

pub(crate) fn established(flags: u32, success_flags: u32) -> Established {
    Established {
        protocol: 0,
        version: 2,
        flags,
        success_flags,
        endpoint_host: Str0_255::default(),
        endpoint_port: 0,
        device: Default::default(),
    }
}

pub(crate) fn server(settings: Settings, flags: u32, success_flags: u32) -> Server {
    let slot = Space::new(0x0102, 0x03_0405..0x03_0406).lease(0).unwrap();
    Server::new(
        START,
        Arc::new(settings),
        &established(flags, success_flags),
        slot,
    )
}

/// The machine under test, its clock, and the device at the other end.
pub(crate) struct Pool {
    pub(crate) server: Server,
    pub(crate) now: Time,
    pub(crate) device: Device,
}

impl Pool {
    pub(crate) fn new(flags: u32) -> Self {
        Self::with(settings(), flags)
    }

    pub(crate) fn with(settings: Settings, flags: u32) -> Self {
        Self {
            server: server(settings, flags, 0),
            now: START,
            device: Device::default(),
        }
    }

    pub(crate) fn give(&mut self, input: Input) -> Vec<Output> {
        self.try_give(input).unwrap()
    }

    pub(crate) fn try_give(&mut self, input: Input) -> Result<Vec<Output>, Fault> {
        let mut out = Vec::new();
        self.server.handle(self.now, input, &mut out)?;
        self.device.hear(&out);
        Ok(out)
    }

    pub(crate) fn say(&mut self, message: impl Into<ToServer>) -> Vec<Output> {
        self.give(Input::Message(message.into()))
    }

    pub(crate) fn work(&mut self, job: &Arc<Job>) -> Vec<Output> {
        self.give(Input::Work(Arc::clone(job)))
    }

    /// Opens a channel and returns its id.
    pub(crate) fn standard(&mut self) -> u32 {
        id_of(&self.say(open_standard(1, 0.0, U256::MAX)))
    }

    pub(crate) fn extended(&mut self) -> u32 {
        id_of(&self.say(open_extended(1, 0.0, U256::MAX, 0)))
    }

    /// Lets the device solve a job and submits it; the answer is a share or an error code.
    pub(crate) fn submit(&mut self, channel: u32, job: u32) -> Result<Share, String> {
        let solved = self.device.solve(channel, job, 0);
        self.offer(solved)
    }

    pub(crate) fn offer(&mut self, share: ToServer) -> Result<Share, String> {
        let out = self.say(share);
        match (shares(&out).first(), errors(&out).first()) {
            (Some(share), None) => Ok(*share),
            (None, Some(code)) => Err(code.clone()),
            other => panic!("neither share nor refusal: {other:?}"),
        }
    }
}

pub(crate) fn open_standard(request_id: u32, rate: f32, max_target: U256) -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id,
        user_identity: text("a.b"),
        nominal_hash_rate: rate,
        max_target,
    }
}

pub(crate) fn open_extended(
    request_id: u32,
    rate: f32,
    max_target: U256,
    min: u16,
) -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id,
        user_identity: text("a.b"),
        nominal_hash_rate: rate,
        max_target,
        min_extranonce_size: min,
    }
}

pub(crate) fn text(text: &str) -> Str0_255 {
    Str0_255::new(text.as_bytes()).unwrap()
}

pub(crate) fn id_of(out: &[Output]) -> u32 {
    match &out[0] {
        Output::Send(ToClient::OpenStandardMiningChannelSuccess(success)) => success.channel_id,
        Output::Send(ToClient::OpenExtendedMiningChannelSuccess(success)) => success.channel_id,
        other => panic!("{other:?}"),
    }
}

/// Everything that would go over the wire, decoded again.
pub(crate) fn sent(out: &[Output]) -> Vec<ToClient> {
    out.iter()
        .filter_map(|output| {
            let mut frame = Vec::new();
            match output {
                Output::Send(message) => message.encode_frame(&mut frame),
                Output::Job(job) => job.encode(&mut frame),
                _ => return None,
            }
            let header = Header::parse(*frame.first_chunk().unwrap());
            assert_eq!(header.msg_length as usize, frame.len() - Header::LEN);
            Some(ToClient::decode(&header, &frame[Header::LEN..]).unwrap())
        })
        .collect()
}

/// The names of the messages sent.
pub(crate) fn names(out: &[Output]) -> Vec<&'static str> {
    sent(out).iter().map(|message| message.name()).collect()
}

pub(crate) fn shares(out: &[Output]) -> Vec<Share> {
    out.iter()
        .filter_map(|it| {
            if let Output::Share(share) = it {
                Some(*share)
            } else {
                None
            }
        })
        .collect()
}

pub(crate) fn events(out: &[Output]) -> Vec<Event> {
    out.iter()
        .filter_map(|it| {
            if let Output::Event(event) = it {
                Some(event.clone())
            } else {
                None
            }
        })
        .collect()
}

/// Codes of SubmitShares.Error.
pub(crate) fn errors(out: &[Output]) -> Vec<String> {
    sent(out)
        .into_iter()
        .filter_map(|message| match message {
            ToClient::SubmitSharesError(error) => {
                Some(String::from_utf8(error.error_code.as_bytes().to_vec()).unwrap())
            }
            _ => None,
        })
        .collect()
}

pub(crate) fn code(refusal: refusal::SubmitShares) -> Result<Share, String> {
    Err(refusal.code().to_owned())
}

/// What a device knows of one channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) extended: bool,
    pub(crate) group: u32,
    pub(crate) target: [u8; 32],
    pub(crate) prefix: Vec<u8>,
    pub(crate) rolled: usize,
    pub(crate) jobs: BTreeMap<u32, Known>,
    pub(crate) active: Option<u32>,
    pub(crate) prev_hash: Option<(U256, u32)>,
}

/// A job as a channel got it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) target: [u8; 32],
    pub(crate) prefix: Vec<u8>,
    pub(crate) min_ntime: Option<u32>,
    pub(crate) prev_hash: Option<(U256, u32)>,
    pub(crate) version: u32,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Root(U256),
    Parts(NewExtendedMiningJob),
}

/// A device at the other end, as the spec tells it to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    pub(crate) channels: BTreeMap<u32, View>,
    /// Whether the server said REQUIRES_FIXED_VERSION.
    pub(crate) fixed_version: bool,
    next_sequence: u32,
}

impl Device {
    pub(crate) fn hear(&mut self, out: &[Output]) {
        for message in sent(out) {
            match message {
                ToClient::OpenStandardMiningChannelSuccess(it) => {
                    let prefix = it.extranonce_prefix.as_bytes().to_vec();
                    let (group, target) = (it.group_channel_id, it.target.0);
                    self.channels.insert(
                        it.channel_id,
                        View {
                            group,
                            target,
                            prefix,
                            ..View::default()
                        },
                    );
                }
                ToClient::OpenExtendedMiningChannelSuccess(it) => {
                    let prefix = it.extranonce_prefix.as_bytes().to_vec();
                    let (group, target, rolled) =
                        (it.group_channel_id, it.target.0, it.extranonce_size as usize);
                    let view = View {
                        extended: true,
                        group,
                        target,
                        prefix,
                        rolled,
                        ..View::default()
                    };
                    self.channels.insert(it.channel_id, view);
                }
                ToClient::SetTarget(it) => self.each(it.channel_id, |view| {
                    view.target = it.maximum_target.0;
                    // Also for jobs that were not activated (spec 5.3.21).
                    let future = view.jobs.values_mut().filter(|job| job.prev_hash.is_none());
                    future.for_each(|job| job.target = it.maximum_target.0);
                }),
                ToClient::SetExtranoncePrefix(it) => self.each(it.channel_id, |view| {
                    view.prefix = it.extranonce_prefix.as_bytes().to_vec()
                }),
                ToClient::NewMiningJob(it) => {
                    assert!(
                        !self.channels[&it.channel_id].extended,
                        "NewMiningJob on an extended channel"
                    );
                    self.job(
                        it.channel_id,
                        it.job_id,
                        it.min_ntime,
                        it.version,
                        Body::Root(it.merkle_root),
                    );
                }
                ToClient::NewExtendedMiningJob(it) => {
                    assert_eq!(it.version_rolling_allowed, !self.fixed_version);
                    assert!(self.channels.get(&it.channel_id).is_none_or(|view| view.extended));
                    let (channel, job) = (it.channel_id, it.job_id);
                    self.job(channel, job, it.min_ntime, it.version, Body::Parts(it));
                }
                ToClient::SetNewPrevHash(it) => self.each(it.channel_id, |view| {
                    let known = Some((it.prev_hash, it.nbits));
                    let mut job = view
                        .jobs
                        .remove(&it.job_id)
                        .expect("SetNewPrevHash names a job sent before");
                    assert_eq!(job.min_ntime, None, "and it was a future job");
                    job.min_ntime = Some(it.min_ntime);
                    job.prev_hash = known;
                    view.jobs.insert(it.job_id, job);
                    view.prev_hash = known;
                    view.active = Some(it.job_id);
                }),
                ToClient::CloseChannel(it) => self
                    .channels
                    .retain(|id, view| *id != it.channel_id && view.group != it.channel_id),
                _ => {}
            }
        }
    }

    fn job(&mut self, channel: u32, id: u32, min_ntime: Option<u32>, version: u32, body: Body) {
        self.each(channel, |view| {
            let prev_hash = min_ntime.and(view.prev_hash);
            assert_eq!(
                min_ntime.is_some(),
                prev_hash.is_some(),
                "a job for now needs a tip"
            );
            let (target, prefix) = (view.target, view.prefix.clone());
            let known = Known {
                target,
                prefix,
                min_ntime,
                prev_hash,
                version,
                body: body.clone(),
            };
            let again = view.jobs.insert(id, known);
            assert!(again.is_none(), "job id {id} was used before on the channel");
            if min_ntime.is_some() {
                view.active = Some(id);
            }
        });
    }

    fn each(&mut self, id: u32, mut change: impl FnMut(&mut View)) {
        let named = |(channel, view): &(&u32, &mut View)| **channel == id || view.group == id;
        let mut reached = 0;
        for (_, view) in self.channels.iter_mut().filter(named) {
            change(view);
            reached += 1;
        }
        assert!(reached > 0, "a message for nobody: {id}");
    }

    pub(crate) fn active(&self, channel: u32) -> u32 {
        self.channels[&channel].active.expect("a job is active")
    }

    /// Hashes until a share meets the target that the job came with; `skip` good ones are passed over.
    pub(crate) fn solve(&mut self, channel: u32, job: u32, skip: usize) -> ToServer {
        let target = self.channels[&channel].jobs[&job].target;
        let mut left = skip;
        self.search(channel, job, 0, |hash| {
            let good = Target(target).is_met_by(hash);
            let done = good && left == 0;
            left -= usize::from(good && !done);
            done
        })
    }

    /// Hashes from `version_bits` on until `wanted` says yes.
    pub(crate) fn search(
        &mut self,
        channel: u32,
        job_id: u32,
        version_bits: u32,
        mut wanted: impl FnMut(&[u8; 32]) -> bool,
    ) -> ToServer {
        self.next_sequence += 1;
        let sequence_number = self.next_sequence;
        let view = &self.channels[&channel];
        let job = &view.jobs[&job_id];
        let mut rolled = vec![0; view.rolled];
        for (to, from) in rolled.iter_mut().rev().zip(sequence_number.to_le_bytes()) {
            *to = from;
        }
        let root = merkle_root(job, &rolled);
        let (prev_hash, nbits) = job.prev_hash.expect("a tip to build on");
        let ntime = job.min_ntime.expect("an active job");
        let version = job.version | version_bits;
        // Far apart, so that no two searches meet.
        let start = sequence_number.wrapping_mul(0x9e37_79b1);
        let nonce = (0..10_000_000)
            .map(|n| start.wrapping_add(n))
            .find(|nonce| wanted(&header_hash(version, &prev_hash, &root, ntime, nbits, *nonce)))
            .expect("enough tries");
        let channel_id = channel;
        if view.extended {
            let extranonce = B0_32::new(&rolled).unwrap();
            let share = SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            };
            share.into()
        } else {
            SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }
            .into()
        }
    }
}

/// Spec 5.3.16, word by word.
pub(crate) fn merkle_root(job: &Known, rolled: &[u8]) -> [u8; 32] {
    match &job.body {
        Body::Root(root) => root.0,
        Body::Parts(parts) => {
            // A standard channel's prefix is the whole extranonce.
            let coinbase = [
                parts.coinbase_tx_prefix.as_bytes(),
                &job.prefix,
                rolled,
                parts.coinbase_tx_suffix.as_bytes(),
            ]
            .concat();
            let mut root = sha256d::Hash::hash(&coinbase).to_byte_array();
            for branch in parts.merkle_path.iter() {
                root = sha256d::Hash::hash(&[root, branch.0].concat()).to_byte_array();
            }
            root
        }
    }
}

pub(crate) fn header_hash(
    version: u32,
    prev: &U256,
    root: &[u8; 32],
    ntime: u32,
    nbits: u32,
    nonce: u32,
) -> [u8; 32] {
    let mut header = Vec::with_capacity(80);
    header.extend_from_slice(&version.to_le_bytes());
    header.extend_from_slice(&prev.0);
    header.extend_from_slice(root);
    header.extend_from_slice(&ntime.to_le_bytes());
    header.extend_from_slice(&nbits.to_le_bytes());
    header.extend_from_slice(&nonce.to_le_bytes());
    sha256d::Hash::hash(&header).to_byte_array()
}
