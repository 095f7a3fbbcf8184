//! One thread of the load generator: a single-threaded runtime with its share of the connections.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_net::drive::Bounds;
use adit_net::{Clock, End, Link, Security, drive};
use adit_proto::Time;
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use super::Settings;
use super::connection::{Connection, Order, Plan};
use super::listening::Listeners;
use super::stats::Stats;
use crate::device::hash::Engine;

/// Connections from one loopback address, so that ports and limits for an address do not run out.
const PER_SOURCE: usize = 2_000;
/// How long setup, channel and first work may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers are waited for at the end.
const DRAIN: Duration = Duration::from_secs(3);
/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Orders a connection is given in its life: run, stop.
const ORDERS_MAX: usize = 2;
/// Bytes of one sealed share, at most.
const SHARE_BYTES: usize = 128;

/// Where all threads stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Nothing to do yet.
    Wait,
    /// Open the connections of this wave.
    Open(u32),
    /// Close them again.
    Close(u32),
    /// Send shares.
    Run(Run),
    /// The end, at once.
    End,
}

/// When shares are sent, for all connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) start: Time,
    pub(super) measure_from: Time,
    pub(super) stop: Time,
}

/// What the threads tell while they work.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Connections that are open or have failed, in this wave.
    pub(super) settled: AtomicU64,
    /// Threads whose connections of this wave are closed.
    pub(super) closed: AtomicU64,
}

/// Everything a thread needs.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) addr: SocketAddr,
    pub(super) range: Range<usize>,
    pub(super) clock: Clock,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) progress: Arc<Progress>,
}

/// A connection that is being made or stands.
struct Slot {
    index: usize,
    orders: mpsc::Sender<Order>,
}

