//! The source over anybody's template provider: in both suites, and when the provider hangs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit::config::{Settings, Sources};
use adit::provider::Provider;
use adit_net::{Clock, Dialling, Url};
use adit_node::{Constraints, Event, Node, spawn, tdp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// How soon a provider that hangs must be known as one.
const HANG_LIMIT: Duration = Duration::from_secs(10);

async fn provider(data: &std::path::Path, transactions: &str) -> Provider {
    let mut sources = Sources {
        pays_nobody: true,
        ..Default::default()
    };
    for (key, value) in [
        ("data", data.to_str().unwrap()),
        ("provider.listen", "127.0.0.1:0"),
        // No block is found here, and a template comes every five seconds at the most.
        ("node", "embedded:40"),
        ("embedded.transactions", transactions),
    ] {
        sources.flag(key, value, "test");
    }
    Provider::start(&Settings::load(&sources).unwrap()).await.unwrap()
}

fn source(url: Url) -> Node {
    let settings = tdp::Settings {
        url,
        constraints: Constraints::default(),
        dialling: Dialling::default(),
        clock: Clock::system(),
    };
    spawn(tdp::Tdp::new(settings)).unwrap()
}

async fn event<T>(node: &mut Node, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(node.events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(LIMIT, found)
        .await
        .expect("an event in time")
}

async fn transactions(node: &mut Node) -> usize {
    event(node, |event| match event {
        Event::Transactions { transactions, .. } => Some(transactions.len()),
        _ => None,
    })
    .await
}

/// The provider's second URL leads to the same templates over the handshake of the 2022 draft.
#[tokio::test]
async fn templates_come_over_the_draft_suite_too() {
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), FEW).await;
    assert_ne!(provider.url(), provider.url_draft2022());
    for url in [provider.url(), provider.url_draft2022()] {
        let mut node = source(url.clone());
        assert!(transactions(&mut node).await > 0, "{url}");
    }
}

/// What a wire does with the bytes of the provider.
#[derive(Default)]
struct Wire {
    /// It holds them back: connections stay open and say nothing.
    silent: AtomicBool,
    /// So many more go through, and then that connection says nothing any more; none: all do.
    cut_after: Mutex<Option<usize>>,
    /// A connection was cut.
    cut: Notify,
    /// It lets a little through at a time.
    thin: bool,
}

impl Wire {
    /// A way to the provider over this wire.
    async fn to(self: &Arc<Self>, url: &Url) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, wire) = (format!("{}:{}", url.host, url.port), Arc::clone(self));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, wire) = (to.clone(), Arc::clone(&wire));
                tokio::spawn(async move {
                    let far = TcpStream::connect(to).await.unwrap();
                    let (near, far) = (near.into_split(), far.into_split());
                    tokio::join!(wire.there(near.0, far.1), wire.back(far.0, near.1));
                });
            }
        });
        Url { port, ..url.clone() }
    }

    async fn there(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            self.hold().await;
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    }

    async fn back(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; if self.thin { THIN_BYTES } else { 1 << 16 }];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            self.hold().await;
            if self.thin {
                tokio::time::sleep(THIN_EVERY).await;
            }
            let passed = self.spend(count);
            if to.write_all(&bytes[..passed]).await.is_err() {
                return;
            }
            if passed < count {
                self.cut.notify_one();
                std::future::pending::<()>().await;
            }
        }
    }

    async fn hold(&self) {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// How many of these bytes go through. What comes after a cut is a new connection, and whole.
    fn spend(&self, count: usize) -> usize {
        let mut left = self.cut_after.lock().unwrap();
        let passed = left.map_or(count, |left| left.min(count));
        *left = left.filter(|_| passed == count).map(|left| left - passed);
        passed
    }
}

/// A thin line: 20 kilobytes a second.
const THIN_BYTES: usize = 8 << 10;
const THIN_EVERY: Duration = Duration::from_millis(400);
/// Transactions of a template: some, and 300 kilobytes of them.
const FEW: &str = "50";
const MANY: &str = "2000";
/// More than handshake, setup and template, and less than the transactions.
const INSIDE: usize = 24 << 10;

async fn no_sign_of_life(node: &mut Node) {
    let reason = event(node, |event| match event {
        Event::Down { reason } => Some(reason),
        Event::Transactions { .. } => panic!("they were cut"),
        _ => None,
    });
    let reason = reason.await;
    assert!(reason.contains("no sign of life"), "{reason}");
}

/// A quiet provider is asked for a sign of life and kept; one that hangs is left in time, and taken back.
#[tokio::test]
async fn a_provider_that_hangs_is_left_within_ten_seconds() {
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), FEW).await;
    let wire = Arc::new(Wire::default());
    let mut node = source(wire.to(provider.url()).await);
    transactions(&mut node).await;
    wire.silent.store(true, Ordering::SeqCst);
    let since = Instant::now();
    no_sign_of_life(&mut node).await;
    assert!(since.elapsed() < HANG_LIMIT, "{:?}", since.elapsed());
    wire.silent.store(false, Ordering::SeqCst);
    event(&mut node, |event| matches!(event, Event::Up { .. }).then_some(())).await;
    assert!(transactions(&mut node).await > 0);
}

/// In the middle of the transactions of a template, which are one message of many bytes.
#[tokio::test]
async fn a_provider_that_hangs_inside_a_message_is_left_within_ten_seconds() {
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), MANY).await;
    let wire = Arc::new(Wire {
        cut_after: Mutex::new(Some(INSIDE)),
        ..Wire::default()
    });
    let mut node = source(wire.to(provider.url()).await);
    event(&mut node, |event| matches!(event, Event::Up { .. }).then_some(())).await;
    wire.cut.notified().await;
    let since = Instant::now();
    no_sign_of_life(&mut node).await;
    assert!(since.elapsed() < HANG_LIMIT, "{:?}", since.elapsed());
    assert!(transactions(&mut node).await > 0, "the next connection is whole");
}

/// A line over which the same takes longer than a provider may be silent: it is not.
#[tokio::test]
async fn a_provider_on_a_thin_line_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), MANY).await;
    let wire = Arc::new(Wire {
        thin: true,
        ..Wire::default()
    });
    let mut node = source(wire.to(provider.url()).await);
    event(&mut node, |event| matches!(event, Event::Up { .. }).then_some(())).await;
    let since = Instant::now();
    let count = event(&mut node, |event| match event {
        Event::Transactions { transactions, .. } => Some(transactions.len()),
        Event::Down { reason } => panic!("{reason}"),
        _ => None,
    });
    assert!(count.await > 0);
    assert!(since.elapsed() > HANG_LIMIT, "too fast to show anything");
}
