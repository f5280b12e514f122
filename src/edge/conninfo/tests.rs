//! What a whole set of sources comes down to: precedence, units, passwords, warnings. On a machine of the test's
//! own; the parts are tested in their files, sessions in the integration tests.

use std::time::Duration;

use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::{machine::fake::Fake, *};
use crate::protocol::connect::Tls;

fn info(machine: &Fake, dsn: &str) -> Result<ConnInfo> {
    ConnInfo::on(Arc::new(machine.clone()), Some(dsn))
}

fn resolved(machine: &Fake, dsn: &str) -> Resolved {
    info(machine, dsn).unwrap().resolve().unwrap()
}

fn target(dsn: &str) -> Target {
    resolved(&Fake::new(), dsn).target
}

fn passwords(target: &Target) -> Vec<Option<String>> {
    std::iter::once(&target.config)
        .chain(&target.fallbacks)
        .map(|config| config.get_password().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
        .collect()
}

#[test]
fn string_beats_service_beats_environment_beats_default() {
    let machine = Fake::new()
        .with_file("/s.conf", "[billing]\nhost=from-service\nport=2\ndbname=from-service\n", 0o644)
        .with_variable("PGSERVICEFILE", "/s.conf")
        .with_variable("PGSERVICE", "billing")
        .with_variable("PGHOST", "from-env")
        .with_variable("PGPORT", "3")
        .with_variable("PGUSER", "from-env");
    let shown = |machine: &Fake, dsn: &str| info(machine, dsn).unwrap().to_string();
    assert_eq!(
        shown(&machine, "postgres://from-dsn"),
        "host=from-dsn port=2 dbname=from-service user=from-env"
    );
    assert_eq!(shown(&machine, "dbname=x"), "host=from-service port=2 dbname=x user=from-env");
    assert_eq!(shown(&Fake::new(), ""), "host=localhost port=5432 dbname=ann user=ann");
    assert_eq!(shown(&Fake::new(), "user=bob"), "host=localhost port=5432 dbname=bob user=bob");
    let other = machine.with_file("/o.conf", "[o]\nhost=other\n", 0o644);
    assert_eq!(
        shown(&other, "service=o servicefile=/o.conf"),
        "host=other port=3 dbname=from-env user=from-env"
    );
}

#[test]
fn without_a_string_the_environment_alone_counts() {
    let machine = Fake::new().with_variable("PGDATABASE", "inventory").with_variable("PGHOST", "");
    let info = ConnInfo::on(Arc::new(machine), None).unwrap();
    assert_eq!(info.to_string(), "host=localhost port=5432 dbname=inventory user=ann");
}

#[test]
fn times_have_libpqs_units_and_our_defaults() {
    let seconds = Duration::from_secs;
    let default = target("host=db1");
    assert_eq!(default.timeout, seconds(10));
    assert_eq!(default.config.get_connect_timeout(), Some(&seconds(5)));
    assert_eq!(default.config.get_keepalives_idle(), seconds(15));
    assert_eq!(default.config.get_keepalives_interval(), Some(seconds(5)));
    assert_eq!(default.config.get_keepalives_retries(), Some(3));
    assert_eq!(default.config.get_tcp_user_timeout(), Some(&seconds(20)));
    let given = target(
        "host=db1 connect_timeout=4 keepalives=0 keepalives_idle=60 keepalives_interval=0 keepalives_count=0 tcp_user_timeout=1500",
    );
    assert_eq!(given.timeout, seconds(4));
    assert!(!given.config.get_keepalives());
    assert_eq!(given.config.get_keepalives_idle(), seconds(60));
    assert_eq!(given.config.get_keepalives_interval(), None);
    assert_eq!(given.config.get_keepalives_retries(), None);
    assert_eq!(given.config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
    assert_eq!(target("connect_timeout=0").timeout, seconds(86_400));
    assert_eq!(target("tcp_user_timeout=0").config.get_tcp_user_timeout(), None);
}

#[test]
fn each_server_has_its_own_password_and_encryption() {
    let machine = Fake::new().with_file(
        "/home/ann/.pgpass",
        "a:*:*:*:for-a\n*:7:*:*:for-7\nlocalhost:*:*:*:local\n",
        0o600,
    );
    let target = resolved(&machine, "host=a,b,/tmp,d port=1,7,8,9 sslmode=require").target;
    assert_eq!(passwords(&target), [Some("for-a".into()), Some("for-7".into()), Some("local".into()), None]);
    let modes: Vec<_> = target.fallbacks.iter().map(Config::get_ssl_mode).collect();
    assert_eq!(modes, [SslMode::Require, SslMode::Disable, SslMode::Require]);
    assert_eq!(target.fallbacks[1].get_hosts(), [Host::Unix("/tmp".into())]);
    assert_eq!(target.fallbacks[1].get_ports(), [8]);
}

#[test]
fn a_given_password_beats_the_file() {
    let machine = Fake::new()
        .with_file("/home/ann/.pgpass", "*:*:*:*:filed", 0o600)
        .with_variable("PGPASSWORD", "variable");
    assert_eq!(passwords(&resolved(&machine, "").target), [Some("variable".into())]);
    assert_eq!(passwords(&resolved(&machine, "postgres://ann:given@").target), [Some("given".into())]);
    assert_eq!(passwords(&resolved(&machine, "password=''").target), [Some("filed".into())]);
}

#[test]
fn a_rotated_password_is_seen_by_the_next_session() {
    struct Rotating(Mutex<Fake>);
    impl Machine for Rotating {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.lock().unwrap().variable(name)
        }
        fn read(&self, path: &std::path::Path) -> std::io::Result<Contents> {
            self.0.lock().unwrap().read(path)
        }
        fn exists(&self, path: &std::path::Path) -> bool {
            self.0.lock().unwrap().exists(path)
        }
        fn user(&self) -> Option<OsUser> {
            self.0.lock().unwrap().user()
        }
    }
    let file =
        |password: &str| Fake::new().with_file("/home/ann/.pgpass", &format!("*:*:*:*:{password}"), 0o600);
    let machine = Arc::new(Rotating(Mutex::new(file("old"))));
    let info = ConnInfo::on(machine.clone(), None).unwrap();
    assert_eq!(passwords(&info.target().unwrap()), [Some("old".into())]);
    *machine.0.lock().unwrap() = file("new");
    assert_eq!(passwords(&info.target().unwrap()), [Some("new".into())]);
}

#[test]
fn sexton_wants_a_server_that_it_can_write_to() {
    let attrs = |dsn: &str| target(dsn).config.get_target_session_attrs();
    assert_eq!(attrs("host=a"), TargetSessionAttrs::Any);
    assert_eq!(attrs("host=a,b"), TargetSessionAttrs::ReadWrite);
    assert_eq!(attrs("host=a,b target_session_attrs=any"), TargetSessionAttrs::Any);
    assert_eq!(attrs("host=a target_session_attrs=primary"), TargetSessionAttrs::ReadWrite);
    for word in ["standby", "read-only", "prefer-standby", "writable"] {
        let error = info(&Fake::new(), &format!("target_session_attrs={word}")).unwrap_err();
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("primary")), "{error}");
    }
}

