//! Has the node itself judge what is mined: a block of a job that the node would refuse is worth nothing.
//!
//! A job goes to the miners at once; when the template's transactions are there, the block that it would be is put
//! before the node (`checkBlock`, or what a source has of it) beside everything else. A refusal is an alarm, and the job
//! is replaced: by the last template of the same tip that passed, or else by a block without transactions, which has to
//! pass first. Where neither is there the job stays: a node that is wrong about itself may still take the block.
//!
//! A template provider has its templates judged in the same way, each with a coinbase of its own making; only the last good
//! one takes a refused one's place there.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_node::{
    BlockCheck, CONSTRAINTS_MAX, Constraints, Handle, Solution, SubmitError, Template, TemplateId, assemble,
};
use adit_proto::coinbase::Coinbase;
use adit_proto::extranonce::{Extranonce, FullSize, PREFIX_BYTES};
use tokio::sync::mpsc;

/// Answers that may wait for the hub: one inspection is under way at a time.
const ANSWERS_MAX: usize = 2;
/// The template id of a job without transactions: no source gives it, so that its block is submitted whole.
const NO_TEMPLATE: TemplateId = TemplateId(0);

/// A template's transactions but the coinbase.
type Transactions = Arc<Vec<Vec<u8>>>;

/// What is put before the node.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) template: Arc<Template>,
    /// What the pool makes of it.
    pub(crate) coinbase: Coinbase,
    pub(crate) transactions: Transactions,
}

/// What the node said.
#[derive(Debug)]
pub(crate) struct Answer {
    candidate: Candidate,
    said: Result<BlockCheck, SubmitError>,
}

impl Answer {
    /// What the template that was judged leaves room for.
    pub(crate) fn constraints(&self) -> Constraints {
        self.candidate.template.constraints
    }
}

/// What the hub does about an answer.
#[derive(Clone, Debug)]
pub(crate) enum Advice {
    /// Nothing: the job is good, or nobody can tell.
    Keep,
    /// Mine this template instead.
    Replace(Arc<Template>),
}

/// How many jobs were judged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) valid: u64,
    pub(crate) refused: u64,
    /// The source could not tell, or not in time, or the tip had changed.
    pub(crate) unknown: u64,
}

/// Has one job after the other judged; of those that wait only the newest with each room in its coinbase.
pub(crate) struct Inspector {
    node: Handle,
    answers: mpsc::Sender<Answer>,
    incoming: mpsc::Receiver<Answer>,
    under_way: bool,
    next: BTreeMap<Constraints, Candidate>,
    /// The last template with each room that passed.
    good: BTreeMap<Constraints, Arc<Template>>,
    /// Whether a block without transactions may take a refused one's place.
    blanks: bool,
    /// Of which room the alarm is.
    refuses: Option<Constraints>,
    /// Why the node refuses what it gives; empty when it does not.
    pub(crate) alarm: String,
    pub(crate) counts: Counts,
}

impl Inspector {
    /// For a pool, which has jobs.
    pub(crate) fn new(node: Handle) -> Self {
        Self {
            blanks: true,
            ..Self::of_templates(node)
        }
    }

    /// For a provider, which has templates alone.
    pub(crate) fn of_templates(node: Handle) -> Self {
        let (answers, incoming) = mpsc::channel(ANSWERS_MAX);
        Self {
            node,
            answers,
            incoming,
            under_way: false,
            next: BTreeMap::new(),
            good: BTreeMap::new(),
            blanks: false,
            refuses: None,
            alarm: String::new(),
            counts: Counts::default(),
        }
    }

    /// Puts a job before the node, now or when the one before it has been judged.
    pub(crate) fn look(&mut self, candidate: Candidate) {
        let room = candidate.template.constraints;
        if !self.next.contains_key(&room) && self.next.len() >= CONSTRAINTS_MAX {
            self.next.pop_first();
        }
        self.next.insert(room, candidate);
        self.start();
    }

