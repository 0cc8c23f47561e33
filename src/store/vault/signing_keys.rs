//! Signing keys (RFC 7517, RFC 7518, RFC 8037): made here, the private half sealed, the public half handed out as a JWK.

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::KeyId;
use grantlog_domain::signing_key::Algorithm;
use grantlog_projections::db::Value;
use serde_json::{Map, Value as Json, json};

use super::{Vault, VaultError};
use crate::secrets::Secret;

/// A key that was made. Its private half is in the vault; say so in the log next.
#[derive(Debug)]
pub struct NewSigningKey {
    /// The thumbprint of the public half (RFC 7638).
    pub key_id: KeyId,
    /// With `kid`, `alg` and `use`.
    pub public_jwk: Map<String, Json>,
}

/// Signs with one private key. Signing is work for the processor: keep it off the threads that do input and output.
pub struct Signer(Pair);

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Vault {
    /// Makes a key (RS256: 2048 bits; ES256; EdDSA: Ed25519) and keeps its private half sealed.
    ///
    /// # Errors
    /// [`VaultError::KeyGeneration`]; [`VaultError::Database`].
    pub async fn create_signing_key(&self, alg: Algorithm) -> Result<NewSigningKey, VaultError> {
        let made = tokio::task::spawn_blocking(move || generate(alg)).await;
        let Generated { pkcs8, mut public_jwk } = made.ok().flatten().ok_or(VaultError::KeyGeneration)?;
        let key_id = KeyId(thumbprint(&public_jwk));
        public_jwk.insert("kid".to_owned(), json!(key_id.0));
        public_jwk.insert("alg".to_owned(), json!(alg.as_str()));
        public_jwk.insert("use".to_owned(), json!("sig"));
        let sealed = self.0.secrets.seal(&context(&key_id), pkcs8.expose());
        self.0
            .db
            .execute(
                "INSERT INTO vault_signing_keys (key_id, algorithm, sealed_private_key, created_at) \
                 VALUES ($1, $2, $3, $4)",
                &[
                    Value::Text(key_id.0.clone()),
                    Value::from(alg.as_str()),
                    Value::Text(sealed),
                    Value::Int(self.0.clock.now().0),
                ],
            )
            .await?;
        Ok(NewSigningKey { key_id, public_jwk })
    }

    /// The key to sign with; `None` when the vault does not have it, or no more.
    ///
    /// # Errors
    /// [`VaultError::Damaged`]; [`VaultError::Database`].
    pub async fn signer(&self, key_id: &KeyId) -> Result<Option<Signer>, VaultError> {
        let sql = "SELECT algorithm, sealed_private_key FROM vault_signing_keys WHERE key_id = $1";
        let rows = self.0.db.fetch(sql, &[Value::Text(key_id.0.clone())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let damaged = || VaultError::Damaged { what: format!("signing key {key_id}") };
        let alg: Algorithm = row.str(0)?.parse().map_err(|_| damaged())?;
        let pkcs8 = self.0.secrets.unseal(&context(key_id), row.str(1)?).ok_or_else(damaged)?;
        let pair = match alg {
            Algorithm::RS256 => RsaKeyPair::from_pkcs8(pkcs8.expose()).map(|pair| Pair::Rsa(Box::new(pair))),
            Algorithm::ES256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose())
                .map(|pair| Pair::Ecdsa(Box::new(pair))),
            Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map(|pair| Pair::Ed25519(Box::new(pair))),
        };
        Ok(Some(Signer(pair.map_err(|_| damaged())?)))
    }

    /// Destroys the private half. Nothing happens when it was done already.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn destroy_signing_key(&self, key_id: &KeyId) -> Result<(), VaultError> {
        let sql = "DELETE FROM vault_signing_keys WHERE key_id = $1";
        self.0.db.execute(sql, &[Value::Text(key_id.0.clone())]).await?;
        Ok(())
    }
}

impl Signer {
    /// The signature of `message` as JWS wants it (RFC 7518 3.3, 3.4; RFC 8037 3.1).
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when the key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        let failed = |_| VaultError::Damaged { what: "signing key".to_owned() };
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

struct Generated {
    pkcs8: Secret<Vec<u8>>,
    public_jwk: Map<String, Json>,
}

fn generate(alg: Algorithm) -> Option<Generated> {
    let random = SystemRandom::new();
    let (pkcs8, jwk) = match alg {
        Algorithm::RS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            let (modulus, exponent) = rsa_numbers(pair.public_key().as_ref())?;
            (pkcs8.as_ref().to_vec(), json!({ "kty": "RSA", "n": base64url(modulus), "e": base64url(exponent) }))
        }
        Algorithm::ES256 => {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?;
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).ok()?;
            // SEC 1 2.3.3, uncompressed: 04, 32 bytes x, 32 bytes y.
            let point = pair.public_key().as_ref().strip_prefix(&[4])?;
            let (x, y) = point.split_at_checked(32)?;
            let jwk = json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) });
            (document.as_ref().to_vec(), jwk)
        }
        Algorithm::EdDSA => {
            let document = Ed25519KeyPair::generate_pkcs8(&random).ok()?;
            let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).ok()?;
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()) });
            (document.as_ref().to_vec(), jwk)
        }
    };
    let Json::Object(public_jwk) = jwk else { return None };
    Some(Generated { pkcs8: Secret::new(pkcs8), public_jwk })
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 A.1.1): a sequence of two integers.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = der_element(der, 0x30)?;
    let (modulus, rest) = der_element(sequence, 0x02)?;
    let (exponent, _) = der_element(rest, 0x02)?;
    // DER puts a zero before a number whose first bit is set; a JWK has none (RFC 7518 6.3.1.1).
    let plain = |number: &'_ [u8]| -> usize { usize::from(number.first() == Some(&0)) };
    Some((&modulus[plain(modulus)..], &exponent[plain(exponent)..]))
}

/// The content of the first element, which must have this tag, and what follows it.
fn der_element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // A length of up to four bytes follows.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// RFC 7638 3: the required members in the order of their names, without spaces; SHA-256; base64url.
pub(super) fn thumbprint(jwk: &Map<String, Json>) -> String {
    let members: std::collections::BTreeMap<_, _> = jwk.iter().collect();
    let text = serde_json::to_string(&members).unwrap_or_default();
    base64url(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn context(key_id: &KeyId) -> String {
    format!("signing_key:{key_id}")
}
