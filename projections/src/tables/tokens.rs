//! Which access tokens came from a grant, and which of them still stand? Asked by `grantlog grant show` and by the live
//! models when they start. Reads every event of grants that gives or ends a token; rows leave when they have expired.
//!
//! A token carries its grant's id, so it is looked up by grant and hash, and the hash needs no index.

use grantlog_domain::grant::{ACCESS_TOKENS_MAX, AccessToken, GrantEvent};
use grantlog_domain::{Event, GrantId, Recorded, Scope, SecretHash, Timestamp};

use crate::db::{Db, DbError, Fields, Row, Value};
use crate::table::{Column, FoldError, Table};

pub const NAME: &str = "tokens";
pub const VERSION: i64 = 1;

/// One access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub grant_id: GrantId,
    /// Sequence of the event that issued it.
    pub issued_by: i64,
    pub sequence: i64,
    pub token_hash: SecretHash,
    pub scope: Scope,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// When it or its whole grant was revoked.
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Tokens;

impl Table for Tokens {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["grant"];
    const COLUMNS: &'static [Column] = &[
        Column::text("grant_id"),
        Column::int("issued_by"),
        Column::int("sequence"),
        Column::text("token_hash"),
        Column::text("scope"),
        Column::int("issued_at"),
        Column::int("expires_at"),
        Column::int("revoked_at").or_null(),
    ];
    const KEY: usize = 2;
    const ORDER: &'static str = "issued_by";
    const INDEXES: &'static [&'static str] = &["expires_at"];
    const EXPIRES: Option<&'static str> = Some("expires_at");

    type Row = TokenRow;

    fn group(event: &Recorded) -> Option<String> {
        match &event.event {
            Event::Grant(GrantEvent::CodeIssued(code)) if code.access_token.is_none() => None,
            Event::Grant(GrantEvent::IdTokenIssued(_)) => None,
            Event::Grant(_) => Some(event.aggregate_id.clone()),
            _ => None,
        }
    }

    fn fold(rows: &mut Vec<TokenRow>, recorded: &Recorded) -> Result<(), FoldError> {
        let Event::Grant(event) = &recorded.event else { return Ok(()) };
        if rows.iter().any(|row| row.sequence >= recorded.sequence) {
            return Ok(());
        }
        match event {
            GrantEvent::CodeIssued(code) => {
                if let Some(token) = &code.access_token {
                    rows.push(issued(recorded, token, code.at)?);
                }
            }
            GrantEvent::IdTokenIssued(_) => {}
            GrantEvent::CodeRedeemed { access_token, at, .. } => rows.push(issued(recorded, access_token, *at)?),
            GrantEvent::Opened(opened) => rows.push(issued(recorded, &opened.access_token, opened.at)?),
            GrantEvent::Refreshed(refreshed) => {
                // As the aggregate itself remembers them.
                rows.retain(|row| row.expires_at > refreshed.at);
                if rows.len() >= ACCESS_TOKENS_MAX {
                    rows.remove(0);
                }
                rows.push(issued(recorded, &refreshed.access_token, refreshed.at)?);
            }
            GrantEvent::AccessTokenRevoked { token, at } => end(rows, recorded, *at, |row| row.token_hash == *token),
            GrantEvent::Revoked { at, .. } => end(rows, recorded, *at, |_| true),
        }
        Ok(())
    }

    fn read(row: &Row) -> Result<TokenRow, DbError> {
        Ok(TokenRow {
            grant_id: row.parse(0)?,
            issued_by: row.int(1)?,
            sequence: row.int(2)?,
            token_hash: row.parse(3)?,
            scope: Scope::parse(row.str(4)?).map_err(|error| DbError::Malformed(error.to_string()))?,
            issued_at: Timestamp(row.int(5)?),
            expires_at: Timestamp(row.int(6)?),
            revoked_at: row.opt_int(7)?.map(Timestamp),
        })
    }

    fn write(row: &TokenRow) -> Vec<Value> {
        vec![
            row.grant_id.to_string().into(),
            row.issued_by.into(),
            row.sequence.into(),
            row.token_hash.to_string().into(),
            row.scope.to_string().into(),
            row.issued_at.0.into(),
            row.expires_at.0.into(),
            row.revoked_at.map(|at| at.0).into(),
        ]
    }
}

fn issued(recorded: &Recorded, token: &AccessToken, at: Timestamp) -> Result<TokenRow, FoldError> {
    Ok(TokenRow {
        grant_id: recorded.aggregate_id.parse().map_err(|_| FoldError("not a grant id".to_owned()))?,
        issued_by: recorded.sequence,
        sequence: recorded.sequence,
        token_hash: token.hash,
        scope: token.scope.clone(),
        issued_at: at,
        expires_at: token.expires_at,
        revoked_at: None,
    })
}

fn end(rows: &mut [TokenRow], recorded: &Recorded, at: Timestamp, which: impl Fn(&TokenRow) -> bool) {
    for row in rows.iter_mut().filter(|row| row.revoked_at.is_none() && which(row)) {
        row.revoked_at = Some(at);
        row.sequence = recorded.sequence;
    }
}

/// The tokens of a grant whose rows have not left, the oldest first.
pub async fn of_grant(db: &Db, grant: GrantId) -> Result<Vec<TokenRow>, DbError> {
    super::rows::<Tokens>(db, "WHERE grant_id = $1 ORDER BY issued_by", &[grant.to_string().into()]).await
}

/// What the live models need of a token that stands.
pub(crate) struct LivingToken<'a> {
    pub(crate) grant_id: GrantId,
    pub(crate) issued_by: i64,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) token_hash: SecretHash,
    pub(crate) scope: &'a str,
}

/// All tokens that stand at `now`, in the columns that [`LivingToken::read`] reads.
pub(crate) fn living(now: Timestamp) -> String {
    format!(
        "SELECT grant_id, issued_by, issued_at, expires_at, token_hash, scope FROM {NAME}_v{VERSION} \
         WHERE revoked_at IS NULL AND expires_at > {now}"
    )
}

impl<'a> LivingToken<'a> {
    pub(crate) fn read(mut row: Fields<'a>) -> Result<Self, DbError> {
        Ok(Self {
            grant_id: row.parse()?,
            issued_by: row.int()?,
            issued_at: Timestamp(row.int()?),
            expires_at: Timestamp(row.int()?),
            token_hash: row.parse()?,
            scope: row.str()?,
        })
    }
}
