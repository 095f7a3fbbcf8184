//! A miner that does not hash: where every hash is a share, any nonce will do.

use std::collections::BTreeSet;

use adit_net::Url;
use adit_wire::common::{self, Reconnect, flags};
use adit_wire::mining::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetNewPrevHash,
    SubmitSharesExtended, SubmitSharesStandard, ToClient,
};
use adit_wire::{B0_32, Header, U256};

use super::peer::{Heard, Peer};

/// How a miner is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// REQUIRES_STANDARD_JOBS: a NewMiningJob for each channel.
    HeaderOnly,
    /// A standard channel in a group.
    Grouped,
    /// An extended channel.
    Extended,
}

/// One channel on one connection.
pub(crate) struct Miner {
    pub(crate) peer: Peer,
    pub(crate) how: How,
    pub(crate) name: String,
    pub(crate) channel_id: u32,
    pub(crate) group_id: u32,
    pub(crate) target: U256,
    pub(crate) prefix: Vec<u8>,
    pub(crate) size: usize,
    /// The job to mine, and the tip.
    pub(crate) job_id: u32,
    pub(crate) version: u32,
    pub(crate) merkle_root: Option<U256>,
    /// The job's parts, where it came with them.
    pub(crate) parts: Option<NewExtendedMiningJob>,
    pub(crate) tip: SetNewPrevHash,
    /// Header time to start from.
    pub(crate) ntime: u32,
    /// The newest job is a future one, and its tip has not come.
    pub(crate) waits_for_tip: bool,
    next_sequence: u32,
    /// Sent and unanswered: sequence number and nonce.
    pub(crate) waiting: Vec<(u32, u32)>,
    /// Nonces of acknowledged shares.
    pub(crate) acknowledged: BTreeSet<u32>,
    /// Units of 2^32 hashes acknowledged.
    pub(crate) sum: u64,
    /// Refused shares: nonce and code.
    pub(crate) refused: Vec<(u32, String)>,
    /// What stands behind each share of an extended channel: TLVs.
    pub(crate) trailer: Vec<u8>,
    /// Where the pool wants it to go.
    pub(crate) sent_away: Option<Reconnect>,
    /// Why the pool closed the channel.
    pub(crate) closed: Option<String>,
    /// It stands on another upstream than at first: what comes then is for its channel alone.
    pub(crate) moved: u32,
}

impl Miner {
    /// Connects, opens a channel and waits for work. Every hash is good for it.
    pub(crate) async fn start(url: &Url, how: How, name: &str) -> Self {
        let flags = if how == How::HeaderOnly {
            flags::REQUIRES_STANDARD_JOBS
        } else {
            0
        };
        let peer = Peer::join(url, flags).await;
        Self::open(peer, how, name).await
    }

