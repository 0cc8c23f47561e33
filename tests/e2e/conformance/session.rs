//! OpenID Connect Session Management 1.0: the arithmetic of the frame, done here. The frame itself is tried in `browser`.

use aws_lc_rs::digest::{SHA256, digest};

use super::rp::{Rp, SIGNED_OUT};
use crate::harness::{
    Browser, Server,
    http::encode,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    oidcc_session_management_discovery_endpoint_verification,
    oidcc_session_management_rp_initiated_logout,
    another_account_changes_the_state_and_reauthentication_does_not,
    the_frame_may_be_framed_and_does_nothing_else,
]];

async fn oidcc_session_management_discovery_endpoint_verification(server: Server) {
    // 3.3.
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    assert_eq!(configuration["check_session_iframe"], server.url("/oauth/check_session"));
}

/// What the frame would answer (3.2).
fn status(rp: &Rp, browser: &Browser, session_state: &str) -> &'static str {
    let (hash, salt) = session_state.split_once('.').expect("a salt");
    let state = browser.cookies.get("grantlog_state").map(String::as_str).unwrap_or_default();
    let text = format!("{} https://client.example {state} {salt}", rp.client.id);
    let now: String = digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if now == hash { "unchanged" } else { "changed" }
}

async fn oidcc_session_management_rp_initiated_logout(server: Server) {
    // 2, 3.2, 4: unchanged while signed in, changed after the logout; in every response type and mode.
    let user = server.user().await;
    for (response_type, mode) in [("code", ""), ("code id_token token", "form_post")] {
        let (rp, mut browser) = (Rp::new(&server, response_type).await, Browser::new(&server));
        let login = rp.login(&mut browser, &user, &[("response_mode", mode)]).await;
        let session_state = login.response["session_state"].clone();
        assert!(!session_state.contains(' '), "{session_state}");
        assert_eq!(status(&rp, &browser, &session_state), "unchanged");
        // A response of its own salt for each request.
        let again = rp.login(&mut browser, &user, &[("prompt", "none"), ("response_mode", mode)]).await;
        assert_ne!(again.response["session_state"], session_state);
        assert_eq!(status(&rp, &browser, &again.response["session_state"]), "unchanged");
        let request = [("id_token_hint", login.id_token()), ("post_logout_redirect_uri", SIGNED_OUT)];
        browser.open(&format!("/oauth/logout?{}", encode(&request))).await.callback();
        assert_eq!(status(&rp, &browser, &session_state), "changed");
        // Not for who asked for no ID token.
        let response = rp.authorize(&mut browser, &user, &[("scope", "profile"), ("response_type", "code")]).await;
        if response_type == "code" {
            assert!(response.contains_key("code") && !response.contains_key("session_state"), "{response:?}");
        }
    }
}

async fn another_account_changes_the_state_and_reauthentication_does_not(server: Server) {
    let (ann, ben, mut browser) = (server.user().await, server.user().await, Browser::new(&server));
    let rp = Rp::new(&server, "code").await;
    let state = rp.login(&mut browser, &ann, &[]).await.response["session_state"].clone();
    rp.login(&mut browser, &ann, &[("prompt", "login")]).await;
    assert_eq!(status(&rp, &browser, &state), "unchanged", "the same session");
    let page = browser.open("/login").await;
    browser.fill_in_login(&page, &ben).await;
    assert_eq!(status(&rp, &browser, &state), "changed");
}

async fn the_frame_may_be_framed_and_does_nothing_else(server: Server) {
    let frame = server.get("/oauth/check_session").send().await.expect(200);
    assert_eq!(frame.header("x-frame-options"), None);
    let policy = frame.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'none'; script-src 'sha256-") && !policy.contains("frame-ancestors"),
        "{policy}"
    );
    assert_eq!(frame.header("set-cookie"), None);
    let text = frame.text();
    assert!(!text.contains("<form") && !text.contains("fetch(") && !text.contains("src="), "{text}");
}
