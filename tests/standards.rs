//! `docs/standards.md` and the tree agree: see the first lines of that file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the protocol is: every standard that one of these files cites has a row for that file.
const PROTOCOL: &[&str] = &[
    "src/oauth",
    "src/oidc",
    "src/resource",
    "src/http/bearer.rs",
    "src/http/client_assertion.rs",
    "src/http/client_auth.rs",
    "src/http/form.rs",
];

/// Standards that are named only to say that they are for later, or where something else is found.
const MENTIONED_ONLY: &[(&str, &str)] = &[
    ("src/oauth/mod.rs", "RFC 6749"),
    ("src/oauth/mod.rs", "RFC 8628"),
    ("src/oauth/mod.rs", "RFC 9126"),
    ("src/oauth/posted.rs", "RFC 6749"),
    ("src/oauth/metadata.rs", "RFC 7662"),
    ("src/resource/mod.rs", "RFC 6749"),
];

struct Row {
    section: String,
    file: String,
    test: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("docs/standards.md names {path}: {error}"))
}

fn rows() -> Vec<Row> {
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    read("docs/standards.md")
        .lines()
        .filter(|line| ["| RFC ", "| OpenID ", "| OAuth 2.0 "].iter().any(|start| line.starts_with(start)))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').collect();
            assert_eq!(cells.len(), 4, "not four cells: {line}");
            Row { section: cell(cells[0]), file: cell(cells[2]), test: cell(cells[3]) }
        })
        .collect()
}

/// `RFC` and number of every citation.
fn cited(text: &str) -> BTreeSet<String> {
    let numbers = text.split("RFC ").skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        format!("RFC {digits}")
    });
    numbers.filter(|name| name.len() > "RFC ".len()).collect()
}

fn rust_files(path: &Path, found: &mut Vec<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            rust_files(&entry, found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
        let relative = path.strip_prefix(root()).expect("inside of the repository");
        found.push(relative.to_string_lossy().into_owned());
    }
}

#[test]
fn every_file_cites_its_section() {
    for row in rows() {
        assert!(read(&row.file).contains(&row.section), "{} does not cite {}", row.file, row.section);
    }
}

#[test]
fn every_test_is_there() {
    for row in rows() {
        let (file, name) = row.test.split_once("::").unwrap_or_else(|| panic!("not file::function: {}", row.test));
        assert!(read(file).contains(&format!("fn {name}(")), "{file} has no test {name}");
    }
}

#[test]
fn every_standard_that_a_protocol_file_cites_has_a_row() {
    let (rows, mut files) = (rows(), Vec::new());
    for path in PROTOCOL {
        rust_files(&root().join(path), &mut files);
    }
    assert!(files.len() > 20, "the protocol files were not found: {files:?}");
    for file in files {
        let text = read(&file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for standard in cited(code) {
            let known = MENTIONED_ONLY.contains(&(file.as_str(), standard.as_str()));
            let has_row = rows.iter().any(|row| row.file == file && cited(&row.section).contains(&standard));
            assert!(known || has_row, "{file} cites {standard}, and docs/standards.md has no row for that");
        }
    }
}
