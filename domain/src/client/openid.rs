//! Client metadata of OpenID Connect and its neighbours. Field names are those of the wire.
//!
//! OpenID Connect Dynamic Client Registration 1.0, 2; RFC 7591 2; RP-Initiated Logout 1.0, 3.1; Front-Channel Logout 1.0, 2;
//! Back-Channel Logout 1.0, 2.2; RFC 9068.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::metadata::{AccessTokenFormat, JwsAlgorithm, ResponseType, SubjectType, TokenEndpointAuthMethod};
use super::{ClientError, JwkSet, REDIRECT_URIS_MAX};
use crate::signing_key::Algorithm;
use crate::uri::{self, is_loopback};
use crate::{ClientId, RedirectUri};

/// Most entries of a list that is no list of redirect URIs.
pub const LIST_MAX: usize = 16;
/// Longest text of such a list, in bytes.
const LIST_TEXT_BYTES_MAX: usize = 256;
/// Largest `jwks`, in bytes of JSON.
pub const JWKS_BYTES_MAX: usize = 16_384;
/// Most keys of a client's JWK Set, wherever it stands.
pub const JWKS_KEYS_MAX: usize = 16;

/// What a client says of itself beyond OAuth. All of it has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIdMetadata {
    /// Shown on the consent page, never fetched by this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// How to reach the people behind the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// RFC 7591 2: what the software is, the same for all its copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// The client's public keys (RFC 7517 5); never together with `jwks_uri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// How its ID tokens are signed; RS256 when absent. Never HS256; `none` only where they come from the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<JwsAlgorithm>,
    /// How its UserInfo answers are signed; plain JSON when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_signed_response_alg: Option<Algorithm>,
    /// How it signs request objects; any that is supported, but not `none`, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_object_signing_alg: Option<JwsAlgorithm>,
    /// How it signs its client assertions; any that fits its method when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<JwsAlgorithm>,
    /// `public` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_type: Option<SubjectType>,
    /// Whose host is the sector of pairwise subjects (Core 8.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector_identifier_uri: Option<String>,
    /// Seconds since the user proved who they are, after which they do it again; when a request does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<u32>,
    /// Every ID token has `auth_time` anyway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_auth_time: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_acr_values: Vec<String>,
    /// Where a third party sends users to begin a login (Core 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiate_login_uri: Option<String>,
    /// Request objects that may be fetched by reference; without what follows `#`, the whole of the rest is compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_uris: Vec<String>,
    /// Where browsers go after signing out (RP-Initiated Logout 3.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Shown in a frame when a session ends (Front-Channel Logout 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontchannel_logout_uri: Option<String>,
    /// Whether it needs `iss` and `sid` there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frontchannel_logout_session_required: bool,
    /// Told when a session ends (Back-Channel Logout 2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<String>,
    /// Whether it needs `sid` there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backchannel_logout_session_required: bool,
    /// What its access tokens are; `opaque` when absent. The name is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_format: Option<AccessTokenFormat>,
}

impl OpenIdMetadata {
    /// The algorithm of this client's ID tokens; `None` when they are not signed.
    #[must_use]
    pub fn id_token_alg(&self) -> Option<Algorithm> {
        match self.id_token_signed_response_alg {
            Some(JwsAlgorithm::None) => None,
            Some(alg) => Some(alg.as_str().parse().unwrap_or(Algorithm::RS256)),
            None => Some(Algorithm::RS256),
        }
    }

    #[must_use]
    pub fn is_pairwise(&self) -> bool {
        self.subject_type == Some(SubjectType::Pairwise)
    }

    /// Whether the parts fit together, for a client that is `native` or not, with those redirect URIs, response types
    /// and that method.
    pub(super) fn validate(
        &self,
        native: bool,
        redirect_uris: &[RedirectUri],
        response_types: &[ResponseType],
        method: TokenEndpointAuthMethod,
    ) -> Result<(), ClientError> {
        if self.post_logout_redirect_uris.len() > REDIRECT_URIS_MAX {
            return Err(ClientError::TooManyRedirectUris);
        }
        for uri in &self.post_logout_redirect_uris {
            RedirectUri::register(uri.as_str(), native).map_err(ClientError::RedirectUri)?;
        }
        self.check_uris(redirect_uris)?;
        self.check_texts()?;
        self.check_keys(method)?;
        self.check_id_tokens(response_types)?;
        self.check_sector(redirect_uris)
    }

    /// Core 3.1.3.7: an ID token needs no signature only where it comes straight from the token endpoint.
    fn check_id_tokens(&self, response_types: &[ResponseType]) -> Result<(), ClientError> {
        match self.id_token_signed_response_alg {
            Some(JwsAlgorithm::None) if response_types.iter().any(|asked| asked.has_id_token()) => {
                Err(ClientError::SigningAlgorithm)
            }
            Some(JwsAlgorithm::HS256) => Err(ClientError::SigningAlgorithm),
            _ => Ok(()),
        }
    }

