//! Request objects: OpenID Connect Core 6, RFC 9101.

use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use super::rp::{RESPONSE_TYPES, Rp, now};
use crate::harness::{
    Browser, CALLBACK, Documents, Server, Signer, Store, random,
    signer::unsigned,
    suite::{Case, own, shared},
};
use crate::http::client_assertion;

pub const CASES: &[&[Case]] = &[
    shared![
        a_signed_request_object_is_a_request,
        an_unsigned_request_object_is_for_those_who_registered_it,
        a_refusal_goes_where_the_object_says,
        oidcc_ensure_request_object_with_redirect_uri,
        what_is_inside_counts_and_what_is_outside_must_agree,
        a_request_without_openid_is_what_the_object_says,
        a_forged_request_object_is_refused_and_nothing_is_fetched,
        a_request_object_that_is_for_others_or_over_is_refused,
    ],
    own![
        oidcc_request_uri_signed_rs256,
        oidcc_request_uri_unsigned,
        oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported,
        an_unsigned_request_object_at_a_registered_address_is_unsigned,
        a_request_uri_is_fetched_within_bounds,
        private_addresses_are_not_asked_for_request_objects,
        oidcc_refresh_token_rp_key_rotation,
        oidcc_registration_jwks_uri,
    ],
];

const OTHER: &str = "https://client.example/other";

/// A client that signs its request objects.
async fn signing(server: &Server, signer: &Signer, more: &[&str]) -> Rp {
    let file = format!("jwks-{}.json", signer.kid);
    std::fs::write(server.site().directory().join(&file), signer.jwks().to_string()).expect("a file");
    Rp::with(server, "code", &[&["--jwks", file.as_str()], more].concat()).await
}

