//! `adit template`: shows what a node gives to mine, and holds a coinbase against it.

use std::sync::Arc;
use std::time::Duration;

use adit_ledger::DataLock;
use adit_net::Clock;
use adit_node::check::{self, Figures, Problem};
use adit_node::{Event, Node, Template, TemplateId};
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hex::DisplayHex;
use bitcoin::{Amount, Transaction};
use serde_json::{Value, json};

use crate::cli::TemplateAction;
use crate::config::{NodeSpec, Settings};
use crate::exit::Exit;
use crate::observe::text::grouped;
use crate::pool::coinbase;

/// How long the node may take to give a template.
const TEMPLATE_LIMIT: Duration = Duration::from_secs(30);
/// How long its transactions may take then; some nodes never give them.
const TRANSACTIONS_LIMIT: Duration = Duration::from_secs(10);

/// Does what was asked, to stdout.
///
/// # Errors
/// When the node gives no template, or the coinbase would cost a block.
pub async fn run(settings: &Settings, action: &TemplateAction, as_json: bool) -> Result<(), Exit> {
    let _lock = lock(settings)?;
    let given = given(action)?;
    let constraints = crate::pool::constraints(settings);
    let mut node = crate::source::spawn(settings, &settings.data, constraints, &Clock::system())?;
    let template = first(&mut node).await?;
    let transactions = transactions(&mut node, template.id).await;
    let ours = coinbase::of(
        &template,
        &settings.payout.script,
        settings.coinbase.tag.as_bytes(),
        0,
    );
    let ours = given.or_else(|| coinbase::transaction(&ours));
    let ours = ours.ok_or_else(|| Exit::failed("no coinbase can be made of this template"))?;
    let rest = transactions.as_deref().map(Vec::as_slice);
    let (figures, problems) = judge(&template, &ours, rest);
    match action {
        TemplateAction::Show => {
            let shown = picture(&template, &ours, figures);
            println!("{}", if as_json { shown.to_string() } else { text(&shown) });
            Ok(())
        }
        TemplateAction::Check { .. } => verdict(&problems, figures, as_json),
    }
}

/// The embedded chain is a file of the data folder: nobody else may be at it.
fn lock(settings: &Settings) -> Result<Option<DataLock>, Exit> {
    let NodeSpec::Embedded { .. } = settings.node.first() else {
        return Ok(None);
    };
    let folder = &settings.data;
    std::fs::create_dir_all(folder)
        .map_err(|error| Exit::failed(format!("cannot use {}: {error}", folder.display())))?;
    DataLock::take(folder)
        .map(Some)
        .map_err(|error| Exit::failed(error.to_string()))
}

fn given(action: &TemplateAction) -> Result<Option<Transaction>, Exit> {
    let TemplateAction::Check { coinbase: Some(hex) } = action else {
        return Ok(None);
    };
    deserialize_hex(hex.trim()).map(Some).map_err(|error| {
        Exit::usage(format!("--coinbase is no transaction: {error}"))
            .help("give the whole transaction in hexadecimal, with its witness")
    })
}

async fn first(node: &mut Node) -> Result<Arc<Template>, Exit> {
    let mut trouble = String::from("the node says nothing");
    let waiting = async {
        loop {
            match node.events.recv().await {
                Some(Event::Template(template)) => return Some(template),
                Some(Event::Down { reason }) => trouble = reason,
                Some(_) => {}
                None => return None,
            }
        }
    };
    let template = tokio::time::timeout(TEMPLATE_LIMIT, waiting).await;
    template.ok().flatten().ok_or_else(|| {
        let limit = TEMPLATE_LIMIT.as_secs();
        Exit::failed(format!("no template within {limit} s: {trouble}"))
    })
}

async fn transactions(node: &mut Node, wanted: TemplateId) -> Option<Arc<Vec<Vec<u8>>>> {
    let waiting = async {
        loop {
            if let Event::Transactions {
                template,
                transactions,
            } = node.events.recv().await?
                && template == wanted
            {
                return Some(transactions);
            }
        }
    };
    tokio::time::timeout(TRANSACTIONS_LIMIT, waiting)
        .await
        .ok()
        .flatten()
}

