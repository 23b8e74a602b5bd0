//! What may reach the operator's terminal of what nodes and programs say.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with what a terminal would obey made visible: control characters other than a
/// line break and a tab (ECMA-48, with its 8-bit forms), and those that turn the direction
/// of writing (Unicode, UAX #9), by which a line can pretend to be another.
pub fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_instead() {
        assert_eq!(printable("a\tb\nc é"), "a\tb\nc é");
        assert_eq!(printable("\x1b]0;title\x07"), r"\u{1b}]0;title\u{7}");
        assert_eq!(printable("\u{9b}2J\r"), r"\u{9b}2J\u{d}");
        assert_eq!(printable("\u{202e}txt"), r"\u{202e}txt");
    }
}
