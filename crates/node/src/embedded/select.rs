//! Which waiting transactions go into the next block: best fee first for the room taken, a child
//! with the parents it needs.
//!
//! Room is weight and number of transactions; a package costs the larger of its shares of the
//! two. Where weight is scarce this is the fee rate; where the number is, the fee itself.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::mempool::Mempool;
use super::rules::{BLOCK_SIGOPS_MAX, BLOCK_WEIGHT_MAX};
use crate::Constraints;

/// Packages that do not fit before the search ends: a full block need not be combed.
const MISFITS_MAX: usize = 1000;

/// What the transactions of a block may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) weight: u64,
    pub(super) sigops: u64,
    pub(super) transactions: usize,
}

impl Room {
    /// Room beside header and coinbase (spec 7.1).
    pub(super) fn beside(constraints: &Constraints, transactions: usize) -> Self {
        Self {
            weight: BLOCK_WEIGHT_MAX.saturating_sub(constraints.reserved_weight()),
            sigops: BLOCK_SIGOPS_MAX.saturating_sub(constraints.max_additional_sigops.into()),
            transactions,
        }
    }
}

/// Arrival numbers of the chosen transactions, parents before children.
pub(super) fn select(mempool: &Mempool, room: Room) -> Vec<u64> {
    Selection::new(mempool, room).run()
}

/// A transaction with the ancestors it still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Package {
    fee: u64,
    weight: u64,
    sigops: u64,
    count: usize,
    /// The larger of its shares of the block's weight and of its number of transactions.
    cost: u128,
    arrival: u64,
}

impl Ord for Package {
    fn cmp(&self, other: &Self) -> Ordering {
        let rate = u128::from(self.fee).saturating_mul(other.cost);
        let others = u128::from(other.fee).saturating_mul(self.cost);
        rate.cmp(&others).then(other.arrival.cmp(&self.arrival))
    }
}

impl PartialOrd for Package {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Selection<'a> {
    mempool: &'a Mempool,
    children: HashMap<u64, Vec<u64>>,
    heap: BinaryHeap<Package>,
    chosen: Vec<u64>,
    inside: HashSet<u64>,
    /// What is left.
    room: Room,
    /// What there was.
    all: Room,
}

impl<'a> Selection<'a> {
    fn new(mempool: &'a Mempool, room: Room) -> Self {
        let mut children: HashMap<u64, Vec<u64>> = HashMap::new();
        for (arrival, waiting) in mempool.iter() {
            for parent in &waiting.parents {
                children.entry(*parent).or_default().push(*arrival);
            }
        }
        let mut selection = Self {
            mempool,
            children,
            heap: BinaryHeap::new(),
            chosen: Vec::new(),
            inside: HashSet::new(),
            room,
            all: room,
        };
        selection.heap = mempool
            .iter()
            .map(|(arrival, _)| selection.package(*arrival))
            .collect();
        selection
    }

    fn run(mut self) -> Vec<u64> {
        let mut misfits = 0;
        while let Some(package) = self.heap.pop() {
            if self.inside.contains(&package.arrival) {
                continue;
            }
            // An ancestor went in meanwhile: judge it again at its present rate.
            let present = self.package(package.arrival);
            if present != package {
                self.heap.push(present);
                continue;
            }
            if !self.fits(&package) {
                misfits += 1;
                if misfits > MISFITS_MAX {
                    break;
                }
                continue;
            }
            self.take(&package);
        }
        self.chosen
    }

    fn package(&self, arrival: u64) -> Package {
        let mut package = Package {
            fee: 0,
            weight: 0,
            sigops: 0,
            count: 0,
            cost: 0,
            arrival,
        };
        for needed in self.needed(arrival) {
            if let Some(waiting) = self.mempool.waiting(needed) {
                package.fee = package.fee.saturating_add(waiting.fee);
                package.weight = package.weight.saturating_add(waiting.weight);
                package.sigops = package.sigops.saturating_add(waiting.sigops);
                package.count += 1;
            }
        }
        let count = u128::try_from(package.count).unwrap_or(u128::MAX);
        let places = u128::try_from(self.all.transactions).unwrap_or(u128::MAX);
        let by_weight = u128::from(package.weight).saturating_mul(places);
        let by_count = count.saturating_mul(u128::from(self.all.weight));
        package.cost = by_weight.max(by_count);
        package
    }

    fn needed(&self, arrival: u64) -> Vec<u64> {
        let mut needed = self.mempool.ancestors(arrival);
        needed.retain(|ancestor| !self.inside.contains(ancestor));
        needed
    }

    fn fits(&self, package: &Package) -> bool {
        package.weight <= self.room.weight
            && package.sigops <= self.room.sigops
            && package.count <= self.room.transactions
    }

    fn take(&mut self, package: &Package) {
        let needed = self.needed(package.arrival);
        self.inside.extend(&needed);
        self.room.weight = self.room.weight.saturating_sub(package.weight);
        self.room.sigops = self.room.sigops.saturating_sub(package.sigops);
        self.room.transactions = self.room.transactions.saturating_sub(package.count);
        // A child whose parent is paid for may have become the better one.
        let children: HashSet<u64> = needed
            .iter()
            .filter_map(|parent| self.children.get(parent))
            .flatten()
            .copied()
            .collect();
        for child in children {
            if !self.inside.contains(&child) {
                let present = self.package(child);
                self.heap.push(present);
            }
        }
        self.chosen.extend(needed);
    }
}
