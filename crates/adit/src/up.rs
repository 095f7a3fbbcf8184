//! `adit up`: node, pool and one mining device in one process, encrypted between them as real peers would be.

use std::sync::Arc;
use std::time::Duration;

use adit_net::Clock;
use serde::Serialize;
use tokio::sync::watch;

use crate::config::{Place, Settings};
use crate::device::{self, Live};
use crate::exit::Exit;
use crate::observe::{Progress, Screen, Status};
use crate::pool::Pool;
use crate::shutdown::{Shutdown, Stop};

/// How long the node may take to show the last block as its tip.
const TIP_PATIENCE: Duration = Duration::from_secs(5);

/// What `adit up` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Blocks of ours that the node accepted.
    pub blocks: u64,
    /// Shares accepted, all of them on disk.
    pub shares_accepted: u64,
    /// Shares refused.
    pub shares_rejected: u64,
    /// Hash of the node's tip at the end, as explorers write it; empty if it never gave a template.
    pub tip: String,
    /// Where other devices could connect meanwhile.
    pub pool_url: String,
    /// Milliseconds from start to end.
    pub elapsed_ms: u64,
}

/// Runs until `shutdown`, until `until_blocks` blocks are accepted, or until an operator drains it. With `json`, stdout is left to the caller.
///
/// # Errors
/// See [`Pool::start`], [`device::run`] and [`Pool::stop`].
pub async fn run(
    settings: &Settings,
    until_blocks: Option<u64>,
    json: bool,
    screen: &Screen,
    mut shutdown: Shutdown,
) -> Result<Report, Exit> {
    let clock = Clock::system();
    let start = clock.now();
    let mut pool = Pool::start(settings, true).await?;
    greet(&pool, settings, json, screen);

    let (device_stop, device_shutdown) = Shutdown::new();
    let device = tokio::spawn(device::run(
        device_settings(settings, &pool),
        Arc::new(Live::default()),
        device_shutdown,
    ));
    let (view_stop, view_shutdown) = Shutdown::new();
    let view = tokio::spawn(Progress::new(screen, json).follow(pool.status(), view_shutdown));

    let enough = enough_blocks(pool.status(), until_blocks);
    let mut lost = None;
    let number_lost = pool.number_lost();
    let enough = async {
        tokio::select! {
            () = enough => {}
            exit = number_lost => lost = Some(exit),
        }
    };
    let wished = pool.drain_wished();
    let (device_end, wish) = mine(device, device_stop, enough, wished, &mut shutdown).await;
    // Our own device has left: it would go on elsewhere only to be stopped there.
    if let Some(place) = wish {
        pool.leave(place, settings, &mut shutdown).await;
    } else if until_blocks.is_some() && !shutdown.is_requested() {
        all_answered(pool.status()).await;
    }
    view_stop.stop();
    view.await
        .map_err(|error| Exit::failed(format!("the view broke: {error}")))?;
    let pool_url = pool.url().to_string();
    let last = pool.stop().await?;
    if let Some(exit) = lost {
        return Err(exit);
    }
    device_end?;
    Ok(Report {
        blocks: last.blocks.accepted,
        shares_accepted: last.shares.accepted,
        shares_rejected: last.shares.rejected,
        tip: last.node.tip.clone(),
        pool_url,
        elapsed_ms: u64::try_from((clock.now() - start).as_millis()).unwrap_or(u64::MAX),
    })
}

/// Lets the device mine until there are enough blocks, somebody wishes to stop or to drain the pool, or it fails. A
/// drain's place comes back.
async fn mine(
    mut device: tokio::task::JoinHandle<Result<device::Report, Exit>>,
    stop: Stop,
    enough: impl Future<Output = ()>,
    drain: impl Future<Output = Option<Place>>,
    shutdown: &mut Shutdown,
) -> (Result<(), Exit>, Option<Option<Place>>) {
    let wish = tokio::select! {
        () = enough => None,
        () = shutdown.requested() => None,
        place = drain => Some(place),
        ended = &mut device => return (flatten(ended), None),
    };
    stop.stop();
    (flatten(device.await), wish)
}

fn flatten(ended: Result<Result<device::Report, Exit>, tokio::task::JoinError>) -> Result<(), Exit> {
    ended
        .map_err(|error| Exit::failed(format!("the device broke: {error}")))?
        .map(drop)
}

fn device_settings(settings: &Settings, pool: &Pool) -> device::Settings {
    device::Settings {
        upstream: pool.url().clone(),
        user: settings.device.user.clone(),
        threads: settings
            .device
            .threads_on(std::thread::available_parallelism().map_or(1, usize::from)),
        channel: if settings.pool.extended_only {
            device::Channel::Extended
        } else {
            device::Channel::Standard
        },
        until_shares: None,
        dialling: settings.dialling(),
        hash_rate: None,
        extensions: device::Extensions::of(settings),
    }
}

/// Done when so many blocks are accepted; without a number never.
async fn enough_blocks(mut status: watch::Receiver<Arc<Status>>, until: Option<u64>) {
    let Some(until) = until else {
        return std::future::pending().await;
    };
    // An error means that the pool has stopped: nothing more will come.
    let _ = status.wait_for(|now| now.blocks.accepted >= until).await;
}

/// Done when the node has said what it thinks of every block, and its tip is not below the last one. The device must
/// have stopped: where blocks are easy, the next one is found before this one is the tip.
async fn all_answered(mut status: watch::Receiver<Arc<Status>>) {
    let caught_up = |now: &Arc<Status>| {
        let last = now.blocks.last.as_ref().map_or(0, |last| last.height);
        now.blocks.pending == 0 && now.node.height >= last
    };
    let _ = tokio::time::timeout(TIP_PATIENCE, status.wait_for(caught_up)).await;
}

fn greet(pool: &Pool, settings: &Settings, json: bool, screen: &Screen) {
    let mut lines = vec![format!("pool  {}", pool.url())];
    lines.extend(pool.more_urls());
    if let Some(http) = pool.http() {
        lines.push(format!("page  http://{http}/"));
    }
    lines.push(format!("data  {}", settings.data.display()));
    for line in lines {
        if json {
            screen.note(&line)
        } else {
            screen.say(&line)
        }
    }
}
