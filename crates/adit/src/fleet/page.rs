//! What an accountant shows over HTTP: the whole pool, as its front ends say it and as the database has it.

use std::sync::Arc;

use adit_net::{Clock, Url};
use tokio::sync::watch;

use super::accountant::{AccountantPicture, LanePicture};
use super::lane::Place;
use super::lease::Holding;
use crate::books::{Books, Db};
use crate::config::Settings;
use crate::exit::Exit;
use crate::http::{Server, Views};
use crate::observe::text::count;
use crate::observe::{BooksState, BooksStatus, Channels, Endpoint, Health, Light, NodeStatus, Rates, Status};
use crate::shutdown::Shutdown;

/// Serves until `shutdown`.
pub(super) fn serve(
    server: Server,
    settings: &Settings,
    db: &Db,
    picture: watch::Receiver<Arc<AccountantPicture>>,
    shutdown: Shutdown,
) -> Result<(), Exit> {
    let books = Books::start(db.clone());
    let books = books.map_err(|error| Exit::failed(format!("no thread for the database: {error}")))?;
    let page = Page {
        clock: Clock::system(),
        status: first(settings, db),
    };
    let (tell, status) = watch::channel(Arc::new(page.status.clone()));
    let views = Views {
        books: Some(books),
        ..Views::of(status, settings)
    };
    tokio::spawn(page.run(picture, tell, shutdown.clone()));
    tokio::spawn(server.serve(views, shutdown));
    Ok(())
}

fn first(settings: &Settings, db: &Db) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION"),
        node: NodeStatus {
            spec: "none".into(),
            network: settings.network.to_core_arg().to_owned(),
            ..NodeStatus::default()
        },
        books: BooksStatus {
            place: db.to_string(),
            ..BooksStatus::default()
        },
        ..Status::default()
    }
}

struct Page {
    clock: Clock,
    status: Status,
}

