//! Work of several upstreams at once: each connection is on the lane of one of them.

use std::collections::HashMap;
use std::sync::Arc;

use adit_proto::Time;
use adit_proto::job::{Fields, Job, JobError};

use super::branch::{self, Assigned};
use super::hub::{Hub, Published};

/// The lanes as the workers see them.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    jobs: Vec<Option<Lane>>,
    of: Arc<HashMap<u32, usize>>,
    rest: usize,
}

/// The newest job of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    fields: Arc<Fields>,
    pub(super) job: Arc<Job>,
    pub(super) height: u32,
}

impl Lanes {
    /// Those on which something is mined.
    pub(super) fn all(&self) -> impl Iterator<Item = &Lane> {
        self.jobs.iter().flatten()
    }

    fn lane_of(&self, slot: u32) -> Option<&Lane> {
        let lane = |number: usize| self.jobs.get(number).and_then(Option::as_ref);
        let own = self.of.get(&slot).and_then(|number| lane(*number));
        own.or_else(|| lane(self.rest))
    }
}

impl Published {
    /// What the connection with this slot mines.
    pub(super) fn job_for(&self, slot: u32) -> &Arc<Job> {
        let lane = self.lanes.as_ref().and_then(|lanes| lanes.lane_of(slot));
        lane.map_or(&self.job, |lane| &lane.job)
    }

    /// Generation of the newest tip of any job.
    pub(super) fn tip(&self) -> u64 {
        let lanes = self.lanes.iter().flat_map(|lanes| lanes.all());
        lanes.map(|lane| lane.job.tip()).fold(self.job.tip(), u64::max)
    }
}

impl Hub {
    /// The uplink has dealt out connections and jobs. Jobs that are not new stay as they are.
    pub(super) fn take_lanes(&mut self, orders: &branch::Lanes, at: Time) {
        let before = self.state.lanes.take();
        let mut lanes = Lanes {
            jobs: Vec::with_capacity(orders.jobs.len()),
            of: Arc::clone(&orders.of),
            rest: orders.rest,
        };
        for (number, assigned) in orders.jobs.iter().enumerate() {
            let known = before
                .as_ref()
                .and_then(|before| before.jobs.get(number))
                .and_then(Option::as_ref);
            let lane = match (assigned, known) {
                (None, _) => None,
                (Some(new), Some(known)) if Arc::ptr_eq(&new.fields, &known.fields) => Some(known.clone()),
                (Some(new), known) => match self.lane(new, known, at) {
                    Ok(lane) => Some(lane),
                    Err(error) => {
                        tracing::error!(%error, "an upstream's job is of no use");
                        None
                    }
                },
            };
            lanes.jobs.push(lane);
        }
        let rest = lanes.jobs.get(lanes.rest).and_then(Option::as_ref);
        if let Some(Lane { job, height, .. }) = rest.or_else(|| lanes.all().next()).cloned() {
            let lanes = Arc::new(lanes);
            self.state.lanes = Some(Arc::clone(&lanes));
            self.gallery.job = Some(Arc::clone(&job));
            self.work.send_replace(Some(Published {
                job,
                purse: None,
                height,
                fees: 0,
                at,
                lanes: Some(lanes),
            }));
        }
    }

    /// A job on the tip of its lane: of a generation that is there already, where one is on the same block.
    fn lane(&mut self, new: &Assigned, before: Option<&Lane>, at: Time) -> Result<Lane, JobError> {
        let prev_hash = new.fields.prev_hash;
        let tip = match before {
            Some(before) if before.job.fields().prev_hash == prev_hash => before.job.tip(),
            _ => {
                self.turn_to(prev_hash, new.height, at);
                self.state.tip
            }
        };
        Ok(Lane {
            job: Arc::new(new.job(tip)?),
            fields: Arc::clone(&new.fields),
            height: new.height,
        })
    }
}
