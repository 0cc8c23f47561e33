//! Access token scope: RFC 6749 3.3.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// Longest scope string taken, in bytes.
pub const SCOPE_BYTES_MAX: usize = 1000;
/// Most scope tokens in one scope.
pub const SCOPE_TOKENS_MAX: usize = 50;
/// The scope for use when the user is away (OpenID Connect Core 11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// A set of scope tokens; their order on the wire does not matter (RFC 6749 3.3). Kept sorted, so equal sets have
/// equal text. One text and no set of them: a replay reads two of these with nearly every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

/// Why a scope string is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("scope has a character that RFC 6749 does not allow")]
    Character,
    #[error("scope is longer than {SCOPE_BYTES_MAX} bytes or has more than {SCOPE_TOKENS_MAX} tokens")]
    TooLong,
}

impl Scope {
    /// Reads `scope-token *( SP scope-token )`; the empty string and surplus spaces give no tokens.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if text.len() > SCOPE_BYTES_MAX {
            return Err(ScopeError::TooLong);
        }
        // RFC 6749 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
        if !text.bytes().all(|byte| byte == b' ' || is_scope_char(byte)) {
            return Err(ScopeError::Character);
        }
        let mut tokens: Vec<&str> = text.split(' ').filter(|token| !token.is_empty()).collect();
        let sorted = tokens.is_sorted_by(|a, b| a < b);
        if !sorted {
            tokens.sort_unstable();
            tokens.dedup();
        }
        if tokens.len() > SCOPE_TOKENS_MAX {
            return Err(ScopeError::TooLong);
        }
        Ok(Self(tokens.join(" ")))
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        // By bytes: it is asked for every claim of an answer.
        !token.is_empty() && self.0.as_bytes().split(|byte| *byte == b' ').any(|own| own == token.as_bytes())
    }

    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.tokens().all(|token| other.contains(token))
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut tokens: Vec<&str> = self.tokens().chain(other.tokens()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Self(tokens.join(" "))
    }

    /// Of these tokens, those that are in `other` too; nothing when none of them is. An empty scope has nothing to lose.
    #[must_use]
    pub fn left_within(&self, other: &Self) -> Option<Self> {
        if self.is_subset_of(other) {
            return Some(self.clone());
        }
        Some(self.filtered(|token| other.contains(token))).filter(|left| !left.is_empty())
    }

    /// Of these tokens, those that `keep` wants.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let tokens: Vec<&str> = self.tokens().filter(|token| keep(token)).collect();
        Self(tokens.join(" "))
    }

    /// The scope tokens in order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|token| !token.is_empty())
    }
}

const fn is_scope_char(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::parse(text)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_surplus_spaces_do_not_matter() {
        assert_eq!(Scope::parse("b a"), Scope::parse(" a  b "));
        assert_eq!(Scope::parse("b a").unwrap().to_string(), "a b");
        assert_eq!(Scope::parse("a b a").unwrap().to_string(), "a b");
        assert!(Scope::parse("  ").unwrap().is_empty());
    }

    #[test]
    fn a_set_has_its_whole_tokens_and_nothing_else() {
        let scope = Scope::parse("profile email").unwrap();
        assert!(scope.contains("profile") && scope.contains("email"));
        assert!(!["", " ", "mail", "profil", "email profile"].iter().any(|token| scope.contains(token)));
        assert!(!Scope::default().contains(""));
    }

    #[test]
    fn characters_outside_the_grammar_are_refused() {
        for text in ["a\"b", "a\\b", "a\nb", "a\0", "é", "a\tb"] {
            assert_eq!(Scope::parse(text), Err(ScopeError::Character), "{text:?}");
        }
    }

    #[test]
    fn an_endless_scope_is_refused() {
        assert_eq!(Scope::parse(&"a".repeat(1001)), Err(ScopeError::TooLong));
        let many: Vec<String> = (0..51).map(|n| n.to_string()).collect();
        assert_eq!(Scope::parse(&many.join(" ")), Err(ScopeError::TooLong));
    }

    #[test]
    fn what_is_left_of_a_scope_is_what_both_have() {
        let scope = |text| Scope::parse(text).unwrap();
        assert_eq!(scope("a b c").left_within(&scope("b c d")), Some(scope("b c")));
        assert_eq!(scope("a").left_within(&scope("a b")), Some(scope("a")));
        assert_eq!(scope("a").left_within(&scope("b")), None);
        assert_eq!(scope("").left_within(&scope("b")), Some(scope("")));
    }

    #[test]
    fn a_narrower_scope_is_a_subset() {
        let (wide, narrow) = (Scope::parse("a b").unwrap(), Scope::parse("a").unwrap());
        assert!(narrow.is_subset_of(&wide));
        assert!(!wide.is_subset_of(&narrow));
    }
}
