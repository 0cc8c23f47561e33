//! All routes in one place, and the answer to what none of them takes.

use std::convert::Infallible;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use metrics_exporter_prometheus::PrometheusHandle;
use warp::reject::{MethodNotAllowed, Rejection};
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::app::App;
use crate::http::operations::{self, Listener};
use crate::http::routes::{Manner, Routes};
use crate::oauth::endpoints;
use crate::pages;

/// Every route of the server, those that are asked most first.
pub fn routes(app: &App, handle: PrometheusHandle) -> Routes {
    let rest = operations::routes(app, handle, Listener::Main)
        // Takes every path that is left.
        .or(pages::routes(app))
        .unify()
        .recover(rejected)
        .map(Reply::into_response)
        .boxed();
    Routes::new(endpoints::routes(app, rest), endpoints::manner)
}

/// The routes of the listener of its own for operations.
pub fn operations_routes(app: &App, handle: PrometheusHandle) -> Routes {
    let rest = operations::routes(app, handle, Listener::Own).recover(rejected).map(Reply::into_response).boxed();
    Routes::new(rest, |_| Manner::PAGE)
}

/// No route took the request. Says no more than the status: what was asked is not repeated.
async fn rejected(rejection: Rejection) -> Result<Response, Infallible> {
    let (status, text) = if rejection.is_not_found() {
        (StatusCode::NOT_FOUND, "There is nothing here.\n")
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        (StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.\n")
    } else {
        (StatusCode::BAD_REQUEST, "The request is malformed.\n")
    };
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
