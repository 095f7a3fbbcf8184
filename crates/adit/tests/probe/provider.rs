//! A template provider and job declaration server of few words, which can break a rule as well.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{Clock, Url};
use adit_proto::setup;
use adit_wire::common::{self, flags, protocol};
use adit_wire::declare::{
    self, AllocateMiningJobTokenSuccess, DeclareMiningJobError, DeclareMiningJobSuccess,
};
use adit_wire::message::Message;
use adit_wire::template::{
    self, NewTemplate, RequestTransactionDataError, RequestTransactionDataSuccess, SetNewPrevHash,
};
use adit_wire::{B0_64K, B0_255, DecodeError, Header, Seq0_255, Str0_255, TransactionList, U256};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::liar::{Frame, Side, listen, welcome};
use super::support::SOON;
use super::{ask, failed, options, shown};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    NoTemplates,
    TemplatesUnasked,
    KeepsConstraints,
    IdsGoDown,
    LongPrefix,
    CountedOutputs,
    NoCommitment,
    PrevHashFirst,
    NoData,
    DataOfAnything,
    EndsAtUnknownSolutions,
    ChannelBits,
    ForgetsRequestId,
    OneToken,
    PayoutWithValue,
    TakesAnyToken,
}

/// Lies, and the checks that fail.
const FOUND: &[(Lie, &[&str])] = &[
    (Lie::None, &[]),
    (Lie::NoTemplates, &["tdp.answers", "tdp.replaced"]),
    (Lie::TemplatesUnasked, &["tdp.waits"]),
    (Lie::KeepsConstraints, &["tdp.replaced"]),
    (Lie::IdsGoDown, &["tdp.ids"]),
    (Lie::LongPrefix, &["tdp.prefix"]),
    (Lie::CountedOutputs, &["tdp.commitment", "tdp.outputs"]),
    (Lie::NoCommitment, &["tdp.commitment"]),
    (Lie::PrevHashFirst, &["tdp.future-first"]),
    (Lie::NoData, &["tdp.transactions"]),
    (
        Lie::DataOfAnything,
        &[
            "com.second-setup",
            "ext.unknown-discarded",
            "frm.unknown-message",
            "sec.empty-payload",
            "tdp.unknown-template",
        ],
    ),
    (Lie::EndsAtUnknownSolutions, &["tdp.unknown-solution"]),
    (Lie::ChannelBits, &["heard.channel-bits", "heard.no-channel-bit"]),
    (Lie::ForgetsRequestId, &["jd.request-ids"]),
    (Lie::OneToken, &["jd.tokens"]),
    (Lie::PayoutWithValue, &["jd.payout"]),
    (Lie::TakesAnyToken, &["jd.unknown-token"]),
];

/// An OP_RETURN output with a witness commitment, serialized.
fn commitment() -> Vec<u8> {
    [&[0; 8][..], &[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], &[7; 32]].concat()
}

/// A pool's output without value.
fn payout(value: u64) -> Vec<u8> {
    [&[1][..], &value.to_le_bytes(), &[22, 0, 20], &[9; 20]].concat()
}

fn frame(message: &impl Message) -> Frame {
    let mut out = Vec::new();
    message.encode_frame(&mut out);
    out
}

fn text(text: &str) -> Str0_255 {
    text.try_into().unwrap()
}

/// One connection.
struct Provider {
    lie: Lie,
    setup: Option<setup::Server>,
    protocol: u8,
    template: u64,
    constrained: bool,
    tokens: u8,
}

impl Provider {
    fn new(lie: Lie) -> Self {
        let served = |protocol, supported_flags| setup::Served {
            protocol,
            supported_flags,
            required_flags: 0,
            success_flags: 0,
        };
        let settings = setup::Settings {
            protocols: vec![
                served(protocol::TEMPLATE_DISTRIBUTION, 0),
                served(protocol::JOB_DECLARATION, flags::DECLARE_TX_DATA),
            ],
            timeout: Duration::from_secs(60),
        };
        Self {
            lie,
            setup: Some(setup::Server::new(Clock::system().now(), Arc::new(settings))),
            protocol: 0,
            template: 1_000,
            constrained: false,
            tokens: 0,
        }
    }

    /// What to say to a frame; none to hang up. The last answers are given before.
    fn answer(&mut self, said: &Frame, out: &mut Vec<Frame>) -> Option<()> {
        let header = Header::parse(*said.first_chunk()?);
        let payload = &said[Header::LEN..];
        if let Some(mut machine) = self.setup.take() {
            return self.set_up(&mut machine, &header, payload, out);
        }
        if self.protocol == protocol::JOB_DECLARATION {
            return match declare::ToServer::decode(&header, payload) {
                Ok(message) => {
                    self.declare(message, out);
                    Some(())
                }
                Err(DecodeError::Unknown { .. }) => Some(()),
                Err(_) => None,
            };
        }
        match template::ToServer::decode(&header, payload) {
            Ok(message) => self.template(message, out),
            Err(DecodeError::Unknown { .. }) => Some(()),
            Err(_) => None,
        }
    }

