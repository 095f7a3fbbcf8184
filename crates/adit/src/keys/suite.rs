//! The two suites and the names of their files.

use std::fmt;

use serde::Serialize;

/// A security suite: a handshake with keys and certificates of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256`, today's spec.
    Current,
    /// `Noise_NX_25519_{ChaChaPoly,AESGCM}_BLAKE2s`, the 2022 draft.
    #[value(name = "draft2022")]
    Draft2022,
}

impl Suite {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Current, Self::Draft2022];

    /// As files and JSON name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Draft2022 => "draft2022",
        }
    }

    /// File of the authority's secret.
    pub(super) const fn authority_file(self) -> &'static str {
        match self {
            Self::Current => "authority.secret",
            Self::Draft2022 => "authority-draft2022.secret",
        }
    }

    /// File of the server's secret.
    pub(super) const fn server_file(self) -> &'static str {
        match self {
            Self::Current => "server.secret",
            Self::Draft2022 => "server-draft2022.secret",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
