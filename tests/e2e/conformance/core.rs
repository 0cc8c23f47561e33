//! The core set of the suite: the flows, ID tokens, UserInfo and scopes. OpenID Connect Core 1.0.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::rp::{Login, RESPONSE_TYPES, Rp};
use crate::harness::{
    Browser, Server, Store, User,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    own![oidcc_idtoken_unsigned],
    shared![
        oidcc_server,
        oidcc_form_post,
        oidcc_idtoken_signature,
        oidcc_idtoken_algorithms,
        oidcc_userinfo_get,
        oidcc_userinfo_post_header,
        oidcc_userinfo_post_body,
        oidcc_scope_profile,
        oidcc_scope_email,
        oidcc_scope_address,
        oidcc_scope_phone,
        oidcc_scope_all,
        oidcc_server_client_secret_post,
        oidcc_alternate_happy_flow,
        claims_can_be_set_on_the_account_page,
        oidcc_userinfo_rs256,
        offline_access_is_asked_for_and_gives_a_refresh_token,
    ],
];

async fn oidcc_server(server: Server) {
    // 3.1, 3.2, 3.3: every response type, validated to the end.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let login = rp.login(&mut browser, &user, &[]).await;
        assert!(login.claims["sid"].is_string(), "{}", login.claims);
        assert_eq!((&login.claims["acr"], &login.claims["amr"]), (&json!("1"), &json!(["pwd"])));
        if let Some(token) = login.access_token() {
            assert_eq!(rp.userinfo(token).await["sub"], login.claims["sub"]);
        }
    }
}

async fn oidcc_form_post(server: Server) {
    // OAuth 2.0 Form Post Response Mode 2: the plans formpost-basic, -implicit and -hybrid.
    let user = server.user().await;
    for response_type in RESPONSE_TYPES {
        let rp = Rp::new(&server, response_type).await;
        let form_post = [("response_mode", "form_post")];
        rp.login(&mut Browser::new(&server), &user, &form_post).await;
        let page = Browser::new(&server).authorize(&rp.url(&form_post), &user).await;
        let policy = page.answer.header("content-security-policy").expect("a policy").to_owned();
        assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        // Where the client leads on to is not known here.
        assert!(!policy.contains("form-action"), "{policy}");
        assert!(page.answer.header("cache-control").is_some_and(|rule| rule.contains("no-store")), "{}", page.answer);
        // Errors go the same way.
        let refused = Browser::new(&server).open(&rp.url(&[("response_mode", "form_post"), ("prompt", "none")])).await;
        assert_eq!(rp.response(&refused)["error"], "login_required");
    }
}

async fn oidcc_idtoken_signature(server: Server) {
    // 2, 10.1: RS256 when nothing else was registered, with a kid that is published.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let login = rp.login(&mut browser, &user, &[]).await;
        let header = jsonwebtoken::decode_header(login.id_token()).expect("a header");
        assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256);
        assert_eq!(header.typ.as_deref(), Some("JWT"));
    }
}

async fn oidcc_idtoken_algorithms(server: Server) {
    // Registration 2 `id_token_signed_response_alg`, in the front channel and the back channel.
    let user = server.user().await;
    for alg in ["RS256", "ES256", "EdDSA", "PS256"] {
        let rp = Rp::with(&server, "code id_token token", &["--id-token-alg", alg]).await;
        rp.login(&mut Browser::new(&server), &user, &[]).await;
    }
}

/// A login for each run of the plans in which there is an access token, with that token.
async fn with_access_tokens(server: &Server) -> Vec<(Rp, Login, String)> {
    let (user, mut browser, mut runs) = (server.user().await, Browser::new(server), Vec::new());
    for rp in Rp::of_every_plan(server).await {
        let login = rp.login(&mut browser, &user, &[]).await;
        if let Some(token) = login.access_token().map(str::to_owned) {
            runs.push((rp, login, token));
        }
    }
    assert_eq!(runs.len(), 10);
    runs
}

async fn oidcc_userinfo_get(server: Server) {
    // 5.3.1.
    for (rp, login, token) in with_access_tokens(&server).await {
        assert_eq!(rp.userinfo(&token).await, json!({ "sub": login.claims["sub"] }));
    }
}

async fn oidcc_userinfo_post_header(server: Server) {
    // 5.3.1: POST with the token in the header.
    for (_, login, token) in with_access_tokens(&server).await {
        let userinfo = server.post("/oauth/userinfo").bearer(&token).send().await.expect(200).json();
        assert_eq!(userinfo["sub"], login.claims["sub"]);
    }
}

