//! `grantlog client`: register and manage clients. A client is printed with the names of RFC 7591.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use grantlog_domain::client::{
    ApplicationType, Author, ClientCommand, ClientError, ClientMetadata, GrantType, ResponseType,
    TokenEndpointAuthMethod,
};
use grantlog_domain::grant::RevocationReason;
use grantlog_domain::{ClientId, RedirectUri, Scope};
use grantlog_projections::tables::grants::GrantsOf;
use serde_json::json;

use super::client_flags::ClientFlags;
use super::client_kind::Kind;
use super::client_list::{List, list_clients};
use super::client_shown::{load, show};
use super::opened::Opened;
use super::{CliError, output, read_models};
use crate::client_fields;
use crate::config::Settings;
use crate::http::client_auth::SUPPORTED;
use crate::oidc::id_token::may_be_unsigned;
use crate::oidc::remote::{Reach, Remote};
use crate::oidc::sector::{self, SectorError};
use crate::store::vault::Vault;

type Aggregate = grantlog_domain::client::Client;

#[derive(Debug, Subcommand)]
pub(super) enum Client {
    /// Register a client; prints its client_id and, once, its client_secret
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List clients, the newest first
    List(List),
    /// Show one client
    Show(Named),
    /// Change a client; what is not given stays as it is, a list that is given replaces the old one, an empty value takes
    /// the old one away
    Update(Update),
    /// Give a client a new secret and print it once; the old one ends at once
    RotateSecret(Named),
    /// Refuse a client everything; its tokens are inactive from now on
    Disable(Named),
    /// Let a disabled client in again
    Enable(Named),
    /// Delete a client for ever; its tokens are inactive from now on
    Delete(Named),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  A web application:
    grantlog client create --name Shop --redirect-uri https://shop.example/callback --scope profile
  An application in the browser or on a phone:
    grantlog client create --name Phone --kind native \\
        --redirect-uri http://127.0.0.1/callback --scope profile
  A service that acts for itself:
    grantlog client create --name Nightly --kind machine --scope \"reports:read\"
  An API, which asks what the tokens are worth that it is shown:
    grantlog client create --name Reports --kind api";

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The client_id
    client_id: ClientId,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name, as users see it (client_name)
    #[arg(long)]
    name: String,
    /// What the other options begin with: web, native (no secret), machine (tokens for itself) or api (asks about the
    /// tokens that it is shown, and gets none)
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Kind::Web, hide_possible_values = true)]
    kind: Kind,
    #[command(flatten)]
    choices: Choices,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// The client_id
    client_id: ClientId,
    /// Name, as users see it (client_name)
    #[arg(long)]
    name: Option<String>,
    /// Answer for a client that somebody else made, as it is then; ends when somebody else changes it
    #[arg(long)]
    vouch: bool,
    #[command(flatten)]
    choices: Choices,
}

/// What a client registers; everything has a default or stays as it is.
#[derive(Debug, Args)]
struct Choices {
    /// Where answers may be sent; exact, may be repeated
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// authorization_code, refresh_token, client_credentials, password or implicit; may be repeated
    /// [default: what the kind says]
    #[arg(long = "grant-type", value_name = "TYPE", value_parser = one_of(GrantType::ALL, GrantType::as_str), hide_possible_values = true)]
    grant_types: Vec<GrantType>,
    /// code, token, id_token, "id_token token", "code id_token", "code token" or "code id_token token"; may be repeated [default: what fits the grant types]
    #[arg(long = "response-type", value_name = "TYPE", value_parser = one_of(ResponseType::ALL, ResponseType::as_str), hide_possible_values = true)]
    response_types: Vec<ResponseType>,
    /// The widest scope that it may ask for, separated by blanks [default: openid profile email where there
    /// are users, none for machine and api]
    #[arg(long)]
    scope: Option<String>,
    /// How it proves who it is (token_endpoint_auth_method) [default: client_secret_basic]
    #[arg(long = "auth-method", alias = "token-endpoint-auth-method", value_name = "METHOD", value_parser = one_of(SUPPORTED, TokenEndpointAuthMethod::as_str), hide_possible_values = true)]
    auth_method: Option<TokenEndpointAuthMethod>,
    /// web or native; a native client chooses its loopback port [default: web]
    #[arg(long, value_name = "TYPE", value_parser = one_of(ApplicationType::ALL, ApplicationType::as_str), hide_possible_values = true)]
    application_type: Option<ApplicationType>,
    /// The client's home page (client_uri)
    #[arg(long, value_name = "URL")]
    client_uri: Option<String>,
    /// Ask this client for PKCE even where the server does not
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    require_pkce: Option<bool>,
    /// Tell it of every active token that it asks about (RFC 7662), not of its own only: for APIs
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    resource_server: Option<bool>,
    #[command(flatten)]
    flags: ClientFlags,
}

