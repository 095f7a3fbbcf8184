//! Jobs from a distributor (`docs/job-distribution.md`), for devices and proxies: a connection beside that to the pool.
//!
//! One task keeps it up, and hangs the newest job that is for our pool into a [`Slot`]. Sessions with the pool look there
//! and set it as a custom job ([`Custom`]). While there is none, they mine the pool's own.

mod custom;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adit_net::drive::Bounds;
use adit_net::{Clock, Dialling, Itinerary, Protocol, Url, dial_with, drive};
use adit_noise::AuthorityKey;
use adit_proto::distribute::Active;
use adit_proto::distribute::client::{Client, Input, Output};
use adit_proto::setup::{self, ClientEvent, ClientInput, ClientOutput, Request};
use adit_proto::{Fault, Time};
use adit_wire::common::{self, protocol};
use adit_wire::distribute::{SubmitSolution, ToClient};
use adit_wire::{DecodeError, Header, Str0_255};
use tokio::task::JoinHandle;

use crate::device::upstream::{DEVICE, text};

pub(crate) use custom::{Custom, Todo};

/// Longest payload taken of a message that is not known and will be ignored.
const UNKNOWN_LENGTH_MAX: u32 = 64 * 1024;
/// How long a distributor may take to answer SetupConnection.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// What may wait to be told to the distributor; the oldest gives way.
const REPORTS_MAX: usize = 64;

/// What a session tells the distributor.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// The pool does not take a job.
    Refused { job_id: u32, code: Str0_255 },
    /// A block was found.
    Solution(SubmitSolution),
}

/// Between the distributor's connection and the pool's: the newest job one way, reports the other.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Counts the changes of `job`.
    generation: u64,
    job: Option<Active>,
    reader: Option<Waker>,
    reports: VecDeque<Report>,
    reporter: Option<Waker>,
}

impl Slot {
    fn put(&self, job: Option<Active>) {
        let mut shared = self.shared();
        if shared.job != job {
            shared.job = job;
            shared.generation += 1;
            if let Some(reader) = shared.reader.take() {
                reader.wake();
            }
        }
    }

