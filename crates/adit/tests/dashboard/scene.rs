//! A pool on a busy day, made up: everything that the dashboard can show.

use std::sync::Arc;

use adit::fleet::accountant::{AccountantPicture, LanePicture};
use adit::fleet::{Holding, Place};
use adit::observe::{
    Averages, BestShare, Block, Blocks, Channel, Channels, Coinbase, Connections, Device, Endpoint, Errors,
    Estimate, Fate, Figures, History, LastBlock, Latency, Name, NodeState, NodeStatus, Payment, Peer, Rates,
    Recent, Roster, Slot, State, Status, Uplink,
};

/// A name that would like to be more than one.
pub(crate) const RUDE: &str = "<img src=x onerror=alert(1)>/../?a&b#c";
const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
const TERA: f64 = 1e12;
const HASH: &str = "00000000000000000001b2c4a8c1f5ed5b4c1e1f4a7c0f7a1f0c9a0f2d6e8b31";
/// Difficulty of the network.
const BLOCK_WORK: u128 = 155_970_000_000_000 << 32;

pub(crate) fn now_us() -> u64 {
    adit_net::Clock::system().now().0
}

fn endpoint(kind: &'static str, scheme: &str, port: u16, key: Option<&str>) -> Endpoint {
    let tail = key.map(|key| format!("/{key}")).unwrap_or_default();
    Endpoint {
        kind,
        url: format!("{scheme}://192.168.1.20:{port}{tail}"),
        host: "192.168.1.20".into(),
        port,
        key: key.map(Into::into),
    }
}

/// What an accountant shows: three front ends, one of which is silent.
pub(crate) fn accountant_status() -> Status {
    let holder = |front_end: u16, host: &str, hash_rate: u64| Holding {
        front_end,
        host: host.into(),
        hash_rate,
        channels: 4_120,
        height: 915_230,
        durable: 1_204_117,
        ..Holding::default()
    };
    let lane = |last| LanePicture {
        last,
        place: Place::Counting,
        ..LanePicture::default()
    };
    let picture = AccountantPicture {
        connected: true,
        front_ends: [(1, lane(1_204_117)), (2, lane(1_204_005)), (7, lane(1_204_117))].into(),
        holders: vec![
            holder(1, "rack-1", 21_400_000_000_000),
            holder(2, "rack-2", 16_100_000_000_000),
            holder(7, "<b>attic</b>", 0),
        ],
        silent: vec![7],
    };
    let mut status = status();
    status.node = NodeStatus {
        spec: "none".into(),
        network: "main".into(),
        height: 915_230,
        ..NodeStatus::default()
    };
    status.accountant = Some(picture);
    status
}

/// The sums.
pub(crate) fn status() -> Status {
    let now = now_us();
    let mut latency = Latency::default();
    latency.record_many(1_400, 900);
    latency.record_many(4_000, 9);
    let mut status = Status {
        version: "0.1.0",
        taken_at_us: now,
        started_at_us: now - 93_000_000_000,
        uptime_ms: 93_000_000,
        hash_rate: Rates {
            m1: 41.2 * TERA,
            m10: 38.6 * TERA,
            h1: 39.1 * TERA,
            d1: 38.9 * TERA,
            error: Errors {
                m1: Some(0.14),
                m10: Some(0.046),
                h1: Some(0.019),
                d1: Some(0.004),
            },
        },
        best_share: Some(BestShare {
            work: 48_120_000_000 << 32,
            worker: "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.garage".into(),
            at_us: now - 7_400_000_000,
        }),
        blocks: Blocks {
            found: 1,
            accepted: 1,
            last: Some(LastBlock {
                height: 915_204,
                hash: HASH.into(),
                at_us: now - 33_000_000_000,
                worker: "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.s19".into(),
            }),
            ..Blocks::default()
        },
        connections: Connections {
            open: 6,
            accepted: 31,
            refused: 0,
            faulted: 2,
            ..Connections::default()
        },
        channels: Channels {
            standard: 2,
            extended: 4,
        },
        workers_total: 6,
        ack_latency: latency.clone(),
        fan_out_latency: latency.clone(),
        ..Status::default()
    };
    status.blocks.submit_latency.record(2_300);
    status.ledger.commit_latency = latency;
    status.ledger.committed = 184_223;
    status.shares.accepted = 184_223;
    status.shares.rejected = 231;
    status.shares.accepted_10m = 1_204;
    status.shares.rejected_10m = 3;
    status.shares.by_reason = [
        ("stale-share", 214),
        ("difficulty-too-low", 12),
        ("duplicate-share", 5),
    ]
    .into();
    status.pool.key = KEY.into();
    status.pool.url = format!("stratum2+tcp://192.168.1.20:3333/{KEY}");
    status.pool.listen = "192.168.1.20:3333".into();
    status.pool.endpoints = vec![
        endpoint("stratum-v2", "stratum2+tcp", 3333, Some(KEY)),
        endpoint("stratum-v2-draft2022", "stratum2+tcp", 3333, Some(KEY)),
        endpoint("stratum-v1", "stratum+tcp", 3333, None),
        endpoint("stratum-v1-tls", "stratum+ssl", 4333, None),
    ];
    status.node.state = NodeState::Up;
    status.node.spec = "ipc:/home/bitcoin/.bitcoin/node.sock".into();
    status.node.name = "/Satoshi:31.0.0/".into();
    status.node.network = "main".into();
    status.node.height = 915_231;
    status.node.tip = "0000000000000000000078a4a8c1f5ed5b4c1e1f4a7c0f7a1f0c9a0f2d6e8b31".into();
    status.node.template_age_ms = Some(9_200);
    status.node.transactions = Some(3_412);
    status.node.fees_sat = Some(2_913_442);
    status.node.block_work = BLOCK_WORK;
    status.node.block_value_sat = Some(315_413_442);
    status
}

