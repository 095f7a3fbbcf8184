//! A piece of the way between proxy and pool that can be cut, or go on as if nothing were while nothing comes through.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use adit_net::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They come through.
    Open,
    /// They are taken, and vanish; sockets stay.
    Swallow,
    /// Every socket is reset, and nobody answers.
    Cut,
}

/// A place that leads to a pool.
pub(crate) struct Hose {
    at: SocketAddr,
    flow: watch::Sender<Flow>,
    /// What came from below.
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Drop for Hose {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hose {
    /// To the pool at this URL.
    pub(crate) async fn to(url: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (flow, state) = watch::channel(Flow::Open);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let to = format!("{}:{}", url.host, url.port);
        let task = tokio::spawn(accept(listener, to, state, Arc::clone(&heard)));
        Self {
            at,
            flow,
            heard,
            task,
        }
    }

    /// The pool's URL, by way of this.
    pub(crate) fn url(&self, of: &Url) -> Url {
        Url {
            host: self.at.ip().to_string(),
            port: self.at.port(),
            key: of.key,
        }
    }

    /// Where it begins.
    pub(crate) fn place(&self) -> String {
        self.at.to_string()
    }

    pub(crate) fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// All that came from below so far.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, to: String, flow: watch::Receiver<Flow>, heard: Arc<Mutex<Vec<u8>>>) {
    loop {
        let (below, _) = listener.accept().await.unwrap();
        if *flow.borrow() == Flow::Cut {
            reset(below);
            continue;
        }
        // In a black hole a connection is made, and leads nowhere.
        let Ok(above) = TcpStream::connect(&to).await else {
            reset(below);
            continue;
        };
        below.set_nodelay(true).unwrap();
        above.set_nodelay(true).unwrap();
        let (below_read, below_write) = below.into_split();
        let (above_read, above_write) = above.into_split();
        tokio::spawn(carry(
            below_read,
            above_write,
            flow.clone(),
            Some(Arc::clone(&heard)),
        ));
        tokio::spawn(carry(above_read, below_write, flow.clone(), None));
    }
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
    heard: Option<Arc<Mutex<Vec<u8>>>>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            cut = flow.wait_for(|flow| *flow == Flow::Cut) => {
                drop(cut);
                let _ = to.as_ref().set_zero_linger();
                return;
            }
            read = from.read(&mut bytes) => read,
        };
        let Ok(count @ 1..) = read else { return };
        if *flow.borrow() == Flow::Swallow {
            continue;
        }
        let got = &bytes[..count];
        if let Some(heard) = &heard {
            heard.lock().unwrap().extend_from_slice(got);
        }
        if to.write_all(got).await.is_err() {
            return;
        }
    }
}
