//! `adit payout`: what is paid and owed. A pool may run meanwhile; batches are booked by it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use adit_ledger::{AccountBook, AccountId, Book};
use adit_net::Clock;
use adit_proto::plan::Plan;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::due::{self, Payments};
use super::treasury::Treasury;
use super::{Names, Preview, Purse};
use crate::cli::PayoutAction;
use crate::config::Settings;
use crate::exit::Exit;
use crate::observe::text::{clean, grouped};
use crate::pool;

/// What somebody has earned, received, and is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Owed {
    /// Address, or the name by which the pool is booked.
    name: String,
    /// Parts of the values of mature blocks, satoshis.
    earned_sat: u64,
    /// Outputs of their coinbases, satoshis.
    received_sat: u64,
    /// Payments, satoshis.
    paid_sat: u64,
    /// What can be paid now; negative where more was received, as with the pool that holds what others earned.
    owed_sat: i64,
    /// What blocks that are not mature add to it.
    immature_sat: i64,
}

/// Does what was asked, to stdout.
///
/// # Errors
/// When the ledger cannot be read, or a pool that runs does not answer.
pub fn run(settings: &Settings, action: &PayoutAction, as_json: bool) -> Result<(), Exit> {
    let data = settings.data.as_path();
    let text = match action {
        PayoutAction::Preview { value } => {
            let preview = match pool::ask(data, "payout")? {
                Some(lines) => lines.concat(),
                None => serde_json::to_string(&offline(settings, *value)?).map_err(unwritten)?,
            };
            shown(&preview, as_json, preview_text)?
        }
        PayoutAction::Prove { channel } => proof(data, channel.as_deref(), as_json)?,
        PayoutAction::Balances => balances(&owed(data)?, as_json),
        PayoutAction::Export { batch, psbt, minimum } => {
            let minimum = minimum.unwrap_or(settings.payouts.minimum_sat);
            let payments = match batch {
                Some(name) => ordered(data, &format!("batch {} {minimum}", named(name)?))?,
                None => match pool::ask(data, &format!("due {minimum}"))? {
                    Some(lines) => payments(&lines)?,
                    None if settings.nats.url.0.is_some() => {
                        return Err(nobody(
                            data,
                            "what other front ends have paid already is known to a running pool alone: start it, or name its \
                             data folder with --data DIR",
                        ));
                    }
                    None => {
                        let (pool, alone) = (super::rules(settings).pool.id, HashMap::new());
                        Payments::of_due(due::due(&book(data)?, &alone, &pool, minimum, settings.network))
                    }
                },
            };
            match psbt {
                true => format!("{}\n", payments.psbt()),
                false => outputs(&payments, as_json)?,
            }
        }
        PayoutAction::Batches => batches(&book(data)?, as_json)?,
        PayoutAction::Settle { batch, txid, height } => {
            let txid: bitcoin::Txid = txid.parse().map_err(|_| {
                Exit::usage(format!("{} is no transaction's id", clean(txid)))
                    .help("it has 64 hexadecimal digits, as the wallet and explorers show it")
            })?;
            let payments = ordered(data, &format!("settle {} {txid} {height}", named(batch)?))?;
            batch_text(&[payments], as_json)?
        }
        PayoutAction::Cancel { batch } => {
            let payments = ordered(data, &format!("cancel {}", named(batch)?))?;
            batch_text(&[payments], as_json)?
        }
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Exit::failed(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}

fn unwritten(error: serde_json::Error) -> Exit {
    Exit::failed(format!("cannot write the result: {error}"))
}

/// JSON as it is, or in words.
fn shown(json: &str, as_json: bool, words: fn(&Value) -> String) -> Result<String, Exit> {
    if as_json {
        return Ok(format!("{json}\n"));
    }
    let value = serde_json::from_str(json)
        .map_err(|error| Exit::failed(format!("the pool's answer cannot be read: {error}")))?;
    Ok(words(&value))
}

/// What the book of a data folder would have a coinbase pay, with all the work that is kept as window: the network's
/// difficulty is not known here.
fn offline(settings: &Settings, value: u64) -> Result<Preview, Exit> {
    let rules = super::rules(settings);
    let book = book(&settings.data)?;
    let window = book.window().work();
    let mut treasury = Treasury {
        book: Arc::new(Mutex::new(book)),
        names: Arc::new(Names::of(settings)),
        rules: watch::channel(rules).1,
        window_blocks: settings.payouts.window_blocks,
        clock: Clock::system(),
        pools: settings.payouts.shares_out(),
        known: HashMap::new(),
    };
    let snapshot = Arc::new(treasury.snapshot(0, window));
    let pool = super::name(&settings.payout, settings.network);
    let purse = Purse::new(
        snapshot,
        settings.network,
        settings.payouts.outputs_max,
        pool.into(),
    );
    Ok(Preview::of(&purse, &Plan::Pooled, 0, value))
}

fn book(data: &Path) -> Result<Book, Exit> {
    adit_ledger::verify::book(data).map_err(crate::ledger::broken)
}

fn preview_text(preview: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mut text = String::new();
    let height = match number(&preview["height"]) {
        0 => "the next block, as the book has it".to_owned(),
        height => format!("block {height}"),
    };
    let value = grouped(number(&preview["value_sat"]));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{height} pays {value} satoshis\n");
    let _ = writeln!(
        text,
        "{:>16}  {:>16}  {:>16}  {:<8}  address",
        "output", "earned", "left after it", "role"
    );
    for line in preview["lines"].as_array().into_iter().flatten() {
        let (output, earned) = (
            grouped(number(&line["output_sat"])),
            grouped(number(&line["earned_sat"])),
        );
        let left = line["left_sat"].as_i64().unwrap_or(0);
        let (role, name) = (
            line["role"].as_str().unwrap_or(""),
            line["name"].as_str().unwrap_or(""),
        );
        let _ = writeln!(
            text,
            "{output:>16}  {earned:>16}  {left:>16}  {role:<8}  {}",
            clean(name)
        );
    }
    text
}

fn proof(data: &Path, channel: Option<&str>, as_json: bool) -> Result<String, Exit> {
    let nobody = || nobody(data, "name the data folder of the running pool with --data DIR");
    let question = channel.map_or("channels".to_owned(), |channel| format!("coinbase {channel}"));
    let lines = pool::ask(data, &question)?.ok_or_else(nobody)?;
    if channel.is_some() {
        return shown(&lines.concat(), as_json, proof_text);
    }
    let channels = lines.iter().filter_map(|line| line.split_once(' '));
    if as_json {
        let list: Vec<Value> = channels
            .map(|(channel, user)| json!({"channel": channel, "user": user}))
            .collect();
        return Ok(format!("{}\n", json!({ "channels": list })));
    }
    Ok(channels
        .map(|(channel, user)| format!("{channel}  {user}\n"))
        .collect())
}

fn proof_text(proof: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let template = &proof["template"];
    let mut text = format!(
        "channel {}  {}  {}\n{}\n\nblock {} on {}\ntag \"{}\"  scriptSig {}\n\n",
        word(&proof["channel"]),
        word(&proof["user"]),
        word(&proof["plan"]),
        word(&proof["says"]),
        template["height"],
        word(&template["prev_hash"]),
        word(&proof["tag"]),
        word(&proof["script_sig"]),
    );
    for output in proof["outputs"].as_array().into_iter().flatten() {
        let value = grouped(output["value_sat"].as_u64().unwrap_or(0));
        let place = output["address"]
            .as_str()
            .map_or_else(|| word(&output["script"]), str::to_owned);
        let _ = writeln!(
            text,
            "{value:>16}  {:>8} %  {:<10}  {place}",
            word(&output["percent"]),
            word(&output["purpose"])
        );
    }
    let _ = writeln!(
        text,
        "\ncoinbase {}\nsha256 {}",
        word(&proof["coinbase"]),
        word(&proof["sha256"])
    );
    text
}

/// Everybody's money, by name.
fn owed(data: &Path) -> Result<Vec<(AccountId, Owed)>, Exit> {
    let book = book(data)?;
    let money = book.money();
    let mut accounts: Vec<AccountId> = money.mature().map(|(account, _)| *account).collect();
    accounts.extend(money.carries().into_keys());
    accounts.sort_unstable();
    accounts.dedup();
    let mature: HashMap<_, _> = money.mature().collect();
    let carries = money.carries();
    let mut all: Vec<(AccountId, Owed)> = accounts
        .into_iter()
        .map(|account| {
            let balance = mature.get(&account).copied().copied().unwrap_or_default();
            let owed_sat = balance.owed_sat();
            let carry = carries.get(&account).copied().unwrap_or(0);
            let name = book.account(&account).and_then(AccountBook::name);
            let owed = Owed {
                name: name.unwrap_or_else(|| account.iter().map(|byte| format!("{byte:02x}")).collect()),
                earned_sat: balance.earned_sat,
                received_sat: balance.received_sat,
                paid_sat: balance.paid_sat,
                owed_sat,
                immature_sat: carry.saturating_sub(owed_sat),
            };
            (account, owed)
        })
        .collect();
    all.sort_by(|a, b| b.1.owed_sat.cmp(&a.1.owed_sat).then(a.1.name.cmp(&b.1.name)));
    Ok(all)
}

fn balances(all: &[(AccountId, Owed)], as_json: bool) -> String {
    if as_json {
        let list: Vec<&Owed> = all.iter().map(|(_, owed)| owed).collect();
        return format!("{}\n", json!({ "balances": list }));
    }
    let mut text = String::from("name,earned_sat,received_sat,paid_sat,owed_sat,immature_sat\n");
    for (_, it) in all {
        let _ = writeln!(
            text,
            "{},{},{},{},{},{}",
            cell(&it.name),
            it.earned_sat,
            it.received_sat,
            it.paid_sat,
            it.owed_sat,
            it.immature_sat
        );
    }
    text
}

/// Has the pool that runs do something with a batch.
fn ordered(data: &Path, order: &str) -> Result<Payments, Exit> {
    let owner = "batches are booked by the pool that owns the ledger: start it, or name its data folder with --data DIR";
    let lines = pool::ask(data, order)?.ok_or_else(|| nobody(data, owner))?;
    payments(&lines)
}

fn nobody(data: &Path, help: &str) -> Exit {
    Exit::failed(format!("no pool runs on {}", data.display())).help(help)
}

fn payments(lines: &[String]) -> Result<Payments, Exit> {
    serde_json::from_str(&lines.concat())
        .map_err(|error| Exit::failed(format!("the pool's answer cannot be read: {error}")))
}

/// The name of a batch, if it is one.
fn named(name: &str) -> Result<&str, Exit> {
    due::id_of(name).map(|_| name).map_err(Exit::usage)
}

/// Payments as the outputs of a transaction.
fn outputs(payments: &Payments, as_json: bool) -> Result<String, Exit> {
    if as_json {
        let json = serde_json::to_string(payments).map_err(unwritten)?;
        return Ok(format!("{json}\n"));
    }
    let mut text = String::from("address,sat\n");
    for output in &payments.outputs {
        let _ = writeln!(text, "{},{}", cell(&output.address), output.sat);
    }
    Ok(text)
}

fn batches(book: &Book, as_json: bool) -> Result<String, Exit> {
    let all = book.money().batches().all().into_iter();
    let all: Vec<Payments> = all
        .map(|(id, batch)| Payments::of_batch(book, id, batch))
        .collect();
    batch_text(&all, as_json)
}

/// Batches, a line each.
fn batch_text(batches: &[Payments], as_json: bool) -> Result<String, Exit> {
    if as_json {
        let list = serde_json::to_value(batches).map_err(unwritten)?;
        return Ok(format!("{}\n", json!({ "batches": list })));
    }
    let mut text = String::from("batch,state,outputs,total_sat,txid\n");
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    for it in batches {
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            word(&it.batch),
            word(&it.state),
            it.outputs.len(),
            it.total_sat,
            word(&it.txid)
        );
    }
    Ok(text)
}

/// A name in CSV: addresses as they are, anything else quoted, and nothing that a spreadsheet takes for a formula.
fn cell(name: &str) -> String {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    let formula = if name.starts_with(['=', '+', '-', '@']) {
        "'"
    } else {
        ""
    };
    format!("\"{formula}{}\"", clean(name).replace('"', "\"\""))
}
