//! How channels are paid: by the plan of their user name, whatever else is open on their connection.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::job::{Fields, Job};
use adit_proto::mining::server::{Event, Input, JOBS_PER_TIP, Kind, Output, Server, Settings};
use adit_proto::plan::{Payee, Payouts, Plan, UserRules, Users};
use adit_proto::setup::Device;
use adit_proto::sv1::difficulty::Difficulty;
use adit_proto::target::Target;
use adit_wire::common::flags::REQUIRES_STANDARD_JOBS;
use adit_wire::mining::{OpenExtendedMiningChannel, OpenStandardMiningChannel, ToClient};
use adit_wire::{U256, refusal};
use bitcoin::{Amount, Script, ScriptBuf, Transaction, TxOut};
use pool::{
    NBITS_EASY, Pool, code, events, fields, names, open_extended, open_standard, sent, settings, text,
};
use serde_json::json;
use std::sync::Arc;
use sv1::pool;

/// Pays what a plan names; the pool's script is one byte.
#[derive(Debug)]
struct Purse;

impl Payouts for Purse {
    fn number(&self) -> u64 {
        5
    }

    fn outputs(&self, plan: &Plan, value: u64) -> Vec<TxOut> {
        let pays = |value: u64, script: &Script| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: script.to_owned(),
        };
        let pool = ScriptBuf::from_bytes(vec![0x60]);
        match plan {
            Plan::Pooled => (0..9)
                .map(|n| pays(if n == 0 { value - 8 } else { 1 }, &pool))
                .collect(),
            Plan::PooledSmall(_) => vec![pays(value, &pool)],
            Plan::Solo(payee) => vec![pays(value - 7, payee.script()), pays(7, &pool)],
        }
    }
}

/// `solo:X` is paid to a script of X, `nobody` is not let in, everybody else is in the pool.
#[derive(Debug)]
struct Names;

fn payee(name: &str) -> Payee {
    Payee::new(Script::from_bytes(name.as_bytes()))
}

impl Users for Names {
    fn plan(&self, user_identity: &str, bytes_max: Option<u32>) -> Result<Plan, String> {
        match (user_identity.split_once(':'), bytes_max) {
            (Some(("solo", name)), _) => Ok(Plan::Solo(payee(name))),
            _ if user_identity == "nobody" => Err("\"nobody\" is no address: give one".into()),
            (_, Some(bytes)) => Ok(Plan::PooledSmall(bytes)),
            _ => Ok(Plan::Pooled),
        }
    }

    fn bytes_max(&self, device: &Device) -> Option<u32> {
        (device.vendor.as_bytes() == b"bitaxe").then_some(8_192)
    }
}

fn with_users() -> Settings {
    Settings {
        users: Some(UserRules(Arc::new(Names))),
        ..settings()
    }
}

fn line() -> sv1::Line {
    let mining = Settings {
        users: Some(UserRules(Arc::new(Names))),
        ..sv1::settings()
    };
    sv1::Line::with(mining, Difficulty::MIN)
}

fn paying(tip: u64, template: u64) -> Arc<Job> {
    let fields = Fields {
        nbits: NBITS_EASY,
        ..fields(tip, template)
    };
    Arc::new(Job::paying(fields, Arc::new(Purse)).unwrap())
}

fn extended(pool: &mut Pool, user: &str) -> u32 {
    let open = OpenExtendedMiningChannel {
        user_identity: text(user),
        ..open_extended(1, 0.0, U256::MAX, 0)
    };
    pool::id_of(&pool.say(open))
}

fn standard(pool: &mut Pool, user: &str) -> u32 {
    let open = OpenStandardMiningChannel {
        user_identity: text(user),
        ..open_standard(1, 0.0, U256::MAX)
    };
    pool::id_of(&pool.say(open))
}

/// Mines on the active job of a channel until a block is found; the scripts that it pays, and whether shares say solo.
fn block_of(pool: &mut Pool, channel: u32) -> (Vec<Vec<u8>>, bool) {
    let job = pool.device.channels[&channel].active.unwrap();
    let network = Target::from_nbits(NBITS_EASY);
    let solved = pool
        .device
        .search(channel, job, 0, |hash| network.is_met_by(hash));
    let out = pool.say(solved);
    let found = out.iter().find_map(|output| match output {
        Output::Block(found) => Some(found.clone()),
        _ => None,
    });
    let coinbase: Transaction = bitcoin::consensus::deserialize(&found.unwrap().coinbase).unwrap();
    let mut scripts: Vec<Vec<u8>> = coinbase
        .output
        .iter()
        .map(|it| it.script_pubkey.to_bytes())
        .collect();
    scripts.retain(|script| script[0] != 0x6a);
    (scripts, pool::shares(&out)[0].solo)
}

