//! A declaration on its way: what is known of it without asking anybody.

use std::collections::HashSet;
use std::sync::Arc;

use adit_wire::declare::DeclareMiningJob;
use adit_wire::refusal::DeclareMiningJob as Refusal;

use super::super::{Coinbase, CoinbaseProblem, Declared, Held, TRANSACTIONS_MAX, Token, Transaction};
use super::{Lookup, Output, Refused, Server, refuse};
use crate::mining::server::AccountId;
use crate::{Fault, Time};

/// A declaration.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request_id: u32,
    pub(super) declaration: u64,
    pub(super) version: u32,
    pub(super) token: Token,
    pub(super) height: u32,
    pub(super) coinbase: Coinbase,
    pub(super) wtxids: Arc<[[u8; 32]]>,
    pub(super) stage: Stage,
    held: Held,
}

/// What a declaration awaits.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its turn.
    Turn,
    /// The driver's look-up.
    Looking,
    /// The peer's transactions.
    Providing(Providing),
    /// The driver's check.
    Checking(Arc<Declared>),
    /// Nothing: it is being changed.
    Between,
}

/// What is known while transactions are awaited.
#[derive(Debug)]
pub(super) struct Providing {
    pub(super) until: Time,
    pub(super) account: AccountId,
    pub(super) prev_hash: [u8; 32],
    pub(super) nbits: u32,
    pub(super) transactions: Vec<Option<Arc<Transaction>>>,
    pub(super) missing: Vec<u16>,
    /// Longest answer that makes sense.
    pub(super) bytes_max: usize,
}

impl Pending {
    /// Bytes that it holds, transactions that others hold too included.
    pub(super) fn bytes(&self) -> usize {
        let more = match &self.stage {
            Stage::Turn | Stage::Looking | Stage::Between => 0,
            Stage::Providing(providing) => {
                let known = providing.transactions.iter().flatten();
                known.map(|it| it.counted()).sum::<usize>()
            }
            Stage::Checking(job) => Declared::counted(std::iter::once(job)),
        };
        self.held.bytes() + more
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.stage {
            Stage::Providing(providing) => Some(providing.until),
            _ => None,
        }
    }

    pub(super) const fn provided_bytes_max(&self) -> usize {
        match &self.stage {
            Stage::Providing(providing) => providing.bytes_max,
            _ => 0,
        }
    }

    pub(super) const fn provides(&self) -> bool {
        matches!(self.stage, Stage::Providing(_))
    }

    pub(super) const fn is_looking(&self, declaration: u64) -> bool {
        matches!(self.stage, Stage::Looking) && self.declaration == declaration
    }

    pub(super) const fn is_checking(&self, declaration: u64) -> bool {
        matches!(self.stage, Stage::Checking(_)) && self.declaration == declaration
    }

    pub(super) fn into_job(self) -> Option<Arc<Declared>> {
        match self.stage {
            Stage::Checking(job) => Some(job),
            _ => None,
        }
    }
}

impl Server {
    /// DeclareMiningJob (spec 6.4.4).
    pub(super) fn declare(&mut self, job: DeclareMiningJob, out: &mut Vec<Output>) -> Result<(), Fault> {
        let request_id = job.request_id;
        match self.read(job) {
            Ok(pending) => {
                self.pending.push_back(pending);
                self.next(out);
            }
            Err(refused) => refuse(request_id, &refused, out),
        }
        Ok(())
    }

    fn read(&mut self, job: DeclareMiningJob) -> Result<Pending, Refused> {
        if !self.full_template {
            return Err(Refused::bare(Refusal::MissingDeclareTxDataFlag));
        }
        if self.pending.len() >= self.settings.pending_max {
            return Err(Refused::new(
                Refusal::RateLimited,
                "other declarations are still being checked",
            ));
        }
        let token =
            Token::read(&job.mining_job_token).ok_or(Refused::bare(Refusal::InvalidMiningJobToken))?;
        let coinbase = Coinbase::read(&job.coinbase_tx_prefix, &job.coinbase_tx_suffix).map_err(unread)?;
        let height = coinbase.height().ok_or_else(|| {
            Refused::new(
                Refusal::InvalidCoinbaseTxInput,
                "the scriptSig does not start with the height (BIP34)",
            )
        })?;
        let wtxids = list(&job)?;
        let held = self
            .budget
            .take(size_of::<Pending>() + coinbase.bytes() + wtxids.len() * 32)
            .ok_or_else(no_room)?;
        self.declarations += 1;
        Ok(Pending {
            request_id: job.request_id,
            declaration: self.declarations,
            version: job.version,
            token,
            height,
            coinbase,
            wtxids,
            stage: Stage::Turn,
            held,
        })
    }

    /// Starts the first declaration, if it waits for that.
    pub(super) fn next(&mut self, out: &mut Vec<Output>) {
        let Some(first) = self.pending.front_mut() else {
            return;
        };
        if matches!(first.stage, Stage::Turn) {
            first.stage = Stage::Looking;
            out.push(Output::Lookup(Box::new(Lookup {
                declaration: first.declaration,
                token: first.token,
                height: first.height,
                wtxids: Arc::clone(&first.wtxids),
            })));
        }
    }
}

/// The list of transactions: as long as a block can be, without the coinbase, nothing twice.
fn list(job: &DeclareMiningJob) -> Result<Arc<[[u8; 32]]>, Refused> {
    let refused = |why: &str| Err(Refused::new(Refusal::InvalidWtxidList, why));
    if job.wtxid_list.len() > TRANSACTIONS_MAX {
        return refused("more transactions than fit into a block");
    }
    let mut seen = HashSet::with_capacity(job.wtxid_list.len());
    for wtxid in &job.wtxid_list {
        if wtxid.0 == [0; 32] {
            return refused("zeros stand for the coinbase, which is not part of the list");
        }
        if !seen.insert(wtxid.0) {
            return refused("a transaction stands in the list twice");
        }
    }
    Ok(job.wtxid_list.iter().map(|wtxid| wtxid.0).collect())
}

fn unread(problem: CoinbaseProblem) -> Refused {
    let code = match problem {
        CoinbaseProblem::Prefix(_) => Refusal::InvalidCoinbaseTxPrefix,
        CoinbaseProblem::Suffix(_) => Refusal::InvalidCoinbaseTxSuffix,
        CoinbaseProblem::Input(_) => Refusal::InvalidCoinbaseTxInput,
    };
    Refused::new(code, problem.reason())
}

pub(super) fn no_room() -> Refused {
    Refused::new(
        Refusal::InternalError,
        "the pool has no memory left for declared jobs",
    )
}
