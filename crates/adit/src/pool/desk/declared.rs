//! Declarations: what the node knows of them, and what it says to the whole block (spec 6.4.4 to 6.4.8).

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use adit_node::{BlockCheck, Handle, SubmitError};
use adit_proto::Time;
use adit_proto::declare::server::{Input, Looked, Lookup, Refused};
use adit_proto::declare::{Declared, Revenue, Token, Transaction};
use adit_proto::mining::server::AccountId;
use adit_wire::refusal::DeclareMiningJob as Refusal;
use bitcoin::Wtxid;
use bitcoin::hashes::Hash;

use super::{CALL_TIMEOUT, Caller, Desk, NEWER_WAIT, Published, Waiting};

/// A look-up whose token is used up.
pub(super) struct Looking {
    caller: Caller,
    lookup: Lookup,
    account: AccountId,
}

/// A question that the node has answered, or has not.
pub(super) enum Done {
    Looked {
        looking: Looking,
        known: Vec<Option<Arc<Transaction>>>,
        answer: Result<Vec<Option<Vec<u8>>>, SubmitError>,
    },
    Checked {
        caller: Caller,
        declaration: u64,
        job: Arc<Declared>,
        answer: Result<BlockCheck, SubmitError>,
    },
}

/// A question that waits for its turn.
pub(super) enum Question {
    Look {
        looking: Looking,
        known: Vec<Option<Arc<Transaction>>>,
        missing: Vec<Wtxid>,
    },
    Check {
        caller: Caller,
        declaration: u64,
        job: Arc<Declared>,
        ntime: u32,
    },
}

impl Question {
    /// Asks.
    async fn ask(self, node: Handle, left: Duration) -> Done {
        match self {
            Self::Look {
                looking,
                known,
                missing,
            } => {
                let answer = tokio::time::timeout(left, node.transactions_by_wtxid(missing)).await;
                Done::Looked {
                    looking,
                    known,
                    answer: answer.unwrap_or_else(|_| Err(late())),
                }
            }
            Self::Check {
                caller,
                declaration,
                job,
                ntime,
            } => {
                // Built when it is its turn: no more blocks than calls are held for the node.
                let block = job.unsolved_block(ntime);
                let answer = tokio::time::timeout(left, node.check_block(block)).await;
                Done::Checked {
                    caller,
                    declaration,
                    job,
                    answer: answer.unwrap_or_else(|_| Err(late())),
                }
            }
        }
    }

    /// Its turn did not come in time.
    pub(super) fn late(self) -> Done {
        match self {
            Self::Look { looking, known, .. } => Done::Looked {
                looking,
                known,
                answer: Err(late()),
            },
            Self::Check {
                caller,
                declaration,
                job,
                ..
            } => Done::Checked {
                caller,
                declaration,
                job,
                answer: Err(late()),
            },
        }
    }
}

impl Published {
    /// What a block on this tip is worth, by our own template.
    pub(super) fn revenue(&self) -> Revenue {
        let value = self.job.fields().coinbase.value();
        Revenue {
            value,
            subsidy: value.saturating_sub(self.fees),
        }
    }
}

impl Desk {
    pub(super) fn lookup(&mut self, now: Time, caller: Caller, lookup: Lookup) {
        match self.tokens.declare(now, lookup.token, caller.connection) {
            Ok(account) => {
                let looking = Looking {
                    caller,
                    lookup,
                    account,
                };
                self.look(looking, now + NEWER_WAIT);
            }
            Err(_) => {
                let refused = Refused::bare(Refusal::InvalidMiningJobToken);
                self.refuse_lookup(&caller, lookup.declaration, refused);
            }
        }
    }

