//! The pool's side of one mining connection (spec 5).
//!
//! Channels open and close, work comes in and goes out as jobs, shares come in and are judged by what
//! was true when their job was sent, and are acknowledged when the ledger says that they are durable.
//!
//! A job is, for a channel: *future* (sent, not started; only inside one `handle`), *active* (the
//! newest), *past* (an older one on the same tip, still good), *stale* (a tip or [`JOBS_PER_TIP`] jobs
//! ago).

mod acks;
mod channel;
mod custom;
mod door;
mod jobs;
mod open;
mod plans;
mod shares;
mod workers;

use crate::extranonce::{FullSize, Leases, PREFIX_BYTES, Slot};
use crate::job::VERSION_MASK;
use crate::plan::Plan;
use crate::setup::Established;
use crate::share::Seen;
use crate::{Fault, Time};
use acks::Acks;
use adit_wire::common::flags;
use adit_wire::mining::ToServer;
use channel::Channels;
use core::time::Duration;
use custom::Customs;
use jobs::Book;
use plans::Plans;
use std::sync::Arc;
use workers::Workers;

pub use adit_wire::tlv::WorkerName;
pub use custom::{Asked, CUSTOM_PENDING_MAX, Promise};
pub use door::{
    AccountId, Event, Found, Input, JobFrame, Kind, Ledger, Mined, Output, Settings, Share, WorkerId,
};
pub use jobs::{CUSTOM_JOBS_MAX, JOBS_PER_TIP};

/// One mining connection, pool side.
#[derive(Debug)]
pub struct Server {
    settings: Arc<Settings>,
    /// NewMiningJob for each standard channel; no groups, no extended channels (spec 5.3.1).
    header_only: bool,
    /// No standard channels (spec 5.3.1).
    extended_only: bool,
    /// May send SetCustomMiningJob (spec 5.3.1).
    work_selection: bool,
    slot: Slot,
    channels: Channels,
    plans: Plans,
    /// How long the job messages of this device may be, where that is less than usual.
    bytes_max: Option<u32>,
    /// Channel numbers inside the slot; they rest like slots do.
    numbers: Leases,
    book: Book,
    seen: Seen,
    acks: Acks,
    /// None until a share names a worker.
    workers: Option<Box<Workers>>,
    /// None until a custom job comes.
    waiting: Option<Box<Customs>>,
    ledger: Ledger,
    draining: bool,
    /// Since when there is no channel.
    empty_since: Option<Time>,
    refused_in_a_row: u32,
    /// No channel's difficulty needs a look before this.
    next_look: Option<Time>,
}

impl Server {
    /// A connection that was just set up. `slot` is its own until [`Server::into_slot`].
    pub fn new(now: Time, settings: Arc<Settings>, setup: &Established, slot: Slot) -> Self {
        let work_selection = setup.flags & flags::REQUIRES_WORK_SELECTION != 0;
        // Custom jobs have no start epoch in their scriptSig: the extranonces of who makes them have it.
        let slot = slot.marked((work_selection && settings.custom).then_some(settings.start_epoch));
        Self {
            header_only: setup.flags & flags::REQUIRES_STANDARD_JOBS != 0,
            extended_only: setup.success_flags & flags::REQUIRES_EXTENDED_CHANNELS != 0,
            work_selection,
            channels: Channels::default(),
            plans: Plans::default(),
            bytes_max: settings.bytes_max(&setup.device),
            numbers: Leases::new(0..slot.layout().channels_end()),
            slot,
            book: Book::default(),
            seen: Seen::new(settings.seen_max),
            acks: Acks::default(),
            workers: None,
            waiting: None,
            ledger: Ledger::Up,
            draining: false,
            empty_since: Some(now),
            refused_in_a_row: 0,
            next_look: None,
            settings,
        }
    }

