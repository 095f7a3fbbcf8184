//! The source over anybody's template provider: in both suites, and when the provider hangs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit::config::{Settings, Sources};
use adit::provider::Provider;
use adit_net::{Clock, Dialling, Url};
use adit_node::{Constraints, Event, Node, spawn, tdp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// How soon a provider that hangs must be known as one.
const HANG_LIMIT: Duration = Duration::from_secs(10);

async fn provider(data: &std::path::Path) -> Provider {
    let mut sources = Sources {
        pays_nobody: true,
        ..Default::default()
    };
    for (key, value) in [
        ("data", data.to_str().unwrap()),
        ("provider.listen", "127.0.0.1:0"),
        // No block is found here, and a template comes every five seconds at the most.
        ("node", "embedded:40"),
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
    let provider = provider(data.path()).await;
    assert_ne!(provider.url(), provider.url_draft2022());
    for url in [provider.url(), provider.url_draft2022()] {
        let mut node = source(url.clone());
        assert!(transactions(&mut node).await > 0, "{url}");
    }
}

/// Passes bytes on in both directions, until it is told to hold them back: then connections stay open and say nothing.
async fn wire(to: String, silent: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (to, silent) = (to.clone(), Arc::clone(&silent));
            tokio::spawn(async move {
                let far = TcpStream::connect(to).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                tokio::join!(pass(near.0, far.1, &silent), pass(far.0, near.1, &silent));
            });
        }
    });
    port
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, silent: &AtomicBool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// A quiet provider is asked for a sign of life and kept; one that hangs is left in time, and taken back.
#[tokio::test]
async fn a_provider_that_hangs_is_left_within_ten_seconds() {
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path()).await;
    let silent = Arc::new(AtomicBool::new(false));
    let url = provider.url().clone();
    let port = wire(format!("{}:{}", url.host, url.port), Arc::clone(&silent)).await;
    let mut node = source(Url { port, ..url });
    transactions(&mut node).await;
    silent.store(true, Ordering::SeqCst);
    let since = Instant::now();
    let reason = event(&mut node, |event| match event {
        Event::Down { reason } => Some(reason),
        _ => None,
    });
    let reason = reason.await;
    assert!(reason.contains("no sign of life"), "{reason}");
    assert!(since.elapsed() < HANG_LIMIT, "{:?}", since.elapsed());
    silent.store(false, Ordering::SeqCst);
    event(&mut node, |event| matches!(event, Event::Up { .. }).then_some(())).await;
    assert!(transactions(&mut node).await > 0);
}
