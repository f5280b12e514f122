//! Sessions opened as libpq users say where, against a private PostgreSQL with TLS, scram and certificates.
//!
//! Parsing and precedence are tested within the crate. What is easy to get wrong: these tests must not see
//! the environment or the home directory of whoever runs them, hence `Bare`.
#![cfg(feature = "cli")]

use std::{
    io,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, Weak},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sexton::{
    Error, ErrorKind, Result,
    edge::conninfo::{ConnInfo, Contents, Machine, Os, OsUser},
    protocol::connect::Opened,
};

/// The files of the real machine; no variables, nobody's home.
struct Bare;

impl Machine for Bare {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn read(&self, path: &Path) -> io::Result<Contents> {
        Os.read(path)
    }
    fn exists(&self, path: &Path) -> bool {
        Os.exists(path)
    }
    fn user(&self) -> Option<OsUser> {
        Some(OsUser { name: "nobody".into(), home: "/nonexistent".into() })
    }
}

/// What a server shows as its certificate.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    /// One for `db.example`, signed by the authority in `ca.crt`.
    Signed,
    /// A self-signed one of an authority (CA:TRUE), as `openssl req -x509` makes.
    SelfSigned,
    /// It has no TLS.
    Nothing,
}

/// A private server: superuser `postgres`, password `secret`; database `certs` is for client certificates alone,
/// `encrypted` for TLS alone (tests create them). Stops when dropped.
struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    fn start(shows: Shows) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Cluster { folder: tempfile::tempdir().unwrap(), port };
        cluster.write("pw", "secret");
        write_certificates(&cluster, shows);
        cluster.give(&["", "pw", "server.crt", "server.key", "ca.crt"]);
        let (data, pw, log) = (cluster.shown("data"), cluster.shown("pw"), cluster.shown("log"));
        cluster.run("initdb", &["-D", &data, "-U", "postgres", "-A", "scram-sha-256", "-N", "--pwfile", &pw]);
        cluster.write("data/pg_hba.conf", HBA);
        cluster.write("data/postgresql.auto.conf", &cluster.settings(shows));
        cluster.give(&["data/pg_hba.conf", "data/postgresql.auto.conf"]);
        cluster.run("pg_ctl", &["-D", &data, "-w", "-l", &log, "start"]);
        cluster
    }

    /// The one that shows a signed certificate, shared by the tests that run at the same time.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Cluster::start(Shows::Signed));
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    fn settings(&self, shows: Shows) -> String {
        let folder = self.shown("");
        let ssl = match shows {
            Shows::Nothing => String::new(),
            _ => format!(
                "ssl=on\nssl_cert_file='{folder}server.crt'\nssl_key_file='{folder}server.key'\nssl_ca_file='{folder}ca.crt'\n"
            ),
        };
        format!(
            "listen_addresses='127.0.0.1'\nport={}\nunix_socket_directories='{folder}'\nfsync=off\n{ssl}",
            self.port
        )
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn shown(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// Writes a file that its owner alone may read.
    fn write(&self, file: &str, text: &str) -> String {
        std::fs::write(self.path(file), text).unwrap();
        self.set_mode(file, 0o600);
        self.shown(file)
    }

    fn set_mode(&self, file: &str, mode: u32) {
        std::fs::set_permissions(self.path(file), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Gives files to the user that the server runs as.
    fn give(&self, files: &[&str]) {
        if let Some((uid, gid)) = server_account() {
            for file in files {
                std::os::unix::fs::chown(self.path(file), Some(uid), Some(gid)).unwrap();
            }
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(server_programs().join(program));
        command.args(arguments).current_dir(self.folder.path());
        if let Some((uid, gid)) = server_account() {
            command.uid(uid).gid(gid);
        }
        // To a file: the server inherits it, and a pipe would stay open as long as the server runs.
        let log = std::fs::File::options().create(true).append(true).open(self.path("run.log")).unwrap();
        let status = command.stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
        let said = || std::fs::read_to_string(self.path("run.log")).unwrap_or_default();
        assert!(status.success(), "{program}: {}", said());
    }

    /// A connection string: by TCP as `postgres`, with `more` besides.
    fn dsn(&self, more: &str) -> String {
        format!("host=db.example hostaddr=127.0.0.1 port={} user=postgres {more}", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.path("data/postmaster.pid").exists() {
            self.run("pg_ctl", &["-D", &self.shown("data"), "-m", "immediate", "-w", "stop"]);
        }
    }
}

const HBA: &str = "local all all scram-sha-256\n\
    hostssl certs all 127.0.0.1/32 cert\n\
    hostnossl encrypted all 127.0.0.1/32 reject\n\
    host all all 127.0.0.1/32 scram-sha-256\n";

/// PostgreSQL refuses to run as root; then it runs as `postgres`.
fn server_account() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user =
        nix::unistd::User::from_name("postgres").unwrap().expect("the user postgres, since we are root");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

fn server_programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("SEXTON_PGBIN") {
        return folder.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL, or SEXTON_PGBIN");
    let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max();
    format!("/usr/lib/postgresql/{}/bin", newest.expect("a version of PostgreSQL")).into()
}

/// `ca`, `server` and `client` (for `postgres`) signed by it, and a `stranger` that signed none of them.
fn write_certificates(cluster: &Cluster, shows: Shows) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(["db.example".to_owned()]).unwrap();
    ca.distinguished_name.push(DnType::CommonName, "our authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap().pem();
    cluster.write("ca.crt", &ca_certificate);
    let issuer = Issuer::new(ca, &ca_key);
    let signed = |file: &str, params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        cluster.write(&format!("{file}.crt"), &params.signed_by(&key, &issuer).unwrap().pem());
        cluster.write(&format!("{file}.key"), &key.serialize_pem());
    };
    signed("server", CertificateParams::new(["db.example".to_owned()]).unwrap());
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, "postgres");
    signed("client", client);
    if shows == Shows::SelfSigned {
        cluster.write("server.crt", &ca_certificate);
        cluster.write("server.key", &ca_key.serialize_pem());
    }
    let stranger = rcgen::generate_simple_self_signed(["db.example".to_owned()]).unwrap();
    cluster.write("stranger.crt", &stranger.cert.pem());
}

async fn open(dsn: &str) -> Result<Opened> {
    let info = ConnInfo::on(Arc::new(Bare), Some(dsn))?;
    info.connector().open("sexton/0011aabb/tests", &[("lock_timeout", "200ms")]).await
}

async fn refused(dsn: &str) -> Error {
    match open(dsn).await {
        Ok(_) => panic!("{dsn} was let in"),
        Err(error) => error,
    }
}

fn assert_says(error: &Error, message: &str, remedy: &str) {
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.remedy().unwrap_or_default().contains(remedy), "{error} {:?}", error.remedy());
}

async fn ask(session: &Opened, question: &str) -> String {
    session.client.query_one(question, &[]).await.unwrap().get(0)
}

async fn is_encrypted(session: &Opened) -> bool {
    ask(session, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await == "true"
}

/// Runs a statement as the superuser.
async fn execute(cluster: &Cluster, statement: &str) {
    open(&cluster.dsn("password=secret")).await.unwrap().client.batch_execute(statement).await.unwrap();
}

/// A port on which nobody listens (tcpmux, long out of use).
const DEAD: u16 = 1;

/// A server that accepts and stays silent.
fn silent() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_password_file_logs_in() {
    let cluster = Cluster::shared();
    let port = cluster.port;
    let passfile =
        cluster.write("pass", &format!("other:*:*:*:wrong\ndb.example:{port}:*:postgres:secret\n"));
    let session = open(&cluster.dsn(&format!("passfile={passfile}"))).await.unwrap();
    assert_eq!(ask(&session, "SELECT current_user || '@' || current_database()").await, "postgres@postgres");
    assert_eq!(ask(&session, "SHOW application_name").await, "sexton/0011aabb/tests");
    assert_eq!(ask(&session, "SHOW lock_timeout").await, "200ms");

    let for_all = cluster.write("pass-for-all", "*:*:*:*:secret\n");
    cluster.set_mode("pass-for-all", 0o644);
    let error = refused(&cluster.dsn(&format!("passfile={for_all}"))).await;
    assert_says(&error, "password missing", "only its owner may read");
}

#[tokio::test]
async fn a_service_file_logs_in() {
    let cluster = Cluster::shared();
    let port = cluster.port;
    let file = cluster.write(
        "services",
        &format!(
            "[ours]\nhost=127.0.0.1\nport={port}\nuser=postgres\npassword=secret\noptions=-c work_mem=2MB\n"
        ),
    );
    let session = open(&format!("service=ours servicefile={file}")).await.unwrap();
    assert_eq!(ask(&session, "SELECT current_database()::text").await, "postgres");
    assert_eq!(ask(&session, "SHOW work_mem").await, "2MB", "options are kept beside ours");
    assert_eq!(ask(&session, "SHOW lock_timeout").await, "200ms");
}

#[tokio::test]
async fn a_url_and_a_socket_log_in() {
    let cluster = Cluster::shared();
    let (port, folder) = (cluster.port, cluster.shown(""));
    let session =
        open(&format!("postgres://postgres:secret@127.0.0.1:{port}/postgres?sslmode=require")).await.unwrap();
    assert!(is_encrypted(&session).await);
    let encoded = folder.replace('/', "%2F");
    let session = open(&format!("postgres://postgres:secret@{encoded}:{port}/postgres")).await.unwrap();
    assert!(!is_encrypted(&session).await);
    let socket = format!("host={folder} port={port} user=postgres password=secret sslmode=verify-full");
    assert!(!is_encrypted(&open(&socket).await.unwrap()).await, "sockets have no TLS, whatever is asked");
}

#[tokio::test]
async fn refused_logins_say_what_to_do() {
    let cluster = Cluster::shared();
    let error = refused(&cluster.dsn("password=wrong")).await;
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Unreachable, Some("28P01")));
    assert_says(&error, "password authentication failed for user \"postgres\"", "check the password");
    assert_says(&error, &format!("database at db.example port {}", cluster.port), "");
    let error = refused(&cluster.dsn("password=secret dbname=nowhere")).await;
    assert_says(&error, "database \"nowhere\" does not exist", "create the database");
    let error = refused(&format!("host=127.0.0.1 port={DEAD} user=postgres")).await;
    assert_says(&error, "refused", "is the server running there?");
}

#[tokio::test]
async fn verify_full_wants_the_authority_and_the_name() {
    let cluster = Cluster::shared();
    let (port, ca, stranger) = (cluster.port, cluster.shown("ca.crt"), cluster.shown("stranger.crt"));
    let known = format!("password=secret sslrootcert={ca}");
    assert!(is_encrypted(&open(&cluster.dsn(&format!("{known} sslmode=verify-full"))).await.unwrap()).await);

    let elsewhere = format!("host=localhost hostaddr=127.0.0.1 port={port} user=postgres {known}");
    let error = refused(&format!("{elsewhere} sslmode=verify-full")).await;
    assert_says(&error, "not valid for name", "verify-ca");
    assert!(is_encrypted(&open(&format!("{elsewhere} sslmode=verify-ca")).await.unwrap()).await);
    assert!(is_encrypted(&open(&format!("{elsewhere} sslmode=require")).await.unwrap()).await);

    for mode in ["verify-full", "verify-ca", "require"] {
        let dsn = cluster.dsn(&format!("password=secret sslrootcert={stranger} sslmode={mode}"));
        assert_says(&refused(&dsn).await, "UnknownIssuer", "sslrootcert");
    }
}

#[tokio::test]
async fn require_accepts_a_self_signed_certificate_until_a_root_is_named() {
    let cluster = Cluster::start(Shows::SelfSigned);
    let bound = cluster.dsn("password=secret sslmode=require channel_binding=require");
    assert!(is_encrypted(&open(&bound).await.unwrap()).await);
    assert!(is_encrypted(&open(&cluster.dsn("password=secret")).await.unwrap()).await, "prefer");
    let named = format!("password=secret sslmode=require sslrootcert={}", cluster.shown("ca.crt"));
    assert_says(&refused(&cluster.dsn(&named)).await, "CaUsedAsEndEntity", "CA:FALSE");
}

#[tokio::test]
async fn prefer_takes_a_server_without_tls_and_require_does_not() {
    let cluster = Cluster::start(Shows::Nothing);
    assert!(!is_encrypted(&open(&cluster.dsn("password=secret")).await.unwrap()).await);
    let error = refused(&cluster.dsn("password=secret sslmode=require")).await;
    assert_says(&error, "does not support TLS", "sslmode=prefer");
}

#[tokio::test]
async fn allow_encrypts_when_clear_text_is_refused() {
    let cluster = Cluster::shared();
    execute(&cluster, "CREATE DATABASE encrypted").await;
    assert!(!is_encrypted(&open(&cluster.dsn("password=secret sslmode=allow")).await.unwrap()).await);
    let dsn = cluster.dsn("password=secret dbname=encrypted");
    assert!(is_encrypted(&open(&format!("{dsn} sslmode=allow")).await.unwrap()).await);
    let error = refused(&format!("{dsn} sslmode=disable")).await;
    assert_says(&error, "no encryption", "sslmode=verify-full");
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let cluster = Cluster::shared();
    execute(&cluster, "CREATE DATABASE certs").await;
    let dsn = cluster.dsn("dbname=certs sslmode=require");
    let (certificate, key) = (cluster.shown("client.crt"), cluster.shown("client.key"));
    let session = open(&format!("{dsn} sslcert={certificate} sslkey={key}")).await.unwrap();
    assert_eq!(ask(&session, "SELECT current_user::text").await, "postgres");
    assert_says(&refused(&dsn).await, "client certificate", "");
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_is_dead_or_silent() {
    let cluster = Cluster::shared();
    let (_listener, silent) = silent();
    let hosts = format!("host=127.0.0.1,127.0.0.1,127.0.0.1 port={DEAD},{silent},{}", cluster.port);
    let session = open(&format!("{hosts} user=postgres password=secret connect_timeout=4")).await.unwrap();
    assert_eq!(ask(&session, "SELECT current_user::text").await, "postgres");

    let none = format!("host=127.0.0.1,127.0.0.1 port={DEAD},{silent} user=postgres connect_timeout=1");
    let error = refused(&none).await;
    assert_says(&error, &format!("port {DEAD}: error connecting"), "");
    assert_says(&error, &format!("port {silent}: no session within"), "");
}

#[tokio::test]
async fn a_wrong_password_ends_the_search() {
    let cluster = Cluster::shared();
    let hosts = format!("host=127.0.0.1,127.0.0.1 port={},{DEAD}", cluster.port);
    let error = refused(&format!("{hosts} user=postgres password=wrong")).await;
    assert_eq!(error.sqlstate(), Some("28P01"));
}

#[tokio::test]
async fn a_silent_server_does_not_hold_us() {
    let (_listener, silent) = silent();
    let error = refused(&format!("host=127.0.0.1 port={silent} user=postgres connect_timeout=1")).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_says(&error, "accepts but does not answer", "");
}

#[tokio::test]
async fn a_server_that_cannot_be_written_to_is_unsuitable() {
    let cluster = Cluster::shared();
    execute(&cluster, "CREATE DATABASE standby").await;
    execute(&cluster, "ALTER DATABASE standby SET default_transaction_read_only = on").await;
    let dsn = cluster.dsn("password=secret dbname=standby target_session_attrs=read-write");
    let error = refused(&dsn).await;
    assert_eq!(error.kind(), ErrorKind::Unsuitable);
    assert_says(&error, "it is a standby, or read-only", "name the primary");
}

#[tokio::test]
async fn a_statement_is_canceled_over_tls() {
    let cluster = Cluster::shared();
    let ca = cluster.shown("ca.crt");
    let dsn = cluster.dsn(&format!("password=secret sslmode=verify-full sslrootcert={ca}"));
    let (sleeper, watcher) = (open(&dsn).await.unwrap(), open(&dsn).await.unwrap());
    let pid = ask(&sleeper, "SELECT pg_backend_pid()::text").await;
    let cancel = async {
        let asleep =
            format!("SELECT coalesce(wait_event, '') = 'PgSleep' FROM pg_stat_activity WHERE pid = {pid}");
        while !watcher.client.query_one(&asleep, &[]).await.unwrap().get::<_, bool>(0) {}
        sleeper.canceler.cancel().await.unwrap();
    };
    let (slept, ()) = tokio::join!(sleeper.client.batch_execute("SELECT pg_sleep(600)"), cancel);
    assert_eq!(slept.unwrap_err().code().map(|code| code.code()), Some("57014"));
}
