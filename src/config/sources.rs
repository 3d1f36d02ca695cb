//! Where the values of settings come from: flags, the environment, a file; and what is in force in the end.

use std::path::Path;

use clap::Command;
use clap::parser::ValueSource;
use serde::Serialize;

use super::{Secret, without_password};

/// Refuses secrets that were given as flags, where everybody on the machine can read them.
///
/// # Errors
/// Which one, without its value.
pub fn exposed(declared: &Command, matches: &clap::ArgMatches) -> Result<(), String> {
    let mut secrets = declared.get_arguments().filter(|arg| arg.is_hide_env_values_set());
    match secrets.find(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)) {
        Some(arg) => Err(format!("{} is a secret: give it in the environment or the settings file", arg.get_id())),
        None => Ok(()),
    }
}

/// One setting as it is in force.
#[derive(Clone, Debug, Serialize)]
pub struct InForce {
    pub name: String,
    pub value: Option<String>,
    pub default: Option<String>,
    /// `default`, `file`, `environment` or `flag`.
    pub source: &'static str,
    pub environment: Option<String>,
    pub meaning: String,
}

/// Puts the values of a settings file under those of the flags and the environment: they become the defaults of
/// the command. Errors name the file and what is wrong in it; a setting that does not exist is an error.
pub fn with_file(mut command: Command, file: &Path) -> Result<Command, String> {
    let fault = |what: String| format!("{}: {what}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| fault(error.to_string()))?;
    for (name, value) in table {
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            _ => return Err(fault(format!("`{name}` must be a string, a number or true/false"))),
        };
        if name == "config" || !command.get_arguments().any(|arg| arg.get_id() == name.as_str()) {
            return Err(fault(format!("there is no setting `{name}`")));
        }
        command = command.mut_arg(&name, |arg| arg.default_value(value));
    }
    Ok(command)
}

/// The settings in force, with where each value came from. `declared` is the command as the code has it, `matches`
/// what was made of the command line; `file` holds the names that the settings file set.
pub fn in_force(declared: &Command, read: &Command, matches: &clap::ArgMatches) -> Vec<InForce> {
    let default_of = |command: &Command, id: &clap::Id| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == id)?;
        arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned())
    };
    declared
        .get_arguments()
        .filter(|arg| arg.get_env().is_some())
        .map(|arg| {
            let default = default_of(declared, arg.get_id());
            let from_file = default_of(read, arg.get_id()) != default;
            let raw = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
            InForce {
                name: arg.get_id().to_string(),
                value: raw.and_then(|mut values| values.next()).map(|value| match arg.is_hide_env_values_set() {
                    true => format!("{:?}", Secret(String::new())),
                    false => without_password(&value.to_string_lossy()),
                }),
                source: match matches.value_source(arg.get_id().as_str()) {
                    Some(ValueSource::CommandLine) => "flag",
                    Some(ValueSource::EnvVariable) => "environment",
                    _ if from_file => "file",
                    _ => "default",
                },
                environment: arg.get_env().map(|name| name.to_string_lossy().into_owned()),
                default,
                meaning: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            }
        })
        .collect()
}
