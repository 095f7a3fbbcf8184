//! The negotiator's work for one upstream, as lists of inputs: optimistic mining, one custom job a template, and every
//! cause for which a pool is left, with the races that are none.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

use std::sync::Arc;
use std::time::Duration;

use adit::negotiator::negotiation::{
    Input, Keep, Mined, Negotiation, Output, PENDING_MAX, SHARES_REFUSED_MAX, Settings, UpShare,
};
use adit::uplink::Cause;
use adit::uplink::mining::Channel;
use adit_node::{Constraints, Template, TemplateId};
use adit_proto::Time;
use adit_proto::coinbase::Body;
use adit_proto::declare::client::{Declaration, Mode};
use adit_proto::extranonce::Extranonce;
use adit_proto::extranonce::Layout;
use adit_proto::job::{Fields, Job};
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::{B0_32, B0_255, U256};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Transaction, TxOut};

const NOW: Time = Time(1_800_000_000_000_000);
const TARGET: U256 = U256([0x7f; 32]);

struct World {
    negotiation: Negotiation,
    mode: Mode,
    now: Time,
    out: Vec<Output>,
    transactions: Arc<Vec<Vec<u8>>>,
    /// What the miners work on.
    job: Option<Arc<Job>>,
    next_share: u32,
}

impl World {
    fn new(mode: Mode) -> Self {
        let settings = Settings {
            mode,
            branch_bytes: 8,
            keep: None,
        };
        let channel = Channel {
            worker_names: false,
            id: 7,
            target: TARGET,
            prefix: B0_32::new(&[9; 4]).unwrap(),
            size: 16,
            version_mask: 0x1fff_e000,
        };
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        Self {
            negotiation: Negotiation::new(
                settings,
                channel,
                vec![output(0, &[0x51]), output(0, &[0x6a, 1, 5])],
            ),
            mode,
            now: NOW,
            out: Vec::new(),
            transactions: Arc::new(vec![serialize(&genesis.txdata[0])]),
            job: None,
            next_share: 0,
        }
    }

    fn tell(&mut self, input: Input) {
        self.negotiation.handle(self.now, input, &mut self.out);
        for output in &self.out {
            if let Output::Publish { fields, .. } = output {
                let fields = Fields {
                    tip: 1,
                    ..Fields::clone(fields)
                };
                self.job = Some(Arc::new(Job::new(fields).unwrap()));
            }
        }
    }

    fn template(&mut self, id: u64, tip: u8) {
        self.tell(Input::Transactions(
            TemplateId(id),
            Arc::clone(&self.transactions),
        ));
        self.tell(Input::Template(Arc::new(template(id, tip))));
    }

    /// The job for which a token was asked last, and gives it one.
    fn give_token(&mut self) -> u32 {
        let job = self.last(|output| match output {
            Output::Reserve(job) => Some(*job),
            _ => None,
        });
        let token = B0_255::new(&[1]).unwrap();
        self.tell(Input::Token { job, token });
        job
    }

    /// Goes as far as SetCustomMiningJob.
    fn set(&mut self) -> u32 {
        let job = self.give_token();
        if self.mode == Mode::FullTemplate {
            let token = B0_255::new(&[2]).unwrap();
            self.tell(Input::Declared { job, token });
        }
        job
    }

    /// Goes as far as a job that is paid for, under this number of the pool's.
    fn take(&mut self, job_id: u32) -> u32 {
        let request = self.set();
        self.tell(Input::JobTaken {
            request,
            job_id,
            target: TARGET,
        });
        request
    }

    /// The miners find a share on the present job; `easy` ones are not good enough for the pool.
    fn mine(&mut self, first_byte_of_hash: u8) {
        let job = Arc::clone(self.job.as_ref().unwrap());
        self.mine_on(job, first_byte_of_hash, false);
    }

    fn mine_on(&mut self, job: Arc<Job>, top: u8, is_block: bool) {
        self.next_share += 1;
        let mut hash = [0; 32];
        hash[31] = top;
        let mined = Mined {
            job,
            extranonce: vec![3; 8],
            nonce: self.next_share,
            ntime: 5,
            version: 0x2000_0000,
            hash,
            is_block,
        };
        self.tell(Input::Mined(Box::new(mined)));
    }

