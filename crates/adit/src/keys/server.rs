//! The server's own keys: a static secret for each suite, which stays on the server, and the public halves that an
//! authority signs.

use std::io::ErrorKind;
use std::path::Path;

use adit_noise::{Certificate, ServerIdentity, draft2022};
use zeroize::Zeroizing;

use super::suite::Suite;
use super::{authority, files, folder};
use crate::exit::Exit;

/// The static secrets of both suites.
pub(super) struct ServerSecrets {
    pub(super) current: Zeroizing<[u8; 32]>,
    pub(super) draft2022: Zeroizing<[u8; 32]>,
}

impl ServerSecrets {
    /// Those of a data folder; what is missing is made.
    pub(super) fn of_data(data: &Path) -> Result<Self, Exit> {
        for suite in Suite::ALL {
            let path = folder(data).join(suite.server_file());
            if path.exists() {
                continue;
            }
            let text = files::encode(&*authority::fresh()?);
            match files::store(&path, &text, files::SECRET, false) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(files::unwritable(&path, &error));
                }
                _ => {}
            }
        }
        Self::read(data)?.ok_or_else(|| Exit::failed("the server keys vanished while they were made"))
    }

    /// Those of a data folder; `None` when one is missing.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, Exit> {
        let read = |suite: Suite| files::secret(&folder(data).join(suite.server_file()));
        let both = (read(Suite::Current)?, read(Suite::Draft2022)?);
        Ok(match both {
            (Some(current), Some(draft2022)) => Some(Self { current, draft2022 }),
            _ => None,
        })
    }

    /// The public half for the current suite (x-only), and that for the 2022 draft.
    pub(super) fn public(&self) -> Result<[[u8; 32]; 2], Exit> {
        // An identity knows its public key; the certificate in it is of no importance here.
        let none = [0; Certificate::BYTES];
        let current = ServerIdentity::with_certificate(*self.current, Certificate::from_bytes(&none));
        let none = draft2022::Certificate::from_bytes(&none);
        let draft = draft2022::ServerIdentity::with_certificate(*self.draft2022, none);
        let bad = |error| Exit::failed(format!("a server key is of no use: {error}"));
        Ok([
            *current.map_err(bad)?.public_key(),
            *draft.map_err(bad)?.public_key(),
        ])
    }
}
