//! The dashboard in a real browser: every page shows what there is, on a phone and on a desk, by day and by night, with
//! nothing that the policy forbids and nothing that shuts anybody out.
//!
//! `cargo xtask peers` installs the browser. `ADIT_SCREENSHOTS=DIR` keeps a picture of every page for people.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod browser;
#[path = "../http/mod.rs"]
mod http;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use adit::config::Payout;
use adit::observe::{Roster, Status};
use browser::{Browser, DESKTOP, PHONE, Screen};
use http::Site;
use support::lines::Rig;
use support::process::{Process, adit};

const SCREENS: [Screen; 4] = [DESKTOP, DESKTOP.dark(), PHONE, PHONE.dark()];

async fn site(status: Status) -> Site {
    let site = Site::start(status, &[]).await;
    site.roster.send_replace(Arc::new(scene::roster()));
    site
}

async fn draws_a_curve(browser: &Browser) {
    let drawn = "document.querySelector('.chart img')?.naturalWidth > 0";
    browser.until("a curve", drawn).await;
}

/// Everything that is to be read is there.
async fn reads(browser: &Browser, facts: &[&str]) {
    let text = browser.text().await;
    for fact in facts {
        assert!(text.contains(fact), "{fact:?}:\n{text}");
    }
}

/// The first screen says whether all is well, and shows every fact that an operator looks for.
#[tokio::test]
async fn the_first_screen_shows_how_it_is() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = site(scene::status()).await;
    for screen in SCREENS {
        browser.visit(&format!("http://{}/", site.addr), screen).await;
        browser
            .until("it is live", "document.querySelector('#light.green')")
            .await;
        browser
            .until("workers", "document.querySelectorAll('tbody tr').length > 5")
            .await;
        draws_a_curve(&browser).await;
        browser
            .until("rejects", "document.body.innerText.includes('stale-share')")
            .await;
        let text = browser.text().await;
        for fact in [
            "All is well: mining",
            "38.6 TH/s",
            "\u{b1} 5 %",
            "stratum2+tcp://192.168.1.20:3333/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh",
            "Stratum V1",
            "184,223",
            "The job ended when a new block arrived.",
            "height 915,204",
            "915,231",
            "NerdQAxe++",
            "Silent",
            "within a day",
            "3.15413442 BTC",
            scene::RUDE,
        ] {
            assert!(text.contains(fact), "{fact:?} is not on {screen:?}:\n{text}");
        }
        browser.check("home", screen).await;
    }
    // Another kind of miner needs other words.
    browser.visit(&format!("http://{}/", site.addr), DESKTOP).await;
    browser
        .until(
            "tabs",
            "document.querySelectorAll('section .tabs button').length > 6",
        )
        .await;
    browser.eval("[...document.querySelectorAll('button')].find((one) => one.textContent === 'Stratum V1').click();").await;
    browser
        .until(
            "the other address",
            "document.body.innerText.includes('stratum+tcp://192.168.1.20:3333')",
        )
        .await;
    let text = browser.text().await;
    assert!(
        text.contains("Password: x") && !text.contains("stratum2+tcp://"),
        "{text}"
    );
    browser.check("home-v1", DESKTOP).await;
    browser.close().await;
}

/// Below an upstream, devices stand beside it; who is silent is pointed out, in the first line and on a page of its own.
#[tokio::test]
async fn a_proxy_shows_its_upstream_and_who_is_silent() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = site(scene::proxy_status()).await;
    for screen in [DESKTOP, PHONE.dark()] {
        browser.visit(&format!("http://{}/", site.addr), screen).await;
        browser
            .until("amber", "document.querySelector('#light.amber')")
            .await;
        browser
            .until("workers", "document.querySelectorAll('tbody tr').length > 5")
            .await;
        draws_a_curve(&browser).await;
        reads(
            &browser,
            &[
                "1 device is connected but no share comes: bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.attic",
                "pool.example.org:3333",
                "Upstream, choice 1",
                "41,190",
            ],
        )
        .await;
        browser.check("proxy", screen).await;
    }
    let page = "/worker/bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.attic";
    browser
        .visit(&format!("http://{}{page}", site.addr), DESKTOP)
        .await;
    browser.until("advice", "document.querySelector('.call')").await;
    assert!(browser.text().await.contains("Connected, but no share for"));
    browser.check("silent", DESKTOP).await;
    browser.close().await;
}

