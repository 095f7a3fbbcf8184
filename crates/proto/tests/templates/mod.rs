//! What the tests of template distribution share.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;

use adit_proto::template::server::Offer;
use adit_proto::template::{Constraints, Paired};
use adit_wire::template::{NewTemplate, SetNewPrevHash};
use adit_wire::types::U256;

/// Room for 100 bytes.
pub(crate) const ROOM: Constraints = Constraints {
    max_additional_size: 100,
    max_additional_sigops: 4,
};

/// One output of nothing, as a template carries it.
pub(crate) const OUTPUT: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0x6a];

/// Template `id` on the tip `tip`.
pub(crate) fn paired(id: u64, future_template: bool, tip: u8) -> Paired {
    Paired {
        template: NewTemplate {
            template_id: id,
            future_template,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: [2u8, 0x80, 0][..].try_into().expect("short"),
            coinbase_tx_input_sequence: 0xffff_fffe,
            coinbase_tx_value_remaining: 5_000_000_000 + id,
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: OUTPUT[..].try_into().expect("short"),
            coinbase_tx_locktime: 127,
            merkle_path: vec![U256([7; 32])].try_into().expect("short"),
        },
        tip: SetNewPrevHash {
            template_id: id,
            prev_hash: U256([tip; 32]),
            header_timestamp: 1_800_000_000,
            n_bits: 0x207f_ffff,
            target: U256([0x7f; 32]),
        },
    }
}

/// What a node offers.
pub(crate) fn offer(source: u64, tip: u8) -> Arc<Offer> {
    Arc::new(Offer {
        source,
        constraints: ROOM,
        paired: paired(0, false, tip),
    })
}
