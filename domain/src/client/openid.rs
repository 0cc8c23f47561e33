//! Client metadata of OpenID Connect: Dynamic Client Registration 1.0, 2. Field names are those of the wire.

use serde::{Deserialize, Serialize};

use super::{ClientError, REDIRECT_URIS_MAX};
use crate::RedirectUri;
use crate::signing_key::Algorithm;

/// What a client says of itself beyond OAuth. All of it has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIdMetadata {
    /// How its ID tokens are signed; RS256 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<Algorithm>,
    /// Where browsers go after signing out (RP-Initiated Logout 3.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Seconds since the user proved who they are, after which they do it again; when a request does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<u32>,
}

impl OpenIdMetadata {
    /// The algorithm of this client's ID tokens.
    #[must_use]
    pub fn id_token_alg(&self) -> Algorithm {
        self.id_token_signed_response_alg.unwrap_or(Algorithm::RS256)
    }

    /// Whether the parts fit together, for a client that is `native` or not.
    pub(super) fn validate(&self, native: bool) -> Result<(), ClientError> {
        if self.post_logout_redirect_uris.len() > REDIRECT_URIS_MAX {
            return Err(ClientError::TooManyRedirectUris);
        }
        for uri in &self.post_logout_redirect_uris {
            RedirectUri::register(uri.as_str(), native).map_err(ClientError::RedirectUri)?;
        }
        Ok(())
    }
}
