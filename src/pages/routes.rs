//! Which path is which page. The last of the server's routes: what is nowhere else is not found here.

use bytes::Buf;
use futures::Stream;
use grantlog_domain::ClientId;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method};
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::failure::PageError;
use super::visit::{Visit, bare_chrome};
use super::{account, accounts, assets, client, create_client, demo, home, profile, sign_in, sign_out};
use crate::app::{App, with};
use crate::http::form::{self, Encodings, FormLimits, Parameters};
use crate::http::request_id::{RequestContext, request_context};
use crate::http::security_headers::lead_to_clients;

/// Every page and asset, and the answer to every other path.
pub fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or_else(async |_: Rejection| Ok::<_, Rejection>((String::new(),))))
        .and(warp::header::headers_cloned())
        .and(request_context())
        .and(warp::body::stream())
        .and(with(app))
        .then(async |method, path: FullPath, query: String, headers, context, body, app: App| {
            let asked = Asked { method, path: path.as_str().to_owned(), query, headers, context };
            answer(&app, asked, body).await
        })
        .boxed()
}

/// A request, before its body is read.
struct Asked {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    context: RequestContext,
}

/// A path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Home,
    SignIn,
    SignOut,
    Accounts,
    CreateClient,
    Client(ClientId),
    ClientChange(ClientId, client::Change),
    Account,
    AccountChange(account::Change),
    Profile,
    Demo(demo::Page),
    Asset(&'a str),
    /// Answered elsewhere, for GET.
    Operations,
}

impl Route<'_> {
    fn find(path: &str) -> Option<Route<'_>> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match segments.as_slice() {
            [""] => Route::Home,
            ["login"] => Route::SignIn,
            ["logout"] => Route::SignOut,
            ["accounts"] => Route::Accounts,
            ["create_client"] => Route::CreateClient,
            ["clients", id] => Route::Client(id.parse().ok()?),
            ["clients", id, change] => Route::ClientChange(id.parse().ok()?, client::Change::find(change)?),
            ["account"] => Route::Account,
            ["account", "profile"] => Route::Profile,
            ["account", change] => Route::AccountChange(account::Change::find(change)?),
            ["demo"] => Route::Demo(demo::Page::Result),
            ["demo", page] => Route::Demo(demo::Page::find(page)?),
            ["assets", name] => Route::Asset(name),
            ["metrics"] | ["health", "live" | "ready"] => Route::Operations,
            _ => return None,
        })
    }

    /// The page that a form stands on which has none of its own.
    fn page_of_form(self) -> Option<String> {
        match self {
            Route::ClientChange(id, _) => Some(format!("/clients/{id}")),
            Route::AccountChange(_) => Some("/account".to_owned()),
            Route::Demo(demo::Page::Try) => Some("/".to_owned()),
            Route::Demo(_) => Some("/demo".to_owned()),
            _ => None,
        }
    }

    /// Whether it stands between a client and its answer.
    const fn leads_to_clients(self) -> bool {
        matches!(self, Route::SignIn | Route::SignOut | Route::Accounts)
    }

    /// As the `Allow` header says it.
    const fn allow(self) -> &'static str {
        match self {
            Route::Home
            | Route::Account
            | Route::Asset(_)
            | Route::Operations
            | Route::Demo(demo::Page::Result | demo::Page::Callback) => "GET, HEAD",
            Route::SignIn
            | Route::SignOut
            | Route::Accounts
            | Route::CreateClient
            | Route::Client(_)
            | Route::Profile => "GET, HEAD, POST",
            Route::ClientChange(..) | Route::AccountChange(_) | Route::Demo(_) => "POST",
        }
    }
}

