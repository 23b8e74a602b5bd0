//! A cluster is taken over from a repository of the original scripts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::evaluated;
use crate::support::{self, Ran, Repo};

/// The files of a cluster as the original's manual has them, and as Nix allows them to be.
const FILES: &[(&str, &str)] = &[
    (
        "cluster/staging/cluster.nix",
        r#"{ config, pkgs, ... } @ args:

with pkgs.lib;

let
  key = user: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf ${user}";
in
{
  coop.clusterName = "staging";
  coop.clusterPrefix = "10.14.0.0/20";
  coop.clusterNodes = {
    "carp" = {
      siteName = "jupiter";
      publicKey = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
      address = "10.14.1.1";
      endpoint = "192.0.2.9:33801";
    };
    "perch" = {
      siteName = "mars";
      publicKey = "n8/vLJcAjTJduA1i++TOAu1P0KyXw1cD5BQWMydJo2U=";
      address = "10.14.2.1";
    };
  };
  coop.adminAccounts = genAttrs [ "alice" "bob" ] (user: [ (key user) ]);

  services.nomad.settings.client.meta.x = "y";
  networking.firewall = {
    allowedTCPPorts = [ 3901 ];
    logRefusedConnections = mkForce false;
  };
  environment.systemPackages = with pkgs; [ htop ];
  services.journald.extraConfig = ''
    SystemMaxUse=1G
    MaxRetentionSec=1month
  '';
  system.stateVersion = "23.05";
}
"#,
    ),
    (
        "cluster/staging/site/jupiter.nix",
        "{ ... }: {\n  coop.siteName = \"jupiter\";\n  coop.staticIPv4.defaultGateway = \"192.0.2.1\";\n  coop.staticIPv4.prefixLength = 25;\n  coop.cnameTarget = \"jupiter.example.org.\";\n  networking.nameservers = [ \"192.0.2.1\" ];\n}\n",
    ),
    (
        "cluster/staging/site/mars.nix",
        "{ ... }: { coop.siteName = \"mars\"; }\n",
    ),
    (
        "cluster/staging/node/carp.nix",
        "{ config, lib, ... }: {\n  imports = [ ./remote-unlock.nix ];\n  coop.hostName = \"carp\";\n  coop.isRaftServer = true;\n  coop.staticIPv4.address = \"192.0.2.9\";\n  coop.networkInterface = \"eno1\";\n  coop.remoteUnlock = {\n    networkInterface = \"eno1\";\n    staticIP = \"192.0.2.9/25\";\n    defaultGateway = \"192.0.2.1\";\n  };\n  boot.loader.timeout = lib.mkIf (config.coop.hostName == \"carp\") 20;\n  boot.loader.grub.enable = false;\n}\n",
    ),
    (
        "cluster/staging/node/perch.nix",
        "{ coop.hostName = \"perch\"; coop.isRaftServer = false; }\n",
    ),
    (
        "cluster/staging/ssh_config",
        "UserKnownHostsFile ./cluster/staging/known_hosts\nHost carp\n  HostName 192.0.2.9\nHost perch\n  HostName 2001:db8::7\n",
    ),
    (
        "cluster/staging/known_hosts",
        "192.0.2.9 ssh-ed25519 AAAA\n",
    ),
    (
        "cluster/staging/app/core/deploy/core.hcl",
        "job \"core\" { }\n",
    ),
    ("nix/configuration.nix", "{ ... }: { }\n"),
];

