//! Where everything durable is, if not in a file of the data directory.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{TypedValueParser, ValueParserFactory};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};

use super::Span;

/// The URL of a PostgreSQL database, as libpq reads it. Its password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl FromStr for PostgresUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("it must begin with postgres:// (without one, the data directory holds the database)".into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl PostgresUrl {
    /// With its password, to be given on and not to be kept.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl ValueParserFactory for PostgresUrl {
    type Parser = UrlParser;
    fn value_parser() -> UrlParser {
        UrlParser
    }
}

/// Reads the URL of a database. Clap by itself would repeat a wrong one, with its password, in its error.
#[derive(Clone, Debug)]
pub struct UrlParser;

impl TypedValueParser for UrlParser {
    type Value = PostgresUrl;
    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<PostgresUrl, clap::Error> {
        value.to_string_lossy().parse().map_err(|why: String| {
            let setting = arg.map(ToString::to_string).unwrap_or_default();
            clap::Error::raw(ErrorKind::ValueValidation, format!("wrong value for {setting}: {why}\n"))
        })
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

/// A URL as it may be shown.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (server, parameters) = rest.split_once('?').map_or((rest, None), |(server, rest)| (server, Some(rest)));
    let server = match server.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{user}:…@{host}"),
        _ => server.to_owned(),
    };
    let shown = parameters.map(|parameters| {
        let shown = parameters.split('&').map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}=…"),
            _ => parameter.to_owned(),
        });
        format!("?{}", shown.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{server}{}", shown.unwrap_or_default())
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, clap::ValueEnum)]
#[strum(serialize_all = "snake_case")]
pub enum Durability {
    /// It is on this machine's disk.
    #[value(skip)]
    Local,
    /// A standby has applied it: a failover to it loses nothing, and a replica shows it.
    Synchronous,
    /// It is on the primary's disk. A failover may lose what the standbys did not have yet.
    Asynchronous,
}

/// The servers that hold everything durable.
#[derive(Args, Clone, Debug)]
pub struct Servers {
    /// A PostgreSQL database that holds everything durable, instead of a file in the data directory. Several hosts may
    /// be named, of which one is the primary
    #[arg(long, env = "LUNGO_DATABASE", hide_env_values = true, hide_default_value = true, value_name = "URL")]
    pub database: Option<PostgresUrl>,

    /// A file that holds `database` and nothing else
    #[arg(long, env = "LUNGO_DATABASE_FILE", value_name = "FILE")]
    pub database_file: Option<PathBuf>,

    /// A server that follows the database's primary: customers' lists are read there while it is certainly fresh enough.
    /// May be given several times; in the environment with spaces between them
    #[arg(
        long = "replica",
        env = "LUNGO_REPLICAS",
        hide_env_values = true,
        hide_default_value = true,
        value_delimiter = ' ',
        value_name = "URL"
    )]
    pub replicas: Vec<PostgresUrl>,

    /// A file that holds `replicas` and nothing else, with spaces between them
    #[arg(long, env = "LUNGO_REPLICAS_FILE", value_name = "FILE")]
    pub replicas_file: Option<PathBuf>,

    /// Refuse to start unless an acknowledged write survives as much: `synchronous` if a standby has applied it, so that a
    /// failover loses nothing; with `asynchronous` it may lose what the standbys did not have yet
    #[arg(long, env = "LUNGO_DURABILITY", value_enum, value_name = "MODE")]
    pub durability: Option<Durability>,

    /// How old a replica may be that serves a list to a client without a `Lungo-Position`
    #[arg(long, env = "LUNGO_MAX_STALENESS", default_value = "100ms", value_name = "TIME")]
    pub max_staleness: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://h/d", "postgres://h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:p@h:5432/d?sslmode=require", "postgres://u:…@h:5432/d?sslmode=require"),
            ("postgresql://u:p%40@a,b/d", "postgresql://u:…@a,b/d"),
            ("postgres:///d?user=u&password=p&host=/tmp", "postgres:///d?user=u&password=…&host=/tmp"),
            ("postgres://u:p@h/d?sslpassword=p", "postgres://u:…@h/d?sslpassword=…"),
        ] {
            assert_eq!(format!("{:?}", url.parse::<PostgresUrl>().unwrap()), shown);
        }
        for given in ["mysql://u:p51@h/d", "u:p51@h"] {
            let fault = Servers::augment_args(Command::new("x")).try_get_matches_from(["x", "--database", given]);
            let fault = fault.unwrap_err().to_string();
            assert!(fault.contains("--database") && fault.contains("postgres://") && !fault.contains("p51"), "{fault}");
        }
        assert!("mysql://h/d".parse::<PostgresUrl>().unwrap_err().contains("postgres://"));
    }
}
