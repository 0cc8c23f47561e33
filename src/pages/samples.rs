//! Every page, rendered once with ordinary and once with hostile values.
use super::*;
use askama::Template;
use grantlog_domain::{Scope, Timestamp};
use moment::Moment;

const HOSTILE: &str = "\"><script>alert(1)</script>'&{{7*7}}";

fn chrome(user: Option<&str>, demo: bool, here: &'static str) -> chrome::Chrome {
    chrome::Chrome {
        demo,
        signed_in: user.is_some(),
        user: user.map(str::to_owned),
        csrf: "token".into(),
        here,
        https: false,
        cookies: Vec::new(),
    }
}

fn at(minutes: i64) -> Moment {
    Moment::from(Timestamp(1_795_474_000 - minutes * 60))
}

fn panel(name: &str) -> demo::DemoPanel {
    demo::DemoPanel {
        client_name: name.to_owned(),
        client_id: "0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a".into(),
        client_secret: "gls_AZn3oo08e16dah8uPUxbagABq0mXn5rVj1mGkX0zT2fE9cZJr3H8dQ4wL6yB7uNpS1o".into(),
        curl: "curl -u 0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a:gls_AZn3oo08e16dah8uPUxbagABq0mXn5rVj1mGkX0zT2fE9cZJr3H8dQ4wL6yB7uNpS1o -XPOST http://127.0.0.1:5000/oauth/token -F grant_type=password -F username=ann -F password=valid -F scope=profile".into(),
    }
}

fn line(words: &str, event_type: &'static str, minutes: i64, ended: bool) -> words::Line {
    words::Line {
        words: words.to_owned(),
        at: at(minutes),
        event_type,
        ended,
        source_address: Some("127.0.0.0/24".into()),
    }
}

fn allowed(name: &str) -> Vec<home::Allowed> {
    ["profile", "profile reports:read"]
        .iter()
        .enumerate()
        .map(|(index, scope)| home::Allowed {
            client_id: "0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a".into(),
            client_name: if index == 0 { name.to_owned() } else { "Reports".into() },
            words: scopes::sentence(&Scope::parse(scope).expect("a scope")),
            since: at(40),
            grants: index + 1,
        })
        .collect()
}

fn lines(name: &str) -> Vec<words::Line> {
    vec![
        line(&format!("{name} renewed its access."), "grant.refreshed", 1, false),
        line(&format!("{name} exchanged its code for tokens."), "grant.code_redeemed", 31, false),
        line(&format!("You let {name} in. It may: see who you are."), "grant.code_issued", 31, false),
        line("You took back what Reports may do. All its tokens ended.", "grant.revoked", 62, true),
        line("You signed in.", "session.started", 63, false),
    ]
}

fn form(name: &str) -> client_form::ClientForm {
    let mut form = client_form::ClientForm::empty();
    form.client_name = name.to_owned();
    form.redirect_uris = "https://app.example/callback".into();
    form
}

