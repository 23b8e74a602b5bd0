//! A hostile node beside two good ones: what it can do to the operator and to the others.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use nixcfg::password::hash::{Hash, Password};
use nixcfg::secret::Secret;

use crate::support::hostile::{self, Attack, From, Told, WAYS, end, prepare};
use crate::support::pass::PassStore;
use crate::support::{Lab, NODES, Ran, Repo, Tool, root};

/// The hostile node.
const BAD: &str = "alder";
/// Time limits are divided by this: each is waited for in full.
const HASTE: &str = "4";
/// Parallel runs: sshd refuses too many logins at once.
const AT_ONCE: usize = 4;

const fn attack(
    operation: &'static [&'static str],
    script: &'static str,
    from: From,
    takes: &'static [&'static str],
) -> Attack {
    Attack {
        operation,
        script,
        from,
        takes,
    }
}

const STATUS: &[&str] = &["status", "--no-drift"];
const AS_ROOT: &[&str] = &["exec", "--sudo", "--", "true"];

/// Operations that only look.
const LOOKS: [Attack; 9] = [
    attack(STATUS, "nixcfg-probe", From::Start, &[]),
    attack(STATUS, "nixcfg-probe", From::Run, &[]),
    attack(STATUS, "nixcfg-status", From::Run, &["end", "escapes"]),
    attack(
        STATUS,
        "nixcfg-certificates",
        From::Root,
        &["end", "escapes"],
    ),
    attack(
        &["generations"],
        "nixcfg-generations",
        From::Run,
        &["end", "escapes"],
    ),
    // Something is wrong with each: the store has nothing.
    attack(&["doctor"], "nixcfg-doctor", From::Run, &[]),
    // The script that finds out how to become root, and the one that runs a command as root.
    attack(AS_ROOT, "nixcfg-try", From::Start, &[]),
    attack(AS_ROOT, "nixcfg-sudo", From::Start, &[]),
    // It has no bound of its own once it runs.
    attack(AS_ROOT, "nixcfg", From::Start, &[]),
];

const DEPLOY: &[&str] = &["deploy-nixos", "--confirm-timeout", "5"];
/// To a system on which a unit fails.
const TO_A_BAD_ONE: &[&str] = &["deploy-nixos", "--confirm-timeout", "6"];
const REBOOT: &[&str] = &[
    "deploy-nixos",
    "--mode",
    "boot",
    "--reboot",
    "--confirm-timeout",
    "5",
];
const DRY: &[&str] = &["deploy-nixos", "--mode", "dry-activate"];
const PASSWORDS: &[&str] = &["deploy-passwords", "--user", "bob"];
const PKI: &[&str] = &["deploy-pki", "--unhealthy"];

/// Operations that change a node.
const CHANGES: [Attack; 15] = [
    attack(&["deploy-secrets"], "nixcfg-secrets", From::Root, &[]),
    // The node's end of `nix copy`. Attacks after it find the paths there.
    attack(DEPLOY, "nixcfg", From::Root, &[]),
    attack(PASSWORDS, "nixcfg-inspect-passwords", From::Root, &[]),
    attack(PASSWORDS, "nixcfg-passwords", From::Root, &[]),
    attack(PKI, "nixcfg-pki-state", From::Root, &[]),
    attack(PKI, "nixcfg-install", From::Root, &[]),
    attack(PKI, "nixcfg-pki-signal", From::Root, &[]),
    attack(DEPLOY, "nixcfg-lease", From::Root, &[]),
    attack(DEPLOY, "nixcfg-activate", From::Root, &[]),
    attack(DEPLOY, "nixcfg-outcome", From::Run, &[]),
    attack(DEPLOY, "nixcfg-check", From::Root, &[]),
    attack(DEPLOY, "nixcfg-confirm", From::Root, &[]),
    attack(TO_A_BAD_ONE, "nixcfg-go-back", From::Root, &[]),
    attack(REBOOT, "nixcfg-extend", From::Root, &[]),
    attack(DRY, "nixcfg-dry-activate", From::Root, &[]),
];
/// The ways that are tried with these. The others differ in how an answer is read, which is the same for all scripts.
const CHANGED_BY: [&str; 7] = [
    "silent", "garbage", "endless", "cut", "end", "code", "escapes",
];

