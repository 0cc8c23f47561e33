//! Secrets: how they are made, told apart, hashed, sealed and kept off every page, log and table.
//!
//! `secret` the type that cannot be printed; `pepper` the keys outside the database, `pepper_file` where they are kept,
//! `ring` those in memory; `token` the formats of tokens,
//! codes, client secrets and cookies; `event_mac` what the log's events carry; `sealing` authenticated encryption; `password` Argon2id.

mod event_mac;
pub mod password;
pub mod pepper;
pub mod pepper_file;
mod ring;
pub mod sealing;
pub mod secret;
pub mod token;

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::Timestamp;

pub use self::pepper::{KnownPepper, PepperSource, SecretsError};
pub use self::secret::Secret;
pub use self::token::Kind;

use self::pepper::Pepper;
use self::ring::Ring;
use crate::entropy::Entropy;

/// Everything that needs a pepper. Clones share the peppers.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    peppers: Ring,
    entropy: Entropy,
}

/// What the key that names users to clients is sealed for.
const IDENTIFIERS: &str = "kept:identifiers";

/// How a running process stands to the peppers that the database knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The database is used with this pepper, which is not here.
    pub missing: Option<u16>,
    /// What this process makes is hashed under a pepper that is being retired: nobody will take it.
    pub must_stop: bool,
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
    pub fn open(
        source: &PepperSource,
        known: &[KnownPepper],
        entropy: &Entropy,
        now: Timestamp,
    ) -> Result<Self, SecretsError> {
        let ring = Ring::new(pepper::open(source, known, entropy)?);
        let first = known.iter().map(|pepper| pepper.id).min();
        ring.set_first(first.map_or(ring.first(), |first| first.min(ring.first())));
        make_with_newest(&ring, known, now);
        Ok(Self(Arc::new(Inner { peppers: ring, entropy: entropy.clone() })))
    }

    /// Secrets for tests: one pepper made from `entropy`, kept nowhere.
    #[must_use]
    pub fn ephemeral(entropy: &Entropy) -> Self {
        let peppers = Ring::new(vec![Pepper::new(1, &entropy.bytes::<{ pepper::PEPPER_BYTES }>())]);
        Self(Arc::new(Inner { peppers, entropy: entropy.clone() }))
    }

    /// Goes after what the database knows now: takes in what is new in the source, makes hashes with the newest one
    /// whose time has come, and lets go of what is retired.
    ///
    /// # Errors
    /// When the source cannot be read, or has another pepper under the same id.
    pub fn follow(
        &self,
        source: &PepperSource,
        known: &[KnownPepper],
        now: Timestamp,
    ) -> Result<Followed, SecretsError> {
        let ring = &self.0.peppers;
        let mut followed = Followed::default();
        for pepper in known {
            if pepper.retired_at.is_none() && !ring.has(pepper.id) {
                let taken = pepper::find(source, pepper)?.is_some_and(|found| ring.push(found));
                followed.missing = followed.missing.or((!taken).then_some(pepper.id));
            }
        }
        make_with_newest(ring, known, now);
        for pepper in known.iter().filter(|pepper| pepper.retired_at.is_some()) {
            ring.retire(pepper.id);
        }
        let ours = known.iter().find(|pepper| pepper.id == self.newest().id());
        followed.must_stop = ours.is_some_and(|ours| ours.retiring_at.is_some() || ours.retired_at.is_some());
        Ok(followed)
    }

    /// The peppers as the database shall know them.
    #[must_use]
    pub fn known_peppers(&self) -> Vec<KnownPepper> {
        let known = |pepper: &Pepper| KnownPepper {
            id: pepper.id(),
            check_value: pepper.check_value(),
            used_from: None,
            retiring_at: None,
            retired_at: None,
        };
        self.0.peppers.living().map(|held| known(&held.pepper)).collect()
    }

    /// The pepper that makes new hashes.
    #[must_use]
    pub fn newest_pepper(&self) -> u16 {
        self.newest().id()
    }

    /// Whether what was made under that pepper can be read here.
    #[must_use]
    pub fn has_pepper(&self, id: u16) -> bool {
        self.pepper(id).is_some()
    }

    /// The first pepper that the database was ever used with.
    #[must_use]
    pub fn first_pepper(&self) -> u16 {
        self.0.peppers.first()
    }

    /// The key that names users and sessions to clients, sealed under the newest pepper: so that it outlives the first one,
    /// which it was taken from.
    #[must_use]
    pub fn seal_identifiers(&self) -> String {
        self.seal(IDENTIFIERS, self.0.peppers.identifiers().bytes())
    }

    /// Takes that key in again. `false` when it cannot be opened.
    #[must_use]
    pub fn open_identifiers(&self, sealed: &str) -> bool {
        let opened = self.unseal(IDENTIFIERS, sealed);
        let Some(bytes) = opened.as_ref().and_then(|bytes| bytes.expose().as_slice().try_into().ok()) else {
            return false;
        };
        self.0.peppers.set_identifiers(Pepper::new(self.first_pepper(), bytes));
        true
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
        self.0.peppers.living().fold(false, |found, held| found | right(&held.pepper))
    }

    /// A blind index: finds equal values without holding them. Base64url. What clients keep is made with the first pepper
    /// that there ever was and stays the same; failed sign-ins are forgotten soon.
    #[must_use]
    pub fn blind_index(&self, purpose: Purpose, value: &str) -> String {
        let pepper = if purpose == Purpose::AttemptIndex { self.newest() } else { self.0.peppers.identifiers() };
        URL_SAFE_NO_PAD.encode(pepper.hmac(purpose.label(), value.as_bytes()))
    }

    /// Where a user name may be found: an index for each pepper, the oldest first.
    #[must_use]
    pub fn username_indexes(&self, name: &str) -> Vec<(u16, String)> {
        self.0.peppers.living().map(|held| (held.pepper.id(), self.username_index(&held.pepper, name))).collect()
    }

    /// Those of the first pepper do not name it: they are older than rotation.
    fn username_index(&self, pepper: &Pepper, name: &str) -> String {
        let index = URL_SAFE_NO_PAD.encode(pepper.hmac(Purpose::UsernameIndex.label(), name.as_bytes()));
        if pepper.id() == self.first_pepper() { index } else { format!("{}.{index}", pepper.id()) }
    }

    /// Seals `plaintext` with the newest vault key, bound to `context` (what it is and whose). Text.
    #[must_use]
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> String {
        let newest = self.0.peppers.newest();
        format!("{}.{}", newest.pepper.id(), newest.vault_key.seal(context, plaintext, &self.0.entropy))
    }

    /// Opens what [`Self::seal`] made for the same `context`; `None` when it was damaged, moved or made with an unknown
    /// pepper.
    #[must_use]
    pub fn unseal(&self, context: &str, sealed: &str) -> Option<Secret<Vec<u8>>> {
        let (id, sealed) = sealed.split_once('.')?;
        let held = self.0.peppers.find(id.parse().ok()?)?;
        held.vault_key.open(context, sealed)
    }

    /// The same sealed under the newest pepper; `None` as with [`Self::unseal`].
    #[must_use]
    pub fn reseal(&self, context: &str, sealed: &str) -> Option<String> {
        self.unseal(context, sealed).map(|opened| self.seal(context, opened.expose()))
    }

    /// Where randomness comes from.
    #[must_use]
    pub fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    fn newest(&self) -> &Pepper {
        &self.0.peppers.newest().pepper
    }

    fn pepper(&self, id: u16) -> Option<&Pepper> {
        self.0.peppers.find(id).map(|held| &held.pepper)
    }
}

/// Before the first start the database knows none, and the newest one is used.
fn make_with_newest(ring: &Ring, known: &[KnownPepper], now: Timestamp) {
    let used = known.iter().filter(|pepper| pepper.is_used(now) && ring.has(pepper.id)).map(|pepper| pepper.id).max();
    if let Some(id) = used {
        ring.make_with(id);
    } else if let (Some(oldest), false) = (ring.living().next(), known.is_empty()) {
        ring.make_with(oldest.pepper.id());
    }
}
