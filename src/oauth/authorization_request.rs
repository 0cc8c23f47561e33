//! What an authorization request asks, checked: RFC 6749 4.1.1 and 4.2.1, RFC 7636 4.3, OpenID Connect Core 3.1.2.1
//! (`prompt`).
//!
//! The request goes to the browser and comes back (to sign in, to consent) as a query or as fields of a form, and is
//! checked from the beginning each time: nothing that was in a browser is trusted. Not here: who the client is and where
//! it may be redirected to (`authorize`, `authorization_response`).

mod arrival;

use std::sync::OnceLock;

use form_urlencoded::{Serializer, byte_serialize};
use grantlog_domain::client::{Author, ClientMetadata, GrantType, ResponseType};
use grantlog_domain::grant::ConsentDigest;
use grantlog_domain::{ClientId, CodeChallenge, OFFLINE_ACCESS, Scope};

pub use self::arrival::Arrival;
use self::arrival::{ARRIVAL_BYTES_MAX, FIELD};
use super::authorization_response::{ResponseMode, VerifiedRedirect};
use super::error::{AuthorizationError, ErrorCode, OAuthError};
use super::scopes;
use crate::app::App;
use crate::config::{RequirePkce, Settings};
use crate::http::form::Parameters;
use crate::oidc::request::OpenIdRequest;
use crate::pages::SignedIn;
use crate::pages::visit::Proof;

/// Longest `state`, in bytes.
pub const STATE_BYTES_MAX: usize = 2048;

/// Most bytes of scope words that an error names.
const SCOPE_BYTES_TOLD: usize = 200;

/// Longest request, in bytes of this endpoint's path and query: what browsers and proxies carry. It is as long again
/// when the browser comes back from the sign-in page.
pub const REQUEST_BYTES_MAX: usize = 8000;

/// The authorization endpoint.
const PATH: &str = "/oauth/authorize";

/// An authorization request that may be granted, if the user agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    pub client_id: ClientId,
    pub client: ClientMetadata,
    pub response_type: ResponseType,
    pub redirect: VerifiedRedirect,
    /// What was asked for; all that the client registered when it named nothing (RFC 6749 3.3).
    pub scope: Scope,
    pub code_challenge: Option<CodeChallenge>,
    pub prompt: Prompt,
    pub openid: OpenIdRequest,
    /// When it first came here, if it has been at the sign-in page since.
    pub arrival: Option<Arrival>,
    pub made: Made,
    /// What its page shows (`shown`), once that was asked for.
    pub(super) shown: OnceLock<ConsentDigest>,
}

/// Who made the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    pub by: Author,
    /// An operator answered for it later, so that its page does not warn of who made it.
    pub vouched: bool,
}

/// `prompt`: which pages the user must or must not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    pub none: bool,
    pub login: bool,
    pub consent: bool,
    pub select_account: bool,
}

impl AuthorizationRequest {
    /// The checks of a request whose client and redirect URI are verified, in their order. Errors go to the client.
    pub fn check(
        parameters: &Parameters,
        client_id: ClientId,
        client: &ClientMetadata,
        redirect: VerifiedRedirect,
        settings: &Settings,
    ) -> Result<Self, AuthorizationError> {
        let redirect = way_back(redirect, parameters);
        let checked = || {
            check_repeats(parameters)?;
            check_state(parameters)?;
            let response_type = response_type(parameters, client)?;
            response_mode(parameters, Some(response_type))?;
            check_unsupported(parameters)?;
            let scope = understood_scope(parameters, client, &settings.registration.scope)?;
            let scope = without_needless_offline_access(scope, client, response_type);
            let code_challenge = code_challenge(parameters, response_type)?;
            check_pkce(client, response_type, code_challenge, settings.oauth.require_pkce)?;
            let prompt = prompt(parameters)?;
            let openid = OpenIdRequest::check(parameters, client, response_type, &scope)?;
            Ok((response_type, scope, code_challenge, prompt, openid))
        };
        match checked() {
            Err(error) => Err(AuthorizationError::Redirect { to: Box::new(redirect), error }),
            Ok((response_type, scope, code_challenge, prompt, openid)) => Ok(Self {
                client_id,
                client: client.clone(),
                response_type,
                redirect,
                scope,
                code_challenge,
                prompt,
                openid,
                arrival: None,
                // Until the caller says it.
                made: Made { by: Author::Anonymous, vouched: false },
                shown: OnceLock::new(),
            }),
        }
    }