/// Another repository, with these files.
fn other(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn init(repo: &Repo, from: &Path, args: &[&str]) -> Ran {
    Command::new(env!("CARGO_BIN_EXE_nixcfg"))
        .args(["init", "river", "--yes", "--from"])
        .arg(from.join("cluster/staging"))
        .args(args)
        .current_dir(repo.path())
        .env("NIX_CONFIG", support::NIX_CONFIG)
        .output()
        .unwrap()
        .into()
}

#[test]
fn its_nodes_sites_accounts_and_settings_become_ours_and_the_rest_is_listed() {
    let (repo, other) = (Repo::new(), other(FILES));
    // The original has a link for each node's site, which outweighs the list.
    symlink(
        "../site/mars.nix",
        other.path().join("cluster/staging/node/perch.site.nix"),
    )
    .unwrap();
    let mut ran = init(&repo, other.path(), &["--domain", "river.example.org"]).exits(0);
    for line in [
        "staging/cluster.nix:26  services.nomad.settings.client.meta.x: nixcfg sets it",
        "staging/cluster.nix:31  environment.systemPackages: needs what is in",
        "staging/node/carp.nix:2  imports: ",
        "staging/site/jupiter.nix:5  coop.cnameTarget: nixcfg has no such setting",
        "cluster/staging  remoteUnlock: ",
        "cluster/staging  clusterNodes: the nodes keep their keys",
        "staging/app  its apps: cp -r ",
        "nix  the original's own modules",
        "nothing is deployed before cluster/river/hardware/<node>.nix",
        "nix run .#next -- river",
    ] {
        ran = ran.tells(line);
    }
    let cluster = evaluated(&repo, "clusters.river").unwrap();
    assert_eq!(cluster["domain"], "river.example.org");
    assert_eq!(cluster["secretsPrefix"], "coop");
    let (carp, perch) = (&cluster["nodes"]["carp"], &cluster["nodes"]["perch"]);
    assert_eq!(
        (&carp["role"], &perch["role"]),
        (&json!("server"), &json!("client"))
    );
    assert_eq!(
        (&carp["site"], &perch["site"]),
        (&json!("jupiter"), &json!("mars"))
    );

    let of = |node: &str, option: &str| {
        let option = format!("nixosConfigurations.river-{node}.config.{option}");
        evaluated(&repo, &option).unwrap()
    };
    // A system with a guess in the place of its disks would not start.
    let system = "nixosConfigurations.river-carp.config.system.build.toplevel.drvPath";
    let refused = evaluated(&repo, system).unwrap_err();
    assert!(
        refused.contains("cluster/river/hardware/carp.nix: put here"),
        "{refused}"
    );
    assert_eq!(of("carp", "cluster.nodes.carp.address.ipv4"), "192.0.2.9");
    assert_eq!(
        of("carp", "cluster.nodes.perch.address.ipv6"),
        "2001:db8::7"
    );
    assert_eq!(
        of("carp", "cluster.sites.jupiter.gateway.ipv4"),
        "192.0.2.1"
    );
    assert_eq!(of("carp", "cluster.sites.jupiter.prefixLength.ipv4"), 25);
    assert_eq!(of("carp", "cluster.remoteUnlock.enable"), true);
    let mesh = of("perch", "cluster.wireguard");
    assert_eq!(
        (&mesh["port"], &mesh["prefixLength"], &mesh["keys"]),
        (&json!(33799), &json!(20), &json!("node"))
    );
    assert_eq!(
        mesh["privateKeyFile"],
        "/var/lib/coop/wireguard-keys/private"
    );
    assert_eq!(of("carp", "boot.loader.timeout"), 20);
    assert_eq!(
        of("perch", "networking.firewall.logRefusedConnections"),
        false
    );
    assert!(
        of("perch", "networking.firewall.allowedTCPPorts")
            .as_array()
            .unwrap()
            .contains(&json!(3901))
    );
    assert!(
        of("perch", "services.journald.extraConfig")
            .as_str()
            .unwrap()
            .contains("SystemMaxUse=1G\nMaxRetentionSec")
    );
    let keys = of("perch", "users.users.bob.openssh.authorizedKeys.keys");
    assert!(keys[0].as_str().unwrap().ends_with(" bob"));
    let ssh_config = fs::read_to_string(repo.path().join("cluster/river/ssh_config")).unwrap();
    assert!(
        ssh_config.contains("./cluster/river/known_hosts"),
        "{ssh_config}"
    );
}

#[test]
fn what_cannot_be_read_is_said_and_nothing_is_written() {
    let repo = Repo::new();
    let with = |file: &str, text: &str| {
        let other = other(FILES);
        fs::write(other.path().join(file), text).unwrap();
        init(&repo, other.path(), &[]).exits(2)
    };
    with("cluster/staging/cluster.nix", "{ x = 1 }").tells("syntax error");
    with(
        "cluster/staging/cluster.nix",
        "{ ... }: { networking.hostName = \"x\"; }",
    )
    .tells("no cluster of the original scripts");
    with(
        "cluster/staging/node/perch.nix",
        "{ coop.siteName = \"venus\"; }",
    )
    .tells("‘venus’, which has no file");
    // Nix reads nothing outside that repository.
    let secret = with(
        "cluster/staging/site/mars.nix",
        "if builtins.readFile \"/etc/hostname\" == \"\" then { } else { }",
    );
    secret.tells("is forbidden in restricted mode");
    init(&repo, other(&[]).path(), &[])
        .exits(2)
        .tells("cannot be read");
    init(&repo, other(FILES).path(), &["--offline"])
        .exits(2)
        .tells("cannot be used with");
    assert!(!repo.path().join("cluster/river").exists());
}