#[test]
fn sslmodes_become_attempts() {
    let modes = |dsn: &str| {
        let target = target(dsn);
        let encrypted = matches!(target.tls, Tls::Rustls(_));
        let configs = std::iter::once(&target.config).chain(&target.fallbacks);
        (encrypted, configs.map(Config::get_ssl_mode).collect::<Vec<_>>())
    };
    assert_eq!(modes("host=a"), (true, vec![SslMode::Prefer]));
    assert_eq!(modes("host=a sslmode=disable"), (false, vec![SslMode::Disable]));
    assert_eq!(modes("host=a sslmode=allow"), (true, vec![SslMode::Disable, SslMode::Require]));
    assert_eq!(modes("host=a sslmode=require"), (true, vec![SslMode::Require]));
    assert_eq!(modes("host=/tmp sslmode=require"), (false, vec![SslMode::Disable]));
    assert!(info(&Fake::new(), "host=a sslnegotiation=direct").is_err());
    assert!(info(&Fake::new(), "host=a sslnegotiation=direct sslmode=require").is_ok());
}

#[test]
fn an_unverified_session_to_another_machine_is_warned_of() {
    let warned = |dsn: &str| !resolved(&Fake::new(), dsn).warnings.is_empty();
    assert!(warned("host=db1"));
    assert!(warned("host=localhost,db1 sslmode=require"));
    assert!(!warned("host=localhost"));
    assert!(!warned("host=/tmp"));
    let verified = Fake::new().with_file(
        "/ca.pem",
        &rcgen::generate_simple_self_signed(["db1".to_owned()]).unwrap().cert.pem(),
        0o644,
    );
    assert!(resolved(&verified, "host=db1 sslmode=verify-full sslrootcert=/ca.pem").warnings.is_empty());
    assert!(resolved(&verified, "host=db1 sslmode=require sslrootcert=/ca.pem").warnings.is_empty());
}

#[test]
fn load_balancing_keeps_every_server() {
    let target = target("host=a,b,c load_balance_hosts=random");
    let mut hosts: Vec<_> = std::iter::once(&target.config)
        .chain(&target.fallbacks)
        .flat_map(|config| config.get_hosts().to_vec())
        .map(|host| format!("{host:?}"))
        .collect();
    hosts.sort();
    assert_eq!(hosts, [r#"Tcp("a")"#, r#"Tcp("b")"#, r#"Tcp("c")"#]);
}

#[test]
fn nothing_shows_the_password() {
    let info = info(&Fake::new(), "postgres://bob:hunter2@db1/inventory").unwrap();
    assert_eq!(format!("{info}"), "host=db1 port=5432 dbname=inventory user=bob");
    assert!(!format!("{info:?}").contains("hunter2"));
}
