//! The trait of kinds, and the registry that finds one by its name.
//!
//! Typed outside, erased inside: a kind's author sees `Params`, the runner sees JSON.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Databases, Description, Names, Need, Report, RunContext, strict::Strict};
use crate::protocol::run::Stop;

/// A kind of work. See `examples/own_kind.rs` for one of a user's own.
pub trait Kind: Send + Sync + 'static {
    /// The settings of a job of this kind. Derive `Deserialize` with `deny_unknown_fields`: an unknown name is then an
    /// error that names the known ones.
    type Params: DeserializeOwned + Send + Sync + 'static;

    /// The name that `sexton.job.kind` stores: lower case, digits and underscores.
    fn name(&self) -> &'static str;

    /// The kind in its own words.
    fn describe(&self) -> Description;

    /// By whose rights the work is done. A job with `run_as` of a kind that works by its replica's is invalid: it must
    /// not run with other rights than its author meant.
    fn rights(&self) -> Rights {
        Rights::OfReplica
    }

    /// What cannot be told from the shape of the params alone: ranges, combinations. Asked whenever a job is saved
    /// by `sexton apply`, and by a replica before a revision first runs. Must not do I/O.
    ///
    /// # Errors
    /// The path of the parameter, and what is wrong with it.
    fn check(&self, params: &Self::Params) -> Result<(), ParamError> {
        let _ = params;
        Ok(())
    }

    /// What a replica must know locally to run a job with these params: a secret, a storage, a command. A replica
    /// without it leaves the job to others, and `sexton why` says so. Asked when a revision is validated. Must not
    /// do I/O. Default: nothing.
    fn needs(&self, params: &Self::Params) -> Vec<Need> {
        let _ = params;
        Vec::new()
    }

    /// Whether a job with these params may name another `database` to work in. All that the kind reads of Sexton's own
    /// tables must then go by [`RunContext::query_home`]. Must not do I/O. Default: it may not.
    ///
    /// # Errors
    /// Why it may not.
    fn elsewhere(&self, params: &Self::Params) -> Result<(), String> {
        let _ = params;
        Err(format!("the kind {} works in the database of the schema sexton alone", self.name()))
    }

    /// Does the work of one run, in batches, each of which commits with the fence.
    ///
    /// # Errors
    /// Whatever [`RunContext`] returns is passed on with `?`; a kind's own failures are [`Stop::Failed`].
    ///
    /// # Cancel safety
    /// The future is dropped when the run times out or the process shuts down at once. Nothing that was not
    /// committed by then takes effect.
    fn run(
        &self,
        context: &mut RunContext,
        params: Self::Params,
    ) -> impl Future<Output = Result<Report, Stop>> + Send;
}

/// By whose rights a kind works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Those of the replica's login.
    OfReplica,
    /// Those of the job's `run_as`, where it has one.
    OfJob,
}

/// What is wrong with a parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("params{}{path}: {message}", if path.is_empty() { "" } else { "." })]
pub struct ParamError {
    /// Which one: `retention`, `targets[2].by`; empty for the params as a whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ParamError {
    /// What is wrong with the parameter at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        ParamError { path: path.into(), message: message.into() }
    }
}

/// A kind with its types erased.
trait Erased: Send + Sync {
    fn check(&self, params: &Value) -> Result<(), ParamError>;
    fn needs(&self, params: &Value) -> Result<Vec<Need>, ParamError>;
    fn elsewhere(&self, params: &Value) -> Result<Result<(), String>, ParamError>;
    fn run<'a>(&'a self, context: &'a mut RunContext, params: Value) -> BoxFuture<'a, Result<Report, Stop>>;
}

impl<K: Kind> Erased for K {
    fn check(&self, params: &Value) -> Result<(), ParamError> {
        Kind::check(self, &read::<K::Params>(params)?)
    }

    fn needs(&self, params: &Value) -> Result<Vec<Need>, ParamError> {
        Ok(Kind::needs(self, &read::<K::Params>(params)?))
    }

    fn elsewhere(&self, params: &Value) -> Result<Result<(), String>, ParamError> {
        Ok(Kind::elsewhere(self, &read::<K::Params>(params)?))
    }

