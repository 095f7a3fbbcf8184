//! A job declaration server with the driver that it asks: tokens, a mempool and a node that says yes.
#![allow(dead_code, reason = "each scenario uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

use adit_proto::declare::server::{Event, Input, Looked, Output, Refused, Server, Settings};
use adit_proto::declare::{Budget, Coinbase, Declared, Token, Tokens, TokensSettings, Transaction};
use adit_proto::mining::server::AccountId;
use adit_proto::setup::Established;
use adit_proto::{Fault, Time};
use adit_wire::declare::*;
use adit_wire::refusal::DeclareMiningJob as Refusal;
use adit_wire::{B0_16M, B0_64K, B0_255, Seq0_64K, Str0_255, TransactionList, U256};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Txid, Witness, absolute, transaction};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const START: Time = Time(1_800_000_000_000_000);
pub(crate) const NBITS: u32 = 0x2000_ffff;
pub(crate) const HEIGHT: u32 = 200_000;
pub(crate) const ALICE: &str = "alice";

/// A transaction of about `bytes`, spending output `n` of nothing in particular.
pub(crate) fn transaction(n: u64, bytes: usize) -> Vec<u8> {
    let mut txid = [1; 32];
    txid[..8].copy_from_slice(&n.to_le_bytes());
    let tx = bitcoin::Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array(txid), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[vec![n as u8; bytes.saturating_sub(100)]]),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(n),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
        }],
    };
    bitcoin::consensus::serialize(&tx)
}

pub(crate) fn wtxid(transaction: &[u8]) -> [u8; 32] {
    let tx: bitcoin::Transaction = bitcoin::consensus::deserialize(transaction).unwrap();
    tx.compute_wtxid().to_byte_array()
}

pub(crate) fn coinbase() -> Coinbase {
    let output = |value, script: Vec<u8>| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(script),
    };
    Coinbase {
        version: 2,
        script_prefix: vec![3, 0x40, 0x0d, 0x03, 15],
        extranonce_size: 15,
        sequence: 0xffff_fffe,
        outputs: vec![output(5_000_000_000, vec![0x51; 22]), output(0, vec![0x6a; 38])],
        witness: Some([0; 32]),
        locktime: HEIGHT - 1,
    }
}

/// `coinbase_tx_prefix` and `coinbase_tx_suffix`.
pub(crate) fn halves(coinbase: &Coinbase) -> (Vec<u8>, Vec<u8>) {
    let mark = vec![0xee; coinbase.extranonce_size];
    let whole = coinbase.transaction(&mark);
    let at = whole.windows(mark.len()).position(|it| it == mark).unwrap();
    (whole[..at].to_vec(), whole[at + mark.len()..].to_vec())
}

pub(crate) fn declare(request_id: u32, token: Token, wtxids: Vec<[u8; 32]>) -> DeclareMiningJob {
    let (prefix, suffix) = halves(&coinbase());
    DeclareMiningJob {
        request_id,
        mining_job_token: B0_255::new(&token.0).unwrap(),
        version: 0x2000_0000,
        coinbase_tx_prefix: B0_64K::new(&prefix).unwrap(),
        coinbase_tx_suffix: B0_64K::new(&suffix).unwrap(),
        wtxid_list: Seq0_64K::new(wtxids.into_iter().map(U256).collect()).unwrap(),
        excess_data: B0_64K::default(),
    }
}

pub(crate) fn provide(request_id: u32, transactions: Vec<Vec<u8>>) -> ProvideMissingTransactionsSuccess {
    let list = transactions
        .into_iter()
        .map(|it| B0_16M::new(&it).unwrap())
        .collect();
    ProvideMissingTransactionsSuccess {
        request_id,
        transaction_list: TransactionList::new(list).unwrap(),
    }
}

/// One connection and the driver behind it.
pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(crate) now: Time,
    pub(crate) budget: Budget,
    pub(crate) tokens: Tokens<()>,
    pub(crate) mempool: HashMap<[u8; 32], Vec<u8>>,
    pub(crate) prev_hash: [u8; 32],
    /// What the node says to a whole block.
    pub(crate) verdict: Result<(), Refused>,
    /// Checks are left open.
    pub(crate) slow_node: bool,
    pub(crate) lookups: usize,
    pub(crate) checks: Vec<(u64, Arc<Declared>)>,
    pub(crate) solved: Vec<Vec<u8>>,
    pub(crate) events: Vec<Event>,
    next_token: u128,
}

impl Desk {
    pub(crate) fn new(flags: u32) -> Self {
        Self::with(Settings::default(), Budget::new(64 << 20), flags)
    }

