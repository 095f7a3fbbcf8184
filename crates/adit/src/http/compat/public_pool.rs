//! What public-pool's API has, for pages and devices that read that.

use adit_noise::Utc;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::problem::{self, Named, Problem};
use super::super::routes::Site;
use super::difficulty;
use crate::observe::{Channel, Name, Peer, Point, Roster};

/// Rows of high scores, and of devices.
const ROWS_MAX: usize = 100;
/// Workers of one client.
const WORKERS_MAX: usize = 2_000;
const DAY_S: u64 = 86_400;

/// `/api/pool`.
pub(super) async fn pool(State(site): State<Site>) -> Response {
    let (status, roster) = (site.status(), site.roster());
    let blocks = roster
        .blocks
        .iter()
        .map(|block| json!({ "height": block.height, "minerAddress": block.worker, "worker": block.worker }));
    problem::json(&json!({
        "totalHashRate": status.hash_rate.m10,
        "blockHeight": status.node.height,
        "totalMiners": status.channels.standard + status.channels.extended,
        "blocksFound": blocks.collect::<Vec<Value>>(),
        "fee": 0,
    }))
}

/// `/api/info`.
pub(super) async fn info(State(site): State<Site>) -> Response {
    let (status, roster) = (site.status(), site.roster());
    let blocks = roster.blocks.iter().map(|block| {
        json!({
            "height": block.height,
            "minerAddress": block.worker,
            "worker": block.worker,
            "sessionId": "",
        })
    });
    let mut best: Vec<&Name> = roster.names.iter().filter(|row| row.workers == 0).collect();
    best.sort_unstable_by_key(|row| std::cmp::Reverse(row.best_work));
    let scores = best.iter().take(10).map(|row| {
        json!({
            "updatedAt": iso(row.last_share_us.unwrap_or(row.since_us) / 1_000_000),
            "bestDifficulty": difficulty(row.best_work),
            "bestDifficultyUserAgent": agent_of(row),
        })
    });
    let key = status.pool.key.clone();
    problem::json(&json!({
        "blockData": blocks.collect::<Vec<Value>>(),
        "userAgents": agents(&roster),
        "highScores": scores.collect::<Vec<Value>>(),
        "sv2": { "poolAuthorityPublicKey": key, "authorityKeyConfigured": !key.is_empty() },
        "uptime": iso(status.started_at_us / 1_000_000),
    }))
}

/// Devices by what they call themselves.
fn agents(roster: &Roster) -> Vec<Value> {
    let mut agents: Vec<(String, u64, u128, f64)> = Vec::new();
    for peer in roster.peers.iter().filter(|peer| !peer.channels.is_empty()) {
        let name = agent(peer);
        let best = peer.channels.iter().map(|channel| channel.best_work).max();
        let rate: f64 = peer.channels.iter().map(|channel| channel.pace.hash_rate).sum();
        let count = peer.channels.len() as u64;
        let full = agents.len() >= ROWS_MAX;
        match agents.iter_mut().find(|(known, ..)| *known == name) {
            Some(known) => {
                known.1 += count;
                known.2 = known.2.max(best.unwrap_or(0));
                known.3 += rate;
            }
            // Peers may call themselves anything: the rest is counted together.
            None if full => {}
            None => agents.push((name, count, best.unwrap_or(0), rate)),
        }
    }
    agents.sort_by(|a, b| b.3.total_cmp(&a.3));
    let rows = agents.into_iter().map(|(name, count, best, rate)| {
        json!({
            "userAgent": name,
            "count": count,
            "bestDifficulty": difficulty(best),
            "totalHashRate": rate,
        })
    });
    rows.collect()
}

fn agent(peer: &Peer) -> String {
    let parts = [&peer.device.vendor, &peer.device.model];
    let parts: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(" ")
}

fn agent_of(row: &Name) -> String {
    row.device.as_ref().map_or_else(String::new, |device| {
        let device = std::sync::Arc::clone(device);
        agent(&Peer {
            device,
            ..Peer::default()
        })
    })
}

/// `/api/network`: what the node's `getmininginfo` would say, as far as it is known here.
pub(super) async fn network(State(site): State<Site>) -> Response {
    let node = site.status().node.clone();
    problem::json(&json!({
        "blocks": node.height,
        "currentblocktx": node.transactions,
        "difficulty": difficulty(node.block_work),
        "networkhashps": node.block_work as f64 / 600.0,
        "chain": node.network,
        "warnings": node.alarm,
    }))
}

