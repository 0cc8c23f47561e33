//! A flag for every one of [`FIELDS`], named as the field is.

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use serde_json::{Map, Value};

use crate::client_fields::{FIELDS, Field, Kind};

/// What was given: values by the name of their field, `null` for one that was given empty.
#[derive(Debug, Default)]
pub(super) struct ClientFlags(pub Map<String, Value>);

/// Older names.
const ALIASES: [(&str, &str); 2] =
    [("id_token_signed_response_alg", "id-token-alg"), ("userinfo_signed_response_alg", "userinfo-alg")];

fn arg(field: &'static Field) -> Arg {
    let alias = ALIASES.into_iter().find(|(name, _)| *name == field.name).map(|(_, alias)| alias);
    let arg = Arg::new(field.name).long(field.flag).alias(alias);
    let hint = field.hint.trim_end_matches('.');
    match field.kind {
        Kind::Text => arg.value_name("TEXT").help(hint),
        Kind::Texts => {
            arg.value_name("TEXT").action(ArgAction::Append).help(format!("{hint}; may be repeated, replaces all"))
        }
        Kind::Number => arg.value_name("SECONDS").help(hint),
        Kind::Flag => arg.value_name("true|false").num_args(0..=1).default_missing_value("true").help(hint),
        Kind::Choice(words) => {
            let listed = words().join(", ");
            let parser = PossibleValuesParser::new(words().into_iter().chain([""]));
            arg.value_name("WORD").value_parser(parser).hide_possible_values(true).help(format!("{hint} [{listed}]"))
        }
        Kind::Object => arg.value_name("FILE").help(format!("{hint}, in a file")),
    }
}

fn value(field: &Field, given: &[String]) -> Result<Value, String> {
    let text = match (field.kind, given) {
        (Kind::Object, [file]) if !file.is_empty() => {
            std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?
        }
        _ => given.join("\n"),
    };
    field.read(&text).map_err(|error| error.to_string())
}

impl FromArgMatches for ClientFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for field in FIELDS {
            let Some(given) = matches.get_many::<String>(field.name) else { continue };
            let given: Vec<String> = given.cloned().collect();
            let refused = |reason| Error::raw(ErrorKind::ValueValidation, format!("--{}: {reason}\n", field.flag));
            self.0.insert(field.name.to_owned(), value(field, &given).map_err(refused)?);
        }
        // One replaces the other.
        for (given, other) in [("jwks", "jwks_uri"), ("jwks_uri", "jwks")] {
            if self.0.get(given).is_some_and(|value| !value.is_null()) {
                self.0.entry(other).or_insert(Value::Null);
            }
        }
        Ok(())
    }
}

impl Args for ClientFlags {
    fn augment_args(command: Command) -> Command {
        command.args(FIELDS.iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
