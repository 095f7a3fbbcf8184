//! Shares: found, judged, answered (spec 5.3.11 to 5.3.14).

use super::channel::Channel;
use super::jobs::{Book, Entry, Found as Place};
use super::workers::{Workers, named};
use super::{Event, Found, Kind, Ledger, Mined, Output, Server, Settings, Share, WorkerId, WorkerName};
use crate::extranonce::{Extranonce, PREFIX_BYTES};
use crate::share::{self, Claim, Judged, NTIME_AHEAD_MAX, Terms};
use crate::{Fault, Time, sha};
use adit_wire::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, ToClient};
use adit_wire::refusal::SubmitShares as Refusal;
use core::time::Duration;
use std::sync::Arc;

/// A good share and what it was judged by.
struct Good {
    judged: Judged,
    job: Entry,
    extranonce: Extranonce,
    number: u16,
}

impl Server {
    /// SubmitSharesStandard (spec 5.3.11).
    #[inline]
    pub(super) fn submit_standard(
        &mut self,
        now: Time,
        share: &SubmitSharesStandard,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let claim = Claim {
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
        };
        let verdict = self.judge_standard(now, share.channel_id, share.job_id, &claim);
        self.answer(
            now,
            share.channel_id,
            share.sequence_number,
            share.job_id,
            &claim,
            None,
            verdict,
            out,
        )
    }

    /// SubmitSharesExtended (spec 5.3.12), with the worker that it names (extension 0x0002).
    #[inline]
    pub(super) fn submit_extended(
        &mut self,
        now: Time,
        share: &SubmitSharesExtended,
        worker: Option<&WorkerName>,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let claim = Claim {
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
        };
        let rolled = share.extranonce.as_bytes();
        let verdict = self.judge_extended(now, share.channel_id, share.job_id, rolled, &claim);
        self.answer(
            now,
            share.channel_id,
            share.sequence_number,
            share.job_id,
            &claim,
            worker,
            verdict,
            out,
        )
    }

    /// The fields behind the share are not what their extension allows: the message is refused (REQ-EXT-019).
    #[cold]
    pub(super) fn submit_malformed(
        &mut self,
        share: &SubmitSharesExtended,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        self.refuse(
            share.channel_id,
            share.sequence_number,
            Refusal::InvalidUserIdentity,
            out,
        )
    }

    fn judge_standard(&mut self, now: Time, id: u32, job_id: u32, claim: &Claim) -> Result<Good, Refusal> {
        let channel = self.channels.find_mut(id).ok_or(Refusal::InvalidChannelId)?;
        let (entry, term) = admit(now, channel, Kind::Standard, job_id, &self.book, &self.settings)?;
        let head = channel.head(&entry.job, entry.id, &self.slot, term.number);
        let judged = share::judge_standard(&terms(now, entry, &term), head, claim, &mut self.seen)?;
        let extranonce = channel.fixed_extranonce(&self.slot, term.number);
        Ok(Good {
            judged,
            job: entry.clone(),
            extranonce,
            number: term.number,
        })
    }