/// `/api/info/chart`: the pool's hash rate by ten minutes.
pub(super) async fn chart(State(site): State<Site>) -> Response {
    let roster = site.roster();
    let now_s = roster.taken_at_us / 1_000_000;
    let history = roster.history.as_ref();
    let points = history
        .map(|history| history.curve(now_s, DAY_S, 144))
        .unwrap_or_default();
    let data = points.iter().map(
        |Point {
             start_s, hash_rate, ..
         }| { json!({ "label": iso(*start_s), "data": hash_rate }) },
    );
    problem::json(&data.collect::<Vec<Value>>())
}

fn unknown() -> Problem {
    Problem::missing(
        "nobody of that name was seen for some hours",
        "/api/v1/accounts lists all names",
    )
}

/// `/api/client/ADDRESS`.
pub(super) async fn client(
    State(site): State<Site>,
    Named(address): Named<String>,
) -> Result<Response, Problem> {
    let roster = site.roster();
    let row = roster.name(&address).ok_or_else(unknown)?;
    let workers: Vec<Value> = sessions(&roster, &address)
        .take(WORKERS_MAX)
        .map(|(peer, channel)| {
            json!({
                "sessionId": session_id(peer, channel),
                "name": worker_name(&channel.name, &address),
                "bestDifficulty": format!("{:.2}", difficulty(channel.best_work)),
                "hashRate": channel.pace.hash_rate.floor(),
                "startTime": iso(channel.since_us / 1_000_000),
                "lastSeen": iso(channel.last_share_us.unwrap_or(channel.since_us) / 1_000_000),
            })
        })
        .collect();
    Ok(problem::json(&json!({
        "bestDifficulty": difficulty(row.best_work),
        "workersCount": workers.len(),
        "workers": workers,
    })))
}

/// `/api/client/ADDRESS/chart`: what is known of it now; a curve needs a database.
pub(super) async fn client_chart(
    State(site): State<Site>,
    Named(address): Named<String>,
) -> Result<Response, Problem> {
    let roster = site.roster();
    let row = roster.name(&address).ok_or_else(unknown)?;
    Ok(problem::json(&json!([point_of(&roster, row)])))
}

/// `/api/client/ADDRESS/WORKER`.
pub(super) async fn worker(
    State(site): State<Site>,
    Named((address, worker)): Named<(String, String)>,
) -> Result<Response, Problem> {
    let roster = site.roster();
    let row = roster
        .name(&format!("{address}.{worker}"))
        .or_else(|| roster.name(&address).filter(|_| worker == "worker"));
    let row = row.ok_or_else(unknown)?;
    Ok(problem::json(&json!({
        "name": worker,
        "bestDifficulty": difficulty(row.best_work).floor(),
        "chartData": [point_of(&roster, row)],
    })))
}

/// `/api/client/ADDRESS/WORKER/SESSION`.
pub(super) async fn session(
    State(site): State<Site>,
    Named((address, worker, session)): Named<(String, String, String)>,
) -> Result<Response, Problem> {
    let roster = site.roster();
    let (peer, channel) = sessions(&roster, &address)
        .find(|(peer, channel)| session_id(peer, channel) == session)
        .ok_or_else(unknown)?;
    Ok(problem::json(&json!({
        "sessionId": session_id(peer, channel),
        "workerName": worker,
        "bestDifficulty": difficulty(channel.best_work).floor(),
        "chartData": [{
            "label": iso(roster.taken_at_us / 1_000_000),
            "data": channel.pace.hash_rate,
        }],
        "startTime": iso(channel.since_us / 1_000_000),
    })))
}

fn point_of(roster: &Roster, row: &Name) -> Value {
    json!({ "label": iso(roster.taken_at_us / 1_000_000), "data": row.pace.hash_rate })
}

/// The channels of an account.
fn sessions<'a>(roster: &'a Roster, address: &'a str) -> impl Iterator<Item = (&'a Peer, &'a Channel)> {
    let of = move |name: &str| {
        name.strip_prefix(address)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let all = roster
        .peers
        .iter()
        .flat_map(|peer| peer.channels.iter().map(move |channel| (peer, channel)));
    all.filter(move |(_, channel)| of(&channel.name))
}

fn session_id(peer: &Peer, channel: &Channel) -> String {
    format!("{:x}-{:x}", peer.id, channel.id)
}

/// Who has no name of its own is called `worker` there.
fn worker_name<'a>(name: &'a str, address: &str) -> &'a str {
    let rest = name.strip_prefix(address).and_then(|rest| rest.strip_prefix('.'));
    rest.unwrap_or("worker")
}

/// `2026-11-29T21:14:58Z`.
fn iso(unix_s: u64) -> String {
    Utc(unix_s).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_told_apart_from_their_account() {
        assert_eq!(worker_name("bc1q", "bc1q"), "worker");
        assert_eq!(worker_name("bc1q.rig.1", "bc1q"), "rig.1");
    }
}
