//! The least that a new block to many connections can cost on this machine.
//!
//! No pool and no generator: for every connection one seal of the two frames, one send, one receive and one open, on all
//! cores, in plain threads with blocking sockets. There is nothing to wake, nothing to look up and no thread to switch
//! to: all sends are done before the first receive, and one session a thread stays in its caches. A pool on these cores
//! with its miners beside it cannot be faster than that.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use adit_noise::{Feed, Session};
use adit_wire::Message;

use crate::Failure;
use crate::library::{new_block, sessions};
use crate::measure::quantile;

/// Blocks that are timed.
const BLOCKS: usize = 9;
/// Descriptors left to everything else.
const SPARE: u64 = 200;
/// More than the two sealed frames.
const BUFFER_BYTES: usize = 1_024;

/// Both ends of the connections of one thread.
struct Lane {
    pairs: Vec<(TcpStream, TcpStream)>,
    server: Session,
    client: Session,
}

/// Microseconds for `connections` connections, the median over some blocks. Where the system does not allow so many
/// sockets in one process, fewer are timed and the time is stretched.
///
/// # Errors
/// When there are no sockets.
pub(super) fn fan_out_us(connections: u32) -> Result<f64, Failure> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let descriptors = rlimit::Resource::NOFILE.get_soft()?.saturating_sub(SPARE);
    let most = usize::try_from(descriptors / 2)?.min(connections as usize);
    let each = (most / cores).max(1);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut lanes = Vec::new();
    for _ in 0..cores {
        lanes.push(Lane::connect(&listener, each)?);
    }
    let start = Barrier::new(cores + 1);
    let mut times = Vec::new();
    for _ in 0..BLOCKS {
        let took = thread::scope(|scope| -> Result<f64, Failure> {
            let running: Vec<_> = lanes
                .iter_mut()
                .map(|lane| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        lane.tell_all().map_err(|failure| failure.to_string())
                    })
                })
                .collect();
            start.wait();
            let since = Instant::now();
            for thread in running {
                thread.join().map_err(|_| "a thread panicked")??;
            }
            Ok(since.elapsed().as_secs_f64() * 1e6)
        })?;
        times.push(took);
    }
    Ok(quantile(&times, 0.5) * f64::from(connections) / (each * cores) as f64)
}

impl Lane {
    fn connect(listener: &TcpListener, count: usize) -> Result<Self, Failure> {
        let address = listener.local_addr()?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let client = TcpStream::connect(address)?;
            let (server, _) = listener.accept()?;
            server.set_nodelay(true)?;
            pairs.push((server, client));
        }
        let (client, server) = sessions();
        Ok(Self {
            pairs,
            server,
            client,
        })
    }

    fn tell_all(&mut self) -> Result<(), Failure> {
        let (job, tip) = new_block();
        let (mut frames, mut sealed) = ([Vec::new(), Vec::new()], Vec::new());
        job.encode_frame(&mut frames[0]);
        tip.encode_frame(&mut frames[1]);
        for (server, _) in &mut self.pairs {
            sealed.clear();
            for frame in &frames {
                self.server
                    .seal(frame, &mut sealed)
                    .map_err(|error| error.to_string())?;
            }
            server.write_all(&sealed)?;
        }
        let mut buffer = [0; BUFFER_BYTES];
        for (_, client) in &mut self.pairs {
            let got = client.read(&mut buffer)?;
            open(&mut self.client, &mut buffer[..got], frames.len())?;
        }
        Ok(())
    }
}

/// Opens the frames of one record after the other.
fn open(session: &mut Session, mut bytes: &mut [u8], frames: usize) -> Result<(), Failure> {
    for _ in 0..frames {
        let fed = session.feed(bytes, |header| header.msg_length);
        let Feed::Frame { used, .. } = fed.map_err(|error| error.to_string())? else {
            return Err("one read did not bring the whole of a block".into());
        };
        bytes = &mut bytes[used..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_connections_are_told_of_all_blocks() {
        assert!(fan_out_us(8).is_ok_and(|us| us > 0.0));
    }
}