/// An accountant shows the whole pool, front end by front end.
#[tokio::test]
async fn an_accountant_shows_its_front_ends() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(scene::accountant_status(), &[]).await;
    for screen in [DESKTOP, PHONE.dark()] {
        browser.visit(&format!("http://{}/", site.addr), screen).await;
        browser
            .until(
                "front ends",
                "document.querySelectorAll('[aria-label=\"Front ends of this pool\"] tbody tr').length === 3",
            )
            .await;
        draws_a_curve(&browser).await;
        reads(
            &browser,
            &[
                "Front end 7 shows no sign of life",
                "rack-1",
                "21.4 TH/s",
                "No sign of life",
                "<b>attic</b>",
                "Each front end has its own. The highest block that one builds on is 915,230.",
                "Devices are at the front ends; what they have done is in History.",
            ],
        )
        .await;
        browser.check("accountant", screen).await;
    }
    browser.close().await;
}

/// Every other page, from its own address.
#[tokio::test]
async fn every_page_shows_what_it_is_for() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = site(scene::status()).await;
    let owner = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
    let rude = "/worker/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%2F..%2F%3Fa%26b%23c";
    let block = "/block/00000000000000000001b2c4a8c1f5ed5b4c1e1f4a7c0f7a1f0c9a0f2d6e8b31";
    let pages: [(&str, String, &[&str]); 9] = [
        (
            "workers",
            "/workers".into(),
            &["garage", "Silent", "Offline", "1 to 7 of 7"],
        ),
        (
            "account",
            format!("/worker/{owner}"),
            &["Workers of this account", "attic", "36.7 TH/s"],
        ),
        (
            "worker",
            rude.into(),
            &[scene::RUDE, "<script>alert(1)</script>", "2022 draft"],
        ),
        (
            "blocks",
            "/blocks".into(),
            &["915,204", "In the chain", "Orphaned", "Refused"],
        ),
        ("block", block.into(), &["Block 915,204", "3.14221008 BTC", "s19"]),
        (
            "coinbase",
            "/coinbase".into(),
            &[
                "98 %",
                "/adit/",
                "3.09105174 BTC",
                "Commitment to the witness data",
            ],
        ),
        (
            "payouts",
            "/payouts".into(),
            &[
                "Nothing is split up here",
                "Nobody mines on a coinbase of ours now.",
            ],
        ),
        (
            "peers",
            "/peers".into(),
            &["192.168.1.31:50123", "[2001:db8::7]:5000", "Mining"],
        ),
        (
            "settings",
            "/settings".into(),
            &["shares.vardiff", "= true", "http.listen", "from --set"],
        ),
    ];
    for (name, path, facts) in &pages {
        for screen in SCREENS {
            browser
                .visit(&format!("http://{}{path}", site.addr), screen)
                .await;
            for fact in *facts {
                let quoted = serde_json::to_string(fact).unwrap();
                let told = format!("document.getElementById('main').innerText.includes({quoted})");
                let wide_only = screen.width < 600 && matches!(*fact, "98 %");
                if !wide_only {
                    browser.until(&format!("{fact:?} on {name}"), &told).await;
                }
            }
            browser.check(name, screen).await;
        }
    }
    browser
        .visit(&format!("http://{}/worker/nobody", site.addr), DESKTOP)
        .await;
    browser
        .until(
            "an answer",
            "document.body.innerText.includes('Nobody of that name')",
        )
        .await;
    browser.close().await;
}

