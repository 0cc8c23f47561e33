//! Form tokens: what ties a POST to the browser that the form was shown in.
//!
//! A token is the message authentication code of the browser's cookie: the session cookie of who is signed in, a
//! random cookie of who is not. Another site can make a browser send the cookie, but cannot read it, and so cannot
//! make the token. Nothing is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secrets::{Purpose, Secrets};

/// Name of the hidden field.
pub const FIELD: &str = "csrf";

/// The token for forms shown to the browser with that cookie.
pub fn token(secrets: &Secrets, cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(secrets.mac(Purpose::Csrf, cookie.as_bytes()))
}

/// Whether `presented` is the token of the browser with that cookie; compared in constant time.
pub fn verify(secrets: &Secrets, cookie: &str, presented: Option<&str>) -> bool {
    let Some(Ok(mac)) = presented.map(|text| URL_SAFE_NO_PAD.decode(text)) else { return false };
    !cookie.is_empty() && secrets.verify_mac(Purpose::Csrf, cookie.as_bytes(), &mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn only_the_token_of_the_same_browser_is_taken() {
        let secrets = Secrets::ephemeral(&Entropy::seeded(1));
        let token = token(&secrets, "gln_a");
        assert!(verify(&secrets, "gln_a", Some(&token)));
        assert!(!verify(&secrets, "gln_b", Some(&token)));
        for wrong in [None, Some(""), Some("gln_a"), Some("%"), Some(&token[1..])] {
            assert!(!verify(&secrets, "gln_a", wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_browser_without_a_cookie_has_no_token() {
        let secrets = Secrets::ephemeral(&Entropy::seeded(1));
        assert!(!verify(&secrets, "", Some(&token(&secrets, ""))));
    }

    #[test]
    fn a_token_of_another_server_is_not_taken() {
        let (one, other) = (Secrets::ephemeral(&Entropy::seeded(1)), Secrets::ephemeral(&Entropy::seeded(2)));
        assert!(!verify(&one, "gln_a", Some(&token(&other, "gln_a"))));
    }
}