/// Takes one of the words of `all`; anything else is an error that lists them.
fn one_of<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + FromStr<Err = ClientError> + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|value| name(*value))).try_map(|word| word.parse::<T>())
}

pub(super) async fn run(command: Client, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = match command {
        Client::Create(_) => Opened::open_or_make(settings).await?,
        _ => Opened::open(settings).await?,
    };
    let vault = opened.vault(settings).await?;
    match command {
        Client::Delete(named) => delete(&opened, named.client_id, json).await,
        Client::Create(create) => register(&opened, &vault, settings, create, json).await,
        Client::List(list) => list_clients(&opened, &vault, &list, json).await,
        Client::Show(named) => show(&opened, named.client_id, None, json).await,
        Client::Update(changed) => update(&opened, &vault, settings, changed, json).await,
        Client::RotateSecret(named) => rotate_secret(&opened, &vault, named.client_id, json).await,
        Client::Disable(named) => {
            let command = ClientCommand::Disable { by: Author::Operator, at: opened.clock.now() };
            change(&opened, named.client_id, command).await?;
            show(&opened, named.client_id, None, json).await
        }
        Client::Enable(named) => {
            if load(&opened, named.client_id).await?.disabled_by.is_some() {
                end_grants(&opened, named.client_id).await?;
            }
            let command = ClientCommand::Enable { by: Author::Operator, at: opened.clock.now() };
            change(&opened, named.client_id, command).await?;
            show(&opened, named.client_id, None, json).await
        }
    }
}

async fn register(
    opened: &Opened,
    vault: &Vault,
    settings: &Settings,
    create: Create,
    json: bool,
) -> Result<(), CliError> {
    let metadata = create.choices.applied_to(create.kind.blank(create.name))?;
    check_signed(&metadata, settings)?;
    check_sector(settings, &metadata, None).await?;
    let client_id = ClientId(opened.new_id());
    let minted = match metadata.has_secret() {
        true => Some(vault.mint_client_secret(client_id, &metadata).await?),
        false => None,
    };
    let (secret, hash) = minted.unzip();
    let command = ClientCommand::Register {
        metadata,
        secret: hash,
        owner: None,
        registration_access_token: None,
        widest: settings.oauth.scopes.clone(),
        by: Author::Operator,
        at: opened.clock.now(),
    };
    opened.store.create::<Aggregate>(&client_id.to_string(), command, &opened.context()).await?;
    show(opened, client_id, secret, json).await
}

async fn update(
    opened: &Opened,
    vault: &Vault,
    settings: &Settings,
    changed: Update,
    json: bool,
) -> Result<(), CliError> {
    let client_id = changed.client_id;
    let registration = load(opened, client_id).await?.registration;
    let before = registration.metadata.clone();
    let named = ClientMetadata {
        client_name: changed.name.unwrap_or_else(|| registration.metadata.client_name.clone()),
        ..registration.metadata
    };
    let metadata = changed.choices.applied_to(named)?;
    check_signed(&metadata, settings)?;
    check_sector(settings, &metadata, Some(&before)).await?;
    let minted = match metadata.needs_new_secret(&before) {
        true => Some(vault.mint_client_secret(client_id, &metadata).await?),
        false => None,
    };
    let (secret, hash) = minted.unzip();
    change(
        opened,
        client_id,
        ClientCommand::Update {
            metadata,
            secret: hash,
            vouch: changed.vouch,
            widest: settings.oauth.scopes.clone(),
            by: Author::Operator,
            at: opened.clock.now(),
        },
    )
    .await?;
    show(opened, client_id, secret, json).await
}

