//! Joins file, environment and flags over the defaults. Flags beat environment beats file beats default.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::table::{self, Kind, SETTINGS, Setting, TEXT_BYTES_MAX, environment_name};

/// Largest settings file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1_048_576;

/// Holds the peppers themselves, in place of a file.
pub(super) const PEPPER_NAME: &str = "GRANTLOG_PEPPER";

/// Names in the environment that begin with `GRANTLOG_` and are not settings.
/// `GRANTLOG_CONFIG` names the settings file; `GRANTLOG_TEST_…` belongs to the test suite.
const NOT_SETTINGS: &[&str] = &["GRANTLOG_CONFIG", PEPPER_NAME];
const NOT_SETTINGS_PREFIX: &str = "GRANTLOG_TEST_";

/// Where a value comes from that nobody gave.
const DEFAULT_ORIGIN: &str = "by default";

/// Why the settings cannot be used. The text names the setting and where it was given.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ConfigError {
    #[error("cannot read the settings file {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("the settings file {path} is not valid TOML: {reason}")]
    Syntax { path: PathBuf, reason: String },
    #[error("unknown setting `{key}` {origin}; did you mean `{nearest}`?")]
    Unknown { key: String, origin: String, nearest: String },
    #[error("`{key}` {origin}: {reason}")]
    Invalid { key: String, origin: String, reason: String },
    #[error("{0}")]
    Refused(String),
}

/// The value of one setting after its check.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Number(i64),
    List(Vec<String>),
}

/// A value and where it came from (`in grantlog.toml`, `from GRANTLOG_LISTEN`, `by default`), for messages.
#[derive(Clone, Debug)]
struct Given {
    value: Value,
    origin: String,
}

/// All settings by key.
pub(super) struct Values {
    given: BTreeMap<&'static str, Given>,
    /// Names in the environment that Kubernetes makes for a Service called grantlog.
    pub(super) passed_over: Vec<String>,
    #[cfg(test)]
    pub(super) read: std::cell::RefCell<std::collections::BTreeSet<String>>,
}

impl Values {
    /// The default of every setting.
    pub(super) fn defaults() -> Self {
        let given = SETTINGS
            .iter()
            .map(|setting| (setting.key, Given { value: default(setting), origin: DEFAULT_ORIGIN.into() }))
            .collect();
        Values {
            given,
            passed_over: Vec::new(),
            #[cfg(test)]
            read: Default::default(),
        }
    }

    /// Lays the file at `path` over what is there.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let unreadable = |reason: String| ConfigError::Unreadable { path: path.into(), reason };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has {size} bytes; at most {FILE_BYTES_MAX} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        self.toml(&text, path)
    }

    /// Lays TOML text over what is there; `path` is for messages.
    pub(super) fn toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let document: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // Its own text shows the line, which may hold a password.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let (line, column) =
                (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or("").chars().count() + 1);
            let reason = format!("line {line}, column {column}: {}", error.message().replace('\n', "; "));
            ConfigError::Syntax { path: path.into(), reason }
        })?;
        let origin = format!("in {}", path.display());
        for (key, value) in flatten(document) {
            let setting = known(&key, &origin)?;
            let value = from_toml(setting, value).map_err(|reason| invalid(&key, &origin, reason))?;
            self.put(setting, value, origin.clone())?;
        }
        Ok(())
    }

    /// Lays the environment over what is there. Names that do not begin with `GRANTLOG_` are none of ours.
    pub(super) fn environment(&mut self, names: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (name, text) in names {
            if !name.starts_with("GRANTLOG_")
                || NOT_SETTINGS.contains(&name.as_str())
                || name.starts_with(NOT_SETTINGS_PREFIX)
            {
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| environment_name(setting.key) == name) else {
                if is_of_a_service(&name, &text) {
                    self.passed_over.push(name);
                    continue;
                }
                let nearest = nearest(&name, SETTINGS.iter().map(|setting| environment_name(setting.key)));
                return Err(ConfigError::Unknown { key: name, origin: "in the environment".into(), nearest });
            };
            self.text(setting, &text, format!("from {name}"))?;
        }
        Ok(())
    }

    /// Lays one flag over what is there; `key` must be in the table.
    pub(super) fn flag(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        let setting = known(key, "as a flag")?;
        self.text(setting, text, format!("from --{}", key.replace(['.', '_'], "-")))
    }

    fn text(&mut self, setting: &'static Setting, text: &str, origin: String) -> Result<(), ConfigError> {
        let value = from_text(setting, text).map_err(|reason| invalid(setting.key, &origin, reason))?;
        self.put(setting, value, origin)
    }

    fn put(&mut self, setting: &'static Setting, value: Value, origin: String) -> Result<(), ConfigError> {
        check(setting, &value).map_err(|reason| invalid(setting.key, &origin, reason))?;
        self.given.insert(setting.key, Given { value, origin });
        Ok(())
    }

    /// The error that says why the value of `key` cannot be used, and where it was given.
    pub(super) fn refuse(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        let origin = self.given.get(key).map_or("", |given| given.origin.as_str());
        invalid(key, origin, reason.into())
    }

    /// Whether anybody said it: in the file, the environment or as a flag.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.get(key).is_some_and(|given| given.origin != DEFAULT_ORIGIN)
    }

    pub(super) fn value(&self, key: &str) -> &Value {
        #[cfg(test)]
        self.read.borrow_mut().insert(key.to_owned());
        // Keys are literals in this module, and a test reads all of them.
        &self.given.get(key).unwrap_or_else(|| panic!("{key} is not in the table of settings")).value
    }
}

