//! `sid`: what a client knows a session by (Front-Channel Logout 3, Back-Channel Logout 2.1).
//!
//! One for each session and client, so that clients cannot find out from it that they have the same user: pairwise subjects
//! would otherwise be of no use. It is made with the oldest pepper and stays the same for as long as the session lives.

use grantlog_domain::{ClientId, SessionId};

use crate::secrets::{Purpose, Secrets};

/// The `sid` of a session at a client; 43 characters of base64url.
#[must_use]
pub fn sid(secrets: &Secrets, session_id: SessionId, client_id: ClientId) -> String {
    secrets.blind_index(Purpose::SessionAtClient, &format!("{session_id}.{client_id}"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn no_two_clients_and_no_two_sessions_share_one() {
        let secrets = Secrets::ephemeral(&Entropy::seeded(1));
        let of =
            |session, client| sid(&secrets, SessionId(Uuid::from_u128(session)), ClientId(Uuid::from_u128(client)));
        assert_eq!(of(1, 2), of(1, 2));
        assert_ne!(of(1, 2), of(1, 3));
        assert_ne!(of(1, 2), of(2, 2));
        assert_eq!(of(1, 2).len(), 43);
    }
}
