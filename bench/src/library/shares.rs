//! Judging shares, duplicates included, beside the bare hashing of the same blocks.

use std::hint::black_box;

use adit_proto::extranonce::{Extranonce, FullSize};
use adit_proto::job::Job;
use adit_proto::share::{Claim, Head, Seen, Terms, judge_extended, judge_standard};
use adit_proto::target::Target;
use sha2::digest::generic_array::GenericArray;
use stratum_core::bitcoin::Target as TheirTarget;
use stratum_core::channels_sv2::extranonce_manager::ExtranonceAllocator;
use stratum_core::channels_sv2::server::extended::ExtendedChannel;
use stratum_core::channels_sv2::server::standard::StandardChannel;
use stratum_core::mining_sv2::{SubmitSharesExtendedOwned, SubmitSharesStandardOwned};

use super::{Certain, templates};
use crate::measure::{Case, Goal, Work};

/// Shares of one batch.
const COUNT: u32 = 500;
/// Batches on one tip: the set of seen shares grows to 2,000 and is emptied.
const BATCHES: u32 = 4;
/// Branches of a block with a few thousand transactions.
const BRANCHES: usize = 12;
const VERSION: u32 = 0x2000_0000;

pub(super) fn cases() -> Vec<Case> {
    let job = templates::job(1, BRANCHES);
    // Coinbase from its midstate, branches, header; each with its second hash.
    let extended = coinbase_blocks(&job) + 1 + 3 * BRANCHES + 3;
    vec![
        Case {
            what: "judge a standard share".to_owned(),
            count: COUNT,
            items: 1,
            reference: Box::new(Theirs::new(standard_channel)),
            ours: Box::new(Ours::new(false)),
            floor: Some(("its hashes", Box::new(hashes(3)))),
            goal: Goal::OfFloor(1.2),
        },
        Case {
            what: "judge a standard share, version rolled each time".to_owned(),
            count: COUNT,
            items: 1,
            reference: Box::new(Theirs::new(standard_channel)),
            ours: Box::new(Ours::rolling()),
            floor: Some(("its hashes", Box::new(hashes(3)))),
            goal: Goal::OfFloor(1.5),
        },
        Case {
            what: "judge an extended share, 12 branches".to_owned(),
            count: COUNT,
            items: 1,
            reference: Box::new(Theirs::new(extended_channel)),
            ours: Box::new(Ours::new(true)),
            floor: Some(("its hashes", Box::new(hashes(extended)))),
            goal: Goal::OfFloor(1.2),
        },
    ]
}

struct Ours {
    extended: bool,
    rolling: bool,
    head: Head,
    job: Job,
    seen: Seen,
    batch: u32,
    nonce: u32,
}

impl Ours {
    fn new(extended: bool) -> Self {
        let job = templates::job(1, BRANCHES);
        Self {
            extended,
            rolling: false,
            head: Head::new(&job, [3; 32], VERSION),
            job,
            seen: Seen::new(1 << 16),
            batch: 0,
            nonce: 0,
        }
    }

    fn rolling() -> Self {
        Self {
            rolling: true,
            ..Self::new(false)
        }
    }
}

impl Work for Ours {
    fn prepare(&mut self, _: u32) {
        if self.batch.is_multiple_of(BATCHES) {
            let mut tip = [0; 32];
            tip[..4].copy_from_slice(&self.batch.to_le_bytes());
            self.seen.turn_to(&tip);
        }
        self.batch += 1;
    }

    fn run(&mut self, count: u32) {
        let terms = Terms {
            job: &self.job,
            target: &Target::MAX,
            work: 1,
            ntime_min: templates::NTIME,
            ntime_max: templates::NTIME + 7_200,
        };
        for _ in 0..count {
            self.nonce += 1;
            let rolled = if self.rolling {
                (self.nonce & 0xffff) << 13
            } else {
                0
            };
            let claim = Claim {
                nonce: self.nonce,
                ntime: templates::NTIME,
                version: VERSION | rolled,
            };
            if self.extended {
                let rolled = u64::from(self.nonce).to_be_bytes();
                let extranonce = Extranonce::rolled([1; 7], &rolled, FullSize::DEFAULT).certain();
                black_box(judge_extended(&terms, &extranonce, &claim, &mut self.seen)).certain();
            } else {
                black_box(judge_standard(
                    &terms,
                    black_box(&mut self.head),
                    &claim,
                    &mut self.seen,
                ))
                .certain();
            }
        }
    }
}

