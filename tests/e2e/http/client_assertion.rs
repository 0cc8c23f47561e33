//! Clients that sign to prove who they are: RFC 7523 2.2 and 3, OpenID Connect Core 9.

use serde_json::{Value, json};

use crate::conformance::rp::{Rp, now};
pub use crate::harness::assertion::{claims, parameters};
use crate::harness::{
    Answer, Browser, CALLBACK, Client, Documents, Server, Signer, Site, Store, poll, secrets,
    signer::{hs256, unsigned},
    site::query,
    suite::{Case, on, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        oidcc_ensure_client_assertion_with_iss_aud_succeeds,
        every_endpoint_with_client_authentication_takes_an_assertion,
        a_client_may_sign_with_its_secret,
        an_assertion_is_used_once,
        a_forged_assertion_is_invalid_client_and_nothing_is_fetched,
        an_assertion_that_says_something_else_is_invalid_client,
        a_client_signs_with_what_it_registered_only,
        an_assertion_goes_with_nothing_else,
    ],
    own![a_key_set_is_fetched_within_bounds, private_addresses_are_not_asked_for_keys],
    on![Postgres: an_assertion_is_used_once_on_all_nodes, an_assertion_is_not_taken_when_nobody_can_say_whether_it_was_used],
];

/// A form with that assertion.
pub async fn post_with(server: &Server, path: &str, assertion: &str, form: &[(&str, &str)]) -> Answer {
    server.post(path).form(&[form, &parameters(assertion)].concat()).send().await
}

async fn token_with(server: &Server, assertion: &str) -> Answer {
    post_with(server, "/oauth/token", assertion, &[("grant_type", "client_credentials")]).await
}

const SERVICE: [&str; 4] = ["--grant-type", "client_credentials", "--scope", "read"];

async fn client(server: &Server, signer: &Signer) -> Client {
    server.client_with_key(signer, &[&SERVICE[..], &["--auth-method", "private_key_jwt"]].concat()).await
}

async fn oidcc_ensure_client_assertion_with_iss_aud_succeeds(server: Server) {
    // Core 9: for the issuer or for the token endpoint, with every algorithm.
    for alg in ["RS256", "ES256", "EdDSA", "PS256"] {
        let signer = Signer::new(alg);
        let client = client(&server, &signer).await;
        for audience in [json!(server.base()), json!(server.url("/oauth/token")), json!([server.base()])] {
            let mut claims = claims(&server, &client);
            claims["aud"] = audience;
            token_with(&server, &signer.sign(&claims)).await.expect(200);
        }
        // RFC 7521 4.2: naming the client too changes nothing, naming another one does.
        let form = [("grant_type", "client_credentials"), ("client_id", client.id.as_str())];
        let good = signer.sign(&claims(&server, &client));
        post_with(&server, "/oauth/token", &good, &form).await.expect(200);
        let other = [("grant_type", "client_credentials"), ("client_id", "01909d3e-7a4b-7c1d-8e2f-000000000001")];
        let good = signer.sign(&claims(&server, &client));
        post_with(&server, "/oauth/token", &good, &other).await.expect_error(401, "invalid_client");
    }
    // The same of a client that registered itself.
    let signer = Signer::new("ES256");
    let metadata = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks() });
    let (user, rp) = (server.user().await, Rp::registered(&server, "code", metadata).await);
    let page = Browser::new(&server).authorize(&rp.url(&[]), &user).await;
    let code = rp.response(&page)["code"].clone();
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    let assertion = signer.sign(&claims(&server, &rp.client));
    let tokens = post_with(&server, "/oauth/token", &assertion, &form).await.expect(200).json();
    rp.validated(tokens["id_token"].as_str().expect("an ID token")).await;
}