    /// The one door. When it returns, `out` holds all there is to do, after what it held before.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Message(message) => self.message(now, message, out),
            Input::WorkerShare { share, worker } => self.submit_extended(now, &share, Some(&worker), out),
            Input::MalformedShare(share) => self.submit_malformed(&share, out),
            Input::EndpointChanged { channel_id } => {
                self.forget_workers(channel_id);
                Ok(())
            }
            Input::Work(job) => {
                if job.tip() >= self.tip() {
                    self.work(now, job, out)?;
                }
                self.take_early_customs(out)
            }
            Input::OtherWork(job) => {
                self.work(now, job, out)?;
                self.take_early_customs(out)
            }
            Input::CustomVerdict {
                channel_id,
                request_id,
                verdict,
            } => self.custom_verdict(channel_id, request_id, verdict, out),
            Input::Committed { through } => {
                self.committed(now, through, out);
                Ok(())
            }
            Input::Ledger(state) => {
                self.ledger = state;
                Ok(())
            }
            Input::Deadline => self.due(now, out),
            Input::MoveExtranonce { channel_id } => {
                self.move_extranonce(channel_id, out);
                Ok(())
            }
            Input::CloseChannel { channel_id, reason } => {
                self.close_from_here(now, channel_id, reason, out);
                Ok(())
            }
            Input::Device(device) => {
                self.bytes_max = self.settings.bytes_max(&device);
                Ok(())
            }
            Input::Drain => {
                self.draining = true;
                Ok(())
            }
            Input::Close { reason } => {
                self.close_all(now, reason, out);
                Ok(())
            }
        }
    }

    /// When [`Input::Deadline`] is due, if ever. May lie in the past: then it is due at once.
    pub fn deadline(&self) -> Option<Time> {
        let empty = self
            .empty_since
            .map(|since| since + self.settings.no_channel_timeout());
        let ack = self
            .acks
            .deadline(Duration::from_millis(self.settings.ack_delay_max_ms.into()));
        [empty, self.next_look, ack].into_iter().flatten().min()
    }

    /// Ends the machine and gives its slot back, to be released together with [`Server::tip`].
    pub fn into_slot(self) -> Slot {
        self.slot
    }

    /// Generation of the newest tip that jobs were made for, 0 before any.
    pub fn tip(&self) -> u64 {
        self.book.tip()
    }

    /// Number of the connection's slot.
    pub const fn slot_number(&self) -> u32 {
        self.slot.number()
    }

    /// Header version bits that miners of the newest work may roll; all that there are before any.
    pub fn version_mask(&self) -> u32 {
        self.book.newest().map_or(VERSION_MASK, |job| job.version_mask())
    }

    /// How each open channel is paid: its id, kind and plan, its extranonce prefix and full extranonce size.
    pub fn paid(&self) -> impl Iterator<Item = (u32, Kind, &Plan, [u8; PREFIX_BYTES], FullSize)> {
        self.channels.iter().filter_map(|channel| {
            let prefix = self.slot.channel_prefix(channel.term()?.number);
            Some((
                channel.id,
                channel.kind,
                self.plans.find(channel.plan)?,
                prefix,
                channel.size,
            ))
        })
    }

    /// Open channels.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Index of the newest good share ([`Share::index`]), 0 before any.
    pub fn share_count(&self) -> u64 {
        self.acks.last_index()
    }

    /// Good shares that wait for the ledger.
    pub fn pending_count(&self) -> usize {
        self.acks.pending_count()
    }

    fn message(&mut self, now: Time, message: ToServer, out: &mut Vec<Output>) -> Result<(), Fault> {
        match message {
            ToServer::SubmitSharesStandard(share) => self.submit_standard(now, &share, out),
            ToServer::SubmitSharesExtended(share) => self.submit_extended(now, &share, None, out),
            ToServer::OpenStandardMiningChannel(open) => self.open_standard(now, open, out),
            ToServer::OpenExtendedMiningChannel(open) => self.open_extended(now, open, out),
            ToServer::UpdateChannel(update) => self.update(now, &update, out),
            ToServer::CloseChannel(close) => {
                self.closed_from_there(now, close.channel_id, out);
                Ok(())
            }
            ToServer::SetCustomMiningJob(custom) => {
                self.set_custom(custom, out);
                Ok(())
            }
        }
    }

    fn due(&mut self, now: Time, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self
            .empty_since
            .is_some_and(|since| since + self.settings.no_channel_timeout() <= now)
        {
            return Err(Fault::Expired("no channel was opened"));
        }
        self.flush_acks(now, out);
        self.look_at_due(now, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pools hold many idle channels: 8 kB a connection with its socket and session.
    #[test]
    fn idle_state_is_small() {
        assert!(
            size_of::<channel::Channel>() <= 512,
            "{}",
            size_of::<channel::Channel>()
        );
        assert!(size_of::<Server>() <= 1_024, "{}", size_of::<Server>());
        assert!(size_of::<Output>() <= 256, "{}", size_of::<Output>());
    }
}
