//! A kind of one's own: `daily_totals` sums a shop's orders up, one day a batch.
//!
//! Shown here: typed params that are checked when a job is saved, a cursor by which another replica goes on where the
//! last one died, a transaction of several statements that commits with the fence ([`RunContext::begin`]), a resource
//! taken in mid-run for the part that must not run beside something else ([`RunContext::with_resource`]), a dry run,
//! and a report. And, at the end, its test.
//!
//! What is easy to get wrong: write through `begin` or `batch` alone, since only what these commit is refused when
//! this replica no longer holds the job.
//!
//! ```console
//! $ psql shop -c "CREATE TABLE orders (placed_at timestamptz, cents bigint);
//!                 CREATE TABLE order_totals (day date PRIMARY KEY, orders bigint, cents bigint);
//!                 CREATE MATERIALIZED VIEW order_months AS
//!                   SELECT date_trunc('month', day) AS month, sum(cents) AS cents FROM order_totals GROUP BY 1"
//! $ psql shop -c "SELECT sexton.schedule('totals', 'daily 01:00', 'daily_totals', '{\"days\": 7}')"
//! $ DATABASE_URL=postgres://localhost/shop cargo run --example own_kind
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sexton::{
    Registry,
    kind::{Description, Kind, Mode, Nature, Param, ParamError, Report, RunContext, Stop, Stopped},
    runner::Runner,
};

/// Sums orders up, day by day.
struct DailyTotals;

/// The settings of a job of this kind. An unknown name is an error that names the known ones.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// How many days back, yesterday included.
    days: u32,
}

/// Where the last committed batch left off. Stored with the batch, by the same transaction.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Days that are done.
    done: u32,
    /// Orders that were counted so far.
    orders: i64,
}

impl Kind for DailyTotals {
    type Params = Params;

    fn name(&self) -> &'static str {
        "daily_totals"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Sums the orders of the last days up into order_totals.",
            // Its effects are in the database and can be made again; a kind that deletes would be `Destructive`.
            nature: Nature::Database,
            params: &[Param {
                name: "days",
                takes: "days",
                default: "none: it must be given",
                help: "How many days back, yesterday included; 1 to 366.",
            }],
            example: "[jobs.totals]\nschedule = \"daily 01:00\"\n\n[jobs.totals.daily_totals]\ndays = 7\n",
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        match params.days {
            1..=366 => Ok(()),
            other => Err(ParamError::new("days", format!("{other} is not between 1 and 366"))),
        }
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        // The occurrence, not the clock: a retry after midnight means the same days.
        let until = context.occurrence();
        let mut cursor = context.cursor::<Cursor>()?.unwrap_or(Cursor { done: 0, orders: 0 });
        while cursor.done < params.days {
            cursor = match context.mode() {
                Mode::Real => sum_up(context, until, cursor).await?,
                Mode::Dry => count(context, until, cursor).await?,
            };
            context.progress(&serde_json::json!({"day": cursor.done, "of": params.days})).await?;
        }
        if context.mode() == Mode::Real {
            // Nobody else may rebuild the report meanwhile: another job, or `sexton exec --lock reports`.
            context.with_resource("reports", Duration::from_secs(60), refresh).await?;
        }
        Ok(Report::new(Stopped::Drained).with("days", cursor.done).with("orders", cursor.orders))
    }
}

/// One day, the newest first: two statements and the cursor, all or nothing.
async fn sum_up(context: &mut RunContext, until: jiff::Timestamp, cursor: Cursor) -> Result<Cursor, Stop> {
    let back = i32::try_from(cursor.done + 1).unwrap_or(i32::MAX);
    let mut transaction = context.begin().await?;
    let forget = "DELETE FROM order_totals WHERE day = ($1::timestamptz AT TIME ZONE 'UTC')::date - $2::int";
    transaction.execute(forget, &[&until, &back]).await?;
    let rows = transaction
        .query(
            "INSERT INTO order_totals (day, orders, cents) \
             SELECT ($1::timestamptz AT TIME ZONE 'UTC')::date - $2::int, count(*), coalesce(sum(cents), 0) \
               FROM orders \
              WHERE (placed_at AT TIME ZONE 'UTC')::date = ($1::timestamptz AT TIME ZONE 'UTC')::date - $2::int \
             RETURNING orders",
            &[&until, &back],
        )
        .await?;
    let orders: i64 = rows.iter().map(|row| row.get::<_, i64>(0)).sum();
    let cursor = Cursor { done: cursor.done + 1, orders: cursor.orders + orders };
    // The fence: if another replica has the job by now, this is refused, and nothing of the above happened.
    transaction.commit(1, &cursor).await?;
    Ok(cursor)
}

