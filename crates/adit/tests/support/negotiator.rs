//! A miner with jobs of its own: a connection to declare on, and one to mine on.

use adit_net::Url;
use adit_proto::declare::Coinbase;
use adit_wire::common::{self, PROTOCOL_VERSION, SetupConnection, flags, protocol};
use adit_wire::declare::{
    AllocateMiningJobToken, AllocateMiningJobTokenSuccess, DeclareMiningJob, PushSolution,
    ToClient as Declared,
};
use adit_wire::mining::{SetCustomMiningJob, ToClient};
use adit_wire::{B0_32, B0_64K, B0_255, Seq0_64K, Seq0_255};
use bitcoin::{Amount, ScriptBuf, TxOut};

use super::miner::{How, Miner};
use super::peer::{self, Peer};
use super::solve_alone;

/// What a block without transactions is worth on the embedded chain.
pub(crate) const SUBSIDY: u64 = 5_000_000_000;
/// Extranonce of a channel that sets custom jobs: 7 bytes of prefix, 4 of start epoch, 8 rolled.
pub(crate) const EXTRANONCE: usize = 19;

/// A miner with jobs of its own: a connection to declare on, and one to mine on.
pub(crate) struct Negotiator {
    pub(crate) declarer: Peer,
    pub(crate) miner: Miner,
    name: &'static str,
    requests: u32,
}

pub(crate) fn declares(flags: u32) -> SetupConnection {
    SetupConnection {
        protocol: protocol::JOB_DECLARATION,
        ..peer::setup(flags)
    }
}

pub(crate) async fn declarer(url: &Url, flags: u32) -> Peer {
    let mut peer = Peer::greet(url).await;
    peer.say(&declares(flags)).await;
    let common::ToClient::SetupConnectionSuccess(success) = peer.hear().await.common() else {
        panic!("expected SetupConnection.Success")
    };
    assert_eq!((success.used_version, success.flags), (PROTOCOL_VERSION, 0));
    peer
}

impl Negotiator {
    pub(crate) async fn start(url: &Url, name: &'static str, flags: u32) -> Self {
        // REQ-MIN-012: the flag says that custom jobs will come.
        let peer = Peer::join(url, flags::REQUIRES_WORK_SELECTION).await;
        let miner = Miner::open(peer, How::Extended, name).await;
        assert_eq!(miner.prefix.len() + miner.size, EXTRANONCE);
        Self {
            declarer: declarer(url, flags).await,
            miner,
            name,
            requests: 100,
        }
    }

    pub(crate) async fn allocate(&mut self) -> AllocateMiningJobTokenSuccess {
        self.requests += 1;
        let (user_identifier, request_id) = (self.name.try_into().unwrap(), self.requests);
        let ask = AllocateMiningJobToken {
            user_identifier,
            request_id,
        };
        self.declarer.say(&ask).await;
        match self.declarer.hear_declare().await {
            Declared::AllocateMiningJobTokenSuccess(success) => {
                assert_eq!(success.request_id, request_id);
                success
            }
            other => panic!("expected a token, heard {other:?}"),
        }
    }

    /// A coinbase for the next block that pays `value` to the pool's output, whose script comes with the token.
    pub(crate) fn coinbase(&self, token: &AllocateMiningJobTokenSuccess, value: u64) -> Coinbase {
        let mut outputs = Coinbase::read_outputs(&token.coinbase_tx_outputs).expect("outputs");
        assert!(outputs.iter().all(|output| output.value == Amount::ZERO));
        outputs[0].value = Amount::from_sat(value);
        // BIP34 stands at the start of the pool's own scriptSig.
        let own = self
            .miner
            .parts
            .as_ref()
            .expect("a job")
            .coinbase_tx_prefix
            .to_vec();
        let script = &own[42..];
        let height = match script[0] {
            length @ 1..=8 => script[..=usize::from(length)].to_vec(),
            op => vec![op],
        };
        let mut script_prefix = height;
        script_prefix.push(EXTRANONCE as u8);
        Coinbase {
            version: 2,
            script_prefix,
            extranonce_size: EXTRANONCE,
            sequence: 0xffff_ffff,
            outputs,
            witness: None,
            locktime: 0,
        }
    }