fn check_signed(metadata: &ClientMetadata, settings: &Settings) -> Result<(), CliError> {
    if metadata.openid.id_token_alg().is_some() || may_be_unsigned(settings) {
        return Ok(());
    }
    Err(CliError::Refused("--id-token-signed-response-alg none: only where oauth.unsigned_id_tokens is set".into()))
}

async fn check_sector(
    settings: &Settings,
    metadata: &ClientMetadata,
    before: Option<&ClientMetadata>,
) -> Result<(), CliError> {
    let remote = Remote::new(settings.remote.clone(), Reach::of(settings));
    sector::check(&remote, metadata, before).await.map_err(|error| match &error {
        SectorError::Unreadable(why) => CliError::Refused(format!("{error}: {why}")),
        SectorError::NoList | SectorError::NotListed => CliError::Refused(error.to_string()),
    })
}

async fn delete(opened: &Opened, client_id: ClientId, json: bool) -> Result<(), CliError> {
    let command = ClientCommand::Delete { by: Author::Operator, at: opened.clock.now() };
    change(opened, client_id, command).await?;
    if json {
        return output::json(&json!({ "client_id": client_id, "deleted": true }));
    }
    output::message(&format!("The client {client_id} is deleted."));
    Ok(())
}

async fn rotate_secret(opened: &Opened, vault: &Vault, client_id: ClientId, json: bool) -> Result<(), CliError> {
    let metadata = load(opened, client_id).await?.registration.metadata;
    let (secret, hash) = vault.mint_client_secret(client_id, &metadata).await?;
    change(
        opened,
        client_id,
        ClientCommand::RotateSecret { secret: hash, by: Author::Operator, at: opened.clock.now() },
    )
    .await?;
    show(opened, client_id, Some(secret), json).await
}

async fn change(opened: &Opened, client_id: ClientId, command: ClientCommand) -> Result<(), CliError> {
    load(opened, client_id).await?;
    opened.store.execute::<Aggregate>(&client_id.to_string(), command, &opened.context()).await?;
    Ok(())
}

/// What a server that had not heard of the disabling yet gave meanwhile must not come back with the client.
async fn end_grants(opened: &Opened, client_id: ClientId) -> Result<(), CliError> {
    read_models::there(opened).await?;
    let (of, reason) = (GrantsOf::Client(client_id), RevocationReason::ClientDisabled);
    output::tell_damaged(&opened.store.end_grants(of, reason, &opened.context()).await?);
    Ok(())
}

impl Choices {
    /// `metadata` with what was given on the command line.
    fn applied_to(self, mut metadata: ClientMetadata) -> Result<ClientMetadata, CliError> {
        let refused = |text: String| CliError::Refused(text);
        metadata.application_type = self.application_type.unwrap_or(metadata.application_type);
        metadata.token_endpoint_auth_method = self.auth_method.unwrap_or(metadata.token_endpoint_auth_method);
        metadata.require_pkce = self.require_pkce.unwrap_or(metadata.require_pkce);
        metadata.resource_server = self.resource_server.unwrap_or(metadata.resource_server);
        metadata.client_uri = self.client_uri.or(metadata.client_uri);
        if let Some(scope) = &self.scope {
            metadata.scope = Scope::parse(scope).map_err(|error| refused(format!("--scope: {error}")))?;
        }
        if !self.redirect_uris.is_empty() {
            metadata.redirect_uris = uris(&self.redirect_uris, "--redirect-uri", metadata.is_native())?;
        }
        let grant_types_given = !self.grant_types.is_empty();
        if grant_types_given {
            metadata.grant_types = self.grant_types;
        }
        if !self.response_types.is_empty() {
            metadata.response_types = self.response_types;
        } else if grant_types_given || metadata.response_types.is_empty() {
            metadata.response_types = ResponseType::usual(&metadata.grant_types);
        }
        let metadata = client_fields::changed(&metadata, self.flags.0).map_err(|error| refused(error.to_string()))?;
        metadata.validate().map_err(|error| refused(error.to_string()))?;
        Ok(metadata)
    }
}

fn uris(given: &[String], flag: &str, native: bool) -> Result<Vec<RedirectUri>, CliError> {
    let register = |uri: &String| {
        RedirectUri::register(uri, native).map_err(|error| CliError::Refused(format!("{flag} {uri}: {error}")))
    };
    given.iter().map(register).collect()
}
