//! Passwords: Argon2id (RFC 9106), on a bounded number of threads of low priority, so that hashing never starves input and
//! output.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHasher as _, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

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
    /// Hashes waiting for a thread; default 256. One more is refused as busy.
    pub waiting_max: usize,
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
    #[error("too many passwords are being verified")]
    Busy,
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
    threads: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
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
        let threads = settings.threads.max(1);
        Ok(Self(Arc::new(Inner {
            argon2,
            threads: Arc::new(Semaphore::new(threads)),
            waiting: Arc::new(Semaphore::new(threads + settings.waiting_max)),
            dummy,
            memory: Mutex::default(),
            entropy: entropy.clone(),
        })))
    }

    /// The hash to keep of `password`: a PHC string.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`], [`PasswordError::Busy`].
    pub async fn hash(&self, password: Secret<String>) -> Result<Secret<String>, PasswordError> {
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        let salt = self.0.entropy.bytes::<SALT_BYTES>();
        self.on_thread(move |inner| hash(&inner.argon2, password.expose().as_bytes(), &salt)).await
    }

    /// Whether `password` is that of `stored`. With `stored` absent it takes the same time and the answer is no.
    ///
    /// # Errors
    /// [`PasswordError::Busy`]; [`PasswordError::Damaged`] when `stored` is not a hash.
    pub async fn verify(
        &self,
        password: Secret<String>,
        stored: Option<Secret<String>>,
    ) -> Result<Verified, PasswordError> {
        // Too long for a password, so it cannot be right; cut, so that it costs what others cost.
        let fits = password.expose().len() <= PASSWORD_BYTES_MAX;
        let salt = self.0.entropy.bytes::<SALT_BYTES>();
        self.on_thread(move |inner| {
            let bytes = password.expose().as_bytes();
            let bytes = &bytes[..bytes.len().min(PASSWORD_BYTES_MAX)];
            let against = stored.as_ref().unwrap_or(&inner.dummy).expose();
            let against =
                PasswordHash::new(against).ok().filter(|hash| hash.hash.is_some()).ok_or(PasswordError::Damaged)?;
            let right = inner.is_right(bytes, &against)?;
            if !right || !fits || stored.is_none() {
                return Ok(Verified::No);
            }
            let same = Params::try_from(&against).is_ok_and(|params| same_cost(&params, inner.argon2.params()));
            let rehashed = if same { None } else { Some(hash(&inner.argon2, bytes, &salt)?) };
            Ok(Verified::Yes { rehashed })
        })
        .await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let waiting = Arc::clone(&self.0.waiting).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let thread = Arc::clone(&self.0.threads).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let inner = Arc::clone(&self.0);
        let (answer, done) = oneshot::channel();
        let hashing = move || {
            // Held by the thread, not by the caller: a caller who goes away does not free a thread that still works.
            let _permits = (waiting, thread);
            yield_to_others();
            let _ = answer.send(work(&inner));
        };
        // A thread of its own costs a thousandth of a hash, and takes its priority with it when it ends.
        std::thread::Builder::new().name("password".to_owned()).spawn(hashing).map_err(|_| PasswordError::Busy)?;
        // The work does not panic.
        done.await.map_err(|_| PasswordError::Busy)?
    }
}

/// Gives this thread the lowest priority: a hash takes a processor for many milliseconds, and a request that is answered in
/// some microseconds would wait for it. With all processors busy it still gets what others leave.
///
/// Also the longest time slice: whoever wakes up with a shorter one may have the processor at once (Linux 6.12 and later;
/// before, the slice is passed over). See `docs/performance.md` for what it gives.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library offers sched_setattr(2)")]
fn yield_to_others() {
    const LOWEST: i32 = 19;
    const LONGEST: std::time::Duration = std::time::Duration::from_millis(100);
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: LOWEST,
        sched_priority: 0,
        sched_runtime: LONGEST.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a struct that outlives the call and writes nothing. 0 is the calling thread.
    let refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } != 0;
    if refused {
        // Lowering is always allowed; if not, it is only slower for others.
        let _ = rustix::process::setpriority_process(None, LOWEST);
    }
}

