//! Client metadata: RFC 7591 2. Field names are those of the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ClientError, OpenIdMetadata, openid};
use crate::seen::is_seen;
use crate::{RedirectUri, Scope};

/// Most redirect URIs of one client.
pub const REDIRECT_URIS_MAX: usize = 32;
/// Longest `client_name`, in characters.
pub const CLIENT_NAME_CHARS_MAX: usize = 100;

macro_rules! wire_names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $wire:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $wire)] $variant),+ }

        impl $name {
            /// Every value, in the order in which metadata documents list them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ClientError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($wire => Ok(Self::$variant),)+ _ => Err(ClientError::UnknownValue) }
            }
        }
    };
}

wire_names!(
    /// `grant_types` (RFC 7591 2).
    GrantType {
        AuthorizationCode = "authorization_code",
        Implicit = "implicit",
        Password = "password",
        ClientCredentials = "client_credentials",
        RefreshToken = "refresh_token",
    }
);
wire_names!(
    /// `response_types` (RFC 7591 2; OAuth 2.0 Multiple Response Type Encoding Practices 3 to 5).
    ResponseType {
        Code = "code",
        Token = "token",
        IdToken = "id_token",
        IdTokenToken = "id_token token",
        CodeIdToken = "code id_token",
        CodeToken = "code token",
        CodeIdTokenToken = "code id_token token",
    }
);

impl GrantType {
    /// Takes the passwords of people, or gives tokens to nobody but the client: for clients that an operator answers for.
    #[must_use]
    pub const fn is_unusual(self) -> bool {
        matches!(self, Self::Password | Self::ClientCredentials)
    }
}

impl ResponseType {
    /// Reads the words in any order (OAuth 2.0 Multiple Response Type Encoding Practices 3).
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let mut words: Vec<&str> = text.split(' ').collect();
        words.sort_unstable();
        words.join(" ").parse()
    }

    /// Answers with an authorization code.
    #[must_use]
    pub const fn has_code(self) -> bool {
        matches!(self, Self::Code | Self::CodeIdToken | Self::CodeToken | Self::CodeIdTokenToken)
    }

    /// Answers with an access token from the authorization endpoint.
    #[must_use]
    pub const fn has_token(self) -> bool {
        matches!(self, Self::Token | Self::IdTokenToken | Self::CodeToken | Self::CodeIdTokenToken)
    }

    /// Answers with an ID token from the authorization endpoint.
    #[must_use]
    pub const fn has_id_token(self) -> bool {
        matches!(self, Self::IdToken | Self::IdTokenToken | Self::CodeIdToken | Self::CodeIdTokenToken)
    }

    /// Whether a client must be registered for that grant type (RFC 7591 2.1; OpenID Connect Dynamic Registration 2).
    #[must_use]
    pub fn needs(self, grant_type: GrantType) -> bool {
        match grant_type {
            GrantType::AuthorizationCode => self.has_code(),
            GrantType::Implicit => self.has_token() || self.has_id_token(),
            GrantType::Password | GrantType::ClientCredentials | GrantType::RefreshToken => false,
        }
    }

    /// The response types that these grant types are for: `code` and `token` alone.
    #[must_use]
    pub fn usual(grant_types: &[GrantType]) -> Vec<Self> {
        let pairs = [(GrantType::AuthorizationCode, Self::Code), (GrantType::Implicit, Self::Token)];
        pairs.into_iter().filter(|(grant_type, _)| grant_types.contains(grant_type)).map(|(_, usual)| usual).collect()
    }
}
wire_names!(
    /// `token_endpoint_auth_method` (RFC 7591 2).
    TokenEndpointAuthMethod {
        ClientSecretBasic = "client_secret_basic",
        ClientSecretPost = "client_secret_post",
        /// RFC 7523 2.2 with a key made of the secret.
        ClientSecretJwt = "client_secret_jwt",
        /// RFC 7523 2.2 with a key of `jwks` or `jwks_uri`.
        PrivateKeyJwt = "private_key_jwt",
        None = "none",
    }
);
wire_names!(
    /// `alg` of JSON Web Tokens that clients make (RFC 7518 3.1, RFC 8037 3.1).
    JwsAlgorithm {
        None = "none",
        HS256 = "HS256",
        RS256 = "RS256",
        ES256 = "ES256",
        EdDSA = "EdDSA",
        PS256 = "PS256",
    }
);

impl JwsAlgorithm {
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        self == Self::HS256
    }

    #[must_use]
    pub fn is_asymmetric(self) -> bool {
        !matches!(self, Self::None | Self::HS256)
    }
}
wire_names!(
    /// `subject_type` (OpenID Connect Core 8).
    SubjectType { Public = "public", Pairwise = "pairwise" }
);
wire_names!(
    /// What an access token is: a reference, or a JSON Web Token that resource servers can read (RFC 9068).
    AccessTokenFormat { Opaque = "opaque", Jwt = "jwt" }
);
wire_names!(
    /// `application_type` (OpenID Connect Dynamic Registration 2): native clients choose their loopback port.
    ApplicationType { Web = "web", Native = "native" }
);

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    pub client_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    pub grant_types: Vec<GrantType>,
    #[serde(default)]
    pub response_types: Vec<ResponseType>,
    /// The widest scope that the client may ask for.
    pub scope: Scope,
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    pub application_type: ApplicationType,
    /// Whether this client must send a `code_challenge` although the server does not ask all for it.
    #[serde(default)]
    pub require_pkce: bool,
    /// An API: hears of every token that it is shown (RFC 7662), and needs no grant type. The name is ours, and only an
    /// operator gives it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resource_server: bool,
    #[serde(default, flatten)]
    pub openid: Box<OpenIdMetadata>,
}

