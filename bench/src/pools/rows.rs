//! From figures of both pools to rows.

use super::Scale;
use super::stages::{FEW, Figures, PACED, SATURATING};
use crate::table::{Met, Row, time};

/// How much more after waves, or at ten times the connections, still counts as flat.
const FLAT: f64 = 1.25;

/// Appends that an acknowledgement may take: the one under way, its own, and as much again for everything else.
const DISK_TIMES: f64 = 3.0;

/// A figure of which less is better, and how it is shown.
struct Line {
    what: String,
    of: fn(&Figures) -> Option<f64>,
    show: fn(f64) -> String,
    /// The most that ours may be, and what the reference was when that was written.
    goal: (f64, f64),
}

/// One row a figure.
pub(super) fn rows(
    ours: &Figures,
    reference: Option<&Figures>,
    scale: Scale,
    fan_out_us: Option<f64>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = lines(scale)
        .iter()
        .map(|line| row(line, ours, reference))
        .collect();
    rows.push(flat(
        "memory after five waves, as a multiple of the first",
        ours,
        reference,
        |figures| Some(figures.memory_churned? / figures.memory_first_wave?),
    ));
    rows.push(flat(
        &format!("cost to open {}, as a multiple of {FEW} alone", scale.connections),
        ours,
        reference,
        |figures| Some(figures.open_many_us? / figures.open_few_us?),
    ));
    rows.extend(disk(ours));
    rows.extend(floor(ours, reference, fan_out_us));
    rows.extend(rates(ours, reference));
    rows
}

/// An acknowledgement beside what the disk took for one append in the same minute. Half of the shares come while a sync is
/// under way and wait for the next one too: one and a half are the least on average.
fn disk(ours: &Figures) -> Vec<Row> {
    let (Some(ack_us), Some(disk_us)) = (ours.ack_p50_us, ours.disk_us) else {
        return Vec::new();
    };
    let times = ack_us / disk_us;
    vec![Row {
        what: format!(
            "acknowledgement, p50, as a multiple of one append made durable ({})",
            us(disk_us)
        ),
        // Theirs waits for no disk.
        reference: "-".to_owned(),
        ours: format!("{times:.2}x"),
        ratio: "-".to_owned(),
        goal: format!("{DISK_TIMES}x"),
        met: Met::of(times <= DISK_TIMES),
    }]
}

/// The last channel beside the least that this machine can do for all of them in the same minutes.
fn floor(ours: &Figures, reference: Option<&Figures>, fan_out_us: Option<f64>) -> Vec<Row> {
    let Some(floor_us) = fan_out_us else {
        return Vec::new();
    };
    let shown = |figures: &Figures| {
        let times = figures.notice_last_us? / floor_us;
        Some(format!("{times:.2}x"))
    };
    let unknown = || "not measured".to_owned();
    vec![Row {
        what: format!(
            "the last channel, as a multiple of the machine's floor ({})",
            us(floor_us)
        ),
        reference: reference.map_or_else(|| "absent".to_owned(), |it| shown(it).unwrap_or_else(unknown)),
        ours: shown(ours).unwrap_or_else(unknown),
        ratio: "-".to_owned(),
        goal: "-".to_owned(),
        met: Met::Unknown,
    }]
}

fn lines(scale: Scale) -> Vec<Line> {
    let Scale {
        connections, wave, ..
    } = scale;
    let line = |what: String, of, show, goal| Line { what, of, show, goal };
    let shares = |kind: &str| {
        format!("pool CPU per accepted {kind} share, saturated, {SATURATING} connections (ours durable)")
    };
    let acks = |which: &str| format!("acknowledgement, {which}, 200 shares/s on each of {PACED} connections");
    vec![
        line(shares("standard"), |it| it.standard_us, us, (2.0, 9.6)),
        line(shares("extended"), |it| it.extended_us, us, (2.5, 10.8)),
        line(acks("p50"), |it| it.ack_p50_us, us, (1_000.0, 5_200.0)),
        line(acks("p99"), |it| it.ack_p99_us, us, (f64::NAN, 40_600.0)),
        line(
            format!("memory per idle channel, {connections} fresh"),
            |it| it.memory,
            bytes,
            (8_000.0, 50_000.0),
        ),
        line(
            format!("memory per idle channel after five waves of {wave}"),
            |it| it.memory_churned,
            bytes,
            (8_000.0, 1_300_000.0),
        ),
        line(
            format!("CPU to open a channel, {connections} at once"),
            |it| it.open_many_us,
            us,
            (200.0, 660.0),
        ),
        line(
            format!("source's notice of a block to the first of {connections} channels"),
            |it| it.notice_first_us,
            us,
            (3_000.0, 250_000.0),
        ),
        line(
            format!("source's notice of a block to the last of {connections} channels"),
            |it| it.notice_last_us,
            us,
            (60_000.0, 390_000.0),
        ),
        line(
            "the same from the node's own line: first channel".to_owned(),
            |it| it.tip_first_us,
            us,
            (f64::NAN, 250_000.0),
        ),
        line(
            "the same from the node's own line: last channel".to_owned(),
            |it| it.tip_last_us,
            us,
            (f64::NAN, 390_000.0),
        ),
        line(
            "the node's own line of a block to a miner's custom job below a job negotiator".to_owned(),
            |it| it.custom_job_us,
            us,
            (f64::NAN, f64::NAN),
        ),
    ]
}

