//! Accounts, workers, best shares, sessions, blocks, payouts.

use adit_ledger::record::{ChannelKind, Ending, Outcome, PayoutState, Protocol};
use adit_ledger::{AccountId, WorkerId};

use super::super::delta::{ALL, DAY_S, Tally};
use super::super::error::StoreError;
use super::super::store::{Row, Store, Value, bytes, int, text};
use super::{Page, Whose};

/// How a list of accounts or workers is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Most work first.
    #[default]
    Work,
    /// Last share first.
    LastShare,
    /// By name.
    Name,
}

impl Order {
    const fn by(self) -> &'static str {
        match self {
            Self::Work => "SUM(work_hi) + SUM(work_lo) / 1000000000000 DESC, SUM(work_lo) DESC",
            Self::LastShare => "latest_us DESC",
            Self::Name => "name",
        }
    }
}

/// An account and all that it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Which.
    pub account: AccountId,
    /// Its name; empty where the journal has none.
    pub name: String,
    /// The sums.
    pub sums: Tally,
}

/// A worker and all that it did; a part of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub worker: WorkerId,
    /// Its name; empty where the journal has none.
    pub name: String,
    /// The sums.
    pub sums: Tally,
}

/// A best share of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Best {
    /// Who found it.
    pub account: AccountId,
    /// The account's name.
    pub name: String,
    /// Which worker, where it is known.
    pub worker: Option<WorkerId>,
    /// The worker's name.
    pub worker_name: String,
    /// The header's hash, highest byte first.
    pub hash: [u8; 32],
    /// When, Unix microseconds.
    pub found_us: u64,
    /// Height that it worked on.
    pub height: u32,
}

/// A channel that has worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// At which front end.
    pub front_end: u16,
    /// Since which start of it.
    pub epoch: u32,
    /// Its number there.
    pub session: u64,
    /// Whose.
    pub account: AccountId,
    /// The account's name.
    pub name: String,
    /// Which worker, where the channel said so.
    pub worker: Option<WorkerId>,
    /// The channel's extranonce prefix as a number.
    pub channel: u64,
    /// Kind of the channel.
    pub kind: Option<ChannelKind>,
    /// What the connection speaks.
    pub protocol: Option<Protocol>,
    /// What the device calls itself.
    pub device: String,
    /// When the channel was opened, Unix microseconds.
    pub opened_us: u64,
    /// When it ended; `None` while it is there.
    pub closed_us: Option<u64>,
    /// How it ended; `None` also where the pool was killed.
    pub ending: Option<Ending>,
}

/// A found block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRow {
    /// Its hash, highest byte first.
    pub hash: [u8; 32],
    /// Its height.
    pub height: u32,
    /// What its coinbase pays in all, satoshis.
    pub satoshis: u64,
    /// Who found it.
    pub account: AccountId,
    /// The account's name.
    pub name: String,
    /// Which worker, where it is known.
    pub worker: Option<WorkerId>,
    /// When it was found, Unix microseconds.
    pub found_us: u64,
    /// What became of it; `None` before that is known. [`Outcome::Stale`] is an orphan.
    pub outcome: Option<Outcome>,
    /// Blocks on it when that was noted, itself included.
    pub confirmations: u32,
    /// Why, in the node's words.
    pub reason: String,
    /// When that was noted; 0 before.
    pub outcome_us: u64,
}

/// An account's part of a batch of payouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutRow {
    /// Which batch.
    pub batch: [u8; 16],
    /// Who is paid.
    pub account: AccountId,
    /// The account's name.
    pub name: String,
    /// How much, satoshis.
    pub satoshis: u64,
    /// What was kept for the transaction.
    pub fee: u64,
    /// The transaction, as explorers write it; zeros before there is one.
    pub txid: [u8; 32],
    /// Its output.
    pub vout: u32,
    /// Height of its block; 0 before it is in one.
    pub height: u32,
    /// How far it is.
    pub state: Option<PayoutState>,
    /// Since when, Unix microseconds.
    pub changed_us: u64,
}

/// Sums over front ends, in the order of [`tally`]; for rows grouped by account and worker.
macro_rules! sums {
    () => {
        "CAST(SUM(shares) AS BIGINT), CAST(SUM(work_hi) AS BIGINT), CAST(SUM(work_lo) AS BIGINT), MIN(first_us),
         MAX(last_us) AS latest_us,
         (SELECT b.best_work FROM tallies AS b WHERE b.account = tallies.account AND b.worker = tallies.worker
            ORDER BY b.best_work DESC LIMIT 1),
         (SELECT b.best_hash FROM tallies AS b WHERE b.account = tallies.account AND b.worker = tallies.worker
            ORDER BY b.best_hash LIMIT 1),
         (SELECT b.best_us FROM tallies AS b WHERE b.account = tallies.account AND b.worker = tallies.worker
            ORDER BY b.best_hash LIMIT 1),
         CAST(SUM(blocks) AS BIGINT), CAST(SUM(rejected) AS BIGINT), CAST(SUM(paid) AS BIGINT),
         CAST(SUM(unpaid) AS BIGINT)"
    };
}