/// What a good request object of that client says.
fn claims(rp: &Rp, more: &Value) -> Value {
    let mut claims = json!({
        "iss": rp.client.id, "aud": rp.server.base(), "client_id": rp.client.id, "response_type": "code",
        "redirect_uri": CALLBACK, "scope": "openid email", "state": random(9), "nonce": random(9),
        "iat": now(), "nbf": now(), "exp": now() + 60, "jti": random(9), "max_age": 10_000,
    });
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

/// The URL of a request with an object by value or by reference beside the least that stands outside.
fn url(rp: &Rp, name: &str, value: &str) -> String {
    rp.url(&[(name, value), ("state", ""), ("nonce", "")])
}

/// What comes of a request that nobody is signed in for.
async fn outcome(rp: &Rp, name: &str, value: &str) -> String {
    let page = Browser::new(&rp.server).open(&url(rp, name, value)).await;
    if page.form("login-form").is_some() { "login".to_owned() } else { rp.response(&page)["error"].clone() }
}

/// A whole login with a request object; its claims hold.
async fn login(rp: &Rp, name: &str, value: &str, claims: &Value) {
    let user = rp.server.user().await;
    let page = Browser::new(&rp.server).authorize(&url(rp, name, value), &user).await;
    let response = rp.response(&page);
    assert_eq!(response.get("state").map(String::as_str), claims["state"].as_str(), "{response:?}");
    let tokens = rp.redeem(&response["code"]).await;
    assert_eq!(tokens["scope"], "email openid");
    let id_token = rp.validated(tokens["id_token"].as_str().expect("an ID token")).await;
    assert_eq!(id_token["nonce"], claims["nonce"]);
}

async fn a_signed_request_object_is_a_request(server: Server) {
    // Core 6.1; it survives the sign-in and the consent.
    for alg in ["RS256", "ES256", "EdDSA", "PS256"] {
        let signer = Signer::new(alg);
        let rp = signing(&server, &signer, &["--request-object-signing-alg", alg]).await;
        let claims = claims(&rp, &json!({}));
        login(&rp, "request", &signer.sign(&claims), &claims).await;
    }
    // Without a registered algorithm any but none; iss, aud and the times need not be there.
    let signer = Signer::new("ES256");
    let rp = signing(&server, &signer, &[]).await;
    let mut claims = claims(&rp, &json!({}));
    for name in ["iss", "aud", "exp", "nbf", "iat", "jti", "client_id"] {
        claims.as_object_mut().expect("an object").remove(name);
    }
    login(&rp, "request", &signer.sign(&claims), &claims).await;
}

async fn an_unsigned_request_object_is_for_those_who_registered_it(server: Server) {
    // oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported: read, or refused; never ignored.
    let rp = Rp::with(&server, "code", &["--request-object-signing-alg", "none"]).await;
    let held = claims(&rp, &json!({}));
    login(&rp, "request", &unsigned(&held), &held).await;
    assert_eq!(outcome(&rp, "request", &format!("{}AAAA", unsigned(&held))).await, "invalid_request_object");
    assert_eq!(outcome(&rp, "request", &Signer::new("ES256").sign(&held)).await, "invalid_request_object");
    let signer = Signer::new("ES256");
    let rp = signing(&server, &signer, &["--request-object-signing-alg", "ES256"]).await;
    assert_eq!(outcome(&rp, "request", &unsigned(&claims(&rp, &json!({})))).await, "invalid_request_object");
    // Dynamic Registration 2 `request_object_signing_alg`: who registered none, may sign, or not.
    let rp = signing(&server, &signer, &[]).await;
    let held = claims(&rp, &json!({}));
    login(&rp, "request", &unsigned(&held), &held).await;
}

async fn a_refusal_goes_where_the_object_says(server: Server) {
    // Core 6.1, Form Post Response Mode 2: the response mode of the request is the one in its object.
    let rp = Rp::with(&server, "code", &["--redirect-uri", OTHER]).await;
    let refused = claims(&rp, &json!({ "redirect_uri": OTHER, "response_mode": "form_post", "exp": now() - 120 }));
    let page = Browser::new(&server).open(&url(&rp, "request", &unsigned(&refused))).await;
    let form = page.form("form-post").unwrap_or_else(|| panic!("no form: {}", page.answer));
    assert_eq!(form.action, OTHER);
    assert!(form.fields.contains(&("error".to_owned(), "invalid_request_object".to_owned())), "{form:?}");
    assert!(form.fields.contains(&("state".to_owned(), refused["state"].as_str().expect("a state").to_owned())));
    // Only where the client registered that it may go; else what stands beside the object counts.
    let evil = claims(&rp, &json!({ "redirect_uri": "https://evil.example/", "exp": now() - 120 }));
    let page = Browser::new(&server).open(&url(&rp, "request", &unsigned(&evil))).await;
    assert_eq!(rp.response(&page)["error"], "invalid_request_object");
}

async fn oidcc_ensure_request_object_with_redirect_uri(server: Server) {
    // Two redirect URIs; the one in the object counts. The plans Basic to Hybrid, then `dynamic`.
    let arguments = ["--redirect-uri", OTHER, "--request-object-signing-alg", "none"];
    let metadata = json!({ "redirect_uris": [CALLBACK, OTHER], "request_object_signing_alg": "none" });
    let (user, mut browser, mut rps) = (server.user().await, Browser::new(&server), Vec::new());
    for response_type in RESPONSE_TYPES {
        let rp = Rp::with(&server, response_type, &arguments).await;
        rps.extend([None, Some("form_post")].map(|response_mode| Rp { response_mode, ..rp.clone() }));
    }
    rps.push(Rp::registered(&server, "code", metadata).await);
    for rp in rps {
        let asked = |redirect_uri: &str| {
            let asked = json!({ "redirect_uri": redirect_uri, "response_type": rp.response_type });
            unsigned(&claims(&rp, &asked))
        };
        let page = browser.authorize(&url(&rp, "request", &asked(OTHER)), &user).await;
        match page.form("form-post") {
            Some(form) => assert_eq!(form.action, OTHER),
            None => assert!(page.callback().as_str().starts_with(OTHER), "{}", page.callback()),
        }
        // One that is not registered is not redirected to, wherever it stands.
        let object = asked("https://evil.example/");
        Browser::new(&server).open(&url(&rp, "request", &object)).await.expect_error_page("invalid_request");
    }
}

async fn what_is_inside_counts_and_what_is_outside_must_agree(server: Server) {
    // Core 6.1, RFC 9101 4 and 6.3.
    let rp = Rp::with(&server, "code", &["--request-object-signing-alg", "none"]).await;
    for (more, expected) in [
        (json!({}), "login"),
        (json!({ "prompt": "none" }), "login_required"),
        (json!({ "max_age": -1 }), "invalid_request"),
        (json!({ "scope": "openid unknown" }), "login"),
        (json!({ "scope": "email unknown" }), "invalid_scope"),
        (json!({ "client_id": "01909d3e-7a4b-7c1d-8e2f-000000000001" }), "invalid_request_object"),
        (json!({ "client_id": null }), "invalid_request_object"),
        (json!({ "response_type": "code id_token" }), "invalid_request_object"),
        (json!({ "response_type": 7 }), "invalid_request_object"),
        (json!({ "request": "x" }), "invalid_request_object"),
        (json!({ "request_uri": "https://client.example/x" }), "invalid_request_object"),
        (json!({ "decision": "allow", "csrf": "x", "arrival": "x" }), "login"),
    ] {
        assert_eq!(outcome(&rp, "request", &unsigned(&claims(&rp, &more))).await, expected, "{more}");
    }
    // A state outside stands when there is none inside.
    let mut without = claims(&rp, &json!({ "prompt": "none" }));
    without.as_object_mut().expect("an object").remove("state");
    let object = unsigned(&without);
    let page = Browser::new(&server).open(&rp.url(&[("request", &object), ("state", "outside")])).await;
    assert_eq!(rp.response(&page)["state"], "outside");
    // One or the other, and once.
    let object = unsigned(&claims(&rp, &json!({})));
    let both = rp.url(&[("request", &object), ("request_uri", "https://client.example/x")]);
    assert_eq!(rp.response(&Browser::new(&server).open(&both).await)["error"], "invalid_request");
    let twice = format!("{}&request={object}", url(&rp, "request", &object));
    assert_eq!(rp.response(&Browser::new(&server).open(&twice).await)["error"], "invalid_request");
}

async fn a_request_without_openid_is_what_the_object_says(server: Server) {
    // RFC 9101 6.3: only the parameters in the object are used.
    let rp = Rp::with(&server, "code", &["--request-object-signing-alg", "none"]).await;
    let plain = |object: &Value, scope: &str| {
        let object = unsigned(object);
        rp.url(&[("request", &object), ("scope", scope), ("state", "outside"), ("prompt", "none"), ("nonce", "")])
    };
    let mut inside = claims(&rp, &json!({ "scope": "email" }));
    let page = Browser::new(&server).open(&plain(&inside, "profile")).await;
    assert!(page.form("login-form").is_some(), "prompt=none outside was read: {}", page.answer);
    inside["prompt"] = json!("none");
    inside.as_object_mut().expect("an object").remove("state");
    let response = rp.response(&Browser::new(&server).open(&plain(&inside, "profile")).await);
    assert_eq!((response["error"].as_str(), response.get("state")), ("login_required", None));
    // RFC 9101 6.3: the client_id inside and outside must be identical.
    inside.as_object_mut().expect("an object").remove("client_id");
    let response = rp.response(&Browser::new(&server).open(&plain(&inside, "profile")).await);
    assert_eq!(response["error"], "invalid_request_object");
}

async fn a_forged_request_object_is_refused_and_nothing_is_fetched(server: Server) {
    // RFC 8725 2 and 3.
    let elsewhere = Documents::start().await;
    for alg in ["ES256", "RS256"] {
        let signer = Signer::new(alg);
        let rp = signing(&server, &signer, &["--request-object-signing-alg", alg]).await;
        for (what, forged) in signer.forged(&claims(&rp, &json!({})), &elsewhere.url("/jwks")) {
            assert_eq!(outcome(&rp, "request", &forged).await, "invalid_request_object", "{what}");
        }
    }
    assert_eq!(elsewhere.asked_at_all(), 0);
}

async fn a_request_object_that_is_for_others_or_over_is_refused(server: Server) {
    // RFC 9101 4 and 10.8.
    let signer = Signer::new("ES256");
    let rp = signing(&server, &signer, &[]).await;
    for (more, expected) in [
        (json!({ "aud": ["https://other.example", server.base()] }), "login"),
        (json!({ "nbf": now() + 8 }), "login"),
        (json!({ "iss": "somebody else" }), "invalid_request_object"),
        (json!({ "aud": "https://other.example" }), "invalid_request_object"),
        (json!({ "aud": [] }), "invalid_request_object"),
        (json!({ "aud": 7 }), "invalid_request_object"),
        (json!({ "exp": now() - 120 }), "invalid_request_object"),
        (json!({ "exp": "tomorrow" }), "invalid_request_object"),
        (json!({ "nbf": now() + 120 }), "invalid_request_object"),
        // An assertion of the client is no request.
        (json!({ "sub": rp.client.id }), "invalid_request_object"),
    ] {
        assert_eq!(outcome(&rp, "request", &signer.sign(&claims(&rp, &more))).await, expected, "{more}");
    }
}

/// A server that may fetch from this machine, with little patience.
async fn server_and_documents(store: Store) -> (Server, Documents) {
    let settings = [("REMOTE_ALLOW_PRIVATE", "true"), ("REMOTE_TIMEOUT_SECONDS", "1"), ("REGISTRATION_MODE", "open")];
    (Server::start(store, &settings).await, Documents::start().await)
}

async fn oidcc_request_uri_signed_rs256(store: Store) {
    // Core 6.2; what stands behind `#` tells servers that keep documents of a new one, and is no check of it.
    let (server, documents) = server_and_documents(store).await;
    let (signer, uri) = (Signer::new("RS256"), documents.url("/request.jwt"));
    let (signer, metadata) =
        (Arc::new(signer), json!({ "request_uris": [uri], "request_object_signing_alg": "RS256" }));
    let rp = Rp::registered_with_key(&server, "code", &signer, metadata).await;
    let held = claims(&rp, &json!({}));
    let object = signer.sign(&held);
    documents.put("/request.jwt", format!("{object}\n"));
    login(&rp, "request_uri", &uri, &held).await;
    assert_eq!(documents.asked("/request.jwt"), 1, "what was read once goes through the sign-in");
    documents.put("/request.jwt", &object);
    for fragment in ["", "1", &"A".repeat(43), &"x".repeat(500)] {
        assert_eq!(outcome(&rp, "request_uri", &format!("{uri}#{fragment}")).await, "login", "{fragment}");
    }
    documents.put("/request.jwt", Signer::new("RS256").sign(&held));
    assert_eq!(outcome(&rp, "request_uri", &uri).await, "invalid_request_object");
}

async fn oidcc_request_uri_unsigned(store: Store) {
    // Registration 2 `request_object_signing_alg`: without one, any that both support, and `none` is one.
    let (server, documents) = server_and_documents(store).await;
    let uri = documents.url("/request.jwt");
    let rp = Rp::registered(&server, "code", json!({ "request_uris": [uri] })).await;
    let held = claims(&rp, &json!({}));
    documents.put("/request.jwt", unsigned(&held));
    login(&rp, "request_uri", &uri, &held).await;
}

async fn oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(store: Store) {
    // Core 6.2, 3.1.2.6: read where the client registered the URI, in every flow; else rejected, and nothing is fetched.
    let (server, documents) = server_and_documents(store).await;
    let uri = documents.url("/request.jwt");
    let none = Rp::registered(&server, "code", json!({})).await;
    assert_eq!(outcome(&none, "request_uri", &uri).await, "request_uri_not_supported");
    assert_eq!(documents.asked_at_all(), 0);
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for response_type in RESPONSE_TYPES {
        let rp = Rp::registered(&server, response_type, json!({ "request_uris": [uri] })).await;
        for response_mode in [None, Some("form_post")] {
            let rp = Rp { response_mode, ..rp.clone() };
            let held = claims(&rp, &json!({ "response_type": response_type }));
            documents.put("/request.jwt", unsigned(&held));
            let page = browser.authorize(&url(&rp, "request_uri", &uri), &user).await;
            assert_eq!(page.form("form-post").is_some(), response_mode.is_some());
            let response = rp.response(&page);
            assert_eq!(response.get("state").map(String::as_str), held["state"].as_str(), "{response:?}");
            assert!(!response.contains_key("error"), "{response:?}");
        }
    }
}

async fn an_unsigned_request_object_at_a_registered_address_is_unsigned(store: Store) {
    // RFC 8725 3.1: not one with half a signature, and not where an algorithm was registered.
    let (server, documents) = server_and_documents(store).await;
    let (signer, uri) = (Signer::new("ES256"), documents.url("/request.jwt"));
    let open = Rp::registered(&server, "code", json!({ "request_uris": [uri], "jwks": signer.jwks() })).await;
    let held = claims(&open, &json!({}));
    documents.put("/request.jwt", format!("{}AAAA", unsigned(&held)));
    assert_eq!(outcome(&open, "request_uri", &uri).await, "invalid_request_object");
    for (what, forged) in signer.forged(&held, &documents.url("/jwks")) {
        if !what.starts_with("alg none") {
            documents.put("/request.jwt", &forged);
            assert_eq!(outcome(&open, "request_uri", &uri).await, "invalid_request_object", "{what}");
        }
    }
    assert_eq!(documents.asked("/jwks"), 0);
    assert_eq!(outcome(&open, "request", &unsigned(&held)).await, "login");
    let strict = json!({ "request_uris": [uri], "request_object_signing_alg": "ES256", "jwks": signer.jwks() });
    let strict = Rp::registered(&server, "code", strict).await;
    documents.put("/request.jwt", unsigned(&claims(&strict, &json!({}))));
    assert_eq!(outcome(&strict, "request_uri", &uri).await, "invalid_request_object");
}

async fn a_request_uri_is_fetched_within_bounds(store: Store) {
    // Core 6.2, RFC 9101 5.2 and 10.4.
    let (server, documents) = server_and_documents(store).await;
    let paths = ["/moved", "/silent", "/large", "/page", "/absent"];
    let uris = paths.map(|path| documents.url(path));
    let mut registered = vec!["--request-object-signing-alg", "none"];
    registered.extend(uris.iter().flat_map(|uri| ["--request-uri", uri.as_str()]));
    let rp = Rp::with(&server, "code", &registered).await;
    let object = unsigned(&claims(&rp, &json!({})));
    documents.put("/unregistered", &object);
    documents.redirect("/moved", &documents.url("/unregistered"));
    documents.silence("/silent");
    documents.put("/large", format!("{object}{}", " ".repeat(100_000)));
    documents.put("/page", "<html>");
    for (path, expected) in [
        ("/moved", "invalid_request_uri"),
        ("/silent", "invalid_request_uri"),
        ("/large", "invalid_request_uri"),
        ("/page", "invalid_request_object"),
        ("/absent", "invalid_request_uri"),
        ("/unregistered", "invalid_request_uri"),
        ("/page?x=1", "invalid_request_uri"),
        ("/PAGE", "invalid_request_uri"),
    ] {
        assert_eq!(outcome(&rp, "request_uri", &documents.url(path)).await, expected, "{path}");
    }
    assert_eq!((documents.asked("/unregistered"), documents.asked("/page")), (0, 1));
    for uri in ["file:///etc/passwd", "urn:example:request", "x", "http://client.example/"] {
        assert_eq!(outcome(&rp, "request_uri", uri).await, "invalid_request_uri", "{uri}");
    }
}

async fn private_addresses_are_not_asked_for_request_objects(store: Store) {
    let (server, documents) = (Server::start(store, &[]).await, Documents::start().await);
    let hosts = ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "192.168.0.1"];
    let uris = hosts.map(|host| format!("https://{host}:{}/request.jwt", documents.port()));
    let plain = documents.url("/request.jwt");
    let mut registered = vec!["--request-object-signing-alg", "none", "--request-uri", &plain];
    registered.extend(uris.iter().flat_map(|uri| ["--request-uri", uri.as_str()]));
    let rp = Rp::with(&server, "code", &registered).await;
    for uri in uris.iter().chain([&plain]) {
        assert_eq!(outcome(&rp, "request_uri", uri).await, "invalid_request_uri", "{uri}");
    }
    assert_eq!(documents.asked_at_all(), 0);
}

