//! `passwd` with the real `pass`, and its hashes against the system's crypt(3).

use std::process::Command;

use crate::support::pass::PassStore;
use crate::support::terminal::{Session, answer, converse};
use crate::support::{Ran, Repo, Tool, fed, root};
use base64ct::{Base64, Encoding};
use nixcfg::password::hash::{Hash, New, Password};
use nixcfg::secret::Secret;
use proptest::prelude::*;

const STRONG: &str = "looking-glass house of cards";

/// `nixcfg passwd prod …` with a line on standard input.
fn passwd(repo: &Repo, store: &PassStore, args: &[&str], input: &str) -> Ran {
    let tool = Tool::new(repo, "passwd").args(args).password(None);
    tool.store(store).run_with(input)
}

fn entry(store: &PassStore) -> String {
    store.pass(&["show", "example/cluster/prod/passwd/alice"])
}

#[test]
fn only_a_hash_is_kept_and_it_is_listed_without_being_shown() {
    let (repo, store) = (Repo::new(), PassStore::git());
    let ran = passwd(&repo, &store, &["alice", "--stdin"], &format!("{STRONG}\n"))
        .exits(0)
        .shows("sha512crypt");
    let kept = entry(&store);
    let (hash, rest) = kept.split_once('\n').unwrap();
    assert!(
        rest.starts_with("set: 20") && rest.lines().count() == 1,
        "{rest}"
    );
    let hash: Hash = hash.parse().unwrap();
    let password = Password::new(Secret::new(STRONG.into())).unwrap();
    assert_eq!(hash.fits(&password), Some(true));
    let listed = passwd(&repo, &store, &["--list"], "")
        .exits(0)
        .shows("alice")
        .shows("sha512crypt since 20");
    for text in [&ran.out, &ran.err, &listed.out, &listed.err, &kept] {
        assert!(!text.contains(STRONG));
    }
    for text in [&ran.out, &ran.err, &listed.out, &listed.err] {
        assert!(!text.contains("$6$"), "{text}");
    }
    assert_eq!(
        store.history(&store.root())[0],
        "Set the password of alice on prod"
    );
    assert_eq!(store.uncommitted(&store.root()), "");
}

#[test]
fn a_password_is_replaced_by_another_scheme_and_removed() {
    let (repo, store) = (Repo::new(), PassStore::plain());
    passwd(&repo, &store, &["alice", "--stdin"], STRONG).exits(0);
    passwd(
        &repo,
        &store,
        &["alice", "--stdin", "--scheme", "yescrypt"],
        STRONG,
    )
    .exits(0);
    assert!(entry(&store).starts_with("$y$j9T$"));
    passwd(&repo, &store, &["alice", "--remove"], "").exits(0);
    passwd(&repo, &store, &["--list"], "")
        .exits(0)
        .shows_of("alice", "no password");
    passwd(&repo, &store, &["alice", "--remove"], "")
        .exits(2)
        .tells("has no password in the store");
}

#[test]
fn what_an_operator_may_get_wrong_changes_nothing_and_ends_with_2() {
    let (repo, store) = (Repo::new(), PassStore::plain());
    passwd(&repo, &store, &["alice", "--stdin"], STRONG).exits(0);
    let before = entry(&store);
    passwd(&repo, &store, &["alcie", "--stdin"], STRONG)
        .exits(2)
        .tells("no administrator")
        .tells("did you mean ‘alice’?");
    for input in ["", "\n"] {
        passwd(&repo, &store, &["alice", "--stdin"], input)
            .exits(2)
            .tells("the password is empty");
    }
    passwd(&repo, &store, &["alice", "--stdin"], "a\nb\n")
        .exits(2)
        .tells("control character");
    passwd(&repo, &store, &["alice", "--stdin"], &"x".repeat(300))
        .exits(2)
        .tells("300 bytes");
    let weak = passwd(&repo, &store, &["alice", "--stdin"], "wonderland")
        .exits(2)
        .tells("too weak")
        .tells("--force");
    assert!(!weak.err.contains("wonderland"));
    for name in ["al:ice", "al\nice", "-alice", "../alice", ""] {
        passwd(&repo, &store, &["--stdin", "--", name], STRONG).exits(2);
    }
    passwd(
        &repo,
        &store,
        &["alice", "--stdin", "--scheme", "md5"],
        STRONG,
    )
    .exits(2);
    passwd(&repo, &store, &["alice", "--remove", "--stdin"], STRONG).exits(2);
    passwd(&repo, &store, &[], STRONG).exits(2);
    passwd(&repo, &store, &["alice"], STRONG).exits(2);
    assert_eq!(entry(&store), before);
    passwd(
        &repo,
        &store,
        &["alice", "--stdin", "--force"],
        "wonderland",
    )
    .exits(0);
    assert_ne!(entry(&store), before);
}

#[test]
fn a_hash_of_a_refused_scheme_in_the_store_is_told_without_showing_it() {
    let (repo, store) = (Repo::new(), PassStore::plain());
    store.insert(
        "example/cluster/prod/passwd/alice",
        "$5$saltsalt$digestdigest",
    );
    let listed = passwd(&repo, &store, &["--list"], "")
        .exits(0)
        .shows("‘$5$’, which NixOS refuses");
    assert!(!listed.out.contains("digestdigest"));
}

