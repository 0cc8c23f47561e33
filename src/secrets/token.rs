//! Tokens, codes, client secrets and session cookies: RFC 6749 1.4, 1.5, 4.1.2, 2.3.1; entropy as RFC 6749 10.10 asks.
//!
//! Shape: a prefix that names the kind, then base64url (no padding) of 16 bytes id of the aggregate, 2 bytes pepper id,
//! 32 random bytes; 71 characters. The id says where the hash is kept, so redeeming needs no lookup; the pepper id says
//! which pepper makes that hash, so peppers can be added while tokens are alive.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::secret_hash::SecretHash;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::pepper::Pepper;
use super::{Secret, Secrets};

const ID_BYTES: usize = 16;
const PEPPER_ID_BYTES: usize = 2;
const RANDOM_BYTES: usize = 32;
const RAW_BYTES: usize = ID_BYTES + PEPPER_ID_BYTES + RANDOM_BYTES;

/// What a secret is for. Its hash is worth nothing as that of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `access_token` (RFC 6749 1.4).
    AccessToken,
    /// `jti` of an access token that is a JSON Web Token (RFC 9068 2.2); opens nothing alone.
    JwtId,
    /// `refresh_token` (RFC 6749 1.5).
    RefreshToken,
    /// `code` (RFC 6749 4.1.2).
    Code,
    /// `client_secret` (RFC 6749 2.3.1).
    ClientSecret,
    /// The cookie of a signed-in browser.
    SessionCookie,
    /// `registration_access_token` (RFC 7592 3).
    RegistrationAccessToken,
}

impl Kind {
    /// All kinds, for tests and for scanners that look for leaked secrets.
    pub const ALL: [Self; 7] = [
        Self::AccessToken,
        Self::JwtId,
        Self::RefreshToken,
        Self::Code,
        Self::ClientSecret,
        Self::SessionCookie,
        Self::RegistrationAccessToken,
    ];

    /// The first characters of every secret of this kind.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::AccessToken => "gla_",
            Self::JwtId => "glj_",
            Self::RefreshToken => "glr_",
            Self::Code => "glc_",
            Self::ClientSecret => "gls_",
            Self::SessionCookie => "gln_",
            Self::RegistrationAccessToken => "glt_",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::JwtId => "jwt_id",
            Self::RefreshToken => "refresh_token",
            Self::Code => "code",
            Self::ClientSecret => "client_secret",
            Self::SessionCookie => "session_cookie",
            Self::RegistrationAccessToken => "registration_access_token",
        }
    }
}

impl Secrets {
    /// Makes a new secret of the aggregate `id`, and the hash to keep of it.
    #[must_use]
    pub fn mint(&self, kind: Kind, id: Uuid) -> (Secret<String>, SecretHash) {
        let random = Zeroizing::new(self.entropy().bytes::<RANDOM_BYTES>());
        encode(kind, id, self.newest(), &random)
    }

    /// The same secret for the same `id` and `from` as long as the newest pepper stays: for the demo client, whose secret
    /// is shown again after a restart, and for a refresh that must give the same answer twice. Whoever knows `from` but
    /// not the pepper cannot tell it.
    #[must_use]
    pub fn mint_derived(&self, kind: Kind, id: Uuid, from: &[u8]) -> (Secret<String>, SecretHash) {
        let data = Zeroizing::new([kind.label().as_bytes(), &[0], id.as_bytes().as_slice(), from].concat());
        let random = Zeroizing::new(self.newest().hmac("derived_secret", &data));
        encode(kind, id, self.newest(), &random)
    }

    /// Reads a secret that somebody presents: the aggregate that it names, and its hash under the pepper that it names.
    /// `None` when it is not exactly of this kind's shape or its pepper is unknown. It says nothing about whether the
    /// secret was ever given out.
    #[must_use]
    pub fn parse(&self, kind: Kind, presented: &str) -> Option<(Uuid, SecretHash)> {
        let text = presented.strip_prefix(kind.prefix())?;
        let mut raw = Zeroizing::new([0; RAW_BYTES]);
        // Strict: the engine refuses padding, other alphabets and left-over bits, so one secret has one spelling.
        let length = URL_SAFE_NO_PAD.decode_slice(text, raw.as_mut_slice()).ok()?;
        if length != RAW_BYTES {
            return None;
        }
        let (id, rest) = raw.split_first_chunk::<ID_BYTES>()?;
        let (pepper_id, _) = rest.split_first_chunk::<PEPPER_ID_BYTES>()?;
        let pepper = self.pepper(u16::from_be_bytes(*pepper_id))?;
        Some((Uuid::from_bytes(*id), hash(kind, pepper, &raw)))
    }
}

