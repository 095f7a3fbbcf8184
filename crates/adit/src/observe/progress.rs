//! The view in the terminal: three lines that live, or plain lines where nobody can see them move.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::logs::Screen;
use super::status::{Light, Status};
use super::text::{count, duration_ms, grouped, hash_rate, scaled};
use crate::shutdown::Shutdown;

/// Between two pictures of the live view.
const LIVE: Duration = Duration::from_millis(250);
/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(10);

/// Shows a [`Status`] to a person.
#[derive(Debug)]
pub struct Progress {
    screen: Screen,
    view: Option<ProgressBar>,
    to_stderr: bool,
    blocks: u64,
    red: bool,
}

impl Progress {
    /// A view on `screen`. With `json`, stdout is kept for the result and plain lines go to stderr.
    pub fn new(screen: &Screen, json: bool) -> Self {
        let view = screen.is_live().then(|| {
            let bar = screen.bars().add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.enable_steady_tick(LIVE);
            bar
        });
        Self {
            screen: screen.clone(),
            view,
            to_stderr: json,
            blocks: 0,
            red: false,
        }
    }

    /// Follows the pool until it stops or `shutdown` is wished for.
    pub async fn follow(mut self, mut status: watch::Receiver<Arc<Status>>, mut shutdown: Shutdown) {
        let period = if self.view.is_some() { LIVE } else { PLAIN };
        let mut every = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                _ = every.tick() => {
                    let now = Arc::clone(&status.borrow_and_update());
                    self.show(&now);
                }
                changed = status.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let now = Arc::clone(&status.borrow_and_update());
                    self.event(&now);
                }
            }
        }
        self.finish();
    }

    /// Shows the picture as it is now.
    pub fn show(&mut self, status: &Status) {
        self.event(status);
        match &self.view {
            Some(view) => view.set_message(lines(status)),
            None if status.taken_at_us > 0 => self.line(&plain(status)),
            None => {}
        }
    }

    /// Says at once what should not wait for the next picture: a block, trouble, the end of trouble.
    /// With JSON wanted the log on stderr says it already.
    pub fn event(&mut self, status: &Status) {
        let before = std::mem::replace(&mut self.blocks, status.blocks.found);
        let health = status.health();
        let was_red = std::mem::replace(&mut self.red, health.light == Light::Red);
        if self.to_stderr {
            return;
        }
        if let Some(last) = status
            .blocks
            .last
            .as_ref()
            .filter(|_| status.blocks.found > before)
        {
            self.line(&format!(
                "block {} found by {}: {}",
                last.height, last.worker, last.hash
            ));
        }
        if was_red != self.red && self.view.is_none() {
            self.line(&health.reason);
        }
    }

    fn line(&self, text: &str) {
        if self.to_stderr {
            self.screen.note(text)
        } else {
            self.screen.say(text)
        }
    }

    fn finish(&mut self) {
        if let Some(view) = self.view.take() {
            view.disable_steady_tick();
            view.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style() -> ProgressStyle {
    let ticks = ["⛏ ", " ⛏", "⛏ ", "* "];
    ProgressStyle::with_template("{spinner} {msg}")
        .map(|style| style.tick_strings(&ticks))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// One line: what a log keeps.
fn plain(status: &Status) -> String {
    let blocks = &status.blocks;
    let last = blocks
        .last
        .as_ref()
        .map_or_else(String::new, |last| format!(", last at height {}", last.height));
    format!(
        "{}, {} accepted, {} rejected, {}{last}, {}, height {}, up {}",
        hash_rate(status.hash_rate.m1),
        count(status.shares.accepted, "share"),
        status.shares.rejected,
        count(blocks.found, "block"),
        count(status.connections.open, "connection"),
        status.node.height,
        duration_ms(status.uptime_ms),
    )
}

/// Three lines: what a person watches.
fn lines(status: &Status) -> String {
    let health = status.health();
    let light = match health.light {
        Light::Green => "",
        Light::Amber | Light::Red => &format!("   ! {}", health.reason),
    };
    let best = status.best_share.as_ref().map_or(0.0, |best| best.work as f64);
    format!(
        "{}   {} ({} rejected)   best {}   {}   up {}{light}\n  {}\n  {}",
        hash_rate(status.hash_rate.m1),
        count(status.shares.accepted, "share"),
        grouped(status.shares.rejected),
        scaled(best, ""),
        count(status.blocks.found, "block"),
        duration_ms(status.uptime_ms),
        last_block(status),
        status.pool.url,
    )
}

fn last_block(status: &Status) -> String {
    let Some(last) = &status.blocks.last else {
        return format!("height {}, no block found yet", status.node.height);
    };
    let ago = status.taken_at_us.saturating_sub(last.at_us) / 1000;
    format!(
        "last block {} {} ago by {}  {}",
        last.height,
        duration_ms(ago),
        last.worker,
        last.hash
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Blocks, LastBlock, Rates, Shares};

    #[test]
    fn a_picture_in_words() {
        let status = Status {
            taken_at_us: 9_000_000,
            uptime_ms: 62_000,
            hash_rate: Rates {
                m1: 2_500_000.0,
                ..Rates::default()
            },
            shares: Shares {
                accepted: 1234,
                rejected: 2,
                ..Shares::default()
            },
            blocks: Blocks {
                found: 3,
                last: Some(LastBlock {
                    height: 103,
                    at_us: 5_000_000,
                    ..LastBlock::default()
                }),
                ..Blocks::default()
            },
            ..Status::default()
        };
        assert_eq!(
            plain(&status),
            "2.5 MH/s, 1,234 shares accepted, 2 rejected, 3 blocks, last at height 103, 0 connections, height 0, up 1m 02s"
        );
        assert!(lines(&status).contains("1,234 shares (2 rejected)"));
        assert!(lines(&status).contains("last block 103 4s ago"));
        assert!(lines(&Status::default()).contains("no block found yet"));
    }

    #[tokio::test]
    async fn following_ends_with_the_pool() {
        let (publish, status) = watch::channel(Arc::new(Status::default()));
        let (_stop, shutdown) = Shutdown::new();
        let follow = tokio::spawn(Progress::new(&Screen::plain(), true).follow(status, shutdown));
        drop(publish);
        assert!(follow.await.is_ok());
    }
}
