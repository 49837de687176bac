//! TLS for the API's socket.

use crate::core::{Error, Result};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// Reads a certificate chain and its key from PEM files.
///
/// # Errors
/// When a file cannot be read or holds something else; the message names the file.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>> {
    let broken =
        |path: &Path, error: &dyn std::fmt::Display| Error::invalid(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| broken(certificate, &e))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| broken(key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|e| broken(certificate, &e))?;
    Ok(Arc::new(config))
}
