//! Who is asking: client authentication at the token, revocation and introspection endpoints (RFC 6749 2.3 and 3.2.1).
//!
//! `client_secret_basic`, `client_secret_post` and `none` here, signed assertions in `client_assertion`; each client uses the one that it registered, and one only.
//! Whatever is wrong, the answer is the same, so that nobody learns which clients exist.

use std::str::FromStr as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantlog_domain::ClientId;
use grantlog_domain::client::TokenEndpointAuthMethod;
use grantlog_projections::live::LiveClient;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::client_assertion;
use super::form::{Parameters, decode};
use crate::app::App;
use crate::oauth::error::OAuthError;
use crate::secrets::Kind;
use crate::standing;
use crate::store::StoreError;
use crate::store::vault::VaultError;

/// Longest `Authorization` header that is looked at, in bytes.
const AUTHORIZATION_BYTES_MAX: usize = 2048;

/// The methods that this server takes.
pub const SUPPORTED: &[TokenEndpointAuthMethod] = TokenEndpointAuthMethod::ALL;

/// What a request says of its client, not yet believed.
#[derive(Clone, Copy)]
struct Claim<'a> {
    method: TokenEndpointAuthMethod,
    client_id: &'a str,
    secret: Option<&'a str>,
}

/// Why a client is not authenticated.
#[derive(Debug)]
pub enum AuthenticationError {
    Refused(OAuthError),
    /// This node is not up to date, and the log cannot be read.
    Unknown(StoreError),
    /// The vault cannot say whether it is so.
    Vault(VaultError),
}

