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
use moka::sync::Cache;

use super::execute::Known;

/// Aggregates remembered at most; one has about 1 KiB.
const REMEMBERED_MAX: u64 = 16_384;
/// How long one is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

pub(super) struct Recent(Cache<(&'static str, String), Arc<dyn Any + Send + Sync>>);

impl Recent {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build())
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