fn tally(row: &Row, column: usize) -> Result<Tally, StoreError> {
    let shares = row.int(column)?;
    Ok(Tally {
        shares,
        work: row.work(column + 1)?,
        first_us: if shares == 0 {
            u64::MAX
        } else {
            row.int(column + 3)?
        },
        last_us: row.int(column + 4)?,
        best_work: row.one_work(column + 5)?,
        best_hash: row.bytes(column + 6)?,
        best_us: row.int(column + 7)?,
        blocks: row.int(column + 8)?,
        rejected: row.int(column + 9)?,
        paid: row.int(column + 10)?,
        unpaid: row.int(column + 11)?,
        ..Tally::default()
    })
}

/// The sums of the pool, of an account or of a worker.
///
/// # Errors
/// See [`StoreError`].
pub fn totals(store: &mut dyn Store, whose: Whose) -> Result<Tally, StoreError> {
    let (account, worker) = whose.key();
    let rows = store.rows(
        concat!(
            "SELECT ",
            sums!(),
            " FROM tallies WHERE account = $1 AND worker = $2 GROUP BY tallies.account, tallies.worker"
        ),
        &[bytes(&account), bytes(&worker)],
    )?;
    rows.first().map_or(Ok(Tally::default()), |row| tally(row, 0))
}

/// One account; `None` when it never did anything.
///
/// # Errors
/// See [`StoreError`].
pub fn account(store: &mut dyn Store, account: AccountId) -> Result<Option<AccountRow>, StoreError> {
    let rows = store.rows(
        concat!(
            "SELECT tallies.account, (SELECT MAX(name) FROM accounts WHERE accounts.account = tallies.account) AS name, ",
            sums!(),
            " FROM tallies WHERE account = $1 AND worker = $2 GROUP BY tallies.account, tallies.worker"
        ),
        &[bytes(&account), bytes(&ALL)],
    )?;
    rows.first().map(account_row).transpose()
}

/// Accounts with all that they did.
///
/// # Errors
/// See [`StoreError`].
pub fn accounts(store: &mut dyn Store, order: Order, page: Page) -> Result<Vec<AccountRow>, StoreError> {
    let (rows, skip) = page.bounded();
    let statement = format!(
        "SELECT tallies.account, (SELECT MAX(name) FROM accounts WHERE accounts.account = tallies.account) AS name, {}
         FROM tallies WHERE worker = $1 AND account <> $2 GROUP BY tallies.account, tallies.worker
         ORDER BY {}, tallies.account LIMIT $3 OFFSET $4",
        sums!(),
        order.by()
    );
    let values = [bytes(&ALL), bytes(&ALL), Value::Int(rows), Value::Int(skip)];
    store.rows(&statement, &values)?.iter().map(account_row).collect()
}

fn account_row(row: &Row) -> Result<AccountRow, StoreError> {
    Ok(AccountRow {
        account: row.bytes(0)?,
        name: row.text(1),
        sums: tally(row, 2)?,
    })
}

/// The account of that very name.
///
/// # Errors
/// See [`StoreError`].
pub fn account_named(store: &mut dyn Store, name: &str) -> Result<Option<AccountId>, StoreError> {
    let rows = store.rows(
        "SELECT account FROM accounts WHERE name = $1 LIMIT 1",
        &[text(name)],
    )?;
    rows.first().map(|row| row.bytes(0)).transpose()
}

/// Front ends whose journals are in the database.
///
/// # Errors
/// See [`StoreError`].
pub fn front_ends(store: &mut dyn Store) -> Result<u64, StoreError> {
    let rows = store.rows("SELECT COUNT(*) FROM positions", &[])?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// The worker of that very name behind an account.
///
/// # Errors
/// See [`StoreError`].
pub fn worker_named(
    store: &mut dyn Store,
    account: AccountId,
    name: &str,
) -> Result<Option<WorkerId>, StoreError> {
    let rows = store.rows(
        "SELECT worker FROM workers WHERE account = $1 AND name = $2 LIMIT 1",
        &[bytes(&account), text(name)],
    )?;
    rows.first().map(|row| row.bytes(0)).transpose()
}

/// One worker of an account; `None` when it never did anything.
///
/// # Errors
/// See [`StoreError`].
pub fn worker(
    store: &mut dyn Store,
    account: AccountId,
    worker: WorkerId,
) -> Result<Option<WorkerRow>, StoreError> {
    let rows = store.rows(
        concat!(
            "SELECT tallies.account, tallies.worker, (SELECT MAX(name) FROM workers
                WHERE workers.account = tallies.account AND workers.worker = tallies.worker) AS name, ",
            sums!(),
            " FROM tallies WHERE account = $1 AND worker = $2 AND worker <> $3 GROUP BY tallies.account, tallies.worker"
        ),
        &[bytes(&account), bytes(&worker), bytes(&ALL)],
    )?;
    rows.first().map(worker_row).transpose()
}

