//! What an upgrade asks of an operator, said at the start for as long as it was not done; `docs/upgrading.md` has all of it.

use grantlog_domain::client::{Author, GrantType, check_limits};
use grantlog_projections::live::LiveClient;

use crate::app::App;
use crate::config::Settings;

/// Most clients that a line names.
const NAMED_MAX: usize = 20;

pub fn tell(app: &App) {
    let clients = app.live.clients();
    let more = clients.iter().filter(|client| has_more(&app.settings, client)).map(|client| client.id.to_string());
    let more: Vec<String> = more.collect();
    if !more.is_empty() {
        let some = more.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(" ");
        tracing::warn!(
            clients = more.len(),
            some,
            "clients that no operator answers for have more than they could get now; look at each with grantlog client show, \
             then narrow, disable or delete it, or answer for it: grantlog client update CLIENT_ID --vouch"
        );
    }
    let named = clients.iter().any(|client| client.metadata.resource_server);
    if !named && !app.settings.demo && clients.iter().any(|client| may_be_an_api(client)) {
        tracing::info!(
            "no client is a resource server, so each client hears of its own tokens only; name the APIs that introspect \
             the tokens of others: grantlog client update CLIENT_ID --resource-server true"
        );
    }
}

/// An operator's, which acts for itself only.
fn may_be_an_api(client: &LiveClient) -> bool {
    client.owner.is_none() && client.metadata.grant_types == [GrantType::ClientCredentials]
}

/// Whether a client has more than who made it could give it now: from before that was bounded, or under other settings. What
/// it has, it keeps until an operator takes it away.
fn has_more(settings: &Settings, client: &LiveClient) -> bool {
    let widest = match client.author {
        Author::User => &settings.clients.user_scope,
        Author::Anonymous => &settings.registration.scope,
        Author::Operator | Author::InitialAccessToken => return false,
    };
    !client.is_vouched() && check_limits(&client.metadata, client.author, Some(widest), None).is_err()
}
