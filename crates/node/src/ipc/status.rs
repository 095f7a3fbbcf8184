//! Where a block stands.
//!
//! The mining interface knows the tip only; the RPC method `getblockheader`, which Bitcoin Core offers
//! over the same socket, knows all. On a node without it the honest answers are "it is the tip" and
//! "cannot be told": a list of tips that we saw would call a block confirmed that was reorganised away
//! between two of them.

use std::rc::Rc;

use bitcoin::BlockHash;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::call::Trouble;
use super::chain::{NOT_FOUND, Reply, execute};
use super::connect::Session;
use super::{Question, Shared, ping};
use crate::{BlockStatus, SubmitError};

/// Answers one question after the other; ends when nobody can ask any more.
pub(super) async fn answer(shared: Rc<Shared>, mut queue: mpsc::Receiver<Question<BlockHash, BlockStatus>>) {
    while let Some((block, answer)) = queue.recv().await {
        let _ = answer.send(status(&shared, block).await);
    }
}

async fn status(shared: &Shared, block: BlockHash) -> Result<BlockStatus, SubmitError> {
    let session = shared.session()?;
    let unavailable = |trouble: Trouble| SubmitError::Unavailable(trouble.reason(&shared.settings.path));
    let lane = &session.lanes.status;
    match execute(
        shared,
        &session,
        lane,
        "getblockheader",
        json!([block.to_string()]),
    )
    .await
    {
        Ok(reply) => read(&reply).map_err(SubmitError::Unavailable),
        Err(Trouble::Unimplemented(_)) => tip_or_nothing(shared, &session, block).await,
        Err(trouble) => Err(unavailable(trouble)),
    }
}

fn read(reply: &Reply) -> Result<BlockStatus, String> {
    match reply {
        Reply::Error(NOT_FOUND, _) => Ok(BlockStatus::Unknown),
        Reply::Error(code, said) => Err(format!("getblockheader answered: {said} ({code})")),
        Reply::Result(header) => match header.get("confirmations").and_then(Value::as_i64) {
            Some(-1) => Ok(BlockStatus::Stale),
            Some(count) if count > 0 => Ok(BlockStatus::Confirmed(u32::try_from(count).unwrap_or(u32::MAX))),
            _ => Err("getblockheader answered without confirmations".into()),
        },
    }
}

async fn tip_or_nothing(
    shared: &Shared,
    session: &Rc<Session>,
    block: BlockHash,
) -> Result<BlockStatus, SubmitError> {
    match ping::tip(shared, session, &session.lanes.status).await {
        Ok(Some(tip)) if tip == block => Ok(BlockStatus::Confirmed(1)),
        Ok(_) => Err(SubmitError::Unsupported),
        Err(trouble) => Err(SubmitError::Unavailable(trouble.reason(&shared.settings.path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_answer_tells_where_the_block_stands() {
        let result = |confirmations: i64| Reply::Result(json!({ "confirmations": confirmations }));
        assert_eq!(read(&result(1)), Ok(BlockStatus::Confirmed(1)));
        assert_eq!(read(&result(101)), Ok(BlockStatus::Confirmed(101)));
        assert_eq!(read(&result(-1)), Ok(BlockStatus::Stale));
        assert_eq!(
            read(&Reply::Error(NOT_FOUND, "Block not found".into())),
            Ok(BlockStatus::Unknown)
        );
        assert!(read(&result(0)).is_err());
        assert!(read(&Reply::Error(-28, "Loading".into())).is_err());
        assert!(read(&Reply::Result(Value::Null)).is_err());
    }
}
