//! How hard the shares of a channel are, so that they come at the configured rate.
//!
//! Shares are a Poisson process. What is known of a channel are two sums: how many shares came, and
//! its *exposure*, the sum over time of `seconds / work`: how many shares a miner of one hash a second
//! would have found. Their quotient is the most likely hash rate, whatever mixture of difficulties the
//! shares were found at, so nothing learned at one difficulty is lost at the next. The work is changed
//! only when the rate it was made for does not explain what came (log-likelihood ratio), so that luck
//! alone hardly ever changes it.
//!
//! A claim is no evidence: a new channel is first on *probation*, during which shares four times as
//! easy give four times the knowledge. Hash rates are estimates and may be floats; work is an integer.

use crate::Time;
use crate::sv1::difficulty::Difficulty;
use crate::target::work_of;
use core::time::Duration;

/// Shares a minute that a channel is led to, unless configured otherwise: one every five seconds
/// tells a person at a small device that it works, measures a hash rate to 13 % within five minutes,
/// and costs a pool of 100,000 channels 20,000 shares a second, less than one core.
pub const SHARES_PER_MINUTE: u32 = 12;

/// How long a claim stays unproven.
const PROBATION: Duration = Duration::from_secs(100);
/// How much easier the shares of that time are.
const PROBATION_EASE: f64 = 4.0;
/// How often a channel without shares is looked at.
const TICK_PROBATION: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(20);
/// Log-likelihood ratios that count as evidence. Six is exceeded by luck once in about 2,000 looks.
const EVIDENCE_PROBATION: f64 = 4.0;
const EVIDENCE: f64 = 6.0;
/// Shares that an estimate of a faster miner needs: 18 % of standard error.
const SHARES_MIN: f64 = 32.0;
/// Shares kept as evidence in steady state; older ones fade. With fewer a change is seen earlier, with
/// more a smaller one.
const SHARES_KEPT: f64 = 90.0;
/// Deviation below which a settled work is not worth a message.
const TOLERANCE: f64 = 0.1;
/// Shares assumed before any came, so that silence gives a finite estimate.
const PRIOR: f64 = 0.5;

/// What the pool wants of every channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Whether work follows the measured rate; otherwise it stays at what the claim says.
    pub adjust: bool,
    /// Shares a minute, at least 1.
    pub shares_per_minute: u32,
}

/// Bounds of a channel's work; `min` wins where they cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The larger of the pool's floor and the work of the client's `max_target`.
    pub min: u64,
    /// Work of a block: a share is never harder.
    pub max: u64,
    /// Which works there are between them.
    pub steps: Steps,
}

impl Bounds {
    /// The work there is inside the bounds that is next to `work`.
    pub fn clamp(&self, work: u64) -> u64 {
        let work = work.min(self.max).max(self.min);
        match self.steps {
            Steps::Any => work,
            Steps::Difficulties => self.nearest_difficulty(work).work(),
        }
    }

    /// Not above a block, and not below the floor, which wins.
    fn nearest_difficulty(&self, work: u64) -> Difficulty {
        let inside = |it: &Difficulty| it.work() >= self.min && it.work() <= self.max;
        let nearest = Difficulty::nearest_work(work);
        if inside(&nearest) {
            return nearest;
        }
        let below = Difficulty::all().rev().find(|it| inside(it) && *it < nearest);
        let above = || Difficulty::all().find(|it| it.work() >= self.min);
        below.or_else(above).unwrap_or(Difficulty::MAX)
    }
}

/// Which works a channel may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steps {
    /// Every number.
    #[default]
    Any,
    /// Those of the difficulties of Stratum V1.
    Difficulties,
}

impl Steps {
    /// Whether so many times the present work is too much like it to be worth a message. Between powers of two that
    /// is nearly a step to either side: half of one is what the steps cost, and three standard errors are luck.
    fn is_tolerable(self, ratio: f64) -> bool {
        match self {
            Self::Any => (ratio - 1.0).abs() < TOLERANCE,
            Self::Difficulties => (0.52..1.92).contains(&ratio),
        }
    }
}

/// The measure of one channel.
#[derive(Clone, Debug)]
pub struct Vardiff {
    work: u64,
    /// Shares that came, faded.
    shares: f64,
    /// Shares that one hash a second would have found, faded.
    exposure: f64,
    /// Until when `exposure` is counted.
    counted_until: Time,
    /// Shares at the last look, so that a flood is noticed by the shares themselves.
    looked_at: f64,
    next_look: Time,
    probation_until: Option<Time>,
}

impl Vardiff {
    /// Starts at the work that `claim` (hashes a second, any float) calls for.
    pub fn new(now: Time, claim: f32, aim: Aim, bounds: Bounds) -> Self {
        let mut this = Self {
            work: 1,
            shares: 0.0,
            exposure: 0.0,
            counted_until: now,
            looked_at: 0.0,
            next_look: now,
            probation_until: None,
        };
        this.claimed(now, claim, aim, bounds);
        this
    }

    /// The claim that a new channel must make to start at `work`.
    pub fn claim_for(work: u64, aim: Aim) -> f32 {
        let ease = if aim.adjust { PROBATION_EASE } else { 1.0 };
        (work as f64 * f64::from(aim.shares_per_minute.max(1)) * ease / 60.0) as f32
    }

