//! The same answers from the log itself: a model of a few streams, as they are at this moment. Asked by a node whose
//! models are not up to date. The fold is the same, so the answers are too.

use grantlog_domain::client::ClientEvent;
use grantlog_domain::grant::GrantEvent;
use grantlog_domain::{ClientId, Event, GrantId, SessionId, UserId};

use super::Live;
use crate::db::DbError;
use crate::feed::{Stored, stream};
use crate::log::Log;

impl Live {
    /// A model of this client, and of the user who owns it.
    ///
    /// # Errors
    /// When the stream cannot be read, or holds an event that this version does not know. As for the others here.
    pub async fn of_client(log: &Log, id: ClientId) -> Result<Self, DbError> {
        let live = Self::new();
        live.take_in_client(log, id).await?;
        Ok(live)
    }

    /// A model of this user only.
    pub async fn of_user(log: &Log, id: UserId) -> Result<Self, DbError> {
        let live = Self::new();
        live.take_in_stream(log, "user", &id.to_string()).await?;
        Ok(live)
    }

    /// A model of this session only.
    pub async fn of_session(log: &Log, id: SessionId) -> Result<Self, DbError> {
        let live = Self::new();
        live.take_in_stream(log, "session", &id.to_string()).await?;
        Ok(live)
    }

    /// A model of this grant, its client and its user.
    pub async fn of_grant(log: &Log, id: GrantId) -> Result<Self, DbError> {
        let live = Self::new();
        let events = live.take_in_stream(log, "grant", &id.to_string()).await?;
        let parties = events.iter().find_map(|event| match event {
            Event::Grant(GrantEvent::CodeIssued(issued)) => Some((issued.client_id, Some(issued.user_id))),
            Event::Grant(GrantEvent::IdTokenIssued(issued)) => Some((issued.client_id, Some(issued.user_id))),
            Event::Grant(GrantEvent::Opened(opened)) => Some((opened.client_id, opened.user_id)),
            _ => None,
        });
        // After the grant: what ended before the question was asked is seen in each of them.
        if let Some((client_id, user_id)) = parties {
            live.take_in_client(log, client_id).await?;
            if let Some(user_id) = user_id {
                live.take_in_stream(log, "user", &user_id.to_string()).await?;
            }
        }
        Ok(live)
    }

    /// A model of the signing keys only.
    pub async fn of_keys(log: &Log) -> Result<Self, DbError> {
        let live = Self::new();
        for stored in stream::of_type(log, "signing_key").await? {
            live.take_in_one(&stored)?;
        }
        Ok(live)
    }

    /// The client's stream, and then that of the user who owns it, whose end is the client's too.
    async fn take_in_client(&self, log: &Log, id: ClientId) -> Result<(), DbError> {
        let events = self.take_in_stream(log, "client", &id.to_string()).await?;
        let owner = events.iter().find_map(|event| match event {
            Event::Client(ClientEvent::Registered { owner, .. }) => *owner,
            _ => None,
        });
        if let Some(owner) = owner {
            self.take_in_stream(log, "user", &owner.to_string()).await?;
        }
        Ok(())
    }

    async fn take_in_stream(&self, log: &Log, aggregate_type: &str, id: &str) -> Result<Vec<Event>, DbError> {
        let stored = stream::whole(log, aggregate_type, id).await?;
        stored.iter().try_for_each(|stored| self.take_in_one(stored))?;
        Ok(stored.into_iter().filter_map(|stored| stored.event.ok()).map(|recorded| recorded.event).collect())
    }

    fn take_in_one(&self, stored: &Stored) -> Result<(), DbError> {
        self.take_in(stored).map_err(|unknown| DbError::Malformed(unknown.to_string()))
    }
}
