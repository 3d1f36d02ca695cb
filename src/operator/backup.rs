//! `lungo backup`, `lungo restore` and `lungo restored`: an embedded database goes back to how it was.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use eyre::Result;
use serde_json::json;

use super::{DataArgs, open};
use crate::clock::now;
use crate::order::Instant;
use crate::serve;
use crate::store::{self, Entry};
use crate::terminal::{Refusal, say};

/// What is done about a database on a server instead.
fn on_a_server() -> Refusal {
    let what = "a PostgreSQL database is backed up and restored by PostgreSQL's own means (deploy/postgres/README.md)";
    Refusal::new(what, "After a restore run `lungo restored --since TIME` before a service starts.")
}

#[derive(Args)]
pub struct BackupArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Where it is written to: a file that does not exist yet
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// A backup that `lungo backup` made
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// When it was made, as in `2026-11-25T03:00:00Z`, if it does not say so itself: whatever is in it happened before
    #[arg(long, value_name = "TIME")]
    pub since: Option<Instant>,
}

#[derive(Args)]
pub struct RestoredArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// From when the backup is, as in `2026-11-25T03:00:00Z`: whatever is in it happened before
    #[arg(long, value_name = "TIME", required_unless_present = "go_on")]
    pub since: Option<Instant>,
    /// Do not wait until all orders are compared with the gateway: let workers, timers and boards have them now, for this
    /// reason. Orders that are behind may be made or refunded a second time
    #[arg(long, value_name = "REASON", conflicts_with = "since")]
    pub go_on: Option<String>,
}

/// Writes a backup of the embedded database, beside a running service or without one.
///
/// # Errors
/// When there is no database, the file exists, or it cannot be written.
pub fn backup(args: &BackupArgs) -> Result<ExitCode> {
    if args.data.server()?.is_some() {
        return Err(on_a_server().into());
    }
    let made = store::backup(&args.data.data, &args.file, now())?;
    say!("{} has everything up to {} (schema {}).", args.file.display(), made.made_at, made.schema)?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a backup in the place of the embedded database, which is kept. The service that is started next compares all
/// orders since then with the gateway before anything acts on them.
///
/// # Errors
/// When a service works there, or the file is no sound backup of this database.
pub fn restore(args: &RestoreArgs) -> Result<ExitCode> {
    if args.data.server()?.is_some() {
        return Err(on_a_server().into());
    }
    let data = &args.data.data;
    let held = serve::hold(data).map_err(|fault| {
        let what = format!("{} cannot be worked in: {fault}", data.display());
        Refusal::new(what, "Stop the service that works there, or name another --data.")
    })?;
    let put_back = store::restore(data, &args.file, args.since, now())?;
    drop(held);
    say!("The database in {} is the one of {}.", data.display(), put_back.since)?;
    if let Some(kept) = put_back.kept {
        say!("The one that it replaced is {}.", kept.display())?;
    }
    say!("Start the service: it compares all orders since then with the gateway before anything acts on them.")?;
    Ok(ExitCode::SUCCESS)
}

/// Says that the database was restored by other means, so that the service compares its orders with the gateway; or ends
/// that comparison.
///
/// # Errors
/// When the database cannot be opened, the time has not come yet, or there is nothing to end.
pub async fn restored(args: RestoredArgs) -> Result<ExitCode> {
    let (store, at) = (open(&args.data)?, now());
    let entry = |action: &str, reason: Option<String>, detail| Entry {
        at,
        user_id: None,
        user_name: "command line".into(),
        action: action.into(),
        subject: String::new(),
        reason,
        detail,
        request_id: String::new(),
    };
    let Some(since) = args.since else {
        let Some(restored) = store.watch_restored().await? else {
            let hint = "Nothing is held back. `--since TIME` marks a database that was restored.";
            return Err(Refusal::new("no orders wait to be compared", hint).into());
        };
        let detail = json!({"since": restored.since});
        if !store.recording(entry("go_on_restored", args.go_on, detail)).end_restored(restored).await? {
            let hint = "Look at that one, and repeat the command.";
            return Err(Refusal::new("another restore came meanwhile", hint).into());
        }
        say!("Orders go on, compared or not. It is written in the audit log.")?;
        return Ok(ExitCode::SUCCESS);
    };
    if since > at {
        let hint = "Name the time of the backup, which is in the past.";
        return Err(Refusal::new(format!("{since} has not come yet"), hint).into());
    }
    store.recording(entry("note_restored", None, json!({"since": since}))).note_restored(since, at).await?;
    say!("All orders since {since} are compared with the gateway before anything acts on them.")?;
    say!("What the gateway lists since then for orders that are not here is given back.")?;
    Ok(ExitCode::SUCCESS)
}