/// The workers of an account with all that they did.
///
/// # Errors
/// See [`StoreError`].
pub fn workers(
    store: &mut dyn Store,
    account: AccountId,
    order: Order,
    page: Page,
) -> Result<Vec<WorkerRow>, StoreError> {
    let (rows, skip) = page.bounded();
    let statement = format!(
        "SELECT tallies.account, tallies.worker, (SELECT MAX(name) FROM workers
            WHERE workers.account = tallies.account AND workers.worker = tallies.worker) AS name, {}
         FROM tallies WHERE account = $1 AND worker <> $2 GROUP BY tallies.account, tallies.worker
         ORDER BY {}, tallies.worker LIMIT $3 OFFSET $4",
        sums!(),
        order.by()
    );
    let values = [bytes(&account), bytes(&ALL), Value::Int(rows), Value::Int(skip)];
    store.rows(&statement, &values)?.iter().map(worker_row).collect()
}

fn worker_row(row: &Row) -> Result<WorkerRow, StoreError> {
    Ok(WorkerRow {
        account: row.bytes(0)?,
        worker: row.bytes(1)?,
        name: row.text(2),
        sums: tally(row, 3)?,
    })
}

const NAME: &str =
    "(SELECT MAX(accounts.name) FROM accounts WHERE accounts.account = it.account) AS account_name";

/// The best share of each worker and day since `since_s` (Unix time, counted in whole days of UTC), the best first.
/// [`Whose::Pool`] asks for everybody's.
///
/// # Errors
/// See [`StoreError`].
pub fn best_shares(
    store: &mut dyn Store,
    whose: Whose,
    since_s: u64,
    page: Page,
) -> Result<Vec<Best>, StoreError> {
    let (rows, skip) = page.bounded();
    let (account, worker) = whose.key();
    let (which, mut values) = match whose {
        Whose::Pool => ("it.account <> $1", vec![bytes(&ALL)]),
        Whose::Account(_) => ("it.account = $1", vec![bytes(&account)]),
        Whose::Worker(..) => ("it.account = $1 AND it.worker = $5", vec![bytes(&account)]),
    };
    values.extend([int(since_s / DAY_S)?, Value::Int(rows), Value::Int(skip)]);
    if let Whose::Worker(..) = whose {
        values.push(bytes(&worker));
    }
    let statement = format!(
        "SELECT it.account, {NAME}, it.worker,
            (SELECT MAX(workers.name) FROM workers WHERE workers.account = it.account AND workers.worker = it.worker),
            it.hash, it.found_us, it.height
         FROM best_shares AS it WHERE {which} AND it.day >= $2 ORDER BY it.hash LIMIT $3 OFFSET $4"
    );
    let best = |row: &Row| {
        Ok(Best {
            account: row.bytes(0)?,
            name: row.text(1),
            worker: somebody(row.bytes(2)?),
            worker_name: row.text(3),
            hash: row.bytes(4)?,
            found_us: row.int(5)?,
            height: row.narrow(6)?,
        })
    };
    store.rows(&statement, &values)?.iter().map(best).collect()
}

fn somebody(worker: WorkerId) -> Option<WorkerId> {
    (worker != ALL).then_some(worker)
}

