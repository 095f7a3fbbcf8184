//! Hash rates over time, from the books.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::super::problem::{Asked, Problem, json};
use super::super::super::routes::Site;
use super::{BACK_MAX_S, DAY_S, now_s, resolution_s};
use crate::books::query::{self, ROWS_MAX, Span, Whose};
use crate::books::{Store, StoreError};
use crate::observe::{Estimate, Point};

/// The books follow by this much, about: what is younger is not all there yet.
const BEHIND_S: u64 = 2;
/// A step that has only just begun says nothing.
const STEP_MIN_S: u64 = 10;

/// Whose curve, how far back, and how fine.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Wanted {
    /// An account or a worker, as the lists have it; the whole pool if not said.
    #[param(max_length = 1024)]
    name: Option<String>,
    /// How far back, in seconds; a day if not said, a year (with a database) at most.
    #[param(minimum = 60, maximum = 31_622_400)]
    seconds: Option<u64>,
    /// Most points of the curve; 288 if not said.
    #[param(minimum = 2, maximum = 2_000)]
    points: Option<usize>,
}

/// A curve.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct Curve {
    /// Where it ends, seconds since the Unix epoch.
    pub(in super::super) now_s: u64,
    /// Where it is from: `process` knows what happened here since its start, `books` everything, at all front ends together.
    pub(in super::super) source: &'static str,
    /// Oldest first, without gaps; it begins with the first share at the earliest. From the books the number of channels is not
    /// known, and errors are those of equal shares.
    pub(in super::super) points: Vec<Point>,
}

/// Hash rate over time with its error, and shares: of the pool, or of a name.
#[utoipa::path(get, path = "/api/v1/history", tag = "series", params(Wanted), responses(
    (status = 200, body = Curve),
    (status = 400, body = Problem),
    (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
pub(in super::super) async fn history(
    State(site): State<Site>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let (seconds, points) = (wanted.seconds.unwrap_or(DAY_S), wanted.points.unwrap_or(288));
    if !(2..=2_000).contains(&points) {
        return Err(Problem::bad(
            format!("there is no curve of {points} points"),
            "ask for 2 to 2000 points",
        ));
    }
    Ok(json(
        &chart_of(&site, wanted.name.as_deref(), seconds, points).await?,
    ))
}

/// The curve of a name, or of the pool.
pub(in super::super) async fn chart_of(
    site: &Site,
    name: Option<&str>,
    seconds: u64,
    points: usize,
) -> Result<Curve, Problem> {
    if !(60..=BACK_MAX_S).contains(&seconds) {
        return Err(Problem::bad(
            format!("there is no curve of {seconds} seconds"),
            "ask for 60 to 31622400 seconds",
        ));
    }
    let wish = Wish::at(now_s(site), seconds, points);
    match name {
        Some(_) => {
            let whose = site.whose(name).await?;
            let past = site.ask(move |store| Past::ask(store, whose, wish)).await?;
            Ok(wish.curve(&past))
        }
        None => Ok(whole(site, wish).await),
    }
}

/// The pool's: this process's own where it knows all that is asked for, else the books', and without them what there is.
async fn whole(site: &Site, wish: Wish) -> Curve {
    let roster = site.roster();
    let started_s = roster.history.as_ref().map_or(0, |history| history.started_s());
    let own = || Curve {
        now_s: wish.now_s,
        source: "process",
        points: (roster.history.as_ref())
            .map(|history| history.curve(wish.now_s, wish.seconds, wish.points))
            .unwrap_or_default(),
    };
    if site.views.books.is_none() {
        return own();
    }
    let past = site.ask(move |store| Past::ask(store, Whose::Pool, wish)).await;
    match past {
        Ok(past) if past.front_ends > 1 || (past.began_s <= started_s && wish.first_s() < started_s) => {
            wish.curve(&past)
        }
        // The page says elsewhere that the database is away.
        _ => own(),
    }
}

/// What is to be drawn.
#[derive(Clone, Copy, Debug)]
struct Wish {
    now_s: u64,
    seconds: u64,
    points: usize,
    /// Width of a point, a multiple of the resolution.
    step_s: u64,
    resolution_s: u64,
}

impl Wish {
    fn at(now_s: u64, seconds: u64, points: usize) -> Self {
        let points_max = points.max(1) as u64;
        let resolution_s = resolution_s(seconds, seconds.div_ceil(points_max));
        Self {
            now_s,
            seconds,
            points,
            step_s: seconds.div_ceil(resolution_s).div_ceil(points_max) * resolution_s,
            resolution_s,
        }
    }

    fn first_s(self) -> u64 {
        self.now_s.saturating_sub(self.seconds)
    }

    fn curve(self, past: &Past) -> Curve {
        Curve {
            now_s: self.now_s,
            source: "books",
            points: self.grid(past),
        }
    }

    /// Steps without shares are there, too.
    fn grid(self, past: &Past) -> Vec<Point> {
        let end_s = self.now_s.saturating_sub(BEHIND_S);
        if past.began_s > end_s {
            return Vec::new();
        }
        let first = self.first_s().max(past.began_s);
        let mut steps = Vec::new();
        let mut at = first - first % self.step_s;
        while at + STEP_MIN_S <= end_s && steps.len() <= self.points {
            let own = at..at + self.step_s;
            let mut step = Step::default();
            past.steps.range(own).for_each(|(_, more)| step.absorb(more));
            let (from_s, to_s) = (at.max(past.began_s), (at + self.step_s).min(end_s));
            steps.push(step.point(at, self.step_s, to_s.saturating_sub(from_s)));
            at += self.step_s;
        }
        steps
    }
}

/// What was done in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Step {
    shares: u64,
    work: u128,
    refused: u64,
}

