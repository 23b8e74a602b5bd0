//! The recipients of entries that operations write, by what `pass` can decrypt with each person's keys.

use crate::support::pass::{self, PassStore};
use crate::support::{Ran, Repo, Tool};

const PASSWORD: &str = "looking-glass house of cards";
const FOLDER: &str = "example/cluster/prod";

/// A secret of the cluster, and one for each node.
const SECRETS: &str = r#"
    secrets.letters.generator = "random";
    secrets.host = { generator = "ssh-host"; perNode = true; };
    wireguard.enable = false;
"#;

fn repo() -> Repo {
    Repo::with(SECRETS)
}

/// Runs an operation as the operator, with more variables.
fn operation(
    repo: &Repo,
    store: &PassStore,
    operation: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Ran {
    let tool = Tool::new(repo, operation).args(args).password(None);
    let tool = tool.store(store);
    let tool = env
        .iter()
        .fold(tool, |tool, (name, value)| tool.env(name, value));
    tool.run_with(&format!("{PASSWORD}\n"))
}

/// All entries of the cluster.
fn entries(store: &PassStore) -> Vec<String> {
    let root = store.root();
    let found = pass::run(
        std::process::Command::new("find")
            .arg(root.join(FOLDER))
            .args(["-name", "*.gpg", "-printf", "%P\\n"]),
    );
    let mut entries: Vec<String> = found
        .lines()
        .map(|name| name.strip_suffix(".gpg").unwrap().to_owned())
        .collect();
    entries.sort();
    entries
}

#[test]
fn each_entry_is_for_those_whom_the_nearest_gpg_id_names() {
    let (repo, store) = (repo(), PassStore::git());
    let (bob, carol) = (store.reader("bob"), store.reader("carol"));
    // The operator can write all entries, and read those outside others' folders.
    for (folder, whose) in [
        (FOLDER.to_owned(), &["tester", "bob"][..]),
        (format!("{FOLDER}/passwd"), &["carol"]),
        (format!("{FOLDER}/secrets"), &["tester", "carol"]),
        (format!("{FOLDER}/secrets/host"), &["tester", "bob"]),
    ] {
        store.pass(&[&["init", "-p", &folder], whose].concat());
    }
    let run = |name: &str, args: &[&str]| operation(&repo, &store, name, args, &[]).exits(0);
    run("passwd", &["alice", "--stdin"]);
    run("gen-secrets", &[]);
    run("gen-pki", &[]);
    run(
        "gen-secrets",
        &["--rotate", "letters", "--rotate", "host/birch"],
    );
    run("passwd", &["alice", "--stdin"]);
    let all = entries(&store);
    for some in [
        "passwd/alice",
        "secrets/letters",
        "secrets/host/birch",
        "nomad-ca.key",
    ] {
        assert!(all.iter().any(|entry| entry == some), "{some}: {all:?}");
    }
    for entry in &all {
        let place = format!("{FOLDER}/{entry}");
        let (by_bob, by_carol) = match entry.split('/').collect::<Vec<_>>()[..] {
            ["passwd", _] | ["secrets", _] => (false, true),
            _ => (true, false),
        };
        assert_eq!(bob.reads(&store, &place).is_some(), by_bob, "bob, {entry}");
        assert_eq!(
            carol.reads(&store, &place).is_some(),
            by_carol,
            "carol, {entry}"
        );
    }
    // The operator wrote entries that they cannot read, and gets their names.
    operation(&repo, &store, "passwd", &["--list"], &[])
        .exits(2)
        .tells("prod/passwd/alice is not encrypted for a key that you have");
    assert_eq!(store.uncommitted(&store.root()), "");
}

#[test]
fn a_folder_below_may_be_the_only_one_that_says_for_whom() {
    let (repo, store) = (repo(), PassStore::empty());
    store.key("tester", "");
    store.pass(&["init", "-p", &format!("{FOLDER}/passwd"), "tester"]);
    operation(&repo, &store, "passwd", &["alice", "--stdin"], &[]).exits(0);
    operation(&repo, &store, "passwd", &["--list"], &[])
        .exits(0)
        .shows("sha512crypt");
    operation(&repo, &store, "gen-pki", &[], &[])
        .exits(2)
        .tells("is not initialised");
    assert_eq!(entries(&store), ["passwd/alice"]);
}

#[test]
fn the_signature_that_counts_is_that_of_the_nearest_gpg_id() {
    let (repo, store) = (repo(), PassStore::plain());
    let bob = store.reader("bob");
    let key = store.fingerprint("tester");
    let signed = [("PASSWORD_STORE_SIGNING_KEY", key.as_str())];
    let init = |args: &[&str]| {
        let mut command = std::process::Command::new("pass");
        command.arg("init").args(args).envs(signed);
        pass::run(store.in_env(&mut command))
    };
    let folder = format!("{FOLDER}/passwd");
    init(&["tester"]);
    init(&["-p", &folder, "tester"]);
    let set = || operation(&repo, &store, "passwd", &["alice", "--stdin"], &signed);
    set().exits(0);
    let entry = format!("{folder}/alice");
    let before = store.pass(&["show", &entry]);

    // Someone with write access but without a signing key adds a reader.
    let file = store.root().join(&folder).join(".gpg-id");
    std::fs::write(&file, "tester\nbob\n").unwrap();
    let refused = format!("{folder}/.gpg-id is not signed by a key of PASSWORD_STORE_SIGNING_KEY");
    set().exits(2).tells(&refused);
    std::fs::remove_file(store.root().join(&folder).join(".gpg-id.sig")).unwrap();
    set().exits(2).tells(&refused);
    assert_eq!(store.pass(&["show", &entry]), before);
    assert_eq!(bob.reads(&store, &entry), None);
    // Elsewhere the signature is good, and the tool refuses a key that did not sign.
    operation(&repo, &store, "gen-secrets", &[], &signed).exits(0);
    let other = [("PASSWORD_STORE_SIGNING_KEY", &*store.fingerprint("bob"))];
    operation(&repo, &store, "gen-pki", &[], &other)
        .exits(2)
        .tells("/.gpg-id is not signed by");
    init(&["-p", &folder, "tester", "bob"]);
    set().exits(0);
    assert_ne!(bob.reads(&store, &entry), None);
}
