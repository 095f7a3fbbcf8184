//! From figures of both proxies to rows.

use super::Scale;
use super::bandwidth::BLOCKS_PER_MINUTE;
use super::crowd::STAYING;
use super::stages::{MINING, RATE};
use crate::pools::rows::{bytes, shown, times_of, us};
use crate::table::{Met, Row};

/// How long a storm may take, milliseconds.
const STORM_MS_MAX: f64 = 30_000.0;

/// What was read off one proxy; nothing where it could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// CPU for a share of a device, in microseconds.
    pub(super) share_us: Option<f64>,
    /// Which part of the shares was accepted, and which part of those reached the pool.
    pub(super) accepted: Option<f64>,
    pub(super) forwarded: Option<f64>,
    /// From share to acknowledgement, in microseconds.
    pub(super) ack_p50_us: Option<f64>,
    pub(super) ack_p99_us: Option<f64>,
    /// Memory for a device that is there, in bytes.
    pub(super) memory: Option<f64>,
    /// From the pool's notice of a new tip to the first and last device, in microseconds.
    pub(super) job_first_us: Option<f64>,
    pub(super) job_last_us: Option<f64>,
    /// All connections at once.
    pub(super) crowd_open: Option<f64>,
    pub(super) crowd_memory: Option<f64>,
    pub(super) crowd_up_per_down: Option<f64>,
    pub(super) crowd_share_us: Option<f64>,
    /// A storm of reconnects, and the acknowledgements of those who stay.
    pub(super) storm_ms: Option<f64>,
    pub(super) storm_open: Option<f64>,
    pub(super) calm_p99_us: Option<f64>,
    pub(super) storm_p99_us: Option<f64>,
    /// Devices of Stratum V1, with standard channels, with extended channels.
    pub(super) bytes: [Option<Bytes>; 3],
}

/// Bytes of TCP payload, both ways together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bytes {
    /// To connect.
    pub(super) opening: f64,
    /// A minute, while nothing is found.
    pub(super) silent: f64,
    /// A minute, with six shares.
    pub(super) mining: f64,
}

/// One row a figure that was measured.
pub(super) fn rows(ours: &Figures, reference: Option<&Figures>, scale: Scale) -> Vec<Row> {
    let compared = [
        compare(
            format!(
                "proxy CPU per share of a Stratum V1 device, {MINING} devices with {RATE} shares/s (ours durable)"
            ),
            |it| it.share_us,
            us,
            ours,
            reference,
        ),
        beside(
            "the same: accepted of those sent",
            |it| it.accepted,
            ours,
            reference,
        ),
        beside(
            "the same: sent on to the pool, of those accepted",
            |it| it.forwarded,
            ours,
            reference,
        ),
        compare(
            "the same: acknowledgement, p50".to_owned(),
            |it| it.ack_p50_us,
            us,
            ours,
            reference,
        ),
        compare(
            "the same: acknowledgement, p99".to_owned(),
            |it| it.ack_p99_us,
            us,
            ours,
            reference,
        ),
        compare(
            format!(
                "proxy memory per silent Stratum V1 device, {} devices",
                scale.devices
            ),
            |it| it.memory,
            bytes,
            ours,
            reference,
        ),
        compare(
            format!(
                "pool's notice of a block to the first of {} devices below a proxy",
                scale.devices
            ),
            |it| it.job_first_us,
            us,
            ours,
            reference,
        ),
        compare(
            "the same to the last".to_owned(),
            |it| it.job_last_us,
            us,
            ours,
            reference,
        ),
    ];
    let mut rows: Vec<Row> = compared.into_iter().flatten().collect();
    rows.extend(crowd(ours));
    rows.extend(storm(ours, scale));
    rows.extend(bandwidth(ours));
    rows
}

