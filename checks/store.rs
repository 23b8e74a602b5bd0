//! The store against the real `pass`, GnuPG and Git.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::pass::{PassStore, inside, run, said};
use nixcfg::error::{Error, Exit};
use nixcfg::secret::Secret;
use nixcfg::store::pass::Pass;
use nixcfg::store::{EntryName, Existing, Store, Writer};

const FOLDER: &str = "example/cluster/prod";

fn store() -> Pass {
    Pass::open(FOLDER.parse().unwrap()).unwrap()
}

fn name(text: &str) -> EntryName {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> BTreeSet<EntryName> {
    texts.iter().map(|text| name(text)).collect()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Writes an entry that is not there yet.
async fn insert(writer: &mut impl Writer, entry: &str, text: &str) {
    let (entry, value) = (name(entry), secret(text));
    let done = writer.insert(&entry, &value, Existing::Keep);
    done.await.unwrap();
}

async fn shown(entry: &str) -> Result<String, Error> {
    let values = store().show(&names(&[entry])).await?;
    Ok(values[&name(entry)].expose().to_owned())
}

#[tokio::test]
async fn what_is_inserted_is_listed_and_shown_byte_for_byte() {
    if !inside() {
        return PassStore::plain().inside("what_is_inserted_is_listed_and_shown_byte_for_byte");
    }
    assert_eq!(store().list().await.unwrap(), BTreeSet::new());
    let text = "-----BEGIN X-----\nabc=\n-----END X-----\n";
    let mut writer = store().writer().await.unwrap();
    for entry in ["a.key", "passwd/alice"] {
        insert(&mut writer, entry, text).await;
    }
    writer.finish(&names(&["a.key"]), "x").await.unwrap();
    assert_eq!(
        store().list().await.unwrap(),
        names(&["a.key", "passwd/alice"])
    );
    assert_eq!(shown("a.key").await.unwrap(), text);
    assert_eq!(shown("passwd/alice").await.unwrap(), text);
}

#[tokio::test]
async fn an_entry_is_replaced_only_when_asked() {
    if !inside() {
        return PassStore::plain().inside("an_entry_is_replaced_only_when_asked");
    }
    let mut writer = store().writer().await.unwrap();
    insert(&mut writer, "a", "first").await;
    let error = writer
        .insert(&name("a"), &secret("second"), Existing::Keep)
        .await
        .unwrap_err();
    assert!(error.what.contains("exists already"), "{error}");
    assert_eq!(shown("a").await.unwrap(), "first");
    writer
        .insert(&name("a"), &secret("third"), Existing::Replace)
        .await
        .unwrap();
    assert_eq!(shown("a").await.unwrap(), "third");
    writer.remove(&name("a")).await.unwrap();
    assert_eq!(store().list().await.unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn a_run_is_one_commit_and_a_run_without_change_is_none() {
    if !inside() {
        let store = PassStore::git();
        store.inside("a_run_is_one_commit_and_a_run_without_change_is_none");
        assert_eq!(
            store.history(&store.root()),
            ["take it away", "make three", "begin"]
        );
        assert_eq!(store.uncommitted(&store.root()), "");
        return;
    }
    let all = names(&["a", "b", "c", "never made"]);
    let mut writer = store().writer().await.unwrap();
    for entry in ["a", "b", "c"] {
        insert(&mut writer, entry, "x").await;
    }
    writer.finish(&all, "make three").await.unwrap();
    store()
        .writer()
        .await
        .unwrap()
        .finish(&all, "nothing")
        .await
        .unwrap();
    let mut writer = store().writer().await.unwrap();
    writer.remove(&name("b")).await.unwrap();
    writer.finish(&all, "take it away").await.unwrap();
}

#[tokio::test]
async fn what_an_interrupted_run_left_is_committed_by_the_next_and_nothing_else_is() {
    if !inside() {
        let store = PassStore::git();
        store.inside("what_an_interrupted_run_left_is_committed_by_the_next_and_nothing_else_is");
        assert_eq!(store.history(&store.root()), ["make two", "begin"]);
        assert_eq!(
            store.uncommitted(&store.root()),
            "?? example/cluster/prod/foreign.gpg\n"
        );
        return;
    }
    let mut writer = store().writer().await.unwrap();
    for entry in ["a", "foreign"] {
        insert(&mut writer, entry, "x").await;
    }
    drop(writer);
    let mut writer = store().writer().await.unwrap();
    insert(&mut writer, "b", "x").await;
    writer
        .finish(&names(&["a", "b"]), "make two")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_repository_inside_the_store_is_the_one_that_is_committed_to() {
    if !inside() {
        let store = PassStore::git();
        let inner = store.root().join("example");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("readme"), "").unwrap();
        store.begin_history(&inner);
        store.inside("a_repository_inside_the_store_is_the_one_that_is_committed_to");
        assert_eq!(store.history(&inner), ["make one", "begin"]);
        assert_eq!(store.history(&store.root()), ["begin"]);
        return;
    }
    let mut writer = store().writer().await.unwrap();
    insert(&mut writer, "a", "x").await;
    writer.finish(&names(&["a"]), "make one").await.unwrap();
}

#[tokio::test]
async fn a_second_writer_fails_at_once_while_readers_go_on() {
    if !inside() {
        return PassStore::git().inside("a_second_writer_fails_at_once_while_readers_go_on");
    }
    let mut writer = store().writer().await.unwrap();
    insert(&mut writer, "a", "x").await;
    let error = store().writer().await.unwrap_err();
    assert!(error.what.contains("another nixcfg writes"), "{error}");
    assert_eq!(shown("a").await.unwrap(), "x");
    drop(writer);
    assert!(store().writer().await.is_ok());
}

/// Whether a process has `text` in its environment.
fn in_environment(text: &str) -> bool {
    let environments = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("environ")).ok());
    environments
        .into_iter()
        .any(|environment| String::from_utf8_lossy(&environment).contains(text))
}

#[tokio::test]
async fn writers_that_are_killed_leave_whole_entries_and_a_store_that_can_be_written() {
    let this = "writers_that_are_killed_leave_whole_entries_and_a_store_that_can_be_written";
    if !inside() {
        let store = PassStore::git();
        for round in 0..6_u64 {
            let mut child = store
                .rerun(this)
                .env("ROUND", round.to_string())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // At different points of a write, after some entries exist.
            let folder = store.root().join(FOLDER).join(round.to_string());
            while std::fs::read_dir(&folder).map_or(0, Iterator::count) < 2 {
                assert!(child.try_wait().unwrap().is_none());
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            std::thread::sleep(std::time::Duration::from_millis(9 * round));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // Children of killed processes may still write to their staging folders.
        while in_environment(&format!(
            "{}/{FOLDER}/.nixcfg-stage",
            store.root().display()
        )) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let last = store.rerun(this).env("ROUND", "last").output().unwrap();
        assert!(last.status.success(), "{}", said(&last));
        assert_eq!(store.uncommitted(&store.root()), "");
        return;
    }
    let round = std::env::var("ROUND").unwrap();
    let text = |entry: &EntryName| format!("{entry}\n").repeat(500);
    // The kernel releases a killed writer's lock a moment later.
    let mut writer = loop {
        if let Ok(writer) = store().writer().await {
            break writer;
        }
    };
    if round != "last" {
        for n in 0..1000 {
            let entry = name(&format!("{round}/{n}"));
            insert(&mut writer, entry.as_str(), &text(&entry)).await;
        }
    }
    let all = store().list().await.unwrap();
    assert!(!all.is_empty());
    for (entry, value) in store().show(&all).await.unwrap() {
        assert_eq!(value.expose(), text(&entry));
    }
    writer.finish(&all, "complete").await.unwrap();
    let left: Vec<_> =
        std::fs::read_dir(std::env::var("PASSWORD_STORE_DIR").unwrap() + "/" + FOLDER)
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".nixcfg")
            })
            .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn many_entries_are_read_at_once_and_all_arrive() {
    if !inside() {
        return PassStore::plain().inside("many_entries_are_read_at_once_and_all_arrive");
    }
    let mut writer = store().writer().await.unwrap();
    let all: Vec<String> = (0..64).map(|n| format!("entry{n}")).collect();
    for entry in &all {
        insert(&mut writer, entry, entry).await;
    }
    let all: BTreeSet<EntryName> = all.iter().map(|entry| name(entry)).collect();
    let values = store().show(&all).await.unwrap();
    assert_eq!(values.len(), 64);
    for (entry, value) in values {
        assert_eq!(value.expose(), entry.as_str());
    }
}

#[tokio::test]
async fn no_secret_is_among_the_arguments_of_any_program() {
    let this = "no_secret_is_among_the_arguments_of_any_program";
    if !inside() {
        let store = PassStore::git();
        let bin = store.scratch().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for program in ["pass", "gpg", "git"] {
            let real = run(Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]));
            let file = bin.join(program);
            std::fs::write(&file, format!("#!/bin/sh\nprintf '%s\\n' {program} \"$@\" >> {0}/seen\nenv >> {0}/seen\nexec {1} \"$@\"\n", store.scratch().display(), real.trim())).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = store.rerun(this).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let seen = std::fs::read_to_string(store.scratch().join("seen")).unwrap();
        for word in ["insert", "show", "--decrypt", "commit"] {
            assert!(
                seen.lines()
                    .any(|line| line == word || (word == "--decrypt" && line == "-d")),
                "{word} was not seen"
            );
        }
        assert!(!seen.contains("hunter2"));
        return;
    }
    let mut writer = store().writer().await.unwrap();
    insert(&mut writer, "a", "hunter2").await;
    writer.finish(&names(&["a"]), "make one").await.unwrap();
    assert_eq!(shown("a").await.unwrap(), "hunter2");
}

/// Runs `test` inside `store`, and asserts that it prints an error with `words` and exit code 2.
fn trouble(store: &PassStore, test: &str, words: &str) {
    let output = store.rerun(test).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains(words), "{}", said(&output));
}

