//! Entries of doc/runbook.md, each command as the page has it.

mod nodes;

use std::fs;

use crate::support::pass::PassStore;
use crate::support::{self, Lab, PASSWORD, Ran, Repo, Tool};

const PLAIN: &str = "consul.enable = false; nomad.enable = false; wireguard.enable = false;
    secrets.letters = { generator = \"random\"; };\n";
const CAROLS: &str = "a walrus and a carpenter";

/// The commands of an entry, in order, each as an operation and its further words.
fn commands(entry: &str) -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(support::root().join("doc/runbook.md")).unwrap();
    let (_, after) = page.split_once(&format!("\n## {entry}\n")).unwrap();
    let text = after.split("\n## ").next().unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("nix run .#"));
    lines
        .map(|line| {
            let line = line.split(" #").next().unwrap();
            let (operation, words) = line.split_once(" -- prod").unwrap();
            let words = words.split_whitespace().map(str::to_owned);
            (operation.to_owned(), words.collect())
        })
        .collect()
}

/// A command of the page, with a store, by a user.
fn run(
    (repo, lab, store): (&Repo, &Lab, &PassStore),
    (operation, words): &(String, Vec<String>),
    (user, password): (&str, &str),
    input: &str,
) -> Ran {
    let tool = Tool::new(repo, operation).store(store);
    let tool = match operation.as_str() {
        "gen-secrets" | "gen-pki" | "passwd" => tool,
        _ => tool.on(lab).env("SSH_USER", user).password(Some(password)),
    };
    // A password is typed there; here it comes by standard input.
    let typed = (!input.is_empty()).then_some("--stdin");
    let words = words.iter().map(String::as_str).chain(typed);
    words.fold(tool, Tool::arg).run_with(input)
}

const ALICE: (&str, &str) = ("alice", PASSWORD);

#[test]
fn an_administrator_comes_and_leaves() {
    let (lab, repo, store) = (Lab::bare(), Repo::with(PLAIN), PassStore::plain());
    let cluster = (&repo, &lab, &store);
    let config = fs::read_to_string(lab.ssh_config()).unwrap();
    let (_, key) = config.split_once("IdentityFile ").unwrap();
    let key = fs::read_to_string(format!("{}.pub", key.lines().next().unwrap())).unwrap();
    let carol = format!("carol.keys = [ \"{}\" ];\n      ", key.trim());
    let files = "cluster/prod/cluster.nix";
    repo.replace(files, "alice.keys", &format!("{carol}alice.keys"));

    let entry = commands("A new administrator");
    let [deploy, set, bring, prove] = entry.as_slice() else {
        panic!("{entry:?}");
    };
    run(cluster, deploy, ALICE, "").exits(0);
    run(cluster, set, ALICE, &format!("{CAROLS}\n")).exits(0);
    run(cluster, bring, ALICE, "")
        .exits(0)
        .shows("password set: carol");
    run(cluster, prove, ("carol", CAROLS), "").exits(0);

    repo.replace(files, &carol, "");
    let entry = commands("An administrator leaves");
    let named = |operation: &str| {
        let mut those = entry.iter().filter(|(name, _)| name == operation);
        those.next().unwrap().clone()
    };
    for operation in ["deploy-nixos", "passwd"] {
        run(cluster, &named(operation), ALICE, "").exits(0);
    }
    run(cluster, &named("deploy-passwords"), ALICE, "").exits(0);
    assert!(lab.holds("alder", "grep -q '^carol:!' /etc/shadow || ! id carol"));
    // What they have read is replaced.
    Tool::new(&repo, "gen-secrets").store(&store).exits(0);
    let (operation, mut words) = named("gen-secrets");
    words.iter_mut().for_each(|word| {
        if word == "NAME" {
            *word = "letters".into();
        }
    });
    run(cluster, &(operation, words), ALICE, "")
        .exits(0)
        .shows("made: letters");
    run(cluster, &named("deploy-secrets"), ALICE, "")
        .exits(0)
        .shows("written:");
}

#[test]
fn a_node_goes_back_to_what_ran_before() {
    let (lab, repo, store) = (
        Lab::with_bare(&["alder"]),
        Repo::with(PLAIN),
        PassStore::plain(),
    );
    let cluster = (&repo, &lab, &store);
    for text in ["one", "two"] {
        repo.configure(
            "alder",
            &format!("{{ environment.etc.\"nixcfg-test\".text = \"{text}\"; }}"),
        );
        Tool::deploy(&repo, &lab).arg("alder").exits(0);
    }
    let text = || lab.root("alder", "cat /etc/nixcfg-test");
    let entry = commands("Back to what ran before");
    let [list, before, to] = entry.as_slice() else {
        panic!("{entry:?}");
    };
    let listed = run(cluster, list, ALICE, "").exits(0);
    let numbers = listed
        .out
        .split_whitespace()
        .filter_map(|word| word.parse::<u32>().ok());
    let newest = numbers.max().unwrap().to_string();
    run(cluster, before, ALICE, "").exits(0);
    assert_eq!(text(), "one");
    let words = to.1.iter().map(|word| {
        if word == "42" {
            newest.clone()
        } else {
            word.clone()
        }
    });
    run(cluster, &(to.0.clone(), words.collect()), ALICE, "").exits(0);
    assert_eq!(text(), "two");
}
