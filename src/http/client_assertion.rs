//! Clients that prove themselves with a signed assertion: RFC 7521 4.2, RFC 7523 2.2 and 3, OpenID Connect Core 9
//! (`private_key_jwt`, `client_secret_jwt`).
//!
//! An assertion is for this server only and is used once, on whatever node. Not here: the other methods (`client_auth`).

use std::sync::Arc;
use std::time::Duration;

use grantlog_domain::ClientId;
use grantlog_domain::client::{ClientMetadata, JwsAlgorithm, TokenEndpointAuthMethod};
use grantlog_projections::live::LiveClient;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::client_auth::AuthenticationError;
use super::form::Parameters;
use crate::app::App;
use crate::oauth::error::OAuthError;
use crate::oidc::client_jwt::{ClientJwt, JwtError, LEEWAY_SECONDS};
use crate::standing;
use crate::store::vault::VaultError;

/// RFC 7523 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longest assertion, in bytes.
const ASSERTION_BYTES_MAX: usize = 8192;
/// Longest life of an assertion, in seconds from now: that long its use is remembered.
const LIFETIME_SECONDS_MAX: i64 = 3600;
/// Longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 256;
/// The token endpoint, whose URL may be the audience.
const TOKEN_ENDPOINT: &str = "/oauth/token";

/// `token_endpoint_auth_signing_alg_values_supported`.
pub fn algorithms() -> impl Iterator<Item = JwsAlgorithm> {
    JwsAlgorithm::ALL.iter().copied().filter(|alg| *alg != JwsAlgorithm::None)
}

/// The assertion of a request, if it has one.
///
/// # Errors
/// When the client authenticates in another way too (RFC 6749 2.3), or with another kind of assertion.
pub(super) fn presented<'a>(headers: &HeaderMap, parameters: &'a Parameters) -> Result<Option<&'a str>, OAuthError> {
    let (assertion, kind) = match (parameters.get("client_assertion"), parameters.get("client_assertion_type")) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(OAuthError::missing("client_assertion")),
        (Some(_), None) => return Err(OAuthError::missing("client_assertion_type")),
        (Some(assertion), Some(kind)) => (assertion, kind),
    };
    if headers.contains_key(AUTHORIZATION) || parameters.get("client_secret").is_some() {
        return Err(OAuthError::invalid_request("the client authenticates in more than one way"));
    }
    if kind == ASSERTION_TYPE { Ok(Some(assertion)) } else { Err(OAuthError::invalid_client()) }
}

/// Authenticates the client that made the assertion.
///
/// # Errors
/// One answer for everything that is wrong with it; another when the database cannot say whether it was used.
pub(super) async fn authenticate(
    app: &App,
    assertion: &str,
    parameters: &Parameters,
) -> Result<Arc<LiveClient>, AuthenticationError> {
    match check(app, assertion, parameters.get("client_id")).await {
        Ok(client) => Ok(client),
        Err(Refusal::Token(error)) => {
            tracing::debug!(%error, "a client assertion was refused");
            Err(OAuthError::invalid_client().into())
        }
        Err(Refusal::Unknown(error)) => Err(error),
    }
}

enum Refusal {
    Token(JwtError),
    Unknown(AuthenticationError),
}

impl From<JwtError> for Refusal {
    fn from(error: JwtError) -> Self {
        Self::Token(error)
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        Self::Unknown(AuthenticationError::Vault(error))
    }
}

/// The checks in their order: what can be done without a key or a question to the database comes first, and the use is
/// noted last, so that only assertions of the client itself are remembered.
async fn check(app: &App, assertion: &str, client_id: Option<&str>) -> Result<Arc<LiveClient>, Refusal> {
    let jwt = ClientJwt::parse(assertion, ASSERTION_BYTES_MAX)?;
    let id = named(&jwt, client_id)?;
    check_type(&jwt)?;
    check_audience(app, &jwt)?;
    let (jti, expires_at) = check_lifetime(app, &jwt)?;
    let client = standing::client(app, id).await.map_err(|error| Refusal::Unknown(error.into()))?;
    let client = client.filter(|client| client.is_enabled()).ok_or(JwtError::Wrong("sub"))?;
    check_algorithm(&client.metadata, jwt.alg)?;
    match (client.metadata.token_endpoint_auth_method, &client.secret) {
        (TokenEndpointAuthMethod::ClientSecretJwt, Some(hash)) => {
            let secret = app.vault.client_secret(id, hash).await?.ok_or(JwtError::Signature)?;
            jwt.verify_with_secret(secret.expose())?;
        }
        _ => jwt.verify(app, &client.metadata).await?,
    }
    if app.vault.use_assertion(id, &jti, expires_at).await? { Ok(client) } else { Err(JwtError::Wrong("jti").into()) }
}