/// What `sum_up` would count, without writing.
async fn count(context: &mut RunContext, until: jiff::Timestamp, cursor: Cursor) -> Result<Cursor, Stop> {
    let back = i32::try_from(cursor.done + 1).unwrap_or(i32::MAX);
    let day = "SELECT count(*) FROM orders \
               WHERE (placed_at AT TIME ZONE 'UTC')::date = ($1::timestamptz AT TIME ZONE 'UTC')::date - $2::int";
    let rows = context.query(day, &[&until, &back]).await?;
    let orders: i64 = rows.iter().map(|row| row.get::<_, i64>(0)).sum();
    Ok(Cursor { done: cursor.done + 1, orders: cursor.orders + orders })
}

/// Rebuilds the monthly report from the totals, within the fence too.
async fn refresh(context: &mut RunContext) -> Result<(), Stop> {
    let done = context.cursor::<Cursor>()?;
    let mut transaction = context.begin().await?;
    transaction.execute("REFRESH MATERIALIZED VIEW order_months", &[]).await?;
    transaction.commit(0, &done).await
}

#[tokio::main]
async fn main() -> sexton::Result<()> {
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "host=localhost dbname=shop".to_owned());
    let database: tokio_postgres::Config = url.parse()?;
    let mut registry = Registry::with_builtins();
    registry.add(DailyTotals);
    Runner::builder(database).registry(registry).name("totals").build().run().await
}

/// The kind's test: one occurrence at a time, by the same path as in a replica.
#[cfg(all(test, feature = "cli"))]
mod tests {
    use sexton::{
        edge::{cluster::Cluster, migrate},
        protocol::connect::Connector,
        testing::Occurrence,
    };

    use super::*;

    const SHOP: &str = "
        CREATE TABLE orders (placed_at timestamptz, cents bigint);
        INSERT INTO orders SELECT now() - n * interval '6 hours', 100 FROM generate_series(1, 400) AS n;
        CREATE TABLE order_totals (day date PRIMARY KEY, orders bigint, cents bigint);
        CREATE MATERIALIZED VIEW order_months AS SELECT sum(cents)::bigint AS cents FROM order_totals;
        INSERT INTO sexton.job (name, kind, params) VALUES ('totals', 'daily_totals', '{\"days\": 7}')";

    #[tokio::test]
    async fn a_lost_run_goes_on_at_the_day_that_it_had_reached() -> sexton::Result<()> {
        let cluster = Cluster::builder().without_fsync().start().await?;
        cluster.create_database("shop").await?;
        let connector = Connector::from(cluster.config("shop"));
        migrate::run(&connector, &migrate::Options::default(), |_| {}).await?;
        let psql = connector.open("test", &[]).await?.client;
        psql.batch_execute(SHOP).await?;

        let mut registry = Registry::new();
        registry.add(DailyTotals);
        let totals = Occurrence::of("totals", connector).registry(registry);
        let lost = totals.clone().kill_after_batches(3).run().await?;
        assert_eq!((lost.state.as_str(), lost.batches), ("running", 3), "nobody has noticed yet");
        let done = totals.run().await?;
        assert_eq!((done.state.as_str(), done.attempt), ("succeeded", 2), "{done:?}");
        assert_eq!(done.batches, 4 + 1, "the four days that were left, and the report");
        let report = done.report.expect("a run that succeeded has a report");
        assert_eq!((&report["days"], &report["orders"]), (&7.into(), &28.into()), "four orders a day");
        let months = psql.query_one("SELECT cents FROM order_months", &[]).await?;
        assert_eq!(months.get::<_, i64>(0), 2800);
        Ok(())
    }

    #[test]
    fn days_are_bounded() {
        let check = |days| Kind::check(&DailyTotals, &Params { days });
        assert!(check(1).is_ok() && check(366).is_ok());
        assert_eq!(check(0).unwrap_err().path, "days");
        assert!(check(367).is_err());
    }
}