/// The same with somebody silent, below an upstream.
pub(crate) fn proxy_status() -> Status {
    let mut status = status();
    status.silent = 1;
    status.silent_names = vec!["bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.attic".into()];
    status.node.block_value_sat = None;
    status.uplink = Some(Uplink {
        upstream: "pool.example.org:3333".into(),
        place: Some(0),
        mode: "aggregate",
        changes: 3,
        figures: Figures {
            shares_sent: 41_220,
            shares_accepted: 41_190,
            shares_refused: 12,
            shares_stale: 18,
            shares_too_easy: 142_000,
            ..Figures::default()
        },
        ..Uplink::default()
    });
    status
}

fn name(
    name: &str,
    account: Option<&str>,
    state: State,
    tera: f64,
    device: [&str; 3],
    protocol: &'static str,
) -> Name {
    let now = now_us();
    let [vendor, model, firmware] = device.map(ToOwned::to_owned);
    let rejected = if tera > 20.0 { 214 } else { 3 };
    Name {
        name: name.into(),
        account: account.map(Into::into),
        state,
        pace: Estimate {
            hash_rate: tera * TERA,
            error: (tera > 0.0).then_some(0.091),
        },
        hash_rates: Averages {
            m1: tera * 1.08 * TERA,
            m5: tera * TERA,
            h1: tera * 0.99 * TERA,
            d1: tera * TERA,
            d7: tera * 1.01 * TERA,
        },
        channels: u64::from(state != State::Offline),
        share_work: 8_192 << 32,
        accepted: (tera * 4_000.0) as u64,
        rejected,
        by_reason: [("stale-share", rejected)].into(),
        work: (tera * 1e16) as u128,
        best_work: ((tera * 1e9) as u128) << 32,
        since_us: now - 86_000_000_000,
        last_share_us: (tera > 0.0).then(|| now - 3_400_000),
        device: Some(Arc::new(Device {
            vendor,
            model,
            firmware,
        })),
        protocol,
        ..Name::default()
    }
}

fn peer(id: u64, row: &Name, address: &str) -> Peer {
    let channel = Channel {
        id: 1,
        kind: "extended",
        name: row.name.as_str().into(),
        state: row.state,
        since_us: row.since_us,
        share_work: row.share_work,
        pace: row.pace,
        accepted: row.accepted,
        rejected: row.rejected,
        best_work: row.best_work,
        last_share_us: row.last_share_us,
        ..Channel::default()
    };
    Peer {
        id,
        address: address.into(),
        protocol: row.protocol,
        role: "mining",
        device: row.device.clone().unwrap_or_default(),
        since_us: row.since_us,
        channels: vec![channel],
    }
}

fn history() -> History {
    let now_s = now_us() / 1_000_000;
    let start_s = now_s - 90_000;
    let mut history = History::starting(start_s);
    for minute in 0..1_500u64 {
        // A day with a wave, a farm that comes later, and an outage.
        let wave = ((minute as f64) / 90.0).sin() * 2.0 + ((minute * 7_919 % 101) as f64 - 50.0) / 12.0;
        let base = if minute < 500 { 22.0 } else { 38.0 };
        let tera = if (900..915).contains(&minute) {
            0.0
        } else {
            base + wave
        };
        let (work, shares) = (tera * TERA * 60.0, if tera > 0.0 { 120 } else { 0 });
        let slot = Slot {
            work,
            squares: if shares > 0 {
                work * work / f64::from(shares)
            } else {
                0.0
            },
            accepted: u64::from(shares as u32),
            rejected: minute % 3,
            channels: 6,
            ..Slot::default()
        };
        history.add(start_s + minute * 60, &slot);
    }
    history
}