    /// Opens a channel on a connection of its own. The order of what comes first is the spec's (5.3.15 to 5.3.17):
    /// Success, a future job, and the tip that starts it.
    pub(crate) async fn open(mut peer: Peer, how: How, name: &str) -> Self {
        ask(&mut peer, how, name, 7).await;
        let mut miner = match peer.hear_mining().await {
            ToClient::OpenStandardMiningChannelSuccess(open) => {
                assert!(how != How::Extended && open.request_id == 7);
                let (id, group, prefix) = (open.channel_id, open.group_channel_id, open.extranonce_prefix);
                Self::new(peer, how, name, id, group, open.target, prefix.as_bytes(), 0)
            }
            ToClient::OpenExtendedMiningChannelSuccess(open) => {
                assert!(how == How::Extended && open.request_id == 7);
                let (id, group, prefix) = (open.channel_id, open.group_channel_id, open.extranonce_prefix);
                let size = usize::from(open.extranonce_size);
                Self::new(peer, how, name, id, group, open.target, prefix.as_bytes(), size)
            }
            other => panic!("expected a channel, heard {other:?}"),
        };
        assert_eq!(miner.target, U256::MAX, "every hash is a share");
        let job = miner.peer.hear_mining().await;
        let (ToClient::NewMiningJob(NewMiningJob { min_ntime, .. })
        | ToClient::NewExtendedMiningJob(NewExtendedMiningJob { min_ntime, .. })) = &job
        else {
            panic!("expected a job, heard {job:?}")
        };
        assert_eq!(*min_ntime, None, "the first job is a future job");
        let job_id = job_of(&job);
        miner.attend(job);
        let ToClient::SetNewPrevHash(tip) = miner.peer.hear_mining().await else {
            panic!("expected the tip")
        };
        assert_eq!((tip.channel_id, tip.job_id), (miner.channel_id, job_id));
        miner.attend(ToClient::SetNewPrevHash(tip));
        miner
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of two messages")]
    fn new(
        peer: Peer,
        how: How,
        name: &str,
        channel_id: u32,
        group_id: u32,
        target: U256,
        prefix: &[u8],
        size: usize,
    ) -> Self {
        let tip = SetNewPrevHash {
            channel_id,
            job_id: 0,
            prev_hash: U256([0; 32]),
            min_ntime: 0,
            nbits: 0,
        };
        Self {
            peer,
            how,
            name: name.to_owned(),
            channel_id,
            group_id,
            target,
            prefix: prefix.to_owned(),
            size,
            job_id: 0,
            version: 0,
            merkle_root: None,
            parts: None,
            tip,
            ntime: 0,
            waits_for_tip: false,
            next_sequence: 1,
            waiting: Vec::new(),
            acknowledged: BTreeSet::new(),
            sum: 0,
            refused: Vec::new(),
            trailer: Vec::new(),
            sent_away: None,
            closed: None,
            moved: 0,
        }
    }

    /// Sends a share of the present job for each nonce, all in one write.
    pub(crate) async fn submit(&mut self, nonces: impl IntoIterator<Item = u32>) {
        let job_id = self.job_id;
        self.submit_on(job_id, nonces).await;
    }

    /// The same on any job.
    pub(crate) async fn submit_on(&mut self, job_id: u32, nonces: impl IntoIterator<Item = u32>) {
        use adit_wire::message::Message;
        let (channel_id, ntime, version) = (self.channel_id, self.ntime, self.version);
        let mut frames = Vec::new();
        for nonce in nonces {
            let sequence_number = self.next_sequence;
            self.next_sequence += 1;
            self.waiting.push((sequence_number, nonce));
            if self.how == How::Extended {
                let extranonce = B0_32::new(&vec![0x5a; self.size]).unwrap();
                let share = SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                };
                let start = frames.len();
                share.encode_frame(&mut frames);
                frames.extend_from_slice(&self.trailer);
                let length = u32::try_from(frames.len() - start - Header::LEN).unwrap();
                frames[start + 3..start + 6].copy_from_slice(&length.to_le_bytes()[..3]);
            } else {
                let share = SubmitSharesStandard {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                };
                share.encode_frame(&mut frames);
            }
        }
        self.peer.say_frames(&frames).await;
    }

    /// Takes one message of the pool; false when it has hung up.
    pub(crate) async fn hear(&mut self) -> bool {
        match self.peer.hear().await {
            Heard::Mining(message) => self.attend(message),
            Heard::End => return false,
            Heard::Common(common::ToClient::Reconnect(sent_away)) => self.sent_away = Some(sent_away),
            other => panic!("unexpected {other:?}"),
        }
        true
    }

    /// Listens until every share is answered.
    pub(crate) async fn settle(&mut self) {
        while !self.waiting.is_empty() {
            assert!(self.hear().await, "the pool hung up on {}", self.name);
        }
    }

    /// Submits and waits for the answers: all are accepted.
    pub(crate) async fn mine(&mut self, nonces: impl IntoIterator<Item = u32>) {
        let refused = self.refused.len();
        self.submit(nonces).await;
        self.settle().await;
        assert_eq!(
            self.refused.get(refused..),
            Some(&[][..]),
            "{} may mine",
            self.name
        );
    }

    /// Listens until there is another job, which can be mined.
    pub(crate) async fn next_job(&mut self) {
        let before = self.job_id;
        while self.job_id == before || self.waits_for_tip {
            assert!(self.hear().await, "the pool hung up on {}", self.name);
        }
    }

    /// Listens until the tip is another one and its job is there.
    pub(crate) async fn next_tip(&mut self) {
        let before = self.tip.prev_hash;
        while self.tip.prev_hash == before {
            assert!(self.hear().await, "the pool hung up on {}", self.name);
        }
    }

