//! Nobody else can read what the tool writes on the operator's machine, under any umask: its private
//! folders, its cache and the password store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::pass::{PassStore, run};
use crate::support::{Ran, Repo, Tool, fed, which};

/// Wrappers that list all files below a folder with their modes, and then run the real program. `ssh`
/// reaches nobody.
fn onlookers(bin: &Path, seen: &Path, below: &Path) {
    fs::create_dir(bin).unwrap();
    for program in ["ssh", "pass", "gpg", "git", "nix"] {
        let real = match program {
            "ssh" => format!(
                "exec {} -o ProxyCommand=false \"$@\"",
                which(program).display()
            ),
            _ => format!("exec {} \"$@\"", which(program).display()),
        };
        let list = format!(
            "find '{}' -printf '%M %P\\n' >'{}'.$$ 2>/dev/null",
            below.display(),
            seen.display()
        );
        let file = bin.join(program);
        fs::write(&file, format!("#!/bin/sh\n{list}\n{real}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn under(umask: &str) {
    let (repo, store) = (Repo::new(), PassStore::git());
    // All files of the tool are below one folder.
    let below = store.root();
    for folder in ["tmp", "cache"] {
        fs::create_dir(below.join(folder)).unwrap();
    }
    fs::write(below.join(".gitignore"), "/tmp\n/cache\n").unwrap();
    let (bin, seen) = (store.scratch().join("bin"), store.scratch().join("seen"));
    onlookers(&bin, &seen, &below);
    // The test itself made what was there before.
    let before = run(Command::new("find").arg(&below).args(["-printf", "%P\\n"]));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let operation = |name: &str, args: &[&str], input: &str| -> Ran {
        let tool = Tool::new(&repo, name).args(args).into_command();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"])
            .arg(tool.get_program())
            .args(tool.get_args())
            .current_dir(tool.get_current_dir().unwrap())
            .envs(
                tool.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        store
            .in_env(&mut command)
            .env("PATH", &path)
            .env("TMPDIR", below.join("tmp"))
            .env("XDG_CACHE_HOME", below.join("cache"));
        fed(&mut command, input).wait_with_output().unwrap().into()
    };
    operation("gen-secrets", &[], "").exits(0);
    operation("gen-pki", &[], "").exits(0);
    operation(
        "passwd",
        &["alice", "--stdin"],
        "looking-glass house of cards\n",
    )
    .exits(0);
    let config = repo.path().join("cluster/prod/ssh_config");
    for name in ["status", "deploy-secrets", "deploy-nixos"] {
        // There is no node; the private files exist before the tool notices that.
        operation(name, &["--ssh-config", config.to_str().unwrap()], "").exits(3);
    }
    let left = run(Command::new("find")
        .arg(&below)
        .args(["-printf", "%M %P\\n"]));
    let lists = fs::read_dir(store.scratch())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let lists = lists.filter(|path| path.file_stem() == seen.file_stem());
    let seen: String = lists
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let seen = seen + &left;
    let (mut private, mut entries, mut cached) = (0, 0, 0);
    for line in seen.lines() {
        let (mode, path) = line.split_once(' ').unwrap();
        let known = before.lines().any(|own| own == path) || path.starts_with(".git/");
        // Files of other programs, such as Nix, are not the tool's. A closed folder protects its content.
        let foreign = ["tmp/", "cache/"]
            .iter()
            .any(|folder| path.starts_with(folder) && !path[folder.len()..].starts_with("nixcfg"));
        let inside = path.starts_with("tmp/") && path.split('/').count() > 2;
        if known || foreign || inside || mode.starts_with('l') {
            continue;
        }
        assert_eq!(&mode[4..], "------", "umask {umask}: {line}");
        private += usize::from(path.starts_with("tmp/"));
        entries += usize::from(path.ends_with(".gpg"));
        cached += usize::from(path.starts_with("cache/nixcfg/"));
    }
    assert!(
        private > 0 && entries > 10 && cached > 0,
        "{private} {entries} {cached}\n{seen}"
    );
}

#[test]
fn nobody_else_may_look_into_what_is_written_where_the_umask_forbids_nothing() {
    under("000");
}

#[test]
fn nobody_of_the_operators_group_may_where_the_umask_lets_the_group_write() {
    under("002");
}
