//! The runner inside an application: each of its processes is a replica too, and no other process is needed.
//!
//! Shown here: a runner next to the application's own work, hooks that feed its logs and metrics, a run asked for by
//! SQL from within the application, and a shutdown that gives unfinished work back at a batch border, so that another
//! process goes on there.
//!
//! What is easy to get wrong: the runner handles no signals and applies no migrations. The application has its own
//! signals, and `sexton migrate` (or `sexton::migrate`) belongs to its deployment.
//!
//! ```console
//! $ sexton migrate
//! $ psql shop -c "SELECT sexton.schedule_purge('audit_log', 'created_at', '180 days')"
//! $ DATABASE_URL=postgres://localhost/shop cargo run --example embedded -- purge-audit_log
//! ```

use sexton::{
    Registry,
    runner::{Runner, Shutdown, hooks::RunEvent},
};
use tokio_postgres::{Config, NoTls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "host=localhost dbname=shop".to_owned());
    let database: Config = url.parse()?;

    let runner = Runner::builder(database.clone())
        .registry(Registry::with_builtins())
        .slots(2)
        .name(format!("shop/{}", std::process::id()))
        .on_run(tell)
        .build();
    let shutdown = runner.shutdown();
    let replica = tokio::spawn(runner.run());

    if let Some(job) = std::env::args().nth(1) {
        println!("{}", run_soon(&database, &job).await?);
    }
    serve(shutdown).await?;
    replica.await??;
    println!("everything is given back");
    Ok(())
}

/// What the application makes of its runs. Called from the runner's own task, so it must not block.
fn tell(event: &RunEvent<'_>) {
    match event {
        RunEvent::Started(run) if run.recovered => println!("{}: goes on, its replica is gone", run.job),
        RunEvent::Started(run) => println!("{}: attempt {} begins", run.job, run.attempt),
        RunEvent::Finished(run, settlement) => {
            println!("{}: {} {:?}", run.job, settlement.outcome.as_str(), settlement.report);
        }
        RunEvent::Lost(run) => println!("{}: goes on elsewhere", run.job),
        _ => {}
    }
}

/// Asks for a run of a job, as any other code with a connection could, within a transaction of its own too: then it is
/// due when that commits, and not at all if it does not.
async fn run_soon(database: &Config, job: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = database.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let answer = client.query_one("SELECT sexton.run_now($1)", &[&job]).await?.get(0);
    drop(client);
    connection.await.expect("a connection's task does not panic")?;
    Ok(answer)
}

/// The application itself. It serves until ^C; a second one does not wait for the batches in flight.
async fn serve(shutdown: Shutdown) -> std::io::Result<()> {
    println!("serving; ^C ends it");
    tokio::signal::ctrl_c().await?;
    shutdown.drain();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            shutdown.at_once();
        }
    });
    Ok(())
}
