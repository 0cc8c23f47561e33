//! `/metrics` in the Prometheus text format: requests, latencies, appends, batch sizes, lag.
//!
//! Recording costs a few atomic operations: the handles of each route are made once and kept.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use grantlog_projections::engine::node_name;
use grantlog_projections::status;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Mutex;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::operations::{Listener, Refusal, may_read, refused};
use crate::app::{App, with};
use crate::consequences;
use crate::oidc::backchannel::outbox;

/// When the TLS certificate expires, in Unix seconds; absent without one.
pub const TLS_NOT_AFTER: &str = "grantlog_tls_not_after_seconds";
/// Requests answered; labels `route` and `status`.
pub const HTTP_REQUESTS: &str = "grantlog_http_requests_total";
/// Seconds from the last header to the answer; label `route`.
pub const HTTP_SECONDS: &str = "grantlog_http_request_seconds";
/// Open connections.
pub const HTTP_CONNECTIONS: &str = "grantlog_http_connections";
/// Connections that were closed at once because their address had too many.
pub const HTTP_CONNECTIONS_REFUSED: &str = "grantlog_http_connections_refused_total";
/// Handlers that panicked; each was answered 500.
pub const HTTP_PANICS: &str = "grantlog_http_panics_total";
/// Appends by outcome; label `outcome`: appended, conflict, busy, failed.
pub const APPENDS: &str = "grantlog_appends_total";
/// Seconds from the queue to the durable answer.
pub const APPEND_SECONDS: &str = "grantlog_append_seconds";
/// Appends joined into one transaction.
pub const APPEND_BATCH: &str = "grantlog_append_batch_size";
/// Seconds since the live models last read the feed to its end.
pub const LIVE_STALENESS: &str = "grantlog_live_staleness_seconds";
/// Events between a projection's checkpoint and the end of the log; label `projection`.
pub const PROJECTION_LAG_EVENTS: &str = "grantlog_projection_lag_events";
/// Seconds by which a projection is behind; label `projection`.
pub const PROJECTION_LAG_SECONDS: &str = "grantlog_projection_lag_seconds";
/// Aggregates that a projection holds in quarantine; label `projection`.
pub const PROJECTION_POISON: &str = "grantlog_projection_poison";

/// The position of a projection's checkpoint; label `projection`.
pub const PROJECTION_POSITION: &str = "grantlog_projection_position";
/// 1 for a projection that stops before an event of a newer version; label `projection`.
pub const PROJECTION_STOPPED: &str = "grantlog_projection_stopped";
/// Tables that this process keeps and cannot go on with.
pub const PROJECTIONS_FAILING: &str = "grantlog_projections_failing";
/// 1 when the last attempt of this process to keep the tables failed, for all of them or for some.
pub const PROJECTOR_ERROR: &str = "grantlog_projector_error";
/// The greatest position in the log.
pub const LOG_POSITION: &str = "grantlog_log_position";
/// Age of the oldest transaction that can hold the tables back; 0 when there is none or it cannot be seen.
pub const OLDEST_WRITE_SECONDS: &str = "grantlog_oldest_write_seconds";
/// The greatest position that the live models have seen.
pub const LIVE_POSITION: &str = "grantlog_live_position";
/// Positions that the live models wait for: given, and not visible yet.
pub const LIVE_GAPS: &str = "grantlog_live_gaps";
/// Events that the live models could not read since the start.
pub const LIVE_POISON: &str = "grantlog_live_poison_total";
/// Events that this process met and nobody decided; one that is met again counts again.
pub const FORGED_EVENTS: &str = "grantlog_forged_events_total";
/// 1 when the live models have stopped before an event of a newer version.
pub const LIVE_STOPPED: &str = "grantlog_live_stopped";
/// Seconds for which new grants have a partition already (PostgreSQL).
pub const PARTITIONS_AHEAD_SECONDS: &str = "grantlog_partitions_ahead_seconds";
/// The place in the log up to which what follows from disabled clients and users has been done.
pub const CONSEQUENCES_POSITION: &str = "grantlog_consequences_position";
/// Seconds since the oldest event was recorded that was not looked at for what follows from it.
pub const CONSEQUENCES_LAG_SECONDS: &str = "grantlog_consequences_lag_seconds";
/// Damaged grants and sessions that were passed over.
pub const CONSEQUENCES_DAMAGED: &str = "grantlog_consequences_damaged_total";

