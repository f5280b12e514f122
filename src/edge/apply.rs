//! Interface of the four edge modules, for their callers; the code follows.
//!
//! ```ignore
//! // edge::migrate (feature `migrate`; also `sexton::migrate` = run)
//! pub struct Options { pub roles: Roles /* Roles::Groups (default) | Roles::One */, pub lock_timeout: Duration /* 2 min */ }
//! pub enum Progress { Waiting { holder: String }, Applying { name: String }, Granting }
//! pub struct Migrated { pub applied: Vec<String>, pub owner: String, pub notes: Vec<String> }
//! pub async fn run(connector: &Connector, options: &Options, progress: impl FnMut(Progress) + Send + 'static) -> Result<Migrated>;
//! pub async fn check(client: &tokio_postgres::Client) -> Result<Status>;
//! pub enum Status { UpToDate { level }, Missing { names: Vec<String> }, Newer { level, known }, TooNew { min_level, known, level }, Absent }
//! impl Status { pub fn may_run(&self) -> Result<()>  /* what a replica asks at its start */; Display: one sentence }
//! pub fn print(status: &Status, roles: Roles) -> String;   // the SQL that `run` would execute, for psql
//!
//! // edge::config
//! pub fn load(files: &[PathBuf], registry: &Registry) -> Result<Config, Problems>;   // `-` is standard input; variables of this process
//! pub fn show(config: &Config) -> String;            // effective values, each with `# file:line`
//! pub struct Config { pub app: String, pub generation: Option<i64>, .. }  // fn jobs(&self)
//! impl Problems { pub fn render(&self, colors: Colors /* Plain | Ansi */) -> String }   impl From<Problems> for crate::Error (kind Invalid, plain text)
//! pub mod local { pub struct Local { slots, name, database_identity, drain_timeout, log }  pub fn load(path: &Path) -> Result<Local, Problems>; }
//!
//! // edge::apply
//! pub struct Options { pub prune: Prune, pub overwrite: Overwrite }     // Default: keep, leave alone
//! pub async fn plan(connector: &Connector, config: &Config, options: &Options) -> Result<Outcome, Failure>;     // --dry-run: does all and rolls back
//! pub async fn execute(connector: &Connector, config: &Config, options: &Options) -> Result<Outcome, Failure>;
//! pub enum Failure { Problems(Problems), Error(crate::Error) }   // impl From<Failure> for crate::Error
//! impl Outcome { pub fn left_alone(&self) -> usize /* > 0: exit 3 */ }  Serialize for --json
//! pub fn render(outcome: &Outcome) -> String;
//!
//! // edge::init
//! pub async fn propose(client: &tokio_postgres::Client) -> Result<String>;   // the text of a sexton.toml
//! pub fn write_new(path: &Path, text: &str) -> Result<()>;                   // never overwrites
//! ```
