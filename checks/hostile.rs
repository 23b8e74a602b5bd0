//! A hostile node beside two good ones: what it can do to the operator and to the others.

mod survey;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use nixcfg::password::hash::{Hash, Password};
use nixcfg::secret::Secret;

use crate::support::hostile::{self, Attack, From, Told, WAYS, end, idle, prepare, ways};
use crate::support::pass::PassStore;
use crate::support::{Lab, NODES, Ran, Repo, Tool, root};

/// The hostile node.
const BAD: &str = "alder";
/// Parallel runs: sshd refuses too many logins at once.
const AT_ONCE: usize = 5;

/// Shortens the limits of what is attacked, each of which is waited for in full.
fn haste(script: &str) -> String {
    format!("4,{script}=6,going back=8,a switch=8,a restart=15,copying=6")
}

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
const LOOKS: [Attack; 11] = [
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
    attack(
        &["upgrade-nixos", "--no-update", "--plan"],
        "nixcfg-closure",
        From::Run,
        &["end"],
    ),
    // Something is wrong with each: none has a certificate.
    attack(
        &["pki-status", "--live"],
        "nixcfg-pki-state",
        From::Root,
        &[],
    ),
    attack(&["doctor"], "nixcfg-doctor", From::Run, &[]),
    // The script that finds out how to become root, and the one that runs a command as root.
    attack(AS_ROOT, "nixcfg-try", From::Start, &[]),
    attack(AS_ROOT, "nixcfg-sudo", From::Start, &[]),
    // It has no bound of its own once it runs.
    attack(AS_ROOT, "nixcfg", From::Start, &[]),
];

const DEPLOY: &[&str] = &["deploy-nixos", "--confirm-timeout", "8"];
/// To a system on which a unit fails.
const TO_A_BAD_ONE: &[&str] = &["deploy-nixos", "--confirm-timeout", "15"];
const REBOOT: &[&str] = &[
    "deploy-nixos",
    "--mode",
    "boot",
    "--reboot",
    "--confirm-timeout",
    "15",
];
const DRY: &[&str] = &["deploy-nixos", "--mode", "dry-activate"];
const PASSWORDS: &[&str] = &["deploy-passwords", "--user", "bob"];
const PKI: &[&str] = &["deploy-pki", "--unhealthy"];
const ROLLBACK: &[&str] = &["rollback", "--plan"];

/// The systems of a lane, beside the one that its node runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    /// One that works. Attacks after its copy find it on the node.
    Good,
    /// One on which a unit fails.
    Bad,
    /// One that never comes to the node.
    Fresh,
    /// One that locks the accounts without a password file.
    Immutable,
}

/// An attack on a node that is changed.
#[derive(Clone, Copy)]
struct Change {
    attack: Attack,
    system: System,
    /// What is done on the node before, as root.
    before: &'static str,
}

const fn change(
    operation: &'static [&'static str],
    script: &'static str,
    from: From,
    system: System,
) -> Change {
    Change {
        attack: attack(operation, script, from, &[]),
        system,
        before: "true",
    }
}

