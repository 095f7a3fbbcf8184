//! One template loop for each set of constraints that is wanted.

use std::collections::HashSet;
use std::rc::Rc;

use futures::stream::{FuturesUnordered, StreamExt};

use super::call::Trouble;
use super::connect::Session;
use super::{Shared, watch};

/// Starts a loop for what is wanted and has none; each ends by itself when its constraints are wanted no more.
/// Ends with the first loop that fails.
pub(super) async fn run(shared: &Rc<Shared>, session: &Rc<Session>, node: &str) -> Result<(), Trouble> {
    let mut wanted = shared.constraints.subscribe();
    let mut running = HashSet::new();
    let mut loops = FuturesUnordered::new();
    loop {
        for constraints in wanted.borrow_and_update().iter().copied() {
            if running.insert(constraints) {
                loops.push(async move {
                    let end = watch::run(shared, session, node, constraints).await;
                    end.map(|()| constraints)
                });
            }
        }
        tokio::select! {
            Ok(()) = wanted.changed() => {}
            Some(ended) = loops.next() => {
                running.remove(&ended?);
            }
        }
    }
}
