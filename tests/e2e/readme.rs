//! What the README and the other pages tell people to type, typed: in an empty folder, with nothing but the binary.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{
    Site, Store,
    suite::{Case, on},
};

pub const CASES: &[&[Case]] = &[
    on![Sqlite:
        the_first_commands_of_the_readme_work_in_an_empty_folder,
        what_the_readme_does_by_hand_works_in_a_demo,
        the_pages_name_only_commands_that_there_are,
    ],
    on![Postgres: the_readmes_commands_for_postgresql_work],
];

/// Where a page is, from the root.
fn page(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the page")
}

/// The indented blocks below that heading, each as a script.
fn blocks(text: &str, heading: &str) -> Vec<String> {
    let (_, below) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    let below = below.lines().skip(1).take_while(|line| !line.starts_with("## "));
    let mut blocks = vec![String::new()];
    for line in below {
        match line.strip_prefix("    ") {
            Some(code) => blocks.last_mut().expect("one").push_str(&format!("{code}\n")),
            None if line.is_empty() && blocks.last().is_some_and(|block| !block.is_empty()) => {
                blocks.push(String::new())
            }
            None => {}
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// Runs a script as on a machine where `grantlog` is installed. A server is asked to stop when it serves; `grantlog-itself`
/// goes on.
async fn run(folder: &Path, script: String) -> String {
    let folder = folder.to_owned();
    let ran = tokio::task::spawn_blocking(move || run_here(&folder, &script)).await.expect("it ran");
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{told}");
    told
}

fn run_here(folder: &Path, script: &str) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_grantlog"));
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    // `serve` runs until it is stopped: here until it says that it serves.
    let wrapper = format!(
        r#"#!/bin/bash
if [ "$1" = serve ]; then
    coproc SERVER {{ exec '{0}' "$@"; }}
    pid=$SERVER_PID
    read -r line <&"${{SERVER[0]}}"
    echo "$line"
    kill "$pid"
    wait "$pid"
else
    exec '{0}' "$@"
fi
"#,
        binary.display()
    );
    let file = bin.join("grantlog");
    if !file.exists() {
        fs::write(&file, wrapper).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("may be run");
        symlink(binary, bin.join("grantlog-itself")).expect("a link");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GRANTLOG_")) {
        command.env_remove(name);
    }
    command.env("GRANTLOG_LISTEN", "127.0.0.1:0").output().expect("bash runs")
}

async fn the_first_commands_of_the_readme_work_in_an_empty_folder(store: Store) {
    let site = Site::new(store, &[]);
    let folder = site.directory().join("empty");
    fs::create_dir(&folder).expect("a folder");
    let first = blocks(&page("README.md"), "## Run it for real").remove(0);
    // What is built is here already.
    let script: Vec<&str> = first.lines().filter(|line| !line.starts_with("cargo ")).collect();
    assert!(script.len() < first.lines().count() && script.len() > 4, "{first}");
    let told = run(&folder, script.join("\n")).await;
    assert!(told.contains("Grantlog serves https://login.example"), "{told}");
    assert!(told.contains("made sqlite:grantlog.db"), "{told}");
    assert!(folder.join("grantlog.pepper").exists());
    // The printed secret is nobody's; what is left is not searched for it.
    fs::remove_dir_all(&folder).expect("removed");
}

async fn what_the_readme_does_by_hand_works_in_a_demo(store: Store) {
    let site = Site::new(store, &[]);
    let folder = site.directory().join("empty");
    fs::create_dir(&folder).expect("a folder");
    let start = blocks(&page("README.md"), "## Start").remove(0);
    let serve = start.trim().strip_prefix("cargo run --release -- ").expect("a command that builds and runs");
    let by_hand = blocks(&page("README.md"), "## By hand").join("\n");
    // Where it listens and what the first answer was is what the reader puts in by hand.
    let by_hand = by_hand.replace("cargo run --release --", "grantlog").replace("127.0.0.1:5000", "$ADDRESS");
    let (before, rest) = by_hand.split_once("curl ").expect("the first call");
    let (first, rest) = rest.split_once("\n\n").expect("the end of it");
    let script = format!(
        r#"grantlog-itself {serve} > out & trap 'kill %1; wait %1' EXIT
until grep -q 'Or paste this' out; do kill -0 %1; sleep 0.05; done
ADDRESS=$(sed -n 's|^ *Open *http://\([^/]*\)/$|\1|p' out)
ID=$(sed -n 's/^ *Client id *//p' out) SECRET=$(sed -n 's/^ *Client secret *//p' out)
{before}TOKEN=$(curl -fsS {first} | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
{}"#,
        rest.replace("curl ", "curl -fsS ")
    );
    let told = run(&folder, script).await;
    for part in [r#""username":"ann""#, r#""active":true"#, "grant.opened", "grant.access_token_revoked"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    fs::remove_dir_all(&folder).expect("removed");
}

async fn the_readmes_commands_for_postgresql_work(store: Store) {
    let site = Site::empty(store, &[]);
    let readme = page("README.md");
    let real = blocks(&readme, "## Run it for real");
    let [first, on_postgresql, rebuild, archive] = &real[..] else { panic!("{} blocks", real.len()) };
    let api = blocks(&readme, "## Protect an API").remove(0);
    let (url, rest) = on_postgresql.split_once('\n').expect("lines");
    assert!(url.starts_with("export GRANTLOG_DATABASE="), "{url}");
    let archive = archive.replace("/var/lib/grantlog/archive", "archive");
    let settings = first.lines().find(|line| line.ends_with("> grantlog.toml")).expect("the settings file");
    let script = format!("{settings}\nexport GRANTLOG_DATABASE='{}'\n{rest}{rebuild}{api}{archive}", site.owner());
    let told = run(site.directory(), script).await;
    for part in ["Grantlog serves https://login.example", "tokens", "client_secret"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    fs::remove_dir_all(site.directory().join("bin")).expect("removed");
}

/// Every `grantlog NOUN VERB --flag` of every page is one that the binary knows.
async fn the_pages_name_only_commands_that_there_are(store: Store) {
    let site = Site::new(store, &[]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "docs/decisions"] {
        let listed = fs::read_dir(root.join(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
        pages.extend(listed.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let mut asked = 0;
    for path in pages {
        let text = fs::read_to_string(&path).expect("the page");
        let in_block =
            text.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| line.trim_start_matches("$ "));
        let inline = text.split('`').skip(1).step_by(2);
        let commands = in_block.chain(inline).filter_map(|code| code.strip_prefix("grantlog "));
        for command in commands {
            let words: Vec<&str> =
                command.split_whitespace().take_while(|word| !word.starts_with(['#', '|', '<', '>'])).collect();
            let is_word = |word: &&&str| {
                word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-')
            };
            let named: Vec<&str> = words.iter().take_while(is_word).take(2).copied().collect();
            let flags = words
                .iter()
                .filter(|word| word.starts_with("--"))
                .map(|word| word.trim_end_matches(|c: char| !c.is_alphanumeric()));
            let Some(noun) = named.first() else { continue };
            let of_noun = site.run(&[noun, "--help"]).await;
            assert!(of_noun.status.success(), "{}: grantlog {command}", path.display());
            let with_verb = [&named[..], &["--help"]].concat();
            let help = match site.run(&with_verb).await {
                verb if verb.status.success() => verb,
                _ => of_noun,
            };
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            for flag in flags.map(|flag| flag.split('=').next().unwrap_or(flag)) {
                assert!(help.contains(flag), "{}: grantlog {command}: no {flag}", path.display());
            }
            asked += 1;
        }
    }
    assert!(asked > 30, "only {asked} commands were found");
}