fn rendered(name: &str) -> Vec<(&'static str, String)> {
    let user = Some("ann");
    let mut broken = form(name);
    broken.client_name = String::new();
    broken.kinds[3].chosen = true;
    broken.errors.client_name = Some("A name of 1 to 100 characters is needed.".into());
    broken.errors.redirect_uris =
        Some("“http://app.example”: a redirect URI must use https; http is for loopback addresses only.".into());
    broken.errors.grant_types = Some("Choose at least one.".into());
    let json = serde_json::to_string_pretty(&serde_json::json!({"access_token": "gla_AZn3oo08e16dah8uPUxbagABq0mXn5rVj1mGkX0zT2fE9cZJr3H8dQ4wL6yB7uNpS1o", "token_type": "Bearer", "expires_in": 3600, "scope": name})).expect("JSON");
    vec![
        ("login", sign_in::LoginPage { chrome: chrome(None, false, "/login"), next: "/".into(), username: name.into(), client_name: Some(name.into()), error: None }.render()),
        ("login_error", sign_in::LoginPage { chrome: chrome(user, true, "/login"), next: "/".into(), username: name.into(), client_name: None, error: Some("User name or password is wrong, or the account is locked for a while.") }.render()),
        ("logout", sign_out::LogoutPage { chrome: chrome(user, false, "/logout") }.render()),
        ("logged_out", sign_out::LoggedOutPage { chrome: chrome(None, false, "") }.render()),
        ("consent", consent::ConsentPage { chrome: chrome(user, false, ""), client_name: name, client_uri: Some("https://reports.example"), monogram: "R".into(), asks: scopes::asks(&Scope::parse("profile reports:read").expect("a scope"), &Scope::parse("profile").expect("a scope")), account: "ann", destination: "reports.example".into(), switch_account: "/login?next=%2F".into(), action: "/oauth/authorize", fields: vec![("client_id", "x".into()), ("state", name.into())] }.render()),
        ("welcome", home::WelcomePage { chrome: chrome(None, false, "/"), demo: None }.render()),
        ("welcome_demo", home::WelcomePage { chrome: chrome(None, true, "/"), demo: Some(panel(name)) }.render()),
        ("home_empty", home::HomePage { chrome: chrome(user, false, "/"), username: "ann".into(), demo: None, clients: vec![], allowed: vec![], lines: vec![] }.render()),
        ("home", home::HomePage { chrome: chrome(user, true, "/"), username: "ann".into(), demo: Some(panel(name)), clients: vec![
            home::Tile { client_id: "0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a".into(), name: name.into(), kind: "Web application", disabled: false },
            home::Tile { client_id: "0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6b".into(), name: "Nightly export".into(), kind: "Machine to machine", disabled: true }], allowed: allowed(name), lines: lines(name) }.render()),
        ("create_client", create_client::CreateClientPage { chrome: chrome(user, false, "/create_client"), form: form(name) }.render()),
        ("create_client_errors", create_client::CreateClientPage { chrome: chrome(user, false, "/create_client"), form: broken }.render()),
        ("client_secret", create_client::ClientSecretPage { chrome: chrome(user, false, ""), title: "The client is ready", client_name: name, client_id: "0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a".into(), client_secret: Some("gls_AZn3oo08e16dah8uPUxbagABq0mXn5rVj1mGkX0zT2fE9cZJr3H8dQ4wL6yB7uNpS1o") }.render()),
        ("client", client::ClientPage { chrome: chrome(user, false, ""), client_name: name.into(), client_id: "0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a".into(), disabled: false, confidential: true, saved: true, examples: vec![client::Example { title: "Send people here", text: "http://127.0.0.1:5000/oauth/authorize?response_type=code&client_id=0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&scope=profile&state=RANDOM&code_challenge=CHALLENGE&code_challenge_method=S256".into(), hint: Some("state and code_challenge are made anew for each request.") }], form: form(name), lines: lines(name) }.render()),
        ("account", account::AccountPage { chrome: chrome(user, false, "/account"), username: "ann".into(), said: Some("Done. Everything that you allowed to this application has ended."), allowed: allowed(name), sessions: vec![
            account::SessionRow { session_id: "a".into(), current: true, since: at(3), until: at(-700) }, account::SessionRow { session_id: "b".into(), current: false, since: at(300), until: at(-400) }], password_error: None, password_chars_min: 8 }.render()),
        ("demo_result", demo::DemoResultPage { chrome: chrome(user, true, ""), title: "It worked", last_step: Some(demo::StepView { refused: true, title: "You used the code a second time.", words: "The server refused it and ended everything that the first use gave.", answer: "HTTP 400\n{\"error\":\"invalid_grant\"}".into() }), has_refresh_token: true, token_response: json.clone(), active: true, introspection: json.clone(), me_status: "HTTP 200".into(), me: "{\n  \"sub\": \"x\"\n}".into(), grant_id: "0199f7a2-8d3c-7b5e-9d6a-1f2e3d4c5b6a".into(), lines: lines(name).into_iter().map(|line| demo::EventLine { words: line.words, at: line.at, event_type: line.event_type, ended: line.ended, json: json.clone() }).collect() }.render()),
    ].into_iter().map(|(page, html)| (page, html.expect("rendered"))).collect()
}

#[test]
fn a_hostile_name_is_text_on_every_page() {
    for (page, html) in rendered(HOSTILE) {
        for wrong in ["<script", "'&{", "\"><"] {
            if let Some(found) = html.find(wrong) {
                if wrong != "\"><" || html[found..].starts_with(HOSTILE) {
                    panic!("{page}: {}", &html[found.saturating_sub(80)..found + 40]);
                }
            }
        }
    }
}

#[test]
fn write_samples() {
    let Ok(dir) = std::env::var("SAMPLES") else { return };
    for (page, html) in rendered("Quarterly Reports") {
        let html = html
            .replace(chrome(None, false, "").stylesheet(), "style.css")
            .replace(chrome(None, false, "").logo(), "logo.svg");
        std::fs::write(format!("{dir}/{page}.html"), html).expect("written");
    }
}
