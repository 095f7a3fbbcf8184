//! The hash rate as a picture.

use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Polygon, Text};
use plotters::prelude::{IntoDrawingArea, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoTextStyle, RGBColor};

use adit_noise::Utc;

use crate::observe::Point;

/// Colours for a page of this brightness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    Light,
    Dark,
}

/// What to draw.
pub(super) struct Picture<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) theme: Theme,
    /// Seconds that local time is ahead of UTC.
    pub(super) utc_offset_s: i64,
    pub(super) from_s: u64,
    pub(super) now_s: u64,
    pub(super) points: &'a [Point],
    /// When blocks were found.
    pub(super) blocks_s: &'a [u64],
}

/// Pixels beside the curve: labels of the left, of the bottom, and a margin. The page knows them too.
const LEFT: u32 = 72;
const BOTTOM: u32 = 28;
const MARGIN: u32 = 12;
/// Blocks that are marked.
const BLOCKS_MAX: usize = 60;
/// Distances of time labels, in seconds.
const TICKS_S: [i64; 13] = [
    60, 300, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 432_000, 1_728_000, 5_184_000,
];
/// Pixels that a time label needs.
const TICK_WIDTH: u32 = 76;

struct Colours {
    text: RGBColor,
    grid: RGBColor,
    curve: RGBColor,
    block: RGBColor,
}

impl Theme {
    const fn colours(self) -> Colours {
        match self {
            Self::Light => Colours {
                text: RGBColor(0x51, 0x5c, 0x67),
                grid: RGBColor(0xe3, 0xe7, 0xea),
                curve: RGBColor(0x1b, 0x6a, 0xc9),
                block: RGBColor(0x0b, 0x7a, 0x4b),
            },
            Self::Dark => Colours {
                text: RGBColor(0xa3, 0xae, 0xb9),
                grid: RGBColor(0x2a, 0x31, 0x39),
                curve: RGBColor(0x63, 0xa9, 0xf5),
                block: RGBColor(0x4c, 0xd0, 0x97),
            },
        }
    }
}

/// Draws it; a text that says so where there is nothing to draw.
pub(super) fn draw(picture: &Picture<'_>) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (picture.width, picture.height)).into_drawing_area();
        // Drawing into a string cannot fail; a picture that lacks something is no reason to fail either.
        let _ = curve(picture, &area);
        let _ = area.present();
    }
    // Drawn for these pixels, it may be shown in any others.
    let size = format!("width=\"{}\" height=\"{}\" ", picture.width, picture.height);
    svg.replacen(&size, "", 1)
}

type Area<'a> = plotters::drawing::DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failed = Box<dyn std::error::Error>;

fn curve(picture: &Picture<'_>, area: &Area<'_>) -> Result<(), Failed> {
    let colours = picture.theme.colours();
    if picture.points.iter().all(|point| point.accepted == 0) {
        let middle = ((picture.width / 2) as i32, (picture.height / 2) as i32);
        let style = ("sans-serif", 15)
            .into_text_style(area)
            .color(&colours.text)
            .pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new(
            "No share yet: the curve begins with the first",
            middle,
            style,
        ))?;
        return Ok(());
    }
    let (points, top) = (shown(picture.points), top(picture.points));
    let unit = Unit::of(top);
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN as i32)
        .set_all_label_area_size(0)
        .x_label_area_size(BOTTOM)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(
            picture.from_s as f64..picture.now_s.max(picture.from_s + 60) as f64,
            0.0..top,
        )?;
    let label = ("sans-serif", 12).into_text_style(area).color(&colours.text);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(4)
        .y_max_light_lines(0)
        .bold_line_style(colours.grid.stroke_width(1))
        .light_line_style(colours.grid.mix(0.0))
        .axis_style(colours.grid.stroke_width(1))
        .label_style(label.clone())
        .y_label_formatter(&|rate| unit.label(*rate))
        .draw()?;
    // How far luck may have moved it.
    for part in points.split(|point| point.error.is_none()) {
        let above = part
            .iter()
            .map(|point| (middle(point), point.hash_rate * (1.0 + error(point))));
        let below = part.iter().rev();
        let below = below.map(|point| (middle(point), point.hash_rate * (1.0 - error(point))));
        let band: Vec<(f64, f64)> = above.map(|(x, y)| (x, y.min(top))).chain(below).collect();
        if band.len() > 2 {
            chart.draw_series(std::iter::once(Polygon::new(band, colours.curve.mix(0.18))))?;
        }
    }
    let line = points.iter().map(|point| (middle(point), point.hash_rate));
    chart.draw_series(LineSeries::new(line, colours.curve.stroke_width(2)))?;
    let in_view = |at: &&u64| **at >= picture.from_s && **at <= picture.now_s;
    for at in picture.blocks_s.iter().filter(in_view).take(BLOCKS_MAX) {
        let mark = vec![(*at as f64, 0.0), (*at as f64, top * 0.05)];
        chart.draw_series(std::iter::once(PathElement::new(
            mark,
            colours.block.stroke_width(3),
        )))?;
    }
    times(picture, area, &label)
}