/// Sessions, the newest first; of one account, or of all. `open`: only those that are there now.
///
/// # Errors
/// See [`StoreError`].
pub fn sessions(
    store: &mut dyn Store,
    account: Option<AccountId>,
    open: bool,
    page: Page,
) -> Result<Vec<SessionRow>, StoreError> {
    let (rows, skip) = page.bounded();
    let mut values = vec![Value::Int(rows), Value::Int(skip)];
    let mut wishes = Vec::new();
    if let Some(account) = account {
        wishes.push("it.account = $3");
        values.push(bytes(&account));
    }
    if open {
        wishes.push("it.closed_us = 0");
    }
    let statement = format!(
        "SELECT it.front_end, it.epoch, it.session, it.account, {NAME}, it.worker, it.channel, it.kind, it.protocol,
            it.device, it.opened_us, it.closed_us, it.ending
         FROM sessions AS it {} ORDER BY it.opened_us DESC, it.session LIMIT $1 OFFSET $2",
        filter(&wishes)
    );
    let session = |row: &Row| {
        let closed_us = row.int(11)?;
        Ok(SessionRow {
            front_end: row.narrow(0)?,
            epoch: row.narrow(1)?,
            session: row.int(2)?,
            account: row.bytes(3)?,
            name: row.text(4),
            worker: somebody(row.bytes(5)?),
            channel: row.int(6)?,
            kind: ChannelKind::of(row.narrow(7)?),
            protocol: Protocol::of(row.narrow(8)?),
            device: row.text(9),
            opened_us: row.int(10)?,
            closed_us: (closed_us > 0).then_some(closed_us),
            ending: Ending::of(row.narrow(12)?),
        })
    };
    store.rows(&statement, &values)?.iter().map(session).collect()
}

fn filter(wishes: &[&str]) -> String {
    match wishes {
        [] => String::new(),
        wishes => format!("WHERE {}", wishes.join(" AND ")),
    }
}

/// Found blocks, the highest first; of one account, or of all.
///
/// # Errors
/// See [`StoreError`].
pub fn blocks(
    store: &mut dyn Store,
    account: Option<AccountId>,
    page: Page,
) -> Result<Vec<BlockRow>, StoreError> {
    let (rows, skip) = page.bounded();
    let mut values = vec![Value::Int(rows), Value::Int(skip)];
    let mut wishes = Vec::new();
    if let Some(account) = account {
        wishes.push("it.account = $3");
        values.push(bytes(&account));
    }
    let statement = format!(
        "SELECT {} FROM blocks AS it {} ORDER BY it.height DESC, it.hash LIMIT $1 OFFSET $2",
        block_columns(),
        filter(&wishes)
    );
    store.rows(&statement, &values)?.iter().map(block_row).collect()
}

/// The found block of that hash, its highest byte first.
///
/// # Errors
/// See [`StoreError`].
pub fn block(store: &mut dyn Store, hash: &[u8; 32]) -> Result<Option<BlockRow>, StoreError> {
    let statement = format!(
        "SELECT {} FROM blocks AS it WHERE it.hash = $1 ORDER BY it.front_end LIMIT 1",
        block_columns()
    );
    let rows = store.rows(&statement, &[bytes(hash)])?;
    rows.first().map(block_row).transpose()
}

fn block_columns() -> String {
    format!(
        "it.hash, it.height, it.satoshis, it.account, {NAME}, it.worker, it.found_us, it.outcome, it.confirmations,
            it.reason, it.outcome_us"
    )
}

fn block_row(row: &Row) -> Result<BlockRow, StoreError> {
    Ok(BlockRow {
        hash: row.bytes(0)?,
        height: row.narrow(1)?,
        satoshis: row.int(2)?,
        account: row.bytes(3)?,
        name: row.text(4),
        worker: somebody(row.bytes(5)?),
        found_us: row.int(6)?,
        outcome: Outcome::of(row.narrow(7)?),
        confirmations: row.narrow(8)?,
        reason: row.text(9),
        outcome_us: row.int(10)?,
    })
}

/// Payouts, the last changed first; of one account, or of all.
///
/// # Errors
/// See [`StoreError`].
pub fn payouts(
    store: &mut dyn Store,
    account: Option<AccountId>,
    page: Page,
) -> Result<Vec<PayoutRow>, StoreError> {
    let (rows, skip) = page.bounded();
    let mut values = vec![Value::Int(rows), Value::Int(skip)];
    let mut wishes = Vec::new();
    if let Some(account) = account {
        wishes.push("it.account = $3");
        values.push(bytes(&account));
    }
    let statement = format!(
        "SELECT it.batch, it.account, {NAME}, it.satoshis, it.fee, it.txid, it.vout, it.height, it.state, it.changed_us
         FROM payouts AS it {} ORDER BY it.changed_us DESC, it.batch, it.account LIMIT $1 OFFSET $2",
        filter(&wishes)
    );
    let payout = |row: &Row| {
        Ok(PayoutRow {
            batch: row.bytes(0)?,
            account: row.bytes(1)?,
            name: row.text(2),
            satoshis: row.int(3)?,
            fee: row.int(4)?,
            txid: row.bytes(5)?,
            vout: row.narrow(6)?,
            height: row.narrow(7)?,
            state: PayoutState::of(row.narrow(8)?),
            changed_us: row.int(9)?,
        })
    };
    store.rows(&statement, &values)?.iter().map(payout).collect()
}
