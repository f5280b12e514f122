//! Everything that is tested through the public face against a real PostgreSQL: one binary, one private server.
//!
//! Each test has a database of its own, copied from a template that was migrated once. What is easy to get wrong: a test
//! that waits for a time instead of a condition. Use `Db::until`, which says in its failure how the jobs stood.
#![cfg(feature = "cli")]

// The private server, databases, replicas in this process, claims by hand, and the kind `steps`.
mod support;

// Sessions opened as libpq users say where.
mod conninfo;

// Migrations, the file, apply and init.
mod config;

// What can be read off the migrated schema: statements, comments, rights.
mod protocol_schema;

// Who may do what: one login for each group role.
mod protocol_roles;

// Many try for one job, many replicas for many jobs.
mod protocol_claim;

// A superseded holder's batch never commits; with the fence patched away, it does.
mod protocol_fence;

// Several sessions at work for one run; what happens to it happens to all, and no claim comes before the last is gone.
mod protocol_workers;

// What people ask for while a run is on its way, or its holder is dead: each verb is a barrier.
mod protocol_verbs;

// The points in which the prototype was wrong, each with its test.
mod protocol_mended;

// When jobs are due: schedules, missed runs, starts and deploys, definitions that are no good.
mod protocol_planning;

// What a job needs of a replica's local file, and who may have it.
mod protocol_needs;

// How runs end, and what follows from each end.
mod protocol_outcomes;

// Whatever happens to a holder or to the server, the job goes on, and effects are what was recorded.
mod protocol_liveness;

// Resources: who waits for whom, who is free at once, and that crossed jobs never deadlock.
mod resources;

// One-offs: in the caller's transaction, one for each key, so many at a time, and gone when they are done.
mod submit;

// Sessions that go from one one-off to the next.
mod sessions;

// The other kinds.
mod kinds;

// The command line as a process.
mod cli;

// Rows of a query as one-offs: each once, whatever crashes, and no source starves another.
mod fan_out;

// `sexton exec`, `sexton submit` and `sexton locks` as processes.
mod exec;

// Hooks, `sexton::testing`, resources, what a run is told.
mod protocol_embedding;

// A batch that is begun behind the commit of the one before, for kinds of one's own.
mod protocol_ahead;

// Futures dropped after each number of polls, within a kind and around a whole run.
mod protocol_cancel_safety;

// Replicas as processes, with a purge: killed, frozen, drained, ended at each failpoint.
mod protocol_process;

// What a backup brings back, never presents, and removes.
mod backup;

// Replicas as processes, killed while they back up.
mod backup_killed;

// What `sexton restore` refuses, and where it puts rows.
mod backup_restore;

// Encrypted backups: which key opens them, and what is told of one that was altered.
mod backup_sealed;

// The same with an S3 server in this process.
#[cfg(feature = "s3-server")]
mod backup_s3;

// A database, a storage and a job for each test of backups.
mod backup_support;

// The folders of `examples/`, each by its one command.
mod examples;

// Programs of the local file: how they end, and that none outlives its run.
mod command;

// What a purge deletes, refuses and reports.
mod purge;

// Batches of a heap walk that are begun behind the commit of the one before.
mod purge_ahead;

// Estimates, the longest time that a row can live, and whether a purge keeps up.
mod purge_backlog;

// What follows a purge's walk: VACUUM, and what is said of the space.
mod purge_care;

// Partitions that are detached concurrently: interrupted at each step, held, and without keeping readers waiting.
mod purge_detach;

// What purges must leave: holds, set at any moment, and what jobs protect.
mod purge_hold;

// Purges that keep rows in a table.
mod purge_archive;

// Purges that keep rows in a storage, and bring them back.
mod purge_stored;

// What they leave in it of batches that were taken back, and what they must not take.
mod purge_stored_undone;

// What storage nodes check of the calls of a purge.
mod storage_node;

// Purges that call for each row before it goes.
mod purge_before;

// Purges that take other tables' rows along.
mod purge_children;

// Purges of random tables with children and archives against what plain SQL says must be left.
mod purge_family_oracle;

// Purges of random tables against what plain SQL says must be left.
mod purge_oracle;

// Whole partitions that a purge drops, moves, or must leave.
mod purge_partitions;

// When a purge steps back, and for whom.
mod purge_pressure;

// Purges of several tables by one job.
mod purge_targets;

// Purges with several workers.
mod purge_workers;

// Work in other databases: the token goes with it.
mod databases;

// What of it a run records that an earlier one could not.
mod databases_caught_up;

// The same with replicas as processes, which end or freeze.
#[cfg(feature = "failpoints")]
mod databases_process;

// Purges in other databases: shards, holds, guards.
mod databases_purge;

// Other databases that are not to be had, and what people are told.
mod databases_missing;

// Two databases for each of these tests.
mod databases_support;

// A database and a job for each test of the purge.
mod purge_support;

// Notices: who hears of what, when, and what becomes of it.
mod notices;

// How often a channel is told, and when it is told no more.
mod notices_often;

// What tests of notices share.
mod notices_support;

// Notices as they arrive: mails at an SMTP server, calls at an HTTP server.
mod notices_sent;

// An SMTP server for them.
mod mail_server;

// Notices as signed calls of a webhook.
mod notices_webhook;
