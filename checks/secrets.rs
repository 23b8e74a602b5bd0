//! `gen-secrets` with the real `pass`, and `deploy-secrets` on the lab's nodes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::pass::{PassStore, run};
use crate::support::{Lab, NODES, Ran, Repo, Tool};

/// Secrets of every kind whose users exist on a bare node.
const SECRETS: &str = r#"
    secrets = {
      letters = { generator = "random"; length = 40; owner = "nobody"; group = "adm"; mode = "0440"; restartUnits = [ "demo.service" ]; };
      digits = { generator = "hex"; path = "/etc/demo/digits"; reloadUnits = [ "demo.service" "idle.service" ]; };
      named = { generator = "uuid"; nodes = [ "alder" "site:brest" ]; restartUnits = [ "not-there.service" ]; };
      host = { generator = "ssh-host"; perNode = true; nodes = [ "alder" "birch" ]; };
      told = { generator = "command"; command = [ "printf" "a told secret\\n" ]; };
    };
    consul.enable = false;
    nomad.enable = false;
    wireguard.enable = false;
"#;

fn repo() -> Repo {
    Repo::with(SECRETS)
}

fn operation(repo: &Repo, store: &PassStore, operation: &str, args: &[&str]) -> Ran {
    Tool::new(repo, operation).args(args).store(store).run()
}

fn deploy(repo: &Repo, store: &PassStore, lab: &Lab, args: &[&str]) -> Ran {
    let tool = Tool::new(repo, "deploy-secrets").on(lab);
    tool.args(args).store(store).run()
}

/// The values of all secrets, by entry.
fn values(store: &PassStore) -> BTreeMap<String, String> {
    let folder = store.root().join("example/cluster/prod/secrets");
    let find = run(Command::new("find")
        .arg(&folder)
        .args(["-name", "*.gpg", "-printf", "%P\\n"]));
    let names = find
        .lines()
        .map(|name| name.strip_suffix(".gpg").unwrap().to_owned());
    names
        .map(|name| {
            let value = store.pass(&["show", &format!("example/cluster/prod/secrets/{name}")]);
            (name, value)
        })
        .collect()
}

#[test]
fn what_is_missing_is_made_and_nothing_is_replaced_unasked() {
    let (repo, store) = (repo(), PassStore::git());
    let ran = operation(&repo, &store, "gen-secrets", &[])
        .exits(0)
        .shows("made: digits, host/alder, host/birch, letters, named, told");
    let first = values(&store);
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        [
            "digits",
            "host/alder",
            "host/birch",
            "letters",
            "named",
            "told"
        ]
    );
    assert_eq!(first["told"], "a told secret");
    for (name, value) in &first {
        let secret = value.lines().nth(1).unwrap_or(value);
        assert!(
            !ran.out.contains(secret) && !ran.err.contains(secret),
            "{name} is shown"
        );
    }
    assert_eq!(store.history(&store.root()).len(), 2, "one commit for all");
    operation(&repo, &store, "gen-secrets", &[])
        .exits(0)
        .shows("every secret is there");
    assert_eq!(values(&store), first);
    operation(
        &repo,
        &store,
        "gen-secrets",
        &["--rotate", "host/birch", "--rotate", "digits"],
    )
    .exits(0);
    let rotated = values(&store);
    for (name, value) in &first {
        let changes = ["host/birch", "digits"].contains(&name.as_str());
        assert_eq!(rotated[name] != *value, changes, "{name}");
    }
    operation(&repo, &store, "gen-secrets", &["--rotate", "digist"])
        .exits(2)
        .tells("did you mean ‘digits’?");
    store.pass(&["rm", "-f", "example/cluster/prod/secrets/named"]);
    operation(&repo, &store, "gen-secrets", &[])
        .exits(0)
        .shows("made: named\n")
        .shows("  nix run .#deploy-secrets -- prod alder cedar\n");
    assert_eq!(store.uncommitted(&store.root()), "");
}

#[test]
fn openssh_reads_the_host_keys_and_agrees_about_their_public_halves() {
    let (repo, store) = (repo(), PassStore::plain());
    let ran = operation(&repo, &store, "gen-secrets", &[]).exits(0);
    let file = store.scratch().join("key");
    for node in ["alder", "birch"] {
        fs::write(&file, &values(&store)[&format!("host/{node}")]).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let public = run(Command::new("ssh-keygen").arg("-y").arg("-f").arg(&file));
        assert!(public.trim().ends_with(node), "{public}");
        assert!(ran.out.contains(public.trim()), "{public}{}", ran.out);
    }
}

