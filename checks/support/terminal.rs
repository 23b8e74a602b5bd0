//! A program on its own terminal, by script(1), with an operator who types.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// The result of a session.
pub struct Session {
    /// All that the terminal showed, prompts included.
    pub shown: String,
    /// The exit code.
    pub code: i32,
    /// Whether the terminal echoes input at the end, as at the beginning.
    pub echoes: bool,
}

const SILENT: &str = "(the terminal is left without its echo)";

/// Runs a command on a terminal and types each answer after its prompt. Fails if a prompt does not
/// come.
pub fn converse(command: &Command, answers: &[(&str, &str)]) -> Session {
    let mut typed: Vec<_> = answers
        .iter()
        .map(|(_, text)| || text.to_string())
        .collect();
    let mut answers: Vec<Answer<'_>> = answers
        .iter()
        .zip(&mut typed)
        .map(|((prompt, _), text)| (*prompt, text as &mut dyn FnMut() -> String))
        .collect();
    answer(command, &mut answers)
}

/// A prompt, and the function that makes its answer.
pub type Answer<'a> = (&'a str, &'a mut dyn FnMut() -> String);

/// Runs a command as [`converse`] does, and makes each answer when its prompt comes.
pub fn answer(command: &Command, answers: &mut [Answer<'_>]) -> Session {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let line = format!(
        "{}; code=$?; if stty -a | grep -qw -- -echo; then echo '{SILENT}'; fi; exit $code",
        words.join(" ")
    );
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(folder) = command.get_current_dir() {
        script.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child = script.spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut seen, mut block) = (Vec::new(), 0, [0; 4096]);
    let mut answers = answers.iter_mut().peekable();
    while let Ok(n @ 1..) = output.read(&mut block) {
        shown.extend_from_slice(&block[..n]);
        let text = String::from_utf8_lossy(&shown[seen..]).into_owned();
        if let Some((_, answer)) = answers.next_if(|(prompt, _)| text.contains(prompt)) {
            seen = shown.len();
            input.write_all(answer().as_bytes()).unwrap();
        }
    }
    drop(input);
    let code = child.wait().unwrap().code().unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    if let Some((prompt, _)) = answers.peek() {
        panic!("no prompt {prompt:?} came, exit code {code}:\n{shown}");
    }
    Session {
        echoes: !shown.contains(SILENT),
        shown,
        code,
    }
}