/// Questions to servers of clients; label `outcome`: answered, refused, busy, timed_out, failed.
pub const REMOTE_REQUESTS: &str = "grantlog_remote_requests_total";
/// Seconds that they took.
pub const REMOTE_SECONDS: &str = "grantlog_remote_request_seconds";
/// 1 for a projection that this process keeps, 0 for one that another keeps or nobody; label `projection`.
pub const PROJECTION_KEPT: &str = "grantlog_projection_kept";

/// Attempts to tell a client that a session has ended; label `outcome`: delivered, refused, failed, given_up, gone.
pub const LOGOUT_DELIVERIES: &str = "grantlog_logout_deliveries_total";
/// Clients that are still to be told.
pub const LOGOUT_PENDING: &str = "grantlog_logout_deliveries_pending";
/// Deliveries that were given up in the last days.
pub const LOGOUT_GIVEN_UP: &str = "grantlog_logout_deliveries_given_up";

const SECONDS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1000.0];

/// Installs the recorder of this process. Once, before the first handle is made.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full(APPEND_BATCH.into()), BATCHES)?
        .install_recorder()?;
    describe_counter!(HTTP_REQUESTS, "Requests answered, by route and status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "From the last header to the answer, by route");
    describe_gauge!(TLS_NOT_AFTER, Unit::Seconds, "When the TLS certificate expires, in Unix time");
    describe_gauge!(HTTP_CONNECTIONS, "Open connections");
    describe_counter!(HTTP_CONNECTIONS_REFUSED, "Connections closed because their address had too many");
    describe_counter!(HTTP_PANICS, "Handlers that panicked and were answered 500");
    describe_counter!(APPENDS, "Appends to the event log, by outcome");
    describe_histogram!(APPEND_SECONDS, Unit::Seconds, "From the queue to the durable answer");
    describe_histogram!(APPEND_BATCH, "Appends joined into one transaction");
    describe_gauge!(LIVE_STALENESS, Unit::Seconds, "Since the live models last read the feed to its end");
    describe_gauge!(PROJECTION_LAG_EVENTS, "Events between a projection's checkpoint and the end of the log");
    describe_gauge!(PROJECTION_LAG_SECONDS, Unit::Seconds, "By which a projection is behind");
    describe_gauge!(PROJECTION_POISON, "Aggregates in quarantine, by projection");
    describe_gauge!(PROJECTION_POSITION, "Position of a projection's checkpoint");
    describe_gauge!(PROJECTION_STOPPED, "Whether a projection stops before an event of a newer version");
    describe_gauge!(PROJECTIONS_FAILING, "Tables that this process keeps and cannot go on with");
    describe_gauge!(PROJECTOR_ERROR, "Whether this process cannot keep all tables that it should");
    describe_gauge!(LOG_POSITION, "The greatest position in the log");
    describe_gauge!(OLDEST_WRITE_SECONDS, Unit::Seconds, "Age of the oldest transaction that can hold the tables back");
    describe_gauge!(LIVE_POSITION, "The greatest position that the live models have seen");
    describe_gauge!(LIVE_GAPS, "Positions that the live models wait for");
    describe_counter!(LIVE_POISON, "Events that the live models could not read");
    describe_counter!(FORGED_EVENTS, "Events met that were written into the database by somebody else");
    describe_gauge!(LIVE_STOPPED, "Whether the live models have stopped before an event of a newer version");
    describe_gauge!(PARTITIONS_AHEAD_SECONDS, Unit::Seconds, "For which new grants have a partition already");
    describe_gauge!(CONSEQUENCES_POSITION, "Up to where what follows from disabled clients and users has been done");
    describe_gauge!(CONSEQUENCES_LAG_SECONDS, Unit::Seconds, "By which what follows from them is behind");
    describe_counter!(CONSEQUENCES_DAMAGED, "Damaged grants and sessions that were passed over");
    describe_counter!(REMOTE_REQUESTS, "Questions to servers of clients, by outcome");
    describe_histogram!(REMOTE_SECONDS, Unit::Seconds, "From the question to the end of the answer");
    describe_gauge!(PROJECTION_KEPT, "Whether this process keeps the projection");
    describe_counter!(LOGOUT_DELIVERIES, "Attempts to tell a client that a session has ended, by outcome");
    describe_gauge!(LOGOUT_PENDING, "Clients that are still to be told that a session has ended");
    describe_gauge!(LOGOUT_GIVEN_UP, "Clients that could not be told that a session has ended");
    Ok(handle)
}