async fn answer<B: Buf>(app: &App, asked: Asked, body: impl Stream<Item = Result<B, warp::Error>>) -> Response {
    if let Some(Route::Asset(name)) = Route::find(&asked.path)
        && matches!(asked.method, Method::GET | Method::HEAD)
        && let Some(asset) = assets::find(name)
    {
        return asset.response();
    }
    if let Some(target) = same_machine(app, &asked) {
        return bare_chrome(app, false).redirect(&target);
    }
    let (headers, context) = (asked.headers.clone(), asked.context.clone());
    let leads_to_clients = Route::find(&asked.path).is_some_and(Route::leads_to_clients);
    let page = page(app, asked, body).await;
    let mut response = page.unwrap_or_else(|error| error.into_response(app, &headers, &context));
    if leads_to_clients {
        lead_to_clients(response.headers_mut());
    }
    response
}

/// In the demo, somebody who typed `localhost` for `127.0.0.1` goes to the address that the demo client comes back to:
/// cookies are kept for each name on its own.
fn same_machine(app: &App, asked: &Asked) -> Option<String> {
    let issuer = &app.settings.issuer;
    let host = asked.headers.get(HOST)?.to_str().ok()?;
    let own = issuer.authority();
    let port = own.rsplit_once(':')?.1;
    let other_name =
        host != own && ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host == format!("{name}:{port}"));
    let visited = app.settings.demo && issuer.is_loopback() && asked.method == Method::GET;
    (visited && other_name).then(|| issuer.url(if asked.path.starts_with('/') { &asked.path } else { "/" }))
}

async fn page<B: Buf>(
    app: &App,
    asked: Asked,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, PageError> {
    let Asked { method, path, query, headers, context } = asked;
    let route = Route::find(&path).ok_or(PageError::NotFound)?;
    let posted = match method {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return Err(PageError::Method(route.allow())),
    };
    if !route.allow().contains(if posted { "POST" } else { "GET" }) {
        return Err(PageError::Method(route.allow()));
    }
    let limits = FormLimits { body_bytes: app.settings.http.body_bytes, parameters: app.settings.http.parameters };
    let parameters = if posted {
        form::read(headers.get(CONTENT_TYPE), body, Encodings::UrlEncoded, limits).await?
    } else {
        Parameters::parse(query.as_bytes(), limits.parameters)?
    };
    let target = match route.page_of_form().filter(|_| posted) {
        Some(page) => page,
        None if query.is_empty() => path.clone(),
        None => format!("{path}?{query}"),
    };
    let accounts = super::visit::accounts(app, &headers).await?;
    let visit = Visit { app: app.clone(), context, headers, target, parameters, accounts };
    match (route, posted) {
        (Route::Home, _) => home::show(&visit).await,
        (Route::SignIn, false) => sign_in::show(&visit).await,
        (Route::SignIn, true) => sign_in::submit(visit).await,
        (Route::SignOut, false) => sign_out::show(&visit).await,
        (Route::SignOut, true) => sign_out::submit(&visit).await,
        (Route::Accounts, false) => accounts::show(&visit).await,
        (Route::Accounts, true) => accounts::choose(&visit).await,
        (Route::CreateClient, false) => create_client::show(&visit).await,
        (Route::CreateClient, true) => create_client::submit(&visit).await,
        (Route::Client(id), false) => client::show(&visit, id).await,
        (Route::Client(id), true) => client::update(&visit, id).await,
        (Route::ClientChange(id, change), _) => client::change(&visit, id, change).await,
        (Route::Account, _) => account::show(&visit).await,
        (Route::Profile, false) => profile::show(&visit).await,
        (Route::Profile, true) => profile::submit(&visit).await,
        (Route::AccountChange(change), _) => account::change(visit, change).await,
        (Route::Demo(page), _) => demo::answer(&visit, page).await,
        (Route::Asset(_) | Route::Operations, _) => Err(PageError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_paths_are_pages() {
        for path in ["/", "/login", "/clients/0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a", "/demo/callback"] {
            assert!(Route::find(path).is_some(), "{path}");
        }
        for path in ["", "//", "/login/", "/LOGIN", "/clients/", "/clients/x", "/clients/%00", "/account/x", "/demo/x"]
        {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }

    #[test]
    fn what_changes_something_is_only_posted() {
        for path in ["/account/revoke", "/demo/try", "/clients/0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a/disable"] {
            assert_eq!(Route::find(path).map(Route::allow), Some("POST"), "{path}");
        }
    }
}
