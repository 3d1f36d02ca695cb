//! Where the values of settings come from: flags, the environment, a file; and what is in force in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::ops::Range;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, Command};
use serde::Serialize;
use toml::{Spanned, Value};

use super::secrets::check_private;
use super::{Secret, without_password};

/// Variables that are ours and no settings: the demo's address and keys, and what tests, benchmarks and the scripts of
/// `deploy/` read.
const NO_SETTINGS: &[&str] = &[
    "LUNGO_URL",
    "LUNGO_PARTNER_KEY",
    "LUNGO_SHOP_KEY",
    "LUNGO_ADMIN_KEY",
    "LUNGO_BENCH",
    "LUNGO_BIN",
    "LUNGO_TEST_STRIPE_URL",
    "LUNGO_DATABASE_PASSWORD",
];
/// What settings were called in older versions, and are called now.
const RENAMED: &[(&str, &str)] = &[("LUNGO_METRICS_LISTEN", "LUNGO_METRICS_LISTENER")];

/// Refuses variables `LUNGO_*` that no command reads: one that is misspelt would be ignored silently.
///
/// # Errors
/// Which one, and the name that it is nearest to.
pub fn check_environment(
    commands: &Command,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(), String> {
    let mut known: BTreeSet<String> = NO_SETTINGS.iter().map(|name| (*name).to_owned()).collect();
    collect_variables(commands, &mut known);
    let unknown = environment
        .into_iter()
        .find(|(name, value)| name.starts_with("LUNGO_") && !known.contains(name) && !is_of_kubernetes(name, value));
    let Some((name, _)) = unknown else { return Ok(()) };
    let renamed = RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| (*new).to_owned());
    Err(match renamed.or_else(|| nearest(&name, known)) {
        Some(nearest) => format!("there is no variable {name}: did you mean {nearest}?"),
        None => format!("there is no variable {name}: `lungo serve --help` lists all"),
    })
}

fn collect_variables(command: &Command, known: &mut BTreeSet<String>) {
    known.extend(command.get_arguments().filter_map(Arg::get_env).map(|name| name.to_string_lossy().into_owned()));
    command.get_subcommands().for_each(|command| collect_variables(command, known));
}

/// Kubernetes gives each container variables for each service beside it, and the service may be called `lungo`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_link = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let has_number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
        has_number && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (is_link && name.ends_with("_PORT"))
        || name.match_indices("_PORT_").any(|(at, found)| is_port(&name[at + found.len()..]))
}

/// The name that a misspelt one may stand for.
fn nearest(wrong: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    let distances = known.into_iter().map(|name| (strsim::osa_distance(wrong, &name), name));
    distances.min().filter(|(distance, _)| *distance <= (wrong.len() / 3).max(2)).map(|(_, name)| name)
}

/// Whether a setting is a secret, which is neither shown nor taken as a flag.
fn is_secret(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.starts_with("SECRET")))
}

/// Refuses secrets that were given as flags, which every user of the machine can read.
///
/// # Errors
/// Which one, without its value.
pub fn exposed(declared: &Command, matches: &clap::ArgMatches) -> Result<(), String> {
    let mut secrets = declared.get_arguments().filter(|arg| is_secret(arg));
    match secrets.find(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)) {
        Some(arg) => {
            let name = arg.get_id();
            Err(format!("{name} is a secret: give it in the environment, in the settings file or by {name}_file"))
        }
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
/// the command. Names are written with underscores or dashes; several values, as a list or as in the environment.
///
/// # Errors
/// The file and the line, and what is wrong there: also a name that no setting has, a value that its setting does not
/// take, and a secret in a file that every user of the machine may open.
pub fn with_file(mut command: Command, file: &Path) -> Result<Command, String> {
    let text = std::fs::read_to_string(file).map_err(|fault| format!("{}: {fault}", file.display()))?;
    let at = |span: Range<usize>, what: String| {
        let line = text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}: {what}", file.display())
    };
    let table: BTreeMap<String, Spanned<Value>> = toml::from_str(&text)
        .map_err(|fault| at(fault.span().unwrap_or_default(), fault.message().trim().replace('\n', ", ")))?;
    let mut seen = BTreeSet::new();
    for (name, value) in table {
        let span = value.span();
        let id = name.replace('-', "_");
        let Some(arg) = settings_of(&command).find(|arg| arg.get_id() == id.as_str()) else {
            let known = settings_of(&command).map(|arg| arg.get_id().to_string());
            let hint = nearest(&id, known).map(|nearest| format!(": did you mean `{nearest}`?"));
            return Err(at(span, format!("there is no setting `{name}`{}", hint.unwrap_or_default())));
        };
        if !seen.insert(id.clone()) {
            return Err(at(span, format!("`{id}` is there twice, with dashes and with underscores")));
        }
        let values = words(arg, value.into_inner()).map_err(|what| at(span.clone(), format!("`{name}` {what}")))?;
        if let Some(objection) = objection(arg, &values) {
            return Err(at(span, format!("`{name}`: {objection}")));
        }
        if is_secret(arg) || values.iter().any(|value| without_password(value) != *value) {
            check_private(file).map_err(|why| at(span, format!("`{name}`: {why}")))?;
        }
        command = command.mut_arg(id, |arg| arg.default_values(values));
    }
    Ok(command)
}

