//! Front-channel logout: OpenID Connect Front-Channel Logout 1.0, 3. Pages of clients that took part in a session are shown
//! in frames of the signed-out page.
//!
//! Whether they do something there is up to the browser: many keep a client's cookies from a frame. Nothing depends on it;
//! clients that must know use `backchannel`.

use std::collections::BTreeSet;

use grantlog_domain::SessionId;
use grantlog_domain::client::ClientMetadata;
use grantlog_projections::tables::participants;
use url::Url;

use super::sid::sid;
use crate::app::App;
use crate::pages::failure::PageError;
use crate::pages::settled::settled;
use crate::standing;

/// Most frames of one page.
const FRAMES_MAX: usize = 32;

/// The addresses to show when these sessions have ended, each once.
///
/// # Errors
/// When it cannot be read who took part.
pub async fn frames(app: &App, sessions: &[SessionId]) -> Result<Vec<String>, PageError> {
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    settled(app).await?;
    let mut frames = BTreeSet::new();
    for &session_id in sessions {
        for row in participants::of_session(app.store.db(), session_id).await? {
            let Some(client_id) = row.client_id else { continue };
            let client = standing::client(app, client_id).await?.filter(|client| client.is_enabled());
            let known_by = sid(&app.secrets, session_id, client_id);
            frames.extend(client.and_then(|client| frame(&client.metadata, app.settings.issuer.as_str(), &known_by)));
        }
    }
    Ok(frames.into_iter().take(FRAMES_MAX).collect())
}

/// 2, 3: the client's address, with `iss` and `sid` where it needs them; its own query stays.
fn frame(client: &ClientMetadata, issuer: &str, sid: &str) -> Option<String> {
    let mut url = Url::parse(client.openid.frontchannel_logout_uri.as_deref()?).ok()?;
    if client.openid.frontchannel_logout_session_required {
        url.query_pairs_mut().append_pair("iss", issuer).append_pair("sid", sid);
    }
    Some(url.into())
}
