//! How much extranonce there is to share out: found out before the first miner comes, since it stays as it is then.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use adit_net::Clock;
use adit_proto::extranonce::BRANCH_BYTES_MIN;

use crate::uplink::lines::{self, Lines, News};
use crate::uplink::mining;
use crate::uplink::{BRANCH_BYTES, Cause, Speech, Upstream};

/// How long pools are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are asked for first: a device below gets eight of them to roll, which is enough for a proxy below this one and not
/// too many for old boards.
const WIDE_BYTES: usize = 12;

/// What is asked for, one after the other.
const WIDTHS: [usize; 3] = [WIDE_BYTES, BRANCH_BYTES, BRANCH_BYTES_MIN];

/// Bytes that all pools leave, at most [`WIDE_BYTES`]. Pools of Stratum V1 give what they give; those of Stratum V2 are told what
/// we need, and one that refuses us that, such as another proxy, is asked for less. When one does not say, no more than
/// [`BRANCH_BYTES`] are shared out, so that it is of use as soon as it is back. Neither are more where distributed jobs are mined:
/// their coinbases have room for as many as the distributor asked its pool for (docs/job-distribution.md).
pub(super) async fn left(upstreams: &[Upstream], settings: &lines::Settings, clock: &Clock) -> usize {
    let all = upstreams.iter().cloned();
    let (new, old): (Vec<_>, Vec<_>) = all.partition(|it| it.speech == Speech::StratumV2);
    let most = match settings.mining.work_selection {
        true => BRANCH_BYTES,
        false => WIDE_BYTES,
    };
    let asking = Asking {
        settings,
        clock,
        bytes: AtomicUsize::new(most),
        silent: AtomicUsize::new(upstreams.len()),
    };
    let both = async {
        let new = async {
            let mut refused = new;
            for least in WIDTHS.into_iter().filter(|least| *least <= most) {
                refused = asking.ask(refused, least).await;
            }
        };
        tokio::join!(asking.ask(old, BRANCH_BYTES_MIN), new);
    };
    // Who has said nothing until then is counted below.
    let _in_time = tokio::time::timeout(PATIENCE, both).await;
    let silent = asking.silent.load(Relaxed);
    if silent > 0 {
        asking.bytes.fetch_min(BRANCH_BYTES, Relaxed);
        tracing::warn!(
            pools = silent,
            "not all pools have said in time how much extranonce they leave: one that leaves less than {} bytes will be of no \
             use until the next start",
            asking.bytes.load(Relaxed)
        );
    }
    asking.bytes.load(Relaxed)
}

/// What is known so far.
struct Asking<'a> {
    settings: &'a lines::Settings,
    clock: &'a Clock,
    bytes: AtomicUsize,
    /// Pools that have not said what they leave.
    silent: AtomicUsize,
}

impl Asking<'_> {
    /// Opens a channel of each that leaves `least` bytes, and closes it. Gives those who refuse that.
    async fn ask(&self, upstreams: Vec<Upstream>, least: usize) -> Vec<Upstream> {
        let settings = lines::Settings {
            mining: mining::Settings {
                extranonce_min: u16::try_from(least).unwrap_or(u16::MAX),
                work_selection: false,
                worker_names: false,
                ..self.settings.mining.clone()
            },
            ..self.settings.clone()
        };
        let mut open = upstreams.len();
        let (mut lines, mut reports) = Lines::new(upstreams, settings, self.clock.clone());
        (0..lines.count()).for_each(|upstream| lines.connect(upstream));
        let mut refused = Vec::new();
        while open > 0 {
            let Some(report) = reports.recv().await else { break };
            let upstream = report.upstream;
            match lines.note(self.clock.now(), &report).flatten() {
                None => continue,
                Some(News::Ready) => self.leaves(&mut lines, upstream),
                Some(News::Down(Cause::Refused)) => refused.extend(lines.upstreams().get(upstream).cloned()),
                Some(News::Down(_)) => {}
            }
            open -= 1;
        }
        refused
    }

    fn leaves(&self, lines: &mut Lines, upstream: usize) {
        if let Some(channel) = lines.facts(upstream).and_then(|facts| facts.channel) {
            self.bytes.fetch_min(usize::from(channel.size), Relaxed);
            self.silent.fetch_sub(1, Relaxed);
            let upstream = lines.name(upstream);
            tracing::info!(upstream, bytes = channel.size, "bytes of extranonce left to us");
        }
        lines.disconnect(upstream);
    }
}
