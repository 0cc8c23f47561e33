//! Dynamic client registration: RFC 7591 3 and OpenID Connect Dynamic Registration 3. What was registered is read, changed
//! and deleted with the token that came with it: RFC 7592 2.
//!
//! Off by default. What a client says of itself is read by `requested` and checked by the domain like every other
//! registration. Secrets and tokens are shown where they are made, and never again: only their hashes are kept.

mod members;
mod requested;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::{Buf, Bytes};
use futures::Stream;
use grantlog_domain::client::{Author, Client, ClientCommand, ClientError, ClientMetadata, Registration, Stage};
use grantlog_domain::{Actor, ClientId, Scope, SecretHash};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use self::members::Members;
use self::requested::{Allowed, metadata};
use super::error::{ErrorCode, OAuthError, no_store};
use super::metadata::announced;
use super::posted::{self, answer, not_executed, not_read};
use super::profiles::not_told;
use crate::app::App;
use crate::client_fields::to_json;
use crate::config::{RegistrationMode, RegistrationSettings};
use crate::http::bearer::{self, BearerFault};
use crate::http::failure::Failure;
use crate::http::form::{FormError, Parameters, raw_query, read_body};
use crate::http::lately::Lately;
use crate::http::per_address::network;
use crate::http::request_id::{RequestContext, request_context};
use crate::oidc::sector;
use crate::secrets::{Kind, Secret};

pub const PATH: &str = "/oauth/register";

/// The endpoint, and what its requests share.
struct Registrar {
    app: App,
    /// The metadata document (RFC 8414 2): only what it names can be registered.
    announced: Map<String, Value>,
    /// An IPv6 caller has a whole /64 to choose from, so that counts as one.
    lately: Lately<IpAddr>,
}

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    let RegistrationSettings { per_address, per_hour, .. } = app.settings.registration;
    let lately = Lately::new(per_address, per_hour);
    let registrar = Arc::new(Registrar { app: app.clone(), announced: announced(app), lately });
    warp::method()
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .and(request_context())
        .and(warp::body::stream())
        .then(move |method, headers, query, context, body| {
            let registrar = Arc::clone(&registrar);
            async move { answer(registrar.answer(method, Asked { headers, query, context }, body).await) }
        })
        .boxed()
}

/// What a registrant hears when no handler answered: metadata that are too large are invalid (RFC 7591 3.2.2).
pub fn not_answered(failure: Failure) -> OAuthError {
    let error = OAuthError::not_answered(failure);
    if failure == Failure::BodyTooLarge { error.called(ErrorCode::InvalidClientMetadata) } else { error }
}

/// A body as filters of warp hand it on.
trait Body<B>: Stream<Item = Result<B, warp::Error>> + Send {}

impl<B, S: Stream<Item = Result<B, warp::Error>> + Send> Body<B> for S {}

/// A request but for its body.
struct Asked {
    headers: HeaderMap,
    query: String,
    context: RequestContext,
}

impl Registrar {
    async fn answer<B: Buf>(&self, method: Method, asked: Asked, body: impl Body<B>) -> Result<Response, OAuthError> {
        match method {
            Method::POST => self.register(asked, body).await,
            Method::PUT => self.update(asked, body).await,
            Method::DELETE => self.delete(asked).await,
            _ => self.read(asked).await,
        }
    }

    /// RFC 7591 3.1 and 3.2.1.
    async fn register<B: Buf>(&self, asked: Asked, body: impl Body<B>) -> Result<Response, OAuthError> {
        let app = &self.app;
        let actor = who_registers(&app.settings.registration, &asked.headers)?;
        let members = self.members(&asked, body).await?;
        let author = match actor {
            Actor::InitialAccessToken(_) => Author::InitialAccessToken,
            _ => Author::Anonymous,
        };
        let metadata = metadata(members, &self.allowed(author, None))?;
        self.count(&asked)?;
        self.check_room(author)?;
        sector::check(app.remote(), &metadata, None).await.map_err(|error| invalid(error.to_string()))?;
        let client_id = ClientId(app.new_id());
        let secret = self.secret(client_id, &metadata, metadata.has_secret(), &asked).await?;
        let (token, token_hash) = app.secrets.mint(Kind::RegistrationAccessToken, client_id.0);
        let command = ClientCommand::Register {
            metadata: metadata.clone(),
            secret: secret.as_ref().map(|(_, hash)| *hash),
            owner: None,
            registration_access_token: Some(token_hash),
            widest: Some(self.app.settings.registration.scope.clone()),
            by: author,
            at: app.now(),
        };
        let by = app.command_context(actor, &asked.context, None);
        let executed = app.store.create::<Client>(&client_id.to_string(), command, &by).await;
        executed.map_err(|error| not_executed(error, &asked.context, refused))?;
        let mut document = self.document(client_id, &metadata, token.expose());
        insert_secret(&mut document, secret.as_ref().map(|(secret, _)| secret));
        Ok(respond(StatusCode::CREATED, document))
    }

