//! Both sides of Stratum V1 against each other: what the client makes of our server's lines is the job that the server
//! judges by.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::extranonce::{Extranonce, Layout};
use adit_proto::job::Job;
use adit_proto::mining::server::Input as MiningInput;
use adit_proto::share;
use adit_proto::sv1::client::{Client, Event, Input, Settings, Share, Work};
use adit_proto::sv1::server::Input as ServerInput;
use adit_proto::{Fault, Time};
use core::time::Duration;
use serde_json::{Value, json};
use sv1::*;

fn settings() -> Settings {
    Settings {
        user: "farm.proxy".into(),
        password: "x".into(),
        agent: "adit/test".into(),
        version_mask: 0x1fff_e000,
        extranonce2_min: 4,
        reconnect_to: vec![("pool.example".into(), 3334)],
    }
}

struct Pair {
    pool: Line,
    client: Client,
    events: Vec<Event>,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            pool: Line::new(),
            client: Client::new(settings()),
            events: Vec::new(),
        };
        pair.pool.work(&job(1, 1));
        pair.client(Input::Start);
        pair
    }

    /// Gives the client an input, and carries all lines to and fro.
    fn client(&mut self, input: Input<'_>) {
        let mut lines = Vec::new();
        self.client
            .handle(self.pool.now, input, &mut lines, &mut self.events)
            .unwrap();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let said = self.pool.try_give(ServerInput::Line(line)).unwrap();
            self.hear(&said);
        }
    }

    fn hear(&mut self, said: &[Value]) {
        for line in said {
            self.client(Input::Line(line.to_string().as_bytes()));
        }
    }

    fn work(&self) -> &Work {
        let works = self.events.iter().rev().find_map(|event| match event {
            Event::Job(work) => Some(work),
            _ => None,
        });
        works.expect("work")
    }

    /// Finds a share of the newest job as a branch pool would, and hands it in.
    fn mine(&mut self, number: u64, rolled: u64, version_bits: u32) -> Share {
        let work = self.work();
        let job = Job::new(work.fields.clone()).unwrap();
        let Extranonces { whole, bytes } = extranonce(rolled);
        let target = self.events.iter().rev().find_map(|event| match event {
            Event::Target(target) => Some(*target),
            _ => None,
        });
        let version = work.fields.version | version_bits;
        let root = job.merkle_root(&whole);
        let nonce = (0..).find(|nonce| {
            let claim = share::Claim {
                nonce: *nonce,
                ntime: work.fields.min_ntime,
                version,
            };
            use bitcoin::hashes::{Hash, sha256d};
            target
                .unwrap()
                .is_met_by(&sha256d::Hash::hash(&share::header(&job, &root, &claim)).to_byte_array())
        });
        let share = Share {
            number,
            job: work.number,
            extranonce: bytes,
            ntime: work.fields.min_ntime,
            nonce: nonce.unwrap(),
            version,
        };
        self.client(Input::Share(share.clone()));
        share
    }
}

struct Extranonces {
    whole: Extranonce,
    bytes: Vec<u8>,
}

/// A branch's extranonce: prefix 0, the rest rolled.
fn extranonce(rolled: u64) -> Extranonces {
    let layout = Layout::branch(8).unwrap();
    let rest = &rolled.to_be_bytes()[layout.prefix_bytes()..];
    let whole = Extranonce::rolled([0; 7], rest, layout.default_size()).unwrap();
    Extranonces {
        bytes: whole.as_bytes().to_vec(),
        whole,
    }
}

