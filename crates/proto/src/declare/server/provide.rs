//! Transactions: those that are known, those that the peer must provide (spec 6.4.7, 6.4.8).

use std::sync::Arc;

use adit_wire::declare::{ProvideMissingTransactions, ProvideMissingTransactionsSuccess};
use adit_wire::refusal::DeclareMiningJob as Refusal;
use adit_wire::{B0_16M, Seq0_64K};

use super::super::{BLOCK_BYTES_MAX, Declared, Transaction};
use super::pending::{Pending, Providing, Stage, no_room};
use super::{Event, Looked, Output, Refused, Server, refuse};
use crate::{Fault, Time, merkle};

impl Server {
    /// What the driver knows; the peer is asked for the rest.
    pub(super) fn looked(
        &mut self,
        now: Time,
        declaration: u64,
        verdict: Result<Looked, Refused>,
        out: &mut Vec<Output>,
    ) {
        if !self.pending.front().is_some_and(|it| it.is_looking(declaration)) {
            return;
        }
        let step = verdict.and_then(|looked| self.ask_or_go_on(now, looked, out));
        self.end_if_refused(step, out);
    }

    fn ask_or_go_on(&mut self, now: Time, looked: Looked, out: &mut Vec<Output>) -> Result<(), Refused> {
        let until = now + self.settings.provide_timeout;
        let first = self.pending.front_mut().ok_or_else(no_room)?;
        if looked.transactions.len() != first.wtxids.len() {
            return Err(Refused::bare(Refusal::InternalError));
        }
        let unknown = (0u16..).zip(&looked.transactions).filter(|(_, it)| it.is_none());
        let missing: Vec<u16> = unknown.map(|(place, _)| place).collect();
        let known = looked.transactions.iter().flatten();
        let known: usize = known.map(|it| it.bytes().len()).sum();
        within_a_block(known)?;
        let asks = !missing.is_empty();
        let bytes_max = if asks {
            provided_bytes(known, missing.len())
        } else {
            0
        };
        let message = ProvideMissingTransactions {
            request_id: first.request_id,
            unknown_tx_position_list: Seq0_64K::new(missing.clone()).unwrap_or_default(),
        };
        let count = missing.len();
        first.stage = Stage::Providing(Providing {
            until,
            account: looked.account,
            prev_hash: looked.prev_hash,
            nbits: looked.nbits,
            transactions: looked.transactions,
            missing,
            bytes_max,
        });
        self.make_room()?;
        if !asks {
            return self.complete(Vec::new(), out);
        }
        out.push(Output::Send(message.into()));
        out.push(Output::Event(Event::Asked { count }));
        Ok(())
    }

    /// ProvideMissingTransactions.Success (spec 6.4.8). What nobody asked for is looked at no further.
    pub(super) fn provided(
        &mut self,
        list: ProvideMissingTransactionsSuccess,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let asked = |first: &Pending| first.provides() && first.request_id == list.request_id;
        if !self.pending.front().is_some_and(asked) {
            return Err(Fault::Misbehaved("transactions that were not asked for"));
        }
        let step = self.complete(list.transaction_list.into_inner(), out);
        self.end_if_refused(step, out);
        Ok(())
    }

