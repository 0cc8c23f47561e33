//! `grantlog migrate`: bring the database up to date.

use clap::Args;
use grantlog_projections::read_models::other_owner;
use serde_json::json;

use super::opened::Opened;
use super::{CliError, output, read_models};
use crate::config::Settings;
use crate::demo;
use crate::store::Purpose;

#[derive(Debug, Args)]
#[command(after_help = "\
Only `migrate` and `serve` bring a database up to date; `client create`, `user create` and `key rotate` make a SQLite file
that is not there yet. What an event says never changes. In a database that was used before events had codes, each event
gets its own now, which needs the pepper file of the server.")]
pub(super) struct Migrate {
    /// After a logical restore into another PostgreSQL cluster: sort new events behind the restored ones. Stop every
    /// other Grantlog first
    #[arg(long)]
    rebase: bool,
    /// Say what a database of release 0.1 is for, from which a demo was served: real disables the demo's client and ends every
    /// session and grant
    #[arg(long, value_name = "demo|real", value_parser = ["demo", "real"], hide_possible_values = true)]
    mark: Option<String>,
}

/// What needs the log, and so the peppers; a database that was never used has neither. Answers how many events got their
/// codes.
async fn finish(opened: &Opened, settings: &Settings) -> Result<u64, CliError> {
    if !opened.store.is_used().await? {
        return Ok(0);
    }
    let secrets = opened.secrets(settings).await?;
    let bar = output::progress("giving events their codes");
    let attested = opened
        .store
        .attest(&secrets, &mut |at| {
            bar.set_length(u64::try_from(at.total).unwrap_or(0));
            bar.set_position(u64::try_from(at.done).unwrap_or(0));
        })
        .await?;
    bar.finish_and_clear();
    for pepper in opened.store.peppers().await? {
        if pepper.retiring_at.is_some() && pepper.retired_at.is_none() {
            opened.store.renew_codes(pepper.id, &mut |_| ()).await?;
        }
    }
    // The role that they belong to makes them when it starts.
    if other_owner(opened.db()).await?.is_none() {
        read_models::there(opened).await?;
    }
    Ok(attested)
}

pub(super) async fn run(command: Migrate, settings: &Settings, json: bool) -> Result<(), CliError> {
    let opened = Opened::connect(settings, true).await?;
    if command.rebase {
        let bias = opened.store.rebase().await?;
        return match (json, bias) {
            (true, bias) => output::json(&json!({ "rebased": bias.is_some(), "bias": bias })),
            (false, Some(bias)) => output::line(&format!("rebased: new events are sorted {bias} later")),
            (false, None) => output::line("nothing to do: the log is at home in this cluster"),
        };
    }
    let bar = output::progress("migrating");
    let applied = opened
        .store
        .migrate(&mut |step| {
            bar.set_length(step.of as u64);
            bar.set_position(step.number as u64);
            bar.println(format!("{:04} {}", step.version, step.description));
        })
        .await?;
    bar.finish_and_clear();
    let attested = finish(&opened, settings).await?;
    if let Some(mark) = &command.mark {
        let purpose = if mark == Purpose::Demo.as_str() { Purpose::Demo } else { Purpose::Real };
        read_models::there(&opened).await?;
        demo::mark(&opened.store, purpose, opened.clock.now(), &opened.context()).await?;
    }
    if json {
        return output::json(&json!({ "applied": applied, "attested": attested }));
    }
    if attested > 0 {
        output::line(&format!("{attested} events that were there before are taken for true from now on"))?;
    }
    output::line(&match applied {
        0 => format!("{} is up to date", settings.database),
        applied => format!("{} is up to date now ({applied} migrations applied)", settings.database),
    })
}