#[test]
fn a_wireguard_key_that_the_cluster_does_not_know_is_told() {
    let (repo, store) = (Repo::new(), PassStore::plain());
    let ran = operation(&repo, &store, "gen-secrets", &[])
        .exits(0)
        .tells("set cluster.nodes.alder.wireguard.publicKey to ");
    for name in [
        "consul-gossip",
        "nomad-gossip",
        "wgautomesh-gossip",
        "wireguard/cedar",
    ] {
        assert!(ran.out.contains(name), "{name} is made");
        assert_eq!(
            values(&store)[name].len(),
            44,
            "{name} is 32 bytes in base64"
        );
    }
}

/// A service that counts its starts and reloads.
const DEMO: &str = "cat >/run/systemd/system/demo.service <<'END'
[Service]
Environment=PATH=/run/current-system/sw/bin:/usr/bin:/bin
ExecStart=/bin/sh -c 'echo start >>/root/demo; test ! -e /root/demo-fails; exec sleep infinity'
ExecReload=/bin/sh -c 'echo reload >>/root/demo'
END
sed 's/demo/idle/' /run/systemd/system/demo.service >/run/systemd/system/idle.service
systemctl daemon-reload; systemctl start demo.service";

#[test]
fn only_what_changed_is_written_and_the_units_that_use_it_are_told() {
    let (lab, repo, store) = (Lab::bare(), repo(), PassStore::plain());
    deploy(&repo, &store, &lab, &[])
        .exits(2)
        .tells("the store lacks")
        .tells("gen-secrets prod");
    operation(&repo, &store, "gen-secrets", &[]).exits(0);
    for node in NODES {
        lab.root(node, DEMO);
    }
    let ran = deploy(&repo, &store, &lab, &[])
        .exits(0)
        .shows("3 nodes as wanted")
        .shows("restarted: demo.service");
    let ran = ran.shows("  nix run .#deploy-nixos -- prod alder cedar\n");
    ran.tells("alder: not-there.service is not there yet")
        .tells("idle.service does not run");
    let values = values(&store);
    for (node, path, value, whose) in [
        (
            "alder",
            "/var/lib/nixcfg/secrets/letters",
            "letters",
            "nobody adm 440",
        ),
        ("birch", "/etc/demo/digits", "digits", "root root 400"),
        (
            "cedar",
            "/var/lib/nixcfg/secrets/named",
            "named",
            "root root 400",
        ),
        (
            "birch",
            "/var/lib/nixcfg/secrets/host",
            "host/birch",
            "root root 400",
        ),
    ] {
        assert_eq!(
            lab.root(node, &format!("cat {path}")),
            values[value].trim_end(),
            "{path}"
        );
        assert_eq!(
            lab.root(node, &format!("stat -c '%U %G %a' {path}")),
            whose,
            "{path}"
        );
    }
    assert!(
        !lab.holds("birch", "[ -e /var/lib/nixcfg/secrets/named ]"),
        "birch is not selected"
    );
    assert_eq!(
        lab.root("alder", "stat -c '%U %a' /var/lib/nixcfg/secrets"),
        "root 711"
    );
    let log = |node: &str| lab.root(node, "tr '\\n' ' ' </root/demo");
    assert_eq!(
        log("alder"),
        "start start",
        "a restart takes the place of a reload"
    );

    deploy(&repo, &store, &lab, &[])
        .exits(0)
        .shows_of("alder", "unchanged");
    assert_eq!(log("alder"), "start start");
    operation(&repo, &store, "gen-secrets", &["--rotate", "digits"]).exits(0);
    deploy(&repo, &store, &lab, &["alder"])
        .exits(0)
        .shows("written: /etc/demo/digits; reloaded: demo.service");
    assert_eq!(log("alder"), "start start reload");

    for text in [
        lab.root("alder", "journalctl --sync; journalctl --no-pager --all"),
        lab.root("alder", "systemctl show-environment"),
    ] {
        assert!(
            values
                .values()
                .all(|value| !text.contains(value.trim_end()))
        );
    }
}

