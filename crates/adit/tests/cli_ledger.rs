//! `adit ledger` over a journal that a pool would have written.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use adit_ledger::record::{BlockFound, WorkerNamed, account_parts};
use adit_ledger::{Entry, Share};
use serde_json::Value;

fn adit(data: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command
        .env_clear()
        .env("HOME", "/nowhere")
        .args(line.split(' '))
        .arg("--data")
        .arg(data);
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Twelve shares of two names, one of them a block.
fn pool_has_run() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let opened = adit_ledger::open(data.path(), Default::default(), "adit test", 1_000).unwrap();
    let mut journal = opened.journal;
    let (alice, mallory) = ([1; 16], [2; 16]);
    for part in account_parts(alice, "alice.rig").chain(account_parts(mallory, "mal\u{1b}[2J\nlory")) {
        journal.append(2_000, &Entry::Account(part));
    }
    for account in [alice, mallory] {
        journal.append(
            2_000,
            &Entry::Worker(WorkerNamed::new(account, [7; 16], "r\u{7}1")),
        );
    }
    for n in 0..12u8 {
        let share = Share {
            account: if n < 4 { alice } else { mallory },
            worker: (n % 2 == 1).then_some([7; 16]),
            hash: [n + 1; 32],
            work: if n < 4 { 1_000 } else { 10 },
            channel: 7,
            time_us: 3_000 + u64::from(n),
            ntime: 1,
            nonce: u32::from(n),
            version: 0x2000_0000,
            height: 101,
            is_block: n == 3,
            solo: false,
        };
        journal.append(share.time_us, &Entry::Share(share));
    }
    let block = BlockFound {
        hash: [4; 32],
        height: 101,
        value: 5_000_000_000,
        account: alice,
        channel: 7,
        worker: Some([7; 16]),
    };
    journal.append(4_000, &Entry::Block(block));
    journal.commit().unwrap();
    journal.stop(5_000).unwrap();
    data
}

#[test]
fn a_sound_ledger_is_summed_up() {
    let data = pool_has_run();
    let verified = adit(data.path(), "ledger verify --json");
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    let report = json(&verified);
    assert_eq!(
        (&report["shares"], &report["work"]),
        (&Value::from(12), &Value::from("4080"))
    );
    assert_eq!(
        (&report["blocks"], &report["duplicate_hashes"]),
        (&Value::from(1), &Value::from(0))
    );
    let told = adit(data.path(), "ledger verify");
    assert!(
        String::from_utf8_lossy(&told.stdout).starts_with("sound: "),
        "{told:?}"
    );
}

#[test]
fn top_lists_the_most_work_first_and_prints_no_control_character() {
    let data = pool_has_run();
    let top = json(&adit(data.path(), "ledger top --json"));
    assert_eq!(top[0]["name"], "alice.rig");
    assert_eq!(
        (&top[0]["work"], &top[0]["blocks"]),
        (&Value::from("4000"), &Value::from(1))
    );
    assert_eq!(top[1]["shares"], 8);
    assert_eq!(
        json(&adit(data.path(), "ledger top --count 1 --json"))
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let worker = &top[0]["workers"][0];
    assert_eq!(
        (&worker["name"], &worker["work"], &worker["blocks"]),
        (&Value::from("r\u{7}1"), &Value::from("2000"), &Value::from(1)),
        "a worker's sums are parts of the account's"
    );
    let table = String::from_utf8(adit(data.path(), "ledger top").stdout).unwrap();
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains("\n  alice.rig.r"), "{table}");
    let accounts = String::from_utf8(adit(data.path(), "ledger top --workers 0").stdout).unwrap();
    assert_eq!(accounts.lines().count(), 3, "{accounts}");
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
}

#[test]
fn export_writes_every_record() {
    let data = pool_has_run();
    let lines = String::from_utf8(adit(data.path(), "ledger export --json").stdout).unwrap();
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        records.iter().filter(|record| record["kind"] == "share").count(),
        12
    );
    let named = |name: &str| records.iter().filter(|record| record["worker"] == name).count();
    // Two shares, the name, and the block.
    assert_eq!(named("alice.rig.r\u{7}1"), 4);
    let csv = String::from_utf8(adit(data.path(), "ledger export").stdout).unwrap();
    assert_eq!(csv.lines().count(), records.len() + 1);
    assert!(csv.starts_with("front_end,sequence,"));
}

