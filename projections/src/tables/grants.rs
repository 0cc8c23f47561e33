//! Who allowed what to whom, and does it still stand? Asked by the home and account pages ("what I allowed") and
//! `grantlog grant`. Reads every event of grants; rows leave when they have expired.

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{Authentication, ConsentDigest, GrantEvent, RequestedClaims};
use grantlog_domain::{ClientId, Event, GrantId, Recorded, Scope, SessionId, Timestamp, UserId};

use super::Page;
use crate::db::{Db, DbError, Fields, Row, Value};
use crate::table::{Column, FoldError, Table, follows};

pub const NAME: &str = "grants";
pub const VERSION: i64 = 3;

/// `living` (see [`GrantRow::is_living`]) in SQL; `$1` is the time.
const LIVING: &str = "stage <> 'revoked' AND expires_at > $1 AND (stage = 'open' OR code_expires_at > $1)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStage {
    /// A code is out and nobody has redeemed it.
    CodeIssued,
    Open,
    Revoked,
}

impl GrantStage {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeIssued => "code_issued",
            Self::Open => "open",
            Self::Revoked => "revoked",
        }
    }
}

impl std::str::FromStr for GrantStage {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::CodeIssued, Self::Open, Self::Revoked].into_iter().find(|stage| stage.as_str() == text).ok_or(())
    }
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    pub grant_id: GrantId,
    pub sequence: i64,
    pub client_id: ClientId,
    /// Absent for client credentials.
    pub user_id: Option<UserId>,
    pub session_id: Option<SessionId>,
    pub grant_type: GrantType,
    pub scope: Scope,
    /// Beside those that the scope opens (OpenID Connect Core 5.5).
    pub claims: RequestedClaims,
    /// What the user was shown; absent where that was not kept, or nobody was asked.
    pub consent: Option<ConsentDigest>,
    pub stage: GrantStage,
    /// A refresh token is out.
    pub refreshable: bool,
    pub created_at: Timestamp,
    /// The last code or token given.
    pub last_used_at: Timestamp,
    /// Absolute end.
    pub expires_at: Timestamp,
    pub code_expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// As `RevocationReason` spells it.
    pub revoked_reason: Option<String>,
}

impl GrantRow {
    /// Neither revoked nor expired, and its code, if one is still out, has not expired either.
    #[must_use]
    pub fn is_living(&self, now: Timestamp) -> bool {
        now < self.expires_at
            && match self.stage {
                GrantStage::Open => true,
                GrantStage::CodeIssued => self.code_expires_at.is_some_and(|expires_at| now < expires_at),
                GrantStage::Revoked => false,
            }
    }

    fn opened(recorded: &Recorded, event: &GrantEvent) -> Result<Option<Self>, FoldError> {
        let grant_id = recorded.aggregate_id.parse().map_err(|_| FoldError("not a grant id".to_owned()))?;
        let sequence = recorded.sequence;
        Ok(match event {
            GrantEvent::CodeIssued(issued) => Some(Self {
                grant_id,
                sequence,
                client_id: issued.client_id,
                user_id: Some(issued.user_id),
                session_id: Some(issued.session_id),
                grant_type: GrantType::AuthorizationCode,
                scope: issued.scope.clone(),
                claims: claims(issued.authentication.as_ref()),
                consent: issued.consent,
                // An access token beside the code stands whether the code is redeemed or not.
                stage: if issued.access_token.is_some() { GrantStage::Open } else { GrantStage::CodeIssued },
                refreshable: false,
                created_at: issued.at,
                last_used_at: issued.at,
                expires_at: issued.expires_at,
                code_expires_at: Some(issued.code_expires_at),
                revoked_at: None,
                revoked_reason: None,
            }),
            GrantEvent::Opened(opened) => Some(Self {
                grant_id,
                sequence,
                client_id: opened.client_id,
                user_id: opened.user_id,
                session_id: opened.session_id,
                grant_type: opened.grant_type,
                scope: opened.scope.clone(),
                claims: claims(opened.authentication.as_ref()),
                consent: opened.consent,
                stage: GrantStage::Open,
                refreshable: opened.refresh_token.is_some(),
                created_at: opened.at,
                last_used_at: opened.at,
                expires_at: opened.expires_at,
                code_expires_at: None,
                revoked_at: None,
                revoked_reason: None,
            }),
            GrantEvent::IdTokenIssued(issued) => Some(Self {
                grant_id,
                sequence,
                client_id: issued.client_id,
                user_id: Some(issued.user_id),
                session_id: Some(issued.session_id),
                grant_type: GrantType::Implicit,
                scope: issued.scope.clone(),
                claims: issued.authentication.claims.clone(),
                consent: issued.consent,
                stage: GrantStage::Open,
                refreshable: false,
                created_at: issued.at,
                last_used_at: issued.at,
                expires_at: issued.expires_at,
                code_expires_at: None,
                revoked_at: None,
                revoked_reason: None,
            }),
            _ => None,
        })
    }
}

