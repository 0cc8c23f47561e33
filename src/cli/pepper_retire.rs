//! `grantlog pepper retire`: makes anew what can be made anew, waits for or ends the rest, then says that the pepper is worth
//! nothing. Each step can be stopped and done again; servers that know the newer pepper run on.

use std::time::Duration;

use clap::Args;
use grantlog_domain::{ClientId, Timestamp};
use grantlog_projections::tables::clients::{self, ClientRow};
use serde::Serialize;

use super::opened::Opened;
use super::pepper::{Rests, rests};
use super::{CliError, output, read_models};
use crate::config::Settings;
use crate::peppers::TAKE_OVER_SECONDS;
use crate::secrets::{KnownPepper, PepperSource, Secrets, pepper_file};
use crate::store::vault::Vault;

/// From when a pepper is being retired until every server knows it: those that have no newer one have stopped then.
const SETTLED_SECONDS: i64 = 5;
/// Between two looks at what still rests on it, with `--wait`.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "\
Without --wait and --end nothing is ended: what cannot be made anew is counted, and the pepper stays.\n\
It can be stopped at any time and goes on where it was when it is said again.")]
pub(super) struct Retire {
    /// The pepper's id
    id: u16,
    /// Wait until nothing rests on it: until grants and sessions have ended, and clients have new secrets
    #[arg(long)]
    wait: bool,
    /// End what rests on it: grants are revoked, sessions end, client secrets and registration access tokens open nothing
    #[arg(long, conflicts_with = "wait")]
    end: bool,
    /// Take its line out of the pepper file when it is done
    #[arg(long)]
    remove: bool,
}

/// What was done, as printed.
#[derive(Debug, Serialize)]
struct Done {
    id: u16,
    retired_at: String,
    /// Whether the pepper file is without it now.
    removed: bool,
    /// Clients that need a new secret (`grantlog client rotate-secret`).
    clients_without_secret: Vec<Named>,
    /// Clients that cannot change their registration any more.
    clients_without_registration_access_token: Vec<Named>,
}

#[derive(Debug, Serialize)]
struct Named {
    client_id: ClientId,
    client_name: String,
}

impl From<ClientRow> for Named {
    fn from(row: ClientRow) -> Self {
        Self { client_id: row.client_id, client_name: row.metadata.client_name }
    }
}

pub(super) async fn run(opened: &Opened, settings: &Settings, command: &Retire, json: bool) -> Result<(), CliError> {
    let id = command.id;
    let secrets = opened.secrets(settings).await?;
    let pepper = find(opened, id).await?;
    if let Some(retired_at) = pepper.retired_at {
        return finish(settings, command, done(id, retired_at), json);
    }
    check(opened, &secrets, id).await?;
    let vault = opened.vault(settings).await?;
    opened.store.begin_retiring(id, opened.clock.now()).await?;
    renew(&vault, id).await?;
    settle(opened, id).await?;
    read_models::be_caught_up(opened).await?;
    // What was on its way while the servers heard of it.
    renew(&vault, id).await?;
    renew_codes(opened, id).await?;

    let mut done = done(id, opened.clock.now());
    if command.end {
        done.clients_without_secret = named(bare_secrets(opened, &vault, id).await?);
        done.clients_without_registration_access_token =
            named(clients::registered_under_pepper(opened.db(), id).await?);
        end(opened, &vault, id).await?;
    } else {
        wait(opened, &vault, command).await?;
    }
    vault.forget_attempts_before(used_from(opened, secrets.newest_pepper()).await?).await?;
    opened.store.keep_identifiers(&secrets).await?;
    let retired_at = opened.clock.now();
    opened.store.end_retiring(id, retired_at).await?;
    finish(settings, command, Done { retired_at: output::moment(retired_at), ..done }, json)
}

async fn find(opened: &Opened, id: u16) -> Result<KnownPepper, CliError> {
    let known = opened.store.peppers().await?;
    known.into_iter().find(|pepper| pepper.id == id).ok_or_else(|| {
        CliError::NotFound(format!("there is no pepper {id} that this database was used with (grantlog pepper list)"))
    })
}

/// Only what a newer one has taken over from can be retired.
async fn check(opened: &Opened, secrets: &Secrets, id: u16) -> Result<(), CliError> {
    let newest = secrets.newest_pepper();
    if id < newest {
        return Ok(());
    }
    let next = opened.store.peppers().await?.into_iter().find(|pepper| pepper.id > id);
    Err(CliError::Refused(match next.map(|next| (next.id, next.used_from)) {
        None => format!("pepper {id} is the newest: first say grantlog pepper rotate"),
        Some((next, None)) => format!("pepper {next} is not used yet: first say grantlog pepper rotate"),
        Some((next, Some(from))) => format!(
            "pepper {next} is used from {} on: try again then, at most {TAKE_OVER_SECONDS} seconds from now",
            output::moment(from)
        ),
    }))
}

async fn renew(vault: &Vault, id: u16) -> Result<(), CliError> {
    let bar = output::progress("making anew");
    bar.set_length(u64::try_from(vault.held_under(id).await?.rows()).unwrap_or(0));
    let renewed = vault.renew(id, &mut |rows| bar.inc(u64::try_from(rows).unwrap_or(0))).await?;
    bar.finish_and_clear();
    for what in renewed.damaged {
        output::message(&format!("{what} cannot be opened, by nobody: it stays as it is"));
    }
    Ok(())
}

