//! OpenID Connect Back-Channel Logout 1.0.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};
use serde_json::{Value, json};

use super::dynamic;
use super::receiver::{Answer, Receiver};
use super::rp::{Login, Rp, SIGNED_OUT, now};
use crate::harness::{
    Browser, Server, Site, Store, User,
    http::encode,
    poll,
    suite::{Case, on, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![oidcc_backchannel_logout_discovery_endpoint_verification, a_session_has_another_sid_at_every_client],
    own![
        oidcc_backchannel_rp_initiated_logout,
        a_client_that_does_not_answer_is_told_again,
        what_ended_before_a_crash_is_told_after_it,
        what_was_allowed_in_a_session_ends_with_it,
        what_was_allowed_in_a_session_outlives_it_where_the_setting_says_so,
    ],
    on![Postgres: two_nodes_tell_a_client_once],
];

/// Clients of these cases are on this machine, and nobody wants to wait.
const SETTINGS: &[(&str, &str)] =
    &[("REMOTE_ALLOW_PRIVATE", "true"), ("REMOTE_TIMEOUT_SECONDS", "1"), ("LOGOUT_RETRY_SECONDS", "1")];

async fn oidcc_backchannel_logout_discovery_endpoint_verification(server: Server) {
    // 2.1.
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    for name in ["backchannel_logout_supported", "backchannel_logout_session_supported"] {
        assert_eq!(configuration[name], json!(true), "{name}");
    }
}

async fn a_session_has_another_sid_at_every_client(server: Server) {
    // 2.4 `sid` is opaque, and nothing by which two clients find out that they have the same user.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    let (one, other) = (Rp::new(&server, "code").await, Rp::new(&server, "id_token").await);
    let first = one.login(&mut browser, &user, &[]).await.claims["sid"].clone();
    let second = other.login(&mut browser, &user, &[]).await.claims["sid"].clone();
    assert!(first.is_string() && second.is_string() && first != second, "{first} {second}");
    assert_eq!(one.login(&mut browser, &user, &[]).await.claims["sid"], first, "the same session");
    let elsewhere = one.login(&mut Browser::new(&server), &user, &[]).await.claims["sid"].clone();
    assert_ne!(elsewhere, first, "another session");
}

/// A client that is told at the receiver, and somebody who has signed in to it.
async fn login(server: &Server, receiver: &Receiver, browser: &mut Browser, user: &User) -> (Rp, Login) {
    let rp = Rp::with(server, "code", &["--backchannel-logout-uri", &receiver.url()]).await;
    let login = rp.login(browser, user, &[]).await;
    (rp, login)
}

async fn sign_out(browser: &mut Browser) {
    let page = browser.open("/logout").await;
    let page = browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
}

/// The claims of a logout token, validated (2.6) and held against what the session's ID token said.
async fn validated(rp: &Rp, token: &str, login: &Login) -> Value {
    let header = jsonwebtoken::decode_header(token).expect("a JWS header");
    assert_eq!(header.typ.as_deref(), Some("logout+jwt"));
    let keys = rp.server.get("/oauth/jwks").send().await.expect(200).json();
    let kid = header.kid.expect("a kid");
    let key = keys["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == kid.as_str());
    let jwk: Jwk = serde_json::from_value(key.expect("a published key").clone()).expect("a JWK");
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[rp.server.base()]);
    validation.set_audience(&[&rp.client.id]);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    let key = DecodingKey::from_jwk(&jwk).expect("a key");
    let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a good signature").claims;
    let iat = claims["iat"].as_i64().expect("iat");
    assert!((now() - iat).abs() < 90, "{claims}");
    assert!(claims["exp"].as_i64().is_some_and(|exp| exp > iat && exp <= iat + 120), "{claims}");
    assert!(claims["jti"].as_str().is_some_and(|jti| !jti.is_empty()), "{claims}");
    assert_eq!(claims["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
    // 2.4: MUST NOT contain a nonce.
    assert!(claims.get("nonce").is_none(), "{claims}");
    assert_eq!((&claims["sub"], &claims["sid"]), (&login.claims["sub"], &login.claims["sid"]));
    claims
}

async fn oidcc_backchannel_rp_initiated_logout(store: Store) {
    let server = Server::start(store, SETTINGS).await;
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    let (one, other) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let (rp, first) = login(&server, &one, &mut browser, &user).await;
    let (other_rp, second) = login(&server, &other, &mut browser, &user).await;
    // Somebody else's session at the same client, and a client that wants to hear nothing, change nothing.
    let mut elsewhere = Browser::new(&server);
    let kept = rp.login(&mut elsewhere, &user, &[]).await;
    Rp::new(&server, "code").await.login(&mut browser, &user, &[]).await;

    let request = [("id_token_hint", first.id_token()), ("post_logout_redirect_uri", SIGNED_OUT)];
    browser.open(&format!("/oauth/logout?{}", encode(&request))).await.callback();
    let tokens = (one.tokens(1).await, other.tokens(1).await);
    let (told, told_other) =
        (validated(&rp, &tokens.0[0], &first).await, validated(&other_rp, &tokens.1[0], &second).await);
    assert_ne!(told["jti"], told_other["jti"]);
    // 4.1: it is not taken for an ID token.
    let request = [("id_token_hint", tokens.0[0].as_str()), ("post_logout_redirect_uri", SIGNED_OUT)];
    elsewhere.open(&format!("/oauth/logout?{}", encode(&request))).await.expect_error_page("invalid_request");

    // Whoever ends a session: an operator who disables the user ends the other one.
    server.site().run_well(&["user", "disable", &user.username]).await;
    let token = one.tokens(2).await.remove(1);
    validated(&rp, &token, &kept).await;
    // And what does not come back with the user.
    server.site().run_well(&["user", "enable", &user.username]).await;
    poll::until("the server sees the user again", async || {
        let page = elsewhere.open(&rp.url(&[("prompt", "none")])).await;
        (rp.response(&page)["error"] == "login_required").then_some(())
    })
    .await;
    assert_eq!((one.forms().len(), other.forms().len()), (2, 1));
}

async fn a_client_that_does_not_answer_is_told_again(store: Store) {
    // 2.5, 2.8: again after a failure that may pass, with the same jti; never after 400.
    let server = Server::start(store, &[SETTINGS, &[("LOGOUT_ATTEMPTS", "4")]].concat()).await;
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    let flaky = Receiver::start(&[Answer::Status(500), Answer::Hang, Answer::Status(204)]).await;
    let refusing = Receiver::start(&[Answer::Status(400)]).await;
    let broken = Receiver::start(&[Answer::Status(302); 9]).await;
    let (rp, first) = login(&server, &flaky, &mut browser, &user).await;
    login(&server, &refusing, &mut browser, &user).await;
    login(&server, &broken, &mut browser, &user).await;
    // Nobody listens here any more.
    let gone = Receiver::start(&[]).await;
    login(&server, &gone, &mut browser, &user).await;
    drop(gone);
    sign_out(&mut browser).await;
    let mut names = Vec::new();
    for token in flaky.tokens(3).await {
        names.push(validated(&rp, &token, &first).await["jti"].clone());
    }
    assert!(names.iter().all(|jti| *jti == names[0]), "{names:?}");
    broken.tokens(4).await;
    // Two are left, and nobody is asked for them any more.
    let given_up = poll::until_at_most(poll::PATIENCE * 3, "the others are given up", async || {
        let shown = server.site().run_json(&["session", "deliveries"]).await;
        let shown = shown.as_array().expect("a list").clone();
        (shown.len() == 3 && shown.iter().all(|delivery| delivery["next_at"].is_null())).then_some(shown)
    })
    .await;
    let errors: Vec<_> = given_up.iter().filter_map(|delivery| delivery["last_error"].as_str()).collect();
    assert!(errors.contains(&"the client answered 400") && errors.contains(&"the client answered 302"), "{errors:?}");
    assert_eq!((flaky.forms().len(), refusing.forms().len(), broken.forms().len()), (3, 1, 4));
    let metrics = server.get("/metrics").send().await.expect(200).text();
    assert!(metrics.contains("grantlog_logout_deliveries_total{outcome=\"refused\"} 1"), "{metrics}");
}

async fn what_ended_before_a_crash_is_told_after_it(store: Store) {
    // The outbox follows from the log: wherever a process dies, the client hears of it, with one jti.
    let site = Site::new(store, SETTINGS);
    let server = Server::on(&site, &[]).await;
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    let (slow, quick) = (Receiver::start(&[Answer::Hang]).await, Receiver::start(&[]).await);
    let (rp, first) = login(&server, &slow, &mut browser, &user).await;
    let mut other = Browser::new(&server);
    login(&server, &quick, &mut other, &user).await;
    sign_out(&mut browser).await;
    // It dies while it sends, and at the moment at which another session has ended.
    slow.tokens(1).await;
    sign_out(&mut other).await;
    server.kill();
    let _again = Server::on(&site, &[]).await;
    let tokens = slow.tokens(2).await;
    quick.tokens(1).await;
    let claims = |token: &str| -> Value {
        let payload = token.split('.').nth(1).expect("a payload");
        let bytes = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let (before, after) = (claims(&tokens[0]), claims(&tokens[1]));
    assert_eq!((&before["jti"], &before["sid"]), (&after["jti"], &after["sid"]));
    assert_eq!(after["sid"], first.claims["sid"]);
    assert_eq!(after["aud"], rp.client.id.as_str());
    poll::until("nothing is left to be told", async || {
        let shown = site.run_json(&["session", "deliveries"]).await;
        shown.as_array().expect("a list").is_empty().then_some(())
    })
    .await;
    assert_eq!((slow.forms().len(), quick.forms().len()), (2, 1));
}

async fn two_nodes_tell_a_client_once(store: Store) {
    let site = Site::new(store, SETTINGS);
    let (one, two) = (Server::on(&site, &[]).await, Server::on(&site, &[]).await);
    let user = one.user().await;
    let receiver = Receiver::start(&[]).await;
    let (rp, _) = login(&one, &receiver, &mut Browser::new(&one), &user).await;
    two.knows(&rp.client).await;
    const SESSIONS: usize = 6;
    for number in 0..SESSIONS {
        let mut browser = Browser::new(&one);
        rp.login(&mut browser, &user, &[]).await;
        // Ended at either, once that has heard of it.
        let mut browser = if number % 2 == 0 { browser } else { browser.at(&two) };
        poll::until("the node knows who is signed in", async || browser.open("/").await.is_signed_in().then_some(()))
            .await;
        sign_out(&mut browser).await;
    }
    let tokens = receiver.tokens(SESSIONS).await;
    poll::until("nothing is left to be told", async || {
        let shown = site.run_json(&["session", "deliveries"]).await;
        shown.as_array().expect("a list").is_empty().then_some(())
    })
    .await;
    assert_eq!(receiver.forms().len(), SESSIONS, "{tokens:?}");
}

async fn what_was_allowed_in_a_session_ends_with_it(store: Store) {
    // 2.7: refresh tokens without offline_access SHOULD be revoked, those with it SHOULD NOT.
    after_sign_out(store, &[], [false, true, true, true]).await;
}

async fn what_was_allowed_in_a_session_outlives_it_where_the_setting_says_so(store: Store) {
    after_sign_out(store, &[("SESSION_END_GRANTS", "false")], [true; 4]).await;
}

/// Which grants stand when what follows from a sign-out is done: with `openid` alone, with `offline_access`, without
/// `openid`, and in another session.
async fn after_sign_out(store: Store, settings: &[(&str, &str)], stands: [bool; 4]) {
    let server = Server::start(store, &[&[("REGISTRATION_MODE", "open")], settings].concat()).await;
    let (user, mut browser, rp) = (server.user().await, Browser::new(&server), Rp::new(&server, "code").await);
    let mut grants = Vec::new();
    for scope in ["openid email", "openid offline_access", "email"] {
        let response = rp.authorize(&mut browser, &user, &[("scope", scope)]).await;
        grants.push(rp.redeem(&response["code"]).await);
    }
    grants.push(rp.login(&mut Browser::new(&server), &user, &[]).await.tokens);
    sign_out(&mut browser).await;
    followed(&server).await;
    for (tokens, stands) in grants.iter().zip(stands) {
        let text = |name: &str| tokens[name].as_str().expect("a token").to_owned();
        assert_eq!(server.is_active(&rp.client, &text("access_token")).await, stands, "{}", tokens["scope"]);
        let answer = server.refresh(&rp.client, &text("refresh_token")).await;
        assert_eq!(answer.status, if stands { 200 } else { 400 }, "{}: {answer}", tokens["scope"]);
    }
}

/// Waits until what follows from the log up to now is done, by something later of which it can be seen.
async fn followed(server: &Server) {
    let answer = dynamic::registered(server, &dynamic::with(json!({}))).await;
    let rp = Rp::of_answer(server, "code", &answer);
    rp.login(&mut Browser::new(server), &server.user().await, &[]).await;
    let listed = async || server.site().run_json(&["grant", "list", "--client", &rp.client.id]).await != json!([]);
    poll::until("the grant is listed", async || listed().await.then_some(())).await;
    let (uri, token) = ("registration_client_uri", "registration_access_token");
    let delete = server.request("DELETE", answer[uri].as_str().expect("a URL"));
    delete.bearer(answer[token].as_str().expect("a token")).send().await.expect(204);
    poll::until("the grants of a deleted client have ended", async || (!listed().await).then_some(())).await;
}
