//! TLS as libpq's `ssl…` keywords say, made into a rustls configuration.
//!
//! No global provider is installed or relied upon: ring is named each time, since a host application may have
//! chosen another. What is easy to get wrong: `require` means encryption *without* verification, unless a
//! root certificate is there, when it means `verify-ca`.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Result};

use super::{
    machine::Machine,
    pem,
    settings::Settings,
    verify::{self, NameCheck, Trust},
};

/// libpq's sslmode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// In clear text.
    Disable,
    /// In clear text; encrypted, unverified, if the server refuses that.
    Allow,
    /// Encrypted, unverified; in clear text if the server has no TLS.
    Prefer,
    /// Encrypted; unverified unless a root certificate is there.
    Require,
    /// Encrypted, by a certificate that a trusted authority signed.
    VerifyCa,
    /// And that is for the host that we connect to.
    VerifyFull,
}

const MODES: &[(&str, Mode)] = &[
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

/// The sslmode that `settings` ask for: `prefer` if they do not say, `verify-full` with `sslrootcert=system`.
///
/// # Errors
/// If it is unknown, or too weak for what else is asked.
pub(super) fn mode(settings: &Settings) -> Result<Mode> {
    let given = settings.choice("sslmode", MODES)?;
    if settings.text("sslrootcert") == Some("system") {
        // Anybody can get a certificate from a public authority, for a host of their own.
        return match given {
            None | Some(Mode::VerifyFull) => Ok(Mode::VerifyFull),
            Some(_) => Err(settings
                .wrong("sslmode", "too weak for sslrootcert=system")
                .with_remedy("use sslmode=verify-full")),
        };
    }
    Ok(given.unwrap_or(Mode::Prefer))
}

/// Whether a session of this mode is known to be with the right server.
pub(super) fn verifies(mode: Mode, settings: &Settings, machine: &dyn Machine) -> bool {
    match mode {
        Mode::Disable | Mode::Allow | Mode::Prefer => false,
        Mode::Require => pem::root_file(settings, machine).is_some(),
        Mode::VerifyCa | Mode::VerifyFull => true,
    }
}

/// The connector for `mode`, which is not `disable`.
///
/// # Errors
/// Naming the file that is missing, unreadable, unsafe or of another kind.
pub(super) fn connector(mode: Mode, settings: &Settings, machine: &dyn Machine) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verify::verifier(trust(mode, settings, machine)?, provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(settings)?)
        .map_err(|error| Error::invalid("cannot set up TLS").caused_by(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match pem::client_certificate(settings, machine)? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            settings.wrong("sslcert", "the certificate and its key cannot be used").caused_by(error)
        })?,
    };
    config.enable_sni = settings.choice("sslsni", &[("1", true), ("0", false)])?.unwrap_or(true);
    if settings.text("sslnegotiation") == Some("direct") {
        // The server insists on it, so that no other protocol can be talked into answering.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

/// Whom to trust in `mode`.
fn trust(mode: Mode, settings: &Settings, machine: &dyn Machine) -> Result<Trust> {
    let name = match mode {
        Mode::Disable | Mode::Allow | Mode::Prefer => return Ok(Trust::Anybody),
        Mode::VerifyFull => NameCheck::Required,
        Mode::Require | Mode::VerifyCa => NameCheck::Skipped,
    };
    if settings.text("sslrootcert") == Some("system") {
        return Ok(Trust::Authorities { roots: system_roots(settings)?, revoked: Vec::new(), name });
    }
    match pem::root_file(settings, machine) {
        Some(path) => {
            let roots = roots_in(&path, settings, machine)?;
            Ok(Trust::Authorities { roots, revoked: pem::revoked(settings, machine)?, name })
        }
        None if mode == Mode::Require => Ok(Trust::Anybody),
        None => Err(settings.wrong("sslmode", "no root certificate to verify the server by").with_remedy(
            "name the file of the authority's certificate by sslrootcert, or use sslrootcert=system",
        )),
    }
}

fn roots_in(path: &Path, settings: &Settings, machine: &dyn Machine) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(settings, "sslrootcert", path, machine)? {
        roots.add(certificate).map_err(|error| {
            settings.wrong("sslrootcert", format!("bad certificate in {}", path.display())).caused_by(error)
        })?;
    }
    Ok(roots)
}

