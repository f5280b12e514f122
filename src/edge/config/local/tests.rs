//! The local file: what it says, and where its errors are shown.

use std::path::Path;

use super::*;

#[test]
fn the_local_file_is_closed_too() {
    let good = "[replica]\nslots = 8\nname = \"a\"\ndrain_timeout = \"90 seconds\"\nlog = \"info\"\n";
    let local = parse(Path::new("local.toml"), good, &|_| None).expect("it is good");
    assert_eq!((local.slots, local.drain_timeout), (Some(8), Some(std::time::Duration::from_secs(90))));
    let bad = "[replica]\nslot = 8\ndrain_timeout = 0\n[jobs.a]\n";
    let found = parse(Path::new("local.toml"), bad, &|_| None).expect_err("three things").to_string();
    insta::assert_snapshot!(found, @r#"
    error: replica: unknown key `slot`
     --> local.toml:2:1
      |
    2 | slot = 8
      | ^^^^ did you mean `slots`?

    error: replica: drain_timeout is wrong
     --> local.toml:3:17
      |
    3 | drain_timeout = 0
      |                 ^ must not be zero

    error: unknown key `jobs`
     --> local.toml:4:2
      |
    4 | [jobs.a]
      |  ^^^^ not known
      |
      = help: known: [replica], [secrets], [endpoints], [storages], [commands], [databases], [http], [mail]
    "#);
}

const LOCAL: &str = r#"
[secrets.crm]
env = "CRM_TOKEN"
hosts = ["api.example.com"]
[http]
hosts = ["*.example.com"]
[endpoints.search]
url = "http://search.example.com/v1"
plain_http = true
[storages.here]
folder = "/var/backups"
[storages.there]
url = "s3://bucket/prefix/"
access_key_id = "secret:crm"
secret_access_key = "secret:crm"
[commands.reindex]
argv = ["/bin/reindex", "--tenant={tenant}"]
params = { tenant = "whole" }
[mail]
url = "smtps://smtp.example.com"
from = "a@example.com"
[databases.other]
conninfo = "host=other"
"#;

#[test]
fn the_local_file_says_what_the_replica_knows_by_name() {
    let canary = |name: &str| (name == "CRM_TOKEN").then(|| "canary-4711".to_owned());
    let local = parse(Path::new("local.toml"), LOCAL, &canary).expect("it is good");
    let names = "command:reindex database:other endpoint:search host:*.example.com mail secret:crm storage:here storage:there";
    assert_eq!(local.outside.names().join(" "), names);
    let secret = local.outside.secrets.for_host("crm", "api.example.com").expect("its host");
    assert_eq!(secret.expose(), "canary-4711");
    assert!(!format!("{local:?}").contains("canary"), "{local:?}");
}

#[test]
fn what_is_wrong_with_what_a_replica_knows_is_shown_at_the_very_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "canary-4711\n").expect("it can be written");
    let bad = format!(
        r#"
[secrets.unset]
env = "UNSET"
[secrets.gone]
file = "/nowhere/secret"
[secrets.both]
env = "SET"
file = "{}"
[secrets.none]
hosts = ["https://a.example.com"]
[http]
host = ["a.example.com"]
[endpoints.plain]
url = "http://a.example.com"
[storages.both]
folder = "relative"
region = "eu"
[storages.half]
url = "s3://bucket"
access_key_id = "AKIA"
[commands.shell]
argv = ["sh", "-c", "{{line}}"]
env = ["A=b"]
params = {{ other = "regex" }}
[mail]
url = "smtps://user:word@smtp.example.com"
[databases.other]
conninfo = "host=a password=b"
"#,
        path.display()
    );
    let set = |name: &str| (name == "SET").then(|| "canary-4712".to_owned());
    let problems = parse(Path::new("local.toml"), &bad, &set).expect_err("much is wrong");
    let found: Vec<String> = problems
        .iter()
        .map(|problem| {
            let line = problems.location(problem).map_or(0, |place| place.line);
            format!("{line} {}: {}", problem.message(), problem.label)
        })
        .collect();
    insta::assert_snapshot!(found.join("\n"), @r#"
    3 secrets.unset: env is wrong: this variable is not set
    5 secrets.gone: file is wrong: cannot be read: No such file or directory (os error 2)
    8 secrets.both: file is wrong: a secret comes from `env` or from `file`, not from both
    9 secrets.none is incomplete: say where it comes from: env = "VARIABLE" or file = "/path"
    10 secrets.none: hosts is wrong: takes a host's name or pattern, without scheme, port and path: "api.example.com", "*.example.com", "*"
    12 http: unknown key `host`: did you mean `hosts`?
    14 endpoints.plain: url is wrong: takes a URL that begins with https:// (or http://, with plain_http = true)
    16 storages.both: folder is wrong: takes an absolute path
    17 storages.both: region is wrong: is for buckets; this storage is a folder
    18 storages.half is incomplete: access_key_id and secret_access_key go together
    20 storages.half: access_key_id is wrong: takes the name of a secret: "secret:NAME", with [secrets.NAME]
    22 commands.shell: argv is wrong: the program is named by its absolute path: nothing is searched for
    22 commands.shell: argv is wrong: {line} is not declared: params = { line = "text" }
    23 commands.shell: env is wrong: takes names of variables, not their values
    24 commands.shell: params.other is wrong: takes "text", "whole" or an array of allowed texts
    25 mail is incomplete: from is missing
    26 mail: url is wrong: must hold no credentials: `user`, and password = "secret:NAME"
    28 databases.other: conninfo is wrong: must hold no password: a password file does
    "#);
    assert!(!problems.to_string().contains("canary"));
}

#[test]
fn the_example_of_a_local_file_can_be_read() {
    let reference = include_str!("../../../../docs/file.md");
    let example = reference.rsplit("```").nth(1).and_then(|block| block.strip_prefix("toml\n"));
    // Its secrets are files of another machine.
    let example = example.expect("an example").replace("file = \"/run/secrets/", "env = \"");
    let local = parse(Path::new("local.toml"), &example, &|_| Some("text".to_owned()));
    let local = local.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(local.slots, Some(8));
    assert!(local.outside.mail.is_some() && local.outside.storages.contains_key("offsite"));
}
