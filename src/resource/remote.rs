//! Tokens checked at the introspection endpoint of an authorization server: RFC 7662.
//!
//! A token that was revoked is accepted for at most `max_age` longer. When the endpoint fails nobody is let in whose
//! answer is not remembered.

use std::time::Duration;

use grantlog_domain::{Scope, Timestamp};
use reqwest::redirect::Policy;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::token_cache::{Key, TokenCache};
use super::{Authorized, Unavailable};
use crate::clock::Clock;
use crate::secrets::Secret;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 65_536;

/// How an introspection endpoint is asked.
#[derive(Clone)]
pub struct RemoteSettings {
    /// Its URL; `https`, or `http` on this machine.
    pub introspection_endpoint: String,
    /// The resource server's own credentials there (`client_secret_basic`); of a client made with `--kind api`, or it
    /// hears of its own tokens only.
    pub client_id: String,
    pub client_secret: Secret<String>,
    /// For how long an answer is used: how much later than elsewhere a revocation is seen here. Default 10 s; zero asks
    /// every time. An answer never outlives its token.
    pub max_age: Duration,
    /// Most answers that are remembered; default 10,000.
    pub entries_max: u64,
    /// Longest wait for an answer; default 5 s.
    pub timeout: Duration,
    /// Most questions at the same time; default 64. Others wait, no longer than `timeout`.
    pub questions_max: usize,
    pub clock: Clock,
}

impl RemoteSettings {
    /// The defaults.
    pub fn new(
        introspection_endpoint: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        Self {
            introspection_endpoint: introspection_endpoint.into(),
            client_id: client_id.into(),
            client_secret: Secret::new(client_secret.into()),
            max_age: Duration::from_secs(10),
            entries_max: 10_000,
            timeout: Duration::from_secs(5),
            questions_max: 64,
            clock: Clock::system(),
        }
    }
}

/// The settings do not make a client.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("the endpoint must be an https URL, or http on this machine")]
    Endpoint,
    #[error("no HTTP client can be made: {0}")]
    Http(reqwest::Error),
}

/// A validator that asks an authorization server.
pub struct Remote {
    settings: RemoteSettings,
    /// `Authorization` of every question.
    http: reqwest::Client,
    cache: TokenCache,
    questions: Semaphore,
}

/// RFC 7662 2.2.
#[derive(Deserialize)]
struct Introspection {
    active: bool,
    scope: Option<String>,
    client_id: Option<String>,
    username: Option<String>,
    token_type: Option<String>,
    sub: Option<String>,
    exp: Option<i64>,
}

/// Why a question had no answer; for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Status(http::StatusCode),
    #[error("its answer is too long")]
    TooLong,
    #[error("its answer cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("too many questions are waiting")]
    Busy,
}

impl Remote {
    /// # Errors
    /// See [`RemoteError`].
    pub fn new(settings: RemoteSettings) -> Result<Self, RemoteError> {
        let endpoint = url::Url::parse(&settings.introspection_endpoint).map_err(|_| RemoteError::Endpoint)?;
        if !(endpoint.scheme() == "https" || (endpoint.scheme() == "http" && is_this_machine(&endpoint))) {
            return Err(RemoteError::Endpoint);
        }
        // The credentials go to this URL and nowhere else.
        let http = reqwest::Client::builder().timeout(settings.timeout).redirect(Policy::none()).build();
        let http = http.map_err(RemoteError::Http)?;
        let cache = TokenCache::new(settings.entries_max, settings.max_age, settings.clock.clone());
        let questions = Semaphore::new(settings.questions_max.max(1));
        Ok(Self { settings, http, cache, questions })
    }

    pub(super) async fn validate(&self, token: &str) -> Result<Option<Authorized>, Unavailable> {
        let key = Key::of(token);
        if let Some(remembered) = self.cache.get(&key) {
            return Ok(remembered);
        }
        let asked_at = self.cache.now_millis();
        let authorized = self.ask(token).await.map_err(|failure| {
            tracing::warn!(error = %failure, "the introspection endpoint gave no answer");
            Unavailable
        })?;
        // A server whose clock is behind may call a token active that has ended.
        let authorized = authorized.filter(|authorized| !self.cache.has_ended(authorized.expires_at));
        self.cache.put(key, authorized.clone(), asked_at);
        Ok(authorized)
    }

    async fn ask(&self, token: &str) -> Result<Option<Authorized>, Failure> {
        let permit = tokio::time::timeout(self.settings.timeout, self.questions.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Failure::Busy) };
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        // RFC 6749 2.3.1: both halves are form-encoded.
        let (id, secret) = (encoded(&self.settings.client_id), encoded(self.settings.client_secret.expose()));
        let question = self.http.post(&self.settings.introspection_endpoint).basic_auth(id, Some(secret));
        let question = question.form(&[("token", token), ("token_type_hint", "access_token")]);
        let answer = question.send().await.map_err(reqwest::Error::without_url)?;
        Ok(authorized(serde_json::from_slice(&body(answer).await?)?))
    }
}

/// The body of a good answer, as far as it may go.
pub(super) async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
    if answer.status() != http::StatusCode::OK {
        return Err(Failure::Status(answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn authorized(introspection: Introspection) -> Option<Authorized> {
    // RFC 7662 2.2: an active refresh token is no access token, and has no `token_type` of RFC 6749 5.1.
    if !introspection.token_type.is_some_and(|token_type| token_type.eq_ignore_ascii_case("bearer")) {
        return None;
    }
    let client_id = introspection.client_id.unwrap_or_default();
    // A scope that cannot be read opens nothing.
    let scope = introspection.scope.and_then(|scope| Scope::parse(&scope).ok()).unwrap_or_default();
    introspection.active.then(|| Authorized {
        sub: introspection.sub.unwrap_or_else(|| client_id.clone()),
        client_id,
        username: introspection.username,
        scope,
        expires_at: introspection.exp.map(Timestamp),
    })
}

pub(super) fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
