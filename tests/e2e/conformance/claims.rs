//! The `claims` parameter: OpenID Connect Core 5.5.

use serde_json::{Value, json};

use super::core::known_user;
use super::rp::Rp;
use crate::harness::{
    Browser, Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    oidcc_claims_essential,
    claims_that_were_named_come_where_they_were_wanted,
    the_user_is_asked_for_claims_by_name,
    a_particular_value_is_told_or_nothing,
    an_essential_acr_is_met_or_the_request_fails,
    a_sub_is_this_user_or_nobody,
    who_sits_there_is_told_to_clients_with_consent_only,
    what_is_no_claims_request_is_refused,
]];

async fn oidcc_claims_essential(server: Server) {
    // 5.5.1: from UserInfo, or from the ID token where that is all there is.
    let (user, mut browser) = (known_user(&server).await, Browser::new(&server));
    for rp in Rp::of_every_plan(&server).await {
        let response_type = rp.response_type;
        let member = if response_type == "id_token" { "id_token" } else { "userinfo" };
        let claims = json!({ member: { "name": { "essential": true } } }).to_string();
        let login = rp.login(&mut browser, &user, &[("claims", &claims)]).await;
        let said = match login.access_token() {
            Some(token) => rp.userinfo(token).await,
            None => login.claims.clone(),
        };
        assert_eq!(said["name"], "Ann Example", "{response_type}");
        assert!(said.get("given_name").is_none(), "{said}");
    }
}