    fn check_uris(&self, redirect_uris: &[RedirectUri]) -> Result<(), ClientError> {
        let shown = [("logo_uri", &self.logo_uri), ("policy_uri", &self.policy_uri), ("tos_uri", &self.tos_uri)];
        for (name, uri) in shown {
            if uri.as_ref().is_some_and(|uri| web(uri).is_none()) {
                return Err(ClientError::WebUri(name));
            }
        }
        let asked = [
            ("jwks_uri", &self.jwks_uri),
            ("sector_identifier_uri", &self.sector_identifier_uri),
            ("initiate_login_uri", &self.initiate_login_uri),
            ("backchannel_logout_uri", &self.backchannel_logout_uri),
            ("frontchannel_logout_uri", &self.frontchannel_logout_uri),
        ];
        for (name, uri) in asked {
            // Back-Channel Logout 2.2 and Front-Channel Logout 2: MUST NOT include a fragment; no other needs one.
            if uri.as_ref().is_some_and(|uri| secure(uri).is_none_or(|url| url.fragment().is_some())) {
                return Err(ClientError::SecureUri(name));
            }
        }
        if self.request_uris.len() > LIST_MAX || self.request_uris.iter().any(|uri| secure(uri).is_none()) {
            return Err(ClientError::SecureUri("request_uris"));
        }
        // Front-Channel Logout 2: domain, port and scheme MUST be those of a registered redirection URI.
        let origin = |uri: &str| Url::parse(uri).ok().map(|url| url.origin());
        match self.frontchannel_logout_uri.as_deref().and_then(origin) {
            Some(own) if !redirect_uris.iter().any(|uri| origin(uri.as_str()).as_ref() == Some(&own)) => {
                Err(ClientError::FrontchannelLogoutUri)
            }
            _ => Ok(()),
        }
    }

    fn check_texts(&self) -> Result<(), ClientError> {
        let short = |text: &String| {
            !text.is_empty() && text.len() <= LIST_TEXT_BYTES_MAX && !text.chars().any(char::is_control)
        };
        let lists = [("contacts", &self.contacts), ("default_acr_values", &self.default_acr_values)];
        for (name, list) in lists {
            if list.len() > LIST_MAX || !list.iter().all(short) {
                return Err(ClientError::Text(name));
            }
        }
        let texts = [("software_id", &self.software_id), ("software_version", &self.software_version)];
        for (name, text) in texts {
            if text.as_ref().is_some_and(|text| !short(text)) {
                return Err(ClientError::Text(name));
            }
        }
        Ok(())
    }

    /// RFC 7591 2: `jwks` and `jwks_uri` MUST NOT both be there; what is in `jwks` is public.
    fn check_keys(&self, method: TokenEndpointAuthMethod) -> Result<(), ClientError> {
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            return Err(ClientError::JwksTwice);
        }
        if let Some(jwks) = &self.jwks {
            let members = jwks.members();
            let keys = members.get("keys").and_then(Value::as_array).ok_or(ClientError::Jwks)?;
            let small = jwks.bytes() <= JWKS_BYTES_MAX;
            let public = |key: &Value| {
                let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
                key.get("kty").is_some_and(Value::is_string) && private.iter().all(|part| key.get(part).is_none())
            };
            if !small || keys.is_empty() || keys.len() > JWKS_KEYS_MAX || !keys.iter().all(public) {
                return Err(ClientError::Jwks);
            }
        }
        let has_keys = self.jwks.is_some() || self.jwks_uri.is_some();
        if method == TokenEndpointAuthMethod::PrivateKeyJwt && !has_keys {
            return Err(ClientError::NoKeys);
        }
        let fits = match (self.token_endpoint_auth_signing_alg, method) {
            (None, _) => true,
            (Some(alg), TokenEndpointAuthMethod::ClientSecretJwt) => alg.is_symmetric(),
            (Some(alg), TokenEndpointAuthMethod::PrivateKeyJwt) => alg.is_asymmetric(),
            // It says nothing about the others.
            (Some(alg), _) => alg != JwsAlgorithm::None,
        };
        // A request object that a client signs needs a key of that client.
        let signs = self.request_object_signing_alg.is_some_and(JwsAlgorithm::is_asymmetric);
        if !fits || self.request_object_signing_alg.is_some_and(JwsAlgorithm::is_symmetric) {
            return Err(ClientError::SigningAlgorithm);
        }
        if signs && !has_keys { Err(ClientError::NoKeys) } else { Ok(()) }
    }

    /// The sector of pairwise subjects (Core 8.1): a host that is reached over https, or else nobody but the client itself.
    /// A private-use scheme belongs to whoever claims it, whatever host it names, and every application of a computer can be
    /// its loopback address. `None` when subjects are public.
    #[must_use]
    pub fn sector(&self, client_id: ClientId, redirect_uris: &[RedirectUri]) -> Option<String> {
        if !self.is_pairwise() {
            return None;
        }
        let sector = match &self.sector_identifier_uri {
            // On this machine, for tests: no host, but a document there.
            Some(uri) => https_host(uri).or_else(|| Some(uri.clone())),
            None => one_https_host(redirect_uris),
        };
        // With a blank, which no host has.
        Some(sector.unwrap_or_else(|| format!("client {client_id}")))
    }

    /// Core 8.1: without `sector_identifier_uri`, all redirect URIs of a pairwise client have one host.
    fn check_sector(&self, redirect_uris: &[RedirectUri]) -> Result<(), ClientError> {
        let own = || redirect_uris.iter().all(|uri| https_host(uri.as_str()).is_none());
        let named = !self.is_pairwise() || self.sector_identifier_uri.is_some();
        if named || own() || one_https_host(redirect_uris).is_some() { Ok(()) } else { Err(ClientError::Sector) }
    }
}

fn https_host(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok().filter(|url| url.scheme() == "https" && !is_loopback(url))?;
    url.host_str().map(str::to_owned)
}

/// The host of all of them.
fn one_https_host(redirect_uris: &[RedirectUri]) -> Option<String> {
    let mut hosts = redirect_uris.iter().map(|uri| https_host(uri.as_str()));
    let first = hosts.next()??;
    hosts.all(|host| host.as_deref() == Some(&first)).then_some(first)
}

/// A web page, in whose address nobody signs in.
pub(super) fn web(uri: &str) -> Option<Url> {
    uri::parse(uri).ok().filter(uri::is_web)
}

/// https, or this machine itself, where nobody listens on the way.
fn secure(uri: &str) -> Option<Url> {
    web(uri).filter(|url| url.scheme() == "https" || is_loopback(url))
}
