//! Template distribution (spec 7): templates from whoever runs a node, solutions to them.
//!
//! [`server::Server`] is the template provider, [`client::Client`] a pool or job negotiator. Neither knows what a
//! transaction is; both see to order, ids and room.

pub mod client;
mod outputs;
pub mod server;

pub use outputs::{Outputs, OutputsError};

use adit_wire::template::{CoinbaseOutputConstraints, NewTemplate, SIGOPS_OF_2022, SetNewPrevHash};

/// Weight units of a block (consensus).
pub const BLOCK_WEIGHT_MAX: u64 = 4_000_000;
/// Signature operations of a block, by their cost (consensus).
pub const BLOCK_SIGOPS_MAX: u64 = 80_000;
/// Weight of everything in a block but transactions and a client's outputs, with a 100-byte scriptSig and the longest
/// counts: header 320, count 12, coinbase 236, its scriptSig 400, count of outputs 12, witness and commitment 188
/// (spec 7.1). Without a commitment it would be 944.
pub const RESERVED_WEIGHT: u64 = 320 + 12 + 236 + 400 + 12 + 188;
/// Bitcoin Core reserves no less (REQ-TDP-012).
pub const RESERVED_WEIGHT_MIN: u64 = 2_000;

/// Room that a client needs in the coinbase for outputs of its own (spec 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Constraints {
    /// Bytes of its outputs, serialized, at most.
    pub max_additional_size: u32,
    /// Signature operations in them, by their cost, at most.
    pub max_additional_sigops: u16,
}

impl Default for Constraints {
    /// Some fifty outputs, and the signature operations that block template makers reserve by habit.
    fn default() -> Self {
        Self {
            max_additional_size: 1_708,
            max_additional_sigops: SIGOPS_OF_2022,
        }
    }
}

impl Constraints {
    /// Weight kept free of transactions (spec 7.1), at least [`RESERVED_WEIGHT_MIN`].
    #[must_use]
    pub fn reserved_weight(&self) -> u64 {
        let outputs = u64::from(self.max_additional_size).saturating_mul(4);
        RESERVED_WEIGHT.saturating_add(outputs).max(RESERVED_WEIGHT_MIN)
    }

    /// Whether a block can hold such outputs at all (C-87).
    #[must_use]
    pub fn fit_a_block(&self) -> bool {
        self.reserved_weight() <= BLOCK_WEIGHT_MAX
    }

    /// Whether whatever fits `other` fits here as well.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        self.max_additional_size >= other.max_additional_size
            && self.max_additional_sigops >= other.max_additional_sigops
    }
}

impl From<CoinbaseOutputConstraints> for Constraints {
    fn from(message: CoinbaseOutputConstraints) -> Self {
        Self {
            max_additional_size: message.coinbase_output_max_additional_size,
            max_additional_sigops: message.coinbase_output_max_additional_sigops,
        }
    }
}

impl From<Constraints> for CoinbaseOutputConstraints {
    fn from(constraints: Constraints) -> Self {
        Self {
            coinbase_output_max_additional_size: constraints.max_additional_size,
            coinbase_output_max_additional_sigops: constraints.max_additional_sigops,
        }
    }
}

/// A template and the tip it builds on: on offer at a server, or received by a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired {
    /// The template. On offer its id and its `future_template` mean nothing: each connection numbers its own.
    pub template: NewTemplate,
    /// Its tip. On offer its id means nothing.
    pub tip: SetNewPrevHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-TDP-010, REQ-TDP-011, REQ-TDP-012: the formula, its floor, and where a block ends.
    #[test]
    fn the_reserve_is_the_sum_of_the_specification() {
        let weight = |max_additional_size| {
            let constraints = Constraints {
                max_additional_size,
                max_additional_sigops: 0,
            };
            (constraints.reserved_weight(), constraints.fit_a_block())
        };
        assert_eq!(weight(0), (2_000, true));
        assert_eq!(weight(208), (2_000, true));
        assert_eq!(weight(209), (2_004, true));
        assert_eq!(weight(1_000), (5_168, true));
        assert_eq!(weight(999_708), (4_000_000, true));
        assert_eq!(weight(999_709), (4_000_004, false));
        assert!(!weight(u32::MAX).1);
    }
}