    pub(crate) fn with(settings: Settings, budget: Budget, flags: u32) -> Self {
        let established = Established {
            protocol: 1,
            version: 2,
            flags,
            success_flags: 0,
            endpoint_host: Str0_255::default(),
            endpoint_port: 0,
            device: Default::default(),
        };
        Self {
            server: Server::new(START, Arc::new(settings), budget.clone(), &established),
            now: START,
            budget,
            tokens: Tokens::new(TokensSettings {
                ttl: Duration::from_secs(600),
                per_connection: 8,
                total: 1000,
            }),
            mempool: HashMap::new(),
            prev_hash: [9; 32],
            verdict: Ok(()),
            slow_node: false,
            lookups: 0,
            checks: Vec::new(),
            solved: Vec::new(),
            events: Vec::new(),
            next_token: 77,
        }
    }

    /// Says something to the server and answers all that it asks; what it sent to the peer.
    pub(crate) fn say(&mut self, message: impl Into<ToServer>) -> Vec<ToClient> {
        self.try_give(Input::Message(message.into())).unwrap()
    }

    pub(crate) fn try_say(&mut self, message: impl Into<ToServer>) -> Result<Vec<ToClient>, Fault> {
        self.try_give(Input::Message(message.into()))
    }

    pub(crate) fn try_give(&mut self, input: Input) -> Result<Vec<ToClient>, Fault> {
        let (mut inputs, mut sent) = (vec![input], Vec::new());
        while !inputs.is_empty() {
            let mut out = Vec::new();
            self.server.handle(self.now, inputs.remove(0), &mut out)?;
            for output in out {
                inputs.extend(self.perform(output, &mut sent));
            }
        }
        Ok(sent)
    }

    fn perform(&mut self, output: Output, sent: &mut Vec<ToClient>) -> Option<Input> {
        match output {
            Output::Send(message) => sent.push(message),
            Output::Event(event) => self.events.push(event),
            Output::Solution(solved) => self
                .solved
                .push(solved.job.block(&solved.header, &solved.coinbase)),
            Output::Allocate {
                request_id,
                user_identifier,
            } => {
                self.next_token += 1;
                let token = Token(self.next_token.to_be_bytes());
                let account = AccountId::of(&user_identifier);
                self.tokens.grant(self.now, token, 1, account, None).unwrap();
                return Some(Input::Token {
                    request_id,
                    token: Some(token),
                    outputs: bitcoin::consensus::serialize(&coinbase().outputs[..1].to_vec()).into(),
                });
            }
            Output::Lookup(lookup) => {
                self.lookups += 1;
                let refused = |_| Refused::bare(Refusal::InvalidMiningJobToken);
                let account = self.tokens.declare(self.now, lookup.token, 1).map_err(refused);
                let known = |wtxid: &[u8; 32]| {
                    let bytes = self.mempool.get(wtxid)?;
                    Some(Arc::new(Transaction::read(bytes, &self.budget)?))
                };
                let verdict = account.map(|account| Looked {
                    account,
                    transactions: lookup.wtxids.iter().map(known).collect(),
                    prev_hash: self.prev_hash,
                    nbits: NBITS,
                });
                let declaration = lookup.declaration;
                return Some(Input::Looked { declaration, verdict });
            }
            Output::Check { declaration, job } => {
                self.checks.push((declaration, job));
                if !self.slow_node {
                    return Some(self.answer(declaration));
                }
            }
        }
        None
    }

    /// The node's answer to a check.
    pub(crate) fn answer(&mut self, declaration: u64) -> Input {
        self.next_token += 1;
        let token = Token(self.next_token.to_be_bytes());
        Input::Checked {
            declaration,
            verdict: self.verdict.clone().map(|()| token),
        }
    }

    /// A fresh token.
    pub(crate) fn token(&mut self) -> Token {
        let sent = self.say(AllocateMiningJobToken {
            user_identifier: Str0_255::try_from(ALICE).unwrap(),
            request_id: 1,
        });
        match &sent[..] {
            [ToClient::AllocateMiningJobTokenSuccess(success)] => {
                Token::read(&success.mining_job_token).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The code of the only message, a refusal.
pub(crate) fn refused(sent: &[ToClient]) -> String {
    match sent {
        [ToClient::DeclareMiningJobError(error)] => error.error_code.as_str().unwrap().to_owned(),
        other => panic!("no refusal: {other:?}"),
    }
}

pub(crate) fn asked(sent: &[ToClient]) -> Vec<u16> {
    match sent {
        [ToClient::ProvideMissingTransactions(ask)] => ask.unknown_tx_position_list.to_vec(),
        other => panic!("no question: {other:?}"),
    }
}

pub(crate) fn succeeded(sent: &[ToClient]) -> u32 {
    match sent {
        [ToClient::DeclareMiningJobSuccess(success)] => success.request_id,
        other => panic!("no success: {other:?}"),
    }
}