/// One connection, every kind of plan: each block pays as its channel's name says.
#[test]
fn every_channel_mines_its_own_coinbase() {
    for header_only in [0, REQUIRES_STANDARD_JOBS] {
        let mut pool = Pool::with(with_users(), header_only);
        pool.work(&paying(1, 1));
        let open = if header_only == 0 { extended } else { standard };
        let (a, b) = (open(&mut pool, "solo:alice"), open(&mut pool, "solo:bob"));
        let (c, d) = (open(&mut pool, "carol"), standard(&mut pool, "solo:alice"));
        for (tip, template) in [(1, 2), (2, 3)] {
            pool.work(&paying(tip, template));
            let pooled = vec![vec![0x60]; 9];
            let alone = |name: &str| vec![name.as_bytes().to_vec(), vec![0x60]];
            assert_eq!(block_of(&mut pool, a), (alone("alice"), true));
            assert_eq!(block_of(&mut pool, b), (alone("bob"), true));
            assert_eq!(block_of(&mut pool, c), (pooled, false));
            assert_eq!(block_of(&mut pool, d), (alone("alice"), true));
        }
    }
}

/// A group has one size and one plan, so that its one message is right for all of its members.
#[test]
fn groups_are_of_one_plan() {
    let mut pool = Pool::with(with_users(), 0);
    pool.work(&paying(1, 1));
    let ids: Vec<u32> = ["solo:alice", "solo:alice", "solo:bob", "carol", "dave"]
        .iter()
        .map(|user| extended(&mut pool, user))
        .collect();
    let group = |at: usize| pool.device.channels[&ids[at]].group;
    assert_eq!((group(0), group(3)), (group(1), group(4)));
    assert!(group(0) != group(2) && group(0) != group(3) && group(2) != group(3));
    // Three plans, three messages: two to groups, one to a channel that is alone in its own.
    let out = pool.work(&paying(1, 2));
    assert_eq!(names(&out), ["NewExtendedMiningJob"; 3]);
    let out = pool.work(&paying(2, 3));
    assert_eq!(names(&out), ["NewExtendedMiningJob", "SetNewPrevHash"].repeat(3));
    // A plan that nobody has any more gets no jobs.
    pool.say(adit_wire::mining::CloseChannel {
        channel_id: ids[2],
        reason_code: refusal::CloseChannel::ShuttingDown.into(),
    });
    assert_eq!(names(&pool.work(&paying(2, 4))), ["NewExtendedMiningJob"; 2]);
}

/// Who works on the job of another plan would be paid by somebody else's coinbase.
#[test]
fn jobs_of_other_plans_are_none() {
    let mut pool = Pool::with(with_users(), 0);
    pool.work(&paying(1, 1));
    let (a, b) = (extended(&mut pool, "solo:alice"), extended(&mut pool, "solo:bob"));
    pool.work(&paying(1, 2));
    let job = pool.device.channels[&b].active.unwrap();
    let known = pool.device.channels[&b].jobs[&job].clone();
    let own = pool.device.channels[&a].prefix.clone();
    let mut stolen = known;
    stolen.prefix = own;
    pool.device.channels.get_mut(&a).unwrap().jobs.insert(job, stolen);
    assert_eq!(pool.submit(a, job), code(refusal::SubmitShares::InvalidJobId));
    assert!(pool.submit(b, job).is_ok());
}

/// However many plans there are, each one's jobs are good for as long as those of a single one.
#[test]
fn jobs_stay_good_under_every_plan() {
    let mut pool = Pool::with(with_users(), 0);
    pool.work(&paying(1, 1));
    let users: Vec<String> = (0..20).map(|n| format!("solo:miner{n}")).collect();
    let ids: Vec<u32> = users.iter().map(|user| extended(&mut pool, user)).collect();
    let first: Vec<u32> = ids
        .iter()
        .map(|id| pool.device.channels[id].active.unwrap())
        .collect();
    for template in 2..=JOBS_PER_TIP as u64 {
        pool.work(&paying(1, template));
    }
    for (id, job) in ids.iter().zip(&first) {
        assert!(pool.submit(*id, *job).is_ok());
    }
    pool.work(&paying(1, 99));
    for (id, job) in ids.iter().zip(&first) {
        assert_eq!(pool.submit(*id, *job), code(refusal::SubmitShares::StaleShare));
        let active = pool.device.channels[id].active.unwrap();
        assert!(pool.submit(*id, active).is_ok());
    }
}

