//! What people may ask: views and answers, no side effects.

use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{DueRow, JobDefinition, JobRow, Operator, RequestedRow, RunRow, RunningRow, ScheduleRow};
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

impl Operator {
    /// Why the job runs, or does not.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe, as with everything here.
    pub async fn why(&self, job: &str) -> Result<String> {
        self.verb(statements::WHY, &[(&job, Type::TEXT)]).await
    }

    /// The jobs, by name.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn jobs(&self) -> Result<Vec<JobRow>> {
        let all: Option<&str> = None;
        self.list(statements::JOBS, &[(&all, Type::TEXT)]).await
    }

    /// One job, as [`Operator::jobs`] has it, and its definition.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn job(&self, name: &str) -> Result<(JobRow, JobDefinition)> {
        let shown: Vec<JobRow> = self.list(statements::JOBS, &[(&name, Type::TEXT)]).await?;
        let defined: Vec<JobDefinition> = self.list(statements::JOB, &[(&name, Type::TEXT)]).await?;
        match (shown.into_iter().next(), defined.into_iter().next()) {
            (Some(shown), Some(defined)) => Ok((shown, defined)),
            _ => Err(self.unknown_job(name).await),
        }
    }

    /// What the coming instants of a job are computed from.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn schedule(&self, job: &str) -> Result<ScheduleRow> {
        let rows: Vec<ScheduleRow> = self.list(statements::JOB_SCHEDULE, &[(&job, Type::TEXT)]).await?;
        match rows.into_iter().next() {
            Some(row) => Ok(row),
            None => Err(self.unknown_job(job).await),
        }
    }

    /// The latest runs, of one job or of all; those of a job that is gone too.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is neither such a job nor a run of it, [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn runs(&self, job: Option<&str>, limit: u32) -> Result<Vec<RunRow>> {
        let (no_id, limit): (Option<Uuid>, i64) = (None, limit.into());
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&job, Type::TEXT), (&no_id, Type::UUID), (&limit, Type::INT8)];
        let rows = self.list(statements::RUNS, &params).await?;
        match job {
            Some(job) if rows.is_empty() && !self.job_names().await?.iter().any(|name| name == job) => {
                Err(self.unknown_job(job).await)
            }
            _ => Ok(rows),
        }
    }

    /// One run.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn run(&self, id: Uuid) -> Result<RunRow> {
        let (no_job, one): (Option<&str>, i64) = (None, 1);
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&no_job, Type::TEXT), (&id, Type::UUID), (&one, Type::INT8)];
        let rows: Vec<RunRow> = self.list(statements::RUNS, &params).await?;
        rows.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such run")
                .about(format!("run {id}"))
                .with_remedy("`sexton runs` lists them; old ones are pruned.")
        })
    }

    /// What runs now, of one job or of all.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn running(&self, job: Option<&str>) -> Result<Vec<RunningRow>> {
        self.list(statements::RUNNING, &[(&job, Type::TEXT)]).await
    }

    /// What a oneshot that began at `since` (`None`: now) and runs as `holder` has to wait for, of these kinds: what
    /// is due within that many seconds from then, and what it runs. Jobs that need a name which it does not know are
    /// left to others.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn due_within(
        &self,
        kinds: &[&str],
        knows: &[String],
        seconds: f64,
        since: Option<Timestamp>,
        holder: &str,
    ) -> Result<Vec<DueRow>> {
        let params: [(&(dyn ToSql + Sync), Type); 5] = [
            (&kinds, Type::TEXT_ARRAY),
            (&seconds, Type::FLOAT8),
            (&since, Type::TIMESTAMPTZ),
            (&holder, Type::TEXT),
            (&knows, Type::TEXT_ARRAY),
        ];
        self.list(statements::DUE_UNTIL, &params).await
    }

    /// What has become of a job that was asked to run now; `None` if the job is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn requested(&self, job: &str) -> Result<Option<RequestedRow>> {
        Ok(self.list(statements::REQUESTED, &[(&job, Type::TEXT)]).await?.into_iter().next())
    }

    /// The names of the jobs.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn job_names(&self) -> Result<Vec<String>> {
        Ok(self.rows(statements::JOB_NAMES, &[]).await?.iter().map(|row| row.get(0)).collect())
    }
}