    /// A new secret and its hash, if there shall be one.
    async fn secret(
        &self,
        client_id: ClientId,
        metadata: &ClientMetadata,
        is_new: bool,
        asked: &Asked,
    ) -> Result<Option<(Secret<String>, SecretHash)>, OAuthError> {
        if !is_new {
            return Ok(None);
        }
        let minted = self.app.vault.mint_client_secret(client_id, metadata).await;
        minted.map(Some).map_err(|error| not_told(&error, &asked.context))
    }

    /// RFC 7592 2.1. The secret is not known here any more, so it is not told.
    async fn read(&self, asked: Asked) -> Result<Response, OAuthError> {
        let held = self.held(&asked).await?;
        Ok(respond(StatusCode::OK, self.document(held.client_id, &held.registration.metadata, &held.token)))
    }

    /// RFC 7592 2.2: all of the metadata anew; what is not there is taken away.
    async fn update<B: Buf>(&self, asked: Asked, body: impl Body<B>) -> Result<Response, OAuthError> {
        let (app, held) = (&self.app, self.held(&asked).await?);
        let members = self.members(&asked, body).await?;
        held.check_same(app, &members)?;
        let metadata = metadata(members, &self.allowed(Author::Anonymous, Some(&held.registration)))?;
        self.count(&asked)?;
        let before = Some(&held.registration.metadata);
        sector::check(app.remote(), &metadata, before).await.map_err(|error| invalid(error.to_string()))?;
        let is_new = metadata.needs_new_secret(&held.registration.metadata);
        let secret = self.secret(held.client_id, &metadata, is_new, &asked).await?;
        let hash = secret.as_ref().map(|(_, hash)| *hash);
        let command = ClientCommand::Update {
            metadata: metadata.clone(),
            secret: hash,
            vouch: false,
            widest: Some(self.app.settings.registration.scope.clone()),
            by: Author::Anonymous,
            at: app.now(),
        };
        self.execute(&held, &asked, command).await?;
        let mut document = self.document(held.client_id, &metadata, &held.token);
        insert_secret(&mut document, secret.as_ref().map(|(secret, _)| secret));
        Ok(respond(StatusCode::OK, document))
    }

    /// RFC 7592 2.3. Its tokens are inactive at once, its grants end (`consequences`).
    async fn delete(&self, asked: Asked) -> Result<Response, OAuthError> {
        let held = self.held(&asked).await?;
        self.execute(&held, &asked, ClientCommand::Delete { by: Author::Anonymous, at: self.app.now() }).await?;
        let mut response = Response::new(String::new().into());
        *response.status_mut() = StatusCode::NO_CONTENT;
        no_store(response.headers_mut());
        Ok(response)
    }

    async fn execute(&self, held: &Held, asked: &Asked, command: ClientCommand) -> Result<(), OAuthError> {
        let by = self.app.command_context(Actor::Client(held.client_id), &asked.context, None);
        let executed = self.app.store.execute::<Client>(&held.client_id.to_string(), command, &by).await;
        executed.map(drop).map_err(|error| not_executed(error, &asked.context, refused))
    }

    /// The client whose registration access token is shown (RFC 7592 2), as the log has it. Who was deleted or disabled has
    /// none any more.
    async fn held(&self, asked: &Asked) -> Result<Held, OAuthError> {
        let parameters = Parameters::parse(asked.query.as_bytes(), self.app.settings.http.parameters)?;
        let token = bearer::token(&asked.headers, &asked.query, None).map_err(no_token)?;
        let (id, hash) = self.app.secrets.parse(Kind::RegistrationAccessToken, token).ok_or_else(wrong_token)?;
        let client_id = ClientId(id);
        if parameters.get("client_id") != Some(client_id.to_string().as_str()) {
            return Err(wrong_token());
        }
        let client = self.app.store.load::<Client>(&client_id.to_string()).await;
        let client = client.map_err(|error| not_read(&error, &asked.context))?.aggregate;
        match client.stage() {
            // Compared in constant time.
            Stage::Enabled(registration) if registration.registration_access_token == Some(hash) => {
                Ok(Held { client_id, registration: (**registration).clone(), token: token.to_owned() })
            }
            _ => Err(wrong_token()),
        }
    }

