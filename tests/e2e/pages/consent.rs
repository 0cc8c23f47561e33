//! Asking the user: RFC 6749 3.1, 4.1.1, 10.2, 10.12.

use crate::harness::{
    Answer, Browser, CALLBACK, Client, Server,
    browser::{Page, query_of},
    html, random,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    the_page_says_who_asks_for_what_and_for_which_account,
    a_native_application_is_called_by_its_scheme,
    a_name_that_looks_like_markup_is_shown_as_text,
    the_form_needs_its_csrf_token,
    anothers_form_is_refused,
    the_form_cannot_be_bent_to_another_client_or_uri,
    answering_twice_gives_no_second_code_for_nothing,
]];

async fn page(server: &Server, browser: &mut Browser, client: &Client) -> Page {
    let request = [
        ("response_type", "code"),
        ("client_id", &*client.id),
        ("redirect_uri", CALLBACK),
        ("scope", "profile read"),
        ("state", "xyz"),
    ];
    let page = browser.open(&server.authorize_url(&request)).await;
    assert!(page.form("consent-form").is_some(), "no question: {}", page.answer);
    page
}

async fn the_page_says_who_asks_for_what_and_for_which_account(server: Server) {
    // RFC 6749 10.2: the user decides, so the user must know.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let text = page(&server, &mut browser, &client).await.answer.text();
    assert!(
        text.contains("A test&#39;s client")
            || text.contains("A test&#x27;s client")
            || text.contains("A test's client")
    );
    assert!(text.contains(&user.username), "which account?");
    assert!(text.contains("read"), "for what?");
    assert!(text.contains("client.example"), "where does it lead?");
}

async fn a_native_application_is_called_by_its_scheme(server: Server) {
    // RFC 8252 7.1, 8.6: whoever claims the scheme gets the answer, whatever host is written behind it.
    let user = server.user().await;
    for (uri, destination) in [
        ("com.evil.app://victim.example/cb", "the app com.evil.app on this device"),
        ("http://127.0.0.1/cb", "an app on this computer"),
    ] {
        let arguments =
            ["--application-type", "native", "--auth-method", "none", "--redirect-uri", uri, "--grant-type"];
        let more = ["authorization_code", "--response-type", "code", "--scope", "profile read"];
        let client = server.client(&[&arguments[..], &more].concat()).await;
        let challenge = crate::harness::Pkce::new().challenge;
        let url = server.authorize_url(&[
            ("response_type", "code"),
            ("client_id", &*client.id),
            ("redirect_uri", uri),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let mut browser = Browser::new(&server);
        let page = browser.open(&url).await;
        assert_eq!(page.text_of("destination").as_deref(), Some(destination), "{}", page.answer);
        let page = browser.fill_in_login(&page, &user).await;
        assert_eq!(page.text_of("consent-destination").as_deref(), Some(destination), "{}", page.answer);
    }
}

async fn a_name_that_looks_like_markup_is_shown_as_text(server: Server) {
    // RFC 6749 10.14.
    let name = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'";
    let arguments = ["client", "create", "--name", name, "--redirect-uri", CALLBACK, "--grant-type"];
    let more = ["authorization_code", "--response-type", "code", "--scope", "profile read", "--auth-method", "none"];
    let output = server.site().run(&[&arguments[..], &more, &["--json"]].concat()).await;
    // Refusing such a name is as good.
    if !output.status.success() {
        return;
    }
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let id = made["client_id"].as_str().expect("an id").to_owned();
    let client = Client { id, secret: String::new(), auth_method: "none".into(), signer: None };
    server.knows(&client).await;
    let user = server.user().await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let challenge = crate::harness::Pkce::new().challenge;
    let request = [
        ("response_type", "code"),
        ("client_id", &*client.id),
        ("redirect_uri", CALLBACK),
        ("scope", "profile read"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let text = browser.open(&server.authorize_url(&request)).await.answer.text();
    assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{text}");
}

fn csrf_field(page: &Page) -> String {
    let fields = page.form("consent-form").expect("a form").fields;
    fields.into_iter().map(|(name, _)| name).find(|name| name.contains("csrf")).expect("a csrf field")
}

async fn the_form_needs_its_csrf_token(server: Server) {
    // RFC 6749 10.12: "MUST implement CSRF protection for its authorization endpoint".
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    for csrf in ["", "wrong", &random(32)] {
        let page = page(&server, &mut browser, &client).await;
        let name = csrf_field(&page);
        let answer = browser.submit_once(&page, "consent-form", "consent-allow", &[(&name, csrf)]).await;
        expect_nothing_given(&answer);
    }
}

/// Refused, or asked anew: either way nothing went to the client.
fn expect_nothing_given(answer: &Answer) {
    let asked_again = answer.status == 200 && html::forms(&answer.text()).iter().any(|form| form.id == "consent-form");
    assert!(asked_again || matches!(answer.status, 400 | 403), "{answer}");
    assert_eq!(answer.header("location"), None, "{answer}");
}

async fn anothers_form_is_refused(server: Server) {
    // RFC 6749 10.12: the attacker's own form, sent by the victim's browser.
    let (attacker, victim, client) = (server.user().await, server.user().await, server.web_client().await);
    let mut attacker = Browser::signed_in(&server, &attacker).await;
    let mut victim = Browser::signed_in(&server, &victim).await;
    let forged = page(&server, &mut attacker, &client).await;
    let answer = victim.submit_once(&forged, "consent-form", "consent-allow", &[]).await;
    expect_nothing_given(&answer);
}

async fn the_form_cannot_be_bent_to_another_client_or_uri(server: Server) {
    // RFC 6749 10.6 and 10.15: what the form brings back is checked again.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = page(&server, &mut browser, &client).await;
    let form = page.form("consent-form").expect("a form");
    for (name, value) in &form.fields {
        let bent = match name.as_str() {
            "redirect_uri" => "https://evil.example/".to_owned(),
            "client_id" => server.public_client().await.id,
            "scope" => "profile read admin".to_owned(),
            _ if value.contains("client.example") => value.replace("client.example", "evil.example"),
            _ => continue,
        };
        let answer = browser.submit_once(&page, "consent-form", "consent-allow", &[(name, &bent)]).await;
        if let Some(location) = answer.location() {
            assert!(!location.as_str().contains("evil.example"), "{answer}");
            assert!(!query_of(&location).contains_key("code"), "{name} was bent, and a code came: {answer}");
        }
    }
    if let Some(query) = form.action.split_once('?').map(|(_, query)| query) {
        let action = query.replace("client.example", "evil.example");
        let mut sent: Vec<(&str, &str)> = form.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let allow = form.buttons.iter().find(|(id, _)| id == "consent-allow").and_then(|(_, value)| value.as_ref());
        sent.extend(allow.map(|(name, value)| (&**name, &**value)));
        let answer = browser.send(server.post(&format!("/oauth/authorize?{action}")).form(&sent)).await;
        assert!(answer.location().is_none_or(|location| !location.as_str().contains("evil.example")), "{answer}");
    }
}

async fn answering_twice_gives_no_second_code_for_nothing(server: Server) {
    // The back button and a second click: another code of its own, or a refusal, and never the same code.
    let (user, client) = (server.user().await, server.web_client().await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = page(&server, &mut browser, &client).await;
    let first = browser.submit(&page, "consent-form", "consent-allow", &[]).await.callback();
    let second = browser.submit_once(&page, "consent-form", "consent-allow", &[]).await;
    assert!(second.status < 500, "{second}");
    if let Some(code) = second.location().and_then(|location| query_of(&location).remove("code")) {
        assert_ne!(query_of(&first)["code"], code);
    }
}
