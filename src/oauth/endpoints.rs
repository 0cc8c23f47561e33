//! The one table of endpoints. From it come the routes and the metadata (RFC 8414), so what is announced is there and
//! what is there is announced. It also says whose the endpoints are: how their callers hear of errors, and which of them may
//! be pages of other origins (OpenID Connect Core 5.3).

use http::Method;
use warp::reply::Response;

use super::error::{OAuthError, method_not_allowed};
use super::{authorize, introspect, jwks, metadata, register, revoke, token, userinfo};
use crate::app::App;
use crate::http::cross_origin::preflight;
use crate::http::failure::{Failure, plain};
use crate::http::handler::{Handler, Route, at_once};
use crate::oidc::{check_session, logout};

/// One endpoint.
pub struct Endpoint {
    pub path: &'static str,
    pub methods: Methods,
    pub callers: Callers,
    /// Its name in the metadata document (RFC 8414 2), if it has one.
    pub metadata_name: Option<&'static str>,
    /// What answers a request whose path and method fit.
    answer: fn(&App) -> Handler,
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
        answer: introspect::route,
    },
    Endpoint {
        path: "/oauth/token",
        methods: Methods::Post,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("token_endpoint"),
        answer: token::route,
    },
    Endpoint {
        path: "/api/me",
        methods: Methods::GetAndPost,
        callers: Callers::ClientsAndPages,
        metadata_name: None,
        answer: userinfo::me_route,
    },
    Endpoint {
        path: "/oauth/userinfo",
        methods: Methods::GetAndPost,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("userinfo_endpoint"),
        answer: userinfo::route,
    },
    Endpoint {
        path: "/oauth/authorize",
        methods: Methods::GetAndPost,
        callers: Callers::People,
        metadata_name: Some("authorization_endpoint"),
        answer: authorize::route,
    },
    Endpoint {
        path: "/oauth/revoke",
        methods: Methods::Post,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("revocation_endpoint"),
        answer: revoke::route,
    },
    Endpoint {
        path: "/oauth/jwks",
        methods: Methods::Get,
        callers: Callers::ClientsAndPages,
        metadata_name: Some("jwks_uri"),
        answer: jwks::route,
    },
    Endpoint {
        path: "/oauth/logout",
        methods: Methods::GetAndPost,
        callers: Callers::People,
        metadata_name: Some("end_session_endpoint"),
        answer: logout::route,
    },
    Endpoint {
        path: "/oauth/check_session",
        methods: Methods::Get,
        callers: Callers::People,
        metadata_name: Some("check_session_iframe"),
        answer: check_session::route,
    },
    Endpoint {
        path: register::PATH,
        methods: Methods::GetPostPutAndDelete,
        callers: Callers::Registrants,
        metadata_name: Some("registration_endpoint"),
        answer: register::route,
    },
    Endpoint {
        path: "/.well-known/oauth-authorization-server",
        methods: Methods::Get,
        callers: Callers::ClientsAndPages,
        metadata_name: None,
        answer: metadata::route,
    },
    Endpoint {
        path: "/.well-known/openid-configuration",
        methods: Methods::Get,
        callers: Callers::ClientsAndPages,
        metadata_name: None,
        answer: metadata::route,
    },
];

/// What answers at the path of each endpoint.
#[must_use]
pub fn routes(app: &App) -> Vec<(&'static str, Route)> {
    ENDPOINTS.iter().map(|endpoint| (endpoint.path, endpoint.route(app))).collect()
}

impl Endpoint {
    fn route(&self, app: &App) -> Route {
        let (methods, answer) = (self.methods, (self.answer)(app));
        let any_origin = self.callers == Callers::ClientsAndPages;
        let handler = Handler::new(move |request, context| match methods.include(request.method()) {
            true => answer.answer(request, context),
            false if any_origin && request.method() == Method::OPTIONS => at_once(preflight(methods.allow())),
            false => at_once(method_not_allowed(methods.allow())),
        });
        Route { handler, failed: self.callers.failed(), any_origin }
    }
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

    #[test]
    fn secrets_are_only_posted() {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path.ends_with("token")) {
            assert_eq!(endpoint.methods, Methods::Post);
        }
    }
}
