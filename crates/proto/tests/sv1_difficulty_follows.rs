//! Difficulty of Stratum V1 miners: where they start, what they may wish, and where it settles.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::Time;
use adit_proto::mining::server::Settings;
use adit_proto::sv1::difficulty::Difficulty;
use adit_proto::vardiff::{Aim, Bounds, SHARES_PER_MINUTE, Steps, Vardiff};
use core::time::Duration;
use serde_json::json;
use sv1::*;

/// A pool for the world: blocks are far away.
fn far() -> std::sync::Arc<adit_proto::job::Job> {
    let fields = adit_proto::job::Fields {
        nbits: 0x1702_0000,
        ..sv1::pool::fields(1, 1)
    };
    std::sync::Arc::new(adit_proto::job::Job::new(fields).unwrap())
}

fn line(vardiff: bool) -> Line {
    let settings = Settings {
        vardiff,
        work_min: 65_536,
        ..settings()
    };
    let mut line = Line::with(settings, Difficulty::nearest(512.0).unwrap());
    line.work(&far());
    line
}

/// With and without vardiff a miner starts exactly where it is wished, or where the pool says.
#[test]
fn a_miner_starts_where_it_wishes() {
    for vardiff in [true, false] {
        let start = |password: &str, wishes: &[(&str, serde_json::Value)]| {
            let mut line = line(vardiff);
            for (method, params) in wishes {
                line.ask(method, params.clone());
            }
            line.enter("alice", password);
            line.difficulty()
        };
        assert_eq!(start("x", &[]), 512.0);
        assert_eq!(start("d=4096", &[]), 4096.0);
        assert_eq!(start("x", &[("mining.suggest_difficulty", json!([64]))]), 64.0);
        assert_eq!(
            start("d=16", &[("mining.suggest_difficulty", json!([64]))]),
            16.0,
            "the password counts more"
        );
        let target = format!("{:064x}", 0).replacen("0000000000", "000000ffff", 1);
        assert_eq!(
            start("x", &[("mining.suggest_target", json!([target]))]),
            0.003_906_25
        );
        let least = json!([["minimum-difficulty"], {"minimum-difficulty.value": 3000}]);
        assert_eq!(
            start("x", &[("mining.configure", least.clone())]),
            4096.0,
            "not below what it asked for"
        );
        assert_eq!(start("d=64", &[("mining.configure", least)]), 4096.0);
        assert_eq!(
            start("d=0.0000000001", &[]),
            2f64.powi(-16),
            "the pool's floor stands above wishes"
        );
        assert_eq!(start("d=1e30", &[]), 2f64.powi(31));
    }
}

/// A wish in the middle of mining is followed at once, and told before the job that it is for.
#[test]
fn a_wish_is_followed_while_mining() {
    let mut line = line(true);
    line.enter("alice", "x");
    line.now = line.now + Duration::from_secs(2);
    let told = line.ask("mining.suggest_difficulty", json!([8192]));
    assert_eq!(kinds(&told), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(line.difficulty(), 8192.0);
    let least = json!([["minimum-difficulty"], {"minimum-difficulty.value": 16384}]);
    line.now = line.now + Duration::from_secs(2);
    assert_eq!(
        kinds(&line.ask("mining.configure", least)),
        ["answer", "mining.set_difficulty", "mining.notify"]
    );
    assert_eq!(line.difficulty(), 16384.0);
}

/// From an ESP32 to a container of machines: within two minutes shares come at the wished rate, as near as a power of two
/// is, and then the difficulty stays for hours.
#[test]
fn every_device_settles_near_the_wished_rate() {
    let aim = Aim {
        adjust: true,
        shares_per_minute: SHARES_PER_MINUTE,
    };
    let bounds = Bounds {
        min: 65_536,
        max: u64::MAX,
        steps: Steps::Difficulties,
    };
    let mut luck = 7u64;
    let mut random = move || {
        luck = luck
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((luck >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    };
    for hash_rate in [55e3, 1e6, 5e8, 1.2e12, 1.4e13, 2e14, 5e15] {
        let start = Difficulty::nearest(512.0).unwrap().work();
        let claim = Vardiff::claim_for(start, aim);
        let mut now = Time::from_unix_s(1_000);
        let (settled, end) = (
            now + Duration::from_secs(180),
            now + Duration::from_secs(6 * 3_600),
        );
        let mut vardiff = Vardiff::new(now, claim, aim, bounds);
        assert_eq!(vardiff.work(), start);
        let (mut shares, mut changes) = (0u32, 0);
        while now < end {
            // The next share, or the next look.
            let wait = -random().ln() * vardiff.work() as f64 / hash_rate;
            let at = now + Duration::from_secs_f64(wait.min(1e6));
            let before = vardiff.work();
            if at <= vardiff.deadline() {
                now = at;
                shares += u32::from(now >= settled);
                if vardiff.note(now) {
                    vardiff.look(now, aim, bounds);
                }
            } else {
                now = vardiff.deadline().max(now);
                vardiff.look(now, aim, bounds);
            }
            changes += u32::from(now >= settled && before != vardiff.work());
        }
        let a_minute = f64::from(shares) / (6.0 * 60.0 - 3.0);
        let wished = f64::from(SHARES_PER_MINUTE);
        let ratio = a_minute / wished;
        assert!((0.5..2.0).contains(&ratio), "{hash_rate}: {a_minute} a minute");
        assert!(changes <= 3, "{hash_rate}: changed {changes} times");
        assert_eq!(
            Difficulty::of_work(vardiff.work()).work(),
            vardiff.work(),
            "a power of two"
        );
    }
}
