//! The node's own publisher of new blocks (`-zmqpubhashblock`), faster than any poll.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use zeromq::{Socket, SocketRecv, SubSocket};

/// The topic of block hashes.
const TOPIC: &str = "hashblock";
/// Wait before the publisher is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Hears of new blocks, for ever; what is heard while nobody waits is heard once.
pub(super) struct Blocks {
    heard: Rc<Notify>,
    listening: JoinHandle<()>,
}

impl Blocks {
    /// Listens at `tcp://host:port`. A publisher that is away only costs speed: the tip is looked at anyway.
    pub(super) fn new(publisher: &str) -> Self {
        let heard = Rc::new(Notify::new());
        let listening = tokio::task::spawn_local(listen(publisher.to_owned(), Rc::clone(&heard)));
        Self { heard, listening }
    }

    /// Ready when a block was published.
    pub(super) async fn next(&self) {
        self.heard.notified().await;
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(publisher: String, heard: Rc<Notify>) {
    loop {
        if let Err(error) = hear(&publisher, &heard).await {
            tracing::debug!(%publisher, %error, "the node's publisher of blocks is away; looking at the tip instead");
        }
        sleep(AGAIN).await;
    }
}

async fn hear(publisher: &str, heard: &Notify) -> zeromq::ZmqResult<()> {
    let mut socket = SubSocket::new();
    socket.connect(publisher).await?;
    socket.subscribe(TOPIC).await?;
    loop {
        let message = socket.recv().await?;
        if message.get(0).is_some_and(|topic| &topic[..] == TOPIC.as_bytes()) {
            heard.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;
    use zeromq::{PubSocket, SocketSend, ZmqMessage};

    use super::*;

    #[tokio::test]
    async fn a_published_block_is_heard_and_other_topics_are_not() {
        let mut publisher = PubSocket::new();
        let address = publisher.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        let local = tokio::task::LocalSet::new();
        let scenario = local.run_until(async {
            let blocks = Blocks::new(&address);
            let say = async |publisher: &mut PubSocket, topic: &str| {
                let mut message = ZmqMessage::from(topic);
                message.push_back(vec![7; 32].into());
                publisher.send(message).await.unwrap();
            };
            // Until the subscription has arrived, nothing does.
            loop {
                say(&mut publisher, "hashtx").await;
                say(&mut publisher, TOPIC).await;
                if timeout(Duration::from_millis(20), blocks.next()).await.is_ok() {
                    break;
                }
            }
            while timeout(Duration::from_millis(100), blocks.next()).await.is_ok() {}
            say(&mut publisher, "hashtx").await;
            assert!(timeout(Duration::from_millis(200), blocks.next()).await.is_err());
            say(&mut publisher, TOPIC).await;
            blocks.next().await;
        });
        timeout(Duration::from_secs(20), scenario)
            .await
            .expect("a block is heard in time");
    }
}