    fn last<T>(&self, pick: impl Fn(&Output) -> Option<T>) -> T {
        self.out.iter().rev().find_map(pick).unwrap()
    }

    fn count(&self, pick: impl Fn(&Output) -> bool) -> usize {
        self.out.iter().filter(|output| pick(output)).count()
    }

    fn shares(&self) -> Vec<UpShare> {
        let share = |output: &Output| match output {
            Output::Share(share) => Some(*share),
            _ => None,
        };
        self.out.iter().filter_map(share).collect()
    }

    fn offences(&self) -> Vec<Cause> {
        let cause = |output: &Output| match output {
            Output::Offence(cause) => Some(*cause),
            _ => None,
        };
        self.out.iter().filter_map(cause).collect()
    }

    fn declared(&self) -> Declaration {
        self.last(|output| match output {
            Output::Declare(_, declaration) => Some(Declaration::clone(declaration)),
            _ => None,
        })
    }

    fn custom(&self) -> SetCustomMiningJob {
        self.last(|output| match output {
            Output::Custom { message, .. } => Some(SetCustomMiningJob::clone(message)),
            _ => None,
        })
    }

    /// Lets time pass to every deadline within it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.negotiation.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tell(Input::Deadline);
        }
        self.now = end;
    }
}

fn output(value: u64, script: &[u8]) -> TxOut {
    TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
    }
}

fn template(id: u64, tip: u8) -> Template {
    Template {
        id: TemplateId(id),
        constraints: Constraints::default(),
        height: 200,
        prev_hash: BlockHash::from_byte_array([tip; 32]),
        version: 0x2000_0000,
        nbits: CompactTarget::from_consensus(0x207f_ffff),
        header_timestamp: 1_700_000_000,
        min_ntime: 1_699_999_000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![2, 200, 0],
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 5_000,
        coinbase_tx_outputs: vec![output(0, &[0x6a; 38])],
        coinbase_tx_locktime: 199,
        coinbase_witness: Some([0; 32]),
        target: None,
        merkle_path: vec![[4; 32]],
        transaction_count: Some(1),
        fees: None,
    }
}

/// REQ-JD-039, REQ-MIN-092, REQ-MIN-094: the miners begin with token and template; their shares wait for the pool's word and
/// then go up in order, those that are good enough for it.
#[test]
fn shares_wait_until_the_pool_takes_the_job() {
    for mode in [Mode::FullTemplate, Mode::CoinbaseOnly] {
        let mut world = World::new(mode);
        world.template(1, 1);
        assert!(world.job.is_none());
        let request = world.set();
        assert!(world.job.is_some(), "{mode:?}");
        for top in [1, 0x80, 2] {
            world.mine(top);
        }
        assert_eq!(
            (world.shares().len(), world.negotiation.figures().shares_pending),
            (0, 2)
        );
        world.tell(Input::JobTaken {
            request,
            job_id: 55,
            target: TARGET,
        });
        world.mine(3);
        world.mine(0x80);
        let shares: Vec<(u32, u32)> = world
            .shares()
            .iter()
            .map(|share| (share.job_id, share.nonce))
            .collect();
        assert_eq!(shares, [(55, 1), (55, 3), (55, 4)], "{mode:?}");
        // Eight zeros fill what is not shared out below.
        assert_eq!(world.shares()[0].extranonce[..], [&[0; 8][..], &[3; 8]].concat());
    }
}

