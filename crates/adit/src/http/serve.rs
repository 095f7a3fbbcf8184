//! The sockets: bounded in number, in bytes and in time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{Token, routes};
use crate::books::Books;
use crate::config::{HttpListen, Settings, Shown, table::Http};
use crate::exit::Exit;
use crate::observe::{Roster, Status};
use crate::payout::Prover;
use crate::pool::admin::Desk;
use crate::shutdown::Shutdown;

/// A connection is asked to end after this, so that none holds its place for ever.
const LIFE: Duration = Duration::from_secs(60);
/// And is cut off this much later: a reader that does not read.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes buffered for a connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// How long to wait when the system has no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// A bound socket.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    hosts: Vec<String>,
    connections_max: usize,
    metrics_names_max: usize,
    request: Duration,
}

/// What there is to be seen and to be ordered.
#[derive(Clone, Debug)]
pub struct Views {
    /// The sums.
    pub status: watch::Receiver<Arc<Status>>,
    /// Who is here.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// Every key of the configuration, without secrets.
    pub settings: Arc<[Shown]>,
    /// What outlives the process, where there is a database.
    pub books: Option<Books>,
    /// What the coinbases of channels pay.
    pub prover: Option<Prover>,
    /// Who shows this token may give orders there; nobody may otherwise.
    pub admin: Option<Arc<(Token, Desk)>>,
}

impl Views {
    /// Sums and settings: nobody is shown one by one, and nothing can be ordered.
    pub fn of(status: watch::Receiver<Arc<Status>>, settings: &Settings) -> Self {
        // Nobody will ever send another one.
        let (_, roster) = watch::channel(Arc::new(Roster::default()));
        Self {
            status,
            roster,
            settings: settings.shown.clone().into(),
            books: None,
            prover: None,
            admin: None,
        }
    }
}

/// Binds what `http.listen` says; `None` when it is off. With `or_free_port`, a busy port that nobody
/// asked for explicitly is replaced by a free one.
///
/// # Errors
/// When the address cannot be used.
pub async fn bind(http: &Http, or_free_port: bool) -> Result<Option<Server>, Exit> {
    let HttpListen::On(listen) = http.listen else {
        return Ok(None);
    };
    let failed = |error: io::Error| {
        Exit::failed(format!("cannot serve HTTP on {}: {error}", listen.addr))
            .help("choose another address with --http ADDR, or --http off")
    };
    let listener = match TcpListener::bind(listen.addr).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && or_free_port && !listen.explicit => {
            TcpListener::bind((listen.addr.ip(), 0)).await
        }
        other => other,
    }
    .map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok(Some(Server {
        listener,
        addr,
        hosts: http.hosts.0.clone(),
        connections_max: usize::try_from(http.connections_max).unwrap_or(usize::MAX),
        metrics_names_max: http.metrics_names_max as usize,
        request: Duration::from_millis(http.request_ms),
    }))
}

/// As [`bind`], for those beside whom a pool may have the default place: only who asks for a page gets one.
///
/// # Errors
/// As [`bind`].
pub async fn bind_if_asked(http: &Http) -> Result<Option<Server>, Exit> {
    match http.listen {
        HttpListen::On(listen) if listen.explicit => bind(http, false).await,
        _ => Ok(None),
    }
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Serves until `shutdown` is wished for. Reads pictures only; nothing here can slow the pool down.
    pub async fn serve(self, views: Views, mut shutdown: Shutdown) {
        let router = routes::router(routes::Site {
            views,
            hosts: self.hosts.clone().into(),
            metrics_names_max: self.metrics_names_max,
            // Whoever only listens must leave room for those who ask.
            streams: Arc::new(Semaphore::new((self.connections_max / 2).max(1))),
        });
        let request = self.request;
        let places = Arc::new(Semaphore::new(self.connections_max));
        let mut connections = JoinSet::new();
        loop {
            // The place is taken before the connection is: the rest waits in the kernel's queue.
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            tokio::select! {
                () = shutdown.requested() => break,
                Some(_) = connections.join_next() => {}
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let router = router.clone();
                        connections.spawn(async move {
                            converse(stream, router, request).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "HTTP accept");
                        tokio::time::sleep(EXHAUSTED).await;
                    }
                },
            }
        }
        connections.shutdown().await;
    }
}

/// One connection, from its first request to its end.
async fn converse(stream: TcpStream, router: Router, request: Duration) {
    // Without it an answer may wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(request)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tokio::time::sleep(LIFE) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection.as_mut()).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP connection");
    }
}
