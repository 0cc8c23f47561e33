//! Which clients took part in a session? Asked when it ends, to tell them (OpenID Connect Back-Channel Logout 2.3,
//! Front-Channel Logout 3). Reads every event of sessions, and those of grants from which an ID token comes; rows leave when
//! the session has expired.

use grantlog_domain::grant::GrantEvent;
use grantlog_domain::session::SessionEvent;
use grantlog_domain::{ClientId, Event, Recorded, SessionId, Timestamp, UserId};

use crate::db::{Db, DbError, Row, Value};
use crate::table::{Column, FoldError, Table, follows};

pub const NAME: &str = "participants";
pub const VERSION: i64 = 1;

/// Most clients of one session; those that come later are not told of its end.
pub const PARTICIPANTS_MAX: usize = 256;

/// A client that got an ID token in a session; or, without a client, the session itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRow {
    pub session_id: SessionId,
    pub client_id: Option<ClientId>,
    /// That of the session's last event when the row was written.
    pub sequence: i64,
    pub user_id: UserId,
    /// Since when.
    pub since: Timestamp,
    /// The end of the session.
    pub expires_at: Timestamp,
}

#[derive(Debug)]
pub struct Participants;

impl Table for Participants {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["session", "grant"];
    const COLUMNS: &'static [Column] = &[
        Column::text("session_id"),
        // Empty for the session itself.
        Column::text("client_id"),
        Column::int("sequence"),
        Column::text("user_id"),
        Column::int("since"),
        Column::int("expires_at"),
    ];
    const KEY: usize = 2;
    const ORDER: &'static str = "client_id";
    const INDEXES: &'static [&'static str] = &["expires_at"];
    const EXPIRES: Option<&'static str> = Some("expires_at");

    type Row = ParticipantRow;

    fn group(event: &Recorded) -> Option<String> {
        match &event.event {
            Event::Session(_) => Some(event.aggregate_id.clone()),
            Event::Grant(event) => signed_in(event).map(|(session_id, ..)| session_id.to_string()),
            _ => None,
        }
    }

    fn opens(event: &Recorded) -> bool {
        matches!(event.event, Event::Session(SessionEvent::Started { .. }))
    }

    fn fold(rows: &mut Vec<ParticipantRow>, recorded: &Recorded) -> Result<(), FoldError> {
        match &recorded.event {
            Event::Session(event) => session_event(rows, recorded, event),
            Event::Grant(event) => {
                grant_event(rows, event);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read(row: &Row) -> Result<ParticipantRow, DbError> {
        Ok(ParticipantRow {
            session_id: row.parse(0)?,
            client_id: if row.str(1)?.is_empty() { None } else { Some(row.parse(1)?) },
            sequence: row.int(2)?,
            user_id: row.parse(3)?,
            since: Timestamp(row.int(4)?),
            expires_at: Timestamp(row.int(5)?),
        })
    }

    fn write(row: &ParticipantRow) -> Vec<Value> {
        vec![
            row.session_id.to_string().into(),
            row.client_id.map(|id| id.to_string()).unwrap_or_default().into(),
            row.sequence.into(),
            row.user_id.to_string().into(),
            row.since.0.into(),
            row.expires_at.0.into(),
        ]
    }
}

fn session_event(rows: &mut Vec<ParticipantRow>, recorded: &Recorded, event: &SessionEvent) -> Result<(), FoldError> {
    if let SessionEvent::Started { user_id, expires_at, at, .. } = event {
        if rows.is_empty() {
            rows.push(ParticipantRow {
                session_id: recorded.aggregate_id.parse().map_err(|_| FoldError("not a session id".to_owned()))?,
                client_id: None,
                sequence: recorded.sequence,
                user_id: *user_id,
                since: *at,
                expires_at: *expires_at,
            });
        }
        return Ok(());
    }
    // Rows that have left are of no use any more.
    let Some(session) = rows.iter().find(|row| row.client_id.is_none()) else { return Ok(()) };
    if !follows(session.sequence, recorded)? {
        return Ok(());
    }
    for row in rows {
        row.sequence = recorded.sequence;
        if let SessionEvent::Reauthenticated { expires_at: Some(expires_at), .. } = event {
            row.expires_at = *expires_at;
        }
    }
    Ok(())
}

fn grant_event(rows: &mut Vec<ParticipantRow>, event: &GrantEvent) {
    let Some((_, client_id, since)) = signed_in(event) else { return };
    let Some(session) = rows.iter().find(|row| row.client_id.is_none()).cloned() else { return };
    let known = rows.iter().any(|row| row.client_id == Some(client_id));
    if !known && rows.len() <= PARTICIPANTS_MAX {
        rows.push(ParticipantRow { client_id: Some(client_id), since, ..session });
        rows.sort_unstable_by_key(|row| row.client_id.map(|id| id.to_string()));
    }
}

/// The session in which a client gets ID tokens, the client, and since when.
fn signed_in(event: &GrantEvent) -> Option<(SessionId, ClientId, Timestamp)> {
    match event {
        GrantEvent::CodeIssued(issued) => {
            issued.authentication.as_ref().map(|_| (issued.session_id, issued.client_id, issued.at))
        }
        GrantEvent::Opened(opened) => {
            opened.authentication.as_ref()?;
            opened.session_id.map(|session_id| (session_id, opened.client_id, opened.at))
        }
        GrantEvent::IdTokenIssued(issued) => Some((issued.session_id, issued.client_id, issued.at)),
        _ => None,
    }
}

/// The clients that took part in a session; [`PARTICIPANTS_MAX`] at most.
pub async fn of_session(db: &Db, session_id: SessionId) -> Result<Vec<ParticipantRow>, DbError> {
    let rest = "WHERE session_id = $1 AND client_id <> '' ORDER BY client_id";
    super::rows::<Participants>(db, rest, &[session_id.to_string().into()]).await
}

/// Whose session it is; `None` when it is unknown or its rows have left.
pub async fn user_of(db: &Db, session_id: SessionId) -> Result<Option<UserId>, DbError> {
    let rest = "WHERE session_id = $1 AND client_id = ''";
    let rows = super::rows::<Participants>(db, rest, &[session_id.to_string().into()]).await?;
    Ok(rows.first().map(|row| row.user_id))
}

#[cfg(test)]
mod tests {
    use grantlog_domain::grant::{Authentication, IdTokenIssued};
    use grantlog_domain::session::EndReason;
    use grantlog_domain::{Scope, SecretHash};
    use uuid::Uuid;

    use super::*;
    use crate::testing::recorded;

    const AT: Timestamp = Timestamp(1_000_000);
    const SESSION: SessionId = SessionId(Uuid::from_u128(7));
    const COOKIE: SecretHash = SecretHash { pepper: 1, digest: [0; 32] };

    fn session(sequence: i64, event: SessionEvent) -> Recorded {
        recorded(SESSION, sequence, event)
    }

    fn started() -> Recorded {
        let (user_id, expires_at) = (UserId(Uuid::from_u128(1)), AT.plus_seconds(60));
        session(1, SessionEvent::Started { user_id, cookie: COOKIE, amr: Vec::new(), expires_at, at: AT })
    }

    fn id_token(client: u128) -> Recorded {
        let event = GrantEvent::IdTokenIssued(IdTokenIssued {
            client_id: ClientId(Uuid::from_u128(client)),
            user_id: UserId(Uuid::from_u128(1)),
            session_id: SESSION,
            scope: Scope::default(),
            authentication: Authentication { auth_time: AT, amr: Vec::new(), nonce: None, claims: Default::default() },
            expires_at: AT.plus_seconds(10),
            at: AT,
            consent: None,
        });
        recorded(Uuid::from_u128(100 + client), 1, event)
    }

    fn folded(events: &[Recorded]) -> Vec<ParticipantRow> {
        let mut rows = Vec::new();
        for event in events {
            assert_eq!(Participants::group(event), Some(SESSION.to_string()));
            Participants::fold(&mut rows, event).expect("it follows");
        }
        rows
    }

    #[test]
    fn a_client_takes_part_once_and_for_as_long_as_the_session_lives() {
        let longer = Some(AT.plus_seconds(90));
        let again = SessionEvent::Reauthenticated { cookie: COOKIE, amr: Vec::new(), expires_at: longer, at: AT };
        let ended = session(3, SessionEvent::Ended { reason: EndReason::SignedOut, at: AT });
        let events = [started(), id_token(3), id_token(2), id_token(3), session(2, again), ended];
        let rows = folded(&events);
        let clients: Vec<_> = rows.iter().map(|row| row.client_id.map(|id| id.0.as_u128())).collect();
        assert_eq!(clients, [None, Some(2), Some(3)]);
        assert!(rows.iter().all(|row| Some(row.expires_at) == longer && row.sequence == 3), "{rows:?}");
        // Seen again, nothing changes.
        let twice = [&events[..], &events[..]].concat();
        assert_eq!(folded(&twice), rows);
    }

    #[test]
    fn so_many_and_no_more() {
        let clients = (1..=PARTICIPANTS_MAX as u128 + 5).map(id_token);
        let events: Vec<Recorded> = std::iter::once(started()).chain(clients).collect();
        assert_eq!(folded(&events).len(), 1 + PARTICIPANTS_MAX);
    }

    #[test]
    fn a_session_that_has_left_gets_no_rows() {
        assert_eq!(folded(&[id_token(1)]), []);
    }
}