/// REQ-JD-014, REQ-JD-024, REQ-JD-029, REQ-JD-030, REQ-JD-032, REQ-JD-033, REQ-JD-036: one coinbase in all three forms.
#[test]
fn declaration_custom_job_and_work_have_the_same_coinbase() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    world.set();
    let (declared, custom) = (world.declared(), world.custom());
    let extranonce = [&[9; 4][..], &[0; 8], &[3; 8]].concat();
    let whole = [
        &declared.coinbase_tx_prefix[..],
        &extranonce,
        &declared.coinbase_tx_suffix,
    ]
    .concat();
    let whole: Transaction = deserialize(&whole).unwrap();
    assert_eq!(whole.input[0].witness.len(), 1);
    assert_eq!(whole.output[0], output(5_000, &[0x51]));
    assert_eq!(whole.output[1], output(0, &[0x6a, 1, 5]));
    assert_eq!(serialize(&whole.output), custom.coinbase_tx_outputs.to_vec());
    assert_eq!(
        (custom.mining_job_token.to_vec(), custom.merkle_path.len()),
        (vec![2], 1)
    );
    let script = [&custom.coinbase_prefix[..], &extranonce].concat();
    assert_eq!(whole.input[0].script_sig.as_bytes(), script);
    // What the miners hash is that transaction, stripped.
    let job = world.job.clone().unwrap();
    let size = Layout::branch(8).unwrap().default_size();
    let below = Extranonce::rolled(*b"\x03\x03\x03\x03\0\0\0", &[3; 4], size).unwrap();
    assert_eq!(below.as_bytes(), [3; 8]);
    let mined: Transaction = deserialize(&job.coinbase_tx(&below)).unwrap();
    assert_eq!(mined.compute_txid(), whole.compute_txid());
    let Body::Given(halves) = &job.fields().coinbase else {
        panic!("not given")
    };
    assert_eq!(halves.size, 8);
    let transaction: Transaction = deserialize(&world.transactions[0]).unwrap();
    assert_eq!(
        declared.wtxids,
        [U256(transaction.compute_wtxid().to_byte_array())]
    );
}

/// REQ-JD-027: what we keep stands behind the pool's outputs, to the satoshi, and before the template's.
#[test]
fn what_is_kept_is_an_output_of_our_own() {
    let mut world = World::new(Mode::FullTemplate);
    let settings = Settings {
        mode: Mode::FullTemplate,
        branch_bytes: 8,
        keep: Some(Keep {
            parts_bp: 1_234,
            script: ScriptBuf::from_bytes(vec![0x52]),
        }),
    };
    let channel = Channel {
        id: 7,
        target: TARGET,
        prefix: B0_32::new(&[9; 4]).unwrap(),
        size: 16,
        version_mask: 0,
        worker_names: false,
    };
    let imposed = vec![output(0, &[0x51]), output(0, &[0x6a, 1, 5])];
    world.negotiation = Negotiation::new(settings, channel, imposed);
    world.template(1, 1);
    world.set();
    let outputs: Vec<TxOut> = deserialize(&world.custom().coinbase_tx_outputs).unwrap();
    // 12.34 % of 5,000 satoshis.
    let wanted = [
        output(4_383, &[0x51]),
        output(0, &[0x6a, 1, 5]),
        output(617, &[0x52]),
        output(0, &[0x6a; 38]),
    ];
    assert_eq!(outputs, wanted);
}

/// REQ-JD-037, REQ-JD-031: the allocated token goes into SetCustomMiningJob as it is.
#[test]
fn coinbase_only_mode_declares_nothing() {
    let mut world = World::new(Mode::CoinbaseOnly);
    world.template(1, 1);
    world.take(5);
    let job = world.job.clone().unwrap();
    world.mine_on(job, 0, true);
    assert_eq!(
        world.count(|output| matches!(output, Output::Declare(..) | Output::Push(_))),
        0
    );
    assert_eq!(world.custom().mining_job_token.to_vec(), [1]);
}

/// One token cloned to many downstreams: there is one custom job a template, whatever is mined below.
#[test]
fn one_custom_job_a_template() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    world.take(5);
    for _ in 0..300 {
        world.mine(1);
    }
    assert_eq!(world.count(|output| matches!(output, Output::Reserve(_))), 1);
    assert_eq!(world.count(|output| matches!(output, Output::Custom { .. })), 1);
    assert_eq!(world.shares().len(), 300);
}

/// A better template of the same tip waits until the one before it is settled: no share is kept for a job that is never
/// declared. The latest wins.
#[test]
fn better_templates_wait_their_turn_and_the_latest_wins() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    let first = world.set();
    for id in 2..=4 {
        world.template(id, 1);
    }
    assert_eq!(world.job.as_ref().unwrap().fields().template, 1);
    world.tell(Input::JobTaken {
        request: first,
        job_id: 5,
        target: TARGET,
    });
    world.take(6);
    assert_eq!(world.job.as_ref().unwrap().fields().template, 4);
    assert_eq!(world.count(|output| matches!(output, Output::Custom { .. })), 2);
}