impl From<OAuthError> for AuthenticationError {
    fn from(error: OAuthError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for AuthenticationError {
    fn from(error: StoreError) -> Self {
        Self::Unknown(error)
    }
}

/// Authenticates the client. A public one only names itself (RFC 6749 3.2.1).
pub async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<Arc<LiveClient>, AuthenticationError> {
    if let Some(assertion) = client_assertion::presented(headers, parameters)? {
        // In a box, so that the future of the other methods stays small.
        return Box::pin(client_assertion::authenticate(app, assertion, parameters)).await;
    }
    let mut pair = Zeroizing::new(Vec::new());
    let claim = claim(headers, parameters, &mut pair)?;
    // Hashed before anything is looked up, so that an unknown client takes as long as a known one.
    let presented = claim.secret.and_then(|secret| app.secrets.parse(Kind::ClientSecret, secret));
    let client = match ClientId::from_str(claim.client_id) {
        Ok(id) => standing::client(app, id).await.map_err(AuthenticationError::Unknown)?,
        Err(_) => None,
    };
    let client = client.filter(|client| client.is_enabled()).ok_or_else(OAuthError::invalid_client)?;
    // RFC 6749 2.3: a client that could choose its method could choose the weakest.
    if client.metadata.token_endpoint_auth_method != claim.method {
        return Err(OAuthError::invalid_client().into());
    }
    let proven = match (&client.secret, presented) {
        // A secret names its client: the hash of another one's, however it came here, lets nobody in as this one.
        (Some(stored), Some((of, presented))) => of == client.id.0 && presented == *stored,
        (None, None) => claim.method == TokenEndpointAuthMethod::None,
        _ => false,
    };
    if proven { Ok(client) } else { Err(OAuthError::invalid_client().into()) }
}

/// The same, for endpoints that public clients may not ask (RFC 7662 2.1).
pub async fn authenticate_confidential(
    app: &App,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<Arc<LiveClient>, AuthenticationError> {
    let client = authenticate(app, headers, parameters).await?;
    if client.metadata.is_public() { Err(OAuthError::invalid_client().into()) } else { Ok(client) }
}

/// `pair` is where id and secret of the header are decoded.
fn claim<'a>(headers: &HeaderMap, parameters: &'a Parameters, pair: &'a mut Vec<u8>) -> Result<Claim<'a>, OAuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next();
    let secret = parameters.get("client_secret");
    // RFC 6749 2.3: MUST NOT use more than one authentication method in each request.
    if values.next().is_some() || (header.is_some() && secret.is_some()) {
        return Err(OAuthError::invalid_request("the client authenticates in more than one way"));
    }
    let client_id = parameters.get("client_id");
    if let Some(header) = header {
        let claim = basic(header, pair).ok_or_else(OAuthError::invalid_client)?;
        if client_id.is_some_and(|client_id| client_id != claim.client_id) {
            return Err(OAuthError::invalid_request("client_id differs from the one in the Authorization header"));
        }
        return Ok(claim);
    }
    let method = match secret {
        Some(_) => TokenEndpointAuthMethod::ClientSecretPost,
        None => TokenEndpointAuthMethod::None,
    };
    let client_id = client_id.ok_or_else(OAuthError::invalid_client)?;
    Ok(Claim { method, client_id, secret })
}

/// RFC 7617 2, with both halves form-encoded (RFC 6749 2.3.1).
fn basic<'a>(header: &HeaderValue, pair: &'a mut Vec<u8>) -> Option<Claim<'a>> {
    let text = header.to_str().ok().filter(|text| text.len() <= AUTHORIZATION_BYTES_MAX)?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    // All the room at once: what is left behind by growing would not be wiped.
    pair.resize(base64::decoded_len_estimate(encoded.len()), 0);
    let length = STANDARD.decode_slice(encoded.trim_start_matches(' '), pair).ok()?;
    let colon = pair[..length].iter().position(|byte| *byte == b':')?;
    let (client_id, secret) = pair[..length].split_at_mut(colon);
    Some(Claim {
        method: TokenEndpointAuthMethod::ClientSecretBasic,
        client_id: decode(client_id).ok()?,
        secret: Some(decode(&mut secret[1..]).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pair: &str) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).expect("ASCII");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    fn claimed(
        headers: &HeaderMap,
        body: &str,
    ) -> Result<(TokenEndpointAuthMethod, String, Option<String>), OAuthError> {
        let parameters = Parameters::parse(body.as_bytes(), 10).expect("parameters");
        let mut pair = Vec::new();
        let claim = claim(headers, &parameters, &mut pair)?;
        Ok((claim.method, claim.client_id.to_owned(), claim.secret.map(str::to_owned)))
    }

    #[test]
    fn id_and_secret_of_the_header_are_form_decoded() {
        // RFC 6749 2.3.1: a colon in the secret is no separator once it is encoded.
        let (method, id, secret) = claimed(&headers("a%3Ab:c+d%25"), "").expect("a claim");
        assert_eq!(method, TokenEndpointAuthMethod::ClientSecretBasic);
        assert_eq!((id.as_str(), secret.as_deref()), ("a:b", Some("c d%")));
    }

    #[test]
    fn the_body_holds_id_and_secret_or_the_id_only() {
        let (method, id, secret) = claimed(&HeaderMap::new(), "client_id=a&client_secret=b").expect("a claim");
        assert_eq!(method, TokenEndpointAuthMethod::ClientSecretPost);
        assert_eq!((id.as_str(), secret.as_deref()), ("a", Some("b")));
        let (method, _, secret) = claimed(&HeaderMap::new(), "client_id=a").expect("a claim");
        assert_eq!((method, secret), (TokenEndpointAuthMethod::None, None));
    }

    #[test]
    fn two_methods_at_once_are_an_invalid_request() {
        let error = claimed(&headers("a:b"), "client_id=a&client_secret=b").expect_err("refused");
        assert_eq!(error.code().as_str(), "invalid_request");
        let error = claimed(&headers("a:b"), "client_id=other").expect_err("refused");
        assert_eq!(error.code().as_str(), "invalid_request");
        assert!(claimed(&headers("a:b"), "client_id=a").is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_an_invalid_client() {
        for value in ["Basic", "Basic !", "Basic YQ==", "Basic JTp4", "Bearer YTpi", "Basic \u{7f}"] {
            let Ok(value) = HeaderValue::from_str(value) else { continue };
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            assert_eq!(claimed(&headers, "").expect_err("refused"), OAuthError::invalid_client());
        }
        assert_eq!(claimed(&HeaderMap::new(), "").expect_err("refused"), OAuthError::invalid_client());
    }
}