/// A channel of the reference that takes the share of a nonce.
trait Channel {
    fn judge(&mut self, nonce: u32);
}

impl Channel for StandardChannel {
    fn judge(&mut self, nonce: u32) {
        let share = SubmitSharesStandardOwned {
            channel_id: 1,
            sequence_number: nonce,
            job_id: 1,
            nonce,
            ntime: templates::NTIME,
            version: VERSION,
        };
        black_box(self.validate_share(black_box(share))).certain();
    }
}

impl Channel for ExtendedChannel {
    fn judge(&mut self, nonce: u32) {
        let share = SubmitSharesExtendedOwned {
            channel_id: 1,
            sequence_number: nonce,
            job_id: 1,
            nonce,
            ntime: templates::NTIME,
            version: VERSION,
            extranonce: u64::from(nonce).to_be_bytes().to_vec().try_into().certain(),
        };
        black_box(self.validate_share(black_box(share))).certain();
    }
}

struct Theirs<C, F> {
    fresh: F,
    channel: Option<C>,
    batch: u32,
    nonce: u32,
}

impl<C: Channel, F: Fn() -> C> Theirs<C, F> {
    fn new(fresh: F) -> Self {
        Self {
            fresh,
            channel: None,
            batch: 0,
            nonce: 0,
        }
    }
}

impl<C: Channel, F: Fn() -> C> Work for Theirs<C, F> {
    fn prepare(&mut self, _: u32) {
        if self.batch.is_multiple_of(BATCHES) {
            self.channel = Some((self.fresh)());
        }
        self.batch += 1;
    }

    fn run(&mut self, count: u32) {
        let channel = self.channel.as_mut().certain();
        for _ in 0..count {
            self.nonce += 1;
            channel.judge(self.nonce);
        }
    }
}

/// A standard channel of the reference with an active job.
pub(super) fn standard_channel() -> StandardChannel {
    let mut allocator = ExtranonceAllocator::new(vec![0, 1], 15, 65_536).certain();
    let prefix = allocator.allocate_standard().certain();
    let user = "bench".to_owned();
    let easiest = TheirTarget::from_le_bytes([0xff; 32]);
    let tag = "adit".to_owned();
    let made = StandardChannel::new_for_pool(1, user, prefix, easiest, 0.001, 10, 6.0, tag, None);
    let mut channel = made.certain();
    let outputs = templates::outputs();
    channel
        .on_new_template(templates::template(1, true, BRANCHES), outputs)
        .certain();
    channel.on_set_new_prev_hash(templates::tip(1)).certain();
    channel
}

fn extended_channel() -> ExtendedChannel {
    let mut allocator = ExtranonceAllocator::new(vec![0, 1], 12, 65_536).certain();
    let prefix = allocator.allocate_extended(8).certain();
    let user = "bench".to_owned();
    let easiest = TheirTarget::from_le_bytes([0xff; 32]);
    let tag = "adit".to_owned();
    let made = ExtendedChannel::new_for_pool(1, user, prefix, easiest, 0.001, true, 8, 10, 6.0, tag, None);
    let mut channel = made.certain();
    let outputs = templates::outputs();
    channel
        .on_new_template(templates::template(1, true, BRANCHES), outputs)
        .certain();
    channel.on_set_new_prev_hash(templates::tip(1)).certain();
    channel
}

/// So many compressions an operation, in calls of one or two blocks as messages of that size need them.
pub(super) fn hashes(blocks: usize) -> impl FnMut(u32) {
    let data = vec![GenericArray::from([5u8; 64]); 2];
    move |count| {
        let mut state = [9u32; 8];
        for _ in 0..count {
            let mut left = blocks;
            while left >= 3 {
                sha2::compress256(&mut state, black_box(&data));
                sha2::compress256(&mut state, black_box(&data[..1]));
                left -= 3;
            }
            for _ in 0..left {
                sha2::compress256(&mut state, black_box(&data[..1]));
            }
        }
        black_box(state);
    }
}

/// Blocks of the coinbase that no midstate covers.
pub(super) fn coinbase_blocks(job: &Job) -> usize {
    let coinbase = &job.fields().coinbase;
    let prefix = coinbase.prefix(FullSize::DEFAULT).len();
    let bytes = prefix + FullSize::DEFAULT.bytes() + coinbase.suffix().len();
    (bytes + 9).div_ceil(64) - prefix / 64
}