/// REQ-JD-040, REQ-JD-046: with the whole extranonce, as soon as the server knows the job; the share goes to the pool too.
#[test]
fn a_block_goes_to_the_declaration_server_and_to_the_pool() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    world.take(5);
    let job = world.job.clone().unwrap();
    world.mine_on(job, 0, true);
    let solution = world.last(|output| match output {
        Output::Push(solution) => Some(solution.clone()),
        _ => None,
    });
    assert_eq!(solution.extranonce[..], [&[9; 4][..], &[0; 8], &[3; 8]].concat());
    assert_eq!(
        (solution.prev_hash, solution.nonce, solution.nbits),
        (U256([1; 32]), 1, 0x207f_ffff)
    );
    assert_eq!(world.shares().len(), 1);
}

#[test]
fn waiting_shares_are_bounded() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    world.set();
    for _ in 0..PENDING_MAX + 10 {
        world.mine(1);
    }
    let figures = world.negotiation.figures();
    assert_eq!(
        (figures.shares_pending, figures.shares_dropped),
        (PENDING_MAX as u64, 10)
    );
}

/// REQ-JD-038: a refused declaration, when the tip has stood for a while and stands a moment longer.
#[test]
fn a_refused_declaration_is_an_offence() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    let job = world.give_token();
    world.pass(Duration::from_secs(30));
    world.tell(Input::DeclarationRefused { job });
    world.pass(Duration::from_secs(1));
    assert_eq!(world.offences(), []);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.offences(), [Cause::DeclarationRefused]);
}

/// REQ-MIN-093: a refused custom job, and one without an answer.
#[test]
fn a_refused_or_unanswered_custom_job_is_an_offence() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    let request = world.set();
    world.pass(Duration::from_secs(30));
    world.tell(Input::JobRefused { request });
    world.pass(Duration::from_secs(3));
    assert_eq!(world.offences(), [Cause::JobRefused]);
    let mut world = World::new(Mode::CoinbaseOnly);
    world.template(1, 1);
    let request = world.set();
    world.tell(Input::JobUnanswered { request });
    assert_eq!(world.offences(), [Cause::JobUnanswered]);
}

/// REQ-JD-038: shares of a job that the pool had taken, on a tip that stands.
#[test]
fn refused_shares_of_an_acknowledged_job_are_an_offence() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    world.take(5);
    for refused in 1..=SHARES_REFUSED_MAX {
        world.mine(1);
        world.tell(Input::ShareRefused { job_id: Some(5) });
        assert_eq!(
            world.negotiation.deadline().is_some(),
            refused == SHARES_REFUSED_MAX
        );
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(world.offences(), [Cause::SharesRefused]);
}

/// Shares of an old tip, or of a job that nobody knows, may be refused at any time.
#[test]
fn refused_shares_of_an_old_tip_are_no_offence() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    world.take(5);
    for _ in 0..SHARES_REFUSED_MAX * 2 {
        world.tell(Input::ShareRefused { job_id: Some(99) });
        world.tell(Input::ShareRefused { job_id: None });
    }
    world.tell(Input::ShareRefused { job_id: Some(5) });
    world.template(2, 2);
    for _ in 0..SHARES_REFUSED_MAX * 2 {
        world.tell(Input::ShareRefused { job_id: Some(5) });
    }
    world.pass(Duration::from_secs(60));
    assert_eq!(world.offences(), []);
}

/// The pool knew of the block before we did.
#[test]
fn a_refusal_just_before_our_own_tip_changes_is_no_offence() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    let request = world.set();
    world.pass(Duration::from_secs(30));
    world.tell(Input::JobRefused { request });
    world.pass(Duration::from_millis(1_500));
    world.template(2, 2);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.offences(), []);
    // And the new job goes its way.
    world.take(6);
}

