//! What a running pool shows those who connect, and how that changes without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_net::Identities;
use adit_noise::{CertificateError, ServerIdentity, Utc, draft2022};
use serde::Serialize;

use super::authority::{Authority, DAY_S, PublicKeys};
use super::bundle::{self, Bundle};
use super::files::Stamp;
use super::folder;
use super::server::ServerSecrets;
use super::suite::Suite;
use crate::exit::Exit;

/// Files that are watched: both secrets of authority and server, and the installed certificates.
const FILES: usize = 5;

/// The keys of a running pool: an identity for each suite, where it came from, and who may renew it.
pub struct Ring {
    data: PathBuf,
    days: u32,
    authority: PublicKeys,
    /// Absent where the authority is on another machine.
    signer: Option<Authority>,
    identities: Arc<Identities>,
    stamps: [Stamp; FILES],
    /// Why the last change of the files was of no use.
    refused: Option<String>,
}

/// What [`Ring::tend`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Tended {
    /// Nothing was to be done.
    Quiet,
    /// There are new certificates of the same authority: our own, or files that were changed.
    Renewed,
    /// Files were changed, and devices need another key from now on.
    OtherAuthority,
    /// Files were changed, and are of no use; what was shown is shown on.
    Refused(Exit),
}

/// How long one suite's certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Window {
    /// Of which suite.
    #[schema(value_type = String)]
    pub suite: Suite,
    /// First second, Unix time.
    pub valid_from_s: u32,
    /// Last second, Unix time.
    pub not_valid_after_s: u32,
}

impl Ring {
    /// The keys of a data folder at `now` (Unix seconds). What is missing is made, unless certificates were installed:
    /// then the authority is elsewhere. Our own certificates are valid for `days`.
    ///
    /// # Errors
    /// When files fail, or an installed certificate is of no use here or now.
    pub fn open(data: &Path, days: u32, now: u64) -> Result<Self, Exit> {
        if !bundle::path(data).exists() {
            ServerSecrets::of_data(data)?;
            Authority::of_data(data, days)?;
        }
        Self::read(data, days, now)
    }

    /// The same, but nothing is made.
    fn read(data: &Path, days: u32, now: u64) -> Result<Self, Exit> {
        // Stamps before the reading: a change meanwhile is seen afterwards.
        let stamps = stamps(data);
        let installed = Bundle::of_data(data)?;
        let server = ServerSecrets::read(data)?.ok_or_else(without_server_keys)?;
        let local = Authority::read(&folder(data), days)?;
        let (authority, signer, identities) = match installed {
            Some(bundle) => {
                let authority = bundle.authority();
                // A local authority that did not sign what is installed has no say in it.
                let signer = local.filter(|local| local.public() == authority);
                let identities = match (shown(&server, &bundle, now), &signer) {
                    (Err(_), Some(signer)) => issued(signer, &server, now)?,
                    (shown, _) => shown?,
                };
                (authority, signer, identities)
            }
            None => {
                let signer = local.ok_or_else(without_authority)?;
                let identities = issued(&signer, &server, now)?;
                (signer.public(), Some(signer), identities)
            }
        };
        Ok(Self {
            data: data.to_owned(),
            days,
            authority,
            signer,
            identities: Arc::new(identities),
            stamps,
            refused: None,
        })
    }

    /// What new connections are shown.
    #[must_use]
    pub fn identities(&self) -> Arc<Identities> {
        Arc::clone(&self.identities)
    }

    /// What devices are told.
    #[must_use]
    pub fn authority(&self) -> PublicKeys {
        self.authority
    }

    /// Looks after the keys: files that were changed are read again, certificates in the second half of their life are
    /// renewed where the authority is here. Call it every second or so; it looks at five files.
    pub fn tend(&mut self, now: u64) -> Tended {
        let stamps = stamps(&self.data);
        if stamps != self.stamps {
            self.stamps = stamps;
            return self.reread(now);
        }
        let Some(signer) = &self.signer else {
            return Tended::Quiet;
        };
        let (one, other) = (&self.identities.current, &self.identities.draft2022);
        if !one.needs_renewal(now) && !other.needs_renewal(now) {
            return Tended::Quiet;
        }
        self.identities = Arc::new(Identities {
            current: one.renewed(&signer.current, now, adit_net::random::bytes()),
            draft2022: other.renewed(&signer.draft2022, now),
        });
        Tended::Renewed
    }

    fn reread(&mut self, now: u64) -> Tended {
        // A running pool makes no keys: a folder that was emptied is a mistake.
        match Self::read(&self.data, self.days, now) {
            Err(exit) => {
                self.refused = Some(exit.message.clone());
                Tended::Refused(exit)
            }
            Ok(mut read) => {
                let same = read.authority == self.authority;
                std::mem::swap(self, &mut read);
                if same {
                    Tended::Renewed
                } else {
                    Tended::OtherAuthority
                }
            }
        }
    }

