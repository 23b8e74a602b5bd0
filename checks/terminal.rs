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