    fn start(&mut self) {
        if self.under_way {
            return;
        }
        let Some((_, candidate)) = self.next.pop_first() else {
            return;
        };
        self.under_way = true;
        let (node, answers) = (self.node.clone(), self.answers.clone());
        tokio::spawn(async move {
            let of = candidate.clone();
            // Megabytes are put together elsewhere: shares and blocks do not wait for that.
            let said = match tokio::task::spawn_blocking(move || block(&of)).await {
                Ok(Ok(block)) => node.check_block(block).await,
                Ok(Err(reason)) => Ok(BlockCheck::Invalid(reason)),
                Err(end) => Err(SubmitError::Unavailable(end.to_string())),
            };
            let _ = answers.send(Answer { candidate, said }).await;
        });
    }

    /// The node's next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        match self.incoming.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// What an answer means. `current` is the template that is mined on, of those with this room in the coinbase.
    pub(crate) fn judge(&mut self, answer: Answer, current: Option<&Template>) -> Advice {
        self.under_way = false;
        let Answer { candidate, said } = answer;
        let template = candidate.template;
        let advice = match said {
            Ok(BlockCheck::Valid) => {
                self.counts.valid += 1;
                self.passed(template, current)
            }
            Ok(check) if check.is_off_tip() => {
                self.counts.unknown += 1;
                Advice::Keep
            }
            Ok(BlockCheck::Invalid(reason)) => {
                self.counts.refused += 1;
                self.refused(&template, current, &reason)
            }
            Err(error) => {
                self.counts.unknown += 1;
                tracing::debug!(?error, "nobody can tell whether this job is good");
                Advice::Keep
            }
        };
        self.start();
        advice
    }

    fn passed(&mut self, template: Arc<Template>, current: Option<&Template>) -> Advice {
        if template.id == NO_TEMPLATE {
            // The way out of a refusal, unless something newer has come meanwhile.
            let on_tip = current.is_some_and(|current| current.prev_hash == template.prev_hash);
            return match on_tip && !self.alarm.is_empty() {
                true => Advice::Replace(template),
                false => Advice::Keep,
            };
        }
        let room = template.constraints;
        if !self.good.contains_key(&room) && self.good.len() >= CONSTRAINTS_MAX {
            self.good.pop_first();
        }
        self.good.insert(room, template);
        if self.refuses == Some(room) {
            self.refuses = None;
            self.alarm.clear();
        }
        Advice::Keep
    }

    fn refused(&mut self, template: &Arc<Template>, current: Option<&Template>, reason: &str) -> Advice {
        let height = template.height;
        tracing::error!(height, %reason, "the node would refuse a block of this job");
        self.alarm =
            format!("the node would refuse a block of its own template at height {height}: {reason}");
        let room = template.constraints;
        self.refuses = Some(room);
        if template.id == NO_TEMPLATE || current.is_none_or(|current| current.id != template.id) {
            return Advice::Keep;
        }
        match self.good.get(&room) {
            Some(good) if good.prev_hash == template.prev_hash => {
                tracing::warn!(height, "mining on the last template that the node found good");
                Advice::Replace(Arc::clone(good))
            }
            _ => {
                if self.blanks && !self.next.contains_key(&room) {
                    self.next
                        .extend(empty(template).map(|candidate| (room, candidate)));
                }
                Advice::Keep
            }
        }
    }
}

/// The block without transactions in a template's place, where its reward is known.
fn empty(template: &Template) -> Option<Candidate> {
    let empty = Template {
        id: NO_TEMPLATE,
        coinbase_tx_value_remaining: template.coinbase_tx_value_remaining.checked_sub(template.fees?)?,
        // Without witnesses no commitment to them is needed.
        coinbase_tx_outputs: Vec::new(),
        coinbase_witness: None,
        merkle_path: Vec::new(),
        transaction_count: Some(0),
        fees: Some(0),
        ..template.clone()
    };
    let payout = bitcoin::ScriptBuf::from_bytes(vec![0x51]);
    Some(Candidate {
        coinbase: super::coinbase::of(&empty, &payout, b"", 0),
        template: Arc::new(empty),
        transactions: Arc::default(),
    })
}

