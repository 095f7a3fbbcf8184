//! The room in the coinbase that templates must leave (spec 7.1): for our own payout, and for whatever pools impose.

use adit_node::{Constraints, Handle};
use bitcoin::TxOut;
use tokio::sync::watch;

/// A signature operation outside of witnesses counts four times.
const SIGOPS_SCALE: usize = 4;

/// What these outputs take (REQ-JD-047, C-73).
pub(super) fn of(outputs: &[TxOut]) -> Constraints {
    let size: usize = outputs.iter().map(TxOut::size).sum();
    let sigops = outputs
        .iter()
        .map(|output| output.script_pubkey.count_sigops_legacy());
    let sigops = sigops.sum::<usize>().saturating_mul(SIGOPS_SCALE);
    Constraints {
        max_additional_size: u32::try_from(size).unwrap_or(u32::MAX),
        max_additional_sigops: u16::try_from(sigops).unwrap_or(u16::MAX),
    }
}

/// Room for either.
pub(super) fn larger(a: Constraints, b: Constraints) -> Constraints {
    Constraints {
        max_additional_size: a.max_additional_size.max(b.max_additional_size),
        max_additional_sigops: a.max_additional_sigops.max(b.max_additional_sigops),
    }
}

/// Room for both.
pub(super) fn both(a: Constraints, b: Constraints) -> Constraints {
    Constraints {
        max_additional_size: a.max_additional_size.saturating_add(b.max_additional_size),
        max_additional_sigops: a.max_additional_sigops.saturating_add(b.max_additional_sigops),
    }
}

/// Whether a template made for `room` has place for `needed`.
pub(super) const fn fits(room: Constraints, needed: Constraints) -> bool {
    room.max_additional_size >= needed.max_additional_size
        && room.max_additional_sigops >= needed.max_additional_sigops
}

/// Asks the template source for the newest room that is wanted, until nobody wants any.
pub(super) async fn ask(node: Handle, mut wanted: watch::Receiver<Constraints>) {
    while wanted.changed().await.is_ok() {
        let room = *wanted.borrow_and_update();
        match node.constrain(vec![room]).await {
            Ok(()) => tracing::info!(
                bytes = room.max_additional_size,
                sigops = room.max_additional_sigops,
                "templates leave room for the upstreams' outputs"
            ),
            Err(error) => tracing::error!(
                ?error,
                "the template source does not leave the room that upstreams ask for"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{Amount, ScriptBuf};

    /// REQ-JD-047: the outputs of a token, byte and signature operation.
    #[test]
    fn room_is_what_the_outputs_take() {
        let output = |script: &[u8]| TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
        };
        // OP_CHECKSIG in the first: of cost four. Value, length and script of each.
        let room = of(&[output(&[0xac]), output(&[0x6a, 1, 7])]);
        assert_eq!(
            (room.max_additional_size, room.max_additional_sigops),
            (10 + 12, 4)
        );
        let other = Constraints {
            max_additional_size: 43,
            max_additional_sigops: 0,
        };
        let either = larger(room, other);
        assert!(fits(either, room) && fits(either, other) && !fits(other, room) && !fits(room, other));
        assert!(fits(both(room, other), either) && !fits(either, both(room, other)));
    }
}
