//! An issuer with a path: everything is below it (RFC 8414 3.1, OpenID Connect Discovery 4.1).

use crate::harness::{
    Answer, Browser, CALLBACK, Server, Store,
    flow::Tokens,
    suite::{Case, own},
};

pub const CASES: &[&[Case]] = &[own![
    a_whole_flow_runs_below_the_path,
    every_link_and_form_stays_below_the_path,
    metadata_is_where_each_standard_says,
    cookies_are_for_the_path,
]];

const PATH: &str = "/tenants/auth";

async fn a_whole_flow_runs_below_the_path(store: Store) {
    let server = Server::start_below(PATH, store).await;
    let (user, client) = (server.user().await, server.web_client().await);
    let Tokens { access, refresh } = server.tokens(&client, &user).await;
    let me = server.get("/api/me").bearer(&access).send().await.expect(200).json();
    assert_eq!(me["preferred_username"], user.username);
    let told = server.post_as(&client, "/oauth/introspect", &[("token", &access)]).send().await.expect(200).json();
    assert_eq!(told["iss"], server.base());
    Tokens::of(server.refresh(&client, &refresh).await);

    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open("/account").await;
    assert!(page.answer.url.path().starts_with(PATH) && page.is_signed_in(), "{}", page.answer);
    let page = browser.open("/logout").await;
    let page = browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
    // Who is not signed in is sent to the form and back.
    let page = browser.open("/account").await;
    assert_eq!(page.answer.url.path(), format!("{PATH}/login"));
    let page = browser.fill_in_login(&page, &user).await;
    assert_eq!(page.answer.url.path(), format!("{PATH}/account"));
}

/// Every address in a page that a browser would ask this host for.
fn own_addresses(page: &Answer) -> Vec<String> {
    let text = page.text();
    let after = |attribute: &str| text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all: Vec<Vec<&str>> = ["href=\"", "action=\"", "src=\""].into_iter().map(after).collect();
    all.concat().into_iter().filter(|address| address.starts_with('/')).map(str::to_owned).collect()
}

async fn every_link_and_form_stays_below_the_path(store: Store) {
    let server = Server::start_below(PATH, store).await;
    let (user, client) = (server.user().await, server.web_client().await);
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK), ("state", "s")];
    let mut stranger = Browser::new(&server);
    let mut browser = Browser::signed_in(&server, &user).await;
    let mut pages = vec![stranger.open("/").await, stranger.open("/login").await, stranger.open("/nothing").await];
    for path in ["/", "/account", "/account/profile", "/logout", "/accounts", "/login", &server.authorize_url(&request)]
    {
        pages.push(browser.open(path).await);
    }
    for page in &pages {
        let addresses = own_addresses(&page.answer);
        assert!(!addresses.is_empty(), "{}", page.answer);
        for address in addresses {
            assert!(address.starts_with(&format!("{PATH}/")), "{address} in {}", page.answer);
        }
    }
    let assets: Vec<_> =
        own_addresses(&pages[0].answer).into_iter().filter(|address| address.contains("/assets/")).collect();
    assert!(assets.len() >= 2, "{assets:?}");
    for asset in assets {
        server.get(&at_root(&server, &asset)).send().await.expect(200);
    }
}

/// A path of the host itself.
fn at_root(server: &Server, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", server.port())
}

async fn metadata_is_where_each_standard_says(store: Store) {
    let server = Server::start_below(PATH, store).await;
    for path in [
        // RFC 8414 3.1, and 5 for clients that look for the other document in the same way.
        format!("/.well-known/oauth-authorization-server{PATH}"),
        format!("/.well-known/openid-configuration{PATH}"),
        // OpenID Connect Discovery 4.1.
        format!("{PATH}/.well-known/openid-configuration"),
    ] {
        let document = server.get(&at_root(&server, &path)).send().await.expect(200).json();
        assert_eq!(document["issuer"], server.base(), "{path}");
        for name in
            ["token_endpoint", "authorization_endpoint", "jwks_uri", "end_session_endpoint", "introspection_endpoint"]
        {
            let endpoint = document[name].as_str().expect("an endpoint");
            assert!(endpoint.starts_with(&format!("{}/oauth/", server.base())), "{name}: {endpoint}");
        }
        server.get(document["jwks_uri"].as_str().expect("an address")).send().await.expect(200);
    }
    for path in [
        "/",
        "/login",
        "/oauth/token",
        "/oauth/jwks",
        "/.well-known/openid-configuration",
        "/tenants",
        "/tenants/authx",
    ] {
        server.get(&at_root(&server, path)).send().await.expect(404);
    }
    for path in ["/health/live", "/health/ready"] {
        server.get(&at_root(&server, path)).send().await.expect(200);
        server.get(path).send().await.expect(200);
    }
}

async fn cookies_are_for_the_path(store: Store) {
    let server = Server::start_below(PATH, store).await;
    let user = server.user().await;
    let mut browser = Browser::new(&server);
    let page = browser.open("/login").await;
    let fields = [("username", user.username.as_str()), ("password", user.password.as_str())];
    let signed_in = browser.submit_once(&page, "login-form", "login-submit", &fields).await;
    let cookies = |answer: &Answer| -> Vec<String> {
        let values = answer.headers.get_all("set-cookie").iter();
        values.map(|value| value.to_str().expect("ASCII").to_owned()).collect()
    };
    let set = [cookies(&page.answer), cookies(&signed_in)].concat();
    assert!(set.len() >= 3, "{set:?}");
    for cookie in set {
        assert!(cookie.contains(&format!("; Path={PATH};")), "{cookie:.30}");
    }
}