/// Operations that change a node. Those that take longest come last, and are tried first.
const CHANGES: [Change; 22] = [
    change(
        &["deploy-secrets"],
        "nixcfg-secrets",
        From::Root,
        System::Good,
    ),
    change(
        PASSWORDS,
        "nixcfg-inspect-passwords",
        From::Root,
        System::Good,
    ),
    change(PASSWORDS, "nixcfg-passwords", From::Root, System::Good),
    Change {
        attack: attack(ROLLBACK, "nixcfg-inhibited", From::Run, &["end", "escapes"]),
        ..change(ROLLBACK, "nixcfg-inhibited", From::Run, System::Good)
    },
    change(DRY, "nixcfg-dry-activate", From::Root, System::Good),
    change(PKI, "nixcfg-install", From::Root, System::Good),
    change(PKI, "nixcfg-pki-signal", From::Root, System::Good),
    Change {
        before: "echo 'since now' >/var/lib/nixcfg/drained",
        ..change(DEPLOY, "nixcfg-drained", From::Root, System::Good)
    },
    change(DEPLOY, "nixcfg-lease", From::Root, System::Good),
    change(DEPLOY, "nixcfg-member", From::Root, System::Good),
    change(DEPLOY, "nixcfg-daemons", From::Root, System::Good),
    change(DEPLOY, "nixcfg-activate", From::Root, System::Good),
    change(DEPLOY, "nixcfg-outcome", From::Run, System::Good),
    change(DEPLOY, "nixcfg-check", From::Root, System::Good),
    change(DEPLOY, "nixcfg-confirm", From::Root, System::Good),
    change(PKI, "nixcfg-pki-state", From::Root, System::Good),
    // The node's end of `nix copy`.
    change(DEPLOY, "nixcfg", From::Root, System::Fresh),
    change(
        DEPLOY,
        "nixcfg-missing",
        From::Behind("nixcfg-probe"),
        System::Fresh,
    ),
    change(DEPLOY, "nixcfg-lockout", From::Root, System::Immutable),
    change(REBOOT, "nixcfg-extend", From::Root, System::Good),
    change(TO_A_BAD_ONE, "nixcfg-go-back", From::Root, System::Bad),
    change(REBOOT, "nixcfg-restart", From::Root, System::Good),
];

/// Scripts that other tests attack.
const ELSEWHERE: [(&str, &str); 2] = [
    ("survey", "hostile/survey.rs"),
    ("nixcfg-hold", "tlsproxy_nodes.rs"),
];

/// Scripts that are not attacked, and why.
const SPARED: [(&str, &str); 2] = [
    (
        "nixcfg-present",
        "says nothing; a node that does not answer is given up in seconds (link.rs)",
    ),
    (
        "nixcfg-ears",
        "runs where daemons are a cluster, of which this lab has none; a half answer is refused (deaf.rs)",
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
                // `name: "nixcfg-…"` of a script, or the last word of a command. A script without a name is
                // called as its module.
                let named = text.lines().filter_map(|line| {
                    let line = line.trim();
                    let name = line.strip_prefix("name: ").or_else(|| {
                        let (_, name) = line.strip_suffix("];")?.rsplit_once(", ")?;
                        Some(name)
                    })?;
                    let name = name.strip_prefix("\"nixcfg-")?;
                    Some(format!("nixcfg-{}", name.split('"').next()?))
                });
                let mut named: Vec<_> = named.collect();
                if named.is_empty() && text.contains(".sh\")") {
                    let name = path.file_stem().unwrap();
                    named.push(name.to_string_lossy().into_owned());
                }
                names.extend(named.into_iter().filter(|name| name != "nixcfg-test"));
            }
        }
    }
    let mut scripts = BTreeSet::new();
    collect(&root().join("src"), &mut scripts);
    assert!(scripts.len() > 20, "{scripts:?}");
    let changes = CHANGES.iter().map(|change| &change.attack);
    let attacked = LOOKS.iter().chain(changes).map(|attack| attack.script);
    let attacked: BTreeSet<&str> = attacked.collect();
    let spared = SPARED.iter().chain(&ELSEWHERE).map(|(name, _)| *name);
    let spared: BTreeSet<&str> = spared.collect();
    assert!(attacked.is_disjoint(&spared));
    for script in &scripts {
        let known = attacked.contains(&**script) || spared.contains(&**script);
        assert!(known, "{script} is neither attacked nor spared");
    }
    let gone = spared.iter().find(|name| !scripts.contains(**name));
    assert_eq!(gone, None, "no script has this name");
}

#[test]
fn each_script_meets_each_kind_of_answer_and_each_way_meets_several_scripts() {
    for scripts in [LOOKS.len(), CHANGES.len()] {
        let mut met: BTreeMap<&str, usize> = BTreeMap::new();
        for way in (0..scripts).flat_map(ways) {
            *met.entry(way).or_default() += 1;
        }
        let all: BTreeSet<&str> = WAYS.iter().map(|(way, _)| *way).collect();
        assert_eq!(met.keys().copied().collect::<BTreeSet<_>>(), all);
        assert!(met.values().all(|scripts| *scripts > 1), "{met:?}");
        assert_eq!(met["end"], scripts);
    }
}