/// Writes and reads entries, and prints the error.
async fn goes_wrong() {
    let written = async {
        let mut writer = store().writer().await?;
        writer
            .insert(&name("b"), &secret("x"), Existing::Replace)
            .await
    };
    let error = match written.await {
        Err(error) => error,
        Ok(()) => shown("a").await.unwrap_err(),
    };
    println!("{error}");
    assert_eq!(error.exit, Exit::Usage);
    assert!(error.help.is_some());
}

#[tokio::test]
async fn a_store_that_is_not_initialised_is_named() {
    let this = "a_store_that_is_not_initialised_is_named";
    if inside() {
        goes_wrong().await
    } else {
        trouble(&PassStore::empty(), this, "is not initialised")
    }
}

#[tokio::test]
async fn an_entry_for_someone_else_is_told_from_a_busy_agent() {
    let this = "an_entry_for_someone_else_is_told_from_a_busy_agent";
    if inside() {
        return goes_wrong().await;
    }
    let (store, other) = (PassStore::plain(), PassStore::plain());
    other.insert(&format!("{FOLDER}/a"), "x");
    let file = format!("{FOLDER}/a.gpg");
    std::fs::create_dir_all(store.root().join(FOLDER)).unwrap();
    std::fs::copy(other.root().join(&file), store.root().join(&file)).unwrap();
    trouble(&store, this, "is not encrypted for a key that you have");
}

