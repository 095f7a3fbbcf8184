//! The template loop: make one, wait for a better one, announce it, again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::template::BLOCK_WEIGHT_MAX;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::call::{PATIENCE, QUERY, Trouble, WORK, watched};
use super::connect::{Lane, Session, Version, lane};
use super::generated::mining_capnp::{MAX_MONEY, block_template};
use super::{Settings, Shared, core30, parse};
use crate::{Constraints, Event, Template};

/// Longest single wait. A finite one: a node joins its waiting threads when we are gone. And a short one: it is
/// also how long an orderly end may take, since a wait is never interrupted (see [`leave`]).
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long the node's objects may take to be destroyed at an orderly end, all together.
const DESTROY_LIMIT: Duration = Duration::from_secs(1);

/// The node's object for a template. `busy` is held during calls that read or change the block in it:
/// the node does not guard one against the other.
pub(super) struct Remote {
    pub(super) client: block_template::Client,
    pub(super) busy: Mutex<()>,
}

/// The call of waitNext that is under way. It is never dropped before it returned: a node whose client vanishes
/// in the middle has crashed in its cleanup.
pub(super) struct Waiting {
    task: JoinHandle<()>,
}

/// The template that is being mined.
struct Current {
    template: Arc<Template>,
    remote: Rc<Remote>,
    since: Instant,
}

/// What one loop works with.
struct Watch<'a> {
    shared: &'a Rc<Shared>,
    session: &'a Rc<Session>,
    node: &'a str,
    constraints: Constraints,
    /// Its own: it waits most of the time.
    lane: Lane,
}

/// Announces templates with this room until nobody wants them any more, or the connection ends (`Err`).
pub(super) async fn run(
    shared: &Rc<Shared>,
    session: &Rc<Session>,
    node: &str,
    constraints: Constraints,
) -> Result<(), Trouble> {
    let lane = lane(shared, &session.threads, "adit wait").await?;
    let watch = Watch {
        shared,
        session,
        node,
        constraints,
        lane,
    };
    let mut current = create(&watch).await?;
    while shared.constraints.borrow().contains(&constraints) {
        match wait_next(&watch, &current).await? {
            Some(client) => {
                let noticed = Instant::now();
                let template = read(&watch, &client).await?;
                let age = current.since.elapsed();
                if !shared.health.is_up() || worth(&shared.settings, &current.template, &template, age) {
                    current = announce(&watch, client, template).await?;
                    tracing::debug!(id = current.template.id.0, took = ?noticed.elapsed(), "template announced");
                } else {
                    let unwanted = Rc::new(Remote {
                        client,
                        busy: Mutex::new(()),
                    });
                    discard(&watch, vec![unwanted]).await?;
                }
            }
            // The node was silent and answers again: nobody knows what became of the old template.
            None if !shared.health.is_up() => current = create(&watch).await?,
            None => {}
        }
    }
    Ok(())
}

async fn read(watch: &Watch<'_>, client: &block_template::Client) -> Result<Template, Trouble> {
    let _reading = watch.session.reading.lock().await;
    let id = watch.shared.next_id();
    let mut template = parse::read(watch.shared, watch.session, client, id).await?;
    template.constraints = watch.constraints;
    Ok(template)
}

async fn discard(watch: &Watch<'_>, templates: Vec<Rc<Remote>>) -> Result<(), Trouble> {
    let _destroying = watch.session.destroying.lock().await;
    destroy(watch.shared, &watch.session.lanes.destroy, templates).await
}

/// Whether a template is worth telling: another tip or target at once, more fees not too often.
/// On chains with a minimum difficulty the node offers one every second once the tip is old.
fn worth(settings: &Settings, old: &Template, new: &Template, age: Duration) -> bool {
    let interval = Duration::from_millis(settings.interval_ms);
    new.is_worth_telling_after(old, age, settings.fee_delta_sat, interval)
}

/// A template made now. Without the node's own cooldown, which may wait for ever: [`super::ready`] did
/// the waiting.
async fn create(watch: &Watch<'_>) -> Result<Current, Trouble> {
    let call = "Mining.createNewBlock";
    let made = watched(&watch.shared.health, call, WORK, PATIENCE, made(watch)).await?;
    let client = made.ok_or_else(|| Trouble::Lost("the node is shutting down".into()))?;
    let template = read(watch, &client).await?;
    announce(watch, client, template).await
}

/// createNewBlock: none when the node is shutting down.
async fn made(watch: &Watch<'_>) -> Result<Option<block_template::Client>, capnp::Error> {
    let weight = watch.constraints.reserved_weight().min(BLOCK_WEIGHT_MAX);
    let mining = &watch.session.mining;
    if watch.session.version == Version::Core30 {
        return core30::create(mining, &watch.constraints, weight).await;
    }
    let mut request = mining.create_new_block_request();
    let mut params = request.get();
    params.reborrow().init_context().set_thread(watch.lane.clone());
    params.set_cooldown(false);
    let mut options = params.init_options();
    options.set_use_mempool(true);
    options.set_block_reserved_weight(weight);
    options.set_coinbase_output_max_additional_sigops(watch.constraints.max_additional_sigops.into());
    let answer = request.send().promise.await?;
    let answer = answer.get()?;
    answer.has_result().then(|| answer.get_result()).transpose()
}

