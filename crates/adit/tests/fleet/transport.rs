//! What the scenarios share.

use std::time::Duration;

use adit::fleet::Settings;

/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// NATS at `url`, with names of this test's own.
pub(crate) fn nats(url: &str) -> Settings {
    Settings {
        url: url.into(),
        prefix: "test".into(),
        keep: Duration::from_secs(3600),
        replicas: 1,
    }
}

/// Waits for a condition without holding up the runtime.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "it does not come: {what}");
}
