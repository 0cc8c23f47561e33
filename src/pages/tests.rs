//! Every page, rendered with hostile values: whatever a name holds, it is text.

use askama::DynTemplate;
use grantlog_domain::Timestamp;

use super::chrome::Chrome;
use super::client_form::{ClientForm, FormErrors};
use super::moment::Moment;
use super::paging::Paging;
use super::words::Line;
use super::{
    account, accounts, client, consent, create_client, demo, failure, home, leaving, profile, scopes, scripts, sign_in,
    sign_out,
};

/// Tries to leave an attribute, an element and the template language.
const HOSTILE: &str = "\"><script>alert(1)</script>'&{{7*7}}";

fn chrome() -> Chrome {
    Chrome { demo: true, signed_in: true, user: Some(HOSTILE.into()), csrf: "token".into(), ..Chrome::default() }
}

fn at() -> Moment {
    Moment::from(Timestamp(1_795_474_000))
}

fn line() -> Line {
    let (words, event_type) = (HOSTILE.into(), "grant.revoked".into());
    Line { words, at: at(), event_type, ended: true, source_address: Some(HOSTILE.into()) }
}

fn allowed() -> home::Allowed {
    let (client_id, client_name) = ("id".into(), HOSTILE.into());
    home::Allowed {
        client_id,
        client_name,
        words: HOSTILE.into(),
        start_login: Some(HOSTILE.into()),
        since: at(),
        grants: 2,
    }
}

fn form() -> ClientForm {
    let wrong = Some(HOSTILE.to_owned());
    ClientForm {
        client_name: HOSTILE.into(),
        client_uri: HOSTILE.into(),
        redirect_uris: format!("</textarea>{HOSTILE}"),
        other_scope: HOSTILE.into(),
        errors: FormErrors {
            client_name: wrong.clone(),
            client_uri: wrong.clone(),
            kind: wrong.clone(),
            grant_types: wrong.clone(),
            auth_method: wrong.clone(),
            redirect_uris: wrong.clone(),
            scope: wrong.clone(),
            form: wrong,
        },
        ..ClientForm::empty()
    }
}

fn panel() -> demo::DemoPanel {
    let text = || HOSTILE.to_owned();
    demo::DemoPanel { client_name: text(), curl: text(), client_id: text(), client_secret: text() }
}

fn hostile_account() -> accounts::Account {
    let text = || HOSTILE.to_owned();
    accounts::Account { session_id: text(), username: text(), initial: text(), current: true }
}

fn hostile_client() -> sign_in::Waiting {
    sign_in::Waiting { client_name: HOSTILE.into(), redirect_uri: HOSTILE.into() }
}

fn hostile_leaving(link: Option<String>) -> leaving::LeavingPage<'static> {
    leaving::LeavingPage {
        chrome: chrome(),
        destination: HOSTILE.into(),
        code: HOSTILE,
        description: HOSTILE,
        link,
        action: HOSTILE,
        fields: &[("state", HOSTILE)],
    }
}

fn sign_in_and_out() -> Vec<Box<dyn DynTemplate>> {
    vec![
        Box::new(sign_in::LoginPage {
            chrome: chrome(),
            next: HOSTILE.into(),
            choose: HOSTILE.into(),
            username: HOSTILE.into(),
            waits: Some(hostile_client()),
            error: Some(HOSTILE),
        }),
        Box::new(sign_out::LogoutPage {
            chrome: chrome(),
            client_name: Some(HOSTILE),
            goes_to: Some(HOSTILE),
            action: "/oauth/logout",
            fields: vec![("state", HOSTILE.to_owned())],
            ends_grants: true,
            accounts: vec![hostile_account(), hostile_account()],
        }),
        Box::new(sign_out::LoggedOutPage {
            chrome: chrome(),
            what: sign_out::What::Here,
            others: vec![HOSTILE.into()],
            frames: vec![HOSTILE.into()],
            goes_to: Some(sign_out::Onward { uri: HOSTILE, asks: true }),
            script: scripts::CONTINUE,
        }),
        Box::new(accounts::AccountsPage {
            chrome: chrome(),
            next: HOSTILE.into(),
            login: HOSTILE.into(),
            waits: Some(hostile_client()),
            accounts: vec![hostile_account()],
        }),
        Box::new(failure::ErrorPage {
            chrome: chrome(),
            status: 400,
            title: HOSTILE,
            code: HOSTILE,
            description: HOSTILE.into(),
            request_id: Some(HOSTILE.into()),
            load_again: Some(HOSTILE.into()),
        }),
        Box::new(hostile_leaving(Some(HOSTILE.into()))),
        Box::new(hostile_leaving(None)),
        Box::new(consent::ConsentPage {
            changed: true,
            shown: String::new(),
            chrome: chrome(),
            client_name: HOSTILE,
            client_uri: Some(HOSTILE),
            made_by: Some(HOSTILE),
            monogram: "<".into(),
            logo_uri: Some(HOSTILE),
            policy_uri: Some(HOSTILE),
            tos_uri: Some(HOSTILE),
            asks: vec![scopes::Ask { title: HOSTILE.into(), detail: HOSTILE.into(), new: true }],
            account: HOSTILE,
            destination: HOSTILE.into(),
            switch_account: HOSTILE.into(),
            action: "/oauth/authorize",
            fields: vec![("state", HOSTILE.into())],
        }),
    ]
}

