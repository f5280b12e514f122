//! Makes a target out of settings: what the client library is told, server by server.
//!
//! Each server gets a configuration of its own, since its password and its encryption may differ from the
//! next one's. What is easy to get wrong: units (`tcp_user_timeout` is in milliseconds here, in seconds to the
//! client library's own parser), and that 0 means "as the system has it".

use std::time::Duration;

use tokio_postgres::{
    Config,
    config::{ChannelBinding, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs},
};

use crate::{
    error::{Error, Result},
    protocol::connect::{Target, Tls},
};

use super::{
    machine::Machine,
    passfile::{Login, Passfile},
    servers::{Place, Server, servers},
    settings::Settings,
    tls::{self, Mode},
};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Stands for libpq's "no timeout"; nothing here may wait for ever.
const TIMEOUT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// What settings come down to, and what their author should know.
pub(super) struct Resolved {
    pub(super) target: Target,
    pub(super) warnings: Vec<String>,
    /// `host=… port=… dbname=… user=…`
    pub(super) summary: String,
}

/// Makes a target out of settings that are complete.
///
/// # Errors
/// Naming the first value that is wrong, and where it was given.
pub(super) fn resolve(settings: &Settings, machine: &dyn Machine) -> Result<Resolved> {
    settings.check()?;
    let mut warnings = Vec::new();
    let servers = servers(settings, machine)?;
    let mode = tls::mode(settings)?;
    let user = user(settings, machine)?;
    let database = settings.text("dbname").unwrap_or(&user);
    let base = base(settings, &servers, mode, &user, database)?;
    let mut fallbacks = attempts(settings, machine, &servers, &base, mode, &mut warnings)?;
    if !tls::verifies(mode, settings, machine) {
        warnings.extend(unverified(&servers));
    }
    let over_tcp = servers.iter().any(|server| matches!(server.place, Place::Tcp { .. }));
    let tls = match mode {
        Mode::Disable => Tls::None,
        _ if !over_tcp => Tls::None,
        _ => Tls::Rustls(tls::connector(mode, settings, machine)?),
    };
    let config = fallbacks.remove(0);
    let summary = summary(&servers, &user, database);
    let target = Target { config, fallbacks, tls, timeout: timeout(settings)? };
    Ok(Resolved { target, warnings, summary })
}

fn user(settings: &Settings, machine: &dyn Machine) -> Result<String> {
    match settings.text("user") {
        Some(user) => Ok(user.to_owned()),
        None => machine.user().map(|user| user.name).ok_or_else(|| {
            Error::invalid("no user is given and the operating system has no name for us")
                .with_remedy("name the user in DATABASE_URL or PGUSER")
        }),
    }
}

/// What is the same for all servers.
fn base(settings: &Settings, servers: &[Server], mode: Mode, user: &str, database: &str) -> Result<Config> {
    let mut config = Config::new();
    config.user(user).dbname(database);
    config.target_session_attrs(session_attrs(settings, servers)?);
    config.ssl_negotiation(negotiation(settings, mode)?);
    let bindings = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    config.channel_binding(settings.choice("channel_binding", &bindings)?.unwrap_or(ChannelBinding::Prefer));
    config.load_balance_hosts(
        settings.choice("load_balance_hosts", BALANCE)?.unwrap_or(LoadBalanceHosts::Disable),
    );
    if let Some(options) = settings.text("options") {
        config.options(options);
    }
    if let Some(password) = settings.text("password") {
        config.password(password);
    }
    keepalives(&mut config, settings)?;
    // An address that drops packets may use up half of a server's share of the time, not all of it: a name
    // often has an IPv6 address that leads nowhere before the IPv4 one.
    let shares = 2 * u32::try_from(servers.len()).unwrap_or(u32::MAX / 2);
    config.connect_timeout(timeout(settings)? / shares);
    Ok(config)
}

/// Sexton writes, so a standby is never what it wants; with several servers, one of them may be one.
fn session_attrs(settings: &Settings, servers: &[Server]) -> Result<TargetSessionAttrs> {
    let name = "target_session_attrs";
    match settings.text(name) {
        None if servers.len() > 1 => Ok(TargetSessionAttrs::ReadWrite),
        None | Some("any") => Ok(TargetSessionAttrs::Any),
        Some("read-write" | "primary") => Ok(TargetSessionAttrs::ReadWrite),
        Some(other) => {
            let message = match other {
                "read-only" | "standby" | "prefer-standby" => {
                    format!("\"{other}\" asks for a server that cannot be written to")
                }
                _ => format!("\"{other}\" is not known"),
            };
            let remedy = "Sexton needs the primary: target_session_attrs is one of any, read-write, primary";
            Err(settings.wrong(name, message).with_remedy(remedy))
        }
    }
}

