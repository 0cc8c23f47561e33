//! Every rule about a session.

use super::{LIFETIME_SECONDS_MAX, Session, SessionCommand, SessionError, SessionEvent, Stage};

impl Session {
    /// What follows from a command, or why nothing does. An empty answer means that it holds already.
    pub fn decide(&self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
        match (command, &self.stage) {
            (SessionCommand::Start { user_id, cookie, amr, expires_at, at }, Stage::Absent) => {
                Ok(vec![SessionEvent::Started { user_id, cookie, amr, expires_at, at }])
            }
            (SessionCommand::Start { .. }, _) => Err(SessionError::AlreadyExists),
            (_, Stage::Absent) => Err(SessionError::NotFound),
            (SessionCommand::Reauthenticate { user_id, cookie, amr, expires_at, at }, Stage::Started(started)) => {
                if started.user_id != user_id {
                    return Err(SessionError::WrongUser);
                }
                if at >= started.expires_at {
                    return Err(SessionError::Expired);
                }
                let last = started.started_at.plus_seconds(LIFETIME_SECONDS_MAX);
                let expires_at = Some(expires_at.min(last)).filter(|expires_at| *expires_at > started.expires_at);
                Ok(vec![SessionEvent::Reauthenticated { cookie, amr, expires_at, at }])
            }
            (SessionCommand::Reauthenticate { .. }, Stage::Ended { .. }) => Err(SessionError::Ended),
            (SessionCommand::End { reason, at }, Stage::Started(_)) => Ok(vec![SessionEvent::Ended { reason, at }]),
            (SessionCommand::End { .. }, Stage::Ended { .. }) => Ok(Vec::new()),
        }
    }
}
