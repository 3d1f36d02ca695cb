//! What a command says to the person who called it: its result on standard output, and one sentence and a hint on
//! standard error where it failed.

use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use eyre::Report;
use thiserror::Error;

use crate::{serve, store};

/// How long the last sentence may wait for a reader of standard error. A pipe that is full and never read must not keep
/// the process from its end.
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// The longest sentence that is shown, in characters: what a server says of itself may be a page.
const LONGEST: usize = 600;

/// A failure that a person can do something about.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct Refusal {
    what: String,
    hint: String,
}

impl Refusal {
    /// `what` is one sentence without its full stop; `hint` says what to do next.
    pub fn new(what: impl Display, hint: impl Display) -> Self {
        Self { what: what.to_string(), hint: hint.to_string() }
    }
}

/// Prints a line of a command's result.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::terminal::print(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(crate) use say;

/// Prints a part of a command's result. A reader that has gone, as `head` goes, has seen enough: that is no failure.
///
/// # Errors
/// When standard output cannot be written for another reason, such as a full disk.
pub fn print(text: Arguments) -> eyre::Result<()> {
    // Locked and flushed here, because Rust's own macros panic where this returns an error.
    let mut out = io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(fault) if fault.kind() != ErrorKind::BrokenPipe => {
            let hint = "The command itself has done its work. Give the output room, and look at the result again.";
            Err(Refusal::new(format!("standard output cannot be written: {fault}"), hint).into())
        }
        _ => Ok(()),
    }
}

/// Says on standard error why a command failed; with `is_verbose` also every cause and the place in the program. Waits
/// at most a second for a reader.
pub fn complain(report: &Report, is_verbose: bool) {
    let text = if is_verbose {
        format!("error: {}\nhint: {}\n\n{report:?}\n", sentence(report), hint(report))
    } else {
        format!("error: {}\nhint: {}\n", sentence(report), hint(report))
    };
    let (done, written) = mpsc::channel();
    let writing = thread::Builder::new().spawn(move || {
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    });
    if writing.is_ok() {
        let _ = written.recv_timeout(READER_PATIENCE);
    }
}

/// All causes in one line.
fn sentence(report: &Report) -> String {
    let mut sentence = String::new();
    for cause in report.chain() {
        let cause = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        // Many errors repeat their cause in their own text.
        if !sentence.contains(&cause) {
            sentence += if sentence.is_empty() { "" } else { ": " };
            sentence += &cause;
        }
    }
    if sentence.chars().count() > LONGEST {
        sentence = sentence.chars().take(LONGEST).chain("…".chars()).collect();
    }
    sentence
}

/// What to do next.
fn hint(report: &Report) -> String {
    let known = report.chain().find_map(|cause| {
        let of = |text: &str| Some(text.to_owned());
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(refusal.hint.clone());
        }
        if let Some(fault) = cause.downcast_ref::<store::Error>() {
            return Some(hint_of_store(fault).into());
        }
        if let Some(store::NotMoved::Failed { .. }) = cause.downcast_ref() {
            return of("Check both addresses and permissions. The same command goes on where it stopped.");
        }
        if cause.is::<store::NotMoved>() {
            return of("The source is unchanged. `lungo migrate --help` says what the command needs.");
        }
        match cause.downcast_ref::<serve::Error>() {
            Some(serve::Error::Store(fault)) => return Some(hint_of_store(fault).into()),
            Some(serve::Error::Settings(_)) => return of("`lungo serve --help` explains each setting."),
            Some(serve::Error::Ended { .. }) => {
                return of("Its last log lines say why. A restart is safe: it resumes every order.");
            }
            _ => {}
        }
        let io = match cause.downcast_ref::<serve::Error>() {
            Some(serve::Error::Io { fault, .. }) => fault,
            _ => cause.downcast_ref::<io::Error>()?,
        };
        hint_of_io(io.kind()).map(str::to_owned)
    });
    known.unwrap_or_else(|| "Repeat the command with -v for all causes and the place in the program.".into())
}

fn hint_of_store(fault: &store::Error) -> &'static str {
    match fault {
        store::Error::Unavailable(_) => {
            "Check that the database is there, that this user may use it, and that no other program holds it."
        }
        store::Error::Newer(_) => {
            "Install that version or a later one. To go back, restore the backup from before the upgrade."
        }
        store::Error::Overloaded => "Repeat the command in a moment.",
        store::Error::OutcomeUnknown(_) => "Look at the result before you repeat the command: it may be done already.",
        store::Error::Damaged(_) => "Stop the service, keep a copy of the database, and restore a backup.",
        store::Error::Withheld => {
            "Wait until the comparison has ended, or end it with `lungo restored --go-on REASON`."
        }
    }
}

fn hint_of_io(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound => Some("Check the path."),
        ErrorKind::PermissionDenied => Some("Check the permissions, and which user runs the command."),
        ErrorKind::AlreadyExists => Some("Name a file that does not exist yet."),
        ErrorKind::AddrInUse => Some("Stop the program that listens there, or name another address."),
        ErrorKind::AddrNotAvailable => Some("Name an address of this machine."),
        ErrorKind::StorageFull => Some("Make room on the disk."),
        ErrorKind::WouldBlock => Some("Stop the service that works in this directory, or name another --data."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence_and_a_hint() {
        let refused = Report::new(Refusal::new("there is no shop x", "List them."));
        assert_eq!((sentence(&refused), hint(&refused)), ("there is no shop x".into(), "List them.".into()));
        let fault = store::Error::Unavailable("connection\n\trefused".into());
        let unavailable = Report::new(fault.clone()).wrap_err("keys");
        let wanted = "keys: the database cannot be used; nothing was done: connection refused";
        assert_eq!((sentence(&unavailable), hint(&unavailable)), (wanted.into(), hint_of_store(&fault).into()));
        let gone = Report::new(io::Error::from(ErrorKind::NotFound));
        assert_eq!(hint(&gone), "Check the path.");
        let long = Report::msg("x".repeat(10_000));
        assert_eq!(sentence(&long).chars().count(), LONGEST + 1);
        assert!(hint(&long).contains("-v"));
    }
}
