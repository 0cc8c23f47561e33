//! When an authorization request first came here, and who was signed in then: what `prompt=login` is held against, and
//! every other demand for a fresh sign-in (OpenID Connect Core 3.1.2.1).
//!
//! A request goes to the browser for the sign-in and comes back. Whoever sends it could say that it has been here
//! before; so the moment travels beside it under a message authentication code over both, which only this server makes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::{SessionId, Timestamp};

use crate::secrets::{Purpose, Secrets};

/// Name of the parameter.
pub const FIELD: &str = "arrival";

/// Longest text, in bytes: seconds, session id and MAC, with a dot between them.
pub const ARRIVAL_BYTES_MAX: usize = 20 + 36 + 43 + 2;

/// For how long a request may be on its way through sign-in and consent, in seconds. Afterwards it counts as new.
const LIFETIME_SECONDS: i64 = 3600;

/// The first arrival of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    at: Timestamp,
    session: Option<SessionId>,
    mac: [u8; 32],
}

impl Arrival {
    /// The arrival of `request` (its query without this parameter) at `at`, with `session` signed in.
    #[must_use]
    pub fn now(secrets: &Secrets, request: &str, session: Option<SessionId>, at: Timestamp) -> Self {
        Self { at, session, mac: secrets.mac(Purpose::Arrival, claim(at, session, request).as_bytes()) }
    }

    /// Reads the parameter. `None` when this server did not write it for this very `request`, or too long ago.
    #[must_use]
    pub fn read(secrets: &Secrets, request: &str, text: &str, now: Timestamp) -> Option<Self> {
        let (at, rest) = text.split_once('.')?;
        let (session, mac) = rest.split_once('.')?;
        let at = Timestamp(at.parse().ok()?);
        let session = match session {
            "" => None,
            id => Some(id.parse().ok()?),
        };
        let mac: [u8; 32] = URL_SAFE_NO_PAD.decode(mac).ok()?.try_into().ok()?;
        let ours = secrets.verify_mac(Purpose::Arrival, claim(at, session, request).as_bytes(), &mac);
        let lives = (0..LIFETIME_SECONDS).contains(&now.seconds_since(at));
        (ours && lives).then_some(Self { at, session, mac })
    }

    /// Whether the user proved who they are since then: in another session than the one of then, or again in the same.
    #[must_use]
    pub fn is_before_sign_in(&self, session: SessionId, auth_time: Timestamp) -> bool {
        auth_time > self.at || (auth_time == self.at && self.session != Some(session))
    }
}

fn claim(at: Timestamp, session: Option<SessionId>, request: &str) -> String {
    let session = session.map(|id| id.to_string()).unwrap_or_default();
    format!("{at}.{session}.{request}")
}

impl fmt::Display for Arrival {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&claim(self.at, self.session, &URL_SAFE_NO_PAD.encode(self.mac)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp(1_795_474_000);
    const REQUEST: &str = "response_type=code&client_id=x&prompt=login";

    fn session(byte: u8) -> SessionId {
        SessionId(Uuid::from_bytes([byte; 16]))
    }

    #[test]
    fn an_arrival_is_read_back_for_an_hour() {
        let secrets = Secrets::ephemeral(&Entropy::seeded(1));
        for session in [None, Some(session(1))] {
            let arrival = Arrival::now(&secrets, REQUEST, session, NOW);
            let text = arrival.to_string();
            assert!(text.len() <= ARRIVAL_BYTES_MAX);
            let read = |seconds| Arrival::read(&secrets, REQUEST, &text, NOW.plus_seconds(seconds));
            assert_eq!((read(0), read(3599)), (Some(arrival), Some(arrival)));
            assert_eq!((read(3600), read(-1)), (None, None));
        }
    }

    #[test]
    fn nobody_else_makes_one() {
        let (secrets, other) = (Secrets::ephemeral(&Entropy::seeded(1)), Secrets::ephemeral(&Entropy::seeded(2)));
        let text = Arrival::now(&secrets, REQUEST, None, NOW).to_string();
        let earlier = text.replacen("1795474000", "1795473000", 1);
        let elsewhere = Arrival::now(&other, REQUEST, None, NOW).to_string();
        for wrong in ["", ".", "..", "0", "0..", "1795474000..AAAA", &earlier, &elsewhere, &format!("{text}A")] {
            assert_eq!(Arrival::read(&secrets, REQUEST, wrong, NOW), None, "{wrong}");
        }
        assert_eq!(Arrival::read(&secrets, "response_type=code&client_id=y&prompt=login", &text, NOW), None);
    }

    #[test]
    fn only_a_sign_in_after_it_counts() {
        let secrets = Secrets::ephemeral(&Entropy::seeded(1));
        let arrival = Arrival::now(&secrets, REQUEST, Some(session(1)), NOW);
        assert!(!arrival.is_before_sign_in(session(1), NOW), "the session that was there");
        assert!(!arrival.is_before_sign_in(session(2), NOW.plus_seconds(-1)), "one from another browser");
        assert!(arrival.is_before_sign_in(session(2), NOW), "a new one in the same second");
        assert!(arrival.is_before_sign_in(session(1), NOW.plus_seconds(1)), "the same one, proved again");
    }
}