#[test]
fn the_commands_that_come_next_are_told_and_none_where_none_is_due() {
    let (lab, repo, store) = (
        Lab::with_bare(&["alder", "birch"]),
        repo(),
        PassStore::plain(),
    );
    let unit = "[Unit]\\nConditionPathExists=/var/lib/nixcfg/secrets/letters\\nConditionPathExists=/var/lib/consul/pki/consul.crt\\n[Service]\\nExecStart=/bin/sleep infinity\\n";
    // Its target keeps its state in memory.
    lab.root("alder", &format!("cd /run/systemd/system; printf '{unit}' >waits.service; mkdir -p multi-user.target.wants; ln -sf ../waits.service multi-user.target.wants/; systemctl daemon-reload; systemctl start waits.service"));
    let deployed = |args: &[&str]| {
        let tool = Tool::new(&repo, "deploy-nixos").on(&lab).args(args);
        tool.store(&store).run().exits(0)
    };
    deployed(&["alder"])
        .shows("1 node as wanted\nnext")
        .shows("\n  nix run .#gen-secrets -- prod\n")
        .shows("\n  nix run .#deploy-secrets -- prod alder\n")
        .shows("\n  nix run .#deploy-pki -- prod alder\n")
        .shows("\n  nix run .#passwd -- prod alice\n");
    for admin in ["alice", "bob"] {
        let passwd = Tool::new(&repo, "passwd").args(&[admin, "--stdin"]);
        let passwd = passwd.store(&store).run_with("correct horse battery\n");
        passwd
            .exits(0)
            .shows("\n  nix run .#deploy-passwords -- prod\n");
    }
    operation(&repo, &store, "gen-secrets", &[])
        .exits(0)
        .shows("\n  nix run .#deploy-secrets -- prod\n");
    let quiet = |ran: Ran| assert!(!ran.out.contains("next"), "{}", ran.out);
    quiet(operation(&repo, &store, "gen-secrets", &[]).exits(0));
    quiet(deployed(&["alder"]));
    quiet(deployed(&["birch", "--mode", "dry-activate"]));
}

#[test]
fn a_unit_that_does_not_take_a_secret_is_told_and_restarted_by_the_next_run() {
    let (lab, repo, store) = (Lab::with_bare(&["alder"]), repo(), PassStore::plain());
    operation(&repo, &store, "gen-secrets", &[]).exits(0);
    lab.root("alder", DEMO);
    lab.root("alder", "printf '[Service]\\nExecStartPre=/bin/sh -c \"! test -e /root/demo-fails\"\\n' | systemctl edit --runtime --stdin demo.service; touch /root/demo-fails");
    deploy(&repo, &store, &lab, &["alder"])
        .exits(5)
        .tells("did not take them: demo.service")
        .tells("journalctl -u demo.service");
    lab.root("alder", "rm /root/demo-fails");
    deploy(&repo, &store, &lab, &["alder"])
        .exits(0)
        .shows("restarted: demo.service");
    assert!(lab.holds("alder", "systemctl is-active demo.service"));
    // A failed reload is repeated too, although nothing else shows that it is due.
    lab.root("alder", "printf '[Service]\\nExecReload=\\nExecReload=/bin/sh -c \"! test -e /root/demo-fails\"\\n' | systemctl edit --runtime --drop-in=reload --stdin demo.service; touch /root/demo-fails");
    operation(&repo, &store, "gen-secrets", &["--rotate", "digits"]).exits(0);
    deploy(&repo, &store, &lab, &["alder"])
        .exits(5)
        .tells("did not take them: demo.service");
    lab.root("alder", "rm /root/demo-fails");
    deploy(&repo, &store, &lab, &["alder"])
        .exits(0)
        .shows("reloaded: demo.service");
    deploy(&repo, &store, &lab, &["alder"])
        .exits(0)
        .shows_of("alder", "unchanged");
}

#[test]
fn a_missing_owner_is_an_error_on_that_node_and_writes_nothing() {
    let (lab, repo, store) = (Lab::with_bare(&["alder"]), repo(), PassStore::plain());
    repo.replace(
        "cluster/prod/cluster.nix",
        "owner = \"nobody\"",
        "owner = \"garage\"",
    );
    operation(&repo, &store, "gen-secrets", &[]).exits(0);
    deploy(&repo, &store, &lab, &["alder"])
        .exits(5)
        .tells("there is no user garage on this node");
    assert!(!lab.holds(
        "alder",
        "[ -e /var/lib/nixcfg/secrets/letters ] || [ -e /etc/demo/digits ]"
    ));
}