async fn oidcc_userinfo_post_body(server: Server) {
    // 5.3.1 with RFC 6750 2.2: a setting, off by default; then it is refused (a warning in the suite). See http::bearer.
    for (_, _, token) in with_access_tokens(&server).await {
        server.post("/oauth/userinfo").form(&[("access_token", &token)]).send().await.expect(401);
    }
}

/// A user of whom everything is known.
pub async fn known_user(server: &Server) -> User {
    let user = server.user().await;
    let claims = [
        "name=Ann Example",
        "given_name=Ann",
        "family_name=Example",
        "website=https://ann.example/",
        "email=ann@example.org",
        "email_verified=true",
        "phone_number=+33 1 23 45 67 89",
        r#"address={"locality":"Paris","country":"FR"}"#,
    ];
    let mut arguments = vec!["user", "update", &user.username];
    arguments.extend(claims.iter().flat_map(|claim| ["--claim", claim]));
    server.site().run_well(&arguments).await;
    user
}

/// What each scope opens.
fn opened(scope: &str) -> &'static [&'static str] {
    match scope {
        "profile" => &["name", "given_name", "family_name", "website", "preferred_username", "updated_at"],
        "email" => &["email", "email_verified"],
        "address" => &["address"],
        "phone" => &["phone_number"],
        _ => &[],
    }
}

/// 5.4: the claims of these scopes and no others, from UserInfo, or from the ID token where that is all there is.
async fn scopes_open(server: &Server, scopes: &[&str]) {
    let (user, mut browser) = (known_user(server).await, Browser::new(server));
    let scope = [&["openid"], scopes].concat().join(" ");
    for rp in Rp::of_every_plan(server).await {
        let response_type = rp.response_type;
        let login = rp.login(&mut browser, &user, &[("scope", &scope)]).await;
        let said = match login.access_token() {
            Some(token) => rp.userinfo(token).await,
            None => login.claims.clone(),
        };
        for known in ["profile", "email", "address", "phone"] {
            for claim in opened(known) {
                assert_eq!(said.get(*claim).is_some(), scopes.contains(&known), "{claim} in {said}, {response_type}");
                if login.access_token().is_some() {
                    assert_eq!(login.claims.get(*claim), None, "{claim} in an ID token");
                }
            }
        }
        if scopes.contains(&"address") {
            assert_eq!(said["address"], json!({ "locality": "Paris", "country": "FR" }));
        }
        if scopes.contains(&"email") {
            assert_eq!(said["email_verified"], Value::Bool(true));
        }
    }
}

async fn oidcc_scope_profile(server: Server) {
    scopes_open(&server, &["profile"]).await;
}

async fn oidcc_scope_email(server: Server) {
    scopes_open(&server, &["email"]).await;
}

async fn oidcc_scope_address(server: Server) {
    scopes_open(&server, &["address"]).await;
}

async fn oidcc_scope_phone(server: Server) {
    scopes_open(&server, &["phone"]).await;
}

async fn oidcc_scope_all(server: Server) {
    scopes_open(&server, &["profile", "email", "address", "phone"]).await;
}

async fn oidcc_server_client_secret_post(server: Server) {
    // 9.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for response_type in RESPONSE_TYPES.into_iter().filter(|response_type| response_type.contains("code")) {
        let rp = Rp::with(&server, response_type, &["--auth-method", "client_secret_post"]).await;
        for response_mode in [None, Some("form_post")] {
            let rp = Rp { response_mode, ..rp.clone() };
            rp.login(&mut browser, &user, &[]).await;
        }
    }
}

async fn oidcc_alternate_happy_flow(server: Server) {
    // RFC 6749 3.3 and Multiple Response Types 3: neither the order of scopes nor of response types matters.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let reversed = rp.response_type.split(' ').rev().collect::<Vec<_>>().join(" ");
        let more = [("scope", "phone openid email"), ("response_type", &*reversed)];
        let login = rp.login(&mut browser, &user, &more).await;
        assert!(login.claims["sub"].is_string(), "{}", login.claims);
    }
}

