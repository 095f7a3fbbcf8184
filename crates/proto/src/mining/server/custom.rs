//! Custom jobs: SetCustomMiningJob, asked about and answered (spec 5.3.18 to 5.3.20).
//!
//! What the pool thinks of a job is decided outside ([`Output::Custom`], `Input::CustomVerdict`); here stands who may work on it, and for how long. A custom job is good on one
//! channel, or for one owner in one group, until the next tip.

use super::channel::Channel;
use super::jobs::Entry;
use super::{AccountId, Event, Kind, Output, Server};
use crate::coinbase::SCRIPT_SIG_MAX;
use crate::declare::{Coinbase, Worth};
use crate::job::Job;
use crate::{Fault, extranonce::FullSize};
use adit_wire::mining::{SetCustomMiningJob, SetCustomMiningJobError, SetCustomMiningJobSuccess, ToClient};
use adit_wire::refusal::SetCustomMiningJob as Refusal;
use std::sync::Arc;

/// Custom jobs of a connection that may wait for their verdict.
pub const CUSTOM_PENDING_MAX: usize = 8;

/// Most branches of a custom job's Merkle path: a block of the smallest transactions has fewer.
const BRANCHES_MAX: usize = 16;

/// A custom job that somebody must judge.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The message.
    pub message: SetCustomMiningJob,
    /// The coinbase that its fields make.
    pub coinbase: Coinbase,
    /// Owners of the channels that it is for; more than one only in a group.
    pub accounts: Vec<AccountId>,
    /// Where it is to be mined.
    pub prefix: Option<[u8; crate::extranonce::PREFIX_BYTES]>,
}

/// The pool's word that shares of a job are paid for.
#[derive(Debug)]
pub struct Promise {
    /// The job.
    pub job: Arc<Job>,
    /// Whose job: of a group, only the channels of this owner have it.
    pub account: AccountId,
    /// What of the work is credited.
    pub worth: Worth,
}

/// A promise, and to which channel or group it was made.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) place: u32,
    pub(super) promise: Arc<Promise>,
}

impl Entry {
    /// Whether `channel` was given this job.
    #[inline]
    pub(super) fn is_for(&self, channel: &Channel) -> bool {
        self.custom.as_ref().map_or(self.plan == channel.plan, |kept| {
            (channel.id == kept.place || channel.group_id == kept.place)
                && channel.account == kept.promise.account
                && channel.kind == Kind::Extended
        })
    }

    /// What is credited for work on this job.
    #[inline]
    pub(super) fn credit(&self, work: u64) -> u64 {
        self.custom
            .as_ref()
            .map_or(work, |kept| kept.promise.worth.credit(work))
    }
}

/// What waits: questions without an answer, and answers about a tip that is not here yet.
#[derive(Debug, Default)]
pub(super) struct Customs {
    asked: Vec<(u32, u32)>,
    early: Vec<(u32, u32, Arc<Promise>)>,
}

impl Server {
    /// SetCustomMiningJob (spec 5.3.18).
    pub(super) fn set_custom(&mut self, message: SetCustomMiningJob, out: &mut Vec<Output>) {
        let (channel_id, request_id) = (message.channel_id, message.request_id);
        match self.read_custom(message) {
            Ok(asked) => {
                self.customs().asked.push((channel_id, request_id));
                out.push(Output::Custom(Box::new(asked)));
            }
            Err(refusal) => refuse(channel_id, request_id, refusal, out),
        }
    }

    fn read_custom(&mut self, message: SetCustomMiningJob) -> Result<Asked, Refusal> {
        if !self.settings.custom || !self.work_selection {
            return Err(Refusal::JdNotSupported);
        }
        let waiting = self.customs();
        if waiting.asked.len() >= CUSTOM_PENDING_MAX {
            return Err(Refusal::RateLimited);
        }
        let (size, accounts, prefix) = self.custom_place(message.channel_id)?;
        if message.merkle_path.len() > BRANCHES_MAX {
            return Err(Refusal::InvalidMerklePath);
        }
        let coinbase = coinbase_of(&message, size)?;
        Ok(Asked {
            message,
            coinbase,
            accounts,
            prefix,
        })
    }

