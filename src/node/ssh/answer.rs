//! A script's answer: lines, of which the last one is `end`.

use crate::cluster::Name;
use crate::error::{Error, Kind, Result};

/// The last line of a whole answer. A lost login may truncate an answer and still exit with 0.
const END: &str = "end";

/// A whole answer, without its last line. Most lines are a word and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(String);

impl Answer {
    /// Parses the output of `script` on `node`. Fails without its end.
    pub fn read(node: &Name, script: &str, printed: &str) -> Result<Self> {
        match printed.strip_suffix("end\n") {
            Some(text) if text.is_empty() || text.ends_with('\n') => Ok(Self(text.to_owned())),
            _ => {
                let what = format!("the answer of {script} was cut short");
                Err(Error::new(Kind::Lost, what)
                    .on(node)
                    .saying(super::tail(printed))
                    .help("run again: was the connection lost?"))
            }
        }
    }

    /// Refuses an answer that does not say what `script` did on `node`, in a line of `word` and
    /// `what`. An end alone says nothing.
    pub fn did(self, node: &Name, script: &str, (word, what): (&str, &str)) -> Result<Self> {
        if self.all(word).any(|told| told == what) {
            return Ok(self);
        }
        let error = Error::new(
            Kind::BadAnswer,
            format!("{script} does not say what it did"),
        );
        Err(error.on(node).saying(super::tail(self.text())))
    }

    /// Makes an answer of lines that the caller has read up to the end.
    pub fn of(lines: &[String]) -> Self {
        Self(lines.iter().map(|line| format!("{line}\n")).collect())
    }

    /// Whether a line ends an answer.
    pub fn ends(line: &str) -> bool {
        line == END
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// The trimmed values of the lines that begin with `word`.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(move |(first, _)| *first == word)
            .map(|(_, value)| value.trim())
    }

    /// The first such value; empty if there is none.
    pub fn one<'a>(&'a self, word: &'a str) -> &'a str {
        self.all(word).next().unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Parses output of a script on some node.
    pub(crate) fn read(printed: &str) -> Result<Answer> {
        Answer::read(&"alder".parse().unwrap(), "nixcfg-test", printed)
    }

    #[test]
    fn an_answer_that_was_cut_anywhere_is_refused() {
        let whole = "failed a.service\nfailed b.service\nend\n";
        for end in 0..whole.len() {
            let error = read(&whole[..end]).unwrap_err();
            assert_eq!(error.kind, Kind::Lost, "{end}");
        }
        assert!(read(whole).is_ok());
        assert!(read("the end\n").is_err());
        assert!(read("end\nmore\n").is_err());
    }

    #[test]
    fn an_end_alone_does_not_say_that_anything_was_done() {
        let node = "alder".parse().unwrap();
        let did = |printed: &str| read(printed)?.did(&node, "nixcfg-test", ("confirmed", "x"));
        assert!(did("confirmed x\nend\n").is_ok());
        for printed in [
            "end\n",
            "confirmed\nend\n",
            "confirmed y\nend\n",
            "x\nend\n",
        ] {
            assert_eq!(did(printed).unwrap_err().kind, Kind::BadAnswer, "{printed}");
        }
    }

    #[test]
    fn lines_are_found_by_their_first_word() {
        let answer = read("failed a\nother x\nfailed b c\nempty \nend\n").unwrap();
        assert_eq!(answer.all("failed").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!((answer.one("other"), answer.one("empty")), ("x", ""));
        assert_eq!(answer.one("none"), "");
        assert_eq!(read("end\n").unwrap().text(), "");
    }
}
