//! TLS of the HTTP server: certificate and key from PEM files, reloaded on demand.

use crate::util::sys::lock;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio_rustls::TlsAcceptor;

/// PEM files of the server's certificate chain, leaf first, and of its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Reason that certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}: {1}")]
    Unreadable(String, std::io::Error),
    #[error("{0} holds no certificate in PEM form (BEGIN CERTIFICATE)")]
    NoCertificate(String),
    #[error("{0} holds no private key in PEM form (BEGIN PRIVATE KEY)")]
    NoKey(String),
    #[error("{0}: {1}")]
    Damaged(String, pem::Error),
    /// Certificate and key do not belong together, or their kind is not supported.
    #[error("{0} and {1}: {2}")]
    Unusable(String, String, rustls::Error),
}

/// Current certificate and key.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: Mutex<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// Returns the reason if they cannot be used.
    pub fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let config = files.config()?;
        Ok(Self { files, config: Mutex::new(Arc::new(config)) })
    }

    /// Reads certificate and key again; open connections keep theirs.
    ///
    /// # Errors
    /// Returns the reason if they cannot be used; the ones before stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(self.files.config()?);
        *lock(&self.config) = config;
        Ok(())
    }

    /// Returns an acceptor with the current certificate.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&lock(&self.config)))
    }
}

impl TlsFiles {
    fn config(&self) -> Result<ServerConfig, TlsError> {
        let (cert, key) = (self.cert.display().to_string(), self.key.display().to_string());
        let failed = |name: &str, error| match error {
            pem::Error::Io(error) => TlsError::Unreadable(name.to_owned(), error),
            error => TlsError::Damaged(name.to_owned(), error),
        };
        let chain = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| failed(&cert, error))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(cert));
        }
        let private = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(key.clone()),
            error => failed(&key, error),
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |error| TlsError::Unusable(cert.clone(), key.clone(), error);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
