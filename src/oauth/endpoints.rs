//! The one table of endpoints. From it come the routes and the metadata (RFC 8414), so what is announced is there and
//! what is there is announced.

use futures::future::ready;
use http::Method;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reject::not_found;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::error::method_not_allowed;
use super::{authorize, introspect, jwks, metadata, revoke, token, userinfo};
use crate::app::App;
use crate::oidc::logout;

/// One endpoint.
pub struct Endpoint {
    pub path: &'static str,
    pub methods: Methods,
    /// Its name in the metadata document (RFC 8414 2), if it has one.
    pub metadata_name: Option<&'static str>,
    /// Answers a request whose path and method fit; never rejects.
    route: fn(&App) -> BoxedFilter<(Response,)>,
}

/// The methods of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    Get,
    Post,
    GetAndPost,
}

impl Methods {
    fn include(self, method: &Method) -> bool {
        match *method {
            Method::GET => self != Self::Post,
            // Not where a GET may give something out.
            Method::HEAD => self == Self::Get,
            Method::POST => self != Self::Get,
            _ => false,
        }
    }

    /// As the `Allow` header says it.
    const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
            Self::GetAndPost => "GET, POST",
        }
    }
}

/// Every endpoint, those that are asked most first: routes are tried in this order.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/oauth/introspect",
        methods: Methods::Post,
        metadata_name: Some("introspection_endpoint"),
        route: introspect::route,
    },
    Endpoint {
        path: "/oauth/token",
        methods: Methods::Post,
        metadata_name: Some("token_endpoint"),
        route: token::route,
    },
    Endpoint { path: "/api/me", methods: Methods::GetAndPost, metadata_name: None, route: userinfo::me_route },
    Endpoint {
        path: "/oauth/userinfo",
        methods: Methods::GetAndPost,
        metadata_name: Some("userinfo_endpoint"),
        route: userinfo::route,
    },
    Endpoint {
        path: "/oauth/authorize",
        methods: Methods::GetAndPost,
        metadata_name: Some("authorization_endpoint"),
        route: authorize::route,
    },
    Endpoint {
        path: "/oauth/revoke",
        methods: Methods::Post,
        metadata_name: Some("revocation_endpoint"),
        route: revoke::route,
    },
    Endpoint { path: "/oauth/jwks", methods: Methods::Get, metadata_name: Some("jwks_uri"), route: jwks::route },
    Endpoint {
        path: "/oauth/logout",
        methods: Methods::GetAndPost,
        metadata_name: Some("end_session_endpoint"),
        route: logout::route,
    },
    Endpoint {
        path: "/.well-known/oauth-authorization-server",
        methods: Methods::Get,
        metadata_name: None,
        route: metadata::route,
    },
    Endpoint {
        path: "/.well-known/openid-configuration",
        methods: Methods::Get,
        metadata_name: None,
        route: metadata::route,
    },
];

/// The routes of all endpoints. A request for another path is rejected, so that other routes can follow.
#[must_use]
pub fn routes(app: &App) -> BoxedFilter<(Response,)> {
    // From the last to the first, so that the first ones are tried without going through the others.
    let mut endpoints = ENDPOINTS.iter().rev().map(|endpoint| endpoint.route(app));
    let last = endpoints.next().unwrap_or_else(|| warp::any().and_then(nowhere).boxed());
    endpoints.fold(last, |rest, endpoint| endpoint.or(rest).unify().boxed())
}

async fn nowhere() -> Result<Response, Rejection> {
    Err(not_found())
}

impl Endpoint {
    fn route(&self, app: &App) -> BoxedFilter<(Response,)> {
        let methods = self.methods;
        let refuse = at(self.path).map(move || method_not_allowed(methods.allow()));
        at(self.path).and(has(methods)).and((self.route)(app)).or(refuse).unify().boxed()
    }
}

fn at(path: &'static str) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::path::full()
        .and_then(move |full: FullPath| ready(if full.as_str() == path { Ok(()) } else { Err(not_found()) }))
        .untuple_one()
}

fn has(methods: Methods) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::method()
        .and_then(move |method: Method| ready(if methods.include(&method) { Ok(()) } else { Err(not_found()) }))
        .untuple_one()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_endpoints_share_a_path_or_a_name() {
        let paths: HashSet<_> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
        assert_eq!(paths.len(), ENDPOINTS.len());
        let named = ENDPOINTS.iter().filter_map(|endpoint| endpoint.metadata_name);
        assert_eq!(named.clone().collect::<HashSet<_>>().len(), named.count());
    }

    #[test]
    fn secrets_are_only_posted() {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path.ends_with("token")) {
            assert_eq!(endpoint.methods, Methods::Post);
        }
    }
}
