//! What the malicious and the unlucky do to a pool that negotiates jobs, each over an encrypted socket against the whole pool.
//! docs/negotiation.md has the table: which attack, which test.
//!
//! Where the rule is the node's (`check_block`), the node is Bitcoin Core; those tests are skipped without it.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod crowd;
mod floods;
mod lists;
mod node_rules;
#[path = "../support/mod.rs"]
mod support;