    /// All transactions are there, or the declaration ends here.
    fn complete(&mut self, provided: Vec<B0_16M>, out: &mut Vec<Output>) -> Result<(), Refused> {
        let budget = self.budget.clone();
        let first = self.pending.front_mut().ok_or_else(no_room)?;
        let Stage::Providing(providing) = std::mem::replace(&mut first.stage, Stage::Between) else {
            return Err(Refused::bare(Refusal::InternalError));
        };
        let Providing {
            account,
            prev_hash,
            nbits,
            mut transactions,
            missing,
            ..
        } = providing;
        if provided.len() != missing.len() {
            let why = format!(
                "{} transactions were asked for, {} came",
                missing.len(),
                provided.len()
            );
            return Err(Refused::new(Refusal::MissingTxs, why));
        }
        let known: usize = transactions.iter().flatten().map(|it| it.bytes().len()).sum();
        let new: usize = provided.iter().map(|it| it.len()).sum();
        within_a_block(known + new)?;
        let mut room = budget
            .take(new + provided.len() * Transaction::OVERHEAD)
            .ok_or_else(no_room)?;
        for (place, bytes) in missing.into_iter().zip(provided) {
            let place = usize::from(place);
            let wanted = first.wtxids.get(place);
            let read = Transaction::read_in(&bytes, &mut room).map(Arc::new);
            let fits = |it: &Arc<Transaction>| Some(it.wtxid()) == wanted;
            let Some(read) = read.filter(fits) else {
                let why = format!("what was provided for place {place} is not the transaction of that wtxid");
                return Err(Refused::new(Refusal::MissingTxs, why));
            };
            if let Some(gap) = transactions.get_mut(place) {
                *gap = Some(read);
            }
        }
        let transactions: Vec<Arc<Transaction>> = transactions.into_iter().flatten().collect();
        let held = budget.take(Declared::overhead(&first.coinbase, transactions.len()));
        let txids = transactions.iter().map(|it| *it.txid()).collect();
        let job = Arc::new(Declared {
            account,
            version: first.version,
            coinbase: first.coinbase.clone(),
            merkle_path: merkle::path(txids),
            transactions,
            prev_hash,
            nbits,
            height: first.height,
            provided: new,
            _held: held.ok_or_else(no_room)?,
        });
        first.stage = Stage::Checking(Arc::clone(&job));
        let declaration = first.declaration;
        self.make_room()?;
        out.push(Output::Check { declaration, job });
        Ok(())
    }

    /// A refusal ends the declaration that is worked on; the next has its turn.
    fn end_if_refused(&mut self, step: Result<(), Refused>, out: &mut Vec<Output>) {
        if let Err(refused) = step {
            if let Some(ended) = self.pending.pop_front() {
                refuse(ended.request_id, &refused, out);
            }
            self.next(out);
        }
    }

    /// So much of a message has come that is not whole yet: it is held, and counted as it comes, so that who announces a
    /// large one and does not send it takes no room from others. Without room the connection ends; its client may come again
    /// when there is some.
    pub(super) fn arriving(&mut self, bytes: usize, out: &mut Vec<Output>) -> Result<(), Fault> {
        if bytes <= ARRIVING_FREE {
            self.arriving = None;
            return Ok(());
        }
        if self.arriving.is_none() {
            self.arriving = self.budget.take(0);
        }
        let kept = self.arriving.as_mut().is_some_and(|held| held.grow(bytes));
        if kept && self.make_room().is_ok() {
            return Ok(());
        }
        self.arriving = None;
        if let Some(ended) = self.pending.pop_front_if(|first| first.provides()) {
            refuse(ended.request_id, &no_room(), out);
        }
        Err(Fault::Expired("there is no memory left for declared jobs"))
    }

    /// Lets the oldest acknowledged jobs go until the connection holds what it may.
    fn make_room(&mut self) -> Result<(), Refused> {
        while self.bytes() > self.settings.bytes_max {
            if self.declared.pop_back().is_none() {
                return Err(Refused::new(
                    Refusal::RateLimited,
                    "the connection holds too many bytes",
                ));
            }
        }
        Ok(())
    }
}

/// Bytes of an unfinished message that every connection may have, uncounted: what one read brings.
pub const ARRIVING_FREE: usize = 64 * 1024;

/// Longest ProvideMissingTransactions.Success: what the block has left, and three bytes of length a transaction.
const fn provided_bytes(known: usize, missing: usize) -> usize {
    BLOCK_BYTES_MAX.saturating_sub(known) + 3 * missing + 64
}

fn within_a_block(bytes: usize) -> Result<(), Refused> {
    if bytes > BLOCK_BYTES_MAX {
        return Err(Refused::new(
            Refusal::InvalidJob,
            "the transactions do not fit into a block",
        ));
    }
    Ok(())
}
