//! Access tokens that APIs read by themselves: RFC 9068.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use grantlog::resource::{Jwt, JwtSettings, ResourceServer};
use serde_json::{Value, json};

use crate::conformance::{rp::Rp, tampered};
use crate::harness::{
    Answer, Browser, Server, Store, poll,
    suite::{Case, own, shared},
};
use crate::resource::{self, hello};

pub const CASES: &[&[Case]] = &[
    shared![
        a_token_says_what_the_profile_asks_for,
        it_is_introspected_and_revoked_like_any_other,
        every_flow_gives_one,
        what_is_no_access_token_of_ours_is_not_active,
        an_api_reads_it_offline,
    ],
    own![a_setting_names_the_audience_and_the_algorithm, a_repeated_refresh_gives_the_same_token],
];

const JWT: [&str; 2] = ["--access-token-format", "jwt"];

/// Header and claims, not verified.
fn parts(token: &str) -> (Value, Value) {
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON");
    let mut all = token.split('.');
    (part(all.next().expect("a header")), part(all.next().expect("claims")))
}

async fn a_token_says_what_the_profile_asks_for(server: Server) {
    // RFC 9068 2.1, 2.2.
    let (user, rp) = (server.user().await, Rp::with(&server, "code", &JWT).await);
    let login = rp.login(&mut Browser::new(&server), &user, &[("scope", "openid profile")]).await;
    let token = login.access_token().expect("a token");
    let (header, claims) = parts(token);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("RS256")));
    assert!(header["kid"].is_string(), "{header}");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(server.base()), &json!(server.base())));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&login.claims["sub"], &json!(rp.client.id)));
    assert_eq!((&claims["auth_time"], &claims["acr"]), (&login.claims["auth_time"], &json!("1")));
    assert_eq!((&claims["scope"], &claims["amr"]), (&json!("openid profile"), &json!(["pwd"])));
    let lifetime = claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat");
    assert_eq!(Some(lifetime), login.tokens["expires_in"].as_i64());
    assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() > 40), "{claims}");
    // At a client's own word nobody is let in: the token is, not its name.
    server.get("/oauth/userinfo").bearer(claims["jti"].as_str().expect("jti")).send().await.expect(401);
    assert_eq!(rp.userinfo(token).await["sub"], claims["sub"]);
    server.get("/api/me").bearer(token).send().await.expect(200);
}

async fn it_is_introspected_and_revoked_like_any_other(server: Server) {
    // RFC 7662 2.2, RFC 7009 2.1: one token, and with its grant.
    let (user, rp) = (server.user().await, Rp::with(&server, "code", &JWT).await);
    let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
    let token = login.access_token().expect("a token").to_owned();
    let said = server.introspect_as(&rp.client, &token).await;
    let (_, claims) = parts(&token);
    for name in ["sub", "client_id", "scope", "exp", "iat", "iss", "aud", "jti"] {
        assert_eq!(said[name], claims[name], "{name}");
    }
    let refresh_token = login.tokens["refresh_token"].as_str().expect("a refresh token");
    let second = server.refresh(&rp.client, refresh_token).await.expect(200).json();
    let second_token = second["access_token"].as_str().expect("a token");
    server.revoke_as(&rp.client, &token).await.expect(200);
    assert_eq!(server.introspect_as(&rp.client, &token).await, json!({ "active": false }));
    server.get("/oauth/userinfo").bearer(&token).send().await.expect(401);
    assert_eq!(server.introspect_as(&rp.client, second_token).await["active"], true);
    let other = server.web_client().await;
    server.revoke_as(&other, second_token).await.expect(400);
    server.revoke_as(&rp.client, second["refresh_token"].as_str().expect("a refresh token")).await.expect(200);
    assert_eq!(server.introspect_as(&rp.client, second_token).await["active"], false);
}

async fn every_flow_gives_one(server: Server) {
    // RFC 9068 3: whatever the grant type; `sub` of a client that acts for itself is the client (2.2).
    let user = server.user().await;
    for response_type in ["id_token token", "code token", "code id_token token"] {
        let rp = Rp::with(&server, response_type, &JWT).await;
        let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
        assert_eq!(parts(&login.response["access_token"]).0["typ"], "at+jwt");
        assert_eq!(server.introspect_as(&rp.client, &login.response["access_token"]).await["active"], true);
    }
    let service = server.client(&[&["--grant-type", "client_credentials", "--scope", "read"][..], &JWT].concat()).await;
    let (_, claims) = parts(&server.service_token(&service).await);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(service.id), &json!(service.id)));
    assert!(claims.get("auth_time").is_none(), "{claims}");
    let pairwise = Rp::with(&server, "code", &[&JWT[..], &["--subject-type", "pairwise"]].concat()).await;
    let login = pairwise.login(&mut Browser::new(&server), &user, &[]).await;
    assert_eq!(parts(login.access_token().expect("a token")).1["sub"], login.claims["sub"]);
}

