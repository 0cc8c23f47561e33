//! What kinds of clients there are, for people: what each begins with.

use clap::ValueEnum;
use grantlog_domain::Scope;
use grantlog_domain::client::{ApplicationType, ClientMetadata, GrantType, TokenEndpointAuthMethod};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Web,
    Native,
    Machine,
    Api,
}

impl Kind {
    /// A client of this kind, of which nothing else was said yet.
    pub(super) fn blank(self, client_name: String) -> ClientMetadata {
        let (method, application_type) = match self {
            Self::Native => (TokenEndpointAuthMethod::None, ApplicationType::Native),
            Self::Web | Self::Machine | Self::Api => (TokenEndpointAuthMethod::ClientSecretBasic, ApplicationType::Web),
        };
        let is_api = self == Self::Api;
        // What OpenID libraries ask for who say nothing; a machine has no user, and what its API wants only its people know.
        let scope = match self {
            Self::Web | Self::Native => "openid profile email",
            Self::Machine | Self::Api => "",
        };
        ClientMetadata {
            client_name,
            client_uri: None,
            redirect_uris: Vec::new(),
            grant_types: match self {
                Self::Web | Self::Native => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
                Self::Machine => vec![GrantType::ClientCredentials],
                Self::Api => Vec::new(),
            },
            response_types: Vec::new(),
            scope: Scope::parse(scope).unwrap_or_default(),
            token_endpoint_auth_method: method,
            application_type,
            require_pkce: false,
            resource_server: is_api,
            openid: Box::default(),
        }
    }
}
