//! [`Status`] for Prometheus, in the OpenMetrics text format.
//!
//! Names start with `adit_` and stay. Beside them stand those that boards for other programs read: the reference
//! implementation's (`sv2_`, `sv1_`), hydrapool's and Farm Proxy's (`FP_`). Labels with names that peers chose are only on the series of the names with the
//! most hash rate, as many as `http.metrics_names_max` says: the page has a bounded size however many workers there are.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeLabelSet, EncodeLabelValue, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::fleet::Place;
use crate::fleet::accountant::LanePicture;

use super::status::{BooksState, LedgerState, Light, NodeState, Status};
use super::{Latency, Name, Peer, Roster, Upstream};

/// The content type of [`render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The whole page.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub fn render(status: &Arc<Status>, roster: &Arc<Roster>, names_max: usize) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix("adit");
    ours.register_collector(Box::new(Picture(Arc::clone(status))));
    registry.register_collector(Box::new(Borrowed {
        status: Arc::clone(status),
        roster: Arc::clone(roster),
        names_max,
    }));
    let mut page = String::with_capacity(32 * 1024);
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Picture(Arc<Status>);

/// What boards for other programs read.
#[derive(Debug)]
struct Borrowed {
    status: Arc<Status>,
    roster: Arc<Roster>,
    names_max: usize,
}

impl Collector for Borrowed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Writer(&mut encoder);
        reference(out, &self.status)?;
        lines(out, &self.roster)?;
        farm_proxy(out, &self.status)?;
        hydrapool(out, &self.status, &self.roster)?;
        self.names(out)
    }
}

/// Hashes a unit of difficulty.
const DIFFICULTY: f64 = 4_294_967_296.0;

/// Names of the reference implementation. It counts clients one by one; here they are sums.
fn reference(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    out.gauge(
        "sv2_uptime_seconds",
        "How long the process has run",
        status.uptime_ms as f64 / 1e3,
    )?;
    let open = status.connections.open as f64;
    out.gauge("sv2_clients_total", "Open connections of miners", open)?;
    out.gauges(
        "sv2_client_channels",
        "Open channels by kind",
        &[
            ([("channel_type", "standard")], status.channels.standard as f64),
            ([("channel_type", "extended")], status.channels.extended as f64),
        ],
    )?;
    let rate = status.hash_rate.m10;
    out.gauge("sv2_client_hashrate_total", "Hashes a second of all miners", rate)?;
    let shares = &status.shares;
    out.counter("sv2_client_shares_accepted", "Accepted shares", shares.accepted)?;
    out.counter("sv2_client_shares_rejected", "Refused shares", shares.rejected)?;
    out.counter("sv2_client_blocks_found", "Blocks found", status.blocks.found)?;
    let Some(uplink) = &status.uplink else {
        return Ok(());
    };
    let figures = &uplink.figures;
    out.counter(
        "sv2_server_shares_accepted",
        "Shares that the upstream accepted",
        figures.shares_accepted,
    )?;
    out.counter(
        "sv2_server_shares_rejected",
        "Shares that the upstream refused",
        figures.shares_refused,
    )?;
    out.counter(
        "sv2_server_blocks_found",
        "Blocks found for the upstream",
        figures.blocks,
    )
}

/// The same for miners of Stratum V1.
fn lines(out: &mut Writer<'_, '_>, roster: &Roster) -> fmt::Result {
    let peers = roster.peers.iter();
    let old: Vec<&Peer> = peers
        .filter(|peer| peer.protocol.starts_with(STRATUM_V1))
        .collect();
    let rates = old.iter().flat_map(|peer| &peer.channels);
    let rate: f64 = rates.map(|channel| channel.pace.hash_rate).sum();
    out.gauge(
        "sv1_clients_total",
        "Connections of Stratum V1 miners",
        old.len() as f64,
    )?;
    out.gauge("sv1_hashrate_total", "Hashes a second of Stratum V1 miners", rate)
}

/// How the protocols of such connections begin.
const STRATUM_V1: &str = "stratum-v1";