#[test]
fn shares_of_a_branch_are_the_pools() {
    let mut pair = Pair::new();
    assert!(pair.events.iter().any(|event| matches!(
        event,
        Event::Entered {
            extranonce_bytes: 8,
            version_mask: 0x1fff_e000
        }
    )));
    pair.mine(1, 7, 0);
    pair.mine(2, 8, 0xa000);
    assert_eq!(pair.pool.shares.len(), 2, "{:?}", pair.events);
    let told = pair.pool.commit();
    pair.hear(&told);
    let accepted = |event: &Event| matches!(event, Event::Accepted { .. });
    assert_eq!(pair.events.iter().filter(|event| accepted(event)).count(), 2);
    assert_eq!(pair.client.pending_count(), 0);

    // A new tip: the old job's share is not even sent.
    let late = pair.mine(3, 9, 0);
    let told = pair.pool.work(&job(2, 1));
    pair.hear(&told);
    assert_eq!((pair.work().fields.tip, pair.work().clean), (2, true));
    pair.client(Input::Share(Share { number: 4, ..late }));
    assert!(matches!(
        pair.events.last(),
        Some(Event::Refused {
            number: 4,
            code: 21,
            ..
        })
    ));
    // Bits that the pool did not grant.
    let share = pair.mine(5, 10, 0);
    let version = share.version | 0x20;
    pair.client(Input::Share(Share {
        number: 6,
        version,
        ..share
    }));
    assert!(matches!(
        pair.events.last(),
        Some(Event::Refused {
            number: 6,
            code: 20,
            ..
        })
    ));
    let other = Share {
        number: 7,
        nonce: 0,
        ..pair.mine(8, 11, 0)
    };
    pair.client(Input::Share(other));
    assert!(
        matches!(
            pair.events.last(),
            Some(Event::Refused {
                number: 7,
                code: 23,
                ..
            })
        ),
        "{:?}",
        pair.events.last()
    );
    pair.pool.give(MiningInput::Drain);
}

#[test]
fn reconnect_goes_only_where_it_is_allowed() {
    let mut pair = Pair::new();
    let mut sent = |params: Value| {
        pair.hear(&[json!({"id": null, "method": "client.reconnect", "params": params})]);
        matches!(pair.events.last(), Some(Event::Reconnect { .. }))
    };
    assert!(sent(json!([])), "the same place");
    assert!(sent(json!(["pool.example", 3334, 0])));
    assert!(sent(json!(["Pool.Example", "3334"])));
    assert!(!sent(json!(["pool.example", 3335])));
    assert!(!sent(json!(["evil.example", 3334])));
}

#[test]
fn old_pools_and_bad_ones() {
    let start = |now| {
        let mut client = Client::new(settings());
        let mut lines = Vec::new();
        client
            .handle(now, Input::Start, &mut lines, &mut Vec::new())
            .unwrap();
        client
    };
    let say = |client: &mut Client, now, line: Value| -> Result<String, Fault> {
        let mut lines = Vec::new();
        client.handle(
            now,
            Input::Line(line.to_string().as_bytes()),
            &mut lines,
            &mut Vec::new(),
        )?;
        Ok(String::from_utf8(lines).unwrap())
    };
    let now = Time::from_unix_s(1_000);
    // No answer to configure: it goes on without.
    let mut client = start(now);
    let later = now + Duration::from_secs(10);
    let mut lines = Vec::new();
    client
        .handle(later, Input::Deadline, &mut lines, &mut Vec::new())
        .unwrap();
    assert!(String::from_utf8(lines).unwrap().contains("mining.subscribe"));
    let authorize = say(
        &mut client,
        later,
        json!({"id": 2, "result": [[], "0102", 4], "error": null}),
    )
    .unwrap();
    assert!(authorize.contains("mining.authorize"));
    let no = say(
        &mut client,
        later,
        json!({"id": 3, "result": false, "error": null}),
    );
    assert_eq!(no.unwrap_err().kind(), "incompatible");
    // Jobs and difficulties that are none.
    for line in [
        json!({"id": null, "method": "mining.notify", "params": ["1", "00", "", "", [], "0", "0", "0", true]}),
        json!({"id": null, "method": "mining.notify", "params": []}),
        json!({"id": null, "method": "mining.set_difficulty", "params": [0]}),
        json!({"id": null, "method": "mining.set_difficulty", "params": [-1]}),
        json!({"id": null, "method": "mining.set_extranonce", "params": ["zz", 4]}),
        json!({"id": null, "method": "mining.set_extranonce", "params": ["00", 400]}),
        json!([]),
    ] {
        assert_eq!(
            say(&mut start(now), now, line.clone()).unwrap_err().kind(),
            "malformed",
            "{line}"
        );
    }
    let few = json!({"id": null, "method": "mining.set_extranonce", "params": ["00", 3]});
    assert_eq!(say(&mut start(now), now, few).unwrap_err().kind(), "incompatible");
    let mut client = start(now);
    let asked = say(
        &mut client,
        now,
        json!({"id": 9, "method": "client.get_version", "params": []}),
    )
    .unwrap();
    assert!(
        asked.contains("adit/test") && asked.contains("\"id\":9"),
        "{asked}"
    );
}
