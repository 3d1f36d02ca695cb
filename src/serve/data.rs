//! The data directory: who works in it, what is private in it, whether a database is missing there, and where the
//! service that works there can be reached.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{GATEWAY_LEDGER, SHOP_JOURNAL, demo};
use crate::config::Settings;
use crate::files;
use crate::store;
use crate::terminal::Refusal;

/// The process that holds it works in the directory.
const LOCK: &str = "lock";
/// Where the service says how it is reached.
const ADDRESS: &str = "service.json";

/// Keeps other services out of a data directory for as long as the file lives, however this process ends: each would
/// lease the other's orders, and none would find the simulators' ledger of the other. Files there that an older version
/// left open to other users are tightened.
///
/// # Errors
/// When another process works there, or the directory cannot be made or written.
pub(crate) fn hold(directory: &Path) -> io::Result<File> {
    files::make_directory(directory)?;
    let lock = files::open(&directory.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process works there"));
        }
        Err(TryLockError::Error(fault)) => return Err(fault),
    }
    let ours = [store::FILE, GATEWAY_LEDGER, SHOP_JOURNAL, demo::FILE, ADDRESS];
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // What stands beside them as well: logs, and databases that a restore replaced. The rest is not ours.
        let name = entry.file_name();
        if ours.iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
            files::tighten(&entry.path())?;
        }
    }
    Ok(lock)
}

/// Where the service of a data directory can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// Where it listens.
    pub url: String,
    /// Where people reach its console.
    pub console_url: String,
}

/// Writes where this service can be reached, for those who come by the command line. It stays when the service stops.
pub(super) fn say(directory: &Path, address: &Address) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(address).expect("plain data serialises");
    files::replace(&directory.join(ADDRESS), &text)
}

/// Where the service that works in a data directory, or worked there last, can be reached; `None` if none says so.
pub(crate) fn address(directory: &Path) -> Option<Address> {
    serde_json::from_slice(&fs::read(directory.join(ADDRESS)).ok()?).ok()
}

/// Refuses to begin anew where a database was before: its orders, keys and money would be forgotten silently, and a
/// demo would answer in its place.
///
/// # Errors
/// What was left there, and what can be done.
pub(super) fn check_not_lost(settings: &Settings) -> Result<(), Refusal> {
    let traces = traces(&settings.data);
    if traces.is_empty() {
        return Ok(());
    }
    let is_blank = match &settings.servers.database {
        None => store::is_blank(&settings.data),
        Some(url) => store::is_blank_at(url.expose()),
    };
    // What cannot be seen now is told by opening it.
    if !is_blank.unwrap_or(false) {
        return Ok(());
    }
    let (directory, left) = (settings.data.display(), traces.join(", "));
    let what = format!("the database is missing or empty, but an earlier one left its traces in {directory}: {left}");
    let fill = match settings.servers.database {
        None => format!("put a backup in its place (`lungo restore FILE --data {directory}`)"),
        Some(_) => "restore it, or fill it by `lungo migrate`".to_owned(),
    };
    let hint = format!(
        "Nothing was changed. Name the right --data and --database, or {fill}. To begin anew, without its orders and keys, \
         delete these files."
    );
    Err(Refusal::new(what, hint))
}

/// Files of a data directory that are there only if a database was.
fn traces(directory: &Path) -> Vec<&'static str> {
    let length = |name: &str| fs::metadata(directory.join(name)).ok().map(|found| found.len());
    // A new database is never empty, and a link that leads nowhere is one whose disk is not there.
    let is_emptied = directory.join(store::FILE).symlink_metadata().is_ok() && length(store::FILE).unwrap_or(0) == 0;
    // A log may be all that is left of it: SQLite would put it into a new database.
    let log = const { concat!("lungo.db", "-wal") };
    let filled = [GATEWAY_LEDGER, SHOP_JOURNAL, ADDRESS, log].into_iter().filter(|name| length(name) > Some(0));
    is_emptied.then_some(store::FILE).into_iter().chain(filled).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::FromArgMatches;

    use super::*;

    fn settings(directory: &Path) -> Settings {
        let command = <Settings as clap::Args>::augment_args(clap::Command::new("lungo"));
        let matches = command.get_matches_from(["lungo".as_ref(), "--data".as_ref(), directory.as_os_str()]);
        Settings::from_arg_matches(&matches).unwrap()
    }

    fn check(directory: &Path) -> Result<(), String> {
        check_not_lost(&settings(directory)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_is_ours_is_private_and_what_is_not_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let names = ["lungo.db", "lungo.db-wal", "lungo.db.replaced-1", "gateway-ledger.jsonl", "demo.env", "notes"];
        for name in names {
            let path = directory.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let _held = hold(directory.path()).unwrap();
        let mode = |name| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(names.map(mode), [0o600, 0o600, 0o600, 0o600, 0o600, 0o644]);
        assert_eq!(mode(LOCK), 0o600);
        assert!(hold(directory.path()).is_err(), "one process works there");
    }

    #[test]
    fn a_database_that_was_there_is_missed() {
        let fresh = tempfile::tempdir().unwrap();
        assert_eq!(check(fresh.path()), Ok(()));
        for name in ["lungo.db-wal", GATEWAY_LEDGER, SHOP_JOURNAL, ADDRESS] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(name), "").unwrap();
            assert_eq!(check(directory.path()), Ok(()), "{name} says nothing");
            fs::write(directory.path().join(name), "{}").unwrap();
            let fault = check(directory.path()).unwrap_err();
            assert!(fault.contains(name), "{fault}");
        }
        let emptied = fresh.path().join(store::FILE);
        fs::write(&emptied, "").unwrap();
        assert!(check(fresh.path()).unwrap_err().contains(store::FILE));
        fs::remove_file(&emptied).unwrap();
        std::os::unix::fs::symlink("/nowhere/lungo.db", &emptied).unwrap();
        assert!(check(fresh.path()).is_err(), "its disk is not there");
    }

    #[test]
    fn an_address_is_what_was_said_last() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(address(directory.path()), None);
        let said = Address { url: "http://127.0.0.1:1".into(), console_url: "https://console.example".into() };
        say(directory.path(), &said).unwrap();
        assert_eq!(address(directory.path()), Some(said));
    }
}
