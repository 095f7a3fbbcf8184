//! Frames through a session, however the bytes arrive and whatever happens to them on the way.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod common;

use adit_noise::{CHUNK_BYTES_MAX, Feed, HEADER_RECORD_BYTES, SessionError, payload_records_bytes};
use common::{any, frame, opened, read, sealed, sessions};
use proptest::prelude::*;

/// The text's own way to count: whole records of 65,535, and the rest with its tag.
fn length_of_the_spec(plain: usize) -> usize {
    let rest = plain % (65_535 - 16);
    plain / (65_535 - 16) * 65_535 + if rest > 0 { rest + 16 } else { 0 }
}

/// REQ-SEC-031, REQ-SEC-032, REQ-SEC-034
#[test]
fn sealed_lengths_are_those_of_the_spec() {
    for (plain, records) in [
        (0, 0),
        (1, 17),
        (65_518, 65_534),
        (65_519, 65_535),
        (65_520, 65_552),
        (131_038, 131_070),
        (16_777_215, 16_781_327),
    ] {
        assert_eq!(payload_records_bytes(plain), records);
        assert_eq!(length_of_the_spec(plain as usize), records);
    }
    assert_eq!(CHUNK_BYTES_MAX, 65_519);
    let (mut client, mut server) = sessions();
    for plain in [0, 1, 65_518, 65_519, 65_520, 2 * 65_519, 70_000, 3 * 65_519 + 1] {
        let frames = [frame(9, plain), frame(8, 1)];
        let stream = sealed(&mut client, &frames);
        assert_eq!(
            stream.len(),
            2 * HEADER_RECORD_BYTES + length_of_the_spec(plain) + 17
        );
        assert_eq!(read(&mut server, &stream, &[10_000]), frames);
    }
}

