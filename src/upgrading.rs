//! What an upgrade asks of an operator, said at the start for as long as it was not done; `docs/upgrading.md` has all of it.

use grantlog_domain::client::GrantType;
use grantlog_projections::live::LiveClient;

use crate::app::App;

pub fn tell(app: &App) {
    let clients = app.live.clients();
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