/// Names of Farm Proxy, for each upstream of a proxy: there are a few.
fn farm_proxy(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let Some(uplink) = &status.uplink else {
        return Ok(());
    };
    let each = |of: fn(&Upstream) -> f64| -> Vec<([(&str, &str); 2], f64)> {
        let upstreams = uplink.upstreams.iter();
        let labelled = upstreams.map(|it| ([("direction", "upstream"), ("target", &*it.name)], of(it)));
        labelled.collect()
    };
    let accepted = each(|it| it.shares_accepted as f64);
    out.gauges("FP_accepted_shares", "Shares that a target accepted", &accepted)?;
    let rejected = each(|it| it.shares_refused as f64);
    out.gauges("FP_rejected_shares", "Shares that a target refused", &rejected)?;
    let connections = each(|it| it.connections as f64);
    out.gauges(
        "FP_connections_by_target",
        "Miners that work for a target",
        &connections,
    )?;
    let latency = each(|it| it.share_latency_us as f64 / 1e6);
    out.gauges(
        "FP_mean_latency_s",
        "How long a target takes to answer a share",
        &latency,
    )?;
    let ready = each(|it| f64::from(u8::from(it.ready)));
    out.gauges("FP_target_status", "1: a target can be worked for", &ready)
}

/// Names of hydrapool and p2poolv2.
fn hydrapool(out: &mut Writer<'_, '_>, status: &Status, roster: &Roster) -> fmt::Result {
    let shares = &status.shares;
    out.counter("shares_accepted", "Accepted shares", shares.accepted)?;
    out.counter("shares_rejected", "Refused shares", shares.rejected)?;
    let best = status.best_share.as_ref().map_or(0, |best| best.work) as f64 / DIFFICULTY;
    out.gauge("best_share", "Difficulty of the best share", best)?;
    out.gauge(
        "best_share_ever",
        "Difficulty of the best share of this process",
        best,
    )?;
    let difficulty = status.node.block_work as f64 / DIFFICULTY;
    out.gauge("pool_difficulty", "Difficulty of a block", difficulty)?;
    let started = (status.started_at_us / 1_000_000) as f64;
    out.gauge(
        "start_time_seconds",
        "When the process started, Unix time",
        started,
    )?;
    let outputs: Vec<([(&str, &str); 1], f64)> = (roster.coinbase.iter())
        .flat_map(|coinbase| &coinbase.outputs)
        .filter_map(|output| {
            let address = output.address.as_deref()?;
            Some(([("address", address)], output.value_sat as f64))
        })
        .take(OUTPUTS_MAX)
        .collect();
    out.gauges("coinbase_output", "Satoshis that the next block pays", &outputs)?;
    let blocks: Vec<([(&str, String); 2], f64)> = (roster.blocks.iter().take(BLOCKS_MAX))
        .map(|block| {
            let labels = [
                ("blockhash", block.hash.clone()),
                ("height", block.height.to_string()),
            ];
            (labels, (block.at_us / 1_000_000) as f64)
        })
        .collect();
    out.gauges(
        "bitcoin_block_found_time_seconds",
        "When a block was found, Unix time",
        &blocks,
    )
}

/// Blocks, and outputs of the coinbase, that have series of their own.
const BLOCKS_MAX: usize = 32;
const OUTPUTS_MAX: usize = 256;

impl Borrowed {
    /// Series of the names with the most hash rate.
    fn names(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let mut names: Vec<&Name> = self.roster.names.iter().filter(|row| row.workers == 0).collect();
        names.sort_unstable_by(|a, b| {
            let rates = b.pace.hash_rate.total_cmp(&a.pace.hash_rate);
            rates.then_with(|| a.name.cmp(&b.name))
        });
        names.truncate(self.names_max);
        if names.is_empty() {
            return Ok(());
        }
        let labels = |row: &&Name| {
            let account = row.account.as_deref().unwrap_or(&row.name);
            let worker = row.name.strip_prefix(account).unwrap_or_default();
            let worker = worker.trim_start_matches('.').to_owned();
            [("btcaddress", account.to_owned()), ("workername", worker)]
        };
        let counts =
            |of: fn(&Name) -> u64| -> Vec<_> { names.iter().map(|row| (labels(row), of(row))).collect() };
        let values =
            |of: fn(&Name) -> f64| -> Vec<_> { names.iter().map(|row| (labels(row), of(row))).collect() };
        let accepted = counts(|row| row.accepted);
        out.counters("worker_shares_valid", "Accepted shares of a worker", &accepted)?;
        let rejected = counts(|row| row.rejected);
        out.counters("worker_shares_invalid", "Refused shares of a worker", &rejected)?;
        let best = values(|row| row.best_work as f64 / DIFFICULTY);
        out.gauges("worker_best_share", "Difficulty of a worker's best share", &best)?;
        let rates = values(|row| row.pace.hash_rate);
        out.gauges("worker_hash_rate", "Hashes a second of a worker", &rates)?;
        self.channels(out)?;
        let last = values(|row| row.last_share_us.unwrap_or(0) as f64 / 1e6);
        out.gauges(
            "worker_last_share_seconds",
            "When a worker's last share came, Unix time",
            &last,
        )
    }
}

