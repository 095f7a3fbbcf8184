//! How much extranonce there is to share out: found out before the first miner comes, since it stays as it is then.

use std::time::Duration;

use adit_net::Clock;
use adit_proto::extranonce::BRANCH_BYTES_MIN;

use crate::uplink::lines::{self, Lines};
use crate::uplink::mining::{self, Told};
use crate::uplink::{BRANCH_BYTES, Said, Speech, Upstream};

/// How long pools are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that all pools leave that can be reached now, at most [`BRANCH_BYTES`]. Pools of Stratum V2 are told what we need;
/// those of Stratum V1 give what they give, and are asked.
pub(super) async fn left(upstreams: &[Upstream], settings: &lines::Settings, clock: &Clock) -> usize {
    let asked: Vec<Upstream> = upstreams
        .iter()
        .filter(|it| it.speech != Speech::StratumV2)
        .cloned()
        .collect();
    let mut waited_for = asked.len();
    let settings = lines::Settings {
        mining: mining::Settings {
            extranonce_min: BRANCH_BYTES_MIN as u16,
            ..settings.mining.clone()
        },
        ..settings.clone()
    };
    let (mut lines, mut reports) = Lines::new(asked, settings, clock.clone());
    (0..lines.count()).for_each(|upstream| lines.connect(upstream));
    let mut bytes = BRANCH_BYTES;
    let asking = async {
        while waited_for > 0 {
            let Some(report) = reports.recv().await else {
                return;
            };
            match report.said {
                Said::Mining(Told::Opened(channel)) => {
                    bytes = bytes.min(usize::from(channel.size));
                    let upstream = lines.name(report.upstream);
                    tracing::info!(upstream, bytes = channel.size, "bytes of extranonce left to us");
                    lines.disconnect(report.upstream);
                }
                Said::Ended(_) => {}
                _ => continue,
            }
            waited_for -= 1;
        }
    };
    if tokio::time::timeout(PATIENCE, asking).await.is_err() {
        tracing::warn!(
            pools = waited_for,
            "not all pools have said in time how much extranonce they leave: one that leaves less than {bytes} bytes will \
             be of no use until the next start"
        );
    }
    bytes
}
