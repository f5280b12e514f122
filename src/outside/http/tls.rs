//! TLS for calls: the system's certificates, and those of the local file.
//!
//! What is easy to get wrong: a library must not use the process's default provider, which may be another or none.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::{
    error::{Error, ErrorKind, Result},
    outside::Contents,
};

/// TLS as the system trusts it, by our own provider: a process may have another default.
pub(super) fn tls(contents: &Contents) -> Result<(ClientConfig, Option<String>)> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match &contents.http.roots {
        None => Vec::new(),
        Some(path) => {
            read_roots(path).map_err(|error| error.about(format!("[http] roots {}", path.display())))?
        }
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::new(ErrorKind::Outside, "TLS does not start").caused_by(cause))?;
    Ok(match Verifier::new_with_extra_roots(roots, provider) {
        Ok(verifier) => {
            let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
            (config.with_no_client_auth(), None)
        }
        Err(error) => {
            let config = builder.with_root_certificates(RootCertStore::empty());
            (config.with_no_client_auth(), Some(error.to_string()))
        }
    })
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |text: String| Error::invalid(text);
    let bytes = std::fs::read(path).map_err(|cause| wrong("cannot be read".to_owned()).caused_by(cause))?;
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let read = read.map_err(|cause| wrong(format!("is no PEM: {cause}")))?;
    if read.is_empty() { Err(wrong("holds no certificate".to_owned())) } else { Ok(read) }
}
