//! One port, four kinds of peers: what the first bytes say about who is calling.
//!
//! The current handshake begins with 64 bytes that look like nothing at all, and that is what makes this delicate: a
//! random key must not be taken for something else. So every other kind has to show a pattern that a random key shows
//! less often than once in 2^67 connections, and whoever shows none is the current suite, which needs no pattern
//! (docs/adr/0006 has the sums). Nothing is decided before the bytes that decide it are there, however they trickle in.

use adit_noise::draft2022;
use adit_wire::common::{PROTOCOL_VERSION, protocol};

/// Bytes that are looked at at most: the current act 1. No kind needs more.
pub const FIRST_BYTES_MAX: usize = 64;

/// Bytes of the first frame of a draft peer without negotiation: length and key.
pub const FALLBACK_BYTES: usize = draft2022::ACT1_FRAME_BYTES;

/// Who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The current handshake (spec 4.5): 64 bytes of key.
    Current,
    /// The handshake of the 2022 draft: an offer of algorithms.
    Draft2022,
    /// SetupConnection without any handshake.
    Plaintext,
    /// A line of JSON: Stratum V1.
    StratumV1,
}

/// What can be said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing; so many bytes in total must be there first.
    Need(usize),
    /// Either the act 1 of a draft peer that knows no negotiation, whole, or the first half of a current key. Only its
    /// silence would tell: a current client has sent all 64 bytes at once.
    Silence,
    /// This.
    Is(Kind),
}

/// Looks at the bytes received so far, at most [`FIRST_BYTES_MAX`] of them.
#[must_use]
pub fn classify(first: &[u8]) -> Class {
    let first = first.get(..FIRST_BYTES_MAX).unwrap_or(first);
    let Some(start) = first.first() else {
        return Class::Need(1);
    };
    let found = match start {
        0 => plaintext(first),
        b'{' => json(first),
        // The length of an offer is odd, and one more than a multiple of four: it starts like neither.
        _ => offer(first),
    };
    found.unwrap_or(match first.len() {
        FIRST_BYTES_MAX => Class::Is(Kind::Current),
        FALLBACK_BYTES if is_older_act1(first) => Class::Silence,
        _ => Class::Need(FIRST_BYTES_MAX),
    })
}

/// An offer of algorithms: a length that goes with the count, the magic, and codes of which one is known or which all
/// look like codes. `None`: it is none.
///
/// Before the count is there, whatever may still become an offer is waited for.
fn offer(first: &[u8]) -> Option<Class> {
    const HEAD: usize = 7;
    const CODE: usize = 4;
    let magic = first.get(2..).unwrap_or_default();
    let magic = magic.get(..draft2022::MAGIC.len()).unwrap_or(magic);
    if !draft2022::MAGIC.starts_with(magic) {
        return None;
    }
    let Some([low, high, _, _, _, _, count]) = first.first_chunk::<HEAD>() else {
        return Some(Class::Need(HEAD));
    };
    let count = usize::from(*count);
    if usize::from(u16::from_le_bytes([*low, *high])) != 5 + CODE * count {
        return None;
    }
    // Of a long list only the part counts that is not longer than a key.
    let shown = count.min((FIRST_BYTES_MAX - HEAD) / CODE);
    let end = HEAD + CODE * shown;
    let Some(codes) = first.get(HEAD..end) else {
        return Some(Class::Need(end));
    };
    let known = [adit_noise::Aead::ChaChaPoly, adit_noise::Aead::AesGcm].map(draft2022::code);
    let is_known = |code: &[u8]| known.iter().any(|known| known == code);
    let looks_like_one = |code: &[u8]| code.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let mut codes = codes.chunks(CODE);
    let is_offer = codes.clone().any(is_known) || (shown > 0 && codes.all(looks_like_one));
    is_offer.then_some(Class::Is(Kind::Draft2022))
}

