//! Text of others that people read: nothing in it may hide, or turn round what stands beside it.

use precis_core::{DerivedPropertyValue, FreeformClass, StringClass};

/// Selects how the symbol before it is drawn; behind anything else it is only not seen.
const VARIATION_SELECTORS: [char; 2] = ['\u{FE0E}', '\u{FE0F}'];

/// Whether all of it is seen as it stands: the FreeformClass (RFC 8264 4.3), so without control characters, those that change the
/// direction of others, and those that have no width. Joiners are let through where scripts and pictures need them. Characters
/// that are younger than the class's Unicode 6.3 are, when they are letters, digits, pictures or currencies.
#[must_use]
pub fn is_seen(text: &str) -> bool {
    let class = FreeformClass::default();
    let mut before = ' ';
    text.chars().all(|char| {
        let is_seen = match class.get_value_from_char(char) {
            DerivedPropertyValue::PValid
            | DerivedPropertyValue::SpecClassPval
            | DerivedPropertyValue::SpecClassDis
            | DerivedPropertyValue::ContextO => true,
            DerivedPropertyValue::ContextJ => !before.is_ascii(),
            DerivedPropertyValue::Disallowed => {
                VARIATION_SELECTORS.contains(&char) && !before.is_alphanumeric() && !before.is_whitespace()
            }
            DerivedPropertyValue::Unassigned => {
                char.is_alphanumeric() || matches!(char, '\u{1F000}'..='\u{1FAFF}' | '\u{20A0}'..='\u{20CF}')
            }
        };
        before = char;
        is_seen
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_seen() {
        for text in [
            "Holiday Photos",
            "Zo\u{eb}'s caf\u{e9}, 50\u{a0}%",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
            "\u{65e5}\u{672c}\u{8a9e}\u{3000}\u{ff21}",
            "I \u{2764}\u{fe0f} it",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "\u{1f970}",
            "5 \u{20bf}",
            "\u{1e922}\u{1e923}",
        ] {
            assert!(is_seen(text), "{text}");
        }
    }

    #[test]
    fn what_hides_or_turns_round_is_not() {
        for hidden in [
            '\u{0}',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2065}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{feff}',
            '\u{fff9}',
            '\u{1bca0}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{10ffff}',
        ] {
            for text in [format!("a{hidden}b"), hidden.to_string(), format!("a{hidden}")] {
                assert!(!is_seen(&text), "{text:?}");
            }
        }
        for text in ["a\u{200d}b", "a\u{200c}", "\u{200d}", "a\u{fe0f}"] {
            assert!(!is_seen(text), "{text:?}");
        }
    }
}