    fn attend(&mut self, message: ToClient) {
        match message {
            ToClient::NewMiningJob(job) => {
                assert!(
                    self.how == How::HeaderOnly || self.job_id == 0 || self.moved > 0,
                    "a group's jobs are its own"
                );
                assert_eq!(job.channel_id, self.channel_id);
                self.merkle_root = Some(job.merkle_root);
                self.start_at(job.min_ntime);
                self.start_job(job.job_id, job.version);
            }
            ToClient::NewExtendedMiningJob(job) => {
                assert_ne!(self.how, How::HeaderOnly, "header-only devices get NewMiningJob");
                assert!([self.channel_id, self.group_id].contains(&job.channel_id));
                self.merkle_root = None;
                self.start_at(job.min_ntime);
                self.start_job(job.job_id, job.version);
                self.parts = Some(job);
            }
            ToClient::SetNewPrevHash(tip) => {
                assert_eq!(tip.job_id, self.job_id, "it starts the job that was just sent");
                self.ntime = tip.min_ntime;
                self.tip = tip;
                self.waits_for_tip = false;
            }
            ToClient::SubmitSharesSuccess(success) => {
                assert_eq!(success.channel_id, self.channel_id);
                let through = |(sequence, _): &&(u32, u32)| *sequence <= success.last_sequence_number;
                let named = self.waiting.iter().take_while(through).count();
                assert_eq!(
                    named, success.new_submits_accepted_count as usize,
                    "counts are exact"
                );
                self.acknowledged
                    .extend(self.waiting.drain(..named).map(|(_, nonce)| nonce));
                self.sum += success.new_shares_sum;
            }
            ToClient::SubmitSharesError(error) => {
                let at = self
                    .waiting
                    .iter()
                    .position(|(sequence, _)| *sequence == error.sequence_number);
                let (_, nonce) = self.waiting.remove(at.expect("a share of ours"));
                let code = String::from_utf8(error.error_code.as_bytes().to_vec()).unwrap();
                self.refused.push((nonce, code));
            }
            ToClient::CloseChannel(close) => {
                assert_eq!(close.channel_id, self.channel_id);
                self.closed = Some(String::from_utf8(close.reason_code.as_bytes().to_vec()).unwrap());
            }
            ToClient::SetExtranoncePrefix(set) => {
                assert_eq!(set.channel_id, self.channel_id);
                assert_eq!(set.extranonce_prefix.len(), self.prefix.len(), "REQ-MIN-045");
                self.prefix = set.extranonce_prefix.as_bytes().to_vec();
            }
            ToClient::SetTarget(set) => {
                assert!([self.channel_id, self.group_id].contains(&set.channel_id));
                self.target = set.maximum_target;
                self.moved += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// A job without a time is a future one.
    fn start_at(&mut self, min_ntime: Option<u32>) {
        self.waits_for_tip = min_ntime.is_none();
        self.ntime = min_ntime.unwrap_or(self.ntime);
    }

    fn start_job(&mut self, job_id: u32, version: u32) {
        assert!(job_id > self.job_id, "job ids are never reused");
        (self.job_id, self.version) = (job_id, version);
    }
}

/// Asks for a channel.
pub(crate) async fn ask(peer: &mut Peer, how: How, name: &str, request_id: u32) {
    let (user_identity, nominal_hash_rate) = (name.try_into().unwrap(), 0.0);
    if how == How::Extended {
        let min_extranonce_size = 4;
        let max_target = U256::MAX;
        peer.say(&OpenExtendedMiningChannel {
            request_id,
            user_identity,
            nominal_hash_rate,
            max_target,
            min_extranonce_size,
        })
        .await;
    } else {
        let max_target = U256::MAX;
        peer.say(&OpenStandardMiningChannel {
            request_id,
            user_identity,
            nominal_hash_rate,
            max_target,
        })
        .await;
    }
}

fn job_of(message: &ToClient) -> u32 {
    match message {
        ToClient::NewMiningJob(job) => job.job_id,
        ToClient::NewExtendedMiningJob(job) => job.job_id,
        other => panic!("expected a job, heard {other:?}"),
    }
}
