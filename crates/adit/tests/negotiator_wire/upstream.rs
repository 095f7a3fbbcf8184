//! A pool with a declaration server on one port that does as it is told, and holds every share to its custom job.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use adit_net::{Clock, random};
use adit_noise::{ACT1_BYTES, Authority, AuthorityKeypair, Feed, ServerIdentity, Session, respond};
use adit_proto::declare::Coinbase;
use adit_proto::target::Target;
use adit_wire::common::{self, SetupConnectionSuccess, flags, protocol};
use adit_wire::declare::{
    self, AllocateMiningJobTokenSuccess, DeclareMiningJobError, DeclareMiningJobSuccess,
    ProvideMissingTransactions,
};
use adit_wire::mining::{
    self, OpenExtendedMiningChannelSuccess, SetCustomMiningJob, SetCustomMiningJobError,
    SetCustomMiningJobSuccess, SubmitSharesError, SubmitSharesExtended, SubmitSharesSuccess,
};
use adit_wire::{B0_32, B0_64K, B0_255, Header, Message, Seq0_64K, Str0_255, U256};
use bitcoin::consensus::serialize;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Amount, ScriptBuf, TxOut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The channel that everybody gets.
const CHANNEL: u32 = 3;
/// Extranonce bytes to roll: more than are shared out below.
const ROLLED: u16 = 12;
/// Expected hashes of a share.
const SHARE_WORK: u64 = 100_000;
/// Script of the pool's payout.
pub(crate) const PAYOUT: [u8; 1] = [0x53];

/// In which point it breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In none.
    Fair,
    /// It asks for every transaction before it answers.
    Curious,
    /// It gives no token.
    NoToken,
    /// It refuses every declared job.
    RefusesDeclarations,
    /// It answers no declared job.
    IgnoresDeclarations,
    /// It refuses every custom job.
    RefusesJobs,
    /// It answers no custom job.
    IgnoresJobs,
    /// It takes jobs and refuses their shares.
    RefusesShares,
    /// It answers what nobody asked.
    Babbles,
    /// It closes the first mining connection when a share comes.
    ClosesOnce,
    /// It takes jobs when it is told to.
    Slow,
}

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) setup_flags: BTreeMap<u8, u32>,
    pub(crate) users: Vec<String>,
    pub(crate) declared: usize,
    pub(crate) wtxids: usize,
    pub(crate) provided: usize,
    pub(crate) jobs: usize,
    /// Custom jobs for one previous block and merkle path: more than one would be too many.
    pub(crate) jobs_of_template: BTreeMap<Vec<u8>, usize>,
    pub(crate) good: u64,
    pub(crate) bad: Vec<String>,
    pub(crate) payouts: Vec<u64>,
}

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// For [`Manner::Slow`]: jobs are taken from now on.
    pub(crate) go: watch::Sender<bool>,
}

