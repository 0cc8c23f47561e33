//! Signing keys (RFC 7517, RFC 7518, RFC 8037): made here, the private half sealed, the public half handed out as a JWK.

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::KeyId;
use grantlog_domain::signing_key::Algorithm;
use grantlog_projections::db::Value;
use serde_json::{Map, Value as Json, json};

use super::{Vault, VaultError};
use crate::secrets::Secret;

/// A key of the vault. Its private half is there; say so in the log next.
#[derive(Debug)]
pub struct NewSigningKey {
    /// The thumbprint of the public half (RFC 7638).
    pub key_id: KeyId,
    /// With `kid`, `alg` and `use`.
    pub public_jwk: Map<String, Json>,
}

/// Signs with one private key. Signing is work for the processor: keep RSA off the threads that do input and output.
pub struct Signer {
    alg: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Vault {
    /// Makes the key of that algorithm that comes after `predecessor` (`None`: the first one) and keeps its private half
    /// sealed. Each key has one successor: whoever asks again, on whatever node, gets the key that the first one made.
    /// RS256 and PS256 have 2048 bits; ES256 is on P-256; `EdDSA` is Ed25519.
    ///
    /// # Errors
    /// [`VaultError::KeyGeneration`]; [`VaultError::Damaged`]; [`VaultError::Database`].
    pub async fn create_signing_key(
        &self,
        alg: Algorithm,
        predecessor: Option<&KeyId>,
    ) -> Result<NewSigningKey, VaultError> {
        let slot = format!("{alg} {}", predecessor.map_or("", |key_id| key_id.0.as_str()));
        if let Some(made) = self.key_in(&slot).await? {
            return Ok(made);
        }
        let made = tokio::task::spawn_blocking(move || generate(alg)).await;
        let pkcs8 = made.ok().flatten().ok_or(VaultError::KeyGeneration)?;
        let pair = Pair::read(alg, pkcs8.expose()).ok_or(VaultError::KeyGeneration)?;
        let key = pair.public_half(alg).ok_or(VaultError::KeyGeneration)?;
        let sealed = self.0.secrets.seal(&context(&key.key_id), pkcs8.expose());
        self.0
            .db
            .execute(
                "INSERT INTO vault_signing_keys (key_id, algorithm, sealed_private_key, created_at, slot) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (slot) DO NOTHING",
                &[
                    Value::Text(key.key_id.0.clone()),
                    Value::from(alg.as_str()),
                    Value::Text(sealed),
                    Value::Int(self.0.clock.now().0),
                    Value::Text(slot.clone()),
                ],
            )
            .await?;
        self.key_in(&slot).await?.ok_or(VaultError::KeyGeneration)
    }

    /// The public half of the key that was made for `slot`.
    async fn key_in(&self, slot: &str) -> Result<Option<NewSigningKey>, VaultError> {
        let sql = "SELECT key_id FROM vault_signing_keys WHERE slot = $1";
        let rows = self.0.db.fetch(sql, &[Value::Text(slot.to_owned())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let key_id = KeyId(row.text(0)?);
        let Some(signer) = self.signer(&key_id).await? else { return Ok(None) };
        let key = signer.pair.public_half(signer.alg).filter(|key| key.key_id == key_id);
        key.map(Some).ok_or_else(|| VaultError::Damaged { what: format!("signing key {key_id}") })
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
        let pair = Pair::read(alg, pkcs8.expose()).ok_or_else(damaged)?;
        Ok(Some(Signer { alg, pair }))
    }

    /// Whether the private half of this key is here, and belongs to that public one. Whatever its `kid` looks like.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn holds(&self, key_id: &KeyId, public_jwk: &Map<String, Json>) -> Result<bool, VaultError> {
        let ours = match self.signer(key_id).await {
            Ok(signer) => signer.and_then(|signer| signer.pair.public_half(signer.alg)),
            Err(VaultError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let is_same = |ours: &NewSigningKey| {
            ours.public_jwk.iter().all(|(name, value)| name == "kid" || public_jwk.get(name) == Some(value))
        };
        Ok(ours.as_ref().is_some_and(is_same))
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
    /// The signature of `message` as JWS wants it (RFC 7518 3.3, 3.4, 3.5; RFC 8037 3.1).
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when the key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        let failed = |_| VaultError::Damaged { what: "signing key".to_owned() };
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn RsaEncoding =
                    if self.alg == Algorithm::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl Pair {
    fn read(alg: Algorithm, pkcs8: &[u8]) -> Option<Self> {
        Some(match alg {
            Algorithm::RS256 | Algorithm::PS256 => Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).ok()?)),
            Algorithm::ES256 => {
                Self::Ecdsa(Box::new(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?))
            }
            Algorithm::EdDSA => Self::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(pkcs8).ok()?)),
        })
    }

    /// RFC 7518 6.2 and 6.3, RFC 8037 2.
    fn public_half(&self, alg: Algorithm) -> Option<NewSigningKey> {
        let jwk = match self {
            Self::Rsa(pair) => {
                let (modulus, exponent) = rsa_numbers(pair.public_key().as_ref())?;
                json!({ "kty": "RSA", "n": base64url(modulus), "e": base64url(exponent) })
            }
            Self::Ecdsa(pair) => {
                // SEC 1 2.3.3, uncompressed: 04, 32 bytes x, 32 bytes y.
                let point = pair.public_key().as_ref().strip_prefix(&[4])?;
                let (x, y) = point.split_at_checked(32)?;
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Self::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()) })
            }
        };
        let Json::Object(mut public_jwk) = jwk else { return None };
        let key_id = KeyId(thumbprint(&public_jwk));
        public_jwk.insert("kid".to_owned(), json!(key_id.0));
        public_jwk.insert("alg".to_owned(), json!(alg.as_str()));
        public_jwk.insert("use".to_owned(), json!("sig"));
        Some(NewSigningKey { key_id, public_jwk })
    }
}

/// A private key as PKCS #8.
fn generate(alg: Algorithm) -> Option<Secret<Vec<u8>>> {
    let random = SystemRandom::new();
    let pkcs8 = match alg {
        Algorithm::RS256 | Algorithm::PS256 => {
            let pkcs8: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).ok()?.as_der().ok()?;
            pkcs8.as_ref().to_vec()
        }
        Algorithm::ES256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?.as_ref().to_vec()
        }
        Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8(&random).ok()?.as_ref().to_vec(),
    };
    Some(Secret::new(pkcs8))
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

pub(super) fn context(key_id: &KeyId) -> String {
    format!("signing_key:{key_id}")
}