    /// Ready when the job is another one than at `seen`.
    pub(crate) fn poll(&self, seen: u64, cx: &Context<'_>) -> Poll<()> {
        let mut shared = self.shared();
        if shared.generation != seen {
            return Poll::Ready(());
        }
        shared.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The job, and when it was hung up.
    pub(crate) fn look(&self) -> (u64, Option<Active>) {
        let shared = self.shared();
        (shared.generation, shared.job.clone())
    }

    /// For the distributor.
    pub(crate) fn report(&self, report: Report) {
        let mut shared = self.shared();
        if shared.reports.len() >= REPORTS_MAX {
            shared.reports.pop_front();
        }
        shared.reports.push_back(report);
        if let Some(reporter) = shared.reporter.take() {
            reporter.wake();
        }
    }

    fn poll_report(&self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = self.shared();
        if !shared.reports.is_empty() {
            return Poll::Ready(());
        }
        shared.reporter = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take_report(&self) -> Option<Report> {
        self.shared().reports.pop_front()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that keeps a connection to the distributor, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Following(JoinHandle<()>);

impl Following {
    /// Jobs for `pool`, mined by `user`, are hung into `slot`.
    pub(crate) fn start(
        distributor: Url,
        pool: Url,
        user: String,
        dialling: Dialling,
        clock: Clock,
        slot: Arc<Slot>,
    ) -> Self {
        Self(tokio::spawn(follow(
            distributor,
            pool,
            user,
            dialling,
            clock,
            slot,
        )))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a connection to the distributor for ever; jobs for `pool` are hung into `slot`.
async fn follow(
    distributor: Url,
    pool: Url,
    user: String,
    dialling: Dialling,
    clock: Clock,
    slot: Arc<Slot>,
) {
    let mut way = Itinerary::new(distributor);
    loop {
        let url = way.url().clone();
        let mut session = Session::new(&url, &pool, &user, &slot);
        match dial_with(&url, &clock, &dialling).await {
            Ok(mut link) => {
                let end = drive(&mut link, &mut session, &clock, Bounds::default()).await;
                tracing::warn!(%url, %end, "connection to the distributor lost: mining the pool's own jobs");
            }
            Err(error) => tracing::warn!(%url, %error, "no connection to the distributor; trying again"),
        }
        slot.put(None);
        let wait = match session.moved.take() {
            Some((host, port)) => {
                let host = host.as_ref().map(|host| host.as_bytes());
                way.moved(clock.now(), host, port).0
            }
            None => way.lost(clock.now(), session.fruitful),
        };
        tokio::time::sleep(wait).await;
    }
}

/// The protocol on the link.
struct Session<'a> {
    setup: setup::Client,
    client: Option<Client>,
    pool: &'a Url,
    user: &'a str,
    slot: &'a Slot,
    /// Whether the jobs that come are for our pool and name.
    for_us: bool,
    started: bool,
    fruitful: bool,
    moved: Option<(Option<Str0_255>, Option<u16>)>,
}

impl<'a> Session<'a> {
    fn new(url: &Url, pool: &'a Url, user: &'a str, slot: &'a Slot) -> Self {
        let request = Request {
            protocol: protocol::JOB_DISTRIBUTION,
            // Jobs may come ahead of their block: the machine keeps them.
            flags: 0,
            endpoint_host: text(&url.host),
            endpoint_port: url.port,
            device: DEVICE.clone(),
            timeout: SETUP_TIMEOUT,
        };
        Self {
            setup: setup::Client::new(request),
            client: None,
            pool,
            user,
            slot,
            for_us: false,
            started: false,
            fruitful: false,
            moved: None,
        }
    }

    fn setup(&mut self, now: Time, input: ClientInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = self.setup.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(message) => message.encode_frame(out),
                ClientOutput::Event(ClientEvent::Established { .. }) => self.client = Some(Client::new()),
                ClientOutput::Event(ClientEvent::Refused { flags, code }) => {
                    tracing::warn!(%code, flags, "no jobs are distributed to us there");
                }
                ClientOutput::Event(ClientEvent::Reconnect { host, port }) => {
                    self.moved = Some((host, port));
                }
                ClientOutput::Event(ClientEvent::EndpointChanged { .. }) => {}
            }
        }
        result
    }

    fn client(&mut self, input: Input, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        let result = client.handle(input, &mut outputs);
        for output in outputs {
            match output {
                Output::Send(message) => message.encode_frame(out),
                Output::Pool(pool) => {
                    let key = self.pool.key.as_ref().map(AuthorityKey::to_bytes);
                    let is_ours = |it: &adit_proto::distribute::Pool| {
                        it.is(self.pool.host.as_bytes(), self.pool.port, key.as_ref())
                            && (it.user_identity.is_empty() || *it.user_identity == *self.user.as_bytes())
                    };
                    self.for_us = pool.as_deref().is_some_and(is_ours);
                    if let Some(pool) = pool.filter(|_| !self.for_us) {
                        tracing::warn!(host = %pool.host, port = pool.port, user = %pool.user_identity,
                            "the distributor's jobs are for another pool or name; mining the pool's own");
                    }
                    self.slot.put(None);
                }
                Output::Job(active) => {
                    self.fruitful = true;
                    self.slot.put(self.for_us.then_some(active));
                }
                Output::Ended { reason } => {
                    tracing::info!(%reason, "no distributed job for now");
                    self.slot.put(None);
                }
            }
        }
        result
    }
}

impl Protocol for Session<'_> {
    fn length_max(&self, header: &Header) -> u32 {
        let known = common::ToClient::length_max(header).or_else(|| ToClient::length_max(header));
        known.unwrap_or(UNKNOWN_LENGTH_MAX)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.client.is_some() {
            match ToClient::decode(header, payload) {
                Ok(message) => return self.client(Input::Message(message), out),
                Err(DecodeError::Malformed { message, .. }) => return Err(Fault::Malformed(message)),
                Err(DecodeError::Unknown { .. }) => {}
            }
        }
        match common::ToClient::decode(header, payload) {
            Ok(message) => self.setup(now, ClientInput::Message(message), out),
            Err(DecodeError::Malformed { message, .. }) => Err(Fault::Malformed(message)),
            Err(DecodeError::Unknown { .. }) => self.setup(now, ClientInput::Other, out),
        }
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.client {
            None if !self.started => Poll::Ready(()),
            None => Poll::Pending,
            Some(_) => self.slot.poll_report(cx),
        }
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.started {
            self.started = true;
            self.setup(now, ClientInput::Start, out)?;
        }
        while self.client.is_some()
            && let Some(report) = self.slot.take_report()
        {
            let input = match report {
                Report::Refused { job_id, code } => Input::Refused { job_id, code },
                Report::Solution(solution) => Input::Solution(solution),
            };
            self.client(input, out)?;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        self.setup.deadline()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.setup(now, ClientInput::Deadline, out)
    }

    fn finished(&self) -> bool {
        self.moved.is_some()
    }
}
