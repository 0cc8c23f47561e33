//! The page that posts an authorization response to the client: OAuth 2.0 Form Post Response Mode 2.
//!
//! It sends itself; who has no JavaScript presses its button. The only page with a script: that one, named by its hash,
//! and nothing else.

use askama::Template;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, PRAGMA};
use warp::reply::Response;

use super::assets;
use super::scripts::script_source;
use crate::config::Issuer;
use crate::http::security_headers;

/// What the page runs; the template has exactly this between its script tags.
const SCRIPT: &str = "document.forms[0].submit()";

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPostPage<'a> {
    stylesheet: &'a str,
    redirect_uri: &'a str,
    parameters: &'a [(&'a str, &'a str)],
    script: &'static str,
}

/// The page that posts `parameters` to `redirect_uri`, which the client registered. Never cached, and no referrer.
#[must_use]
pub fn form_post_page(redirect_uri: &str, parameters: &[(&str, &str)], issuer: &Issuer) -> Response {
    let page = FormPostPage {
        stylesheet: &format!("{}{}", issuer.path(), assets::style().path),
        redirect_uri,
        parameters,
        script: SCRIPT,
    };
    // Rendering fails only when a value cannot be formatted; these are texts.
    let mut response = Response::new(page.render().unwrap_or_default().into());
    let headers = response.headers_mut();
    security_headers::page(headers, issuer.is_https());
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src {}; base-uri 'none'; frame-ancestors 'none'",
        script_source(SCRIPT),
    );
    // A hash holds neither blanks nor line breaks, so this is always a header value.
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use http_body_util::BodyExt as _;

    fn issuer() -> Issuer {
        "https://id.example/auth".parse().expect("an issuer")
    }

    fn shown(response: Response) -> (String, String) {
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().expect("ASCII").to_owned();
        let body = block_on(response.into_body().collect()).expect("a body").to_bytes();
        (policy, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn only_its_own_script_runs_and_the_client_may_lead_on() {
        let (policy, html) = shown(form_post_page("https://app.example/cb?x=1", &[("code", "c")], &issuer()));
        assert!(policy.contains(&format!("script-src {};", script_source(SCRIPT))), "{policy}");
        assert!(!policy.contains("form-action") && policy.contains("default-src 'none'"), "{policy}");
        assert!(html.contains("action=\"https://app.example/cb?x=1\""), "{html}");
        assert!(html.contains(&format!("<script>{SCRIPT}</script>")), "{html}");
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains("href=\"/auth/assets/style-"), "{html}");
        assert!(html.contains("name=\"code\" value=\"c\"") && html.contains("<button"), "{html}");
    }

    #[test]
    fn a_value_cannot_leave_its_field() {
        let (_, html) =
            shown(form_post_page("https://app.example/cb", &[("state", "\"><script>x</script>")], &issuer()));
        assert_eq!(html.matches("<script").count(), 1, "{html}");
    }
}
