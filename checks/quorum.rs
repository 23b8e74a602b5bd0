//! The order in which nodes change, on three real nodes that are servers of a real Consul.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::certificates::{Authority, Flaw};
use crate::support::consul;
use crate::support::{Lab, NIX_CONFIG, NODES, PASSWORD, Ran, Repo, Tool, genuine};

/// A system whose activation takes a second, and notes its beginning and end.
fn slow(text: &str) -> String {
    format!(
        r#"{{ environment.etc."nixcfg-test".text = "{text}"; system.activationScripts.slow.text = "date +%s%N >/root/began; sleep 1; date +%s%N >/root/ended"; }}"#
    )
}

const FAILING: &str = r#"{ cluster.nodes.birch.checks.never = { command = [ "false" ]; attempts = 1; }; environment.etc."nixcfg-test".text = "bad"; }"#;

fn deploy(repo: &Repo, lab: &Lab) -> Tool {
    Tool::deploy(repo, lab).args(&["--confirm-timeout", "20"])
}

/// The nodes' running systems and the generations of their profiles.
fn at(lab: &Lab) -> [String; 3] {
    let told = "readlink -f /run/current-system; readlink /nix/var/nix/profiles/system";
    NODES.map(|node| lab.root(node, told))
}

fn text(lab: &Lab, node: &str) -> String {
    lab.root(node, "cat /etc/nixcfg-test 2>/dev/null || true")
}

/// Runs the command that the run printed.
fn resume(repo: &Repo, ran: &Ran) -> Ran {
    let (_, command) = ran.err.split_once("go on with them: ").unwrap();
    let output = Command::new("sh")
        .args(["-c", command.lines().next().unwrap()])
        .current_dir(repo.path())
        .env("NIX_CONFIG", NIX_CONFIG)
        .env("SUDO_PASS", PASSWORD)
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran::from(output)
}

#[test]
fn a_canary_that_fails_leaves_the_others_and_what_resumes_takes_one_of_a_site_at_a_time() {
    let (lab, repo) = (Lab::bare(), Repo::new());
    for node in NODES {
        repo.configure(node, &slow("one"));
    }
    repo.configure("birch", FAILING);
    let before = lab.states();
    let ran = deploy(&repo, &lab)
        .args(&["--canary", "birch", "--on-failure", "continue"])
        .args(&["--max-per-site", "1"])
        .exits(5)
        .shows_of("birch", "rolled back")
        .shows_of("alder", "left as it was")
        .shows_of("cedar", "left as it was");
    assert_eq!(lab.states(), before);
    repo.configure("birch", &slow("one"));
    resume(&repo, &ran).exits(0).shows("3 nodes as wanted");
    assert_eq!(NODES.map(|node| text(&lab, node)), ["one", "one", "one"]);
    let when = |node: &str| {
        let told = lab.root(node, "cat /root/began /root/ended");
        let times: Vec<u64> = told.lines().map(|line| line.parse().unwrap()).collect();
        (times[0], times[1])
    };
    // Both are in Lyon.
    let (alder, birch) = (when("alder"), when("birch"));
    assert!(
        alder.1 < birch.0 || birch.1 < alder.0,
        "{alder:?} {birch:?}"
    );
}

#[test]
fn a_failure_takes_back_what_was_done_or_is_passed_over_as_the_operator_says() {
    let (lab, repo) = (Lab::bare(), Repo::new());
    for node in NODES {
        repo.configure(node, &slow("one"));
    }
    deploy(&repo, &lab).exits(0);
    let before = at(&lab);
    for node in NODES {
        repo.configure(node, &slow("two"));
    }
    repo.configure("birch", FAILING);
    let one_by_one = ["--max-parallel", "1", "--on-failure"];
    deploy(&repo, &lab)
        .args(&one_by_one)
        .arg("rollback")
        .exits(5)
        .shows_of("alder", "switched")
        .shows_of("birch", "rolled back")
        .shows_of("cedar", "left as it was")
        .shows_of("alder", "taken back to nixos-system-alder");
    assert_eq!(at(&lab), before, "exactly as before");
    assert_eq!(NODES.map(|node| text(&lab, node)), ["one", "one", "one"]);
    deploy(&repo, &lab)
        .args(&one_by_one)
        .arg("continue")
        .exits(5)
        .shows("2 of 3 nodes as wanted; not: birch");
    assert_eq!(NODES.map(|node| text(&lab, node)), ["two", "one", "two"]);
}

