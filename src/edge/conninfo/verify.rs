//! What is checked about the server's certificate, for each sslmode of libpq.
//!
//! Three verifiers: none (encryption alone), the chain, the chain and the host's name. What is easy to get
//! wrong: even without checking the certificate, the handshake's signature must be checked, or the server
//! need not even have the certificate's key.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
};

use crate::error::{Error, Result};

/// Whom we trust to be the server.
pub(super) enum Trust {
    /// Whoever answers.
    Anybody,
    /// Whoever has a certificate that one of these authorities signed and that is not on a revocation list.
    Authorities { roots: RootCertStore, revoked: Vec<CertificateRevocationListDer<'static>>, name: NameCheck },
}

/// Whether a certificate must be for the host that we connect to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NameCheck {
    /// `verify-full`
    Required,
    /// `verify-ca`
    Skipped,
}

/// The verifier for `trust`.
///
/// # Errors
/// If there is no authority, or a revocation list cannot be read.
pub(super) fn verifier(trust: Trust, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    match trust {
        Trust::Anybody => Ok(Arc::new(Unverified { provider })),
        Trust::Authorities { roots, revoked, name } => {
            let full = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .with_crls(revoked)
                .build()
                .map_err(|error| Error::invalid("cannot verify certificates by it").caused_by(error))?;
            Ok(match name {
                NameCheck::Required => full,
                NameCheck::Skipped => Arc::new(ChainAlone { full }),
            })
        }
    }
}

/// Accepts any certificate of which the server has the key.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies the chain and not the name. The inner verifier looks at the name last, so that "wrong name" means
/// that all else was right.
#[derive(Debug)]
struct ChainAlone {
    full: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for ChainAlone {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.full.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.full.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.full.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.full.supported_verify_schemes()
    }
}