fn negotiation(settings: &Settings, mode: Mode) -> Result<SslNegotiation> {
    let words = [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
    let negotiation = settings.choice("sslnegotiation", &words)?.unwrap_or_default();
    let encrypted = matches!(mode, Mode::Require | Mode::VerifyCa | Mode::VerifyFull);
    if negotiation == SslNegotiation::Direct && !encrypted {
        return Err(settings
            .wrong("sslnegotiation", "direct TLS leaves no way back to clear text")
            .with_remedy("add sslmode=require, or better verify-full"));
    }
    Ok(negotiation)
}

/// A dead peer is noticed within 30 s, unless the settings say otherwise.
fn keepalives(config: &mut Config, settings: &Settings) -> Result<()> {
    let number = |name: &str, default: u32| -> Result<u32> {
        let number = settings.integer(name)?.unwrap_or(default.into()).max(0);
        u32::try_from(number).map_err(|_| settings.wrong(name, "the number is too large"))
    };
    config.keepalives(number("keepalives", 1)? != 0);
    match number("keepalives_idle", 15)? {
        0 => {} // The client library's default is the usual one of systems, two hours.
        seconds => drop(config.keepalives_idle(Duration::from_secs(seconds.into()))),
    }
    match number("keepalives_interval", 5)? {
        0 => {}
        seconds => drop(config.keepalives_interval(Duration::from_secs(seconds.into()))),
    }
    match number("keepalives_count", 3)? {
        0 => {}
        count => drop(config.keepalives_retries(count)),
    }
    match number("tcp_user_timeout", 20_000)? {
        0 => {}
        millis => drop(config.tcp_user_timeout(Duration::from_millis(millis.into()))),
    }
    Ok(())
}

/// The time for all of the connecting. libpq's is for each server; here it covers all of them.
fn timeout(settings: &Settings) -> Result<Duration> {
    match settings.integer("connect_timeout")? {
        None => Ok(TIMEOUT_DEFAULT),
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds).min(TIMEOUT_MOST)),
            _ => Ok(TIMEOUT_MOST),
        },
    }
}

/// A configuration for each server, in the order in which to try them; two where encryption comes second.
fn attempts(
    settings: &Settings,
    machine: &dyn Machine,
    servers: &[Server],
    base: &Config,
    mode: Mode,
    warnings: &mut Vec<String>,
) -> Result<Vec<Config>> {
    let passfile = match settings.text("password") {
        Some(_) => None,
        None => Passfile::read(settings, machine, warnings),
    };
    let mut servers = servers.to_vec();
    if base.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut servers);
    }
    let mut attempts = Vec::new();
    for server in &servers {
        let config = for_server(base, server, passfile.as_ref());
        for ssl_mode in ssl_modes(mode, server) {
            let mut config = config.clone();
            config.ssl_mode(*ssl_mode);
            attempts.push(config);
        }
    }
    Ok(attempts)
}

const BALANCE: &[(&str, LoadBalanceHosts)] =
    &[("disable", LoadBalanceHosts::Disable), ("random", LoadBalanceHosts::Random)];

fn for_server(base: &Config, server: &Server, passfile: Option<&Passfile>) -> Config {
    let mut config = base.clone();
    match &server.place {
        Place::Socket(folder) => drop(config.host_path(folder)),
        Place::Tcp { name, address } => {
            config.host(name);
            if let Some(address) = address {
                config.hostaddr(*address);
            }
        }
    }
    config.port(server.port);
    let host = server.name_in_passfile();
    let login = Login {
        host: &host,
        port: server.port,
        database: base.get_dbname().unwrap_or_default(),
        user: base.get_user().unwrap_or_default(),
    };
    if let Some(password) = passfile.and_then(|passfile| passfile.find(&login)) {
        config.password(password);
    }
    config
}

/// The client library's modes to try one after the other. Sockets of this machine have no TLS, whatever is
/// asked, as in libpq.
fn ssl_modes(mode: Mode, server: &Server) -> &'static [SslMode] {
    match mode {
        _ if matches!(server.place, Place::Socket(_)) => &[SslMode::Disable],
        Mode::Disable => &[SslMode::Disable],
        Mode::Allow => &[SslMode::Disable, SslMode::Require],
        Mode::Prefer => &[SslMode::Prefer],
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
    }
}

fn unverified(servers: &[Server]) -> Option<String> {
    let remote: Vec<_> =
        servers.iter().filter(|server| server.is_remote()).map(|server| server.place.to_string()).collect();
    (!remote.is_empty()).then(|| {
        format!(
            "sessions to {} are not verified: whoever is on the way could read or change them; \
             set sslmode=verify-full and sslrootcert",
            remote.join(", ")
        )
    })
}

fn summary(servers: &[Server], user: &str, database: &str) -> String {
    let hosts: Vec<_> = servers.iter().map(|server| server.place.to_string()).collect();
    let ports: Vec<_> = servers.iter().map(|server| server.port.to_string()).collect();
    format!("host={} port={} dbname={database} user={user}", hosts.join(","), ports.join(","))
}
