//! The headers of every page: what a browser may load, embed and tell others.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// Own style sheet and images, nothing else: no script, no frame, no inline style, no form to elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
);

const FORM_ACTION: &str = "; form-action 'self'";

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// One year. For this host alone: what else runs below its name is not ours to decide.
pub const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds the headers of a page. `https`: the issuer is https, so browsers shall never come back without it.
/// Pages show who is signed in, so nothing keeps them.
pub fn page(headers: &mut HeaderMap, https: bool) {
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

/// Leaves out what would keep people from coming back to the client that they came from; for what stands on that way, its
/// redirects and errors included.
///
/// Browsers hold `form-action` against every redirect that follows a form (CSP Level 3, 6.4.2), and where a client's
/// redirect URI leads on to is not known here. A client that waits for its popup loses it for good at the first answer with a
/// Cross-Origin-Opener-Policy of its own.
pub fn lead_to_clients(headers: &mut HeaderMap) {
    let policy = headers.get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok()).unwrap_or_default();
    if let (true, Ok(wider)) = (policy.contains(FORM_ACTION), HeaderValue::try_from(policy.replace(FORM_ACTION, ""))) {
        headers.insert(CONTENT_SECURITY_POLICY, wider);
    }
    if headers.contains_key(CROSS_ORIGIN_OPENER_POLICY) {
        headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("unsafe-none"));
    }
}

/// Whether a policy can name that origin: it has no blank, semicolon or comma, which would end the directive or the header.
#[must_use]
pub fn is_source(origin: &str) -> bool {
    origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:/_".contains(&byte))
}

/// Lets a page show images of one more origin: a client's logo.
pub fn allow_image(headers: &mut HeaderMap, origin: &str) {
    let policy = headers.get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok()).unwrap_or_default();
    let wider = policy.replace("img-src 'self'", &format!("img-src 'self' {origin}"));
    if let (true, Ok(wider)) = (is_source(origin), HeaderValue::try_from(wider)) {
        headers.insert(CONTENT_SECURITY_POLICY, wider);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_cannot_be_framed_and_runs_no_script() {
        let mut headers = HeaderMap::new();
        page(&mut headers, true);
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
        assert_eq!(headers[REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn only_what_leads_to_clients_lets_forms_and_openers_through() {
        let mut headers = HeaderMap::new();
        page(&mut headers, true);
        let strict = headers[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(strict.ends_with("; form-action 'self'"), "{strict}");
        assert_eq!(headers[CROSS_ORIGIN_OPENER_POLICY], "same-origin");
        lead_to_clients(&mut headers);
        let wider = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert_eq!(strict, format!("{wider}; form-action 'self'"));
        assert_eq!(headers[CROSS_ORIGIN_OPENER_POLICY], "unsafe-none");
        let mut none = HeaderMap::new();
        lead_to_clients(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn an_origin_cannot_add_to_the_policy() {
        let mut headers = HeaderMap::new();
        page(&mut headers, true);
        let before = headers[CONTENT_SECURITY_POLICY].clone();
        for wrong in
            ["https://a.example; script-src *", "https://a.example 'unsafe-inline'", "https://a,b", "https://*"]
        {
            allow_image(&mut headers, wrong);
            assert_eq!(headers[CONTENT_SECURITY_POLICY], before, "{wrong}");
        }
        allow_image(&mut headers, "https://a.example");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("img-src 'self' https://a.example;"), "{policy}");
    }

    #[test]
    fn only_https_promises_https() {
        let mut headers = HeaderMap::new();
        page(&mut headers, false);
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn an_asset_keeps_its_own_cache_rule() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        page(&mut headers, false);
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
    }
}
