//! A developer's own clients: creating, editing, and nobody else's.

use crate::harness::{
    Browser, CALLBACK, Client, Server, html,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    creating_a_client_needs_a_sign_in,
    a_client_is_created_and_its_secret_shown_once,
    anothers_client_is_not_shown,
    the_form_needs_its_csrf_token,
]];

async fn creating_a_client_needs_a_sign_in(server: Server) {
    let page = Browser::new(&server).open("/create_client").await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
}

/// What a developer of a web application fills in; the first kind offered is that one.
fn filled_in(form: &html::Form) -> Vec<(String, String)> {
    let (_, kind) = form.options.iter().find(|(name, _)| name == "kind").expect("kinds of clients to choose from");
    let fields = [("client_name", "Made on the page"), ("redirect_uris", CALLBACK), ("kind", kind)];
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Creates a client on the page; gives back the page after it and the client's id.
async fn create(server: &Server, browser: &mut Browser) -> (crate::harness::browser::Page, String) {
    let page = browser.open("/create_client").await;
    let form = page.form("create-client-form").unwrap_or_else(|| panic!("no form: {}", page.answer));
    let fields = filled_in(&form);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let page = browser.submit(&page, "create-client-form", "create-client-submit", &fields).await;
    assert_eq!(page.answer.status, 200, "{}", page.answer);
    let id = page.text_of("client-id").unwrap_or_else(|| panic!("no client_id: {}", page.answer));
    let secret = page.text_of("client-secret").unwrap_or_else(|| panic!("no client_secret: {}", page.answer));
    let client = Client { id: id.clone(), secret, auth_method: "client_secret_basic".into() };
    server.knows(&client).await;
    (page, id)
}

async fn a_client_is_created_and_its_secret_shown_once(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let (_, id) = create(&server, &mut browser).await;
    let page = browser.open(&format!("/clients/{id}")).await;
    assert_eq!(page.answer.status, 200, "{}", page.answer);
    assert!(page.answer.text().contains("Made on the page"));
    assert!(!page.answer.text().contains("gls_"), "the secret is shown a second time");
    let home = browser.open("/").await;
    assert!(home.answer.text().contains("Made on the page"), "not among my clients: {}", home.answer);
}

async fn anothers_client_is_not_shown(server: Server) {
    let (owner, other) = (server.user().await, server.user().await);
    let (_, id) = create(&server, &mut Browser::signed_in(&server, &owner).await).await;
    let mut browser = Browser::signed_in(&server, &other).await;
    let page = browser.open(&format!("/clients/{id}")).await;
    assert!(matches!(page.answer.status, 403 | 404), "{}", page.answer);
    assert!(!browser.open("/").await.answer.text().contains(&id));
    for id in ["unknown", "%00", "..", "01890a5d-ac96-774b-bcce-b302099a8057"] {
        let page = browser.open(&format!("/clients/{id}")).await;
        assert!(matches!(page.answer.status, 200 | 400 | 403 | 404), "{}", page.answer);
        assert!(!page.answer.text().contains("Made on the page"));
    }
}

async fn the_form_needs_its_csrf_token(server: Server) {
    // RFC 6749 10.12.
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open("/create_client").await;
    let form = page.form("create-client-form").expect("a form");
    let csrf =
        form.fields.iter().map(|(name, _)| name.clone()).find(|name| name.contains("csrf")).expect("a csrf field");
    let mut fields = filled_in(&form);
    fields.push((csrf, "wrong".into()));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let answer = browser.submit_once(&page, "create-client-form", "create-client-submit", &fields).await;
    assert!(matches!(answer.status, 400 | 403), "{answer}");
    assert!(!browser.open("/").await.answer.text().contains("Made on the page"));
}