fn profile_field(lines: bool) -> profile::Field {
    let value = format!("</textarea>{HOSTILE}");
    profile::Field { name: HOSTILE, label: HOSTILE, hint: HOSTILE, value, error: Some(HOSTILE.into()), lines }
}

fn home_and_account() -> Vec<Box<dyn DynTemplate>> {
    let tile = home::Tile { client_id: HOSTILE.into(), name: HOSTILE.into(), kind: HOSTILE, disabled: true };
    let session = account::SessionRow {
        session_id: HOSTILE.into(),
        current: false,
        since: at(),
        until: at(),
        source_address: Some(HOSTILE.into()),
    };
    vec![
        Box::new(home::WelcomePage { chrome: chrome(), demo: Some(panel()) }),
        Box::new(profile::ProfilePage {
            chrome: chrome(),
            saved: true,
            wrong: true,
            fields: [true, false].map(profile_field).into(),
        }),
        Box::new(home::HomePage {
            chrome: chrome(),
            username: HOSTILE.into(),
            demo: Some(panel()),
            clients: vec![tile],
            clients_paging: Paging::in_the_middle(),
            find: Some(HOSTILE.into()),
            allowed: vec![allowed()],
            lines: vec![line()],
        }),
        Box::new(account::AccountPage {
            chrome: Chrome { demo: false, ..chrome() },
            username: HOSTILE.into(),
            said: Some(HOSTILE),
            allowed: vec![allowed()],
            allowed_paging: Paging::in_the_middle(),
            sessions: vec![session],
            sessions_paging: Paging::in_the_middle(),
            password_error: Some(HOSTILE),
            password_chars_min: 10,
        }),
    ]
}

fn clients_and_demo() -> Vec<Box<dyn DynTemplate>> {
    vec![
        Box::new(create_client::CreateClientPage { chrome: chrome(), form: form() }),
        Box::new(create_client::ClientSecretPage {
            chrome: chrome(),
            title: HOSTILE,
            client_name: HOSTILE,
            client_id: HOSTILE.into(),
            client_secret: Some(HOSTILE),
        }),
        Box::new(client::ClientPage {
            chrome: chrome(),
            client_name: HOSTILE.into(),
            client_id: HOSTILE.into(),
            disabled: true,
            disabled_by_operator: true,
            confidential: true,
            saved: true,
            start_login: Some(HOSTILE.into()),
            examples: vec![client::Example { title: HOSTILE, text: HOSTILE.into(), hint: Some(HOSTILE) }],
            form: form(),
            lines: vec![line()],
        }),
        Box::new(demo::hostile_result(chrome(), HOSTILE)),
        Box::new(demo::hostile_denial(chrome(), HOSTILE)),
    ]
}

#[test]
fn a_hostile_value_is_text_on_every_page() {
    let pages = [sign_in_and_out(), home_and_account(), clients_and_demo()];
    for (index, page) in pages.into_iter().flatten().enumerate() {
        let html = page.dyn_render().expect("rendered");
        // Escaped, the value has neither a tag nor a quote of its own.
        for wrong in [HOSTILE, "<script", "alert(1)</", "'&{{", "</textarea>\""] {
            assert!(!html.contains(wrong), "page {index} has {wrong}");
        }
        assert!(html.contains("alert(1)"), "page {index} does not show it at all");
    }
}

#[test]
fn no_page_needs_a_script_an_inline_style_or_another_site() {
    let pages = [sign_in_and_out(), home_and_account(), clients_and_demo()];
    for page in pages.into_iter().flatten() {
        let html = page.dyn_render().expect("rendered");
        for word in [" style=", " onclick=", "<style", "src=\"http", "javascript:"] {
            assert!(!html.contains(word), "{word}");
        }
    }
}

#[test]
fn the_ids_that_people_automate_with_are_there() {
    let pages = [sign_in_and_out(), home_and_account(), clients_and_demo()];
    let html: String = pages.into_iter().flatten().map(|page| page.dyn_render().expect("rendered")).collect();
    for id in [
        "login-form",
        "username",
        "password",
        "login-submit",
        "consent-form",
        "consent-allow",
        "consent-deny",
        "logout-form",
        "logout-confirm",
        "logged-out",
        "error-page",
        "create-client-form",
        "try-it",
    ] {
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
}