    /// Looks the transactions up, if the job is for the next block. One for a block after that waits for our node to
    /// see the block between; one for an earlier block comes too late, which is nobody's fault.
    pub(super) fn look(&mut self, looking: Looking, until: Time) {
        let height = self.tip.as_ref().map_or(0, |tip| tip.height);
        match looking.lookup.height.cmp(&height) {
            Ordering::Equal => self.ask_for_transactions(looking),
            Ordering::Greater => {
                if let Err(Waiting::Lookup(looking)) = self.wait(until, Waiting::Lookup(looking)) {
                    self.refuse_stale(&looking);
                }
            }
            Ordering::Less => self.refuse_stale(&looking),
        }
    }

    fn ask_for_transactions(&mut self, looking: Looking) {
        let wtxids = looking.lookup.wtxids.iter();
        let known: Vec<_> = wtxids.map(|wtxid| self.cache.find(wtxid)).collect();
        let missing: Vec<Wtxid> = unknown(&looking, &known)
            .map(|wtxid| Wtxid::from_byte_array(*wtxid))
            .collect();
        if missing.is_empty() {
            let answer = Ok(Vec::new());
            return self.looked(looking, known, answer);
        }
        let question = Question::Look {
            looking,
            known,
            missing,
        };
        self.ask(0, question);
    }

    /// A question to the node, which brought so many bytes that nobody knew.
    fn ask(&mut self, bytes: usize, question: Question) {
        let until = self.clock.now() + CALL_TIMEOUT;
        self.turns.push(bytes, until, question);
        self.start_calls();
    }

    /// Asks whatever may be asked now.
    pub(super) fn start_calls(&mut self) {
        while let Some((until, question)) = self.turns.start() {
            self.counts.node_calls += 1;
            let (node, left) = (self.node.clone(), until - self.clock.now());
            self.calls.spawn(question.ask(node, left));
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Looked {
                looking,
                known,
                answer,
            } => self.looked(looking, known, answer),
            Done::Checked {
                caller,
                declaration,
                job,
                answer,
            } => self.checked(&caller, declaration, job, answer),
        }
    }

    fn looked(
        &mut self,
        looking: Looking,
        mut known: Vec<Option<Arc<Transaction>>>,
        answer: Result<Vec<Option<Vec<u8>>>, SubmitError>,
    ) {
        let found = match answer {
            Ok(found) => found,
            Err(error) => {
                let refused = node_fails(&error);
                return self.refuse_lookup(&looking.caller, looking.lookup.declaration, refused);
            }
        };
        let mut found = found.into_iter();
        for (gap, wtxid) in known.iter_mut().zip(looking.lookup.wtxids.iter()) {
            if gap.is_none()
                && let Some(Some(bytes)) = found.next()
            {
                *gap = self.hold(&bytes).filter(|it| it.wtxid() == wtxid);
                if let Some(transaction) = gap {
                    self.cache.keep(transaction);
                }
            }
        }
        let tip = self
            .tip
            .as_ref()
            .filter(|tip| tip.height == looking.lookup.height);
        let Some(fields) = tip.map(|tip| tip.job.fields()) else {
            return self.refuse_stale(&looking);
        };
        let looked = Looked {
            account: looking.account,
            transactions: known,
            prev_hash: fields.prev_hash,
            nbits: fields.nbits,
        };
        looking.caller.declare(Input::Looked {
            declaration: looking.lookup.declaration,
            verdict: Ok(looked),
        });
    }

    /// A transaction in the budget; what is only remembered makes room for it.
    fn hold(&mut self, bytes: &[u8]) -> Option<Arc<Transaction>> {
        let read = Transaction::read(bytes, &self.budget);
        let read = read.or_else(|| {
            self.cache.clear();
            Transaction::read(bytes, &self.budget)
        });
        read.map(Arc::new)
    }