/// `GET /metrics`.
pub(super) fn route(app: &App, handle: PrometheusHandle, listener: Listener) -> BoxedFilter<(Response,)> {
    let measured = Arc::new(Mutex::new(None));
    warp::path!("metrics")
        .and(warp::get())
        .and(with(app))
        .and(may_read(app, listener))
        .then(move |app: App, may_read: Result<(), Refusal>| {
            let (handle, measured) = (handle.clone(), Arc::clone(&measured));
            async move {
                if let Err(refusal) = may_read {
                    return refused(refusal);
                }
                measure(&app, &measured).await;
                let mut response = Response::new(handle.render().into());
                response.headers_mut().insert(CONTENT_TYPE, TEXT_FORMAT);
                response
            }
        })
        .boxed()
}

/// Least time between two looks at the database for the lag, however often the metrics are asked for.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Looks how far the read models are. A database that does not answer in time leaves the last values.
async fn measure(app: &App, measured: &Mutex<Option<Instant>>) {
    measure_process(app);
    let Ok(mut last) = measured.try_lock() else { return };
    if last.is_some_and(|last| last.elapsed() < MEASURE_EVERY) {
        return;
    }
    let status = tokio::time::timeout(MEASURE_EVERY, status::read(app.store.log(), app.now())).await;
    if let Ok(Ok(status)) = status {
        gauge!(LOG_POSITION).set(status.end as f64);
        gauge!(OLDEST_WRITE_SECONDS).set(status.oldest_write_seconds.unwrap_or(0) as f64);
        for table in status.tables.into_iter().filter(|table| table.active) {
            gauge!(PROJECTION_LAG_EVENTS, "projection" => table.name.clone()).set(table.lag_events as f64);
            gauge!(PROJECTION_LAG_SECONDS, "projection" => table.name.clone()).set(table.lag_seconds as f64);
            gauge!(PROJECTION_POSITION, "projection" => table.name.clone()).set(table.position as f64);
            gauge!(PROJECTION_STOPPED, "projection" => table.name.clone()).set(flag(table.stopped.is_some()));
            // On SQLite whoever serves keeps all of them.
            let kept = !app.store.db().is_postgres() || table.keeper.is_some_and(|keeper| keeper == node_name());
            gauge!(PROJECTION_KEPT, "projection" => table.name.clone()).set(flag(kept));
            gauge!(PROJECTION_POISON, "projection" => table.name).set(table.poison as f64);
        }
    }
    let standing = tokio::time::timeout(MEASURE_EVERY, consequences::standing(&app.store, app.now())).await;
    if let Ok(Ok(standing)) = standing {
        gauge!(CONSEQUENCES_POSITION).set(standing.position as f64);
        gauge!(CONSEQUENCES_LAG_SECONDS).set(standing.lag_seconds as f64);
    }
    let counts = tokio::time::timeout(MEASURE_EVERY, outbox::counts(app.store.db())).await;
    if let Ok(Ok((pending, given_up))) = counts {
        gauge!(LOGOUT_PENDING).set(pending as f64);
        gauge!(LOGOUT_GIVEN_UP).set(given_up as f64);
    }
    if let Ok(Ok(Some(seconds))) = tokio::time::timeout(MEASURE_EVERY, app.store.partitions_ahead_seconds()).await {
        gauge!(PARTITIONS_AHEAD_SECONDS).set(seconds as f64);
    }
    *last = Some(Instant::now());
}

