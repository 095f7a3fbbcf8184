//! Frames of the hot messages: from bytes to a message, from a message to bytes.

use std::hint::black_box;

use adit_wire::mining::{
    NewMiningJob, SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard, ToClient, ToServer,
};
use adit_wire::{B0_32, DecodeError, Header, Message, U256};
use stratum_core::binary_sv2::{GetSize, Serialize, from_bytes};
use stratum_core::codec_sv2::{Decoded, Decoder, Encoder, MessageFrame};
use stratum_core::mining_sv2 as theirs;
use stratum_core::parsers_sv2::AnyMessage;

use super::Certain;
use crate::measure::{Case, Goal, Work};

const COUNT: u32 = 5_000;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        decode(&standard(), to_server),
        decode(&extended(), to_server),
        decode(&tip(), to_client),
        decode(&job(), to_client),
    ];
    let mut payloads = [
        payload(&standard()),
        payload(&extended()),
        payload(&tip()),
        payload(&job()),
    ];
    let [standard_bytes, extended_bytes, tip_bytes, job_bytes] = &mut payloads;
    cases.push(encode::<_, theirs::SubmitSharesStandard>(
        standard(),
        from_bytes::<theirs::SubmitSharesStandard>(standard_bytes).certain(),
    ));
    cases.push(encode(
        extended(),
        from_bytes::<theirs::SubmitSharesExtended<'_>>(extended_bytes)
            .certain()
            .into_owned(),
    ));
    cases.push(encode(
        tip(),
        from_bytes::<theirs::SetNewPrevHash<'_>>(tip_bytes)
            .certain()
            .into_owned(),
    ));
    cases.push(encode(
        job(),
        from_bytes::<theirs::NewMiningJob<'_>>(job_bytes)
            .certain()
            .into_owned(),
    ));
    cases
}

fn payload(message: &impl Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn standard() -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
    }
}

/// A share with eight bytes of rolled extranonce.
pub(super) fn extended() -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce: B0_32::new(&[7; 8]).certain(),
    }
}

/// What a header-only channel is told of a new block.
pub(crate) fn new_block() -> (NewMiningJob, SetNewPrevHash) {
    let job = NewMiningJob {
        min_ntime: None,
        ..job()
    };
    (job, tip())
}

fn tip() -> SetNewPrevHash {
    SetNewPrevHash {
        channel_id: 1,
        job_id: 2,
        prev_hash: U256([3; 32]),
        min_ntime: 4,
        nbits: 5,
    }
}

fn job() -> NewMiningJob {
    NewMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: Some(3),
        version: 4,
        merkle_root: U256([5; 32]),
    }
}

#[inline(always)]
fn to_server(header: &Header, payload: &[u8]) -> Result<(), DecodeError> {
    ToServer::decode(header, payload).map(|message| drop(black_box(message)))
}

#[inline(always)]
fn to_client(header: &Header, payload: &[u8]) -> Result<(), DecodeError> {
    ToClient::decode(header, payload).map(|message| drop(black_box(message)))
}

/// Ours decodes where the bytes were received; the reference's decoder wants them in its own buffer.
fn decode<M: Message>(
    message: &M,
    decode: impl Fn(&Header, &[u8]) -> Result<(), DecodeError> + 'static,
) -> Case {
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    let (theirs, received) = (frame.clone(), frame.repeat(COUNT as usize));
    let mut decoder = Decoder::new();
    Case {
        what: format!("decode {}", M::NAME),
        count: COUNT,
        items: 1,
        reference: Box::new(move |count| {
            for _ in 0..count {
                decode_theirs(&mut decoder, black_box(&theirs));
            }
        }),
        ours: Box::new(move |count| {
            let mut rest = black_box(received.as_slice());
            for _ in 0..count {
                let (head, behind) = rest.split_first_chunk().certain();
                let header = Header::parse(*head);
                let (payload, behind) = behind.split_at(header.msg_length as usize);
                decode(&header, payload).certain();
                rest = behind;
            }
            assert!(rest.is_empty() || count < COUNT);
        }),
        floor: None,
        goal: Goal::FasterWithoutAllocating(20.0),
    }
}

fn decode_theirs(decoder: &mut Decoder, mut rest: &[u8]) {
    loop {
        let room = decoder.writable();
        let (now, later) = rest.split_at(room.len());
        room.copy_from_slice(now);
        rest = later;
        if let Decoded::Frame(mut frame) = decoder.next_frame().certain() {
            let header = frame.header();
            black_box(AnyMessage::try_from((header, frame.payload()))).certain();
            return;
        }
    }
}

fn encode<M: Message + 'static, T: Clone + Serialize + GetSize + 'static>(ours: M, theirs: T) -> Case {
    let mut out = Vec::with_capacity(256);
    Case {
        what: format!("encode {}", M::NAME),
        count: COUNT,
        items: 1,
        reference: Box::new(TheirEncode {
            message: theirs,
            ready: Vec::new(),
            encoder: Encoder::new(),
            header: (M::TYPE, M::EXTENSION, M::CHANNEL_MSG),
        }),
        ours: Box::new(move |count| {
            for _ in 0..count {
                out.clear();
                black_box(&ours).encode_frame(black_box(&mut out));
            }
        }),
        floor: None,
        goal: Goal::FasterWithoutAllocating(5.0),
    }
}

/// The reference takes a message by value: copies are made beforehand.
struct TheirEncode<T> {
    message: T,
    ready: Vec<T>,
    encoder: Encoder,
    header: (u8, u16, bool),
}

impl<T: Clone + Serialize + GetSize> Work for TheirEncode<T> {
    fn prepare(&mut self, count: u32) {
        self.ready = vec![self.message.clone(); count as usize];
    }

    fn run(&mut self, _: u32) {
        let (number, extension, channel) = self.header;
        for message in self.ready.drain(..) {
            let frame = MessageFrame::from_message(message, number, extension, channel).certain();
            black_box(self.encoder.encode(frame).certain().as_ref());
        }
    }
}