    /// Work of the channel's shares from now on.
    pub const fn work(&self) -> u64 {
        self.work
    }

    /// When to call [`Vardiff::look`] next.
    pub const fn deadline(&self) -> Time {
        self.next_look
    }

    /// Most likely hash rate by the shares that came, hashes a second; 0 before there were any.
    pub fn hash_rate(&self) -> f64 {
        if self.shares > 0.0 && self.exposure > 0.0 {
            self.shares / self.exposure
        } else {
            0.0
        }
    }

    /// The client says it is another miner now: start over from its claim. Whether the work changed.
    pub fn claimed(&mut self, now: Time, claim: f32, aim: Aim, bounds: Bounds) -> bool {
        self.start_over(now);
        let claim = f64::from(claim);
        self.set(work_of(claim, self.seconds_per_share(aim)), bounds)
    }

    /// Notes a good share of `work`. Whether the channel should be looked at right now.
    #[inline]
    pub fn note(&mut self, now: Time) -> bool {
        self.count_until(now);
        self.shares += 1.0;
        self.shares - self.looked_at >= SHARES_MIN
    }

    /// Brings the work inside new bounds. Whether it changed.
    pub fn bound(&mut self, now: Time, bounds: Bounds) -> bool {
        self.count_until(now);
        self.set(self.work, bounds)
    }

    /// Weighs the evidence. Whether the work changed.
    pub fn look(&mut self, now: Time, aim: Aim, bounds: Bounds) -> bool {
        self.count_until(now);
        self.looked_at = self.shares;
        let ended = self.probation_until.is_some_and(|end| end <= now);
        let changed = aim.adjust
            && match self.probation_until {
                Some(_) if ended => self.settle(aim, bounds),
                Some(_) => self.search(aim, bounds),
                None => self.watch(now, aim, bounds),
            };
        if ended {
            self.probation_until = None;
        }
        self.next_look = now
            + if self.probation_until.is_some() {
                TICK_PROBATION
            } else {
                TICK
            };
        changed
    }

    /// On probation: change at once, keep all evidence.
    fn search(&mut self, aim: Aim, bounds: Bounds) -> bool {
        let expected = self.expected(aim);
        let enough = self.shares < expected || self.shares >= SHARES_MIN;
        enough && evidence(self.shares, expected) > EVIDENCE_PROBATION && self.follow(aim, bounds)
    }

    /// The claim is weighed: from four times too easy to the configured rate.
    fn settle(&mut self, aim: Aim, bounds: Bounds) -> bool {
        self.probation_until = None;
        self.follow(aim, bounds)
    }

    /// In steady state: old evidence fades; what cannot be luck is another miner.
    fn watch(&mut self, now: Time, aim: Aim, bounds: Bounds) -> bool {
        let expected = self.expected(aim);
        let enough = self.shares < expected || self.shares >= SHARES_MIN;
        if enough && evidence(self.shares, expected) > EVIDENCE && self.follow(aim, bounds) {
            self.start_over(now);
            return true;
        }
        let most = self.shares.max(expected);
        if most > SHARES_KEPT {
            let fade = SHARES_KEPT / most;
            self.shares *= fade;
            self.exposure *= fade;
            self.looked_at = self.shares;
        }
        false
    }

    /// Sets the work to the most likely hash rate.
    fn follow(&mut self, aim: Aim, bounds: Bounds) -> bool {
        let seconds = self.seconds_per_share(aim);
        let assumed = self.work as f64 / seconds;
        let hash_rate = (self.shares + PRIOR) / (self.exposure + PRIOR / assumed);
        if bounds.steps.is_tolerable(hash_rate / assumed) {
            return false;
        }
        self.set(work_of(hash_rate, seconds), bounds)
    }

    /// Shares that the present work expects for the exposure.
    fn expected(&self, aim: Aim) -> f64 {
        self.exposure * self.work as f64 / self.seconds_per_share(aim)
    }

    fn seconds_per_share(&self, aim: Aim) -> f64 {
        let ease = if self.probation_until.is_some() && aim.adjust {
            PROBATION_EASE
        } else {
            1.0
        };
        60.0 / (f64::from(aim.shares_per_minute.max(1)) * ease)
    }

    fn count_until(&mut self, now: Time) {
        self.exposure += now.seconds_since(self.counted_until) / self.work as f64;
        self.counted_until = self.counted_until.max(now);
    }

    fn set(&mut self, work: u64, bounds: Bounds) -> bool {
        let work = bounds.clamp(work).max(1);
        let changed = work != self.work;
        self.work = work;
        changed
    }

    fn start_over(&mut self, now: Time) {
        self.count_until(now);
        self.shares = 0.0;
        self.looked_at = 0.0;
        self.exposure = 0.0;
        self.probation_until = Some(now + PROBATION);
        self.next_look = now + TICK_PROBATION;
    }
}

/// Log-likelihood ratio between the rate that explains `shares` best and the one that expects
/// `expected`: 0 where they agree.
fn evidence(shares: f64, expected: f64) -> f64 {
    // A flood may come within one tick of the clock.
    let expected = expected.max(1e-9);
    let surprise = if shares > 0.0 {
        shares * (shares / expected).ln()
    } else {
        0.0
    };
    surprise - (shares - expected)
}
