//! Threads that hash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adit_net::Clock;
use adit_proto::mining::client::Share;
use adit_proto::target::Target;
use tokio::sync::mpsc;

use super::board::{Assignment, Board};
use super::hash::{Engine, Header};
use super::space::{self, UNIT_NONCES, Unit};

/// Batches that may wait for the connection; a miner waits when there are more.
pub(super) const BATCHES_MAX: usize = 64;

/// Shares expected of one look at the board, at most: with easy targets a look takes fewer hashes.
const SHARES_PER_LOOK: u64 = 64;

/// How long a thread whose search space is used up waits for the clock to open more of it.
const REST: Duration = Duration::from_millis(50);

/// Shares that one thread found at one look.
#[derive(Debug)]
pub(super) struct Batch {
    /// The connection that the work came by.
    pub(super) epoch: u64,
    pub(super) shares: Vec<Share>,
}

/// The threads and their board. Dropping it sends them home and waits for them.
#[derive(Debug)]
pub(super) struct Miners {
    pub(super) board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

impl Miners {
    /// Starts `count` threads. They count their hashes in `hashes` and end when `found` closes.
    pub(super) fn start(
        count: usize,
        clock: &Clock,
        hashes: &Arc<AtomicU64>,
        found: &mpsc::Sender<Batch>,
    ) -> std::io::Result<Self> {
        let mut miners = Self {
            board: Arc::default(),
            threads: Vec::with_capacity(count),
        };
        let engine = Engine::best();
        for number in 0..count {
            let miner = Miner {
                engine,
                board: Arc::clone(&miners.board),
                clock: clock.clone(),
                hashes: Arc::clone(hashes),
                found: found.clone(),
            };
            let thread = thread::Builder::new().name(format!("miner-{number}"));
            miners.threads.push(thread.spawn(move || miner.run())?);
        }
        Ok(miners)
    }
}

impl Drop for Miners {
    fn drop(&mut self) {
        self.board.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to tell.
            let _ = thread.join();
        }
    }
}

struct Miner {
    engine: Engine,
    board: Arc<Board>,
    clock: Clock,
    hashes: Arc<AtomicU64>,
    found: mpsc::Sender<Batch>,
}

impl Miner {
    fn run(self) {
        while let Some((generation, assignment)) = self.board.wait() {
            while self.board.generation() == generation {
                let number = assignment.take_unit();
                if !self.may_search(&assignment, number, generation) {
                    break;
                }
                let unit = space::unit(&assignment.work, number, assignment.origin);
                if self.search(&assignment, &unit, generation).is_err() {
                    return;
                }
            }
        }
    }

    /// Waits until the clock allows the header time of this unit (REQ-MIN-046). False when the work changed first.
    fn may_search(&self, assignment: &Assignment, number: u64, generation: u64) -> bool {
        let work = &assignment.work;
        let ntime = work.min_ntime.saturating_add(space::ntime_offset(work, number));
        while ntime > work.max_ntime(self.clock.now()) {
            self.board.wait_for_change(generation, REST);
            if self.board.generation() != generation {
                return false;
            }
        }
        true
    }

    /// Searches one unit, looking at the board now and then. An error says that nobody wants shares any more.
    fn search(&self, assignment: &Assignment, unit: &Unit, generation: u64) -> Result<(), ()> {
        let target = assignment.work.target.0;
        let header = unit.header.prepare();
        let look = look_nonces(self.engine, &Target(target));
        let mut found = Vec::new();
        let mut tried = 0;
        while tried < UNIT_NONCES && self.board.generation() == generation {
            let count = look.min(UNIT_NONCES - tried);
            self.engine.scan(
                &header,
                unit.first_nonce.wrapping_add(tried),
                count,
                &target,
                &mut found,
            );
            self.hashes.fetch_add(u64::from(count), Ordering::Relaxed);
            tried += count;
            if !found.is_empty() {
                let shares = found
                    .drain(..)
                    .map(|nonce| unit.share(&assignment.work, nonce))
                    .collect();
                let batch = Batch {
                    epoch: assignment.epoch,
                    shares,
                };
                self.found.blocking_send(batch).map_err(drop)?;
            }
        }
        Ok(())
    }
}

/// Nonces between two looks at the board: a quarter to half of a millisecond, and few enough that an easy target does
/// not flood the connection. A multiple of 16, which the lanes want.
fn look_nonces(engine: Engine, target: &Target) -> u32 {
    let most = engine.look_nonces();
    let few = target.share_work().saturating_mul(SHARES_PER_LOOK);
    u32::try_from(few)
        .unwrap_or(u32::MAX)
        .clamp(16, most)
        .next_multiple_of(16)
}

/// Hashes a second that one thread of this machine does, from a run of about a tenth of a second. Blocks the thread.
#[must_use]
pub fn measure_hash_rate() -> f64 {
    measure(1, &Clock::system())
}

/// As [`measure_hash_rate`], of `threads` threads together.
pub(super) fn measure(threads: usize, clock: &Clock) -> f64 {
    const SPAN: Duration = Duration::from_millis(100);
    let engine = Engine::best();
    let header = Header {
        version: 0,
        prev_hash: [1; 32],
        merkle_root: [2; 32],
        ntime: 3,
        nbits: 4,
    };
    let run = || {
        let (header, start, mut found, mut hashes) = (header.prepare(), clock.now(), Vec::new(), 0u32);
        loop {
            engine.scan(&header, hashes, engine.look_nonces(), &[0; 32], &mut found);
            hashes = hashes.wrapping_add(engine.look_nonces());
            let elapsed = clock.now() - start;
            if elapsed >= SPAN {
                return f64::from(hashes) / elapsed.as_secs_f64();
            }
        }
    };
    thread::scope(|scope| {
        let runs: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(run)).collect();
        // A thread that panicked has hashed nothing.
        runs.into_iter().map(|run| run.join().unwrap_or(0.0)).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_short_and_not_too_full() {
        let engine = Engine::Single;
        assert_eq!(look_nonces(engine, &Target::MAX), 64);
        assert_eq!(look_nonces(engine, &Target::from_work(2)), 128);
        assert_eq!(
            look_nonces(engine, &Target::from_work(u64::MAX)),
            engine.look_nonces()
        );
        assert_eq!(engine.look_nonces() % 16, 0);
    }

    #[test]
    fn a_hash_rate_is_measured() {
        assert!(measure_hash_rate() > 1_000.0);
    }
}
