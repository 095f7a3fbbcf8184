//! Who a server is: made once, shared by all its connections.

use crate::certificate::{Authority, Certificate};
use crate::curve::{ENCODING, EncodedKey, context, decode_x};
use crate::keys::KeyError;
use crate::symmetric::Key;

/// Static key, its one encoding, and the certificate. Everything that need not be computed per connection is
/// computed here. Share it in an `Arc` and swap that for [`ServerIdentity::renewed`] when
/// [`ServerIdentity::needs_renewal`] says so; running sessions do not notice.
pub struct ServerIdentity {
    key: EncodedKey,
    public: [u8; 32],
    certificate: Certificate,
}

impl ServerIdentity {
    /// Takes 32 random bytes as the static secret and has the authority sign its key at `now_unix_s`.
    /// `aux` as in [`Authority::issue`]. Errors: [`KeyError::Secret`].
    pub fn issued_by(
        authority: &Authority,
        secret: [u8; 32],
        now_unix_s: u64,
        aux: [u8; 32],
    ) -> Result<Self, KeyError> {
        let key = EncodedKey::new(context(), secret)?;
        let public = decode_x(key.encoding());
        let certificate = authority.issue(&public, now_unix_s, aux);
        Ok(Self {
            key,
            public,
            certificate,
        })
    }

    /// A static secret with a certificate that was issued elsewhere, so the authority's secret need not be on the
    /// server. Errors: [`KeyError::Secret`]. Whether the certificate fits is for [`Certificate::check`] to say.
    pub fn with_certificate(secret: [u8; 32], certificate: Certificate) -> Result<Self, KeyError> {
        let key = EncodedKey::new(context(), secret)?;
        let public = decode_x(key.encoding());
        Ok(Self {
            key,
            public,
            certificate,
        })
    }

    /// The same server with a fresh certificate.
    pub fn renewed(&self, authority: &Authority, now_unix_s: u64, aux: [u8; 32]) -> Self {
        Self {
            key: self.key.duplicate(),
            public: self.public,
            certificate: authority.issue(&self.public, now_unix_s, aux),
        }
    }

    /// See [`Certificate::needs_renewal`].
    pub fn needs_renewal(&self, now_unix_s: u64) -> bool {
        self.certificate.needs_renewal(now_unix_s)
    }

    /// The static key that the certificate speaks for, 32 bytes x-only.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// The certificate that connections are shown.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn encoding(&self) -> &[u8; ENCODING] {
        self.key.encoding()
    }

    pub(crate) fn ecdh(&self, initiator: &[u8; ENCODING]) -> Key {
        self.key.ecdh_as_responder(initiator)
    }

    #[cfg(test)]
    pub(crate) fn from_parts(key: EncodedKey, certificate: Certificate) -> Self {
        let public = decode_x(key.encoding());
        Self {
            key,
            public,
            certificate,
        }
    }
}