async fn oidcc_refresh_token_rp_key_rotation(store: Store) {
    // Core 10.1.1 the other way round: the client signs with a new key, and is known by it.
    let (server, documents) = server_and_documents(store).await;
    let (old, new, uri) = (Signer::new("RS256"), Signer::new("RS256"), documents.url("/jwks"));
    documents.put("/jwks", old.jwks());
    let metadata = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri });
    let (user, rp) = (server.user().await, Rp::registered(&server, "code", metadata).await);
    let post = async |signer: &Signer, form: &[(&str, &str)]| {
        let assertion = signer.sign(&client_assertion::claims(&server, &rp.client));
        client_assertion::post_with(&server, "/oauth/token", &assertion, form).await
    };
    let callback = Browser::new(&server).authorize(&rp.url(&[]), &user).await.callback();
    let code = code_of(&callback);
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    let tokens = post(&old, &form).await.expect(200).json();
    let refresh = |tokens: &Value| tokens["refresh_token"].as_str().expect("a refresh token").to_owned();
    let token = refresh(&tokens);
    let tokens = post(&old, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await.expect(200).json();
    documents.put("/jwks", new.jwks());
    let token = refresh(&tokens);
    let tokens = post(&new, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await.expect(200).json();
    rp.validated(tokens["id_token"].as_str().expect("an ID token")).await;
    // The set was fetched anew, and the old key is not in it.
    let token = refresh(&tokens);
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    post(&old, &form).await.expect_error(401, "invalid_client");
    post(&new, &form).await.expect(200);
}

async fn oidcc_registration_jwks_uri(store: Store) {
    // Dynamic Registration 2: the keys of `jwks_uri` are those that the client signs with, and no other.
    let (server, documents) = server_and_documents(store).await;
    let (signer, stranger, uri) = (Signer::new("ES256"), Signer::new("ES256"), documents.url("/jwks"));
    documents.put("/jwks", signer.jwks());
    let metadata = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri });
    let (user, rp) = (server.user().await, Rp::registered(&server, "code", metadata).await);
    assert_eq!(documents.asked("/jwks"), 0, "nobody signed yet");
    let callback = Browser::new(&server).authorize(&rp.url(&[]), &user).await.callback();
    let code = code_of(&callback);
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    let assertion = |signer: &Signer| signer.sign(&client_assertion::claims(&server, &rp.client));
    let refused = client_assertion::post_with(&server, "/oauth/token", &assertion(&stranger), &form).await;
    refused.expect_error(401, "invalid_client");
    let tokens = client_assertion::post_with(&server, "/oauth/token", &assertion(&signer), &form).await;
    rp.validated(tokens.expect(200).json()["id_token"].as_str().expect("an ID token")).await;
    assert!(documents.asked("/jwks") > 0);
}

fn code_of(callback: &Url) -> String {
    callback.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned()).expect("a code")
}