    async fn members<B: Buf>(&self, asked: &Asked, body: impl Body<B>) -> Result<Members, OAuthError> {
        let essence = asked.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !essence.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(invalid("the body must be application/json"));
        }
        let body: Result<Bytes, FormError> = read_body(body, self.app.settings.http.body_bytes).await;
        Members::parse(&body.map_err(|error| match error {
            FormError::TooLarge => not_answered(Failure::BodyTooLarge),
            error => error.into(),
        })?)
    }

    fn allowed<'a>(&'a self, by: Author, held: Option<&'a Registration>) -> Allowed<'a> {
        let RegistrationSettings { scope, default_scope, .. } = &self.app.settings.registration;
        Allowed { announced: &self.announced, scope, default_scope, by, held }
    }

    /// Every client is kept in memory, so those for whom nobody answers are bounded.
    fn check_room(&self, author: Author) -> Result<(), OAuthError> {
        let most = self.app.settings.registration.clients_max;
        if author != Author::Anonymous || self.app.live.registered_themselves() < most {
            return Ok(());
        }
        let why = "as many clients have registered themselves as this server takes; unused ones leave after a while";
        Err(OAuthError::new(ErrorCode::TemporarilyUnavailable, why))
    }

    fn count(&self, asked: &Asked) -> Result<(), OAuthError> {
        self.lately.count(network(asked.context.caller), self.app.now()).map_err(OAuthError::too_many)
    }

    /// RFC 7591 3.2.1, RFC 7592 3.
    fn document(&self, client_id: ClientId, metadata: &ClientMetadata, token: &str) -> Map<String, Value> {
        let mut document = to_json(metadata);
        let uri = format!("{}?client_id={client_id}", self.app.settings.issuer.url(PATH));
        document.insert("client_id".to_owned(), json!(client_id));
        // An id has the time at which it was made (RFC 9562 5.7).
        if let Some(made) = client_id.0.get_timestamp() {
            document.insert("client_id_issued_at".to_owned(), json!(made.to_unix().0));
        }
        document.insert("registration_client_uri".to_owned(), json!(uri));
        document.insert("registration_access_token".to_owned(), json!(token));
        document
    }
}

/// A client that proved to be itself.
struct Held {
    client_id: ClientId,
    registration: Registration,
    /// The registration access token, as it was shown.
    token: String,
}

impl Held {
    /// RFC 7592 2.2: a client says which one it is; its secret, if it says it, is not another one; and what this server makes
    /// is not in the request.
    fn check_same(&self, app: &App, members: &Members) -> Result<(), OAuthError> {
        if members.get("client_id").and_then(Value::as_str) != Some(self.client_id.to_string().as_str()) {
            return Err(invalid("client_id must be the client's own"));
        }
        if let Some(secret) = members.get("client_secret") {
            let parsed = secret.as_str().and_then(|secret| app.secrets.parse(Kind::ClientSecret, secret));
            if parsed.is_none_or(|(_, hash)| self.registration.secret != Some(hash)) {
                return Err(invalid("client_secret must be the client's own"));
            }
        }
        let made_here =
            ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];
        match made_here.into_iter().find(|name| members.get(name).is_some()) {
            Some(name) => Err(invalid(format!("{name} is not for clients to say"))),
            None => Ok(()),
        }
    }
}

/// RFC 7591 3: anybody, or who shows an initial access token, or nobody.
fn who_registers(settings: &RegistrationSettings, headers: &HeaderMap) -> Result<Actor, OAuthError> {
    let off = || OAuthError::new(ErrorCode::AccessDenied, "clients are not registered here");
    let shown = match (settings.mode, bearer::token(headers, "", None)) {
        (RegistrationMode::Off, _) => return Err(off()),
        (RegistrationMode::Open, Err(BearerFault::Missing)) => return Ok(Actor::Anonymous),
        (_, shown) => shown.map_err(no_token)?,
    };
    // In constant time; how long a token is, is no secret.
    let is_shown =
        |known: &Secret<String>| verify_slices_are_equal(shown.as_bytes(), known.expose().as_bytes()).is_ok();
    let known = settings.initial_access_tokens.iter().find(|known| is_shown(&known.token));
    known.map(|known| Actor::InitialAccessToken(known.name.clone())).ok_or_else(wrong_token)
}

fn no_token(fault: BearerFault) -> OAuthError {
    match fault {
        BearerFault::Missing => OAuthError::token_missing(&Scope::default()),
        fault => OAuthError::malformed_bearer(fault.to_string()),
    }
}

fn wrong_token() -> OAuthError {
    OAuthError::invalid_token(&Scope::default())
}

fn invalid(description: impl Into<String>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, description.into())
}

/// What a client hears of a refusal of the domain (RFC 7591 3.2.2).
fn refused(error: ClientError) -> OAuthError {
    let code = match error {
        ClientError::RedirectUri(_) | ClientError::NoRedirectUri | ClientError::TooManyRedirectUris => {
            ErrorCode::InvalidRedirectUri
        }
        // Between the look at the token and the command.
        ClientError::NotFound | ClientError::Deleted => return wrong_token(),
        _ => ErrorCode::InvalidClientMetadata,
    };
    OAuthError::new(code, error.to_string())
}

fn insert_secret(document: &mut Map<String, Value>, secret: Option<&Secret<String>>) {
    if let Some(secret) = secret {
        document.insert("client_secret".to_owned(), json!(secret.expose()));
        document.insert("client_secret_expires_at".to_owned(), json!(0));
    }
}

fn respond(status: StatusCode, document: Map<String, Value>) -> Response {
    let mut response = posted::json(Value::Object(document).to_string());
    *response.status_mut() = status;
    response
}
