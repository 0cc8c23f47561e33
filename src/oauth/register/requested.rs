//! What a client asks to be registered as: RFC 7591 2, OpenID Connect Dynamic Registration 2.
//!
//! What is not understood is ignored (RFC 7591 2); what is understood and cannot be done is refused, so that no client
//! believes that it was.

use std::str::FromStr;

use grantlog_domain::client::{
    ApplicationType, Author, ClientError, ClientMetadata, GrantType, Registration, ResponseType,
    TokenEndpointAuthMethod, check_limits,
};
use grantlog_domain::{RedirectUri, Scope};
use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::members::Members;
use super::{invalid, refused};
use crate::client_fields::{FIELDS, Kind, changed};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::scopes;

/// What may be registered, and by whom.
pub(super) struct Allowed<'a> {
    /// The metadata document (RFC 8414 2).
    pub(super) announced: &'a Map<String, Value>,
    /// The widest scope.
    pub(super) scope: &'a Scope,
    /// What it gets of that when it names none.
    pub(super) default_scope: &'a Scope,
    pub(super) by: Author,
    /// What it is registered as already: that, it may keep.
    pub(super) held: Option<&'a Registration>,
}

/// A name that does not lie about who gave it.
const NO_NAME: &str = "An application without a name";

/// Known, and never done here; `false` and `none` say that it need not be.
const IMPOSSIBLE: [&str; 12] = [
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "request_object_encryption_alg",
    "request_object_encryption_enc",
    "authorization_signed_response_alg",
    "introspection_signed_response_alg",
    "require_signed_request_object",
    "require_pushed_authorization_requests",
    "tls_client_certificate_bound_access_tokens",
    "dpop_bound_access_tokens",
];

/// Which list of the metadata document holds what may be asked for.
const LISTED: [(&str, &str); 8] = [
    ("grant_types", "grant_types_supported"),
    ("response_types", "response_types_supported"),
    ("token_endpoint_auth_method", "token_endpoint_auth_methods_supported"),
    ("token_endpoint_auth_signing_alg", "token_endpoint_auth_signing_alg_values_supported"),
    ("subject_type", "subject_types_supported"),
    ("id_token_signed_response_alg", "id_token_signing_alg_values_supported"),
    ("userinfo_signed_response_alg", "userinfo_signing_alg_values_supported"),
    ("request_object_signing_alg", "request_object_signing_alg_values_supported"),
];

/// Which flag of the metadata document must be there for what is asked for.
const FLAGGED: [(&str, &str); 5] = [
    ("request_uris", "request_uri_parameter_supported"),
    ("frontchannel_logout_uri", "frontchannel_logout_supported"),
    ("frontchannel_logout_session_required", "frontchannel_logout_session_supported"),
    ("backchannel_logout_uri", "backchannel_logout_supported"),
    ("backchannel_logout_session_required", "backchannel_logout_session_supported"),
];

/// The metadata with its defaults (RFC 7591 2), within what is allowed.
pub(super) fn metadata(mut members: Members, allowed: &Allowed<'_>) -> Result<ClientMetadata, OAuthError> {
    check_possible(&members)?;
    let application_type: ApplicationType = word(&mut members, "application_type", ApplicationType::Web)?;
    let method = TokenEndpointAuthMethod::ClientSecretBasic;
    let token_endpoint_auth_method = word(&mut members, "token_endpoint_auth_method", method)?;
    let (grant_types, response_types) = types(&mut members)?;
    let redirect_uris = redirect_uris(&mut members, application_type)?;
    if application_type == ApplicationType::Web && grant_types.contains(&GrantType::Implicit) {
        check_implicit_web(&redirect_uris)?;
    }
    let plain = ClientMetadata {
        client_name: text(&mut members, "client_name")?.unwrap_or_else(|| NO_NAME.to_owned()),
        client_uri: text(&mut members, "client_uri")?,
        redirect_uris,
        grant_types,
        response_types,
        scope: scope(&mut members, allowed)?,
        token_endpoint_auth_method,
        application_type,
        require_pkce: taken(&mut members, "require_pkce", Kind::Flag)?.is_some_and(|flag| flag == true),
        // Only an operator gives it, and only an operator takes it away.
        resource_server: allowed.held.is_some_and(|held| held.metadata.resource_server),
        openid: Box::default(),
    };
    let mut further = Map::new();
    for field in FIELDS {
        if let Some(value) = taken(&mut members, field.name, field.kind)? {
            further.insert(field.name.to_owned(), value);
        }
    }
    let mut asked = further.clone();
    asked.insert("token_endpoint_auth_method".to_owned(), json!(token_endpoint_auth_method));
    asked.insert("grant_types".to_owned(), json!(plain.grant_types));
    asked.insert("response_types".to_owned(), json!(plain.response_types));
    check_announced(&asked, allowed.announced)?;
    let metadata = changed(&plain, further).map_err(refused)?.normalized();
    metadata.validate().map_err(refused)?;
    check_limits(&metadata, allowed.by, Some(allowed.scope), allowed.held).map_err(refused)?;
    Ok(metadata)
}

fn taken(members: &mut Members, name: &'static str, kind: Kind) -> Result<Option<Value>, OAuthError> {
    let Some(value) = members.take(name) else { return Ok(None) };
    kind.check(name, &value).map_err(|error| invalid(error.to_string()))?;
    Ok(Some(value))
}

fn text(members: &mut Members, name: &'static str) -> Result<Option<String>, OAuthError> {
    Ok(taken(members, name, Kind::Text)?.and_then(|value| value.as_str().map(str::to_owned)))
}

