//! A working miner in a hundred lines: connects, opens a standard channel, hashes, sends shares.
//!
//! ```text
//! cargo run --release -p adit --example miner -- stratum2+tcp://127.0.0.1:3333/KEY 3
//! ```
//!
//! `wire` has the messages, `proto` decides what they mean, `noise` (inside `net`) keeps them secret, `net` moves the
//! bytes. What is left is this: say what is wanted, and hash.

use std::error::Error;
use std::task::{Context, Poll};
use std::time::Duration;

use adit::device::hash::{Engine, Header as BlockHeader};
use adit::device::upstream::{Heard, Upstream};
use adit_net::drive::Bounds;
use adit_net::{Clock, End, Protocol, Url, dial, drive};
use adit_proto::mining::client::{Event, Kind, Open, Settings, Share, Work};
use adit_proto::{Fault, Time};
use adit_wire::{B0_32, Header, U256, common::flags};

/// Nonces tried between two looks at the network.
const LOOK: u32 = 4_096;

struct Miner {
    upstream: Upstream,
    work: Option<(Work, u32)>,
    accepted: u64,
    wanted: u64,
}

impl Miner {
    fn attend(&mut self, now: Time, heard: Vec<Heard>, out: &mut Vec<u8>) -> Result<(), Fault> {
        for it in heard {
            match it {
                Heard::Established => {
                    let user_identity = "example.miner".try_into().unwrap_or_default();
                    let (kind, max_target) = (Kind::Standard, U256::MAX);
                    let open = Open {
                        kind,
                        user_identity,
                        nominal_hash_rate: 1e6,
                        max_target,
                    };
                    self.upstream.open(now, open, out, &mut Vec::new())?;
                }
                Heard::Work(work) => self.work = Some((work, 0)),
                Heard::Event(Event::Accepted { count, .. }) => self.accepted += u64::from(count),
                other => println!("{other:?}"),
            }
        }
        Ok(())
    }

    /// Tries the next nonces of the work, if there is any, and sends what is good.
    fn hash(&mut self, now: Time, out: &mut Vec<u8>) {
        let Some((work, nonce)) = &mut self.work else {
            return;
        };
        let (first, mut found) = (*nonce, Vec::new());
        *nonce = first.wrapping_add(LOOK);
        let merkle_root = work.merkle_root(&[]).0;
        let Work {
            channel,
            job_id,
            version,
            prev_hash,
            min_ntime: ntime,
            nbits,
            target,
            ..
        } = *work;
        let header = BlockHeader {
            version,
            prev_hash: prev_hash.0,
            merkle_root,
            ntime,
            nbits,
        };
        Engine::best().scan(&header.prepare(), first, LOOK, &target.0, &mut found);
        for nonce in found {
            let extranonce = B0_32::default();
            let share = Share {
                channel,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            };
            if let Err(why) = self.upstream.share(now, share, out) {
                println!("share not sent: {why:?}");
            }
        }
    }
}

impl Protocol for Miner {
    fn length_max(&self, header: &Header) -> u32 {
        Upstream::length_max(header)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut heard = Vec::new();
        self.upstream.frame(now, header, payload, out, &mut heard)?;
        self.attend(now, heard, out)
    }

    fn poll_mail(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let busy = !self.upstream.started() || self.work.is_some();
        if busy { Poll::Ready(()) } else { Poll::Pending }
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.upstream.started() {
            return self.upstream.start(now, out, &mut Vec::new());
        }
        self.hash(now, out);
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        self.upstream.deadline()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.upstream.expire(now, out, &mut Vec::new())
    }

    fn finished(&self) -> bool {
        self.accepted >= self.wanted
    }
}

/// Mines until `wanted` shares are accepted; gives the number that were.
pub async fn mine(url: &Url, wanted: u64) -> Result<u64, Box<dyn Error>> {
    let clock = Clock::system();
    let mut link = dial(url, &clock, Duration::from_secs(10)).await?;
    let upstream = Upstream::new(url, flags::REQUIRES_STANDARD_JOBS, Settings::default());
    let mut miner = Miner {
        upstream,
        work: None,
        accepted: 0,
        wanted,
    };
    match drive(&mut link, &mut miner, &clock, Bounds::default()).await {
        End::Finished => Ok(miner.accepted),
        end => Err(end.to_string().into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("give the URL of a pool")?.parse()?;
    let wanted = arguments.next().map_or(Ok(3), |count| count.parse())?;
    println!("{} shares accepted", mine(&url, wanted).await?);
    Ok(())
}
