//! Log lines, from the thread that makes one to standard error.
//!
//! Logging never ends or stops the process. A thread that logs copies its line into a bounded buffer, and one writer thread
//! empties the buffer. So a reader that never reads, a full disk and a closed stream hold up the writer alone. Lines that
//! find no room are counted (`lungo_log_lines_lost_total`), and `log.lines_lost` says how many once the stream is back.

mod events;
mod lines;

use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;
pub(crate) use events::failing;
pub use events::{Ended, deadline_decided, may_say_again, millis, not_responding, order_ended, recovered};
use lines::Lines;

/// The end of the process waits at most so long for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    #[error("the setting `log` cannot be read: {0}")]
    Filter(#[from] ParseError),
    #[error("the writer of the log cannot be started: {0}")]
    Writer(#[from] io::Error),
    #[error("another log was started before: {0}")]
    Twice(#[from] Box<dyn Error + Send + Sync>),
}

/// The log of this process. Dropping it waits for the last lines, for a second at most.
#[must_use]
pub struct Log(Lines);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush(LAST_LINES);
    }
}

/// Logs to standard error from now on, panics included.
///
/// # Errors
/// When the filter cannot be read, or the writer cannot be started.
pub fn start(filter: &str, format: LogFormat) -> Result<Log, NotStarted> {
    let filter = EnvFilter::try_new(filter)?;
    // A file of its own: while the writer waits for a reader, the lock of Rust's `stderr` stays free for others.
    let lines = Lines::write_to(File::from(io::stderr().as_fd().try_clone_to_owned()?))?;
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone())
        .with_ansi(io::stderr().is_terminal())
        // Printed by a macro that panics on a closed stream.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => logging.try_init(),
        LogFormat::Json => logging.json().flatten_event(true).try_init(),
    }?;
    // Rust's own hook waits for the reader of standard error.
    std::panic::set_hook(Box::new(panicked));
    Ok(Log(lines))
}

fn panicked(panic: &PanicHookInfo) {
    let thread = thread::current();
    tracing::error!(
        text = panic.payload_as_str().unwrap_or("no text"),
        place = panic.location().map(tracing::field::display),
        thread = thread.name().unwrap_or("unnamed"),
        "process.panicked"
    );
}
