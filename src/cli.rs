//! The words of the command line.

use clap::{Arg, ArgAction, Parser, Subcommand};
use lungo::config::Settings;
use lungo::store;

/// An order service for coffee chains that never makes the second coffee.
#[derive(Parser)]
#[command(version, long_version = version(), args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Settings,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the service (also without any command)
    Serve(Box<Settings>),
    /// Make and revoke keys
    #[command(subcommand)]
    Keys(lungo::operator::KeysCommand),
    /// Order many coffees over HTTP, measure it, and check that none was lost or made twice
    Load(Box<lungo::load::LoadArgs>),
    /// Replay the crash that orders the second coffee, against four designs, and count the coffees
    Collisions(lungo::collisions::CollisionsArgs),
    /// Compare who polls when told to with who polls at fixed intervals
    Polls(lungo::load::policies::PollsArgs),
    /// Print the simulated gateway's ledger and reconcile it with the orders; or be that gateway, as a server that
    /// speaks like Stripe (`--listen`)
    Simulator(lungo::operator::SimulatorArgs),
    /// Make a one-time link by which a user of the console chooses a new password
    ConsoleLink(lungo::operator::ConsoleLinkArgs),
    /// Write a backup of the embedded database, also while the service runs
    Backup(lungo::operator::BackupArgs),
    /// Put a backup in the place of the embedded database; the service compares its orders with the gateway then
    Restore(lungo::operator::RestoreArgs),
    /// Say that the database was restored by other means: its orders are compared with the gateway before anything acts on
    /// them, and payments of orders that it lacks are given back
    Restored(lungo::operator::RestoredArgs),
    /// Move everything from the embedded database to a PostgreSQL server
    Migrate(lungo::operator::MigrateArgs),
    /// Print the lifecycle of an order as a Mermaid diagram
    Lifecycle,
    /// Write the manual pages and the completions of shells to a directory, for packages
    #[command(hide = true)]
    Manual(crate::manual::ManualArgs),
}

/// What `--version` says: which program this is, of which source, and which databases it knows.
fn version() -> String {
    let (sqlite, postgres) = store::schemas();
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("SOURCE_COMMIT"));
    format!("{version}\ncommit {commit}\nschema {sqlite} of SQLite, {postgres} of PostgreSQL")
}

/// The option of the whole program. See [`without_verbose`](crate::without_verbose).
pub fn verbose() -> Arg {
    let help = "Show all causes of an error, and the place in the program";
    Arg::new("verbose").short('v').long("verbose").global(true).action(ArgAction::SetTrue).help(help)
}
