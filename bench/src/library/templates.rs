//! One template made into the jobs of a thousand channels, before anything is sealed.

use std::hint::black_box;
use std::sync::Arc;

use adit_proto::Time;
use adit_proto::coinbase::{Body, Coinbase};
use adit_proto::extranonce::Space;
use adit_proto::job::{Fields, Job};
use adit_proto::mining::server::{Input, Output, Server, Settings};
use adit_proto::setup::Established;
use adit_wire::common::flags::REQUIRES_STANDARD_JOBS;
use adit_wire::mining::OpenStandardMiningChannel;
use adit_wire::{Str0_255, U256};
use bitcoin::{Amount, ScriptBuf, TxOut};
use stratum_core::channels_sv2::server::group::GroupChannel;
use stratum_core::channels_sv2::server::standard::StandardChannel;
use stratum_core::template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

use super::{Certain, shares};
use crate::measure::{Case, Goal, Work};

pub(super) const NTIME: u32 = 1_800_000_000;
const NOW: Time = Time(1_800_000_100_000_000);
const CHANNELS: u32 = 1_000;
const BRANCHES: usize = 12;

pub(super) fn cases() -> Vec<Case> {
    let job = job(1, BRANCHES);
    let mut blocks = shares::hashes(shares::coinbase_blocks(&job) + 1 + 3 * BRANCHES);
    vec![
        Case {
            what: "a template to 1,000 channels of a group, per channel".to_owned(),
            count: 1,
            items: CHANNELS,
            reference: Box::new(TheirGroup::new()),
            ours: Box::new(Ours::new(0)),
            floor: None,
            goal: Goal::Faster(100.0),
        },
        Case {
            what: "a template to 1,000 header-only channels, per channel".to_owned(),
            count: 1,
            items: CHANNELS,
            reference: Box::new(TheirHeaderOnly::new()),
            ours: Box::new(Ours::new(REQUIRES_STANDARD_JOBS)),
            floor: Some(("one coinbase and one fold", Box::new(move |_| blocks(CHANNELS)))),
            goal: Goal::Nanoseconds(2_000.0),
        },
    ]
}

struct Ours {
    server: Server,
    out: Vec<Output>,
    next: Option<Fields>,
    template: u64,
}

impl Ours {
    fn new(flags: u32) -> Self {
        let mut server = server(flags);
        let mut out = Vec::new();
        for _ in 0..CHANNELS {
            server
                .handle(NOW, Input::Message(open().into()), &mut out)
                .certain();
        }
        Self {
            server,
            out,
            next: None,
            template: 0,
        }
    }
}

impl Work for Ours {
    fn prepare(&mut self, _: u32) {
        self.template += 1;
        self.out.clear();
        let mut next = fields(1, BRANCHES);
        next.template = self.template;
        self.next = Some(next);
    }

    fn run(&mut self, _: u32) {
        let job = Job::new(self.next.take().certain()).certain();
        self.server
            .handle(NOW, Input::Work(Arc::new(job)), &mut self.out)
            .certain();
        assert!(!self.out.is_empty());
        black_box(&self.out);
    }
}

/// The reference's group: the job is made once, then taken over by every channel.
struct TheirGroup {
    group: GroupChannel,
    channels: Vec<StandardChannel>,
    next: Option<NewTemplateOwned>,
    template: u64,
}

impl TheirGroup {
    fn new() -> Self {
        let mut group = GroupChannel::new_for_pool(7, 15, true, "adit".to_owned()).certain();
        group
            .on_new_template(template(1, true, BRANCHES), outputs())
            .certain();
        group.on_set_new_prev_hash(tip(1)).certain();
        Self {
            group,
            channels: (0..CHANNELS).map(|_| shares::standard_channel()).collect(),
            next: None,
            template: 1,
        }
    }
}

impl Work for TheirGroup {
    fn prepare(&mut self, _: u32) {
        self.template += 1;
        self.next = Some(template(self.template, false, BRANCHES));
    }