async fn every_endpoint_with_client_authentication_takes_an_assertion(server: Server) {
    // RFC 7009 2.1, RFC 7662 2.1.
    let signer = Signer::new("ES256");
    let client = client(&server, &signer).await;
    let good = || signer.sign(&claims(&server, &client));
    let tokens = token_with(&server, &good()).await.expect(200).json();
    let token = [("token", tokens["access_token"].as_str().expect("a token"))];
    let active = post_with(&server, "/oauth/introspect", &good(), &token).await.expect(200).json();
    assert_eq!(active["active"], true);
    post_with(&server, "/oauth/revoke", &good(), &token).await.expect(200);
    let active = post_with(&server, "/oauth/introspect", &good(), &token).await.expect(200).json();
    assert_eq!(active["active"], false);
    post_with(&server, "/oauth/introspect", "x", &token).await.expect_error(401, "invalid_client");
}

async fn a_client_may_sign_with_its_secret(server: Server) {
    let client = server.client(&[&SERVICE[..], &["--auth-method", "client_secret_jwt"]].concat()).await;
    let header = json!({ "alg": "HS256" });
    let made_with = |secret: &str| hs256(secret.as_bytes(), &header, &claims(&server, &client));
    token_with(&server, &made_with(&client.secret)).await.expect(200);
    token_with(&server, &made_with("another secret of the same length")).await.expect_error(401, "invalid_client");
    token_with(&server, &unsigned(&claims(&server, &client))).await.expect_error(401, "invalid_client");
    // The secret itself is not shown by a client that signs with it.
    server
        .post("/oauth/token")
        .basic(&client.id, &client.secret)
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .expect_error(401, "invalid_client");
    let rotated = server.site().run_json(&["client", "rotate-secret", &client.id]).await;
    let new = rotated["client_secret"].as_str().expect("a secret").to_owned();
    secrets::register(&new);
    poll::until("the new secret holds", async || {
        (token_with(&server, &made_with(&new)).await.status == 200).then_some(())
    })
    .await;
    token_with(&server, &made_with(&client.secret)).await.expect_error(401, "invalid_client");
    // Who begins to sign gets a secret to sign with: of the old one there is only a hash.
    let other = server.client(&[&SERVICE[..], &["--auth-method", "client_secret_basic"]].concat()).await;
    let updated = server.site().run_json(&["client", "update", &other.id, "--auth-method", "client_secret_jwt"]).await;
    let new = updated["client_secret"].as_str().expect("a secret").to_owned();
    secrets::register(&new);
    poll::until("the client signs", async || {
        let assertion = hs256(new.as_bytes(), &header, &claims(&server, &other));
        (token_with(&server, &assertion).await.status == 200).then_some(())
    })
    .await;
}