fn judge(
    template: &Template,
    ours: &Transaction,
    rest: Option<&[Vec<u8>]>,
) -> (Option<Figures>, Vec<Problem>) {
    let mut problems = check::coinbase(template, ours);
    let figures = rest.map(|rest| {
        let (figures, more) = check::block(template, ours, rest);
        problems.extend(more);
        figures
    });
    (figures, problems)
}

fn verdict(problems: &[Problem], figures: Option<Figures>, as_json: bool) -> Result<(), Exit> {
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if !said.is_empty() {
        return Err(Exit::failed(format!(
            "a block with this coinbase would be lost: {}",
            said.join("; ")
        )));
    }
    let what = match figures {
        Some(it) => format!(
            "block of {} transactions, {} weight units: sums, outputs, room, commitment, path and weight are right",
            it.transactions,
            grouped(it.weight)
        ),
        None => "coinbase: sums, outputs and room are right; the node does not give the transactions".into(),
    };
    match as_json {
        true => println!(
            "{}",
            json!({ "ok": true, "transactions_checked": figures.is_some() })
        ),
        false => println!("ok  {what}"),
    }
    Ok(())
}

fn picture(template: &Template, ours: &Transaction, figures: Option<Figures>) -> Value {
    let required: Vec<Value> = template
        .coinbase_tx_outputs
        .iter()
        .map(|output| {
            let script = output.script_pubkey.as_bytes().to_lower_hex_string();
            json!({ "value_sat": output.value.to_sat(), "script": script })
        })
        .collect();
    let path: Vec<String> = template
        .merkle_path
        .iter()
        .map(|branch| branch.to_lower_hex_string())
        .collect();
    json!({
        "height": template.height,
        "tip": template.prev_hash.to_string(),
        "version": format!("{:08x}", template.version),
        "nbits": format!("{:08x}", template.nbits.to_consensus()),
        "time": template.header_timestamp,
        "min_time": template.min_ntime,
        "transactions": template.transaction_count.or(figures.and_then(|it| u32::try_from(it.transactions - 1).ok())),
        "fees_sat": template.fees,
        "value_sat": template.coinbase_tx_value_remaining,
        "weight": figures.map(|it| it.weight),
        "sigops": figures.map(|it| it.sigops),
        "room": {
            "size": template.constraints.max_additional_size,
            "sigops": template.constraints.max_additional_sigops,
            "reserved_weight": template.constraints.reserved_weight(),
        },
        "required_outputs": required,
        "merkle_path": path,
        "coinbase": serialize_hex(ours),
    })
}

/// The same for people: one line a fact, what is not known left out.
fn text(shown: &Value) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:<14}{value}"));
    let number = |name: &str| shown.get(name).and_then(Value::as_u64);
    let plain = |name: &str| {
        shown
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    line("height", number("height").map(grouped).unwrap_or_default());
    for name in ["tip", "version", "nbits"] {
        line(name, plain(name));
    }
    for (name, key) in [
        ("time", "time"),
        ("transactions", "transactions"),
        ("weight", "weight"),
        ("sigops", "sigops"),
    ] {
        if let Some(value) = number(key) {
            line(name, grouped(value));
        }
    }
    for (name, key) in [("fees", "fees_sat"), ("value", "value_sat")] {
        if let Some(value) = number(key) {
            line(name, Amount::from_sat(value).to_string());
        }
    }
    let each = |name: &str| {
        shown
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    for output in each("required_outputs") {
        let script = output.get("script").and_then(Value::as_str).unwrap_or_default();
        line("must pay", format!("{} to {script}", output["value_sat"]));
    }
    for branch in each("merkle_path") {
        line("path", branch.as_str().unwrap_or_default().to_owned());
    }
    line("coinbase", plain("coinbase"));
    lines.join("\n")
}
