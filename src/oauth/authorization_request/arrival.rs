//! When an authorization request first came here, and who had proved what by then: what `prompt=login` is held against, and
//! every other demand for a fresh sign-in (OpenID Connect Core 3.1.2.1).
//!
//! A request goes to the browser for the sign-in and comes back. Whoever sends it could say that it has been here
//! before; so the moment travels beside it under a message authentication code over both, which only this server makes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::Timestamp;

use crate::pages::visit::{ACCOUNTS_MAX, Proof};
use crate::secrets::{Purpose, Secrets};

/// Name of the parameter.
pub const FIELD: &str = "arrival";

/// Length of a [`Proof`] in base64url.
const PROOF_CHARS: usize = 11;

/// Longest text, in bytes: seconds, nonce, proofs and MAC, with a dot between them.
pub const ARRIVAL_BYTES_MAX: usize = 20 + NONCE_CHARS + ACCOUNTS_MAX * PROOF_CHARS + 43 + 3;

/// Length of the nonce in base64url: 8 random bytes.
const NONCE_CHARS: usize = 11;

/// For how long a request may be on its way through sign-in and consent, in seconds: 10 minutes. Afterwards it counts as
/// new, and whoever must sign in for it does so once more.
const LIFETIME_SECONDS: i64 = 600;

/// The first arrival of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    at: Timestamp,
    /// Tells it from that of the same request in another browser in the same second.
    nonce: String,
    /// Of those who were signed in then, in base64url, one behind the other.
    proofs: String,
    mac: [u8; 32],
}

impl Arrival {
    /// The arrival of `request` (its query without this parameter) at `at`, when these had been given.
    #[must_use]
    pub fn now(secrets: &Secrets, request: &str, proofs: &[Proof], at: Timestamp) -> Self {
        let proofs: String = proofs.iter().take(ACCOUNTS_MAX).map(spelled).collect();
        let nonce = URL_SAFE_NO_PAD.encode(secrets.entropy().bytes::<8>());
        let mac = secrets.mac(Purpose::Arrival, claim(at, &nonce, &proofs, request).as_bytes());
        Self { at, nonce, proofs, mac }
    }

    /// Reads the parameter. `None` when this server did not write it for this very `request`, or too long ago.
    #[must_use]
    pub fn read(secrets: &Secrets, request: &str, text: &str, now: Timestamp) -> Option<Self> {
        if text.len() > ARRIVAL_BYTES_MAX {
            return None;
        }
        let (at, rest) = text.split_once('.')?;
        let (nonce, rest) = rest.split_once('.')?;
        let (proofs, mac) = rest.split_once('.')?;
        let at = Timestamp(at.parse().ok()?);
        let mac: [u8; 32] = URL_SAFE_NO_PAD.decode(mac).ok()?.try_into().ok()?;
        let ours = secrets.verify_mac(Purpose::Arrival, claim(at, nonce, proofs, request).as_bytes(), &mac);
        let lives = (0..LIFETIME_SECONDS).contains(&now.seconds_since(at));
        (ours && lives).then(|| Self { at, nonce: nonce.to_owned(), proofs: proofs.to_owned(), mac })
    }

    /// When it is worth nothing any more.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.at.plus_seconds(LIFETIME_SECONDS)
    }

    /// Whether that proof, given at `auth_time`, was given since then.
    #[must_use]
    pub fn is_before_sign_in(&self, proof: &Proof, auth_time: Timestamp) -> bool {
        let spelled = spelled(proof);
        let was_there = self.proofs.as_bytes().chunks(PROOF_CHARS).any(|known| known == spelled.as_bytes());
        auth_time > self.at || (auth_time == self.at && !was_there)
    }
}

fn spelled(proof: &Proof) -> String {
    URL_SAFE_NO_PAD.encode(proof)
}

fn claim(at: Timestamp, nonce: &str, proofs: &str, request: &str) -> String {
    format!("{at}.{nonce}.{proofs}.{request}")
}

impl fmt::Display for Arrival {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&claim(self.at, &self.nonce, &self.proofs, &URL_SAFE_NO_PAD.encode(self.mac)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    const NOW: Timestamp = Timestamp(1_795_474_000);
    const REQUEST: &str = "response_type=code&client_id=x&prompt=login";

    const fn proof(byte: u8) -> Proof {
        [byte; 8]
    }

    #[test]
    fn an_arrival_is_read_back_for_minutes() {
        let secrets = Secrets::ephemeral(&Entropy::seeded(1));
        for proofs in [vec![], vec![proof(1)], vec![proof(1); ACCOUNTS_MAX]] {
            let arrival = Arrival::now(&secrets, REQUEST, &proofs, NOW);
            let text = arrival.to_string();
            assert!(text.len() <= ARRIVAL_BYTES_MAX);
            let read = |seconds| Arrival::read(&secrets, REQUEST, &text, NOW.plus_seconds(seconds));
            assert_eq!((read(0), read(599)), (Some(arrival.clone()), Some(arrival)));
            assert_eq!((read(600), read(-1)), (None, None));
        }
    }

    #[test]
    fn nobody_else_makes_one() {
        let (secrets, other) = (Secrets::ephemeral(&Entropy::seeded(1)), Secrets::ephemeral(&Entropy::seeded(2)));
        let text = Arrival::now(&secrets, REQUEST, &[], NOW).to_string();
        let earlier = text.replacen("1795474000", "1795473000", 1);
        let elsewhere = Arrival::now(&other, REQUEST, &[], NOW).to_string();
        let twin = Arrival::now(&secrets, REQUEST, &[], NOW).to_string();
        assert_ne!(twin, text, "of another browser in the same second");
        for wrong in ["", ".", "...", "0", "0...", "1795474000...AAAA", &earlier, &elsewhere, &format!("{text}A")] {
            assert_eq!(Arrival::read(&secrets, REQUEST, wrong, NOW), None, "{wrong}");
        }
        assert_eq!(Arrival::read(&secrets, "response_type=code&client_id=y&prompt=login", &text, NOW), None);
    }

    #[test]
    fn only_a_sign_in_after_it_counts() {
        let secrets = Secrets::ephemeral(&Entropy::seeded(1));
        let arrival = Arrival::now(&secrets, REQUEST, &[proof(1), proof(2)], NOW);
        assert!(!arrival.is_before_sign_in(&proof(1), NOW), "a proof that was there");
        assert!(!arrival.is_before_sign_in(&proof(2), NOW), "another one");
        assert!(!arrival.is_before_sign_in(&proof(3), NOW.plus_seconds(-1)), "one from another browser");
        assert!(arrival.is_before_sign_in(&proof(3), NOW), "a new one in the same second");
        assert!(arrival.is_before_sign_in(&proof(1), NOW.plus_seconds(1)), "the clock says so");
    }
}