async fn claims_can_be_set_on_the_account_page(server: Server) {
    // 5.1; the values are in the vault, and the log names only what changed.
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open("/account/profile").await;
    let fields = [("name", "Bea Example"), ("email", "bea@example.org"), ("website", "no address")];
    let page = browser.submit(&page, "profile-form", "profile-submit", &fields).await;
    assert_eq!(page.answer.status, 422, "{}", page.answer);
    let fields = [("name", "Bea Example"), ("email", "bea@example.org"), ("website", "")];
    browser.submit(&page, "profile-form", "profile-submit", &fields).await;
    let login = rp.login(&mut browser, &user, &[("scope", "openid profile email")]).await;
    let userinfo = rp.userinfo(login.access_token().expect("a token")).await;
    assert_eq!((&userinfo["name"], &userinfo["email"]), (&json!("Bea Example"), &json!("bea@example.org")));
    assert!(userinfo.get("website").is_none() && userinfo.get("email_verified").is_none(), "{userinfo}");
}

async fn oidcc_userinfo_rs256(server: Server) {
    // 5.3.2: signed, with iss and aud, when the client registered for that.
    let user = known_user(&server).await;
    for alg in ["RS256", "ES256"] {
        let asked = json!({ "userinfo_signed_response_alg": alg, "id_token_signed_response_alg": alg });
        let rp = Rp::registered(&server, "code", asked).await;
        let login = rp.login(&mut Browser::new(&server), &user, &[("scope", "openid email")]).await;
        let token = login.access_token().expect("a token");
        let answer = server.get("/oauth/userinfo").bearer(token).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/jwt"), "{answer}");
        let claims = rp.verified(&answer.text()).await;
        assert_eq!((&claims["sub"], &claims["email"]), (&login.claims["sub"], &json!("ann@example.org")));
        // It is no ID token, and is not taken for one.
        let hint = [("prompt", "none"), ("id_token_hint", &answer.text())];
        let mut browser = Browser::signed_in(&server, &user).await;
        assert_eq!(rp.response(&browser.open(&rp.url(&hint)).await)["error"], "invalid_request");
    }
}

async fn oidcc_idtoken_unsigned(store: Store) {
    // 3.1.3.7: from the token endpoint only, and only where the setting says so.
    let server = Server::start(store, &[("OAUTH_UNSIGNED_ID_TOKENS", "true"), ("REGISTRATION_MODE", "open")]).await;
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    let algs = configuration["id_token_signing_alg_values_supported"].as_array().expect("a list").clone();
    assert!(algs.contains(&json!("none")), "{algs:?}");
    let asked = json!({ "id_token_signed_response_alg": "none" });
    let (user, rp) = (server.user().await, Rp::registered(&server, "code", asked).await);
    let response = rp.authorize(&mut Browser::new(&server), &user, &[]).await;
    let tokens = rp.redeem(&response["code"]).await;
    let id_token = tokens["id_token"].as_str().expect("an ID token");
    let parts: Vec<&str> = id_token.split('.').collect();
    let part = |at: usize| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).expect("base64url")).expect("JSON")
    };
    assert_eq!((parts.len(), parts[2], &part(0)), (3, "", &json!({ "alg": "none" })));
    assert_eq!((&part(1)["aud"], &part(1)["iss"]), (&json!(rp.client.id), &json!(server.base())));
    // Nobody else's word: it is no hint.
    let hint = [("prompt", "none"), ("id_token_hint", id_token)];
    let mut browser = Browser::signed_in(&server, &user).await;
    assert_eq!(rp.response(&browser.open(&rp.url(&hint)).await)["error"], "invalid_request");
    // Through the browser it would be worth nothing.
    let hybrid = ["client", "create", "--name", "Hybrid", "--redirect-uri", "https://client.example/callback"];
    let types = ["--response-type", "code id_token", "--grant-type", "authorization_code", "--grant-type", "implicit"];
    let refused = server.site().run(&[&hybrid[..], &types, &["--id-token-alg", "none"]].concat()).await;
    assert!(!refused.status.success());
}

async fn offline_access_is_asked_for_and_gives_a_refresh_token(server: Server) {
    // 11: the user is asked for it, and it stays in the scope; where no code comes back it is ignored.
    let user = server.user().await;
    let rp = Rp::new(&server, "code").await;
    let asked = [("scope", "openid offline_access"), ("prompt", "consent")];
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&rp.url(&asked)).await;
    assert!(page.answer.text().contains("while you are away"), "{}", page.answer);
    let login = rp.login(&mut browser, &user, &asked).await;
    assert!(login.tokens["refresh_token"].is_string());
    assert_eq!(login.tokens["scope"], "offline_access openid");
    let implicit = Rp::new(&server, "id_token token").await;
    let response = implicit.authorize(&mut browser, &user, &[("scope", "openid offline_access")]).await;
    assert_eq!(response["scope"], "openid");
}
