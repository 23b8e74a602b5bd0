//! What a real bash completes with the function that the package installs.

use std::path::Path;
use std::process::Command;

use crate::support;
use crate::support::terminal::converse;

/// The candidates for the last word of a line, in a folder.
fn completed(functions: &Path, folder: &Path, line: &str) -> Vec<String> {
    let script = r#"source "$1/nixcfg.bash"; read -r -a COMP_WORDS <<<"$2"; [[ $2 != *' ' ]] || COMP_WORDS+=('');
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _clap_complete_nixcfg nixcfg "${COMP_WORDS[COMP_CWORD]}" '';
        printf '%s\n' "${COMPREPLY[@]}""#;
    let binary = Path::new(env!("CARGO_BIN_EXE_nixcfg")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .arg(functions)
        .arg(line)
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().map(|word| word.trim_end().to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn bash_completes_operations_options_clusters_and_nodes_without_nix() {
    let functions = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_nixcfg"))
        .arg("manual")
        .arg(functions.path())
        .status();
    assert!(made.unwrap().success());
    let root = support::root();
    let of = |line: &str| completed(functions.path(), root, line);
    // Options come after names.
    let names = |line: &str| -> Vec<String> {
        let all = of(line).into_iter();
        all.take_while(|word| !word.starts_with('-')).collect()
    };
    assert_eq!(of("nixcfg deploy-n"), ["deploy-nixos"]);
    assert_eq!(names("nixcfg deploy-nixos "), ["prod"]);
    let selectors = names("nixcfg deploy-nixos prod ");
    assert_eq!(selectors[..3], ["alder", "birch", "cedar"]);
    assert!(
        selectors.contains(&"role:server".to_owned()),
        "{selectors:?}"
    );
    assert_eq!(names("nixcfg ssh prod "), ["alder", "birch", "cedar"]);
    assert_eq!(of("nixcfg deploy-nixos prod alder b"), ["birch"]);
    assert_eq!(of("nixcfg status prod --no-d"), ["--no-drift"]);
    assert_eq!(of("nixcfg deploy-nixos prod --mode bo"), ["boot"]);
    // From a folder below the flake's.
    let below = completed(functions.path(), &root.join("doc"), "nixcfg status pr");
    assert_eq!(below, ["prod"]);
    // Elsewhere there is nothing to name.
    let elsewhere = completed(functions.path(), functions.path(), "nixcfg status p");
    assert_eq!(elsewhere, Vec::<String>::new());
}

#[test]
fn what_bash_takes_apart_is_completed_at_its_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let made = Command::new(env!("CARGO_BIN_EXE_nixcfg"))
        .arg("manual")
        .arg(folder.path())
        .status();
    assert!(made.unwrap().success());
    let remembered = folder.path().join("nixcfg/evaluations");
    std::fs::create_dir_all(&remembered).unwrap();
    let cluster = r#"{"clusters": {"prod": {"nodes": {"alder": {"tags": ["storage"]}}}}}"#;
    std::fs::write(remembered.join("a.json"), cluster).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_nixcfg")).parent().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-i"])
        .current_dir(support::root())
        .env("PATH", format!("{}:/usr/bin:/bin", binary.display()))
        .env("XDG_CACHE_HOME", folder.path())
        .env("PS1", "ready> ")
        .env("TERM", "dumb");
    // After the completion, the line becomes one that shows itself.
    let shown = |line: &str| format!("{line}\t\u{1}echo got \u{5}\n");
    let session = converse(
        &bash,
        &[
            ("ready> ", &format!("source {path}/nixcfg.bash\n")),
            ("ready> ", &shown("nixcfg status prod @s")),
            ("ready> ", &shown("nixcfg status prod site:b")),
            ("ready> ", "exit\n"),
        ],
    );
    for line in [
        "got nixcfg status prod @storage",
        "got nixcfg status prod site:brest",
    ] {
        let lines = session.shown.lines().map(str::trim);
        assert!(
            lines.into_iter().any(|shown| shown == line),
            "{}",
            session.shown
        );
    }
}
