//! TLS for lines of Stratum V1, on a port of its own: the same bytes, and nobody in between who reads them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// A certificate with its key, ready to let callers in.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why there is no TLS.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read, or holds no PEM of the right kind.
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key do not belong together, or are of a kind that is not spoken.
    Pair(rustls::Error),
}

impl Tls {
    /// Reads the chain, the server's certificate first, and its key; both PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |error: rustls::pki_types::pem::Error| TlsError::File {
                path,
                why: error.to_string(),
            }
        };
        let chain = CertificateDer::pem_file_iter(certificate).map_err(wrong(certificate))?;
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(wrong(certificate))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(wrong(key))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsError::Pair)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The server's side of a handshake.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let stream = self.0.accept(stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Pair(error) => write!(f, "the certificate cannot be used with the key: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// What a link reads and writes.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether what was written may still wait inside and wants a flush.
    pub(crate) const fn is_buffered(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}
