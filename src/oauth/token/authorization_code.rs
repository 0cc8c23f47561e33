//! Redeeming a code: RFC 6749 4.1.3, with PKCE (RFC 7636 4.5, 4.6).

use aws_lc_rs::digest;
use grantlog_domain::grant::{Grant, GrantCommand, GrantError, RedeemCode, RevocationReason};
use grantlog_domain::{CodeChallenge, Verifier};

use super::{NOT_VALID, NewTokens, TokenRequest, TokenResponse, allowed, parse};
use crate::app::App;
use crate::oauth::error::OAuthError;
use crate::secrets::Kind;
use crate::store::ExecuteError;

pub(super) async fn redeem(app: &App, request: TokenRequest) -> Result<TokenResponse, OAuthError> {
    let (grant_id, code) =
        parse(app, Kind::Code, request.posted.required("code")?).ok_or_else(|| OAuthError::invalid_grant(NOT_VALID))?;
    let verifier = request.posted.parameters.get("code_verifier").map_or(Verifier::Absent, hashed);
    let tokens = NewTokens::mint(app, &request.client, grant_id);
    let command = GrantCommand::RedeemCode(RedeemCode {
        client_id: request.client.id,
        code: code.into(),
        redirect_uri: request.posted.parameters.get("redirect_uri").map(str::to_owned),
        verifier,
        allowed: allowed(app, &request, grant_id).await?,
        access_token: tokens.access_token(app, request.at),
        refresh_token: tokens.refresh_token(),
        at: request.at,
    });
    let by = request.by_client(app, grant_id);
    match app.store.execute::<Grant>(&grant_id.to_string(), command, &by).await {
        Ok(executed) => {
            request.check_user(app, grant_id, &executed.aggregate).await?;
            let authorization = executed.aggregate.authorization();
            let tokens = request.answer(app, authorization, tokens, request.issued(&executed)?).await?;
            request.with_id_token(app, authorization, tokens).await
        }
        Err(error) => {
            // RFC 6749 4.1.2: a second use ends what the first one gave. The refusal itself leaves no trace.
            if matches!(error, ExecuteError::Refused(GrantError::CodeAlreadyRedeemed)) {
                request.revoke(app, grant_id, RevocationReason::CodeReplayed).await?;
            }
            Err(request.not_executed(error))
        }
    }
}

/// RFC 7636 4.1 and 4.6: BASE64URL(SHA256(verifier)) of 43 to 128 unreserved characters.
fn hashed(verifier: &str) -> Verifier {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        return Verifier::Malformed;
    }
    let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
    let mut challenge = [0; 32];
    challenge.copy_from_slice(hash.as_ref());
    Verifier::Hashed(CodeChallenge(challenge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b_fits() {
        let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").expect("a challenge");
        assert_eq!(hashed("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), Verifier::Hashed(challenge));
    }

    #[test]
    fn what_is_no_verifier_fits_no_challenge() {
        for verifier in ["", "short", &"a".repeat(42), &"a".repeat(129), &"ü".repeat(30), &"a b".repeat(20)] {
            assert_eq!(hashed(verifier), Verifier::Malformed, "{verifier}");
        }
    }
}
