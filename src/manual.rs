//! The manual pages and the completions of shells, which packages install. They are made of the same words as the command
//! line itself.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use eyre::{Result, WrapErr};

use crate::cli::{Cli, verbose};

#[derive(Args)]
pub struct ManualArgs {
    /// Where to write the files
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes `man/lungo.1`, a page for each command beside it, and `completions/`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(args: &ManualArgs) -> Result<ExitCode> {
    let mut commands = Cli::command().arg(verbose());
    let [pages, completions] = ["man", "completions"].map(|folder| args.directory.join(folder));
    for folder in [&pages, &completions] {
        fs::create_dir_all(folder).wrap_err_with(|| folder.display().to_string())?;
    }
    clap_mangen::generate_to(commands.clone(), &pages).wrap_err_with(|| pages.display().to_string())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut commands, "lungo", &completions)
            .wrap_err_with(|| completions.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
