//! The tool works with the oldest and the newest Nix that operators have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use support::{Lab, Ran, Repo, Tool};

fn deploys_with(version: &str) {
    let lab = Lab::bare();
    let repo = Repo::new();
    repo.configure(
        "alder",
        r#"{ environment.etc."nixcfg-test".text = "by any version"; }"#,
    );
    let client = |args: &[&str]| {
        let tool = Tool::deploy(&repo, &lab).args(args).into_command();
        let mut command = Command::new(support::root().join("checks/lab/lab"));
        command
            .env(
                "LAB",
                std::env::var("LAB").unwrap_or_else(|_| "tests".into()),
            )
            .env("SUDO_PASS", support::PASSWORD)
            .args(["client", version])
            .arg(tool.get_program())
            .args(tool.get_args())
            .current_dir(repo.path());
        Ran::from(command.output().unwrap())
    };
    client(&[]).exits(0).shows("3 nodes as wanted");
    assert_eq!(lab.root("alder", "cat /etc/nixcfg-test"), "by any version");
    client(&[]).exits(0).shows("alder        unchanged");
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