fn row(line: &Line, ours: &Figures, reference: Option<&Figures>) -> Row {
    let (our, their) = ((line.of)(ours), reference.and_then(line.of));
    let (most, then) = line.goal;
    let times = times_of(our, their);
    let (goal, met) = if most.is_nan() {
        ("-".to_owned(), Met::Unknown)
    } else {
        let wanted = then / most;
        let met = match (our, times) {
            (None, _) => Met::Unknown,
            (Some(our), _) if our <= most => Met::Yes,
            (_, Some(times)) if times >= wanted => Met::ByRatio,
            _ => Met::No,
        };
        (format!("{} ({wanted:.1}x less)", (line.show)(most)), met)
    };
    Row {
        what: line.what.clone(),
        reference: shown(reference.is_some(), their, line.show),
        ours: shown(true, our, line.show),
        ratio: times.map_or_else(|| "-".to_owned(), |times| format!("{times:.1}x less")),
        goal,
        met,
    }
}

fn flat(what: &str, ours: &Figures, reference: Option<&Figures>, of: fn(&Figures) -> Option<f64>) -> Row {
    let (our, their) = (of(ours), reference.and_then(of));
    let show = |multiple: f64| format!("{multiple:.2}x");
    Row {
        what: what.to_owned(),
        reference: shown(reference.is_some(), their, show),
        ours: shown(true, our, show),
        ratio: "-".to_owned(),
        goal: format!("flat: up to {FLAT}x"),
        met: our.map_or(Met::Unknown, |our| Met::of(our <= FLAT)),
    }
}

/// Shares a second have no goal: the generator takes a part of the cores. They say how saturated a run was.
fn rates(ours: &Figures, reference: Option<&Figures>) -> Vec<Row> {
    let row = |kind: &str, of: fn(&Figures) -> Option<f64>| {
        let show = |rate: f64| format!("{:.0} k/s", rate / 1e3);
        let (our, their) = (of(ours), reference.and_then(of));
        Row {
            what: format!("accepted {kind} shares a second in that run"),
            reference: shown(reference.is_some(), their, show),
            ours: shown(true, our, show),
            ratio: times_of(their, our).map_or_else(|| "-".to_owned(), |times| format!("{times:.1}x more")),
            goal: "-".to_owned(),
            met: Met::Unknown,
        }
    };
    vec![
        row("standard", |it| it.standard_rate),
        row("extended", |it| it.extended_rate),
    ]
}

/// How many times less ours is.
pub(crate) fn times_of(our: Option<f64>, their: Option<f64>) -> Option<f64> {
    Some(their? / our?).filter(|times| times.is_finite())
}

pub(crate) fn shown(present: bool, value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    match (present, value) {
        (false, _) => "absent".to_owned(),
        (true, None) => "not measured".to_owned(),
        (true, Some(value)) => show(value),
    }
}

pub(crate) fn us(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.2} us")
    } else {
        time(value * 1e3)
    }
}

pub(crate) fn bytes(value: f64) -> String {
    format!("{:.1} kB", value / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(standard_us: f64) -> Figures {
        Figures {
            standard_us: Some(standard_us),
            ..Figures::default()
        }
    }

    #[test]
    fn a_goal_is_met_absolutely_or_by_ratio_or_not() {
        let met = |our, their: f64| rows(&figures(our), Some(&figures(their)), Scale::FULL, None)[0].met;
        assert_eq!(met(1.9, 5.0), Met::Yes);
        assert_eq!(met(3.0, 17.0), Met::ByRatio);
        assert_eq!(met(3.0, 9.6), Met::No);
    }

    #[test]
    fn nothing_is_invented() {
        let rows = rows(&figures(1.9), None, Scale::FULL, None);
        assert_eq!(
            (rows[0].reference.as_str(), rows[0].ratio.as_str()),
            ("absent", "-")
        );
        assert_eq!(
            (rows[2].ours.as_str(), rows[2].met),
            ("not measured", Met::Unknown)
        );
    }
}