/// Who is here.
pub(crate) fn roster() -> Roster {
    let now = now_us();
    let account = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
    let whole = |worker: &str| format!("{account}.{worker}");
    let mut owner = name(
        account,
        None,
        State::Mining,
        36.7,
        ["NerdQAxe++", "", "1.0.36"],
        "current",
    );
    owner.workers = 4;
    let garage = name(
        &whole("garage"),
        Some(account),
        State::Mining,
        4.8,
        ["NerdQAxe++", "", "1.0.36"],
        "current",
    );
    let s19 = name(
        &whole("s19"),
        Some(account),
        State::Mining,
        31.2,
        ["bmminer", "", "1.0.0"],
        "stratum-v1",
    );
    let desk = name(
        &whole("desk"),
        Some(account),
        State::Starting,
        0.0,
        ["bitaxe", "Gamma 601", "2.9.1"],
        "current",
    );
    let attic = name(
        &whole("attic"),
        Some(account),
        State::Silent,
        0.0,
        ["bitaxe", "Ultra 204", "2.4.0"],
        "current",
    );
    let nerd = name(
        "bc1qnerdnerdnerdnerdnerdnerdnerdnerdnerd",
        None,
        State::Mining,
        0.00000008,
        ["NerdMinerV2", "", "1.6.3"],
        "stratum-v1",
    );
    let rude = name(
        RUDE,
        None,
        State::Mining,
        1.9,
        ["<script>alert(1)</script>", "", ""],
        "draft2022-aesgcm",
    );
    let gone = name("old.rig", None, State::Offline, 0.0, ["", "", ""], "");
    let peers = vec![
        peer(1, &garage, "192.168.1.31:50123"),
        peer(2, &s19, "192.168.1.40:41822"),
        peer(3, &desk, "192.168.1.32:50991"),
        peer(4, &attic, "192.168.1.33:51002"),
        peer(5, &nerd, "192.168.1.77:61234"),
        peer(6, &rude, "[2001:db8::7]:5000"),
    ];
    let recent = |worker: &Name, seconds: u64, difficulty: u128| Recent {
        at_us: now - seconds * 1_000_000,
        name: worker.name.clone(),
        count: 1,
        work: 8_192 << 32,
        best_work: difficulty << 32,
    };
    let mut names = vec![
        owner,
        garage.clone(),
        s19.clone(),
        desk,
        attic,
        nerd,
        rude.clone(),
        gone,
    ];
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let fates = [
        (Fate::Confirmed, ""),
        (Fate::Stale, ""),
        (Fate::Rejected, "bad-txnmrklroot"),
    ];
    let blocks = fates
        .into_iter()
        .zip(0u64..)
        .map(|((fate, reason), number)| Block {
            height: 915_204 - number * 311,
            hash: if number == 0 {
                HASH.into()
            } else {
                format!("{HASH:.62}{number:02}")
            },
            at_us: now - (33_000 + number * 90_000) * 1_000_000,
            worker: s19.name.clone(),
            value_sat: Some(314_221_008 + number),
            fate,
            confirmations: if fate == Fate::Confirmed { 100 } else { 0 },
            reason: reason.into(),
        });
    let output = |address: Option<&str>, purpose, value_sat: u64, script: &str| Payment {
        address: address.map(Into::into),
        purpose,
        value_sat,
        part: value_sat as f64 / 315_413_442.0,
        script: script.into(),
    };
    Roster {
        taken_at_us: now,
        names,
        peers,
        shares: vec![
            recent(&s19, 1, 11_200),
            recent(&garage, 3, 9_004),
            recent(&rude, 6, 8_800),
            recent(&s19, 9, 120_331),
            recent(&s19, 12, 20_000),
        ],
        blocks: blocks.collect(),
        coinbase: Some(Arc::new(Coinbase {
            height: 915_232,
            prev_hash: "0000000000000000000078a4a8c1f5ed5b4c1e1f4a7c0f7a1f0c9a0f2d6e8b31".into(),
            value_sat: 315_413_442,
            fees_sat: Some(2_913_442),
            transactions: Some(3_412),
            tag: "/adit/".into(),
            script_sig: "03f0f60d2f616469742f0000000100000000000000000000000000000000".into(),
            outputs: vec![
                output(
                    Some(account),
                    "payout",
                    309_105_174,
                    "0014e8df018c7e326cc253faac7e46cdc51e68542c42",
                ),
                output(
                    Some("bc1qnerdnerdnerdnerdnerdnerdnerdnerdnerd"),
                    "payout",
                    6_308_268,
                    "0014aa",
                ),
                output(
                    None,
                    "commitment",
                    0,
                    "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9",
                ),
            ],
            bytes: 254,
            block_work: BLOCK_WORK,
            upstream: String::new(),
        })),
        history: Some(Arc::new(history())),
        ..Roster::default()
    }
}