/// Three servers of a real Consul, run by the cluster's own module.
struct Servers {
    lab: Lab,
    repo: Repo,
    folder: tempfile::TempDir,
}

/// The module's settings with shorter times: as they are for a Consul that `CONSUL` names, in older words
/// for Debian's; on NixOS the lab translates them. Two systems differ in the time that a request waits for
/// a leader, a setting that needs a restart.
fn consul(hold: &str) -> String {
    let short = format!(
        r#"performance = {{ raft_multiplier = 1; rpc_hold_timeout = "{hold}"; }}; retry_interval = "1s";"#
    );
    if genuine() {
        return format!("{{ services.consul.extraConfig = {{ {short} }}; }}");
    }
    let (left_out, older) = if consul::given() {
        ("", "")
    } else {
        (
            r#""tls" "telemetry""#,
            r#"verify_incoming = true;
              verify_outgoing = true;
              verify_server_hostname = true;
              ca_file = "/var/lib/consul/pki/consul-ca.crt";
              cert_file = "/var/lib/consul/pki/consul.crt";
              key_file = "/var/lib/consul/pki/consul.key";"#,
        )
    };
    format!(
        r#"{{ config, lib, ... }}: {{
          environment.etc."consul.json".text = lib.mkForce (builtins.toJSON (
            removeAttrs config.services.consul.extraConfig [ {left_out} ]
            // {{
              data_dir = "/var/lib/consul";
              {short}
              {older}
            }}
          ));
        }}"#
    )
}

