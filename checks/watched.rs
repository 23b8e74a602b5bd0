//! Nobody can see a secret from `gen-pki` to `rollback`: not in arguments, environments, other files, on
//! disks, in logs or in the Nix store. The tool runs under strace, and the test watches every process of
//! this machine.

use std::path::Path;
use std::process::Command;

use crate::support::cluster::Cluster;
use crate::support::consul::Consul;
use crate::support::pass::{self, PassStore};
use crate::support::watch::{Watch, files_with, marks};
use crate::support::{self, Lab, NODES, PASSWORD, Ran, Repo, Tool, fed};

/// Typed secrets. They differ from those in files, as the copied flake contains the tests.
struct Typed {
    password: String,
    sudo: String,
    of_app: String,
}

impl Typed {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let number = now.unwrap().as_nanos();
        Self {
            password: format!("looking-glass {number} house of cards"),
            sudo: format!("correct-horse-{number}-staple"),
            of_app: format!("through the rabbit hole {number}"),
        }
    }
}

const APP: &str = "[secrets.\"mail/password\"]\ntype = 'user'\ndescription = 'of the relay'\n[secrets.\"mail/session\"]\ntype = 'random'\n\
    [secrets.\"mail/token\"]\ntype = 'command'\ncommand = 'head -c 24 /dev/urandom | base64'\n";
const OF_APP: [&str; 3] = ["mail/password", "mail/session", "mail/token"];

/// All values of a store except certificates.
fn secrets(store: &PassStore) -> Vec<String> {
    let folder = store.root().join("example/cluster/prod");
    let found = pass::run(
        Command::new("find")
            .arg(&folder)
            .args(["-name", "*.gpg", "-printf", "%P\\n"]),
    );
    let names = found.lines().map(|name| name.strip_suffix(".gpg").unwrap());
    names
        .filter(|name| !name.ends_with(".crt"))
        .flat_map(|name| marks(&store.pass(&["show", &format!("example/cluster/prod/{name}")])))
        .collect()
}

/// Runs a command under strace with a line on its standard input, and returns its output.
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
    // Only a file has this secret; its program does not print it.
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
    let typed = Typed::new();
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
            &format!("{}\n", typed.password),
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
            &format!("{}\n", typed.of_app),
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
    secrets.extend([typed.password, typed.of_app]);
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

/// A cluster of three servers with a real Consul, as in `checks/quorum.rs`, and an app.
fn repo(lab: &Lab) -> Repo {
    let repo = Repo::new();
    repo.write(
        "cluster/prod/cluster.nix",
        r#"{
          cluster = {
            domain = "prod.example.org"; secretsPrefix = "example"; nomad.enable = false;
            admins.alice.keys = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf alice" ];
            secrets.letters = { generator = "random"; length = 40; };
            secrets.host = { generator = "ssh-host"; perNode = true; };
          };
          networking.nftables.enable = true;
          system.stateVersion = "26.05";
        }"#,
    );
    for (place, node) in NODES.iter().enumerate() {
        let site = if *node == "cedar" { "brest" } else { "lyon" };
        let file = format!("cluster/prod/node/{node}.nix");
        let address = lab.address(place);
        repo.write(
            &file,
            &format!(
                r#"{{ imports = [ ../hardware/uefi-disk.nix ]; cluster.nodes.{node} = {{ site = "{site}"; role = "server"; address.ipv4 = "{address}"; }}; }}"#
            ),
        );
        repo.configure(node, CONSUL);
        lab.put_consul(node);
    }
    std::fs::create_dir_all(repo.path().join("cluster/prod/app/mail")).unwrap();
    repo.write("cluster/prod/app/mail/secrets.toml", APP);
    repo
}

/// The module's settings for Debian's Consul of 2021.
const CONSUL: &str = r#"{ config, lib, ... }: {
  environment.etc."consul.json".text = lib.mkForce (builtins.toJSON (
    removeAttrs config.services.consul.extraConfig [ "tls" "telemetry" ]
    // {
      data_dir = "/var/lib/consul";
      performance.raft_multiplier = 1;
      retry_interval = "1s";
      verify_incoming = true;
      verify_outgoing = true;
      verify_server_hostname = true;
      ca_file = "/var/lib/consul/pki/consul-ca.crt";
      cert_file = "/var/lib/consul/pki/consul.crt";
      key_file = "/var/lib/consul/pki/consul.key";
    }
  ));
}"#;

/// The files of a node that may contain secrets: their own, and Consul's data.
const OWN: &str = "^/var/lib/nixcfg/secrets/|^/var/lib/nixcfg/passwords/|^/var/lib/consul/|^/run/consul/gossip.json$|^/etc/shadow-?$";

/// The app's keys in Consul.
fn kept(lab: &Lab) -> Vec<String> {
    let ask = |key: &&str| {
        let pki = "/var/lib/consul/pki";
        let shown = lab.root(
            "alder",
            &format!(
                "curl --silent --fail --cacert {pki}/consul-ca.crt --cert {pki}/consul.crt --key {pki}/consul.key \
                 --connect-to ::127.0.0.1: 'https://server.prod.consul:8501/v1/kv/secrets/{key}?raw'"
            ),
        );
        marks(&shown)
    };
    OF_APP.iter().flat_map(ask).collect()
}

