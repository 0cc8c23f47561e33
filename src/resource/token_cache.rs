//! What a resource server remembers of tokens it asked about: bounded in number, in age, and by each token's own end.

use std::time::Duration;

use aws_lc_rs::digest;
use grantlog_domain::Timestamp;
use moka::sync::Cache;

use super::Authorized;
use crate::clock::Clock;

/// A token as the cache knows it: its SHA-256, so that a memory dump holds none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn of(token: &str) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(key)
    }
}

/// Answers about tokens, active or not.
pub(super) struct TokenCache {
    answers: Cache<Key, Answer>,
    max_age: Duration,
    clock: Clock,
}

#[derive(Clone)]
struct Answer {
    authorized: Option<Authorized>,
    /// When the question was sent, in Unix milliseconds: the answer may be as old as that.
    asked_at: i64,
}

impl TokenCache {
    /// Remembers at most `entries_max` answers for at most `max_age`; zero remembers nothing.
    pub(super) fn new(entries_max: u64, max_age: Duration, clock: Clock) -> Self {
        Self { answers: Cache::builder().max_capacity(entries_max).build(), max_age, clock }
    }

    /// The time to hand to [`TokenCache::put`], taken before the question is sent.
    pub(super) fn now_millis(&self) -> i64 {
        self.clock.now_millis()
    }

    /// What is remembered: `None` when nothing is, `Some(None)` that the token is not active.
    pub(super) fn get(&self, key: &Key) -> Option<Option<Authorized>> {
        let answer = self.answers.get(key)?;
        if answer.is_good(self.clock.now_millis(), self.max_age) {
            return Some(answer.authorized);
        }
        self.answers.invalidate(key);
        None
    }

    pub(super) fn put(&self, key: Key, authorized: Option<Authorized>, asked_at: i64) {
        if !self.max_age.is_zero() {
            self.answers.insert(key, Answer { authorized, asked_at });
        }
    }

    /// Whether a token has ended by now, whatever anybody says of it.
    pub(super) fn has_ended(&self, expires_at: Option<Timestamp>) -> bool {
        expires_at.is_some_and(|end| self.clock.now() >= end)
    }
}

impl Answer {
    fn is_good(&self, now_millis: i64, max_age: Duration) -> bool {
        let age = now_millis.saturating_sub(self.asked_at);
        let ended = self.authorized.as_ref().and_then(|authorized| authorized.expires_at);
        let young = u128::try_from(age).is_ok_and(|age| age < max_age.as_millis());
        young && ended.is_none_or(|end| now_millis < end.0.saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grantlog_domain::Scope;

    const START: Timestamp = Timestamp(1_000);

    fn authorized(expires_at: Option<i64>) -> Option<Authorized> {
        Some(Authorized {
            client_id: "c".into(),
            sub: "u".into(),
            username: None,
            scope: Scope::default(),
            expires_at: expires_at.map(Timestamp),
        })
    }

    fn cache(max_age_seconds: u64) -> (TokenCache, Clock) {
        let clock = Clock::manual(START);
        (TokenCache::new(100, Duration::from_secs(max_age_seconds), clock.clone()), clock)
    }

    #[test]
    fn an_answer_is_used_until_its_age_is_reached() {
        let (cache, clock) = cache(10);
        let key = Key::of("token");
        assert_eq!(cache.get(&key), None);
        cache.put(key, authorized(None), cache.now_millis());
        clock.advance(Duration::from_millis(9_999));
        assert_eq!(cache.get(&key), Some(authorized(None)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn an_answer_never_outlives_its_token() {
        let (cache, clock) = cache(60);
        let key = Key::of("token");
        cache.put(key, authorized(Some(START.0 + 5)), cache.now_millis());
        clock.advance(Duration::from_millis(4_999));
        assert!(cache.get(&key).is_some());
        clock.advance(Duration::from_millis(1));
        assert_eq!(cache.get(&key), None);
        assert!(cache.has_ended(Some(START.plus_seconds(5))));
    }

    #[test]
    fn the_age_counts_from_the_question_and_not_from_the_answer() {
        let (cache, clock) = cache(10);
        let (key, asked_at) = (Key::of("token"), cache.now_millis());
        clock.advance(Duration::from_secs(8));
        cache.put(key, authorized(None), asked_at);
        clock.advance(Duration::from_secs(2));
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn that_a_token_is_not_active_is_remembered_too() {
        let (cache, clock) = cache(10);
        let key = Key::of("token");
        cache.put(key, None, cache.now_millis());
        assert_eq!(cache.get(&key), Some(None));
        clock.advance(Duration::from_secs(10));
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn with_no_age_allowed_nothing_is_remembered() {
        let (cache, _clock) = cache(0);
        let key = Key::of("token");
        cache.put(key, authorized(None), cache.now_millis());
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn the_number_of_answers_is_bounded() {
        let clock = Clock::manual(START);
        let cache = TokenCache::new(10, Duration::from_secs(60), clock);
        for number in 0..1000 {
            cache.put(Key::of(&number.to_string()), None, cache.now_millis());
        }
        cache.answers.run_pending_tasks();
        assert!(cache.answers.entry_count() <= 10);
    }
}
