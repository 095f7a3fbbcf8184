//! Keys of a running pool are changed: nobody loses a connection, and whoever comes next sees the new ones.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::fs;
use std::path::Path;

use adit_net::{Clock, Url, random};
use adit_noise::{ACT2_BYTES, AuthorityKey, Initiator, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

mod support;

use support::miner::{How, Miner};
use support::peer::tcp;
use support::process::run;
use support::{House, picture, pool, until};

fn adit(home: &Path, line: &str) -> String {
    let output = run(home, line);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// First and last second of the certificate that a new connection is shown, and whether it believes it.
async fn shown(url: &Url, key: AuthorityKey) -> ((u32, u32), bool) {
    let mut stream = tcp(url, std::net::Ipv4Addr::LOCALHOST).await.unwrap();
    let (initiator, act1) = Initiator::new(random::bytes()).unwrap();
    stream.write_all(&act1).await.unwrap();
    let mut act2 = [0; ACT2_BYTES];
    stream.read_exact(&mut act2).await.unwrap();
    let examined = initiator.examine(&act2).unwrap();
    let (from, to) = (
        examined.certificate().valid_from(),
        examined.certificate().not_valid_after(),
    );
    let AuthorityKey::Current(key) = key else {
        panic!("{key}")
    };
    let believed = examined
        .believe(&Trust::Authority(key), Clock::system().unix_s())
        .is_ok();
    ((from, to), believed)
}

/// A folder whose authority is elsewhere, and the command that issues and installs another certificate.
struct Offline {
    home: tempfile::TempDir,
}

impl Offline {
    fn new(days: u32) -> Self {
        let offline = Self {
            home: tempfile::tempdir().unwrap(),
        };
        let home = offline.home.path();
        adit(
            home,
            &format!("keys authority --out {}", home.join("vault").display()),
        );
        adit(home, &format!("keys request --data {}", offline.data().display()));
        offline.install("vault", days, "");
        offline
    }

    fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }

    fn install(&self, vault: &str, days: u32, more: &str) {
        let home = self.home.path();
        let vault = home.join(vault);
        let issued = adit(
            home,
            &format!(
                "keys issue --authority {} --days {days} --data {}",
                vault.display(),
                self.data().display()
            ),
        );
        let file = home.join(format!("certificates-{days}.toml"));
        fs::write(&file, issued).unwrap();
        adit(
            home,
            &format!(
                "keys install {} --data {} {more}",
                file.display(),
                self.data().display()
            ),
        );
    }
}

const DAY: u32 = 86_400;

/// The certificate is replaced under a pool that runs: the miner that is connected stays and its shares count, whoever
/// connects next sees the new window, and useless files change nothing but what people are told.
#[tokio::test]
async fn a_certificate_is_replaced_without_dropping_a_miner() {
    let offline = Offline::new(20);
    let pool = pool(&offline.data(), &[]).await;
    let url = pool.url().clone();
    let key = url.key.unwrap();
    let mut miners = Vec::new();
    for how in [How::HeaderOnly, How::Grouped, How::Extended] {
        miners.push(Miner::start(&url, how, "rig").await);
    }
    miners.push(Miner::start(pool.url_draft2022(), How::Extended, "rig").await);
    for miner in &mut miners {
        miner.mine([1]).await;
    }
    let (old, believed) = shown(&url, key).await;
    assert!(believed && old.1 - old.0 == 20 * DAY);

    offline.install("vault", 40, "");
    let now = picture(&pool, "the new certificate", |now| {
        now.pool
            .certificates
            .iter()
            .all(|window| window.not_valid_after_s - window.valid_from_s == 40 * DAY)
    })
    .await;
    assert_eq!(
        (now.pool.certificates.len(), now.pool.keys_warning.as_str()),
        (2, "")
    );
    let (new, believed) = shown(&url, key).await;
    assert!(believed && new.1 - new.0 == 40 * DAY);
    for miner in &mut miners {
        miner.mine([2]).await;
    }

    // Somebody's editor leaves half a file.
    let installed = offline.data().join("keys/certificates.toml");
    let good = fs::read_to_string(&installed).unwrap();
    fs::write(&installed, &good[..good.len() / 2]).unwrap();
    let now = picture(&pool, "a warning", |now| !now.pool.keys_warning.is_empty()).await;
    assert!(
        now.pool.keys_warning.contains("the old ones are shown on"),
        "{}",
        now.pool.keys_warning
    );
    let page =
        adit::observe::metrics::render(&std::sync::Arc::new(now), &std::sync::Arc::default(), 0).unwrap();
    assert!(page.contains("adit_keys_warning 1"), "{page}");
    assert!(
        page.contains(&format!(
            "adit_certificate_not_valid_after_seconds{{suite=\"current\"}} {}",
            f64::from(new.1)
        )),
        "{page}"
    );
    assert_eq!(shown(&url, key).await, (new, true));
    fs::write(&installed, &good).unwrap();
    picture(&pool, "no warning", |now| now.pool.keys_warning.is_empty()).await;

    // Another authority: devices need its key, those that are here stay.
    let home = offline.home.path();
    adit(
        home,
        &format!("keys authority --out {}", home.join("vault2").display()),
    );
    offline.install("vault2", 30, "--force");
    picture(&pool, "another key", |now| {
        now.pool.key != url.key.unwrap().to_string()
    })
    .await;
    assert!(!shown(&url, key).await.1, "the old key is not believed any more");
    for miner in &mut miners {
        miner.mine([3]).await;
    }
    let last = pool.stop().await.unwrap();
    assert_eq!((last.shares.accepted, last.shares.rejected), (12, 0));
    assert_eq!(last.connections.faulted, 0, "nobody was dropped");
}

/// Where nobody can renew it, the end of a certificate is told in time.
#[tokio::test]
async fn an_end_that_comes_near_is_told() {
    let offline = Offline::new(10);
    let pool = pool(&offline.data(), &[]).await;
    let now = picture(&pool, "a warning", |now| !now.pool.keys_warning.is_empty()).await;
    assert!(
        now.pool.keys_warning.contains("in 9 days") && now.pool.keys_warning.contains("adit keys install"),
        "{}",
        now.pool.keys_warning
    );
    picture(&pool, "somebody should look", |now| {
        now.health().reason.contains("server certificate ends")
    })
    .await;
    pool.stop().await.unwrap();
}

/// A pool with its authority at home warns of nothing: it renews by itself.
#[tokio::test]
async fn at_home_nothing_needs_to_be_done() {
    let house = House::open(&[("keys.certificate_days", "3")]).await;
    let now = house
        .picture("certificates", |now| now.pool.certificates.len() == 2)
        .await;
    assert_eq!(now.pool.keys_warning, "");
    let key = house.pool.url().key.unwrap();
    assert!(shown(house.pool.url(), key).await.1);
    // The same secret written again is no news for anybody.
    let secret = house.data.path().join("keys/authority.secret");
    let text = fs::read_to_string(&secret).unwrap();
    fs::write(&secret, text).unwrap();
    until("still the same key", || {
        house.pool.status().borrow().pool.key == house.pool.url().key.unwrap().to_string()
    })
    .await;
    house.close().await;
}
