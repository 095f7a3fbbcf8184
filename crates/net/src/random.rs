//! The only place that asks for randomness.

/// `N` bytes from the operating system.
///
/// # Panics
/// When the operating system has no randomness to give; nothing can be done safely then.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    #[expect(clippy::expect_used, reason = "no secret may be made without randomness")]
    getrandom::fill(&mut out).expect("the operating system gives random bytes");
    out
}

/// A number below `bound` (0 when `bound` is 0), good enough for jitter.
#[must_use]
pub fn below(bound: u64) -> u64 {
    u64::from_le_bytes(bytes()).checked_rem(bound).unwrap_or(0)
}
