//! Who a server of the 2022 draft is: made once, shared by all its connections.

use super::certificate::{Authority, Certificate};
use super::primitives::Pair;
use crate::keys::KeyError;

/// X25519 static key and its certificate. Share it in an `Arc` and swap that for [`ServerIdentity::renewed`] when
/// [`ServerIdentity::needs_renewal`] says so; running sessions do not notice.
pub struct ServerIdentity {
    pair: Pair,
    certificate: Certificate,
}

impl ServerIdentity {
    /// Takes 32 random bytes as the static secret and has the authority sign its key at `now_unix_s`. Any 32 bytes are
    /// a secret of X25519, but 32 zeros are nobody's choice: [`KeyError::Secret`].
    pub fn issued_by(authority: &Authority, secret: [u8; 32], now_unix_s: u64) -> Result<Self, KeyError> {
        let pair = Pair::new(secret).ok_or(KeyError::Secret)?;
        let certificate = authority.issue(pair.public(), now_unix_s);
        Ok(Self { pair, certificate })
    }

    /// A static secret with a certificate that was issued elsewhere, so the authority's secret need not be on the
    /// server. Errors: [`KeyError::Secret`]. Whether the certificate fits is for [`Certificate::check`] to say.
    pub fn with_certificate(secret: [u8; 32], certificate: Certificate) -> Result<Self, KeyError> {
        let pair = Pair::new(secret).ok_or(KeyError::Secret)?;
        Ok(Self { pair, certificate })
    }

    /// The same server with a fresh certificate.
    pub fn renewed(&self, authority: &Authority, now_unix_s: u64) -> Self {
        Self {
            pair: self.pair.clone(),
            certificate: authority.issue(self.pair.public(), now_unix_s),
        }
    }

    /// See [`Certificate::needs_renewal`].
    pub fn needs_renewal(&self, now_unix_s: u64) -> bool {
        self.certificate.needs_renewal(now_unix_s)
    }

    /// The X25519 key that the certificate speaks for.
    pub fn public_key(&self) -> &[u8; 32] {
        self.pair.public()
    }

    /// The certificate that connections are shown.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }
}
