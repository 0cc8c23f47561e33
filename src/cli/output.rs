//! What commands print: results on standard output, everything else on standard error.

use std::io::{IsTerminal, Write};

use grantlog_domain::Timestamp;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::CliError;
use crate::store::Ended;

/// One line of text. A reader that went away (`grantlog … | head`) ends the command quietly.
pub(super) fn line(text: &str) -> Result<(), CliError> {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(CliError::ReaderGone),
        Err(error) => Err(CliError::Failed(format!("cannot write the result: {error}"))),
    }
}

/// A value as indented JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    line(&serde_json::to_string_pretty(value).map_err(|error| CliError::Failed(error.to_string()))?)
}

/// A value as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), CliError> {
    line(&serde_json::to_string(value).map_err(|error| CliError::Failed(error.to_string()))?)
}

/// A line for people, on standard error.
pub(super) fn message(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", without_passwords(text));
}

/// The same without what stands before an `@` in a URL, nor its parameters: what somebody typed in the wrong place may be a
/// database's.
pub(super) fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(after.len());
        let (url, behind) = after.split_at(end);
        let host = url.rfind('@').map_or(url, |at| {
            shown.push_str("***");
            &url[at..]
        });
        // A password may also come as a parameter.
        match host.to_ascii_lowercase().find("password=") {
            Some(at) => {
                shown.push_str(&host[..at]);
                shown.push_str("password=***");
            }
            None => shown.push_str(host),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

/// Names the grants or sessions that could not be read.
pub(super) fn tell_damaged(ended: &Ended) {
    for aggregate in &ended.damaged {
        message(&format!("{aggregate} is damaged, so it counts as ended"));
    }
}

/// Name and value pairs below each other; pairs without a value are left out.
pub(super) fn fields(pairs: &[(&str, String)]) -> Result<(), CliError> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        line(&format!("{name:width$}  {}", printable(value)))?;
    }
    Ok(())
}

/// A table with a head; nothing but a message when it is empty.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
    if rows.is_empty() {
        message("(none)");
        return Ok(());
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let print = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", printable(cell)));
        line(padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    print(head.to_vec())?;
    rows.iter().try_for_each(|row| print(row.iter().map(String::as_str).collect()))
}

/// What a terminal may be shown: names come from outside and could hold its control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time as `2026-01-31T12:00:00Z`.
pub(super) fn moment(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.0).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Unix milliseconds as `2026-01-31T12:00:00.123Z`.
pub(super) fn moment_millis(millis: i64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok();
    at.and_then(|at| at.format(format).ok()).unwrap_or_default()
}

/// A progress bar on standard error, when that is a terminal: place, rate and time left.
pub(super) fn progress(what: &'static str) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = "{msg} [{bar:30}] {human_pos}/{human_len} ({per_sec}, {eta} left)";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn a_url_in_a_message_is_without_its_password() {
        for (text, shown) in [
            ("no 'postgres://u:p@ss@db.example/x' here", "no 'postgres://***@db.example/x' here"),
            ("a https://one.example/ b sqlite://u:p@h c", "a https://one.example/ b sqlite://***@h c"),
            ("postgres://h/x?password=p&sslmode=require", "postgres://h/x?password=***"),
            ("nothing ann@example.org", "nothing ann@example.org"),
            ("://", "://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(Timestamp(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(moment_millis(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(moment_millis(1_700_000_000_100), "2023-11-14T22:13:20.100Z");
    }
}
