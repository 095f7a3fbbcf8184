//! SetCustomMiningJob: judged against token, tip, declaration and policy (spec 5.3.18).

use std::sync::Arc;

use adit_ledger::record::{CustomJob, CustomMode, CustomVerdict};
use adit_proto::Time;
use adit_proto::coinbase::Halves;
use adit_proto::declare::{Coinbase, Declared, Token, Worth};
use adit_proto::job::{Fields, Job, VERSION_MASK};
use adit_proto::mining::server::{AccountId, Asked, Input, Promise};
use adit_proto::template::BLOCK_SIGOPS_MAX;
use adit_wire::Message;
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::refusal::SetCustomMiningJob as Refusal;

use super::{CUSTOM, Caller, Desk, Published, ToHub, UNSEEN, Waiting};

/// How far ahead of our own a job's header time may start, seconds (as consensus bounds header times).
const NTIME_AHEAD_MAX: u32 = 7_200;

/// A custom job that was accepted, or a verdict on one, for the hub and the ledger.
#[derive(Debug)]
pub(in crate::pool) struct Judged {
    /// What the ledger says of it.
    pub(in crate::pool) record: CustomJob,
    /// Under which template id its shares and blocks come, if it was accepted.
    pub(in crate::pool) template: Option<u64>,
    /// Its transactions, where they were declared.
    pub(in crate::pool) declared: Option<Arc<Declared>>,
}

/// What is known of a job whose token is good.
struct Known {
    token: Token,
    account: AccountId,
    declared: Option<Arc<Declared>>,
}

/// Good so far.
struct Good {
    worth: Worth,
    witness: Option<[u8; 32]>,
}

