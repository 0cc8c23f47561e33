//! The register of every secret that was handed out, and the search for them in everything that was left.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use aho_corasick::AhoCorasick;
use serde_json::Value;

use super::{Answer, html};

/// Secrets that the terminal shows on purpose: the demonstration's.
static SHOWN_ON_TERMINAL: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

static SECRETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Shorter values are found everywhere by chance, and none of ours is shorter.
const LENGTH_MIN: usize = 16;

/// The end of a secret is searched for, so that one stored without its prefix or its id is found too.
const LENGTH_SEARCHED: usize = 24;

/// Fields of forms and of JSON objects that hold a secret.
const FIELDS: &[&str] = &[
    "access_token",
    "client_secret",
    "code",
    "code_verifier",
    "csrf",
    "current_password",
    "new_password",
    "password",
    "refresh_token",
    "registration_access_token",
    "token",
];

/// Registers a secret.
pub fn register(secret: &str) {
    if secret.len() >= LENGTH_MIN {
        SECRETS.lock().expect("not poisoned").insert(secret.to_owned());
    }
}

/// Registers a secret that the server's own terminal shows on purpose.
pub fn register_shown_on_terminal(secret: &str) {
    register(secret);
    SHOWN_ON_TERMINAL.lock().expect("not poisoned").insert(secret.to_owned());
}

/// Registers the value when the field's name says that it is a secret.
pub fn register_field(name: &str, value: &str) {
    if FIELDS.contains(&name) {
        register(value);
    }
}

/// Registers what an answer handed out: tokens and secrets in JSON, in a redirect, in cookies and in hidden fields.
pub fn register_answer(answer: &Answer) {
    if let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(&answer.body) {
        for (name, value) in &object {
            register_field(name, value.as_str().unwrap_or_default());
        }
    }
    register_marked(&answer.text());
    if let Some(location) = answer.location() {
        let pairs = location.query().into_iter().chain(location.fragment());
        for (name, value) in pairs.flat_map(|text| form_urlencoded::parse(text.as_bytes())) {
            register_field(&name, &value);
        }
    }
    for cookie in answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()) {
        if let Some((_, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
            register(value);
        }
    }
    if answer.header("content-type").is_some_and(|value| value.starts_with("text/html")) {
        for form in html::forms(&answer.text()) {
            form.fields.iter().for_each(|(name, value)| register_field(name, value));
        }
    }
}

/// Registers what looks like one of our secrets, wherever it stands in a text: `gla_` and the like.
pub fn register_marked(text: &str) {
    let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for (start, _) in text.match_indices("gl") {
        // In the midst of other letters it is chance: the modulus of a public key is long enough for it.
        if text[..start].chars().next_back().is_some_and(|c| is_part(&c)) {
            continue;
        }
        let word: String = text[start..].chars().take_while(is_part).collect();
        if word.len() > 40 && word.as_bytes()[3] == b'_' {
            register(&word);
        }
    }
}

/// How many there are.
pub fn count() -> usize {
    SECRETS.lock().expect("not poisoned").len()
}

/// A secret found where none may be. The secret itself is not shown.
pub struct Found {
    pub file: PathBuf,
    pub offset: usize,
    /// Which one, as an index.
    pub secret: usize,
    /// The bytes before it, which say what it was written as.
    pub before: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}, after {:?}", self.file.display(), self.offset, self.before)
    }
}

/// Searches every file under `directory` for every registered secret.
pub fn search(directory: &Path) -> Vec<Found> {
    let secrets: Vec<String> = SECRETS.lock().expect("not poisoned").iter().cloned().collect();
    let shown = SHOWN_ON_TERMINAL.lock().expect("not poisoned").clone();
    let is_terminal = |found: &Found| found.file.file_name().is_some_and(|name| name == "server.log");
    let mut found = search_for(&secrets, directory);
    found.retain(|found| !(is_terminal(found) && shown.contains(&secrets[found.secret])));
    found
}

/// Searches every file under `directory` for the ends of these secrets.
pub fn search_for(secrets: &[String], directory: &Path) -> Vec<Found> {
    let ends = secrets.iter().map(|secret| &secret.as_bytes()[secret.len().saturating_sub(LENGTH_SEARCHED)..]);
    let searcher = AhoCorasick::new(ends).expect("a searcher for this many secrets");
    let mut found = Vec::new();
    for file in files(directory) {
        let Ok(bytes) = fs::read(&file) else { continue };
        for hit in searcher.find_iter(&bytes).take(5) {
            let before = String::from_utf8_lossy(&bytes[hit.start().saturating_sub(60)..hit.start()]).into_owned();
            found.push(Found { file: file.clone(), offset: hit.start(), secret: hit.pattern().as_usize(), before });
        }
    }
    found
}

/// Every file below, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}
