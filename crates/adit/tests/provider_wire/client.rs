//! A provider of this process, and a client that does everything by hand.

use adit::config::Settings;
use adit::provider::Provider;
use adit_net::Url;
use adit_node::BlockStatus;
use adit_proto::template::Constraints;
use adit_wire::common::{self, protocol};
use adit_wire::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, SetNewPrevHash, SubmitSolution, ToClient,
};
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Witness, absolute, transaction,
};
use tempfile::TempDir;

use crate::support::peer::{Heard, Peer, setup};

/// Room for a payout or two.
pub(crate) const ROOM: Constraints = Constraints {
    max_additional_size: 100,
    max_additional_sigops: 8,
};

/// A provider with its data folder.
pub(crate) struct House {
    pub(crate) data: TempDir,
    pub(crate) provider: Provider,
}

impl House {
    pub(crate) async fn open(changes: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let provider = provider(data.path(), changes).await;
        Self { data, provider }
    }

    pub(crate) fn url(&self) -> &Url {
        self.provider.url()
    }

    pub(crate) async fn status(&self, hash: BlockHash) -> BlockStatus {
        self.provider.node().status(hash).await.unwrap()
    }
}

pub(crate) async fn provider(data: &std::path::Path, changes: &[(&str, &str)]) -> Provider {
    let mut keys = vec![
        ("data", data.to_str().unwrap()),
        ("provider.listen", "127.0.0.1:0"),
        ("node", "embedded:8"),
        ("log.level", "error"),
    ];
    keys.retain(|(key, _)| changes.iter().all(|(changed, _)| changed != key));
    keys.extend(changes);
    Provider::start(&Settings::with(&keys).unwrap()).await.unwrap()
}

/// A pool, played by hand.
pub(crate) struct Client {
    pub(crate) peer: Peer,
    /// What it was told last.
    pub(crate) tip: Option<SetNewPrevHash>,
    last_id: u64,
}

/// A template on its tip.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) template: NewTemplate,
    pub(crate) tip: SetNewPrevHash,
}

impl Client {
    /// A client that is set up and has said nothing yet.
    pub(crate) async fn greet(url: &Url) -> Self {
        let mut peer = Peer::greet(url).await;
        let mut hello = setup(0);
        hello.protocol = protocol::TEMPLATE_DISTRIBUTION;
        peer.say(&hello).await;
        let heard = peer.hear().await.common();
        assert!(
            matches!(heard, common::ToClient::SetupConnectionSuccess(_)),
            "{heard:?}"
        );
        Self {
            peer,
            tip: None,
            last_id: 0,
        }
    }

    /// A client that has asked for `room` and got its first template.
    pub(crate) async fn join(url: &Url, room: Constraints) -> (Self, Work) {
        let mut client = Self::greet(url).await;
        client.peer.say(&CoinbaseOutputConstraints::from(room)).await;
        let work = client.work().await;
        (client, work)
    }

    pub(crate) async fn hear(&mut self) -> ToClient {
        match self.peer.hear().await {
            Heard::Template(message) => message,
            other => panic!("expected a message of template distribution, heard {other:?}"),
        }
    }

    /// The next template with its tip, held to the order of the specification.
    pub(crate) async fn work(&mut self) -> Work {
        let ToClient::NewTemplate(template) = self.hear().await else {
            panic!("expected NewTemplate");
        };
        assert!(template.template_id > self.last_id, "REQ-TDP-015");
        self.last_id = template.template_id;
        assert!(template.coinbase_prefix.len() <= 8, "REQ-TDP-017");
        if template.future_template {
            let ToClient::SetNewPrevHash(tip) = self.hear().await else {
                panic!("expected SetNewPrevHash");
            };
            assert_eq!(tip.template_id, template.template_id, "REQ-TDP-027");
            self.tip = Some(tip);
        }
        let tip = self.tip.clone().expect("REQ-TDP-025");
        Work { template, tip }
    }

    /// The next template on another tip.
    pub(crate) async fn next_tip(&mut self) -> Work {
        let before = self.tip.clone().unwrap().prev_hash;
        loop {
            let work = self.work().await;
            if work.tip.prev_hash != before {
                return work;
            }
        }
    }

    /// The transactions of a template; templates that come meanwhile are passed over.
    pub(crate) async fn transactions(&mut self, template_id: u64) -> Result<Vec<Vec<u8>>, String> {
        self.peer.say(&RequestTransactionData { template_id }).await;
        loop {
            match self.hear().await {
                ToClient::RequestTransactionDataSuccess(it) => {
                    assert_eq!(it.template_id, template_id);
                    return Ok(it.transaction_list.iter().map(|tx| tx.to_vec()).collect());
                }
                ToClient::RequestTransactionDataError(it) => {
                    assert_eq!(it.template_id, template_id);
                    return Err(it.error_code.to_string());
                }
                ToClient::NewTemplate(template) => self.last_id = template.template_id,
                ToClient::SetNewPrevHash(tip) => self.tip = Some(tip),
            }
        }
    }
}

impl Work {
    /// The outputs that must stand last.
    pub(crate) fn outputs(&self) -> Vec<TxOut> {
        let mut rest: &[u8] = &self.template.coinbase_tx_outputs;
        let outputs = (0..self.template.coinbase_tx_outputs_count).map(|_| {
            let output = bitcoin::consensus::Decodable::consensus_decode(&mut rest);
            output.expect("an output")
        });
        let outputs = outputs.collect();
        assert!(rest.is_empty(), "REQ-TDP-019");
        outputs
    }

    /// A solved header and its coinbase.
    pub(crate) fn solve(&self) -> (SubmitSolution, Header, Transaction) {
        let mut script = self.template.coinbase_prefix.to_vec();
        // As long as a scriptSig may be.
        script.push(99 - self.template.coinbase_prefix.len() as u8);
        script.resize(100, 0);
        let paid = TxOut {
            value: Amount::from_sat(self.template.coinbase_tx_value_remaining),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51]).to_p2wsh(),
        };
        let coinbase = Transaction {
            version: transaction::Version(self.template.coinbase_tx_version.cast_signed()),
            lock_time: absolute::LockTime::from_consensus(self.template.coinbase_tx_locktime),
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::from_bytes(script),
                sequence: Sequence(self.template.coinbase_tx_input_sequence),
                witness: Witness::from_slice(&[[0; 32]]),
            }],
            output: [paid].into_iter().chain(self.outputs()).collect(),
        };
        let path: Vec<[u8; 32]> = self.template.merkle_path.iter().map(|branch| branch.0).collect();
        let root = adit_proto::merkle::fold(coinbase.compute_txid().to_byte_array(), &path);
        let mut header = Header {
            version: Version::from_consensus(self.template.version.cast_signed()),
            prev_blockhash: BlockHash::from_byte_array(self.tip.prev_hash.0),
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: self.tip.header_timestamp,
            bits: CompactTarget::from_consensus(self.tip.n_bits),
            nonce: 0,
        };
        while !header.target().is_met_by(header.block_hash()) {
            header.nonce += 1;
        }
        let solution = SubmitSolution {
            template_id: self.template.template_id,
            version: self.template.version,
            header_timestamp: header.time,
            header_nonce: header.nonce,
            coinbase_tx: serialize(&coinbase).try_into().unwrap(),
        };
        (solution, header, coinbase)
    }
}

/// The whole block.
pub(crate) fn block(header: Header, coinbase: Transaction, rest: &[Vec<u8>]) -> Block {
    let rest = rest.iter().map(|bytes| deserialize(bytes).unwrap());
    Block {
        header,
        txdata: [coinbase].into_iter().chain(rest).collect(),
    }
}
