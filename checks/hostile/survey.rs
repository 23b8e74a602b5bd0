//! A hostile machine that is no node yet.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{BAD, attack};
use crate::support::hostile::{From, Run, WAYS, end, prepare};
use crate::support::{Lab, Repo, which};

#[test]
fn a_machine_that_answers_badly_becomes_no_node() {
    let (lab, repo) = (Lab::get(), Repo::new());
    prepare(&lab, BAD);
    let config = fs::read_to_string(lab.ssh_config()).unwrap();
    let key = config
        .lines()
        .find(|line| line.trim().starts_with("IdentityFile "));
    let machine = lab.address(0);
    // The shell that reads survey.sh.
    let survey = attack(&["add-node"], "-s", From::Start, &[]);
    let mut done = Vec::new();
    for (way, _) in WAYS {
        let run = Run::new(survey, way, &machine, lab.ssh_config());
        let logins = format!(
            "{}User alice\n{}\n",
            fs::read_to_string(run.config()).unwrap(),
            key.unwrap()
        );
        fs::write(run.config(), logins).unwrap();
        // add-node logs in by the operator's own ssh_config.
        let ssh = run.folder().join("ssh");
        let text = format!(
            "#!/bin/sh\nexec {} -F '{}' \"$@\"\n",
            which("ssh").display(),
            run.config().display()
        );
        fs::write(&ssh, text).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_nixcfg"));
        command
            .args(["add-node", "prod", "elm", "--site", "brest", "--yes"])
            .args(["--address", &machine])
            .current_dir(repo.path())
            .env("PATH", format!("{}:{path}", run.folder().display()))
            .env("NIXCFG_HASTE", "4,the survey=6");
        let told = run.watch(&mut command);
        let mut trouble = told.trouble();
        if repo.path().join("cluster/prod/node/elm.nix").exists() {
            trouble.push("becomes a node".to_owned());
        }
        if !told.all().contains("elm") {
            trouble.push("is not named".to_owned());
        }
        let words = told.words(&trouble);
        done.push((told, words));
    }
    end(&lab, &[BAD], done, WAYS.len());
}
