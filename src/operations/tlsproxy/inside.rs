//! Runs a command inside the proxy.

use std::io::IsTerminal;
use std::process::ExitStatus;

use tokio::process::{Child, Command};

use crate::error::{Context, Error, Exit, Result};
use crate::signal::{Signals, Told};

/// Variables that would send the command's requests elsewhere, or over TLS.
const ELSEWHERE: [&str; 9] = [
    "CONSUL_HTTP_SSL",
    "CONSUL_HTTP_SSL_VERIFY",
    "CONSUL_CACERT",
    "CONSUL_CAPATH",
    "CONSUL_CLIENT_CERT",
    "CONSUL_CLIENT_KEY",
    "NOMAD_CACERT",
    "NOMAD_CLIENT_CERT",
    "NOMAD_CLIENT_KEY",
];

/// Runs `command` with `addresses` in its environment, to its end.
pub async fn run(
    command: &[String],
    addresses: &[(&str, String)],
    signals: &mut Signals,
) -> Result<()> {
    let Some((program, args)) = command.split_first() else {
        return Err(Error::usage("there is no command to run"));
    };
    let mut child = Command::new(program);
    child.args(args).kill_on_drop(true);
    for name in ELSEWHERE {
        child.env_remove(name);
    }
    for (name, address) in addresses {
        child.env(name, address);
    }
    let mut child = child.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::usage(format!("{program} is not on PATH")),
        _ => Error::usage(format!("cannot run {program}: {e}")),
    })?;
    let status = loop {
        tokio::select! {
            status = child.wait() => {
                break status.context(|| format!("{program} was lost"))?;
            }
            told = signals.next() => pass_on(&child, told),
        }
    };
    match code(status) {
        0 => Ok(()),
        code => Err(Error::new(
            Exit::Command(code),
            format!("{program} ended with exit code {code}"),
        )),
    }
}

/// Passes a signal on to the command. ^C reaches it from the terminal.
fn pass_on(child: &Child, told: Told) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match told {
        Told::Interrupt if std::io::stdin().is_terminal() => return,
        Told::Interrupt => Signal::INT,
        Told::Terminate => Signal::TERM,
    };
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // A command that ended just now needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// The exit code, as in a shell.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run_sh(script: &str) -> Result<()> {
        let command = ["sh", "-c", script].map(str::to_owned);
        let addresses = [("NOMAD_ADDR", "http://localhost:4646".to_owned())];
        let mut signals = Signals::listen().unwrap();
        run(&command, &addresses, &mut signals).await
    }

    #[tokio::test]
    async fn the_command_finds_the_address_in_its_environment() {
        run_sh(r#"test "$NOMAD_ADDR" = http://localhost:4646"#)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_commands_exit_code_is_the_runs() {
        assert_eq!(run_sh("exit 7").await.unwrap_err().exit.code(), 7);
        assert_eq!(run_sh("kill -9 $$").await.unwrap_err().exit.code(), 137);
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_a_usage_error() {
        let mut signals = Signals::listen().unwrap();
        let error = run(&["no-such-program-here".into()], &[], &mut signals)
            .await
            .unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
    }
}
