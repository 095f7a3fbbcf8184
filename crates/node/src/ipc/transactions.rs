//! The transactions of the newest template, fetched after it was announced and never before.

use std::rc::Rc;
use std::sync::Arc;

use bitcoin::consensus::Decodable;
use bitcoin::{Transaction, VarInt};

use super::call::{PATIENCE, Trouble, WORK, watched};
use super::connect::{Lane, Session};
use super::{Shared, watch};
use crate::{Event, TemplateId};

/// A block header's length.
const HEADER_BYTES: usize = 80;

/// Fetches for the newest template of each set of constraints only: one that was replaced meanwhile is passed over.
pub(super) async fn run(shared: &Rc<Shared>, session: &Rc<Session>) -> Result<(), Trouble> {
    loop {
        let next = shared.newest.borrow_mut().pop_first();
        let Some((_, id)) = next else {
            shared.fetch.notified().await;
            continue;
        };
        let Some(transactions) = fetch(shared, session, id).await? else {
            continue;
        };
        let transactions = Arc::new(transactions);
        let forgotten = shared.store.borrow_mut().learn(id, &transactions);
        shared
            .health
            .tell(Event::Transactions {
                template: id,
                transactions,
            })
            .await;
        watch::destroy(shared, &session.lanes.transactions, forgotten).await?;
    }
}

async fn fetch(
    shared: &Shared,
    session: &Rc<Session>,
    id: TemplateId,
) -> Result<Option<Vec<Vec<u8>>>, Trouble> {
    let Some(remote) = shared.store.borrow().find(id).and_then(|kept| kept.remote) else {
        return Ok(None);
    };
    let block = block(shared, &session.lanes.transactions, &remote).await?;
    // Megabytes are taken apart elsewhere: a new tip must not wait for that.
    let split = tokio::task::spawn_blocking(move || split(&block)).await;
    match split {
        Ok(Some(transactions)) => Ok(Some(transactions)),
        _ => Err(Trouble::Strange("a block that does not decode".into())),
    }
}

/// The block of a template as bytes, with whatever coinbase stands in it.
pub(super) async fn block(shared: &Shared, lane: &Lane, remote: &watch::Remote) -> Result<Vec<u8>, Trouble> {
    let call = "BlockTemplate.getBlock";
    let _busy = remote.busy.lock().await;
    let mut request = remote.client.get_block_request();
    request.get().init_context().set_thread(lane.clone());
    let answer = watched(&shared.health, call, WORK, PATIENCE, request.send().promise).await?;
    let block = answer
        .get()
        .and_then(|answer| answer.get_result())
        .map_err(|e| Trouble::of(call, e))?;
    Ok(block.to_vec())
}

/// All transactions of a block but the first, as they stand in it.
fn split(block: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = block.get(HEADER_BYTES..)?;
    let count = VarInt::consensus_decode(&mut rest).ok()?.0;
    let mut transactions = Vec::new();
    for place in 0..count {
        let before = rest;
        Transaction::consensus_decode(&mut rest).ok()?;
        let length = before.len().checked_sub(rest.len())?;
        if place > 0 {
            transactions.push(before.get(..length)?.to_vec());
        }
    }
    rest.is_empty().then_some(transactions)
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::consensus::serialize;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_is_split_behind_its_coinbase() {
        let mut block = bitcoin::constants::genesis_block(Network::Regtest);
        assert_eq!(split(&serialize(&block)), Some(vec![]));
        let mut second = block.txdata.first().unwrap().clone();
        second.lock_time = bitcoin::absolute::LockTime::from_consensus(7);
        block.txdata.push(second.clone());
        assert_eq!(split(&serialize(&block)), Some(vec![serialize(&second)]));
        let mut long = serialize(&block);
        long.push(0);
        assert_eq!(split(&long), None);
    }

    proptest! {
        #[test]
        fn no_block_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = split(&bytes);
        }
    }
}
