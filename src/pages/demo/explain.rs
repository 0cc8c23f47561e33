//! The events of a grant for a newcomer: what happened, and what the log keeps of it.

use grantlog_domain::Event;
use grantlog_domain::grant::{GrantEvent, RevocationReason};

/// What the event means.
pub fn explain(event: &Event) -> &'static str {
    let Event::Grant(event) = event else { return "Something about this grant." };
    match event {
        GrantEvent::CodeIssued(_) => {
            "You allowed it, and a code went to the client through your browser. The log keeps a hash of the code, the \
             scope, the redirect URI and the PKCE challenge."
        }
        GrantEvent::CodeRedeemed { .. } => {
            "The client exchanged the code for tokens, straight with the server. The code has had its one use; of the \
             tokens the log keeps hashes."
        }
        GrantEvent::IdTokenIssued(_) => "The client was told who you are, and got nothing else.",
        GrantEvent::Opened(_) => "Tokens were given without a code.",
        GrantEvent::Refreshed(_) => {
            "The client renewed its access. The old refresh token was replaced; showing it again would end everything."
        }
        GrantEvent::AccessTokenRevoked { .. } => "The client gave one access token back.",
        GrantEvent::Revoked { reason, .. } => match reason {
            RevocationReason::CodeReplayed => {
                "The code came a second time, so somebody else may have it. This one event ends everything that came of it."
            }
            RevocationReason::RefreshReused => {
                "A replaced refresh token came again, so somebody else may have it. This one event ends all tokens."
            }
            RevocationReason::Client => "The client gave up its access. This one event ends all tokens of the grant.",
            RevocationReason::User => "You took it back. This one event ends all tokens of the grant.",
            RevocationReason::SessionEnded => "You signed out. This one event ends all tokens of the grant.",
            RevocationReason::RefreshWithdrawn => {
                "The client may not renew its access any more. This one event ends all tokens of the grant."
            }
            RevocationReason::Admin | RevocationReason::UserDisabled | RevocationReason::ClientDisabled => {
                "The access was ended. This one event ends all tokens of the grant."
            }
        },
    }
}
