//! No secret is to be seen: not in an argument or an environment, not in a file that is no
//! secret's own, not on a disk. The tool runs under strace, and every process of this machine is looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/consul.rs"]
mod consul;
#[allow(dead_code)]
#[path = "support/pass.rs"]
mod pass;
mod support;
#[path = "support/watch.rs"]
mod watch;

use std::path::Path;
use std::process::Command;

use cluster::Cluster;
use consul::Consul;
use pass::PassStore;
use support::{Ran, fed};
use watch::{Watch, files_with, marks};

const TYPED: &str = "looking-glass house of cards";
const APP: &str = "[secrets.\"mail/password\"]\ntype = 'user'\ndescription = 'of the relay'\n[secrets.\"mail/session\"]\ntype = 'random'\n\
    [secrets.\"mail/token\"]\ntype = 'command'\ncommand = 'head -c 24 /dev/urandom | base64'\n";
const OF_APP: [&str; 3] = ["mail/password", "mail/session", "mail/token"];
const APP_TYPED: &str = "through the rabbit hole";

/// All values of a store but certificates, and what was typed.
fn secrets(store: &PassStore) -> Vec<String> {
    let folder = store.root().join("example/cluster/prod");
    let found = pass::run(
        Command::new("find")
            .arg(&folder)
            .args(["-name", "*.gpg", "-printf", "%P\\n"]),
    );
    let names = found.lines().map(|name| name.strip_suffix(".gpg").unwrap());
    let mut all: Vec<String> = names
        .filter(|name| !name.ends_with(".crt"))
        .flat_map(|name| marks(&store.pass(&["show", &format!("example/cluster/prod/{name}")])))
        .collect();
    all.extend([TYPED, APP_TYPED].map(str::to_owned));
    all
}

/// Runs a command under strace, with a line on its standard input; what it said.
fn traced(watch: &Watch, command: &Command, input: &str) -> Ran {
    fed(&mut watch.traced(command), input)
        .wait_with_output()
        .unwrap()
        .into()
}

fn nothing_in(said: &[String], secrets: &[String]) {
    for text in said {
        let seen = secrets.iter().find(|secret| text.contains(secret.as_str()));
        assert_eq!(seen, None, "{text}");
    }
}

#[test]
fn what_is_shown_or_written_for_a_moment_is_found() {
    let secret = "a secret of the test's own".to_owned();
    let tmp = tempfile::tempdir().unwrap();
    let watch = Watch::begin();
    let script = "for i in $(seq 30); do /bin/true \"$SECRET\"; echo $i; done; read -r typed; echo \"$typed\" >file; rm file";
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(tmp.path());
    // Written to a file alone, by a program that shows it nowhere.
    let ran = traced(&watch, &command, &format!("{secret}\n"));
    assert_eq!((ran.code, ran.out.contains(&secret)), (0, false));
    command.env("SECRET", &secret);
    traced(&watch, &command, "nothing\n").exits(0);
    let found = watch.end(&[secret], None);
    let of = |what: &str| found.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        (of("traced: write"), of("traced: execve") > 30),
        (1, true),
        "{found:?}"
    );
}

#[test]
fn operations_on_the_store_and_on_consul_show_no_secret() {
    let cluster = Cluster::new();
    let spec = r#"command = [ ]; owner = "root"; group = "root"; mode = "0400"; reloadUnits = [ ]; restartUnits = [ ]; length = 40;"#;
    let more = format!(
        r#"admins.alice = {{ keys = [ ]; passwordFile = "/var/lib/nixcfg/passwords/alice"; }};
        secrets.letters = {{ generator = "random"; path = "/etc/letters"; perNode = false; nodes = [ "alder" ]; {spec} }};
        secrets.host = {{ generator = "ssh-host"; path = "/etc/host"; perNode = true; nodes = [ "alder" "birch" ]; {spec} }};"#
    );
    cluster.flake(&more);
    let folder = cluster.folder().join("cluster/prod/app/mail");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("secrets.toml"), APP).unwrap();
    let consul = Consul::start(&cluster, "");
    let other = Cluster {
        store: PassStore::git(),
        ..Cluster::new()
    };
    other.flake("");
    let tmp = tempfile::tempdir().unwrap();
    let ports = format!("--no-ssh=1:{}", consul.port);
    let watch = Watch::begin();
    let run = |cluster: &Cluster, args: &[&str], input: &str| {
        let mut command = cluster.nixcfg(args);
        command.env("TMPDIR", tmp.path());
        let ran = traced(&watch, &command, input).exits(0);
        [ran.out, ran.err].concat()
    };
    let said = [
        run(&other, &["gen-pki", "prod"], ""),
        run(
            &cluster,
            &["passwd", "prod", "alice", "--stdin"],
            &format!("{TYPED}\n"),
        ),
        run(&cluster, &["gen-secrets", "prod"], ""),
        run(
            &cluster,
            &["gen-secrets", "prod", "--rotate", "letters"],
            "",
        ),
        run(
            &cluster,
            &["app-secrets", "prod", "mail", &ports],
            &format!("{APP_TYPED}\n"),
        ),
        run(
            &cluster,
            &[
                "app-secrets",
                "prod",
                "mail",
                &ports,
                "--rotate",
                "mail/session",
            ],
            "",
        ),
    ];
    let mut secrets = secrets(&cluster.store);
    secrets.extend(self::secrets(&other.store));
    secrets.extend(
        OF_APP
            .iter()
            .flat_map(|key| marks(&consul.value(&cluster, key).unwrap())),
    );
    assert!(secrets.len() > 20);
    let found = watch.end(&secrets, None);
    assert_eq!(found, Vec::<String>::new());
    nothing_in(&said, &secrets);
    let places = [
        tmp.path(),
        &cluster.folder(),
        &cluster.store.root(),
        &other.store.root(),
    ];
    assert_eq!(files_with(&secrets, &places), Vec::<&Path>::new());
}
