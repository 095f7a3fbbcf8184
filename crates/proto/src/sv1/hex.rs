//! Numbers and bytes in hex, in every spelling that firmware uses.
//!
//! Upper and lower case, `0x` in front, leading zeros left out, odd numbers of digits. What two spellings mean is the
//! same value, so that a share spelt in another way is the same share.

/// A number of at most 32 bits, most significant digit first. Too many digits are fine if they are zeros.
pub fn number(text: &str) -> Option<u32> {
    let digits = bare(text).trim_start_matches('0');
    let plain = digits.len() <= 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    match (plain, digits, bare(text)) {
        (true, "", "") | (false, ..) => None,
        (true, "", _) => Some(0),
        (true, digits, _) => u32::from_str_radix(digits, 16).ok(),
    }
}

/// Exactly `size` bytes; missing digits are zeros in front. Nothing if there are more, or other characters.
pub fn bytes(text: &str, size: usize) -> Option<Vec<u8>> {
    let digits = bare(text).as_bytes();
    let missing = size.checked_mul(2)?.checked_sub(digits.len())?;
    let nibble = |at: usize| match at.checked_sub(missing) {
        None => Some(0),
        Some(at) => char::from(*digits.get(at)?).to_digit(16),
    };
    (0..size)
        .map(|byte| {
            let value = nibble(2 * byte)? << 4 | nibble(2 * byte + 1)?;
            u8::try_from(value).ok()
        })
        .collect()
}

/// Appends `bytes` in lower case.
pub fn write(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| {
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        [digit(byte >> 4), digit(byte & 15)]
    }));
}

/// Without blanks around it and `0x` before it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_the_same_number() {
        for text in [
            "c0ad31ee",
            "C0AD31EE",
            "0xc0ad31ee",
            "0XC0ad31EE",
            " c0ad31ee",
            "00c0ad31ee",
        ] {
            assert_eq!(number(text), Some(0xc0ad_31ee), "{text}");
        }
        assert_eq!(number("6a1"), Some(0x6a1), "short, and an odd number of digits");
        assert_eq!(number("0"), Some(0));
        for text in ["", "0x", "xyz", "1c0ad31ee", "-1", "+1", "c0ad 31ee", "c0ad31eé"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_are_filled_up_in_front_and_never_cut() {
        assert_eq!(bytes("0xABC", 4), Some(vec![0, 0, 0x0a, 0xbc]));
        assert_eq!(bytes("00000000", 4), Some(vec![0; 4]));
        assert_eq!(bytes("", 2), Some(vec![0; 2]));
        assert_eq!(bytes("0000000000", 4), None, "ten digits are no four bytes");
        assert_eq!(bytes("zz", 4), None);
        let mut text = Vec::new();
        write(&[0, 0x1f, 0xa0], &mut text);
        assert_eq!(text, b"001fa0");
    }
}
