//! Failed sign-ins, counted by account and by address. Only failures count: any number of right passwords at the same
//! time is nobody's attack. Guesses made at the same time gain nothing, because a lock is looked at again when the
//! password was verified: what comes out right behind a lock is refused too.

use std::time::Duration;

use grantlog_projections::db::{Tx, Value};

use super::{Vault, VaultError};
use crate::secrets::Purpose;

/// The most rows that are kept; beyond it the oldest go.
pub const ATTEMPT_ROWS_MAX: i64 = 100_000;
/// Failures of one account that are not slowed down yet; each further one doubles the pause, from one second.
const FREE_FAILURES: i64 = 3;

/// When sign-ins are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInLimits {
    /// Failures after which an account is locked.
    pub per_account: u32,
    /// Failures after which an address is locked.
    pub per_address: u32,
    /// How long a lock lasts, and how long failures are remembered.
    pub lock: Duration,
}

/// Whether a password may be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Allowed,
    /// Too many failures; try again after this time. The answer to the browser must not differ from a wrong password's.
    Locked {
        retry_after: Duration,
    },
}

impl Vault {
    /// Whether a password may be tried for `username` from `address`. Writes nothing.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn sign_in_allowed(&self, username: &str, address: &str) -> Result<Attempt, VaultError> {
        Ok(self.attempts(username, address).await?.0)
    }

    /// Counts a failure, which slows down or locks. While locked nothing is counted, so that a lock ends.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn sign_in_failed(&self, username: &str, address: &str) -> Result<(), VaultError> {
        let now = self.0.clock.now().0;
        let lock = i64::try_from(self.0.limits.lock.as_secs()).unwrap_or(i64::MAX);
        let (per_account, per_address) = (i64::from(self.0.limits.per_account), i64::from(self.0.limits.per_address));
        let mut tx = self.0.db.begin().await?;
        // Always in this order, so that two of them cannot wait for each other.
        for (kind, subject, limit) in
            [("account", self.account(username), per_account), ("address", self.address(address), per_address)]
        {
            let (failures, locked_until) = count(&mut tx, kind, &subject, now, now.saturating_sub(lock)).await?;
            let pause = match failures {
                _ if locked_until > now => 0,
                _ if failures >= limit => lock,
                _ if kind == "account" && failures > FREE_FAILURES => 1_i64
                    .checked_shl(u32::try_from(failures - FREE_FAILURES - 1).unwrap_or(0))
                    .unwrap_or(lock)
                    .min(lock),
                _ => 0,
            };
            if pause > 0 {
                let until = Value::Int(now.saturating_add(pause));
                tx.execute(
                    "UPDATE sign_in_attempts SET locked_until = $1 WHERE kind = $2 AND subject = $3",
                    &[until, Value::from(kind), Value::Text(subject)],
                )
                .await?;
            }
        }
        forget_old(&mut tx, now.saturating_sub(lock)).await?;
        Ok(tx.commit().await?)
    }

    /// The password was right. Locked when others failed while it was verified; otherwise the account starts anew.
    ///
    /// # Errors
    /// [`VaultError::Database`].
    pub async fn sign_in_succeeded(&self, username: &str, address: &str) -> Result<Attempt, VaultError> {
        let (attempt, failed) = self.attempts(username, address).await?;
        if attempt == Attempt::Allowed && failed {
            let sql = "DELETE FROM sign_in_attempts WHERE kind = 'account' AND subject = $1";
            self.0.db.execute(sql, &[Value::Text(self.account(username))]).await?;
        }
        Ok(attempt)
    }

    /// Whether a password may be tried, and whether the account has failures.
    async fn attempts(&self, username: &str, address: &str) -> Result<(Attempt, bool), VaultError> {
        let now = self.0.clock.now().0;
        let sql = "SELECT kind, locked_until FROM sign_in_attempts \
                   WHERE (kind = 'account' AND subject = $1) OR (kind = 'address' AND subject = $2)";
        let subjects = [Value::Text(self.account(username)), Value::Text(self.address(address))];
        let (mut longest, mut failed) = (0, false);
        for row in self.0.db.fetch(sql, &subjects).await? {
            failed |= row.str(0)? == "account";
            longest = longest.max(row.int(1)?.saturating_sub(now));
        }
        let attempt = match u64::try_from(longest) {
            Ok(seconds @ 1..) => Attempt::Locked { retry_after: Duration::from_secs(seconds) },
            _ => Attempt::Allowed,
        };
        Ok((attempt, failed))
    }

    fn account(&self, username: &str) -> String {
        self.0.secrets.blind_index(Purpose::AttemptIndex, &format!("account:{}", username.trim().to_lowercase()))
    }

    fn address(&self, address: &str) -> String {
        self.0.secrets.blind_index(Purpose::AttemptIndex, &format!("address:{address}"))
    }
}

/// Counts one more unless it is locked. Answers failures and the end of the lock.
async fn count(tx: &mut Tx, kind: &str, subject: &str, now: i64, since: i64) -> Result<(i64, i64), VaultError> {
    let rows = tx
        .fetch(
            "INSERT INTO sign_in_attempts (kind, subject, failures, last_at, locked_until) VALUES ($1, $2, 1, $3, 0) \
             ON CONFLICT (kind, subject) DO UPDATE SET \
                 failures = CASE WHEN sign_in_attempts.locked_until > $3 THEN sign_in_attempts.failures \
                                 WHEN sign_in_attempts.last_at < $4 THEN 1 \
                                 ELSE sign_in_attempts.failures + 1 END, \
                 last_at = CASE WHEN sign_in_attempts.locked_until > $3 THEN sign_in_attempts.last_at ELSE $3 END \
             RETURNING failures, locked_until",
            &[Value::from(kind), Value::from(subject), Value::Int(now), Value::Int(since)],
        )
        .await?;
    match rows.first() {
        Some(row) => Ok((row.int(0)?, row.int(1)?)),
        None => Err(VaultError::Damaged { what: "count of sign-ins".to_owned() }),
    }
}

/// Keeps the table small: what no longer counts goes, and when guessing fills it, the oldest.
async fn forget_old(tx: &mut Tx, before: i64) -> Result<(), VaultError> {
    tx.execute("DELETE FROM sign_in_attempts WHERE last_at < $1 AND locked_until < $1", &[Value::Int(before)]).await?;
    tx.execute(
        "DELETE FROM sign_in_attempts WHERE last_at < \
         (SELECT last_at FROM sign_in_attempts ORDER BY last_at DESC LIMIT 1 OFFSET $1)",
        &[Value::Int(ATTEMPT_ROWS_MAX)],
    )
    .await?;
    Ok(())
}
