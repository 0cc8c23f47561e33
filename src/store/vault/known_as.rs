//! Which user names are one name: RFC 8265 3.3 (UsernameCaseMapped), and what looks the same (Unicode Technical Standard 39, 4).
//!
//! A user is found under a form of the name that is the same for every way to write it. Names that were registered before there
//! were such forms are found under what they had then.

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation as _;
use unicode_security::confusable_detection::skeleton;

use super::users::USERNAME_CHARACTERS_MAX;

/// The form of a new name; `None` for what is none. RFC 8265 3.1: words with one space between them.
pub fn form(name: &str) -> Option<String> {
    let name = trimmed(name)?;
    let words: Option<Vec<_>> = name.split(' ').map(|word| UsernameCaseMapped::enforce(word).ok()).collect();
    Some(looks(&words?.join(" ")))
}

/// That of before: only upper and lower case are one.
pub fn form_of_before(name: &str) -> Option<String> {
    let name = trimmed(name).filter(|name| !name.chars().any(char::is_control))?;
    Some(name.to_lowercase())
}

/// What failures of that name count for, whether it can be one or not.
pub fn counted(name: &str) -> String {
    form(name).unwrap_or_else(|| name.trim().to_lowercase())
}

fn trimmed(name: &str) -> Option<&str> {
    let name = name.trim();
    let length = name.chars().take(USERNAME_CHARACTERS_MAX + 1).count();
    (1..=USERNAME_CHARACTERS_MAX).contains(&length).then_some(name)
}

/// One form for all that looks the same: each character that is not ASCII becomes what it is a look-alike of. What is ASCII
/// stays, because a skeleton would make one name of `rn` and `m`, or of `l` and `1`, which people tell apart or are used to.
fn looks(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let mut looks = String::with_capacity(name.len());
    for char in name.chars() {
        if char.is_ascii() {
            looks.push(char);
            continue;
        }
        let like: String = skeleton(char.encode_utf8(&mut [0; 4])).collect();
        // That of the letter itself is two others.
        looks.push_str(if like == "rn" { "m" } else { &like });
    }
    looks.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_several_ways_is_one_name() {
        for (one, other) in [
            ("Ann", " ann "),
            ("ann@example.com", "ANN@Example.com"),
            ("ann smith", "Ann Smith"),
            ("zo\u{eb}", "zoe\u{308}"),
            ("\u{ff21}nn", "ann"),
            ("\u{c9}clair", "e\u{301}clair"),
        ] {
            assert_eq!(form(one), form(other), "{one} {other}");
            assert!(form(one).is_some(), "{one}");
        }
    }

    #[test]
    fn what_looks_the_same_is_one_name() {
        for like in ["\u{430}dmin", "adm\u{456}n", "adm\u{131}n", "\u{430}dm\u{456}n", "\u{ff41}dmin", "admi\u{578}"] {
            assert_eq!(form(like).as_deref(), Some("admin"), "{like}");
        }
        for other in ["adrnin", "adm1n", "\u{e4}dmin", "admin2", "adm.in"] {
            assert_ne!(form(other).as_deref(), Some("admin"), "{other}");
        }
        for one in [
            "m\u{fc}ller",
            "y\u{131}ld\u{131}z",
            "\u{43e}\u{43b}\u{44c}\u{433}\u{430}",
            "\u{592a}\u{90ce}",
            "\u{5d3}\u{5d5}\u{5d3}",
        ] {
            assert!(form(one).is_some(), "{one}");
        }
        assert_ne!(form("m\u{fc}ller"), form("muller"));
    }

    #[test]
    fn what_hides_is_no_new_name_but_one_of_before_is_found() {
        for hidden in
            ["adm\u{200b}in", "\u{202e}nimda", "ann\u{fe0f}", "\u{feff}ann", "ann  smith", "a\u{2028}b", "\u{1f44d}"]
        {
            assert_eq!(form(hidden), None, "{hidden:?}");
            assert!(form_of_before(hidden).is_some(), "{hidden:?}");
        }
        for none in ["", "  ", "a\nb", "a\0b", &"a".repeat(USERNAME_CHARACTERS_MAX + 1)] {
            assert_eq!((form(none), form_of_before(none)), (None, None), "{none:?}");
        }
    }

    #[test]
    fn plain_names_have_one_form() {
        for name in ["ann", "Ann", "ann smith", "o'neill-2@example.com", "a\"<b>\\", "~!#$%^&*()_+{}|"] {
            assert_eq!(form(name), form_of_before(name), "{name}");
        }
    }
}