    fn run<'a>(&'a self, context: &'a mut RunContext, params: Value) -> BoxFuture<'a, Result<Report, Stop>> {
        Box::pin(async move {
            // A replica validates each revision before it is claimed; this can only differ if the kind's code does.
            let params = read::<K::Params>(&params)
                .map_err(|error| Stop::refused(error.to_string(), "edit the job"))?;
            Kind::run(self, context, params).await
        })
    }
}

fn read<P: DeserializeOwned>(params: &Value) -> Result<P, ParamError> {
    serde_path_to_error::deserialize(Strict(params)).map_err(|error| {
        let path = error.path().to_string();
        ParamError::new(if path == "." { String::new() } else { path }, error.into_inner().to_string())
    })
}

/// A kind in the registry.
#[derive(Clone)]
pub struct Registered {
    name: &'static str,
    description: Description,
    rights: Rights,
    kind: Arc<dyn Erased>,
}

impl Registered {
    /// The name that jobs store.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The kind in its own words.
    pub fn describe(&self) -> Description {
        self.description
    }

    /// By whose rights it works.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether a job with these params could run, as far as can be told without a database.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self, params: &Value) -> Result<(), ParamError> {
        self.kind.check(params)
    }

    /// What a replica must know locally to run a job with these params in this database, or at home.
    ///
    /// # Errors
    /// If the params are not of the kind's shape.
    pub fn needs(&self, params: &Value, database: Option<&str>) -> Result<Vec<Need>, ParamError> {
        let mut needs = self.kind.needs(params)?;
        needs.extend(database.map(|name| Need::Database(name.to_owned())));
        Ok(needs)
    }

    /// Whether a job with these params may work in another database.
    ///
    /// # Errors
    /// Why it may not, if the params are of the kind's shape; if they are not, [`Registered::check`] says so.
    pub fn elsewhere(&self, params: &Value) -> Result<(), String> {
        self.kind.elsewhere(params).unwrap_or(Ok(()))
    }

    pub(crate) async fn run(&self, context: &mut RunContext, params: Value) -> Result<Report, Stop> {
        self.kind.run(context, params).await
    }
}

/// The kinds that a replica knows, by name. Jobs of other kinds are left alone.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Registered>,
    names: Names,
    databases: Databases,
}

impl Registry {
    /// Knows nothing yet; see also [`Registry::with_builtins`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind, in place of one of the same name.
    pub fn add(&mut self, kind: impl Kind) -> &mut Self {
        let registered = Registered {
            name: kind.name(),
            description: kind.describe(),
            rights: kind.rights(),
            kind: Arc::new(kind),
        };
        self.kinds.insert(registered.name, registered);
        self
    }

    /// Says which names the replica knows locally, now and later; see [`Kind::needs`]. Default: none.
    pub fn know(&mut self, names: Names) -> &mut Self {
        self.names = names;
        self
    }

    /// Says how the other databases are reached whose names the replica knows. Default: none is.
    ///
    /// ```
    /// use sexton::{Registry, kind::{Databases, Names}};
    ///
    /// # fn example() -> Result<(), tokio_postgres::Error> {
    /// let archive: tokio_postgres::Config = "host=archive dbname=shop user=purger".parse()?;
    /// let (_names, known) = tokio::sync::watch::channel(vec!["database:archive".to_owned()]);
    /// let mut registry = Registry::with_builtins();
    /// registry
    ///     .know(Names::of(known))
    ///     .reach(Databases::by(move |name| (name == "archive").then(|| archive.clone().into())));
    /// # Ok(())
    /// # }
    /// ```
    pub fn reach(&mut self, databases: Databases) -> &mut Self {
        self.databases = databases;
        self
    }

    /// The names that the replica knows locally now, sorted.
    pub fn known(&self) -> Vec<String> {
        self.names.now()
    }

    pub(crate) fn databases(&self) -> Databases {
        self.databases.clone()
    }

    pub(crate) fn names(&self) -> Names {
        self.names.clone()
    }

    /// The kind of this name.
    pub fn get(&self, name: &str) -> Option<&Registered> {
        self.kinds.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.kinds.values()
    }
}