    fn run(&mut self, _: u32) {
        self.group
            .on_new_template(self.next.take().certain(), outputs())
            .certain();
        let job = self.group.get_active_job().certain();
        black_box(job.get_job_message().clone());
        for channel in &mut self.channels {
            channel.on_group_channel_job(job.clone()).certain();
        }
    }
}

/// The reference's header-only channels: every one makes its own job and message.
struct TheirHeaderOnly {
    channels: Vec<StandardChannel>,
    next: Option<NewTemplateOwned>,
    template: u64,
}

impl TheirHeaderOnly {
    fn new() -> Self {
        Self {
            channels: (0..CHANNELS).map(|_| shares::standard_channel()).collect(),
            next: None,
            template: 1,
        }
    }
}

impl Work for TheirHeaderOnly {
    fn prepare(&mut self, _: u32) {
        self.template += 1;
        self.next = Some(template(self.template, false, BRANCHES));
    }

    fn run(&mut self, _: u32) {
        let (template, outputs) = (self.next.take().certain(), outputs());
        for channel in &mut self.channels {
            channel
                .on_new_template(template.clone(), outputs.clone())
                .certain();
            black_box(channel.get_active_job().certain().get_job_message().clone());
        }
    }
}

fn server(flags: u32) -> Server {
    let setup = Established {
        protocol: 0,
        version: 2,
        flags,
        success_flags: 0,
        endpoint_host: Str0_255::default(),
        endpoint_port: 0,
        device: Default::default(),
    };
    let settings = Settings {
        vardiff: false,
        channels_max: CHANNELS as _,
        ..Settings::default()
    };
    let slot = Space::new(1, 0..1).lease(0).certain();
    Server::new(NOW, Arc::new(settings), &setup, slot)
}

fn open() -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id: 1,
        user_identity: Str0_255::default(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
    }
}

/// What both put into the coinbase: two outputs of the pool and the witness commitment.
pub(super) fn outputs() -> Vec<TxOut> {
    let output = |value| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51; 22]),
    };
    vec![output(100), output(200)]
}

fn commitment() -> TxOut {
    TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(vec![0x6a; 38]),
    }
}

pub(super) fn job(tip: u64, branches: usize) -> Job {
    Job::new(fields(tip, branches)).certain()
}

fn fields(tip: u64, branches: usize) -> Fields {
    Fields {
        tip,
        template: tip,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        prev_hash: [tip as u8; 32],
        nbits: 0x1d00_ffff,
        header_timestamp: NTIME,
        min_ntime: NTIME,
        merkle_path: vec![[7; 32]; branches],
        coinbase: Body::Own(Coinbase {
            version: 2,
            script_prefix: vec![3, 1, 2, 3],
            tag: b"/adit/".to_vec(),
            start_epoch: 1,
            sequence: u32::MAX,
            value: 300,
            outputs: outputs(),
            required_outputs: vec![commitment()],
            locktime: 0,
            witness: Some([0; 32]),
        }),
        share_work_max: None,
        block_target: None,
        publish: true,
    }
}

/// The reference's view of the same template.
pub(super) fn template(id: u64, future: bool, branches: usize) -> NewTemplateOwned {
    NewTemplateOwned {
        template_id: id,
        future_template: future,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 1, 2, 3].try_into().certain(),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 300,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: bitcoin::consensus::serialize(&commitment()).try_into().certain(),
        coinbase_tx_locktime: 0,
        merkle_path: vec![[7u8; 32].into(); branches].try_into().certain(),
    }
}

/// The reference's view of the same tip.
pub(super) fn tip(template: u64) -> SetNewPrevHashOwned {
    SetNewPrevHashOwned {
        template_id: template,
        prev_hash: [1; 32].into(),
        header_timestamp: NTIME,
        n_bits: 0x1d00_ffff,
        target: [0; 32].into(),
    }
}