/// What this process knows without asking anybody.
fn measure_process(app: &App) {
    let (live, projector) = (app.live.feed_status(), app.projector());
    gauge!(LIVE_STALENESS).set(live.staleness.as_secs_f64());
    gauge!(LIVE_POSITION).set(live.position as f64);
    gauge!(LIVE_GAPS).set(live.gaps as f64);
    gauge!(LIVE_STOPPED).set(flag(live.stopped.is_some()));
    counter!(LIVE_POISON).absolute(live.poison);
    counter!(FORGED_EVENTS).absolute(app.store.log().forged());
    gauge!(PROJECTIONS_FAILING).set(projector.failing as f64);
    gauge!(PROJECTOR_ERROR).set(flag(projector.error.is_some() || projector.stopped.is_some()));
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

/// Prometheus text format.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// How often recorded values are folded into their buckets; until then each takes 8 bytes.
const UPKEEP: Duration = Duration::from_secs(1);

/// Folds recorded values for ever, so that memory stays flat when nobody asks for `/metrics`.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}

/// Route patterns as they appear in the label `route`. A last `*` stands for what is below; any other path is `other`, so
/// that callers cannot make labels.
const ROUTES: &[&str] = &[
    "/oauth/introspect",
    "/oauth/token",
    "/oauth/authorize",
    "/oauth/revoke",
    "/oauth/userinfo",
    "/oauth/jwks",
    "/oauth/logout",
    "/oauth/check_session",
    "/oauth/register",
    "/api/me",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/",
    "/login",
    "/logout",
    "/accounts",
    "/create_client",
    "/clients/*",
    "/account",
    "/account/*",
    "/assets/*",
    "/demo",
    "/demo/*",
    "/health/live",
    "/health/ready",
    "/metrics",
    "other",
];

/// Statuses with an own label; the rest is `other`.
const STATUSES: &[u16] =
    &[200, 201, 204, 302, 303, 304, 400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 431, 500, 501, 502, 503, 0];

/// The handles of every route.
pub struct HttpMetrics(Vec<RouteMetrics>);

struct RouteMetrics {
    route: &'static str,
    seconds: OnceLock<Histogram>,
    statuses: Vec<OnceLock<Counter>>,
}

impl HttpMetrics {
    pub fn new() -> Arc<Self> {
        let route = |route: &&'static str| RouteMetrics {
            route,
            seconds: OnceLock::new(),
            statuses: STATUSES.iter().map(|_| OnceLock::new()).collect(),
        };
        Arc::new(HttpMetrics(ROUTES.iter().map(route).collect()))
    }

    /// Counts one answer.
    pub(super) fn record(&self, route: RouteIndex, status: StatusCode, elapsed: Duration) {
        let metrics = &self.0[route.0];
        let status = status.as_u16();
        let index = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let label = || if STATUSES[index] == 0 { "other".to_owned() } else { status.to_string() };
        metrics.statuses[index]
            .get_or_init(|| counter!(HTTP_REQUESTS, "route" => metrics.route, "status" => label()))
            .increment(1);
        metrics.seconds.get_or_init(|| histogram!(HTTP_SECONDS, "route" => metrics.route)).record(elapsed);
    }
}

/// Which of [`ROUTES`] a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RouteIndex(usize);

impl RouteIndex {
    pub(super) fn of(path: &str) -> Self {
        let matches = |route: &&str| match route.strip_suffix('*') {
            Some(prefix) => path.strip_prefix(prefix).is_some_and(|id| !id.is_empty()),
            None => *route == path,
        };
        RouteIndex(ROUTES.iter().position(matches).unwrap_or(ROUTES.len() - 1))
    }

    pub(super) fn pattern(self) -> &'static str {
        ROUTES[self.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_under_its_pattern() {
        let pattern = |path: &str| RouteIndex::of(path).pattern();
        assert_eq!(pattern("/oauth/token"), "/oauth/token");
        assert_eq!(pattern("/clients/0198f3f0-0000-7000-8000-000000000000"), "/clients/*");
        assert_eq!(pattern("/clients/"), "other");
        assert_eq!(pattern("/oauth/token/.env"), "other");
        assert_eq!(pattern(""), "other");
    }
}
