//! Dynamic registration, with clients that registered themselves: OpenID Connect Dynamic Registration 1.0, RFC 7591, RFC 7592.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warp::Filter;

use super::rp::Rp;
use crate::harness::{
    Answer, Browser, CALLBACK, Server, Store, poll,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        oidcc_server_with_a_registered_client,
        oidcc_idtoken_rs256,
        oidcc_redirect_uri_regfrag,
        oidcc_registration_logo_uri,
        oidcc_registration_policy_uri,
        oidcc_registration_tos_uri,
        oidcc_3rd_party_init_login,
        oidcc_3rd_party_init_login_nohttps,
        all_metadata_is_kept_and_comes_back,
        what_cannot_be_done_is_refused,
        scope_words_that_nobody_knows_are_not_registered,
        what_is_no_registration_is_refused,
        a_registration_is_read_with_its_token_only,
        an_update_replaces_everything,
        an_update_says_who_it_is_and_nothing_that_the_server_makes,
        a_deleted_client_is_gone_with_all_that_it_has,
        a_disabled_client_cannot_change_itself,
        the_log_says_who_registered,
    ],
    own![
        oidcc_registration_sector_uri,
        oidcc_registration_sector_bad,
        nobody_registers_where_it_is_off,
        an_initial_access_token_opens_the_door,
        an_address_registers_so_many_in_an_hour,
    ],
];

const PATH: &str = "/oauth/register";

async fn post(server: &Server, metadata: &Value) -> Answer {
    server.post(PATH).body("application/json", metadata.to_string()).send().await
}

/// The least that a client says, and `more`.
pub fn with(more: Value) -> Value {
    let mut metadata = json!({ "redirect_uris": [CALLBACK], "client_name": "A registered client" });
    let Value::Object(more) = more else { panic!("an object") };
    metadata.as_object_mut().expect("an object").extend(more);
    metadata
}

