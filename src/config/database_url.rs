//! The database URL. It may hold a password, so it is printed without one.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// `sqlite:FILE`, `postgres://…` or `postgresql://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    kind: DatabaseKind,
}

/// Which of the two stores a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    Sqlite(PathBuf),
    Postgres,
}

impl DatabaseUrl {
    pub fn kind(&self) -> &DatabaseKind {
        &self.kind
    }

    /// The URL with its password, for the driver alone: never print it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The same without parameters that the driver does not know: it would print them, with their values.
    pub fn for_driver(&self) -> String {
        let Ok(mut url) = Url::parse(&self.text) else { return self.text.clone() };
        if self.unknown_parameters().is_empty() {
            return self.text.clone();
        }
        let known: Vec<_> = url.query_pairs().filter(|(name, _)| is_known(name)).map(into_owned).collect();
        url.query_pairs_mut().clear().extend_pairs(known);
        url.into()
    }

    /// Names of parameters that the driver does not know.
    pub fn unknown_parameters(&self) -> Vec<String> {
        let DatabaseKind::Postgres = self.kind else { return Vec::new() };
        let Ok(url) = Url::parse(&self.text) else { return Vec::new() };
        let is_word =
            |name: &str| name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let unknown = url.query_pairs().map(|(name, _)| name.into_owned()).filter(|name| !is_known(name));
        // Something else may be what was meant to be hidden.
        unknown.map(|name| if is_word(&name) { name } else { "one that is no word".to_owned() }).collect()
    }

    /// Where the pepper is by default: in the directory of the SQLite file, or in the working directory for PostgreSQL. A
    /// demo that stands beside a real database has one of its own, also for commands that do not know of the demo.
    pub(super) fn pepper_file(&self) -> PathBuf {
        match &self.kind {
            DatabaseKind::Sqlite(file) if file.ends_with("grantlog-demo.db") => file.with_extension("pepper"),
            DatabaseKind::Sqlite(file) => file.parent().unwrap_or(Path::new("")).join("grantlog.pepper"),
            DatabaseKind::Postgres => PathBuf::from("grantlog.pepper"),
        }
    }
}

/// Whether sqlx knows that parameter.
fn is_known(name: &str) -> bool {
    const KNOWN: &[&str] = &[
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "ssl-root-cert",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "statement-cache-capacity",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "application_name",
        "options",
    ];
    KNOWN.contains(&name) || name.starts_with("options[")
}

fn into_owned((name, value): (Cow<'_, str>, Cow<'_, str>)) -> (String, String) {
    (name.into_owned(), value.into_owned())
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            // Parameters could switch off durability, and every process needs the same file.
            return match file {
                "" => Err("names no file: write sqlite:grantlog.db".into()),
                ":memory:" => Err("an event log in memory would be lost: name a file".into()),
                file if file.contains(['?', '#']) => Err("a SQLite URL takes no parameters: sqlite:FILE".into()),
                file => {
                    Ok(DatabaseUrl { text: format!("sqlite:{file}"), kind: DatabaseKind::Sqlite(PathBuf::from(file)) })
                }
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The parser's message does not quote the URL, so a password in it stays hidden.
            Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
            return Ok(DatabaseUrl { text: text.to_owned(), kind: DatabaseKind::Postgres });
        }
        Err("must begin with sqlite: or postgres://".into())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DatabaseKind::Postgres = self.kind else { return f.write_str(&self.text) };
        let Ok(mut url) = Url::parse(&self.text) else { return f.write_str("postgres://…") };
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return f.write_str("postgres://…");
        }
        // A password may also come as a parameter.
        url.set_query(None);
        write!(f, "{url}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}
