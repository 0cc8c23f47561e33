//! Back-channel logout: OpenID Connect Back-Channel Logout 1.0. Clients that took part in a session are told when it ends.
//!
//! The end of a session is an event, whoever brought it about; who took part follows from the log too
//! (`tables/participants`). Every node looks at both and writes down who must be told (`outbox`), in one transaction with
//! how far it has looked; whatever it does after that may be cut off at any point. A delivery is taken for a while, so one
//! node sends it, and the next one when that one has not come back. A client may so hear of it twice, with the same `jti`.
//!
//! The end of a session's life is no event, and nobody is told of it: clients know how long they believe a login.

pub mod outbox;
mod token;

use std::time::Duration;

use form_urlencoded::Serializer;
use grantlog_domain::Timestamp;
use grantlog_projections::db::DbError;
use grantlog_projections::feed::Cursor;
use grantlog_projections::tables::participants;
use http::StatusCode;
use metrics::counter;
use tokio::task::JoinSet;

use self::outbox::{Addressee, Delivery};
use self::token::logout_token;
use crate::app::App;
use crate::http::metrics::LOGOUT_DELIVERIES;
use crate::standing;
use crate::store::StoreError;

/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// The longest pause after a failure; it starts at [`INTERVAL`] and doubles.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often it is written down that nothing was found.
const WRITE_EVERY_SECONDS: i64 = 30;
/// Deliveries under way at the same time; further ones wait.
const AT_ONCE: usize = 32;
/// For how long a delivery is taken, in seconds beyond the time that the question itself may take.
const TAKEN_SECONDS: i64 = 10;
/// Each pause is so many times the one before, up to [`RETRY_SECONDS_MAX`].
const RETRY_FACTOR: i64 = 3;
const RETRY_SECONDS_MAX: i64 = 3600;

/// Runs for ever.
pub async fn run(app: App) {
    let (mut looked, mut sending, mut pause) = (Looked::default(), JoinSet::new(), INTERVAL);
    loop {
        tokio::time::sleep(pause).await;
        while sending.try_join_next().is_some() {}
        let step = async {
            looked.look(&app).await?;
            send_due(&app, &mut sending).await
        };
        pause = match step.await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "back-channel logout is delayed");
                (pause * 2).min(PAUSE_MAX)
            }
        };
    }
}

/// How far this process has looked at the log.
#[derive(Default)]
struct Looked {
    to: Cursor,
    written_at: Timestamp,
}

impl Looked {
    /// Writes down who must be told of the sessions that ended.
    async fn look(&mut self, app: &App) -> Result<(), StoreError> {
        let db = app.store.db();
        let Some(known) = outbox::known_to(db).await?.filter(|known| *known > self.to) else { return Ok(()) };
        self.to = outbox::looked_to(db).await?.max(self.to);
        while self.to < known {
            self.look_at_part(app, known).await?;
        }
        Ok(())
    }

    /// The same for the next part of the log, as far as `known`.
    async fn look_at_part(&mut self, app: &App, known: Cursor) -> Result<(), StoreError> {
        let (db, now) = (app.store.db(), app.now());
        let (all, to) = outbox::ended(app.store.log(), self.to, known).await?;
        let mut told = Vec::new();
        for ended in all {
            // One that ended long ago, before this was looked at for the first time.
            if !is_in_time(app, ended.at, now) {
                continue;
            }
            for row in participants::of_session(db, ended.session_id).await? {
                let Some(client_id) = row.client_id else { continue };
                let client = standing::client(app, client_id).await?;
                if client.is_some_and(|client| client.metadata.openid.backchannel_logout_uri.is_some()) {
                    told.push((ended, Addressee { client_id, user_id: row.user_id }));
                }
            }
        }
        if !told.is_empty() || now.seconds_since(self.written_at) >= WRITE_EVERY_SECONDS {
            outbox::enqueue(db, &told, to, now).await?;
            self.written_at = now;
        }
        self.to = to;
        Ok(())
    }
}

fn is_in_time(app: &App, ended_at: Timestamp, at: Timestamp) -> bool {
    let window = i64::try_from(app.settings.logout.window.as_secs()).unwrap_or(i64::MAX);
    at.seconds_since(ended_at) < window
}