/// Labels of time at round local times.
fn times(
    picture: &Picture<'_>,
    area: &Area<'_>,
    style: &plotters::style::TextStyle<'_>,
) -> Result<(), Failed> {
    let (from, now) = (
        picture.from_s as i64,
        picture.now_s.max(picture.from_s + 60) as i64,
    );
    let pixels = f64::from(picture.width - LEFT - 2 * MARGIN);
    let fit = (pixels as u32 / TICK_WIDTH).max(1);
    let step = TICKS_S
        .into_iter()
        .find(|step| (now - from) / step <= i64::from(fit));
    let step = step.unwrap_or(5_184_000);
    let style = style.clone().pos(Pos::new(HPos::Center, VPos::Top));
    let first = (from + picture.utc_offset_s).div_euclid(step) * step + step - picture.utc_offset_s;
    let mut at = first;
    while at <= now {
        let x = f64::from(LEFT + MARGIN) + pixels * (at - from) as f64 / (now - from) as f64;
        let y = picture.height - BOTTOM - MARGIN + 8;
        // A label must not be cut off at the right.
        if x < f64::from(picture.width) - 20.0 {
            area.draw(&Text::new(
                time(at + picture.utc_offset_s, step),
                (x as i32, y as i32),
                style.clone(),
            ))?;
        }
        at += step;
    }
    Ok(())
}

/// `14:30`; `Mon` where a label is a day, `30 Nov` where it is some of them.
fn time(local_s: i64, step: i64) -> String {
    if step > 86_400 {
        return date(local_s);
    }
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (day, second) = (local_s.div_euclid(86_400), local_s.rem_euclid(86_400));
    let name = usize::try_from(day.rem_euclid(7))
        .ok()
        .and_then(|day| DAYS.get(day));
    let name = name.copied().unwrap_or_default();
    match (step >= 43_200, second / 3600, second / 60 % 60) {
        (true, 0, 0) => name.to_owned(),
        (true, hour, minute) => format!("{name} {hour:02}:{minute:02}"),
        (false, hour, minute) => format!("{hour:02}:{minute:02}"),
    }
}

/// `30 Nov`.
fn date(local_s: i64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let utc = Utc(u64::try_from(local_s).unwrap_or(0)).to_string();
    let mut parts = utc
        .split(['-', 'T'])
        .skip(1)
        .map_while(|part| part.parse::<usize>().ok());
    let (month, day) = (parts.next().unwrap_or(1), parts.next().unwrap_or(1));
    let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or_default();
    format!("{day} {month}")
}

/// The last point is not over yet, and says little while it is young.
fn shown(points: &[Point]) -> Vec<Point> {
    let mut points = points.to_vec();
    if points.len() > 2
        && points
            .last()
            .is_some_and(|last| last.error.is_none_or(|error| error > 0.5))
    {
        points.pop();
    }
    points
}

fn middle(point: &Point) -> f64 {
    point.start_s as f64 + point.seconds as f64 / 2.0
}

fn error(point: &Point) -> f64 {
    point.error.unwrap_or(0.0)
}

/// Room for the curve and for most of what luck may do.
fn top(points: &[Point]) -> f64 {
    let highest = |point: &Point| point.hash_rate * (1.0 + error(point).min(0.25));
    points.iter().map(highest).fold(1.0, f64::max) * 1.08
}

/// One unit for all labels of an axis.
struct Unit {
    divisor: f64,
    name: &'static str,
    decimals: usize,
}

impl Unit {
    fn of(top: f64) -> Self {
        const NAMES: [&str; 8] = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s", "ZH/s"];
        let mut unit = Self {
            divisor: 1.0,
            name: NAMES[0],
            decimals: 0,
        };
        for name in NAMES.into_iter().skip(1) {
            if top / unit.divisor < 1_000.0 {
                break;
            }
            unit.divisor *= 1_000.0;
            unit.name = name;
        }
        unit.decimals = usize::from(top / unit.divisor < 20.0);
        unit
    }

    fn label(&self, rate: f64) -> String {
        match rate {
            0.0 => "0".to_owned(),
            _ => format!("{:.*} {}", self.decimals, rate / self.divisor, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start_s: u64, hash_rate: f64) -> Point {
        Point {
            start_s,
            seconds: 60,
            hash_rate,
            error: Some(0.2),
            accepted: 25,
            ..Point::default()
        }
    }

    fn drawn(points: &[Point], blocks_s: &[u64], width: u32) -> String {
        draw(&Picture {
            width,
            height: 240,
            theme: Theme::Dark,
            utc_offset_s: 3600,
            from_s: 1_000_000,
            now_s: 1_086_400,
            points,
            blocks_s,
        })
    }

    #[test]
    fn a_curve_has_a_band_labels_and_marks_and_nothing_that_runs() {
        let points: Vec<Point> = (0..1440).map(|n| point(1_000_000 + n * 60, 3e12)).collect();
        let svg = drawn(&points, &[1_050_000, 5], 900);
        assert!(svg.starts_with("<svg viewBox=\"0 0 900 240\""), "{}", &svg[..80]);
        assert!(svg.contains("TH/s") && svg.contains("<polyline") && svg.contains("<polygon"));
        assert!(!svg.contains("script") && !svg.contains("style=") && !svg.contains("href"));
        let labels = svg.matches("\n:").count() + svg.matches(":00").count();
        assert!(labels >= 4, "{labels} labels");
    }

    #[test]
    fn whatever_there_is_can_be_drawn() {
        assert!(drawn(&[], &[], 240).contains("No share yet"));
        assert!(drawn(&[point(1_000_000, 0.0)], &[], 240).contains("<svg"));
        for rate in [f64::MAX / 1e6, 1e-9, 5e26] {
            assert!(drawn(&[point(1_000_000, rate), point(1_000_060, 1.0)], &[], 2000).contains("<svg"));
        }
    }

    #[test]
    fn labels_are_local_times() {
        assert_eq!(time(86_400 + 52_200, 3600), "14:30");
        assert_eq!(time(4 * 86_400, 86_400), "Mon");
        assert_eq!(time(4 * 86_400 + 43_200, 43_200), "Mon 12:00");
    }
}