#[test]
fn a_node_that_answers_badly_is_told_so_and_neither_fills_nor_holds_nor_misleads() {
    let lab = Lab::bare();
    let repo = Repo::new();
    let store = PassStore::plain();
    prepare(&lab, BAD);
    let mut command = Tool::new(&repo, "gen-pki").into_command();
    assert!(store.in_env(&mut command).status().unwrap().success());
    // What follows finds the cluster evaluated, and its systems built.
    let tool = Tool::new(&repo, "upgrade-nixos")
        .arg("--ssh-config")
        .arg(lab.ssh_config());
    let mut command = tool.args(&["--no-update", "--plan"]).into_command();
    assert!(store.in_env(&mut command).status().unwrap().success());
    let looks = LOOKS.iter().enumerate();
    let attacks =
        looks.flat_map(|(number, look)| ways(number).into_iter().map(move |way| (look, way)));
    // Those that are waited for longest come first.
    let mut attacks: VecDeque<_> = attacks.collect();
    let place = |way: &str| WAYS.iter().position(|(name, _)| *name == way);
    attacks.make_contiguous().sort_by_key(|(_, way)| place(way));
    let wanted = attacks.len();
    let waiting = Mutex::new(attacks);
    let (done, upgrading) = (Mutex::new(Vec::new()), Mutex::new(()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop_front();
                    let Some((look, way)) = next else {
                        break;
                    };
                    // upgrade-nixos runs once at a time in a repository.
                    let alone = look.operation[0] == "upgrade-nixos";
                    let _alone = alone.then(|| upgrading.lock().unwrap());
                    // These limits hold for the good nodes too, which have little of a busy machine.
                    let haste = format!("2,{}=12,sudo=15", look.script);
                    let told = hostile::run((&repo, &store), &lab, BAD, (*look, way), &haste);
                    let trouble = judge_look(&told);
                    done.lock().unwrap().push((told, trouble));
                }
            });
        }
    });
    end(&lab, &[BAD], done.into_inner().unwrap(), wanted);
}

/// What is wrong with a run that only looks, if anything is.
fn judge_look(told: &Told) -> Option<String> {
    let mut trouble = told.trouble();
    // It goes on with the others.
    let others = NODES.iter().filter(|node| **node != BAD);
    let tells = matches!(
        told.attack.operation[0],
        "status" | "generations" | "doctor" | "pki-status"
    );
    for node in others.filter(|_| tells) {
        let of_node = |line: &str| line.split([' ', ':']).any(|word| word == *node);
        if !told.out.lines().any(of_node) {
            trouble.push(format!("does not tell of {node}"));
        }
    }
    told.words(&trouble)
}

/// The nodes of the lanes that the lab does not have for other tests.
const MORE: [&str; 3] = ["elm", "fir", "hazel"];

/// A cluster of one node. Clusters are attacked in parallel, as an operation holds the lease on all of its own.
struct Lane {
    node: &'static str,
    good: Repo,
    bad: Repo,
    fresh: Repo,
    immutable: Repo,
}

/// The settings of all its systems.
const CLUSTER: &str = r#"
    secrets.letters = { generator = "random"; length = 40; };
    nomad.enable = false;
    wireguard.enable = false;
"#;