fn compare(
    what: String,
    of: fn(&Figures) -> Option<f64>,
    show: fn(f64) -> String,
    ours: &Figures,
    reference: Option<&Figures>,
) -> Option<Row> {
    let (our, their) = (of(ours), reference.and_then(of));
    our.or(their)?;
    let less = |times: f64| format!("{times:.1}x less");
    Some(Row {
        what,
        reference: shown(reference.is_some(), their, show),
        ours: shown(true, our, show),
        ratio: times_of(our, their).map_or_else(|| "-".to_owned(), less),
        goal: "-".to_owned(),
        met: Met::Unknown,
    })
}

/// A part of a whole, which says how alike the work was.
fn beside(
    what: &str,
    of: fn(&Figures) -> Option<f64>,
    ours: &Figures,
    reference: Option<&Figures>,
) -> Option<Row> {
    let row = compare(what.to_owned(), of, part, ours, reference)?;
    Some(Row {
        ratio: "-".to_owned(),
        ..row
    })
}

fn alone(what: String, ours: String) -> Row {
    Row {
        what,
        reference: "-".to_owned(),
        ours,
        ratio: "-".to_owned(),
        goal: "-".to_owned(),
        met: Met::Unknown,
    }
}

fn crowd(ours: &Figures) -> Vec<Row> {
    let (Some(open), Some(memory)) = (ours.crowd_open, ours.crowd_memory) else {
        return Vec::new();
    };
    let mut rows = vec![alone(
        format!("proxy memory per connection, {open:.0} at once, half Stratum V1"),
        bytes(memory),
    )];
    if let (Some(up), Some(cost)) = (ours.crowd_up_per_down, ours.crowd_share_us) {
        rows.push(alone(
            "the same: shares sent up per share from below, one a device every ten seconds".to_owned(),
            format!("{up:.5}"),
        ));
        rows.push(alone("the same: CPU per share".to_owned(), us(cost)));
    }
    rows
}

fn storm(ours: &Figures, scale: Scale) -> Vec<Row> {
    let (Some(took), Some(open)) = (ours.storm_ms, ours.storm_open) else {
        return Vec::new();
    };
    let met = took <= STORM_MS_MAX && open >= f64::from(scale.storm);
    let mut rows = vec![Row {
        goal: us(STORM_MS_MAX * 1e3),
        met: Met::of(met),
        ..alone(
            format!("{} devices reconnect at once: until all have work", scale.storm),
            us(took * 1e3),
        )
    }];
    if let (Some(calm), Some(stormy)) = (ours.calm_p99_us, ours.storm_p99_us) {
        rows.push(alone(
            format!(
                "the same: acknowledgement, p99, of {STAYING} who stay (calm: {})",
                us(calm)
            ),
            us(stormy),
        ));
    }
    rows
}

fn bandwidth(ours: &Figures) -> Vec<Row> {
    let names = ["Stratum V1", "V2 standard channel", "V2 extended channel"];
    let known = names
        .iter()
        .zip(ours.bytes)
        .filter_map(|(name, bytes)| Some((name, bytes?)));
    known
        .map(|(name, bytes)| {
            alone(
                format!(
                    "bytes a minute, {name}: silent / six shares / once to connect ({BLOCKS_PER_MINUTE} new blocks)"
                ),
                format!("{:.0} / {:.0} / {:.0}", bytes.silent, bytes.mining, bytes.opening),
            )
        })
        .collect()
}

fn part(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_shown() {
        let scale = Scale::new(true, None);
        assert!(rows(&Figures::default(), None, scale).is_empty());
        let ours = Figures {
            share_us: Some(5.0),
            storm_ms: Some(31_000.0),
            storm_open: Some(f64::from(scale.storm)),
            ..Figures::default()
        };
        let theirs = Figures {
            share_us: Some(20.0),
            ..Figures::default()
        };
        let rows = rows(&ours, Some(&theirs), scale);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(rows[0].ratio, "4.0x less");
        assert_eq!(rows[1].met, Met::No);
    }
}
