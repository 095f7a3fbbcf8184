//! What is carried between a server and its authority: the server's public keys one way, certificates the other. TOML,
//! nothing secret in it, and every mistake named with its line.

use std::fmt;
use std::path::{Path, PathBuf};

use adit_noise::{
    AuthorityKey, AuthorityPublicKey, Certificate, CertificateError, KeyError, Trust, Utc, draft2022,
};
use bitcoin::hex::{DisplayHex, FromHex};
use serde::{Deserialize, Serialize};

use super::authority::PublicKeys;
use super::suite::Suite;
use super::{files, folder};
use crate::exit::Exit;

/// Installed certificates, in the folder of keys.
const FILE: &str = "certificates.toml";

/// Where the installed certificates of a data folder are.
pub(super) fn path(data: &Path) -> PathBuf {
    folder(data).join(FILE)
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both<T> {
    current: T,
    draft2022: T,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    server_key: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateText {
    authority: String,
    server_key: String,
    certificate: String,
}

/// The public keys of a server, 32 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) current: [u8; 32],
    pub(super) draft2022: [u8; 32],
}

impl Request {
    pub(super) fn of(&self, suite: Suite) -> &[u8; 32] {
        match suite {
            Suite::Current => &self.current,
            Suite::Draft2022 => &self.draft2022,
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Exit> {
        let both: Both<KeyText> = read(text, "server keys")?;
        Ok(Self {
            current: server_key(Suite::Current, &both.current.server_key)?,
            draft2022: server_key(Suite::Draft2022, &both.draft2022.server_key)?,
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &[u8; 32]| KeyText {
            server_key: key.to_lower_hex_string(),
        };
        f.write_str("# Public keys of a server. Nothing here is secret.\n")?;
        f.write_str("# On the authority's machine: adit keys issue --authority DIR --days N --server-keys THIS_FILE\n\n")?;
        write_toml(
            f,
            &Both {
                current: text(&self.current),
                draft2022: text(&self.draft2022),
            },
        )
    }
}

/// A certificate of either suite with the keys that it ties together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed<K, C> {
    pub(super) authority: K,
    pub(super) server_key: [u8; 32],
    pub(super) certificate: C,
}

/// Certificates of both suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    pub(super) current: Signed<AuthorityPublicKey, Certificate>,
    pub(super) draft2022: Signed<draft2022::AuthorityPublicKey, draft2022::Certificate>,
}

impl Bundle {
    /// The installed ones of a data folder.
    pub(super) fn of_data(data: &Path) -> Result<Option<Self>, Exit> {
        let path = path(data);
        if !path.exists() {
            return Ok(None);
        }
        let named = |exit: Exit| Exit {
            message: format!("{}: {}", path.display(), exit.message),
            ..exit
        };
        Self::parse(&files::text(&path)?).map(Some).map_err(named)
    }

    pub(super) fn parse(text: &str) -> Result<Self, Exit> {
        let both: Both<CertificateText> = read(text, "server certificates")?;
        let CertificateText {
            authority,
            server_key: key,
            certificate,
        } = both.current;
        let current = Signed {
            authority: authority_key(Suite::Current, &authority, authority.parse())?,
            server_key: server_key(Suite::Current, &key)?,
            certificate: Certificate::from_bytes(&certificate_bytes(Suite::Current, &certificate)?),
        };
        let CertificateText {
            authority,
            server_key: key,
            certificate,
        } = both.draft2022;
        let draft2022 = Signed {
            authority: authority_key(Suite::Draft2022, &authority, authority.parse())?,
            server_key: server_key(Suite::Draft2022, &key)?,
            certificate: draft2022::Certificate::from_bytes(&certificate_bytes(
                Suite::Draft2022,
                &certificate,
            )?),
        };
        Ok(Self { current, draft2022 })
    }

    pub(super) fn authority(&self) -> PublicKeys {
        PublicKeys {
            current: self.current.authority,
            draft2022: self.draft2022.authority,
        }
    }

    pub(super) fn request(&self) -> Request {
        Request {
            current: self.current.server_key,
            draft2022: self.draft2022.server_key,
        }
    }

    /// First and last second of one suite's certificate.
    pub(super) fn window(&self, suite: Suite) -> (u32, u32) {
        let (one, other) = (&self.current.certificate, &self.draft2022.certificate);
        match suite {
            Suite::Current => (one.valid_from(), one.not_valid_after()),
            Suite::Draft2022 => (other.valid_from(), other.not_valid_after()),
        }
    }

    /// Is one suite's certificate good now, for somebody who trusts `authority`?
    pub(super) fn check(
        &self,
        suite: Suite,
        authority: AuthorityKey,
        now: u64,
    ) -> Result<(), CertificateError> {
        match (suite, authority) {
            (Suite::Current, AuthorityKey::Current(key)) => {
                let Signed {
                    server_key,
                    certificate,
                    ..
                } = &self.current;
                certificate.check(server_key, &Trust::Authority(key), now, 0)
            }
            (Suite::Draft2022, AuthorityKey::Draft2022(key)) => {
                let Signed {
                    server_key,
                    certificate,
                    ..
                } = &self.draft2022;
                certificate.check(server_key, &Trust::Authority(key), now, 0)
            }
            _ => Err(CertificateError::Signature),
        }
    }

    /// Are both signed by the authorities they name, whatever the time?
    pub(super) fn is_signed(&self, suite: Suite) -> bool {
        let (from, _) = self.window(suite);
        self.check(suite, self.authority().of(suite), from.into()) != Err(CertificateError::Signature)
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# Certificates of a server. Nothing here is secret.\n")?;
        f.write_str("# On the server: adit keys install THIS_FILE --data DIR\n")?;
        for suite in Suite::ALL {
            let (from, to) = self.window(suite);
            let name = suite.name();
            writeln!(
                f,
                "# {name}: valid from {} until {}",
                Utc(from.into()),
                Utc(to.into())
            )?;
        }
        f.write_str("\n")?;
        write_toml(
            f,
            &Both {
                current: CertificateText {
                    authority: self.current.authority.to_string(),
                    server_key: self.current.server_key.to_lower_hex_string(),
                    certificate: self.current.certificate.to_bytes().to_lower_hex_string(),
                },
                draft2022: CertificateText {
                    authority: self.draft2022.authority.to_string(),
                    server_key: self.draft2022.server_key.to_lower_hex_string(),
                    certificate: self.draft2022.certificate.to_bytes().to_lower_hex_string(),
                },
            },
        )
    }
}

fn write_toml(f: &mut fmt::Formatter<'_>, value: &impl Serialize) -> fmt::Result {
    f.write_str(&toml::to_string(value).map_err(|_| fmt::Error)?)
}

fn read<T: for<'a> Deserialize<'a>>(text: &str, what: &str) -> Result<T, Exit> {
    toml::from_str(text).map_err(|error| {
        Exit::failed(format!("these are no {what}: {}", error.to_string().trim_end()))
            .help("carry the file over whole, as the other machine wrote it")
    })
}

fn authority_key<T>(suite: Suite, text: &str, key: Result<T, KeyError>) -> Result<T, Exit> {
    key.map_err(|error| wrong(suite, &format!("the authority {text:?}: {error}")))
}

fn server_key(suite: Suite, text: &str) -> Result<[u8; 32], Exit> {
    let key = <[u8; 32]>::from_hex(text)
        .map_err(|error| wrong(suite, &format!("the server key is not 32 bytes in hex: {error}")))?;
    // An x coordinate is a point or not; every 32 bytes are a key of X25519, but those of zeros speak with nobody.
    let usable = match suite {
        Suite::Current => AuthorityPublicKey::from_bytes(key).is_ok(),
        Suite::Draft2022 => key != [0; 32],
    };
    if usable {
        Ok(key)
    } else {
        Err(wrong(suite, "the server key is no point of the curve"))
    }
}

fn certificate_bytes(suite: Suite, text: &str) -> Result<[u8; Certificate::BYTES], Exit> {
    FromHex::from_hex(text).map_err(|error| {
        let what = format!(
            "the certificate is not {} bytes in hex: {error}",
            Certificate::BYTES
        );
        wrong(suite, &what)
    })
}

fn wrong(suite: Suite, what: &str) -> Exit {
    Exit::failed(format!("[{suite}] {what}")).help("carry the file over whole, as the other machine wrote it")
}
