//! A pool below somebody else's: the work comes from an uplink, and what is mined goes there as well.
//!
//! A mining proxy and a job negotiator are pools in everything that faces miners. What differs is here: a [`Branch`]
//! tells the hub what to mine ([`Orders`]), and takes every accepted share ([`Mined`]).

use std::collections::HashMap;
use std::sync::Arc;

use adit_node::Event;
use adit_proto::extranonce::Layout;
use adit_proto::job::{Fields, Job, JobError, VERSION_MASK};
use adit_proto::mining::server::{Mined as With, Share};
use tokio::sync::{mpsc, watch};

use super::distributing::Distribution;
use crate::observe::Uplink;

/// Accepted shares that a worker holds while the uplink is behind; more are lost to it, and counted.
pub const HELD_MAX: usize = 65_536;

/// Work as an uplink gives it.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The job. The hub numbers tips itself: `tip` is not looked at.
    pub fields: Arc<Fields>,
    /// Height of the block to be found.
    pub height: u32,
    /// Version bits that the upstream lets be rolled.
    pub version_mask: u32,
}

impl Assigned {
    /// Work of which all usual version bits may be rolled, or none, as it says itself.
    #[must_use]
    pub fn new(fields: Arc<Fields>, height: u32) -> Self {
        let version_mask = match fields.version_rolling_allowed {
            true => VERSION_MASK,
            false => 0,
        };
        Self {
            fields,
            height,
            version_mask,
        }
    }

    /// The job, on this generation of the tip.
    pub(super) fn job(&self, tip: u64) -> Result<Job, JobError> {
        let fields = Fields {
            tip,
            ..Fields::clone(&self.fields)
        };
        Ok(Job::new(fields)?.with_version_mask(self.version_mask))
    }
}

/// Work of several upstreams at once, and who mines for which.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// The newest work of each, where there is any.
    pub jobs: Vec<Option<Assigned>>,
    /// The lane of each connection, by the number of its slot.
    pub of: Arc<HashMap<u32, usize>>,
    /// The lane of all others.
    pub rest: usize,
}

/// What an uplink wants to be mined.
#[derive(Clone, Debug)]
pub enum Orders {
    /// What is mined already, until there is a first job: miners may connect and wait.
    Wait,
    /// The templates of the own node, paid to the own payout. Without a node it is as [`Orders::Wait`].
    Solo,
    /// This.
    Job(Assigned),
    /// Each connection what its lane has.
    Lanes(Arc<Lanes>),
}

/// An accepted share, with all that an upstream needs to see of it.
#[derive(Clone, Debug)]
pub struct Mined {
    /// The share.
    pub share: Share,
    /// Job, extranonce of this side, and the worker by name.
    pub with: With,
    /// What the channel's owner calls itself.
    pub identity: Arc<str>,
}

/// What an uplink has of the pool below it, and the pool of the uplink.
#[derive(Debug)]
pub struct Branch {
    /// How the extranonce that the upstream leaves is shared out.
    pub layout: Layout,
    /// What to mine.
    pub orders: watch::Receiver<Orders>,
    /// Where accepted shares go, in the order of each worker.
    pub mined: mpsc::Sender<Vec<Mined>>,
    /// Where the events of the node go besides the pool, if somebody wants them. They are dropped when it is behind.
    pub events: Option<mpsc::Sender<Event>>,
    /// Negotiated jobs for others, where this side of it distributes them.
    pub distribution: Option<Distribution>,
    /// How the uplink fares, for the status page.
    pub picture: Option<watch::Receiver<Uplink>>,
}
