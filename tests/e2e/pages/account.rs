//! What a user allowed, and taking it back.

use crate::harness::{
    Browser, Server, html,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    the_account_page_needs_a_sign_in,
    what_was_allowed_is_shown_and_can_be_revoked,
    revoking_needs_the_csrf_token
]];

async fn the_account_page_needs_a_sign_in(server: Server) {
    let page = Browser::new(&server).open("/account").await;
    assert!(page.form("login-form").is_some(), "{}", page.answer);
}

/// The forms on the account page that revoke something.
fn revoke_forms(page: &str) -> Vec<html::Form> {
    let forms = html::forms(page).into_iter();
    forms
        .filter(|form| form.method == "post" && (form.action.contains("revoke") || form.id.contains("revoke")))
        .collect()
}

async fn what_was_allowed_is_shown_and_can_be_revoked(server: Server) {
    // RFC 7009 in spirit, from the user's side.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = crate::harness::poll::until("the account page shows what was allowed", async || {
        let page = browser.open("/account").await;
        (!revoke_forms(&page.answer.text()).is_empty()).then_some(page)
    })
    .await;
    let forms = revoke_forms(&page.answer.text());
    let form = forms.first().expect("a form that revokes");
    let answer = browser.submit_form(&page, form, "", &[]).await;
    assert!(answer.status < 400, "{answer}");
    assert!(!server.is_active(&client, &tokens.access).await);
    server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
}

async fn revoking_needs_the_csrf_token(server: Server) {
    // RFC 6749 10.12.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = crate::harness::poll::until("the account page shows what was allowed", async || {
        let page = browser.open("/account").await;
        (!revoke_forms(&page.answer.text()).is_empty()).then_some(page)
    })
    .await;
    let form = &revoke_forms(&page.answer.text())[0];
    let csrf = form.fields.iter().map(|(name, _)| name).find(|name| name.contains("csrf")).expect("a csrf field");
    let answer = browser.submit_form(&page, form, "", &[(csrf, "wrong")]).await;
    assert!(matches!(answer.status, 400 | 403), "{answer}");
    assert!(server.is_active(&client, &tokens.access).await);
}