impl Servers {
    /// Starts the servers, and waits until they have a leader and are healthy.
    fn start() -> Self {
        let (lab, repo) = (Lab::bare(), Repo::new());
        repo.write(
            "cluster/prod/cluster.nix",
            r#"{
              cluster = {
                domain = "prod.example.org"; secretsPrefix = "example"; nomad.enable = false;
                admins.alice.keys = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf alice" ];
              };
              networking.nftables.enable = true; networking.firewall.allowedTCPPorts = [ 8501 ];
              system.stateVersion = "26.05";
            }"#,
        );
        let authority = Authority::new("Consul CA");
        let pair = authority.server("server.prod.consul", Flaw::None);
        for (place, node) in NODES.iter().enumerate() {
            let site = if *node == "cedar" { "brest" } else { "lyon" };
            repo.write(
                &format!("cluster/prod/node/{node}.nix"),
                &format!(
                    r#"{{ imports = [ ../hardware/uefi-disk.nix ]; cluster.nodes.{node} = {{ site = "{site}"; role = "server"; address.ipv4 = "{}"; }}; }}"#,
                    lab.address(place)
                ),
            );
            repo.configure(node, &consul("7s"));
            // On NixOS the system has Consul.
            if !genuine() {
                lab.put_consul(node);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let operator = authority.operator("cli.prod.consul", Flaw::None);
        for (file, text) in [
            ("ca.crt", &authority.pem()),
            ("operator.crt", &operator.certificate),
            ("operator.key", &operator.key),
        ] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let this = Self { lab, repo, folder };
        // First the systems, whose servers wait for their files; then the files.
        this.deploy().exits(0).tells("no quorum of Consul to keep");
        for node in NODES {
            let put = |path: &str, text: &str| this.lab.put(node, path, "600", text.as_bytes());
            put("/var/lib/consul/pki/consul-ca.crt", &authority.pem());
            put("/var/lib/consul/pki/consul.crt", &pair.certificate);
            put("/var/lib/consul/pki/consul.key", &pair.key);
            this.lab.root(
                node,
                "chown -R consul /var/lib/consul; \
                 path=$(systemctl cat consul | sed -n 's/^ConditionPathExists=\\(.*gossip.*\\)/\\1/p'); \
                 mkdir -p \"${path%/*}\"; echo MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= >\"$path\"; systemctl start consul",
            );
        }
        this.well();
        this
    }

    fn deploy(&self) -> Tool {
        Tool::deploy(&self.repo, &self.lab)
    }

    /// The index of the leader among the nodes.
    fn leader(&self) -> usize {
        let path = "/v1/status/leader";
        let told = request(&self.folder, &self.lab.address(0), "GET", path, "").unwrap();
        (0..NODES.len())
            .find(|place| told.contains(&format!("{}:", self.lab.address(*place))))
            .unwrap_or_else(|| panic!("no leader: {told}"))
    }

    /// Waits until all servers are healthy and one may fail.
    fn well(&self) {
        let told = self.lab.root(
            "alder",
            "i=0; while [ $i -lt 300 ]; do \
             curl -s --cacert /var/lib/consul/pki/consul-ca.crt --cert /var/lib/consul/pki/consul.crt --key /var/lib/consul/pki/consul.key \
             --connect-to ::127.0.0.1: https://server.prod.consul:8501/v1/operator/autopilot/health | \
             grep '\"Healthy\":true,\"FailureTolerance\":1' && exit; sleep 0.2; i=$((i + 1)); done; journalctl -u consul -n 20",
        );
        assert!(told.contains("FailureTolerance"), "{told}");
    }

    /// The start time of each server's Consul.
    fn starts(&self) -> Vec<String> {
        NODES
            .iter()
            .map(|node| {
                self.lab
                    .root(node, "systemctl show -p InvocationID --value consul")
            })
            .collect()
    }
}

fn request(
    folder: &tempfile::TempDir,
    address: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Option<String> {
    let file = |name: &str| folder.path().join(name);
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--max-time", "10", "--noproxy", "*"])
        .args(["--request", method, "--data", body, "--cacert"])
        .arg(file("ca.crt"))
        .arg("--cert")
        .arg(file("operator.crt"))
        .arg("--key")
        .arg(file("operator.key"))
        .args(["--connect-to", &format!("::{address}:")])
        .arg(format!("https://server.prod.consul:8501{path}"))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    output.status.success().then_some(told)
}

/// A client that reads and writes all the time, at any server that answers.
struct Client {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Vec<usize>>,
}

/// The requests: a write, a read of it, and a read of the catalog as by services.
const ASKED: [(&str, &str); 3] = [
    ("PUT", "/v1/kv/test"),
    ("GET", "/v1/kv/test?consistent&raw"),
    ("GET", "/v1/catalog/nodes"),
];
/// The time that Consul's agents wait for a leader before they fail a request (`rpc_hold_timeout`).
const HOLD: Duration = Duration::from_secs(7);

impl Client {
    fn start(servers: &Servers) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, folder) = (stop.clone(), tempfile::tempdir().unwrap());
        for file in ["ca.crt", "operator.crt", "operator.key"] {
            std::fs::copy(servers.folder.path().join(file), folder.path().join(file)).unwrap();
        }
        let addresses: Vec<String> = (0..NODES.len()).map(|n| servers.lab.address(n)).collect();
        let work = std::thread::spawn(move || {
            let mut answered = Vec::new();
            for round in 0.. {
                if asked.load(Ordering::Relaxed) {
                    break;
                }
                let mut right = 0;
                for (method, path) in ASKED {
                    let body = if method == "PUT" {
                        round.to_string()
                    } else {
                        String::new()
                    };
                    // Any server will do, as for all clients of a cluster.
                    let ask = || {
                        (0..addresses.len()).find_map(|n| {
                            let address = &addresses[(round + n) % addresses.len()];
                            request(&folder, address, method, path, &body)
                        })
                    };
                    let began = Instant::now();
                    let mut answer = ask();
                    while answer.is_none() && began.elapsed() < HOLD {
                        answer = ask();
                    }
                    let told = answer.as_deref().unwrap_or("nothing").trim();
                    let ok = match (method, path.contains("/kv/")) {
                        ("PUT", _) => told == "true",
                        (_, true) => told == round.to_string(),
                        (_, false) => NODES.iter().all(|node| told.contains(node)),
                    };
                    right += usize::from(ok);
                    if !ok {
                        eprintln!("round {round}, {method} {path}: {told}");
                    }
                }
                answered.push(right);
            }
            answered
        });
        Self { stop, work }
    }