    /// Size and owners of the extended channels that an id names: of one, or of all in a group. Standard channels in
    /// it are passed over (spec 5.3.18).
    #[allow(clippy::type_complexity, reason = "three facts of one place, used once")]
    fn custom_place(
        &self,
        id: u32,
    ) -> Result<
        (
            FullSize,
            Vec<AccountId>,
            Option<[u8; crate::extranonce::PREFIX_BYTES]>,
        ),
        Refusal,
    > {
        let named = |it: &&Channel| it.id == id || it.group_id == id;
        let mut channels = self
            .channels
            .iter()
            .filter(named)
            .filter(|it| it.kind == Kind::Extended)
            .peekable();
        let first = channels.peek().ok_or(Refusal::InvalidChannelId)?;
        let size = first.size;
        let number = first.term().filter(|_| first.id == id).map(|term| term.number);
        let prefix = number.map(|number| self.slot.channel_prefix(number));
        let mut accounts: Vec<AccountId> = channels.map(|it| it.account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        Ok((size, accounts, prefix))
    }

    /// The verdict on a custom job.
    pub(super) fn custom_verdict(
        &mut self,
        channel_id: u32,
        request_id: u32,
        verdict: Result<Arc<Promise>, Refusal>,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let tip = self.book.tip();
        let asked = &mut self.customs().asked;
        let Some(place) = asked.iter().position(|it| *it == (channel_id, request_id)) else {
            return Ok(());
        };
        match verdict {
            // The pool is ahead of this connection by a moment: its work is on its way.
            Ok(promise) if promise.job.tip() > tip => {
                self.customs().early.push((channel_id, request_id, promise));
                Ok(())
            }
            Ok(promise) => {
                asked.remove(place);
                self.promise(channel_id, request_id, promise, out)
            }
            Err(refusal) => {
                asked.remove(place);
                refuse(channel_id, request_id, refusal, out);
                Ok(())
            }
        }
    }

    /// New work has come: answers that were early are given.
    pub(super) fn take_early_customs(&mut self, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.waiting.is_none() {
            return Ok(());
        }
        for (channel_id, request_id, promise) in std::mem::take(&mut self.customs().early) {
            self.custom_verdict(channel_id, request_id, Ok(promise), out)?;
        }
        Ok(())
    }

    fn promise(
        &mut self,
        channel_id: u32,
        request_id: u32,
        promise: Arc<Promise>,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let size = self.custom_place(channel_id).map(|(size, ..)| size);
        let refusal = match size {
            Err(refusal) => Some(refusal),
            Ok(_) if promise.job.tip() < self.book.tip() => Some(Refusal::StaleChainTip),
            Ok(_) => None,
        };
        if let Some(refusal) = refusal {
            refuse(channel_id, request_id, refusal, out);
            return Ok(());
        }
        let credit_bp = promise.worth.credit_bp;
        let job_id = self.book.keep(Kept {
            place: channel_id,
            promise,
        })?;
        let success = SetCustomMiningJobSuccess {
            channel_id,
            request_id,
            job_id,
        };
        out.push(Output::Send(success.into()));
        out.push(Output::Event(Event::CustomAccepted {
            channel_id,
            credit_bp,
        }));
        Ok(())
    }

    fn customs(&mut self) -> &mut Customs {
        self.waiting.get_or_insert_default()
    }
}

/// The coinbase that the fields make with an extranonce of `size` at the end of the scriptSig. The prefix may be longer
/// than the 8 bytes of the spec, as far as consensus allows (C-85): the reference implementation puts its tag there.
fn coinbase_of(message: &SetCustomMiningJob, size: FullSize) -> Result<Coinbase, Refusal> {
    let script = message.coinbase_prefix.len() + size.bytes();
    if message.coinbase_prefix.is_empty() || script > SCRIPT_SIG_MAX {
        return Err(Refusal::InvalidCoinbasePrefix);
    }
    let outputs =
        Coinbase::read_outputs(&message.coinbase_tx_outputs).ok_or(Refusal::InvalidCoinbaseTxOutputs)?;
    let mut coinbase = Coinbase {
        version: message.coinbase_tx_version,
        script_prefix: message.coinbase_prefix.to_vec(),
        extranonce_size: size.bytes(),
        sequence: message.coinbase_tx_input_n_sequence,
        outputs,
        witness: None,
        locktime: message.coinbase_tx_locktime,
    };
    coinbase.witness = coinbase.commits().then_some([0; 32]);
    Ok(coinbase)
}

/// SetCustomMiningJob.Error (spec 5.3.20).
fn refuse(channel_id: u32, request_id: u32, refusal: Refusal, out: &mut Vec<Output>) {
    let error = SetCustomMiningJobError {
        channel_id,
        request_id,
        error_code: refusal.into(),
    };
    out.push(Output::Send(ToClient::from(error)));
    out.push(Output::Event(Event::CustomRefused { channel_id, refusal }));
}
