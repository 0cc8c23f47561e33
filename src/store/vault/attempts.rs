//! Failed sign-ins, counted by account and by source. Only failures count: any number of right passwords at the same
//! time is nobody's attack. Guesses made at the same time gain nothing, because a lock is looked at again when the
//! password was verified: what comes out right behind a lock is refused too.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grantlog_domain::ClientId;
use grantlog_projections::db::{Tx, Value};

use super::{Vault, VaultError, known_as};
use crate::secrets::Purpose;
use crate::secrets::password::Origin;

/// The most rows that are kept of what is locked, and as many of what is not.
pub const ATTEMPT_ROWS_MAX: u32 = 100_000;
/// Failures of one account that are not slowed down yet; each further one doubles the pause, from one second.
const FREE_FAILURES: i64 = 3;
/// Failures between two times that old rows are looked for.
const FAILURES_BETWEEN_TIDYING: u64 = 64;

/// When sign-ins are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInLimits {
    /// Failures after which an account is locked.
    pub per_account: u32,
    /// Failures after which an address is locked.
    pub per_address: u32,
    /// Failures after which a client is locked.
    pub per_client: u32,
    /// How long a lock lasts, and how long failures are remembered.
    pub lock: Duration,
    /// [`ATTEMPT_ROWS_MAX`], or fewer in tests.
    pub rows: u32,
}

/// Where a password comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address, or the /64 of an IPv6 caller, who has all of it to choose from.
    Address(IpAddr),
    /// A client that asks for many people from an address of its own.
    Client(ClientId),
}

/// Whether a password may be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Allowed,
    /// Too many failures of the account; try again after this time. What is answered, and when, must not differ from a
    /// wrong password.
    AccountLocked {
        retry_after: Duration,
    },
    /// Too many failures from there, whatever the accounts: this may be said, and no password needs to be looked at.
    SourceLocked {
        retry_after: Duration,
    },
}

/// One of the two things that a failure is counted for.
struct Subject {
    kind: &'static str,
    /// Blind.
    index: String,
    limit: i64,
}

