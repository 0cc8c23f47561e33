//! What the demo's client remembers between two requests: in a sealed cookie of the browser, never on the server.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::entropy::Entropy;
use crate::pages::chrome::Chrome;
use crate::pages::cookies::Cookie;
use crate::pages::visit::{Visit, bare_chrome};

/// How long the cookie lives.
const LIFE: Duration = Duration::from_secs(3600);
/// Binds the sealed text to its purpose.
const CONTEXT: &str = "demo cookie";

/// Where the flow stands.
#[derive(Serialize, Deserialize)]
pub enum Kept {
    Started(Started),
    Done(Done),
}

/// The browser is at the authorization endpoint.
#[derive(Serialize, Deserialize)]
pub struct Started {
    pub state: String,
    /// RFC 7636 4.1.
    pub verifier: String,
}

/// The code was exchanged, or refused.
#[derive(Serialize, Deserialize)]
pub struct Done {
    pub code: String,
    pub verifier: String,
    /// The last answer of the token endpoint that was a success; otherwise the first one.
    pub token_response: Value,
    pub step: Option<Step>,
    /// The sealed text is worth nothing after this, whatever the browser does with its cookie.
    pub until: Timestamp,
}

/// What was tried last, and how the server answered.
#[derive(Clone, Serialize, Deserialize)]
pub struct Step {
    pub kind: StepKind,
    pub status: u16,
    pub answer: String,
}

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepKind {
    /// The first exchange of the code did not work.
    Refused,
    Refreshed,
    Replayed,
    Revoked,
}

impl Started {
    pub fn new(entropy: &Entropy) -> Self {
        let text = || URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        Self { state: text(), verifier: text() }
    }

    /// RFC 7636 4.2.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }
}

impl Done {
    /// A token of the last answer; empty when there is none.
    pub fn token(&self, name: &str) -> &str {
        self.token_response[name].as_str().unwrap_or_default()
    }
}

/// When a flow that stands now is forgotten.
pub fn end(app: &App) -> Timestamp {
    app.now().plus_seconds(i64::try_from(LIFE.as_secs()).unwrap_or(i64::MAX))
}

/// What this browser keeps.
pub fn kept(visit: &Visit) -> Option<Kept> {
    let sealed = Cookie::Demo.read(&visit.headers, &visit.app.settings.issuer)?;
    let kept = visit.app.secrets.unseal(CONTEXT, &sealed)?;
    let kept: Kept = serde_json::from_slice(kept.expose()).ok()?;
    match &kept {
        Kept::Done(done) if done.until < visit.app.now() => None,
        Kept::Started(_) | Kept::Done(_) => Some(kept),
    }
}

/// A frame that makes the browser keep it.
pub fn keep(app: &App, kept: &Kept) -> Chrome {
    let mut chrome = bare_chrome(app, false);
    // Text and numbers only: this does not fail.
    let text = serde_json::to_vec(kept).unwrap_or_default();
    chrome.cookies.extend(Cookie::Demo.set(&app.secrets.seal(CONTEXT, &text), Some(LIFE), &app.settings.issuer));
    chrome
}

/// A frame that makes the browser forget.
pub fn forget(app: &App) -> Chrome {
    let mut chrome = bare_chrome(app, false);
    chrome.cookies.extend(Cookie::Demo.clear(&app.settings.issuer));
    chrome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_verifier() {
        // RFC 7636 Appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let started = Started { state: String::new(), verifier };
        assert_eq!(started.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn every_flow_has_a_state_and_a_verifier_of_its_own() {
        let entropy = Entropy::seeded(1);
        let (one, other) = (Started::new(&entropy), Started::new(&entropy));
        assert_ne!(one.state, one.verifier);
        assert_ne!((one.state, one.verifier), (other.state, other.verifier));
    }
}
