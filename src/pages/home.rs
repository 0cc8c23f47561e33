//! The first page: what this is, or what is mine: my clients, what I allowed, what happened lately.

use askama::Template;
use grantlog_domain::{ClientId, UserId};
use grantlog_projections::tables::{Page, activity, clients, grants};
use http::StatusCode;
use warp::reply::Response;

use super::chrome::Chrome;
use super::client_form::kind_in_words;
use super::demo::DemoPanel;
use super::failure::PageError;
use super::moment::Moment;
use super::paging::Paging;
use super::scopes;
use super::settled::settled;
use super::start_login;
use super::visit::Visit;
use super::words::{self, Line};
use crate::app::App;

/// Clients that somebody allowed something, as far as the first page shows them; the account page has them all.
const ALLOWED_SHOWN: i64 = 8;

#[derive(Template)]
#[template(path = "welcome.html")]
pub(super) struct WelcomePage {
    pub chrome: Chrome,
    pub demo: Option<DemoPanel>,
}

#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct HomePage {
    pub chrome: Chrome,
    pub username: String,
    pub demo: Option<DemoPanel>,
    pub clients: Vec<Tile>,
    pub clients_paging: Paging,
    /// What the names of clients were searched for.
    pub find: Option<String>,
    pub allowed: Vec<Allowed>,
    pub lines: Vec<Line>,
}

/// One of my clients.
pub(super) struct Tile {
    pub client_id: String,
    pub name: String,
    pub kind: &'static str,
    pub disabled: bool,
}

/// What I allowed one client.
pub(super) struct Allowed {
    pub client_id: String,
    pub client_name: String,
    pub words: String,
    /// Where a login at that client begins.
    pub start_login: Option<String>,
    pub since: Moment,
    /// How often.
    pub grants: i64,
}

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    let chrome = visit.chrome("/").await?;
    let demo = visit.app.settings.demo.then(|| DemoPanel::new(&visit.app));
    let Some(session) = visit.current() else {
        return Ok(chrome.page(StatusCode::OK, &WelcomePage { chrome: chrome.clone(), demo }));
    };
    let (app, user_id) = (&visit.app, session.user_id);
    settled(app).await?;
    let find = visit.parameters.get("find").map(str::trim).filter(|find| !find.is_empty());
    let mut clients_paging = Paging::of(visit, "/", "clients", "my-clients");
    if let Some(find) = find {
        clients_paging = clients_paging.searched("find", find);
    }
    let view = HomePage {
        chrome: chrome.clone(),
        username: chrome.user.clone().unwrap_or_default(),
        demo,
        clients: my_clients(app, user_id, find, &mut clients_paging).await?,
        clients_paging,
        find: find.map(str::to_owned),
        allowed: allowed_by(app, user_id, chrome.user.as_deref(), Page { limit: ALLOWED_SHOWN, offset: 0 }).await?,
        lines: recent_activity(app, user_id).await?,
    };
    Ok(chrome.page(StatusCode::OK, &view))
}

async fn my_clients(app: &App, owner: UserId, find: Option<&str>, paging: &mut Paging) -> Result<Vec<Tile>, PageError> {
    let rows = match find {
        Some(part) => clients::search(app.store.db(), owner, part, paging.page()).await?,
        None => clients::list(app.store.db(), Some(owner), paging.page()).await?,
    };
    let rows = paging.shown(rows);
    let tile = |row: clients::ClientRow| Tile {
        client_id: row.client_id.to_string(),
        kind: kind_in_words(&row.metadata),
        disabled: !row.is_enabled(),
        name: row.metadata.client_name,
    };
    Ok(rows.into_iter().map(tile).collect())
}

/// What a user allowed, client by client. Only a client that may see the profile is told the name that they sign in with.
pub(super) async fn allowed_by(
    app: &App,
    user_id: UserId,
    username: Option<&str>,
    page: Page,
) -> Result<Vec<Allowed>, PageError> {
    let rows = grants::allowed_by(app.store.db(), user_id, app.now(), page).await?;
    let start_login = |row: &grants::Allowed| {
        let client = app.live.client(row.client_id).filter(|client| client.is_enabled())?;
        let login_hint = username.filter(|_| row.scope.contains("profile"));
        start_login::link(&app.settings.issuer, &client.metadata, login_hint, None)
    };
    let allowed = |row: grants::Allowed| Allowed {
        start_login: start_login(&row),
        client_id: row.client_id.to_string(),
        client_name: row
            .client_name
            .or_else(|| client_name(app, row.client_id))
            .unwrap_or_else(|| "A client".to_owned()),
        words: scopes::sentence(&row.scope),
        since: Moment::from(row.first_at),
        grants: row.grants,
    };
    Ok(rows.into_iter().map(allowed).collect())
}

async fn recent_activity(app: &App, user_id: UserId) -> Result<Vec<Line>, PageError> {
    let mut lines = Vec::new();
    for row in activity::of_user(app.store.db(), user_id).await? {
        lines.push(words::of_activity(&row, client_of(app, &row).await?.as_deref()));
    }
    Ok(lines)
}

/// The name of the client that an event is about; what happens to a grant does not name it again.
async fn client_of(app: &App, row: &activity::ActivityRow) -> Result<Option<String>, PageError> {
    let client_id = match row.client_id {
        Some(client_id) => Some(client_id),
        None if row.event_type.starts_with("grant.") => match row.aggregate_id.parse() {
            Ok(grant_id) => grants::find(app.store.db(), grant_id).await?.map(|grant| grant.client_id),
            Err(_) => None,
        },
        None => None,
    };
    Ok(client_id.and_then(|id| client_name(app, id)))
}

fn client_name(app: &App, id: ClientId) -> Option<String> {
    app.live.client(id).map(|client| client.metadata.client_name.clone())
}