fn encode(kind: Kind, id: Uuid, pepper: &Pepper, random: &[u8; RANDOM_BYTES]) -> (Secret<String>, SecretHash) {
    let mut raw = Zeroizing::new([0; RAW_BYTES]);
    raw[..ID_BYTES].copy_from_slice(id.as_bytes());
    raw[ID_BYTES..ID_BYTES + PEPPER_ID_BYTES].copy_from_slice(&pepper.id().to_be_bytes());
    raw[ID_BYTES + PEPPER_ID_BYTES..].copy_from_slice(random);
    let mut text = String::with_capacity(kind.prefix().len() + RAW_BYTES.div_ceil(3) * 4);
    text.push_str(kind.prefix());
    URL_SAFE_NO_PAD.encode_string(raw.as_slice(), &mut text);
    (Secret::new(text), hash(kind, pepper, &raw))
}

fn hash(kind: Kind, pepper: &Pepper, raw: &[u8; RAW_BYTES]) -> SecretHash {
    SecretHash { pepper: pepper.id(), digest: pepper.hmac(kind.label(), raw) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use proptest::prelude::*;

    fn secrets() -> Secrets {
        Secrets::ephemeral(&Entropy::seeded(1))
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop::sample::select(Kind::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn a_minted_secret_is_read_back_with_its_id_and_hash(id: [u8; 16], kind in kinds()) {
            let secrets = secrets();
            let id = Uuid::from_bytes(id);
            let (secret, hash) = secrets.mint(kind, id);
            prop_assert_eq!(secret.expose().len(), 71);
            prop_assert_eq!(secrets.parse(kind, secret.expose()), Some((id, hash)));
        }

        #[test]
        fn any_other_text_is_refused_without_a_panic(text in ".{0,90}", kind in kinds()) {
            prop_assert_eq!(secrets().parse(kind, &text), None);
        }

        #[test]
        fn one_changed_character_is_another_secret_or_none(at in 4_usize..71, kind in kinds()) {
            let secrets = secrets();
            let (secret, hash) = secrets.mint(kind, Uuid::nil());
            let mut changed = secret.expose().clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            prop_assert!(secrets.parse(kind, &changed).is_none_or(|(_, other)| other != hash));
        }

        #[test]
        fn a_secret_of_one_kind_is_not_one_of_another(one in kinds(), other in kinds()) {
            prop_assume!(one != other);
            let secrets = secrets();
            let (secret, hash) = secrets.mint(one, Uuid::nil());
            prop_assert_eq!(secrets.parse(other, secret.expose()), None);
            let renamed = secret.expose().replacen(one.prefix(), other.prefix(), 1);
            prop_assert!(secrets.parse(other, &renamed).is_some_and(|(_, renamed)| renamed != hash));
        }
    }

    #[test]
    fn padding_space_and_left_over_bits_are_refused() {
        let secrets = secrets();
        let (secret, _) = secrets.mint(Kind::AccessToken, Uuid::nil());
        let text = secret.expose();
        for wrong in
            [format!("{text}="), format!("{text} "), format!(" {text}"), text[..70].to_owned(), format!("{text}A")]
        {
            assert_eq!(secrets.parse(Kind::AccessToken, &wrong), None, "{wrong}");
        }
        // 50 bytes leave two unused bits in the last character; they must be zero.
        let last = text.as_bytes()[70];
        assert!(b"AEIMQUYcgkosw048".contains(&last));
        let spelt_twice = format!("{}{}", &text[..70], char::from(last + 1));
        assert_eq!(secrets.parse(Kind::AccessToken, &spelt_twice), None);
    }

    #[test]
    fn a_derived_secret_is_the_same_again_and_differs_by_label() {
        let secrets = secrets();
        let mint =
            |label: &str| secrets.mint_derived(Kind::ClientSecret, Uuid::nil(), label.as_bytes()).0.expose().clone();
        assert_eq!(mint("demo"), mint("demo"));
        assert_ne!(mint("demo"), mint("other"));
    }
}
