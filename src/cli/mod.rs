//! The command line: one file per noun. Results go to standard output (with `--json` as JSON), messages to standard
//! error, and the exit code says what kind of failure it was.

mod archive;
mod client;
mod client_flags;
mod client_kind;
mod client_list;
mod client_shown;
mod error;
mod event_log;
mod events;
mod grant;
mod key;
mod migrate;
mod names;
mod opened;
mod output;
mod pepper;
mod pepper_retire;
mod projections;
mod read_models;
mod serve;
mod session;
mod user;
mod user_list;
mod verify;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{ConfigError, Settings};
pub use error::CliError;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage or settings
  3  not found
  4  refused by a rule
  5  the database is not available

Examples:
  grantlog serve --demo
  grantlog client create --name Shop --redirect-uri https://shop.example/callback --scope profile
  grantlog events follow --json

Every setting can be given in a file (--config) or in the environment (GRANTLOG_...), some as flags.
Flags beat the environment, and that beats the file. grantlog.example.toml has them all.";

/// An OAuth 2.0 authorization server whose database is its audit trail.
#[derive(Debug, Parser)]
#[command(name = "grantlog", version, after_help = AFTER_HELP, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Where the event log lives: sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE [env: GRANTLOG_DATABASE]
    /// [default: sqlite:grantlog.db]
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
    /// Settings file [env: GRANTLOG_CONFIG] [default: grantlog.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Start the server
    Serve(serve::Serve),
    /// Bring the database up to date; makes it when it is new
    Migrate(migrate::Migrate),
    /// Register and manage clients
    #[command(subcommand)]
    Client(Box<client::Client>),
    /// Make and manage users
    #[command(subcommand)]
    User(user::User),
    /// Look at grants and revoke them
    #[command(subcommand)]
    Grant(grant::Grant),
    /// Look at sessions, end them, and see who still has to hear of it
    #[command(subcommand)]
    Session(session::Session),
    /// Look at signing keys and change them
    #[command(subcommand)]
    Key(key::Key),
    /// Look at the peppers, rotate them, and retire one that others may know
    #[command(subcommand)]
    Pepper(pepper::Pepper),
    /// Read the event log, and archive what is over
    #[command(subcommand)]
    Events(events::Events),
    /// Look at the read models, check and rebuild them
    #[command(subcommand)]
    Projections(projections::Projections),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version. They hold nothing that was typed.
        Err(shown) if !shown.use_stderr() => shown.exit(),
        Err(wrong) => return wrong_usage(&wrong),
    };
    match settings(&cli).map_err(CliError::from).and_then(|settings| execute(cli, settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::message(&format!("grantlog: {error}"));
            error.exit_code()
        }
    }
}

/// Exit code 2, as clap has it, without the passwords of what was typed in the wrong place.
fn wrong_usage(wrong: &clap::Error) -> ExitCode {
    let rendered = wrong.render();
    let text = if std::io::stderr().is_terminal() { rendered.ansi().to_string() } else { rendered.to_string() };
    output::message(text.trim_end());
    ExitCode::from(2)
}

fn settings(cli: &Cli) -> Result<Settings, ConfigError> {
    let mut flags: Vec<(&str, String)> = Vec::new();
    flags.extend(cli.global.database.clone().map(|url| ("database", url)));
    if let Noun::Serve(serve) = &cli.noun {
        flags.extend(serve.flags());
    }
    Settings::load(cli.global.config.as_deref(), &flags)
}

fn execute(cli: Cli, settings: Settings) -> Result<(), CliError> {
    let json = cli.global.json;
    if let Noun::Serve(_) = cli.noun {
        crate::logging::start(&settings.log);
        if !settings.passed_over.is_empty() {
            tracing::debug!(names = ?settings.passed_over, "these in the environment are a Kubernetes Service's");
        }
        return runtime(true)?.block_on(serve::run(settings));
    }
    // What the libraries have to say belongs to a server's log; a command says what is wrong itself.
    crate::logging::start(&crate::config::LogSettings { json: false, level: "error".into() });
    runtime(false)?.block_on(async {
        match cli.noun {
            // Started above, in a runtime of its own.
            Noun::Serve(_) => Ok(()),
            Noun::Migrate(command) => migrate::run(command, &settings, json).await,
            Noun::Client(command) => client::run(*command, &settings, json).await,
            Noun::User(command) => user::run(command, &settings, json).await,
            Noun::Grant(command) => grant::run(command, &settings, json).await,
            Noun::Session(command) => session::run(command, &settings, json).await,
            Noun::Key(command) => key::run(command, &settings, json).await,
            Noun::Pepper(command) => pepper::run(command, &settings, json).await,
            Noun::Events(command) => events::run(command, &settings, json).await,
            Noun::Projections(command) => projections::run(command, &settings, json).await,
        }
    })
}

fn runtime(server: bool) -> Result<tokio::runtime::Runtime, CliError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if !server {
        builder.worker_threads(2);
    }
    builder.enable_all().build().map_err(|error| CliError::Failed(format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself() {
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no explanation", command.get_name());
            for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().filter(|inner| inner.get_name() != "help").for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn global_flags_may_stand_behind_the_command() {
        let cli = Cli::try_parse_from(["grantlog", "client", "list", "--json", "--database", "sqlite:x.db"]).unwrap();
        assert!(cli.global.json);
        assert_eq!(cli.global.database.as_deref(), Some("sqlite:x.db"));
    }
}
