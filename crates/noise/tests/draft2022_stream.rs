//! Frames through sessions of every suite, however the bytes arrive and whatever happens to them on the way.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod common;

use adit_noise::draft2022::{Aeads, Initiator, Responder, Terms};
use adit_noise::{Aead, CHUNK_BYTES_MAX, Feed, Session, SessionError, Suite};
use common::{any, frame, read, sealed, sessions_of};
use proptest::prelude::*;

const DRAFTS: [Suite; 2] = [Suite::Draft2022(Aead::ChaChaPoly), Suite::Draft2022(Aead::AesGcm)];

/// Records of the draft whose text is cut as somebody else might cut it. What the session has is a sealer of frames, so
/// the text stands in frames whose own headers are told to nobody: this uses `snow` for the records.
struct OtherSender(snow::TransportState);

impl OtherSender {
    fn record(&mut self, text: &[u8]) -> Vec<u8> {
        let mut record = vec![0; 2 + text.len() + 16];
        let length = self.0.write_message(text, &mut record[2..]).unwrap();
        record[..2].copy_from_slice(&(length as u16).to_le_bytes());
        record
    }
}

/// A client that is `snow` alone, and our server.
fn other_sender(aead: Aead) -> (OtherSender, Session) {
    let (name, code) = match aead {
        Aead::ChaChaPoly => ("Noise_NX_25519_ChaChaPoly_BLAKE2s", *b"CHCH"),
        Aead::AesGcm => ("Noise_NX_25519_AESGCM_BLAKE2s", *b"AESG"),
    };
    let (_, offer) = Initiator::new(Aeads::only(aead), [1; 32]).unwrap();
    let (answering, _) = Responder::new(Terms::default()).answer(&offer).unwrap();
    let prologue = [&offer[6..], &code].concat();
    let mut theirs = snow::Builder::new(name.parse().unwrap())
        .prologue(&prologue)
        .unwrap()
        .build_initiator()
        .unwrap();
    let mut act1 = [0; 64];
    let length = theirs.write_message(&[], &mut act1).unwrap();
    let act1 = [&[32, 0], &act1[..length]].concat();
    let (act2, ours) = answering
        .respond(&common::draft::identity(), &act1, [2; 32])
        .unwrap();
    theirs.read_message(&act2[2..], &mut [0; 128]).unwrap();
    (OtherSender(theirs.into_transport_mode().unwrap()), ours)
}

/// REQ-SEC-020, REQ-SEC-031, REQ-FRM-012: frames around every edge, the one of 70,000 bytes among them, over every suite.
#[test]
fn frames_of_all_sizes_over_every_suite() {
    for suite in Suite::ALL {
        let (mut client, mut server) = sessions_of(suite);
        assert_eq!((client.suite(), server.suite()), (suite, suite));
        for plain in [
            0, 1, 6, 33, 65_512, 65_513, 65_514, 65_519, 65_520, 70_000, 131_032, 131_033, 300_000,
        ] {
            let frames = [frame(9, plain), frame(8, 1)];
            let stream = sealed(&mut client, &frames);
            assert_eq!(
                read(&mut server, &stream, &[10_000]),
                frames,
                "{suite}, {plain} bytes"
            );
        }
    }
}

/// REQ-SEC-011, REQ-SEC-020: one record a frame where it fits, whole pieces of 65,519 bytes where it does not.
#[test]
fn records_are_as_few_and_as_long_as_can_be() {
    for suite in DRAFTS {
        let (mut client, _) = sessions_of(suite);
        for plain in [0, 65_512, 65_513, 65_514, 131_032, 131_033, 16_000_000] {
            let stream = sealed(&mut client, &[frame(9, plain)]);
            let (mut lengths, mut rest) = (Vec::new(), stream.as_slice());
            while let Some((head, body)) = rest.split_first_chunk() {
                let length = usize::from(u16::from_le_bytes(*head));
                lengths.push(length);
                rest = &body[length..];
            }
            assert_eq!(lengths.len(), (plain + 6).div_ceil(CHUNK_BYTES_MAX));
            let (last, others) = lengths.split_last().unwrap();
            assert!(others.iter().all(|&length| length == 65_535));
            assert_eq!(others.len() * CHUNK_BYTES_MAX + last - 16, plain + 6);
        }
    }
}

