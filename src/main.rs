//! The `nixcfg` command.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nixcfg::cli::Cli;
use nixcfg::completion;
use nixcfg::error::{Error, Exit};
use nixcfg::event::commands::Commands;
use nixcfg::event::trace::Trace;
use nixcfg::file;
use nixcfg::secret::{self, TerminalGuard};
use nixcfg::signal::Signals;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::prelude::*;

/// How long stopped work may take to clean up.
const SHUTDOWN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    secret::forbid_dumps();
    completion::answer(Cli::described);
    let passwords = match secret::shed_environment() {
        Ok(passwords) => passwords,
        Err(error) => return fail(&error),
    };
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let reporter = match cli.reporter() {
        Ok(reporter) => reporter,
        Err(error) => return fail(&error),
    };
    let trace = std::env::var_os("NIXCFG_TRACE").map(|file| (file, Trace::default()));
    let diagnostics = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(diagnostics.with_filter(EnvFilter::from_env("NIXCFG_LOG")))
        .with(Commands(reporter.clone()).with_filter(filter_fn(Commands::concerns)))
        .with(
            trace
                .clone()
                .map(|(_, trace)| trace.with_filter(filter_fn(Trace::concerns))),
        )
        .init();
    let terminal = TerminalGuard::new();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&Error::unexpected(format!("cannot start: {e}"))),
    };
    let minds_interrupts = cli.minds_interrupts();
    let result = runtime.block_on(async {
        tokio::select! {
            result = cli.run(reporter.clone(), passwords) => result,
            () = interrupted(), if !minds_interrupts => Err(Error::new(Exit::Interrupted, "stopped")
                .help("what was begun on the cluster goes on there; run again to see")),
        }
    });
    // Running work closes its connections and removes its folders. The limit is for a password
    // prompt, which may wait in its thread for ever.
    runtime.shutdown_timeout(SHUTDOWN);
    reporter.finish();
    if let Some((file, trace)) = trace
        && let Err(e) = file::replace(Path::new(&file), &trace.text(), 0o600)
    {
        let error = Error::unexpected(format!("cannot write {}: {e}", Path::new(&file).display()));
        reporter.failure(&error.help("NIXCFG_TRACE names a file in a folder that exists"));
    }
    drop(terminal);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            reporter.failure(&error);
            error.exit.into()
        }
    }
}

/// Waits for ^C, a request to end, or the end of the terminal.
async fn interrupted() {
    match Signals::listen() {
        Ok(mut signals) => {
            signals.next().await;
        }
        Err(_) => std::future::pending().await,
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    error.exit.into()
}
