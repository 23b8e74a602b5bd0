//! The beginning of a command on a node: it prints a mark that nothing else can print. Output of
//! the login shell before the mark is skipped.

use data_encoding::HEXLOWER;
use tokio::io::AsyncBufRead;

use super::bounded;
use crate::cluster::Name;
use crate::error::{Error, Kind, Result};

/// The most output before the mark, in bytes.
const MOST_NOISE: usize = 64 << 10;

/// Prints the mark, then becomes the program. Arguments: mark, program and its arguments.
pub(super) const ANNOUNCE: &str = r#"printf '%s\n' "$1"; shift; exec "$@""#;
/// Prints the mark, then runs the script at the beginning of standard input. The script is no
/// argument, because sudo logs command lines in the node's journal, and some login shells change
/// characters of a script. A truncated script does nothing. Arguments: mark, the script's size in
/// bytes, its arguments.
pub(super) const OBEY: &str = r#"printf '%s\n' "$1"; text=$(head -c "$2"); shift 2; case $text in *'# whole') eval "$text" ;; *) exit 255 ;; esac"#;
/// The last line of a script on standard input.
pub(super) const WHOLE: &str = "\n# whole";

/// A random word for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(String);

impl Mark {
    /// 64 random bits.
    pub(super) fn new() -> Result<Self> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|e| Error::unexpected(format!("no randomness: {e}")))?;
        Ok(Self(format!("nixcfg-{}", HEXLOWER.encode(&random))))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Skips standard output up to the mark.
#[derive(Debug)]
pub(super) struct Noise<'a> {
    mark: &'a Mark,
    line: Vec<u8>,
    left: usize,
    /// The first line of other output.
    pub(super) first: Option<String>,
}

impl<'a> Noise<'a> {
    pub(super) fn new(mark: &'a Mark) -> Self {
        Self {
            mark,
            line: Vec::new(),
            left: MOST_NOISE,
            first: None,
        }
    }

    /// The text after the mark on the next line that has it; none if the stream ends before that or
    /// is too long. Cancel-safe.
    pub(super) async fn next(
        &mut self,
        stream: &mut (impl AsyncBufRead + Unpin),
    ) -> Option<String> {
        loop {
            let most = self.left.saturating_sub(self.line.len());
            let _ = bounded::until_newline(stream, &mut self.line, most).await;
            let whole = self.line.last() == Some(&b'\n');
            self.left = self.left.saturating_sub(self.line.len());
            let text = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            let text = text.trim_end_matches(['\n', '\r']);
            if whole && let Some((before, after)) = text.split_once(self.mark.as_str()) {
                self.note(before);
                return Some(after.trim().to_owned());
            }
            self.note(text);
            if !whole {
                return None;
            }
        }
    }

    fn note(&mut self, text: &str) {
        if self.first.is_none() && !text.trim().is_empty() {
            self.first = Some(text.chars().take(500).collect());
        }
    }
}

/// The error of a command that did not begin. `noise` is the first line of other output, `said` its
/// standard error.
pub(super) fn not_begun(node: &Name, noise: Option<&str>, said: &str) -> Error {
    let error = if said.contains("password has expired")
        || said.contains("Password change required")
    {
        Error::new(Kind::LoginRefused, "the password of its account has expired").help(
            "log in with a terminal (the operation `ssh`) and set another; or set it on the node as root; then run again",
        )
    } else if noise.is_some() {
        Error::new(Kind::BadAnswer, "does not answer as a node should").help(
            "this is what its login shell printed instead of running the command; or is it not a Unix system?",
        )
    } else if !said.trim().is_empty() {
        Error::new(Kind::BadAnswer, "its login shell does not run commands")
    } else {
        Error::new(Kind::Lost, "ends the login without an answer")
            .help("does the user’s login shell run commands? otherwise run again")
    };
    let told: Vec<&str> = noise.into_iter().chain([said.trim()]).collect();
    let told = told.join("\n");
    error.on(node).saying(super::tail(told.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark("nixcfg-0".to_owned())
    }

    fn read(text: &[u8]) -> (Option<String>, Option<String>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let mark = mark();
        let mut noise = Noise::new(&mark);
        let mut stream = text;
        let found = { runtime }
            .build()
            .unwrap()
            .block_on(noise.next(&mut stream));
        (found, noise.first, stream.to_vec())
    }

    #[test]
    fn two_calls_have_two_marks() {
        assert_ne!(Mark::new().unwrap(), Mark::new().unwrap());
    }

    #[test]
    fn what_comes_before_the_mark_is_skipped_and_what_follows_is_left() {
        let (found, noise, left) = read(b"Welcome!\nto fishnixcfg-0 77\nrest\n");
        assert_eq!(found.as_deref(), Some("77"));
        assert_eq!(noise.as_deref(), Some("Welcome!"));
        assert_eq!(left, b"rest\n");
        assert_eq!(read(b"nixcfg-0\n").0.as_deref(), Some(""));
    }

    #[test]
    fn noise_has_an_end() {
        let endless = vec![b'x'; MOST_NOISE + 100];
        let (found, noise, left) = read(&endless);
        assert_eq!((found, left.len()), (None, 100));
        assert_eq!(noise.map(|line| line.len()), Some(500));
        assert_eq!(read(&b"\n".repeat(MOST_NOISE + 5)).2.len(), 5);
        // A truncated mark is none.
        assert_eq!(read(b"nixcfg-0").0, None);
    }

    #[test]
    fn what_came_instead_is_told_by_its_reason() {
        let node = "alder".parse().unwrap();
        let cases = [
            (None, "", "ends the login", Kind::Lost),
            (Some("Welcome!"), "", "does not answer as", Kind::BadAnswer),
            (
                None,
                "This account is not available.",
                "shell does not run",
                Kind::BadAnswer,
            ),
            (
                None,
                "WARNING: Your password has expired.\nPassword change required but no TTY available.",
                "has expired",
                Kind::LoginRefused,
            ),
        ];
        for (noise, said, what, kind) in cases {
            let error = not_begun(&node, noise, said);
            assert!(error.what.contains(what) && error.kind == kind, "{error}");
        }
    }

    #[test]
    fn a_script_is_run_only_if_it_came_whole_and_reads_what_comes_after_it() {
        let run = |sent: &str| {
            let script = ["read -r line\necho \"$0 $1 $line\"", WHOLE].concat();
            let size = script.len().to_string();
            let sent = sent.replace("SCRIPT", &script);
            let mut child = std::process::Command::new("sh")
                .args(["-c", OBEY, "name", "mark", &size, "argument"])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut stdin, sent.as_bytes()).unwrap();
            drop(stdin);
            let output = child.wait_with_output().unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stdout).unwrap(),
            )
        };
        let done = "mark\nname argument input\n".to_owned();
        assert_eq!(run("SCRIPTinput\n"), (Some(0), done));
        let refused = (Some(255), "mark\n".to_owned());
        assert_eq!(run("read -r line\necho"), refused);
    }
}