    /// The request as parameters: hidden fields of the consent form.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields =
            vec![("response_type", self.response_type.to_string()), ("client_id", self.client_id.to_string())];
        if self.redirect.in_request() {
            fields.push(("redirect_uri", self.redirect.redirect_uri().to_owned()));
        }
        if !self.scope.is_empty() {
            fields.push(("scope", self.scope.to_string()));
        }
        if let Some(state) = self.redirect.state() {
            fields.push(("state", state.to_owned()));
        }
        if let Some(mode) = self.redirect.asked_mode() {
            fields.push(("response_mode", mode.as_str().to_owned()));
        }
        fields.extend(self.openid.fields());
        if let Some(code_challenge) = self.code_challenge {
            fields.push(("code_challenge", code_challenge.to_string()));
            fields.push(("code_challenge_method", "S256".to_owned()));
        }
        if let Some(prompt) = self.prompt.text() {
            fields.push(("prompt", prompt));
        }
        if let Some(arrival) = &self.arrival {
            fields.push((FIELD, arrival.to_string()));
        }
        fields
    }

    /// The request as a query, without `?`.
    #[must_use]
    pub fn to_query(&self) -> String {
        Serializer::new(String::new()).extend_pairs(self.fields()).finish()
    }

    /// The request as a path with query on this server.
    #[must_use]
    pub fn to_path(&self) -> String {
        format!("{PATH}?{}", self.to_query())
    }

    /// The same request, which lets the user choose another account first.
    #[must_use]
    pub fn switching_account(&self) -> Self {
        let prompt = Prompt { select_account: true, ..self.prompt };
        Self { prompt, arrival: None, ..self.clone() }
    }

    /// The same request, once the user has chosen; then nobody else proposes one.
    #[must_use]
    pub fn account_chosen(&self) -> Self {
        let prompt = Prompt { select_account: false, ..self.prompt };
        let openid = OpenIdRequest { login_hint: None, ..self.openid.clone() };
        Self { prompt, openid, ..self.clone() }
    }

    /// Every request that is taken comes back whole from the sign-in and consent pages, as a URL and as a field of a form.
    pub fn check_length(&self, app: &App) -> Result<(), OAuthError> {
        let limits = &app.settings.http;
        let path = self.switching_account().to_path();
        // Half of what is read, because a browser sends more than the request.
        let as_url = path.len() + ARRIVAL_BYTES_MAX <= REQUEST_BYTES_MAX.min(limits.header_bytes / 2);
        let as_field = byte_serialize(path.as_bytes()).map(str::len).sum::<usize>() <= limits.body_bytes / 2;
        if as_url && as_field { Ok(()) } else { Err(OAuthError::invalid_request("the request is too long")) }
    }

    /// Takes over what `presented` says of an earlier arrival, when this server wrote it for this request.
    pub fn recall(&mut self, app: &App, presented: Option<&str>) {
        self.arrival = presented.and_then(|text| Arrival::read(&app.secrets, &self.to_query(), text, app.now()));
    }

    /// Notes that the request arrives now, unless it did before.
    pub fn arrive(&mut self, app: &App, accounts: &[SignedIn]) {
        if self.arrival.is_none() {
            let proofs: Vec<Proof> = accounts.iter().map(|account| account.proof).collect();
            self.arrival = Some(Arrival::now(&app.secrets, &self.to_query(), &proofs, app.now()));
        }
    }

    /// Whether the user signed in after the request arrived.
    #[must_use]
    pub fn is_reauthenticated(&self, session: &SignedIn) -> bool {
        self.arrival.as_ref().is_some_and(|arrival| arrival.is_before_sign_in(&session.proof, session.auth_time))
    }
}

