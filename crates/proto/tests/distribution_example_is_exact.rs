//! The worked example of `docs/job-distribution.md` is what the machines send.

mod distribution;

use std::fmt::Write;
use std::sync::Arc;

use adit_proto::distribute::board::{Board, Input};
use adit_proto::distribute::server::{self, Server};
use adit_wire::Header;
use adit_wire::distribute::ROWS;
use adit_wire::message::Row;
use distribution::{job, pool, states, tip};

const DOCUMENT: &str = include_str!("../../../docs/job-distribution.md");

/// Bytes of a field that starts at the beginning of `rest`.
fn length(ty: &str, rest: &[u8]) -> usize {
    match ty {
        "u16" => 2,
        "u32" => 4,
        "U256" => 32,
        "Option<u32>" => 1 + 4 * usize::from(rest[0]),
        "B0_64K" => 2 + usize::from(u16::from_le_bytes([rest[0], rest[1]])),
        "Seq0_255<U256>" => 1 + 32 * usize::from(rest[0]),
        _ => 1 + usize::from(rest[0]),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = digits.chunks(32).map(|line| line.concat()).collect();
    lines.join("\n  ")
}

/// A frame with a line for each field.
fn spelled_out(frame: &[u8]) -> String {
    let (head, mut rest) = frame.split_first_chunk::<6>().expect("a frame");
    let header = Header::parse(*head);
    let is = |row: &&Row| row.msg_type == header.msg_type;
    let row = ROWS.iter().find(is).expect("a message");
    let mut text = format!("{}\n  {} ; header\n", row.name, hex(head));
    for (name, ty) in row.fields {
        let (field, after) = rest.split_at(length(ty, rest));
        writeln!(text, "  {} ; {name}", hex(field)).expect("memory");
        rest = after;
    }
    text
}

#[test]
fn the_example_of_the_document_is_what_is_sent() {
    let mut board = Board::new();
    let inputs = [Input::Pool(Some(pool(3333))), Input::Job(job(1), tip(1))];
    let (states, _) = states(&mut board, inputs);
    let mut sent = Vec::new();
    let state = Arc::clone(states.last().expect("a state"));
    Server::new(0).handle(server::Input::State(state), &mut sent);
    let mut text = String::new();
    for output in sent {
        let server::Output::Send(message) = output else {
            panic!("{output:?}");
        };
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        text.push_str(&spelled_out(&frame));
    }
    assert!(DOCUMENT.contains(&text), "the document should hold\n{text}");
}