/// No promise: for now, or at all.
enum No {
    /// It builds on a block that our node has not seen.
    Wait,
    Refused(Refusal),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Desk {
    pub(super) fn custom(&mut self, now: Time, caller: Caller, asked: Box<Asked>, until: Time) {
        let known = match self.known(now, &asked) {
            Ok(known) => known,
            // Whose token it is nobody knows: there is nobody to keep a record for.
            Err(refusal) => return self.answer_custom(&caller, &asked, Err(refusal)),
        };
        let verdict = match self.judge(&asked, &known) {
            Ok(good) => self.promise(&asked, &known, &good),
            Err(No::Refused(refusal)) => Err(refusal),
            Err(No::Wait) => match self.wait(until, Waiting::Custom(caller.clone(), asked)) {
                Err(Waiting::Custom(_, late)) => {
                    self.note(&late, &known, CustomVerdict::StaleTip, None);
                    return self.answer_custom(&caller, &late, Err(Refusal::StaleChainTip));
                }
                _ => return,
            },
        };
        if let Err(refusal) = &verdict {
            self.note(&asked, &known, verdict_of(*refusal), None);
        }
        self.answer_custom(&caller, &asked, verdict);
    }

    fn answer_custom(&mut self, caller: &Caller, asked: &Asked, verdict: Result<Arc<Promise>, Refusal>) {
        let (channel_id, request_id) = (asked.message.channel_id, asked.message.request_id);
        match &verdict {
            Ok(_) => self.counts.custom_accepted += 1,
            Err(refusal) => {
                self.counts.custom_refused += 1;
                tracing::debug!(code = refusal.code(), "a custom job was refused");
            }
        }
        caller.mining(Input::CustomVerdict {
            channel_id,
            request_id,
            verdict,
        });
    }

    /// The token must belong to one of the owners of the channels.
    fn known(&self, now: Time, asked: &Asked) -> Result<Known, Refusal> {
        let unknown = Refusal::InvalidMiningJobToken;
        let token = Token::read(&asked.message.mining_job_token).ok_or(unknown)?;
        let grant = asked
            .accounts
            .iter()
            .find_map(|account| self.tokens.find(now, token, account).ok())
            .ok_or(unknown)?;
        Ok(Known {
            token,
            account: grant.account,
            declared: grant.job.clone(),
        })
    }

    fn judge(&self, asked: &Asked, known: &Known) -> Result<Good, No> {
        let tip = self.tip.as_ref().ok_or(No::Wait)?;
        self.header(&asked.message, tip)?;
        let revenue = tip.revenue();
        let (worth, witness) = match &known.declared {
            Some(declared) => {
                as_declared(asked, declared)?;
                let outputs = &declared.coinbase.outputs;
                (
                    self.settings.policy.judge(outputs, revenue, true),
                    declared.coinbase.witness,
                )
            }
            None => {
                self.unseen(asked, known, tip)?;
                let outputs = &asked.coinbase.outputs;
                (
                    self.settings.policy.judge(outputs, revenue, false),
                    asked.coinbase.witness,
                )
            }
        };
        let worth = worth.map_err(|problem| {
            tracing::debug!(%problem, "a custom job's outputs are refused");
            Refusal::InvalidCoinbaseTxOutputs
        })?;
        Ok(Good { worth, witness })
    }

    /// The fields of the header, against our own tip.
    fn header(&self, message: &SetCustomMiningJob, tip: &Published) -> Result<(), No> {
        let own = tip.job.fields();
        if message.prev_hash.0 != own.prev_hash {
            // A former tip is late, which is no offence; another block may be on its way to our node.
            let former = self.former.contains(&message.prev_hash.0);
            return Err(if former {
                No::Refused(Refusal::StaleChainTip)
            } else {
                No::Wait
            });
        }
        if message.nbits != own.nbits {
            return Err(Refusal::InvalidNbits.into());
        }
        let latest = tip.job.start_ntime().saturating_add(NTIME_AHEAD_MAX);
        if !(own.min_ntime..=latest).contains(&message.min_ntime) {
            return Err(Refusal::InvalidMinNtime.into());
        }
        Ok(())
    }

    /// Coinbase-only mode: what can be seen without the transactions.
    fn unseen(&self, asked: &Asked, known: &Known, tip: &Published) -> Result<(), Refusal> {
        if !self.settings.coinbase_only {
            return Err(Refusal::JobNotYetValidated);
        }
        let (message, coinbase, own) = (&asked.message, &asked.coinbase, tip.job.fields());
        if (message.version ^ own.version) & !VERSION_MASK != 0 {
            return Err(Refusal::InvalidVersion);
        }
        if coinbase.height() != Some(tip.height) {
            return Err(Refusal::InvalidCoinbasePrefix);
        }
        let sigops = coinbase.sigops();
        let committed = coinbase.commits() || message.merkle_path.is_empty();
        if sigops > BLOCK_SIGOPS_MAX || !committed {
            return Err(Refusal::InvalidCoinbaseTxOutputs);
        }
        if !self.exposure.allows(&known.account, tip.job.network_work()) {
            return Err(Refusal::CreditExhausted);
        }
        Ok(())
    }

    /// Everything is right: the token is used up, the ledger is told, and the job is made.
    fn promise(&mut self, asked: &Asked, known: &Known, good: &Good) -> Result<Arc<Promise>, Refusal> {
        let tip = self.tip.clone().ok_or(Refusal::StaleChainTip)?;
        let template = self.name_job(asked, known)?;
        let job = job_of(asked, &tip, template, good)?;
        if !self.note(
            asked,
            known,
            CustomVerdict::Accepted,
            Some((template, good.worth)),
        ) {
            return Err(Refusal::RateLimited);
        }
        if !self.settings.shared_tokens {
            self.tokens
                .take(known.token)
                .ok_or(Refusal::InvalidMiningJobToken)?;
        }
        Ok(Arc::new(Promise {
            job: Arc::new(job),
            account: known.account,
            worth: good.worth,
        }))
    }

    /// Names the job for shares and blocks. A shared token stands for one job, which has one name on all connections.
    fn name_job(&mut self, asked: &Asked, known: &Known) -> Result<u64, Refusal> {
        let unseen = if known.declared.is_none() { UNSEEN } else { 0 };
        self.customs += 1;
        let fresh = CUSTOM | unseen | self.customs;
        if !self.settings.shared_tokens {
            return Ok(fresh);
        }
        let named = self.tokens.share(known.token, fingerprint(&asked.message), fresh);
        named.map_err(|_| Refusal::InvalidMiningJobToken)
    }

    /// Tells the hub and the ledger; false when there is no room.
    fn note(
        &self,
        asked: &Asked,
        known: &Known,
        verdict: CustomVerdict,
        accepted: Option<(u64, Worth)>,
    ) -> bool {
        let worth = accepted.map(|(_, worth)| worth);
        let record = CustomJob {
            account: known.account.0,
            token: known.token.fingerprint(),
            job: fingerprint(&asked.message),
            channel: asked.prefix.map_or(0, crate::pool::records::channel),
            height: self.tip.as_ref().map_or(0, |tip| tip.height),
            verdict,
            mode: match known.declared {
                Some(_) => CustomMode::FullTemplate,
                None => CustomMode::CoinbaseOnly,
            },
            credit_bp: worth.map_or(0, |worth| worth.credit_bp),
            pool_value: worth.map_or(0, |worth| worth.pool),
            total_value: worth
                .map_or_else(|| asked.coinbase.value().unwrap_or(u64::MAX), |worth| worth.total),
        };
        let judged = Judged {
            record,
            template: accepted.map(|(template, _)| template),
            declared: known.declared.clone().filter(|_| accepted.is_some()),
        };
        self.hub.try_send(ToHub::Custom(Box::new(judged))).is_ok()
    }
}

/// Every field as it was declared, the order of the outputs included (spec 6.4.3).
fn as_declared(asked: &Asked, declared: &Declared) -> Result<(), Refusal> {
    let (message, now, then) = (&asked.message, &asked.coinbase, &declared.coinbase);
    if message.prev_hash.0 != declared.prev_hash {
        return Err(Refusal::StaleChainTip);
    }
    let same_path = message
        .merkle_path
        .iter()
        .map(|branch| &branch.0)
        .eq(&declared.merkle_path);
    let checks = [
        (
            (message.version ^ declared.version) & !VERSION_MASK == 0,
            Refusal::InvalidVersion,
        ),
        (now.version == then.version, Refusal::InvalidCoinbaseTxVersion),
        (same_script(now, then), Refusal::InvalidCoinbasePrefix),
        (
            now.sequence == then.sequence,
            Refusal::InvalidCoinbaseTxInputNSequence,
        ),
        (now.outputs == then.outputs, Refusal::InvalidCoinbaseTxOutputs),
        (now.locktime == then.locktime, Refusal::InvalidCoinbaseTxLocktime),
        (same_path, Refusal::InvalidMerklePath),
    ];
    let wrong = checks.into_iter().find(|(right, _)| !right);
    wrong.map_or(Ok(()), |(_, refusal)| Err(refusal))
}

fn same_script(now: &Coinbase, then: &Coinbase) -> bool {
    now.script_prefix == then.script_prefix && now.extranonce_size == then.extranonce_size
}

fn job_of(asked: &Asked, tip: &Published, template: u64, good: &Good) -> Result<Job, Refusal> {
    let (message, coinbase, own) = (&asked.message, &asked.coinbase, tip.job.fields());
    let halves = Halves {
        prefix: coinbase.prefix(),
        suffix: coinbase.suffix(),
        size: coinbase.extranonce_size,
        value: good.worth.total,
        witness: good.witness,
    };
    let fields = Fields {
        template,
        version: message.version,
        header_timestamp: message.min_ntime,
        min_ntime: message.min_ntime,
        merkle_path: message.merkle_path.iter().map(|branch| branch.0).collect(),
        coinbase: halves.into(),
        share_work_max: None,
        publish: true,
        ..Fields::clone(own)
    };
    Job::new(fields).map_err(|error| {
        tracing::debug!(%error, "a custom job makes no coinbase");
        Refusal::InvalidCoinbaseTxOutputs
    })
}

/// SHA-256 of the message from `version` on: whoever has the message can show that it is the job in the ledger.
fn fingerprint(message: &SetCustomMiningJob) -> [u8; 32] {
    use bitcoin::hashes::{Hash, sha256};
    let mut payload = Vec::new();
    message.encode(&mut payload);
    // Channel, request and token, which has a byte of length.
    let from = 4 + 4 + 1 + message.mining_job_token.len();
    sha256::Hash::hash(payload.get(from..).unwrap_or_default()).to_byte_array()
}

/// A refusal in the ledger's words.
fn verdict_of(refusal: Refusal) -> CustomVerdict {
    match refusal {
        Refusal::StaleChainTip => CustomVerdict::StaleTip,
        Refusal::InvalidCoinbaseTxOutputs => CustomVerdict::Outputs,
        Refusal::CreditExhausted => CustomVerdict::Credit,
        Refusal::JobNotYetValidated => CustomVerdict::NotDeclared,
        Refusal::RateLimited => CustomVerdict::Busy,
        _ => CustomVerdict::Field,
    }
}
