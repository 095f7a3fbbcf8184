//! A template provider of few words: one template, on a chain without transactions, in plaintext.

use std::sync::Arc;

use adit_net::Url;
use adit_proto::target::Target;
use adit_wire::common::{self, SetupConnectionSuccess};
use adit_wire::message::Message;
use adit_wire::template::{
    NewTemplate, RequestTransactionDataError, RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution,
    ToServer, decode_to_server,
};
use adit_wire::{Header, U256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Solutions that a test may leave unread.
const SOLUTIONS_MAX: usize = 4096;
/// Compact target of a regtest chain: every second hash is a block.
pub(crate) const NBITS: u32 = 0x207f_ffff;
/// Height of the block to be found.
pub(crate) const HEIGHT: u8 = 120;

/// What it tells every client.
#[derive(Clone)]
struct Told {
    template: NewTemplate,
    tip: SetNewPrevHash,
}

/// Listens until the test ends.
pub(crate) struct TemplateProvider {
    pub(crate) url: Url,
    pub(crate) tip: SetNewPrevHash,
    /// What was handed in.
    pub(crate) solutions: mpsc::Receiver<SubmitSolution>,
}

impl TemplateProvider {
    /// One whose blocks take `work` hashes, whatever the header says; its clock says `now`, seconds.
    pub(crate) async fn start(work: u64, now: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tip = SetNewPrevHash {
            template_id: 1,
            prev_hash: U256([7; 32]),
            header_timestamp: now,
            n_bits: NBITS,
            target: U256(Target::from_work(work).0),
        };
        let template = NewTemplate {
            template_id: 1,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: [1, HEIGHT][..].try_into().unwrap(),
            coinbase_tx_input_sequence: 0xffff_fffe,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: Default::default(),
            coinbase_tx_locktime: 0,
            merkle_path: Default::default(),
        };
        let told = Arc::new(Told {
            template,
            tip: tip.clone(),
        });
        let (found, solutions) = mpsc::channel(SOLUTIONS_MAX);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&told), found.clone()));
            }
        });
        let url = format!("stratum2+tcp://127.0.0.1:{port}").parse().unwrap();
        Self { url, tip, solutions }
    }
}

async fn serve(mut stream: TcpStream, told: Arc<Told>, found: mpsc::Sender<SubmitSolution>) {
    while let Some((header, payload)) = frame(&mut stream).await {
        let mut out = Vec::new();
        if common::ToServer::decode(&header, &payload).is_ok() {
            SetupConnectionSuccess {
                used_version: common::PROTOCOL_VERSION,
                flags: 0,
            }
            .encode_frame(&mut out);
        } else {
            match decode_to_server(&header, &payload).unwrap() {
                ToServer::CoinbaseOutputConstraints(_) => {
                    told.template.encode_frame(&mut out);
                    told.tip.encode_frame(&mut out);
                }
                ToServer::RequestTransactionData(asked) if asked.template_id == 1 => {
                    RequestTransactionDataSuccess {
                        template_id: 1,
                        excess_data: Default::default(),
                        transaction_list: Default::default(),
                    }
                    .encode_frame(&mut out);
                }
                ToServer::RequestTransactionData(asked) => RequestTransactionDataError {
                    template_id: asked.template_id,
                    error_code: "template-id-not-found".try_into().unwrap(),
                }
                .encode_frame(&mut out),
                ToServer::SubmitSolution(solution) => found.try_send(solution).unwrap(),
            }
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
    }
}

/// The next frame; none when the client has left.
async fn frame(stream: &mut TcpStream) -> Option<(Header, Vec<u8>)> {
    let mut header = [0; Header::LEN];
    stream.read_exact(&mut header).await.ok()?;
    let header = Header::parse(header);
    let mut payload = vec![0; header.msg_length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((header, payload))
}
