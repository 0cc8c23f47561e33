//! What the demo's client asks this server, over HTTP as any other client would.

use std::sync::LazyLock;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::app::App;
use crate::demo;
use crate::pages::failure::PageError;

/// Time for one call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is shown, in characters; it travels in a cookie.
const SHOWN_CHARS_MAX: usize = 800;

static HTTP: LazyLock<Result<Client, reqwest::Error>> = LazyLock::new(|| {
    // Straight to this machine, whatever proxy the environment names.
    Client::builder().no_proxy().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()
});

/// An answer.
pub struct Called {
    pub status: u16,
    body: String,
}

impl Called {
    pub const fn is_success(&self) -> bool {
        self.status == 200
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The body for people: JSON spread over lines.
    pub fn shown(&self) -> String {
        let text = match serde_json::from_str::<Value>(&self.body) {
            Ok(json) => pretty(&json),
            Err(_) => self.body.clone(),
        };
        text.chars().take(SHOWN_CHARS_MAX).collect()
    }
}

/// JSON spread over lines.
pub fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default()
}

/// RFC 6749 4.1.3, with RFC 7636 4.5.
pub async fn exchange(app: &App, code: &str, verifier: &str) -> Result<Called, PageError> {
    let redirect_uri = app.settings.issuer.url(demo::CALLBACK);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", verifier),
    ];
    call(as_client(app, "/oauth/token")?.form(&fields)).await
}

/// RFC 6749 6.
pub async fn refresh(app: &App, refresh_token: &str) -> Result<Called, PageError> {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    call(as_client(app, "/oauth/token")?.form(&fields)).await
}

/// RFC 7009 2.1.
pub async fn revoke(app: &App, token: &str) -> Result<Called, PageError> {
    call(as_client(app, "/oauth/revoke")?.form(&[("token", token)])).await
}

/// RFC 7662 2.1.
pub async fn introspect(app: &App, token: &str) -> Result<Called, PageError> {
    call(as_client(app, "/oauth/introspect")?.form(&[("token", token)])).await
}

/// RFC 6750 2.1.
pub async fn me(app: &App, token: &str) -> Result<Called, PageError> {
    call(http()?.get(app.settings.issuer.url("/api/me")).bearer_auth(token)).await
}

fn as_client(app: &App, path: &str) -> Result<RequestBuilder, PageError> {
    let secret = demo::client_secret(app);
    let request = http()?.post(app.settings.issuer.url(path));
    Ok(request.basic_auth(demo::client_id(), Some(secret.expose())))
}

fn http() -> Result<&'static Client, PageError> {
    HTTP.as_ref().map_err(|error| PageError::Fault(error.to_string()))
}

async fn call(request: RequestBuilder) -> Result<Called, PageError> {
    // The URL is our own, but an error's text has no need to name it.
    let failed = |error: reqwest::Error| PageError::Unavailable(format!("calling ourselves: {}", error.without_url()));
    let response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    Ok(Called { status, body: response.text().await.map_err(failed)? })
}