async fn an_assertion_is_used_once(server: Server) {
    // RFC 7523 3, 7; also when it is shown several times at once.
    let signer = Signer::new("ES256");
    let client = client(&server, &signer).await;
    let assertion = signer.sign(&claims(&server, &client));
    let answers = futures::future::join_all((0..8).map(|_| token_with(&server, &assertion))).await;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(taken, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    token_with(&server, &assertion).await.expect_error(401, "invalid_client");
    // One that was refused is not used up.
    let mut expired = claims(&server, &client);
    expired["exp"] = json!(now() - 120);
    let jti = expired["jti"].clone();
    token_with(&server, &signer.sign(&expired)).await.expect_error(401, "invalid_client");
    let mut good = claims(&server, &client);
    good["jti"] = jti;
    token_with(&server, &signer.sign(&good)).await.expect(200);
}

async fn an_assertion_is_used_once_on_all_nodes(_: Store) {
    let site = Site::new(Store::Postgres, &[("ISSUER", "http://127.0.0.1:1")]);
    let nodes = [Server::on(&site, &[]).await, Server::on(&site, &[]).await];
    let signer = Signer::new("ES256");
    let client = client(&nodes[0], &signer).await;
    nodes[1].knows(&client).await;
    for _ in 0..5 {
        let mut claims = claims(&nodes[0], &client);
        claims["aud"] = json!("http://127.0.0.1:1");
        let assertion = signer.sign(&claims);
        let (one, two) = tokio::join!(token_with(&nodes[0], &assertion), token_with(&nodes[1], &assertion));
        assert_eq!([one.status, two.status].iter().filter(|status| **status == 200).count(), 1, "{one} {two}");
    }
}

async fn an_assertion_is_not_taken_when_nobody_can_say_whether_it_was_used(store: Store) {
    let server = Server::start(store, &[]).await;
    let signer = Signer::new("ES256");
    let client = client(&server, &signer).await;
    let assertion = signer.sign(&claims(&server, &client));
    let rename = |from: &str, to: &str| query(server.site().owner(), &format!("ALTER TABLE {from} RENAME TO {to}"));
    rename("used_assertions", "elsewhere");
    let answer = token_with(&server, &assertion).await.expect_error(503, "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
    rename("elsewhere", "used_assertions");
    token_with(&server, &assertion).await.expect(200);
}

async fn a_forged_assertion_is_invalid_client_and_nothing_is_fetched(server: Server) {
    // RFC 8725 2 and 3.
    let elsewhere = Documents::start().await;
    for alg in ["ES256", "RS256"] {
        let signer = Signer::new(alg);
        let client = client(&server, &signer).await;
        for (what, forged) in signer.forged(&claims(&server, &client), &elsewhere.url("/jwks")) {
            let answer = token_with(&server, &forged).await;
            assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{what}: {answer}");
        }
        let huge = signer.sign(&json!({ "iss": client.id, "sub": client.id, "jti": "x".repeat(20_000) }));
        token_with(&server, &huge).await.expect_error(401, "invalid_client");
    }
    assert_eq!(elsewhere.asked_at_all(), 0);
}

async fn an_assertion_that_says_something_else_is_invalid_client(server: Server) {
    // RFC 7523 3, 1 to 7.
    let signer = Signer::new("ES256");
    let (client, other) = (client(&server, &signer).await, server.service_client().await);
    let cases = [
        ("iss", json!("somebody else")),
        ("iss", json!(null)),
        ("sub", json!(other.id)),
        ("sub", json!(null)),
        ("aud", json!("https://other.example")),
        ("aud", json!(format!("{}/", server.base()))),
        ("aud", json!([server.base(), "https://other.example"])),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("exp", json!(now() - 120)),
        ("exp", json!(now() + 10_000)),
        ("exp", json!("tomorrow")),
        ("exp", json!(null)),
        ("nbf", json!(now() + 120)),
        ("iat", json!(now() + 120)),
        ("jti", json!(null)),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("x".repeat(300))),
    ];
    for (name, value) in cases {
        let mut claims = claims(&server, &client);
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        }
        let answer = token_with(&server, &signer.sign(&claims)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{name} {value}");
    }
    // A clock that is a little wrong is.
    let mut claims = claims(&server, &client);
    (claims["nbf"], claims["iat"]) = (json!(now() + 8), json!(now() + 8));
    token_with(&server, &signer.sign(&claims)).await.expect(200);
    // Another kind of token that the client made: RFC 9101 10.8.
    let mut header = signer.header();
    header["typ"] = json!("oauth-authz-req+jwt");
    let object = signer.sign_with(&header, &self::claims(&server, &client));
    token_with(&server, &object).await.expect_error(401, "invalid_client");
}

async fn a_client_signs_with_what_it_registered_only(server: Server) {
    // RFC 6749 2.3, RFC 8725 3.1.
    let signer = Signer::new("RS256");
    let only_ps256 = ["--auth-method", "private_key_jwt", "--token-endpoint-auth-signing-alg", "PS256"];
    let client = server.client_with_key(&signer, &[&SERVICE[..], &only_ps256].concat()).await;
    token_with(&server, &signer.sign(&claims(&server, &client))).await.expect_error(401, "invalid_client");
    for method in ["client_secret_basic", "client_secret_post", "client_secret_jwt"] {
        let signer = Signer::new("ES256");
        let client = server.client_with_key(&signer, &[&SERVICE[..], &["--auth-method", method]].concat()).await;
        token_with(&server, &signer.sign(&claims(&server, &client))).await.expect_error(401, "invalid_client");
    }
    let signer = Signer::new("ES256");
    let public = ["--redirect-uri", crate::harness::CALLBACK, "--auth-method", "none"];
    let public = server.client_with_key(&signer, &public).await;
    token_with(&server, &signer.sign(&claims(&server, &public))).await.expect_error(401, "invalid_client");
}

async fn an_assertion_goes_with_nothing_else(server: Server) {
    // RFC 6749 2.3: MUST NOT use more than one authentication method in each request.
    let signer = Signer::new("ES256");
    let client = client(&server, &signer).await;
    let assertion = signer.sign(&claims(&server, &client));
    let whole = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion.as_str()),
    ];
    let with_secret = [&whole[..], &[("client_secret", "x")]].concat();
    server.post("/oauth/token").form(&with_secret).send().await.expect_error(400, "invalid_request");
    let with_header = server.post("/oauth/token").basic(&client.id, "x").form(&whole).send().await;
    with_header.expect_error(400, "invalid_request");
    for left_out in [1, 2] {
        let mut form = whole.to_vec();
        form.remove(left_out);
        server.post("/oauth/token").form(&form).send().await.expect_error(400, "invalid_request");
    }
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let form = [whole[0], ("client_assertion_type", saml), whole[2]];
    server.post("/oauth/token").form(&form).send().await.expect_error(401, "invalid_client");
    token_with(&server, &assertion).await.expect(200);
}

