//! The log: lines on standard error, as text or JSON.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogSettings;

/// Starts the log of this process; a second call changes nothing.
///
/// Below `warn` only our own lines are taken: at `debug` and `trace` the libraries print headers and bodies, and
/// with them tokens and secrets.
pub fn start(settings: &LogSettings) {
    // The directives were checked with the settings.
    let level = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let ours = FilterFn::new(is_ours).with_max_level_hint(LevelFilter::TRACE);
    let layer = if settings.json {
        format.json().flatten_event(true).with_span_list(false).with_filter(ours).boxed()
    } else {
        let format = format.with_ansi(std::io::stderr().is_terminal());
        format.with_filter(ours).boxed()
    };
    let _ = tracing_subscriber::registry().with(level).with(layer).try_init();
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN || metadata.target().starts_with("grantlog")
}
