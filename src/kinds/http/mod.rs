//! The kind `http`: calls an endpoint, and keeps what it answered.
//!
//! The effect is outside the database, so it happens at most once at a time and at least once: the run's session is kept
//! and asked while the call is under way, the end of the run records the answer, and a crash between the two repeats the
//! call with the same `Idempotency-Key`. What is easy to get wrong: an answer that is no success must be kept too, since
//! somebody will want to read it; so such a run ends with its details and not with an error alone.

mod params;

use serde_json::{Map, Value, json};

use self::params::Params;
use crate::{
    error::{Error, ErrorKind},
    kind::{Description, Kind, Mode, Nature, Need, ParamError, Report, RunContext, Stop, Stopped},
    outside::{
        Outside,
        http::{Answer, Call, Class},
    },
};

/// See the module.
#[derive(Clone, Debug)]
pub struct Http {
    outside: Outside,
}

impl Http {
    /// Calls by what the replica knows locally.
    pub fn new(outside: Outside) -> Self {
        Http { outside }
    }
}

impl Kind for Http {
    type Params = Params;

    fn name(&self) -> &'static str {
        "http"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Calls an HTTP endpoint and keeps its answer; pauses itself after five failures in a row.",
            nature: Nature::Outside,
            params: params::TABLE,
            example: params::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    fn needs(&self, params: &Params) -> Vec<Need> {
        params.needs()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let call = params.call(context.idempotency_key("call"), context.token());
        let mut details = told_before(context, &params, &call);
        if context.mode() == Mode::Dry {
            details.insert("would_call".to_owned(), true.into());
            return Ok(Report { details, ..Report::new(Stopped::Drained) });
        }
        // One state of the local file for the whole call.
        let client = self.outside.http().map_err(refused)?;
        let answer = context.see_through(client.send(&call)).await?.map_err(refused)?;
        told_after(&mut details, &answer);
        tracing::debug!(job = context.job(), class = %answer.class, status = answer.status, "http.answered");
        if answer.class != Class::Ok {
            let why = answer.error.unwrap_or_else(|| answer.class.to_string());
            let error =
                Error::new(ErrorKind::Outside, format!("{} {}: {why}", call.method.as_str(), params.place()));
            return Err(Stop::Unexpected { error, details });
        }
        Ok(Report { details, ..Report::new(Stopped::Drained) })
    }
}

/// The replica's own rules do not let the call go out: nothing was sent.
fn refused(error: Error) -> Stop {
    Stop::Refused {
        reason: error.to_string(),
        remedy: error.remedy().map(str::to_owned),
        details: Map::new(),
    }
}

fn told_before(context: &RunContext, params: &Params, call: &Call) -> Map<String, Value> {
    let late = context.now().duration_since(context.occurrence());
    let told = json!({
        "method": call.method,
        "to": params.place(),
        "idempotency_key": call.idempotency_key,
        "late_by_ms": i64::try_from(late.as_millis()).unwrap_or(i64::MAX).max(0),
    });
    told.as_object().cloned().unwrap_or_default()
}

fn told_after(details: &mut Map<String, Value>, answer: &Answer) {
    let headers: Vec<Value> = answer.headers.iter().map(|(name, value)| json!([name, value])).collect();
    let told = json!({
        "class": answer.class,
        "status": answer.status,
        "headers": headers,
        "body": answer.body,
        "body_bytes": answer.body_bytes,
        "body_goes_on": answer.more,
        "duration_ms": u64::try_from(answer.duration.as_millis()).unwrap_or(u64::MAX),
        "retry_after_s": answer.retry_after.map(|wait| wait.as_secs()),
    });
    details.extend(told.as_object().cloned().unwrap_or_default());
}
