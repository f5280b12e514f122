//! The kind `command` with real programs: how they end, what they are told, and that none outlives its run.

use std::{collections::BTreeMap, path::Path, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sexton::{
    Registry,
    kind::Options,
    kinds::command::Commands,
    outside::{
        Command, Contents, Outside,
        commands::{CommandParam, Limits},
    },
    testing::{Occurrence, Ran},
};

use crate::support::{Db, Process, Replica};

/// How long stopping may take until the group is killed.
const GRACE: Duration = Duration::from_millis(200);
/// The most that a process may take to be gone.
const CAP: Duration = Duration::from_secs(30);

/// A shell script as a command; `$1…` are its parameters, whose places are their names in order.
fn script(text: &str, params: &[(&str, CommandParam)]) -> Command {
    let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned(), "script".to_owned()];
    argv.extend(params.iter().map(|(name, _)| format!("{{{name}}}")));
    Command {
        argv,
        cwd: None,
        env: vec!["PATH".to_owned()],
        user: None,
        params: params.iter().map(|(name, takes)| ((*name).to_owned(), takes.clone())).collect(),
        limits: Limits::default(),
        grace: GRACE,
    }
}

fn registry(command: Command) -> Registry {
    let commands = BTreeMap::from([("it".to_owned(), command)]);
    let outside = Outside::new(Contents { commands, ..Contents::default() });
    let mut registry = Registry::with_builtins_and(&outside);
    registry.add(Commands::new(outside.clone()).with_helper(env!("CARGO_BIN_EXE_sexton")));
    registry
}

fn occurrence(db: &Db, command: Command) -> Occurrence {
    Occurrence::of("job", db.config.clone()).registry(registry(command))
}

async fn job(params: Value) -> Db {
    let db = Db::new().await;
    db.insert("job", "command", "manual", json!({"command": "it", "params": params})).await;
    db
}

async fn run(text: &str) -> Ran {
    let db = job(json!({})).await;
    occurrence(&db, script(text, &[])).run().await.unwrap()
}

fn report(ran: &Ran) -> &Value {
    ran.report.as_ref().unwrap_or_else(|| panic!("no report: {ran:?}"))
}

/// Whether a process is at work: one that is dead and not reaped is not.
fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

