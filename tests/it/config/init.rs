//! What `sexton init` proposes for a database that is there already.

use sexton::{
    ErrorKind,
    edge::{
        apply::{self, Options},
        init,
    },
};

use super::support::{migrated, read_with_builtins as read};

const TABLES: &str = r#"
CREATE TABLE users (id bigint PRIMARY KEY, created_at timestamptz, deleted_at timestamptz);
CREATE TABLE posts (id bigint PRIMARY KEY, author bigint REFERENCES users, "Written On" date);
CREATE INDEX ON posts ("Written On");
CREATE TABLE colors (name text);
CREATE TABLE parts (at timestamp) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
INSERT INTO audit_log SELECT i, now() - i * interval '1 hour' FROM generate_series(1, 9600) i;
CREATE INDEX ON audit_log (created_at);
ANALYZE;
"#;

#[tokio::test]
async fn the_proposal_can_be_applied_and_arms_nothing() {
    let database = migrated().await;
    database.run(TABLES).await;
    let text = init::propose(&database.client).await.expect("it can be proposed");
    let config = read(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let names: Vec<&str> = config.jobs().iter().map(|job| job.name()).collect();
    assert_eq!(names, ["audit-log", "parts", "posts", "users"], "{text}");
    assert!(config.jobs().iter().all(|job| !job.is_armed()));
    let outcome = apply::plan(&database.connector, &config, &Options::default()).await;
    assert_eq!(outcome.unwrap_or_else(|failure| panic!("{failure}\n{text}")).jobs.len(), 4);
    // 400 days of one row an hour.
    let older = |days: i64| (400 - days) * 24;
    for days in [30, 90, 365] {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("# retention = \"{days} days\" would delete about")));
        let line = line.unwrap_or_else(|| panic!("nothing about {days} days in\n{text}"));
        let rows: String =
            line.rsplit("about").next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        let rows: i64 = rows.parse().expect("a number of rows");
        assert!((rows - older(days)).abs() < 300, "{line}, but it is {}", older(days));
    }
}

#[tokio::test]
async fn the_proposal_warns_of_what_a_purge_would_meet() {
    let database = migrated().await;
    database.run(TABLES).await;
    let text = init::propose(&database.client).await.expect("it can be proposed");
    assert!(text.contains("CREATE INDEX CONCURRENTLY ON posts (author);"), "{text}");
    assert!(text.contains("by        = \"deleted_at\" # timestamp with time zone"), "{text}");
    assert!(text.contains("# Other columns that could tell the age: created_at"), "{text}");
    assert!(text.contains(r#"by        = '"Written On"' # date"#), "{text}");
    assert!(text.contains("# No index begins with deleted_at"), "{text}");
}

#[tokio::test]
async fn what_the_role_may_not_delete_is_commented_out() {
    let database = migrated().await;
    database.run(TABLES).await;
    let viewer = database.login("sexton_viewer").await;
    database.run("GRANT SELECT ON users TO PUBLIC").await;
    let session = viewer.open("test", &[]).await.expect("a session");
    let text = init::propose(&session.client).await.expect("it can be proposed");
    assert!(text.contains("# [jobs.users]") && text.contains("GRANT DELETE first"), "{text}");
    assert!(read(&text).expect("it can be read").jobs().is_empty());
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sexton.toml");
    init::write_new(&path, "first").expect("it is new");
    let error = init::write_new(&path, "second").expect_err("it is there");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(std::fs::read_to_string(&path).expect("it can be read"), "first");
}
