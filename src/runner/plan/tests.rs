//! Tests of planning, which is pure: a snapshot in, decisions and a sleep out.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::{
    kind::{Description, Kind, ParamError, Report, RunContext, Stop, Stopped},
    protocol::claim::Candidate,
};

/// A kind of this nature that takes `{"rows": 1…}`.
struct Sample(&'static str, Nature);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(default = "one")]
    rows: u64,
}

fn one() -> u64 {
    1
}

impl Kind for Sample {
    type Params = Params;

    fn name(&self) -> &'static str {
        self.0
    }

    fn describe(&self) -> Description {
        Description { summary: "A sample.", nature: self.1, params: &[], example: "" }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        if params.rows == 0 { Err(ParamError::new("rows", "is 0")) } else { Ok(()) }
    }

    async fn run(&self, _: &mut RunContext, _: Params) -> Result<Report, Stop> {
        Ok(Report::new(Stopped::Drained))
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add(Sample("plain", Nature::Database));
    registry.add(Sample("deletes", Nature::Destructive));
    registry.add(Sample("calls", Nature::Outside));
    registry
}

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn ago(seconds: i64) -> Timestamp {
    NOW - SignedDuration::from_secs(seconds)
}

/// A job of the kind `plain`, every hour, due a second ago.
fn job(id: i64, need: Need) -> Job {
    Job {
        need,
        candidate: Candidate {
            job_id: id,
            job_name: format!("job-{id}"),
            lock_id: 1,
            version: 7,
            revision: 1,
            parent_id: None,
            search_path: None,
            target_name: None,
            target_oid: None,
        },
        kind: "plain".to_owned(),
        params: json!({}),
        schedule: columns("every 1h", "once"),
        timeout: SignedDuration::from_hours(6),
        planned: need != Need::Plan,
        plan_from: None,
        last_scheduled_at: None,
        occurrence: Some(ago(1)),
        origin: Some(Origin::Schedule),
        begun: false,
        priority: 0,
        turn: 0,
        run_options: json!({}),
        inputs: json!({}),
        run_as: None,
        database: None,
        armed: true,
        needs: Vec::new(),
    }
}

fn columns(text: &str, missed: &str) -> ScheduleColumns {
    ScheduleColumns {
        text: text.to_owned(),
        time_zone: "UTC".to_owned(),
        missed: missed.to_owned(),
        max_lateness: None,
        jitter: SignedDuration::ZERO,
    }
}

fn snapshot(jobs: Vec<Job>) -> Snapshot {
    Snapshot { jobs, now: NOW, next_due_at: None, runs_elsewhere: false, halted: false, adopt_needed: false }
}

fn planned_from(snapshot: Snapshot, busy: &[i64]) -> Plan {
    let busy = busy.iter().copied().collect();
    let circumstances = Circumstances { registry: &registry(), install_id: Uuid::nil(), busy: &busy };
    plan(snapshot, &circumstances, &mut fastrand::Rng::with_seed(1))
}

fn claims(plan: &Plan) -> Vec<i64> {
    plan.claims.iter().map(|job| job.candidate.job_id).collect()
}

#[test]
fn with_nothing_to_do_a_replica_sleeps_for_half_a_minute() {
    assert_eq!(planned_from(snapshot(vec![]), &[]).sleep, Duration::from_secs(30));
}

#[test]
fn it_sleeps_until_the_next_due_time_and_a_little_longer() {
    let soon = Snapshot { next_due_at: Some(NOW + SignedDuration::from_secs(7)), ..snapshot(vec![]) };
    let sleep = planned_from(soon, &[]).sleep;
    assert!(sleep > Duration::from_secs(7) && sleep < Duration::from_millis(7010), "{sleep:?}");
    let late = Snapshot { next_due_at: Some(NOW + SignedDuration::from_hours(7)), ..snapshot(vec![]) };
    assert_eq!(planned_from(late, &[]).sleep, Duration::from_secs(30));
    let past = Snapshot { next_due_at: Some(ago(5)), ..snapshot(vec![]) };
    assert!(planned_from(past, &[]).sleep < Duration::from_millis(10), "what came due meanwhile");
}