/// The authorities that the operating system trusts.
fn system_roots(settings: &Settings) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(settings
            .wrong("sslrootcert", "this system has no root certificates")
            .with_remedy("install them (ca-certificates), or name a file"));
    }
    Ok(roots)
}

/// The versions of TLS to offer: 1.2 and 1.3 unless narrowed.
fn versions(settings: &Settings) -> Result<&'static [&'static SupportedProtocolVersion]> {
    let words = [("TLSv1", 10), ("TLSv1.1", 11), ("TLSv1.2", 12), ("TLSv1.3", 13)];
    let least = settings.choice("ssl_min_protocol_version", &words)?.unwrap_or(12);
    let most = settings.choice("ssl_max_protocol_version", &words)?.unwrap_or(13);
    match (least, most) {
        (..=12, 13) => Ok(rustls::ALL_VERSIONS),
        (13, 13) => Ok(ONLY_1_3),
        (..=12, 12) => Ok(ONLY_1_2),
        _ => Err(settings
            .wrong("ssl_max_protocol_version", "no version of TLS is left")
            .with_remedy("Sexton speaks TLSv1.2 and TLSv1.3")),
    }
}

static ONLY_1_2: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

#[cfg(test)]
mod tests {
    use super::{super::dsn, super::machine::fake::Fake, *};

    fn mode_of(text: &str) -> Result<Mode> {
        mode(&dsn::parse(text).unwrap())
    }

    #[test]
    fn the_default_is_prefer_and_public_authorities_want_the_name() {
        assert_eq!(mode_of("").unwrap(), Mode::Prefer);
        assert_eq!(mode_of("sslmode=verify-ca").unwrap(), Mode::VerifyCa);
        assert_eq!(mode_of("sslrootcert=system").unwrap(), Mode::VerifyFull);
        assert!(mode_of("sslrootcert=system sslmode=require").is_err());
        assert!(mode_of("sslmode=full").is_err());
    }

    #[test]
    fn require_verifies_only_with_a_root_certificate() {
        let with_root = Fake::new().with_file("/home/ann/.postgresql/root.crt", "", 0o644);
        let verifies =
            |text: &str, machine: &Fake| verifies(Mode::Require, &dsn::parse(text).unwrap(), machine);
        assert!(!verifies("", &Fake::new()));
        assert!(verifies("", &with_root));
        assert!(verifies("sslrootcert=/ca.pem", &Fake::new()));
    }

    #[test]
    fn verification_without_a_root_certificate_is_refused() {
        let error = connector(Mode::VerifyFull, &Settings::default(), &Fake::new()).err().unwrap();
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("sslrootcert")), "{error}");
        let settings = dsn::parse("sslrootcert=/missing.pem").unwrap();
        let error = connector(Mode::Require, &settings, &Fake::new()).err().unwrap();
        assert!(error.to_string().contains("sslrootcert: cannot read /missing.pem"), "{error}");
    }

    #[test]
    fn versions_can_be_narrowed_but_not_to_nothing() {
        let offered = |text: &str| versions(&dsn::parse(text).unwrap()).map(<[_]>::len);
        assert_eq!(offered("").unwrap(), 2);
        assert_eq!(offered("ssl_min_protocol_version=TLSv1.3").unwrap(), 1);
        assert_eq!(offered("ssl_max_protocol_version=TLSv1.2").unwrap(), 1);
        assert!(offered("ssl_max_protocol_version=TLSv1.1").is_err());
    }
}