/// Types a line after each of the two prompts.
fn typed(repo: &Repo, store: &PassStore, lines: [&str; 2]) -> Session {
    let tool = Tool::new(repo, "passwd").arg("alice").password(None);
    let [first, second] = lines.map(|line| format!("{line}\n"));
    converse(
        &tool.store(store).into_command(),
        &[("prod: ", &first), ("again: ", &second)],
    )
}

#[test]
fn a_terminal_asks_twice_and_shows_nothing_of_what_is_typed() {
    let (repo, store) = (Repo::new(), PassStore::plain());
    let session = typed(&repo, &store, [STRONG, "something else"]);
    assert_eq!(session.code, 2, "{}", session.shown);
    assert!(session.shown.contains("not the same"), "{}", session.shown);
    assert!(!session.shown.contains(STRONG) && session.echoes);
    let session = typed(&repo, &store, [STRONG, STRONG]);
    assert_eq!(session.code, 0, "{}", session.shown);
    assert!(!session.shown.contains(STRONG) && session.echoes);
    assert!(entry(&store).starts_with("$6$"));
}

#[test]
fn stopped_at_the_prompt_and_brought_back_it_shows_nothing_of_what_is_typed() {
    let (repo, store) = (Repo::new(), PassStore::plain());
    let tool = Tool::new(&repo, "passwd").arg("alice").password(None);
    let tool = tool.store(&store).into_command();
    let words: Vec<_> = [tool.get_program()]
        .into_iter()
        .chain(tool.get_args())
        .collect();
    let line = words.join(" ".as_ref()).into_string().unwrap();
    // The tool is stopped at its prompt; the shell sets its own terminal modes, and continues the tool.
    let file = repo.path().join("pid");
    let pid = file.display();
    let script = format!(
        "set -m; sh -c 'echo $$ >{pid}; exec {line}'; stty sane; echo stopped here; fg; echo ended with $?"
    );
    let script_file = repo.path().join("script");
    std::fs::write(&script_file, script).unwrap();
    let mut shell = Command::new("sh");
    shell.arg(&script_file).current_dir(repo.path());
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let stop = || {
        let number = std::fs::read_to_string(&file).unwrap();
        let stopped = Command::new("kill").args(["-TSTP", number.trim()]).status();
        assert!(stopped.unwrap().success());
    };
    let session = answer(
        &shell,
        &mut [
            ("prod: ", &mut || {
                stop();
                String::new()
            }),
            ("stopped here", &mut || {
                until_quiet(&file);
                format!("{STRONG}\n")
            }),
            ("again: ", &mut || format!("{STRONG}\n")),
        ],
    );
    assert!(session.shown.contains("ended with 0"), "{}", session.shown);
    assert!(!session.shown.contains(STRONG), "{}", session.shown);
    assert!(session.echoes, "{}", session.shown);
    assert!(entry(&store).starts_with("$6$"));
}

/// Waits until the terminal of a process, whose ID is in a file, has no echo again. Input before that is
/// the shell's.
fn until_quiet(file: &std::path::Path) {
    let number = std::fs::read_to_string(file).unwrap();
    let tty = std::fs::read_link(format!("/proc/{}/fd/0", number.trim())).unwrap();
    for _ in 0..600 {
        let told = Command::new("stty")
            .arg("-F")
            .arg(&tty)
            .arg("-a")
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        if told.contains("-echo ") && told.contains("-icanon") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the echo stays on");
}

/// The verdicts of crypt(3) on passwords and their hashes.
fn agree(pairs: &[(&str, Hash)]) {
    let lines: String = pairs
        .iter()
        .map(|(password, hash)| {
            let word = |text: &str| Base64::encode_string(text.as_bytes());
            format!("{} {}\n", word(password), word(hash.expose()))
        })
        .collect();
    let mut hashes = Command::new(root().join("checks/hashes.py"));
    let output = fed(&mut hashes, &lines).wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        pairs.len().to_string(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn hashes(text: &str, rounds: u32) -> Vec<(&str, Hash)> {
    let password = Password::new(Secret::new(text.to_owned())).unwrap();
    let hashes = [
        Hash::sha512crypt(&password, rounds).unwrap(),
        Hash::new(&password, New::Yescrypt).unwrap(),
    ];
    for hash in &hashes {
        assert_eq!(hash.fits(&password), Some(true));
    }
    hashes.map(|hash| (text, hash)).into()
}

#[test]
fn libxcrypt_python_and_mkpasswd_agree_with_long_and_foreign_passwords() {
    let password = Password::new(Secret::new(STRONG.into())).unwrap();
    let mut pairs = vec![(STRONG, Hash::new(&password, New::Sha512crypt).unwrap())];
    let long = "0123456789".repeat(20);
    let longest = "ä".repeat(127);
    for text in [
        "a",
        " leading and trailing ",
        "żółć 密码 🐇",
        "$6$x:y\\'\"`",
        &long,
        &longest,
    ] {
        pairs.extend(hashes(text, 5_000));
    }
    agree(&pairs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn libxcrypt_python_and_mkpasswd_agree_with_every_hash(text in "\\PC{1,60}", rounds in 1_000_u32..9_000) {
        agree(&hashes(&text, rounds));
    }
}
