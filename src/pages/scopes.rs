//! Scopes in words (RFC 6749 3.3): the one table behind consent, the client form and the account page.

use grantlog_domain::Scope;

use crate::oidc::claims::CLAIMS;

/// What a scope token allows, for people.
pub struct KnownScope {
    pub token: &'static str,
    /// What the application may do, as the end of "it may ...".
    pub title: &'static str,
    pub detail: &'static str,
}

/// The scopes that this server itself gives a meaning.
pub const KNOWN: &[KnownScope] = &[
    KnownScope {
        token: "openid",
        title: "Sign you in",
        detail: "With the identifier under which this server knows you.",
    },
    KnownScope {
        token: "profile",
        title: "See who you are",
        detail: "Your user name, the identifier under which this server knows you, and what your profile says.",
    },
    KnownScope { token: "email", title: "See your e-mail address", detail: "And whether it was verified." },
    KnownScope { token: "address", title: "See your postal address", detail: "As your profile has it." },
    KnownScope { token: "phone", title: "See your phone number", detail: "And whether it was verified." },
    KnownScope {
        token: "offline_access",
        title: "Do all this while you are away",
        detail: "Until you take it back, or it ends by itself.",
    },
];

/// One line of the consent page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub title: String,
    pub detail: String,
    /// Not allowed to this client before, while something else was.
    pub new: bool,
}

/// What a scope asks for, line by line. `allowed` is what the user allowed this client before.
pub fn asks(scope: &Scope, allowed: &Scope) -> Vec<Ask> {
    let ask = |token: &str| {
        let new = !allowed.is_empty() && !allowed.contains(token);
        match known(token) {
            Some(known) => Ask { title: known.title.to_owned(), detail: known.detail.to_owned(), new },
            // The token is ASCII without blanks; what it means is known to the API that asks for it.
            None => Ask {
                title: format!("Use “{token}”"),
                detail: "A permission of another service, which gives this name its meaning.".to_owned(),
                new,
            },
        }
    };
    scope.tokens().map(ask).collect()
}

/// One line for claims that are asked for by name; nothing when there are none.
pub fn claims_ask(names: &[&str], new: bool) -> Option<Ask> {
    let words: Vec<&str> = CLAIMS.iter().filter(|claim| names.contains(&claim.name)).map(|claim| claim.words).collect();
    let (last, rest) = words.split_last()?;
    let list = if rest.is_empty() { (*last).to_owned() } else { format!("{} and {last}", rest.join(", ")) };
    Some(Ask { title: format!("See your {list}"), detail: "As far as your profile has it.".to_owned(), new })
}

/// A scope as one short sentence: "see who you are, use “reports”".
pub fn sentence(scope: &Scope) -> String {
    if scope.is_empty() {
        return "Know that you are signed in here".to_owned();
    }
    let titles: Vec<String> = asks(scope, &Scope::default()).into_iter().map(|ask| ask.title).collect();
    let mut sentence = titles[0].clone();
    for title in &titles[1..] {
        let mut letters = title.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
        sentence.push_str(", ");
        sentence.push_str(&first);
        sentence.push_str(letters.as_str());
    }
    sentence
}

fn known(token: &str) -> Option<&'static KnownScope> {
    KNOWN.iter().find(|known| known.token == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::parse(text).expect("a scope")
    }

    #[test]
    fn every_known_scope_is_a_scope_token_with_words() {
        for known in KNOWN {
            assert_eq!(scope(known.token).tokens().count(), 1);
            assert!(!known.title.is_empty() && known.detail.ends_with('.'));
        }
    }

    #[test]
    fn an_unknown_scope_is_named_and_not_explained_away() {
        let asks = asks(&scope("profile reports:read"), &Scope::default());
        assert_eq!(asks[0].title, "See who you are");
        assert!(asks[1].title.contains("reports:read"));
    }

    #[test]
    fn what_was_not_allowed_before_is_marked() {
        let asks = asks(&scope("profile reports"), &scope("profile"));
        assert_eq!(asks.iter().map(|ask| ask.new).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn claims_are_named_in_words() {
        let title = |names: &[&str]| claims_ask(names, false).map(|ask| ask.title);
        assert_eq!(title(&["email"]).as_deref(), Some("See your e-mail address"));
        let three = title(&["phone_number", "name", "email"]);
        assert_eq!(three.as_deref(), Some("See your full name, e-mail address and phone number"));
        assert_eq!(title(&[]), None);
    }

    #[test]
    fn a_scope_reads_as_a_sentence() {
        assert_eq!(sentence(&scope("profile reports")), "See who you are, use “reports”");
        assert_eq!(sentence(&Scope::default()), "Know that you are signed in here");
    }
}
