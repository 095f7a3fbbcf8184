//! Who can be paid now, and what payments look like to people and wallets.

use std::collections::HashMap;

use adit_ledger::money::{Batch, BatchId};
use adit_ledger::record::PayoutState;
use adit_ledger::{AccountBook, AccountId, Book};
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network};
use serde::{Deserialize, Serialize};

/// Most outputs of a batch: a transaction of them is one that nodes pass on. Who is owed less comes with the next one.
pub const OUTPUTS_MAX: usize = 2_000;
/// Longest name of a batch, in bytes.
pub const NAME_BYTES_MAX: usize = 16;

/// Somebody who can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Who.
    pub account: AccountId,
    /// Its address.
    pub address: String,
    /// What is owed, satoshis.
    pub sat: u64,
}

/// A list of payments: what can be paid, or a batch that is booked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payments {
    /// The batch's name; nothing is booked where there is none.
    pub batch: Option<String>,
    /// `sent`, `confirmed` or `cancelled`.
    pub state: Option<String>,
    /// The transaction, once it is known.
    pub txid: Option<String>,
    /// Largest first.
    pub outputs: Vec<Output>,
    /// Their sum, satoshis.
    pub total_sat: u64,
}

/// One payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// To whom.
    pub address: String,
    /// How much, satoshis.
    pub sat: u64,
}

/// Everybody but the pool who is owed `minimum_sat` or more by mature blocks, less what blocks that are not mature have
/// paid of it already; largest first, at most [`OUTPUTS_MAX`]. `elsewhere` is what the books of other front ends owe, or
/// have paid too much: nobody is paid more than all of them owe together.
pub fn due(
    book: &Book,
    elsewhere: &HashMap<AccountId, i64>,
    pool: &AccountId,
    minimum_sat: u64,
    network: Network,
) -> Vec<Due> {
    let carries = book.money().carries();
    let owed = |account: &AccountId| {
        let of = |carries: &HashMap<AccountId, i64>| carries.get(account).copied().unwrap_or(0);
        of(&carries).saturating_add(of(elsewhere))
    };
    let mature = book.money().mature().filter(|(account, _)| *account != pool);
    let mut due: Vec<Due> = mature
        .filter_map(|(account, balance)| {
            let own = balance.owed_sat().min(carries.get(account).copied().unwrap_or(0));
            let sat = u64::try_from(own.min(owed(account))).ok()?;
            let name = book.account(account).and_then(AccountBook::name)?;
            let address: Address<NetworkUnchecked> = name.parse().ok()?;
            (sat >= minimum_sat.max(1) && address.is_valid_for_network(network)).then_some(Due {
                account: *account,
                address: name,
                sat,
            })
        })
        .collect();
    due.sort_by(|a, b| b.sat.cmp(&a.sat).then(a.address.cmp(&b.address)));
    due.truncate(OUTPUTS_MAX);
    due
}

impl Payments {
    /// Those that could be made.
    pub fn of_due(due: Vec<Due>) -> Self {
        let output = |due: Due| Output {
            address: due.address,
            sat: due.sat,
        };
        Self::of_outputs(due.into_iter().map(output).collect())
    }

    /// Those of a batch.
    pub fn of_batch(book: &Book, id: &BatchId, batch: &Batch) -> Self {
        let name = |account: &AccountId| book.account(account).and_then(AccountBook::name);
        let outputs = batch.lines().map(|line| Output {
            address: name(&line.account).unwrap_or_default(),
            sat: line.satoshis,
        });
        let mut outputs: Vec<Output> = outputs.collect();
        outputs.sort_by(|a, b| b.sat.cmp(&a.sat).then(a.address.cmp(&b.address)));
        let transaction = batch.lines().find(|line| line.txid != [0; 32]);
        Self {
            batch: Some(name_of(id)),
            state: Some(batch.state().map_or("broken off", PayoutState::name).to_owned()),
            txid: transaction.map(|line| hex(line.txid.iter().rev())),
            ..Self::of_outputs(outputs)
        }
    }

