//! `deploy-passwords` on the lab's nodes: their real PAM, sudo, su and chpasswd.

use std::fs;
use std::process::Command;

use crate::support::accounts::{Accounts, bcrypt};
use crate::support::terminal::converse;
use crate::support::{self, NODES, PASSWORD, Ran, Tool, root, start_sshd, stop_sshd};

const NEW: &str = "looking-glass house of cards";
const BOBS: &str = "a walrus and a carpenter";

#[test]
fn the_new_password_works_and_the_old_does_not_through_sudo_and_su_on_every_node() {
    let s = Accounts::bare();
    let hash = s.set("alice", NEW);
    s.run(PASSWORD, &["--user", "alice", "--stdin"], NEW)
        .exits(0)
        .shows("3 nodes as wanted");
    for node in NODES {
        assert!(
            s.sudo(node, "alice", NEW) && s.su(node, "alice", NEW),
            "{node}"
        );
        assert!(
            !s.sudo(node, "alice", PASSWORD) && !s.su(node, "alice", PASSWORD),
            "{node}"
        );
        // A reader of the store finds no password.
        assert!(
            !s.sudo(node, "alice", &hash) && !s.su(node, "alice", &hash),
            "{node}"
        );
        assert_eq!(s.file(node, "alice"), format!("root root 600\n{hash}"));
        assert_eq!(
            s.lab
                .root(node, "stat -c '%U %a' /var/lib/nixcfg/passwords"),
            "root 700"
        );
        s.assert_tidy(node);
    }
    let before = s.lab.root(
        "alder",
        "stat -c '%i %z' /etc/shadow /var/lib/nixcfg/passwords/alice",
    );
    s.run(NEW, &[], "")
        .exits(0)
        .shows_of("alder", "unchanged")
        .tells("bob has no password in the store");
    assert_eq!(
        s.lab.root(
            "alder",
            "stat -c '%i %z' /etc/shadow /var/lib/nixcfg/passwords/alice"
        ),
        before
    );
}

#[test]
fn another_administrators_password_changes_without_a_word_about_ones_own() {
    let s = Accounts::bare();
    s.set("bob", BOBS);
    s.run(PASSWORD, &["--user", "bob", "birch"], "")
        .exits(0)
        .shows("password set: bob");
    assert!(s.sudo("birch", "bob", BOBS) && !s.sudo("birch", "bob", "wonderland-bob"));
    assert!(
        s.sudo("alder", "bob", "wonderland-bob"),
        "only the node that was named"
    );
    assert!(s.sudo("birch", "alice", PASSWORD));
}

#[test]
fn a_new_password_that_is_not_the_stores_changes_nothing() {
    let s = Accounts::bare();
    s.set("alice", NEW);
    s.run(PASSWORD, &["--stdin"], "something else\n")
        .exits(2)
        .tells("not the password of alice")
        .tells("nothing was changed");
    s.run(PASSWORD, &[], "")
        .exits(2)
        .tells("no terminal to ask");
    for node in NODES {
        assert!(s.sudo(node, "alice", PASSWORD));
        assert_eq!(s.file(node, "alice"), "none");
    }
}

#[test]
fn a_terminal_is_asked_for_ones_own_new_password_and_does_not_show_it() {
    let s = Accounts::bare();
    s.set("alice", NEW);
    for (typed, code, says) in [
        ("something else", 2, "nothing was changed"),
        (NEW, 0, "password set: alice"),
    ] {
        let session = converse(
            &s.command(PASSWORD, &["alder"]),
            &[("as set by passwd: ", &format!("{typed}\n"))],
        );
        assert_eq!(session.code, code, "{}", session.shown);
        assert!(session.shown.contains(says), "{}", session.shown);
        assert!(!session.shown.contains(typed) && session.echoes);
        assert_eq!(s.sudo("alder", "alice", NEW), code == 0);
    }
}