impl Page {
    async fn run(
        mut self,
        mut picture: watch::Receiver<Arc<AccountantPicture>>,
        tell: watch::Sender<Arc<Status>>,
        mut shutdown: Shutdown,
    ) {
        self.status.started_at_us = self.clock.now().0;
        loop {
            let now = Arc::clone(&picture.borrow_and_update());
            self.paint(&now);
            tell.send_replace(Arc::new(self.status.clone()));
            tokio::select! {
                () = shutdown.requested() => return,
                changed = picture.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    fn paint(&mut self, now: &AccountantPicture) {
        let status = &mut self.status;
        status.taken_at_us = self.clock.now().0;
        status.uptime_ms = (status.taken_at_us - status.started_at_us) / 1000;
        let living: Vec<&Holding> = now.living().collect();
        let hash_rate: u64 = living.iter().map(|it| it.hash_rate).sum();
        status.hash_rate = Rates {
            m10: hash_rate as f64,
            ..Rates::default()
        };
        status.channels = Channels {
            standard: living.iter().map(|it| it.channels).sum(),
            extended: 0,
        };
        status.pool.endpoints = living.iter().find_map(|it| endpoint(it)).into_iter().collect();
        status.node.height = living.iter().map(|it| it.height).max().unwrap_or(0).into();
        let lanes = now.front_ends.values();
        let counting = lanes.clone().filter(|lane| lane.place == Place::Counting);
        let troubled = lanes.clone().find(|lane| !lane.trouble.is_empty());
        status.books = BooksStatus {
            state: if troubled.is_some() {
                BooksState::Down
            } else {
                BooksState::Up
            },
            reason: troubled.map(|lane| lane.trouble.clone()).unwrap_or_default(),
            place: std::mem::take(&mut status.books.place),
            position: lanes.clone().map(|lane| lane.last).sum(),
            backlog: now.backlog(),
            behind_ms: now.behind_us(status.taken_at_us) / 1000,
            records: counting.map(|lane| lane.counted).sum(),
            ..BooksStatus::default()
        };
        status.accountant = Some(now.clone());
    }
}

/// Where the devices of a front end connect.
fn endpoint(holder: &Holding) -> Option<Endpoint> {
    let url: Url = holder.url.parse().ok()?;
    Some(Endpoint {
        kind: "stratum-v2",
        key: url.key.as_ref().map(ToString::to_string),
        url: holder.url.clone(),
        host: url.host,
        port: url.port,
    })
}

impl AccountantPicture {
    /// Front ends that show signs of life.
    pub fn living(&self) -> impl Iterator<Item = &Holding> {
        let silent = |it: &&Holding| !self.silent.contains(&it.front_end);
        self.holders.iter().filter(|it| !it.stopped).filter(silent)
    }

    /// Records of a front end that the database lacks, as far as the front end has said.
    pub fn lacks(&self, front_end: u16, lane: &LanePicture) -> u64 {
        let holder = self.holders.iter().find(|it| it.front_end == front_end);
        holder.map_or(0, |it| it.durable.saturating_sub(lane.last))
    }

    /// The same of all.
    pub fn backlog(&self) -> u64 {
        let lanes = self.front_ends.iter();
        lanes.map(|(front_end, lane)| self.lacks(*front_end, lane)).sum()
    }

    /// How old the last counted record is of whoever is furthest behind, microseconds; 0 where all is counted.
    pub fn behind_us(&self, now_us: u64) -> u64 {
        let behind = self
            .front_ends
            .iter()
            .filter(|(front_end, lane)| self.lacks(**front_end, lane) > 0);
        let behind = behind.filter(|(_, lane)| lane.last_us > 0);
        behind
            .map(|(_, lane)| now_us.saturating_sub(lane.last_us))
            .max()
            .unwrap_or(0)
    }

    /// Is it working?
    pub fn health(&self) -> Health {
        let (light, reason) = self.light();
        Health { light, reason }
    }

    fn light(&self) -> (Light, String) {
        if !self.connected {
            return (
                Light::Red,
                "NATS does not answer: nothing comes to be counted".into(),
            );
        }
        let mut lanes = self.front_ends.iter();
        if let Some((front_end, lane)) = lanes.find(|(_, lane)| !lane.trouble.is_empty()) {
            return (
                Light::Red,
                format!("front end {front_end} is not counted: {}", lane.trouble),
            );
        }
        if let Some(front_end) = self.silent.first() {
            return (
                Light::Amber,
                format!("front end {front_end} shows no sign of life"),
            );
        }
        match self.front_ends.len() as u64 {
            0 => (Light::Amber, "there is no front end to count".into()),
            all => (Light::Green, format!("counting {}", count(all, "front end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> AccountantPicture {
        let lane = |last, last_us| LanePicture {
            last,
            last_us,
            place: Place::Counting,
            ..LanePicture::default()
        };
        let holder = |front_end, durable| Holding {
            front_end,
            durable,
            hash_rate: 100,
            channels: 3,
            ..Holding::default()
        };
        AccountantPicture {
            connected: true,
            front_ends: [(1, lane(90, 4_000_000)), (2, lane(50, 1_000_000))].into(),
            holders: vec![holder(1, 100), holder(2, 50)],
            silent: Vec::new(),
        }
    }

    #[test]
    fn a_page_sums_up_what_front_ends_say() {
        let settings = Settings::with(&[]).unwrap();
        let db = Db::parse("sqlite:/tmp/x").unwrap();
        let mut page = Page {
            clock: Clock::system(),
            status: first(&settings, &db),
        };
        let mut now = picture();
        page.paint(&now);
        assert_eq!(
            (page.status.hash_rate.m10, page.status.channels.standard),
            (200.0, 6)
        );
        assert_eq!((page.status.books.backlog, page.status.books.position), (10, 140));
        assert_eq!(now.behind_us(5_000_000), 1_000_000, "the second has everything");
        assert_eq!(page.status.health().reason, "counting 2 front ends");
        // One that is silent is not summed up, and pointed out.
        now.silent = vec![2];
        page.paint(&now);
        assert_eq!(page.status.channels.standard, 3);
        assert_eq!(page.status.health().light, Light::Amber);
        if let Some(lane) = now.front_ends.get_mut(&1) {
            lane.trouble = "the database is away".into();
        }
        page.paint(&now);
        assert_eq!(page.status.books.state, BooksState::Down);
        assert_eq!(page.status.health().light, Light::Red);
        now.connected = false;
        assert!(now.health().reason.contains("NATS"));
    }
}
