//! The `claims` parameter: OpenID Connect Core 5.5. Which claims a request names one by one, beside those that its scope
//! opens; who the user must be (`sub`), and how they must have signed in (`acr`).
//!
//! Claims that this server does not know, with a language tag among them (5.2), and members that it does not know are
//! ignored (5.5, 5.5.1). A claim that is wanted with a particular value is told when it has that value. Essential or not
//! makes no difference elsewhere: what the profile lacks is left out (5.5.1).

use grantlog_domain::Scope;
use grantlog_domain::grant::RequestedClaims;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::claims::{CLAIMS, held};
use crate::oauth::error::OAuthError;
use crate::store::vault::Profile;

/// Longest parameter, in bytes; its depth is bounded with it.
pub const CLAIMS_BYTES_MAX: usize = 2048;

/// A `claims` parameter that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimsRequest {
    /// As it was sent; empty when there was none.
    pub text: String,
    userinfo: Vec<Wanted>,
    id_token: Vec<Wanted>,
    /// One of these must be the user's `sub`, here and there (3.1.2.2).
    subjects: Vec<Vec<Value>>,
    /// Essential for the ID token: one of these must be the `acr` (5.5.1.1).
    acr_values: Option<Vec<Value>>,
}

/// A claim that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: &'static str,
    /// Only with one of these values.
    values: Option<Vec<Value>>,
}

/// 5.5: other members are ignored.
#[derive(Deserialize)]
struct Wire {
    userinfo: Option<Map<String, Value>>,
    id_token: Option<Map<String, Value>>,
}

/// 5.5.1: `null`, or an object of these; other members are ignored.
#[derive(Default, Deserialize)]
struct Demand {
    #[serde(default)]
    essential: bool,
    value: Option<Value>,
    values: Option<Vec<Value>>,
}

impl Demand {
    fn read(value: Value) -> Result<Self, OAuthError> {
        let demand: Option<Self> = serde_json::from_value(value).map_err(|_| malformed())?;
        Ok(demand.unwrap_or_default())
    }

    fn values(&self) -> Option<Vec<Value>> {
        self.values.clone().or_else(|| self.value.clone().map(|value| vec![value]))
    }
}

fn malformed() -> OAuthError {
    OAuthError::invalid_request("claims must be a JSON object with userinfo or id_token (OpenID Connect Core 5.5)")
}

impl ClaimsRequest {
    /// Reads the parameter.
    ///
    /// # Errors
    /// `invalid_request` when it is too long, no JSON of that shape, or nested too deeply.
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        if text.len() > CLAIMS_BYTES_MAX {
            return Err(OAuthError::invalid_request("claims is too long"));
        }
        let wire: Wire = serde_json::from_str(text).map_err(|_| malformed())?;
        let mut request = Self { text: text.to_owned(), ..Self::default() };
        for (name, value) in wire.userinfo.unwrap_or_default() {
            if let Some(name) = known(&name) {
                request.userinfo.push(Wanted { name, values: Demand::read(value)?.values() });
            } else if name == "sub" {
                request.subjects.extend(Demand::read(value)?.values());
            }
        }
        for (name, value) in wire.id_token.unwrap_or_default() {
            if let Some(name) = known(&name) {
                request.id_token.push(Wanted { name, values: Demand::read(value)?.values() });
            } else if name == "sub" {
                request.subjects.extend(Demand::read(value)?.values());
            } else if name == "acr" {
                let demand = Demand::read(value)?;
                request.acr_values = demand.values().filter(|_| demand.essential);
            }
        }
        Ok(request)
    }

    /// Whether it says who the user must be.
    #[must_use]
    pub fn names_a_subject(&self) -> bool {
        !self.subjects.is_empty()
    }

    /// Whether the user with this `sub` may answer.
    #[must_use]
    pub fn is_for(&self, sub: &str) -> bool {
        self.subjects.iter().all(|values| values.iter().any(|value| value == sub))
    }

    /// Whether a sign-in of this class does.
    #[must_use]
    pub fn takes_acr(&self, acr: &str) -> bool {
        self.acr_values.as_ref().is_none_or(|values| values.iter().any(|value| value == acr))
    }

    /// What the user is asked beyond `scope`, in the order of [`CLAIMS`].
    #[must_use]
    pub fn beyond(&self, scope: &Scope) -> Vec<&'static str> {
        let wanted = |name: &str| self.userinfo.iter().chain(&self.id_token).any(|wanted| wanted.name == name);
        let beyond = CLAIMS.iter().filter(|claim| wanted(claim.name) && !scope.contains(claim.scope));
        beyond.map(|claim| claim.name).collect()
    }

    /// Whether [`Self::granted`] needs the profile.
    #[must_use]
    pub fn depends_on_values(&self) -> bool {
        self.userinfo.iter().chain(&self.id_token).any(|wanted| wanted.values.is_some())
    }

    /// What the grant remembers: names, without those that were wanted with a value which they do not have now.
    #[must_use]
    pub fn granted(&self, profile: Option<&Profile>) -> RequestedClaims {
        let fits = |wanted: &&Wanted| match &wanted.values {
            None => true,
            Some(values) => {
                profile.and_then(|profile| held(profile, wanted.name)).is_some_and(|has| values.contains(&has.into()))
            }
        };
        let names = |wanted: &[Wanted]| wanted.iter().filter(fits).map(|wanted| wanted.name.to_owned()).collect();
        RequestedClaims { userinfo: names(&self.userinfo), id_token: names(&self.id_token) }
    }
}

