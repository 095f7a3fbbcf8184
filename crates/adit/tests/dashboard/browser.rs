//! A real browser without a screen, driven from here, with what it says on its console.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use adit_testkit::{Running, peers};
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What ought to happen happens within this, on a machine busy with other things too.
pub(crate) const SOON: Duration = Duration::from_secs(90);
/// Between two looks at a page.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Nothing of the machine, nothing of the Internet.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// A screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

pub(crate) const PHONE: Screen = Screen {
    width: 390,
    height: 844,
    dark: false,
};
pub(crate) const DESKTOP: Screen = Screen {
    width: 1280,
    height: 900,
    dark: false,
};

impl Screen {
    pub(crate) const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }

    fn name(self) -> String {
        format!("{}-{}", self.width, if self.dark { "dark" } else { "light" })
    }
}

/// The browser, its driver, and its empty profile.
pub(crate) struct Browser {
    client: Client,
    axe: String,
    _driver: Running,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; `None` where browsers are not installed.
    pub(crate) async fn start() -> Option<Self> {
        let [chromium, chromedriver, axe] = peers::need(["chromium", "chromedriver", "axe.min.js"])?;
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new(chromedriver);
        let log = fs::File::create(profile.path().join("driver.log")).unwrap();
        driver.arg("--port=0").stdin(Stdio::null()).stdout(log);
        let running = Running::start(driver.env("HOME", profile.path())).unwrap();
        let port = port(&profile.path().join("driver.log"));
        let data = profile.path().join("profile");
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", data.display()));
        let wanted = json!({
            "goog:chromeOptions": { "binary": chromium, "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": 120_000, "pageLoad": 120_000 },
        });
        let capabilities: Capabilities = wanted.as_object().unwrap().clone();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Some(Self {
            client,
            axe: fs::read_to_string(axe).unwrap(),
            _driver: running,
            _profile: profile,
        })
    }

    /// Ends the browser.
    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }

    /// Goes to a page on a screen.
    pub(crate) async fn visit(&self, url: &str, screen: Screen) {
        let Screen { width, height, dark } = screen;
        let phone = width < 600;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone }),
        )
        .await;
        let scheme = if dark { "dark" } else { "light" };
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [
                { "name": "prefers-color-scheme", "value": scheme },
                { "name": "prefers-reduced-motion", "value": "reduce" },
            ] }),
        )
        .await;
        self.client.goto(url).await.unwrap();
    }

    /// Runs a script with a `return`.
    pub(crate) async fn eval(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        let script = format!("return !!({expression});");
        let wished = async {
            while self.eval(&script).await != true {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(SOON, wished).await.is_err() {
            panic!("{what}: not within {SOON:?}; the page says {}", self.text().await);
        }
    }

    /// What a person reads.
    pub(crate) async fn text(&self) -> String {
        let text = self.eval("return document.body.innerText;").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks what a selector finds first.
    pub(crate) async fn click(&self, selector: &str) {
        let place = fantoccini::Locator::Css(selector);
        self.client.find(place).await.unwrap().click().await.unwrap();
    }

    /// The page is whole: nothing sticks out, every image is there, nothing is hard to read or to reach, and the console
    /// has nothing to complain of.
    pub(crate) async fn check(&self, name: &str, screen: Screen) {
        self.until(
            "every image is there",
            "[...document.images].every((image) => image.complete && image.naturalWidth > 0)",
        )
        .await;
        let out = self
            .eval("const page = document.documentElement; return page.scrollWidth - page.clientWidth;")
            .await;
        assert_eq!(out, 0, "{name} sticks out on {screen:?}");
        self.picture(name, screen).await;
        self.eval(&self.axe).await;
        let script = "const done = arguments[0]; axe.run(document).then((found) => done(found.violations.map((one) => \
                      ({ id: one.id, nodes: one.nodes.map((node) => node.html + ' ' + node.failureSummary) }))));";
        let violations = self.client.execute_async(script, Vec::new()).await.unwrap();
        assert_eq!(violations, json!([]), "{name} on {screen:?}");
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{name} on {screen:?}: {complaints:#?}");
    }

    /// A picture for people, where `ADIT_SCREENSHOTS` names a folder for it.
    async fn picture(&self, name: &str, screen: Screen) {
        let Some(folder) = std::env::var_os("ADIT_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        let height = self.eval("return document.documentElement.scrollHeight;").await;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": screen.width, "height": height, "deviceScaleFactor": 1, "mobile": screen.width < 600 }),
        )
        .await;
        fs::create_dir_all(&folder).unwrap();
        let png = self.client.screenshot().await.unwrap();
        fs::write(folder.join(format!("{name}-{}.png", screen.name())), png).unwrap();
    }

    /// Warnings and errors on the console since the last time, violations of the policy among them.
    async fn complaints(&self) -> Vec<Value> {
        let log = self.client.issue_cmd(Log).await.unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let bad = |entry: &Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        entries.into_iter().filter(bad).collect()
    }

    async fn devtools(&self, command: &'static str, parameters: Value) {
        let command = DevTools(command, parameters);
        self.client.issue_cmd(command).await.unwrap();
    }
}

/// The port that the driver chose.
fn port(log: &std::path::Path) -> u16 {
    let found = adit_testkit::until(SOON, || {
        let said = BufReader::new(fs::File::open(log).ok()?);
        let mut lines = said.lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("started successfully on port"))?;
        let port = line.trim_end_matches('.').rsplit(' ').next()?;
        port.parse().ok()
    });
    found.expect("the driver says where it listens")
}

/// What the browser has on its console.
#[derive(Debug)]
struct Log;

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (axum::http::Method, Option<String>) {
        (
            axum::http::Method::POST,
            Some(json!({ "type": "browser" }).to_string()),
        )
    }
}

/// A command of the DevTools protocol.
#[derive(Debug)]
struct DevTools(&'static str, Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (axum::http::Method, Option<String>) {
        let body = json!({ "cmd": self.0, "params": self.1 });
        (axum::http::Method::POST, Some(body.to_string()))
    }
}
