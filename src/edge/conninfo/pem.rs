//! The files of TLS: root certificates, revocation lists, our own certificate and its key.
//!
//! All are PEM, at the paths that libpq would take. What is easy to get wrong: a file that was named must be
//! there; only the ones in `~/.postgresql` may be missing.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject};

use crate::error::Result;

use super::{
    machine::{self, Contents, Machine},
    settings::Settings,
};

/// The file of root certificates: the one that was named, else `~/.postgresql/root.crt` if it is there.
pub(super) fn root_file(settings: &Settings, machine: &dyn Machine) -> Option<PathBuf> {
    named_or_in_home("sslrootcert", "root.crt", settings, machine)
}

fn named_or_in_home(
    keyword: &str,
    file: &str,
    settings: &Settings,
    machine: &dyn Machine,
) -> Option<PathBuf> {
    match settings.text(keyword) {
        Some(path) => Some(path.into()),
        None => {
            Some(machine::home(machine)?.join(".postgresql").join(file)).filter(|path| machine.exists(path))
        }
    }
}

/// The certificates in the file that `keyword` names, at least one.
pub(super) fn certificates(
    settings: &Settings,
    keyword: &str,
    path: &Path,
    machine: &dyn Machine,
) -> Result<Vec<CertificateDer<'static>>> {
    let contents = read(settings, keyword, path, machine)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.bytes).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(settings.wrong(keyword, format!("no certificate (PEM) in {}", path.display()))),
    }
}

/// The revocation lists: those that `sslcrl` names, else `~/.postgresql/root.crl`, else none.
pub(super) fn revoked(
    settings: &Settings,
    machine: &dyn Machine,
) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let Some(path) = named_or_in_home("sslcrl", "root.crl", settings, machine) else {
        return Ok(Vec::new());
    };
    let contents = read(settings, "sslcrl", &path, machine)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&contents.bytes).collect();
    match found {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        _ => Err(settings.wrong("sslcrl", format!("no revocation list (PEM) in {}", path.display()))),
    }
}

/// A chain of certificates and the key of the first.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our own certificate, if there is one: named, or `~/.postgresql/postgresql.crt`.
pub(super) fn client_certificate(settings: &Settings, machine: &dyn Machine) -> Result<Option<Identity>> {
    let modes = [("disable", false), ("allow", true)];
    if !settings.choice("sslcertmode", &modes)?.unwrap_or(true) {
        return Ok(None);
    }
    let Some(certificate) = named_or_in_home("sslcert", "postgresql.crt", settings, machine) else {
        return Ok(None);
    };
    let chain = certificates(settings, "sslcert", &certificate, machine)?;
    let Some(key) = named_or_in_home("sslkey", "postgresql.key", settings, machine) else {
        return Err(settings.wrong("sslcert", "the certificate has no key").with_remedy("name it by sslkey"));
    };
    let key = private_key(settings, &key, machine)?;
    Ok(Some((chain, key)))
}

fn private_key(settings: &Settings, path: &Path, machine: &dyn Machine) -> Result<PrivateKeyDer<'static>> {
    let contents = read(settings, "sslkey", path, machine)?;
    // libpq's rule: ours alone, or root's and readable by a group.
    let forbidden = if contents.owner == 0 { 0o037 } else { 0o077 };
    if contents.mode & forbidden != 0 {
        return Err(settings
            .wrong("sslkey", format!("private key {} has group or world access", path.display()))
            .with_remedy("permissions must be u=rw (0600) or less, or u=rw,g=r (0640) if owned by root"));
    }
    PrivateKeyDer::from_pem_slice(&contents.bytes).map_err(|_| {
        settings
            .wrong("sslkey", format!("no unencrypted private key (PEM) in {}", path.display()))
            .with_remedy("convert it: openssl pkey -in KEY -out PLAIN_KEY")
    })
}

fn read(settings: &Settings, keyword: &str, path: &Path, machine: &dyn Machine) -> Result<Contents> {
    machine
        .read(path)
        .map_err(|error| settings.wrong(keyword, format!("cannot read {}", path.display())).caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::{super::dsn, super::machine::fake::Fake, *};

    fn identity(machine: &Fake, text: &str) -> Result<Option<Identity>> {
        client_certificate(&dsn::parse(text).unwrap(), machine)
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let signed = rcgen::generate_simple_self_signed(["ann".to_owned()]).unwrap();
        let key = signed.signing_key.serialize_pem();
        let machine =
            Fake::new().with_file("/home/ann/.postgresql/postgresql.crt", &signed.cert.pem(), 0o644);
        let with_key = |mode| machine.clone().with_file("/home/ann/.postgresql/postgresql.key", &key, mode);
        assert!(identity(&with_key(0o600), "").unwrap().is_some());
        assert!(identity(&with_key(0o640), "").unwrap_err().to_string().contains("group or world access"));
        assert!(identity(&with_key(0o640), "sslcertmode=disable").unwrap().is_none());
        assert!(identity(&machine, "").unwrap_err().to_string().contains("has no key"));
        assert!(identity(&Fake::new(), "").unwrap().is_none());
    }

    #[test]
    fn a_named_file_must_be_there_and_hold_what_it_should() {
        let missing = identity(&Fake::new(), "sslcert=/c.pem").unwrap_err();
        assert!(missing.to_string().contains("sslcert: cannot read /c.pem"), "{missing}");
        let empty = identity(&Fake::new().with_file("/c.pem", "hello", 0o644), "sslcert=/c.pem").unwrap_err();
        assert!(empty.to_string().contains("no certificate (PEM) in /c.pem"), "{empty}");
    }
}
