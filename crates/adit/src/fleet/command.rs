//! `adit accountant` and `adit fleet`.

use std::fmt::Write as _;

use serde::Serialize;

use super::accountant::{AccountantPicture, serve};
use super::bus::{Bus, Settings};
use super::lease::{self, Holding, LeaseError};
use super::page;
use crate::books::Db;
use crate::cli::FleetAction;
use crate::config;
use crate::exit::Exit;
use crate::http;
use crate::observe::text::{clean, hash_rate};
use crate::shutdown::Shutdown;

/// What `adit fleet` says.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// All front ends.
    List(Vec<Holding>),
    /// The one whose number is free now.
    Released(Box<Holding>),
}

/// Runs an accountant until `shutdown`.
///
/// # Errors
/// When NATS or the database is not named, or of no use.
pub async fn accountant(
    settings: &config::Settings,
    shutdown: Shutdown,
    say: impl Fn(&str),
) -> Result<std::sync::Arc<AccountantPicture>, Exit> {
    let nats = nats(settings)?;
    let db = settings.books.db.within(&settings.data);
    if let Db::Off | Db::Sqlite(_) = &db
        && !matches!(settings.books.db, Db::Sqlite(Some(_)))
    {
        return Err(Exit::usage("there is no database to count into")
            .help("give one: --db postgres://USER:PASSWORD@HOST:PORT/DATABASE, or --db sqlite:PATH"));
    }
    let (place, from) = (db.to_string(), nats.place());
    // What an operator must mend is told at once; a server that is away may come.
    let first = {
        let db = db.clone();
        tokio::task::spawn_blocking(move || db.open().map(drop))
            .await
            .map_err(|error| Exit::failed(format!("the database cannot be opened: {error}")))?
    };
    match first {
        Err(error) if !error.may_pass() => return Err(error.into()),
        Err(error) => tracing::warn!(%error, "waiting for the database"),
        Ok(()) => {}
    }
    let server = http::bind_if_asked(&settings.http).await?;
    serve(nats, db.clone(), shutdown.clone(), |accountant| {
        say(&format!("counting what comes over {from} into {place}"));
        let Some(server) = server else { return Ok(()) };
        say(&format!("page  {}", server.url()));
        page::serve(server, settings, &db, accountant.picture(), shutdown)
    })
    .await
}

/// Lists front ends, or frees a number.
///
/// # Errors
/// When NATS is not named or does not answer, or the number cannot be freed.
pub async fn fleet(settings: &config::Settings, action: &FleetAction) -> Result<Said, Exit> {
    let nats = nats(settings)?;
    let away = |error: super::BusError| {
        Exit::failed(error.to_string())
            .help("start NATS with JetStream (`nats-server -js`), or look at nats.url")
    };
    let bus = Bus::connect(&nats, "adit fleet").await.map_err(away)?;
    match action {
        FleetAction::List => lease::all(&bus).await.map(Said::List).map_err(away),
        FleetAction::Release { front_end } => {
            let freed = lease::release(&bus, *front_end).await;
            freed
                .map(|holder| Said::Released(holder.into()))
                .map_err(|error| match error {
                    LeaseError::Away(error) => away(error),
                    other => Exit::failed(other.to_string())
                        .help("only a front end that has ended gives its number up"),
                })
        }
    }
}

fn nats(settings: &config::Settings) -> Result<Settings, Exit> {
    Settings::of(&settings.nats).ok_or_else(|| {
        Exit::usage("there is no NATS server to ask").help("give one: --nats nats://HOST:4222")
    })
}

impl Said {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Released(holding) => format!(
                "front end {} is free; it belonged to the data folder {} on {}",
                holding.front_end,
                holding.ledger,
                clean(&holding.host)
            ),
            Self::List(all) if all.is_empty() => "no front end holds a number".into(),
            Self::List(all) => {
                let mut text =
                    String::from("number  state    channels  hash rate    height   not counted  where\n");
                for it in all {
                    let state = if it.stopped { "stopped" } else { "runs" };
                    // A line of text cannot fail to be written.
                    let _ = writeln!(
                        text,
                        "{:>6}  {state:<7}  {:>8}  {:<11}  {:>7}  {:>11}  {} {}",
                        it.front_end,
                        it.channels,
                        hash_rate(it.hash_rate as f64),
                        it.height,
                        it.durable.saturating_sub(it.booked),
                        clean(&it.host),
                        clean(&it.url)
                    );
                }
                text.trim_end().into()
            }
        }
    }
}