#[test]
fn without_knowing_the_new_password_a_login_is_proved_alone() {
    let s = Accounts::bare();
    s.set("alice", NEW);
    s.run(PASSWORD, &["--assume-changed", "alder"], "")
        .exits(0)
        .shows("password set: alice");
    assert!(s.sudo("alder", "alice", NEW));
}

#[test]
fn where_sudo_is_not_proved_everything_is_put_back_and_a_rerun_completes_it() {
    let s = Accounts::bare();
    let old = s.shadow("alder", "alice");
    s.put("alice", &bcrypt(NEW));
    let ran = s
        .run(PASSWORD, &["--stdin", "alder", "birch"], "something else")
        .exits(5);
    ran.tells("cannot become root")
        .tells("everything was put back as it was")
        .tells("deploy-passwords prod alder birch");
    assert_eq!(s.shadow("alder", "alice"), old);
    assert_eq!(s.file("alder", "alice"), "none");
    assert!(s.sudo("alder", "alice", PASSWORD));
    s.assert_tidy("alder");
    s.run(PASSWORD, &["--stdin", "alder", "birch"], NEW)
        .exits(0);
    assert!(s.sudo("alder", "alice", NEW));
}

#[test]
fn where_no_new_login_is_possible_everything_is_put_back() {
    let s = Accounts::bare();
    let (old, hash) = (s.shadow("alder", "bob"), s.set("bob", BOBS));
    s.hold_chpasswd("alder");
    let child = s.start(PASSWORD, &["--user", "bob", "alder"], "");
    s.lab.until("alder", "[ -e /run/held ]");
    assert!(s.file("alder", "bob").ends_with(&hash));
    s.lab.root("alder", stop_sshd());
    s.release_chpasswd("alder");
    Ran::from(child.wait_with_output().unwrap())
        .exits(5)
        .tells("everything was put back");
    s.lab.root("alder", start_sshd());
    assert_eq!(
        (s.shadow("alder", "bob"), s.file("alder", "bob").as_str()),
        (old, "none")
    );
    s.assert_tidy("alder");
}

#[test]
fn a_tool_that_dies_between_the_file_and_chpasswd_leaves_all_as_it_was() {
    let s = Accounts::bare();
    let old = s.shadow("alder", "alice");
    s.set("alice", NEW);
    s.hold_chpasswd("alder");
    let mut child = s.start(PASSWORD, &["--stdin", "alder"], NEW);
    s.lab.until("alder", "[ -e /run/held ]");
    assert_ne!(s.file("alder", "alice"), "none");
    child.kill().unwrap();
    child.wait().unwrap();
    s.release_chpasswd("alder");
    s.lab
        .until("alder", "! [ -e /var/lib/nixcfg/passwords/alice ]");
    s.lab
        .until("alder", "! pgrep -f [n]ixcfg-passwords >/dev/null");
    assert_eq!(s.shadow("alder", "alice"), old);
    s.assert_tidy("alder");
    s.run(PASSWORD, &["--stdin", "alder"], NEW).exits(0);
    assert!(s.sudo("alder", "alice", NEW));
}

#[test]
fn a_power_cut_between_the_file_and_chpasswd_locks_nobody_out_and_a_rerun_completes_it() {
    let s = Accounts::bare();
    let hash = s.set("alice", NEW);
    s.hold_chpasswd("alder");
    let child = s.start(PASSWORD, &["--stdin", "alder"], NEW);
    s.lab.until("alder", "[ -e /run/held ]");
    s.lab.fault("alder", &["kill"]);
    Ran::from(child.wait_with_output().unwrap())
        .exits(5)
        .tells("alder");
    s.lab.fault("alder", &["start"]);
    s.release_chpasswd("alder");
    assert!(s.sudo("alder", "alice", PASSWORD));
    s.run(PASSWORD, &["--stdin", "alder"], NEW).exits(0);
    assert!(s.sudo("alder", "alice", NEW));
    assert_eq!(s.file("alder", "alice"), format!("root root 600\n{hash}"));
    s.assert_tidy("alder");
}

