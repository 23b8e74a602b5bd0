//! Long results on a narrow terminal: cells that stand two spaces apart move to lines of their own.

use std::os::fd::AsFd;

/// How much further lines are set in after the first one.
const INDENT: usize = 4;

/// How wide the terminal is that a stream leads to; none where it leads to no terminal, or that does not tell.
pub fn columns(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// How many rows the terminal has that a stream leads to.
pub fn rows(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
}

/// The beginnings of lines that stay whole: a command, which may be copied, and what a program printed.
const WHOLE: [&str; 2] = ["  command: ", "  | "];

/// The text in lines of at most `columns` characters. One that fits is as it was, with its columns; otherwise its cells
/// follow each other, and a cell that is too long is broken between words. A longer word stays whole, and so does what
/// stands in ‘…’: it may be copied.
pub fn fitted(text: &str, columns: usize) -> String {
    let lines = text.lines().map(|line| {
        if width(line) <= columns || WHOLE.iter().any(|begin| line.starts_with(begin)) {
            line.to_owned()
        } else {
            Broken::of(line, columns).text
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The words of a text, between which it may be broken: those in ‘…’ are one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = 0_usize;
    text.split(move |c| {
        match c {
            '‘' => quoted += 1,
            '’' => quoted = quoted.saturating_sub(1),
            _ => {}
        }
        c == ' ' && quoted == 0
    })
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A line that is being broken.
struct Broken {
    text: String,
    /// How wide its last line is.
    last: usize,
    /// How far further lines are set in.
    indent: usize,
    columns: usize,
}

impl Broken {
    fn of(line: &str, columns: usize) -> Self {
        let lead = width(line) - width(line.trim_start());
        let mut this = Self {
            text: " ".repeat(lead),
            last: lead,
            indent: lead + INDENT,
            columns,
        };
        let cells = line.split("  ").map(str::trim);
        for (n, cell) in cells.filter(|cell| !cell.is_empty()).enumerate() {
            let mut words = words(cell);
            match n {
                0 => this.push("", words.next().unwrap_or_default()),
                // A cell stays whole where a line holds it.
                _ if this.last + 2 + width(cell) <= columns => {
                    this.push("  ", cell);
                    continue;
                }
                _ => {
                    this.turn();
                    this.push("", words.next().unwrap_or_default());
                }
            }
            for word in words {
                if this.last + 1 + width(word) <= this.columns {
                    this.push(" ", word);
                } else {
                    this.turn();
                    this.push("", word);
                }
            }
        }
        this
    }

    fn push(&mut self, between: &str, text: &str) {
        self.text.push_str(between);
        self.text.push_str(text);
        self.last += width(between) + width(text);
    }

    fn turn(&mut self) {
        self.text.push('\n');
        self.text.push_str(&" ".repeat(self.indent));
        self.last = self.indent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "alder        nixos-system-alder-26.05  generation 7  disk 60 % free  certificates 300 days  no lease  Consul led by alder, 3/3 servers, Nomad led by cedar, 3/3 servers  consul.service waits for /var/lib/consul/pki/consul.crt, /var/lib/consul/pki/consul-ca.crt; 9 % of its disk is free";

    fn facts(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn a_line_fits_the_terminal_and_loses_nothing() {
        for columns in [40, 60, 80] {
            let told = fitted(LINE, columns);
            for line in told.lines() {
                assert!(width(line) <= columns, "{columns}: {line:?}");
            }
            assert_eq!(facts(&told), facts(LINE), "{columns}");
        }
        assert_eq!(
            fitted(LINE, 60).lines().take(3).collect::<Vec<_>>(),
            [
                "alder  nixos-system-alder-26.05  generation 7",
                "    disk 60 % free  certificates 300 days  no lease",
                "    Consul led by alder, 3/3 servers, Nomad led by cedar,",
            ]
        );
    }

    #[test]
    fn what_fits_keeps_its_columns_and_a_long_word_is_whole() {
        assert_eq!(fitted(LINE, 400), LINE);
        let path = format!("alder        {}", "/a".repeat(40));
        assert_eq!(fitted(&path, 40), format!("alder\n    {}", "/a".repeat(40)));
        assert_eq!(fitted("", 40), "");
        // A quoted command is whole.
        let told = fitted("run ‘nixcfg gen-pki prod’ and then go on", 30);
        assert_eq!(told, "run ‘nixcfg gen-pki prod’ and\n    then go on");
        let told = fitted("it is all in ‘nixcfg gen-pki prod’", 30);
        assert_eq!(told, "it is all in\n    ‘nixcfg gen-pki prod’");
        let told = "  command: ssh -o BatchMode=yes alder\n  | a line that a program printed";
        assert_eq!(fitted(told, 20), told);
        // What is set in stays so.
        let help = "wrong  disk: full\n       → on the node, as root: nix-collect-garbage";
        let told = fitted(help, 40);
        assert_eq!(
            told,
            "wrong  disk: full\n       → on the node, as root:\n           nix-collect-garbage"
        );
    }
}
