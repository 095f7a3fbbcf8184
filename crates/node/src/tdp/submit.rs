//! Found blocks on their way to a provider that does not answer.

use std::rc::Rc;
use std::time::Duration;

use adit_proto::template::client::Input;
use adit_wire::template::SubmitSolution;
use bitcoin::BlockHash;

use super::Shared;
use crate::{Solution, SubmitError, Verdict, assemble};

/// How long a block may take to become the tip before the caller is told to try again.
const TIP_LIMIT: Duration = Duration::from_secs(5);

/// Sends a solution, and waits for the tip to say what became of it.
pub(super) async fn solution(shared: &Rc<Shared>, solution: Solution) -> Result<Verdict, SubmitError> {
    let kept = shared.store.borrow().find(solution.template).cloned();
    let kept = kept.ok_or(SubmitError::UnknownTemplate)?;
    let header = match assemble::header(&kept.template, &solution) {
        Ok(header) => header,
        Err(reason) => return Ok(Verdict::Rejected(reason)),
    };
    // The provider's header time is the least that it takes (REQ-TDP-042).
    if solution.header_timestamp < kept.template.min_ntime {
        return Ok(Verdict::Rejected(
            "its time is before that of the template".into(),
        ));
    }
    let Ok(coinbase_tx) = solution.coinbase_tx.try_into() else {
        return Ok(Verdict::Rejected("a coinbase of more than 65,535 bytes".into()));
    };
    let (height, hash) = (kept.template.height, header.block_hash());
    let taken = shared.store.borrow().at(height);
    if taken == Some(hash) {
        return Ok(Verdict::Duplicate);
    }
    let line = shared.lines.borrow().get(&kept.line).cloned();
    // The provider forgot its ids with the connection.
    let line = line.ok_or(SubmitError::UnknownTemplate)?;
    let mut tips = shared.tips.subscribe();
    line.put(Input::Solution(SubmitSolution {
        template_id: kept.template_id,
        version: solution.version,
        header_timestamp: solution.header_timestamp,
        header_nonce: solution.header_nonce,
        coinbase_tx,
    }))
    .map_err(|full| SubmitError::Unavailable(full.into()))?;
    shared.store.borrow_mut().submitted(height, hash);
    tracing::info!(height, %hash, "solution submitted");
    if taken.is_some() {
        // Of an older tip: it is a block, but another one has its place.
        return Ok(Verdict::Accepted);
    }
    let judged = async {
        loop {
            if let Some(verdict) = judge(shared, height, hash) {
                return verdict;
            }
            if tips.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::time::timeout(TIP_LIMIT, judged).await.map_err(|_| {
        SubmitError::Unavailable("the template provider has the block but has not built on it yet".into())
    })
}

fn judge(shared: &Shared, height: u32, hash: BlockHash) -> Option<Verdict> {
    match shared.store.borrow().at(height)? {
        tip if tip == hash => Some(Verdict::Accepted),
        // Two blocks of ours: one of them has to lose.
        tip if shared.store.borrow().is_ours(&tip) => Some(Verdict::Accepted),
        other => Some(Verdict::Rejected(format!(
            "the template provider builds on {other} instead and does not say why"
        ))),
    }
}