impl Worker {
    /// Works until the phase says that it is over. Blocks the thread.
    pub(super) fn run(self) -> std::io::Result<Stats> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stats = Rc::new(RefCell::new(Stats::new()));
        let listeners = Rc::new(RefCell::new(Listeners::new()?));
        let local = LocalSet::new();
        local.block_on(&runtime, self.work(Rc::clone(&stats), listeners))?;
        drop(local);
        Ok(stats.replace(Stats::new()))
    }

    async fn work(
        mut self,
        stats: Rc<RefCell<Stats>>,
        listeners: Rc<RefCell<Listeners>>,
    ) -> std::io::Result<()> {
        let settings = Rc::new(self.settings.clone());
        let opening = Rc::new(Semaphore::new(settings.opening));
        let mut tasks = JoinSet::new();
        let mut slots = Vec::new();
        loop {
            let phase = *self.phase.borrow_and_update();
            match phase {
                Phase::Wait => {}
                Phase::Open(_) => {
                    slots = self.open_all(&mut tasks, &settings, &opening, &stats, &listeners);
                }
                Phase::Close(_) => {
                    close_all(&mut slots, &mut tasks).await;
                    let mut stats = stats.borrow_mut();
                    listeners.borrow_mut().close(&mut stats);
                    (stats.opened, stats.failed) = (0, 0);
                    self.progress.closed.fetch_add(1, Ordering::Relaxed);
                }
                Phase::Run(run) => {
                    if self.settings.hold {
                        self.listen(run, &mut stats.borrow_mut(), &mut listeners.borrow_mut())?;
                    } else {
                        self.send_all(&slots, run, &stats).await;
                    }
                    close_all(&mut slots, &mut tasks).await;
                    return Ok(());
                }
                Phase::End => return Ok(()),
            }
            if self.phase.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    fn open_all(
        &self,
        tasks: &mut JoinSet<()>,
        settings: &Rc<Settings>,
        opening: &Rc<Semaphore>,
        stats: &Rc<RefCell<Stats>>,
        listeners: &Rc<RefCell<Listeners>>,
    ) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(self.range.len());
        for index in self.range.clone() {
            let (orders, receive) = mpsc::channel(ORDERS_MAX);
            slots.push(Slot { index, orders });
            let task = Task {
                settings: Rc::clone(settings),
                stats: Rc::clone(stats),
                clock: self.clock.clone(),
                addr: self.addr,
                index,
                progress: Arc::clone(&self.progress),
                listeners: Rc::clone(listeners),
            };
            let opening = Rc::clone(opening);
            tasks.spawn_local(async move { task.run(&opening, receive).await });
        }
        slots
    }

    /// Listens until the end of the run. Nothing else happens on this thread meanwhile.
    fn listen(&self, run: Run, stats: &mut Stats, listeners: &mut Listeners) -> std::io::Result<()> {
        let cpu = thread_cpu_ns();
        let over = || *self.phase.borrow() == Phase::End;
        listeners.listen(run.stop, &self.clock, stats, over)?;
        listeners.close(stats);
        stats.cpu_ns = thread_cpu_ns().saturating_sub(cpu);
        Ok(())
    }

    /// Gives every connection its plan, waits for the end of the run and then for late answers.
    async fn send_all(&mut self, slots: &[Slot], run: Run, stats: &Rc<RefCell<Stats>>) {
        let cpu = thread_cpu_ns();
        for slot in slots {
            // The other end is gone only if the connection is.
            let _ = slot.orders.try_send(Order::Run(self.plan(slot.index, run)));
        }
        self.until(run.stop).await;
        stats.borrow_mut().cpu_ns = thread_cpu_ns().saturating_sub(cpu);
        let patience = run.stop + DRAIN;
        let answered = || {
            let stats = stats.borrow();
            stats.accepted + stats.rejected_sum() >= stats.sent
        };
        while !answered() && self.clock.now() < patience && *self.phase.borrow() != Phase::End {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts are spread over the first half of the warm-up, or over one interval where shares come at a rate: all
    /// connections together shall look like many devices and not like one.
    fn plan(&self, index: usize, run: Run) -> Plan {
        let interval = self.settings.interval();
        let spread = interval.unwrap_or((run.measure_from - run.start) / 2);
        let part = index as f64 / self.settings.connections.max(1) as f64;
        let start = run.start + spread.mul_f64(part.clamp(0.0, 1.0));
        Plan {
            start,
            measure_from: run.measure_from,
            stop: run.stop,
            interval,
        }
    }

    /// Waits for a point in time or the end of the run.
    async fn until(&mut self, at: Time) {
        let wait = tokio::time::sleep(at - self.clock.now());
        tokio::select! {
            () = wait => {}
            _ = self.phase.wait_for(|phase| *phase == Phase::End) => {}
        }
    }
}

/// Closes all connections in good order; those that do not end in time are dropped.
async fn close_all(slots: &mut Vec<Slot>, tasks: &mut JoinSet<()>) {
    for slot in slots.drain(..) {
        let _ = slot.orders.try_send(Order::Stop);
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSE_TIMEOUT, all).await.is_err() {
        tasks.shutdown().await;
    }
}

/// One connection from its socket to its end.
struct Task {
    settings: Rc<Settings>,
    stats: Rc<RefCell<Stats>>,
    clock: Clock,
    addr: SocketAddr,
    index: usize,
    progress: Arc<Progress>,
    listeners: Rc<RefCell<Listeners>>,
}

/// What a connection came to first.
enum First {
    Work,
    Late,
    End(End),
}

impl Task {
    async fn run(&self, opening: &Semaphore, orders: mpsc::Receiver<Order>) {
        // The semaphore is never closed.
        let permit = opening.acquire().await.ok();
        let mut link = match self.dial().await {
            Ok(link) => link,
            Err(error) => {
                self.settled(Some(error));
                return;
            }
        };
        let (ready, opened) = oneshot::channel();
        let (settings, stats) = (Rc::clone(&self.settings), Rc::clone(&self.stats));
        let mut connection = Connection::new(settings, Engine::best(), stats, ready, orders);
        let window_bytes = self.settings.window as usize * SHARE_BYTES;
        let queue_max_bytes = 256 * 1024 + window_bytes;
        let bounds = Bounds {
            queue_high_bytes: 128 * 1024,
            queue_max_bytes,
            ..Bounds::default()
        };
        let (end, settled) = {
            let driving = drive(&mut link, &mut connection, &self.clock, bounds);
            tokio::pin!(driving);
            let first = tokio::select! {
                biased;
                opened = tokio::time::timeout(OPEN_TIMEOUT, opened) => match opened {
                    Ok(Ok(())) => First::Work,
                    _ => First::Late,
                },
                end = &mut driving => First::End(end),
            };
            match first {
                First::Late => return self.settled(Some("no work in time".to_owned())),
                First::End(end) => (end, false),
                First::Work => {
                    self.settled(None);
                    drop(permit);
                    (driving.await, true)
                }
            }
        };
        let listens = connection.listens() && matches!(end, End::Finished);
        if !settled {
            self.settled((!listens).then(|| end.to_string()));
        }
        match listens {
            true => self.listen(link),
            false if settled => self.ended(&link, &connection, &end),
            false => {}
        }
    }

    /// From now on the connection only listens.
    fn listen(&self, link: Link) {
        let taken = link
            .detach()
            .and_then(|link| self.listeners.borrow_mut().add(link));
        if let Err(error) = taken {
            let mut stats = self.stats.borrow_mut();
            stats.lost += 1;
            stats.error(format!("connection lost: {error}"));
        }
    }

    /// Books what a connection leaves behind.
    fn ended(&self, link: &Link, connection: &Connection, end: &End) {
        let mut stats = self.stats.borrow_mut();
        stats.bytes_in += link.bytes_in;
        stats.bytes_out += link.bytes_out;
        stats.unanswered += u64::from(connection.unanswered());
        if !connection.stopped() {
            stats.lost += 1;
            stats.error(format!("connection lost: {end}"));
        }
    }

    fn settled(&self, error: Option<String>) {
        let mut stats = self.stats.borrow_mut();
        match error {
            None => stats.opened += 1,
            Some(error) => {
                stats.failed += 1;
                stats.error(format!("not opened: {error}"));
            }
        }
        self.progress.settled.fetch_add(1, Ordering::Relaxed);
    }

    async fn dial(&self) -> Result<Link, String> {
        let dialling = &self.settings.dialling;
        let security =
            || Security::of(&self.settings.upstream.url, dialling).map_err(|error| error.to_string());
        let connecting = async {
            let socket = if self.addr.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            if let Some(source) = source(self.addr.ip(), self.index) {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            socket.connect(self.addr).await
        };
        let stream = tokio::time::timeout(dialling.timeout, connecting)
            .await
            .map_err(|_| "cannot connect: no answer in time".to_owned())?
            .map_err(|error| format!("cannot connect: {error}"))?;
        if self.settings.upstream.lines {
            return Link::lines(stream).map_err(|error| error.to_string());
        }
        let (now, security) = (self.clock.unix_s(), security()?);
        Link::connect(stream, &security, now, dialling.leeway_s, dialling.timeout)
            .await
            .map_err(|error| error.to_string())
    }
}

/// The address to connect from: the loopback network is large, so many connections spread over it.
fn source(server: IpAddr, index: usize) -> Option<IpAddr> {
    let IpAddr::V4(server) = server else { return None };
    let block = index / PER_SOURCE;
    if !server.is_loopback() || block == 0 {
        return None;
    }
    let [third, fourth] = u16::try_from(block).unwrap_or(u16::MAX).to_be_bytes();
    // 127.1.x.y is nobody's address but ours.
    Some(Ipv4Addr::new(127, 1, third, fourth).into())
}

/// CPU time of this thread, nanoseconds; 0 where the system does not tell.
fn thread_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_connections_spread_over_sources() {
        let here: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(source(here, 0), None);
        assert_eq!(source(here, PER_SOURCE - 1), None);
        assert_eq!(source(here, PER_SOURCE), Some(Ipv4Addr::new(127, 1, 0, 1).into()));
        assert_eq!(
            source(here, PER_SOURCE * 300),
            Some(Ipv4Addr::new(127, 1, 1, 44).into())
        );
        assert_eq!(source(Ipv4Addr::new(10, 0, 0, 1).into(), PER_SOURCE), None);
    }
}
