//! Health: `/health/live` (the process answers) and `/health/ready` (it can do its work, and if not, why). Why it cannot hears
//! who may read the metrics too; a load balancer hears whether.
//!
//! Ready means that tokens can be given and asked about. Tables that stand still are shown, and do not take a node out of
//! service: it answers from memory, another one would stand no better, and what is ended is ended past the tables.

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::operations::{Listener, Refusal, may_read};
use crate::app::{App, with};

/// How long the database may take to answer the probe.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Both endpoints, for GET and HEAD.
pub(super) fn routes(app: &App, listener: Listener) -> BoxedFilter<(Response,)> {
    let read = || warp::get().or(warp::head()).unify();
    let live = warp::path!("health" / "live").and(read()).map(|| answer(&Health { ready: true, checks: None }));
    let ready = warp::path!("health" / "ready").and(read()).and(with(app)).and(may_read(app, listener)).then(
        async |app: App, may_read: Result<(), Refusal>| {
            let health = Health::of(vec![database(&app).await, read_models(&app), tables(&app)]);
            answer(&if may_read.is_ok() { health } else { Health { checks: None, ..health } })
        },
    );
    live.or(ready).unify().map(Reply::into_response).boxed()
}

#[derive(Debug, Serialize)]
struct Health {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

/// One thing that the server needs.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// Whether the server is not ready without it.
    needed: bool,
    /// What is wrong; without names of hosts or users.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Age of what the read models know.
    #[serde(skip_serializing_if = "Option::is_none")]
    staleness_ms: Option<u64>,
}

impl Health {
    fn of(checks: Vec<Check>) -> Self {
        Health { ready: checks.iter().all(|check| check.ok || !check.needed), checks: Some(checks) }
    }
}

async fn database(app: &App) -> Check {
    let probe = tokio::time::timeout(DATABASE_TIMEOUT, app.store.db().fetch("SELECT 1", &[])).await;
    let reason = match probe {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database does not answer the probe");
            Some("the database is not available")
        }
        Err(_) => Some("the database does not answer in time"),
    };
    Check { name: "database", ok: reason.is_none(), needed: true, reason, staleness_ms: None }
}

fn read_models(app: &App) -> Check {
    let status = app.live.feed_status();
    let reason = match status {
        _ if status.stopped.is_some() => Some("the log holds events of a newer version"),
        _ if !status.ready => Some("the read models are not loaded yet"),
        _ if status.staleness > app.settings.store.max_staleness => Some("the read models are too old"),
        _ => None,
    };
    let staleness_ms = u64::try_from(status.staleness.as_millis()).ok();
    Check { name: "read_models", ok: reason.is_none(), needed: true, reason, staleness_ms }
}

/// The tables that this process keeps.
fn tables(app: &App) -> Check {
    let status = app.projector();
    let reason = match status {
        _ if status.stopped.is_some() => Some("the log holds events of a newer version"),
        _ if status.failing > 0 => Some("a table of the read models cannot go on"),
        _ if status.error.is_some() => Some("the tables of the read models cannot go on"),
        _ => None,
    };
    Check { name: "tables", ok: reason.is_none(), needed: false, reason, staleness_ms: None }
}

fn answer(health: &Health) -> Response {
    let body = serde_json::to_string(health).unwrap_or_default();
    let mut response = Response::new((body + "\n").into());
    *response.status_mut() = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