#[derive(Debug)]
pub struct Grants;

impl Table for Grants {
    const NAME: &'static str = NAME;
    const VERSION: i64 = VERSION;
    const AGGREGATES: &'static [&'static str] = &["grant"];
    const COLUMNS: &'static [Column] = &[
        Column::text("grant_id"),
        Column::int("sequence"),
        Column::text("client_id"),
        Column::text("user_id").or_null(),
        Column::text("session_id").or_null(),
        Column::text("grant_type"),
        Column::text("scope"),
        Column::text("stage"),
        Column::int("refreshable"),
        Column::int("created_at"),
        Column::int("last_used_at"),
        Column::int("expires_at"),
        Column::int("code_expires_at").or_null(),
        Column::int("revoked_at").or_null(),
        Column::text("revoked_reason").or_null(),
        Column::text("claims").or_null(),
        Column::text("consent").or_null(),
    ];
    const KEY: usize = 1;
    const ORDER: &'static str = "grant_id";
    const INDEXES: &'static [&'static str] = &["user_id, last_used_at", "client_id, last_used_at", "expires_at"];
    const EXPIRES: Option<&'static str> = Some("expires_at");

    type Row = GrantRow;

    fn group(event: &Recorded) -> Option<String> {
        matches!(event.event, Event::Grant(_)).then(|| event.aggregate_id.clone())
    }

    fn fold(rows: &mut Vec<GrantRow>, recorded: &Recorded) -> Result<(), FoldError> {
        let Event::Grant(event) = &recorded.event else { return Ok(()) };
        if let Some(row) = GrantRow::opened(recorded, event)? {
            if rows.is_empty() {
                rows.push(row);
            }
            return Ok(());
        }
        // A row that has left is of no use any more.
        let Some(row) = rows.first_mut() else { return Ok(()) };
        if !follows(row.sequence, recorded)? {
            return Ok(());
        }
        row.sequence = recorded.sequence;
        match event {
            GrantEvent::CodeIssued(_)
            | GrantEvent::Opened(_)
            | GrantEvent::IdTokenIssued(_)
            | GrantEvent::AccessTokenRevoked { .. } => {}
            GrantEvent::CodeRedeemed { refresh_token, at, .. } => {
                row.stage = GrantStage::Open;
                row.refreshable = refresh_token.is_some();
                row.last_used_at = *at;
            }
            GrantEvent::Refreshed(refreshed) => row.last_used_at = refreshed.at,
            GrantEvent::Revoked { reason, at } => {
                row.stage = GrantStage::Revoked;
                row.revoked_at = Some(*at);
                row.revoked_reason = Some(reason.as_str().to_owned());
            }
        }
        Ok(())
    }

    fn read(row: &Row) -> Result<GrantRow, DbError> {
        Ok(GrantRow {
            grant_id: row.parse(0)?,
            sequence: row.int(1)?,
            client_id: row.parse(2)?,
            user_id: row.opt_parse(3)?,
            session_id: row.opt_parse(4)?,
            grant_type: row.parse(5)?,
            scope: Scope::parse(row.str(6)?).map_err(|error| DbError::Malformed(error.to_string()))?,
            stage: row.parse(7)?,
            refreshable: row.flag(8)?,
            created_at: Timestamp(row.int(9)?),
            last_used_at: Timestamp(row.int(10)?),
            expires_at: Timestamp(row.int(11)?),
            code_expires_at: row.opt_int(12)?.map(Timestamp),
            revoked_at: row.opt_int(13)?.map(Timestamp),
            revoked_reason: row.opt_text(14)?,
            claims: read_claims(row.opt_text(15)?.as_deref())?,
            consent: row.opt_parse(16)?,
        })
    }

    fn write(row: &GrantRow) -> Vec<Value> {
        vec![
            row.grant_id.to_string().into(),
            row.sequence.into(),
            row.client_id.to_string().into(),
            row.user_id.map(|id| id.to_string()).into(),
            row.session_id.map(|id| id.to_string()).into(),
            row.grant_type.as_str().into(),
            row.scope.to_string().into(),
            row.stage.as_str().into(),
            row.refreshable.into(),
            row.created_at.0.into(),
            row.last_used_at.0.into(),
            row.expires_at.0.into(),
            row.code_expires_at.map(|at| at.0).into(),
            row.revoked_at.map(|at| at.0).into(),
            row.revoked_reason.clone().into(),
            write_claims(&row.claims).into(),
            row.consent.map(|consent| consent.to_string()).into(),
        ]
    }
}

