//! What this machine's disk takes to make a few kilobytes durable.
//!
//! An acknowledgement of ours waits for it, so that no pool which keeps its promise can be faster on this disk.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::measure::quantile;

/// Bytes of one append: about what a pool under this load writes at once.
const BYTES: usize = 4_096;
/// Appends that are timed, and how long that may take.
const APPENDS: usize = 400;
const LIMIT: Duration = Duration::from_secs(5);

/// Microseconds of one append with its fdatasync, the median, in a file beside those of the pools.
///
/// # Errors
/// When there is no such file.
pub(super) fn append_us() -> Result<f64, Failure> {
    let folder = tempfile::Builder::new().prefix("adit-bench-disk-").tempdir()?;
    let mut options = OpenOptions::new();
    let mut file = options
        .create_new(true)
        .write(true)
        .open(folder.path().join("appends"))?;
    let (bytes, begin, mut times) = ([7; BYTES], Instant::now(), Vec::new());
    while times.len() < APPENDS && begin.elapsed() < LIMIT {
        let start = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(quantile(&times, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_takes_time() {
        assert!(append_us().is_ok_and(|us| us > 0.0));
    }
}
