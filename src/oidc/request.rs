//! What an authentication request asks beyond OAuth: OpenID Connect Core 3.1.2.1, 3.2.2.1, 3.3.2.1.
//!
//! `display`, `ui_locales`, `claims_locales` and `acr_values` are wishes that change nothing here, so they are not read:
//! there is one kind of page, one language, and one way to sign in.

use grantlog_domain::Scope;
use grantlog_domain::client::{ClientMetadata, ResponseType};

use super::claims_request::ClaimsRequest;
use crate::http::form::Parameters;
use crate::oauth::error::OAuthError;

/// Longest `nonce`, in bytes; it is kept in the log and comes back in every ID token of the request.
pub const NONCE_BYTES_MAX: usize = 1024;
/// Longest `login_hint` that is shown, in bytes; a longer one is left out.
const LOGIN_HINT_BYTES_MAX: usize = 256;

/// The parameters of OpenID Connect that change something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenIdRequest {
    pub nonce: Option<String>,
    /// Seconds since the user last proved who they are.
    pub max_age: Option<u32>,
    /// The name that the sign-in page proposes.
    pub login_hint: Option<String>,
    /// An ID token of this server, not yet believed.
    pub id_token_hint: Option<String>,
    pub claims: ClaimsRequest,
}

impl OpenIdRequest {
    /// The checks that need neither the keys nor the user.
    pub fn check(
        parameters: &Parameters,
        client: &ClientMetadata,
        response_type: ResponseType,
        scope: &Scope,
    ) -> Result<Self, OAuthError> {
        let is_openid = scope.contains("openid");
        if response_type.has_id_token() && !is_openid {
            return Err(OAuthError::invalid_request("an ID token needs the scope openid"));
        }
        let nonce = parameters.get("nonce");
        // OpenID Connect Core 3.2.2.1 and 3.3.2.11: REQUIRED where the ID token comes through the browser.
        if response_type.has_id_token() && nonce.is_none() {
            return Err(OAuthError::missing("nonce"));
        }
        if nonce.is_some_and(|nonce| nonce.len() > NONCE_BYTES_MAX) {
            return Err(OAuthError::invalid_request("nonce is too long"));
        }
        let max_age = match parameters.get("max_age") {
            None => client.openid.default_max_age,
            Some(text) => {
                let seconds = text.parse().map_err(|_| OAuthError::invalid_request("max_age must be whole seconds"));
                Some(seconds?)
            }
        };
        let login_hint = parameters.get("login_hint").filter(|hint| hint.len() <= LOGIN_HINT_BYTES_MAX);
        let claims = parameters.get("claims").filter(|_| is_openid).map(ClaimsRequest::parse).transpose()?;
        Ok(Self {
            nonce: nonce.filter(|_| is_openid).map(str::to_owned),
            max_age,
            login_hint: login_hint.map(str::to_owned),
            id_token_hint: parameters.get("id_token_hint").map(str::to_owned),
            claims: claims.unwrap_or_default(),
        })
    }

    /// As parameters.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let named = [
            ("nonce", self.nonce.clone()),
            ("max_age", self.max_age.map(|seconds| seconds.to_string())),
            ("login_hint", self.login_hint.clone()),
            ("id_token_hint", self.id_token_hint.clone()),
            ("claims", Some(self.claims.text.clone()).filter(|text| !text.is_empty())),
        ];
        named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }
}