impl ClientMetadata {
    /// RFC 6749 2.1: a public client cannot keep a secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == TokenEndpointAuthMethod::None
    }

    /// Whether it proves who it is with a secret that this server gave it.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        !matches!(
            self.token_endpoint_auth_method,
            TokenEndpointAuthMethod::None | TokenEndpointAuthMethod::PrivateKeyJwt
        )
    }

    /// Whether it needs another secret than it had with the metadata `before`: it had none, or begins to sign with it, and
    /// of one that was not signed with there is only a hash.
    #[must_use]
    pub fn needs_new_secret(&self, before: &Self) -> bool {
        let begins = |is: fn(&Self) -> bool| is(self) && !is(before);
        begins(Self::has_secret) || begins(Self::signs_with_secret)
    }

    /// Whether it makes codes with that secret, so that this server must have the secret itself.
    #[must_use]
    pub fn signs_with_secret(&self) -> bool {
        self.token_endpoint_auth_method == TokenEndpointAuthMethod::ClientSecretJwt
    }

    #[must_use]
    pub fn is_native(&self) -> bool {
        self.application_type == ApplicationType::Native
    }

    #[must_use]
    pub fn allows(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// Sorts and removes repeats, so that the same registration is always the same bytes.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.client_name = self.client_name.trim().to_owned();
        self.grant_types.sort_unstable();
        self.grant_types.dedup();
        self.response_types.sort_unstable();
        self.response_types.dedup();
        let mut seen = std::collections::BTreeSet::new();
        self.redirect_uris.retain(|uri| seen.insert(uri.clone()));
        self
    }

    /// Whether the parts fit together (RFC 7591 2 and 2.1).
    pub fn validate(&self) -> Result<(), ClientError> {
        Self::check_client_name(&self.client_name)?;
        if self.grant_types.is_empty() && !self.resource_server {
            return Err(ClientError::NoGrantType);
        }
        // RFC 7662 2.1 and 4: whoever asks must prove who they are.
        if self.resource_server && self.is_public() {
            return Err(ClientError::PublicResourceServer);
        }
        self.client_uri.as_deref().map_or(Ok(()), Self::check_client_uri)?;
        self.check_redirect_uris()?;
        self.check_response_types()?;
        self.openid.validate(
            self.is_native(),
            &self.redirect_uris,
            &self.response_types,
            self.token_endpoint_auth_method,
        )?;
        // RFC 6749 4.4: the client credentials grant MUST only be used by confidential clients.
        if self.is_public() && self.allows(GrantType::ClientCredentials) {
            return Err(ClientError::PublicClientCredentials);
        }
        let refreshable = self.allows(GrantType::AuthorizationCode) || self.allows(GrantType::Password);
        if self.allows(GrantType::RefreshToken) && !refreshable {
            return Err(ClientError::NothingToRefresh);
        }
        Ok(())
    }

    /// Whether that is a `client_name` (RFC 7591 2): what people can read.
    pub fn check_client_name(name: &str) -> Result<(), ClientError> {
        let name = name.trim();
        let fits = !name.is_empty() && name.chars().count() <= CLIENT_NAME_CHARS_MAX;
        if fits && !name.chars().any(char::is_control) { Ok(()) } else { Err(ClientError::ClientName) }
    }

    /// Whether a new name is seen as it stands; one of before may stay.
    pub fn check_new_name(&self, before: Option<&Self>) -> Result<(), ClientError> {
        let stays = before.is_some_and(|before| before.client_name == self.client_name);
        if stays || is_seen(&self.client_name) { Ok(()) } else { Err(ClientError::ClientName) }
    }

    /// Whether that is a `client_uri` (RFC 7591 2): a web page.
    pub fn check_client_uri(uri: &str) -> Result<(), ClientError> {
        if openid::web(uri).is_some() { Ok(()) } else { Err(ClientError::ClientUri) }
    }

    fn check_redirect_uris(&self) -> Result<(), ClientError> {
        if self.redirect_uris.len() > REDIRECT_URIS_MAX {
            return Err(ClientError::TooManyRedirectUris);
        }
        for uri in &self.redirect_uris {
            RedirectUri::register(uri.as_str(), self.is_native()).map_err(ClientError::RedirectUri)?;
        }
        // RFC 6749 3.1.2.2: clients of the authorization endpoint register their redirection endpoint.
        let redirects = self.allows(GrantType::AuthorizationCode) || self.allows(GrantType::Implicit);
        if redirects && self.redirect_uris.is_empty() { Err(ClientError::NoRedirectUri) } else { Ok(()) }
    }

    /// RFC 7591 2.1: `code` goes with `authorization_code`, `token` and `id_token` with `implicit`.
    fn check_response_types(&self) -> Result<(), ClientError> {
        let fit = [GrantType::AuthorizationCode, GrantType::Implicit].into_iter().all(|grant_type| {
            let needed = self.response_types.iter().any(|response_type| response_type.needs(grant_type));
            needed == self.allows(grant_type)
        });
        if fit { Ok(()) } else { Err(ClientError::ResponseTypes) }
    }
}
