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

/// Bytes that all pools leave that can be reached now, at most [`BRANCH_BYTES`]. Pools of Stratum V1 give what they give; those of
/// Stratum V2 are told what we need, and one that refuses us that, such as another proxy, is asked for the least.
pub(super) async fn left(upstreams: &[Upstream], settings: &lines::Settings, clock: &Clock) -> usize {
    let all = upstreams.iter().cloned();
    let (new, old): (Vec<_>, Vec<_>) = all.partition(|it| it.speech == Speech::StratumV2);
    let asking = Asking {
        settings,
        clock,
        bytes: AtomicUsize::new(BRANCH_BYTES),
        waited_for: AtomicUsize::new(0),
    };
    let both = async {
        let new = async {
            let narrow = asking.ask(new, BRANCH_BYTES).await;
            asking.ask(narrow, BRANCH_BYTES_MIN).await;
        };
        tokio::join!(asking.ask(old, BRANCH_BYTES_MIN), new);
    };
    if tokio::time::timeout(PATIENCE, both).await.is_err() {
        tracing::warn!(
            pools = asking.waited_for.load(Relaxed),
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
    waited_for: AtomicUsize,
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
        self.waited_for.fetch_add(open, Relaxed);
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
            self.waited_for.fetch_sub(1, Relaxed);
        }
        refused
    }

    fn leaves(&self, lines: &mut Lines, upstream: usize) {
        if let Some(channel) = lines.facts(upstream).and_then(|facts| facts.channel) {
            self.bytes.fetch_min(usize::from(channel.size), Relaxed);
            let upstream = lines.name(upstream);
            tracing::info!(upstream, bytes = channel.size, "bytes of extranonce left to us");
        }
        lines.disconnect(upstream);
    }
}
