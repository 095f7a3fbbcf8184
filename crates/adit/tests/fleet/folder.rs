//! A front end without miners: a journal that somebody writes into.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adit::fleet::{Settings, Shipper};
use adit::shutdown::{Shutdown, Stop};
use adit_ledger::record::Share;
use adit_ledger::verify::JOURNAL_FOLDER;
use adit_ledger::{DataLock, FileDisk, Lane, Writer, journal, writer};
use tempfile::TempDir;

use crate::transport::until;

pub(crate) struct Folder {
    folder: TempDir,
    pub(crate) front_end: u16,
    writer: Option<Writer>,
    lane: Option<Lane>,
    _lock: Option<DataLock>,
    shipper: Option<(Shipper, Stop)>,
    written: u64,
    accounts: u64,
}

impl Folder {
    pub(crate) fn new(front_end: u16) -> Self {
        Self::of(front_end, 5)
    }

    /// Its shares are those of so many accounts.
    pub(crate) fn of(front_end: u16, accounts: u64) -> Self {
        let mut it = Self {
            folder: tempfile::tempdir().unwrap(),
            front_end,
            writer: None,
            lane: None,
            _lock: None,
            shipper: None,
            written: 0,
            accounts,
        };
        it.open();
        it
    }

    /// Begins to write, as a pool does at its start.
    pub(crate) fn open(&mut self) {
        let settings = journal::Settings {
            front_end: self.front_end,
            segment_bytes_max: 1 << 20,
            ..journal::Settings::default()
        };
        let opened = adit_ledger::open(self.data(), settings, "a test", 1).unwrap();
        let time = AtomicU64::new(1_700_000_000_000_000);
        let clock = Arc::new(move || time.fetch_add(1_000, Ordering::Relaxed));
        let writer = Writer::spawn(opened.journal, writer::Settings::default(), clock).unwrap();
        self.lane = Some(writer.lane(Arc::new(|| {})));
        self.writer = Some(writer);
        self._lock = Some(opened.lock);
    }

    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn ship(&mut self, nats: Settings) {
        let (stop, shutdown) = Shutdown::new();
        let disk = FileDisk::open(&self.data().join(JOURNAL_FOLDER)).unwrap();
        let durable = self.writer.as_ref().unwrap().durable();
        let shipper = Shipper::start(nats, disk, durable, shutdown).unwrap();
        self.shipper = Some((shipper, stop));
    }

    pub(crate) fn shipping(&self) -> adit::fleet::Shipping {
        let (shipper, _) = self.shipper.as_ref().unwrap();
        shipper.picture().borrow().clone()
    }

    /// Writes shares of some accounts; they are durable when this returns.
    pub(crate) async fn write(&mut self, shares: u64) {
        let (front_end, accounts) = (self.front_end, self.accounts);
        let from = self.written;
        let lane = self.lane.as_mut().unwrap();
        let batch: Vec<Share> = (from..from + shares)
            .map(|n| share(front_end, accounts, n))
            .collect();
        self.written += shares;
        for part in batch.chunks(1_000) {
            lane.send(&mut part.to_vec()).unwrap();
        }
        let durable = self.writer.as_ref().unwrap().durable();
        let through = self.written;
        until("durable shares", || durable.next() > through).await;
    }

    /// The last record that is durable.
    pub(crate) fn last(&self) -> u64 {
        self.writer.as_ref().unwrap().durable().next() - 1
    }

    pub(crate) async fn stop_shipping(&mut self) {
        if let Some((shipper, stop)) = self.shipper.take() {
            stop.stop();
            tokio::task::spawn_blocking(|| shipper.join()).await.unwrap();
        }
    }

    /// Ends in order.
    pub(crate) async fn close(&mut self) {
        self.lane = None;
        if let Some(writer) = self.writer.take() {
            tokio::task::spawn_blocking(|| writer.stop())
                .await
                .unwrap()
                .unwrap();
        }
        self._lock = None;
    }
}

fn share(front_end: u16, accounts: u64, n: u64) -> Share {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    hash[8..10].copy_from_slice(&front_end.to_le_bytes());
    hash[16..24].copy_from_slice(&n.to_le_bytes());
    Share {
        account: u128::from(n % accounts + 1).to_be_bytes(),
        worker: n.is_multiple_of(3).then_some([9; 16]),
        hash,
        work: 1 + n % 1_000,
        channel: u64::from(front_end),
        time_us: 1_700_000_000_000_000 + n * 1_000,
        ntime: 1,
        nonce: 2,
        version: 3,
        height: 4,
        is_block: false,
        solo: false,
    }
}