    pub(crate) fn declaration(&mut self, token: &[u8], coinbase: &Coinbase) -> DeclareMiningJob {
        self.requests += 1;
        DeclareMiningJob {
            request_id: self.requests,
            mining_job_token: B0_255::new(token).unwrap(),
            version: self.miner.version,
            coinbase_tx_prefix: B0_64K::new(&coinbase.prefix()).unwrap(),
            coinbase_tx_suffix: B0_64K::new(&coinbase.suffix()).unwrap(),
            wtxid_list: Seq0_64K::new(Vec::new()).unwrap(),
            excess_data: B0_64K::default(),
        }
    }

    /// Declares a block without transactions: the new token, or code and details.
    pub(crate) async fn declare(
        &mut self,
        token: &[u8],
        coinbase: &Coinbase,
    ) -> Result<Vec<u8>, (String, String)> {
        let declaration = self.declaration(token, coinbase);
        self.declarer.say(&declaration).await;
        match self.declarer.hear_declare().await {
            Declared::DeclareMiningJobSuccess(success) => {
                assert_eq!(success.request_id, declaration.request_id);
                Ok(success.new_mining_job_token.to_vec())
            }
            Declared::DeclareMiningJobError(error) => {
                assert_eq!(error.request_id, declaration.request_id);
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                Err((text(&error.error_code), text(&error.error_details)))
            }
            other => panic!("expected a verdict, heard {other:?}"),
        }
    }

    pub(crate) fn custom(&mut self, token: &[u8], coinbase: &Coinbase) -> SetCustomMiningJob {
        self.requests += 1;
        let tip = &self.miner.tip;
        SetCustomMiningJob {
            channel_id: self.miner.channel_id,
            request_id: self.requests,
            mining_job_token: B0_255::new(token).unwrap(),
            version: self.miner.version,
            prev_hash: tip.prev_hash,
            min_ntime: tip.min_ntime,
            nbits: tip.nbits,
            coinbase_tx_version: coinbase.version,
            coinbase_prefix: B0_255::new(&coinbase.script_prefix).unwrap(),
            coinbase_tx_input_n_sequence: coinbase.sequence,
            coinbase_tx_outputs: B0_64K::new(&bitcoin::consensus::serialize(&coinbase.outputs)).unwrap(),
            coinbase_tx_locktime: coinbase.locktime,
            merkle_path: Seq0_255::new(Vec::new()).unwrap(),
        }
    }

    /// Sets a job: its id, or the code.
    pub(crate) async fn set(&mut self, job: &SetCustomMiningJob) -> Result<u32, String> {
        self.miner.peer.say(job).await;
        loop {
            match self.miner.peer.hear_mining().await {
                ToClient::SetCustomMiningJobSuccess(success) => {
                    assert_eq!(
                        (success.channel_id, success.request_id),
                        (job.channel_id, job.request_id)
                    );
                    return Ok(success.job_id);
                }
                ToClient::SetCustomMiningJobError(error) => {
                    assert_eq!(
                        (error.channel_id, error.request_id),
                        (job.channel_id, job.request_id)
                    );
                    return Err(String::from_utf8(error.error_code.to_vec()).unwrap());
                }
                // The pool's own templates go on.
                ToClient::NewExtendedMiningJob(_) => {}
                other => panic!("expected a verdict, heard {other:?}"),
            }
        }
    }

    /// A declared job of an empty block that pays all to the pool.
    pub(crate) async fn declared(&mut self) -> (Vec<u8>, Coinbase) {
        let token = self.allocate().await;
        let coinbase = self.coinbase(&token, SUBSIDY);
        let new = self.declare(&token.mining_job_token, &coinbase).await.unwrap();
        assert_ne!(new, token.mining_job_token.to_vec());
        (new, coinbase)
    }
}

pub(crate) fn output(value: u64, script: Vec<u8>) -> TxOut {
    TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(script),
    }
}

/// A block of `coinbase` alone, by another library.
pub(crate) fn solve(miner: &Miner, coinbase: &Coinbase) -> PushSolution {
    let extranonce = [7; EXTRANONCE];
    let stripped = [&coinbase.prefix()[..], &extranonce, &coinbase.suffix()].concat();
    let header = solve_alone(
        miner.version,
        (miner.tip.prev_hash, miner.tip.min_ntime, miner.tip.nbits),
        &stripped,
    );
    PushSolution {
        extranonce: B0_32::new(&extranonce).unwrap(),
        prev_hash: miner.tip.prev_hash,
        nonce: header.nonce,
        ntime: header.time,
        nbits: miner.tip.nbits,
        version: miner.version,
    }
}
