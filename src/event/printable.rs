//! Text that is safe for a terminal.

use std::borrow::Cow;

/// Removes what a terminal obeys. A node, program or file could otherwise set titles, write to the
/// clipboard, clear the screen or reorder the text. Line ends and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let text = text.replace("\r\n", "\n");
    let text = text.trim_end_matches('\r');
    Cow::Owned(text.replace(is_obeyed, "\u{fffd}"))
}

/// Control characters (C0, DEL, C1) and those that change the direction of text (Unicode, UAX #9).
fn is_obeyed(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    control || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_taken_out() {
        for (text, shown) in [
            ("plain, žluťoučký\tkůň\n", "plain, žluťoučký\tkůň\n"),
            ("\u{1b}]0;title\u{7}x", "\u{fffd}]0;title\u{fffd}x"),
            ("\u{1b}[2Jx", "\u{fffd}[2Jx"),
            ("\u{9b}2Jx\u{7f}", "\u{fffd}2Jx\u{fffd}"),
            ("good\rbad", "good\u{fffd}bad"),
            ("a line\r\nanother\r", "a line\nanother"),
            ("\u{202e}txt", "\u{fffd}txt"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }
}
