//! Accepting connections: a permit is taken before any work is done for a peer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections the kernel may hold for us before we accept them.
const BACKLOG: u32 = 4096;
/// Pause after the operating system refused to give a socket (out of descriptors).
const RESOURCE_PAUSE: Duration = Duration::from_millis(50);

/// How many connections are let in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In total.
    pub connections_max: usize,
    /// From one source: an IPv4 address or an IPv6 /64. Loopback is one source like any other.
    pub connections_per_address_max: usize,
}

/// A listening socket that counts who is in.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    limits: Limits,
    book: Arc<Mutex<Book>>,
}

/// Who is in.
#[derive(Debug, Default)]
struct Book {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
    refused: u64,
}

/// The right to be connected; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    book: Arc<Mutex<Book>>,
    source: IpAddr,
}

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// What the operating system says, such as an address in use.
    pub fn bind(address: SocketAddr, limits: Limits) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            socket: socket.listen(BACKLOG)?,
            limits,
            book: Arc::default(),
        })
    }

    /// Where it listens, with the port that was chosen.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Connections refused so far for want of a permit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        lock(&self.book).refused
    }

    /// The same count for whoever must not hold the socket open.
    pub fn refusals(&self) -> impl Fn() -> u64 + Send + use<> {
        let book = Arc::clone(&self.book);
        move || lock(&book).refused
    }

    /// The next connection that may come in. Others are closed at once. Cancel safe.
    pub async fn accept(&self) -> (TcpStream, SocketAddr, Permit) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    if let Some(permit) = self.permit(peer.ip()) {
                        return (stream, peer, permit);
                    }
                }
                Err(error) if is_about_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; trying on");
                    tokio::time::sleep(RESOURCE_PAUSE).await;
                }
            }
        }
    }

    fn permit(&self, address: IpAddr) -> Option<Permit> {
        let source = source(address);
        let mut book = lock(&self.book);
        let from_there = book.by_source.get(&source).copied().unwrap_or(0);
        if book.total >= self.limits.connections_max || from_there >= self.limits.connections_per_address_max
        {
            book.refused += 1;
            return None;
        }
        book.total += 1;
        book.by_source.insert(source, from_there + 1);
        Some(Permit {
            book: Arc::clone(&self.book),
            source,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut book = lock(&self.book);
        book.total -= 1;
        if let Some(count) = book.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                book.by_source.remove(&self.source);
            }
        }
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has an IPv6 /64 has all its addresses.
fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => {
                let [a, b, c, d, ..] = ip.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        },
    }
}

/// Errors of accept that belong to one peer, not to us.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(connections_max: usize, connections_per_address_max: usize) -> Listener {
        let limits = Limits {
            connections_max,
            connections_per_address_max,
        };
        Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), limits).unwrap()
    }

    #[tokio::test]
    async fn a_permit_is_one_place_and_comes_back() {
        let listener = listener(2, 2);
        let to = listener.local_addr().unwrap();
        let _a = TcpStream::connect(to).await.unwrap();
        let (_, _, first) = listener.accept().await;
        assert!(
            listener
                .permit(to.ip())
                .is_some_and(|_second| listener.permit(to.ip()).is_none())
        );
        assert_eq!(listener.refused(), 1);
        drop(first);
        assert_eq!(lock(&listener.book).total, 0);
        assert!(lock(&listener.book).by_source.is_empty());
    }

    #[tokio::test]
    async fn sources_are_counted_apart_and_v6_by_its_64() {
        let listener = listener(10, 1);
        let _v4 = listener.permit("10.0.0.1".parse().unwrap()).unwrap();
        assert!(listener.permit("10.0.0.1".parse().unwrap()).is_none());
        assert!(listener.permit("::ffff:10.0.0.1".parse().unwrap()).is_none());
        let _other = listener.permit("10.0.0.2".parse().unwrap()).unwrap();
        let _v6 = listener.permit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(listener.permit("2001:db8::2".parse().unwrap()).is_none());
        assert!(listener.permit("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