#[test]
fn no_hash_and_no_password_is_in_an_argument_list_an_environment_or_a_log() {
    let s = Accounts::bare();
    let hash = s.set("alice", NEW);
    s.hold_chpasswd("alder");
    let child = s.start(PASSWORD, &["--stdin", "alder"], NEW);
    s.lab.until("alder", "[ -e /run/held ]");
    let own = std::process::id();
    let mut looked_at = 0;
    // This machine shows the nodes' processes as well.
    for process in fs::read_dir("/proc").unwrap().flatten() {
        if process.file_name().to_string_lossy() == own.to_string() {
            continue;
        }
        for what in ["cmdline", "environ"] {
            if let Ok(bytes) = fs::read(process.path().join(what)) {
                let text = String::from_utf8_lossy(&bytes);
                looked_at += usize::from(text.contains("nixcfg-passwords"));
                assert!(
                    !text.contains(&hash) && !text.contains(NEW),
                    "{:?}/{what}",
                    process.path()
                );
            }
        }
    }
    assert!(
        looked_at > 0,
        "the node's own side is among what was looked at"
    );
    s.release_chpasswd("alder");
    let ran = Ran::from(child.wait_with_output().unwrap()).exits(0);
    let digest = hash.rsplit('$').next().unwrap();
    for (what, text) in [
        ("output", ran.out + &ran.err),
        (
            "journal",
            s.lab
                .root("alder", "journalctl --sync; journalctl --no-pager --all"),
        ),
    ] {
        assert!(
            !text.contains(digest) && !text.contains(NEW) && !text.contains(PASSWORD),
            "{what}"
        );
    }
    let found = s.lab.root(
        "alder",
        &format!("grep -rlF '{digest}' /etc /var /run /tmp /root /home 2>/dev/null || :"),
    );
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(found, ["/etc/shadow", "/var/lib/nixcfg/passwords/alice"]);
}

#[test]
fn a_read_only_shadow_is_an_error_on_that_node_and_the_rerun_completes_it() {
    let s = Accounts::bare();
    s.set("alice", NEW);
    s.lab.root(
        "birch",
        "mount --bind /etc/shadow /etc/shadow && mount -o remount,ro,bind /etc/shadow",
    );
    let ran = s.run(PASSWORD, &["--stdin"], NEW).exits(5);
    ran.tells("birch: /etc/shadow is on a read-only file system")
        .shows("2 of 3 nodes as wanted; not: birch");
    assert!(s.sudo("birch", "alice", PASSWORD));
    assert_eq!(s.file("birch", "alice"), "none");
    s.lab.root("birch", "umount /etc/shadow");
    // Now the old password is right on one node only, and the new one on the others.
    s.run(PASSWORD, &["--stdin"], NEW)
        .exits(0)
        .shows_of("alder", "unchanged")
        .shows_of("birch", "password set: alice");
    assert!(s.sudo("birch", "alice", NEW));
}

#[test]
fn a_full_disk_is_an_error_and_nobody_is_locked_out() {
    let s = Accounts::bare();
    s.set("alice", NEW);
    s.lab.fault("alder", &["fill-disk"]);
    s.run(PASSWORD, &["--stdin", "alder"], NEW)
        .exits(5)
        .tells("No space left on device");
    s.lab.fault("alder", &["free-disk"]);
    assert!(s.sudo("alder", "alice", PASSWORD));
    s.run(PASSWORD, &["--stdin", "alder"], NEW).exits(0);
    assert!(s.sudo("alder", "alice", NEW));
}

#[test]
fn a_user_without_an_account_gets_the_file_and_is_told_of() {
    let s = Accounts::bare();
    s.lab.root("alder", "userdel bob");
    let hash = s.set("bob", BOBS);
    s.run(PASSWORD, &["--user", "bob", "alder"], "")
        .exits(5)
        .tells("no account there for bob")
        .tells("deploy-nixos makes the account");
    assert_eq!(s.file("alder", "bob"), format!("root root 600\n{hash}"));
    assert!(s.sudo("alder", "alice", PASSWORD));
}