    fn judge_extended(
        &mut self,
        now: Time,
        id: u32,
        job_id: u32,
        rolled: &[u8],
        claim: &Claim,
    ) -> Result<Good, Refusal> {
        let channel = self.channels.find_mut(id).ok_or(Refusal::InvalidChannelId)?;
        let (entry, term) = admit(now, channel, Kind::Extended, job_id, &self.book, &self.settings)?;
        let extranonce =
            (self.slot.rolled(term.number, rolled, channel.size)).ok_or(Refusal::BadExtranonceSize)?;
        if entry.job.tip() != self.book.tip() && !made_the_tip(entry, &extranonce, claim, &self.book) {
            return Err(Refusal::StaleShare);
        }
        let judged = share::judge_extended(&terms(now, entry, &term), &extranonce, claim, &mut self.seen)?;
        Ok(Good {
            judged,
            job: entry.clone(),
            extranonce,
            number: term.number,
        })
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the fields of the two messages, and what came of them"
    )]
    fn answer(
        &mut self,
        now: Time,
        channel_id: u32,
        sequence_number: u32,
        job_id: u32,
        claim: &Claim,
        worker: Option<&WorkerName>,
        verdict: Result<Good, Refusal>,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let good = match verdict {
            Ok(good) => good,
            Err(refusal) => return self.refuse(channel_id, sequence_number, refusal, out),
        };
        if good.judged.block {
            out.push(Output::Block(self.found(channel_id, claim, worker, &good)));
        }
        if self.acks.pending_count() >= self.settings.pending_max {
            // It was not credited, so it may come again.
            self.seen.forget(&good.judged.hash);
            let refusal = match self.ledger {
                Ledger::Down => Refusal::LedgerUnavailable,
                Ledger::Up => Refusal::RateLimited,
            };
            return self.refuse(channel_id, sequence_number, refusal, out);
        }
        self.credit(
            now,
            channel_id,
            sequence_number,
            job_id,
            claim,
            worker,
            &good,
            out,
        )
    }

    #[allow(clippy::too_many_arguments, reason = "as `answer`")]
    fn credit(
        &mut self,
        now: Time,
        channel_id: u32,
        sequence_number: u32,
        job_id: u32,
        claim: &Claim,
        worker: Option<&WorkerName>,
        good: &Good,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        self.refused_in_a_row = 0;
        let name = worker.copied();
        let worker = worker.and_then(|worker| self.seen_behind(now, channel_id, worker, out));
        let Some(channel) = self.channels.find_mut(channel_id) else {
            return Ok(());
        };
        let job = &good.job.job;
        if self.settings.tell_mined {
            out.push(Output::Mined(Mined {
                job: Arc::clone(job),
                extranonce: good.extranonce,
                worker: name,
            }));
        }
        let work = good.job.credit(good.judged.work);
        let index = self.acks.push(channel_id, sequence_number, work);
        out.push(Output::Share(Share {
            index,
            channel_id,
            account: channel.account,
            worker,
            prefix: self.slot.channel_prefix(good.number),
            work,
            hash: good.judged.hash,
            version: claim.version,
            ntime: claim.ntime,
            nonce: claim.nonce,
            job_id,
            tip: job.tip(),
            template: job.fields().template,
            time: now,
            solo: channel.solo,
        }));
        if self.settings.vardiff && channel.vardiff.note(now) {
            return self.look_at(now, channel_id, out);
        }
        Ok(())
    }

    /// Notes that a worker is behind the channel; its name goes out before its share.
    fn seen_behind(
        &mut self,
        now: Time,
        channel_id: u32,
        worker: &WorkerName,
        out: &mut Vec<Output>,
    ) -> Option<WorkerId> {
        let (id, name) = named(Some(worker))?;
        let workers = self.workers.get_or_insert_with(|| Box::new(Workers::new(now)));
        workers.turn(now, self.channels.iter_mut());
        let channel = self.channels.find_mut(channel_id)?;
        if workers.note(channel, id) {
            out.push(Output::Event(Event::Worker {
                account: channel.account,
                worker: id,
                name,
            }));
        }
        Some(id)
    }

    pub(super) fn forget_workers(&mut self, channel_id: u32) {
        if let Some(workers) = &mut self.workers {
            workers.forget(channel_id);
        }
        if let Some(channel) = self.channels.find_mut(channel_id) {
            channel.crowd = super::workers::Crowd::default();
        }
    }

    #[cold]
    fn found(&self, channel_id: u32, claim: &Claim, worker: Option<&WorkerName>, good: &Good) -> Found {
        let job = Arc::clone(&good.job.job);
        let merkle_root = job.merkle_root(&good.extranonce);
        let account = self.channels.find(channel_id).map(|channel| channel.account);
        Found {
            header: share::header(&job, &merkle_root, claim),
            hash: good.judged.hash,
            version: claim.version,
            ntime: claim.ntime,
            nonce: claim.nonce,
            coinbase: job.coinbase_tx(&good.extranonce),
            channel_id,
            prefix: self.slot.channel_prefix(good.number),
            // The channel was just found, when the share was judged.
            account: account.unwrap_or(super::AccountId([0; 16])),
            worker: named(worker).map(|(id, _)| id),
            job,
        }
    }

    /// A bad share is answered at once (REQ-MIN-064).
    #[cold]
    fn refuse(
        &mut self,
        channel_id: u32,
        sequence_number: u32,
        refusal: Refusal,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let message = SubmitSharesError {
            channel_id,
            sequence_number,
            error_code: refusal.into(),
        };
        out.push(Output::Send(ToClient::SubmitSharesError(message)));
        out.push(Output::Event(Event::Refused { channel_id, refusal }));
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        let most = self.settings.refused_in_a_row_max;
        if most > 0 && self.refused_in_a_row >= most {
            return Err(Fault::Misbehaved("too many refused shares in a row"));
        }
        Ok(())
    }

    /// Looks at every channel whose time has come.
    pub(super) fn look_at_due(&mut self, now: Time, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.next_look.is_none_or(|next| next > now) {
            return Ok(());
        }
        let due = self
            .channels
            .iter()
            .filter(|channel| channel.vardiff.deadline() <= now);
        let ids: Vec<u32> = due.map(|channel| channel.id).collect();
        for id in ids {
            self.look_at(now, id, out)?;
        }
        self.next_look = self
            .channels
            .iter()
            .map(|channel| channel.vardiff.deadline())
            .min();
        Ok(())
    }

    fn look_at(&mut self, now: Time, channel_id: u32, out: &mut Vec<Output>) -> Result<(), Fault> {
        if let Some(workers) = &mut self.workers {
            workers.turn(now, self.channels.iter_mut());
        }
        let settings = &self.settings;
        let newest = self.book.newest().map(|job| &**job);
        let Some(channel) = self.channels.find_mut(channel_id) else {
            return Ok(());
        };
        let aim = settings.aim(channel.crowd.factor());
        let bounds = channel.bounds(settings, newest);
        let changed = channel.vardiff.look(now, aim, bounds);
        let deadline = channel.vardiff.deadline();
        self.look_by(deadline);
        if changed {
            self.retarget(channel_id, out)
        } else {
            Ok(())
        }
    }
}

