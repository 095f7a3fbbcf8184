//! A running pool is held to its own OpenAPI document by a program that somebody else wrote.

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use adit::http::TOKEN_FILE;
use adit_testkit::{Running, peers};
use support::House;
use support::lines::Rig;
use support::miner::{How, Miner};

/// How long all requests together may take, on a machine busy with other things too.
const LIMIT: Duration = Duration::from_secs(900);
/// What each answer is held to.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Every operation is asked with what the document allows and with what it does not, by an operator with the token: no
/// server error, and every answer is what the document says.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_what_the_document_says() {
    let Some([schemathesis]) = peers::need(["schemathesis"]) else {
        return;
    };
    let house = House::open(&[("http.listen", "127.0.0.1:0")]).await;
    let mut modern = Miner::start(house.pool.url(), How::Extended, "alice").await;
    let mut old = Rig::start(house.pool.url(), "bob.rig").await;
    modern.mine(0..20).await;
    old.mine(0..20).await;
    let site = house.pool.http().unwrap();
    let token = fs::read_to_string(house.data.path().join(TOKEN_FILE)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let mut command = Command::new(schemathesis);
    command
        .arg("run")
        .arg(format!("http://{site}/api/v1/openapi.json"))
        .args([
            "--checks",
            CHECKS,
            "--seed",
            "1",
            "--max-examples",
            "25",
            "--no-color",
        ])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--generation-database",
            "none",
        ])
        .args([
            "--request-timeout",
            "60",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
        ])
        // A stream has no end to wait for.
        .args(["--exclude-path", "/api/v1/events"])
        .args(["--header", &format!("Authorization: Bearer {}", token.trim())])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(File::create(&said).unwrap())
        .stderr(File::create(folder.path().join("errors")).unwrap());
    let mut process = Running::start(&mut command).unwrap();
    let ended = tokio::task::spawn_blocking(move || process.wait(LIMIT))
        .await
        .unwrap();
    let said = fs::read_to_string(said).unwrap() + &fs::read_to_string(folder.path().join("errors")).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {said}");
    assert!(
        said.contains("Tested: 31"),
        "every operation but the stream: {said}"
    );
    house.close().await;
}
