//! What a client knows of a token from the answers that it got.

use crate::harness::Answer;
use crate::scenario::Report;

/// What may be said of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Issued, and nobody asked to end it.
    Active,
    /// Its end was acknowledged.
    Ended,
    /// A request that changes it got no answer, so both are right.
    Either,
}

/// One token and what its holder may expect.
#[derive(Clone, Debug)]
pub struct Held {
    pub access: String,
    /// The newest refresh token, when there is one.
    pub refresh: Option<String>,
    pub expected: Expected,
    /// A refresh that got no answer may have replaced the refresh token.
    pub refresh_in_doubt: bool,
}

impl Held {
    /// A token as it was just given.
    pub fn new(access: String, refresh: Option<String>) -> Self {
        Self { access, refresh, expected: Expected::Active, refresh_in_doubt: false }
    }

    /// Holds what introspection says against what was acknowledged.
    pub fn check(&self, answer: &Answer, report: &mut Report) {
        report.checked += 1;
        let active = answer.status == 200 && answer.json()["active"] == true;
        let wrong = match self.expected {
            Expected::Active => !active,
            Expected::Ended => active,
            Expected::Either => false,
        };
        if wrong {
            report.violations.push(format!("{:?} was acknowledged, but the answer is {answer}", self.expected));
        }
    }
}