/// Everything that is known of a share without hashing: kind, rate, job and terms.
#[inline]
fn admit<'a>(
    now: Time,
    channel: &mut Channel,
    kind: Kind,
    job_id: u32,
    book: &'a Book,
    settings: &Settings,
) -> Result<(&'a Entry, super::channel::Term), Refusal> {
    if channel.kind != kind {
        return Err(Refusal::InvalidShare);
    }
    if !within_rate(now, channel, settings) {
        return Err(Refusal::RateLimited);
    }
    if channel.first_job.is_none_or(|first| job_id < first) {
        return Err(Refusal::InvalidJobId);
    }
    let (term, book_id) = channel.term_of(job_id).ok_or(Refusal::StaleShare)?;
    match book.find(book_id) {
        Place::Good(entry) | Place::Former(entry) if entry.is_for(channel) => Ok((entry, *term)),
        Place::Good(_) | Place::Former(_) => Err(Refusal::InvalidJobId),
        Place::Stale => Err(Refusal::StaleShare),
        Place::Unknown => Err(Refusal::InvalidJobId),
    }
}

/// Whether this share is the very block that the present tip is: whoever makes jobs publishes blocks itself, and our node
/// may hear of one before its share comes. That share is late for nothing.
#[cold]
fn made_the_tip(entry: &Entry, extranonce: &Extranonce, claim: &Claim, book: &Book) -> bool {
    let root = entry.job.merkle_root(extranonce);
    let hash = sha::double(&share::header(&entry.job, &root, claim));
    book.newest().is_some_and(|job| job.fields().prev_hash == hash)
}

/// A bucket that holds `burst_s` seconds of shares: `rate_used_until` runs ahead of the clock by the
/// shares that came.
#[inline]
fn within_rate(now: Time, channel: &mut Channel, settings: &Settings) -> bool {
    let Some(interval) = 1_000_000u64.checked_div(settings.shares_per_second.into()) else {
        return true;
    };
    let used = channel.rate_used_until.max(now);
    if used > now + Duration::from_secs(settings.burst_s.into()) {
        return false;
    }
    channel.rate_used_until = used + Duration::from_micros(interval);
    true
}

#[inline]
fn terms<'a>(now: Time, entry: &'a Entry, term: &'a super::channel::Term) -> Terms<'a> {
    Terms {
        job: &entry.job,
        target: &term.target,
        work: term.work,
        ntime_min: entry.min_ntime,
        ntime_max: u32::try_from(now.unix_s().saturating_add(NTIME_AHEAD_MAX)).unwrap_or(u32::MAX),
    }
}

const _: () = assert!(PREFIX_BYTES == 7, "Share::prefix is a ledger field");
