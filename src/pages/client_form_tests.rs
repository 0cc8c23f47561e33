//! The form of a client: what each kind means, what is kept, and where what is wrong is said.

use grantlog_domain::client::{ApplicationType, GrantType, TokenEndpointAuthMethod};

use super::client_form::ClientForm;
use crate::http::form::Parameters;

fn form(fields: &[(&str, &str)]) -> ClientForm {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    ClientForm::read(&Parameters::parse(body.as_bytes(), 100).expect("parameters"))
}

const NAME: (&str, &str) = ("client_name", "Reports");
const URI: (&str, &str) = ("redirect_uris", "https://app.example/cb\r\n\r\nhttps://app.example/cb2 ");

#[test]
fn a_web_application_has_a_secret_and_its_redirect_uris() {
    let client = form(&[NAME, URI, ("kind", "web"), ("scope_profile", "profile"), ("other_scope", "reports:read")])
        .register()
        .expect("a client");
    assert_eq!(client.token_endpoint_auth_method, TokenEndpointAuthMethod::ClientSecretBasic);
    assert_eq!(client.redirect_uris.len(), 2);
    assert_eq!(client.scope.to_string(), "profile reports:read");
    assert!(client.allows(GrantType::AuthorizationCode) && client.allows(GrantType::RefreshToken));
}

#[test]
fn an_application_in_its_users_hands_is_public_and_native() {
    let client =
        form(&[NAME, ("redirect_uris", "com.example.app:/cb"), ("kind", "native")]).register().expect("a client");
    assert!(client.is_public());
    assert_eq!(client.application_type, ApplicationType::Native);
}

#[test]
fn a_machine_needs_no_redirect_uri_and_takes_none() {
    let client = form(&[NAME, ("redirect_uris", "not looked at"), ("kind", "machine")]).register().expect("a client");
    assert!(client.redirect_uris.is_empty());
    assert_eq!(client.grant_types, [GrantType::ClientCredentials]);
}

#[test]
fn the_last_kind_asks_for_everything() {
    let mut form = form(&[NAME, URI, ("kind", "custom"), ("grant_type_implicit", "implicit")]);
    assert!(form.register().is_none());
    assert!(form.errors.auth_method.is_some());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrong = [("client_uri", "nonsense"), ("redirect_uris", "http://app.example/cb"), ("other_scope", "\"")];
    for kind in ["", "custom"] {
        let mut form = form(&[&wrong[..], &[("kind", kind)]].concat());
        assert!(form.register().is_none());
        let errors = &form.errors;
        assert!(errors.client_name.is_some() && errors.client_uri.is_some() && errors.scope.is_some(), "{kind}");
        let chosen = kind == "custom";
        assert_eq!(errors.kind.is_some(), !chosen);
        let further = [&errors.grant_types, &errors.auth_method, &errors.redirect_uris];
        assert!(further.into_iter().all(|error| error.is_some() == chosen), "{kind}");
    }
}

#[test]
fn what_is_wrong_is_said_beside_its_field_and_what_was_typed_is_kept() {
    let mut form = form(&[NAME, ("redirect_uris", "http://app.example/cb"), ("kind", "web"), ("other_scope", "a\"b")]);
    assert!(form.register().is_none());
    assert!(form.errors.redirect_uris.as_deref().is_some_and(|error| error.contains("http://app.example/cb")));
    assert!(form.errors.scope.is_some());
    assert!(form.is_wrong());
    assert_eq!((&*form.client_name, &*form.redirect_uris), ("Reports", "http://app.example/cb"));
    assert!(form.kinds.iter().any(|kind| kind.value == "web" && kind.chosen));
}

#[test]
fn nothing_chosen_and_nothing_typed_is_refused() {
    let mut empty = form(&[]);
    assert!(empty.register().is_none() && empty.errors.kind.is_some());
    let mut nameless = form(&[URI, ("kind", "web")]);
    assert!(nameless.register().is_none() && nameless.errors.client_name.is_some());
    let mut nowhere = form(&[NAME, ("kind", "web")]);
    assert!(nowhere.register().is_none() && nowhere.errors.redirect_uris.is_some());
}

#[test]
fn a_client_that_is_shown_and_saved_unchanged_stays_the_same() {
    let client = form(&[NAME, URI, ("kind", "web"), ("scope_profile", "profile"), ("other_scope", "b a")])
        .register()
        .expect("a client");
    assert_eq!(ClientForm::of(&client).update(), Some(client));
}
