//! Why a signing key refuses.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("the key exists already")]
    AlreadyExists,
    #[error("there is no such key")]
    NotFound,
    #[error("the key is retired and cannot sign again")]
    Retired,
    #[error("the key is revoked")]
    Revoked,
    #[error("the JWK has a private part")]
    PrivateJwk,
    #[error("alg must be RS256, ES256, EdDSA or PS256")]
    UnknownAlgorithm,
}
