//! The one table of endpoints. From it come the routes and the metadata (RFC 8414), so what is announced is there and
//! what is there is announced. It also says whose the endpoints are: how their callers hear of errors, and which of them may
//! be pages of other origins (OpenID Connect Core 5.3).

use std::future::ready;

use http::Method;
use warp::filters::BoxedFilter;
use warp::path::Tail;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::error::{OAuthError, method_not_allowed};
use super::{authorize, introspect, jwks, metadata, register, revoke, token, userinfo};
use crate::app::App;
use crate::http::cross_origin::preflight;
use crate::http::failure::{Failure, plain};
use crate::http::routes::Manner;
use crate::oidc::{check_session, logout};

/// One endpoint.
pub struct Endpoint {
    pub path: &'static str,
    pub methods: Methods,
    pub callers: Callers,
    /// Its name in the metadata document (RFC 8414 2), if it has one.
    pub metadata_name: Option<&'static str>,
    /// What answers a request whose path and method fit.
    route: fn(&App) -> BoxedFilter<(Response,)>,
}

/// The methods of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    Get,
    Post,
    GetAndPost,
    GetPostPutAndDelete,
}

impl Methods {
    fn include(self, method: &Method) -> bool {
        match *method {
            Method::GET => self != Self::Post,
            // Not where a GET may give something out.
            Method::HEAD => self == Self::Get,
            Method::POST => self != Self::Get,
            Method::PUT | Method::DELETE => self == Self::GetPostPutAndDelete,
            _ => false,
        }
    }

    /// As the `Allow` header says it.
    const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
            Self::GetAndPost => "GET, POST",
            Self::GetPostPutAndDelete => "GET, POST, PUT, DELETE",
        }
    }
}

/// Who asks an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// People, whose browsers were sent there.
    People,
    /// Programs that have an address of their own.
    Clients,
    /// These, and clients that are pages of another origin.
    ClientsAndPages,
    /// Who registers a client. No pages: each of their readers would have an address to register from.
    Registrants,
}

impl Callers {
    fn failed(self) -> fn(Failure) -> Response {
        match self {
            Self::People => plain,
            Self::Clients | Self::ClientsAndPages => |failure| OAuthError::not_answered(failure).into_response(),
            Self::Registrants => |failure| register::not_answered(failure).into_response(),
        }
    }
}

/// Every endpoint, those that are asked most first: their paths are compared in this order.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/oauth/introspect",
        methods: Methods::Post,
        callers: Callers::Clients,
        metadata_name: Some("introspection_endpoint"),
        route: introspect::route,
    },
    Endpoint {
        path: "/oauth/token",
        methods: Methods::Post,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("token_endpoint"),
        route: token::route,
    },
    Endpoint {
        path: "/api/me",
        methods: Methods::GetAndPost,
        callers: Callers::ClientsAndPages,
        metadata_name: None,
        route: userinfo::me_route,
    },
    Endpoint {
        path: "/oauth/userinfo",
        methods: Methods::GetAndPost,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("userinfo_endpoint"),
        route: userinfo::route,
    },
    Endpoint {
        path: "/oauth/authorize",
        methods: Methods::GetAndPost,
        callers: Callers::People,
        metadata_name: Some("authorization_endpoint"),
        route: authorize::route,
    },
    Endpoint {
        path: "/oauth/revoke",
        methods: Methods::Post,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("revocation_endpoint"),
        route: revoke::route,
    },
    Endpoint {
        path: "/oauth/jwks",
        methods: Methods::Get,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("jwks_uri"),
        route: jwks::route,
    },
    Endpoint {
        path: "/oauth/logout",
        methods: Methods::GetAndPost,
        callers: Callers::People,
        metadata_name: Some("end_session_endpoint"),
        route: logout::route,
    },
    Endpoint {
        path: "/oauth/check_session",
        methods: Methods::Get,
        callers: Callers::People,
        metadata_name: Some("check_session_iframe"),
        route: check_session::route,
    },
    Endpoint {
        path: register::PATH,
        methods: Methods::GetPostPutAndDelete,
        callers: Callers::Registrants,
        metadata_name: Some("registration_endpoint"),
        route: register::route,
    },
    Endpoint {
        path: "/.well-known/oauth-authorization-server",
        methods: Methods::Get,
        callers: Callers::ClientsAndPages,
        metadata_name: None,
        route: metadata::route,
    },
    Endpoint {
        path: "/.well-known/openid-configuration",
        methods: Methods::Get,
        callers: Callers::ClientsAndPages,
        metadata_name: None,
        route: metadata::route,
    },
];

/// The routes of all endpoints, in the order of the table; `rest` takes what none of them takes.
pub fn routes(app: &App, rest: BoxedFilter<(Response,)>) -> BoxedFilter<(Response,)> {
    // Each is in a box with all that stand behind it: the first costs no more than itself, however many there are.
    ENDPOINTS.iter().rev().fold(rest, |behind, endpoint| endpoint.route(app).or(behind).unify().boxed())
}

/// How the endpoint at a path answers; what is no endpoint is a page.
#[must_use]
pub fn manner(path: &str) -> Manner {
    ENDPOINTS.iter().find(|endpoint| endpoint.path == path).map_or(Manner::PAGE, Endpoint::manner)
}

impl Endpoint {
    fn manner(&self) -> Manner {
        Manner { failed: self.callers.failed(), any_origin: self.callers == Callers::ClientsAndPages }
    }

    /// Takes every request for its path: one whose method does not fit hears which do, and goes on to no other route.
    fn route(&self, app: &App) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
        let (methods, Manner { any_origin, .. }) = (self.methods, self.manner());
        let other_methods = warp::method().map(move |method: Method| match any_origin && method == Method::OPTIONS {
            true => preflight(methods.allow()),
            false => method_not_allowed(methods.allow()),
        });
        at(self.path).and(by(methods).and((self.route)(app)).or(other_methods).unify())
    }
}

/// The path of an endpoint: two segments, and nothing behind them. `warp::path::end` would take a slash there too.
fn at(path: &'static str) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    let (first, second) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    let fits = move |rest: Tail| ready(if rest.as_str() == second { Ok(()) } else { Err(warp::reject::not_found()) });
    warp::path(first).and(warp::path::tail()).and_then(fits).untuple_one()
}

fn by(methods: Methods) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    let fits = move |method| ready(if methods.include(&method) { Ok(()) } else { Err(warp::reject::reject()) });
    warp::method().and_then(fits).untuple_one()
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
    fn no_page_of_others_reads_what_depends_on_a_cookie() {
        for path in ["/oauth/authorize", "/oauth/logout", "/oauth/check_session"] {
            let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.path == path).expect("an endpoint");
            assert_eq!(endpoint.callers, Callers::People, "{path}");
        }
    }

    #[tokio::test]
    async fn a_route_takes_the_very_path_of_its_endpoint() {
        for Endpoint { path, .. } in ENDPOINTS {
            assert!(warp::test::request().path(path).matches(&at(path)).await, "{path}");
            assert!(warp::test::request().path(&format!("{path}?a=b")).matches(&at(path)).await, "{path}?a=b");
            for other in [format!("{path}/"), format!("{path}x"), format!("/{path}"), path.to_uppercase()] {
                assert!(!warp::test::request().path(&other).matches(&at(path)).await, "{other}");
            }
        }
    }

    #[test]
    fn secrets_are_only_posted() {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path.ends_with("token")) {
            assert_eq!(endpoint.methods, Methods::Post);
        }
    }
}