pub async fn until_dead(pid: &str) {
    let deadline = tokio::time::Instant::now() + CAP;
    while alive(pid) {
        assert!(tokio::time::Instant::now() < deadline, "process {pid} still lives");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The numbers that a script has written to a file, once there are so many.
pub async fn pids(file: &Path, count: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + CAP;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let pids: Vec<String> = text.lines().map(str::to_owned).collect();
        if pids.len() == count && text.ends_with('\n') {
            return pids;
        }
        assert!(tokio::time::Instant::now() < deadline, "the script does not say its number: {text:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ignores SIGTERM, as does its child; both numbers go to the file `$1`.
const STUBBORN: &str = r#"trap "" TERM; (trap "" TERM; while :; do sleep 0.05; done) & echo "$$
$!" > "$1"; echo begun; while :; do sleep 0.05; done"#;

fn stubborn() -> Command {
    script(STUBBORN, &[("file", CommandParam::Text)])
}

#[tokio::test]
async fn a_program_gets_its_arguments_and_its_tokens_and_is_heard() {
    let text = r#"printf '%s|' "$@"; echo; pwd; env | sort; cat; echo oops >&2; exit 4"#;
    let db = Db::new().await;
    let nasty = "a b; $(touch /nowhere) 'x' \"";
    let params = json!({"command": "it", "params": {"a": nasty, "b": ":n"}, "success_codes": [0, 4]});
    let sql = "INSERT INTO sexton.job (name, kind, schedule, params, inputs)
               VALUES ('job', 'command', 'manual', $1, '{\"n\": \"bigint\"}')";
    db.client.execute(sql, &[&params]).await.unwrap();
    let mut command = script(text, &[("a", CommandParam::Text), ("b", CommandParam::Whole)]);
    command.env.push("NO_SUCH_VARIABLE".to_owned());
    command.cwd = Some("/usr".into());
    let ran = occurrence(&db, command).inputs(json!({"n": 7})).run().await.unwrap();
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    let said = report(&ran);
    assert_eq!(
        (&said["exit_code"], &said["stderr"], &said["ended"]),
        (&json!(4), &json!("oops\n"), &json!("succeeded"))
    );
    let stdout = said["stdout"].as_str().unwrap();
    assert!(stdout.starts_with(&format!("{nasty}|7|\n/usr\n")), "{stdout}");
    let expected: String = db
        .get(
            "SELECT 'sexton/' || install_id || '/' || j.id || '/' || (extract(epoch FROM r.occurrence) * 1000000)::bigint || '/command'
               FROM sexton.meta, sexton.job j, sexton.run r",
            &[],
        )
        .await;
    let token: String = db.get("SELECT epoch || '.' || version FROM sexton.run", &[]).await;
    for line in [
        "SEXTON_JOB=job".to_owned(),
        "SEXTON_ATTEMPT=1".to_owned(),
        format!("SEXTON_IDEMPOTENCY_KEY={expected}"),
        format!("SEXTON_TOKEN={token}"),
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} is not in {stdout}");
    }
    assert!(stdout.contains("SEXTON_OCCURRENCE=20"), "{stdout}");
    let names = stdout.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let unknown = names.filter(|name| {
        !name.starts_with("SEXTON_") && !["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)
    });
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&str>::new(), "the rest of the environment is not theirs");
}

#[tokio::test]
async fn failed_and_crashed_and_not_started_are_told_apart() {
    let failed = run("echo first >&2; echo the reason >&2; exit 3").await;
    assert_eq!(
        (failed.state.as_str(), &report(&failed)["ended"]),
        ("failed", &json!("failed")),
        "{failed:?}"
    );
    assert!(failed.error.as_deref().unwrap().contains("exited with code 3: the reason"), "{failed:?}");
    assert_eq!(report(&failed)["exit_code"], json!(3));

    let crashed = run("kill -SEGV $$").await;
    assert_eq!(
        (crashed.state.as_str(), &report(&crashed)["ended"]),
        ("failed", &json!("crashed")),
        "{crashed:?}"
    );
    assert_eq!(report(&crashed)["signal"], json!("SIGSEGV"));
    let killed = run("kill -KILL $$").await;
    assert_eq!(
        (&report(&killed)["ended"], &report(&killed)["signal"]),
        (&json!("crashed"), &json!("SIGKILL"))
    );

    let db = job(json!({})).await;
    let mut missing = script("", &[]);
    missing.argv[0] = "/no/such/program".to_owned();
    let ran = occurrence(&db, missing).run().await.unwrap();
    assert_eq!((ran.state.as_str(), &report(&ran)["ended"]), ("failed", &json!("not_started")), "{ran:?}");
    assert!(ran.error.as_deref().unwrap().contains("/no/such/program"), "{ran:?}");
}

#[tokio::test]
async fn the_beginning_and_the_end_of_its_output_are_kept() {
    let ran = run("echo begin; head -c 300000 /dev/zero | tr '\\0' x; echo; printf 'end\\0\\377'").await;
    let stdout = report(&ran)["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("begin\n") && stdout.ends_with("end\u{fffd}\u{fffd}"), "{ran:?}");
    assert_eq!(report(&ran)["stdout_cut_bytes"], json!(300_000 + 6 + 6 - 65_536));
    assert!(stdout.len() < 66_000);
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed_at_the_timeout_with_its_child() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let db = job(json!({"file": file})).await;
    db.execute("UPDATE sexton.job SET timeout = '2 seconds'").await;
    let ran = occurrence(&db, stubborn()).run().await.unwrap();
    assert_eq!(ran.state, "timed_out", "{ran:?}");
    for pid in pids(&file, 2).await {
        until_dead(&pid).await;
    }
    let said: Value = db.last_run("job", "progress").await;
    assert_eq!(
        (&said["ended"], &said["signal"], &said["stdout"]),
        (&json!("stopped"), &json!("SIGKILL"), &json!("begun\n"))
    );
}

#[tokio::test]
async fn a_program_that_heeds_term_may_say_good_bye() {
    let db = job(json!({})).await;
    db.execute("UPDATE sexton.job SET timeout = '2 seconds'").await;
    let mut polite = script("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done", &[]);
    polite.grace = Duration::from_secs(20);
    let ran = occurrence(&db, polite).run().await.unwrap();
    assert_eq!(ran.state, "timed_out", "that it ended well then is no success: {ran:?}");
    let said: Value = db.last_run("job", "progress").await;
    assert_eq!((&said["exit_code"], &said["stdout"]), (&json!(0), &json!("bye\n")));
}

#[tokio::test]
async fn whom_a_program_leaves_behind_is_ended_too() {
    let ran = run("sleep 1000 & echo $!").await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    until_dead(report(&ran)["stdout"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_cancel_and_a_lost_session_stop_it() {
    for (what, sql, outcome) in [
        ("cancel", "SELECT sexton.cancel('job')", "cancelled"),
        ("kill", "SELECT sexton.kill('job')", "lost"),
        ("session", "SELECT pg_terminate_backend(holder_pid) FROM sexton.job", "running"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let db = job(json!({"file": file})).await;
        let running = tokio::spawn(occurrence(&db, stubborn()).run());
        let pids = pids(&file, 2).await;
        assert!(pids.iter().all(|pid| alive(pid)));
        db.client.query(sql, &[]).await.unwrap();
        let ran = running.await.unwrap().unwrap();
        assert_eq!(ran.state, outcome, "{what}: {ran:?}");
        for pid in pids {
            until_dead(&pid).await;
        }
    }
}

#[tokio::test]
async fn a_drain_stops_it_and_gives_the_run_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let db = Db::new().await;
    let replica = Replica::with(&db, |builder| builder.registry(registry(stubborn())));
    db.due_command(&file).await;
    let pids = pids(&file, 2).await;
    replica.drain().await;
    assert_eq!(db.outcomes("job").await, "released");
    for pid in pids {
        until_dead(&pid).await;
    }
}

impl Db {
    /// The job, due, with the stubborn script.
    async fn due_command(&self, file: &Path) {
        self.insert("job", "command", "manual", json!({"command": "it", "params": {"file": file}})).await;
        self.until(
            "the job is planned",
            "SELECT planned AND validated_revision = revision FROM sexton.job",
            &[],
        )
        .await;
        self.verb("run_now", "job").await;
    }
}

#[tokio::test]
async fn it_dies_with_a_replica_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, config) = (folder.path().join("pids"), folder.path().join("local.toml"));
    let local = format!(
        "[commands.it]\nargv = ['/bin/sh', '-c', '''{}''', 'script', '{{file}}']\nparams = {{ file = 'text' }}\nenv = ['PATH']\n",
        STUBBORN
    );
    std::fs::write(&config, local).unwrap();
    let db = Db::new().await;
    let mut replica = Process::with_args(&db, "killed", &["--config", config.to_str().unwrap()]);
    db.due_command(&file).await;
    let pids = pids(&file, 2).await;
    assert!(alive(&pids[0]));
    replica.signal(Signal::SIGKILL);
    replica.ended().await;
    for pid in pids {
        until_dead(&pid).await;
    }

    // The negative control: a program that is started plainly outlives its parent.
    let mut parent = std::process::Command::new("/bin/sh")
        .args(["-c", "sh -c 'while :; do sleep 0.05; done' & echo $! > \"$1\"; wait", "sh"])
        .arg(folder.path().join("plain"))
        .spawn()
        .unwrap();
    let plain = self::pids(&folder.path().join("plain"), 1).await.remove(0);
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(alive(&plain), "without being bound to its parent it should live on");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(plain.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn what_the_job_gives_must_be_what_the_command_declares() {
    let params = [("n", CommandParam::Whole), ("mode", CommandParam::OneOf(vec!["a".to_owned()]))];
    for (given, part) in [
        (json!({"n": 1}), "params.params.mode is missing"),
        (json!({"n": "1; ls", "mode": "a"}), "no whole number"),
        (json!({"n": 1, "mode": "b"}), "is not one of: a"),
        (json!({"n": 1, "mode": "a", "x": 1}), "no such parameter"),
        (json!({"n": ":n", "mode": "a"}), "no declared input"),
    ] {
        let db = job(given).await;
        let ran = occurrence(&db, script("echo no", &params)).run().await.unwrap();
        assert_eq!(ran.state, "refused", "{ran:?}");
        assert!(ran.error.as_deref().unwrap().contains(part), "{ran:?} does not say {part}");
    }
    let db = job(json!({"n": -5, "mode": "a"})).await;
    let options = Options { dry_run: Some(true), ..Default::default() };
    let ran = occurrence(&db, script("echo no", &params)).options(options).run().await.unwrap();
    let argv = json!(["/bin/sh", "-c", "echo no", "script", "-5", "a"]);
    assert_eq!((ran.mode.as_str(), &report(&ran)["would_start"]), ("dry", &argv), "{ran:?}");
}

#[tokio::test]
async fn limits_and_another_user_are_set_before_it_begins() {
    let db = job(json!({})).await;
    let mut command = script("ulimit -n; ulimit -t; ulimit -v; id -un", &[]);
    command.limits =
        Limits { cpu_time: Some(Duration::from_secs(77)), memory_mib: Some(512), open_files: Some(33) };
    let ran = occurrence(&db, command.clone()).run().await.unwrap();
    let said = report(&ran)["stdout"].as_str().unwrap().to_owned();
    assert!(said.starts_with("33\n77\n524288\n"), "{ran:?}");

    // Another user needs root; without it we could not kill the program, and refuse to start it.
    command.user = Some("nobody".to_owned());
    command.argv[2] =
        "id -un; id -G | wc -w; kill -0 $PPID 2>&1 || echo powerless; while :; do sleep 0.05; done"
            .to_owned();
    db.execute("UPDATE sexton.job SET timeout = '2 seconds'").await;
    let ran = occurrence(&db, command.clone()).run().await.unwrap();
    if nix::unistd::geteuid().is_root() {
        assert_eq!(ran.state, "timed_out", "{ran:?}");
        let said: Value = db.last_run("job", "progress").await;
        assert!(said["stdout"].as_str().unwrap().starts_with("nobody\n"), "{said}");
        assert!(said["stdout"].as_str().unwrap().contains("powerless"), "{said}");
    } else {
        assert_eq!(ran.state, "refused", "{ran:?}");
        assert!(ran.error.as_deref().unwrap().contains("could not kill"), "{ran:?}");
    }

    // Nor is it started without the program that sets it up.
    command.user = None;
    let commands = BTreeMap::from([("it".to_owned(), command)]);
    let outside = Outside::new(Contents { commands, ..Contents::default() });
    let bare = Occurrence::of("job", db.config.clone()).registry(Registry::with_builtins_and(&outside));
    let ran = bare.run().await.unwrap();
    assert!(
        ran.state == "failed" && ran.error.as_deref().unwrap().contains("program sexton alone"),
        "{ran:?}"
    );
}