/// Registers; the answer with everything in it.
pub async fn registered(server: &Server, metadata: &Value) -> Value {
    post(server, metadata).await.expect(201).expect_no_store().json()
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// A request to the client configuration endpoint, with that token.
async fn configure(server: &Server, method: &str, answer: &Value, token: &str, body: &Value) -> Answer {
    let request = server.request(method, text(answer, "registration_client_uri")).bearer(token);
    request.body("application/json", body.to_string()).send().await
}

async fn read(server: &Server, answer: &Value) -> Answer {
    server.get(text(answer, "registration_client_uri")).bearer(text(answer, "registration_access_token")).send().await
}

async fn oidcc_server_with_a_registered_client(server: Server) {
    // 3.1, 3.2; RFC 7591 3.2.1: what was registered comes back, with defaults; and it works, in every flow.
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    assert_eq!(configuration["registration_endpoint"], server.url(PATH));
    let answer = registered(&server, &with(json!({ "something_else": { "nobody": "knows" } }))).await;
    assert_eq!(answer["scope"], "email openid profile");
    assert_eq!((&answer["grant_types"], &answer["response_types"]), (&json!(["authorization_code"]), &json!(["code"])));
    assert_eq!(answer["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!((&answer["application_type"], &answer["client_secret_expires_at"]), (&json!("web"), &json!(0)));
    assert!(answer["client_id_issued_at"].is_i64() && answer.get("something_else").is_none(), "{answer}");
    let user = server.user().await;
    for response_type in super::rp::RESPONSE_TYPES {
        let rp = Rp::registered(&server, response_type, json!({})).await;
        rp.login(&mut Browser::new(&server), &user, &[]).await;
    }
    // A public client gets no secret.
    let public = registered(&server, &with(json!({ "token_endpoint_auth_method": "none" }))).await;
    assert!(public.get("client_secret").is_none() && public.get("client_secret_expires_at").is_none(), "{public}");
}

async fn oidcc_idtoken_rs256(server: Server) {
    // 2 `id_token_signed_response_alg`, and the others.
    let user = server.user().await;
    for alg in ["RS256", "ES256", "EdDSA", "PS256"] {
        let asked = json!({ "id_token_signed_response_alg": alg });
        let rp = Rp::registered(&server, "code id_token token", asked).await;
        assert_eq!(rp.alg, alg);
        rp.login(&mut Browser::new(&server), &user, &[]).await;
    }
}

async fn oidcc_redirect_uri_regfrag(server: Server) {
    // 2; RFC 7591 3.2.2, RFC 6749 3.1.2.
    for uri in ["https://client.example/callback#fragment", "https://client.example/callback#"] {
        post(&server, &with(json!({ "redirect_uris": [CALLBACK, uri] })))
            .await
            .expect_error(400, "invalid_redirect_uri");
    }
    for uris in [json!([]), json!(["/callback"]), json!(["javascript:alert(1)"]), json!(["http://client.example/cb"])] {
        post(&server, &with(json!({ "redirect_uris": uris }))).await.expect_error(400, "invalid_redirect_uri");
    }
}

/// What a signed-in user is asked for a client that registered that.
async fn asked(server: &Server, more: Value) -> Answer {
    let rp = Rp::registered(server, "code", more).await;
    let user = server.user().await;
    Browser::signed_in(server, &user).await.open(&rp.url(&[])).await.answer
}

async fn oidcc_registration_logo_uri(server: Server) {
    // 2: shown to the user. The browser loads it, from that origin and no other; this server never does.
    let page = asked(&server, json!({ "logo_uri": "https://logo.example/logo.png?a=1&b=2" })).await;
    let logo = crate::harness::html::element(&page.text(), "client-logo").unwrap_or_else(|| panic!("no logo: {page}"));
    assert_eq!((logo.name.as_str(), logo.get("src")), ("img", Some("https://logo.example/logo.png?a=1&b=2")));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("img-src 'self' https://logo.example;") && policy.contains("default-src 'none'"),
        "{policy}"
    );
    // Without TLS anybody on the way could change it, and see who is asked.
    let page = asked(&server, json!({ "logo_uri": "http://logo.example/logo.png" })).await;
    assert!(!page.text().contains("logo.example"), "{page}");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("img-src 'self';"), "{policy}");
}

/// The link of a page with that id.
#[track_caller]
fn link(page: &Answer, id: &str) -> String {
    let link = crate::harness::html::element(&page.text(), id).unwrap_or_else(|| panic!("no {id}: {page}"));
    assert!(link.get("rel").is_some_and(|rel| rel.contains("noopener") && rel.contains("noreferrer")), "{page}");
    link.get("href").expect("an address").to_owned()
}

async fn oidcc_registration_policy_uri(server: Server) {
    let page = asked(&server, json!({ "policy_uri": "https://client.example/policy" })).await;
    assert_eq!(link(&page, "client-policy"), "https://client.example/policy");
}

async fn oidcc_registration_tos_uri(server: Server) {
    let page = asked(&server, json!({ "tos_uri": "https://client.example/tos" })).await;
    assert_eq!(link(&page, "client-tos"), "https://client.example/tos");
    for name in ["logo_uri", "policy_uri", "tos_uri", "client_uri"] {
        for uri in ["javascript:alert(1)", "data:text/html,x", "/path", "https://user@client.example/"] {
            let answer = post(&server, &with(json!({ name: uri }))).await;
            answer.expect_error(400, "invalid_client_metadata");
        }
    }
}

/// A client's own web server, which answers everything with that.
pub async fn document(body: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/sector", listener.local_addr().expect("an address"));
    tokio::spawn(warp::serve(warp::any().map(move || body.clone())).incoming(listener).run());
    url
}

/// Open to everybody, and asks clients' servers on this machine.
const OPEN: [(&str, &str); 2] = [("REGISTRATION_MODE", "open"), ("REMOTE_ALLOW_PRIVATE", "true")];

async fn oidcc_registration_sector_uri(store: Store) {
    // 5: all of the redirect URIs are in the document.
    let server = Server::start(store, &OPEN).await;
    let sector = document(json!(["https://other.example/callback", CALLBACK]).to_string()).await;
    let pairwise = json!({
        "sector_identifier_uri": sector, "subject_type": "pairwise",
        "redirect_uris": [CALLBACK, "https://other.example/callback"],
    });
    let answer = registered(&server, &with(pairwise)).await;
    assert_eq!(answer["sector_identifier_uri"], sector);
    // A change that brings in another redirect URI is held against it too.
    let change = json!({
        "client_id": answer["client_id"], "sector_identifier_uri": sector,
        "subject_type": "pairwise", "redirect_uris": [CALLBACK, "https://third.example/callback"],
    });
    let token = text(&answer, "registration_access_token");
    configure(&server, "PUT", &answer, token, &with(change)).await.expect_error(400, "invalid_client_metadata");
}

async fn oidcc_registration_sector_bad(store: Store) {
    let server = Server::start(store, &OPEN).await;
    let mut wrong = vec!["http://127.0.0.1:1/nobody-listens".to_owned(), "http://client.example/sector".to_owned()];
    for body in ["[]", "[\"https://client.example/other\"]", "{}", "[1]", "no JSON", &"[".repeat(100_000)] {
        wrong.push(document(body.to_owned()).await);
    }
    // Core 8.1: without a sector, of one host.
    let hosts = json!({ "subject_type": "pairwise", "redirect_uris": [CALLBACK, "https://other.example/callback"] });
    post(&server, &with(hosts)).await.expect_error(400, "invalid_client_metadata");
    for sector in wrong {
        let answer = post(&server, &with(json!({ "sector_identifier_uri": sector }))).await;
        answer.expect_error(400, "invalid_client_metadata");
    }
}

async fn oidcc_3rd_party_init_login(server: Server) {
    // Core 4, Registration 2: kept, and returned by the client configuration endpoint.
    let uri = "https://client.example/login?from=grantlog";
    let answer = registered(&server, &with(json!({ "initiate_login_uri": uri }))).await;
    assert_eq!(read(&server, &answer).await.expect(200).json()["initiate_login_uri"], uri);
}

async fn oidcc_3rd_party_init_login_nohttps(server: Server) {
    // Registration 2 `initiate_login_uri`: "MUST use the https scheme".
    let plain = with(json!({ "initiate_login_uri": "http://client.example/login" }));
    post(&server, &plain).await.expect_error(400, "invalid_client_metadata");
}

async fn all_metadata_is_kept_and_comes_back(server: Server) {
    // RFC 7591 3.2.1: "MUST return all registered metadata about this client".
    let all = json!({
        "redirect_uris": [CALLBACK, "https://client.example/second"],
        "client_name": "Everything",
        "client_uri": "https://client.example/",
        "logo_uri": "https://client.example/logo.png",
        "policy_uri": "https://client.example/policy",
        "tos_uri": "https://client.example/tos",
        "contacts": ["ops@client.example", "https://client.example/help"],
        "software_id": "4NRB1-0XZABZI9E6-5SM3R",
        "software_version": "2.1",
        "jwks": { "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] },
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "email openid",
        "token_endpoint_auth_method": "client_secret_post",
        "application_type": "web",
        "id_token_signed_response_alg": "ES256",
        "subject_type": "public",
        "default_max_age": 3600,
        "require_auth_time": true,
        "default_acr_values": ["1"],
        "initiate_login_uri": "https://client.example/login",
        "post_logout_redirect_uris": ["https://client.example/signed_out"],
    });
    let answer = registered(&server, &all).await;
    let read = read(&server, &answer).await.expect(200).expect_no_store().json();
    for (name, value) in all.as_object().expect("an object") {
        assert_eq!((&answer[name], &read[name]), (value, value), "{name}");
    }
    // RFC 7592 3.
    for name in ["client_id", "client_id_issued_at", "registration_client_uri", "registration_access_token"] {
        assert_eq!(answer[name], read[name], "{name}");
    }
    assert!(answer["client_secret"].is_string() && read.get("client_secret").is_none(), "{read}");
}

async fn what_cannot_be_done_is_refused(server: Server) {
    // RFC 7591 3.2.2. Nothing that is understood is silently left out.
    for more in [
        json!({ "grant_types": ["password"] }),
        json!({ "grant_types": ["client_credentials"] }),
        json!({ "grant_types": ["magic"] }),
        json!({ "response_types": ["code magic"] }),
        json!({ "response_types": ["id_token"], "grant_types": ["authorization_code"] }),
        json!({ "id_token_signed_response_alg": "none" }),
        json!({ "id_token_signed_response_alg": "HS256" }),
        json!({ "id_token_encrypted_response_alg": "RSA-OAEP-256" }),
        json!({ "token_endpoint_auth_method": "private_key_jwt" }),
        json!({ "token_endpoint_auth_method": "tls_client_auth" }),
        json!({ "tls_client_certificate_bound_access_tokens": true }),
        json!({ "subject_type": "private" }),
        json!({ "backchannel_logout_uri": "http://client.example/out" }),
        json!({ "jwks": { "keys": [] }, "jwks_uri": "https://client.example/jwks" }),
        json!({ "jwks": { "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] } }),
        json!({ "jwks_uri": "http://client.example/jwks" }),
        json!({ "scope": "groups admin" }),
        json!({ "access_token_format": "jwt" }),
        json!({ "default_max_age": -1 }),
        json!({ "default_max_age": "60" }),
        json!({ "redirect_uris": "not a list" }),
        json!({ "client_name": "x".repeat(101) }),
        json!({ "client_name": "two\nlines" }),
        json!({ "contacts": vec!["x"; 17] }),
        json!({ "post_logout_redirect_uris": ["javascript:alert(1)"] }),
    ] {
        let answer = post(&server, &with(more.clone())).await;
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        let redirect = more.get("post_logout_redirect_uris").is_some();
        let expected = if redirect { "invalid_redirect_uri" } else { "invalid_client_metadata" };
        assert_eq!((answer.status, error.as_str()), (400, expected), "{more}: {answer}");
    }
    let statement = with(json!({ "software_statement": "eyJhbGciOiJub25lIn0.e30." }));
    post(&server, &statement).await.expect_error(400, "unapproved_software_statement");
}

async fn scope_words_that_nobody_knows_are_not_registered(server: Server) {
    // RFC 7591 2: the server may replace what was asked for; 3.2.1: what was registered is told.
    let answer = registered(&server, &with(json!({ "scope": "openid groups email" }))).await;
    assert_eq!(answer["scope"], "email openid");
    assert_eq!(read(&server, &answer).await.expect(200).json()["scope"], "email openid");
}

async fn what_is_no_registration_is_refused(server: Server) {
    // Within bounded time and memory, whatever is sent.
    let json = |body: String| server.post(PATH).body("application/json", body);
    for body in ["", "[]", "{", "null", "1", "{\"client_name\":\"a\",\"client_name\":\"b\"}"] {
        json(body.to_owned()).send().await.expect_error(400, "invalid_client_metadata");
    }
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    json(deep).send().await.expect_error(400, "invalid_client_metadata");
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(100_000));
    json(large.clone()).send().await.expect_error(413, "invalid_client_metadata");
    let deep_and_large = format!("{{\"x\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    json(deep_and_large).send().await.expect_error(413, "invalid_client_metadata");
    // The same when its length is not announced.
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
    let head =
        "POST /oauth/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    stream.write_all(chunked.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("invalid_client_metadata"), "{answer}");
    let keys = vec![json!({ "kty": "RSA", "n": "x".repeat(3000), "e": "AQAB" }); 17];
    post(&server, &with(json!({ "jwks": { "keys": keys } }))).await.expect_error(400, "invalid_client_metadata");
    let form = server.post(PATH).form(&[("redirect_uris", CALLBACK)]).send().await;
    form.expect_error(400, "invalid_client_metadata");
    let wrong =
        server.post(PATH).bearer("no-token-of-this-server").body("application/json", with(json!({})).to_string());
    wrong.send().await.expect_error(401, "invalid_token");
    let answer = server.request("PATCH", PATH).send().await.expect(405);
    assert_eq!(answer.header("allow"), Some("GET, POST, PUT, DELETE"));
}

async fn a_registration_is_read_with_its_token_only(server: Server) {
    // RFC 7592 2, 2.1; RFC 6750 3.1.
    let (answer, other) = (registered(&server, &with(json!({}))).await, registered(&server, &with(json!({}))).await);
    let token = text(&answer, "registration_access_token");
    let changed = format!("{}{}", &token[..token.len() - 2], if token.ends_with("AA") { "BA" } else { "AA" });
    let secret = text(&answer, "client_secret").to_owned();
    for wrong in [text(&other, "registration_access_token"), &changed, "glt_x", "x", &secret] {
        for method in ["GET", "PUT", "DELETE"] {
            let refused = configure(&server, method, &answer, wrong, &with(json!({}))).await;
            assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{refused}");
            refused.expect_error(401, "invalid_token");
        }
    }
    let uri = text(&answer, "registration_client_uri");
    let bare = server.get(uri).send().await.expect(401);
    assert!(bare.header("www-authenticate").is_some_and(|value| !value.contains("error")), "{bare}");
    server.get(&format!("{uri}&access_token={token}")).send().await.expect_client_error();
    server.get(PATH).bearer(token).send().await.expect_error(401, "invalid_token");
    read(&server, &answer).await.expect(200);
}

async fn an_update_replaces_everything(server: Server) {
    // RFC 7592 2.2: "omitted fields ... as null or empty", which takes them away.
    let more = json!({ "policy_uri": "https://client.example/policy", "token_endpoint_auth_method": "none" });
    let answer = registered(&server, &with(more)).await;
    let token = text(&answer, "registration_access_token");
    let change = with(json!({
        "client_id": answer["client_id"], "client_name": "Another name", "tos_uri": "https://client.example/tos",
        "contacts": null,
    }));
    let updated = configure(&server, "PUT", &answer, token, &change).await.expect(200).expect_no_store().json();
    assert_eq!((&updated["client_name"], &updated["tos_uri"]), (&json!("Another name"), &change["tos_uri"]));
    assert!(updated.get("policy_uri").is_none(), "{updated}");
    // It became confidential, so it has a secret from now on.
    assert!(updated["client_secret"].is_string(), "{updated}");
    let mut same = change.clone();
    same["client_secret"] = updated["client_secret"].clone();
    let again = configure(&server, "PUT", &answer, token, &same).await.expect(200).json();
    assert!(again.get("client_secret").is_none(), "{again}");
    let client = Rp::client_of(&updated);
    server
        .token_as(&client, &[("grant_type", "refresh_token"), ("refresh_token", "x")])
        .await
        .expect_error(400, "unauthorized_client");
    // What was refused changed nothing.
    let fragment = with(json!({ "client_id": answer["client_id"], "redirect_uris": ["https://client.example/#x"] }));
    configure(&server, "PUT", &answer, token, &fragment).await.expect_error(400, "invalid_redirect_uri");
    assert_eq!(read(&server, &answer).await.expect(200).json()["client_name"], "Another name");
}

async fn an_update_says_who_it_is_and_nothing_that_the_server_makes(server: Server) {
    // RFC 7592 2.2: MUST include client_id, MUST NOT include what the server makes, MUST NOT overwrite the secret.
    let (answer, other) = (registered(&server, &with(json!({}))).await, registered(&server, &with(json!({}))).await);
    let token = text(&answer, "registration_access_token");
    let own = |more: Value| {
        let mut metadata = with(json!({ "client_id": answer["client_id"] }));
        metadata.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        metadata
    };
    for wrong in [
        with(json!({})),
        own(json!({ "client_id": other["client_id"] })),
        own(json!({ "client_secret": "mine" })),
        own(json!({ "client_secret": other["client_secret"] })),
        own(json!({ "registration_access_token": token })),
        own(json!({ "registration_client_uri": answer["registration_client_uri"] })),
        own(json!({ "client_secret_expires_at": 0 })),
        own(json!({ "client_id_issued_at": answer["client_id_issued_at"] })),
    ] {
        let refused = configure(&server, "PUT", &answer, token, &wrong).await;
        refused.expect_error(400, "invalid_client_metadata");
    }
    configure(&server, "PUT", &answer, token, &own(json!({}))).await.expect(200);
}

async fn a_deleted_client_is_gone_with_all_that_it_has(server: Server) {
    // RFC 7592 2.3.
    let more = json!({ "grant_types": ["authorization_code", "refresh_token"] });
    let metadata = with(more);
    let answer = registered(&server, &metadata).await;
    let rp = Rp::of_answer(&server, "code", &answer);
    let (user, resource) = (server.user().await, server.api_client().await);
    let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
    let access = login.access_token().expect("a token");
    assert!(server.is_active(&rp.client, access).await);
    let token = text(&answer, "registration_access_token");
    let deleted = configure(&server, "DELETE", &answer, token, &json!({})).await.expect(204).expect_no_store();
    assert!(deleted.body.is_empty());
    server.get("/oauth/userinfo").bearer(access).send().await.expect(401);
    server.refresh(&rp.client, login.tokens["refresh_token"].as_str().expect("a token")).await.expect_invalid_client();
    Browser::new(&server).open(&rp.url(&[])).await.expect_error_page("invalid_client");
    for method in ["GET", "PUT", "DELETE"] {
        configure(&server, method, &answer, token, &metadata).await.expect_error(401, "invalid_token");
    }
    // What it was given ended for good: the log says so.
    poll::until("the grants of a deleted client end", async || {
        let grants = server.site().run_json(&["grant", "list", "--client", &rp.client.id]).await;
        grants.as_array().expect("a list").is_empty().then_some(())
    })
    .await;
    assert!(!server.is_active(&resource, access).await);
}

async fn a_disabled_client_cannot_change_itself(server: Server) {
    let answer = registered(&server, &with(json!({}))).await;
    let id = text(&answer, "client_id");
    server.site().run_well(&["client", "disable", id]).await;
    read(&server, &answer).await.expect_error(401, "invalid_token");
    server.site().run_well(&["client", "enable", id]).await;
    read(&server, &answer).await.expect(200);
}

/// Who caused the first event of a client, as the log says.
async fn registered_by(server: &Server, answer: &Value) -> String {
    let shown = server.site().run_json(&["events", "show", text(answer, "client_id")]).await;
    let actor = shown[0]["metadata"]["actor"].as_str();
    actor.unwrap_or_else(|| panic!("no actor: {shown}")).to_owned()
}

async fn the_log_says_who_registered(server: Server) {
    let answer = registered(&server, &with(json!({}))).await;
    assert_eq!(registered_by(&server, &answer).await, "anonymous");
}

async fn nobody_registers_where_it_is_off(store: Store) {
    let server = Server::start(store, &[]).await;
    post(&server, &with(json!({}))).await.expect_error(403, "access_denied");
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    assert!(configuration.get("registration_endpoint").is_none(), "{configuration}");
}

async fn an_initial_access_token_opens_the_door(store: Store) {
    // RFC 7591 3: and who was let in by an operator may register more than who just comes along.
    let tokens = ["an-initial-access-token-of-some-length", "another-initial-access-token-of-some-length"];
    tokens.iter().for_each(|token| crate::harness::secrets::register(token));
    let setting = format!("ci:{},partner:{}", tokens[0], tokens[1]);
    let settings = [("REGISTRATION_MODE", "token"), ("REGISTRATION_INITIAL_ACCESS_TOKENS", &*setting)];
    let server = Server::start(store, &settings).await;
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    assert_eq!(configuration["registration_endpoint"], server.url(PATH));
    let bare = post(&server, &with(json!({}))).await.expect(401);
    assert!(bare.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{bare}");
    let ask =
        |token: &str, more: Value| server.post(PATH).bearer(token).body("application/json", with(more).to_string());
    for wrong in ["an-initial-access-token-of-other-length", "an-initial-access-token-of-some-lengt", "x"] {
        ask(wrong, json!({})).send().await.expect_error(401, "invalid_token");
    }
    let service = json!({ "grant_types": ["client_credentials"], "scope": "openid" });
    let answer = ask(tokens[1], service).send().await.expect(201).json();
    assert_eq!(registered_by(&server, &answer).await, "initial_access_token:partner");
    let client = Rp::client_of(&answer);
    server.service_token(&client).await;
    let answer = ask(tokens[0], json!({})).send().await.expect(201).json();
    assert_eq!(registered_by(&server, &answer).await, "initial_access_token:ci");
}

async fn an_address_registers_so_many_in_an_hour(store: Store) {
    // RFC 6585 4. Changes count too; what is refused for another reason does not.
    let settings =
        [("REGISTRATION_MODE", "open"), ("REGISTRATION_PER_ADDRESS", "3"), ("HTTP_TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(store, &settings).await;
    let ask = |address: &str, metadata: &Value| {
        let request = server.post(PATH).header("x-forwarded-for", address);
        request.body("application/json", metadata.to_string())
    };
    ask("192.0.2.1", &json!({})).send().await.expect(400);
    let answer = ask("192.0.2.1", &with(json!({}))).send().await.expect(201).json();
    ask("192.0.2.1", &with(json!({}))).send().await.expect(201);
    let change = with(json!({ "client_id": answer["client_id"], "client_name": "Another" }));
    let put = || {
        let request =
            server.request("PUT", text(&answer, "registration_client_uri")).header("x-forwarded-for", "192.0.2.1");
        request.bearer(text(&answer, "registration_access_token")).body("application/json", change.to_string())
    };
    put().send().await.expect(200);
    let refused = ask("192.0.2.1", &with(json!({}))).send().await.expect_error(429, "temporarily_unavailable");
    let seconds = refused.header("retry-after").and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=3600).contains(&seconds)), "{refused}");
    put().send().await.expect(429);
    ask("192.0.2.2", &with(json!({}))).send().await.expect(201);
}
