//! The negotiator as a whole, over loopback: a device below it, upstreams of our own making above it, which keep to the
//! protocol or break it in one point.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod fallback;
mod mining;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use adit::config::{Settings, Sources};
use adit::device::{self, Channel, Live};
use adit::negotiator::Negotiator;
use adit::observe::Uplink;
use adit::shutdown::{Shutdown, Stop};
use tempfile::TempDir;

/// What ought to happen happens within this, on a machine busy with other things too.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// A negotiator of this process with a device below it.
pub(crate) struct Farm {
    _data: TempDir,
    pub(crate) negotiator: Negotiator,
    live: Arc<Live>,
    _stops: Vec<Stop>,
}

impl Farm {
    /// On an embedded chain, below these upstreams, with one device for each kind of channel.
    pub(crate) async fn open(upstreams: &[&str], mode: &str, channels: &[Channel]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut sources = Sources::default();
        for (key, value) in [
            ("data", data.path().to_str().unwrap()),
            ("listen", "127.0.0.1:0"),
            ("http.listen", "off"),
            ("node", "embedded:60"),
            ("shares.vardiff", "false"),
            ("shares.per_minute", "600"),
            ("shares.work_min", "50000"),
            ("limits.shares_per_second", "0"),
            ("upstream.pools", &upstreams.join(" ")),
            ("upstream.hash_rate", "20000"),
            ("negotiator.mode", mode),
        ] {
            sources.flag(key, value, "test");
        }
        let settings = Settings::load(&sources).unwrap();
        let negotiator = Negotiator::start(&settings, false).await.unwrap();
        let live = Arc::new(Live::default());
        let mut stops = Vec::new();
        for channel in channels {
            let (stop, shutdown) = Shutdown::new();
            let device = device::Settings {
                upstream: negotiator.url().clone(),
                user: "test.device".to_owned(),
                threads: 1,
                channel: *channel,
                until_shares: None,
                dialling: adit_net::Dialling::default(),
                hash_rate: Some(20e3),
                extensions: device::Extensions::default(),
            };
            tokio::spawn(device::run(device, Arc::clone(&live), shutdown));
            stops.push(stop);
        }
        Self {
            _data: data,
            negotiator,
            live,
            _stops: stops,
        }
    }

    /// Waits until the picture upwards is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Uplink) -> bool) -> Uplink {
        let mut picture = self.negotiator.picture();
        let seen = tokio::time::timeout(SOON, picture.wait_for(|picture| wanted(picture)));
        match seen.await {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!(
                "{what}: not within {SOON:?}: {:?}",
                self.negotiator.picture().borrow()
            ),
        }
    }

    /// Waits until the devices have this many more accepted shares than now.
    pub(crate) async fn goes_on(&self, more: u64) {
        let goal = self.live.accepted() + more;
        let reached = async {
            while self.live.accepted() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, reached)
            .await
            .expect("the miners stand still");
    }

    /// No device had to connect again, and none of its shares was refused.
    pub(crate) async fn close(self, devices: u64) {
        let last = tokio::time::timeout(SOON, self.negotiator.stop())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((last.connections.accepted, self.live.rejected()), (devices, 0));
    }
}