    /// How long each suite's certificate is good.
    #[must_use]
    pub fn windows(&self) -> [Window; 2] {
        let (one, other) = (
            self.identities.current.certificate(),
            self.identities.draft2022.certificate(),
        );
        [
            Window {
                suite: Suite::Current,
                valid_from_s: one.valid_from(),
                not_valid_after_s: one.not_valid_after(),
            },
            Window {
                suite: Suite::Draft2022,
                valid_from_s: other.valid_from(),
                not_valid_after_s: other.not_valid_after(),
            },
        ]
    }

    /// What somebody should do soon: keys were changed to something useless, or a certificate ends within `days` and
    /// nobody here can renew it.
    #[must_use]
    pub fn warning(&self, now: u64, days: u32) -> Option<String> {
        if let Some(reason) = &self.refused {
            return Some(format!(
                "changed keys are of no use and the old ones are shown on: {reason}"
            ));
        }
        let end = self
            .windows()
            .map(|window| window.not_valid_after_s)
            .into_iter()
            .min()?;
        let left = u64::from(end).saturating_sub(now);
        if self.signer.is_some() || left >= u64::from(days) * u64::from(DAY_S) {
            return None;
        }
        let when = Utc(end.into());
        let what = if left == 0 {
            format!("the server certificate ended at {when}: devices refuse this pool")
        } else {
            format!(
                "the server certificate ends at {when}, in {} days",
                left / u64::from(DAY_S)
            )
        };
        Some(format!(
            "{what}; issue another one where the authority is (`adit keys issue`) and install it here (`adit keys \
             install FILE`)"
        ))
    }
}

/// Identities with certificates of an authority that is here.
fn issued(signer: &Authority, server: &ServerSecrets, now: u64) -> Result<Identities, Exit> {
    let aux = adit_net::random::bytes();
    let current = ServerIdentity::issued_by(&signer.current, *server.current, now, aux);
    let draft2022 = draft2022::ServerIdentity::issued_by(&signer.draft2022, *server.draft2022, now);
    Ok(Identities {
        current: current.map_err(unusable)?,
        draft2022: draft2022.map_err(unusable)?,
    })
}

/// Identities with the installed certificates, if they are these keys' and good now.
fn shown(server: &ServerSecrets, bundle: &Bundle, now: u64) -> Result<Identities, Exit> {
    check(server, bundle, now)?;
    let current = ServerIdentity::with_certificate(*server.current, bundle.current.certificate);
    let draft2022 =
        draft2022::ServerIdentity::with_certificate(*server.draft2022, bundle.draft2022.certificate);
    Ok(Identities {
        current: current.map_err(unusable)?,
        draft2022: draft2022.map_err(unusable)?,
    })
}

/// Whether these certificates serve this server now.
pub(super) fn check(server: &ServerSecrets, bundle: &Bundle, now: u64) -> Result<(), Exit> {
    let keys = server.public()?;
    for (suite, key) in Suite::ALL.into_iter().zip(&keys) {
        if bundle.request().of(suite) != key {
            return Err(Exit::failed(format!(
                "the {suite} certificate is for another server key than the one of this data folder"
            ))
            .help("issue it for the keys that `adit keys request` prints on this server"));
        }
        bundle
            .check(suite, bundle.authority().of(suite), now)
            .map_err(|error| {
                let exit = Exit::failed(format!("the {suite} certificate is of no use: {}", said(error)));
                exit.help("issue another one where the authority is (`adit keys issue`) and install it")
            })?;
    }
    Ok(())
}

/// As a server's operator wants to hear it: the error itself speaks to a client.
fn said(error: CertificateError) -> String {
    match error {
        CertificateError::Signature => {
            "it is not signed by the authority that it names: it was changed on the way".into()
        }
        other => other.to_string(),
    }
}

fn stamps(data: &Path) -> [Stamp; FILES] {
    let key = |file: &str| Stamp::of(&folder(data).join(file));
    [
        key(Suite::Current.authority_file()),
        key(Suite::Draft2022.authority_file()),
        key(Suite::Current.server_file()),
        key(Suite::Draft2022.server_file()),
        Stamp::of(&bundle::path(data)),
    ]
}

fn without_authority() -> Exit {
    Exit::failed("there is neither an authority nor a certificate")
        .help("put the backup of the folder keys back, or install certificates with `adit keys install`")
}

pub(super) fn without_server_keys() -> Exit {
    Exit::failed("there are certificates, but no server keys")
        .help("`adit keys request` makes server keys; have certificates issued for those")
}