    fn of_outputs(outputs: Vec<Output>) -> Self {
        Self {
            total_sat: outputs.iter().map(|output| output.sat).sum(),
            outputs,
            ..Self::default()
        }
    }

    /// As `bitcoin-cli createpsbt`, `walletcreatefundedpsbt` and `send` take outputs.
    pub fn psbt(&self) -> String {
        let outputs = self.outputs.iter().map(|output| {
            let (coins, rest) = (output.sat / 100_000_000, output.sat % 100_000_000);
            format!("{{\"{}\":\"{coins}.{rest:08}\"}}", output.address)
        });
        format!("[{}]", outputs.collect::<Vec<_>>().join(","))
    }
}

/// The id of a batch's name: its bytes.
///
/// # Errors
/// What a name may be.
pub fn id_of(name: &str) -> Result<BatchId, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(good) {
        return Err(format!(
            "the name of a batch has 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes or underscores, such as 2026-11-30"
        ));
    }
    let mut id = [0; 16];
    id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    Ok(id)
}

/// The name of a batch: its bytes, or in hex where somebody else has chosen them.
pub fn name_of(id: &BatchId) -> String {
    let text: Vec<u8> = id.iter().copied().take_while(|byte| *byte != 0).collect();
    match String::from_utf8(text) {
        Ok(name) if id_of(&name).as_ref() == Ok(id) => name,
        _ => hex(id.iter()),
    }
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payout::tests::{name, tell};
    use adit_ledger::record::{Credit, Entry, Outcome, OutcomeNote};

    #[test]
    fn names_are_their_bytes() {
        assert_eq!(name_of(&id_of("2026-11-30").unwrap()), "2026-11-30");
        assert_eq!(name_of(&id_of("sixteen-letters.").unwrap()), "sixteen-letters.");
        assert_eq!(name_of(&[0xff; 16]), "ff".repeat(16));
        for wrong in ["", "a b", "seventeen-letters", "ä", "a\n"] {
            assert!(id_of(wrong).unwrap_err().contains("1 to 16 letters"));
        }
    }

    /// A book that owes an address `sat` of a mature block.
    fn owing(address: &str, sat: u64) -> (Book, AccountId) {
        let mut book = Book::default();
        let account = name(&mut book, address);
        let credit = Credit {
            block: [7; 32],
            height: 7,
            line: 0,
            lines: 1,
            account,
            earned_sat: sat,
            received_sat: 0,
        };
        tell(&mut book, Entry::Credit(credit));
        let outcome = Outcome::Confirmed;
        tell(
            &mut book,
            Entry::Outcome(OutcomeNote::new([7; 32], 7, outcome, 100, "")),
        );
        (book, account)
    }

    /// What the block of another front end paid of our debt is not paid again; what it owes is its own to pay.
    #[test]
    fn nobody_is_paid_more_than_all_owe_together() {
        let address = crate::config::Payout::throw_away(1).text;
        let (book, account) = owing(&address, 1_000);
        let paid = |elsewhere: i64, minimum| {
            let elsewhere = HashMap::from([(account, elsewhere)]);
            let due = due(&book, &elsewhere, &[0; 16], minimum, Network::Regtest);
            due.first().map(|due| due.sat)
        };
        assert_eq!(paid(0, 1), Some(1_000));
        assert_eq!(paid(-400, 1), Some(600));
        assert_eq!(paid(-400, 601), None);
        assert_eq!(paid(-1_000, 1), None);
        assert_eq!(paid(-5_000, 1), None);
        assert_eq!(paid(5_000, 1), Some(1_000));
    }

    #[test]
    fn wallets_get_coins_with_eight_decimals() {
        let output = |address: &str, sat| Output {
            address: address.into(),
            sat,
        };
        let payments = Payments::of_outputs(vec![output("a", 2_100_000_000_000_001), output("b", 546)]);
        assert_eq!(
            payments.psbt(),
            r#"[{"a":"21000000.00000001"},{"b":"0.00000546"}]"#
        );
        assert_eq!(payments.total_sat, 2_100_000_000_000_547);
        assert_eq!(Payments::default().psbt(), "[]");
    }
}
