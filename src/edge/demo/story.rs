//! The story, step by step.
//!
//! What is easy to get wrong: the order of what is dropped. Replicas go before the cluster that they work on, or their
//! last words would be about a database that is away.

use std::time::Instant;

use super::{
    application::{Application, Run},
    live::{self, Followed},
    processes::{Replicas, typed},
    screen::{Screen, count, seconds, write},
    verify::verify,
};
use crate::{
    edge::cluster::Cluster,
    error::{Error, ErrorKind, Result},
};

/// The purge that the story is about; sql/demo/schedule_jobs.sql makes it.
const JOB: &str = "audit-log";
/// A job that nobody arms.
const DISARMED: &str = "deleted-users";

/// What the story leaves behind, to look around in. Dropped in this order.
pub(super) struct Stage {
    _replicas: Replicas,
    application: Application,
    _cluster: Cluster,
}

/// Tells it, and checks it.
///
/// # Errors
/// If anything was not as it should be.
pub(super) async fn tell() -> Result<Stage> {
    let began = Instant::now();
    let mut screen = Screen::new();
    write("Sexton: three replicas purge a table exactly once, and the one at work is killed half way.");
    let cluster = start_cluster(&mut screen).await?;
    let application = fill(&mut screen, &cluster).await?;
    schedule(&mut screen, &application).await?;
    let mut replicas = start_replicas(&mut screen, &application).await?;
    report_only(&mut screen, &application, &mut replicas).await?;
    let refused = refused(&mut screen, &application, &mut replicas).await?;
    let total = approve(&mut screen, &application, &refused).await?;
    let Followed { run, takeover } = purge(&mut screen, &application, &mut replicas, total).await?;
    screen.step("The count, against fingerprints taken before");
    verify(&screen, &application, JOB, run.occurrence, run.reported_text("cutoff")?).await?;
    write(&format!(
        "\n{} rows purged exactly once by two replicas: one was killed, the other was there {} later. \
         All of it took {:.0} s.",
        count(run.rows),
        seconds(takeover),
        began.elapsed().as_secs_f64()
    ));
    Ok(Stage { _replicas: replicas, application, _cluster: cluster })
}

impl Stage {
    /// Says where to look while it stands.
    pub(super) fn show_around(&self) {
        let conninfo = &self.application.conninfo;
        let program = std::env::current_exe().map(|path| path.display().to_string());
        let program = program.unwrap_or_else(|_| "sexton".to_owned());
        write("\nIt stays until ^C. Look around from another terminal:");
        for line in [
            format!("psql '{conninfo}' -c 'SELECT * FROM sexton.jobs'"),
            format!("{program} --database '{conninfo}' jobs"),
            format!("{program} --database '{conninfo}' show {JOB}"),
        ] {
            Screen::quote(&line);
        }
    }
}

async fn start_cluster(screen: &mut Screen) -> Result<Cluster> {
    screen.step("A PostgreSQL of its own");
    // The demo writes a lot at once; checkpoints every few seconds would be all that one saw.
    let cluster =
        Cluster::builder().setting("max_wal_size", "4GB").setting("shared_buffers", "256MB").start().await?;
    screen.say_timed(&format!("PostgreSQL {}, private, throwaway", cluster.binaries().version));
    Ok(cluster)
}

async fn fill(screen: &mut Screen, cluster: &Cluster) -> Result<Application> {
    screen.step("An application with two years behind it");
    let application = Application::create(cluster).await?;
    application.fill().await?;
    screen.say_timed(
        "audit_log: 1,001,000 rows, 1,000 of them without a date; users: 50,000, some deleted softly;\n\
         addresses, which reference them: 100,000; sessions: 100,000",
    );
    Ok(application)
}

async fn schedule(screen: &mut Screen, application: &Application) -> Result<()> {
    screen.step("Sexton's schema, and three jobs in plain SQL");
    application.migrate().await?;
    Screen::quote(&application.schedule().await?);
    screen.say("Purges are born disarmed: until somebody arms them, they only report.");
    Ok(())
}