fn unusable(error: adit_noise::KeyError) -> Exit {
    Exit::failed(format!("a server key is of no use: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const NOW: u64 = 1_800_000_000;

    fn bundle(authority: &Authority, data: &Path, from: u64, days: u32) -> Bundle {
        let server = ServerSecrets::of_data(data).unwrap().public().unwrap();
        super::super::carry::sign(
            authority,
            &bundle::Request {
                current: server[0],
                draft2022: server[1],
            },
            from as u32,
            days,
        )
    }

    fn install(data: &Path, bundle: &Bundle) {
        fs::create_dir_all(folder(data)).unwrap();
        super::super::files::store(&bundle::path(data), &bundle.to_string(), 0o644, true).unwrap();
    }

    fn elsewhere() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        Authority::new_in(folder.path()).unwrap();
        Authority::read(folder.path(), 0).unwrap().unwrap()
    }

    #[test]
    fn a_first_start_needs_nothing_and_renews_by_itself() {
        let data = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(data.path(), 10, NOW).unwrap();
        let first = ring.identities();
        assert_eq!(ring.tend(NOW + 4 * 86_400), Tended::Quiet);
        let later = NOW + 6 * 86_400;
        assert_eq!(ring.tend(later), Tended::Renewed);
        assert_eq!(ring.identities().current.public_key(), first.current.public_key());
        for window in ring.windows() {
            assert_eq!(u64::from(window.not_valid_after_s), later + 10 * 86_400);
        }
        assert_eq!(ring.warning(later, 3650), None, "it renews itself");
        let again = Ring::open(data.path(), 10, NOW).unwrap();
        assert_eq!(
            again.identities().draft2022.public_key(),
            first.draft2022.public_key()
        );
        assert_eq!(again.authority(), ring.authority());
    }

    #[test]
    fn installed_certificates_need_no_authority_and_warn_in_time() {
        let (data, authority) = (tempfile::tempdir().unwrap(), elsewhere());
        install(data.path(), &bundle(&authority, data.path(), NOW, 20));
        let mut ring = Ring::open(data.path(), 90, NOW).unwrap();
        assert_eq!(ring.authority(), authority.public());
        assert!(!folder(data.path()).join("authority.secret").exists());
        assert_eq!(
            ring.tend(NOW + 15 * 86_400),
            Tended::Quiet,
            "nobody here may renew it"
        );
        assert_eq!(ring.warning(NOW, 14), None);
        let warning = ring.warning(NOW + 7 * 86_400, 14).unwrap();
        assert!(
            warning.contains("in 13 days") && warning.contains("adit keys install"),
            "{warning}"
        );
        assert!(ring.warning(NOW + 21 * 86_400, 14).unwrap().contains("ended at"));
        let late = Ring::open(data.path(), 90, NOW + 21 * 86_400).err().unwrap();
        assert!(late.message.contains("86400 s after"), "{late}");
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
        let (data, authority) = (tempfile::tempdir().unwrap(), elsewhere());
        install(data.path(), &bundle(&authority, data.path(), NOW, 20));
        let mut ring = Ring::open(data.path(), 90, NOW).unwrap();
        assert_eq!(ring.tend(NOW), Tended::Quiet);
        install(data.path(), &bundle(&authority, data.path(), NOW, 40));
        assert_eq!(ring.tend(NOW), Tended::Renewed);
        let good = ring.windows();
        assert_eq!(u64::from(good[0].not_valid_after_s), NOW + 40 * 86_400);

        fs::write(bundle::path(data.path()), "[current]\n").unwrap();
        assert!(matches!(ring.tend(NOW), Tended::Refused(_)));
        assert_eq!(ring.tend(NOW), Tended::Quiet, "told once");
        let stolen = bundle(&authority, tempfile::tempdir().unwrap().path(), NOW, 40);
        install(data.path(), &stolen);
        let Tended::Refused(exit) = ring.tend(NOW) else {
            panic!()
        };
        assert!(exit.message.contains("another server key"), "{exit}");
        fs::remove_file(bundle::path(data.path())).unwrap();
        assert!(matches!(ring.tend(NOW), Tended::Refused(_)));
        assert_eq!(ring.windows(), good);
        assert!(
            ring.warning(NOW, 14)
                .unwrap()
                .contains("the old ones are shown on")
        );

        install(data.path(), &bundle(&elsewhere(), data.path(), NOW, 40));
        assert_eq!(ring.tend(NOW), Tended::OtherAuthority);
        assert_eq!(ring.warning(NOW, 14), None);
    }

    #[test]
    fn a_local_authority_renews_what_it_signed() {
        let data = tempfile::tempdir().unwrap();
        let authority = Authority::of_data(data.path(), 0).unwrap();
        install(data.path(), &bundle(&authority, data.path(), NOW, 2));
        let mut ring = Ring::open(data.path(), 90, NOW).unwrap();
        assert_eq!(u64::from(ring.windows()[0].not_valid_after_s), NOW + 2 * 86_400);
        assert_eq!(ring.tend(NOW + 100_000), Tended::Renewed);
        assert!(
            Ring::open(data.path(), 90, NOW + 3 * 86_400).is_ok(),
            "not even when it has ended"
        );
    }
}