/// We knew of the block before the pool did: the same job is offered again, and what was mined on it stays good.
#[test]
fn a_refusal_just_after_our_tip_changed_is_offered_again() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    let request = world.set();
    world.mine(1);
    world.tell(Input::JobRefused { request });
    world.pass(Duration::from_millis(300));
    let published = world.count(|output| matches!(output, Output::Publish { .. }));
    let again = world.take(8);
    assert_ne!(again, request);
    assert_eq!(
        world.count(|output| matches!(output, Output::Publish { .. })),
        published,
        "the miners go on"
    );
    assert_eq!(world.shares().len(), 1);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.offences(), []);
}

/// A pool that keeps refusing is left, also right after a new tip.
#[test]
fn a_job_is_not_offered_for_ever() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    for _ in 0..10 {
        if !world.offences().is_empty() {
            break;
        }
        let job = world.give_token();
        world.tell(Input::DeclarationRefused { job });
        world.pass(Duration::from_secs(3));
    }
    assert_eq!(world.offences(), [Cause::DeclarationRefused]);
}

/// A change of the tip during a declaration, a thousand times: no offence, no share of the old tip, and every tip gets its
/// job.
#[test]
fn a_thousand_tips_during_declarations_are_no_offence() {
    let mut world = World::new(Mode::FullTemplate);
    for tip in 0..1_000u32 {
        world.out.clear();
        let mut next = template(u64::from(tip) + 1, 0);
        next.prev_hash =
            BlockHash::from_byte_array([&tip.to_le_bytes()[..], &[7; 28]].concat().try_into().unwrap());
        world.tell(Input::Transactions(next.id, Arc::clone(&world.transactions)));
        world.tell(Input::Template(Arc::new(next)));
        let job = world.give_token();
        world.mine(1);
        // Answers to the job of the tip before come now, of either kind.
        if tip > 0 {
            let old = job - 1;
            let token = B0_255::new(&[3]).unwrap();
            match tip % 3 {
                0 => world.tell(Input::DeclarationRefused { job: old }),
                1 => world.tell(Input::Declared { job: old, token }),
                _ => world.tell(Input::JobUnanswered { request: old }),
            }
        }
        assert_eq!((world.shares(), world.offences()), (vec![], vec![]), "{tip}");
        assert_eq!(world.count(|output| matches!(output, Output::Declare(..))), 1);
        assert_eq!(world.count(|output| matches!(output, Output::Custom { .. })), 0);
        world.now = world.now + Duration::from_millis(100);
    }
    world.pass(Duration::from_secs(60));
    assert_eq!(world.offences(), []);
}

/// Answers to what was never asked change nothing.
#[test]
fn unasked_verdicts_change_nothing() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    let job = world.give_token();
    let before = world.out.len();
    let token = B0_255::new(&[3]).unwrap();
    world.tell(Input::Declared { job: 99, token });
    world.tell(Input::DeclarationRefused { job: 99 });
    for request in [99, job] {
        world.tell(Input::JobTaken {
            request,
            job_id: 1,
            target: U256::MAX,
        });
    }
    world.tell(Input::JobRefused { request: 99 });
    world.tell(Input::JobUnanswered { request: 99 });
    assert_eq!((world.out.len(), world.negotiation.deadline()), (before, None));
}

/// Another extranonce prefix or other outputs: what is under way is made again.
#[test]
fn another_prefix_or_other_outputs_make_another_job() {
    let mut world = World::new(Mode::FullTemplate);
    world.template(1, 1);
    world.take(5);
    let first = world.job.clone().unwrap();
    world.tell(Input::Prefix(B0_32::new(&[8; 4]).unwrap()));
    world.take(6);
    let second = world.job.clone().unwrap();
    world.tell(Input::Outputs(vec![output(0, &[0x53])]));
    world.take(7);
    let third = world.job.clone().unwrap();
    let coinbase = |job: &Job| match &job.fields().coinbase {
        Body::Given(halves) => halves.clone(),
        Body::Own(_) => panic!("own"),
    };
    assert!(
        coinbase(&first).prefix != coinbase(&second).prefix
            && coinbase(&second).suffix != coinbase(&third).suffix
    );
    // Shares of each go to its own job.
    for job in [first, second, third] {
        world.mine_on(job, 1, false);
    }
    let ids: Vec<u32> = world.shares().iter().map(|share| share.job_id).collect();
    assert_eq!(ids, [5, 6, 7]);
}