/// The header of SetupConnection and its first fields, all of them plausible (spec 3.2, 3.6.1).
fn plaintext(first: &[u8]) -> Option<Class> {
    /// Header, protocol, two versions, flags.
    const HEAD: usize = 6 + 1 + 2 + 2 + 4;
    /// Fixed fields, and five strings of 0 to 255 bytes of which each has its length before it.
    const LENGTHS: std::ops::RangeInclusive<u32> = 16..=1_291;
    /// No version above this is in sight.
    const VERSION_MAX: u16 = 15;
    if !first.iter().take(3).all(|&b| b == 0) {
        return None;
    }
    let Some([_, _, _, l0, l1, l2, of, n0, n1, x0, x1, _, _, f2, f3]) = first.first_chunk::<HEAD>() else {
        return Some(Class::Need(HEAD));
    };
    let length = u32::from_le_bytes([*l0, *l1, *l2, 0]);
    let (min, max) = (u16::from_le_bytes([*n0, *n1]), u16::from_le_bytes([*x0, *x1]));
    let is_setup = LENGTHS.contains(&length)
        && *of <= protocol::JOB_DISTRIBUTION
        && (1..=PROTOCOL_VERSION).contains(&min)
        && (PROTOCOL_VERSION..=VERSION_MAX).contains(&max)
        && (*f2, *f3) == (0, 0);
    is_setup.then_some(Class::Is(Kind::Plaintext))
}

/// A line of JSON that asks for a method, or 64 bytes of text that start like one.
fn json(first: &[u8]) -> Option<Class> {
    const METHOD: &[u8] = b"\"method\"";
    let is_text = |b: &u8| matches!(b, b' '..=b'~' | b'\t' | b'\r');
    let (line, ended) = match first.iter().position(|&b| b == b'\n') {
        Some(end) => (&first[..end], true),
        None => (first, false),
    };
    if !line.iter().all(is_text) {
        return None;
    }
    if !ended && first.len() < FIRST_BYTES_MAX {
        return Some(Class::Need(first.len() + 1));
    }
    let asks = line.windows(METHOD.len()).any(|part| part == METHOD);
    (!ended || asks).then_some(Class::Is(Kind::StratumV1))
}

/// `20 00` and a key of X25519, whose last bit is never set.
fn is_older_act1(first: &[u8]) -> bool {
    first.starts_with(&[32, 0]) && first.last().is_some_and(|last| last & 0x80 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_first_bytes() {
        let offer = b"\x0d\0STR3\x02CHCHAESG";
        assert_eq!(classify(offer), Class::Is(Kind::Draft2022));
        let unknown = b"\x09\0STR3\x01XYZ9";
        assert_eq!(classify(unknown), Class::Is(Kind::Draft2022));
        let setup = [0, 0, 0, 40, 0, 0, 0, 2, 0, 2, 0, 1, 0, 0, 0];
        assert_eq!(classify(&setup), Class::Is(Kind::Plaintext));
        let subscribe = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n";
        assert_eq!(classify(subscribe), Class::Is(Kind::StratumV1));
        assert_eq!(classify(&[0xa5; 64]), Class::Is(Kind::Current));
        assert_eq!(classify(&[0xa5; 63]), Class::Need(64));
        let mut older = [7; 34];
        (older[0], older[1]) = (32, 0);
        assert_eq!(classify(&older), Class::Silence);
        assert_eq!(classify(&older[..33]), Class::Need(64));
        assert_eq!(
            classify(&[&older[..], &[7; 30]].concat()),
            Class::Is(Kind::Current)
        );
    }

    /// What is nearly one of the others is waited for, and is the current suite at 64 bytes.
    #[test]
    fn near_misses_are_the_current_suite() {
        let full = |start: &[u8]| {
            let mut key = [0xa5; 64];
            key[..start.len()].copy_from_slice(start);
            classify(&key)
        };
        for near in [
            b"\x0d\0STR2\x02CHCHAESG".as_slice(),
            b"\x0e\0STR3\x02CHCHAESG",
            b"\x0d\0STR3\x03CHCHAESG",
            b"\x09\0STR3\x01ab\x01\x02",
            b"\x05\0STR3\0",
            &[0, 0, 0, 40, 0, 0, 4, 2, 0, 2, 0, 0, 0, 0, 0],
            &[0, 0, 0, 40, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0],
            &[0, 0, 0, 40, 0, 1, 0, 2, 0, 2, 0, 0, 0, 0, 0],
            &[0, 0, 0, 40, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 1],
            &[0, 0, 1, 40, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0],
            b"{}\n",
            b"{\"method\"\x01\n",
            b"{\"params\":[]}\n",
        ] {
            assert_eq!(full(near), Class::Is(Kind::Current), "{near:?}");
        }
    }
}