impl Step {
    fn absorb(&mut self, other: &Self) {
        self.shares += other.shares;
        self.work = self.work.saturating_add(other.work);
        self.refused += other.refused;
    }

    fn point(&self, start_s: u64, seconds: u64, lasted_s: u64) -> Point {
        let work = self.work as f64;
        // Shares of one size: the books do not keep the squares.
        let squares = work * work / self.shares.max(1) as f64;
        let estimate = Estimate::of(work, squares, lasted_s as f64);
        Point {
            start_s,
            seconds,
            hash_rate: estimate.hash_rate,
            error: estimate.error,
            accepted: self.shares,
            rejected: self.refused,
            channels: 0,
        }
    }
}

/// What the books say.
#[derive(Clone, Debug, Default)]
struct Past {
    front_ends: u64,
    /// When the first share of all came, seconds since the Unix epoch.
    began_s: u64,
    steps: BTreeMap<u64, Step>,
}

impl Past {
    fn ask(store: &mut dyn Store, whose: Whose, wish: Wish) -> Result<Self, StoreError> {
        let sums = query::totals(store, whose)?;
        let mut past = Self {
            front_ends: query::front_ends(store)?,
            began_s: if sums.shares == 0 {
                u64::MAX
            } else {
                sums.first_us / 1_000_000
            },
            steps: BTreeMap::new(),
        };
        let resolution_s = wish.resolution_s;
        let first = wish.first_s() - wish.first_s() % wish.step_s;
        // An answer has so many rows; a year of hours has nine times as many.
        let stride = resolution_s * u64::from(ROWS_MAX);
        let mut from_s = first - first % resolution_s;
        while from_s <= wish.now_s {
            let span = Span {
                from_s,
                until_s: from_s + stride,
                resolution_s,
            };
            for point in query::series(store, whose, span)? {
                let step = past.steps.entry(point.start_s).or_default();
                (step.shares, step.work) = (point.shares, point.work);
            }
            for (start_s, refused) in query::refused_series(store, whose, span)? {
                past.steps.entry(start_s).or_default().refused = refused;
            }
            from_s += stride;
        }
        Ok(past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A share of 60 hashes a minute since `began_s`, and one refused.
    fn past(began_s: u64, until_s: u64) -> Past {
        let step = Step {
            shares: 4,
            work: 60,
            refused: 1,
        };
        let starts = (began_s / 60..until_s / 60).map(|minute| (minute * 60, step));
        Past {
            front_ends: 1,
            began_s,
            steps: starts.collect(),
        }
    }

    #[test]
    fn a_curve_of_the_books_has_the_rate_and_no_gaps() {
        let now_s = 1_000_020;
        let mut past = past(now_s - 7_200, now_s);
        past.steps
            .retain(|start_s, _| !(now_s - 3_600..now_s - 1_800).contains(start_s));
        let points = Wish::at(now_s, 86_400, 288).curve(&past).points;
        assert!(
            points
                .windows(2)
                .all(|pair| pair[1].start_s == pair[0].start_s + pair[0].seconds)
        );
        assert!((24..=26).contains(&points.len()), "{points:?}");
        let busy = &points[2];
        assert_eq!((busy.hash_rate, busy.accepted, busy.rejected), (1.0, 20, 5));
        assert!(
            (busy.error.unwrap() - 1.0 / 20f64.sqrt()).abs() < 1e-9,
            "{busy:?}"
        );
        let silent = points.iter().find(|point| point.start_s > now_s - 3_300).unwrap();
        assert_eq!((silent.hash_rate, silent.error), (0.0, None));
    }

    #[test]
    fn a_curve_begins_with_the_first_share_and_is_bounded() {
        let now_s = 100_000_000;
        let nobody = Past {
            began_s: u64::MAX,
            ..Past::default()
        };
        assert!(Wish::at(now_s, 3_600, 60).curve(&nobody).points.is_empty());
        let points = Wish::at(now_s, BACK_MAX_S, 2)
            .curve(&past(now_s - 86_400, now_s))
            .points;
        assert!(points.len() <= 3, "{points:?}");
        let young = Wish::at(now_s, 3_600, 60).curve(&past(now_s - 90, now_s)).points;
        assert!((1..=3).contains(&young.len()), "{young:?}");
    }
}
