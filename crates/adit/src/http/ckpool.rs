//! The status files of ckpool: one line of JSON after the other. Served over HTTP and, where a folder is configured, kept
//! there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::compat::DIFFICULTY;
use crate::observe::{Averages, Name, Roster, State, Status, text};
use crate::shutdown::Shutdown;

/// How often the files are written, as ckpool does.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Files of users; those with the most hash rate.
const USERS_MAX: usize = 10_000;
/// Longest name of a file, in bytes.
const FILE_NAME_MAX: usize = 200;

/// `pool/pool.status`.
pub(super) fn pool(status: &Status, roster: &Roster) -> String {
    let count = |state: State| {
        let of = |row: &&Name| row.workers == 0 && row.state == state;
        roster.names.iter().filter(of).count()
    };
    let accounts: Vec<&Name> = roster.names.iter().filter(|row| row.account.is_none()).collect();
    let users = accounts.iter().filter(|row| row.state != State::Offline).count();
    let now_s = status.taken_at_us / 1_000_000;
    let rates = status.hash_rate;
    let sum = |of: fn(&Averages) -> f64| accounts.iter().map(|row| of(&row.hash_rates)).sum::<f64>();
    // ckpool counts shares in difficulty.
    let accepted = status.shares.work as f64 / DIFFICULTY;
    let best = status.best_share.as_ref().map_or(0, |best| best.work) as f64 / DIFFICULTY;
    let network = status.node.block_work as f64 / DIFFICULTY;
    let diff = if network > 0.0 {
        accepted / network * 100.0
    } else {
        0.0
    };
    let per_second = |seconds: u64| {
        let known = roster.history.as_ref();
        let (shares, _) = known.map_or((0, 0), |history| history.shares(now_s, seconds));
        round(
            shares as f64 / seconds.min((status.uptime_ms / 1000).max(1)) as f64,
            3,
        )
    };
    lines(&[
        json!({
            "runtime": status.uptime_ms / 1000,
            "lastupdate": now_s,
            "Users": users,
            "Workers": count(State::Mining) + count(State::Starting) + count(State::Silent),
            "Idle": count(State::Silent),
            "Disconnected": count(State::Offline),
        }),
        json!({
            "hashrate1m": suffixed(rates.m1),
            "hashrate5m": suffixed(sum(|rates| rates.m5)),
            "hashrate15m": suffixed(rates.m10),
            "hashrate1hr": suffixed(rates.h1),
            "hashrate6hr": suffixed(sum(|rates| rates.h1)),
            "hashrate1d": suffixed(rates.d1),
            "hashrate7d": suffixed(sum(|rates| rates.d7)),
        }),
        json!({
            "diff": round(diff, 1),
            "accepted": accepted.floor(),
            "rejected": status.shares.rejected,
            "bestshare": best.floor(),
            "SPS1m": per_second(60),
            "SPS5m": per_second(300),
            "SPS15m": per_second(900),
            "SPS1h": per_second(3_600),
        }),
    ])
}

/// `users/NAME`: an account and its workers; nothing where nobody of that name is known.
pub(super) fn user(roster: &Roster, name: &str) -> Option<String> {
    let row = roster.name(name).filter(|row| row.account.is_none())?;
    let workers: Vec<&Name> = (roster.names.iter())
        .filter(|other| other.account.as_deref() == Some(name))
        .collect();
    Some(user_of(row, &workers))
}

fn user_of(row: &Name, workers: &[&Name]) -> String {
    // Who names no worker is one.
    let own = [row];
    let shown = if workers.is_empty() { &own[..] } else { workers };
    let mut whole = facts_of(row);
    if let Value::Object(facts) = &mut whole {
        facts.insert("workers".into(), shown.len().into());
        facts.insert("authorised".into(), (row.since_us / 1_000_000).into());
        let workers = shown.iter().map(|worker| {
            let mut facts = facts_of(worker);
            if let Value::Object(facts) = &mut facts {
                facts.insert("workername".into(), worker.name.clone().into());
            }
            facts
        });
        facts.insert("worker".into(), workers.collect());
    }
    lines(&[whole])
}

fn facts_of(row: &Name) -> Value {
    let rates = row.hash_rates;
    let best = row.best_work as f64 / DIFFICULTY;
    json!({
        "hashrate1m": suffixed(rates.m1),
        "hashrate5m": suffixed(rates.m5),
        "hashrate1hr": suffixed(rates.h1),
        "hashrate1d": suffixed(rates.d1),
        "hashrate7d": suffixed(rates.d7),
        "lastshare": row.last_share_us.unwrap_or(0) / 1_000_000,
        "shares": (row.work as f64 / DIFFICULTY).floor(),
        "bestshare": best,
        "bestever": best.floor(),
    })
}

fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// `1.23T`: three digits and a letter.
fn suffixed(rate: f64) -> String {
    const LETTERS: [&str; 8] = ["", "K", "M", "G", "T", "P", "E", "Z"];
    let (mut rate, mut letters) = (rate.max(0.0), LETTERS.iter().peekable());
    let mut letter = "";
    while let Some(next) = letters.next() {
        letter = next;
        if rate < 999.5 || letters.peek().is_none() {
            break;
        }
        rate /= 1_000.0;
    }
    let decimals = match rate {
        _ if letter.is_empty() => 0,
        rate if rate < 9.995 => 2,
        rate if rate < 99.95 => 1,
        _ => 0,
    };
    format!("{rate:.decimals$}{letter}")
}

