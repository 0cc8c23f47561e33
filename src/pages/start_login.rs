//! Third-party-initiated login (OpenID Connect Core 4): this server sends somebody to a client, who then asks to sign them
//! in. Only a link; the person follows it or does not.

use grantlog_domain::client::ClientMetadata;
use url::Url;

use crate::config::Issuer;

/// Where the client begins a login, with `iss`, and `login_hint` and `target_link_uri` when there are any.
pub fn link(
    issuer: &Issuer,
    client: &ClientMetadata,
    login_hint: Option<&str>,
    target_link_uri: Option<&str>,
) -> Option<String> {
    let mut url = Url::parse(client.openid.initiate_login_uri.as_deref()?).ok()?;
    // What the client has in its query stays.
    let mut query = url.query_pairs_mut();
    query.append_pair("iss", issuer.as_str());
    let optional = [("login_hint", login_hint), ("target_link_uri", target_link_uri)];
    query.extend_pairs(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    drop(query);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn client(initiate_login_uri: Option<&str>) -> ClientMetadata {
        serde_json::from_value(json!({
            "client_name": "X", "grant_types": ["authorization_code"], "response_types": ["code"], "scope": "openid",
            "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none", "application_type": "web",
            "initiate_login_uri": initiate_login_uri,
        }))
        .expect("metadata")
    }

    #[test]
    fn the_client_is_told_who_sends_whom_and_where_to() {
        let issuer: Issuer = "https://id.example".parse().expect("an issuer");
        let with = client(Some("https://app.example/login?from=x"));
        let bare = link(&issuer, &with, None, None);
        assert_eq!(bare.as_deref(), Some("https://app.example/login?from=x&iss=https%3A%2F%2Fid.example"));
        let full = link(&issuer, &with, Some("ann&iss=evil"), Some("https://app.example/")).expect("a link");
        let full = Url::parse(&full).expect("a URL");
        let pairs: Vec<_> = full.query_pairs().skip(2).collect();
        assert_eq!(pairs[0], ("login_hint".into(), "ann&iss=evil".into()));
        assert_eq!(pairs[1], ("target_link_uri".into(), "https://app.example/".into()));
        assert_eq!(link(&issuer, &client(None), Some("ann"), None), None);
    }
}