fn claims(authentication: Option<&Authentication>) -> RequestedClaims {
    authentication.map(|authentication| authentication.claims.clone()).unwrap_or_default()
}

/// As JSON; nothing for the many grants that name none.
fn write_claims(claims: &RequestedClaims) -> Option<String> {
    // Lists of texts: this always serializes.
    (!claims.is_empty()).then(|| serde_json::to_string(claims).unwrap_or_default())
}

fn read_claims(text: Option<&str>) -> Result<RequestedClaims, DbError> {
    let Some(text) = text else { return Ok(RequestedClaims::default()) };
    serde_json::from_str(text).map_err(|error| DbError::Malformed(error.to_string()))
}

/// The grant, unless it is unknown or its row has left.
pub async fn find(db: &Db, id: GrantId) -> Result<Option<GrantRow>, DbError> {
    Ok(super::rows::<Grants>(db, "WHERE grant_id = $1", &[id.to_string().into()]).await?.pop())
}

/// Which grants a list shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantFilter {
    pub user: Option<UserId>,
    pub client: Option<ClientId>,
    /// Only those that live at this time.
    pub living_at: Option<Timestamp>,
    pub stage: Option<GrantStage>,
    /// Only those that stand behind this one in the list.
    pub after: Option<GrantId>,
}

/// Grants, the ones used last first.
pub async fn list(db: &Db, filter: GrantFilter, page: Page) -> Result<Vec<GrantRow>, DbError> {
    let mut conditions: Vec<String> = Vec::new();
    let mut values = Vec::new();
    if let Some(now) = filter.living_at {
        values.push(now.0.into());
        conditions.push(LIVING.to_owned());
    }
    for (column, id) in [
        ("user_id", filter.user.map(|user| user.to_string())),
        ("client_id", filter.client.map(|client| client.to_string())),
        ("stage", filter.stage.map(|stage| stage.as_str().to_owned())),
    ] {
        if let Some(id) = id {
            values.push(id.into());
            conditions.push(format!("{column} = ${}", values.len()));
        }
    }
    if let Some(after) = filter.after {
        values.push(after.to_string().into());
        conditions.push(format!(
            "(last_used_at, grant_id) < (SELECT a.last_used_at, a.grant_id FROM {NAME}_v{VERSION} a WHERE a.grant_id = ${})",
            values.len()
        ));
    }
    let mut rest = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    rest.push_str(" ORDER BY last_used_at DESC, grant_id DESC");
    page.push(&mut rest, &mut values);
    super::rows::<Grants>(db, &rest, &values).await
}

/// Ids of grants that live at `now`, in the order of ids from behind `after`, at most [`super::PAGE_MAX`]: for walking
/// over all of a client or user while they change.
pub async fn living_after(
    db: &Db,
    of: GrantsOf,
    now: Timestamp,
    after: Option<GrantId>,
) -> Result<Vec<GrantId>, DbError> {
    let (condition, ids) = match of {
        GrantsOf::Client(client) => ("client_id = $4", vec![client.to_string().into()]),
        GrantsOf::User(user) => ("user_id = $4", vec![user.to_string().into()]),
        GrantsOf::UserInSession(user, session) => (
            "user_id = $4 AND session_id = $5 AND ' ' || scope || ' ' LIKE '% openid %' \
             AND ' ' || scope || ' ' NOT LIKE '% offline_access %'",
            vec![user.to_string().into(), session.to_string().into()],
        ),
        GrantsOf::UserAtClient(user, client) => {
            ("user_id = $4 AND client_id = $5", vec![user.to_string().into(), client.to_string().into()])
        }
    };
    let sql = format!(
        "SELECT grant_id FROM {NAME}_v{VERSION} WHERE {LIVING} AND grant_id > $2 AND {condition} \
         ORDER BY grant_id LIMIT $3"
    );
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let mut values: Vec<Value> = vec![now.0.into(), after.into(), super::PAGE_MAX.into()];
    values.extend(ids);
    db.fetch(&sql, &values).await?.iter().map(|row| row.parse(0)).collect()
}

/// As [`living_after`], of all clients and users.
pub async fn all_living_after(db: &Db, now: Timestamp, after: Option<GrantId>) -> Result<Vec<GrantId>, DbError> {
    let sql =
        format!("SELECT grant_id FROM {NAME}_v{VERSION} WHERE {LIVING} AND grant_id > $2 ORDER BY grant_id LIMIT $3");
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let values = [now.0.into(), after.into(), super::PAGE_MAX.into()];
    db.fetch(&sql, &values).await?.iter().map(|row| row.parse(0)).collect()
}

/// Whose grants.
#[derive(Clone, Copy, Debug)]
pub enum GrantsOf {
    Client(ClientId),
    User(UserId),
    /// What the user allowed this client.
    UserAtClient(UserId, ClientId),
    /// What the user allowed in this session for as long as they are there: with ID tokens, and without `offline_access`.
    UserInSession(UserId, SessionId),
}

