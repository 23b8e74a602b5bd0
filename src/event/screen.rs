//! A text that is drawn anew in place, on a screen of its own.

use std::io::{IsTerminal, Write};

use super::fit;

/// Another screen (`smcup`), without a cursor; lines that are too long are cut (xterm's control sequences).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal, with a screen of its own until this is dropped.
pub struct Screen(());

impl Screen {
    /// None if standard output is no terminal that can do this.
    pub fn open() -> Option<Self> {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        if dumb || !std::io::stdout().is_terminal() {
            return None;
        }
        write(ENTER);
        Some(Self(()))
    }

    /// Draws a text over the one before, in one write: nothing flickers.
    pub fn draw(&mut self, text: &str) {
        write(&frame(text, fit::rows(std::io::stdout()).unwrap_or(24)));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
    }
}

/// Where the terminal is gone, a signal ends the run.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What draws a text on a screen of so many rows: each line, and nothing of what was there before.
fn frame(text: &str, rows: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let mut lines: Vec<String> = all.iter().take(rows).map(ToString::to_string).collect();
    if all.len() > rows
        && let Some(last) = lines.last_mut()
    {
        *last = format!("… {} more lines", all.len() + 1 - rows);
    }
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_covers_the_one_before_and_fits_the_screen() {
        assert_eq!(frame("a\nb", 3), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        assert_eq!(
            frame("a\nb\nc\nd", 3),
            "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n… 2 more lines\x1b[K\x1b[J"
        );
    }
}
