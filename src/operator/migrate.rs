//! `lungo migrate`: from the embedded database to a PostgreSQL server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use clap::Args;
use eyre::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::secret;
use crate::config::PostgresUrl;
use crate::serve;
use crate::store::{self, Moved};
use crate::terminal::{Refusal, say};

#[derive(Args)]
pub struct MigrateArgs {
    /// The embedded database, or the data directory that it is in; no service may be running there
    #[arg(long, value_name = "sqlite://PATH")]
    pub from: SqliteUrl,
    /// The PostgreSQL database, which must be empty
    #[arg(
        long,
        env = "LUNGO_DATABASE",
        hide_env_values = true,
        required_unless_present = "to_file",
        value_name = "URL"
    )]
    pub to: Option<PostgresUrl>,
    /// A file that holds the URL of the PostgreSQL database and nothing else
    #[arg(long, env = "LUNGO_DATABASE_FILE", value_name = "FILE")]
    pub to_file: Option<PathBuf>,
}

/// `sqlite://` and the path of a database, or of the directory that it is in.
#[derive(Clone, Debug)]
pub struct SqliteUrl(PathBuf);

impl FromStr for SqliteUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() => Ok(Self(path.into())),
            _ => Err("it must be sqlite:// and a path: sqlite://lungo-data, sqlite:///var/lib/lungo".into()),
        }
    }
}

/// Moves everything from an embedded database to one of a PostgreSQL server, and prints what was moved.
///
/// # Errors
/// When it may not, or cannot: what was moved until then is kept, and the same command goes on there.
pub fn migrate(args: &MigrateArgs) -> Result<ExitCode> {
    let to = secret("to", args.to.clone(), args.to_file.as_deref())?.expect("clap requires one of the two");
    let SqliteUrl(named) = &args.from;
    let path = if named.is_dir() { named.join(store::FILE) } else { named.clone() };
    // The lock lies beside the file itself, not beside a link to it.
    let path = path.canonicalize().map_err(|fault| {
        let what = format!("there is no database {}: {fault}", path.display());
        Refusal::new(what, "Name the data directory of the service, or the database file in it.")
    })?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let _held = serve::hold(directory).map_err(|fault| {
        let what = format!("cannot work in {}: {fault}", directory.display());
        Refusal::new(what, "Stop the service that works there, and check the permissions.")
    })?;
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} rows read ({msg}), {per_sec}, {eta}");
    let bar = ProgressBar::new(0).with_style(style.expect("the template is valid"));
    let began = Instant::now();
    let moved = store::migrate(&path, to.expose(), |progress| {
        bar.set_length(progress.of);
        bar.set_message(progress.table);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    print(&moved?, &path, began.elapsed().as_secs_f64())?;
    Ok(ExitCode::SUCCESS)
}

fn print(moved: &Moved, source: &Path, seconds: f64) -> Result<()> {
    if moved.was_done {
        say!("Everything had been moved already, to the database {}. Nothing was done.", moved.cluster)?;
        return Ok(());
    }
    if moved.began_anew {
        say!("The source had changed since its move was begun: everything was moved anew.")?;
    }
    say!("{:16} {:>12} {:>14}  hash on both sides", "table", "rows", "were there")?;
    for table in &moved.tables {
        say!("{:16} {:>12} {:>14}  {}", table.name, table.rows, table.found, table.hash)?;
    }
    let rows: u64 = moved.tables.iter().map(|table| table.rows).sum();
    let found: u64 = moved.tables.iter().map(|table| table.found).sum();
    say!(
        "\n{} rows moved and {found} found there in {seconds:.1} s ({:.0} rows/s, compared on both sides).",
        rows - found,
        rows as f64 / seconds,
    )?;
    say!(
        "The target has an id of its own, {}: cursors into the feed stay good, and whoever shows a Lungo-Position of \
         before is answered by the primary.\nNo service starts on {} any more; what else is in its directory is not \
         part of the database.",
        moved.cluster,
        source.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_by_its_path() {
        for (url, path) in [("sqlite://data", "data"), ("sqlite:///var/lib/lungo.db", "/var/lib/lungo.db")] {
            assert_eq!(url.parse::<SqliteUrl>().unwrap().0, Path::new(path));
        }
        for wrong in ["", "data", "sqlite:data", "sqlite://", "postgres://h/d"] {
            assert!(wrong.parse::<SqliteUrl>().unwrap_err().contains("sqlite://"), "{wrong}");
        }
    }
}
