//! OpenID Connect Front-Channel Logout 1.0. What a real browser does with the frames is in `browser`.

use serde_json::json;
use url::Url;

use super::rp::{Rp, SIGNED_OUT};
use crate::harness::{
    Browser, Server,
    browser::{Page, query_of},
    http::encode,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    oidcc_frontchannel_logout_discovery_endpoint_verification,
    oidcc_frontchannel_rp_initiated_logout,
    signing_out_here_tells_them_too,
    an_address_elsewhere_cannot_be_registered,
]];

/// On the origin of the clients' redirect URI.
const FRONT: &str = "https://client.example/front?x=1";

async fn oidcc_frontchannel_logout_discovery_endpoint_verification(server: Server) {
    // 3.
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    for name in ["frontchannel_logout_supported", "frontchannel_logout_session_supported"] {
        assert_eq!(configuration[name], json!(true), "{name}");
    }
}

/// What the page shows in frames.
fn frames(page: &Page) -> Vec<Url> {
    let text = page.answer.text();
    let sources = text.split("<iframe class=\"told\" src=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or(""));
    sources.map(|source| source.replace("&amp;", "&").replace("&#38;", "&").parse().expect("a URL")).collect()
}

fn policy(page: &Page) -> String {
    page.answer.header("content-security-policy").expect("a policy").to_owned()
}

async fn oidcc_frontchannel_rp_initiated_logout(server: Server) {
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    let required = ["--frontchannel-logout-uri", FRONT, "--frontchannel-logout-session-required"];
    let rp = Rp::with(&server, "code", &required).await;
    let plain =
        Rp::with(&server, "code id_token", &["--frontchannel-logout-uri", "https://client.example/plain"]).await;
    let login = rp.login(&mut browser, &user, &[]).await;
    plain.login(&mut browser, &user, &[]).await;
    // Neither one that nobody signed in to here, nor one that did not register for it.
    let absent = Rp::with(&server, "code", &["--frontchannel-logout-uri", "https://client.example/absent"]).await;
    absent.login(&mut Browser::new(&server), &user, &[]).await;
    Rp::new(&server, "code").await.login(&mut browser, &user, &[]).await;

    let hint = login.id_token();
    let request = [("id_token_hint", hint), ("post_logout_redirect_uri", SIGNED_OUT), ("state", "a b&")];
    let page = browser.open(&format!("/oauth/logout?{}", encode(&request))).await;
    let frames = frames(&page);
    assert_eq!(frames.len(), 2, "{}", page.answer);
    let query = query_of(&frames[0]);
    assert_eq!((query["x"].as_str(), query["iss"].as_str()), ("1", server.base()));
    assert_eq!(login.claims["sid"], query["sid"].as_str());
    assert_eq!(frames[1].as_str(), "https://client.example/plain");
    // Frames over https, because their pages may lead on; one script, which goes on; and a link for who has none.
    let policy = policy(&page);
    assert!(policy.contains("frame-src https:;"), "{policy}");
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let text = page.answer.text();
    let link = text.split("id=\"continue\" href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    assert_eq!(link.replace("&amp;", "&").replace("&#38;", "&"), format!("{SIGNED_OUT}?state=a+b%26"));
    let page = browser.open(&rp.url(&[("prompt", "none")])).await;
    assert_eq!(rp.response(&page)["error"], "login_required");
}

async fn signing_out_here_tells_them_too(server: Server) {
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    let rp = Rp::with(&server, "code", &["--frontchannel-logout-uri", FRONT]).await;
    rp.login(&mut browser, &user, &[]).await;
    let page = browser.open("/logout").await;
    assert!(frames(&page).is_empty(), "told before the user said so");
    let page = browser.submit(&page, "logout-form", "logout-confirm", &[]).await;
    assert!(page.text_of("logged-out").is_some(), "{}", page.answer);
    assert_eq!(frames(&page).len(), 1);
    // 3: without iss and sid where the client does not need them.
    assert_eq!(frames(&page)[0].as_str(), FRONT);
    assert!(!policy(&page).contains("script-src"), "{}", policy(&page));
}

async fn an_address_elsewhere_cannot_be_registered(server: Server) {
    // 2: its scheme, domain and port MUST be those of a redirect URI.
    for uri in ["https://other.example/front", "https://client.example:444/front", "https://client.example/front#x"] {
        let arguments = ["client", "create", "--name", "X", "--redirect-uri", "https://client.example/callback"];
        let refused = server.site().run(&[&arguments[..], &["--frontchannel-logout-uri", uri]].concat()).await;
        assert!(!refused.status.success(), "{uri}");
    }
}
