//! As whom an authorization request goes on, and whether they proved late enough who they are: OpenID Connect Core 3.1.2.1.

use super::needs_consent;
use crate::app::App;
use crate::oauth::authorization_request::AuthorizationRequest;
use crate::oidc::hint::Hint;
use crate::oidc::subject::subject;
use crate::pages::SignedIn;
use crate::store::StoreError;
use crate::store::vault::VaultError;

/// The accounts that the answer may depend on. With `prompt=none` nobody is asked, so the client must not learn from it who
/// sits there, nor when they signed in, unless they allowed it what it asks for: neither by naming somebody (`id_token_hint`,
/// a `sub`, `login_hint`) nor by an age. That somebody is signed in it does learn (3.1.2.6).
pub(super) fn visible(
    app: &App,
    request: &AuthorizationRequest,
    all: &[SignedIn],
    hint: Option<&Hint>,
) -> Vec<SignedIn> {
    let by_name = names_somebody(request, hint);
    let is_visible = |(at, account): &(usize, &SignedIn)| {
        let acts = *at == 0 && !by_name;
        !request.prompt.none || acts || !needs_consent(app, request, account)
    };
    all.iter().enumerate().filter(is_visible).map(|(_, account)| account.clone()).collect()
}

/// Whether the client hears that the user must be asked, whoever of the visible accounts was chosen.
pub(super) fn must_be_asked(
    app: &App,
    request: &AuthorizationRequest,
    visible: &[SignedIn],
    chosen: Option<&SignedIn>,
) -> bool {
    match chosen {
        Some(session) => needs_consent(app, request, session),
        None => visible.is_empty(),
    }
}

/// Whether the request is for one user only.
pub(super) fn names_somebody(request: &AuthorizationRequest, hint: Option<&Hint>) -> bool {
    hint.is_some() || request.openid.claims.names_a_subject()
}

/// As whom the request goes on: whom the client's ID token names, or nobody (3.1.2.1); who has signed in for it; whom
/// `login_hint` names, if they are here; or else the account that acts.
pub(super) async fn chosen(
    app: &App,
    request: &AuthorizationRequest,
    accounts: &[SignedIn],
    hint: Option<&Hint>,
) -> Result<Option<SignedIn>, StoreError> {
    // OpenID Connect Core 3.1.2.2 and 5.5.1: the same for a `sub` that was asked for.
    let is_wanted = |account: &&SignedIn| {
        let sub = || subject(app, request.client_id, &request.client, account.user_id);
        hint.is_none_or(|hint| hint.is_of(app, account.user_id))
            && (!request.openid.claims.names_a_subject() || request.openid.claims.is_for(&sub()))
    };
    if names_somebody(request, hint) {
        return Ok(accounts.iter().find(is_wanted).cloned());
    }
    let current = accounts.first().cloned();
    let has_signed_in = current.as_ref().is_some_and(|current| request.is_reauthenticated(current));
    match &request.openid.login_hint {
        Some(name) if accounts.len() > 1 && !has_signed_in => {
            let named = match app.vault.find(name).await {
                Ok(named) => named,
                Err(VaultError::Database(error)) => return Err(error.into()),
                // No name that anybody could have.
                Err(_) => None,
            };
            let of = |user_id| accounts.iter().find(|account| account.user_id == user_id).cloned();
            Ok(named.and_then(of).or(current))
        }
        _ => Ok(current),
    }
}

/// Whether the user signed in late enough: for `prompt=login` after the request arrived, for `max_age` at most so many
/// seconds ago, or after the request arrived (3.1.2.1).
pub(super) fn is_recent(app: &App, session: &SignedIn, request: &AuthorizationRequest) -> bool {
    is_young(app, session, request) || request.is_reauthenticated(session)
}

/// Whether any sign-in of that age will do. A `max_age` of 0 is `prompt=login`, in the very second of a sign-in too.
fn is_young(app: &App, session: &SignedIn, request: &AuthorizationRequest) -> bool {
    let age = app.now().seconds_since(session.auth_time);
    let is_young = request.openid.max_age.is_none_or(|max_age| max_age > 0 && age <= i64::from(max_age));
    is_young && !request.prompt.login
}

/// Whether the request may be answered now. A sign-in that was asked for counts once, on all nodes: whoever opens the same
/// URL later, in the same browser, signs in again.
///
/// # Errors
/// When the database cannot say.
pub(super) async fn counts_for_this_answer(
    app: &App,
    session: &SignedIn,
    request: &AuthorizationRequest,
) -> Result<bool, VaultError> {
    match &request.arrival {
        _ if is_young(app, session, request) => Ok(true),
        Some(arrival) => app.vault.use_once(&arrival.to_string(), arrival.expires_at()).await,
        None => Ok(false),
    }
}
