//! Several upstreams at once, each with its part of the work.
//!
//! A machine without I/O. Each upstream is a *lane*; each connection below is on one lane, and is moved when that brings
//! the work that went up closer to the weights. What counts is work, not machines: the expected hashes of the shares that
//! an upstream was given. What it has had too little of it is *owed*; the sum over all lanes is nothing, always.
//!
//! Once a *slice* every lane is to get a quarter of what it is owed and its part of what is expected of everybody. Connections stay
//! where they are if at least half of what they bring is wanted there; the largest are placed first. A single device
//! so spends whole slices here and there, which leaves difficulties above the time to follow it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::Time;

/// Time between two deals, where no upstream comes or goes.
pub const SLICE: Duration = Duration::from_secs(45);
/// Connections that are dealt out one by one; any more go where most is wanted.
const CONNECTIONS_MAX: usize = 65_536;
/// Slices without a share after which a connection is forgotten.
const SILENT_MAX: u8 = 16;
/// What is owed is kept in such parts of an expected hash, so that small work is divided too.
const PARTS: i128 = 1 << 20;
/// What is owed is made up for over so many slices: luck above moves fewer connections.
const SLICES_OWED: i128 = 4;
/// A deal is kept while no lane is further from what it wants than this part of everything.
const TOLERANCE: i128 = 50;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection has found a share worth so many expected hashes.
    Mined {
        /// The number of its slot.
        connection: u32,
        /// Expected hashes.
        work: u64,
    },
    /// An upstream was given a share.
    Sent {
        /// Whose.
        lane: usize,
        /// Expected hashes of a share there.
        work: u64,
    },
    /// It does not count after all.
    Refused {
        /// Whose.
        lane: usize,
        /// Expected hashes of a share there.
        work: u64,
    },
    /// There is work of an upstream.
    Up {
        /// Which.
        lane: usize,
    },
    /// There is none any more. What it is owed is forgotten, and its part falls to the others.
    Down {
        /// Which.
        lane: usize,
    },
    /// The deadline has passed, perhaps.
    Deadline,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    /// 0: it takes no part.
    weight: u32,
    live: bool,
    /// Expected hashes, in [`PARTS`].
    owed: i128,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    lane: usize,
    /// Expected hashes of a slice.
    expected: u64,
    /// Expected hashes of this slice so far.
    work: u64,
    silent: u8,
}

/// Who mines for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deal {
    /// The lane of each connection that is known.
    pub of: Arc<HashMap<u32, usize>>,
    /// The lane of all others.
    pub rest: usize,
}

/// Deals connections out.
#[derive(Clone, Debug)]
pub struct Split {
    slice: Duration,
    lanes: Vec<Lane>,
    connections: HashMap<u32, Connection>,
    deal: Deal,
    next: Option<Time>,
}

impl Split {
    /// For upstreams with these weights; those without take no part.
    #[must_use]
    pub fn new(slice: Duration, weights: impl IntoIterator<Item = Option<u32>>) -> Self {
        let lane = |weight: Option<u32>| Lane {
            weight: weight.unwrap_or(0),
            live: false,
            owed: 0,
        };
        Self {
            slice,
            lanes: weights.into_iter().map(lane).collect(),
            connections: HashMap::new(),
            deal: Deal::default(),
            next: None,
        }
    }

