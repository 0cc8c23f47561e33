//! OpenID Connect RP-Initiated Logout 1.0.

use super::rp::{Login, Rp, SIGNED_OUT};
use super::tampered;
use crate::harness::{
    Browser, Server, User,
    browser::{Page, query_of},
    http::encode,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    oidcc_rp_initiated_logout_discovery_endpoint_verification,
    oidcc_rp_initiated_logout,
    oidcc_rp_initiated_logout_bad_post_logout_redirect_uri,
    oidcc_rp_initiated_logout_modified_id_token_hint,
    oidcc_rp_initiated_logout_no_id_token_hint,
    oidcc_rp_initiated_logout_no_params,
    oidcc_rp_initiated_logout_no_post_logout_redirect_uri,
    oidcc_rp_initiated_logout_no_state,
    oidcc_rp_initiated_logout_only_state,
    oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri,
    oidcc_rp_initiated_logout_bad_id_token_hint,
    the_request_may_be_posted,
    a_hint_of_another_session_does_not_sign_out_unasked,
    a_program_of_the_client_ends_its_session,
    who_is_not_signed_in_reads_what_was_ended,
    who_does_not_say_which_application_it_is_is_told_so,
]];

struct Setup {
    server: Server,
    rp: Rp,
    browser: Browser,
    login: Login,
}

impl Setup {
    async fn new(server: &Server) -> Setup {
        let (user, rp, mut browser) = (server.user().await, Rp::new(server, "code").await, Browser::new(server));
        let login = rp.login(&mut browser, &user, &[]).await;
        Setup { server: server.clone(), rp, browser, login }
    }

    async fn logout(&mut self, parameters: &[(&str, &str)]) -> Page {
        self.browser.open(&format!("/oauth/logout?{}", encode(parameters))).await
    }

    async fn is_signed_in(&mut self) -> bool {
        let page = self.browser.open(&self.rp.url(&[("prompt", "none")])).await;
        self.rp.response(&page).contains_key("code")
    }

    /// Nobody was redirected, and the user is still signed in.
    async fn is_refused(&mut self, parameters: &[(&str, &str)]) {
        let page = self.logout(parameters).await;
        page.expect_error_page("invalid_request");
        assert!(self.is_signed_in().await, "signed out by a bad request");
    }
}

async fn oidcc_rp_initiated_logout_discovery_endpoint_verification(server: Server) {
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    assert_eq!(configuration["end_session_endpoint"], server.url("/oauth/logout"));
}

async fn oidcc_rp_initiated_logout(server: Server) {
    // 2, 3: to the registered URI, with state; then prompt=none fails.
    let mut setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    let request = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", SIGNED_OUT), ("state", "a b&")];
    let before = setup.browser.clone();
    let page = setup.logout(&request).await;
    let callback = page.callback();
    assert!(callback.as_str().starts_with(&format!("{SIGNED_OUT}?")), "{callback}");
    assert_eq!(query_of(&callback)["state"], "a b&");
    assert!(!setup.is_signed_in().await);
    // The session itself has ended, not only its cookie.
    let mut copy = before;
    let page = copy.open(&setup.rp.url(&[("prompt", "none")])).await;
    assert_eq!(setup.rp.response(&page)["error"], "login_required");
}

async fn oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(server: Server) {
    let mut setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    for uri in ["https://evil.example/", "https://client.example/callback", "javascript:alert(1)"] {
        setup.is_refused(&[("id_token_hint", &hint), ("post_logout_redirect_uri", uri)]).await;
    }
}

async fn oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(server: Server) {
    let mut setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    let uri = format!("{SIGNED_OUT}?foo=bar");
    setup.is_refused(&[("id_token_hint", &hint), ("post_logout_redirect_uri", &uri)]).await;
}

async fn oidcc_rp_initiated_logout_modified_id_token_hint(server: Server) {
    let mut setup = Setup::new(&server).await;
    for hint in tampered::variants(&server, setup.login.id_token()).await {
        setup.is_refused(&[("id_token_hint", &hint), ("post_logout_redirect_uri", SIGNED_OUT)]).await;
    }
}

async fn oidcc_rp_initiated_logout_bad_id_token_hint(server: Server) {
    // Signed by somebody else.
    let mut setup = Setup::new(&server).await;
    for hint in tampered::signed_by_somebody_else(setup.login.id_token()) {
        setup.is_refused(&[("id_token_hint", &hint), ("post_logout_redirect_uri", SIGNED_OUT)]).await;
    }
}

async fn oidcc_rp_initiated_logout_no_id_token_hint(server: Server) {
    // 2: without a hint the client is not known, so nobody is redirected; with client_id the user is asked first.
    let mut setup = Setup::new(&server).await;
    setup.is_refused(&[("post_logout_redirect_uri", SIGNED_OUT), ("state", "x")]).await;
    let client_id = setup.rp.client.id.clone();
    let request = [("client_id", client_id.as_str()), ("post_logout_redirect_uri", SIGNED_OUT), ("state", "x")];
    let page = setup.logout(&request).await;
    assert!(setup.is_signed_in().await);
    let page = setup.browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert_eq!(page.callback().as_str(), format!("{SIGNED_OUT}?state=x"));
    assert!(!setup.is_signed_in().await);
}

/// The user is asked, confirms, and reads that they are signed out.
async fn asks_and_signs_out(setup: &mut Setup, parameters: &[(&str, &str)]) {
    let page = setup.logout(parameters).await;
    assert!(setup.is_signed_in().await, "signed out unasked");
    let page = setup.browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
    assert!(!setup.is_signed_in().await);
}

async fn oidcc_rp_initiated_logout_no_params(server: Server) {
    asks_and_signs_out(&mut Setup::new(&server).await, &[]).await;
}