fn known(name: &str) -> Option<&'static str> {
    CLAIMS.iter().map(|claim| claim.name).find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &Value) -> ClaimsRequest {
        ClaimsRequest::parse(&text.to_string()).expect("understood")
    }

    /// The example of OpenID Connect Core 5.5.
    #[test]
    fn what_is_known_is_remembered_by_name() {
        let request = parse(&json!({
            "userinfo": {
                "given_name": {"essential": true}, "nickname": null, "email": {"essential": true},
                "picture": null, "http://example.info/claims/groups": null, "name#fr": {"essential": 7}
            },
            "id_token": { "auth_time": {"essential": true}, "acr": {"values": ["urn:mace:incommon:iap:silver"]} },
            "another_member": [1]
        }));
        let granted = request.granted(None);
        assert_eq!(granted.userinfo, ["email", "given_name", "nickname", "picture"]);
        assert_eq!(granted.id_token, Vec::<String>::new());
        assert!(request.takes_acr("0"), "not essential");
        let beyond = request.beyond(&Scope::parse("openid email").expect("a scope"));
        assert_eq!(beyond, ["given_name", "nickname", "picture"]);
    }

    #[test]
    fn a_particular_value_is_told_when_it_is_the_one() {
        let request = parse(&json!({"id_token": {
            "email": {"value": "ann@example.org"}, "locale": {"values": ["fr", "de"]}, "name": {"value": "Ben"},
        }}));
        let claims = json!({"email": "ann@example.org", "locale": "de", "name": "Ann"});
        let profile = Profile { username: "ann".to_owned(), claims: claims.as_object().cloned().unwrap_or_default() };
        assert!(request.depends_on_values());
        assert_eq!(request.granted(Some(&profile)).id_token, ["email", "locale"]);
        assert!(request.granted(None).is_empty());
    }

    #[test]
    fn a_sub_names_the_user_and_an_essential_acr_the_sign_in() {
        let request = parse(&json!({
            "userinfo": {"sub": {"values": ["a", "b"]}},
            "id_token": {"sub": {"value": "a"}, "acr": {"essential": true, "values": ["1"]}},
        }));
        assert!(request.is_for("a") && !request.is_for("b") && !request.is_for("c"));
        assert!(request.takes_acr("1") && !request.takes_acr("0"));
        assert!(ClaimsRequest::default().is_for("c") && ClaimsRequest::default().takes_acr("0"));
        assert!(parse(&json!({"id_token": {"acr": {"essential": true}, "sub": null}})).takes_acr("0"));
    }

    #[test]
    fn what_is_not_of_that_shape_is_refused() {
        let deep = format!(r#"{{"userinfo":{}{}}}"#, r#"{"x":"#.repeat(200), "}".repeat(200));
        let long = format!(r#"{{"userinfo":{{"name":null}},"pad":"{}"}}"#, "x".repeat(CLAIMS_BYTES_MAX));
        for text in [
            "",
            "x",
            "[]",
            "1",
            "null",
            r#"{"userinfo":[]}"#,
            r#"{"userinfo":"name"}"#,
            r#"{"id_token":{"name":true}}"#,
            r#"{"id_token":{"name":{"essential":"yes"}}}"#,
            r#"{"id_token":{"name":{"values":"x"}}}"#,
            r#"{"userinfo":{}}x"#,
            &deep,
            &long,
        ] {
            assert!(ClaimsRequest::parse(text).is_err(), "{text}");
        }
        for text in ["{}", r#"{"userinfo":null}"#, r#"{"userinfo":{}}"#] {
            assert!(ClaimsRequest::parse(text).is_ok_and(|request| request.granted(None).is_empty()), "{text}");
        }
    }
}