#[test]
fn former_administrators_are_told_of_and_locked_only_when_asked() {
    let s = Accounts::bare();
    s.set("bob", BOBS);
    s.lab.root("alder", "useradd -m -G wheel carol && echo carol:tea-party | chpasswd && mkdir -p /var/lib/nixcfg/passwords && echo '$6$x$y' | tee /var/lib/nixcfg/passwords/root /var/lib/nixcfg/passwords/nobody >/var/lib/nixcfg/passwords/carol && echo a key >/var/lib/nixcfg/passwords/wifi && cp -r /home/alice/.ssh /home/carol/ && chown -R carol /home/carol/.ssh");
    assert!(s.sudo("alder", "carol", "tea-party"));
    s.run(PASSWORD, &["alder"], "")
        .exits(0)
        .tells("carol is no administrator any more");
    assert!(s.sudo("alder", "carol", "tea-party"));
    s.run(PASSWORD, &["alder", "--lock-removed"], "")
        .exits(0)
        .shows("locked: carol")
        .shows("file removed: carol");
    assert!(!s.sudo("alder", "carol", "tea-party"));
    assert_eq!(s.file("alder", "carol"), "none");
    // Files of others than former administrators stay.
    for name in ["root", "nobody", "wifi"] {
        assert_ne!(s.file("alder", name), "none", "{name}");
    }
    assert!(s.shadow("alder", "carol").starts_with('!'));
    s.run(PASSWORD, &["alder", "--lock-removed"], "")
        .exits(0)
        .shows_of("alder", "unchanged");
    assert!(s.sudo("alder", "alice", PASSWORD));
}

#[test]
fn an_operator_who_is_no_administrator_any_more_is_not_locked_by_their_own_run() {
    let s = Accounts::bare();
    s.repo
        .replace("cluster/prod/cluster.nix", "alice.keys", "dora.keys");
    s.set("bob", BOBS);
    s.run(PASSWORD, &["alder", "--lock-removed"], "")
        .exits(0)
        .tells("alice is no administrator any more");
    assert!(s.sudo("alder", "alice", PASSWORD));
}

#[test]
fn two_operators_at_once_leave_each_password_as_wanted() {
    let s = Accounts::bare();
    s.set("alice", NEW);
    s.set("bob", BOBS);
    let one = s.start(PASSWORD, &["--stdin"], NEW);
    let two = s.start(PASSWORD, &["--user", "bob"], "");
    let codes: Vec<i32> = [one, two]
        .map(|child| Ran::from(child.wait_with_output().unwrap()).code)
        .into();
    assert_eq!(
        codes[0], 0,
        "the first one has all it needs to see it through"
    );
    // The first run may have changed the sudo password of the second.
    assert!([0, 3, 5].contains(&codes[1]), "{codes:?}");
    for node in NODES {
        assert!(
            s.sudo(node, "alice", NEW) && s.sudo(node, "bob", BOBS),
            "{node}"
        );
        s.assert_tidy(node);
    }
}

#[test]
fn a_hash_that_nixos_refuses_or_that_is_none_is_told_before_any_node_is_spoken_to() {
    let s = Accounts::bare();
    let before = s.lab.logins("alder");
    for (hash, why) in [
        ("$5$salt$digest", "which NixOS refuses"),
        ("", "the password hash is empty"),
        ("$6$a:b$x", "not of crypt(5)’s form"),
        (PASSWORD, "not of crypt(5)’s form"),
    ] {
        s.put("alice", hash);
        s.run(PASSWORD, &[], "")
            .exits(2)
            .tells(why)
            .tells("passwd/alice");
    }
    s.set("alice", NEW);
    s.run(PASSWORD, &["--user", "alcie"], "")
        .exits(2)
        .tells("did you mean ‘alice’?");
    s.run(PASSWORD, &["--user", "bob"], "")
        .exits(2)
        .tells("bob has no password in the store");
    s.run(PASSWORD, &["--user", "a:b"], "").exits(2);
    s.run(PASSWORD, &["adler"], "")
        .exits(2)
        .tells("did you mean ‘alder’?");
    assert_eq!(s.lab.logins("alder"), before);
    s.run("wrong", &[], "")
        .exits(3)
        .tells("the sudo password of alice is wrong");
    assert!(s.sudo("alder", "alice", PASSWORD));
}

