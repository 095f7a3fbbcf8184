//! Follows a node's templates: a long poll, a glance every second, and the node's own notices.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::{METHOD_NOT_FOUND, Trouble};
use super::notice::Notices;
use super::template::{Answer, Whole, template};
use super::{NODE, Settings, Shared, zmq};
use crate::progress::{Gate, Progress};
use crate::{Event, Template};

/// Deadline of a call whose answer the node has at hand.
const QUERY: Duration = Duration::from_secs(4);
/// Deadline of a call that makes a template.
const WORK: Duration = Duration::from_secs(15);
/// Longest long poll. A node that has nothing to tell answers within minutes; a proxy in between may never.
const LONG_POLL: Duration = Duration::from_secs(150);
/// How often the tip is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// How often a node that is not ready is asked again, and how soon after trouble it is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// More often than this nobody asks for more fees: making a template is work for the node.
const REFRESH_MIN: Duration = Duration::from_secs(5);
/// Wait between templates where a node has no long poll.
const POLL: Duration = Duration::from_secs(5);
/// How often a node that only gets blocks is asked whether it is there.
const ATTEND: Duration = Duration::from_secs(5);

/// Announces templates for ever.
pub(super) async fn run(shared: Rc<Shared>) {
    loop {
        let followed = match shared.settings.templates {
            true => follow(&shared).await,
            false => attend(&shared).await,
        };
        if let Err(trouble) = followed {
            let reason = trouble.reason(&shared.settings.address, &shared.settings.login);
            shared.health.down(trouble.kind(), reason).await;
        }
        sleep(AGAIN).await;
    }
}

/// A node that only gets blocks: whether it is there, and on our chain, until the first trouble. One that takes blocks and
/// answers nothing else is there as well.
async fn attend(shared: &Shared) -> Result<(), Trouble> {
    loop {
        let name = match shared.client.call("getblockchaininfo", json!([]), QUERY).await {
            Ok(info) => on_our_chain(shared, progress(&info)?)?.chain,
            Err(Trouble::Node(METHOD_NOT_FOUND, _)) => "a chain that it does not name".into(),
            Err(trouble) => return Err(trouble),
        };
        let node = format!("a node on {name} over {}", shared.settings.address);
        shared.health.up(&node).await;
        sleep(ATTEND).await;
    }
}

/// From the first template to the first trouble.
async fn follow(shared: &Rc<Shared>) -> Result<(), Trouble> {
    let node = ready(shared).await?;
    let blocks = shared.settings.zmq.as_deref().map(zmq::Blocks::new);
    let notices = shared.settings.notify.map(Notices::new);
    // A long poll tells of more fees after a minute at the earliest.
    let refresh = Duration::from_millis(shared.settings.interval_ms).max(REFRESH_MIN);
    let mut current = Current::make(shared, &node).await?;
    let mut wanted = shared.constraints.subscribe();
    loop {
        let next = {
            let poll = long_poll(shared, current.poll_id.clone());
            let mut poll = std::pin::pin!(poll);
            loop {
                tokio::select! {
                    answer = &mut poll => break answer?,
                    // Somebody wants other room in the coinbase.
                    Ok(()) = wanted.changed() => break ask(shared, None, WORK).await?,
                    () = heard(blocks.as_ref(), notices.as_ref()) => break ask(shared, None, WORK).await?,
                    () = sleep(GLANCE) => {
                        let moved = Some(tip(shared).await?) != current.tip();
                        if moved || current.asked.elapsed() >= refresh {
                            break ask(shared, None, WORK).await?;
                        }
                    }
                }
            }
        };
        current.replace(shared, &node, next).await?;
    }
}

/// The templates that are being mined.
struct Current {
    /// One for each set of constraints, and since when.
    templates: Vec<(Arc<Template>, Instant)>,
    /// What the node calls its own in a long poll.
    poll_id: Option<String>,
    /// When the node answered last, with whatever.
    asked: Instant,
}

impl Current {
    async fn make(shared: &Shared, node: &str) -> Result<Self, Trouble> {
        let mut current = Self {
            templates: Vec::new(),
            poll_id: None,
            asked: Instant::now(),
        };
        let answer = ask(shared, None, WORK).await?;
        current.replace(shared, node, answer).await?;
        Ok(current)
    }

    /// The block that they build on.
    fn tip(&self) -> Option<String> {
        let (template, _) = self.templates.first()?;
        Some(template.prev_hash.to_string())
    }

    /// Makes a template for each set of constraints from one answer; announces those that are worth it.
    async fn replace(&mut self, shared: &Shared, node: &str, answer: Answer) -> Result<(), Trouble> {
        self.poll_id = answer.longpollid.clone();
        self.asked = Instant::now();
        let wanted = shared.constraints.borrow().clone();
        let mut before = std::mem::take(&mut self.templates);
        for constraints in wanted {
            let id = shared.next_id();
            let whole = template(answer.clone(), constraints, id).map_err(Trouble::Strange)?;
            let old = before.iter().position(|(old, _)| old.constraints == constraints);
            let old = old.map(|place| before.swap_remove(place));
            self.templates.push(match old {
                Some((old, since)) if !worth(&shared.settings, &old, &whole.template, since.elapsed()) => {
                    (old, since)
                }
                _ => (announce(shared, node, whole).await, Instant::now()),
            });
        }
        Ok(())
    }
}

