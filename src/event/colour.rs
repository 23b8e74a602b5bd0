//! What colours mean, and where they are used.

use std::io::IsTerminal;

/// What a word says of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It is to be so: blue.
    Wanted,
    /// It is so now, or was well before: green.
    Changed,
    /// It failed: red.
    Failed,
    /// It waits, or is not known: yellow.
    Waiting,
}

/// What is written before and after a text of that meaning (ECMA-48, SGR): colours of the terminal's own sixteen.
pub fn coloured(text: &str, meaning: Meaning) -> String {
    let colour = match meaning {
        Meaning::Wanted => 34,
        Meaning::Changed => 32,
        Meaning::Failed => 31,
        Meaning::Waiting => 33,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// Whether a stream shows colours: it is a terminal, and nobody objects (no-color.org; terminfo's `dumb`).
pub fn shows(stream: &impl IsTerminal) -> bool {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_default();
    wanted(
        stream.is_terminal(),
        !variable("NO_COLOR").is_empty(),
        variable("TERM") == "dumb",
    )
}

fn wanted(terminal: bool, objected: bool, dumb: bool) -> bool {
    terminal && !objected && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_alone_has_colours_and_only_where_nobody_objects() {
        assert!(wanted(true, false, false));
        for (terminal, objected, dumb) in [
            (false, false, false),
            (true, true, false),
            (true, false, true),
        ] {
            assert!(!wanted(terminal, objected, dumb));
        }
        assert_eq!(
            coloured("error:", Meaning::Failed),
            "\u{1b}[31merror:\u{1b}[0m"
        );
    }
}
