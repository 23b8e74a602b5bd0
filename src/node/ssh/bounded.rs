//! Limits a node's output: an answer, a line of it, and standard error.

use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

use crate::cluster::Name;
use crate::error::{Error, Kind, Result};

/// The longest answer, in bytes. The longest real one lists the 30,000 paths of a large closure.
const MOST_ANSWER: usize = 8 << 20;
/// The longest line of an answer, in bytes.
pub const MOST_LINE: usize = 256 << 10;
/// The memory of a line beside its bytes, so that empty lines count too.
const LINE: usize = size_of::<String>() + 8;
/// The most standard error that is kept, in bytes.
pub const MOST_ERRORS: usize = 64 << 10;

/// The error of an answer that is too long.
pub fn too_long(node: &Name) -> Error {
    let what = format!("answers with more than {} MiB", MOST_ANSWER >> 20);
    Error::new(Kind::BadAnswer, what)
        .on(node)
        .help("no node does so of itself: look at it before it is trusted again")
}

/// Reads a stream to its end. After a broken connection, returns what came before.
pub async fn whole(node: &Name, stream: impl AsyncRead + Unpin) -> Result<String> {
    let mut bytes = Vec::new();
    let _ = stream
        .take(MOST_ANSWER as u64 + 1)
        .read_to_end(&mut bytes)
        .await;
    if bytes.len() > MOST_ANSWER {
        Err(too_long(node))
    } else {
        Ok(text(bytes))
    }
}

/// The line that a long script prints now and then as a sign of life.
const BEAT: &str = "nixcfg-alive";

/// The same for a script that gives signs of life. Fails after a silence of `silence`; leaves the
/// signs out.
pub async fn beating(
    node: &Name,
    mut stream: impl AsyncRead + Unpin,
    silence: Duration,
) -> Result<String> {
    let mut bytes = Vec::new();
    let mut block = vec![0; 16 << 10];
    loop {
        let Ok(read) = tokio::time::timeout(silence, stream.read(&mut block)).await else {
            let what = format!("gives no sign of life for {} seconds", silence.as_secs());
            return Err(Error::new(Kind::NoAnswer, what).on(node));
        };
        match read {
            Ok(n) if n > 0 => bytes.extend_from_slice(&block[..n]),
            _ => break,
        }
        if bytes.len() > MOST_ANSWER {
            return Err(too_long(node));
        }
    }
    let lines = text(bytes);
    let lines = lines.split_inclusive('\n');
    Ok(lines.filter(|line| line.trim_end() != BEAT).collect())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Reads a stream to its end, and keeps its first [`MOST_ERRORS`] bytes.
pub async fn beginning(mut stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    while let Ok(n) = stream.read(&mut block).await
        && n > 0
    {
        let room = MOST_ERRORS - bytes.len();
        bytes.extend_from_slice(&block[..n.min(room)]);
    }
    text(bytes)
}

/// Reads the lines of an answer, which together have the limit of an answer.
#[derive(Debug)]
pub struct Lines<R> {
    stream: R,
    node: Name,
    left: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Reads a stream of `node`.
    pub fn new(node: &Name, stream: R) -> Self {
        Self {
            stream,
            node: node.clone(),
            left: MOST_ANSWER,
        }
    }

    /// Begins another answer on the same stream.
    pub fn again(&mut self) {
        self.left = MOST_ANSWER;
    }

    /// The next line without its line break; none if the stream ends or breaks before one.
    pub async fn next(&mut self) -> Result<Option<String>> {
        let most = self.left.min(MOST_LINE);
        let mut bytes = Vec::new();
        let _ = until_newline(&mut self.stream, &mut bytes, most).await;
        if bytes.last() != Some(&b'\n') {
            return if bytes.len() >= most {
                Err(too_long(&self.node))
            } else {
                Ok(None)
            };
        }
        self.left = self.left.saturating_sub(bytes.len() + LINE);
        bytes.pop();
        Ok(Some(text(bytes)))
    }
}

/// Reads up to a newline, or to `most` bytes.
pub async fn until_newline(
    stream: &mut (impl AsyncBufRead + Unpin),
    bytes: &mut Vec<u8>,
    most: usize,
) -> std::io::Result<usize> {
    stream.take(most as u64).read_until(b'\n', bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Name {
        "alder".parse().unwrap()
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.build().unwrap().block_on(work)
    }

    #[test]
    fn an_answer_is_taken_up_to_its_bound() {
        let most = vec![b'x'; MOST_ANSWER];
        assert_eq!(run(whole(&node(), &most[..])).unwrap().len(), MOST_ANSWER);
        let error = run(whole(&node(), tokio::io::repeat(b'x'))).unwrap_err();
        assert_eq!(error.kind, Kind::BadAnswer);
    }

    #[tokio::test]
    async fn signs_of_life_are_left_out_and_silence_is_told() {
        let long = Duration::from_secs(600);
        let printed = &b"nixcfg-alive\none\nnixcfg-alive\ntwo"[..];
        assert_eq!(beating(&node(), printed, long).await.unwrap(), "one\ntwo");
        let (_kept, silent) = tokio::io::duplex(64);
        let told = beating(&node(), silent, Duration::from_millis(1)).await;
        assert_eq!(told.unwrap_err().kind, Kind::NoAnswer);
        let told = beating(&node(), tokio::io::repeat(b'x'), long).await;
        assert_eq!(told.unwrap_err().kind, Kind::BadAnswer);
    }

    #[test]
    fn a_line_without_an_end_is_refused_and_one_that_was_cut_is_none() {
        let stream = tokio::io::BufReader::new(tokio::io::repeat(b'x'));
        let error = run(Lines::new(&node(), stream).next()).unwrap_err();
        assert_eq!(error.kind, Kind::BadAnswer);
        let mut lines = Lines::new(&node(), &b"one\ntw"[..]);
        assert_eq!(run(lines.next()).unwrap().as_deref(), Some("one"));
        assert_eq!(run(lines.next()).unwrap(), None);
    }

    #[test]
    fn lines_without_end_are_refused_before_they_fill_the_memory() {
        let stream = tokio::io::BufReader::new(tokio::io::repeat(b'\n'));
        let mut lines = Lines::new(&node(), stream);
        let mut taken = 0;
        let refused = run(async {
            loop {
                match lines.next().await {
                    Ok(_) => taken += 1,
                    Err(error) => return error.kind,
                }
            }
        });
        assert_eq!(refused, Kind::BadAnswer);
        assert!(taken * LINE <= MOST_ANSWER, "{taken}");
        lines.again();
        assert!(run(lines.next()).unwrap().is_some());
    }

    #[test]
    fn of_standard_error_the_beginning_is_kept_and_the_rest_is_read() {
        let said = run(beginning(tokio::io::repeat(b'x').take(1 << 20)));
        assert_eq!(said.len(), MOST_ERRORS);
    }
}