proptest! {
    #[test]
    fn sealed_lengths_are_those_of_the_spec_for_all(plain in 0u32..1 << 24) {
        prop_assert_eq!(payload_records_bytes(plain), length_of_the_spec(plain as usize));
    }

    /// REQ-SEC-033: the frames do not depend on how the bytes arrive.
    #[test]
    fn any_cut_of_the_stream_gives_the_same_frames(
        lengths in prop::collection::vec(prop_oneof![8 => 0usize..80, 1 => 65_500usize..65_540, 1 => 131_000usize..140_000], 0..12),
        cuts in prop::collection::vec(prop_oneof![3 => 1usize..60, 1 => 1usize..100_000], 1..20),
    ) {
        // Byte by byte is for short streams.
        let floor = if lengths.iter().any(|&l| l > 80) { 997 } else { 1 };
        let cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.max(floor)).collect();
        let (mut client, mut server) = sessions();
        let frames: Vec<_> = lengths.iter().zip(0..).map(|(&length, n)| frame(n, length)).collect();
        let stream = sealed(&mut client, &frames);
        prop_assert_eq!(read(&mut server, &stream, &cuts), frames);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// REQ-SEC-022: whatever bit of whatever record is changed, the frames before it are whole, nothing after it is
    /// read, and the session has ended.
    #[test]
    fn a_changed_bit_ends_the_session(lengths in prop::collection::vec(0usize..60, 1..5), place: prop::sample::Index) {
        let (mut client, mut server) = sessions();
        let frames: Vec<_> = lengths.iter().map(|&length| frame(3, length)).collect();
        let mut stream = sealed(&mut client, &frames);
        let bit = place.index(stream.len() * 8);
        stream[bit / 8] ^= 1 << (bit % 8);
        let mut start = 0;
        for frame in &frames {
            match server.feed(&mut stream[start..], any) {
                Ok(Feed::Frame { used, payload, .. }) => {
                    prop_assert_eq!(payload, &frame[6..]);
                    start += used;
                    prop_assert!(start <= bit / 8);
                }
                other => {
                    prop_assert_eq!(other, Err(SessionError::Authentication));
                    let end = start + HEADER_RECORD_BYTES + payload_records_bytes(frame.len() as u32 - 6);
                    prop_assert!((start..end).contains(&(bit / 8)));
                    prop_assert_eq!(server.feed(&mut stream, any), Err(SessionError::Poisoned));
                    let mut out = vec![1];
                    prop_assert_eq!(server.seal(frame, &mut out), Err(SessionError::Poisoned));
                    prop_assert_eq!(out, vec![1]);
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "the change went unseen");
    }
}

/// REQ-SEC-022, REQ-SEC-023: records out of their place do not authenticate.
#[test]
fn replayed_reordered_dropped_and_reflected_records_end_the_session() {
    let frames = [frame(1, 30), frame(2, 30), frame(3, 30)];
    let whole = HEADER_RECORD_BYTES + 46;
    for (first, then) in [(0, 0), (0, 2), (1, 0), (2, 1)] {
        let (mut client, mut server) = sessions();
        let stream = sealed(&mut client, &frames);
        let mut records: Vec<_> = stream.chunks(whole).map(<[u8]>::to_vec).collect();
        let started = server.feed(&mut records[first], any).is_ok();
        assert_eq!(started, first == 0);
        assert!(server.feed(&mut records[then], any).is_err());
        assert_eq!(server.feed(&mut records[1], any), Err(SessionError::Poisoned));
    }
    let (mut client, _) = sessions();
    let mut own = sealed(&mut client, &frames);
    assert_eq!(client.feed(&mut own, any), Err(SessionError::Authentication));
}

/// A chunk of a long payload that is left out, doubled or moved.
#[test]
fn chunks_out_of_their_place_end_the_session() {
    let plain = frame(1, 3 * CHUNK_BYTES_MAX);
    let (first, second) = (HEADER_RECORD_BYTES, HEADER_RECORD_BYTES + 65_535);
    let (mut client, mut server) = sessions();
    let mut stream = sealed(&mut client, &[plain]);
    let (head, tail) = stream.split_at_mut(second);
    head[first..].swap_with_slice(&mut tail[..65_535]);
    assert_eq!(server.feed(&mut stream, any), Err(SessionError::Authentication));
}

/// A stream that stops yields no part of a frame, whatever its length.
#[test]
fn a_cut_frame_is_no_frame() {
    let (mut client, _) = sessions();
    let stream = sealed(&mut client, &[frame(1, 40)]);
    for length in 0..stream.len() {
        let (_, mut server) = sessions();
        let need = if length < HEADER_RECORD_BYTES {
            HEADER_RECORD_BYTES
        } else {
            stream.len()
        };
        assert_eq!(
            server.feed(&mut stream[..length].to_vec(), any),
            Ok(Feed::Need(need))
        );
    }
}

/// The limit is asked once, on the header alone, before the payload is waited for.
#[test]
fn a_payload_above_the_limit_ends_the_session_at_its_header() {
    let (mut client, mut server) = sessions();
    let mut stream = sealed(&mut client, &[frame(7, 100), frame(7, 101)]);
    let (first, second) = stream.split_at_mut(HEADER_RECORD_BYTES + 116);
    let mut asked = 0;
    let mut limit = |header: &adit_noise::Header| {
        asked += u32::from(header.msg_type);
        100
    };
    let cut = first.len() - 1;
    assert_eq!(
        server.feed(&mut first[..cut], &mut limit),
        Ok(Feed::Need(cut + 1))
    );
    assert!(matches!(server.feed(first, &mut limit), Ok(Feed::Frame { .. })));
    let header = &mut second[..HEADER_RECORD_BYTES];
    let error = SessionError::TooLong {
        length: 101,
        limit: 100,
    };
    assert_eq!(server.feed(header, &mut limit), Err(error));
    assert_eq!(asked, 14);
    assert_eq!(server.feed(second, any), Err(SessionError::Poisoned));
}

/// REQ-SEC-032: a frame whose header lies about its length is never sealed.
#[test]
fn a_malformed_frame_is_not_sealed() {
    for bad in [
        vec![],
        vec![0; 5],
        frame(1, 9)[..14].to_vec(),
        [frame(1, 9), vec![0]].concat(),
    ] {
        let (mut client, _) = sessions();
        let mut out = vec![1, 2, 3];
        assert_eq!(client.seal(&bad, &mut out), Err(SessionError::Malformed));
        assert_eq!(out, [1, 2, 3]);
        assert_eq!(client.seal(&frame(1, 1), &mut out), Err(SessionError::Poisoned));
    }
}

/// Sealing goes behind what the buffer already holds.
#[test]
fn seal_appends() {
    let (mut client, mut server) = sessions();
    let mut out = b"before".to_vec();
    client.seal(&frame(1, 20), &mut out).unwrap();
    assert_eq!(&out[..6], b"before");
    assert_eq!(opened(&mut server, &out[6..]), frame(1, 20));
}
