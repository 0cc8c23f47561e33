//! A developer's own clients: creating, editing, and nobody else's.

use crate::harness::{
    Browser, CALLBACK, Client, Server,
    browser::Page,
    html,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    creating_a_client_needs_a_sign_in,
    a_client_is_created_and_its_secret_shown_once,
    ones_clients_are_searched_by_name,
    anothers_client_is_not_shown,
    anothers_client_cannot_be_changed,
    a_secret_is_rotated_on_the_page,
    a_client_is_disabled_and_enabled_on_the_page,
    a_wrong_redirect_uri_is_said_beside_its_field,
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

/// Creates a client on the page.
pub async fn create(server: &Server, browser: &mut Browser) -> Client {
    let page = browser.open("/create_client").await;
    let form = page.form("create-client-form").unwrap_or_else(|| panic!("no form: {}", page.answer));
    let fields = filled_in(&form);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let page = browser.submit(&page, "create-client-form", "create-client-submit", &fields).await;
    assert_eq!(page.answer.status, 200, "{}", page.answer);
    let id = page.text_of("client-id").unwrap_or_else(|| panic!("no client_id: {}", page.answer));
    let secret = page.text_of("client-secret").unwrap_or_else(|| panic!("no client_secret: {}", page.answer));
    let client = Client { id, secret, auth_method: "client_secret_basic".into(), signer: None };
    server.knows(&client).await;
    client
}

async fn a_client_is_created_and_its_secret_shown_once(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let id = create(&server, &mut browser).await.id;
    let page = browser.open(&format!("/clients/{id}")).await;
    assert_eq!(page.answer.status, 200, "{}", page.answer);
    assert!(page.answer.text().contains("Made on the page"));
    assert!(!page.answer.text().contains("gls_"), "the secret is shown a second time");
    let home = browser.open("/").await;
    assert!(home.answer.text().contains("Made on the page"), "not among my clients: {}", home.answer);
}

async fn ones_clients_are_searched_by_name(server: Server) {
    let (user, other) = (server.user().await, server.user().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let id = create(&server, &mut browser).await.id;
    let others = create(&server, &mut Browser::signed_in(&server, &other).await).await.id;
    let shows = |page: &Page, id: &str| page.answer.text().contains(&format!("href=\"/clients/{id}\""));
    let found = browser.open("/?find=ON+the+page").await;
    assert!(shows(&found, &id) && !shows(&found, &others), "{}", found.answer);
    // What would match everything is a text like any other.
    for nothing in ["%25", "_", "~", "%3Cb%3E", "Nobody"] {
        let found = browser.open(&format!("/?find={nothing}")).await;
        assert!(!shows(&found, &id), "{}", found.answer);
        assert!(found.form("find-client-form").is_some(), "{}", found.answer);
    }
}

async fn anothers_client_is_not_shown(server: Server) {
    let (owner, other) = (server.user().await, server.user().await);
    let id = create(&server, &mut Browser::signed_in(&server, &owner).await).await.id;
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

/// Whether the token endpoint takes this client's secret.
async fn authenticates(server: &Server, client: &Client) -> bool {
    let form = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
    server.token_as(client, &form).await.expect_client_error().json()["error"] != "invalid_client"
}

async fn anothers_client_cannot_be_changed(server: Server) {
    let (owner, other) = (server.user().await, server.user().await);
    let mut owner = Browser::signed_in(&server, &owner).await;
    let mut other = Browser::signed_in(&server, &other).await;
    let (mine, theirs) = (create(&server, &mut owner).await, create(&server, &mut other).await);
    let page = other.open(&format!("/clients/{}", theirs.id)).await;
    for button in ["rotate-secret", "disable-client", "edit-client-submit"] {
        // Their own form, with their own CSRF token, sent to another's client.
        let mut form = page.form_of(button);
        form.action = form.action.replace(&theirs.id, &mine.id);
        let answer = other.submit_form(&page, &form, button, &[("client_name", "Taken over")]).await;
        assert!(matches!(answer.status, 403 | 404), "{button}: {answer}");
    }
    assert!(authenticates(&server, &mine).await);
    let page = owner.open(&format!("/clients/{}", mine.id)).await;
    assert!(!page.answer.text().contains("Taken over"), "{}", page.answer);
}

async fn a_secret_is_rotated_on_the_page(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let old = create(&server, &mut browser).await;
    let page = browser.open(&format!("/clients/{}", old.id)).await;
    let page = browser.press(&page, "rotate-secret").await;
    let secret = page.text_of("client-secret").unwrap_or_else(|| panic!("no new secret: {}", page.answer));
    assert!(authenticates(&server, &Client { secret, ..old.clone() }).await);
    assert!(!authenticates(&server, &old).await, "the old secret still works");
}

async fn a_client_is_disabled_and_enabled_on_the_page(server: Server) {
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let client = create(&server, &mut browser).await;
    let page = browser.open(&format!("/clients/{}", client.id)).await;
    let page = browser.press(&page, "disable-client").await;
    assert!(!authenticates(&server, &client).await);
    browser.press(&page, "enable-client").await;
    assert!(authenticates(&server, &client).await);
}

async fn a_wrong_redirect_uri_is_said_beside_its_field(server: Server) {
    // RFC 6749 3.1.2; what was typed stays.
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    for uri in ["https://client.example/#fragment", "javascript:alert(1)", "http://client.example/", "nonsense", ""] {
        let page = browser.open("/create_client").await;
        let mut fields = filled_in(&page.form("create-client-form").expect("a form"));
        fields.iter_mut().filter(|(name, _)| name == "redirect_uris").for_each(|field| field.1 = uri.to_owned());
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let page = browser.submit(&page, "create-client-form", "create-client-submit", &fields).await;
        assert!(page.text_of("form-errors").is_some(), "{uri:?}: {}", page.answer);
        assert!(page.answer.text().contains("Made on the page"), "what was typed is gone: {}", page.answer);
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