#[tokio::test]
async fn a_locked_key_is_named_as_such() {
    let this = "a_locked_key_is_named_as_such";
    if inside() {
        return goes_wrong().await;
    }
    let store = PassStore::empty();
    store.key("locked", "a passphrase");
    store.pass(&["init", "locked"]);
    store.insert(&format!("{FOLDER}/a"), "x");
    // The agent forgets the passphrase of the key.
    run(store.in_env(Command::new("gpgconf").args(["--kill", "gpg-agent"])));
    trouble(&store, this, "your GPG key is locked");
}

#[tokio::test]
async fn a_recipient_without_a_known_key_is_named_as_such() {
    let this = "a_recipient_without_a_known_key_is_named_as_such";
    if inside() {
        return goes_wrong().await;
    }
    let store = PassStore::plain();
    std::fs::write(store.root().join(".gpg-id"), "nobody@example.org\n").unwrap();
    trouble(&store, this, "cannot be encrypted for everyone");
}

#[tokio::test]
async fn a_recipient_that_pass_would_leave_out_is_named() {
    let this = "a_recipient_that_pass_would_leave_out_is_named";
    if inside() {
        return goes_wrong().await;
    }
    let store = PassStore::plain();
    let list = store.root().join(".gpg-id");
    let mut keys = std::fs::read_to_string(&list).unwrap();
    keys.push_str("nobody@example.org");
    std::fs::write(&list, keys).unwrap();
    trouble(&store, this, "would not encrypt for ‘nobody@example.org’");
}

#[tokio::test]
async fn an_entry_that_is_missing_is_named() {
    let this = "an_entry_that_is_missing_is_named";
    if inside() {
        goes_wrong().await
    } else {
        trouble(
            &PassStore::plain(),
            this,
            "example/cluster/prod/a is not in the password store",
        )
    }
}

#[tokio::test]
async fn a_machine_without_pass_is_told_so() {
    let this = "a_machine_without_pass_is_told_so";
    if inside() {
        return goes_wrong().await;
    }
    let store = PassStore::plain();
    let output = store.rerun(this).env("PATH", "/nowhere").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("pass is not on PATH"),
        "{}",
        said(&output)
    );
}
