//! The crates of both, called in alternation.

mod frames;
mod handshakes;
mod records;
mod report;
mod shares;
mod templates;

use crate::measure::Case;

pub(crate) use frames::new_block;
pub(crate) use records::sessions;
pub use report::rows;

/// Every case, in the order of the table.
pub fn cases() -> Vec<Case> {
    let mut cases = frames::cases();
    cases.extend(records::cases());
    cases.extend(handshakes::cases());
    cases.extend(shares::cases());
    cases.extend(templates::cases());
    cases
}

/// A benchmark whose inputs are wrong must not print figures.
pub(crate) trait Certain<T> {
    /// The value; ends the run when there is none.
    fn certain(self) -> T;
}

impl<T, E: std::fmt::Debug> Certain<T> for Result<T, E> {
    #[track_caller]
    fn certain(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("the benchmark is wrong: {error:?}"),
        }
    }
}

impl<T> Certain<T> for Option<T> {
    #[track_caller]
    fn certain(self) -> T {
        match self {
            Some(value) => value,
            None => panic!("the benchmark is wrong: nothing there"),
        }
    }
}
