//! Sealing: authenticated encryption (AES-256-GCM) of what rests in the vault.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize as _;

use super::Secret;
use super::pepper::Pepper;
use crate::entropy::Entropy;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// One key. Nonces are random (96 bits), which is sound up to some billions of sealings with one key.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// A key from its bytes; `None` when they are not [`KEY_BYTES`] long.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?)))
    }

    /// The key that `pepper` gives for `purpose` (HKDF-SHA-256, RFC 5869).
    pub(super) fn derive(pepper: &Pepper, purpose: &str) -> Self {
        let mut bytes = pepper.derive(purpose);
        let key = Self::from_bytes(&bytes).expect("the derived key has the length of a key");
        bytes.zeroize();
        key
    }

    /// Seals `plaintext`, bound to `context`: it opens only there. Base64url of nonce, ciphertext and tag.
    #[must_use]
    pub fn seal(&self, context: &str, plaintext: &[u8], entropy: &Entropy) -> String {
        let nonce = entropy.bytes::<NONCE_LEN>();
        let mut body = Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len());
        body.extend_from_slice(plaintext);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut body)
            .expect("AES-GCM seals anything below 64 GiB");
        URL_SAFE_NO_PAD.encode([nonce.as_slice(), &body].concat())
    }

    /// Opens what [`Self::seal`] made for the same `context`; `None` when it is damaged, moved or another key's.
    #[must_use]
    pub fn open(&self, context: &str, sealed: &str) -> Option<Secret<Vec<u8>>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, body) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let opened =
            self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context.as_bytes()), &mut body);
        let length = opened.ok()?.len();
        body.truncate(length);
        Some(Secret::new(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_its_key_in_its_context_and_unchanged() {
        let entropy = Entropy::seeded(3);
        let key = SealingKey::from_bytes(&entropy.bytes::<KEY_BYTES>()).expect("32 bytes");
        let other = SealingKey::from_bytes(&entropy.bytes::<KEY_BYTES>()).expect("32 bytes");
        let sealed = key.seal("profile:ann", b"ann@example.org", &entropy);
        let opened = |key: &SealingKey, context, text: &str| key.open(context, text).map(|text| text.expose().clone());
        assert_eq!(opened(&key, "profile:ann", &sealed).as_deref(), Some(b"ann@example.org".as_slice()));
        assert_eq!(opened(&other, "profile:ann", &sealed), None);
        assert_eq!(opened(&key, "profile:bob", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(opened(&key, "profile:ann", &String::from_utf8(changed).expect("ASCII")), None);
        }
        assert_eq!(opened(&key, "profile:ann", ""), None);
        assert_ne!(sealed, key.seal("profile:ann", b"ann@example.org", &entropy));
    }
}
