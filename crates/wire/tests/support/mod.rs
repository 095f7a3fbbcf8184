//! Payloads made from the tables' own field types, so that a new message is tested without a new line here.
#![allow(dead_code, reason = "each test file uses its part")]

use adit_wire::message::Row;
use adit_wire::{DecodeError, Header, TABLES, TransactionList};
use adit_wire::{common, declare, distribute, mining, negotiation, template};
use proptest::collection::vec;
use proptest::prelude::*;

/// Every message of every protocol.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flatten()
}

/// The header of a row's frame.
pub(crate) fn header(row: &Row, payload: &[u8]) -> Header {
    Header::new(row.extension, row.channel_msg, row.msg_type, payload.len() as u32)
}

/// Header and payload in one piece.
pub(crate) fn frame(row: &Row, payload: &[u8]) -> Vec<u8> {
    [&header(row, payload).encode(), payload].concat()
}

/// What became of a payload that was decoded by every enum that knows it.
#[derive(Debug, PartialEq)]
pub(crate) struct Decoded {
    /// The message, printed.
    pub(crate) text: String,
    /// The frame that encoding gave.
    pub(crate) frame: Vec<u8>,
    /// Bytes that were left after the last field.
    pub(crate) rest: usize,
}

macro_rules! for_each_direction {
    ($header:ident $payload:ident $($protocol:ident)*) => {{
        let mut decoded = Vec::new();
        $(for_each_direction!(@ decoded $header $payload $protocol::ToServer);
          for_each_direction!(@ decoded $header $payload $protocol::ToClient);)*
        decoded
    }};
    (@ $decoded:ident $header:ident $payload:ident $Direction:path) => {{
        type D = $Direction;
        match D::decode_with_rest($header, $payload) {
            Err(DecodeError::Unknown { .. }) => assert_eq!(D::length_max($header), None),
            Err(error) => $decoded.push(Err(error)),
            Ok((message, rest)) => {
                let mut frame = Vec::new();
                message.encode_frame(&mut frame);
                let again = D::decode($header, &frame[Header::LEN..]).expect("what we encode we decode");
                assert_eq!(again, message, "decode of encode is the identity");
                assert_eq!(message.msg_type(), $header.msg_type);
                let text = format!("{message:?}");
                $decoded.push(Ok(Decoded { text, frame, rest: rest.len() }));
            }
        }
    }};
}

/// Decodes with all direction enums; one result for each that knows the message.
pub(crate) fn decode_all(header: &Header, payload: &[u8]) -> Vec<Result<Decoded, DecodeError>> {
    for_each_direction!(header payload common mining declare template distribute negotiation)
}

/// Decodes with the enums that know the message, which must agree.
pub(crate) fn decode(header: &Header, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let mut all = decode_all(header, payload);
    let first = all.pop().expect("some enum knows the message");
    assert!(all.iter().all(|other| *other == first), "both directions agree");
    first
}

/// Any value of a field type, as canonical bytes. The type is written as in the tables.
pub(crate) fn field(ty: &str) -> BoxedStrategy<Vec<u8>> {
    if let Some((outer, inner)) = ty.strip_suffix('>').and_then(|t| t.split_once('<')) {
        return container(outer, inner);
    }
    match ty {
        "bool" => any::<bool>().prop_map(|b| vec![u8::from(b)]).boxed(),
        "u8" => vec(any::<u8>(), 1).boxed(),
        "u16" => vec(any::<u8>(), 2).boxed(),
        "u32" => vec(any::<u8>(), 4).boxed(),
        "u64" => vec(any::<u8>(), 8).boxed(),
        "U256" => vec(any::<u8>(), 32).boxed(),
        "f32" => (0..f32::INFINITY.to_bits())
            .prop_map(|bits| bits.to_le_bytes().to_vec())
            .boxed(),
        "B0_32" => bytes(1, 32),
        "B0_255" | "Str0_255" => bytes(1, 255),
        "B0_64K" => bytes(2, 65_535),
        "B0_16M" => bytes(3, 70_000),
        "TransactionList" => container("Seq0_64K", "B0_16M"),
        other => panic!("no generator for the type {other}"),
    }
}

fn prefixed(prefix: usize, count: usize, body: Vec<u8>) -> Vec<u8> {
    [&(count as u32).to_le_bytes()[..prefix], &body].concat()
}

/// Mostly short, sometimes as long as may be.
fn sizes(max: usize) -> BoxedStrategy<usize> {
    prop_oneof![20 => 0..=max.min(24), 1 => Just(max)].boxed()
}

fn bytes(prefix: usize, max: usize) -> BoxedStrategy<Vec<u8>> {
    let of_size = |size| vec(any::<u8>(), size);
    sizes(max)
        .prop_flat_map(of_size)
        .prop_map(move |b| prefixed(prefix, b.len(), b))
        .boxed()
}

fn container(outer: &str, inner: &str) -> BoxedStrategy<Vec<u8>> {
    let (prefix, max): (usize, usize) = match outer {
        "Option" => (1, 1),
        "Seq0_255" => (1, 255),
        "Seq0_64K" => (2, 40),
        other => panic!("no generator for the container {other}"),
    };
    let element = field(inner);
    let elements = (0..=max).prop_flat_map(move |count| vec(element.clone(), count));
    elements
        .prop_map(move |list| prefixed(prefix, list.len(), list.concat()))
        .boxed()
}

/// The shortest or longest value of a field type.
pub(crate) fn extreme(ty: &str, longest: bool) -> Vec<u8> {
    let fill = |prefix: usize, max: usize| {
        let size = if longest { max } else { 0 };
        prefixed(prefix, size, vec![0x5a; size])
    };
    let repeat = |prefix: usize, max: usize, inner: &str| {
        let count = if longest { max } else { 0 };
        prefixed(prefix, count, extreme(inner, longest).repeat(count))
    };
    if let Some((outer, inner)) = ty.strip_suffix('>').and_then(|t| t.split_once('<')) {
        return match outer {
            "Option" => repeat(1, 1, inner),
            "Seq0_255" => repeat(1, 255, inner),
            _ => repeat(2, 65_535, inner),
        };
    }
    match ty {
        "bool" | "u8" => vec![1],
        "u16" => vec![1; 2],
        "u32" | "f32" => vec![1; 4],
        "u64" => vec![1; 8],
        "U256" => vec![1; 32],
        "B0_32" => fill(1, 32),
        "B0_255" | "Str0_255" => fill(1, 255),
        "B0_64K" => fill(2, 65_535),
        "TransactionList" if longest => {
            let mut list = prefixed(2, 65_535, prefixed(3, 4_000_000, vec![0x5a; 4_000_000]));
            list.resize(TransactionList::LEN_MAX as usize, 0);
            list
        }
        "TransactionList" => vec![0; 2],
        other => panic!("no generator for the type {other}"),
    }
}

/// Any message: its row and the bytes of each field.
pub(crate) fn any_message() -> impl Strategy<Value = (&'static Row, Vec<Vec<u8>>)> {
    let rows: Vec<_> = rows().collect();
    proptest::sample::select(rows).prop_flat_map(|row| {
        let fields: Vec<_> = row.fields.iter().map(|(_, ty)| field(ty)).collect();
        (Just(row), fields)
    })
}
