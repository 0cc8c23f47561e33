//! What every page says to the browser: policy, framing, caching.

use crate::harness::{
    Answer, Browser, CALLBACK, Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    every_page_has_a_strict_policy,
    no_page_can_be_framed,
    pages_with_secrets_are_not_stored,
    forms_lead_here_unless_a_client_waits,
    the_opener_is_kept_where_a_client_may_wait,
]];

async fn pages(server: &Server) -> Vec<Answer> {
    let (user, client) = (server.user().await, server.web_client().await);
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK)];
    let mut browser = Browser::new(server);
    let mut pages = vec![browser.open("/").await, browser.open("/login").await];
    pages.push(browser.open("/oauth/authorize?client_id=unknown").await);
    let mut browser = Browser::signed_in(server, &user).await;
    for path in ["/", "/account", "/create_client", "/logout", &server.authorize_url(&request)] {
        pages.push(browser.open(path).await);
    }
    pages.into_iter().map(|page| page.answer).collect()
}

async fn every_page_has_a_strict_policy(server: Server) {
    // RFC 6749 10.12 and 10.14: no script that we did not write, no form to elsewhere.
    for page in pages(&server).await {
        let policy = page.header("content-security-policy").unwrap_or_else(|| panic!("no policy: {page}"));
        assert!(policy.contains("default-src 'none'") || policy.contains("default-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe-eval"), "{policy}");
        let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src")).unwrap_or_default();
        assert!(!scripts.contains("unsafe-inline") && !scripts.contains('*'), "{policy}");
        assert!(policy.contains("base-uri"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{page}");
        assert!(page.header("referrer-policy").is_some(), "RFC 9700 4.2.4: codes leak through Referer: {page}");
    }
}

async fn no_page_can_be_framed(server: Server) {
    // RFC 6749 10.13; RFC 9700 4.16.
    for page in pages(&server).await {
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("frame-ancestors 'none'"), "{page}");
    }
}

async fn pages_with_secrets_are_not_stored(server: Server) {
    // RFC 9111 5.2.2.5: a shared computer's back button shows nothing.
    for page in pages(&server).await {
        page.expect_no_store();
    }
}

/// Whether it stands between a client and its answer.
fn leads_to_clients(page: &Answer) -> bool {
    ["/login", "/accounts", "/logout", "/oauth/authorize", "/oauth/logout"].contains(&page.url.path())
}

async fn forms_lead_here_unless_a_client_waits(server: Server) {
    // Browsers hold `form-action` against every redirect that follows a form (CSP Level 3, 6.4.2), also beyond the client.
    for page in pages(&server).await {
        let policy = page.header("content-security-policy").unwrap_or_default();
        let action = policy.split(';').map(str::trim).find(|part| part.starts_with("form-action"));
        assert_eq!(action, (!leads_to_clients(&page)).then_some("form-action 'self'"), "{page}");
    }
}

async fn the_opener_is_kept_where_a_client_may_wait(server: Server) {
    // HTML, 7.1.3: an answer with another policy than the opener's cuts it off for good, a redirect and an error too.
    let mut browser = Browser::new(&server);
    let login = browser.open("/login").await;
    let user = server.user().await;
    let fields = [("username", user.username.as_str()), ("password", user.password.as_str())];
    let redirect = browser.submit_once(&login, "login-form", "login-submit", &fields).await.expect(303);
    let refused = Browser::new(&server).open("/oauth/logout?id_token_hint=x").await.answer.expect(400);
    for page in pages(&server).await.into_iter().chain([redirect, refused]) {
        let wanted = if leads_to_clients(&page) { "unsafe-none" } else { "same-origin" };
        assert_eq!(page.header("cross-origin-opener-policy"), Some(wanted), "{page}");
    }
}
