//! `grantlog.example.toml`: every setting with its meaning, default, unit and limit, made from the table.

use super::layers::{Value, default, shape};
use super::table::{SETTINGS, environment_name};

const HEAD: &str = "\
# Settings of Grantlog. Every setting is here with its default; an empty text means \"not set\".
#
# Read from the file that --config or GRANTLOG_CONFIG names, else from grantlog.toml in the working directory.
# The environment beats this file, and flags beat the environment. An unknown key is an error.
";

/// Widest comment line.
const COLUMNS: usize = 100;

/// The text of the file.
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let (own_section, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if own_section != section {
            section = own_section;
            text.push_str(&format!("\n[{section}]\n"));
        }
        let value = match default(setting) {
            Value::Text(text) => toml::Value::String(text),
            Value::Flag(flag) => toml::Value::Boolean(flag),
            Value::Number(number) => toml::Value::Integer(number),
            Value::List(items) => items.into(),
        };
        let facts = format!("Takes {}; default {value}; {}.", shape(setting), environment_name(setting.key));
        text.push('\n');
        for line in wrapped(setting.doc).chain(wrapped(&facts)) {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}

fn wrapped(text: &str) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a last line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= COLUMNS {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.into_iter()
}