#[test]
fn while_something_runs_elsewhere_it_looks_each_second() {
    let poll = Duration::from_millis(800)..=Duration::from_secs(1);
    let elsewhere = Snapshot { runs_elsewhere: true, ..snapshot(vec![]) };
    assert!(poll.contains(&planned_from(elsewhere, &[]).sleep));
    let tries = snapshot(vec![job(1, Need::Run)]);
    assert!(poll.contains(&planned_from(tries, &[]).sleep), "a try may be lost to one that then dies");
    let sooner = Snapshot {
        runs_elsewhere: true,
        next_due_at: Some(NOW + SignedDuration::from_millis(100)),
        ..snapshot(vec![])
    };
    assert!(planned_from(sooner, &[]).sleep < Duration::from_millis(200));
}

#[test]
fn what_it_decides_it_looks_at_again_at_once() {
    let plan = planned_from(snapshot(vec![job(1, Need::Plan)]), &[]);
    assert_eq!(plan.sleep, Duration::ZERO);
    assert!(matches!(&plan.decisions[..], [Decision::Plan(_, next)] if next.scheduled_at > Some(NOW)));
    assert!(plan.claims.is_empty());
}

#[test]
fn recoveries_come_first_then_priority_and_equals_are_shuffled() {
    let mut jobs: Vec<Job> = (1..=40).map(|id| job(id, Need::Run)).collect();
    jobs[30].priority = 5;
    jobs.push(Job { priority: -9, ..job(50, Need::Recover) });
    let order = claims(&planned_from(snapshot(jobs), &[]));
    assert_eq!(order[..2], [50, 31]);
    let rest = &order[2..];
    assert!(!rest.is_sorted(), "in another order than they came");
    assert_eq!(rest.len(), 39);
}

#[test]
fn what_it_is_at_work_on_it_does_not_try_again() {
    let jobs = vec![job(1, Need::Run), job(2, Need::Run), job(3, Need::Recover)];
    assert_eq!(claims(&planned_from(snapshot(jobs), &[1, 3])), [2]);
}

#[test]
fn what_would_be_barred_is_not_tried() {
    let of = |id: i64, kind: &str| Job { kind: kind.to_owned(), ..job(id, Need::Run) };
    let all = || {
        let dry = Job { run_options: json!({"dry_run": true}), ..of(4, "deletes") };
        let disarmed = Job { armed: false, ..of(5, "deletes") };
        vec![of(1, "plain"), of(2, "deletes"), of(3, "calls"), dry, disarmed, of(6, "not known here")]
    };
    let tried = |snapshot: Snapshot| {
        let mut tried = claims(&planned_from(snapshot, &[]));
        tried.sort_unstable();
        tried
    };
    assert_eq!(tried(snapshot(all())), [1, 2, 3, 4, 5]);
    assert_eq!(tried(Snapshot { halted: true, ..snapshot(all()) }), [1, 3, 4, 5]);
    assert_eq!(tried(Snapshot { adopt_needed: true, ..snapshot(all()) }), [1, 4, 5]);
}

