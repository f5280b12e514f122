//! Why no session could be opened, and what the reader can do about it.
//!
//! It turns what the client library reports into words; it decides nothing but whether another host is worth
//! trying. What is easy to get wrong: a server that answers "wrong password" must end the search, as in
//! libpq, or the last host's "connection refused" would hide it.

use std::time::Duration;

use tokio_postgres::{Config, config::Host};

use crate::error::{Error, ErrorKind};

/// Whether the next host may be left untried: a server that is up has decided.
pub(super) fn is_final(error: &tokio_postgres::Error) -> bool {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        // Starting up or shutting down; no line for us (perhaps for this kind of encryption) in pg_hba.conf.
        None | Some("57P03" | "28000") => false,
        Some(_) => true,
    }
}

/// The error for a host that did not answer in time.
pub(super) fn silence(waited: Duration, config: &Config) -> Error {
    let message = format!(
        "no session within {} ms: the server accepts but does not answer, or drops packets",
        waited.as_millis()
    );
    Error::new(ErrorKind::Unreachable, message).about(place(config))
}

/// One error out of those of all hosts.
pub(super) fn of_all(mut refusals: Vec<Error>) -> Error {
    if refusals.len() == 1 {
        return refusals.remove(0);
    }
    let unsuitable = refusals.iter().all(|refusal| refusal.kind() == ErrorKind::Unsuitable);
    let kind = if unsuitable { ErrorKind::Unsuitable } else { ErrorKind::Unreachable };
    let each: Vec<_> = refusals.iter().map(Error::to_string).collect();
    let error = Error::new(kind, format!("no host lets us in: {}", each.join("; ")));
    match refusals.iter().find_map(Error::remedy) {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// The error with the place and a remedy.
pub(super) fn explain(error: tokio_postgres::Error, config: &Config) -> Error {
    let place = place(config);
    let said = error.as_db_error().map(|db| db.message()).unwrap_or_default();
    if said.contains("unsupported startup parameter") {
        return Error::new(ErrorKind::Unsuitable, "a connection pooler refuses our session settings")
            .about(place)
            .with_remedy("connect to PostgreSQL directly; do not hide this with ignore_startup_parameters")
            .caused_by(error);
    }
    if cause(&error).contains("does not allow writes") {
        return Error::new(ErrorKind::Unsuitable, "it is a standby, or read-only")
            .about(place)
            .with_remedy("name the primary, or all hosts of the cluster: postgres://HOST1,HOST2/DATABASE");
    }
    let remedy = remedy(&error);
    let explained = Error::from(error).about(place);
    match remedy {
        Some(remedy) => explained.with_remedy(remedy),
        None => explained,
    }
}

fn remedy(error: &tokio_postgres::Error) -> Option<&'static str> {
    let said = error.as_db_error().map(|db| db.message()).unwrap_or_default();
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("28P01") => Some("check the password: DATABASE_URL, PGPASSWORD or the password file"),
        Some("28000") if said.contains("no encryption") => {
            Some("the server may want TLS: sslmode=verify-full, or require; else check its pg_hba.conf")
        }
        Some("28000") => Some("check the user and the server's pg_hba.conf"),
        Some("3D000") => Some("create the database, or name another in DATABASE_URL or PGDATABASE"),
        Some(_) => None,
        None if error.to_string().contains("connecting to server") => {
            Some("is the server running there? say where by DATABASE_URL, --database or the PG* variables")
        }
        None => remedy_for_login(error),
    }
}

/// What the client library found wrong while it logged in.
fn remedy_for_login(error: &tokio_postgres::Error) -> Option<&'static str> {
    let cause = cause(error);
    if cause.contains("password missing") {
        return Some(
            "give the password: DATABASE_URL, PGPASSWORD, or a password file (~/.pgpass) that only its owner may read",
        );
    }
    if cause.contains("does not support TLS") {
        return Some("turn on ssl at the server, or accept clear text by sslmode=prefer");
    }
    if cause.contains("channel binding") {
        return Some(
            "channel binding needs TLS, a SCRAM password, and a server certificate signed by RSA or ECDSA (not Ed25519)",
        );
    }
    remedy_for_certificate(error)
}

#[cfg(not(feature = "tls"))]
fn remedy_for_certificate(_: &tokio_postgres::Error) -> Option<&'static str> {
    None
}

#[cfg(feature = "tls")]
fn remedy_for_certificate(error: &tokio_postgres::Error) -> Option<&'static str> {
    use rustls::{AlertDescription, CertificateError as Bad, Error as Tls};

    let io = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    match io.get_ref()?.downcast_ref::<Tls>()? {
        // A bad signature is what an authority made anew under its old name looks like.
        Tls::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => Some(
            "no authority in sslrootcert signed the server's certificate: name the right file, or sslrootcert=system for public ones",
        ),
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => Some(
            "connect by a name that the certificate is for (a subject alternative name), or accept any by sslmode=verify-ca",
        ),
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            Some("renew the server's certificate")
        }
        Tls::InvalidCertificate(Bad::Revoked) => Some("the server must get a new certificate"),
        Tls::InvalidCertificate(bad) if format!("{bad:?}").contains("CaUsedAsEndEntity") => Some(
            "the server uses an authority's certificate (self-signed, CA:TRUE) as its own: make one with basicConstraints=CA:FALSE; \
             sslmode=require without sslrootcert encrypts without verifying",
        ),
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            Some("the server wants a client certificate: name it by sslcert and sslkey")
        }
        Tls::AlertReceived(_) | Tls::InvalidCertificate(_) => {
            Some("check sslmode and the ssl… files, here and there")
        }
        _ => None,
    }
}

fn cause(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

fn place(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let ports: Vec<String> = config.get_ports().iter().map(u16::to_string).collect();
    let port = if ports.is_empty() { String::new() } else { format!(" port {}", ports.join(",")) };
    format!("database at {}{port}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: ErrorKind, host: &str) -> Error {
        Error::new(kind, "no").about(host)
    }

    #[test]
    fn all_hosts_are_named_and_one_that_may_recover_keeps_it_unreachable() {
        let error = of_all(vec![
            refusal(ErrorKind::Unreachable, "a").with_remedy("start it"),
            refusal(ErrorKind::Unsuitable, "b"),
        ]);
        assert_eq!(error.to_string(), "no host lets us in: a: no; b: no");
        assert_eq!((error.kind(), error.remedy()), (ErrorKind::Unreachable, Some("start it")));
        let standbys = vec![refusal(ErrorKind::Unsuitable, "a"), refusal(ErrorKind::Unsuitable, "b")];
        assert_eq!(of_all(standbys).kind(), ErrorKind::Unsuitable);
    }

    #[test]
    fn one_refusal_is_left_as_it_is() {
        let error = of_all(vec![refusal(ErrorKind::Unsuitable, "a")]);
        assert_eq!(error.to_string(), "a: no");
    }
}