/// All that a settings file may set.
fn settings_of(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_env().is_some() && arg.get_id() != "config")
}

/// The values that a setting has in a file, as they would be written in the environment.
fn words(arg: &Arg, value: Value) -> Result<Vec<String>, &'static str> {
    let word = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        _ => Err("must be a string, a number, true or false, or a list of these"),
    };
    match value {
        Value::Array(values) => {
            let words = values.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
            let is_one_word = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "STAGES"));
            match arg.get_value_delimiter() {
                Some(_) => Ok(words),
                None if is_one_word => Ok(vec![words.join(",")]),
                None => Err("takes one value, not a list"),
            }
        }
        value => Ok(vec![word(value)?]),
    }
}

/// Why a setting does not take these values. Secrets are taken as they are, and no objection has one.
fn objection(arg: &Arg, values: &[String]) -> Option<String> {
    let alone = arg.clone().env(None::<&'static str>).default_values(values.to_vec());
    let fault = Command::new("file").no_binary_name(true).arg(alone).try_get_matches_from([""; 0]).err()?;
    let possible: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let why = match (fault.source(), possible.is_empty()) {
        (Some(why), _) => why.to_string(),
        (None, false) => format!("it must be one of {}", possible.join(", ")),
        (None, true) => fault.to_string().trim_start_matches("error: ").trim().to_owned(),
    };
    let shown: Vec<String> = values.iter().map(|value| without_password(value)).collect();
    Some(format!("`{}` is not taken: {why}", shown.join(", ")))
}

/// The settings in force, with where each value came from. `declared` is the command as the code has it, `read` the same
/// with the settings file, `matches` what was made of the command line.
pub fn in_force(declared: &Command, read: &Command, matches: &clap::ArgMatches) -> Vec<InForce> {
    let default_of = |command: &Command, id: &clap::Id| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == id)?;
        let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    declared
        .get_arguments()
        .filter(|arg| arg.get_env().is_some())
        .map(|arg| {
            let default = default_of(declared, arg.get_id());
            let from_file = default_of(read, arg.get_id()) != default;
            let shown = |value: &std::ffi::OsStr| match is_secret(arg) {
                true => format!("{:?}", Secret::default()),
                false => without_password(&value.to_string_lossy()),
            };
            let raw = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
            InForce {
                name: arg.get_id().to_string(),
                value: raw.map(|values| values.map(shown).collect::<Vec<_>>().join(",")),
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

/// The reference of all settings, as Markdown.
pub fn reference(declared: &Command) -> String {
    let mut text = String::from("| setting | variable | default | meaning |\n|---|---|---|---|\n");
    for arg in declared.get_arguments() {
        let Some(variable) = arg.get_env() else { continue };
        let flag = arg.get_long().unwrap_or_default();
        let value = arg.get_value_names().and_then(|names| names.first()).map(|name| format!(" {name}"));
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(",")) };
        let possible: Vec<_> =
            arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let words = if possible.is_empty() { String::new() } else { format!(". One of {}", possible.join(", ")) };
        let meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let meaning = meaning.replace('|', "\\|");
        text += &format!(
            "| `--{flag}{}` | `{}` | {default} | {meaning}{words} |\n",
            value.unwrap_or_default(),
            variable.to_string_lossy(),
        );
    }
    text
}