/// What the log holds stays true; that it was decided is said under the newer pepper from now on.
async fn renew_codes(opened: &Opened, id: u16) -> Result<(), CliError> {
    let bar = output::progress("making the codes of events anew");
    let left = opened
        .store
        .renew_codes(id, &mut |at| {
            bar.set_length(u64::try_from(at.total).unwrap_or(0));
            bar.set_position(u64::try_from(at.done).unwrap_or(0));
        })
        .await?;
    bar.finish_and_clear();
    match left {
        0 => Ok(()),
        left => Err(CliError::Refused(format!(
            "{left} events have their codes under pepper {id}, and this role may not change them: first, as the owner of the \
             events and with this pepper file, grantlog migrate; then say this again"
        ))),
    }
}

/// Waits until every server has heard of it.
async fn settle(opened: &Opened, id: u16) -> Result<(), CliError> {
    let since = find(opened, id).await?.retiring_at.unwrap_or(opened.clock.now());
    let left = since.plus_seconds(SETTLED_SECONDS).0 - opened.clock.now().0;
    if let Ok(left @ 1..) = u64::try_from(left) {
        tokio::time::sleep(Duration::from_secs(left)).await;
    }
    Ok(())
}

/// Until nothing rests on it any more; without `--wait` only a look.
async fn wait(opened: &Opened, vault: &Vault, command: &Retire) -> Result<(), CliError> {
    let id = command.id;
    let bar = output::progress("waiting for what rests on it to end");
    let mut most = 0;
    loop {
        let rests = rests(opened, vault, id).await?;
        let left = rests.lasting();
        if left == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
        if !command.wait {
            return Err(CliError::Refused(refusal(opened, vault, id, rests).await?));
        }
        most = left.max(most);
        bar.set_length(u64::try_from(most).unwrap_or(0));
        bar.set_position(u64::try_from(most - left).unwrap_or(0));
        tokio::time::sleep(LOOK_EVERY).await;
        read_models::be_caught_up(opened).await?;
    }
}

async fn refusal(opened: &Opened, vault: &Vault, id: u16, rests: Rests) -> Result<String, CliError> {
    let mut text = format!(
        "what can be made anew is; these rest on pepper {id} and cannot: {}\n\
         --wait waits until they have ended, --end ends them",
        rests.told()
    );
    for client in named(bare_secrets(opened, vault, id).await?) {
        text.push_str(&format!(
            "\n{} {}: give it a new secret with grantlog client rotate-secret",
            client.client_id,
            output::printable(&client.client_name)
        ));
    }
    Ok(text)
}

async fn end(opened: &Opened, vault: &Vault, id: u16) -> Result<(), CliError> {
    let rests = rests(opened, vault, id).await?;
    let bar = output::progress("ending");
    bar.set_length(u64::try_from(rests.grants + rests.sessions).unwrap_or(0));
    let by = opened.context();
    opened.store.end_grants_under_pepper(id, &by, &|| bar.inc(1)).await?;
    opened.store.end_sessions_under_pepper(id, &by, &|| bar.inc(1)).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Clients whose secret was hashed under that pepper and of which there is nothing but the hash.
pub(super) async fn bare_secrets(opened: &Opened, vault: &Vault, id: u16) -> Result<Vec<ClientRow>, CliError> {
    let mut bare = Vec::new();
    for row in clients::secrets_under_pepper(opened.db(), id).await? {
        let Some(hash) = row.secret else { continue };
        if vault.client_secret(row.client_id, &hash).await?.is_none() {
            bare.push(row);
        }
    }
    Ok(bare)
}

fn named(rows: Vec<ClientRow>) -> Vec<Named> {
    rows.into_iter().map(Named::from).collect()
}

async fn used_from(opened: &Opened, id: u16) -> Result<Timestamp, CliError> {
    Ok(find(opened, id).await?.used_from.unwrap_or_default())
}

fn done(id: u16, retired_at: Timestamp) -> Done {
    Done {
        id,
        retired_at: output::moment(retired_at),
        removed: false,
        clients_without_secret: Vec::new(),
        clients_without_registration_access_token: Vec::new(),
    }
}

fn finish(settings: &Settings, command: &Retire, mut done: Done, json: bool) -> Result<(), CliError> {
    let id = done.id;
    let place = match &settings.pepper {
        PepperSource::File(path) if command.remove => {
            pepper_file::remove(path, id).map_err(|error| CliError::Failed(error.to_string()))?;
            done.removed = true;
            path.display().to_string()
        }
        PepperSource::File(path) => path.display().to_string(),
        PepperSource::Text(_) => "GRANTLOG_PEPPER".to_owned(),
    };
    if json {
        return output::json(&done);
    }
    for client in &done.clients_without_secret {
        let name = output::printable(&client.client_name);
        output::line(&format!("{} {name} needs a new secret: grantlog client rotate-secret", client.client_id))?;
    }
    for client in &done.clients_without_registration_access_token {
        let name = output::printable(&client.client_name);
        output::line(&format!("{} {name} cannot change its registration any more", client.client_id))?;
    }
    output::line(&match done.removed {
        true => format!("pepper {id} is retired and out of {place}; take it out of the other servers' too"),
        false => format!("pepper {id} is retired; its line may leave {place} now (retire {id} --remove does that)"),
    })
}