/// Going from page to page by hand: links, back, sorting, searching.
#[tokio::test]
async fn pages_lead_to_each_other() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = site(scene::status()).await;
    browser.visit(&format!("http://{}/", site.addr), DESKTOP).await;
    browser
        .until("live", "document.querySelector('#light.green')")
        .await;
    browser.eval("window.here = true;").await;
    browser.click("nav a[href='/workers']").await;
    browser
        .until(
            "the other page",
            "document.querySelector('h1')?.textContent === 'Workers'",
        )
        .await;
    browser
        .until("workers", "document.querySelectorAll('tbody tr').length === 7")
        .await;
    let first = "document.querySelector('tbody a').textContent";
    browser
        .until("the fastest first", &format!("{first}.endsWith('.s19')"))
        .await;
    let press = "document.querySelector(\"button[data-sort='name']\").click();";
    browser.eval(press).await;
    let sorted =
        |how: &str| format!("document.querySelector('th[aria-sort={how}]')?.innerText.startsWith('Name')");
    browser.until("sorted", &sorted("descending")).await;
    browser.eval(press).await;
    browser.until("sorted the other way", &sorted("ascending")).await;
    browser
        .until("by name", &format!("{first}.startsWith('<img')"))
        .await;
    browser.eval("const field = document.querySelector('input[type=search]'); field.value = 'attic'; field.dispatchEvent(new Event('input'));").await;
    browser
        .until("found", "document.querySelectorAll('tbody tr').length === 1")
        .await;
    browser.eval("document.querySelector('tbody a').click();").await;
    browser
        .until(
            "the worker",
            "document.querySelector('h1')?.textContent.endsWith('.attic')",
        )
        .await;
    browser.eval("history.back();").await;
    browser
        .until("back", "document.querySelector('h1')?.textContent === 'Workers'")
        .await;
    assert_eq!(
        browser.eval("return window.here;").await,
        true,
        "the page was never loaded again"
    );
    // The pool has gone away: the page says so.
    site.stop.stop();
    site.task.await.unwrap();
    browser
        .until("it is noticed", "document.querySelector('#light.red')")
        .await;
    assert!(browser.text().await.contains("adit cannot be reached"));
    browser.close().await;
}

/// An empty pool is no error, and says what to do.
#[tokio::test]
async fn an_empty_pool_says_what_to_do() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let mut status = scene::status();
    status.shares = Default::default();
    status.hash_rate = Default::default();
    status.blocks = Default::default();
    status.best_share = None;
    status.channels = Default::default();
    let site = Site::start(status, &[]).await;
    site.roster.send_replace(Arc::new(Roster::default()));
    for screen in [DESKTOP, PHONE] {
        browser.visit(&format!("http://{}/", site.addr), screen).await;
        browser
            .until("amber", "document.querySelector('#light.amber')")
            .await;
        browser
            .until(
                "a picture",
                "document.querySelector('.chart img')?.naturalWidth > 0",
            )
            .await;
        reads(
            &browser,
            &[
                "No miner is connected",
                "Nobody mines here yet",
                "No share yet",
                "None. Every share that came was good.",
            ],
        )
        .await;
        browser.check("empty", screen).await;
    }
    browser.close().await;
}

