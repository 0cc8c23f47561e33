//! The routes of a listener as one service of warp, and how each path answers beside what its handler says.

use std::convert::Infallible;

use http::Request;
use tower_service::Service as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::failure::{Failure, plain};
use super::request::RequestBody;

/// What holds for every answer at a path, whoever makes it.
#[derive(Clone, Copy)]
pub struct Manner {
    /// How its callers hear that there is no answer.
    pub failed: fn(Failure) -> Response,
    /// Whether pages of other origins may read the answers: see [`cross_origin`](super::cross_origin).
    pub any_origin: bool,
}

impl Manner {
    /// For people at browsers.
    pub const PAGE: Self = Self { failed: plain, any_origin: false };
}

/// All routes of a listener.
pub struct Routes {
    filter: BoxedFilter<(Response,)>,
    manner: fn(&str) -> Manner,
}

impl Routes {
    /// `manner` says it of any path, also of one that no route takes.
    #[must_use]
    pub fn new(filter: BoxedFilter<(Response,)>, manner: fn(&str) -> Manner) -> Self {
        Self { filter, manner }
    }

    pub(super) fn manner(&self, path: &str) -> Manner {
        (self.manner)(path)
    }

    /// Answers a request, whose [`RequestContext`](super::request_id::RequestContext) is in its extensions.
    pub(super) async fn answer(&self, request: Request<RequestBody>) -> Response {
        let answered = warp::service(self.filter.clone()).call(request).await;
        answered.unwrap_or_else(|never: Infallible| match never {})
    }
}
