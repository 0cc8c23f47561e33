//! Passwords: Argon2id (RFC 9106), on a bounded number of threads of low priority, so that hashing never starves input and
//! output. Who waits for a thread is served in turns (`queue`), so that nobody keeps the others from signing in.

mod opaque;
mod priority;
mod queue;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHasher as _, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::opaque::check_new;
use self::opaque::opaque;
use self::priority::yield_to_others;
use self::queue::Bounds;
pub use self::queue::Origin;
use self::turns::Turns;
use super::Secret;
use crate::entropy::Entropy;

/// The longest password that is hashed, in bytes; a longer one is refused.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Fewest characters of a new password, wherever it is set: what NIST SP 800-63B-3 5.1.1.2 demands. Revision 4 (3.1.1.2)
/// demands 15 where nothing beside the password is asked; what makes up for it here is that guessing locks.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
const SALT_BYTES: usize = 16;

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordSettings {
    /// Memory of one hash, in KiB; default 19456, at least 8 for each lane.
    pub memory_kib: u32,
    /// Passes over that memory; default 2.
    pub iterations: u32,
    /// Lanes; default 1.
    pub parallelism: u32,
    /// Hashes at the same time; default 1 less than the processors, at least 1.
    pub threads: usize,
    /// Hashes waiting for a thread; default 256. One more takes the place of whoever has the most there, or is refused as
    /// busy.
    pub waiting_max: usize,
    /// Those of one source; default 64.
    pub waiting_of_source_max: usize,
    /// Those of one account; default 16.
    pub waiting_of_account_max: usize,
}

impl Default for PasswordSettings {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            memory_kib: Params::DEFAULT_M_COST,
            iterations: Params::DEFAULT_T_COST,
            parallelism: Params::DEFAULT_P_COST,
            threads: processors.saturating_sub(1).max(1),
            waiting_max: 256,
            waiting_of_source_max: 64,
            waiting_of_account_max: 16,
        }
    }
}

/// Why a password could not be hashed or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password settings are out of range: at least 8 KiB a lane, 1 iteration, 1 lane")]
    Settings,
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    #[error("a password has at least {PASSWORD_CHARACTERS_MIN} characters")]
    TooShort,
    #[error("a password has no control characters, no byte order mark, and nothing else that is not seen")]
    NotTyped,
    #[error("too many passwords are being verified")]
    Busy,
    #[error("too many passwords from there or of this account are waiting to be verified")]
    TooMany,
    #[error("a stored password hash cannot be read")]
    Damaged,
}

/// The outcome of a verification.
#[derive(Debug)]
pub enum Verified {
    /// The password is wrong, or there is none to compare with.
    No,
    /// The password is right. `rehashed` holds a new hash when the stored one was made with other settings.
    Yes { rehashed: Option<Secret<String>> },
}

/// Hashes and verifies. Clones share the threads.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    argon2: Argon2<'static>,
    turns: Turns,
    /// Verified when there is no such user, so that the answer takes the same time.
    dummy: Secret<String>,
    /// Memory of verifications that are done, for the next ones: at most as many as threads. Given back to the allocator
    /// it would stay with whichever thread had it, and add up.
    memory: Mutex<Vec<Vec<Block>>>,
    entropy: Entropy,
}

impl Inner {
    /// Whether `password` gives the hash of `against`, which is one that [`hash`] made with these or other settings.
    fn is_right(&self, password: &[u8], against: &PasswordHash) -> Result<bool, PasswordError> {
        let made_here = against.algorithm == ARGON2ID_IDENT && against.version == Some(Version::V0x13 as u32);
        let (Some(salt), Some(expected), true) = (&against.salt, &against.hash, made_here) else {
            return Err(PasswordError::Damaged);
        };
        let params = Params::try_from(against).map_err(|_| PasswordError::Damaged)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut memory = self.memory.lock().pop().unwrap_or_default();
        memory.resize(argon2.params().block_count(), Block::new());
        let mut found = vec![0; expected.as_bytes().len()];
        let done = argon2.hash_password_into_with_memory(password, salt, &mut found, &mut memory);
        self.memory.lock().push(memory);
        done.map_err(|_| PasswordError::Damaged)?;
        Ok(verify_slices_are_equal(&found, expected.as_bytes()).is_ok())
    }
}