    /// Asserts that every request got the right answer.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let answered = self.work.join().unwrap();
        let (rounds, right) = (answered.len(), answered.iter().sum::<usize>());
        eprintln!("{right} of {} requests answered", rounds * ASKED.len());
        assert!(rounds > 10, "{rounds} rounds");
        assert_eq!(right, rounds * ASKED.len());
    }
}

#[test]
fn consul_answers_throughout_a_deployment_in_which_every_server_restarts() {
    let servers = Servers::start();
    let (leader, before) = (servers.leader(), servers.starts());
    let client = Client::start(&servers);
    for node in NODES {
        servers.repo.configure(node, &consul("8s"));
    }
    let ran = servers.deploy().run();
    eprintln!("{}", ran.err);
    client.stop();
    let ran = ran.exits(0).shows("3 nodes as wanted");
    assert!(
        servers
            .starts()
            .iter()
            .zip(&before)
            .all(|(now, then)| now != then)
    );
    // Each finished node has a line; the leader's is last.
    let order: Vec<&str> = ran
        .out
        .lines()
        .filter_map(|line| Some(line.split_once(" switched")?.0.trim_end()))
        .collect();
    assert_eq!(order.last(), Some(&NODES[leader]), "{order:?}");
    servers.well();

    // The second server fails, and the rollout stops.
    let leader = servers.leader();
    let others: Vec<usize> = (0..NODES.len()).filter(|place| *place != leader).collect();
    let [first, second, last] = [others[0], others[1], leader].map(|place| NODES[place]);
    let before = servers.starts();
    for node in NODES {
        servers.repo.configure(node, &consul("9s"));
    }
    let failing = format!(
        r#"{{ imports = [ ({}) ]; cluster.nodes.{second}.checks.never = {{ command = [ "false" ]; attempts = 1; }}; }}"#,
        consul("9s")
    );
    servers.repo.configure(second, &failing);
    let client = Client::start(&servers);
    let ran = servers
        .deploy()
        .exits(5)
        .shows(&format!("{first}  switched"))
        .shows(&format!("{second}  rolled back"))
        .shows(&format!("{last}  left as it was"));
    client.stop();
    assert_eq!(
        servers.starts()[leader],
        before[leader],
        "the leader was not touched"
    );
    servers.well();
    servers.repo.configure(second, &consul("9s"));
    resume(&servers.repo, &ran)
        .exits(0)
        .shows("2 nodes as wanted");
    servers.well();
    a_server_is_not_touched_while_another_is_down_and_a_lost_member_goes_back(&servers);
}

fn a_server_is_not_touched_while_another_is_down_and_a_lost_member_goes_back(servers: &Servers) {
    let leader = servers.leader();
    let others: Vec<usize> = (0..NODES.len()).filter(|place| *place != leader).collect();
    let [down, other] = [others[0], others[1]].map(|place| NODES[place]);
    let before = at(&servers.lab);

    // The run does not confirm a system that cuts its node off from Consul's other members.
    let deaf = format!(
        r#"{{ pkgs, ... }}: {{ imports = [ ({}) ]; systemd.services.deaf = {{ wantedBy = [ "multi-user.target" ]; path = [ pkgs.nftables ];
          serviceConfig = {{ Type = "oneshot"; RemainAfterExit = true; }};
          script = "nft 'add table inet deaf; add chain inet deaf in {{ type filter hook input priority -10; }}; add rule inet deaf in tcp dport 8300-8301 drop; add rule inet deaf in udp dport 8301 drop; add chain inet deaf out {{ type filter hook output priority -10; }}; add rule inet deaf out tcp dport 8300-8301 drop; add rule inet deaf out udp dport 8301 drop'";
          preStop = "nft delete table inet deaf"; }}; }}"#,
        consul("10s")
    );
    servers.repo.configure(other, &deaf);
    servers
        .deploy()
        .args(&[other, "--confirm-timeout", "30"])
        .exits(5)
        .shows("rolled back")
        .shows("check membership in Consul");
    servers.well();
    assert_eq!(at(&servers.lab), before);

    servers.lab.root(down, "systemctl stop consul");
    servers.repo.configure(other, &consul("10s"));
    let ran = servers.deploy().arg(other).exits(5);
    ran.tells("Consul’s servers")
        .tells("--unhealthy")
        .shows("left as it was");
    assert_eq!(at(&servers.lab), before);
}