async fn a_key_set_is_fetched_within_bounds(store: Store) {
    let server = Server::start(store, &[("REMOTE_ALLOW_PRIVATE", "true"), ("REMOTE_TIMEOUT_SECONDS", "1")]).await;
    let documents = Documents::start().await;
    let registered = async |path: &str| {
        let uri = documents.url(path);
        let reference = ["--auth-method", "private_key_jwt", "--jwks-uri", uri.as_str()];
        server.client(&[&SERVICE[..], &reference].concat()).await
    };
    let signer = Signer::new("ES256");
    let ask =
        async |client: &Client, signer: &Signer| token_with(&server, &signer.sign(&claims(&server, client))).await;

    let good = registered("/good").await;
    documents.put("/good", signer.jwks());
    for _ in 0..3 {
        ask(&good, &signer).await.expect(200);
    }
    assert_eq!(documents.asked("/good"), 1);
    // Keys that nobody has cause few questions, and do not keep the client from being served.
    for _ in 0..20 {
        ask(&good, &Signer::new("ES256")).await.expect_error(401, "invalid_client");
    }
    assert!(documents.asked("/good") <= 4, "{}", documents.asked("/good"));
    ask(&good, &signer).await.expect(200);

    let too_many: Vec<Value> = (0..17).map(|_| Signer::new("ES256").jwk()).chain([signer.jwk()]).collect();
    documents.put("/many", json!({ "keys": too_many }));
    documents.put("/large", format!("{}{}", signer.jwks(), " ".repeat(100_000)));
    documents.put("/deep", format!("{{\"keys\":{}", "[".repeat(50_000)));
    documents.put("/page", "<html>");
    documents.redirect("/moved", &documents.url("/good"));
    documents.silence("/silent");
    for path in ["/many", "/large", "/deep", "/page", "/moved", "/silent", "/absent"] {
        let client = registered(path).await;
        ask(&client, &signer).await.expect_error(401, "invalid_client");
        assert_eq!(documents.asked(path), 1, "{path}");
    }
}

async fn private_addresses_are_not_asked_for_keys(store: Store) {
    let server = Server::start(store, &[]).await;
    let documents = Documents::start().await;
    let signer = Signer::new("ES256");
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"] {
        let uri = format!("https://{host}:{}/jwks", documents.port());
        let reference = ["--auth-method", "private_key_jwt", "--jwks-uri", &uri];
        let client = server.client(&[&SERVICE[..], &reference].concat()).await;
        let answer = token_with(&server, &signer.sign(&claims(&server, &client))).await;
        answer.expect_error(401, "invalid_client");
    }
    assert!(server.log().contains("may be asked"), "the operator is told why");
    let uri = documents.url("/jwks");
    let reference = ["--auth-method", "private_key_jwt", "--jwks-uri", &uri];
    let client = server.client(&[&SERVICE[..], &reference].concat()).await;
    token_with(&server, &signer.sign(&claims(&server, &client))).await.expect_error(401, "invalid_client");
    assert_eq!(documents.asked_at_all(), 0);
}