#[test]
fn a_definition_is_rejected_with_the_path_of_what_is_wrong() {
    let reason = |params: Value, schedule: &str| {
        let job = Job { params, schedule: columns(schedule, "once"), ..job(1, Need::Plan) };
        match &planned_from(snapshot(vec![job]), &[]).decisions[..] {
            [Decision::Reject(_, reason)] => reason.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason(json!({"rows": 0}), "manual"), "params.rows: is 0");
    assert!(reason(json!({"rows": "x"}), "manual").starts_with("params.rows: "));
    assert!(reason(json!({"row": 1}), "manual").contains("row"));
    assert!(reason(json!({}), "0 0 31 2 *").contains("never comes"));
}

#[test]
fn a_new_revision_under_an_old_plan_is_accepted_and_not_planned_anew() {
    let job = Job { planned: true, ..job(1, Need::Plan) };
    let plan = planned_from(snapshot(vec![job]), &[]);
    assert!(matches!(&plan.decisions[..], [Decision::Accept(_)]));
}

#[test]
fn planning_after_a_settlement_counts_what_passed_and_a_new_schedule_counts_nothing() {
    let next = |plan_from: Option<Timestamp>| {
        let job = Job { plan_from, ..job(1, Need::Plan) };
        match &planned_from(snapshot(vec![job]), &[]).decisions[..] {
            [Decision::Plan(_, next)] => *next,
            other => panic!("{other:?}"),
        }
    };
    let counted = next(Some(ago(5 * 3600 + 60)));
    assert_eq!((counted.coalesced, counted.scheduled_at), (5, Some(NOW + SignedDuration::from_secs(3540))));
    let new = next(None);
    assert_eq!((new.coalesced, new.scheduled_at), (0, Some(NOW + SignedDuration::from_hours(1))));
}

#[test]
fn an_occurrence_that_is_too_late_is_skipped_but_no_retry_and_no_extra_one() {
    let late =
        || Job { schedule: columns("every 1h", "skip"), occurrence: Some(ago(600)), ..job(1, Need::Run) };
    let plan = planned_from(snapshot(vec![late()]), &[]);
    assert!(matches!(&plan.decisions[..], [Decision::Skip(_, next)] if next.coalesced == 1));
    assert!(plan.claims.is_empty());
    for begun in [Job { begun: true, ..late() }, Job { origin: Some(Origin::Extra), ..late() }] {
        let plan = planned_from(snapshot(vec![begun]), &[]);
        assert!(plan.decisions.is_empty());
        assert_eq!(claims(&plan), [1]);
    }
}

#[test]
fn jitter_is_no_lateness() {
    let jitter = SignedDuration::from_mins(20);
    let share = Seed::new(Uuid::nil(), "job-1").jitter(jitter);
    assert!(share > SignedDuration::from_mins(2), "more than the minute that skip allows: {share}");
    let late_by = |seconds: i64| {
        let mut late = job(1, Need::Run);
        late.schedule = columns("every 1h", "skip");
        late.schedule.jitter = jitter;
        late.occurrence = Some(NOW - share - SignedDuration::from_secs(seconds));
        claims(&planned_from(snapshot(vec![late]), &[]))
    };
    assert_eq!(late_by(59), [1]);
    assert!(late_by(61).is_empty());
}

/// A run of this origin that ends now, ten minutes after the instant that it was for.
fn basis(text: &str, origin: Origin) -> Basis {
    Basis {
        now: NOW,
        schedule: columns(text, "once"),
        planned: true,
        scheduled_at: Some(ago(600)),
        occurrence: Some(ago(600)),
        origin: Some(origin),
        backoff: SignedDuration::from_secs(30),
        backoff_max: SignedDuration::from_secs(300),
        resume_after: SignedDuration::from_secs(60),
        attempt: 1,
    }
}

fn after(basis: &Basis, come_back: ComeBack) -> Next {
    let seed = Seed::new(Uuid::nil(), "job");
    after_run(basis, &seed, come_back, &mut fastrand::Rng::with_seed(1))
}

#[test]
fn the_next_instant_follows_from_the_last_one_and_not_from_now() {
    let next = after(&basis("every 1h", Origin::Schedule), ComeBack::Regularly);
    assert_eq!((next.scheduled_at, next.coalesced), (Some(NOW + SignedDuration::from_secs(3000)), 0));
    assert_eq!(next.due_at, next.scheduled_at);
}

#[test]
fn after_an_extra_occurrence_the_grid_stands_unless_it_follows_the_last_run() {
    let extra =
        Basis { scheduled_at: Some(NOW + SignedDuration::from_secs(5)), ..basis("every 1h", Origin::Extra) };
    assert_eq!(after(&extra, ComeBack::Regularly).scheduled_at, extra.scheduled_at);
    let follows = Basis { schedule: columns("after 45m", "once"), ..extra };
    let next = after(&follows, ComeBack::Regularly);
    assert_eq!(next.scheduled_at, Some(NOW + SignedDuration::from_mins(45)));
}

#[test]
fn a_run_that_wants_to_come_back_does_so_after_resume_after() {
    let next = after(&basis("every 1h", Origin::Schedule), ComeBack::Soon);
    assert_eq!(next.resume_at, Some(NOW + SignedDuration::from_secs(60)));
    assert_eq!(after(&basis("every 1h", Origin::Schedule), ComeBack::Regularly).resume_at, None);
}

#[test]
fn the_backoff_doubles_up_to_its_bound_and_never_overflows() {
    for (attempt, seconds) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (1000, 300), (i32::MAX, 300)] {
        let basis = Basis { attempt, ..basis("manual", Origin::Extra) };
        let wait = after(&basis, ComeBack::Regularly).retry_after;
        let least = Duration::from_secs(seconds);
        assert!(wait >= least && wait <= least.mul_f64(1.25), "{attempt}: {wait:?}");
    }
}