proptest! {
    /// REQ-SEC-021, REQ-SEC-033: the frames depend neither on how the bytes arrive, nor on how another sender cuts the
    /// stream of frames into records, records without text among them.
    #[test]
    fn any_cut_of_frames_and_stream_gives_the_same_frames(
        aes in prop::bool::ANY,
        lengths in prop::collection::vec(prop_oneof![8 => 0usize..80, 1 => 60_000usize..140_000], 0..10),
        records in prop::collection::vec(prop_oneof![1 => Just(0usize), 4 => 1usize..50, 2 => 50usize..65_519], 1..10),
        cuts in prop::collection::vec(prop_oneof![3 => 1usize..60, 1 => 1usize..100_000], 1..20),
    ) {
        let long = lengths.iter().any(|&l| l > 80);
        let (mut sender, mut server) = other_sender(if aes { Aead::AesGcm } else { Aead::ChaChaPoly });
        let frames: Vec<_> = lengths.iter().zip(0..).map(|(&length, n)| frame(n, length)).collect();
        let text = frames.concat();
        let (mut rest, mut stream) = (text.as_slice(), Vec::new());
        let mut pieces = records.iter().cycle();
        while !rest.is_empty() {
            // Crumbs are for short streams, and not all records may be without text.
            let piece = pieces.next().copied().unwrap_or(1);
            let piece = if records.iter().all(|&p| p == 0) { 7 } else { piece };
            let piece = if long { piece.max(500) } else { piece };
            let (now, later) = rest.split_at(piece.min(rest.len()));
            stream.extend(sender.record(now));
            rest = later;
        }
        let cuts: Vec<usize> = cuts.into_iter().map(|cut| if long { cut.max(997) } else { cut }).collect();
        prop_assert_eq!(read(&mut server, &stream, &cuts), frames);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// REQ-SEC-022: whatever bit is changed, of whatever record or its length, over either suite: the frames before it
    /// are whole, nothing after it is read, and the session has ended or waits for bytes that never fit.
    #[test]
    fn a_changed_bit_ends_the_session(
        which in 0usize..3,
        lengths in prop::collection::vec(0usize..60, 1..5),
        place: prop::sample::Index,
    ) {
        let suite = Suite::ALL[which];
        let (mut client, mut server) = sessions_of(suite);
        let frames: Vec<_> = lengths.iter().map(|&length| frame(3, length)).collect();
        let records: Vec<_> = frames.iter().map(|frame| sealed(&mut client, std::slice::from_ref(frame))).collect();
        let ends = records.iter().scan(0, |end, record| {
            *end += record.len();
            Some(*end)
        });
        let mut stream = records.concat();
        let bit = place.index(stream.len() * 8);
        stream[bit / 8] ^= 1 << (bit % 8);
        // Enough behind it that a length which became longer is not waited for.
        stream.resize(stream.len() + 70_000, 0x5a);
        let mut start = 0;
        for (frame, end) in frames.iter().zip(ends) {
            match server.feed(&mut stream[start..], any) {
                Ok(Feed::Frame { used, payload, .. }) => {
                    prop_assert_eq!(payload, &frame[6..]);
                    start += used;
                    prop_assert!(start == end && start <= bit / 8);
                }
                other => {
                    prop_assert_eq!(other, Err(SessionError::Authentication));
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
    for suite in DRAFTS {
        for (first, then) in [(0, 0), (0, 2), (1, 0), (2, 1)] {
            let (mut client, mut server) = sessions_of(suite);
            let stream = sealed(&mut client, &frames);
            let mut records: Vec<_> = stream.chunks(54).map(<[u8]>::to_vec).collect();
            let started = server.feed(&mut records[first], any).is_ok();
            assert_eq!(started, first == 0);
            assert!(server.feed(&mut records[then], any).is_err());
            assert_eq!(server.feed(&mut records[1], any), Err(SessionError::Poisoned));
        }
        let (mut client, _) = sessions_of(suite);
        let mut own = sealed(&mut client, &frames);
        assert_eq!(client.feed(&mut own, any), Err(SessionError::Authentication));
    }
}

/// REQ-SEC-011: no record is shorter than its tag.
#[test]
fn a_record_without_room_for_a_tag_ends_the_session() {
    for suite in DRAFTS {
        for length in 0..16u8 {
            let (_, mut server) = sessions_of(suite);
            let mut bytes = vec![length, 0];
            bytes.resize(40, 7);
            assert_eq!(server.feed(&mut bytes, any), Err(SessionError::Authentication));
        }
    }
}

/// REQ-SEC-021: a record without text says nothing; without end they are an attack on memory.
#[test]
fn empty_records_are_ignored_within_bounds() {
    for aead in [Aead::ChaChaPoly, Aead::AesGcm] {
        let (mut sender, mut server) = other_sender(aead);
        let mut stream: Vec<u8> = (0..100).flat_map(|_| sender.record(&[])).collect();
        stream.extend(sender.record(&frame(5, 20)));
        assert_eq!(read(&mut server, &stream, &[33]), [frame(5, 20)]);
        let mut endless: Vec<u8> = (0..5_000).flat_map(|_| sender.record(&[])).collect();
        assert_eq!(server.feed(&mut endless, any), Err(SessionError::Crumbs));
        assert_eq!(server.feed(&mut endless, any), Err(SessionError::Poisoned));
    }
}

/// REQ-SEC-021: frames that never end where a record ends, for as long as one likes.
#[test]
fn a_stream_that_is_never_in_step_goes_on() {
    let (mut sender, mut server) = other_sender(Aead::ChaChaPoly);
    let frames: Vec<_> = (0..10_000).map(|n| frame(n as u8, 24)).collect();
    let text = frames.concat();
    let (first, rest) = text.split_at(7);
    let mut stream = sender.record(first);
    for piece in rest.chunks(30) {
        stream.extend(sender.record(piece));
    }
    assert_eq!(read(&mut server, &stream, &[1_400]), frames);
}

/// The limit is asked once a frame, on its header, whatever records that is spread over.
#[test]
fn the_limit_is_asked_once_and_holds() {
    for suite in Suite::ALL {
        let (mut client, mut server) = sessions_of(suite);
        let stream = sealed(&mut client, &[frame(7, 200_000), frame(9, 101)]);
        let mut asked = Vec::new();
        let (mut start, mut there, mut outcome) = (0, 0, None);
        let mut buffer = stream.clone();
        while outcome.is_none() {
            there = (there + 1_000).min(stream.len());
            let mut limit = |header: &adit_noise::Header| {
                asked.push(header.msg_type);
                if header.msg_type == 7 { 200_000 } else { 100 }
            };
            match server.feed(&mut buffer[start..there], &mut limit) {
                Ok(Feed::Need(_)) => {}
                Ok(Feed::Frame { used, .. }) => start += used,
                Err(error) => outcome = Some(error),
            }
        }
        let (length, limit) = (101, 100);
        assert_eq!(outcome, Some(SessionError::TooLong { length, limit }), "{suite}");
        assert_eq!(asked, [7, 9], "{suite}");
    }
}

/// REQ-SEC-032: a frame whose header lies about its length is never sealed.
#[test]
fn a_malformed_frame_is_not_sealed() {
    for suite in Suite::ALL {
        for bad in [
            vec![],
            vec![0; 5],
            frame(1, 9)[..14].to_vec(),
            [frame(1, 9), vec![0]].concat(),
        ] {
            let (mut client, _) = sessions_of(suite);
            let mut out = vec![1, 2, 3];
            assert_eq!(client.seal(&bad, &mut out), Err(SessionError::Malformed));
            assert_eq!(out, [1, 2, 3]);
            assert_eq!(client.seal(&frame(1, 1), &mut out), Err(SessionError::Poisoned));
        }
    }
}
