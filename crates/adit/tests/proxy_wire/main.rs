//! A mining proxy between miners and pools of ours, over real encrypted sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod aggregate;
mod hose;
mod old_pool;
mod silence;
mod split;
mod stratum_v1;
#[path = "../support/mod.rs"]
mod support;
mod told;

use std::time::Duration;

use adit::observe::{Figures, Uplink};
use adit::pool::Pool;
use adit::proxy::{Patience, Proxy};
use adit::uplink::{quiet, supervisor};
use support::miner::{How, Miner};
use support::{SOON, folder, settings};
use tempfile::TempDir;

/// A proxy of this process with its data folder.
struct Between {
    _data: TempDir,
    proxy: Proxy,
}

/// A pool that wants a share from nearly every hash, however fast we are.
const EASY: &[(&str, &str)] = &[("shares.per_minute", "6000")];

/// The pool as a Stratum V1 miner types it in, with the smallest difficulty, which then stays.
fn old(pool: &Pool, user: &str) -> String {
    let url = pool.url();
    format!(
        "stratum+tcp://{}:{},user={user},password=x,d=0.0000000001",
        url.host, url.port
    )
}

/// No patience, so that a test is quick.
fn patience() -> Patience {
    Patience {
        upstreams: supervisor::Settings {
            connect_timeout: Duration::from_secs(5),
            retry: Duration::from_millis(20),
            retry_max: Duration::from_millis(200),
            settle: Duration::from_millis(300),
            start_grace: Duration::from_millis(100),
            ..supervisor::Settings::default()
        },
        ..Patience::default()
    }
}

/// The same with those that say nothing.
fn hasty() -> Patience {
    Patience {
        upstreams: supervisor::Settings {
            // A connection that was begun in a black hole is not waited for.
            connect_timeout: Duration::from_secs(2),
            ..patience().upstreams
        },
        quiet: quiet::Patience {
            ask_after: Duration::from_millis(150),
            answer_within: Duration::from_millis(1500),
        },
        slice: Duration::from_millis(150),
    }
}

impl Between {
    async fn open(upstreams: &[String]) -> Self {
        Self::open_with(upstreams, &[], patience()).await
    }

    async fn open_with(upstreams: &[String], more: &[(&str, &str)], patience: Patience) -> Self {
        let data = folder();
        let pools = upstreams.join(" ");
        let mut keys = vec![
            ("upstream.pools", &*pools),
            ("upstream.user", "the.farm"),
            // Every hash is a share of the pool, too.
            ("upstream.hash_rate", "1"),
        ];
        keys.extend(more);
        let settings = adit::config::Settings {
            nodeless: true,
            ..settings(data.path(), &keys)
        };
        let proxy = Proxy::start(&settings, patience).await.unwrap();
        Self { _data: data, proxy }
    }

    async fn miner(&self, how: How, name: &str) -> Miner {
        Miner::start(self.proxy.pool().url(), how, name).await
    }

    /// Waits until the proxy does as wished.
    async fn state(&self, what: &str, wish: impl FnMut(&Uplink) -> bool) -> Figures {
        let mut picture = self.proxy.picture();
        let wished = tokio::time::timeout(SOON, picture.wait_for(wish)).await;
        match wished {
            Ok(picture) => picture.unwrap().figures,
            Err(_) => panic!(
                "{what}: not within {SOON:?}; at the end {:?}",
                self.proxy.picture().borrow()
            ),
        }
    }

    /// Waits until so many shares have their answer from above, or needed none; none was refused or came too late.
    async fn answered(&self, count: u64) -> Figures {
        let answered = |it: &Figures| it.shares_accepted + it.shares_refused + it.shares_too_easy;
        let figures = self
            .state("all are answered", |now| answered(&now.figures) >= count)
            .await;
        assert_eq!((figures.shares_refused, figures.shares_stale), (0, 0));
        figures
    }
}