async fn start_replicas(screen: &mut Screen, application: &Application) -> Result<Replicas> {
    screen.step("Three replicas");
    let mut replicas = Replicas::start(3, &application.conninfo)?;
    live::all_alive(application, &mut replicas).await?;
    let named: Vec<String> = replicas.iter().map(|r| format!("{} (process {})", r.name, r.pid)).collect();
    screen.say_timed(&named.join(", "));
    screen.say("While they work, look from another terminal:");
    Screen::quote(&format!("psql '{}' -c 'SELECT * FROM sexton.running'", application.conninfo));
    Ok(replicas)
}

async fn report_only(screen: &mut Screen, application: &Application, replicas: &mut Replicas) -> Result<()> {
    screen.step("A purge that is not armed only reports");
    let run = run_now(screen, application, replicas, DISARMED).await?;
    if run.state != "succeeded" || run.rows != 0 {
        return Err(unexpected(&run, "a report and nothing else"));
    }
    let eligible = count(run.reported("eligible")?);
    screen.say(&format!(
        "{}: {eligible} of 50,000 users left over 30 days ago and would go. None went.",
        run.holder
    ));
    Ok(())
}

async fn refused(screen: &mut Screen, application: &Application, replicas: &mut Replicas) -> Result<Run> {
    screen.step("An armed purge that looks wrong is refused");
    operate(screen, application, &["arm", JOB]).await?;
    let run = run_now(screen, application, replicas, JOB).await?;
    if run.state != "refused" || run.rows != 0 {
        return Err(unexpected(&run, "a refusal"));
    }
    screen.say(&format!("{} refused, and says what would let it through:", run.holder));
    Screen::quote(&format!("{}.\n{}", run.reported_text("reason")?, run.reported_text("remedy")?));
    Ok(run)
}

/// Types the very line that the refusal printed. Returns how many rows are eligible.
async fn approve(screen: &mut Screen, application: &Application, refused: &Run) -> Result<u64> {
    screen.step("It is right, this table was never purged before: approve that many");
    let remedy = refused.reported_text("remedy")?;
    let line = remedy.split_once("sexton arm ").map(|(_, line)| line.split(" (").next().unwrap_or(line));
    let line = line.ok_or_else(|| unexpected(refused, "a remedy with a line to type"))?;
    let mut words = vec!["arm"];
    words.extend(line.split_whitespace());
    operate(screen, application, &words).await?;
    refused.reported("eligible")
}

async fn purge(
    screen: &mut Screen,
    application: &Application,
    replicas: &mut Replicas,
    total: u64,
) -> Result<Followed> {
    screen.step("The purge, and a kill half way");
    let since = application.now().await?;
    operate(screen, application, &["run-now", JOB]).await?;
    live::started_since(application, replicas, JOB, since).await?;
    let followed = live::follow(screen, application, replicas, JOB, total).await?;
    screen.say_timed("drained: nothing older than the cutoff is left, says its report");
    Ok(followed)
}

/// Has a job run now, and waits for the end of that run.
async fn run_now(
    screen: &Screen,
    application: &Application,
    replicas: &mut Replicas,
    job: &str,
) -> Result<Run> {
    let since = application.now().await?;
    operate(screen, application, &["run-now", job]).await?;
    live::ended_since(application, replicas, job, since).await
}

/// Types a command, and shows it with its answer.
async fn operate(screen: &Screen, application: &Application, words: &[&str]) -> Result<()> {
    Screen::quote(&format!("$ sexton {}", words.join(" ")));
    let answer = typed(&application.conninfo, words).await?;
    screen.say(&answer);
    Ok(())
}

fn unexpected(run: &Run, wanted: &str) -> Error {
    let error = run.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    let message = format!("the run {}{error}, with {} rows; wanted {wanted}", run.state, run.rows);
    Error::new(ErrorKind::Outside, message).about("demo")
}