async fn what_is_no_access_token_of_ours_is_not_active(server: Server) {
    // RFC 9068 4, 5; RFC 8725 3.
    let (user, rp) = (server.user().await, Rp::with(&server, "code", &JWT).await);
    let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
    let token = login.access_token().expect("a token");
    let mut forged = tampered::variants(&server, token).await;
    forged.extend([
        login.id_token().to_owned(),
        format!("{token}x"),
        token.rsplit_once('.').expect("a signature").0.to_owned(),
        format!("ey{}", "J".repeat(8000)),
    ]);
    for wrong in &forged {
        assert_eq!(server.introspect_as(&rp.client, wrong).await, json!({ "active": false }), "{wrong}");
        server.get("/oauth/userinfo").bearer(wrong.trim_end_matches('.')).send().await.expect(401);
        server.revoke_as(&rp.client, wrong).await.expect(200);
    }
    // Nor is it an ID token.
    let hint = [("prompt", "none"), ("id_token_hint", token)];
    let mut browser = Browser::signed_in(&server, &user).await;
    assert_eq!(rp.response(&browser.open(&rp.url(&hint)).await)["error"], "invalid_request");
    assert_eq!(server.introspect_as(&rp.client, token).await["active"], true);
}

/// Starts `GET /hello` that needs the scope `profile` and reads tokens by itself; gives back its URL.
async fn api(server: &Server, audience: &str) -> String {
    let settings = JwtSettings::new(server.base(), audience, server.url("/oauth/jwks"));
    let protect = ResourceServer::jwt(Jwt::new(settings).expect("settings that fit together"));
    resource::serve(protect.require_oauth("profile"), |caller| caller.sub).await
}

async fn an_api_reads_it_offline(server: Server) {
    // RFC 9068 4: and refuses an ID token, a token for somebody else, and one without the scope.
    let (user, rp) = (server.user().await, Rp::with(&server, "code", &JWT).await);
    let (ours, others) = (api(&server, server.base()).await, api(&server, "https://other.example").await);
    let login = rp.login(&mut Browser::new(&server), &user, &[("scope", "openid profile")]).await;
    let token = login.access_token().expect("a token");
    let sub = login.claims["sub"].as_str().expect("a sub");
    assert_eq!(hello(&ours, token).await.expect(200).text(), format!("hello {sub}"));
    let challenge = |answer: Answer| answer.header("www-authenticate").expect("a challenge").to_owned();
    assert!(challenge(hello(&others, token).await.expect(401)).contains(r#"error="invalid_token""#));
    assert!(challenge(hello(&ours, login.id_token()).await.expect(401)).contains(r#"error="invalid_token""#));
    let narrow = rp.login(&mut Browser::new(&server), &user, &[]).await;
    let answer = hello(&ours, narrow.access_token().expect("a token")).await.expect(403);
    assert!(challenge(answer).contains(r#"scope="profile""#));
}

async fn a_setting_names_the_audience_and_the_algorithm(store: Store) {
    // RFC 9068 2.1, 3: tokens for UserInfo are for this server too.
    let settings = [
        ("OAUTH_ACCESS_TOKEN_AUDIENCE", "https://api.example"),
        ("OAUTH_ACCESS_TOKEN_SIGNING_ALG", "ES256"),
        ("OAUTH_ACCESS_TOKEN_LIFETIME_SECONDS", "10"),
    ];
    let server = Server::start(store, &settings).await;
    let (user, rp) = (server.user().await, Rp::with(&server, "code", &JWT).await);
    let login = rp.login(&mut Browser::new(&server), &user, &[("scope", "openid profile")]).await;
    let token = login.access_token().expect("a token");
    let (header, claims) = parts(token);
    assert_eq!((&header["alg"], &claims["aud"]), (&json!("ES256"), &json!(["https://api.example", server.base()])));
    let url = api(&server, "https://api.example").await;
    hello(&url, token).await.expect(200);
    let service = server.client(&[&["--grant-type", "client_credentials", "--scope", "read"][..], &JWT].concat()).await;
    assert_eq!(parts(&server.service_token(&service).await).1["aud"], "https://api.example");
    poll::until_at_most(Duration::from_secs(15), "the token's ten seconds are over", async || {
        (hello(&url, token).await.status == 401).then_some(())
    })
    .await;
}

async fn a_repeated_refresh_gives_the_same_token(store: Store) {
    // The setting `oauth.refresh_grace_seconds`: another signature perhaps, but the same token.
    let server = Server::start(store, &[("OAUTH_REFRESH_GRACE_SECONDS", "30")]).await;
    let (user, rp) = (server.user().await, Rp::with(&server, "code", &JWT).await);
    let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
    let refresh_token = login.tokens["refresh_token"].as_str().expect("a refresh token");
    let first = server.refresh(&rp.client, refresh_token).await.expect(200).json();
    let again = server.refresh(&rp.client, refresh_token).await.expect(200).json();
    let jti = |answer: &Value| parts(answer["access_token"].as_str().expect("a token")).1["jti"].clone();
    assert_eq!(jti(&first), jti(&again));
    assert_eq!(
        server.introspect_as(&rp.client, again["access_token"].as_str().expect("a token")).await["active"],
        true
    );
}
