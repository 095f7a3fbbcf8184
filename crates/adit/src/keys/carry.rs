//! The commands of an authority that is on another machine: made there, asked from here, installed here.

use std::path::{Path, PathBuf};

use adit_noise::Utc;
use clap::Args;

use super::authority::{Authority, DAY_S, PublicKeys};
use super::bundle::{self, Bundle, Request, Signed};
use super::server::ServerSecrets;
use super::suite::Suite;
use super::when::When;
use super::{files, folder, print, ring};
use crate::config::Settings;
use crate::exit::Exit;

/// `adit keys issue`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct IssueArgs {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    pub authority: PathBuf,
    /// Days that the certificates are valid
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// When they begin, such as 2026-11-22 or 2026-11-22T08:30:00Z [default: an hour ago]
    #[arg(long, value_name = "TIME")]
    pub not_before: Option<When>,
    /// What `adit keys request` printed on the server [default: the server keys of the data folder]
    #[arg(long, value_name = "FILE")]
    pub server_keys: Option<PathBuf>,
    /// Where to write the certificates [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `adit keys authority --out DIR`
pub(super) fn authority(out: &Path, json: bool) -> Result<(), Exit> {
    let public = Authority::new_in(out)?;
    let url = |suite: Suite| format!("stratum2+tcp://HOST:PORT/{}", public.of(suite));
    if json {
        let suite =
            |suite: Suite| serde_json::json!({ "key": public.of(suite).to_string(), "url": url(suite) });
        let shown =
            serde_json::json!({ "current": suite(Suite::Current), "draft2022": suite(Suite::Draft2022) });
        print(&shown.to_string());
        return Ok(());
    }
    print(&format!(
        "An authority is in {}. Its two files are secret: keep a copy, and keep both off the net.\n\
         \n\
         Devices of today's spec      {}\n\
         Devices of the 2022 draft    {}\n\
         \n\
         Next, on the server: adit keys request --data DIR",
        out.display(),
        url(Suite::Current),
        url(Suite::Draft2022)
    ));
    Ok(())
}

/// `adit keys request`
pub(super) fn request(data: &Path, out: Option<&Path>) -> Result<(), Exit> {
    let [current, draft2022] = ServerSecrets::of_data(data)?.public()?;
    give(&Request { current, draft2022 }.to_string(), out)
}

/// `adit keys issue`
pub(super) fn issue(settings: &Settings, args: &IssueArgs, now: u64) -> Result<(), Exit> {
    let authority = Authority::read(&args.authority, args.days)?.ok_or_else(|| {
        Exit::failed(format!("there is no authority in {}", args.authority.display()))
            .help("`adit keys authority --out DIR` makes one; that of a pool is in the folder keys of its data folder")
    })?;
    let request = match &args.server_keys {
        Some(file) => in_file(file, Request::parse(&files::text(file)?))?,
        None => {
            let secrets = ServerSecrets::read(&settings.data)?.ok_or_else(|| {
                Exit::failed(format!("there are no server keys in {}", settings.data.display()))
                    .help("`adit keys request` makes them; or name what it printed with --server-keys FILE")
            })?;
            let [current, draft2022] = secrets.public()?;
            Request { current, draft2022 }
        }
    };
    let from = match args.not_before {
        Some(When(second)) => second,
        None => u32::try_from(now)
            .unwrap_or(u32::MAX)
            .saturating_sub(adit_noise::BACKDATE_S),
    };
    give(
        &sign(&authority, &request, from, args.days).to_string(),
        args.out.as_deref(),
    )
}

/// Certificates for these server keys from a second on, for so many days.
pub(super) fn sign(authority: &Authority, request: &Request, from: u32, days: u32) -> Bundle {
    let to = from.saturating_add(days.saturating_mul(DAY_S));
    let PublicKeys { current, draft2022 } = authority.public();
    Bundle {
        current: Signed {
            authority: current,
            server_key: request.current,
            certificate: authority.current.issue_between(
                &request.current,
                from,
                to,
                adit_net::random::bytes(),
            ),
        },
        draft2022: Signed {
            authority: draft2022,
            server_key: request.draft2022,
            certificate: authority.draft2022.issue_between(&request.draft2022, from, to),
        },
    }
}

/// `adit keys install FILE`
pub(super) fn install(
    settings: &Settings,
    file: &Path,
    force: bool,
    now: u64,
    json: bool,
) -> Result<(), Exit> {
    let data = settings.data.as_path();
    let bundle = in_file(file, Bundle::parse(&files::text(file)?))?;
    let server = ServerSecrets::read(data)?.ok_or_else(ring::without_server_keys)?;
    ring::check(&server, &bundle, now)?;
    let known = match Bundle::of_data(data) {
        Ok(Some(installed)) => Some(installed.authority()),
        // What is damaged is replaced.
        Err(_) => None,
        Ok(None) => Authority::read(&folder(data), 0)?.map(|authority| authority.public()),
    };
    if let Some(known) = known.filter(|known| *known != bundle.authority() && !force) {
        return Err(Exit::failed(format!(
            "these certificates are of the authority {}, but devices know this pool by {}",
            bundle.authority().current, known.current
        ))
        .help(
            "with --force they are installed all the same: every device and proxy that has the old key in its pool \
             address will refuse this pool until it is given the new one",
        ));
    }
    let path = bundle::path(data);
    files::store(&path, &bundle.to_string(), files::PUBLIC, true)
        .map_err(|error| files::unwritable(&path, &error))?;
    if json {
        let until = |suite| bundle.window(suite).1;
        let shown = serde_json::json!({
            "current": { "not_valid_after_s": until(Suite::Current) },
            "draft2022": { "not_valid_after_s": until(Suite::Draft2022) },
        });
        print(&shown.to_string());
        return Ok(());
    }
    let end = Suite::ALL
        .map(|suite| bundle.window(suite).1)
        .into_iter()
        .min()
        .unwrap_or_default();
    print(&format!(
        "Installed until {}. A running pool shows them to new connections within seconds.",
        Utc(end.into())
    ));
    Ok(())
}

fn in_file<T>(file: &Path, read: Result<T, Exit>) -> Result<T, Exit> {
    read.map_err(|exit| Exit {
        message: format!("{}: {}", file.display(), exit.message),
        ..exit
    })
}

/// To a file, which is never overwritten, or to standard output.
fn give(text: &str, out: Option<&Path>) -> Result<(), Exit> {
    let Some(path) = out else {
        print(text);
        return Ok(());
    };
    files::store(path, text, files::PUBLIC, false).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Exit::failed(format!("{} exists", path.display()))
            .help("name another file with --out, or leave it out and redirect the output"),
        _ => files::unwritable(path, &error),
    })
}
