//! A piece of the way between a client and a server that can be cut, or swallow what is sent through it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a thread looks whether its way is still there.
const LOOK: Duration = Duration::from_millis(20);

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// Sockets stay, and nothing comes through.
    Swallow,
    /// Sockets are closed, and new ones too.
    Cut,
}

/// A listener on loopback that leads to a server; it ends when it is dropped.
#[derive(Debug)]
pub struct Cut {
    at: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<Option<SocketAddr>>,
    flow: Mutex<Flow>,
    over: AtomicBool,
}

impl Cut {
    /// A way to `target`.
    ///
    /// # Panics
    /// When there is no port or no thread.
    pub fn to(target: SocketAddr) -> Self {
        let way = Self::nowhere();
        way.lead_to(target);
        way
    }

    /// A way that leads nowhere yet.
    ///
    /// # Panics
    /// When there is no port or no thread.
    pub fn nowhere() -> Self {
        let made = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        let (at, listener) = made.unwrap_or_else(|error| panic!("no port: {error}"));
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            flow: Mutex::new(Flow::Open),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &theirs));
        Self { at, shared }
    }

    /// Where clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.at
    }

    /// Where it leads.
    ///
    /// # Panics
    /// When it leads nowhere.
    pub fn target(&self) -> SocketAddr {
        lock(&self.shared.target).unwrap_or_else(|| panic!("the way leads nowhere"))
    }

    /// Leads new connections somewhere else.
    pub fn lead_to(&self, target: SocketAddr) {
        *lock(&self.shared.target) = Some(target);
    }

    /// Closes every connection, and every new one at once.
    pub fn cut(&self) {
        *lock(&self.shared.flow) = Flow::Cut;
    }

    /// Lets nothing through, while connections stay and new ones are made.
    pub fn swallow(&self) {
        *lock(&self.shared.flow) = Flow::Swallow;
    }

    /// Lets everything through that comes from now on.
    pub fn mend(&self) {
        *lock(&self.shared.flow) = Flow::Open;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn flow(&self) -> Flow {
        match self.over.load(Ordering::Relaxed) {
            true => Flow::Cut,
            false => *lock(&self.flow),
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.over.load(Ordering::Relaxed) {
        let Ok((below, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        let target = *lock(&shared.target);
        let above = target
            .filter(|_| shared.flow() != Flow::Cut)
            .map(TcpStream::connect);
        if let Some(Ok(above)) = above {
            // A pair that cannot be made is a connection that is lost.
            let _ = pair(below, above, shared);
        }
    }
}

fn pair(below: TcpStream, above: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    below.set_nonblocking(false)?;
    for stream in [&below, &above] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    }
    let (up, down) = (Arc::clone(shared), Arc::clone(shared));
    let (from_below, from_above) = (below.try_clone()?, above.try_clone()?);
    std::thread::spawn(move || carry(from_below, above, &up));
    std::thread::spawn(move || carry(from_above, below, &down));
    Ok(())
}

/// Carries bytes one way until an end is closed or the way is cut.
fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut bytes = vec![0; 64 * 1024];
    while shared.flow() != Flow::Cut {
        let count = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                continue;
            }
            Err(_) => break,
        };
        match shared.flow() {
            Flow::Open if to.write_all(bytes.get(..count).unwrap_or_default()).is_ok() => {}
            Flow::Swallow => {}
            _ => break,
        }
    }
    // Both threads of a pair end with its sockets.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
