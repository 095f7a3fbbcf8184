//! Numbers and foreign text for people.

use std::fmt::Write;

/// Longest foreign text that is shown or logged, in characters.
const CLEAN_MAX: usize = 80;

/// Foreign text (a worker's name, a vendor, an error of a peer) made harmless for logs, terminals and
/// pages: control characters, the ones that turn text around, and other invisible ones are written as `\u{..}`; long
/// text is cut. HTML is escaped where HTML is made.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(CLEAN_MAX * 4));
    for (count, character) in text.chars().enumerate() {
        if count == CLEAN_MAX {
            clean.push_str("...");
            break;
        }
        if invisible(character) {
            let _ = write!(clean, "{}", character.escape_unicode());
        } else {
            clean.push(character);
        }
    }
    clean
}

/// Whether a character cannot be seen, or turns others around.
pub fn invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `12.3 MH/s`.
pub fn hash_rate(hashes_a_second: f64) -> String {
    scaled(hashes_a_second, "H/s")
}

/// `12.3 M` of anything, `unit` after the prefix.
pub fn scaled(value: f64, unit: &str) -> String {
    const PREFIXES: [&str; 8] = ["", "k", "M", "G", "T", "P", "E", "Z"];
    let mut value = value.max(0.0);
    let mut prefixes = PREFIXES.iter().peekable();
    let mut prefix = "";
    while let Some(next) = prefixes.next() {
        prefix = next;
        if value < 999.5 || prefixes.peek().is_none() {
            break;
        }
        value /= 1000.0;
    }
    let decimals = if value >= 100.0 || (prefix.is_empty() && value.fract() == 0.0) {
        0
    } else {
        1
    };
    format!("{value:.decimals$} {prefix}{unit}")
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 block`, `1,234 blocks`.
pub fn count(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `4s`, `3m 20s`, `5h 02m`, `12d 4h`.
pub fn duration_ms(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_write_lines_or_turn_the_terminal() {
        assert_eq!(clean("bob.rig1"), "bob.rig1");
        assert_eq!(clean("a\nb\u{1b}[2J\u{202e}c"), "a\\u{a}b\\u{1b}[2J\\u{202e}c");
        assert_eq!(clean("<img onerror>"), "<img onerror>");
        assert!(clean(&"\u{fffd}".repeat(255)).chars().count() <= CLEAN_MAX + 3);
        assert!(!clean("\0\u{7f}\u{85}\u{200b}").chars().any(invisible));
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(hash_rate(0.0), "0 H/s");
        assert_eq!(hash_rate(1.25), "1.2 H/s");
        assert_eq!(hash_rate(12_345_678.0), "12.3 MH/s");
        assert_eq!(hash_rate(999_900.0), "1.0 MH/s");
        assert_eq!(hash_rate(4e26), "400000 ZH/s");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
        assert_eq!(
            (count(1, "block"), count(0, "block")),
            ("1 block".into(), "0 blocks".into())
        );
        assert_eq!(
            [5_900, 200_000, 18_120_000, 1_051_200_000].map(duration_ms),
            ["5s", "3m 20s", "5h 02m", "12d 4h"]
        );
    }
}
