//! Transport security of Stratum V2: handshakes, keys, certificates and the [`Session`] they end in.
//!
//! ```text
//! Initiator::new ── act 1 (64 bytes) ──▶ respond(&ServerIdentity, ..)
//! Initiator::finish ◀── act 2 (234 bytes) ──┘
//!      └──▶ Session                              └──▶ Session
//!           Session::seal  ── 22-byte header record, payload records ──▶  Session::feed
//! ```
//!
//! Nothing here opens a socket, asks the time or draws a random number: bytes, seconds and randomness are
//! arguments, so a handshake is a function and its test vector is a test. The suite spoken is
//! `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256` (spec 4).
//!
//! # Two AEAD back ends
//!
//! Feature `ring` (default) is several times faster on the short records of a share; feature `rustcrypto`
//! is pure Rust. The crate is `no_std` (with `alloc`) either way. With both features on, `ring` is used and the
//! unit tests hold the two against each other.
//!
//! # What is wiped, and what cannot be
//!
//! Chaining key, handshake hash, ephemeral and static secrets, the keys that `HKDF` yields and the bytes of
//! [`AuthorityKeypair`] are overwritten when dropped. `rustcrypto` also wipes its key schedule; `ring` keeps its own
//! copy of the two transport keys and offers no way to wipe it. libsecp256k1's wrappers take secrets by value:
//! copies that a call leaves on the stack are out of reach.
//!
//! # Where a second suite goes
//!
//! `Noise_NX_25519_{ChaChaPoly,AESGCM}_BLAKE2s` (the 2022 drafts) joins under the same [`Session`]: a module beside
//! `handshake` for its acts, a variant of `session::Transport` for its U16-framed records, and a second algorithm
//! in `aead`. Callers of [`Session::seal`] and [`Session::feed`] do not change.
#![no_std]

extern crate alloc;

#[cfg(not(any(feature = "ring", feature = "rustcrypto")))]
compile_error!("adit-noise needs an AEAD: enable the feature `ring` or the feature `rustcrypto`");

mod aead;
mod certificate;
mod curve;
pub mod draft2022;
mod handshake;
mod identity;
mod keys;
mod records;
mod session;
mod symmetric;
mod utc;
#[cfg(test)]
mod vectors;

pub use adit_wire::frame::Header;
pub use aead::Aead;
pub use certificate::{Authority, BACKDATE_S, Certificate, CertificateError, LEEWAY_S_DEFAULT, Trust};
pub use handshake::{ACT1_BYTES, ACT2_BYTES, Examined, HandshakeError, Initiator, respond};
pub use identity::ServerIdentity;
pub use keys::{AuthorityKey, AuthorityKeypair, AuthorityPublicKey, KeyError};
pub use records::{CHUNK_BYTES_MAX, HEADER_BYTES, HEADER_RECORD_BYTES, TAG_BYTES, payload_records_bytes};
pub use session::{Feed, Session, SessionError};
pub use utc::Utc;