async fn claims_that_were_named_come_where_they_were_wanted(server: Server) {
    // 5.5: and after a refresh, and not with a token that lost the scope openid.
    let (user, rp) = (known_user(&server).await, Rp::new(&server, "code").await);
    let claims = json!({
        "userinfo": { "email": null, "nickname": { "essential": true }, "no_such_claim": null, "name#fr": null },
        "id_token": { "phone_number": null, "auth_time": { "essential": true } },
    });
    let asked = [("claims", &*claims.to_string()), ("scope", "openid address")];
    let login = rp.login(&mut Browser::new(&server), &user, &asked).await;
    assert_eq!(login.claims["phone_number"], "+33 1 23 45 67 89");
    assert!(login.claims.get("email").is_none(), "{}", login.claims);
    let told = async |token: &str| {
        let userinfo = rp.userinfo(token).await;
        userinfo.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(told(login.access_token().expect("a token")).await, ["address", "email", "sub"]);
    let refresh_token = login.tokens["refresh_token"].as_str().expect("a refresh token");
    let again = server.refresh(&rp.client, refresh_token).await.expect(200).json();
    assert_eq!(told(again["access_token"].as_str().expect("a token")).await, ["address", "email", "sub"]);
    let claims = rp.validated(again["id_token"].as_str().expect("an ID token")).await;
    assert_eq!(claims["phone_number"], "+33 1 23 45 67 89");
}

async fn the_user_is_asked_for_claims_by_name(server: Server) {
    // 5.5 with 3.1.2.4: what was allowed by scope or by name is not asked for again, anything more is.
    let (user, rp) = (known_user(&server).await, Rp::new(&server, "code").await);
    let mut browser = Browser::new(&server);
    rp.login(&mut browser, &user, &[]).await;
    let claims = json!({ "userinfo": { "email": null }, "id_token": { "phone_number": null } }).to_string();
    let page = browser.open(&rp.url(&[("claims", &claims)])).await;
    let form = page.form("consent-form").expect("the user is asked");
    assert!(page.answer.text().contains("See your e-mail address and phone number"), "{}", page.answer);
    assert!(form.fields.contains(&("claims".to_owned(), claims.clone())), "{form:?}");
    let silent = browser.open(&rp.url(&[("claims", &claims), ("prompt", "none")])).await;
    assert_eq!(rp.response(&silent)["error"], "consent_required");
    rp.login(&mut browser, &user, &[("claims", &claims)]).await;
    let less = json!({ "userinfo": { "phone_number": null } }).to_string();
    for allowed in [&claims, &less] {
        let page = browser.open(&rp.url(&[("claims", allowed), ("prompt", "none")])).await;
        assert!(rp.response(&page).contains_key("code"), "{}", page.answer);
    }
    let more = json!({ "userinfo": { "address": null } }).to_string();
    let page = browser.open(&rp.url(&[("claims", &more), ("prompt", "none")])).await;
    assert_eq!(rp.response(&page)["error"], "consent_required");
}

async fn a_particular_value_is_told_or_nothing(server: Server) {
    // 5.5.1 `value`, `values`.
    let (user, rp) = (known_user(&server).await, Rp::new(&server, "code").await);
    let claims = json!({ "userinfo": {
        "email": { "value": "ann@example.org" },
        "name": { "essential": true, "value": "Ben Example" },
        "family_name": { "values": ["Other", "Example"] },
    }});
    let login = rp.login(&mut Browser::new(&server), &user, &[("claims", &claims.to_string())]).await;
    let userinfo = rp.userinfo(login.access_token().expect("a token")).await;
    let expected = json!({ "sub": login.claims["sub"], "email": "ann@example.org", "family_name": "Example" });
    assert_eq!(userinfo, expected);
}

/// A request for the ID token only.
fn in_id_token(name: &str, demand: Value) -> String {
    json!({ "id_token": { name: demand } }).to_string()
}

async fn an_essential_acr_is_met_or_the_request_fails(server: Server) {
    // 5.5.1.1.
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let mut browser = Browser::new(&server);
    let met = in_id_token("acr", json!({ "essential": true, "values": ["2", "1"] }));
    assert_eq!(rp.login(&mut browser, &user, &[("claims", &met)]).await.claims["acr"], "1");
    for unmet in [json!({ "essential": true, "values": ["2", "3"] }), json!({ "essential": true, "value": "2" })] {
        let page = browser.open(&rp.url(&[("claims", &in_id_token("acr", unmet))])).await;
        assert_eq!(rp.response(&page)["error"], "unmet_authentication_requirements");
    }
    let wish = in_id_token("acr", json!({ "values": ["2"] }));
    assert_eq!(rp.login(&mut browser, &user, &[("claims", &wish)]).await.claims["acr"], "1");
}

async fn a_sub_is_this_user_or_nobody(server: Server) {
    // 3.1.2.2, 5.5.1: the server MUST NOT reply for a different user.
    let (ann, ben, rp) = (server.user().await, server.user().await, Rp::new(&server, "code").await);
    let of_ann = rp.login(&mut Browser::new(&server), &ann, &[]).await;
    let claims = in_id_token("sub", json!({ "value": of_ann.claims["sub"] }));
    let mut browser = Browser::new(&server);
    rp.login(&mut browser, &ben, &[]).await;
    let silent = browser.open(&rp.url(&[("prompt", "none"), ("claims", &claims)])).await;
    assert_eq!(rp.response(&silent)["error"], "login_required");
    assert!(browser.open(&rp.url(&[("claims", &claims)])).await.form("login-form").is_some());
    let again = rp.login(&mut Browser::signed_in(&server, &ann).await, &ann, &[("claims", &claims)]).await;
    assert_eq!(again.claims["sub"], of_ann.claims["sub"]);
}

async fn who_sits_there_is_told_to_clients_with_consent_only(server: Server) {
    // 3.1.2.1 `prompt=none`: an answer that nobody was asked about says nothing of who, and when, to whom they did not allow it.
    let (ann, ben) = (server.user().await, server.user().await);
    // The identifier is the same at every client (8).
    let known = Rp::new(&server, "code").await;
    let of_ann = known.login(&mut Browser::new(&server), &ann, &[]).await;
    let rp = Rp::new(&server, "code").await;
    let named = in_id_token("sub", json!({ "value": of_ann.claims["sub"] }));
    // Of an ID token that ann got here, in another browser, and took back.
    let taken_back = rp.login(&mut Browser::new(&server), &ann, &[]).await;
    server.revoke_as(&rp.client, taken_back.tokens["refresh_token"].as_str().expect("a token")).await.expect(200);
    let hint = taken_back.id_token();
    let silent = async |browser: &mut Browser, rp: &Rp, more: &[(&str, &str)]| {
        let page = browser.open(&rp.url(&[more, &[("prompt", "none")]].concat())).await;
        rp.response(&page).get("error").cloned()
    };
    let questions: [&[(&str, &str)]; 5] = [
        &[],
        &[("claims", &named)],
        &[("id_token_hint", hint)],
        &[("max_age", "0")],
        &[("login_hint", &ann.username), ("max_age", "0")],
    ];
    for question in questions {
        assert_eq!(silent(&mut Browser::new(&server), &rp, question).await.as_deref(), Some("login_required"));
        for user in [&ann, &ben] {
            let mut browser = Browser::signed_in(&server, user).await;
            let heard = silent(&mut browser, &rp, question).await;
            assert_eq!(heard.as_deref(), Some("consent_required"), "{question:?}");
        }
    }
    // Beside somebody who did allow it, whoever else is there is as good as away.
    let mut browser = Browser::new(&server);
    rp.login(&mut browser, &ben, &[]).await;
    let before = browser.clone();
    let page = browser.open("/login").await;
    browser.fill_in_login(&page, &ann).await;
    for mut browser in [before, browser] {
        for question in &questions[1..3] {
            assert_eq!(silent(&mut browser, &rp, question).await.as_deref(), Some("login_required"), "{question:?}");
        }
    }
}

async fn what_is_no_claims_request_is_refused(server: Server) {
    let rp = Rp::new(&server, "code").await;
    let deep = format!("{}{}", r#"{"userinfo":"#.repeat(150), "}".repeat(150));
    let long = in_id_token("name", json!({ "value": "x".repeat(3000) }));
    for wrong in ["x", "[]", r#"{"userinfo":1}"#, r#"{"id_token":{"name":"x"}}"#, &deep, &long] {
        let page = Browser::new(&server).open(&rp.url(&[("claims", wrong), ("prompt", "none")])).await;
        assert_eq!(rp.response(&page)["error"], "invalid_request", "{wrong}");
    }
}
