//! What the kernel says of a process: CPU time and memory.

use std::fs;
use std::path::Path;

use crate::Failure;

/// The unit of CPU times in `/proc`: USER_HZ, 100 a second on every Linux that Rust runs on.
const TICK_US: f64 = 10_000.0;

/// CPU time of all threads of a process, user and kernel, in microseconds; good to 10,000.
///
/// # Errors
/// When the process has ended.
pub(crate) fn cpu_us(id: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))
        .map_err(|error| format!("process {id} has ended: {error}"))?;
    // The name may hold blanks and parentheses; the fields after it may not.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
    let ticks: u64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 * TICK_US)
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// When the process has ended.
pub(crate) fn resident_bytes(id: u32) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))
        .map_err(|error| format!("process {id} has ended: {error}"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().split(' ').next()?.parse().ok())
        .ok_or("no VmRSS in /proc/PID/status")?;
    Ok(kib * 1024.0)
}

/// The end of a log, for messages.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(8))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let id = std::process::id();
        let mut sum = 0u64;
        while cpu_us(id).is_ok_and(|us| us < 20_000.0) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_us(id).is_ok_and(|us| us >= 20_000.0));
        assert!(resident_bytes(id).is_ok_and(|bytes| bytes > 100_000.0));
    }

    #[test]
    fn nobody_has_the_process_zero() {
        assert!(cpu_us(0).is_err() && resident_bytes(0).is_err());
    }
}