/// Scripts that are not attacked, and why.
const SPARED: [(&str, &str); 9] = [
    (
        "nixcfg-closure",
        "an answer about the node's own paths, for a preview",
    ),
    (
        "nixcfg-daemons",
        "read as nixcfg-pki-state is; what is missing counts as not healthy",
    ),
    (
        "nixcfg-drained",
        "needs a Nomad; its answer is judged as that of nixcfg-confirm",
    ),
    (
        "nixcfg-inhibited",
        "a plan's remark; nixcfg-activate compares again on the node",
    ),
    (
        "nixcfg-lockout",
        "needs immutable users; a user who is not told of counts as locked out (lockout.rs)",
    ),
    ("nixcfg-member", "a check; judged as nixcfg-check"),
    (
        "nixcfg-missing",
        "what a node says it has and has not, its switch misses (nixcfg-activate: absent)",
    ),
    (
        "nixcfg-present",
        "says nothing; a node that does not answer is given up in seconds (link.rs)",
    ),
    (
        "nixcfg-restart",
        "its answer is not used: the next look tells whether the node has restarted",
    ),
];

#[test]
fn every_script_is_attacked_or_spared_for_a_reason() {
    fn collect(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, names);
            } else if path.extension().is_some_and(|of| of == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let named = text.lines().filter_map(|line| {
                    let name = line.trim().strip_prefix("name: \"nixcfg-")?;
                    Some(format!("nixcfg-{}", name.split('"').next()?))
                });
                names.extend(named.filter(|name| name != "nixcfg-test"));
            }
        }
    }
    let mut scripts = BTreeSet::new();
    collect(&root().join("src"), &mut scripts);
    assert!(scripts.len() > 20, "{scripts:?}");
    let attacked = LOOKS.iter().chain(&CHANGES).map(|attack| attack.script);
    let attacked: BTreeSet<&str> = attacked.collect();
    let spared: BTreeSet<&str> = SPARED.iter().map(|(name, _)| *name).collect();
    assert!(attacked.is_disjoint(&spared));
    for script in &scripts {
        let known = attacked.contains(&**script) || spared.contains(&**script);
        assert!(known, "{script} is neither attacked nor spared");
    }
    let gone = spared.iter().find(|name| !scripts.contains(**name));
    assert_eq!(gone, None, "no script has this name");
}

#[test]
fn a_node_that_answers_badly_is_told_so_and_neither_fills_nor_holds_nor_misleads() {
    let lab = Lab::bare();
    let repo = Repo::new();
    let store = PassStore::plain();
    prepare(&lab, BAD);
    // What follows finds the cluster evaluated.
    let tool = Tool::new(&repo, "exec")
        .arg("--ssh-config")
        .arg(lab.ssh_config());
    let mut command = tool.args(&["--", "true"]).into_command();
    assert!(store.in_env(&mut command).status().unwrap().success());
    let attacks = LOOKS
        .iter()
        .flat_map(|look| (0..WAYS.len()).map(move |number| (look, number)));
    // Those that are waited for longest come first.
    let mut attacks: VecDeque<_> = attacks.collect();
    attacks.make_contiguous().sort_by_key(|(_, number)| *number);
    let waiting = Mutex::new(attacks);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop_front();
                    let Some((look, number)) = next else {
                        break;
                    };
                    let way = WAYS[number].0;
                    let told = hostile::run((&repo, &store), &lab, BAD, (*look, way), HASTE);
                    done.lock().unwrap().push((told.memory, judge_look(&told)));
                }
            });
        }
    });
    end(done.into_inner().unwrap(), LOOKS.len() * WAYS.len());
}

/// What is wrong with a run that only looks, if anything is.
fn judge_look(told: &Told) -> Option<String> {
    let mut trouble = told.trouble();
    // It goes on with the others.
    let others = NODES.iter().filter(|node| **node != BAD);
    let tells = matches!(
        told.attack.operation[0],
        "status" | "generations" | "doctor"
    );
    for node in others.filter(|_| tells) {
        let of_node = |line: &str| line.split([' ', ':']).any(|word| word == *node);
        if !told.out.lines().any(of_node) {
            trouble.push(format!("does not tell of {node}"));
        }
    }
    told.words(&trouble)
}

/// A cluster of one node. Clusters are attacked in parallel, as an operation holds the lease on all of its own.
struct Lane {
    node: &'static str,
    good: Repo,
    bad: Repo,
}

/// The settings of all its systems.
const CLUSTER: &str = r#"
    secrets.letters = { generator = "random"; length = 40; };
    nomad.enable = false;
    wireguard.enable = false;
"#;