/// The output of a shell command that runs as root inside a node and reads `input`.
fn on_node(node: &str, script: &str, input: &str) -> String {
    let mut command = Command::new(support::root().join("checks/lab/lab"));
    let name = std::env::var("LAB").unwrap_or_else(|_| "tests".into());
    command
        .args(["root", node, "sh", "-c", script])
        .env("LAB", name);
    let output = fed(&mut command, input).wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn no_secret_is_seen_from_gen_pki_to_rollback() {
    let (lab, typed) = (Lab::bare(), Typed::new());
    let (repo, store) = (repo(&lab), PassStore::git());
    for node in NODES {
        lab.root(node, &format!("echo alice:{} | chpasswd", typed.sudo));
    }
    let tmp = tempfile::tempdir().unwrap();
    let marker = tmp.path().join("marker");
    std::fs::write(&marker, "").unwrap();
    let config = lab.ssh_config().to_str().unwrap().to_owned();
    let watch = Watch::begin();
    let mut said = Vec::new();
    let mut run = |operation: &str, args: &[&str], input: &str| {
        eprintln!("{operation} {args:?}");
        let on_store = ["gen-pki", "gen-secrets", "passwd"].contains(&operation);
        let mut tool = Tool::new(&repo, operation).password(if on_store {
            None
        } else {
            Some(typed.sudo.as_str())
        });
        if !on_store {
            tool = tool.args(&["--ssh-config", &config]);
        }
        let mut command = tool.args(args).into_command();
        store.in_env(&mut command).env("TMPDIR", tmp.path());
        // These nodes need a restart, which `status` reports.
        let code = if operation == "status" { 5 } else { 0 };
        let ran = traced(&watch, &command, input).exits(code);
        said.extend([ran.out, ran.err]);
    };
    run("gen-pki", &[], "");
    run("gen-secrets", &[], "");
    run(
        "passwd",
        &["alice", "--stdin"],
        &format!("{}\n", typed.password),
    );
    run("deploy-nixos", &[], "");
    run("deploy-secrets", &[], "");
    run("deploy-pki", &["--unhealthy"], "");
    lab.until(
        "alder",
        "journalctl -o cat -u consul | grep -q 'New leader elected'",
    );
    run("status", &[], "");
    run("app-secrets", &["mail"], &format!("{}\n", typed.of_app));
    let shown = "curl --silent --fail $CONSUL_HTTP_ADDR/v1/kv/secrets/mail/session?raw >/dev/null";
    run(
        "tlsproxy",
        &["--port-offset", "17000", "--", "sh", "-c", shown],
        "",
    );
    run("rotate-gossip", &["--app", "consul"], "");
    run("rotate-ca", &["--app", "consul", "--step", "trust"], "");
    run("pki-status", &["--live"], "");
    run("gen-secrets", &["--rotate", "letters"], "");
    run("deploy-secrets", &[], "");
    repo.configure(
        "birch",
        &CONSUL.replace("retry_interval = \"1s\"", "retry_interval = \"2s\""),
    );
    run("deploy-nixos", &["birch"], "");
    run("exec", &["--sudo", "--", "true"], "");
    run("rollback", &["birch"], "");
    run(
        "deploy-passwords",
        &["--stdin"],
        &format!("{}\n", typed.password),
    );

    let mut secrets = secrets(&store);
    secrets.extend(kept(&lab));
    secrets.extend([&typed.password, &typed.of_app, &typed.sudo].map(Clone::clone));
    assert!(secrets.len() > 20);
    let found = watch.end(&secrets, Some(&typed.sudo));
    assert_eq!(found, Vec::<String>::new());
    nothing_in(&said, &secrets);
    assert_eq!(
        files_with(&secrets, &[tmp.path(), repo.path(), &store.root()]),
        Vec::<&Path>::new()
    );
    let new = pass::run(
        Command::new("find")
            .args(["/nix/store", "-maxdepth", "1", "-newer"])
            .arg(&marker),
    );
    let new: Vec<&Path> = new
        .lines()
        .map(Path::new)
        .filter(|path| *path != Path::new("/nix/store"))
        .collect();
    assert_eq!(files_with(&secrets, &new), Vec::<&Path>::new());
    for node in NODES {
        let script = format!(
            "cat >/dev/shm/marks; grep -rlF --devices=skip --binary-files=text -f /dev/shm/marks / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev 2>/dev/null | grep -vE '{OWN}'; \
             journalctl -o cat --no-pager | grep -F -f /dev/shm/marks; rm /dev/shm/marks"
        );
        let left = on_node(node, &script, &secrets.join("\n"));
        assert_eq!(left, "", "{node}");
    }
    for node in NODES {
        lab.root(node, &format!("echo alice:{PASSWORD} | chpasswd"));
    }
}