/// The whole of it: a running `adit up`, mined by its own device and by a miner of Stratum V1.
#[tokio::test]
async fn a_running_pool_is_seen_as_it_is() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let home = support::folder();
    let line = "up --listen 127.0.0.1:0 --http 127.0.0.1:0 --set node=embedded:24 --set device.threads=1";
    let process = Process::start(adit(home.path(), line));
    let url = process.url();
    let page = process.line_with("page  http://");
    let page = page.split_whitespace().last().unwrap().to_owned();
    let mut rig = Rig::start(&url, "bob.rig").await;
    rig.mine(0..20).await;
    for screen in [DESKTOP, PHONE.dark()] {
        browser.visit(&page, screen).await;
        browser
            .until("all is well", "document.querySelector('#light.green')")
            .await;
        for fact in ["bob.rig", "adit.device", &url.to_string(), "embedded"] {
            let quoted = serde_json::to_string(fact).unwrap();
            browser
                .until(fact, &format!("document.body.innerText.includes({quoted})"))
                .await;
        }
        browser
            .until(
                "a curve",
                "document.querySelector('.chart img')?.alt.startsWith('Hash rate over')",
            )
            .await;
        browser
            .until("a block", "/height [0-9,]+/.test(document.body.innerText)")
            .await;
        browser.check("up", screen).await;
    }
    browser.visit(&format!("{page}coinbase"), DESKTOP).await;
    browser
        .until("the next coinbase", "document.body.innerText.includes('bcrt1')")
        .await;
    browser.check("up-coinbase", DESKTOP).await;
    // What outlives the process.
    let known = ["Who has mined here", "adit.device", "bob", "sqlite:"];
    for screen in [DESKTOP, PHONE.dark()] {
        browser.visit(&format!("{page}history"), screen).await;
        for fact in known {
            let told = format!("document.body.innerText.includes({fact:?})");
            browser.until(fact, &told).await;
        }
        browser
            .until("best shares", "document.querySelectorAll('table').length > 1")
            .await;
        browser.check("up-history", screen).await;
    }
    browser.visit(&format!("{page}worker/bob.rig"), DESKTOP).await;
    browser
        .until(
            "what it did ever",
            "document.body.innerText.includes('Since the first share')",
        )
        .await;
    browser
        .until(
            "its curve",
            "document.querySelector('.past .chart img')?.naturalWidth > 0",
        )
        .await;
    browser.check("up-worker", DESKTOP).await;
    // An order without its token is refused, in words.
    browser.visit(&format!("{page}settings"), DESKTOP).await;
    browser
        .until("orders", "document.querySelector('.orders button')")
        .await;
    browser
        .eval("document.querySelector('.orders button').click();")
        .await;
    browser
        .until(
            "a refusal",
            "document.body.innerText.includes('orders need the operator')",
        )
        .await;
    browser.close().await;
}

/// A block that two miners would share, line by line, and the coinbase of each of their channels.
#[tokio::test]
async fn everybody_sees_who_is_paid() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let home = support::folder();
    let [pool, ann, bea] = [1, 2, 3].map(|n| Payout::throw_away(7_000 + n).text);
    let line = format!(
        "up --listen 127.0.0.1:0 --http 127.0.0.1:0 --node embedded:40 --set payout.scheme=pplns --set payout.address={pool} \
         --set payout.refresh_ms=100 --set network=regtest --set device.threads=0"
    );
    let process = Process::start(adit(home.path(), &line));
    let url = process.url();
    let page = process.line_with("page  http://");
    let page = page.split_whitespace().last().unwrap().to_owned();
    let mut rigs = Vec::new();
    for name in [&ann, &bea] {
        let mut rig = Rig::start(&url, &format!("{name}.rig")).await;
        rig.mine(0..20).await;
        rigs.push(rig);
    }
    for screen in [DESKTOP, PHONE.dark()] {
        browser.visit(&format!("{page}payouts"), screen).await;
        for fact in [ann.as_str(), &bea, "Waits then", "Show"] {
            let told = format!("document.body.textContent.includes({fact:?})");
            browser.until(fact, &told).await;
        }
        browser.check("payouts-shared", screen).await;
        browser
            .eval("document.querySelector('a[href^=\"/proof/\"]').click();")
            .await;
        for fact in [
            ann.as_str(),
            &bea,
            "To check it yourself",
            "the owner of this channel",
        ] {
            let told = format!("document.body.textContent.includes({fact:?})");
            browser.until(fact, &told).await;
        }
        browser.check("proof", screen).await;
    }
    browser
        .visit(&format!("{page}proof/ffffffffffffff"), DESKTOP)
        .await;
    let missing = "document.body.innerText.includes('no channel of that number mines here')";
    browser.until("no such channel", missing).await;
    browser.close().await;
}
