//! How much a node may answer, and how long a line of it may be: what a node says is not
//! trusted to end.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::cluster::Name;
use crate::error::{Error, Kind, Result};

/// The largest answer of a script, in bytes. The longest there is names each path of a
/// closure: some megabytes for ten thousand.
pub const ANSWER: usize = 16 * 1024 * 1024;
/// What is kept of standard error, in bytes.
pub const ERRORS: usize = 64 * 1024;
/// The longest line of an answer, in bytes.
pub const LINE: usize = 64 * 1024;

/// The error of a node that does not stop.
pub fn too_much(node: &Name) -> Error {
    Error::new(
        Kind::TooMuch,
        "answers without end, as no node of this tool does",
    )
    .on(node)
    .help("does its login shell print something, or is it another machine?")
}

/// Reads a script's answer to its end; an error where it has none.
pub async fn answer(node: &Name, stream: Option<impl AsyncRead + Unpin>) -> Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What came before a broken connection is still worth showing.
        let _ = stream.take(ANSWER as u64 + 1).read_to_end(&mut bytes).await;
    }
    if bytes.len() > ANSWER {
        return Err(too_much(node));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads standard error to its end, and keeps its beginning.
pub async fn errors(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream)
            .take(ERRORS as u64)
            .read_to_end(&mut bytes)
            .await;
        // A program that nobody listens to would stand still.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The lines of an answer, as they come: each, and all of them, no longer than they may be.
#[derive(Debug)]
pub struct Lines<R> {
    node: Name,
    stream: BufReader<R>,
    left: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The lines of what `node` says.
    pub fn new(node: &Name, stream: R) -> Self {
        Self {
            node: node.clone(),
            stream: BufReader::new(stream),
            left: ANSWER,
        }
    }

    /// The next line without its break; none at the end.
    pub async fn next_line(&mut self) -> Result<Option<String>> {
        let most = self.left.min(LINE);
        if most == 0 {
            return Err(too_much(&self.node));
        }
        let line = line(&self.node, &mut self.stream, most).await?;
        self.left = self
            .left
            .saturating_sub(line.as_ref().map_or(0, |line| line.len() + 1));
        Ok(line)
    }
}

/// A line of at most `most` bytes, without its break; none at the end.
pub async fn line(
    node: &Name,
    stream: &mut (impl AsyncBufRead + Unpin),
    most: usize,
) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = stream
        .take(most as u64 + 1)
        .read_until(b'\n', &mut bytes)
        .await
        .map_err(|e| {
            Error::new(Kind::Lost, "the connection was lost")
                .on(node)
                .saying(e.to_string())
        })?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > most {
        return Err(too_much(node));
    }
    Ok((read > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Name {
        "alder".parse().unwrap()
    }

    /// A stream of one byte that never ends.
    fn endless(byte: u8) -> impl AsyncRead + Unpin {
        tokio::io::repeat(byte)
    }

    #[tokio::test]
    async fn an_answer_without_end_is_an_error_and_no_memory() {
        let error = answer(&node(), Some(endless(b'x'))).await.unwrap_err();
        assert_eq!(error.kind, Kind::TooMuch);
        let short = answer(&node(), Some(&b"well\n"[..])).await.unwrap();
        assert_eq!(short, "well\n");
    }

    #[tokio::test]
    async fn a_line_without_end_is_an_error() {
        let error = Lines::new(&node(), endless(b'x')).next_line().await;
        assert_eq!(error.unwrap_err().kind, Kind::TooMuch);
    }

    #[tokio::test]
    async fn lines_without_end_are_an_error() {
        let mut lines = Lines::new(&node(), endless(b'\n'));
        let mut count = 0;
        let error = loop {
            match lines.next_line().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => panic!("no end was put to {count} lines"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind, count), (Kind::TooMuch, ANSWER));
    }

    #[tokio::test]
    async fn lines_come_without_their_breaks_and_the_last_may_have_none() {
        let mut lines = Lines::new(&node(), &b"one\n\ntwo"[..]);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            all.push(line);
        }
        assert_eq!(all, ["one", "", "two"]);
    }
}
