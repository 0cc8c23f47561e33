//! `grantlog serve`: start the server.

use clap::Args;

use super::CliError;
use crate::config::Settings;
use crate::demo::DemoError;
use crate::serve::{ServeError, serve};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grantlog serve --demo
  grantlog serve --listen 127.0.0.1:5000
  grantlog serve --listen 0.0.0.0:443 --issuer https://id.example.org   (with tls.cert_file set)
  grantlog --database postgres://grantlog@db/grantlog serve --issuer https://id.example.org

SIGTERM or Ctrl-C stops it; requests in flight are finished first.")]
pub(super) struct Serve {
    /// Address and port to listen on; port 0 takes a free one [env: GRANTLOG_LISTEN] [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The URL under which clients reach this server [env: GRANTLOG_ISSUER] [default: made from --listen when that is a
    /// loopback address]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Try it out: any user name signs in without a password, and a demo client exists. On a loopback address only
    #[arg(long)]
    demo: bool,
}

impl Serve {
    /// As settings by key.
    pub(super) fn flags(&self) -> Vec<(&'static str, String)> {
        let given = [("listen", &self.listen), ("issuer", &self.issuer)];
        let mut flags: Vec<_> =
            given.into_iter().filter_map(|(key, value)| value.clone().map(|value| (key, value))).collect();
        if self.demo {
            flags.push(("demo", "true".to_owned()));
        }
        flags
    }
}

pub(super) async fn run(settings: Settings) -> Result<(), CliError> {
    Ok(serve(settings).await?)
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let text = error.to_string();
        match error {
            ServeError::Config(error) => error.into(),
            ServeError::Keys(error) => error.into(),
            ServeError::Store(error) => error.into(),
            ServeError::Demo(error) => error.into(),
            ServeError::Vault(error) => error.into(),
            ServeError::Database(error) => error.into(),
            ServeError::Server(_) | ServeError::Signal(_) | ServeError::Metrics(_) | ServeError::Background(_) => {
                CliError::Failed(text)
            }
        }
    }
}

impl From<DemoError> for CliError {
    fn from(error: DemoError) -> Self {
        let text = error.to_string();
        match error {
            DemoError::Store(error) => error.into(),
            DemoError::Ending(error) => error.into(),
            DemoError::Client(error) => error.into(),
            DemoError::Purpose(_) => CliError::Refused(text),
            DemoError::RedirectUri(_) => CliError::Failed(text),
        }
    }
}
