//! Notices as they arrive: at a real SMTP server and a real HTTP server, from replicas as users start them.

use std::{net::SocketAddr, path::PathBuf};

use nix::sys::signal::Signal;
use serde_json::json;
use sexton::{
    edge::notice::Channels,
    outside::{Contents, Mail, Outside, Secret, secrets::Known},
    protocol::notice::Message,
    runner::deliver::Deliver,
};

use crate::{
    mail_server::{MailServer, Received},
    notices_support::{notify, put, until_quiet},
    support::{Db, Hand, Process, Replica},
};

const OPS: &str = "mail:ops@example.org";
/// A password that must be found nowhere.
const CANARY: &str = "canary-7f3a-hunter2";

/// What a local file would say of this server.
fn mail(server: SocketAddr) -> Contents {
    let mut contents = Contents {
        mail: Some(Mail {
            url: format!("smtp://{server}"),
            user: Some("sexton".to_owned()),
            password: Some("smtp".to_owned()),
            from: "Sexton <sexton@shop.example>".to_owned(),
        }),
        ..Contents::default()
    };
    contents.secrets.add("smtp", Known { secret: Secret::new(CANARY), hosts: Vec::new() });
    contents
        .recipients
        .insert("team".to_owned(), vec!["a@example.org".to_owned(), "b@example.org".to_owned()]);
    contents
}

fn channels(contents: Contents) -> Channels {
    Channels::new(&Outside::new(contents))
}

/// The one mail that arrived.
fn only(server: &MailServer) -> Received {
    let mut mails = server.received();
    assert_eq!(mails.len(), 1, "{mails:?}");
    mails.remove(0)
}

#[tokio::test]
async fn a_mail_tells_who_what_why_and_how_to_go_on() {
    let db = Db::new().await;
    let server = MailServer::start(CANARY);
    db.due_job("audit-logs", "steps", json!({"fail_at": 1})).await;
    db.execute("UPDATE sexton.job SET max_attempts = 1, app = 'shop'").await;
    notify(&db, "audit-logs", json!([{"on": ["failed"], "to": "mail:team"}])).await;
    let replica = Replica::with(&db, |builder| builder.deliver(channels(mail(server.address()))));
    db.until_outcomes("audit-logs", "failed").await;
    until_quiet(&db).await;
    replica.drain().await;

    let mail = only(&server);
    assert_eq!(
        (mail.from.as_str(), mail.to.join(" ").as_str()),
        ("sexton@shop.example", "a@example.org b@example.org")
    );
    assert_eq!(mail.login.as_deref(), Some("sexton"));
    assert_eq!(mail.header("Subject"), "[shop] audit-logs failed");
    let key: String = db.get("SELECT key::text FROM sexton.delivery", &[]).await;
    assert_eq!(mail.header("Message-ID"), format!("<sexton-{key}@shop.example>"));
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    let run: String = db.last_run("audit-logs", "id::text").await;
    for part in [
        "Audit-logs failed.",
        "told to fail",
        "sexton show audit-logs",
        "sexton run-now audit-logs",
        run.as_str(),
    ] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
}

#[tokio::test]
async fn a_login_that_is_refused_leaves_the_password_nowhere() {
    let db = Db::new().await;
    // The server repeats what it was given, as it should not.
    let server = MailServer::start("another password");
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
    put(&db, "failed", "job").await;
    let sender = channels(mail(server.address()));
    let error = sender.deliver(&Message::test(OPS)).await.unwrap_err();
    assert!(error.to_string().contains("refuses the login"), "{error}");
    let replica = Replica::with(&db, |builder| builder.deliver(sender.clone()));
    db.until("it failed", "SELECT bool_and(error IS NOT NULL) FROM sexton.delivery", &[]).await;
    replica.drain().await;
    assert_eq!(server.received().len(), 0);
    let everywhere = "SELECT concat((SELECT string_agg(d::text, '') FROM sexton.delivery d), (SELECT string_agg(c::text, '') FROM sexton.channel c),
                        (SELECT string_agg(n::text, '') FROM sexton.notice n), (SELECT string_agg(r::text, '') FROM sexton.replica r))";
    let told = format!("{} {error:?} {sender:?}", db.get::<String>(everywhere, &[]).await);
    assert!(told.contains("535") && !told.contains(CANARY), "{told}");
}

#[tokio::test]
async fn a_password_is_not_sent_in_clear_to_another_machine() {
    let mut contents = mail("127.0.0.1:1".parse().unwrap());
    contents.mail.as_mut().unwrap().url = "smtp://mail.example.org".to_owned();
    let error = channels(contents).deliver(&Message::test(OPS)).await.unwrap_err();
    assert!(error.to_string().contains("in clear"), "{error}");
    assert!(error.remedy().unwrap().contains("tls=required"));
}

