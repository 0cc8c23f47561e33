//! What answers requests: one function for each route, found by path before anything else is done.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::ready;
use http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::failure::{Failure, plain};
use super::request::RequestBody;
use super::request_id::RequestContext;

/// An answer in the making. Boxed once a request, so what is awaited inside should be boxed only where it is rare.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

type Answer = dyn Fn(Request<RequestBody>, RequestContext) -> Answering + Send + Sync;

/// Answers the requests of a route. Clones share it.
#[derive(Clone)]
pub struct Handler(Arc<Answer>);

impl Handler {
    pub fn new(answer: impl Fn(Request<RequestBody>, RequestContext) -> Answering + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// The same answer to every request; what it is made of is shared.
    pub fn fixed(answer: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        Self::new(move |_, _| at_once(answer()))
    }

    /// Answers through filters of warp, where few requests go; they find the [`RequestContext`] in the extensions.
    #[must_use]
    pub fn filter(filter: BoxedFilter<(Response,)>) -> Self {
        let service = TowerToHyperService::new(warp::service(filter));
        Self::new(move |mut request, context| {
            request.extensions_mut().insert(context);
            let answer = service.call(request);
            Box::pin(async move { answer.await.unwrap_or_else(|never: Infallible| match never {}) })
        })
    }

    /// Answers a request.
    pub fn answer(&self, request: Request<RequestBody>, context: RequestContext) -> Answering {
        (self.0)(request, context)
    }
}

/// A handler, and what holds for every answer to its requests, whoever makes it.
#[derive(Clone)]
pub struct Route {
    pub handler: Handler,
    /// How its callers hear that there is no answer.
    pub failed: fn(Failure) -> Response,
    /// Whether pages of other origins may read the answers: see [`cross_origin`](super::cross_origin).
    pub any_origin: bool,
}

impl Route {
    /// For people at browsers.
    #[must_use]
    pub fn page(handler: Handler) -> Self {
        Self { handler, failed: plain, any_origin: false }
    }
}

/// All routes, those that are asked most first.
pub struct Routes {
    by_path: Vec<(&'static str, Route)>,
    rest: Route,
}

impl Routes {
    /// `rest` takes every path that is not named.
    #[must_use]
    pub fn new(by_path: Vec<(&'static str, Route)>, rest: Route) -> Self {
        Self { by_path, rest }
    }

    pub(super) fn find(&self, path: &str) -> &Route {
        self.by_path.iter().find(|(named, _)| *named == path).map_or(&self.rest, |(_, route)| route)
    }
}

/// An answer that waits for nothing.
#[must_use]
pub fn at_once(response: Response) -> Answering {
    Box::pin(ready(response))
}