async fn send_due(app: &App, sending: &mut JoinSet<()>) -> Result<(), StoreError> {
    let room = i64::try_from(AT_ONCE.saturating_sub(sending.len())).unwrap_or(0);
    if room == 0 {
        return Ok(());
    }
    let timeout = i64::try_from(app.settings.remote.timeout.as_secs()).unwrap_or(i64::MAX);
    let (now, until) = (app.now(), app.now().plus_seconds(timeout.saturating_add(TAKEN_SECONDS)));
    for delivery in outbox::take(app.store.db(), now, until, room).await? {
        let app = app.clone();
        sending.spawn(async move {
            if let Err(error) = settle(&app, &delivery).await {
                tracing::warn!(%error, "the outcome of a back-channel logout was not written down; it is sent again");
            }
        });
    }
    Ok(())
}

/// What became of one attempt.
enum Outcome {
    /// 2.8: 200, or 204 where a framework makes that of it.
    Delivered,
    /// Nobody is there any more to be told.
    Gone,
    /// 2.8: the client says that it cannot; 2.5: it is not sent again.
    Refused,
    /// It may succeed later.
    Failed(String),
}

async fn settle(app: &App, delivery: &Delivery) -> Result<(), DbError> {
    let db = app.store.db();
    let (label, outcome) = match send(app, delivery).await {
        Outcome::Delivered => ("delivered", delivery.done(db).await),
        Outcome::Gone => ("gone", delivery.done(db).await),
        Outcome::Refused => ("refused", delivery.failed(db, "the client answered 400", None).await),
        Outcome::Failed(error) => match next_attempt(app, delivery) {
            Some(next_at) => ("failed", delivery.failed(db, &error, Some(next_at)).await),
            None => {
                tracing::warn!(client_id = %delivery.client_id, error, "a back-channel logout was given up");
                ("given_up", delivery.failed(db, &error, None).await)
            }
        },
    };
    counter!(LOGOUT_DELIVERIES, "outcome" => label).increment(1);
    outcome
}

async fn send(app: &App, delivery: &Delivery) -> Outcome {
    let client = match standing::client(app, delivery.client_id).await {
        Ok(client) => client.filter(|client| client.is_enabled()),
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let Some(client) = client else { return Outcome::Gone };
    let Some(uri) = &client.metadata.openid.backchannel_logout_uri else { return Outcome::Gone };
    let token = logout_token(app, delivery.client_id, &client.metadata, delivery.session_id, delivery.user_id).await;
    let token = match token {
        Ok(token) => token,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let form = Serializer::new(String::new()).append_pair("logout_token", &token).finish();
    match app.remote().post_form(uri, form).await {
        Ok(StatusCode::OK | StatusCode::NO_CONTENT) => Outcome::Delivered,
        Ok(StatusCode::BAD_REQUEST) => Outcome::Refused,
        Ok(status) => Outcome::Failed(format!("the client answered {}", status.as_u16())),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// When to try again, if attempts and time are left.
fn next_attempt(app: &App, delivery: &Delivery) -> Option<Timestamp> {
    let settings = &app.settings.logout;
    let pause = pause_after(delivery.attempt, i64::try_from(settings.retry.as_secs()).unwrap_or(RETRY_SECONDS_MAX));
    let next_at = app.now().plus_seconds(pause);
    let left = delivery.attempt < i64::from(settings.attempts) && is_in_time(app, delivery.ended_at, next_at);
    left.then_some(next_at)
}

/// Seconds from that attempt to the next one.
fn pause_after(attempt: i64, first: i64) -> i64 {
    let times = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(RETRY_FACTOR.saturating_pow(times)).min(RETRY_SECONDS_MAX.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let pauses: Vec<i64> = (1..=9).map(|attempt| pause_after(attempt, 5)).collect();
        assert_eq!(pauses, [5, 15, 45, 135, 405, 1215, 3600, 3600, 3600]);
        assert_eq!(pause_after(i64::MAX, 5), 3600);
    }
}
