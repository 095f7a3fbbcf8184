//! Jobs, tips and a wire between a distributor and its receivers.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use adit_proto::distribute::board::{self, Board};
use adit_proto::distribute::client::{self, Client};
use adit_proto::distribute::server::{self, Server};
use adit_proto::distribute::{Pool, State, Tip};
use adit_wire::distribute::{NewDistributedJob, ToClient, ToServer};
use adit_wire::{B0_255, Header, Seq0_255, U256};

/// Regtest: every second hash meets it.
pub(crate) const NBITS: u32 = 0x207f_ffff;
/// Bytes of the whole extranonce.
pub(crate) const FULL_SIZE: u16 = 15;

/// A pool that differs by `port`.
pub(crate) fn pool(port: u16) -> Pool {
    Pool {
        host: "pool.example".try_into().expect("short"),
        port,
        key: Some([7; 32]),
        user_identity: "farm".try_into().expect("short"),
        min_extranonce_size: 8,
    }
}

/// The tip after block `block`.
pub(crate) fn tip(block: u8) -> Tip {
    Tip {
        prev_hash: U256([block; 32]),
        min_ntime: 1_700_000_000 + u32::from(block),
        nbits: NBITS,
    }
}

/// A job that differs by its token.
pub(crate) fn job(token: u8) -> Box<NewDistributedJob> {
    let outputs = [
        &[1u8][..],
        &5_000_000_000u64.to_le_bytes(),
        &[22, 0, 20],
        &[token; 20],
    ]
    .concat();
    Box::new(NewDistributedJob {
        job_id: 0,
        min_ntime: None,
        mining_job_token: B0_255::new(&[token; 16]).expect("short"),
        full_extranonce_size: FULL_SIZE,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::new(&[3, 0x40, 0x0d, 0x03]).expect("short"),
        coinbase_tx_input_n_sequence: 0xffff_fffe,
        coinbase_tx_outputs: outputs.try_into().expect("short"),
        coinbase_tx_locktime: 199_999,
        merkle_path: Seq0_255::new(vec![U256([1; 32]), U256([2; 32])]).expect("short"),
    })
}

/// The states that a list of inputs leads to, and the numbers given out.
pub(crate) fn states(
    board: &mut Board,
    inputs: impl IntoIterator<Item = board::Input>,
) -> (Vec<Arc<State>>, Vec<u32>) {
    let mut outputs = Vec::new();
    for input in inputs {
        board.handle(input, &mut outputs);
    }
    let (mut states, mut numbers) = (Vec::new(), Vec::new());
    for output in outputs {
        match output {
            board::Output::State(state) => states.push(state),
            board::Output::Numbered(number) => numbers.push(number),
        }
    }
    (states, numbers)
}

/// A distributor's connection and the receiver at its end; frames go through the codec.
pub(crate) struct Pair {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) sent: Vec<ToClient>,
    pub(crate) bytes: usize,
    pub(crate) heard: Vec<client::Output>,
}

impl Pair {
    pub(crate) fn new(flags: u32) -> Self {
        Self {
            server: Server::new(flags),
            client: Client::new(),
            sent: Vec::new(),
            bytes: 0,
            heard: Vec::new(),
        }
    }

    /// The receiver is told of a state.
    pub(crate) fn tell(&mut self, state: &Arc<State>) {
        let mut out = Vec::new();
        self.server
            .handle(server::Input::State(Arc::clone(state)), &mut out);
        for output in out {
            let server::Output::Send(message) = output else {
                panic!("{output:?}");
            };
            let message = self.over_the_wire(message);
            self.sent.push(message.clone());
            self.client
                .handle(client::Input::Message(message), &mut self.heard)
                .expect("what the server says, the client takes");
        }
    }

    fn over_the_wire(&mut self, message: ToClient) -> ToClient {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        self.bytes += frame.len();
        let (head, payload) = frame.split_first_chunk::<6>().expect("a frame");
        let header = Header::parse(*head);
        assert!(!header.channel_msg() && header.extension() == 0);
        ToClient::decode(&header, payload).expect("what we encode we decode")
    }

    /// What the receiver says, as the distributor understands it.
    pub(crate) fn say(&mut self, input: client::Input) -> Vec<server::Output> {
        let (mut said, mut out) = (Vec::new(), Vec::new());
        self.client.handle(input, &mut said).expect("no message");
        for output in said {
            let client::Output::Send(message) = output else {
                panic!("{output:?}");
            };
            let message: ToServer = message;
            self.server.handle(server::Input::Message(message), &mut out);
        }
        out
    }

    /// Names of the messages since the last look.
    pub(crate) fn names(&mut self) -> Vec<&'static str> {
        self.sent.drain(..).map(|message| message.name()).collect()
    }
}