fn round(number: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (number * unit).round() / unit
}

/// Keeps the files of a folder until `shutdown`; a disk that fails is told once, and tried again.
pub async fn keep(
    folder: PathBuf,
    status: watch::Receiver<Arc<Status>>,
    roster: watch::Receiver<Arc<Roster>>,
    mut shutdown: Shutdown,
) {
    let mut every = tokio::time::interval(WRITE_EVERY);
    let mut failing = false;
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            _ = every.tick() => {}
        }
        let (status, roster) = (Arc::clone(&status.borrow()), Arc::clone(&roster.borrow()));
        let place = folder.clone();
        let written = tokio::task::spawn_blocking(move || write(&place, &status, &roster)).await;
        match written {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) if !failing => {
                failing = true;
                tracing::warn!(%error, folder = %folder.display(), "cannot keep ckpool's status files");
            }
            _ => {}
        }
    }
}

/// Writes all files, each whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(folder: &Path, status: &Status, roster: &Roster) -> io::Result<()> {
    for part in ["pool", "users"] {
        fs::create_dir_all(folder.join(part))?;
    }
    replace(&folder.join("pool"), "pool.status", &pool(status, roster))?;
    let mut workers: HashMap<&str, Vec<&Name>> = HashMap::new();
    for row in &roster.names {
        if let Some(account) = row.account.as_deref() {
            workers.entry(account).or_default().push(row);
        }
    }
    let mut accounts: Vec<&Name> = (roster.names.iter())
        .filter(|row| row.account.is_none() && is_file_name(&row.name))
        .collect();
    accounts.sort_unstable_by(|a, b| b.pace.hash_rate.total_cmp(&a.pace.hash_rate));
    for row in accounts.into_iter().take(USERS_MAX) {
        let of = workers
            .get(row.name.as_str())
            .map(Vec::as_slice)
            .unwrap_or_default();
        replace(&folder.join("users"), &row.name, &user_of(row, of))?;
    }
    Ok(())
}

fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let draft = folder.join(".draft");
    fs::write(&draft, text)?;
    fs::rename(&draft, folder.join(name))
}

/// A name that stays in its folder: peers choose it.
fn is_file_name(name: &str) -> bool {
    let plain = |c: char| !c.is_control() && !text::invisible(c) && !matches!(c, '/' | '\\');
    !name.is_empty() && name.len() <= FILE_NAME_MAX && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, account: Option<&str>, work: u128) -> Name {
        Name {
            name: name.into(),
            account: account.map(Into::into),
            state: State::Mining,
            work,
            best_work: work / 2,
            since_us: 5_000_000,
            last_share_us: Some(9_000_000),
            hash_rates: Averages {
                m1: 1.234e12,
                ..Averages::default()
            },
            ..Name::default()
        }
    }

    fn roster() -> Roster {
        let mut alice = row("alice", None, 5 << 32);
        alice.workers = 1;
        Roster {
            names: vec![
                row("../evil", None, 1),
                alice,
                row("alice.rig", Some("alice"), 3 << 32),
                row("bob", None, 1 << 32),
            ],
            ..Roster::default()
        }
    }

    #[test]
    fn rates_have_three_digits_and_a_letter() {
        for (rate, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1_234.0, "1.23K"),
            (45_670_000.0, "45.7M"),
            (999_900.0, "1.00M"),
            (3.21e14, "321T"),
            (5e26, "500000Z"),
        ] {
            assert_eq!(suffixed(rate), text);
        }
    }

    #[test]
    fn every_line_is_json_as_the_tools_read_it() {
        let status = Status {
            uptime_ms: 90_000,
            taken_at_us: 100_000_000,
            ..Status::default()
        };
        let text = pool(&status, &roster());
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            (&lines[0]["runtime"], &lines[0]["Users"]),
            (&90.into(), &3.into())
        );
        assert_eq!(
            (&lines[0]["Workers"], &lines[0]["Disconnected"]),
            (&3.into(), &0.into())
        );
        assert!(lines[1]["hashrate1hr"].is_string() && lines[2]["SPS1m"].is_number());
        let user: Value = serde_json::from_str(&user(&roster(), "alice").unwrap()).unwrap();
        assert_eq!(
            (&user["workers"], &user["hashrate1m"]),
            (&1.into(), &"1.23T".into())
        );
        assert_eq!(user["shares"], 5.0);
        assert_eq!(user["worker"][0]["workername"], "alice.rig");
        assert_eq!((&user["lastshare"], &user["authorised"]), (&9.into(), &5.into()));
        assert!(super::user(&roster(), "alice.rig").is_none() && super::user(&roster(), "x").is_none());
    }

    #[test]
    fn files_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Status::default(), &roster()).unwrap();
        write(folder.path(), &Status::default(), &roster()).unwrap();
        let mut users: Vec<String> = fs::read_dir(folder.path().join("users"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        users.sort();
        assert_eq!(users, ["alice", "bob"]);
        assert!(folder.path().join("pool/pool.status").is_file());
        for name in ["", ".", "..", "a/b", "a\\b", ".hidden", "a\nb", "a\u{202e}b"] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