#[test]
fn passwords_survive_a_redeployment_and_a_reboot_with_mutable_and_with_immutable_users() {
    let s = Accounts::bare();
    s.change_more_than_accounts();
    s.set("alice", NEW);
    s.set("bob", BOBS);
    s.run(PASSWORD, &["--stdin", "alder"], NEW).exits(0);
    for mutable in ["true", "false"] {
        s.repo.configure("alder", &format!("{{ cluster.mutableUsers = {mutable}; environment.etc.users.text = \"{mutable}\"; }}"));
        Tool::deploy(&s.repo, &s.lab)
            .arg("alder")
            .password(Some(NEW))
            .exits(0);
        for after in ["redeployment", "reboot"] {
            assert_eq!(s.lab.root("alder", "cat /etc/users"), mutable);
            assert!(
                s.sudo("alder", "alice", NEW) && s.su("alder", "bob", BOBS),
                "{mutable}, {after}"
            );
            assert!(
                !s.sudo("alder", "alice", PASSWORD) && !s.su("alder", "bob", "wonderland-bob"),
                "{mutable}, {after}"
            );
            if after == "redeployment" {
                s.lab.fault("alder", &["reboot"]);
            }
        }
    }
    // With immutable users, too, a password changes at once and stays.
    s.set("alice", "through the looking-glass again");
    s.run(
        NEW,
        &["--stdin", "alder"],
        "through the looking-glass again",
    )
    .exits(0);
    s.lab.fault("alder", &["reboot"]);
    assert!(s.sudo("alder", "alice", "through the looking-glass again"));
}

#[test]
fn deploy_nixos_activates_no_immutable_users_without_their_password_files() {
    let s = Accounts::bare();
    s.repo.replace(
        "cluster/prod/cluster.nix",
        "admins = {",
        "mutableUsers = false;\n    admins = {",
    );
    let before = s.lab.state("birch");
    let deploy = || Tool::deploy(&s.repo, &s.lab).arg("birch").run();
    deploy()
        .exits(3)
        .tells("birch: users are immutable, and there is no password file of alice, bob on it")
        .tells("first: deploy-passwords prod birch");
    s.lab.root(
        "birch",
        "mkdir -p /var/lib/nixcfg/passwords; cd /var/lib/nixcfg/passwords; echo '!' >alice; : >bob",
    );
    deploy()
        .exits(3)
        .tells("no usable password file of alice, bob");
    assert_eq!(s.lab.state("birch"), before);
    Tool::deploy(&s.repo, &s.lab)
        .args(&["birch", "--plan"])
        .password(None)
        .exits(0)
        .tells("was not looked at");
    assert!(s.sudo("birch", "alice", PASSWORD));
}

#[test]
fn the_script_of_the_vm_test_holds_on_the_labs_nodes() {
    let s = Accounts::bare();
    let setting = serde_json::json!({
        "lab": root().join("checks/lab/lab"), "nodes": NODES, "old": PASSWORD, "new": NEW,
        "tool": env!("CARGO_BIN_EXE_nixcfg"),
        "options": ["--override-input", "nixpkgs", support::nixpkgs()], "login": ["--ssh-config", s.lab.ssh_config()],
    });
    let mut command = Command::new("python3");
    command
        .arg(root().join("checks/passwords.py"))
        .arg(setting.to_string())
        .current_dir(s.repo.path())
        .env("NIX_CONFIG", support::NIX_CONFIG)
        .env(
            "LAB",
            std::env::var("LAB").unwrap_or_else(|_| "tests".into()),
        );
    let output = s.store.in_env(&mut command).output().unwrap();
    Ran::from(output).exits(0).shows("all holds");
}
