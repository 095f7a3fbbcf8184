//! Figures over time.

use super::super::delta::RESOLUTIONS;
use super::super::error::StoreError;
use super::super::store::{Store, Value, bytes, int};
use super::{ROWS_MAX, Whose};

/// A stretch of time in equal steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First second, Unix time.
    pub from_s: u64,
    /// Second behind the last one.
    pub until_s: u64,
    /// Seconds of a step: 60, 600 or 3600.
    pub resolution_s: u64,
}

impl Span {
    /// Everything between two times, in the finest steps that give at most `points`.
    pub fn fine(from_s: u64, until_s: u64, points: u64) -> Self {
        let length = until_s.saturating_sub(from_s);
        let fits = |resolution: &u64| length / resolution <= points;
        let [.., coarsest] = RESOLUTIONS;
        Self {
            from_s,
            until_s,
            resolution_s: RESOLUTIONS.into_iter().find(fits).unwrap_or(coarsest),
        }
    }

    fn values(self) -> Result<[Value; 3], StoreError> {
        Ok([int(self.resolution_s)?, int(self.from_s)?, int(self.until_s)?])
    }
}

/// What was done in one step. Steps without shares are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its first second.
    pub start_s: u64,
    /// Accepted shares: with `n` of them the error of the hash rate is one part in the square root of `n`.
    pub shares: u64,
    /// Their expected hashes; divided by the length of the step it is the hash rate.
    pub work: u128,
}

/// Refused shares of one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// First second of the step, or of the span.
    pub start_s: u64,
    /// The refusal code.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Shares and work over time, oldest first, at most [`ROWS_MAX`] steps: the newest ones.
///
/// # Errors
/// See [`StoreError`].
pub fn series(store: &mut dyn Store, whose: Whose, span: Span) -> Result<Vec<Point>, StoreError> {
    let (account, worker) = whose.key();
    let [resolution, from, until] = span.values()?;
    let rows = store.rows(
        "SELECT start_s, CAST(SUM(shares) AS BIGINT), CAST(SUM(work_hi) AS BIGINT), CAST(SUM(work_lo) AS BIGINT)
         FROM history
         WHERE account = $1 AND worker = $2 AND resolution = $3 AND start_s >= $4 AND start_s < $5
         GROUP BY start_s ORDER BY start_s DESC LIMIT $6",
        &[
            bytes(&account),
            bytes(&worker),
            resolution,
            from,
            until,
            Value::Int(ROWS_MAX.into()),
        ],
    )?;
    let point = |row: &super::super::store::Row| {
        Ok(Point {
            start_s: row.int(0)?,
            shares: row.int(1)?,
            work: row.work(2)?,
        })
    };
    rows.iter().rev().map(point).collect()
}

/// Refused shares by reason, most first.
///
/// # Errors
/// See [`StoreError`].
pub fn rejects(store: &mut dyn Store, whose: Whose, span: Span) -> Result<Vec<Refused>, StoreError> {
    let (account, worker) = whose.key();
    let [resolution, from, until] = span.values()?;
    let rows = store.rows(
        "SELECT MIN(start_s), reason, CAST(SUM(refused) AS BIGINT) FROM rejects
         WHERE account = $1 AND worker = $2 AND resolution = $3 AND start_s >= $4 AND start_s < $5
         GROUP BY reason ORDER BY 3 DESC, reason LIMIT $6",
        &[
            bytes(&account),
            bytes(&worker),
            resolution,
            from,
            until,
            Value::Int(ROWS_MAX.into()),
        ],
    )?;
    rows.iter().map(refused).collect()
}

/// Refused shares by step and reason, oldest first, at most [`ROWS_MAX`]: the newest ones.
///
/// # Errors
/// See [`StoreError`].
pub fn rejects_series(store: &mut dyn Store, whose: Whose, span: Span) -> Result<Vec<Refused>, StoreError> {
    let (account, worker) = whose.key();
    let [resolution, from, until] = span.values()?;
    let rows = store.rows(
        "SELECT start_s, reason, CAST(SUM(refused) AS BIGINT) FROM rejects
         WHERE account = $1 AND worker = $2 AND resolution = $3 AND start_s >= $4 AND start_s < $5
         GROUP BY start_s, reason ORDER BY start_s DESC, reason DESC LIMIT $6",
        &[
            bytes(&account),
            bytes(&worker),
            resolution,
            from,
            until,
            Value::Int(ROWS_MAX.into()),
        ],
    )?;
    rows.iter().rev().map(refused).collect()
}

/// Refused shares by step, whatever the reason, oldest first, at most [`ROWS_MAX`] steps: the newest ones. Each has its first
/// second and the count.
///
/// # Errors
/// See [`StoreError`].
pub fn refused_series(
    store: &mut dyn Store,
    whose: Whose,
    span: Span,
) -> Result<Vec<(u64, u64)>, StoreError> {
    let (account, worker) = whose.key();
    let [resolution, from, until] = span.values()?;
    let rows = store.rows(
        "SELECT start_s, CAST(SUM(refused) AS BIGINT) FROM rejects
         WHERE account = $1 AND worker = $2 AND resolution = $3 AND start_s >= $4 AND start_s < $5
         GROUP BY start_s ORDER BY start_s DESC LIMIT $6",
        &[
            bytes(&account),
            bytes(&worker),
            resolution,
            from,
            until,
            Value::Int(ROWS_MAX.into()),
        ],
    )?;
    let step = |row: &super::super::store::Row| Ok((row.int(0)?, row.int(1)?));
    rows.iter().rev().map(step).collect()
}

fn refused(row: &super::super::store::Row) -> Result<Refused, StoreError> {
    Ok(Refused {
        start_s: row.int(0)?,
        reason: row.text(1),
        count: row.int(2)?,
    })
}
