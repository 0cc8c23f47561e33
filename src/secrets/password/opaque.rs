//! One password, however it is typed: RFC 8265 4 (OpaqueString). The same letters come composed from one keyboard and decomposed
//! from another.

use std::borrow::Cow;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::Rules as _;
use precis_profiles::precis_core::{DerivedPropertyValue, FreeformClass, StringClass as _};

use super::{PASSWORD_CHARACTERS_MIN, PasswordError};

/// What is hashed. Blanks of other scripts are blanks, and what is composed is so (RFC 8265 4.2.2).
pub fn opaque(password: &str) -> Cow<'_, str> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    let rules = OpaqueString::new();
    let mapped = rules.additional_mapping_rule(password).and_then(|mapped| rules.normalization_rule(mapped));
    mapped.unwrap_or(Cow::Borrowed(password))
}

/// Whether it can be a new password. Those of before are verified whatever is in them.
///
/// # Errors
/// [`PasswordError::TooShort`]; [`PasswordError::NotTyped`]; [`PasswordError::TooLong`].
pub fn check_new(password: &str) -> Result<(), PasswordError> {
    if password.len() > super::PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    let class = FreeformClass::default();
    // What is younger than Unicode 6.3 is nothing that a keyboard leaves out: it may be there.
    if password.chars().any(|char| class.get_value_from_char(char) == DerivedPropertyValue::Disallowed) {
        return Err(PasswordError::NotTyped);
    }
    if opaque(password).chars().count() < PASSWORD_CHARACTERS_MIN {
        return Err(PasswordError::TooShort);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_it_is_typed_it_is_one_password() {
        for (typed, other) in [
            ("p\u{e4}sswort", "pa\u{308}sswort"),
            ("two\u{a0}words", "two words"),
            ("\u{c5}ngstr\u{f6}m", "\u{212b}ngstro\u{308}m"),
        ] {
            assert_eq!(opaque(typed), opaque(other));
        }
        for (typed, other) in [("Password", "password"), ("\u{ff50}ass", "pass"), (" x", "x")] {
            assert_ne!(opaque(typed), opaque(other));
        }
    }

    #[test]
    fn a_new_one_can_be_typed() {
        for good in [
            "correct horse",
            "\u{5bc6}\u{7801}\u{5bc6}\u{7801}\u{5bc6}\u{7801}\u{5bc6}\u{7801}",
            "eight \u{1f970}\u{1f970}",
            "\u{1f468}\u{200d}\u{1f469}12345678",
        ] {
            assert_eq!(check_new(good), Ok(()), "{good}");
        }
        for bad in [
            "\u{feff}correct horse",
            "correct\0horse",
            "correct\thorse",
            "correct\u{202e}horse",
            "correct\u{200b}horse",
        ] {
            assert_eq!(check_new(bad), Err(PasswordError::NotTyped), "{bad:?}");
        }
        // Seven, however many code points they are typed with.
        assert_eq!(check_new("e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}"), Err(PasswordError::TooShort));
        assert_eq!(check_new(&"x".repeat(super::super::PASSWORD_BYTES_MAX + 1)), Err(PasswordError::TooLong));
    }
}
