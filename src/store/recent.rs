//! Aggregates as they were a moment ago, for those that are soon asked again: a code that went out is redeemed within
//! seconds, a refresh token is rotated. Saves reading their stream.
//!
//! What is remembered may be old: another node may have appended. So a decision on it counts only when it appends, since
//! then the primary key of the log decides. A refusal, or nothing to do, is decided anew on what the log says.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use grantlog_domain::grant::GrantEvent;
use grantlog_domain::{Event, Recorded};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::execute::Known;

/// Aggregates remembered at most; one has about 1 KiB.
const REMEMBERED_MAX: u64 = 16_384;
/// How long one is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

pub(super) struct Recent(Cache<(&'static str, String), Arc<dyn Any + Send + Sync>>);

impl Recent {
    pub(super) fn new() -> Self {
        // The newest is what is asked for next; moka's default would keep those that were asked for often.
        let cache = Cache::builder().eviction_policy(EvictionPolicy::lru());
        Self(cache.max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build())
    }

    /// Takes it out: who comes at the same time reads the log.
    pub(super) fn take<A: Aggregate + Clone + 'static>(&self, id: &str) -> Option<Known<A>> {
        let remembered = self.0.remove(&(A::TYPE, id.to_owned()))?;
        Some(Arc::unwrap_or_clone(remembered.downcast().ok()?))
    }

    /// Keeps `aggregate` as it is after `events`, if it will be asked again soon.
    pub(super) fn keep<A: Aggregate + Clone + 'static>(&self, id: &str, aggregate: &A, events: &[Recorded]) {
        let Some(last) = events.last().filter(|last| is_asked_again(&last.event)) else { return };
        let remembered = Known { aggregate: aggregate.clone(), sequence: last.sequence };
        self.0.insert((A::TYPE, id.to_owned()), Arc::new(remembered));
    }
}

/// A code or a refresh token went out.
const fn is_asked_again(event: &Event) -> bool {
    match event {
        Event::Grant(GrantEvent::CodeIssued(_) | GrantEvent::Refreshed(_)) => true,
        Event::Grant(GrantEvent::CodeRedeemed { refresh_token, .. }) => refresh_token.is_some(),
        Event::Grant(GrantEvent::Opened(opened)) => opened.refresh_token.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use grantlog_domain::grant::{AccessToken, Grant};
    use grantlog_domain::{Actor, EventMetadata, Scope, SecretHash, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn redeemed(id: &str) -> Recorded {
        let hash = SecretHash { pepper: 1, digest: [1; 32] };
        let access_token = AccessToken { hash, scope: Scope::default(), expires_at: Timestamp(60) };
        let event = GrantEvent::CodeRedeemed { access_token, refresh_token: Some(hash), at: Timestamp(0) };
        let (event_id, actor) = (Uuid::nil(), Actor::System);
        let metadata = EventMetadata { event_id, actor, request_id: None, correlation: None, source_address: None };
        let (aggregate_id, event) = (id.to_owned(), event.into());
        Recorded { aggregate_id, sequence: 2, event, metadata, txid: 0, position: 0, recorded_at: 0 }
    }

    #[test]
    fn where_there_is_no_more_room_the_newest_is_remembered() {
        let recent = Recent::new();
        let ids: Vec<String> = (0..REMEMBERED_MAX * 2).map(|number| number.to_string()).collect();
        for id in &ids {
            recent.keep(id, &Grant::default(), &[redeemed(id)]);
        }
        recent.0.run_pending_tasks();
        assert!(recent.take::<Grant>(&ids[0]).is_none());
        assert_eq!(recent.take::<Grant>(&ids[ids.len() - 1]).map(|known| known.sequence), Some(2));
    }
}
