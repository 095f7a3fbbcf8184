//! A pool as one of several front ends (docs/fleet.md): its number, and its journal on the way to accountants.

use std::time::Duration;

use adit_ledger::verify::JOURNAL_FOLDER;
use adit_ledger::{Durable, FileDisk};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::config::Settings;
use crate::exit::Exit;
use crate::fleet::exchange::Carrier;
use crate::fleet::member::{self, Policy};
use crate::fleet::{self, Fleet, Joined, Member, Sharing, Shipper, Shipping};
use crate::observe::{FleetStatus, Status};
use crate::shutdown::{Shutdown, Stop};

/// What runs beside the pool.
#[derive(Debug)]
pub(super) struct FrontEnd {
    member: Member,
    shipper: Shipper,
    stop: Stop,
    lost: watch::Receiver<Option<String>>,
    sharing: watch::Receiver<Sharing>,
}

/// How it fares, for the hub.
pub(super) struct View {
    fleet: watch::Receiver<Fleet>,
    shipping: watch::Receiver<Shipping>,
    sharing: watch::Receiver<Sharing>,
}

/// A number that is held, and where.
pub(super) type Held = (fleet::Settings, Joined);

/// Takes the number, where this pool is one of several.
pub(super) async fn join(settings: &Settings, below: bool) -> Result<Option<Held>, Exit> {
    let Some(nats) = fleet::Settings::of(&settings.nats) else {
        return Ok(None);
    };
    if below {
        return Err(Exit::usage("a proxy or job negotiator is no front end of a pool")
            .help("its journal is its own: leave --nats (nats.url) to the pools above it"));
    }
    let joined = Joined::take(&nats, &settings.data, settings.pool.front_end).await?;
    Ok(Some((nats, joined)))
}

/// What all front ends have to do alike, as a checksum.
pub(super) fn policy(settings: &Settings) -> String {
    let alike = format!(
        "{:?} {:?} {:?} {:?}",
        settings.network, settings.payout, settings.payouts, settings.coinbase
    );
    let digest = Sha256::digest(alike.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a pool ends whose number is somebody else's.
pub(super) fn no_more(reason: &str) -> Exit {
    Exit::failed(format!("this front end's number is lost: {reason}")).help(
        "two processes must never give out the same work: give each front end a data folder and a number of its own",
    )
}

impl FrontEnd {
    /// Ships the journal, carries what the treasury says to the others, and shows signs of life from then on.
    pub(super) fn start(
        (nats, joined): Held,
        settings: &Settings,
        durable: Durable,
        url: String,
        policy: Policy,
        status: watch::Receiver<std::sync::Arc<Status>>,
        carrier: Carrier,
    ) -> Result<Self, Exit> {
        let folder = settings.data.join(JOURNAL_FOLDER);
        let failed = |error: std::io::Error| Exit::failed(format!("the journal cannot be shipped: {error}"));
        let journal = FileDisk::open(&folder).map_err(failed)?;
        let (stop, shutdown) = Shutdown::new();
        let sharing = carrier.sharing();
        if settings.payouts.shares_out() {
            let every = Duration::from_millis(settings.payouts.refresh_ms);
            let number = settings.pool.front_end;
            tokio::spawn(carrier.run(joined.bus(), number, every, shutdown.clone()));
        }
        let shipper = Shipper::start(nats, journal, durable, shutdown).map_err(failed)?;
        let member = joined.start(url, policy, status, shipper.picture(), sharing.clone());
        let lost = member.lost();
        Ok(Self {
            member,
            shipper,
            stop,
            lost,
            sharing,
        })
    }

    pub(super) fn view(&self) -> View {
        View {
            fleet: self.member.picture(),
            shipping: self.shipper.picture(),
            sharing: self.sharing.clone(),
        }
    }

    /// Waits for the reason why the number is not ours any more.
    pub(super) fn lost(&self) -> impl Future<Output = String> + use<> {
        let mut lost = self.lost.clone();
        async move { member::loss(&mut lost).await }
    }

    /// Ships the end of the journal, which is closed, and gives the number back to its folder.
    pub(super) async fn stop(self) {
        self.stop.stop();
        let shipper = self.shipper;
        if tokio::task::spawn_blocking(|| shipper.join()).await.is_err() {
            tracing::error!("the thread that ships the journal broke");
        }
        self.member.stop().await;
    }
}

impl View {
    pub(super) fn picture(&self) -> FleetStatus {
        FleetStatus {
            fleet: self.fleet.borrow().clone(),
            shipping: self.shipping.borrow().clone(),
            sharing: self.sharing.borrow().clone(),
        }
    }
}
