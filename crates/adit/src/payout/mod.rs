//! Who is paid: from user names and the book to the outputs of coinbases, and what people may see of it.
//!
//! ```text
//!   user name ──► Names ──► plan of the channel                         (when it opens)
//!   book ──► Treasury ──► Snapshot (numbered) ──► Purse ──► outputs     (when a template comes)
//!   block found ──► credits in the ledger ──► book                      (so that the next snapshot knows)
//! ```
//!
//! The arithmetic is [`adit_ledger::payout`]'s. A pool may get its snapshots from elsewhere, so that many front ends pay alike.

pub mod command;
pub(crate) mod credits;
pub mod due;
pub mod names;
pub mod preview;
pub mod prove;
pub mod purse;
pub(crate) mod treasury;

pub use names::Names;
pub use preview::Preview;
pub use prove::{Proof, Prover};
pub use purse::Purse;

use adit_ledger::payout::{Custody, Payee, Room, Rules};
use adit_proto::mining::server::AccountId;
use bitcoin::{Address, Network, Script};

use crate::config::{Payout, Scheme, Settings};

/// Bytes of a job message besides the outputs of payees: header and fields, 20 branches, the first half of the coinbase, the
/// witness commitment and what else a template may impose.
const FRAME_OVERHEAD_BYTES: u32 = 1_024;
/// Bytes of outputs that the largest job message has room for.
const OUTPUTS_BYTES_MAX: usize = 60_000;
/// Bytes of an output to the longest address, and cost of its signature operations at most (pay to a key hash).
const OUTPUT_BYTES_MAX: u32 = 8 + 1 + 42;
const OUTPUT_SIGOPS_MAX: u16 = 4;

/// The rules of a configuration.
pub fn rules(settings: &Settings) -> Rules {
    let keys = &settings.payouts;
    let network = settings.network;
    Rules {
        pool: payee(&settings.payout, network),
        fee_bp: keys.fee_bp,
        donation: (keys.donation.as_ref()).map(|(to, bp)| (payee(to, network), *bp)),
        minimum_sat: keys.minimum_sat,
        custody: match keys.pooled() {
            Scheme::Pplns => Custody::Coinbase,
            Scheme::Address | Scheme::Solo | Scheme::Pool => Custody::Pool,
        },
    }
}

/// Room for outputs in a job message of that length, or of the usual one.
pub fn room(outputs_max: u32, frame_bytes: Option<u32>) -> Room {
    let bytes = frame_bytes.map_or(OUTPUTS_BYTES_MAX, |bytes| {
        bytes.saturating_sub(FRAME_OVERHEAD_BYTES) as usize
    });
    Room {
        outputs: outputs_max as usize,
        bytes: bytes.min(OUTPUTS_BYTES_MAX),
    }
}

/// What the largest coinbase takes beside what templates give: bytes, and cost of signature operations (spec 7.1).
pub(crate) fn largest(settings: &Settings) -> (u32, u16) {
    let own = [
        Some(&settings.payout),
        settings.payouts.donation.as_ref().map(|(to, _)| to),
    ];
    let (mut bytes, mut sigops) = (0u32, 0u16);
    for payout in own.into_iter().flatten() {
        let output = bitcoin::TxOut {
            value: bitcoin::Amount::ZERO,
            script_pubkey: payout.script.clone(),
        };
        let count = payout.script.count_sigops_legacy().saturating_mul(4);
        bytes = bytes.saturating_add(u32::try_from(output.size()).unwrap_or(u32::MAX));
        sigops = sigops.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
    }
    let keys = &settings.payouts;
    let miners = match (keys.pooled(), keys.offers_solo()) {
        (Scheme::Pplns, _) => keys.outputs_max.saturating_sub(1),
        (_, true) => 1,
        (_, false) => 0,
    };
    let outputs = bytes.saturating_add(OUTPUT_BYTES_MAX.saturating_mul(miners));
    // The number of outputs takes two bytes more from 253 on.
    let count = if miners > 250 { 2 } else { 0 };
    let miners = u16::try_from(miners).unwrap_or(u16::MAX);
    (
        outputs.saturating_add(count),
        sigops.saturating_add(OUTPUT_SIGOPS_MAX.saturating_mul(miners)),
    )
}

/// The payee of an address or descriptor.
pub fn payee(payout: &Payout, network: Network) -> Payee {
    Payee {
        id: AccountId::of(shown(&payout.script, network, &payout.text).as_bytes()).0,
        script: payout.script.as_bytes().into(),
    }
}

/// The payee of a script that has an address.
pub fn payee_of(script: &Script, network: Network) -> Option<Payee> {
    let address = address(script, network)?;
    Some(Payee {
        id: AccountId::of(address.as_bytes()).0,
        script: script.as_bytes().into(),
    })
}

/// The address of a script, if it has one.
pub fn address(script: &Script, network: Network) -> Option<String> {
    let address = Address::from_script(script, network).ok()?;
    Some(address.to_string())
}

/// By which name a payout is booked.
pub fn name(payout: &Payout, network: Network) -> String {
    shown(&payout.script, network, &payout.text)
}

/// By which name a script is booked: its address, or else as it was given.
fn shown(script: &Script, network: Network, text: &str) -> String {
    address(script, network).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_ledger::record::{Entry, account_parts};
    use adit_ledger::{Book, Record};

    /// Adds a record to a book that nobody numbers.
    pub(super) fn tell(book: &mut Book, entry: Entry) {
        book.apply(&Record::alone(1, entry));
    }

    /// Tells a book whose name that is; gives the account.
    pub(super) fn name(book: &mut Book, name: &str) -> adit_ledger::AccountId {
        let account = AccountId::of(name.as_bytes()).0;
        for part in account_parts(account, name) {
            tell(book, Entry::Account(part));
        }
        account
    }

    #[test]
    fn the_constraints_cover_the_largest_plan() {
        let room = |changes: &[(&str, &str)]| largest(&Settings::with(changes).unwrap());
        assert_eq!(room(&[]), (43, 0));
        assert_eq!(room(&[("payout.scheme", "solo")]), (43 + 51, 4));
        let pplns = [("payout.scheme", "pplns"), ("payout.outputs_max", "300")];
        assert_eq!(room(&pplns), (43 + 299 * 51 + 2, 299 * 4));
    }
}
