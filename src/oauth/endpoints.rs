//! The one table of endpoints. From it come the routes and the metadata (RFC 8414), so what is announced is there and
//! what is there is announced.

use http::Method;

use super::error::method_not_allowed;
use super::{authorize, introspect, jwks, metadata, register, revoke, token, userinfo};
use crate::app::App;
use crate::http::handler::{Handler, at_once};
use crate::oidc::{check_session, logout};

/// One endpoint.
pub struct Endpoint {
    pub path: &'static str,
    pub methods: Methods,
    /// Its name in the metadata document (RFC 8414 2), if it has one.
    pub metadata_name: Option<&'static str>,
    /// What answers a request whose path and method fit.
    route: fn(&App) -> Handler,
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

/// Every endpoint, those that are asked most first: their paths are compared in this order.
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
        path: "/oauth/check_session",
        methods: Methods::Get,
        metadata_name: Some("check_session_iframe"),
        route: check_session::route,
    },
    Endpoint {
        path: register::PATH,
        methods: Methods::GetPostPutAndDelete,
        metadata_name: Some("registration_endpoint"),
        route: register::route,
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

/// What answers at the path of each endpoint.
#[must_use]
pub fn handlers(app: &App) -> Vec<(&'static str, Handler)> {
    ENDPOINTS.iter().map(|endpoint| (endpoint.path, endpoint.handler(app))).collect()
}

impl Endpoint {
    fn handler(&self, app: &App) -> Handler {
        let (methods, route) = (self.methods, (self.route)(app));
        Handler::new(move |request, context| match methods.include(request.method()) {
            true => route.answer(request, context),
            false => at_once(method_not_allowed(methods.allow())),
        })
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
    fn secrets_are_only_posted() {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path.ends_with("token")) {
            assert_eq!(endpoint.methods, Methods::Post);
        }
    }
}
