//! The command line. Everything it does is in the library.

mod cli;
mod manual;
mod supervisor;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches};
use eyre::Result;
use lungo::config::{self, LogFormat, Settings};
use lungo::logs::{self, Log};
use lungo::serve::Running;
use lungo::terminal::{self, Refusal};

use cli::{Cli, Command, verbose};
use supervisor::Supervisor;

/// How long threads that do not listen may hold up the end of the process.
const LAST_WAIT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let (words, is_verbose) = without_verbose(std::env::args_os());
    run(words).unwrap_or_else(|fault| {
        terminal::complain(&fault, is_verbose);
        ExitCode::FAILURE
    })
}

/// The words of the command line, and whether `-v` was among them. It may stand anywhere, which clap does not allow of
/// an option of the whole program beside the settings of the service.
fn without_verbose(words: impl Iterator<Item = OsString>) -> (Vec<OsString>, bool) {
    let (verbose, words): (Vec<_>, Vec<_>) = words.partition(|word| word == "-v" || word == "--verbose");
    (words, !verbose.is_empty())
}

fn run(words: Vec<OsString>) -> Result<ExitCode> {
    let commands = Cli::command().arg(verbose());
    let variables = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    config::check_environment(&commands, variables).map_err(unfit)?;
    let matches = commands.get_matches_from(&words);
    let cli = Cli::from_arg_matches(&matches).map_err(|fault| fault.exit())?;
    match cli.command {
        None => serve(cli.serve, words.into_iter().skip(1)),
        Some(Command::Serve(settings)) => serve(*settings, words.into_iter().skip(2)),
        Some(Command::Keys(command)) => block_on(lungo::operator::keys(command)),
        Some(Command::Load(args)) => {
            let _log = start_logging(&args.log, LogFormat::Text)?;
            lungo::load::load(&args)
        }
        Some(Command::Collisions(args)) => {
            let _log = start_logging(&args.log, LogFormat::Text)?;
            lungo::collisions::collisions(&args)
        }
        Some(Command::Polls(args)) => {
            let _log = start_logging(&args.log, LogFormat::Text)?;
            lungo::load::policies::polls(&args)
        }
        Some(Command::Simulator(args)) => match args.listen.clone() {
            None => block_on(lungo::operator::reconcile(&args)),
            Some(listen) => {
                let _log = start_logging("info,actix_server=warn", LogFormat::Text)?;
                block_on(lungo::operator::simulate(args, listen, stop_signal()))
            }
        },
        Some(Command::ConsoleLink(args)) => block_on(lungo::operator::console_link(args)),
        Some(Command::Backup(args)) => lungo::operator::backup(&args),
        Some(Command::Restore(args)) => lungo::operator::restore(&args),
        Some(Command::Restored(args)) => block_on(lungo::operator::restored(args)),
        Some(Command::Migrate(args)) => lungo::operator::migrate(&args),
        Some(Command::Lifecycle) => {
            terminal::print(format_args!("{}", lungo::lifecycle::diagram()))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Manual(args)) => manual::write(&args),
    }
}

/// Runs the service with the settings of the command line, the environment and the settings file.
fn serve(settings: Settings, flags: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let declared = Settings::augment_args(clap::Command::new("lungo serve")).no_binary_name(true);
    let read = match &settings.config {
        Some(file) => config::with_file(declared.clone(), file).map_err(unfit)?,
        None => declared.clone(),
    };
    let matches = read.clone().arg(verbose()).get_matches_from(flags);
    config::exposed(&declared, &matches).map_err(unfit)?;
    let settings = Settings::from_arg_matches(&matches)?.with_secrets().map_err(unfit)?;
    let _log = start_logging(&settings.log, settings.log_format)?;
    let in_force = config::in_force(&declared, &read, &matches);
    let supervisor = Supervisor::from_environment();
    block_on(async {
        supervisor.stay_alive();
        let stop = async {
            stop_signal().await;
            supervisor.stopping();
        };
        let ready = |running: Running| {
            supervisor.ready(running.address);
            announce(running);
        };
        lungo::serve::serve(settings, in_force, stop, ready).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn lossy(text: OsString) -> String {
    text.to_string_lossy().into_owned()
}

fn unfit(fault: String) -> Refusal {
    Refusal::new(fault, "`lungo serve --help` explains each setting.")
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(work);
    // Tasks that still run were told to stop, and waited for.
    runtime.shutdown_timeout(LAST_WAIT);
    done
}

/// Logs go to standard error, so that standard output stays for people.
fn start_logging(filter: &str, format: LogFormat) -> Result<Log> {
    logs::start(filter, format).map_err(|fault| {
        let hint = "Write a filter such as `info` or `info,lungo::store=debug`.";
        Refusal::new(fault, hint).into()
    })
}

/// Tells a person what to do next. No key is printed: it stands in a file.
fn announce(running: Running) {
    let Running { address, settings, console_link, is_new_demo, .. } = running;
    let mut out = std::io::stdout().lock();
    let env = settings.data.join("demo.env");
    let _ = writeln!(out, "Lungo is listening on http://{address} (API: /docs, console: /console, ready: /readyz)");
    if is_new_demo {
        tracing::warn!(data = %settings.data.display(), "serve.demo_made");
        let _ = writeln!(
            out,
            "\nThe database is new: it has a DEMO partner with keys, for trying (--demo=false: without)."
        );
    }
    if let Some(link) = console_link {
        // Without a terminal a supervisor keeps what is written here, for many to read.
        let way =
            if out.is_terminal() { link } else { format!("lungo console-link --data {}", settings.data.display()) };
        let _ = writeln!(out, "\nChoose a password for the console, once and within a day:\n\n  {way}");
    }
    if settings.demo && env.exists() {
        let _ = writeln!(out, "\nOrder a coffee:\n\n  . {} && {}\n", env.display(), lungo::serve::DEMO_CURL);
        let _ = writeln!(out, "and watch it:\n\n  {}\n", lungo::serve::DEMO_WATCH);
    }
    let _ = out.flush();
}

/// Ends with SIGTERM or SIGINT.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
