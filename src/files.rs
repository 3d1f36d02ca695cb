//! Every file and directory that this program makes goes through here: only its user may read it, whatever the umask
//! and the directory around it allow. Orders, keys and money are in them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Its user may read and write a file of ours. Other users may do nothing with it.
const PRIVATE: u32 = 0o600;

/// Makes a directory, and those above it that are missing, with mode 0700. One that exists stays as it is.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file to read and write it, and makes it if there is none. One that others could open is tightened.
///
/// # Errors
/// When it cannot be opened, or is not this user's to tighten.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
    if !is_private(&file.metadata()?) {
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok(file)
}

/// Makes a file that does not exist yet, to be written.
///
/// # Errors
/// When it exists, or cannot be made.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)
}

/// Copies a file to one that does not exist yet. Unlike `fs::copy` it never copies the permissions, not even for a
/// moment.
///
/// # Errors
/// When the one cannot be read, or the other cannot be made.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    io::copy(&mut source, &mut create_new(to)?).map(drop)
}

/// Replaces a file as a whole, or makes it: after a crash it has the old content or the new one.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = beside(path, ".new");
    let _ = fs::remove_file(&fresh);
    let mut file = create_new(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

/// Takes away what others may do with a file that an older version left open to them. Without a file nothing is done.
///
/// # Errors
/// When it is not this user's.
pub fn tighten(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && !is_private(&found) => {
            fs::set_permissions(path, Permissions::from_mode(PRIVATE))
        }
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}

/// The same path with something behind it.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_private(found: &fs::Metadata) -> bool {
    found.permissions().mode() & 0o777 == PRIVATE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn whatever_is_made_or_found_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        make_directory(&path("a/b")).unwrap();
        assert_eq!([mode(&path("a")), mode(&path("a/b"))], [0o700; 2]);
        fs::write(path("loose"), "an older version made it").unwrap();
        fs::set_permissions(path("loose"), Permissions::from_mode(0o666)).unwrap();
        copy(&path("loose"), &path("copy")).unwrap();
        replace(&path("replaced"), b"1").unwrap();
        open(&path("opened")).unwrap();
        for name in ["copy", "replaced", "opened"] {
            assert_eq!(mode(&path(name)), 0o600, "{name}");
        }
        assert_eq!(fs::read(path("copy")).unwrap(), fs::read(path("loose")).unwrap());
        assert!(copy(&path("loose"), &path("copy")).is_err() && create_new(&path("copy")).is_err());
        for repair in [tighten, |path: &Path| open(path).map(drop)] {
            fs::set_permissions(path("loose"), Permissions::from_mode(0o644)).unwrap();
            repair(&path("loose")).unwrap();
            assert_eq!(mode(&path("loose")), 0o600);
        }
        tighten(&path("nothing")).unwrap();
        assert!(!path("nothing").exists());
        // Replaced, it is private even if it was not.
        fs::set_permissions(path("replaced"), Permissions::from_mode(0o644)).unwrap();
        replace(&path("replaced"), b"2").unwrap();
        assert_eq!((mode(&path("replaced")), fs::read(path("replaced")).unwrap()), (0o600, b"2".to_vec()));
    }
}