impl Upstream {
    pub(crate) async fn open(manner: Manner) -> Self {
        let authority = Authority::new(AuthorityKeypair::from_secret(random::bytes()).unwrap(), 3_600);
        let now = Clock::system().unix_s();
        let identity = ServerIdentity::issued_by(&authority, random::bytes(), now, random::bytes()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!(
            "stratum2+tcp://127.0.0.1:{port}/{}",
            adit_noise::AuthorityKey::from(authority.public())
        );
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (go, went) = watch::channel(false);
        let (identity, theirs) = (Arc::new(identity), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (identity, seen, went) = (Arc::clone(&identity), Arc::clone(&theirs), went.clone());
                tokio::spawn(async move {
                    if let Some(mut peer) = Peer::welcome(stream, &identity, manner, seen, went).await {
                        while peer.turn().await.is_some() {}
                    }
                });
            }
        });
        Self { url, seen, go }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until it has seen something.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = tokio::time::Instant::now() + super::SOON;
        loop {
            let seen = self.seen();
            if wanted(&seen) {
                return seen;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: {seen:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

struct Peer {
    stream: TcpStream,
    session: Session,
    received: Vec<u8>,
    manner: Manner,
    seen: Arc<Mutex<Seen>>,
    went: watch::Receiver<bool>,
    mining: bool,
    jobs: BTreeMap<u32, SetCustomMiningJob>,
    declared: Option<declare::DeclareMiningJob>,
}

impl Peer {
    async fn welcome(
        mut stream: TcpStream,
        identity: &ServerIdentity,
        manner: Manner,
        seen: Arc<Mutex<Seen>>,
        went: watch::Receiver<bool>,
    ) -> Option<Self> {
        stream.set_nodelay(true).ok()?;
        let mut act1 = [0; ACT1_BYTES];
        stream.read_exact(&mut act1).await.ok()?;
        let (act2, session) = respond(identity, &act1, random::bytes()).ok()?;
        stream.write_all(&act2).await.ok()?;
        Some(Self {
            stream,
            session,
            received: Vec::new(),
            manner,
            seen,
            went,
            mining: false,
            jobs: BTreeMap::new(),
            declared: None,
        })
    }

    async fn frame(&mut self) -> Option<(Header, Vec<u8>)> {
        loop {
            if !self.received.is_empty()
                && let Feed::Frame {
                    used,
                    header,
                    payload,
                } = self.session.feed(&mut self.received, |_| 1 << 24).ok()?
            {
                let frame = (header, payload.to_vec());
                self.received.drain(..used);
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, message: &impl Message) {
        let (mut frame, mut sealed) = (Vec::new(), Vec::new());
        message.encode_frame(&mut frame);
        self.session.seal(&frame, &mut sealed).unwrap();
        let _ = self.stream.write_all(&sealed).await;
    }

    fn see(&self, look: impl FnOnce(&mut Seen)) {
        look(&mut self.seen.lock().unwrap());
    }

    /// One frame; none at the end.
    async fn turn(&mut self) -> Option<()> {
        let (header, payload) = self.frame().await?;
        if let Ok(common::ToServer::SetupConnection(it)) = common::ToServer::decode(&header, &payload) {
            self.mining = it.protocol == protocol::MINING;
            self.see(|seen| {
                seen.connections += 1;
                seen.setup_flags.insert(it.protocol, it.flags);
            });
            let answer = SetupConnectionSuccess {
                used_version: 2,
                flags: 0,
            };
            self.send(&answer).await;
            return Some(());
        }
        if self.mining {
            self.mining(mining::ToServer::decode(&header, &payload).ok()?)
                .await
        } else {
            self.declaring(declare::ToServer::decode(&header, &payload).ok()?)
                .await
        }
    }

    async fn declaring(&mut self, message: declare::ToServer) -> Option<()> {
        match message {
            declare::ToServer::AllocateMiningJobToken(it) => {
                self.see(|seen| seen.users.push(it.user_identifier.to_string()));
                if self.manner == Manner::NoToken {
                    return Some(());
                }
                if self.manner == Manner::Babbles {
                    self.babble().await;
                }
                let payout = TxOut {
                    value: Amount::ZERO,
                    script_pubkey: ScriptBuf::from_bytes(PAYOUT.to_vec()),
                };
                let answer = AllocateMiningJobTokenSuccess {
                    request_id: it.request_id,
                    mining_job_token: B0_255::new(&random::bytes::<16>()).unwrap(),
                    coinbase_tx_outputs: B0_64K::new(&serialize(&vec![payout])).unwrap(),
                };
                self.send(&answer).await;
            }
            declare::ToServer::DeclareMiningJob(it) => {
                self.see(|seen| {
                    seen.declared += 1;
                    seen.wtxids = it.wtxid_list.len();
                });
                let request_id = it.request_id;
                let count = u16::try_from(it.wtxid_list.len()).unwrap();
                self.declared = Some(it);
                match self.manner {
                    Manner::RefusesDeclarations => {
                        let error_code = no();
                        let error_details = B0_64K::default();
                        let answer = DeclareMiningJobError {
                            request_id,
                            error_code,
                            error_details,
                        };
                        self.send(&answer).await;
                    }
                    Manner::IgnoresDeclarations => {}
                    Manner::Curious => {
                        let backwards: Vec<u16> = (0..count).rev().collect();
                        let question = ProvideMissingTransactions {
                            request_id,
                            unknown_tx_position_list: Seq0_64K::new(backwards).unwrap(),
                        };
                        self.send(&question).await;
                    }
                    _ => self.acknowledge(request_id).await,
                }
            }
            declare::ToServer::ProvideMissingTransactionsSuccess(it) => {
                let declared = self.declared.as_ref()?;
                let matching = it.transaction_list.iter().zip(declared.wtxid_list.iter().rev());
                let right = matching.filter(|(bytes, wtxid)| {
                    let transaction: bitcoin::Transaction = bitcoin::consensus::deserialize(bytes).unwrap();
                    transaction.compute_wtxid().to_byte_array() == wtxid.0
                });
                let right = right.count();
                self.see(|seen| seen.provided += right);
                self.acknowledge(it.request_id).await;
            }
            declare::ToServer::PushSolution(_) => {}
        }
        Some(())
    }

    async fn acknowledge(&mut self, request_id: u32) {
        let answer = DeclareMiningJobSuccess {
            request_id,
            new_mining_job_token: B0_255::new(&random::bytes::<16>()).unwrap(),
        };
        self.send(&answer).await;
    }

    /// Answers to nobody's question.
    async fn babble(&mut self) {
        self.acknowledge(60_000).await;
        let question = ProvideMissingTransactions {
            request_id: 60_001,
            unknown_tx_position_list: Seq0_64K::new(vec![0, 1]).unwrap(),
        };
        self.send(&question).await;
        let refusal = DeclareMiningJobError {
            request_id: 60_002,
            error_code: no(),
            error_details: B0_64K::default(),
        };
        self.send(&refusal).await;
    }

    async fn mining(&mut self, message: mining::ToServer) -> Option<()> {
        match message {
            mining::ToServer::OpenExtendedMiningChannel(it) => {
                assert_eq!(it.min_extranonce_size, 8);
                let answer = OpenExtendedMiningChannelSuccess {
                    request_id: it.request_id,
                    channel_id: CHANNEL,
                    target: U256(Target::from_work(SHARE_WORK).0),
                    extranonce_size: ROLLED,
                    extranonce_prefix: B0_32::new(&[0xee; 4]).unwrap(),
                    group_channel_id: 1,
                };
                self.send(&answer).await;
            }
            mining::ToServer::SetCustomMiningJob(it) => self.custom(it).await,
            mining::ToServer::SubmitSharesExtended(it) => return self.share(it).await,
            _ => {}
        }
        Some(())
    }

    async fn custom(&mut self, it: SetCustomMiningJob) {
        let paid = Coinbase::read_outputs(&it.coinbase_tx_outputs).unwrap_or_default();
        let paid = paid
            .iter()
            .find(|output| output.script_pubkey.as_bytes() == PAYOUT);
        let paid = paid.map_or(0, |output| output.value.to_sat());
        self.see(|seen| {
            seen.jobs += 1;
            seen.payouts.push(paid);
            let path: Vec<u8> = it.merkle_path.iter().flat_map(|hash| hash.0).collect();
            *seen
                .jobs_of_template
                .entry([&it.prev_hash.0[..], &path].concat())
                .or_default() += 1;
        });
        let (channel_id, request_id) = (CHANNEL, it.request_id);
        if self.manner == Manner::Slow {
            let _ = self.went.wait_for(|went| *went).await;
        }
        if self.manner == Manner::Babbles {
            let lie = SetCustomMiningJobSuccess {
                channel_id,
                request_id: 70_000,
                job_id: 9,
            };
            self.send(&lie).await;
        }
        match self.manner {
            Manner::IgnoresJobs => {}
            Manner::RefusesJobs => {
                let error_code = no();
                let answer = SetCustomMiningJobError {
                    channel_id,
                    request_id,
                    error_code,
                };
                self.send(&answer).await;
            }
            _ => {
                let job_id = 1_000 + request_id;
                self.jobs.insert(job_id, it);
                let answer = SetCustomMiningJobSuccess {
                    channel_id,
                    request_id,
                    job_id,
                };
                self.send(&answer).await;
            }
        }
    }

    async fn share(&mut self, it: SubmitSharesExtended) -> Option<()> {
        let connections = self.seen().connections;
        if self.manner == Manner::ClosesOnce && connections <= 2 {
            return None;
        }
        let judged = self.judge(&it);
        self.see(|seen| match &judged {
            Ok(()) => seen.good += 1,
            Err(why) => seen.bad.push(why.clone()),
        });
        if self.manner == Manner::RefusesShares || judged.is_err() {
            let answer = SubmitSharesError {
                channel_id: CHANNEL,
                sequence_number: it.sequence_number,
                error_code: no(),
            };
            self.send(&answer).await;
        } else {
            let answer = SubmitSharesSuccess {
                channel_id: CHANNEL,
                last_sequence_number: it.sequence_number,
                new_submits_accepted_count: 1,
                new_shares_sum: 1,
            };
            self.send(&answer).await;
        }
        Some(())
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Builds the header of a share from the custom job, as any pool must.
    fn judge(&self, it: &SubmitSharesExtended) -> Result<(), String> {
        let job = self.jobs.get(&it.job_id).ok_or("a job that is not ours")?;
        if it.extranonce.len() != usize::from(ROLLED) {
            return Err("the extranonce has another size".into());
        }
        let extranonce = [&[0xee; 4][..], &it.extranonce[..]].concat();
        let parts = Coinbase {
            version: job.coinbase_tx_version,
            script_prefix: job.coinbase_prefix.to_vec(),
            extranonce_size: extranonce.len(),
            sequence: job.coinbase_tx_input_n_sequence,
            outputs: Coinbase::read_outputs(&job.coinbase_tx_outputs).ok_or("outputs")?,
            locktime: job.coinbase_tx_locktime,
            witness: None,
        };
        let coinbase = [parts.prefix(), extranonce, parts.suffix()].concat();
        let mut root = sha256d::Hash::hash(&coinbase).to_byte_array();
        for branch in &job.merkle_path {
            root = sha256d::Hash::hash(&[root, branch.0].concat()).to_byte_array();
        }
        let header = [
            &it.version.to_le_bytes()[..],
            &job.prev_hash.0,
            &root,
            &it.ntime.to_le_bytes(),
            &job.nbits.to_le_bytes(),
            &it.nonce.to_le_bytes(),
        ]
        .concat();
        let hash = sha256d::Hash::hash(&header).to_byte_array();
        match Target::from_work(SHARE_WORK).is_met_by(&hash) {
            true => Ok(()),
            false => Err(format!("no share: {}", U256(hash))),
        }
    }
}

/// What a negotiator says of itself, by protocol.
pub(crate) const FLAGS: [(u8, u32); 2] = [
    (protocol::MINING, flags::REQUIRES_WORK_SELECTION),
    (protocol::JOB_DECLARATION, flags::DECLARE_TX_DATA),
];

fn no() -> Str0_255 {
    Str0_255::try_from("no").unwrap()
}