impl Borrowed {
    /// Series of the channels with the most hash rate, as many as names.
    fn channels(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let peers = self.roster.peers.iter();
        let mut channels: Vec<_> = peers
            .flat_map(|peer| peer.channels.iter().map(move |channel| (peer.id, channel)))
            .collect();
        channels.sort_by(|(_, a), (_, b)| b.pace.hash_rate.total_cmp(&a.pace.hash_rate));
        channels.truncate(self.names_max);
        let rates: Vec<_> = channels
            .iter()
            .map(|(client, channel)| {
                let labels = [
                    ("client_id", client.to_string()),
                    ("channel_id", channel.id.to_string()),
                    ("user_identity", channel.name.to_string()),
                ];
                (labels, channel.pace.hash_rate)
            })
            .collect();
        out.gauges(
            "sv2_client_channel_hashrate",
            "Hashes a second of a channel",
            &rates,
        )
    }
}

impl Collector for Picture {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (out, status) = (&mut Writer(&mut encoder), &*self.0);
        process(out, status)?;
        shares(out, status)?;
        peers(out, status)?;
        node(out, status)?;
        ledger(out, status)?;
        books(out, status)?;
        fleet(out, status)?;
        accountant(out, status)?;
        negotiation(out, status)?;
        distribution(out, status)?;
        uplink(out, status)?;
        keys(out, status)
    }
}

fn process(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let version = [("version", status.version)];
    out.gauges("build_info", "The running version", &[(version, 1.0)])?;
    out.gauge(
        "uptime_seconds",
        "How long the process has run",
        status.uptime_ms as f64 / 1e3,
    )?;
    let light = status.health().light;
    out.gauge(
        "healthy",
        "1: all is well, 0.5: somebody should look, 0: not working",
        match light {
            Light::Green => 1.0,
            Light::Amber => 0.5,
            Light::Red => 0.0,
        },
    )
}

fn uplink(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let Some(uplink) = &status.uplink else {
        return Ok(());
    };
    // -1: nobody but ourselves.
    let place = uplink.place.map_or(-1.0, |place| place as f64);
    out.gauge(
        "uplink_place",
        "Place of the upstream that is worked for, from 0; -1: none",
        place,
    )?;
    let left: Vec<_> = uplink
        .causes
        .iter()
        .map(|(cause, count)| ([("cause", cause.name())], *count))
        .collect();
    out.counters("uplink_left", "Upstreams left, by cause", &left)?;
    let figures = &uplink.figures;
    out.counter("uplink_jobs_declared", "Jobs declared", figures.jobs_declared)?;
    out.counter(
        "uplink_jobs_taken",
        "Custom jobs that the upstream has taken",
        figures.jobs_taken,
    )?;
    out.counter(
        "uplink_jobs_refused",
        "Jobs that the upstream has refused",
        figures.jobs_refused,
    )?;
    out.counter(
        "uplink_shares_accepted",
        "Shares that the upstream accepted",
        figures.shares_accepted,
    )?;
    out.counter(
        "uplink_shares_refused",
        "Shares that the upstream refused",
        figures.shares_refused,
    )?;
    out.gauge(
        "uplink_shares_pending",
        "Shares that wait until the upstream takes their job",
        figures.shares_pending as f64,
    )
}

