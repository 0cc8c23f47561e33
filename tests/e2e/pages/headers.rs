//! What every page says to the browser: policy, framing, caching.

use crate::harness::{
    Answer, Browser, CALLBACK, Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    every_page_has_a_strict_policy,
    no_page_can_be_framed,
    pages_with_secrets_are_not_stored,
    the_form_of_a_page_may_lead_to_the_client,
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

async fn the_form_of_a_page_may_lead_to_the_client(server: Server) {
    // A strict `form-action` also stops the redirect to the client that follows the consent form.
    let (user, client) = (server.user().await, server.web_client().await);
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK)];
    let page = Browser::signed_in(&server, &user).await.open(&server.authorize_url(&request)).await;
    let policy = page.answer.header("content-security-policy").unwrap_or_default();
    if let Some(action) = policy.split(';').map(str::trim).find(|part| part.starts_with("form-action")) {
        assert!(action.contains("https://client.example"), "{action}");
    }
}