/// As the IPC source: another tip at once, more fees not too often.
fn worth(settings: &Settings, old: &Template, new: &Template, age: Duration) -> bool {
    let interval = Duration::from_millis(settings.interval_ms);
    new.is_worth_telling_after(old, age, settings.fee_delta_sat, interval)
}

async fn announce(shared: &Shared, node: &str, whole: Whole) -> Arc<Template> {
    let (template, transactions) = (Arc::new(whole.template), Arc::new(whole.transactions));
    let id = template.id;
    {
        let mut store = shared.store.borrow_mut();
        store.insert(Arc::clone(&template), ());
        store.learn(id, &transactions);
    }
    shared.recent.borrow_mut().learn(&transactions);
    shared.health.up(node).await;
    shared.health.tell(Event::Template(Arc::clone(&template))).await;
    shared
        .health
        .tell(Event::Transactions {
            template: id,
            transactions,
        })
        .await;
    template
}

/// The next template, when the node has one that is better than `poll_id`.
async fn long_poll(shared: &Shared, poll_id: Option<String>) -> Result<Answer, Trouble> {
    match poll_id {
        Some(_) => match ask(shared, poll_id, LONG_POLL).await {
            // The glance tells a node that hangs; a long poll that brings nothing is only a long one.
            Err(Trouble::Silent(..)) => ask(shared, None, WORK).await,
            answer => answer,
        },
        None => {
            sleep(POLL).await;
            ask(shared, None, WORK).await
        }
    }
}

async fn ask(shared: &Shared, poll_id: Option<String>, limit: Duration) -> Result<Answer, Trouble> {
    let mut request = json!({ "rules": ["segwit", "signet"], "capabilities": ["longpoll"] });
    if let Some(id) = poll_id {
        request["longpollid"] = Value::String(id);
    }
    let answer = shared
        .client
        .call("getblocktemplate", json!([request]), limit)
        .await?;
    serde_json::from_value(answer).map_err(|error| Trouble::Strange(format!("getblocktemplate: {error}")))
}

async fn tip(shared: &Shared) -> Result<String, Trouble> {
    let tip = shared.client.call("getbestblockhash", json!([]), QUERY).await?;
    let tip = tip.as_str().map(str::to_owned);
    tip.ok_or_else(|| Trouble::Strange("getbestblockhash gave no text".into()))
}

/// When the publisher or the node's command tells of a block; never where there is neither.
async fn heard(blocks: Option<&zmq::Blocks>, notices: Option<&Notices>) {
    let published = async {
        match blocks {
            Some(blocks) => blocks.next().await,
            None => pending().await,
        }
    };
    let noticed = async {
        match notices {
            Some(notices) => notices.next().await,
            None => pending().await,
        }
    };
    tokio::select! { () = published => {} () = noticed => {} }
}

/// Waits until templates make sense; gives the node's name for people.
async fn ready(shared: &Shared) -> Result<String, Trouble> {
    let mut gate = Gate::new(NODE);
    loop {
        let info = shared.client.call("getblockchaininfo", json!([]), QUERY).await?;
        let progress = on_our_chain(shared, progress(&info)?)?;
        match gate.look(&progress) {
            Ok(()) => return Ok(name(shared, &progress).await),
            Err((kind, reason)) => shared.health.down(kind, reason).await,
        }
        sleep(AGAIN).await;
    }
}

fn on_our_chain(shared: &Shared, progress: Progress) -> Result<Progress, Trouble> {
    match &shared.settings.chain {
        Some(wanted) if *wanted != progress.chain => Err(Trouble::Chain {
            found: progress.chain,
            wanted: wanted.clone(),
        }),
        _ => Ok(progress),
    }
}

fn progress(info: &Value) -> Result<Progress, Trouble> {
    let number = |name: &str| info.get(name).and_then(Value::as_u64);
    let chain = info.get("chain").and_then(Value::as_str);
    let chain = chain.ok_or_else(|| Trouble::Strange("getblockchaininfo names no chain".into()))?;
    // As btcd calls them, and Bitcoin Core.
    let chain = match chain {
        "mainnet" => "main",
        "testnet3" => "test",
        other => other,
    };
    Ok(Progress {
        chain: chain.to_owned(),
        test_chain: chain != "main",
        initial_download: info
            .get("initialblockdownload")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        heights: number("blocks").zip(number("headers")),
    })
}

/// What the node calls itself; an old or shy node has no name.
async fn name(shared: &Shared, progress: &Progress) -> String {
    let info = shared.client.call("getnetworkinfo", json!([]), QUERY).await.ok();
    let name = info.as_ref().and_then(|info| info.get("subversion")?.as_str());
    let name: String = name
        .unwrap_or("a node")
        .trim_matches('/')
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(80)
        .collect();
    format!("{name} on {} over {}", progress.chain, shared.settings.address)
}
