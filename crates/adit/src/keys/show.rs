//! `adit keys show`: the public keys, the addresses that hold them, and a code for a camera.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;

use adit_net::Url;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::authority::{Authority, PublicKeys};
use super::bundle::Bundle;
use super::suite::Suite;
use super::{folder, print};
use crate::config::Settings;
use crate::exit::Exit;

/// How the keys are to be shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// One JSON object and nothing else.
    pub(super) json: bool,
    /// The code of this suite's address, however narrow the terminal is.
    pub(super) qr: Option<Suite>,
}

/// The keys by which devices know the pool of a data folder.
pub(super) fn known(data: &Path) -> Result<PublicKeys, Exit> {
    if let Some(bundle) = Bundle::of_data(data)? {
        return Ok(bundle.authority());
    }
    let authority = Authority::read(&folder(data), 0)?;
    authority.map(|authority| authority.public()).ok_or_else(|| {
        Exit::failed(format!("there is no authority key in {}", data.display()))
            .help("`adit keys new` makes one for both handshakes; so does the first start of a pool")
    })
}

pub(super) fn keys(
    settings: &Settings,
    public: &PublicKeys,
    host: Option<&str>,
    wanted: &Wanted,
) -> Result<(), Exit> {
    print(&text(settings, public, host, wanted, terminal_columns())?);
    Ok(())
}

/// Columns of the terminal that stdout is; none when it is a file or a pipe.
fn terminal_columns() -> Option<usize> {
    let stdout = std::io::stdout();
    let (width, _) = stdout
        .is_terminal()
        .then(|| terminal_size::terminal_size_of(&stdout))??;
    Some(usize::from(width.0))
}

fn text(
    settings: &Settings,
    public: &PublicKeys,
    host: Option<&str>,
    wanted: &Wanted,
    columns: Option<usize>,
) -> Result<String, Exit> {
    let url = |suite: Suite| url(settings.listen.addr, host, public, suite);
    if wanted.json {
        let [current, draft2022] = Suite::ALL.map(|suite| {
            url(suite).map(|url| serde_json::json!({ "key": public.of(suite).to_string(), "url": url }))
        });
        let both = serde_json::json!({ "current": current?, "draft2022": draft2022? });
        return Ok(both.to_string());
    }
    let mut text = String::new();
    for (suite, devices) in Suite::ALL
        .into_iter()
        .zip(["Devices of today's spec", "Devices of the 2022 draft"])
    {
        text += &format!("{devices}\n  key  {}\n  url  {}\n", public.of(suite), url(suite)?);
    }
    let shown = wanted.qr.unwrap_or(Suite::Current);
    let code = code(&url(shown)?)?;
    let width = code.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if wanted.qr.is_some() || columns.is_some_and(|columns| columns >= width) {
        text += &format!("\n{code}\n");
    }
    Ok(text)
}

/// The address for devices: a host that was named, or what we listen on, as far as it can be dialled.
fn url(listen: SocketAddr, host: Option<&str>, public: &PublicKeys, suite: Suite) -> Result<String, Exit> {
    let host = match host {
        Some(host) => host.trim_matches(['[', ']']).to_owned(),
        None => crate::pool::shown_host(listen),
    };
    let url = Url {
        host,
        port: listen.port(),
        key: None,
    };
    let text = format!("{url}/{}", public.of(suite));
    // What is printed must be readable by the same rules.
    match url.to_string().parse::<Url>() {
        Ok(_) => Ok(text),
        Err(error) => Err(Exit::usage(format!("--host {:?}: {error}", url.host))
            .help("give a host name or an address, without scheme, port or path")),
    }
}

/// The address as a QR code, where stdout is a terminal that is wide enough for it.
#[must_use]
pub fn code_for_terminal(url: &str) -> Option<String> {
    let code = code(url).ok()?;
    let width = code.lines().map(|line| line.chars().count()).max()?;
    terminal_columns()
        .filter(|columns| *columns >= width)
        .map(|_| code)
}

/// The address as a QR code of half blocks, dark on light whatever the terminal's colours are.
fn code(url: &str) -> Result<String, Exit> {
    let code = QrCode::new(url).map_err(|error| Exit::failed(format!("no QR code: {error}")))?;
    // Terminals are mostly dark: light modules are drawn, dark ones left out.
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(listen: &str, host: Option<&str>, wanted: &Wanted, columns: Option<usize>) -> String {
        let data = tempfile::tempdir().unwrap();
        let settings =
            Settings::with(&[("data", data.path().to_str().unwrap()), ("listen", listen)]).unwrap();
        assert!(known(data.path()).is_err(), "there is none yet");
        let public = Authority::of_data(data.path(), 1).unwrap().public();
        assert_eq!(known(data.path()).unwrap(), public);
        text(&settings, &public, host, wanted, columns).unwrap()
    }

    #[test]
    fn json_holds_both_keys_and_nothing_else() {
        let wanted = Wanted { json: true, qr: None };
        let shown: serde_json::Value =
            serde_json::from_str(&shown("127.0.0.1:3333", None, &wanted, Some(500))).unwrap();
        for (suite, start) in [("current", '9'), ("draft2022", ' ')] {
            let of = shown[suite].as_object().unwrap();
            assert_eq!(of.keys().collect::<Vec<_>>(), ["key", "url"]);
            let (key, url) = (of["key"].as_str().unwrap(), of["url"].as_str().unwrap());
            assert_eq!(url, format!("stratum2+tcp://127.0.0.1:3333/{key}"));
            assert!(start == ' ' || key.starts_with(start));
        }
        assert_eq!(shown.as_object().unwrap().len(), 2);
    }

    #[test]
    fn an_address_that_nobody_can_dial_is_replaced() {
        // Whatever this machine is reached by.
        for listen in ["0.0.0.0:3333", "[::]:3333"] {
            let shown = shown(listen, None, &Wanted::default(), None);
            assert!(shown.contains(":3333/9"), "{shown}");
            assert!(!shown.contains("0.0.0.0") && !shown.contains("[::]"), "{shown}");
        }
        for (listen, host, start) in [
            ("[fd00::7]:1", None, "stratum2+tcp://[fd00::7]:1/9"),
            (
                "0.0.0.0:4",
                Some("pool.example"),
                "stratum2+tcp://pool.example:4/9",
            ),
            ("0.0.0.0:4", Some("[fd00::7]"), "stratum2+tcp://[fd00::7]:4/9"),
            ("0.0.0.0:4", Some("fd00::7"), "stratum2+tcp://[fd00::7]:4/9"),
        ] {
            let shown = shown(listen, host, &Wanted::default(), None);
            assert!(shown.contains(start), "{shown}");
        }
    }

    #[test]
    fn a_code_is_drawn_where_there_is_room_or_when_asked_for() {
        let blocks = |text: &str| text.lines().filter(|line| line.contains(['▀', '▄', '█'])).count();
        let plain = Wanted::default();
        assert_eq!(blocks(&shown("127.0.0.1:3333", None, &plain, None)), 0);
        assert_eq!(blocks(&shown("127.0.0.1:3333", None, &plain, Some(40))), 0);
        assert!(blocks(&shown("127.0.0.1:3333", None, &plain, Some(80))) > 15);
        let asked = Wanted {
            json: false,
            qr: Some(Suite::Draft2022),
        };
        assert!(blocks(&shown("127.0.0.1:3333", None, &asked, None)) > 15);
    }
}
