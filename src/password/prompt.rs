//! Reads passwords from the terminal, without echo, or from a pipe.

use std::fs::File;
use std::io::{IsTerminal, Read};

use zeroize::Zeroizing;

use super::hash::Password;
use crate::error::{Error, Result};
use crate::event::Reporter;
use crate::secret;

/// Room for the longest password and a line break; more is refused anyway.
const MOST: usize = 64 * 1024;

/// Reads one line from standard input, which must not be a terminal: that would show the password.
pub fn from_standard_input() -> Result<Password> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(
            Error::usage("standard input is a terminal, which would show the password")
                .help("leave --stdin out to be asked without echo"),
        );
    }
    // Full size from the beginning: a growing buffer leaves copies that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(MOST));
    stdin
        .lock()
        .take(MOST as u64)
        .read_to_string(&mut text)
        .map_err(|e| Error::usage(format!("cannot read the password from standard input: {e}")))?;
    if text.ends_with('\n') {
        text.pop();
    }
    super::password(std::mem::take(&mut *text))
}

/// Asks twice on the terminal. Fails if the answers differ.
pub async fn twice(reporter: &Reporter, what: String) -> Result<Password> {
    let first = once(reporter, format!("{what}: ")).await?;
    let again = once(reporter, format!("{what}, again: ")).await?;
    if first == again {
        Ok(first)
    } else {
        Err(Error::usage(
            "the two passwords are not the same; nothing was changed",
        ))
    }
}

/// Asks once on the terminal.
pub async fn once(reporter: &Reporter, prompt: String) -> Result<Password> {
    if File::open("/dev/tty").is_err() {
        return Err(Error::usage("there is no terminal to ask for the password")
            .help("give it on standard input, with --stdin"));
    }
    let asked = reporter.ask(move || secret::read_unechoed(&prompt));
    super::password(asked.await?)
}
