//! The built-in kinds besides the purge and the backup, each against a real PostgreSQL, and a real server where they call
//! one.

// One occurrence of a job.
mod support;

// What kinds say of themselves: examples validate, documentation says the same.
mod descriptions;

// Values that mean nothing, in every place of every kind.
mod wrong_values;

// References that dangle or expired: an oracle, concurrent appends, owners, audits.
mod references;
mod references_audit;
mod references_oracle;
mod references_refused;

// Calls of an endpoint: a server in this process verifies what comes.
mod http;
mod http_network;
mod http_secrets;
mod http_server;

// Rows stuck in a state.
mod reset;

// One statement: rights, the sandbox, health checks, repetition.
mod sql;

// VACUUM and what is CONCURRENTLY: what is picked, passed over, cancelled, left behind and mended.
mod upkeep;