async fn oidcc_rp_initiated_logout_only_state(server: Server) {
    asks_and_signs_out(&mut Setup::new(&server).await, &[("state", "x")]).await;
}

async fn oidcc_rp_initiated_logout_no_post_logout_redirect_uri(server: Server) {
    let mut setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    let page = setup.logout(&[("id_token_hint", &hint), ("state", "x")]).await;
    assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
    assert!(!setup.is_signed_in().await);
}

async fn oidcc_rp_initiated_logout_no_state(server: Server) {
    let mut setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    let page = setup.logout(&[("id_token_hint", &hint), ("post_logout_redirect_uri", SIGNED_OUT)]).await;
    assert_eq!(page.callback().as_str(), SIGNED_OUT);
    // Again, when nobody is signed in any more.
    let page = setup.logout(&[("id_token_hint", &hint), ("post_logout_redirect_uri", SIGNED_OUT)]).await;
    assert_eq!(page.callback().as_str(), SIGNED_OUT);
}

async fn the_request_may_be_posted(server: Server) {
    // 2: GET and POST. A form of another site comes without the SameSite cookie and is asked for again.
    let mut setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    let form = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", SIGNED_OUT)];
    let answer = setup.server.post("/oauth/logout").form(&form).send().await.expect(303);
    let page = setup.browser.open(answer.location().expect("a way back").as_str()).await;
    assert_eq!(page.callback().as_str(), SIGNED_OUT);
    assert!(!setup.is_signed_in().await);
}

async fn a_hint_of_another_session_does_not_sign_out_unasked(server: Server) {
    // 2: MUST ask when the ID token is not of the present session.
    let mut setup = Setup::new(&server).await;
    let other: User = server.user().await;
    let of_other = setup.rp.login(&mut Browser::new(&server), &other, &[]).await.id_token().to_owned();
    asks_and_signs_out(&mut setup, &[("id_token_hint", &of_other)]).await;
    let mut setup = Setup::new(&server).await;
    let (hint, foreign) = (setup.login.id_token().to_owned(), Rp::new(&server, "code").await);
    // The client_id must be the one that the hint was made for.
    setup.is_refused(&[("id_token_hint", &hint), ("client_id", &foreign.client.id)]).await;
    // A form that was not shown here decides nothing.
    let forged = [("decision", "logout"), ("csrf", "x")];
    let request = server.post("/oauth/logout").form(&forged);
    let answer = setup.browser.send(request).await;
    assert_eq!(answer.status, 403, "{answer}");
    assert!(setup.is_signed_in().await);
}

async fn a_program_of_the_client_ends_its_session(server: Server) {
    // A back end has the ID token and no cookie (`--backend-logout-url` of oauth2-proxy).
    let mut setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    let mut other = setup.browser.clone();
    let other_login = setup.rp.login(&mut Browser::new(&server), &server.user().await, &[]).await;
    let page = Browser::new(&server).open(&format!("/oauth/logout?{}", encode(&[("id_token_hint", &hint)]))).await;
    let said = page.text_of("logged-out").expect("a page");
    assert!(page.answer.status == 200 && said.contains("A session has ended"), "{said}");
    assert!(!setup.is_signed_in().await);
    assert!(!other.open("/").await.is_signed_in());
    // That session and no other.
    let query = encode(&[("id_token_hint", other_login.id_token()), ("post_logout_redirect_uri", SIGNED_OUT)]);
    let page = Browser::new(&server).open(&format!("/oauth/logout?{query}")).await;
    assert_eq!(page.callback().as_str(), SIGNED_OUT);
}

async fn who_is_not_signed_in_reads_what_was_ended(server: Server) {
    let setup = Setup::new(&server).await;
    let hint = setup.login.id_token().to_owned();
    let pairwise = Rp::with(&server, "code", &["--subject-type", "pairwise"]).await;
    let login = pairwise.login(&mut setup.browser.clone(), &server.user().await, &[]).await;
    let nothing = async |parameters: &[(&str, &str)]| {
        let page = Browser::new(&server).open(&format!("/oauth/logout?{}", encode(parameters))).await;
        assert!(page.text_of("nothing-ended").is_some(), "{parameters:?}: {}", page.answer);
    };
    nothing(&[]).await;
    nothing(&[("client_id", &setup.rp.client.id)]).await;
    // Nobody finds the user of a pairwise subject.
    nothing(&[("id_token_hint", login.id_token())]).await;
    Browser::new(&server).open(&format!("/oauth/logout?{}", encode(&[("id_token_hint", &hint)]))).await;
    nothing(&[("id_token_hint", &hint)]).await;
    // What was never shown to anybody ends nothing either.
    let mut setup = Setup::new(&server).await;
    let request = [("id_token_hint", setup.login.id_token()), ("client_id", pairwise.client.id.as_str())];
    let page = Browser::new(&server).open(&format!("/oauth/logout?{}", encode(&request))).await;
    page.expect_error_page("invalid_request");
    assert!(setup.is_signed_in().await);
}

async fn who_does_not_say_which_application_it_is_is_told_so(server: Server) {
    let mut setup = Setup::new(&server).await;
    let page = setup.logout(&[("post_logout_redirect_uri", SIGNED_OUT)]).await;
    let said = page.text_of("error-page").expect("an error page");
    assert!(said.contains("id_token_hint") && !said.contains("registered"), "{said}");
    let client_id = setup.rp.client.id.clone();
    let request = [("client_id", client_id.as_str()), ("post_logout_redirect_uri", "https://other.example/")];
    let page = setup.logout(&request).await;
    assert!(page.text_of("error-page").is_some_and(|said| said.contains("registered")), "{}", page.answer);
}
