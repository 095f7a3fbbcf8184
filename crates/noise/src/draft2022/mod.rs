//! The transport security of the 2022 drafts: `Noise_NX_25519_{ChaChaPoly,AESGCM}_BLAKE2s` (seeds 3.3).
//!
//! ```text
//! Initiator::new ───── offer: STR3 and the list ─────▶ Responder::answer
//! Initiator::chosen ◀── choice: 4 bytes ──────────────┘
//!      └──────────────── act 1: e, 32 bytes ─────────▶ Answering::respond
//! Awaiting::finish ◀──── act 2: 170 bytes ────────────┘
//!      └──▶ Session                                        └──▶ Session
//! ```
//!
//! Every one of these, and every record after them, travels behind its length as U16 (REQ-SEC-011). A state's
//! `frame_bytes` says from those two bytes how long the frame is, or that no such frame belongs here, so that whoever
//! moves the bytes never waits for, or makes room for, a frame that is refused anyway.
//!
//! The pattern is the `snow` crate's; X25519, Ed25519 and the AEADs come from theirs. What is ours is around it: the
//! negotiation, its prologue, the certificate and the records.

mod certificate;
mod handshake;
mod identity;
mod keys;
mod negotiation;
mod primitives;
#[cfg(test)]
mod vectors;

pub use crate::aead::Aead;
pub use certificate::{Authority, Certificate, SignatureForm};
pub use handshake::{
    ACT1_FRAME_BYTES, Answering, Awaiting, CHOICE_FRAME_BYTES, Examined, FRAME_BYTES_MAX, Initiator,
    LENGTH_BYTES, Responder, Terms,
};
pub use identity::ServerIdentity;
pub use keys::{AuthorityKeypair, AuthorityPublicKey};
pub use negotiation::{Aeads, MAGIC, code};

/// What an initiator of this suite accepts as proof of who answers.
pub type Trust = crate::Trust<AuthorityPublicKey>;