impl Lane {
    fn new(lab: &Lab, node: &'static str) -> Self {
        let of = |module: &str| {
            let repo = Repo::new();
            repo.replace(
                "cluster/prod/cluster.nix",
                "    wireguard.enable = true;\n",
                CLUSTER,
            );
            for other in NODES.iter().filter(|other| **other != node) {
                let file = format!("cluster/prod/node/{other}.nix");
                fs::remove_file(repo.path().join(&file)).unwrap();
            }
            repo.configure(node, module);
            repo
        };
        // Each is a server: a cluster without one has no Consul.
        let system = |more: &str| {
            of(&format!(
                r#"{{ lib, ... }}: {{ cluster.nodes.{node} = {{ role = lib.mkForce "server"; checks.well.command = [ "true" ]; }}; {more} }}"#
            ))
        };
        let lane = Self {
            node,
            good: system(r#"environment.etc."nixcfg-test".text = "good";"#),
            bad: system(
                r#"systemd.services.bad = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "false"; };"#,
            ),
        };
        let first = system(r#"environment.etc."nixcfg-test".text = "first";"#);
        Tool::deploy(&first, lab).exits(0);
        prepare(lab, node);
        lane
    }

    /// Carries out the attacks; gives what is wrong with each.
    fn attack(
        &self,
        lab: &Lab,
        store: &PassStore,
        attacks: &[Attack],
    ) -> Vec<(u64, Option<String>)> {
        let mut done = Vec::new();
        for attack in attacks {
            for way in CHANGED_BY {
                let before = lab.state(self.node);
                let repo = if attack.operation == TO_A_BAD_ONE {
                    &self.bad
                } else {
                    &self.good
                };
                // Only the limits of what is attacked are short.
                let haste = format!("4,{}=6,going back=8,a switch=8,copying=6", attack.script);
                let told = hostile::run((repo, store), lab, self.node, (*attack, way), &haste);
                let mut trouble = told.trouble();
                // Whatever the tool reported, the node comes back to its former system.
                lab.until(self.node, "! ls /var/lib/nixcfg/rollback/pending");
                if lab.state(self.node) != before {
                    trouble.push("changes the system".to_owned());
                }
                done.push((told.memory, told.words(&trouble)));
            }
        }
        done
    }
}

#[test]
fn a_node_that_answers_badly_while_it_is_changed_is_told_as_failed_and_ends_as_it_was() {
    let lab = Lab::bare();
    let store = PassStore::plain();
    let lanes = NODES.map(|node| Lane::new(&lab, node));
    for operation in ["gen-secrets", "gen-pki"] {
        let mut command = Tool::new(&lanes[0].good, operation).into_command();
        let ran: Ran = store.in_env(&mut command).output().unwrap().into();
        ran.exits(0);
    }
    let password = Password::new(Secret::new("a walrus and a carpenter".to_owned())).unwrap();
    let hash = Hash::sha512crypt(&password, 5000).unwrap();
    let entry = "example/cluster/prod/passwd/bob";
    store.insert(entry, &format!("{}\n", hash.expose()));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (number, lane) in lanes.iter().enumerate() {
            let its = CHANGES.iter().skip(number).step_by(lanes.len());
            let its: Vec<Attack> = its.copied().collect();
            let (lab, store, done) = (&lab, &store, &done);
            scope.spawn(move || {
                let mut all = lane.attack(lab, store, &its);
                done.lock().unwrap().append(&mut all);
            });
        }
    });
    for node in NODES {
        lab.at_rest(node);
    }
    end(done.into_inner().unwrap(), CHANGES.len() * CHANGED_BY.len());
}

#[test]
fn a_node_that_is_silent_in_its_switch_keeps_no_other_from_being_changed() {
    let (lab, repo, store) = (Lab::bare(), Repo::new(), PassStore::plain());
    prepare(&lab, BAD);
    for node in NODES {
        repo.configure(node, r#"{ environment.etc."nixcfg-test".text = "one"; }"#);
    }
    let operation = &["deploy-nixos", "--on-failure", "continue"];
    let attack = attack(operation, "nixcfg-activate", From::Root, &[]);
    let haste = "4,nixcfg-activate=20";
    let told = hostile::run((&repo, &store), &lab, BAD, (attack, "silent"), haste);
    assert_eq!(told.words(&told.trouble()), None);
    for node in NODES.iter().filter(|node| **node != BAD) {
        assert_eq!(
            lab.root(node, "cat /etc/nixcfg-test"),
            "one",
            "{}",
            told.all()
        );
    }
}