    fn set_up(
        &mut self,
        machine: &mut setup::Server,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<Frame>,
    ) -> Option<()> {
        let input = match common::ToServer::decode(header, payload) {
            Ok(message) => setup::ServerInput::Message(message),
            Err(_) => setup::ServerInput::Other,
        };
        let mut outputs = Vec::new();
        let result = machine.handle(Clock::system().now(), input, &mut outputs);
        for output in outputs {
            match output {
                setup::ServerOutput::Send(message) => {
                    let mut bytes = Vec::new();
                    message.encode_frame(&mut bytes);
                    out.push(bytes);
                }
                setup::ServerOutput::Established(it) => self.protocol = it.protocol,
            }
        }
        if self.lie == Lie::TemplatesUnasked && self.protocol == protocol::TEMPLATE_DISTRIBUTION {
            out.extend(self.templates());
        }
        result.ok()
    }

    fn templates(&mut self) -> Vec<Frame> {
        let step = if self.lie == Lie::IdsGoDown {
            self.template - 1
        } else {
            self.template + 1
        };
        self.template = step;
        let outputs = match self.lie {
            Lie::CountedOutputs => [&[1][..], &commitment()].concat(),
            Lie::NoCommitment => [&[0; 8][..], &[1, 0x51]].concat(),
            _ => commitment(),
        };
        let prefix = if self.lie == Lie::LongPrefix { 9 } else { 4 };
        let template = frame(&NewTemplate {
            template_id: self.template,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: B0_255::new(&vec![1; prefix]).unwrap(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: B0_64K::new(&outputs).unwrap(),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0_255::new(vec![U256([5; 32])]).unwrap(),
        });
        let tip = frame(&SetNewPrevHash {
            template_id: self.template,
            prev_hash: U256([6; 32]),
            header_timestamp: 1_700_000_000,
            n_bits: 0x207f_ffff,
            target: U256::MAX,
        });
        match self.lie {
            Lie::PrevHashFirst => vec![tip, template],
            Lie::ChannelBits => {
                let mut template = template;
                template[1] |= 0x80;
                vec![template, tip]
            }
            _ => vec![template, tip],
        }
    }

    fn template(&mut self, message: template::ToServer, out: &mut Vec<Frame>) -> Option<()> {
        match message {
            template::ToServer::CoinbaseOutputConstraints(_) => {
                let again = std::mem::replace(&mut self.constrained, true);
                let silent = self.lie == Lie::NoTemplates || (self.lie == Lie::KeepsConstraints && again);
                if !silent {
                    out.extend(self.templates());
                }
            }
            template::ToServer::RequestTransactionData(it) => {
                let known = it.template_id == self.template;
                if known && self.lie == Lie::NoData {
                    return Some(());
                }
                out.push(if known || self.lie == Lie::DataOfAnything {
                    frame(&RequestTransactionDataSuccess {
                        template_id: it.template_id,
                        excess_data: B0_64K::default(),
                        transaction_list: TransactionList::new(Vec::new()).unwrap(),
                    })
                } else {
                    frame(&RequestTransactionDataError {
                        template_id: it.template_id,
                        error_code: text("template-id-not-found"),
                    })
                });
            }
            template::ToServer::SubmitSolution(_) if self.lie == Lie::EndsAtUnknownSolutions => return None,
            template::ToServer::SubmitSolution(_) => {}
        }
        Some(())
    }

    fn declare(&mut self, message: declare::ToServer, out: &mut Vec<Frame>) {
        match message {
            declare::ToServer::AllocateMiningJobToken(it) => {
                self.tokens += u8::from(self.lie != Lie::OneToken);
                let value = if self.lie == Lie::PayoutWithValue { 546 } else { 0 };
                let request_id = if self.lie == Lie::ForgetsRequestId {
                    0
                } else {
                    it.request_id
                };
                out.push(frame(&AllocateMiningJobTokenSuccess {
                    request_id,
                    mining_job_token: B0_255::new(&[self.tokens; 8]).unwrap(),
                    coinbase_tx_outputs: B0_64K::new(&payout(value)).unwrap(),
                }));
            }
            declare::ToServer::DeclareMiningJob(it) if self.lie == Lie::TakesAnyToken => {
                out.push(frame(&DeclareMiningJobSuccess {
                    request_id: it.request_id,
                    new_mining_job_token: it.mining_job_token,
                }));
            }
            declare::ToServer::DeclareMiningJob(it) => out.push(frame(&DeclareMiningJobError {
                request_id: it.request_id,
                error_code: text("invalid-mining-job-token"),
                error_details: B0_64K::default(),
            })),
            _ => {}
        }
    }
}

async fn serve(lie: Lie) -> Url {
    let (listener, url, identity) = listen(0).await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let identity = Arc::clone(&identity);
            tokio::spawn(timeout(SOON, async move { talk(stream, &identity, lie).await }));
        }
    });
    url
}

async fn talk(stream: TcpStream, identity: &adit_noise::ServerIdentity, lie: Lie) {
    let Some(mut side): Option<Side> = welcome(stream, identity).await else {
        return;
    };
    let mut provider = Provider::new(lie);
    while let Some(frame) = side.frame().await {
        let mut out = Vec::new();
        let goes_on = provider.answer(&frame, &mut out);
        side.send(out).await;
        if goes_on.is_none() {
            return;
        }
    }
}

/// A server that serves no mining is asked what it serves; its lies are found.
#[tokio::test]
async fn providers_and_declarators_are_asked_too() {
    let mut wrong = Vec::new();
    for (lie, expected) in FOUND {
        let url = serve(*lie).await;
        let report = ask(&url, options()).await;
        let (found, expected) = (failed(&report), BTreeSet::from_iter(expected.iter().copied()));
        if found != expected {
            wrong.push(format!(
                "{lie:?}: found {found:?}, expected {expected:?}\n{}",
                shown(&report)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