    /// The one door. Whether there is another deal.
    pub fn handle(&mut self, now: Time, input: Input) -> bool {
        match input {
            Input::Mined { connection, work } => {
                self.mined(connection, work);
                false
            }
            Input::Sent { lane, work } => {
                self.count(lane, i128::from(work));
                false
            }
            Input::Refused { lane, work } => {
                self.count(lane, -i128::from(work));
                false
            }
            Input::Up { lane } => self.up(now, lane),
            Input::Down { lane } => self.down(lane),
            Input::Deadline => {
                if self.next.is_none_or(|at| at > now) {
                    return false;
                }
                self.next = Some(now + self.slice);
                self.measure();
                self.deal()
            }
        }
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// Who mines for whom.
    #[must_use]
    pub const fn current(&self) -> &Deal {
        &self.deal
    }

    /// Whether an upstream takes part and has work.
    #[must_use]
    pub fn is_live(&self, lane: usize) -> bool {
        self.lanes
            .get(lane)
            .is_some_and(|lane| lane.live && lane.weight > 0)
    }

    /// How many of `devices` each live upstream has, and which part of everything they are.
    #[must_use]
    pub fn parts(&self, devices: u64) -> Vec<Option<(u64, f64)>> {
        let mut parts: Vec<(u64, u128)> = vec![(0, 0); self.lanes.len()];
        for connection in self.connections.values() {
            if let Some(part) = parts.get_mut(connection.lane) {
                part.0 += 1;
                part.1 += u128::from(connection.expected);
            }
        }
        let everything: u128 = parts.iter().map(|part| part.1).sum();
        // Those that have not shown what they can are where most is wanted.
        let unknown = devices.saturating_sub(self.connections.len() as u64);
        if let Some(part) = parts.get_mut(self.deal.rest) {
            part.0 += unknown;
        }
        let part = |(lane, (devices, work)): (usize, (u64, u128))| {
            let part = match everything {
                0 => f64::from(u8::from(lane == self.deal.rest)),
                _ => work as f64 / everything as f64,
            };
            self.is_live(lane).then_some((devices, part))
        };
        parts.into_iter().enumerate().map(part).collect()
    }

    fn mined(&mut self, connection: u32, work: u64) {
        let lane = self.deal.of.get(&connection).copied().unwrap_or(self.deal.rest);
        if self.connections.len() >= CONNECTIONS_MAX && !self.connections.contains_key(&connection) {
            return;
        }
        let known = self.connections.entry(connection).or_insert(Connection {
            lane,
            expected: 0,
            work: 0,
            silent: 0,
        });
        known.work = known.work.saturating_add(work);
    }

    /// Work on one lane is owed to all, by their weights.
    fn count(&mut self, lane: usize, work: i128) {
        if !self.is_live(lane) {
            return;
        }
        let whole = self.whole();
        let mut given = 0;
        for (number, other) in self.lanes.iter_mut().enumerate() {
            if number != lane && other.live {
                let part = work * PARTS * i128::from(other.weight) / whole;
                other.owed += part;
                given += part;
            }
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.owed -= given;
        }
    }

    /// Sum of the weights of live lanes, at least 1.
    fn whole(&self) -> i128 {
        let live = self.lanes.iter().filter(|lane| lane.live);
        live.map(|lane| i128::from(lane.weight)).sum::<i128>().max(1)
    }

    fn up(&mut self, now: Time, lane: usize) -> bool {
        match self.lanes.get_mut(lane) {
            Some(lane) if lane.weight > 0 && !lane.live => (lane.live, lane.owed) = (true, 0),
            _ => return false,
        }
        self.next.get_or_insert(now + self.slice);
        self.deal()
    }

    fn down(&mut self, lane: usize) -> bool {
        let owed = match self.lanes.get_mut(lane) {
            Some(lane) if lane.live => {
                lane.live = false;
                std::mem::take(&mut lane.owed)
            }
            _ => return false,
        };
        let (whole, mut left) = (self.whole(), owed);
        for other in self.lanes.iter_mut().filter(|other| other.live) {
            let part = owed * i128::from(other.weight) / whole;
            other.owed += part;
            left -= part;
        }
        if let Some(first) = self.lanes.iter_mut().find(|other| other.live) {
            first.owed += left;
        }
        self.deal()
    }

    /// A slice is over: what it has shown of everybody.
    fn measure(&mut self) {
        for connection in self.connections.values_mut() {
            let work = std::mem::take(&mut connection.work);
            connection.silent = if work > 0 {
                0
            } else {
                connection.silent.saturating_add(1)
            };
            connection.expected = match connection.expected {
                0 => work,
                before => before - before / 4 + work / 4,
            };
        }
        self.connections.retain(|_, it| it.silent < SILENT_MAX);
    }

    fn deal(&mut self) -> bool {
        let everything: i128 = self.connections.values().map(|it| i128::from(it.expected)).sum();
        let whole = self.whole();
        let mut wanted: Vec<Option<i128>> = self
            .lanes
            .iter()
            .map(|lane| {
                let part = everything * i128::from(lane.weight) / whole;
                (lane.live && lane.weight > 0).then_some(lane.owed / (PARTS * SLICES_OWED) + part)
            })
            .collect();
        let mut order: Vec<(u32, Connection)> = self.connections.iter().map(|(id, it)| (*id, *it)).collect();
        order.sort_unstable_by_key(|(id, it)| (Reverse(it.expected), *id));
        if !self.is_good(&wanted, &order, everything) {
            self.place(&mut wanted, &order);
        } else {
            for (_, it) in &order {
                take(&mut wanted, it.lane, it.expected);
            }
        }
        let Some(rest) = most(&wanted) else {
            return false;
        };
        let of = self.connections.iter().map(|(id, it)| (*id, it.lane)).collect();
        let deal = Deal {
            of: Arc::new(of),
            rest,
        };
        let news = deal != self.deal;
        if news {
            self.deal = deal;
        }
        news
    }

    /// Whether all are where they are wanted, nearly.
    fn is_good(&self, wanted: &[Option<i128>], order: &[(u32, Connection)], everything: i128) -> bool {
        let mut missing = wanted.to_vec();
        for (_, it) in order {
            if !take(&mut missing, it.lane, it.expected) {
                return false;
            }
        }
        missing
            .iter()
            .flatten()
            .all(|missing| missing.abs() * TOLERANCE <= everything)
    }

    fn place(&mut self, wanted: &mut [Option<i128>], order: &[(u32, Connection)]) {
        let mut movers = Vec::new();
        for (id, it) in order {
            let here = wanted.get(it.lane).copied().flatten();
            match here {
                Some(here) if here * 2 >= i128::from(it.expected) => {
                    take(wanted, it.lane, it.expected);
                }
                _ => movers.push((*id, it.expected)),
            }
        }
        for (id, expected) in movers {
            let Some(lane) = most(wanted) else { return };
            take(wanted, lane, expected);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.lane = lane;
            }
        }
    }
}

/// Puts so much on a lane; false when it is no live one.
fn take(wanted: &mut [Option<i128>], lane: usize, expected: u64) -> bool {
    match wanted.get_mut(lane) {
        Some(Some(wanted)) => {
            *wanted -= i128::from(expected);
            true
        }
        _ => false,
    }
}

/// The live lane where most is wanted.
fn most(wanted: &[Option<i128>]) -> Option<usize> {
    let live = wanted
        .iter()
        .enumerate()
        .filter_map(|(lane, wanted)| Some((lane, (*wanted)?)));
    live.max_by_key(|(lane, wanted)| (*wanted, Reverse(*lane)))
        .map(|(lane, _)| lane)
}