/// What a user allowed one client: all living grants together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub client_id: ClientId,
    /// `None` when the client is not in its table (yet).
    pub client_name: Option<String>,
    /// All of it together.
    pub scope: Scope,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// How many living grants.
    pub grants: i64,
}

/// "What I allowed": the user's living grants by client, the client used last first.
pub async fn allowed_by(db: &Db, user: UserId, now: Timestamp, page: Page) -> Result<Vec<Allowed>, DbError> {
    let mut values = vec![now.0.into(), user.to_string().into()];
    let mut by_client = format!(
        "SELECT client_id, MIN(created_at) AS first_at, MAX(last_used_at) AS last_at, COUNT(*) AS grants \
         FROM {NAME}_v{VERSION} WHERE {LIVING} AND user_id = $2 GROUP BY client_id ORDER BY last_at DESC, client_id"
    );
    page.push(&mut by_client, &mut values);
    let sql = format!(
        "SELECT allowed.client_id, client_name, first_at, last_at, grants FROM ({by_client}) AS allowed \
         LEFT JOIN {}_v{} AS clients ON clients.client_id = allowed.client_id ORDER BY last_at DESC, allowed.client_id",
        super::clients::NAME,
        super::clients::VERSION,
    );
    let mut all = Vec::new();
    for row in db.fetch(&sql, &values).await? {
        all.push(Allowed {
            client_id: row.parse(0)?,
            client_name: row.opt_text(1)?,
            scope: Scope::default(),
            first_at: Timestamp(row.int(2)?),
            last_at: Timestamp(row.int(3)?),
            grants: row.int(4)?,
        });
    }
    add_scopes(db, user, now, &mut all).await?;
    Ok(all)
}

async fn add_scopes(db: &Db, user: UserId, now: Timestamp, all: &mut [Allowed]) -> Result<(), DbError> {
    if all.is_empty() {
        return Ok(());
    }
    let mut values: Vec<Value> = vec![now.0.into(), user.to_string().into()];
    values.extend(all.iter().map(|allowed| Value::from(allowed.client_id.to_string())));
    let places: Vec<String> = (3..=values.len()).map(|place| format!("${place}")).collect();
    let sql = format!(
        "SELECT DISTINCT client_id, scope FROM {NAME}_v{VERSION} WHERE {LIVING} AND user_id = $2 AND client_id IN ({})",
        places.join(", ")
    );
    for row in db.fetch(&sql, &values).await? {
        let client_id: ClientId = row.parse(0)?;
        let scope = Scope::parse(row.str(1)?).map_err(|error| DbError::Malformed(error.to_string()))?;
        if let Some(allowed) = all.iter_mut().find(|allowed| allowed.client_id == client_id) {
            allowed.scope = allowed.scope.union(&scope);
        }
    }
    Ok(())
}

/// What the live models need of a living grant.
pub(crate) struct LivingGrant<'a> {
    pub(crate) grant_id: GrantId,
    pub(crate) client_id: ClientId,
    pub(crate) user_id: Option<UserId>,
    pub(crate) is_consent: bool,
    pub(crate) is_open: bool,
    pub(crate) refreshable: bool,
    pub(crate) expires_at: Timestamp,
    pub(crate) code_expires_at: Option<Timestamp>,
    pub(crate) scope: &'a str,
    pub(crate) claims: RequestedClaims,
    pub(crate) consent: Option<ConsentDigest>,
}

/// All grants that live at `now`, in the columns that [`LivingGrant::read`] reads.
pub(crate) fn living(now: Timestamp) -> String {
    format!(
        "SELECT grant_id, client_id, user_id, grant_type, stage, refreshable, expires_at, code_expires_at, scope, \
         claims, consent FROM {NAME}_v{VERSION} WHERE {}",
        LIVING.replace("$1", &now.to_string())
    )
}

impl<'a> LivingGrant<'a> {
    pub(crate) fn read(mut row: Fields<'a>) -> Result<Self, DbError> {
        Ok(Self {
            grant_id: row.parse()?,
            client_id: row.parse()?,
            user_id: row.opt_parse()?,
            is_consent: is_consent(row.parse()?),
            is_open: row.parse::<GrantStage>()? == GrantStage::Open,
            refreshable: row.flag()?,
            expires_at: Timestamp(row.int()?),
            code_expires_at: row.opt_int()?.map(Timestamp),
            scope: row.str()?,
            claims: read_claims(row.opt_str()?)?,
            consent: row.opt_parse()?,
        })
    }
}

/// The user allows these on the consent page.
const fn is_consent(grant_type: GrantType) -> bool {
    matches!(grant_type, GrantType::AuthorizationCode | GrantType::Implicit)
}