/// Whether Kubernetes puts this into the environment of every pod beside a Service whose name begins with `grantlog`:
/// `GRANTLOG_SERVICE_HOST`, `GRANTLOG_SERVICE_PORT`, `GRANTLOG_SERVICE_PORT_HTTP`, `GRANTLOG_PORT=tcp://10.0.0.1:5000`,
/// `GRANTLOG_PORT_5000_TCP`, and that with `_PROTO`, `_PORT` and `_ADDR`. No setting is called so, nor looks so.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let is_link = |text: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let is_protocol = |text: &str| ["TCP", "UDP", "SCTP"].contains(&text);
    if name.ends_with("_SERVICE_HOST") {
        return is_address(value);
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_number(value);
    }
    if name.ends_with("_PORT") && is_link(value) {
        return true;
    }
    let Some((_, port)) = name.split_once("_PORT_") else { return false };
    match *port.split('_').collect::<Vec<_>>() {
        [number, protocol] => is_number(number) && is_protocol(protocol) && is_link(value),
        [number, protocol, "PROTO"] => is_number(number) && is_protocol(protocol),
        [number, protocol, "PORT"] => is_number(number) && is_protocol(protocol) && is_number(value),
        [number, protocol, "ADDR"] => is_number(number) && is_protocol(protocol) && is_address(value),
        _ => false,
    }
}

fn known(key: &str, origin: &str) -> Result<&'static Setting, ConfigError> {
    table::find(key).ok_or_else(|| ConfigError::Unknown {
        key: key.into(),
        origin: origin.into(),
        nearest: nearest(key, SETTINGS.iter().map(|setting| setting.key.to_owned())),
    })
}

/// The candidate most like `name`. A key in the wrong section is nearer than another key in the same one.
fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let likeness = |candidate: &str| {
        strsim::jaro_winkler(name, candidate).max(strsim::normalized_levenshtein(&last(name), &last(candidate)))
    };
    candidates.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

fn invalid(key: &str, origin: &str, reason: String) -> ConfigError {
    ConfigError::Invalid { key: key.into(), origin: origin.into(), reason }
}

/// `section.key` and value of every entry; deeper tables keep their dots and so become unknown keys.
fn flatten(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut flat = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => {
                flat.extend(flatten(inner).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            toml::Value::Table(_) if SETTINGS.iter().any(|setting| setting.key.starts_with(&format!("{key}."))) => {}
            value => flat.push((key, value)),
        }
    }
    flat
}

pub(super) fn default(setting: &Setting) -> Value {
    match setting.kind {
        Kind::Text { default } | Kind::Choice { default, .. } => Value::Text(default.into()),
        Kind::Flag { default } => Value::Flag(default),
        Kind::Number { default, .. } => Value::Number(default),
        Kind::List { .. } => Value::List(Vec::new()),
    }
}

fn from_toml(setting: &Setting, value: toml::Value) -> Result<Value, String> {
    match (&setting.kind, value) {
        (Kind::Text { .. } | Kind::Choice { .. }, toml::Value::String(text)) => Ok(Value::Text(text)),
        (Kind::Flag { .. }, toml::Value::Boolean(flag)) => Ok(Value::Flag(flag)),
        (Kind::Number { .. }, toml::Value::Integer(number)) => Ok(Value::Number(number)),
        (Kind::List { .. }, toml::Value::Array(items)) => items
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| "every entry must be a text".to_owned()))
            .collect::<Result<_, _>>()
            .map(Value::List),
        (_, other) => Err(format!("must be {}, not {}", shape(setting), other.type_str())),
    }
}

fn from_text(setting: &Setting, text: &str) -> Result<Value, String> {
    let refused = |_| format!("must be {}", shape(setting));
    match setting.kind {
        Kind::Text { .. } | Kind::Choice { .. } => Ok(Value::Text(text.into())),
        Kind::Flag { .. } => text.parse().map(Value::Flag).map_err(|_| format!("must be {}", shape(setting))),
        Kind::Number { .. } => text.parse().map(Value::Number).map_err(refused),
        Kind::List { .. } => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::List(items.map(str::to_owned).collect()))
        }
    }
}

/// Holds a value against the limit of its setting.
fn check(setting: &Setting, value: &Value) -> Result<(), String> {
    let refused = Err(format!("must be {}", shape(setting)));
    match (&setting.kind, value) {
        (Kind::Text { .. }, Value::Text(text)) if text.len() > TEXT_BYTES_MAX || text.contains('\0') => refused,
        (Kind::Choice { of, .. }, Value::Text(text)) if !of.contains(&text.as_str()) => refused,
        (Kind::Number { min, max, .. }, Value::Number(number)) if number < min || number > max => refused,
        (Kind::List { max }, Value::List(items)) if items.len() > *max => refused,
        _ => Ok(()),
    }
}

/// What a setting may hold, in words: "a whole number from 1 to 600 (seconds)".
pub(super) fn shape(setting: &Setting) -> String {
    match setting.kind {
        Kind::Text { .. } => format!("a text of at most {TEXT_BYTES_MAX} bytes"),
        Kind::Flag { .. } => "true or false".into(),
        Kind::Number { min, max, unit, .. } => format!("a whole number from {min} to {max} ({unit})"),
        Kind::Choice { of, .. } => {
            format!("one of {}", of.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
        }
        Kind::List { max } => format!("a list of at most {max} texts"),
    }
}