/// The database is made, proven, ruined, told apart, and made again.
#[test]
fn a_database_is_made_and_proven() {
    let data = pool_has_run();
    assert_eq!(
        json(&adit(data.path(), "ledger verify --json"))["database"],
        Value::Null
    );
    let rebuilt = json(&adit(data.path(), "ledger rebuild --json"));
    assert_eq!(rebuilt["records"], 19, "{rebuilt}");
    let proven = json(&adit(data.path(), "ledger verify --json"));
    assert_eq!(
        (&proven["database"]["last"], &proven["database"]["behind"]),
        (&Value::from(19), &Value::from(0))
    );
    let told = String::from_utf8(adit(data.path(), "ledger verify").stdout).unwrap();
    assert!(
        told.contains("agrees up to record 19: 2 accounts, 2 workers, and its history"),
        "{told}"
    );

    let file = data.path().join("books.sqlite");
    let db = adit::books::Db::Sqlite(Some(file.clone()));
    let mut store = db.open().unwrap();
    store
        .batch("UPDATE tallies SET work_lo = work_lo - 1 WHERE shares = 4")
        .unwrap();
    drop(store);
    let differs = adit(data.path(), "ledger verify");
    assert_eq!(differs.status.code(), Some(1), "{differs:?}");
    let told = String::from_utf8(differs.stderr).unwrap();
    assert!(
        told.contains("alice.rig") && told.contains("work is 4000 in the journal and 3999"),
        "{told}"
    );
    assert!(told.contains("adit ledger rebuild"), "{told}");
    // Whoever looks at the journal only says so.
    assert_eq!(adit(data.path(), "ledger verify --db off").status.code(), Some(0));
    assert_eq!(adit(data.path(), "ledger rebuild").status.code(), Some(0));
    assert_eq!(adit(data.path(), "ledger verify").status.code(), Some(0));

    let mut store = db.open().unwrap();
    store
        .batch("INSERT INTO schema_versions (version, software) VALUES (99, 'adit 9')")
        .unwrap();
    drop(store);
    for command in ["ledger verify", "ledger rebuild"] {
        let newer = adit(data.path(), command);
        let told = String::from_utf8(newer.stderr).unwrap();
        assert!(
            told.contains("tables of version 99") && told.contains("--db"),
            "{told}"
        );
    }
    let elsewhere = data.path().join("elsewhere.sqlite");
    let line = format!("ledger rebuild --db sqlite:{}", elsewhere.display());
    assert_eq!(adit(data.path(), &line).status.code(), Some(0));
    assert!(elsewhere.exists());
    let wrong = adit(data.path(), "ledger verify --db mysql://me:secret@host/db");
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(told.contains("postgres://") && !told.contains("secret"), "{told}");
    assert_eq!(wrong.status.code(), Some(2));
}

fn journal_file(data: &Path) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(data.join("ledger"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.metadata().unwrap().len() > 1_000);
    files.sort();
    files.remove(0)
}

#[test]
fn damage_is_status_1() {
    let data = pool_has_run();
    let path = journal_file(data.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[700] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let verified = adit(data.path(), "ledger verify --json");
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert_eq!(json(&verified)["error"]["code"], 1);
    assert!(
        String::from_utf8_lossy(&verified.stderr).contains("help: nothing was changed"),
        "{verified:?}"
    );
}

#[test]
fn a_folder_without_a_ledger_is_named() {
    let data = tempfile::tempdir().unwrap();
    let nothing = data.path().join("nothing");
    let verified = adit(&nothing, "ledger verify");
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert!(
        String::from_utf8_lossy(&verified.stderr).contains("--data DIR"),
        "{verified:?}"
    );
    assert!(!nothing.exists(), "reading makes nothing");
}