async fn announce(
    watch: &Watch<'_>,
    client: block_template::Client,
    template: Template,
) -> Result<Current, Trouble> {
    let shared = watch.shared;
    let (template, remote) = (
        Arc::new(template),
        Rc::new(Remote {
            client,
            busy: Mutex::new(()),
        }),
    );
    let forgotten = shared
        .store
        .borrow_mut()
        .insert(Arc::clone(&template), Rc::clone(&remote));
    shared.health.up(watch.node).await;
    shared.health.tell(Event::Template(Arc::clone(&template))).await;
    shared.newest.borrow_mut().insert(watch.constraints, template.id);
    shared.fetch.notify_one();
    discard(watch, forgotten).await?;
    Ok(Current {
        template,
        remote,
        since: Instant::now(),
    })
}

/// Waits for a new tip; for more fees, too, once the interval is over. `None` when nothing happened.
async fn wait_next(watch: &Watch<'_>, current: &Current) -> Result<Option<block_template::Client>, Trouble> {
    let shared = watch.shared;
    let call = "BlockTemplate.waitNext";
    let (wait, threshold) = patience(&shared.settings, current.since.elapsed());
    let promise = next(
        watch,
        &current.remote.client,
        wait.as_secs_f64() * 1_000.0,
        threshold,
    );
    let (answer, answered) = oneshot::channel();
    let task = tokio::task::spawn_local(async move {
        let _ = answer.send(promise.await);
    });
    shared
        .waiting
        .borrow_mut()
        .insert(watch.constraints, Waiting { task });
    let gone = |_| capnp::Error::disconnected("the connection ended".into());
    let answer = async { answered.await.map_err(gone)? };
    let answer = watched(&shared.health, call, wait + WORK, PATIENCE, answer).await?;
    shared.waiting.borrow_mut().remove(&watch.constraints);
    Ok(answer)
}

/// waitNext: the next template, once there is a new tip or so much more in fees.
fn next(
    watch: &Watch<'_>,
    client: &block_template::Client,
    timeout_ms: f64,
    fee_threshold: i64,
) -> impl Future<Output = Result<Option<block_template::Client>, capnp::Error>> + use<> {
    let (client, lane, version) = (client.clone(), watch.lane.clone(), watch.session.version);
    async move {
        if version == Version::Core30 {
            return core30::wait_next(&client, &lane, timeout_ms, fee_threshold).await;
        }
        let mut request = client.wait_next_request();
        let mut params = request.get();
        params.reborrow().init_context().set_thread(lane);
        let mut options = params.init_options();
        options.set_timeout(timeout_ms);
        options.set_fee_threshold(fee_threshold);
        let answer = request.send().promise.await?;
        let answer = answer.get()?;
        answer.has_result().then(|| answer.get_result()).transpose()
    }
}

/// How long to wait and for which gain in fees. While a template is young only a new tip counts, which
/// the node tells without making templates to compare.
fn patience(settings: &Settings, age: Duration) -> (Duration, i64) {
    let young = Duration::from_millis(settings.interval_ms).saturating_sub(age);
    if young.is_zero() {
        let delta = i64::try_from(settings.fee_delta_sat.max(1)).unwrap_or(MAX_MONEY);
        return (WAIT_MAX, delta.min(MAX_MONEY));
    }
    (young.clamp(Duration::from_millis(10), WAIT_MAX), MAX_MONEY)
}

/// Lets the node forget templates, each when nobody uses it, on a lane of the caller's.
pub(super) async fn destroy(shared: &Shared, lane: &Lane, templates: Vec<Rc<Remote>>) -> Result<(), Trouble> {
    for remote in templates {
        // Whoever is busy for that long drops the last reference itself, and the node forgets it then.
        let Ok(_free) = timeout(QUERY, remote.busy.lock()).await else {
            continue;
        };
        let mut request = remote.client.destroy_request();
        request.get().init_context().set_thread(lane.clone());
        watched(
            &shared.health,
            "BlockTemplate.destroy",
            QUERY,
            PATIENCE,
            request.send().promise,
        )
        .await?;
    }
    Ok(())
}

/// Leaves the node politely: waits for the end of the wait, gives templates back.
///
/// The wait is not interrupted. Bitcoin Core 31.99 crashed about once in a hundred times when interruptWait met a new
/// tip and the end of the connection (seen under load, 6 of 36 runs of twenty leavings; without it none of 44).
pub(super) async fn leave(shared: &Rc<Shared>) {
    let under_way = shared.waiting.take();
    let _ = timeout(WAIT_MAX + QUERY, async {
        for (_, waiting) in under_way {
            let _ = waiting.task.await;
        }
    })
    .await;
    let Some(session) = shared.session.borrow().clone() else {
        return;
    };
    let kept = shared.store.borrow_mut().disconnect();
    let _ = timeout(DESTROY_LIMIT, destroy(shared, &session.lanes.destroy, kept)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::tests::template;

    #[test]
    fn a_tip_is_told_at_once_and_fees_after_the_interval() {
        let settings = Settings::new("node.sock");
        let (old, mut new) = (template(1, 1), template(2, 1));
        let late = Duration::from_millis(settings.interval_ms);
        assert!(worth(&settings, &old, &template(2, 2), Duration::ZERO));
        assert!(!worth(&settings, &old, &new, late));
        new.coinbase_tx_value_remaining += settings.fee_delta_sat;
        assert!(worth(&settings, &old, &new, late));
        assert!(!worth(&settings, &old, &new, late / 2));
    }

    #[test]
    fn the_node_compares_fees_only_when_they_count() {
        let settings = Settings::new("node.sock");
        assert_eq!(patience(&settings, Duration::ZERO), (WAIT_MAX, MAX_MONEY));
        assert_eq!(
            patience(&settings, Duration::from_secs(29)),
            (Duration::from_secs(1), MAX_MONEY)
        );
        assert_eq!(patience(&settings, Duration::from_secs(30)), (WAIT_MAX, 1_000));
    }
}
