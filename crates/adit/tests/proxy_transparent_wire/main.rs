//! A transparent proxy between devices and pools, over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod extensions;
mod farm;
mod outages;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::time::Duration;

use adit::observe::{Status, Uplink};
use adit::proxy::transparent::Transparent;
use adit::uplink::supervisor;
use adit_net::Url;
use support::miner::{How, Miner};
use support::{SOON, folder, settings};
use tempfile::TempDir;

/// A proxy of this process with its data folder.
struct Between {
    _data: TempDir,
    proxy: Transparent,
}

/// No patience, so that a test is quick.
fn patience() -> supervisor::Settings {
    supervisor::Settings {
        connect_timeout: Duration::from_secs(5),
        retry: Duration::from_millis(20),
        retry_max: Duration::from_millis(200),
        settle: Duration::from_millis(300),
        start_grace: Duration::from_millis(100),
        ..supervisor::Settings::default()
    }
}

impl Between {
    async fn open(upstreams: &[&Url]) -> Self {
        Self::with(upstreams, &[]).await
    }

    async fn with(upstreams: &[&Url], changes: &[(&str, &str)]) -> Self {
        let data = folder();
        let pools: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
        let pools = pools.join(" ");
        let keys = [
            &[("upstream.pools", &*pools), ("proxy.mode", "transparent")],
            changes,
        ]
        .concat();
        let settings = adit::config::Settings {
            nodeless: true,
            ..settings(data.path(), &keys)
        };
        let proxy = Transparent::start(&settings, patience()).await.unwrap();
        Self { _data: data, proxy }
    }

    async fn miner(&self, how: How, name: &str) -> Miner {
        Miner::start(self.proxy.url(), how, name).await
    }

    /// Waits until the upstreams are as wished.
    async fn state(&self, what: &str, wish: impl FnMut(&Uplink) -> bool) -> Uplink {
        let mut picture = self.proxy.picture();
        let wished = tokio::time::timeout(SOON, picture.wait_for(wish)).await;
        match wished {
            Ok(picture) => picture.unwrap().clone(),
            Err(_) => panic!(
                "{what}: not within {SOON:?}; at the end {:?}",
                self.proxy.picture().borrow()
            ),
        }
    }

    /// Waits until the page is as wished.
    async fn status(&self, what: &str, mut wish: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.proxy.status();
        let wished = tokio::time::timeout(SOON, status.wait_for(|now| wish(now))).await;
        match wished {
            Ok(status) => Status::clone(&status.unwrap()),
            Err(_) => panic!("{what}: not within {SOON:?}"),
        }
    }

    async fn close(self) -> std::sync::Arc<Status> {
        let stopped = tokio::time::timeout(SOON, self.proxy.stop());
        stopped.await.expect("it stops in time").unwrap()
    }
}