impl Prompt {
    fn text(self) -> Option<String> {
        let named = [
            (self.none, "none"),
            (self.login, "login"),
            (self.consent, "consent"),
            (self.select_account, "select_account"),
        ];
        let words: Vec<_> = named.into_iter().filter_map(|(set, word)| set.then_some(word)).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// How the client wants its answer, as far as that can be told: errors go there too.
#[must_use]
pub fn way_back(redirect: VerifiedRedirect, parameters: &Parameters) -> VerifiedRedirect {
    let redirect = redirect.with_state(parameters.get("state").filter(|state| state.len() <= STATE_BYTES_MAX));
    // Without a response type, or with one that is not known, the client may still say how it wants to hear so.
    let response_type = parameters.get("response_type").and_then(|text| ResponseType::parse(text).ok());
    let mode = response_mode(parameters, response_type).ok().flatten();
    redirect.answering(response_type, mode)
}

/// RFC 6749 3.1: parameters MUST NOT be included more than once.
fn check_repeats(parameters: &Parameters) -> Result<(), OAuthError> {
    if parameters.has_repeats() { Err(OAuthError::invalid_request("a parameter is repeated")) } else { Ok(()) }
}

fn check_state(parameters: &Parameters) -> Result<(), OAuthError> {
    match parameters.get("state") {
        Some(state) if state.len() > STATE_BYTES_MAX => Err(OAuthError::invalid_request("state is too long")),
        _ => Ok(()),
    }
}

/// RFC 6749 3.1.1: known, and one that the client registered.
fn response_type(parameters: &Parameters, client: &ClientMetadata) -> Result<ResponseType, OAuthError> {
    let text = parameters.get("response_type").ok_or_else(|| OAuthError::missing("response_type"))?;
    let response_type = ResponseType::parse(text)
        .map_err(|_| OAuthError::new(ErrorCode::UnsupportedResponseType, "this response_type is not supported"))?;
    if client.response_types.contains(&response_type) {
        return Ok(response_type);
    }
    Err(OAuthError::new(ErrorCode::UnauthorizedClient, "the client is not registered for this response_type"))
}

/// OAuth 2.0 Multiple Response Type Encoding Practices 2.1 and 5; OAuth 2.0 Form Post Response Mode 2. Only a code alone
/// may go into the query, which servers log and browsers remember.
fn response_mode(
    parameters: &Parameters,
    response_type: Option<ResponseType>,
) -> Result<Option<ResponseMode>, OAuthError> {
    let Some(text) = parameters.get("response_mode") else { return Ok(None) };
    let mode = ResponseMode::ALL.iter().copied().find(|mode| mode.as_str() == text);
    let mode = mode.ok_or_else(|| OAuthError::invalid_request("response_mode is not supported"))?;
    if mode == ResponseMode::Query && response_type.is_some_and(|asked| asked != ResponseType::Code) {
        return Err(OAuthError::invalid_request("response_mode query is for response_type code only"));
    }
    Ok(Some(mode))
}

/// RFC 8707 2: what a client must not believe to have been understood.
fn check_unsupported(parameters: &Parameters) -> Result<(), OAuthError> {
    match parameters.get("resource") {
        Some(_) => Err(OAuthError::new(ErrorCode::InvalidTarget, "the parameter resource is not supported")),
        None => Ok(()),
    }
}

/// RFC 6749 3.3: within what the client registered; without one, all of that.
pub fn scope(parameters: &Parameters, client: &ClientMetadata) -> Result<Scope, OAuthError> {
    within_registration(asked_scope(parameters)?, client)
}

/// The same for an authorization request: words of an OpenID request that are not known here are ignored (OpenID Connect
/// Core 3.1.2.1), and the client is told what it got (RFC 6749 3.3).
fn understood_scope(parameters: &Parameters, client: &ClientMetadata, widest: &Scope) -> Result<Scope, OAuthError> {
    let asked = asked_scope(parameters)?.map(|scope| match scope.contains("openid") {
        true => scopes::known(&scope, &[&client.scope, widest]),
        false => scope,
    });
    within_registration(asked, client)
}

fn asked_scope(parameters: &Parameters) -> Result<Option<Scope>, OAuthError> {
    let scope = parameters.get("scope").map(Scope::parse).transpose();
    scope.map_err(|error| OAuthError::new(ErrorCode::InvalidScope, error.to_string()))
}

/// OpenID Connect Core 11: `offline_access` is ignored where it cannot be given.
fn within_registration(asked: Option<Scope>, client: &ClientMetadata) -> Result<Scope, OAuthError> {
    let Some(scope) = asked else { return Ok(client.scope.clone()) };
    let is_openid = scope.contains("openid");
    let scope = scope.filtered(|word| word != OFFLINE_ACCESS || !is_openid || client.scope.contains(word));
    if scope.is_subset_of(&client.scope) { Ok(scope) } else { Err(not_registered(&scope, &client.scope)) }
}

/// Words of a scope are printable ASCII without quotes (RFC 6749 3.3), as an `error_description` is.
fn not_registered(asked: &Scope, registered: &Scope) -> OAuthError {
    let mut named = String::new();
    for word in asked.tokens().filter(|word| !registered.contains(word)) {
        if named.len() + word.len() > SCOPE_BYTES_TOLD {
            named.push_str(" and more");
            break;
        }
        named.push(' ');
        named.push_str(word);
    }
    OAuthError::new(ErrorCode::InvalidScope, format!("the client is not registered for this scope:{named}"))
}

/// OpenID Connect Core 11: `offline_access` is ignored where no code comes back; and where the client cannot refresh. The
/// user is always asked for it, or was before: no scope is given without that.
fn without_needless_offline_access(scope: Scope, client: &ClientMetadata, response_type: ResponseType) -> Scope {
    let useful = response_type.has_code() && client.allows(GrantType::RefreshToken);
    if useful || !scope.contains("openid") {
        return scope;
    }
    scope.filtered(|word| word != OFFLINE_ACCESS)
}

/// RFC 7636 4.3: S256 only; without a method it would be plain.
fn code_challenge(parameters: &Parameters, response_type: ResponseType) -> Result<Option<CodeChallenge>, OAuthError> {
    let method = parameters.get("code_challenge_method");
    let Some(text) = parameters.get("code_challenge") else {
        return match method {
            Some(_) => Err(OAuthError::missing("code_challenge")),
            None => Ok(None),
        };
    };
    // A challenge that nobody would ever ask the verifier for must not look as if it protected anything.
    if !response_type.has_code() {
        return Err(OAuthError::invalid_request("code_challenge goes with a response_type that has code"));
    }
    if method != Some("S256") {
        return Err(OAuthError::invalid_request("code_challenge_method must be S256"));
    }
    CodeChallenge::parse(text).map(Some).map_err(|error| OAuthError::invalid_request(error.to_string()))
}

/// RFC 7636 4.4.1, RFC 9700 2.1.1.
fn check_pkce(
    client: &ClientMetadata,
    response_type: ResponseType,
    code_challenge: Option<CodeChallenge>,
    require_pkce: RequirePkce,
) -> Result<(), OAuthError> {
    let required = client.is_public() || client.require_pkce || require_pkce == RequirePkce::All;
    if required && response_type.has_code() && code_challenge.is_none() {
        return Err(OAuthError::invalid_request("code challenge required"));
    }
    Ok(())
}

/// OpenID Connect Core 3.1.2.1; words that are not known are ignored, as unknown parameters are.
fn prompt(parameters: &Parameters) -> Result<Prompt, OAuthError> {
    let mut prompt = Prompt::default();
    for word in parameters.get("prompt").unwrap_or_default().split(' ') {
        match word {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            _ => {}
        }
    }
    if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
        return Err(OAuthError::invalid_request("prompt none goes with nothing else"));
    }
    Ok(prompt)
}

#[cfg(test)]
mod tests;