impl Lane {
    fn new(lab: &Lab, node: &'static str) -> Self {
        let alder = fs::read_to_string(root().join("cluster/prod/node/alder.nix")).unwrap();
        let file = |name: &str| format!("cluster/prod/node/{name}.nix");
        let of = |module: &str| {
            let repo = Repo::new();
            repo.replace(
                "cluster/prod/cluster.nix",
                "    wireguard.enable = true;\n",
                CLUSTER,
            );
            for other in NODES.iter().filter(|other| **other != node) {
                fs::remove_file(repo.path().join(file(other))).unwrap();
            }
            repo.write(
                &file(node),
                &alder.replace("nodes.alder", &format!("nodes.{node}")),
            );
            repo.configure(node, module);
            repo
        };
        // Each is a server: a cluster without one has no Consul.
        let system = |text: &str, more: &str| {
            of(&format!(
                r#"{{ lib, ... }}: {{
                    cluster.nodes.{node} = {{ role = lib.mkForce "server"; checks.well.command = [ "true" ]; }};
                    environment.etc."nixcfg-test".text = "{text}";
                    {more}
                }}"#
            ))
        };
        let lane = Self {
            node,
            good: system("good", ""),
            bad: system(
                "bad",
                r#"systemd.services.bad = { wantedBy = [ "multi-user.target" ]; serviceConfig.Type = "oneshot"; script = "false"; };"#,
            ),
            fresh: system("fresh", ""),
            immutable: {
                let repo = system("immutable", "");
                let users = "mutableUsers = false;\n    admins = {";
                repo.replace("cluster/prod/cluster.nix", "admins = {", users);
                repo
            },
        };
        let first = system("first", "");
        Tool::deploy(&first, lab).exits(0);
        prepare(lab, node);
        lane
    }

    fn repo(&self, system: System) -> &Repo {
        match system {
            System::Good => &self.good,
            System::Bad => &self.bad,
            System::Fresh => &self.fresh,
            System::Immutable => &self.immutable,
        }
    }

    /// Carries out an attack; tells what is wrong, if anything is.
    fn attack(
        &self,
        lab: &Lab,
        store: &PassStore,
        change: &Change,
        way: &'static str,
    ) -> (Told, Option<String>) {
        let Change {
            attack,
            system,
            before,
        } = change;
        lab.root(self.node, before);
        let before = lab.state(self.node);
        let repo = self.repo(*system);
        let haste = haste(attack.script);
        let told = hostile::run((repo, store), lab, self.node, (*attack, way), &haste);
        let mut trouble = told.trouble();
        // Whatever the tool reported, the node comes back to its former system.
        lab.until(self.node, "! ls /var/lib/nixcfg/rollback/pending");
        if lab.state(self.node) != before {
            trouble.push("changes the system".to_owned());
        }
        lab.root(self.node, "rm -f /var/lib/nixcfg/drained");
        let words = told.words(&trouble);
        (told, words)
    }
}

#[test]
fn a_node_that_answers_badly_while_it_is_changed_is_told_as_failed_and_ends_as_it_was() {
    let lab = Lab::bare();
    let store = PassStore::plain();
    lab.add(&MORE);
    let lab = &lab;
    let nodes: Vec<&str> = NODES.into_iter().chain(MORE).collect();
    let lanes: Vec<Lane> = std::thread::scope(|scope| {
        let begun = nodes
            .iter()
            .map(|node| scope.spawn(move || Lane::new(lab, node)));
        let begun: Vec<_> = begun.collect();
        begun.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    for operation in ["gen-secrets", "gen-pki"] {
        let mut command = Tool::new(&lanes[0].good, operation).into_command();
        let ran: Ran = store.in_env(&mut command).output().unwrap().into();
        ran.exits(0);
    }
    let password = Password::new(Secret::new("a walrus and a carpenter".to_owned())).unwrap();
    let hash = Hash::sha512crypt(&password, 5000).unwrap();
    let entry = "example/cluster/prod/passwd/bob";
    store.insert(entry, &format!("{}\n", hash.expose()));
    let changes = CHANGES.iter().enumerate();
    let attacks =
        changes.flat_map(|(number, change)| ways(number).into_iter().map(move |way| (change, way)));
    let attacks: VecDeque<_> = attacks.collect();
    let wanted = attacks.len();
    let waiting = Mutex::new(attacks);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in &lanes {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop_back();
                    let Some((change, way)) = next else {
                        break;
                    };
                    let (told, trouble) = lane.attack(lab, &store, change, way);
                    done.lock().unwrap().push((told, trouble));
                }
            });
        }
    });
    end(lab, &nodes, done.into_inner().unwrap(), wanted);
    for node in nodes {
        lab.at_rest(node);
    }
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
    assert!(idle(&lab, BAD, &[told.run]).is_empty(), "{}", told.all());
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