impl Passwords {
    /// Makes one hash, so it takes as long as that.
    ///
    /// # Errors
    /// [`PasswordError::Settings`] when they are out of range.
    pub fn new(settings: PasswordSettings, entropy: &Entropy) -> Result<Self, PasswordError> {
        let params = Params::new(settings.memory_kib, settings.iterations, settings.parallelism, None)
            .map_err(|_| PasswordError::Settings)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hash(&argon2, &entropy.bytes::<16>(), &entropy.bytes())?;
        let bounds = Bounds {
            in_all: settings.waiting_max,
            of_source: settings.waiting_of_source_max,
            of_account: settings.waiting_of_account_max,
        };
        Ok(Self(Arc::new(Inner {
            argon2,
            turns: Turns::new(settings.threads.max(1), bounds),
            dummy,
            memory: Mutex::default(),
            entropy: entropy.clone(),
        })))
    }

    /// The hash to keep of `password`: a PHC string.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`], [`PasswordError::Busy`], [`PasswordError::TooMany`].
    pub async fn hash(&self, password: Secret<String>, origin: Origin) -> Result<Secret<String>, PasswordError> {
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        let salt = self.0.entropy.bytes::<SALT_BYTES>();
        self.on_thread(origin, move |inner| hash(&inner.argon2, opaque(password.expose()).as_bytes(), &salt)).await
    }

    /// Whether `password` is that of `stored`. With `stored` absent it takes the same time and the answer is no.
    ///
    /// # Errors
    /// [`PasswordError::Busy`]; [`PasswordError::TooMany`]; [`PasswordError::Damaged`] when `stored` is not a hash.
    pub async fn verify(
        &self,
        password: Secret<String>,
        stored: Option<Secret<String>>,
        origin: Origin,
    ) -> Result<Verified, PasswordError> {
        // Too long for a password, so it cannot be right; cut, so that it costs what others cost.
        let fits = password.expose().len() <= PASSWORD_BYTES_MAX;
        let salt = self.0.entropy.bytes::<SALT_BYTES>();
        self.on_thread(origin, move |inner| {
            let typed = cut(password.expose().as_bytes());
            let one = opaque(password.expose());
            let bytes = cut(one.as_bytes());
            let against = stored.as_ref().unwrap_or(&inner.dummy).expose();
            let against =
                PasswordHash::new(against).ok().filter(|hash| hash.hash.is_some()).ok_or(PasswordError::Damaged)?;
            let mut right = inner.is_right(bytes, &against)?;
            // Hashes of before were made of what was typed.
            let of_before = !right && bytes != typed && inner.is_right(typed, &against)?;
            right |= of_before;
            if !right || !fits || stored.is_none() {
                return Ok(Verified::No);
            }
            let same = Params::try_from(&against).is_ok_and(|params| same_cost(&params, inner.argon2.params()));
            let rehashed = if same && !of_before { None } else { Some(hash(&inner.argon2, bytes, &salt)?) };
            Ok(Verified::Yes { rehashed })
        })
        .await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        origin: Origin,
        work: impl FnOnce(&Inner) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = self.0.turns.take(origin).await?;
        let inner = Arc::clone(&self.0);
        let (answer, done) = oneshot::channel();
        let hashing = move || {
            yield_to_others();
            let done = work(&inner);
            // Given on by the thread, not by the caller: a caller who goes away does not free a thread that still works.
            // And before the answer, so that whoever has it and asks again is not kept out by themselves.
            drop(turn);
            let _ = answer.send(done);
        };
        // A thread of its own costs a thousandth of a hash, and takes its priority with it when it ends.
        std::thread::Builder::new().name("password".to_owned()).spawn(hashing).map_err(|_| PasswordError::Busy)?;
        // The work does not panic.
        done.await.map_err(|_| PasswordError::Busy)?
    }

    /// A turn that somebody else has; meanwhile nothing is hashed on that thread.
    #[cfg(test)]
    pub(crate) async fn hold(&self) -> turns::Turn {
        self.0.turns.take(Origin::default()).await.expect("a turn")
    }
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(PASSWORD_BYTES_MAX)]
}

fn hash(argon2: &Argon2<'_>, password: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Secret<String>, PasswordError> {
    let hash = argon2.hash_password_with_salt(password, salt).map_err(|_| PasswordError::Settings)?;
    Ok(Secret::new(hash.to_string()))
}

fn same_cost(one: &Params, other: &Params) -> bool {
    (one.m_cost(), one.t_cost(), one.p_cost()) == (other.m_cost(), other.t_cost(), other.p_cost())
}
