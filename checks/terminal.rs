//! The tool as a process: in the background of a terminal, and killed.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

const NIXCFG: &str = env!("CARGO_BIN_EXE_nixcfg");

/// The output of a shell on its own terminal.
fn on_a_terminal(line: &str) -> String {
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn in_the_background_of_a_terminal_it_ends_by_itself() {
    // `timeout` gives its command a process group of its own.
    let line = format!("timeout 20 {NIXCFG} status prod --flake /nowhere; echo ended with $?");
    let shown = on_a_terminal(&line);
    assert!(shown.contains("ended with 2"), "{shown}");
}

#[test]
fn with_an_ampersand_it_ends_by_itself() {
    let line =
        format!("sh -mc '{NIXCFG} status prod --flake /nowhere & wait $!; echo ended with $?'");
    let shown = on_a_terminal(&line);
    assert!(shown.contains("ended with 2"), "{shown}");
}

#[test]
fn a_process_that_is_aborted_leaves_no_core() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flake.nix"), "{ }").unwrap();
    let line = format!("ulimit -c unlimited; exec {NIXCFG} init alpha");
    let mut child = Command::new("sh")
        .args(["-c", &line])
        .current_dir(folder.path())
        .env("SUDO_PASS", "wonderland")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The tool asks a question, and has the password in memory.
    let mut asked = [0; 10];
    child
        .stderr
        .as_mut()
        .unwrap()
        .read_exact(&mut asked)
        .unwrap();
    assert_eq!(asked, *b"DNS domain");
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-ABRT", &pid]).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}

/// `doctor` where there is no flake: some of it is well, and some is not.
fn doctor(options: &str) -> String {
    format!("{NIXCFG} {options} doctor prod --flake /nowhere/at/all")
}

#[test]
fn results_fit_the_terminal_and_have_colours_where_nobody_objects() {
    for columns in [40, 60, 80] {
        let line = format!("stty cols {columns}; TERM=xterm {} 2>/dev/null", doctor(""));
        let shown = on_a_terminal(&format!("NO_COLOR=1; export NO_COLOR; {line}"));
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        for told in shown.lines() {
            assert!(
                told.trim_end().chars().count() <= columns,
                "{columns}: {told:?}"
            );
        }
        let words: Vec<&str> = shown.split_whitespace().collect();
        let words = words.join(" ");
        assert!(
            words.contains("the flake /nowhere/at/all cannot be read"),
            "{words}"
        );
        let shown = on_a_terminal(&line);
        assert!(shown.contains("\u{1b}[31mwrong\u{1b}[0m"), "{shown:?}");
        assert!(shown.contains("\u{1b}[32mok\u{1b}[0m"), "{shown:?}");
        let shown = on_a_terminal(&format!("{line} | cat"));
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn commands_are_shown_where_they_are_asked_for_and_the_log_has_all_but_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let run = |options: &str| {
        let options = format!("{options} --log {}", log.display());
        let output = Command::new("sh")
            .args(["-c", &doctor(&options)])
            .env("SUDO_PASS", "looking-glass")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (out, err) = run("");
    assert!(
        out.contains("ok     git: ") && !err.contains("$ git"),
        "{err}"
    );
    let (_, err) = run("--verbose");
    assert!(err.contains("$ git --version"), "{err}");
    let (out, err) = run("--quiet");
    assert!(
        out.lines()
            .all(|line| line.starts_with("wrong") || line.starts_with(' ')),
        "{out}"
    );
    assert!(
        err.starts_with("error: ") && err.lines().count() == 1,
        "{err}"
    );
    let all = std::fs::read_to_string(&log).unwrap();
    assert_eq!(all.matches("$ git --version").count(), 3, "{all}");
    assert_eq!(all.matches("ok     git: ").count(), 3, "{all}");
    assert!(!all.contains("looking-glass"), "{all}");
    let mode = std::fs::metadata(&log).unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
}