/// RFC 7523 3, 1 and 2.B: `iss` and `sub` are the client. RFC 7521 4.2: so is `client_id`, if it is sent.
fn named(jwt: &ClientJwt<'_>, client_id: Option<&str>) -> Result<ClientId, JwtError> {
    let sub = jwt.text("sub")?;
    if jwt.text("iss")? != sub {
        return Err(JwtError::Wrong("iss"));
    }
    if client_id.is_some_and(|client_id| client_id != sub) {
        return Err(JwtError::Wrong("sub"));
    }
    sub.parse().map_err(|_| JwtError::Wrong("sub"))
}

/// RFC 8725 3.11: what is said to be another kind of token (a request object) is none.
fn check_type(jwt: &ClientJwt<'_>) -> Result<(), JwtError> {
    match jwt.typ.as_deref() {
        None | Some("JWT" | "jwt" | "client-authentication+jwt") => Ok(()),
        Some(_) => Err(JwtError::Wrong("typ")),
    }
}

/// RFC 7523 3, 3: for this server. And for nobody else, who could use it here.
fn check_audience(app: &App, jwt: &ClientJwt<'_>) -> Result<(), JwtError> {
    let (issuer, audience) = (&app.settings.issuer, jwt.audience()?);
    let is_ours = |one: &str| one == issuer.as_str() || one == issuer.url(TOKEN_ENDPOINT);
    let ours = !audience.is_empty() && audience.iter().all(|one| is_ours(one));
    if ours { Ok(()) } else { Err(JwtError::Wrong("aud")) }
}

/// RFC 7523 3, 4 to 7, OpenID Connect Core 9: `jti` and `exp` are there, and the use need not be remembered for ever. When
/// it may be forgotten.
fn check_lifetime(app: &App, jwt: &ClientJwt<'_>) -> Result<(String, grantlog_domain::Timestamp), JwtError> {
    let now = app.now();
    jwt.check_times(now)?;
    let expires_at = jwt.time("exp")?.ok_or(JwtError::Claim("exp"))?;
    if expires_at.seconds_since(now) > LIFETIME_SECONDS_MAX + LEEWAY_SECONDS {
        return Err(JwtError::Wrong("exp"));
    }
    let jti = jwt.text("jti")?;
    if jti.is_empty() || jti.len() > JTI_BYTES_MAX {
        return Err(JwtError::Wrong("jti"));
    }
    Ok((jti.to_owned(), expires_at.plus_seconds(LEEWAY_SECONDS)))
}

/// RFC 8725 3.1: the algorithm of the registration; without one, any that goes with the method (OpenID Connect Dynamic
/// Client Registration 2).
fn check_algorithm(client: &ClientMetadata, alg: JwsAlgorithm) -> Result<(), JwtError> {
    let goes_with_method = match client.token_endpoint_auth_method {
        TokenEndpointAuthMethod::ClientSecretJwt => alg.is_symmetric(),
        TokenEndpointAuthMethod::PrivateKeyJwt => alg.is_asymmetric(),
        TokenEndpointAuthMethod::ClientSecretBasic
        | TokenEndpointAuthMethod::ClientSecretPost
        | TokenEndpointAuthMethod::None => false,
    };
    let registered = client.openid.token_endpoint_auth_signing_alg.is_none_or(|registered| registered == alg);
    if goes_with_method && registered { Ok(()) } else { Err(JwtError::Algorithm) }
}

/// How often what is no longer needed is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Forgets expired assertions and secrets that no client has any more, for ever.
pub async fn tidy(app: App) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        if let Err(error) = tidy_once(&app).await {
            tracing::warn!(%error, "used assertions and old client secrets were not looked after");
        }
    }
}

async fn tidy_once(app: &App) -> Result<(), VaultError> {
    app.vault.forget_assertions(app.now()).await?;
    if !standing::is_fresh(app) {
        return Ok(());
    }
    let is_current = |id: ClientId, hash: &_| {
        let client = app.live.client(id);
        client.is_some_and(|client| client.metadata.signs_with_secret() && client.secret.as_ref() == Some(hash))
    };
    app.vault.forget_client_secrets(is_current).await
}
