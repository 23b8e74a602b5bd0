//! Questions to the operator, who answers each with a line of standard input.

use std::io::{BufRead, Write};

use crate::error::{Error, Kind, Result};
use crate::event::{Reporter, printable};

/// The error after which no question is repeated.
const END: &str = "standard input ended before the last answer";

fn is_end(error: &Error) -> bool {
    error.what == END || error.kind == Kind::Unexpected
}

/// Asks the operator.
#[derive(Clone)]
pub struct Asker {
    /// Clears the terminal's live lines for a question.
    pub reporter: Reporter,
    /// Whether to accept proposed answers without asking.
    pub yes: bool,
}

impl Asker {
    /// The answer given on the command line, the proposed one, or the operator's. `option` is its
    /// option on the command line.
    pub async fn line(
        &self,
        given: Option<&String>,
        question: &str,
        proposed: Option<String>,
        option: &str,
    ) -> Result<String> {
        if let Some(given) = given {
            return Ok(given.clone());
        }
        if self.yes {
            return proposed.ok_or_else(|| {
                Error::usage(format!("{question}: there is nothing to propose"))
                    .help(format!("give it with {option}"))
            });
        }
        let prompt = match &proposed {
            Some(proposed) => format!("{question} [{proposed}]: "),
            None => format!("{question}: "),
        };
        let answer = self.read(prompt, option).await?;
        match (answer.is_empty(), proposed) {
            (false, _) => Ok(answer),
            (true, Some(proposed)) => Ok(proposed),
            (true, None) => Err(Error::usage(format!("{question}: no answer"))
                .help(format!("answer, or give it with {option}"))),
        }
    }

    /// The same, parsed by `read`. A wrong answer typed at the question is asked for again, so
    /// earlier answers stay.
    pub async fn value<T>(
        &self,
        given: Option<&String>,
        (question, proposed, option): (&str, Option<String>, &str),
        read: impl Fn(&str) -> Result<T>,
    ) -> Result<T> {
        let typed = given.is_none() && !self.yes;
        loop {
            let answer = self.line(given, question, proposed.clone(), option).await;
            match answer.and_then(|answer| read(&answer)) {
                Err(error) if typed && !is_end(&error) => self.reporter.failure(&error),
                other => return other,
            }
        }
    }

    /// Whether the operator says yes.
    pub async fn agrees(&self, question: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        let answer = self.read(format!("{question} (yes/no): "), "--yes").await?;
        Ok(matches!(answer.as_str(), "yes" | "y"))
    }

    /// A line of standard input, without the white space around it; empty for an empty line.
    pub async fn read(&self, prompt: String, option: &str) -> Result<String> {
        let asked = self.reporter.ask(move || {
            let mut err = std::io::stderr();
            let mut line = String::new();
            let mut read = || {
                write!(err, "{}", printable(&prompt))?;
                err.flush()?;
                std::io::stdin().lock().read_line(&mut line)
            };
            let read =
                read().map_err(|e| Error::unexpected(format!("cannot read the answer: {e}")))?;
            Ok((read > 0).then(|| line.trim().to_owned()))
        });
        let answer = asked.await?;
        answer.ok_or_else(|| Error::usage(END).help(format!("give it with {option}")))
    }
}