impl Vault {
    /// Whether a password may be tried for `username` from `source`. Writes nothing.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn sign_in_allowed(&self, username: &str, source: Source) -> Result<Attempt, VaultError> {
        Ok(self.attempts(username, source).await?.0)
    }

    /// Counts a failure, which slows down or locks. What is locked is not counted, so that a lock ends.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn sign_in_failed(&self, username: &str, source: Source) -> Result<(), VaultError> {
        let now = self.0.clock.now().0;
        let lock = self.lock_seconds();
        let mut tx = self.0.db.begin().await?;
        // Always in this order, so that two of them cannot wait for each other.
        for subject in [self.account(username), self.source(source)] {
            let (failures, locked_until) = count(&mut tx, &subject, now, now.saturating_sub(lock)).await?;
            let pause = match failures {
                _ if locked_until > now => 0,
                _ if failures >= subject.limit => lock,
                _ if subject.kind == "account" && failures > FREE_FAILURES => 1_i64
                    .checked_shl(u32::try_from(failures - FREE_FAILURES - 1).unwrap_or(0))
                    .unwrap_or(lock)
                    .min(lock),
                _ => 0,
            };
            if pause > 0 {
                let until = Value::Int(now.saturating_add(pause));
                tx.execute(
                    "UPDATE sign_in_attempts SET locked_until = $1 WHERE kind = $2 AND subject = $3",
                    &[until, Value::from(subject.kind), Value::Text(subject.index)],
                )
                .await?;
            }
        }
        tx.commit().await?;
        if self.0.failures.fetch_add(1, Ordering::Relaxed).is_multiple_of(FAILURES_BETWEEN_TIDYING) {
            self.forget_attempts().await?;
        }
        Ok(())
    }

    /// The password was right. Locked when others failed while it was verified; otherwise the account starts anew.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn sign_in_succeeded(&self, username: &str, source: Source) -> Result<Attempt, VaultError> {
        let (attempt, failed) = self.attempts(username, source).await?;
        if attempt == Attempt::Allowed && failed {
            let sql = "DELETE FROM sign_in_attempts WHERE kind = 'account' AND subject = $1";
            self.0.db.execute(sql, &[Value::Text(self.account(username).index)]).await?;
        }
        Ok(attempt)
    }

    /// For whom a password of `username` from `source` is hashed.
    #[must_use]
    pub fn origin(&self, username: &str, source: Source) -> Origin {
        Origin { source: self.source(source).index, account: self.account(username).index }
    }

    /// Keeps the table small: what no longer counts goes, and when guessing fills it, the oldest of what is not locked.
    /// What is locked is bounded by itself, so that no flood of failures pushes a lock out: only that many locks that
    /// last longer would, and each of those takes as many failures as a lock takes.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub(super) async fn forget_attempts(&self) -> Result<(), VaultError> {
        let now = self.0.clock.now().0;
        let (db, before) = (&self.0.db, Value::Int(now.saturating_sub(self.lock_seconds())));
        db.execute("DELETE FROM sign_in_attempts WHERE last_at < $1 AND locked_until < $1", &[before]).await?;
        let bounds = [Value::Int(now), Value::Int(i64::from(self.0.limits.rows) - 1)];
        db.execute(
            "DELETE FROM sign_in_attempts WHERE locked_until <= $1 AND last_at < \
             (SELECT last_at FROM sign_in_attempts WHERE locked_until <= $1 ORDER BY last_at DESC LIMIT 1 OFFSET $2)",
            &bounds,
        )
        .await?;
        db.execute(
            "DELETE FROM sign_in_attempts WHERE locked_until > $1 AND locked_until < \
             (SELECT locked_until FROM sign_in_attempts WHERE locked_until > $1 \
              ORDER BY locked_until DESC LIMIT 1 OFFSET $2)",
            &bounds,
        )
        .await?;
        Ok(())
    }

    /// Whether a password may be tried, and whether the account has failures.
    async fn attempts(&self, username: &str, source: Source) -> Result<(Attempt, bool), VaultError> {
        let now = self.0.clock.now().0;
        let sql = "SELECT kind, locked_until FROM sign_in_attempts \
                   WHERE (kind = 'account' AND subject = $1) OR (kind = $2 AND subject = $3)";
        let (account, source) = (self.account(username), self.source(source));
        let subjects = [Value::Text(account.index), Value::from(source.kind), Value::Text(source.index)];
        let (mut attempt, mut failed) = (Attempt::Allowed, false);
        for row in self.0.db.fetch(sql, &subjects).await? {
            let of_account = row.str(0)? == account.kind;
            failed |= of_account;
            let Ok(seconds @ 1..) = u64::try_from(row.int(1)?.saturating_sub(now)) else { continue };
            let retry_after = Duration::from_secs(seconds);
            attempt = match (of_account, attempt) {
                (false, _) => Attempt::SourceLocked { retry_after },
                (true, Attempt::SourceLocked { .. }) => attempt,
                (true, _) => Attempt::AccountLocked { retry_after },
            };
        }
        Ok((attempt, failed))
    }

    fn lock_seconds(&self) -> i64 {
        i64::try_from(self.0.limits.lock.as_secs()).unwrap_or(i64::MAX)
    }

    fn account(&self, username: &str) -> Subject {
        self.subject("account", &known_as::counted(username), self.0.limits.per_account)
    }

    fn source(&self, source: Source) -> Subject {
        match source {
            Source::Address(address) => self.subject("address", &address.to_string(), self.0.limits.per_address),
            Source::Client(client) => self.subject("client", &client.to_string(), self.0.limits.per_client),
        }
    }

    fn subject(&self, kind: &'static str, name: &str, limit: u32) -> Subject {
        let index = self.0.secrets.blind_index(Purpose::AttemptIndex, &format!("{kind}:{name}"));
        Subject { kind, index, limit: i64::from(limit) }
    }
}

/// Counts one more unless it is locked. Answers failures and the end of the lock.
async fn count(tx: &mut Tx, subject: &Subject, now: i64, since: i64) -> Result<(i64, i64), VaultError> {
    let rows = tx
        .fetch(
            "INSERT INTO sign_in_attempts (kind, subject, failures, last_at, locked_until) VALUES ($1, $2, 1, $3, 0) \
             ON CONFLICT (kind, subject) DO UPDATE SET \
                 failures = CASE WHEN sign_in_attempts.locked_until > $3 THEN sign_in_attempts.failures \
                                 WHEN sign_in_attempts.last_at < $4 THEN 1 \
                                 ELSE sign_in_attempts.failures + 1 END, \
                 last_at = CASE WHEN sign_in_attempts.locked_until > $3 THEN sign_in_attempts.last_at ELSE $3 END \
             RETURNING failures, locked_until",
            &[Value::from(subject.kind), Value::from(subject.index.as_str()), Value::Int(now), Value::Int(since)],
        )
        .await?;
    match rows.first() {
        Some(row) => Ok((row.int(0)?, row.int(1)?)),
        None => Err(VaultError::Damaged { what: "count of sign-ins".to_owned() }),
    }
}
