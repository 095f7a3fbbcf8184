//! Notices of new blocks from the node's own `-blocknotify` command: a datagram wakes the source.
//!
//! What stands in it does not matter and is not believed: the node is asked for its tip. So the worst that another program
//! on this machine can do is to have the node asked [`WAKES_APART`] apart.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A block's hash and its line end; what is longer is cut.
const NOTICE_BYTES_MAX: usize = 128;
/// The node is not asked more often because of notices.
const WAKES_APART: Duration = Duration::from_millis(20);
/// Wait before the address is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Hears notices, for ever; those that come while nobody waits are heard once.
pub(super) struct Notices {
    heard: Rc<Notify>,
    listening: JoinHandle<()>,
}

impl Notices {
    /// Listens at `address`. One that cannot be had only costs speed: the tip is looked at anyway.
    pub(super) fn new(address: SocketAddr) -> Self {
        let heard = Rc::new(Notify::new());
        let listening = tokio::task::spawn_local(listen(address, Rc::clone(&heard)));
        Self { heard, listening }
    }

    /// Ready when a notice has come.
    pub(super) async fn next(&self) {
        self.heard.notified().await;
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(address: SocketAddr, heard: Rc<Notify>) {
    loop {
        if let Err(error) = hear(address, &heard).await {
            tracing::warn!(%address, %error, "cannot listen for notices of blocks; looking at the tip instead");
        }
        sleep(AGAIN).await;
    }
}

async fn hear(address: SocketAddr, heard: &Notify) -> std::io::Result<()> {
    let socket = UdpSocket::bind(address).await?;
    let mut notice = [0; NOTICE_BYTES_MAX];
    loop {
        socket.recv_from(&mut notice).await?;
        heard.notify_one();
        sleep(WAKES_APART).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn any_datagram_is_a_notice() {
        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        drop(taken);
        let local = tokio::task::LocalSet::new();
        let scenario = local.run_until(async {
            let notices = Notices::new(address);
            let node = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // Until the socket is bound, nobody hears.
            loop {
                let _ = node.send_to(&[b'0'; 1_000], address).await;
                if timeout(WAKES_APART, notices.next()).await.is_ok() {
                    break;
                }
            }
            while timeout(WAKES_APART * 3, notices.next()).await.is_ok() {}
            node.send_to(b"", address).await.unwrap();
            notices.next().await;
        });
        timeout(Duration::from_secs(20), scenario)
            .await
            .expect("heard in time");
    }
}
