//! The first bytes of a connection: no key is ever taken for something else, and nothing is decided early.

use adit_net::classify::{Class, FALLBACK_BYTES, FIRST_BYTES_MAX, Kind, classify};
use proptest::prelude::*;

/// What a connection that sends these bytes, and then nothing, is taken for; it must be the same for every way in which
/// the bytes trickle in, and no call may ask for less than it has.
fn taken_for(bytes: &[u8]) -> Class {
    for length in 0..bytes.len() {
        match classify(&bytes[..length]) {
            Class::Need(need) => assert!(need > length && need <= FIRST_BYTES_MAX, "{need} at {length}"),
            Class::Silence => assert_eq!(length, FALLBACK_BYTES),
            Class::Is(kind) => {
                // Decided already: more bytes change nothing.
                assert_eq!(classify(bytes), Class::Is(kind));
                return Class::Is(kind);
            }
        }
    }
    classify(bytes)
}

/// A SetupConnection with these texts.
fn setup(protocol: u8, flags: u16, texts: [&str; 5]) -> Vec<u8> {
    let mut payload = vec![protocol, 2, 0, 2, 0];
    payload.extend(u32::from(flags).to_le_bytes());
    for (at, text) in texts.iter().enumerate() {
        payload.push(text.len() as u8);
        payload.extend_from_slice(text.as_bytes());
        if at == 0 {
            payload.extend(3_333u16.to_le_bytes());
        }
    }
    let length = (payload.len() as u32).to_le_bytes();
    [&[0, 0, 0], &length[..3], &payload].concat()
}

fn offer(codes: &[[u8; 4]]) -> Vec<u8> {
    let body = [b"STR3".as_slice(), &[codes.len() as u8], &codes.concat()].concat();
    [&(body.len() as u16).to_le_bytes(), body.as_slice()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30_000))]

    /// A random key is the current suite, and at no length before its last byte anything else.
    #[test]
    fn a_random_key_is_the_current_suite(key in prop::array::uniform32(any::<[u8; 2]>())) {
        prop_assert_eq!(taken_for(key.as_flattened()), Class::Is(Kind::Current));
    }

    /// A key that happens to begin as the others do is still a key, as long as the pattern is not whole: what is
    /// missing is at least three of its bytes.
    #[test]
    fn a_key_that_begins_like_something_else_is_a_key(
        which in 0usize..4,
        cut in 0usize..12,
        key in prop::array::uniform32(any::<[u8; 2]>()),
    ) {
        let starts = [
            offer(&[*b"CHCH", *b"AESG"]),
            setup(0, 0, ["pool.example", "adit", "x", "y", "z"]),
            b"{\"id\":1,\"method\":\"mining.subscribe\"}\n".to_vec(),
            [[32, 0].as_slice(), &[9; 32]].concat(),
        ];
        let mut bytes = key.as_flattened().to_vec();
        // Of the offer as far as the count, of the setup as far as the versions, of the line half of it.
        let kept = cut.min([7, 9, 12, 12][which]);
        bytes[..kept].copy_from_slice(&starts[which][..kept]);
        // What makes a difference must not be there by chance: it is not random here.
        if kept >= 3 {
            bytes[kept] = !starts[which][kept];
            bytes[kept + 1] = 0x80;
            bytes[kept + 2] = 0x80;
            prop_assert_eq!(taken_for(&bytes), Class::Is(Kind::Current), "{:?}", &bytes[..16]);
        }
    }

    /// Every offer with a known code is an offer, wherever the code stands among the first fourteen, however it trickles.
    #[test]
    fn an_offer_is_an_offer(codes in prop::collection::vec(any::<[u8; 4]>(), 0..14), known in any::<bool>(), at: prop::sample::Index) {
        let mut codes = codes;
        codes.insert(at.index(codes.len() + 1), if known { *b"CHCH" } else { *b"AESG" });
        prop_assert_eq!(taken_for(&offer(&codes)), Class::Is(Kind::Draft2022));
    }

    /// Every SetupConnection of a known protocol is one.
    #[test]
    fn a_setup_is_a_setup(protocol in 0u8..4, flags in 0u16..8, texts in prop::array::uniform5("[ -~]{0,255}")) {
        let texts = texts.each_ref().map(String::as_str);
        let frame = setup(protocol, flags, texts);
        prop_assert_eq!(taken_for(&frame[..frame.len().min(64)]), Class::Is(Kind::Plaintext));
    }
}

/// REQ-SEC-008: an offer of strangers is still an offer, so that it can be refused at once.
#[test]
fn an_offer_of_unknown_codes_is_an_offer() {
    assert_eq!(taken_for(&offer(&[*b"XXXX"])), Class::Is(Kind::Draft2022));
    assert_eq!(
        taken_for(&offer(&[*b"AB12"; 255])[..64]),
        Class::Is(Kind::Draft2022)
    );
    assert_eq!(taken_for(&offer(&[])), Class::Need(64));
}

/// Lines as miners send them first, whole or longer than a key.
#[test]
fn lines_of_stratum_v1() {
    for line in [
        "{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": []}\n",
        "{\"id\":1,\"method\":\"mining.configure\",\"params\":[[\"version-rolling\"],{\"version-rolling.mask\":\"ffffffff\"}]}\n",
        "{\"params\": [\"cgminer/4.12.1\"], \"id\": \"1\", \"method\": \"mining.subscribe\"}\n",
        "{\"id\":null,\"method\":\"x\"}\r\n",
    ] {
        let first = &line.as_bytes()[..line.len().min(64)];
        assert_eq!(taken_for(first), Class::Is(Kind::StratumV1), "{line}");
    }
}

/// The bits of each pattern count: with any one of those that make it up flipped, it is no longer taken for what it was
/// (or, where the bit belongs to a free field, still is), and never for a third thing.
#[test]
fn near_misses_are_never_a_third_thing() {
    let whole = [
        (Kind::Draft2022, offer(&[*b"CHCH", *b"AESG"])),
        (Kind::Plaintext, setup(0, 1, ["h", "v", "w", "f", "d"])),
        (
            Kind::StratumV1,
            b"{\"id\":1,\"method\":\"mining.subscribe\"}\n".to_vec(),
        ),
    ];
    for (kind, start) in whole {
        for bit in 0..start.len() * 8 {
            let mut bytes = [0xc5; 64];
            bytes[..start.len()].copy_from_slice(&start);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let taken = taken_for(&bytes);
            let allowed = [Class::Is(kind), Class::Is(Kind::Current)];
            assert!(allowed.contains(&taken), "{kind:?}, bit {bit}: {taken:?}");
        }
    }
}