fn texts(members: &mut Members, name: &'static str) -> Result<Option<Vec<String>>, OAuthError> {
    let list = taken(members, name, Kind::Texts)?;
    let words =
        |list: Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(list.map(words))
}

fn word<T: FromStr>(members: &mut Members, name: &'static str, default: T) -> Result<T, OAuthError> {
    match text(members, name)? {
        None => Ok(default),
        Some(word) => word.parse().map_err(|_| unsupported(name)),
    }
}

fn unsupported(name: &str) -> OAuthError {
    invalid(format!("{name} is not one that is supported"))
}

fn check_possible(members: &Members) -> Result<(), OAuthError> {
    if members.get("software_statement").is_some() {
        let why = "no software statement is believed here";
        return Err(OAuthError::new(ErrorCode::UnapprovedSoftwareStatement, why));
    }
    let is_asked = |name: &&&str| {
        members.get(name).is_some_and(|value| *value != Value::Bool(false) && value.as_str() != Some("none"))
    };
    IMPOSSIBLE.iter().find(is_asked).map_or(Ok(()), |name| Err(unsupported(name)))
}

/// What this server does not say that it does, it does not promise to a client either.
fn check_announced(asked: &Map<String, Value>, announced: &Map<String, Value>) -> Result<(), OAuthError> {
    for (name, list) in LISTED {
        let listed =
            |value: &Value| announced.get(list).and_then(Value::as_array).is_some_and(|all| all.contains(value));
        let fits = match asked.get(name) {
            None => true,
            Some(Value::Array(values)) => values.iter().all(listed),
            Some(value) => listed(value),
        };
        if !fits {
            return Err(unsupported(name));
        }
    }
    for (name, flag) in FLAGGED {
        let is_asked = asked.get(name).is_some_and(|value| *value != Value::Bool(false) && *value != json!([]));
        if is_asked && announced.get(flag) != Some(&Value::Bool(true)) {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

/// RFC 7591 2.1: grant types and response types go together; what is not said follows from what is.
fn types(members: &mut Members) -> Result<(Vec<GrantType>, Vec<ResponseType>), OAuthError> {
    let grant_types = match texts(members, "grant_types")? {
        None => None,
        Some(words) => Some(
            words
                .iter()
                .map(|word| word.parse())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| unsupported("grant_types"))?,
        ),
    };
    let response_types = match (texts(members, "response_types")?, &grant_types) {
        (Some(words), _) => words
            .iter()
            .map(|words| ResponseType::parse(words))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| unsupported("response_types"))?,
        (None, Some(grant_types)) => ResponseType::usual(grant_types),
        (None, None) => vec![ResponseType::Code],
    };
    let needed = |grant_type: GrantType| response_types.iter().any(|response_type| response_type.needs(grant_type));
    let with_responses = [GrantType::AuthorizationCode, GrantType::Implicit];
    let Some(mut grant_types) = grant_types else {
        return Ok((with_responses.into_iter().filter(|grant_type| needed(*grant_type)).collect(), response_types));
    };
    // RFC 7591 2.1 lets the server replace what does not fit: a grant type that nothing would use is left out.
    grant_types.retain(|grant_type| !with_responses.contains(grant_type) || needed(*grant_type));
    Ok((grant_types, response_types))
}

fn redirect_uris(members: &mut Members, application_type: ApplicationType) -> Result<Vec<RedirectUri>, OAuthError> {
    let native = application_type == ApplicationType::Native;
    let register = |uri: &String| RedirectUri::register(uri, native);
    let uris: Result<Vec<_>, _> = texts(members, "redirect_uris")?.unwrap_or_default().iter().map(register).collect();
    let uris = uris.map_err(|error| refused(ClientError::RedirectUri(error)))?;
    // OpenID Connect Dynamic Registration 2 `application_type`: custom schemes and loopback addresses by http only.
    if native && uris.iter().any(|uri| uri.as_str().starts_with("https:")) {
        return Err(redirect_uri("a native client uses a private-use scheme, or http at a loopback address"));
    }
    Ok(uris)
}

/// OpenID Connect Dynamic Registration 2 `application_type`: web clients with the implicit grant use https, and not
/// localhost.
fn check_implicit_web(uris: &[RedirectUri]) -> Result<(), OAuthError> {
    let is_web = |uri: &RedirectUri| {
        let Ok(url) = Url::parse(uri.as_str()) else { return false };
        let local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => true,
        };
        url.scheme() == "https" && !local
    };
    if uris.iter().all(is_web) {
        return Ok(());
    }
    Err(redirect_uri("a web client with the implicit grant uses https, and not localhost"))
}

fn redirect_uri(why: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRedirectUri, why)
}

/// What it asks for, or the default; both within what is allowed. Words that are not known here are left out (RFC 7591 2: the server may
/// replace what was asked for); the answer says what was registered.
fn scope(members: &mut Members, allowed: &Allowed<'_>) -> Result<Scope, OAuthError> {
    let widest = allowed.held.map_or_else(|| allowed.scope.clone(), |held| held.widest_scope(allowed.scope));
    let Some(text) = text(members, "scope")? else {
        return Ok(allowed.default_scope.filtered(|word| widest.contains(word)));
    };
    let asked = Scope::parse(&text).map_err(|error| invalid(error.to_string()))?;
    let scope = scopes::known(&asked, &[&widest]);
    // A client that would get nothing at all hears of it.
    if scope.is_subset_of(&widest) && scope.is_empty() == asked.is_empty() {
        return Ok(scope);
    }
    Err(invalid(format!("scope: no more than this can be registered here: {widest}")))
}

#[cfg(test)]
mod tests;
