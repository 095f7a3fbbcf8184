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
//! arguments, so a handshake is a function and its test vector is a test.
//!
//! # Two suites, one [`Session`]
//!
//! Above stands `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256` (spec 4), the current suite. [`draft2022`] holds that
//! of the seeds, `Noise_NX_25519_{ChaChaPoly,AESGCM}_BLAKE2s`, in the same shape: authority, certificate, server
//! identity, states that consume each other. Both end in a [`Session`], whose [`Session::suite`] says which it was, and
//! whoever seals and feeds frames need not know. An [`AuthorityKey`] is one of either, and its form says which handshake
//! to speak. [`Session::plain`] is for networks that need no protection.
//!
//! # Two AEAD back ends
//!
//! Feature `ring` (default) is several times faster on the short records of a share; feature `rustcrypto`
//! is pure Rust. The crate is `no_std` (with `alloc`) either way. With both features on, `ring` is used and the
//! unit tests hold the two against each other. The acts of the 2022 draft run on the same AEADs: `snow` keeps the
//! pattern, we give it the primitives.
//!
//! # What is wiped, and what cannot be
//!
//! Chaining key, handshake hash, ephemeral and static secrets, the keys that `HKDF` yields and the bytes of both
//! authority pairs are overwritten when dropped. `rustcrypto` also wipes its key schedule; `ring` keeps its own
//! copy of the two transport keys and offers no way to wipe it. libsecp256k1's wrappers take secrets by value:
//! copies that a call leaves on the stack are out of reach. `snow` does not wipe the chaining key of the 2022 draft.
#![no_std]

extern crate alloc;

#[cfg(not(any(feature = "ring", feature = "rustcrypto")))]
compile_error!("adit-noise needs an AEAD: enable the feature `ring` or the feature `rustcrypto`");

mod aead;
mod certificate;
mod curve;
pub mod draft2022;
mod framed;
mod handshake;
mod identity;
mod keys;
mod plain;
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
pub use session::{Feed, Session, SessionError, Suite};
pub use utc::Utc;
