//! How far a client may go that no operator answers for, and how far others may take one that an operator has set. The one
//! set of these rules, whoever asks and from where: registration over HTTP, a page, the command line.
//! Tokens that APIs read by themselves (RFC 9068) are for an operator to give.

use serde::{Deserialize, Serialize};

use super::{
    AccessTokenFormat, Author, ClientError, ClientMetadata, GrantType, Registration, ResponseType, SubjectType,
    TokenEndpointAuthMethod,
};
use crate::Scope;

/// What an operator set with a change, and only an operator lifts. What no operator touched is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    scope: Option<Scope>,
    grant_types: Option<Vec<GrantType>>,
    response_types: Option<Vec<ResponseType>>,
    access_token_format: Option<AccessTokenFormat>,
    token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
    subject_type: Option<SubjectType>,
    require_pkce: Option<bool>,
}

impl Ceiling {
    /// Takes in what an operator changed; with `all`, also what stayed.
    pub(super) fn set(&mut self, before: &ClientMetadata, after: &ClientMetadata, all: bool) {
        fn set<T: PartialEq>(ceiling: &mut Option<T>, before: &T, after: T, all: bool) {
            if all || *before != after {
                *ceiling = Some(after);
            }
        }
        set(&mut self.scope, &before.scope, after.scope.clone(), all);
        set(&mut self.grant_types, &before.grant_types, after.grant_types.clone(), all);
        set(&mut self.response_types, &before.response_types, after.response_types.clone(), all);
        set(&mut self.access_token_format, &format(before), format(after), all);
        let method = after.token_endpoint_auth_method;
        set(&mut self.token_endpoint_auth_method, &before.token_endpoint_auth_method, method, all);
        set(&mut self.subject_type, &subject_type(before), subject_type(after), all);
        set(&mut self.require_pkce, &before.require_pkce, after.require_pkce, all);
    }

    /// Whether somebody else than an operator may have that registered.
    fn check(&self, metadata: &ClientMetadata) -> Result<(), ClientError> {
        let fits = [
            ("scope", self.scope.as_ref().is_none_or(|scope| metadata.scope.is_subset_of(scope))),
            ("grant_types", within(&metadata.grant_types, self.grant_types.as_deref())),
            ("response_types", within(&metadata.response_types, self.response_types.as_deref())),
            // A reference says less than a token that everybody can read.
            (
                "access_token_format",
                self.access_token_format.is_none_or(|set| set == AccessTokenFormat::Jwt || format(metadata) == set),
            ),
            (
                "token_endpoint_auth_method",
                self.token_endpoint_auth_method.is_none_or(|set| metadata.token_endpoint_auth_method == set),
            ),
            ("subject_type", self.subject_type.is_none_or(|set| subject_type(metadata) == set)),
            ("require_pkce", self.require_pkce != Some(true) || metadata.require_pkce),
        ];
        fits.into_iter().find(|(_, fits)| !fits).map_or(Ok(()), |(name, _)| Err(ClientError::Ceiling(name)))
    }
}

fn within<T: PartialEq>(asked: &[T], ceiling: Option<&[T]>) -> bool {
    ceiling.is_none_or(|ceiling| asked.iter().all(|one| ceiling.contains(one)))
}

fn format(metadata: &ClientMetadata) -> AccessTokenFormat {
    metadata.openid.access_token_format.unwrap_or(AccessTokenFormat::Opaque)
}

fn subject_type(metadata: &ClientMetadata) -> SubjectType {
    metadata.openid.subject_type.unwrap_or(SubjectType::Public)
}

/// Whether `by` may have a client registered like that. `held` is what it is registered as already: that, it may keep.
/// `widest` bounds its scope; nothing does when it is absent.
pub fn check(
    metadata: &ClientMetadata,
    by: Author,
    widest: Option<&Scope>,
    held: Option<&Registration>,
) -> Result<(), ClientError> {
    let set = held.map(|held| &held.ceiling).filter(|_| by != Author::Operator);
    let had = held.map(|held| &held.metadata);
    if let Some(ceiling) = set {
        ceiling.check(metadata)?;
    }
    // One that was let in by an operator's token is trusted when it registers; what it makes of itself later is its own.
    let trusted = by == Author::Operator || (by.vouches() && held.is_none());
    if !trusted {
        let may = |grant_type: &GrantType| {
            let granted = set.and_then(|set| set.grant_types.as_ref()).is_some_and(|set| set.contains(grant_type));
            granted || had.is_some_and(|had| had.allows(*grant_type))
        };
        if metadata.grant_types.iter().any(|grant_type| grant_type.is_unusual() && !may(grant_type)) {
            return Err(ClientError::NotVouched("grant_types"));
        }
        let jwt = |format: AccessTokenFormat| format == AccessTokenFormat::Jwt;
        let may_jwt =
            had.is_some_and(|had| jwt(format(had))) || set.and_then(|set| set.access_token_format).is_some_and(jwt);
        if jwt(format(metadata)) && !may_jwt {
            return Err(ClientError::NotVouched("access_token_format"));
        }
    }
    let widest = match (widest, held) {
        (None, _) => return Ok(()),
        (Some(widest), None) => widest.clone(),
        (Some(widest), Some(held)) => held.widest_scope(widest),
    };
    if metadata.scope.is_subset_of(&widest) { Ok(()) } else { Err(ClientError::Scope) }
}

impl Registration {
    /// The widest scope that the client may get from who may give `widest`: what an operator set goes before that, and what
    /// it has already, it may keep.
    #[must_use]
    pub fn widest_scope(&self, widest: &Scope) -> Scope {
        self.ceiling.scope.clone().unwrap_or_else(|| widest.union(&self.metadata.scope))
    }
}