/// Made once, and shared by whoever needs it.
#[test]
fn a_job_of_a_plan_is_made_once() {
    let work = paying(1, 1);
    let plan = Plan::Solo(payee("alice"));
    let (one, other) = (work.of_plan(&plan).unwrap(), work.of_plan(&plan).unwrap());
    assert!(Arc::ptr_eq(&one, &other) && *one.plan() == plan && one.payouts() == Some(5));
    assert!(Arc::ptr_eq(&work.of_plan(&Plan::Pooled).unwrap(), &work));
    // Work whose coinbase nobody here decides on is the same for all.
    let given = pool::job(1, 1);
    assert!(Arc::ptr_eq(&given.of_plan(&plan).unwrap(), &given));
}

/// A name that nobody can pay is refused with the spec's code; the log says what would be right.
#[test]
fn names_that_cannot_be_paid_are_refused() {
    let mut pool = Pool::with(with_users(), 0);
    pool.work(&paying(1, 1));
    for kind in [Kind::Standard, Kind::Extended] {
        let user_identity = text("nobody");
        let out = match kind {
            Kind::Standard => pool.say(OpenStandardMiningChannel {
                user_identity,
                ..open_standard(7, 0.0, U256::MAX)
            }),
            Kind::Extended => pool.say(OpenExtendedMiningChannel {
                user_identity,
                ..open_extended(7, 0.0, U256::MAX, 0)
            }),
        };
        let [ToClient::OpenMiningChannelError(error)] = &sent(&out)[..] else {
            panic!("{out:?}");
        };
        assert_eq!(
            (error.request_id, error.error_code.as_bytes()),
            (7, &b"unknown-user"[..])
        );
        let why = events(&out).into_iter().find_map(|event| match event {
            Event::UnknownUser { why, user_identity } if user_identity == text("nobody") => Some(why),
            _ => None,
        });
        assert!(why.unwrap().contains("no address"));
    }
    assert_eq!(pool.server.channel_count(), 0);
}

/// The same in Stratum V1, whose miner is told in words.
#[test]
fn stratum_v1_says_what_is_wrong_with_a_name() {
    let mut line = line();
    line.work(&paying(1, 1));
    line.ask("mining.subscribe", json!(["cgminer/4.12"]));
    let said = line.ask("mining.authorize", json!(["nobody.rig", "x"]));
    assert_eq!(
        said[0]["error"],
        json!([24, "\"nobody\" is no address: give one", null])
    );
    // Another name on the same connection may be right.
    let said = line.ask("mining.authorize", json!(["solo:alice.rig", "x"]));
    assert_eq!(said[0]["result"], true);
    let coinbase = line.notified()[3].as_str().unwrap().to_owned();
    assert!(
        coinbase.contains(&bitcoin::hex::DisplayHex::to_lower_hex_string(&b"alice"[..])),
        "{coinbase}"
    );
}

/// A small device is known by what it says at setup, in Stratum V1 at subscribe; others have the whole coinbase.
#[test]
fn small_devices_get_small_coinbases() {
    let mut established = pool::established(0, 0);
    established.device.vendor = text("bitaxe");
    let slot = adit_proto::extranonce::Space::new(1, 5..6).lease(0).unwrap();
    let mut small = Pool::new(0);
    small.server = Server::new(pool::START, Arc::new(with_users()), &established, slot);
    let mut large = Pool::with(with_users(), 0);
    let outputs = |pool: &mut Pool| {
        let out = pool.work(&paying(1, 1));
        assert!(out.is_empty());
        let channel = extended(pool, "carol");
        block_of(pool, channel).0.len()
    };
    assert_eq!((outputs(&mut small), outputs(&mut large)), (1, 9));
    for (agent, length) in [("bitaxe", 1), ("cgminer", 9)] {
        let mut line = line();
        line.work(&paying(1, 1));
        line.ask("mining.authorize", json!(["carol", "x"]));
        line.ask("mining.subscribe", json!([agent]));
        let suffix = line.notified()[3].as_str().unwrap().to_owned();
        // Sequence, then the number of outputs with the commitment.
        assert_eq!(suffix[8..10], format!("{:02x}", length + 1), "{agent}");
    }
}

/// The common case is as it was: without rules nobody has a plan of its own.
#[test]
fn without_rules_everybody_is_pooled() {
    let mut pool = Pool::with(settings(), 0);
    pool.give(Input::Work(paying(1, 1)));
    let channel = extended(&mut pool, "solo:alice");
    assert_eq!(block_of(&mut pool, channel), (vec![vec![0x60]; 9], false));
}