    /// The outputs by our policy, then the whole block by the node.
    pub(super) fn check(&mut self, caller: Caller, declaration: u64, job: Arc<Declared>) {
        let tip = self.tip.as_ref();
        let Some(tip) = tip.filter(|tip| tip.job.fields().prev_hash == job.prev_hash) else {
            let refused = Refused::bare(Refusal::StaleChainTip);
            return self.refuse_check(&caller, declaration, refused);
        };
        if let Err(problem) = self
            .settings
            .policy
            .judge(&job.coinbase.outputs, tip.revenue(), true)
        {
            let refused = Refused::new(Refusal::InvalidCoinbaseTxSuffix, problem.to_string());
            return self.refuse_check(&caller, declaration, refused);
        }
        let (ntime, bytes) = (tip.job.start_ntime(), job.provided);
        let question = Question::Check {
            caller,
            declaration,
            job,
            ntime,
        };
        self.ask(bytes, question);
    }

    fn checked(
        &mut self,
        caller: &Caller,
        declaration: u64,
        job: Arc<Declared>,
        answer: Result<BlockCheck, SubmitError>,
    ) {
        let refused = match answer {
            Ok(BlockCheck::Valid) => return self.acknowledge(caller, declaration, job),
            Ok(check) if check.is_off_tip() => Refused::bare(Refusal::StaleChainTip),
            Ok(BlockCheck::Invalid(reason)) => Refused::new(Refusal::InvalidJob, reason),
            Err(error) => node_fails(&error),
        };
        self.refuse_check(caller, declaration, refused);
    }

    fn acknowledge(&mut self, caller: &Caller, declaration: u64, job: Arc<Declared>) {
        job.transactions.iter().for_each(|it| self.cache.keep(it));
        let (now, token) = (self.clock.now(), Token(adit_net::random::bytes()));
        let account = job.account;
        let granted = self
            .tokens
            .grant(now, token, caller.connection, account, Some(job));
        if granted.is_err() {
            let refused = Refused::new(Refusal::InternalError, "no token is free");
            return self.refuse_check(caller, declaration, refused);
        }
        self.counts.declared += 1;
        caller.declare(Input::Checked {
            declaration,
            verdict: Ok(token),
        });
    }

    fn refuse_stale(&mut self, looking: &Looking) {
        let refused = Refused::bare(Refusal::StaleChainTip);
        self.refuse_lookup(&looking.caller, looking.lookup.declaration, refused);
    }

    fn refuse_lookup(&mut self, caller: &Caller, declaration: u64, refused: Refused) {
        self.note_refusal(&refused);
        caller.declare(Input::Looked {
            declaration,
            verdict: Err(refused),
        });
    }

    fn refuse_check(&mut self, caller: &Caller, declaration: u64, refused: Refused) {
        self.note_refusal(&refused);
        caller.declare(Input::Checked {
            declaration,
            verdict: Err(refused),
        });
    }

    fn note_refusal(&mut self, refused: &Refused) {
        self.counts.declarations_refused += 1;
        tracing::debug!(
            code = refused.code.code(),
            details = refused.details,
            "a declared job was refused"
        );
    }
}

/// The wtxids that nothing is known of.
fn unknown<'a>(
    looking: &'a Looking,
    known: &'a [Option<Arc<Transaction>>],
) -> impl Iterator<Item = &'a [u8; 32]> {
    let both = looking.lookup.wtxids.iter().zip(known);
    both.filter(|(_, known)| known.is_none()).map(|(wtxid, _)| wtxid)
}

fn late() -> SubmitError {
    SubmitError::Unavailable("no answer in time".into())
}

/// The node cannot say: the job may be good, so that the client tries again or elsewhere.
fn node_fails(error: &SubmitError) -> Refused {
    let why = match error {
        SubmitError::Unsupported => {
            "the pool's source of templates cannot look into declared jobs".to_owned()
        }
        SubmitError::Unavailable(why) => {
            tracing::warn!(%why, "a declared job could not be checked");
            format!("the pool's node does not answer: {why}")
        }
        SubmitError::TooMuch => "the transactions do not fit into a block".to_owned(),
        SubmitError::UnknownTemplate => "the pool's node does not know its template any more".to_owned(),
    };
    Refused::new(Refusal::InternalError, why)
}
