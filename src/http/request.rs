//! What happens around every request: id, deadline, body limit, panic, metrics, log.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{Request, StatusCode};
use http_body_util::Limited;
use hyper::body::Incoming;
use metrics::counter;
use tokio::time::error::Elapsed;
use tracing::Instrument;
use warp::reply::Response;

use super::cross_origin;
use super::failure::Failure;
use super::hosts::Hosts;
use super::metrics::{HTTP_PANICS, HttpMetrics, RouteIndex};
use super::mount::Mount;
use super::request_id::{RequestContext, RequestIds, X_REQUEST_ID};
use super::routes::{Manner, Routes};
use crate::config::{HttpSettings, TrustedProxies};

/// The body as handlers see it: reading past `http.body_bytes` is an error.
pub type RequestBody = Limited<Incoming>;

/// What all requests share.
pub struct Surroundings {
    pub(super) ids: RequestIds,
    pub(super) metrics: Arc<HttpMetrics>,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) headers: usize,
    pub(super) body_bytes: usize,
    pub(super) request_timeout: Duration,
}

impl Surroundings {
    /// `process`: see [`RequestIds::new`].
    pub fn new(settings: &HttpSettings, process: u32) -> Self {
        Surroundings {
            ids: RequestIds::new(process),
            metrics: HttpMetrics::new(),
            trusted_proxies: settings.trusted_proxies.clone(),
            headers: settings.headers,
            body_bytes: settings.body_bytes,
            request_timeout: settings.request_timeout,
        }
    }
}

/// What the requests of one connection share.
pub(super) struct Connection {
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) routes: Arc<Routes>,
    pub(super) hosts: Arc<Hosts>,
    pub(super) mount: Arc<Mount>,
    pub(super) peer: IpAddr,
}

/// Answers one request. Never fails, never panics; every answer carries `x-request-id`.
pub(super) async fn answer(
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let started = Instant::now();
    let surroundings = &*connection.surroundings;
    let (ids, proxies) = (&surroundings.ids, &surroundings.trusted_proxies);
    let context = RequestContext::new(ids, proxies, connection.peer, request.headers());
    let is_inside = connection.mount.enter(&mut request);
    let path = request.uri().path();
    let (counted, manner) = (RouteIndex::of(path), connection.routes.manner(path));
    // The path, never the query: that may hold what should not be in a log.
    let span = tracing::debug_span!(
        target: "grantlog::http",
        "request",
        id = context.id.as_str(),
        method = request.method().as_str(),
        route = counted.pattern()
    );
    let id = context.id.header();
    let answering = async {
        match is_inside {
            true => respond(&connection, manner, context, request).await,
            false => closing((manner.failed)(Failure::Elsewhere)),
        }
    };
    // At the default level nobody sees the span, and nothing is wrapped.
    let mut response =
        if span.is_disabled() { answering.await } else { Box::pin(answering).instrument(span.clone()).await };
    connection.mount.leave(response.headers_mut());
    response.headers_mut().insert(X_REQUEST_ID, id);
    // Of every kind of answer: what is JSON is not to be read as a page.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if manner.any_origin {
        cross_origin::allow(response.headers_mut());
    }

    let elapsed = started.elapsed();
    surroundings.metrics.record(counted, response.status(), elapsed);
    span.in_scope(|| log(&response, counted, elapsed));
    Ok(response)
}

/// One line per request at `debug`, in a span of its own; failures of ours at `error`. The event log is the audit
/// trail, not this: at the default level a request that went well costs nothing here.
fn log(response: &Response, route: RouteIndex, elapsed: Duration) {
    let (status, milliseconds) = (response.status(), elapsed.as_secs_f64() * 1000.0);
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        let id = response.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
        let route = route.pattern();
        tracing::error!(target: "grantlog::http", id, route, status = status.as_u16(), milliseconds, "failed");
    } else {
        tracing::debug!(target: "grantlog::http", status = status.as_u16(), milliseconds, "answered");
    }
}

async fn respond(
    connection: &Connection,
    manner: Manner,
    context: RequestContext,
    request: Request<Incoming>,
) -> Response {
    let surroundings = &*connection.surroundings;
    if !connection.hosts.has(&request) {
        return closing((manner.failed)(Failure::ForeignHost));
    }
    if announced_bytes(&request) > surroundings.body_bytes as u64 {
        return closing((manner.failed)(Failure::BodyTooLarge));
    }
    if request.headers().len() > surroundings.headers {
        return closing((manner.failed)(Failure::TooManyHeaders));
    }
    let mut request = request.map(|body| Limited::new(body, surroundings.body_bytes));
    request.extensions_mut().insert(context);
    let answering = pin!(AssertUnwindSafe(connection.routes.answer(request)).catch_unwind());
    match within(surroundings.request_timeout, answering).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            // The panic hook has already written where; its text may quote input, so it is not repeated here.
            counter!(HTTP_PANICS).increment(1);
            (manner.failed)(Failure::Panicked)
        }
        Err(_elapsed) => {
            let mut response = closing((manner.failed)(Failure::TooSlow));
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
    }
}

/// Waits for `answering` for at most `limit`. What is answered from memory is there at once and needs no timer.
async fn within<F: Future>(limit: Duration, mut answering: Pin<&mut F>) -> Result<F::Output, Elapsed> {
    match futures::poll!(answering.as_mut()) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => tokio::time::timeout(limit, answering).await,
    }
}

/// Length of the body as announced; a body in chunks announces none and is counted while it is read.
fn announced_bytes(request: &Request<Incoming>) -> u64 {
    request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The request is not read to its end, so the connection cannot be used again.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
