//! Says which commit the program is built from: `GIT_COMMIT` of the environment, or else what git says of this folder.
//! Builds for development do not ask git: each commit would compile the crate anew.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GIT_COMMIT");
    let given = env::var("GIT_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| if is_release { of_git() } else { None });
    println!("cargo::rustc-env=SOURCE_COMMIT={}", commit.as_deref().map_or("unknown", str::trim));
}

/// The commit that is checked out; `None` without git, as in an unpacked archive of the source.
fn of_git() -> Option<String> {
    // An archive may lie in another project's repository, whose commit says nothing of it.
    if !Path::new(".git").exists() {
        return None;
    }
    for moved in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", moved])?);
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !said.trim().is_empty()).then(|| said.trim().to_owned())
}
