//! Secrets: how they are made, told apart, hashed, sealed and kept off every page, log and table.
//!
//! `secret` the type that cannot be printed; `pepper` the key file outside the database; `token` the formats of tokens,
//! codes, client secrets and cookies; `sealing` authenticated encryption; `password` Argon2id.

pub mod password;
pub mod pepper;
pub mod sealing;
pub mod secret;
pub mod token;

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use self::pepper::{KnownPepper, PepperSource, SecretsError};
pub use self::secret::Secret;
pub use self::token::Kind;

use self::pepper::Pepper;
use self::sealing::SealingKey;
use crate::entropy::Entropy;

/// Everything that needs a pepper. Clones share the peppers.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    /// Ascending by id, never empty; the last one makes new hashes.
    peppers: Vec<Pepper>,
    /// One sealing key for each pepper, in the same order.
    vault_keys: Vec<SealingKey>,
    entropy: Entropy,
}

/// What a message authentication code or an index is for. A code made for one purpose is worth nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Binds a form to the session that it was shown in.
    Csrf,
    /// Who is signed in in a browser, for pages of clients to notice when it changes.
    BrowserState,
    /// Says when an authorization request first came.
    Arrival,
    /// Finds a user by name.
    UsernameIndex,
    /// Names a user to the clients of one sector.
    PairwiseSubject,
    /// Counts failed sign-ins of an account or an address.
    AttemptIndex,
    /// Names a session to one client.
    SessionAtClient,
    /// Names a logout token.
    LogoutToken,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Csrf => "csrf",
            Self::BrowserState => "browser_state",
            Self::Arrival => "arrival",
            Self::UsernameIndex => "username_index",
            Self::PairwiseSubject => "pairwise_subject",
            Self::AttemptIndex => "attempt_index",
            Self::SessionAtClient => "session_at_client",
            Self::LogoutToken => "logout_token",
        }
    }
}

impl Secrets {
    /// Opens the peppers of `source`, making the file at the first start, and holds them against those that the
    /// database `known`s.
    ///
    /// # Errors
    /// When the file can be read by others, is damaged or unwritable, or when a pepper that the database knows is
    /// missing or different: its tokens and passwords would silently be invalid.
    pub fn open(source: &PepperSource, known: &[KnownPepper], entropy: &Entropy) -> Result<Self, SecretsError> {
        let peppers = pepper::open(source, known, entropy)?;
        let vault_keys = peppers.iter().map(|pepper| SealingKey::derive(pepper, "vault")).collect();
        Ok(Self(Arc::new(Inner { peppers, vault_keys, entropy: entropy.clone() })))
    }

    /// Secrets for tests: one pepper made from `entropy`, kept nowhere.
    #[must_use]
    pub fn ephemeral(entropy: &Entropy) -> Self {
        let peppers = vec![Pepper::new(1, &entropy.bytes::<{ pepper::PEPPER_BYTES }>())];
        let vault_keys = peppers.iter().map(|pepper| SealingKey::derive(pepper, "vault")).collect();
        Self(Arc::new(Inner { peppers, vault_keys, entropy: entropy.clone() }))
    }

    /// The peppers as the database shall know them.
    #[must_use]
    pub fn known_peppers(&self) -> Vec<KnownPepper> {
        self.0.peppers.iter().map(Pepper::known).collect()
    }

    /// The message authentication code of `data` under the newest pepper (HMAC-SHA-256).
    #[must_use]
    pub fn mac(&self, purpose: Purpose, data: &[u8]) -> [u8; 32] {
        self.newest().hmac(purpose.label(), data)
    }

    /// Whether `mac` is that of `data` under any pepper; in constant time.
    #[must_use]
    pub fn verify_mac(&self, purpose: Purpose, data: &[u8], mac: &[u8]) -> bool {
        let right = |pepper: &Pepper| verify_slices_are_equal(&pepper.hmac(purpose.label(), data), mac).is_ok();
        self.0.peppers.iter().fold(false, |found, pepper| found | right(pepper))
    }

    /// A blind index: finds equal values without holding them. Base64url. Made with the oldest pepper, so that it stays
    /// the same when a pepper is added.
    #[must_use]
    pub fn blind_index(&self, purpose: Purpose, value: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.peppers[0].hmac(purpose.label(), value.as_bytes()))
    }

    /// Seals `plaintext` with the newest vault key, bound to `context` (what it is and whose). Text.
    #[must_use]
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> String {
        let newest = self.0.peppers.len() - 1;
        let sealed = self.0.vault_keys[newest].seal(context, plaintext, &self.0.entropy);
        format!("{}.{sealed}", self.newest().id())
    }

    /// Opens what [`Self::seal`] made for the same `context`; `None` when it was damaged, moved or made with an unknown
    /// pepper.
    #[must_use]
    pub fn unseal(&self, context: &str, sealed: &str) -> Option<Secret<Vec<u8>>> {
        let (id, sealed) = sealed.split_once('.')?;
        let id: u16 = id.parse().ok()?;
        let at = self.0.peppers.iter().position(|pepper| pepper.id() == id)?;
        self.0.vault_keys[at].open(context, sealed)
    }

    /// Where randomness comes from.
    #[must_use]
    pub fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    fn newest(&self) -> &Pepper {
        &self.0.peppers[self.0.peppers.len() - 1]
    }

    fn pepper(&self, id: u16) -> Option<&Pepper> {
        self.0.peppers.iter().find(|pepper| pepper.id() == id)
    }
}
