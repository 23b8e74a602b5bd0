//! The tool with the oldest and the newest supported Nix.

use std::path::Path;
use std::process::Command;

use crate::support::{self, Lab, Ran, Repo, Tool};

/// Runs the tool with this Nix, in a folder.
fn run_with(version: &str, tool: Tool, folder: &Path) -> Ran {
    let tool = tool.into_command();
    let mut command = Command::new(support::root().join("checks/lab/lab"));
    command
        .env(
            "LAB",
            std::env::var("LAB").unwrap_or_else(|_| "tests".into()),
        )
        .env("SUDO_PASS", support::PASSWORD)
        // Allows submodules that are local folders.
        .env("GIT_ALLOW_PROTOCOL", "file")
        .args(["client", version])
        .arg(tool.get_program())
        .args(tool.get_args())
        .current_dir(folder);
    Ran::from(command.output().unwrap())
}

/// Runs Git without settings of the machine, and with local folders as submodules.
fn git(folder: &Path, args: &[&str]) {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=alice",
            "-c",
            "user.email=alice@example.org",
        ])
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
}

/// The tool reads a flake in any kind of folder, or explains why not. An error about an unknown node
/// proves that it read the cluster.
fn reads_wherever_it_lies(version: &str) {
    let (repo, dir) = (Repo::new(), tempfile::tempdir().unwrap());
    let top = dir.path().canonicalize().unwrap();
    let run = |folder: &str, flake: &str| {
        let tool = Tool::new(&repo, "deploy-nixos").args(&["elder", "--plan", "--flake", flake]);
        run_with(version, tool, &top.join(folder))
    };
    let reads = |folder: &str, flake: &str| {
        run(folder, flake).exits(2).tells("did you mean ‘alder’?");
    };
    git(repo.path(), &["commit", "-qm", "one"]);
    let from = repo.path().display().to_string();
    // A clone, a worktree and a shallow clone, in folders with a space.
    git(&top, &["clone", "-q", &from, "a clone"]);
    git(
        &top.join("a clone"),
        &["worktree", "add", "-q", "-b", "other", "../a worktree"],
    );
    git(
        &top,
        &[
            "clone",
            "-q",
            "--depth",
            "1",
            &format!("file://{from}"),
            "a part",
        ],
    );
    for folder in ["a clone", "a worktree", "a clone/cluster/prod"] {
        reads(folder, ".");
    }
    match version {
        "2.8" => _ = run("a part", ".").exits(4).tells("git fetch --unshallow"),
        _ => reads("a part", "."),
    }
    reads(".", "./a clone");
    // Uncommitted files.
    std::fs::write(top.join("a clone/new"), "").unwrap();
    git(&top.join("a clone"), &["add", "new"]);
    reads("a clone", ".");
    // A flake in a subfolder of its repository.
    git(&top, &["init", "-q", "below"]);
    git(&top, &["clone", "-q", &from, "below/the flake"]);
    std::fs::remove_dir_all(top.join("below/the flake/.git")).unwrap();
    git(&top.join("below"), &["add", "-A"]);
    reads("below/the flake", ".");
    reads("below", ".?dir=the flake");
    // A submodule with files of the cluster.
    git(&top, &["init", "-q", "whole"]);
    for part in std::fs::read_dir(top.join("below/the flake")).unwrap() {
        let part = part.unwrap();
        if part.file_name() != "cluster" {
            let to = top.join("whole").join(part.file_name());
            let copied = Command::new("cp")
                .arg("-r")
                .arg(part.path())
                .arg(to)
                .status();
            assert!(copied.unwrap().success());
        }
    }
    git(&top, &["init", "-q", "files"]);
    let copied = Command::new("cp")
        .args(["-r", "below/the flake/cluster/prod", "files/prod"])
        .current_dir(&top)
        .status();
    assert!(copied.unwrap().success());
    git(&top.join("files"), &["add", "-A"]);
    git(&top.join("files"), &["commit", "-qm", "one"]);
    let files = top.join("files").display().to_string();
    git(
        &top.join("whole"),
        &["submodule", "--quiet", "add", &files, "cluster"],
    );
    git(&top.join("whole"), &["add", "-A"]);
    git(&top.join("whole"), &["commit", "-qm", "one"]);
    reads("whole", ".?submodules=1");
    // Git refuses another user's repository, and the tool says so.
    let foreign = Command::new("chown")
        .args(["-R", "1234"])
        .arg(top.join("whole"))
        .status();
    assert!(foreign.unwrap().success());
    run("whole", ".")
        .exits(4)
        .tells("Git reads no repository of another user")
        .tells("safe.directory");
    // No repository.
    std::fs::remove_dir_all(top.join("a clone/.git")).unwrap();
    match version {
        "2.8" => {
            _ = run("a clone", ".")
                .exits(4)
                .tells("only if it is in a Git repository")
        }
        _ => reads("a clone", "."),
    }
}

#[test]
fn nix_2_8_reads_a_flake_wherever_it_lies() {
    reads_wherever_it_lies("2.8");
}

#[test]
fn nix_2_26_reads_a_flake_wherever_it_lies() {
    reads_wherever_it_lies("2.26");
}

#[test]
fn nix_2_34_reads_a_flake_wherever_it_lies() {
    reads_wherever_it_lies("2.34");
}

/// Nix 2.34 refuses a path that an evaluation would have to copy into the store first.
#[test]
fn nix_2_34_checks_the_flake_without_building() {
    let root = support::root();
    let nixpkgs = format!("path:{}", root.join("checks/lab/nixpkgs").display());
    let output = Command::new(root.join("checks/lab/lab"))
        .args(["client", "2.34", "nix", "flake", "check", "--no-build"])
        .args(["--no-write-lock-file", "--override-input", "nixpkgs"])
        .arg(nixpkgs)
        .current_dir(root)
        .output()
        .unwrap();
    Ran::from(output).exits(0).tells("all checks passed");
}

fn deploys_with(version: &str) {
    let lab = Lab::bare();
    let repo = Repo::new();
    repo.configure(
        "alder",
        r#"{ environment.etc."nixcfg-test".text = "by any version"; }"#,
    );
    let client = |args: &[&str]| {
        let tool = Tool::deploy(&repo, &lab).args(args);
        run_with(version, tool, repo.path())
    };
    client(&[]).exits(0).shows("3 nodes as wanted");
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "by any version");
    client(&[]).exits(0).shows_of("alder", "unchanged");
    repo.configure("alder", r#"{ services.opensssh.enable = true; }"#);
    client(&[]).exits(4).tells("services.opensssh");
    repo.configure("alder", r#"{ pkgs, ... }: { environment.etc.x.source = pkgs.runCommand "x" { } "echo unhappy; exit 1"; }"#);
    client(&[])
        .exits(5)
        .tells("alder: its system does not build: x failed")
        .tells("unhappy");
}

#[test]
fn nix_2_8_deploys_and_its_errors_are_told() {
    deploys_with("2.8");
}

#[test]
fn nix_2_26_deploys_and_its_errors_are_told() {
    deploys_with("2.26");
}

#[test]
fn nix_2_34_deploys_and_its_errors_are_told() {
    deploys_with("2.34");
}
