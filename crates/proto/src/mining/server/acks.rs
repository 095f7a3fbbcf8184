//! Acknowledgements: a good share is answered when it is on disk (spec 5.3.13).

use super::channel::{Channel, Unacked};
use super::{Output, Server};
use crate::Time;
use adit_wire::mining::{SubmitSharesSuccess, ToClient};
use core::time::Duration;
use std::collections::VecDeque;

/// Good shares on their way: first to the ledger, then to an acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Shares that the ledger has not made durable yet, in the order of their indices.
    pending: VecDeque<Pending>,
    /// Index of the newest share.
    last_index: u64,
    /// Channels with durable shares that are not acknowledged.
    unacked: Vec<u32>,
    /// Since when the first of those waits.
    unacked_since: Option<Time>,
}

#[derive(Debug)]
struct Pending {
    channel_id: u32,
    sequence_number: u32,
    work: u64,
}

impl Acks {
    /// Notes a good share and returns its index.
    #[inline]
    pub(super) fn push(&mut self, channel_id: u32, sequence_number: u32, work: u64) -> u64 {
        self.pending.push_back(Pending {
            channel_id,
            sequence_number,
            work,
        });
        self.last_index += 1;
        self.last_index
    }

    pub(super) const fn last_index(&self) -> u64 {
        self.last_index
    }

    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn deadline(&self, delay_max: Duration) -> Option<Time> {
        self.unacked_since.map(|since| since + delay_max)
    }

    /// Takes out the oldest share if it is not newer than `through`.
    fn pop_through(&mut self, through: u64) -> Option<Pending> {
        let oldest = self.last_index - self.pending.len() as u64 + 1;
        if oldest <= through {
            self.pending.pop_front()
        } else {
            None
        }
    }
}

impl Server {
    /// Shares up to `through` are durable.
    pub(super) fn committed(&mut self, now: Time, through: u64, out: &mut Vec<Output>) {
        while let Some(share) = self.acks.pop_through(through) {
            // A closed channel is not spoken of any more (REQ-MIN-037).
            let Some(channel) = self.channels.find_mut(share.channel_id) else {
                continue;
            };
            let unacked = &mut channel.unacked;
            if unacked.count == 0 {
                self.acks.unacked.push(share.channel_id);
            }
            unacked.count = unacked.count.saturating_add(1);
            unacked.last_sequence_number = share.sequence_number;
            unacked.work = unacked.work.saturating_add(share.work.into());
        }
        if !self.acks.unacked.is_empty() {
            self.acks.unacked_since.get_or_insert(now);
            self.flush_acks(now, out);
        }
    }

    /// Acknowledges what is enough or has waited long enough.
    pub(super) fn flush_acks(&mut self, now: Time, out: &mut Vec<Output>) {
        let delay_max = Duration::from_millis(self.settings.ack_delay_max_ms.into());
        let due = self
            .acks
            .deadline(delay_max)
            .is_some_and(|deadline| deadline <= now);
        self.send_acks(if due { 1 } else { self.settings.ack_shares_min }, out);
    }

    pub(super) fn flush_all_acks(&mut self, out: &mut Vec<Output>) {
        self.send_acks(1, out);
    }

    fn send_acks(&mut self, shares_min: u32, out: &mut Vec<Output>) {
        let channels = &mut self.channels;
        self.acks.unacked.retain(|id| {
            let Some(channel) = channels.find_mut(*id) else {
                return false;
            };
            if channel.unacked.count < shares_min {
                return true;
            }
            out.push(Output::Send(ToClient::SubmitSharesSuccess(acknowledge(channel))));
            false
        });
        if self.acks.unacked.is_empty() {
            self.acks.unacked_since = None;
        }
    }
}

/// Ends the batch: counters start at zero again, the work below one unit of difficulty is carried on
/// (REQ-MIN-060..062).
fn acknowledge(channel: &mut Channel) -> SubmitSharesSuccess {
    let Unacked {
        count,
        last_sequence_number,
        work,
    } = core::mem::take(&mut channel.unacked);
    let work = work.saturating_add(channel.work_carried.into());
    channel.work_carried = (work & 0xffff_ffff) as u64;
    SubmitSharesSuccess {
        channel_id: channel.id,
        last_sequence_number,
        new_submits_accepted_count: count,
        new_shares_sum: u64::try_from(work >> 32).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extranonce::Space;
    use crate::mining::server::{Input, Settings};
    use crate::setup::Established;
    use adit_wire::mining::{OpenStandardMiningChannel, ToServer};
    use adit_wire::{Str0_255, U256};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn server(channels: u32) -> Server {
        let setup = Established {
            protocol: 0,
            version: 2,
            flags: 0,
            success_flags: 0,
            endpoint_host: Str0_255::default(),
            endpoint_port: 0,
            device: Default::default(),
        };
        let slot = Space::new(0, 0..1).lease(0).unwrap();
        let mut server = Server::new(Time(0), Settings::default().into(), &setup, slot);
        for request_id in 0..channels {
            let open = OpenStandardMiningChannel {
                request_id,
                user_identity: Str0_255::default(),
                nominal_hash_rate: 0.0,
                max_target: U256::MAX,
            };
            let open = Input::Message(ToServer::OpenStandardMiningChannel(open));
            server.handle(Time(0), open, &mut Vec::new()).unwrap();
        }
        server
    }

    proptest! {
        /// REQ-MIN-062: over any batches, the sums of a channel are the floor of all its durable work
        /// in units of 2^32 hashes, and the counts its durable shares.
        #[test]
        fn sums_lose_nothing_to_rounding(
            steps in proptest::collection::vec((0usize..3, 0u32..64, any::<u64>(), any::<bool>()), 1..200),
        ) {
            let mut server = server(3);
            let ids: Vec<u32> = server.channels.iter().map(|channel| channel.id).collect();
            let mut durable: BTreeMap<u32, (u64, u128)> = BTreeMap::new();
            let mut told: BTreeMap<u32, (u64, u128)> = BTreeMap::new();
            let mut waiting = Vec::new();
            for (sequence, (which, shift, work, commit)) in steps.into_iter().enumerate() {
                let (id, work) = (ids[which], work >> shift);
                let index = server.acks.push(id, sequence as u32, work);
                waiting.push((id, work));
                if !commit {
                    continue;
                }
                for (id, work) in waiting.drain(..) {
                    let sums = durable.entry(id).or_default();
                    *sums = (sums.0 + 1, sums.1 + u128::from(work));
                }
                let mut out = Vec::new();
                server.committed(Time(0), index, &mut out);
                for output in out {
                    let Output::Send(ToClient::SubmitSharesSuccess(ack)) = output else { panic!() };
                    let sums = told.entry(ack.channel_id).or_default();
                    sums.0 += u64::from(ack.new_submits_accepted_count);
                    sums.1 += u128::from(ack.new_shares_sum);
                }
                let floor: BTreeMap<_, _> =
                    durable.iter().map(|(id, (count, work))| (*id, (*count, work >> 32))).collect();
                prop_assert_eq!(&told, &floor);
            }
        }
    }
}
