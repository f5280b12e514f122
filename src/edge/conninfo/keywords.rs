//! The keywords of libpq, each with its environment variable and with what Sexton does about it.
//!
//! One table, so that nothing which psql accepts is a surprise here. What is easy to get wrong: a keyword
//! that asks for *more* safety than we can give must be refused; ignoring it would be a silent promise.

use Meaning::{Ignored, Only, Refused, Used};

/// A keyword of a connection string.
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// The environment variable that stands in for it.
    pub(super) variable: Option<&'static str>,
    pub(super) meaning: Meaning,
}

/// What Sexton does with a keyword.
pub(super) enum Meaning {
    /// It has libpq's effect.
    Used,
    /// It is accepted and has no effect here.
    Ignored,
    /// These values are accepted and change nothing; any other is refused, with this advice.
    Only(&'static [&'static str], &'static str),
    /// Any value is refused, with this advice.
    Refused(&'static str),
}

impl Keyword {
    /// Whether the value must never be shown.
    pub(super) fn is_secret(&self) -> bool {
        matches!(
            self.name,
            "password" | "sslpassword" | "scram_client_key" | "scram_server_key" | "oauth_client_secret"
        )
    }
}

const fn keyword(name: &'static str, variable: &'static str, meaning: Meaning) -> Keyword {
    let variable = if variable.is_empty() { None } else { Some(variable) };
    Keyword { name, variable, meaning }
}

/// All keywords of libpq, versions 9 to 18.
pub(super) static KEYWORDS: &[Keyword] = &[
    keyword("service", "PGSERVICE", Used),
    keyword("servicefile", "PGSERVICEFILE", Used),
    keyword("host", "PGHOST", Used),
    keyword("hostaddr", "PGHOSTADDR", Used),
    keyword("port", "PGPORT", Used),
    keyword("dbname", "PGDATABASE", Used),
    keyword("user", "PGUSER", Used),
    keyword("password", "PGPASSWORD", Used),
    keyword("passfile", "PGPASSFILE", Used),
    keyword("connect_timeout", "PGCONNECT_TIMEOUT", Used),
    keyword("options", "PGOPTIONS", Used),
    keyword("target_session_attrs", "PGTARGETSESSIONATTRS", Used),
    keyword("load_balance_hosts", "PGLOADBALANCEHOSTS", Used),
    keyword("channel_binding", "PGCHANNELBINDING", Used),
    keyword("keepalives", "", Used),
    keyword("keepalives_idle", "", Used),
    keyword("keepalives_interval", "", Used),
    keyword("keepalives_count", "", Used),
    keyword("tcp_user_timeout", "", Used),
    keyword("sslmode", "PGSSLMODE", Used),
    keyword("sslnegotiation", "PGSSLNEGOTIATION", Used),
    keyword("sslrootcert", "PGSSLROOTCERT", Used),
    keyword("sslcrl", "PGSSLCRL", Used),
    keyword("sslcert", "PGSSLCERT", Used),
    keyword("sslkey", "PGSSLKEY", Used),
    keyword("sslcertmode", "PGSSLCERTMODE", Used),
    keyword("sslsni", "PGSSLSNI", Used),
    keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Used),
    keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Used),
    // Sexton sets its own application_name; the client library always speaks UTF-8 and protocol 3.0.
    keyword("application_name", "PGAPPNAME", Ignored),
    keyword("fallback_application_name", "", Ignored),
    keyword("client_encoding", "PGCLIENTENCODING", Ignored),
    keyword("max_protocol_version", "PGMAXPROTOCOLVERSION", Ignored),
    keyword(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        Only(&["3.0"], "leave it out: Sexton speaks 3.0"),
    ),
    keyword("sslcompression", "PGSSLCOMPRESSION", Ignored),
    keyword("sslkeylogfile", "", Ignored),
    // Logins that Sexton does not know: what prepares for them is harmless, what insists on them is not.
    keyword("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"], "use TLS: sslmode=verify-full")),
    keyword("krbsrvname", "PGKRBSRVNAME", Ignored),
    keyword("gsslib", "PGGSSLIB", Ignored),
    keyword("gssdelegation", "PGGSSDELEGATION", Ignored),
    keyword("oauth_issuer", "", Ignored),
    keyword("oauth_client_id", "", Ignored),
    keyword("oauth_client_secret", "", Ignored),
    keyword("oauth_scope", "", Ignored),
    keyword("authtype", "PGAUTHTYPE", Ignored),
    keyword("tty", "PGTTY", Ignored),
    // Promises that Sexton could not keep.
    keyword(
        "replication",
        "",
        Only(&["false", "off", "no", "0"], "leave it out: Sexton needs plain sessions"),
    ),
    keyword(
        "require_auth",
        "PGREQUIREAUTH",
        Refused(
            "unset it; sslmode=verify-full with channel_binding=require gives the server no choice either",
        ),
    ),
    keyword(
        "requirepeer",
        "PGREQUIREPEER",
        Refused("unset it; rely on the permissions of the socket's folder"),
    ),
    keyword(
        "sslcrldir",
        "PGSSLCRLDIR",
        Refused("put the revocation lists into one file and name it by sslcrl"),
    ),
    keyword("sslpassword", "", Refused("give sslkey without a passphrase, readable by its owner alone")),
    keyword(
        "scram_client_key",
        "",
        Refused("give a password, or a client certificate by sslcert and sslkey"),
    ),
    keyword("scram_server_key", "", Refused("leave it out, it only goes with scram_client_key")),
];

/// The keyword called `name`.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

/// Advice for who wrote a keyword that does not exist.
pub(super) fn suggestion(name: &str) -> String {
    // What other programs call it.
    let name = match name {
        "database" | "db" | "databasename" => "dbname",
        "username" | "login" => "user",
        "pwd" => "password",
        "server" => "host",
        other => other,
    };
    let nearest = KEYWORDS
        .iter()
        .filter(|keyword| !matches!(keyword.meaning, Refused(_)))
        .map(|keyword| (strsim::jaro_winkler(name, keyword.name), keyword.name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, keyword)) if likeness > 0.8 => format!("did you mean {keyword}?"),
        _ => "the keywords are those of libpq: host, port, dbname, user, password, sslmode, …".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_keyword_or_variable_stands_twice() {
        let names: BTreeSet<_> = KEYWORDS.iter().map(|keyword| keyword.name).collect();
        assert_eq!(names.len(), KEYWORDS.len());
        let variables: Vec<_> = KEYWORDS.iter().filter_map(|keyword| keyword.variable).collect();
        assert_eq!(variables.iter().collect::<BTreeSet<_>>().len(), variables.len());
    }

    #[test]
    fn a_slip_of_the_pen_is_recognized() {
        assert_eq!(suggestion("sslmod"), "did you mean sslmode?");
        assert_eq!(suggestion("database"), "did you mean dbname?");
    }
}