/// The block that a job would be, unsolved.
fn block(candidate: &Candidate) -> Result<Vec<u8>, String> {
    let Candidate {
        template,
        coinbase,
        transactions,
    } = candidate;
    let extranonce = Extranonce::fixed([0; PREFIX_BYTES], FullSize::DEFAULT);
    let solution = Solution {
        template: template.id,
        version: template.version,
        header_timestamp: template.header_timestamp,
        header_nonce: 0,
        coinbase_tx: coinbase.transaction(&extranonce),
    };
    let header = assemble::header(template, &solution)?;
    Ok(assemble::block(&header, &solution, transactions))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adit_node::{Event, Request, Requests, TemplateSource, embedded, spawn};

    use super::*;

    /// A node that refuses blocks with so many transactions or more.
    struct Refuses(usize);

    impl TemplateSource for Refuses {
        async fn run(self, mut requests: Requests, _: mpsc::Sender<Event>) {
            while let Some(request) = requests.recv().await {
                if let Request::CheckBlock(block, answer) = request {
                    let block: bitcoin::Block = bitcoin::consensus::deserialize(&block).unwrap();
                    let said = match block.txdata.len() - 1 {
                        count if count >= self.0 => BlockCheck::Invalid("bad-blk-sigops".into()),
                        _ => BlockCheck::Valid,
                    };
                    let _ = answer.send(Ok(said));
                }
            }
        }
    }

    /// A template with the first `count` transactions of the embedded chain's.
    fn candidate(id: u64, count: usize) -> Candidate {
        let chain = embedded::Provider::new(embedded::Settings::new(8, || 1_800_000_000)).unwrap();
        let kept = chain.template().unwrap();
        let mut template = Template::clone(&kept.template);
        template.id = TemplateId(id);
        let payout = bitcoin::ScriptBuf::from_bytes(vec![0x51]);
        Candidate {
            coinbase: super::super::coinbase::of(&template, &payout, b"tag", 1),
            template: Arc::new(template),
            transactions: Arc::new(kept.encoded.iter().take(count).cloned().collect()),
        }
    }

    async fn judged(inspector: &mut Inspector, current: &Template) -> Advice {
        let answer = tokio::time::timeout(Duration::from_secs(20), inspector.answer()).await;
        inspector.judge(answer.unwrap(), Some(current))
    }

    #[tokio::test]
    async fn a_refused_job_gives_way_to_the_last_good_one_of_its_tip() {
        let mut inspector = Inspector::new(spawn(Refuses(2)).unwrap().handle);
        let (good, bad) = (candidate(1, 1), candidate(2, 2));
        inspector.look(good.clone());
        assert!(matches!(
            judged(&mut inspector, &good.template).await,
            Advice::Keep
        ));
        inspector.look(bad.clone());
        let advice = judged(&mut inspector, &bad.template).await;
        assert!(matches!(advice, Advice::Replace(it) if it.id == good.template.id));
        assert!(inspector.alarm.contains("bad-blk-sigops"), "{}", inspector.alarm);
        let better = candidate(3, 0);
        inspector.look(better.clone());
        assert!(matches!(
            judged(&mut inspector, &better.template).await,
            Advice::Keep
        ));
        assert_eq!(inspector.alarm, "");
        let counts = Counts {
            valid: 2,
            refused: 1,
            unknown: 0,
        };
        assert_eq!(inspector.counts, counts);
    }

    #[tokio::test]
    async fn without_a_good_one_a_block_without_transactions_is_mined() {
        let mut inspector = Inspector::new(spawn(Refuses(1)).unwrap().handle);
        let bad = candidate(5, 3);
        inspector.look(bad.clone());
        assert!(matches!(
            judged(&mut inspector, &bad.template).await,
            Advice::Keep
        ));
        let Advice::Replace(empty) = judged(&mut inspector, &bad.template).await else {
            panic!("the empty block passes");
        };
        assert_eq!((empty.id, empty.merkle_path.len()), (NO_TEMPLATE, 0));
        let fees = bad.template.fees.unwrap();
        assert_eq!(
            empty.coinbase_tx_value_remaining + fees,
            bad.template.coinbase_tx_value_remaining
        );
        assert!(!inspector.alarm.is_empty(), "somebody has to look all the same");
    }

    /// The empty block is one that a full check takes.
    #[tokio::test]
    async fn the_empty_block_is_valid() {
        let mut chain = embedded::Provider::new(embedded::Settings::new(8, || 1_800_000_000)).unwrap();
        let template = Arc::clone(&chain.template().unwrap().template);
        let block = block(&empty(&template).unwrap()).unwrap();
        assert_eq!(chain.check_block(&block), BlockCheck::Valid);
    }
}
