//! Keys and certificates of a server, in files, and the commands that make, carry and show them (docs/keys.md).
//!
//! ```text
//!   authority.secret ──signs──► certificate ──speaks for──► server.secret
//!   (may be on another machine)   (carried as text)          (never leaves the server)
//! ```
//!
//! There are two of each: one for the current handshake, one for that of the 2022 draft. The files of a data folder lie
//! in its folder `keys`; the first start makes what is missing, unless certificates were installed from elsewhere.

mod authority;
mod bundle;
mod carry;
mod files;
mod inspect;
mod ring;
mod server;
mod show;
mod suite;
mod when;

use std::path::{Path, PathBuf};

use crate::cli::KeysAction;
use crate::config::Settings;
use crate::exit::Exit;

pub use authority::{Authority, PublicKeys};
pub use carry::IssueArgs;
pub use ring::{Ring, Tended, Window};
pub use show::code_for_terminal;
pub use suite::Suite;
pub use when::When;

/// Folder of the secrets in the data folder.
const FOLDER: &str = "keys";

fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

/// `adit keys`
///
/// # Errors
/// When there is no key to show, or one is there that would be overwritten, or files fail, or what was given is no key.
pub fn run(settings: &Settings, action: KeysAction, json: bool) -> Result<(), Exit> {
    let data = settings.data.as_path();
    let now = adit_net::Clock::system().unix_s();
    match action {
        KeysAction::New { force } => {
            let public = Authority::renew(data, force)?;
            show::keys(
                settings,
                &public,
                None,
                &show::Wanted {
                    json,
                    ..Default::default()
                },
            )
        }
        KeysAction::Show { qr, host } => {
            let public = show::known(data)?;
            show::keys(settings, &public, host.as_deref(), &show::Wanted { json, qr })
        }
        KeysAction::Authority { out } => carry::authority(&out, json),
        KeysAction::Request { out } => carry::request(data, out.as_deref()),
        KeysAction::Issue(args) => carry::issue(settings, &args, now),
        KeysAction::Install { file, force } => carry::install(settings, &file, force, now, json),
        KeysAction::Inspect { what, authority } => inspect::run(settings, &what, authority, now, json),
    }
}

/// Prints for people or programs; nobody who reads is no error.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}
