//! What a script answers: lines, of which the last one is `end`.

use crate::cluster::Name;
use crate::error::{Error, Kind, Result};

/// The last line of a whole answer. A login that is lost may cut an answer short and end well.
const END: &str = "end";

/// A whole answer, without its last line. Most are lines of a word and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(String);

impl Answer {
    /// Takes what `script` printed on `node`; an error where its end is missing.
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

    /// Takes lines that a caller read up to the end itself.
    pub fn of(lines: &[String]) -> Self {
        Self(lines.iter().map(|line| format!("{line}\n")).collect())
    }

    /// Whether a line ends an answer.
    pub fn ends(line: &str) -> bool {
        line == END
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What each line says that begins with `word`, without the white space around it.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(move |(first, _)| *first == word)
            .map(|(_, value)| value.trim())
    }

    /// What the first such line says; nothing where there is none.
    pub fn one<'a>(&'a self, word: &'a str) -> &'a str {
        self.all(word).next().unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a script printed on some node.
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
    fn lines_are_found_by_their_first_word() {
        let answer = read("failed a\nother x\nfailed b c\nempty \nend\n").unwrap();
        assert_eq!(answer.all("failed").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!((answer.one("other"), answer.one("empty")), ("x", ""));
        assert_eq!(answer.one("none"), "");
        assert_eq!(read("end\n").unwrap().text(), "");
    }
}
