//! Settings that only the service's user may read, and the files that hold them.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

/// No secret is longer, in bytes.
const LONGEST: u64 = 64 * 1024;

/// A value that is never printed. It comes from the environment, the settings file, or a file of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Secret {
    /// The secret itself, to be given on and not to be kept.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The value of the setting `name`: as it was given, or what `file` holds, which its setting `{name}_file` names. The mode
/// of such a file is the platform's: Docker and Kubernetes mount their secrets readable by all users of a container.
///
/// # Errors
/// When both are given, or the file cannot be used. No error has the value.
pub fn or_of_file<T>(name: &str, given: Option<T>, file: Option<&Path>) -> Result<Option<T>, String>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    Ok(all_or_of_file(name, given.into_iter().collect(), file, '\0')?.pop())
}

/// As [`or_of_file`], of a setting with several values, which `delimiter` separates in the file.
///
/// # Errors
/// As [`or_of_file`].
pub fn all_or_of_file<T>(name: &str, given: Vec<T>, file: Option<&Path>, delimiter: char) -> Result<Vec<T>, String>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    let Some(file) = file else { return Ok(given) };
    if !given.is_empty() {
        return Err(format!("{name} and {name}_file are both given: leave one of them out"));
    }
    let wrong = |why: String| format!("{name}_file: {}: {why}", file.display());
    let text = read(file).map_err(wrong)?;
    let values = text.split(delimiter).map(|value| value.parse().map_err(|why: T::Err| wrong(why.to_string())));
    values.collect()
}

/// The text of a file without the newline at its end.
fn read(file: &Path) -> Result<String, String> {
    let opened = File::open(file).map_err(|fault| fault.to_string())?;
    let found = opened.metadata().map_err(|fault| fault.to_string())?;
    if found.is_dir() {
        return Err("it is a directory".into());
    }
    let mut text = String::new();
    opened.take(LONGEST + 1).read_to_string(&mut text).map_err(|fault| fault.to_string())?;
    if text.len() as u64 > LONGEST {
        return Err(format!("it has more than {} KiB: no secret is so long", LONGEST / 1024));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.trim().is_empty() { Err("it is empty".into()) } else { Ok(text.to_owned()) }
}

/// Whether only the user and the group of a file may open it.
///
/// # Errors
/// When it cannot be looked at; otherwise what to do about its mode.
pub(super) fn check_private(file: &Path) -> Result<(), String> {
    let found = fs::metadata(file).map_err(|fault| fault.to_string())?;
    match found.permissions().mode() & 0o777 {
        mode if mode & 0o007 == 0 => Ok(()),
        mode => Err(format!(
            "it holds a secret, and every user of this machine may open it (mode {mode:04o}): run `chmod 600 {}`",
            file.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_its_own_holds_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, text: &[u8], mode: u32| {
            fs::write(path(name), text).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
            path(name)
        };
        let secret = |file: &Path| or_of_file::<Secret>("stripe_key", None, Some(file));
        for (text, mode) in [("sk_test_51", 0o600), ("sk_test_51\n", 0o640), ("sk_test_51\r\n", 0o444)] {
            assert_eq!(secret(&write("right", text.as_bytes(), mode)).unwrap().unwrap().expose(), "sk_test_51");
            fs::remove_file(path("right")).unwrap();
        }
        let several = write("several", b"whsec_52,whsec_53\n", 0o600);
        let all = all_or_of_file::<Secret>("x", vec![], Some(&several), ',').unwrap();
        assert_eq!(all.iter().map(Secret::expose).collect::<Vec<_>>(), ["whsec_52", "whsec_53"]);
        let fault = or_of_file("stripe_key", "sk_test_51".parse::<Secret>().ok(), Some(&several)).unwrap_err();
        assert!(fault.contains("both given") && !fault.contains("_51"), "{fault}");
        for (file, why) in [
            (write("empty", b"\n", 0o600), "empty"),
            (write("huge", &[b'x'; 70_000], 0o600), "64 KiB"),
            (write("binary", &[0xff, 0xfe], 0o600), "UTF-8"),
            (path("nothing"), "No such file"),
            (directory.path().to_owned(), "directory"),
        ] {
            let fault = secret(&file).unwrap_err();
            let names = fault.contains("stripe_key_file") && fault.contains(&file.display().to_string());
            assert!(names && fault.contains(why) && !fault.contains("_51"), "{why}: {fault}");
        }
    }
}
