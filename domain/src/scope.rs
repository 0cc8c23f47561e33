//! Access token scope: RFC 6749 3.3.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest scope string taken, in bytes.
pub const SCOPE_BYTES_MAX: usize = 1000;
/// Most scope tokens in one scope.
pub const SCOPE_TOKENS_MAX: usize = 50;

/// A set of scope tokens; their order on the wire does not matter (RFC 6749 3.3). Kept sorted, so equal sets have
/// equal text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(BTreeSet<String>);

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
        let tokens: BTreeSet<String> = text.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect();
        if tokens.len() > SCOPE_TOKENS_MAX {
            return Err(ScopeError::TooLong);
        }
        Ok(Self(tokens))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The scope tokens in order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

const fn is_scope_char(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(" ")?;
            }
            out.write_str(token)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_surplus_spaces_do_not_matter() {
        assert_eq!(Scope::parse("b a"), Scope::parse(" a  b "));
        assert_eq!(Scope::parse("b a").unwrap().to_string(), "a b");
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
    fn a_narrower_scope_is_a_subset() {
        let (wide, narrow) = (Scope::parse("a b").unwrap(), Scope::parse("a").unwrap());
        assert!(narrow.is_subset_of(&wide));
        assert!(!wide.is_subset_of(&narrow));
    }
}