#[tokio::test]
async fn what_stands_in_a_row_or_a_report_adds_no_header_and_no_recipient() {
    let db = Db::new().await;
    let server = MailServer::start(CANARY);
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
    let payload = json!({"error": "x\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.org>",
                         "report": {"Bcc": "victim@example.org\r\nBcc: victim@example.org"}, "kind": "a\r\nBcc: victim@example.org"});
    let sql = "INSERT INTO sexton.notice (event, job_id, job_name, app, payload) SELECT 'failed', id, $1, $2, $3 FROM sexton.job";
    let odd = "job\r\nBcc: victim@example.org\r\n\r\nbody";
    db.client.execute(sql, &[&odd, &"shop\nX-Evil: 1", &payload]).await.unwrap();
    let replica = Replica::with(&db, |builder| builder.deliver(channels(mail(server.address()))));
    until_quiet(&db).await;
    replica.drain().await;
    let mail = only(&server);
    assert_eq!(mail.to, ["ops@example.org"]);
    let names: Vec<String> = mail.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert!(!names.iter().any(|name| name == "bcc" || name == "x-evil"), "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "subject").count(), 1);
    assert!(mail.text.contains("MAIL FROM"), "it is text, and nothing else: {}", mail.text);
}

/// A local file with `[mail]` for this server, in a folder that goes with it.
fn local_file(folder: &tempfile::TempDir, url: &str) -> PathBuf {
    let file = folder.path().join("local.toml");
    let text = format!(
        "[secrets.smtp]\nenv = \"SMTP_PASSWORD\"\n\n[mail]\nurl = \"{url}\"\nuser = \"sexton\"\npassword = \"secret:smtp\"\n\
         from = \"Sexton <sexton@shop.example>\"\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_replica_that_is_killed_right_after_a_run_has_finished_leaves_its_notice_to_another() {
    let db = Db::new().await;
    let (server, folder) = (MailServer::start(CANARY), tempfile::tempdir().unwrap());
    let file = local_file(&folder, &format!("smtp://{}", server.address()));
    let environment = [("SEXTON_CONFIG", file.to_str().unwrap()), ("SMTP_PASSWORD", CANARY)];
    db.execute(
        "CREATE TABLE public.old (id int PRIMARY KEY, at timestamptz NOT NULL); INSERT INTO public.old SELECT 1, now() - interval '2 days';
         SELECT sexton.schedule_purge('public.old', 'at', '1 day', 'manual', name => 'purge');
         UPDATE sexton.job SET notices = '[{\"on\": [\"succeeded\"], \"to\": \"mail:ops@example.org\"}]'",
    )
    .await;
    db.planned("purge").await;
    db.verb("run_now", "purge").await;
    let dying = [environment.as_slice(), &[("SEXTON_FAILPOINTS", "finish.after=abort")]].concat();
    let mut first = Process::with(&db, "first", &dying);
    first.ended().await;
    assert_eq!(db.outcomes("purge").await, "succeeded");
    assert_eq!(db.get::<String>("SELECT state FROM sexton.delivery", &[]).await, "waiting");
    assert_eq!(server.received().len(), 0);

    let mut second = Process::with(&db, "second", &environment);
    until_quiet(&db).await;
    second.signal(Signal::SIGTERM);
    second.ended().await;
    assert_eq!(only(&server).header("Subject"), "[sexton] purge succeeded");
    let tables = "SELECT string_agg(d::text, '') FROM (SELECT d::text FROM sexton.delivery d UNION ALL SELECT r::text FROM sexton.replica r) x(d)";
    let told = format!("{}{}{}", first.log(), second.log(), db.get::<String>(tables, &[]).await);
    assert!(!told.contains(CANARY), "{told}");
}

#[tokio::test]
async fn a_mail_goes_by_tls_to_a_server_whose_certificate_is_trusted_and_to_no_other() {
    let db = Db::new().await;
    let (server, folder) = (MailServer::with_tls(CANARY), tempfile::tempdir().unwrap());
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, server.certificate()).unwrap();
    let file = local_file(&folder, &format!("smtps://localhost:{}", server.address().port()));
    let environment = [("SEXTON_CONFIG", file.to_str().unwrap()), ("SMTP_PASSWORD", CANARY)];
    db.steps_job("job", json!({})).await;
    notify(&db, "job", json!([{"on": ["failed"], "to": OPS}])).await;
    put(&db, "failed", "job").await;
    // The certificate is nobody's that this machine trusts.
    let distrusting = Process::with(&db, "distrusting", &environment);
    db.until("it failed", "SELECT bool_and(error IS NOT NULL) FROM sexton.delivery", &[]).await;
    drop(distrusting);
    assert_eq!(server.received().len(), 0);

    crate::notices_support::pass_time(&db, "2 minutes").await;
    let trusting = Process::with(
        &db,
        "trusting",
        &[environment.as_slice(), &[("SSL_CERT_FILE", roots.to_str().unwrap())]].concat(),
    );
    db.until("it was sent", "SELECT bool_and(state = 'sent') FROM sexton.delivery", &[]).await;
    drop(trusting);
    assert_eq!(only(&server).login.as_deref(), Some("sexton"));
}

#[tokio::test]
async fn a_replica_without_the_settings_leaves_a_notice_to_one_that_has_them() {
    let db = Db::new().await;
    let server = MailServer::start(CANARY);
    db.due("job").await;
    notify(&db, "job", json!([{"on": ["succeeded"], "to": OPS}])).await;
    let without = Replica::with(&db, |builder| builder.slots(0).deliver(channels(Contents::default())));
    let without = without.await_started(&db).await;
    Hand::claim(&db, "job").await.finish("succeeded", 0).await.unwrap();
    assert_eq!(db.get::<String>("SELECT state FROM sexton.notices", &[]).await, "waiting");
    let with = Replica::with(&db, |builder| builder.slots(0).deliver(channels(mail(server.address()))));
    until_quiet(&db).await;
    assert_eq!(only(&server).to, ["ops@example.org"]);
    without.drain().await;
    with.drain().await;
}