fn shares(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    out.counter("shares_accepted", "Accepted shares", status.shares.accepted)?;
    let by_reason = |(reason, count): (&&'static str, &u64)| ([("reason", *reason)], *count);
    let reasons: Vec<_> = status.shares.by_reason.iter().map(by_reason).collect();
    out.counters("shares_rejected", "Refused shares by refusal code", &reasons)?;
    out.counter(
        "work_hashes",
        "Expected hashes of all accepted shares",
        status.shares.work as f64,
    )?;
    let best = status.best_share.as_ref().map_or(0, |best| best.work);
    out.gauge(
        "best_share_hashes",
        "Expected hashes of the best share",
        best as f64,
    )?;
    let rates = status.hash_rate;
    out.gauges(
        "hash_rate",
        "Hashes a second, estimated from accepted work",
        &[
            ([("window", "1m")], rates.m1),
            ([("window", "10m")], rates.m10),
            ([("window", "1h")], rates.h1),
        ],
    )?;
    out.histogram(
        "ack_latency_seconds",
        "From a share read to its acknowledgement",
        &status.ack_latency,
    )
}

fn negotiation(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let it = &status.negotiation;
    out.counter(
        "job_tokens",
        "Tokens given out for jobs of miners' own making",
        it.tokens,
    )?;
    out.gauge(
        "job_tokens_live",
        "Tokens that are good now",
        it.tokens_live as f64,
    )?;
    out.counters(
        "declared_jobs",
        "Declared jobs by verdict",
        &[
            ([("verdict", "accepted")], it.declared),
            ([("verdict", "refused")], it.declarations_refused),
        ],
    )?;
    out.counters(
        "custom_jobs",
        "Custom jobs by verdict",
        &[
            ([("verdict", "accepted")], it.custom_accepted),
            ([("verdict", "refused")], it.custom_refused),
        ],
    )?;
    out.counter(
        "pushed_solutions",
        "Blocks pushed by job declaration clients",
        it.solutions,
    )?;
    out.counter(
        "negotiation_node_calls",
        "Questions to the node about declared jobs",
        it.node_calls,
    )?;
    out.gauge(
        "declared_bytes",
        "Memory that declared jobs hold",
        it.bytes as f64,
    )
}

fn distribution(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let Some(it) = &status.distribution else {
        return Ok(());
    };
    out.gauge(
        "job_receivers",
        "Receivers of distributed jobs that are connected",
        it.receivers as f64,
    )?;
    for (name, what, count) in [
        (
            "job_receivers_joined",
            "Receivers of distributed jobs that came",
            it.joined,
        ),
        (
            "job_receivers_dropped_slow",
            "Receivers of distributed jobs that did not read and were disconnected",
            it.dropped_slow,
        ),
        (
            "distributed_jobs",
            "Jobs sent to receivers, once for each",
            it.jobs,
        ),
        ("distributed_messages", "Messages sent to receivers", it.messages),
        (
            "distributed_bytes",
            "Bytes of messages sent to receivers, before encryption",
            it.bytes,
        ),
        (
            "distributed_jobs_refused",
            "Distributed jobs that a receiver's pool did not take",
            it.refused,
        ),
        (
            "receivers_solutions",
            "Blocks that receivers have found",
            it.solutions,
        ),
        (
            "receivers_junk",
            "Solutions of receivers that make no block",
            it.junk,
        ),
    ] {
        out.counter(name, what, count)?;
    }
    Ok(())
}

fn keys(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let ends: Vec<(Label, f64)> = status
        .pool
        .certificates
        .iter()
        .map(|window| {
            (
                [("suite", window.suite.name())],
                f64::from(window.not_valid_after_s),
            )
        })
        .collect();
    out.gauges(
        "certificate_not_valid_after_seconds",
        "Last second of the server certificate that connections are shown, Unix time",
        &ends,
    )?;
    let warned = !status.pool.keys_warning.is_empty();
    out.gauge(
        "keys_warning",
        "1: somebody should look after keys or certificates, see the status page",
        f64::from(u8::from(warned)),
    )
}

fn peers(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let connections = &status.connections;
    out.gauge("connections", "Open connections", connections.open as f64)?;
    out.counter(
        "connections_accepted",
        "Connections accepted",
        connections.accepted,
    )?;
    let by_suite = |(suite, count): (&&'static str, &u64)| ([("suite", *suite)], *count);
    let suites: Vec<_> = connections.by_suite.iter().map(by_suite).collect();
    out.counters(
        "connections_accepted_by_suite",
        "Connections accepted, by what protects them",
        &suites,
    )?;
    out.counter(
        "connections_refused",
        "Connections turned away for a limit",
        connections.refused,
    )?;
    out.counter(
        "connections_faulted",
        "Connections ended for a fault of the peer",
        connections.faulted,
    )?;
    out.gauges(
        "channels",
        "Open channels by kind",
        &[
            ([("kind", "standard")], status.channels.standard as f64),
            ([("kind", "extended")], status.channels.extended as f64),
        ],
    )?;
    out.gauge("workers", "Names that submit shares", status.workers_total as f64)?;
    out.gauge(
        "silent_channels",
        "Channels that are open and send no share",
        status.silent as f64,
    )?;
    out.histogram(
        "job_fan_out_seconds",
        "From a template's arrival to the last connection's job",
        &status.fan_out_latency,
    )
}

fn node(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let blocks = &status.blocks;
    out.counter("blocks_found", "Blocks that our miners found", blocks.found)?;
    out.counter("blocks_accepted", "Blocks that the node took", blocks.accepted)?;
    out.counter("blocks_rejected", "Blocks that the node refused", blocks.rejected)?;
    out.gauge(
        "blocks_pending",
        "Blocks that wait for the node's answer",
        blocks.pending as f64,
    )?;
    out.histogram(
        "block_submit_seconds",
        "From a winning share read to the node asked for the first time",
        &blocks.submit_latency,
    )?;
    let last = blocks.last.as_ref().map_or(0, |last| last.at_us);
    out.gauge(
        "block_last_timestamp_seconds",
        "When the last block was found, Unix time",
        last as f64 / 1e6,
    )?;
    let up = status.node.state == NodeState::Up;
    out.gauge(
        "node_up",
        "Whether the Bitcoin node answers",
        f64::from(u8::from(up)),
    )?;
    out.gauge(
        "node_alarm",
        "Whether the Bitcoin nodes disagree, or one refuses its own template",
        f64::from(u8::from(!status.node.alarm.is_empty())),
    )?;
    out.counter(
        "jobs_checked_valid",
        "Jobs that the node found good as blocks",
        status.node.jobs_valid,
    )?;
    out.counter(
        "jobs_checked_refused",
        "Jobs that the node would have refused as blocks",
        status.node.jobs_refused,
    )?;
    out.counter(
        "jobs_checked_unknown",
        "Jobs that the node could not judge",
        status.node.jobs_unknown,
    )?;
    out.gauge(
        "node_height",
        "Height of the node's tip",
        status.node.height as f64,
    )?;
    if let Some(age) = status.node.template_age_ms {
        out.gauge(
            "template_age_seconds",
            "Age of the template in work",
            age as f64 / 1e3,
        )?;
    }
    if let Some(transactions) = status.node.transactions {
        out.gauge(
            "template_transactions",
            "Transactions in the template",
            f64::from(transactions),
        )?;
    }
    if let Some(fees) = status.node.fees_sat {
        out.gauge("template_fees_satoshis", "Fees in the template", fees as f64)?;
    }
    Ok(())
}

fn fleet(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let Some(it) = &status.fleet else { return Ok(()) };
    let (fleet, shipping) = (&it.fleet, &it.shipping);
    out.gauge(
        "fleet_number_held",
        "Whether the last sign of life was heard: nobody else has this front end's number",
        f64::from(u8::from(fleet.held)),
    )?;
    out.gauge(
        "fleet_front_ends",
        "Front ends that run, this one included",
        fleet.front_ends.iter().filter(|other| !other.stopped).count() as f64,
    )?;
    out.gauge(
        "fleet_alarms",
        "Things in which front ends disagree",
        fleet.alarms.len() as f64,
    )?;
    out.gauge(
        "fleet_connected",
        "Whether NATS is there",
        f64::from(u8::from(shipping.connected)),
    )?;
    out.gauge(
        "fleet_unshipped_records",
        "Durable records that the transport has not taken",
        shipping.durable.saturating_sub(shipping.shipped) as f64,
    )?;
    out.gauge(
        "fleet_uncounted_records",
        "Durable records that no accountant has counted, as far as one has said",
        shipping.durable.saturating_sub(shipping.booked) as f64,
    )?;
    out.counter(
        "fleet_reshipped_records",
        "Records that had to be shipped more than once",
        shipping.reshipped,
    )
}

/// What an accountant counts, front end by front end: as many series as there are numbers in use.
fn accountant(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let Some(it) = &status.accountant else {
        return Ok(());
    };
    out.gauge(
        "accountant_connected",
        "Whether NATS is there",
        f64::from(u8::from(it.connected)),
    )?;
    out.gauge(
        "accountant_silent_front_ends",
        "Front ends that have not stopped and show no sign of life",
        it.silent.len() as f64,
    )?;
    let lanes = |value: &dyn Fn(u16, &LanePicture) -> u64| {
        let lanes = it.front_ends.iter();
        let lanes = lanes.map(|(of, lane)| ([("front_end", u64::from(*of))], value(*of, lane)));
        lanes.collect::<Vec<_>>()
    };
    let gauges = |value: &dyn Fn(u16, &LanePicture) -> u64| {
        let lanes = lanes(value).into_iter();
        lanes
            .map(|(label, value)| (label, value as f64))
            .collect::<Vec<_>>()
    };
    out.gauges(
        "accountant_counting",
        "1: this accountant counts the front end; 0: another one does, or nobody can",
        &gauges(&|_, lane| u64::from(lane.place == Place::Counting)),
    )?;
    out.gauges(
        "accountant_position",
        "The last record of the front end that is in the database",
        &gauges(&|_, lane| lane.last),
    )?;
    out.gauges(
        "accountant_lacking_records",
        "Records of the front end that the database has not, as far as the front end has said",
        &gauges(&|of, lane| it.lacks(of, lane)),
    )?;
    out.gauges(
        "accountant_held_records",
        "Records that came and wait for others before them",
        &gauges(&|_, lane| lane.held),
    )?;
    out.counters(
        "accountant_counted_records",
        "Records counted",
        &lanes(&|_, lane| lane.counted),
    )?;
    out.counters(
        "accountant_spoiled_messages",
        "Messages that were of no use",
        &lanes(&|_, lane| lane.spoiled),
    )
}

fn books(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let books = &status.books;
    if books.state == BooksState::Off {
        return Ok(());
    }
    out.gauge(
        "books_up",
        "1: the database follows the journal",
        f64::from(u8::from(books.state == BooksState::Up)),
    )?;
    out.gauge(
        "books_position",
        "The last record that the database has counted",
        books.position as f64,
    )?;
    out.gauge(
        "books_backlog_records",
        "Durable records that the database has not counted yet",
        books.backlog as f64,
    )?;
    out.gauge(
        "books_behind_seconds",
        "How old the oldest of them is, at most",
        books.behind_ms as f64 / 1e3,
    )?;
    out.counter(
        "books_records",
        "Records that the database has counted",
        books.records,
    )?;
    out.counter("books_failures", "Failed tries to count records", books.failures)?;
    out.histogram(
        "books_apply_seconds",
        "Duration of a transaction that counts records",
        &books.apply_latency,
    )
}

fn ledger(out: &mut Writer<'_, '_>, status: &Status) -> fmt::Result {
    let up = status.ledger.state == LedgerState::Up;
    out.gauge(
        "ledger_up",
        "Whether shares are made durable",
        f64::from(u8::from(up)),
    )?;
    out.counter(
        "ledger_committed",
        "Records that are durable",
        status.ledger.committed,
    )?;
    out.histogram(
        "ledger_commit_seconds",
        "Duration of one group commit",
        &status.ledger.commit_latency,
    )
}

/// One line a metric.
struct Writer<'a, 'e>(&'a mut DescriptorEncoder<'e>);

type Label = [(&'static str, &'static str); 1];
type Labels<V, const N: usize> = [(&'static str, V); N];

impl Writer<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn gauges<const N: usize, V: EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        values: &[(Labels<V, N>, f64)],
    ) -> fmt::Result
    where
        Labels<V, N>: EncodeLabelSet,
    {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value) in values {
            metric.encode_family(label)?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn counters<const N: usize, V: EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        values: &[(Labels<V, N>, u64)],
    ) -> fmt::Result
    where
        Labels<V, N>: EncodeLabelSet,
    {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, value) in values {
            metric
                .encode_family(label)?
                .encode_counter::<NoLabelSet, _, f64>(value, None)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, latency: &Latency) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        let sum = latency.sum_us() as f64 / 1e6;
        metric.encode_histogram::<NoLabelSet>(sum, latency.count(), &latency.buckets_s(), None)
    }
}
