//! Sentences taken out of the protocol, one at a time, and the scenario in which that shows.
//!
//! A mutant is a replacement in the source of a function in the database, or a client that breaks a rule. Its scenario
//! runs twice: on the protocol as it is, where the checker must find nothing, and on the mutant, where it must find
//! something. What is easy to get wrong: a replacement that no longer matches would leave the protocol whole and the
//! mutant harmless, so that is an error of its own.

use crate::{
    checker,
    history::History,
    scenes::{self, Scene},
    world::{Result, Server, World},
};

/// A replacement in a function: its name, what to find, what to put there.
type Patch = (&'static str, &'static str, &'static str);

/// One of them.
pub struct Mutant {
    pub name: &'static str,
    /// In the database; empty where the scene's client is what is wrong.
    pub patches: &'static [Patch],
    /// Statements besides, such as dropping what would refuse the rest.
    pub also: &'static str,
    pub scene: Scene,
    /// What the client does on the unpatched protocol: the same scene with good manners.
    pub control: Scene,
}

const NO_STOP: Patch = ("fence", "IF stop IS NOT NULL THEN", "IF false THEN");
const NO_SEQ: Patch = ("fence", "AND seq = p_seq", "");
const NO_LOCK: Patch = ("claim", "IS DISTINCT FROM pg_backend_pid() THEN", "IS NULL AND false THEN");
const NO_COUNT: Patch = ("finish", "p_outcome = 'succeeded' AND p_batches <>", "false AND p_batches <>");

/// All of them.
pub const ALL: &[Mutant] = &[
    one("fence-off", &[NO_STOP], Scene::ZombieBatch),
    one(
        "fence-for-key-share",
        &[("fence", "WHERE id = p_job FOR SHARE", "WHERE id = p_job FOR KEY SHARE")],
        Scene::VerbAtCommit,
    ),
    one(
        "fence-plain-select",
        &[("fence", "WHERE id = p_job FOR SHARE", "WHERE id = p_job")],
        Scene::VerbAtCommit,
    ),
    one(
        "fence-by-version-alone",
        &[
            ("fence", "FROM sexton.run WHERE id = p_run", "FROM sexton.run WHERE id = j.run_id"),
            ("fence", "WHERE run_id = p_run AND part", "WHERE run_id = j.run_id AND part"),
        ],
        Scene::VersionTwice,
    ),
    one("fence-ignores-seq", &[NO_SEQ], Scene::BatchTwice),
    one(
        "stop-ignores-cancel",
        &[("stop_reason", "WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelled'", "")],
        Scene::Verb("cancel"),
    ),
    one(
        "stop-ignores-pause",
        &[("stop_reason", "WHEN j.paused_at IS NOT NULL THEN 'paused'", "")],
        Scene::Verb("pause"),
    ),
    one(
        "stop-ignores-edit",
        &[("stop_reason", "WHEN j.revision <> r.revision THEN 'edited'", "")],
        Scene::Verb("edit"),
    ),
    one(
        "stop-ignores-disarm",
        &[("stop_reason", "AND j.armed_revision IS DISTINCT FROM j.revision", "AND false")],
        Scene::Verb("disarm"),
    ),
    one(
        "stop-ignores-halt",
        &[("stop_reason", "AND p_halted_at IS NOT NULL", "AND false")],
        Scene::Verb("pause_all"),
    ),
    one(
        "claim-forgets-halt",
        &[
            ("claim", "AND m.halted_at IS NOT NULL THEN 'halted'", "AND false THEN 'halted'"),
            ("stop_reason", "AND p_halted_at IS NOT NULL", "AND false"),
        ],
        Scene::ClaimWhileHalted,
    ),
    Mutant {
        also: "ALTER TABLE sexton.run DROP CONSTRAINT run_job_id_epoch_version_key; DROP INDEX sexton.run_one_running;",
        ..one(
            "claim-without-compare-and-swap",
            &[
                ("claim", "OR j.version <> p_version", ""),
                ("claim", "version = j.version + 1, attempt", "version = p_version + 1, attempt"),
                ("claim", "j.attempt + 1, m.epoch, j.version + 1", "j.attempt + 1, m.epoch, p_version + 1"),
                ("job_guard", "NEW.version < OLD.version", "false"),
            ],
            Scene::StaleClaim,
        )
    },
    Mutant {
        control: Scene::TwoClaims,
        ..one(
            "lock-mode-weakened",
            &[NO_LOCK],
            Scene::TwoSharedClaims,
        )
    },
    Mutant {
        also: "CREATE OR REPLACE VIEW sexton.orphan AS
            SELECT j.id, j.name, j.kind, j.lock_id, j.version, j.run_id, j.holder, j.holder_pid, j.due_at, j.priority
              FROM sexton.run r JOIN sexton.job j ON j.id = r.job_id AND j.run_id = r.id AND j.state = 'running'
             WHERE r.state = 'running' AND r.started_at < clock_timestamp() - interval '0 s'",
        ..one("orphan-by-age", &[NO_LOCK], Scene::OrphanScan)
    },
    one(
        "finish-without-token",
        &[
            ("finish", "AND version = p_version AND run_id = p_run AND state", "AND state"),
            ("finish", "sexton.settle_run(p_run,", "sexton.settle_run(j.run_id,"),
            NO_COUNT,
        ],
        Scene::ZombieFinish,
    ),
    one("finish-believes-the-count", &[NO_COUNT], Scene::FinishEarly),
    one(
        "kill-moves-the-occurrence",
        &[("give_back", "due_at = p_due_at,", "due_at = p_due_at, occurrence = p_due_at,")],
        Scene::KillAndGoOn,
    ),
    one(
        "crashes-uncounted",
        &[("claim", "IF j.attempt >= j.max_attempts THEN", "IF false THEN")],
        Scene::CrashAgainAndAgain,
    ),
    one(
        "cursor-across-revisions",
        &[("claim", "AND r.revision = j.revision AND r.mode", "AND r.mode")],
        Scene::EditAndGoOn,
    ),
    one(
        "run-now-forgotten",
        &[(
            "run_now",
            "UPDATE sexton.job k SET rerun = jsonb_build_object('options', run_now.options, 'inputs', run_now.inputs) WHERE k.id = j.id;",
            "",
        )],
        Scene::RunNowWhileRunning,
    ),
    one(
        "occurrence-skipped",
        &[("finish", "missed_count = missed_count + p_coalesced", "missed_count = missed_count")],
        Scene::Coalesce,
    ),
    one(
        "epoch-kept",
        &[(
            "observe",
            "ELSE greatest(m.epoch + 1, extract(epoch FROM clock_timestamp())::bigint) END",
            "ELSE m.epoch END",
        )],
        Scene::TokenTwice,
    ),
    one(
        "claim-ignores-pause",
        &[("claim", "WHEN paused THEN 'paused' END", "END")],
        Scene::ClaimPaused,
    ),
    one(
        "claim-before-its-time",
        &[("claim", "j.state = 'idle' AND (j.due_at IS NULL OR j.due_at > clock_timestamp())", "false")],
        Scene::ClaimEarly,
    ),
    one(
        "claim-by-an-old-revision",
        &[("claim", "ELSIF j.revision <> p_revision THEN", "ELSIF false THEN")],
        Scene::ClaimAfterEdit,
    ),
    one(
        "claim-row-for-key-share",
        &[("claim", "WHERE k.id = p_job FOR NO KEY UPDATE", "WHERE k.id = p_job FOR KEY SHARE")],
        Scene::PauseAtClaim,
    ),
    one(
        "claim-meta-unlocked",
        &[("claim", "FROM sexton.meta FOR SHARE", "FROM sexton.meta")],
        Scene::HaltAtClaim,
    ),
    one("cursor-of-a-dry-run", &[("claim", "AND r.mode = claim.mode", "")], Scene::DryThenReal),
    one(
        "worker-key-not-asked",
        &[("claim", "IF NOT pg_try_advisory_xact_lock(m.lock_class, j.worker_lock_id) THEN", "IF false THEN")],
        Scene::WorkerStays,
    ),
    one(
        "worker-key-not-taken",
        &[("join_run", "ELSIF NOT pg_try_advisory_lock_shared(class, key) THEN", "ELSIF false THEN")],
        Scene::WorkerStays,
    ),
    one(
        "resource-not-taken",
        &[("take_resources", "taken := pg_try_advisory_lock(class, want.id);", "taken := true;")],
        Scene::OneWell,
    ),
    one(
        "resource-taken-shared",
        &[("take_resources", ":= pg_try_advisory_lock(class", ":= pg_try_advisory_lock_shared(class")],
        Scene::OneWell,
    ),
    one("places-uncounted", &[("no_place_hint", ">= j.max_running", "> j.max_running + 9")], Scene::OnePlace),
    one(
        "keys-uncompared",
        &[("no_place_hint", "AND o.id <> j.id AND j.attempt = 0", "AND false")],
        Scene::OneKey,
    ),
    one(
        "prune-takes-the-present",
        &[("prune", "AND o.occurrence IS DISTINCT FROM this.occurrence", "")],
        Scene::PruneBegun,
    ),
    one(
        "begun-and-passed-over",
        &[("skip", "OR sexton.is_begun(j)", "OR j.attempt > 0")],
        Scene::TooLateForTheRest,
    ),
    one(
        "finish-row-unlocked",
        &[("finish", "AND run_id = p_run AND state = 'running' FOR NO KEY UPDATE", "AND run_id = p_run AND state = 'running'")],
        Scene::RunNowAtFinish,
    ),
    one("kill-row-unlocked", &[("kill", "WHERE k.id = j.id FOR NO KEY UPDATE", "WHERE k.id = j.id")], Scene::KillAtFinish),
    one(
        "cancel-given-back",
        &[("finish", "j.cancel_requested_at IS NOT NULL AND p_outcome IN", "false AND p_outcome IN")],
        Scene::CancelAndRelease,
    ),
    one(
        "cancel-dies-with-its-holder",
        &[("claim", "IF j.cancel_requested_at IS NOT NULL THEN", "IF false THEN")],
        Scene::CancelAndDie,
    ),
    one(
        "halt-without-touch",
        &[("pause_all", "WHERE j.state = 'running' AND", "WHERE false AND")],
        Scene::HaltAtCommit,
    ),
    one(
        "hold-without-touch",
        &[("hold_noted", "WHERE j.state = 'running'", "WHERE false")],
        Scene::HoldAtCommit,
    ),
    one("places-counted-unlocked", &[("lock_parent", "FOR NO KEY UPDATE", "")], Scene::OnePlaceAtOnce),
    client("fence-out-of-the-statement", Scene::FenceApart, Scene::BatchesInTransactions),
    client("cursor-in-another-transaction", Scene::CursorApart, Scene::BatchesInTransactions),
    client("batch-without-fence", Scene::NoFence, Scene::BatchesInTransactions),
    Mutant {
        patches: &[NO_SEQ, NO_COUNT],
        ..client("commit-trusted", Scene::CommitTrusted, Scene::BatchesInTransactions)
    },
];

const fn one(name: &'static str, patches: &'static [Patch], scene: Scene) -> Mutant {
    Mutant { name, patches, also: "", scene, control: scene }
}

const fn client(name: &'static str, scene: Scene, control: Scene) -> Mutant {
    Mutant { name, patches: &[], also: "", scene, control }
}

/// Runs the mutant's scene; what caught it, or an error that says why it was not caught.
pub async fn prove(server: &Server, mutant: &Mutant) -> Result<String> {
    let world = server.world().await?;
    let (history, ended) = play(&world, mutant.control).await?;
    ended.map_err(|error| format!("without the mutant, the scene failed: {error}"))?;
    if let Some(violation) = checker::check(&history).violations.first() {
        return Err(format!("without the mutant, the checker finds {violation}").into());
    }
    let world = server.world().await?;
    for patch in mutant.patches {
        apply(&world, patch).await?;
    }
    world.execute(mutant.also).await?;
    // Whether the scene ends well does not matter: a mutant may well break it half way.
    let (history, ended) = play(&world, mutant.scene).await?;
    match checker::check(&history).violations.first() {
        Some(violation) => Ok(violation.to_string()),
        None => Err(format!("survived: the checker finds nothing (scene: {ended:?})").into()),
    }
}

async fn play(world: &World, scene: Scene) -> Result<(History, Result<()>)> {
    let (ended, tokens) = scenes::play(world, scene).await;
    let mut history = History::read(world).await?;
    history.tokens = tokens;
    Ok((history, ended))
}

async fn apply(world: &World, (function, find, put): &Patch) -> Result<()> {
    let sql = "SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'sexton'::regnamespace AND p.proname = $1";
    let source: String = world.get(sql, &[function]).await?;
    if source.matches(find).count() != 1 {
        let count = source.matches(find).count();
        return Err(format!(
            "sexton.{function} has {count} times \"{find}\": the mutant must follow the protocol"
        )
        .into());
    }
    world.execute(&source.replace(find, put)).await
}