/// Elsewhere that would be the priority of the process.
#[cfg(not(target_os = "linux"))]
const fn yield_to_others() {}

fn hash(argon2: &Argon2<'_>, password: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Secret<String>, PasswordError> {
    let hash = argon2.hash_password_with_salt(password, salt).map_err(|_| PasswordError::Settings)?;
    Ok(Secret::new(hash.to_string()))
}

fn same_cost(one: &Params, other: &Params) -> bool {
    (one.m_cost(), one.t_cost(), one.p_cost()) == (other.m_cost(), other.t_cost(), other.p_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As cheap as Argon2 allows: the tests are about the rules around it.
    fn settings() -> PasswordSettings {
        PasswordSettings { memory_kib: 8, iterations: 1, parallelism: 1, threads: 1, waiting_max: 4 }
    }

    fn passwords(settings: PasswordSettings) -> Passwords {
        Passwords::new(settings, &Entropy::seeded(5)).expect("in range")
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_is_verified() {
        let passwords = passwords(settings());
        let stored = passwords.hash(secret("right")).await.expect("hashed");
        assert!(stored.expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        let verify = |password, stored| passwords.verify(secret(password), stored);
        assert!(matches!(verify("right", Some(stored.clone())).await, Ok(Verified::Yes { rehashed: None })));
        assert!(matches!(verify("wrong", Some(stored.clone())).await, Ok(Verified::No)));
        // In memory that another verification has used.
        assert!(matches!(verify("right", Some(stored.clone())).await, Ok(Verified::Yes { rehashed: None })));
        assert!(matches!(verify("right", None).await, Ok(Verified::No)));
        assert!(matches!(verify("right", Some(secret("$nonsense"))).await, Err(PasswordError::Damaged)));
    }

    #[tokio::test]
    async fn a_hash_of_other_settings_is_verified_and_made_anew() {
        let stored = passwords(settings()).hash(secret("right")).await.expect("hashed");
        let passwords = passwords(PasswordSettings { iterations: 2, ..settings() });
        let verified = passwords.verify(secret("right"), Some(stored)).await;
        let Ok(Verified::Yes { rehashed: Some(rehashed) }) = verified else { panic!("{verified:?}") };
        assert!(rehashed.expose().contains(",t=2,"));
        assert!(matches!(
            passwords.verify(secret("right"), Some(rehashed)).await,
            Ok(Verified::Yes { rehashed: None })
        ));
    }

    #[tokio::test]
    async fn too_long_is_refused_and_never_verified() {
        let passwords = passwords(settings());
        let long = "x".repeat(PASSWORD_BYTES_MAX);
        let stored = passwords.hash(secret(&long)).await.expect("hashed");
        let longer = format!("{long}x");
        assert_eq!(passwords.hash(secret(&longer)).await.err(), Some(PasswordError::TooLong));
        assert!(matches!(passwords.verify(secret(&longer), Some(stored)).await, Ok(Verified::No)));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_busy() {
        let passwords = passwords(PasswordSettings { waiting_max: 0, ..settings() });
        let _held = Arc::clone(&passwords.0.threads).acquire_owned().await;
        let waits = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.hash(secret("first")).await.is_ok() }
        });
        while passwords.0.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.hash(secret("second")).await.err(), Some(PasswordError::Busy));
        drop(_held);
        assert!(waits.await.expect("no panic"));
    }

    /// proc_pid_stat(5): field 19 is the nice value, 41 the policy; the name of the thread is in parentheses.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_hash_has_a_thread_of_the_lowest_priority() {
        let stat = || std::fs::read_to_string("/proc/thread-self/stat").expect("proc is mounted");
        let fields = |stat: &str| {
            let (_, fields) = stat.rsplit_once(") ").expect("a name");
            let fields: Vec<String> = fields.split_whitespace().map(str::to_owned).collect();
            (fields[19 - 3].clone(), fields[41 - 3].clone())
        };
        let before = fields(&stat());
        let hashing = passwords(settings()).on_thread(move |_| Ok(stat())).await.expect("hashed");
        assert_eq!(fields(&hashing), ("19".to_owned(), libc::SCHED_BATCH.to_string()));
        assert_eq!(fields(&stat()), before, "of that thread alone");
    }
}
