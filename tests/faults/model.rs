//! What a client knows of its grants from the answers that it got.

use std::collections::BTreeMap;

use crate::harness::{Answer, Client, Pkce};

/// Tokens that a client keeps of one grant. Below the number that a grant itself remembers (64), whose oldest leave first.
const TOKENS_MAX: usize = 40;

/// What may be said of a token or a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Given, and nobody asked to end it.
    Active,
    /// Its end was acknowledged.
    Ended,
    /// A request that ends it got no answer, so both are right.
    Either,
}

impl Expected {
    /// What holds of something of which both hold.
    pub fn and(self, other: Expected) -> Expected {
        match (self, other) {
            (Expected::Ended, _) | (_, Expected::Ended) => Expected::Ended,
            (Expected::Active, Expected::Active) => Expected::Active,
            _ => Expected::Either,
        }
    }

    /// Whether introspection may answer so.
    pub fn allows(self, active: bool) -> bool {
        match self {
            Expected::Active => active,
            Expected::Ended => !active,
            Expected::Either => true,
        }
    }
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Token {
    pub access: String,
    pub expected: Expected,
}

/// A secret that is used once: a code or a refresh token.
#[derive(Clone, Debug)]
pub struct Once {
    pub secret: String,
    /// It was shown and no answer came, so it may have been used.
    pub in_doubt: bool,
}

impl Once {
    pub fn new(secret: String) -> Once {
        Once { secret, in_doubt: false }
    }
}

/// One grant as its client knows it.
#[derive(Clone, Debug)]
pub struct Grant {
    pub client: Client,
    pub tokens: Vec<Token>,
    pub code: Option<(Once, String)>,
    /// The newest refresh token.
    pub refresh: Option<Once>,
    /// One that was replaced: nobody may use it again.
    pub replaced: Option<String>,
    /// The whole grant.
    pub expected: Expected,
}

impl Grant {
    pub fn new(client: &Client) -> Grant {
        Grant {
            client: client.clone(),
            tokens: Vec::new(),
            code: None,
            refresh: None,
            replaced: None,
            expected: Expected::Active,
        }
    }

    pub fn with_code(client: &Client, code: String, pkce: &Pkce) -> Grant {
        Grant { code: Some((Once::new(code), pkce.verifier.clone())), ..Grant::new(client) }
    }

    /// Takes in a token response.
    pub fn receive(&mut self, answer: &Answer) {
        let json = answer.json();
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        self.tokens.extend(text("access_token").map(|access| Token { access, expected: Expected::Active }));
        if self.tokens.len() > TOKENS_MAX {
            self.tokens.remove(0);
        }
        if let Some(next) = text("refresh_token") {
            self.replaced = self.refresh.replace(Once::new(next)).map(|old| old.secret).or(self.replaced.take());
        }
    }

    /// What may be said of one of its tokens.
    pub fn expected_of(&self, token: &Token) -> Expected {
        self.expected.and(token.expected)
    }

    /// Whether its code or newest refresh token must be taken.
    pub fn can_go_on(&self) -> bool {
        let once = self.code.as_ref().map(|(code, _)| code).or(self.refresh.as_ref());
        self.expected == Expected::Active && once.is_some_and(|once| !once.in_doubt)
    }
}

/// How often something was acknowledged, and how often it may have happened besides: what the log must hold.
#[derive(Clone, Debug, Default)]
pub struct Tally(pub BTreeMap<&'static str, Count>);

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub acknowledged: usize,
    pub in_doubt: usize,
}

impl Tally {
    pub fn acknowledged(&mut self, event: &'static str) {
        self.0.entry(event).or_default().acknowledged += 1;
    }

    pub fn in_doubt(&mut self, event: &'static str) {
        self.0.entry(event).or_default().in_doubt += 1;
    }

    pub fn add(&mut self, other: &Tally) {
        for (event, count) in &other.0 {
            let sum = self.0.entry(event).or_default();
            sum.acknowledged += count.acknowledged;
            sum.in_doubt += count.in_doubt;
        }
    }

    pub fn total(&self) -> usize {
        self.0.values().map(|count| count.acknowledged).sum()
    }
}
