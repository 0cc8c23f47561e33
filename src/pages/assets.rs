//! The style sheet and the logo: compiled in, named by their content, cached by browsers for a year.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use warp::reply::Response;

/// A file that pages load.
pub struct Asset {
    /// Its path on this server; changes when the content does.
    pub path: String,
    content_type: &'static str,
    content: &'static str,
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("assets/style.css")));
static LOGO: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("logo", "svg", "image/svg+xml", include_str!("assets/logo.svg")));

/// The one style sheet.
pub fn style() -> &'static Asset {
    &STYLE
}

/// The logo, also the icon of the tab.
pub fn logo() -> &'static Asset {
    &LOGO
}

/// The asset with the file name that stands behind `/assets/`.
pub fn find(name: &str) -> Option<&'static Asset> {
    [style(), logo()].into_iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(name))
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash = URL_SAFE_NO_PAD.encode(&digest(&SHA256, content.as_bytes()).as_ref()[..9]);
        Self { path: format!("/assets/{name}-{hash}.{extension}"), content_type, content }
    }

    /// The answer to a request for it. Kept for a year, because a new content has a new name.
    pub fn response(&self) -> Response {
        let mut response = Response::new(self.content.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_under_its_full_name_only() {
        let name = style().path.strip_prefix("/assets/").expect("below /assets");
        assert!(find(name).is_some());
        for other in ["style.css", "", "../style.css", "style-.css"] {
            assert!(find(other).is_none(), "{other}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for asset in [style(), logo()] {
            let content = asset.content.replace("http://www.w3.org/2000/svg", "");
            for word in ["http:", "https:", "url(", "@import", "<script", "<style"] {
                assert!(!content.contains(word), "{} has {word}", asset.path);
            }
        }
    }
}
