//! What a person is shown when a client asks for them, as one digest (RFC 6749 10.2): what was allowed before counts for the
//! same client as it was seen then, for the same destination and the same kind of answer.
//!
//! Scope and claims are no part of it. They are kept beside it, because whoever allowed more has allowed less too.

use aws_lc_rs::digest::{SHA256, digest};
use grantlog_domain::RedirectUri;
use grantlog_domain::client::{Author, ClientMetadata, ResponseType};
use grantlog_domain::grant::ConsentDigest;
use serde_json::json;
use url::Url;

use super::authorization_request::AuthorizationRequest;
use super::authorization_response::ResponseMode;
use crate::app::App;
use crate::config::OperatorChanges;

/// Of what [`shown`] covers. A change of that takes another number, and everybody is asked again.
const VERSION: u16 = 1;

/// The digest of what the page of this request shows.
pub fn shown(request: &AuthorizationRequest) -> ConsentDigest {
    *request.shown.get_or_init(|| digest_of(request))
}

fn digest_of(request: &AuthorizationRequest) -> ConsentDigest {
    let place = place(request.redirect.redirect_uri());
    let response_type = request.response_type;
    digest_at(&request.client, request.made.vouched, &place, response_type, reader(request.redirect.mode()))
}

/// Every digest of a page that this client can have shown, as it is registered now, for what receives `uri`.
pub fn shown_for(client: &ClientMetadata, vouched: bool, uri: &str) -> impl Iterator<Item = ConsentDigest> {
    let place = place(uri);
    ResponseType::ALL.iter().flat_map(move |response_type| {
        [SERVER, PAGE].map(|reader| digest_at(client, vouched, &place, *response_type, reader))
    })
}

fn digest_at(
    client: &ClientMetadata,
    vouched: bool,
    place: &str,
    response_type: ResponseType,
    reader: &str,
) -> ConsentDigest {
    // All that were registered there, so that a client may ask at one of them what was allowed at another.
    let mut there: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
    there.retain(|uri| self::place(uri) == place);
    there.sort_unstable();
    let seen = json!([
        client.client_name,
        client.client_uri,
        client.openid.logo_uri,
        client.openid.policy_uri,
        client.openid.tos_uri,
        vouched,
        place,
        there,
        response_type.as_str(),
        reader,
    ]);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, seen.to_string().as_bytes()).as_ref());
    ConsentDigest { version: VERSION, digest: bytes }
}

/// What an earlier consent must have been given to; `None` where it counts whatever was seen then.
pub fn counted(app: &App, request: &AuthorizationRequest) -> Option<ConsentDigest> {
    // Only operators change a client that an operator made.
    let kept = app.settings.operator_changes == OperatorChanges::Keep && request.made.by == Author::Operator;
    (!kept).then(|| shown(request))
}

/// Who reads the answer there: what serves the address, or the scripts of its page.
const SERVER: &str = "server";
const PAGE: &str = "page";

const fn reader(mode: ResponseMode) -> &'static str {
    match mode {
        ResponseMode::Query | ResponseMode::FormPost => SERVER,
        ResponseMode::Fragment => PAGE,
    }
}

/// Who receives what is sent to that URI: an origin, or the application that has the scheme.
fn place(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(url) if matches!(url.scheme(), "https" | "http") => url.origin().ascii_serialization(),
        Ok(url) => url.scheme().to_owned(),
        Err(_) => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use grantlog_domain::client::{ApplicationType, GrantType, TokenEndpointAuthMethod};
    use grantlog_domain::{ClientId, Scope};
    use uuid::Uuid;

    use super::*;
    use crate::config::Settings;
    use crate::http::form::Parameters;
    use crate::oauth::authorization_request::Made;
    use crate::oauth::authorization_response::VerifiedRedirect;

    const URIS: [&str; 3] = ["https://app.example/cb", "https://app.example/silent", "https://other.example/cb"];

    fn client() -> ClientMetadata {
        ClientMetadata {
            client_name: "Album".into(),
            client_uri: None,
            redirect_uris: URIS.map(|uri| RedirectUri::register(uri, false).expect("registered")).to_vec(),
            grant_types: vec![GrantType::AuthorizationCode, GrantType::Implicit],
            response_types: vec![ResponseType::Code, ResponseType::CodeToken],
            scope: Scope::parse("a b").expect("a scope"),
            token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
            application_type: ApplicationType::Web,
            require_pkce: false,
            resource_server: false,
            openid: Box::default(),
        }
    }

    fn of(client: &ClientMetadata, query: &str) -> ConsentDigest {
        let query =
            if query.contains("redirect_uri") { query.to_owned() } else { format!("redirect_uri={}&{query}", URIS[0]) };
        let query = if query.contains("response_type") { query } else { format!("response_type=code&{query}") };
        let parameters = Parameters::parse(query.as_bytes(), 20).expect("parameters");
        let redirect = VerifiedRedirect::verify(client, parameters.get("redirect_uri")).expect("verified");
        let settings = Settings::with(&[]).expect("settings");
        let request = AuthorizationRequest::check(&parameters, ClientId(Uuid::nil()), client, redirect, &settings);
        shown(&request.expect("a request"))
    }

    #[test]
    fn what_is_not_seen_makes_no_difference() {
        let same = of(&client(), "");
        assert_eq!(of(&client(), "scope=a"), same);
        assert_eq!(of(&client(), "state=x"), same);
        assert_eq!(of(&client(), "response_mode=query"), same);
        assert_eq!(of(&client(), "response_mode=form_post"), same);
        assert_eq!(of(&client(), "redirect_uri=https://app.example/silent"), same);
        let mut changed = client();
        changed.redirect_uris.reverse();
        changed.redirect_uris.remove(0);
        changed.scope = Scope::parse("a b c").expect("a scope");
        assert_eq!(of(&changed, ""), same, "another order, and another destination that is gone");
    }

    #[test]
    fn every_change_of_what_is_seen_is_another_consent() {
        let mut all = vec![
            of(&client(), ""),
            of(&client(), "redirect_uri=https://other.example/cb"),
            of(&client(), "response_mode=fragment"),
            of(&client(), "response_type=code%20token"),
        ];
        let changes: [fn(&mut ClientMetadata); 7] = [
            |client| client.client_name = "Your bank".into(),
            |client| client.client_uri = Some("https://app.example/".into()),
            |client| client.openid.logo_uri = Some("https://app.example/".into()),
            |client| client.openid.policy_uri = Some("https://app.example/".into()),
            |client| client.openid.tos_uri = Some("https://app.example/".into()),
            |client| client.redirect_uris.retain(|uri| uri.as_str() != URIS[1]),
            |client| client.redirect_uris.push(RedirectUri::register("https://app.example/x", false).expect("one")),
        ];
        for change in changes {
            let mut changed = client();
            change(&mut changed);
            all.push(of(&changed, ""));
        }
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    }

    #[test]
    fn it_is_part_of_it_whether_an_operator_answers_for_the_client() {
        let query = format!("response_type=code&redirect_uri={}", URIS[0]);
        let parameters = Parameters::parse(query.as_bytes(), 20).expect("parameters");
        let redirect = VerifiedRedirect::verify(&client(), Some(URIS[0])).expect("verified");
        let settings = Settings::with(&[]).expect("settings");
        let request = AuthorizationRequest::check(&parameters, ClientId(Uuid::nil()), &client(), redirect, &settings);
        let request = request.expect("a request");
        let vouched = AuthorizationRequest { made: Made { vouched: true, ..request.made }, ..request.clone() };
        assert_ne!(shown(&request), shown(&vouched));
    }
}
