//! Why a client refuses.

use super::metadata::{CLIENT_NAME_CHARS_MAX, REDIRECT_URIS_MAX};
use super::openid::{JWKS_BYTES_MAX, JWKS_KEYS_MAX};
use crate::redirect_uri::RedirectUriError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("the client exists already")]
    AlreadyExists,
    #[error("there is no such client")]
    NotFound,
    #[error("the client is deleted")]
    Deleted,
    #[error(
        "client_name must have 1 to {CLIENT_NAME_CHARS_MAX} characters, each of which is seen: no control characters, and none \
             without width or that turns text round"
    )]
    ClientName,
    #[error("client_uri must be an http or https address, spelled as browsers spell it (RFC 3986)")]
    ClientUri,
    #[error("{0} must be an http or https address, spelled as browsers spell it (RFC 3986)")]
    WebUri(&'static str),
    #[error(
        "{0} must be an https address without a fragment (http is for loopback addresses only), spelled as browsers spell it \
         (RFC 3986)"
    )]
    SecureUri(&'static str),
    #[error("frontchannel_logout_uri must have the scheme, host and port of a redirect_uri")]
    FrontchannelLogoutUri,
    #[error("{0} must be short texts without control characters")]
    Text(&'static str),
    #[error("jwks and jwks_uri cannot both be there")]
    JwksTwice,
    #[error("jwks must be a JWK Set of at most {JWKS_KEYS_MAX} public keys and {JWKS_BYTES_MAX} bytes")]
    Jwks,
    #[error("a client that signs needs jwks or jwks_uri")]
    NoKeys,
    #[error("a signing algorithm does not fit what it is for")]
    SigningAlgorithm,
    #[error("pairwise subjects need redirect_uris of one https host, or none of https, or a sector_identifier_uri")]
    Sector,
    #[error("at least one of grant_types is needed")]
    NoGrantType,
    #[error("a client of the authorization endpoint must register a redirect_uri")]
    NoRedirectUri,
    #[error("at most {REDIRECT_URIS_MAX} redirect_uris can be registered")]
    TooManyRedirectUris,
    #[error(transparent)]
    RedirectUri(RedirectUriError),
    #[error("response_types must fit grant_types: code with authorization_code, token with implicit")]
    ResponseTypes,
    #[error("a public client cannot use client_credentials")]
    PublicClientCredentials,
    #[error("a public client cannot be a resource server")]
    PublicResourceServer,
    #[error("refresh_token needs authorization_code or password beside it")]
    NothingToRefresh,
    #[error("a confidential client needs a secret")]
    SecretMissing,
    #[error("a public client has no secret")]
    SecretUnexpected,
    #[error("scope: not all of it can be registered here")]
    Scope,
    #[error("{0}: this is for clients that an operator answers for")]
    NotVouched(&'static str),
    #[error("{0}: an operator has set how far this client goes, and only an operator can let it go further")]
    Ceiling(&'static str),
    #[error("an operator has disabled this client, and only an operator can enable it")]
    DisabledByOperator,
    #[error("not a value that is known here")]
    UnknownValue,
}
