//! The script that writes files on nodes, on real file systems, in Debian's and in NixOS's `sh`. As
//! root.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nixcfg::cluster::NodePath;
use nixcfg::cluster::ownership::{Account, Mode, Ownership};
use nixcfg::node::install::{Content, INSTALL, Manifest};
use tempfile::TempDir;

/// Debian's `sh` is dash, NixOS's is bash.
const SHELLS: [&[&str]; 2] = [&["dash"], &["bash", "--posix"]];

/// A folder that only root can write to, like those of nodes.
fn folder() -> TempDir {
    let uid = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    assert_eq!(uid.trim(), "0", "these tests must run as root");
    TempDir::with_prefix_in("nixcfg-check-", "/run").unwrap()
}

fn path(folder: &Path, name: &str) -> NodePath {
    folder.join(name).to_str().unwrap().parse().unwrap()
}

fn owned(user: &str, group: &str, mode: &str) -> Ownership {
    Ownership {
        user: user.parse().unwrap(),
        group: group.parse().unwrap(),
        mode: mode.parse().unwrap(),
    }
}

fn file(folder: &Path, name: &str, content: &[u8]) -> Manifest {
    let mut manifest = Manifest::new();
    manifest.file(
        path(folder, name),
        Ownership::root(Mode::PRIVATE),
        Content::new(content),
    );
    manifest
}

/// The temporary name of the file `a`.
fn unfinished(folder: &Path) -> Option<PathBuf> {
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let making = |entry: &fs::DirEntry| {
        name(entry).starts_with(".nixcfg-new.") && name(entry).ends_with(".a")
    };
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.filter(making).map(|entry| entry.path()).next()
}

fn start(shell: &[&str]) -> Child {
    let argv = INSTALL.argv(&[]);
    Command::new(shell[0])
        .args(&shell[1..])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn feed(shell: &[&str], input: &[u8]) -> Output {
    let mut child = start(shell);
    // A script that refuses may end before it has read all input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn run(shell: &[&str], manifest: &Manifest) -> Output {
    feed(shell, &manifest.encode().unwrap())
}

fn installed(shell: &[&str], manifest: &Manifest) -> String {
    let output = run(shell, manifest);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shell:?}: {said}");
    assert_eq!(said, "", "{shell:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        nixcfg::node::install::Report::parse(&told, manifest).whole(),
        "{shell:?}: {told}"
    );
    told
}

fn refused(shell: &[&str], manifest: &Manifest) -> String {
    let output = run(shell, manifest);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{shell:?} did not refuse: {said}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "nothing may be changed"
    );
    said
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn files_folders_and_links_are_made_with_their_owners_and_modes() {
    for shell in SHELLS {
        let folder = folder();
        let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let mut manifest = Manifest::new();
        manifest.folder(path(folder.path(), "pki"), owned("daemon", "adm", "0750"));
        manifest.file(
            path(folder.path(), "pki/a key"),
            owned("daemon", "adm", "0440"),
            Content::new(every_byte.clone()),
        );
        manifest.file(
            path(folder.path(), "pki/empty"),
            owned("daemon", "root", "0400"),
            Content::new(""),
        );
        manifest.link(
            path(folder.path(), "pki/ä"),
            "a key",
            "daemon".parse().unwrap(),
        );
        let told = installed(shell, &manifest);
        assert_eq!(told.matches("created ").count(), 4, "{told}");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(fs::read(at("pki/a key")).unwrap(), every_byte);
        assert_eq!(fs::read(at("pki/empty")).unwrap(), b"");
        assert_eq!(fs::read_link(at("pki/ä")).unwrap(), PathBuf::from("a key"));
        for (name, mode) in [("pki", 0o750), ("pki/a key", 0o440), ("pki/empty", 0o400)] {
            assert_eq!(
                at(name).metadata().unwrap().permissions().mode() & 0o7777,
                mode,
                "{name}"
            );
        }
        assert_eq!(
            at("pki/a key").metadata().unwrap().uid(),
            at("pki").metadata().unwrap().uid()
        );
        assert_ne!(at("pki").metadata().unwrap().uid(), 0);
        assert_eq!(at("pki/empty").metadata().unwrap().gid(), 0);
    }
}

#[test]
fn what_is_as_wanted_is_not_touched() {
    for shell in SHELLS {
        let folder = folder();
        let mut manifest = Manifest::new();
        manifest.folder(
            path(folder.path(), "d"),
            Ownership::root(Mode::PRIVATE_FOLDER),
        );
        manifest.file(
            path(folder.path(), "d/f"),
            Ownership::root(Mode::SECRET),
            Content::new("x\n"),
        );
        manifest.link(path(folder.path(), "d/l"), "f", Account::root());
        installed(shell, &manifest);
        let look = |name: &str| {
            let at = folder.path().join(name).symlink_metadata().unwrap();
            (at.ino(), at.mtime_nsec(), at.ctime_nsec())
        };
        let before = [look("d"), look("d/f"), look("d/l")];
        let told = installed(shell, &manifest);
        assert_eq!(told.matches("unchanged ").count(), 3, "{told}");
        assert_eq!([look("d"), look("d/f"), look("d/l")], before);
    }
}

#[test]
fn another_content_owner_or_mode_is_a_change() {
    for shell in SHELLS {
        let folder = folder();
        let at = |content: &str, ownership| {
            let mut manifest = Manifest::new();
            manifest.file(path(folder.path(), "f"), ownership, Content::new(content));
            installed(shell, &manifest)
        };
        assert!(at("a", owned("root", "root", "0400")).starts_with("created "));
        assert!(at("b", owned("root", "root", "0400")).starts_with("changed "));
        assert!(at("b", owned("daemon", "root", "0400")).starts_with("changed "));
        assert!(at("b", owned("daemon", "adm", "0400")).starts_with("changed "));
        assert!(at("b", owned("daemon", "adm", "0440")).starts_with("changed "));
        assert!(at("b", owned("daemon", "adm", "0440")).starts_with("unchanged "));
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"b");
    }
}

#[test]
fn a_file_or_link_in_the_place_of_the_other_is_replaced_and_never_followed() {
    for shell in SHELLS {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "old").unwrap();
        symlink("victim", at("f")).unwrap();
        assert!(installed(shell, &file(folder.path(), "f", b"new")).starts_with("changed "));
        assert_eq!(fs::read(at("victim")).unwrap(), b"old");
        assert!(at("f").symlink_metadata().unwrap().is_file());
        let mut manifest = Manifest::new();
        manifest.link(path(folder.path(), "f"), "victim", Account::root());
        assert!(installed(shell, &manifest).starts_with("changed "));
        assert_eq!(fs::read(at("f")).unwrap(), b"old");
    }
}

#[test]
fn folders_in_which_others_could_exchange_the_file_are_refused() {
    for shell in SHELLS {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        for (name, owner, mode) in [
            ("foreign", "daemon", "755"),
            ("open", "root", "777"),
            ("shared", "root:adm", "775"),
            ("sticky", "root", "1777"),
        ] {
            fs::create_dir_all(at(name).join("below")).unwrap();
            assert!(
                Command::new("chown")
                    .arg(owner)
                    .arg(at(name))
                    .status()
                    .unwrap()
                    .success()
            );
            assert!(
                Command::new("chmod")
                    .arg(mode)
                    .arg(at(name))
                    .status()
                    .unwrap()
                    .success()
            );
            let said = refused(
                shell,
                &file(folder.path(), &format!("{name}/below/f"), b"x"),
            );
            assert!(said.contains(name) && said.contains("exchange"), "{said}");
        }
        symlink("real", at("link")).unwrap();
        fs::create_dir(at("real")).unwrap();
        let said = refused(shell, &file(folder.path(), "link/f", b"x"));
        assert!(
            said.contains("symbolic link") && said.contains(at("real").to_str().unwrap()),
            "{said}"
        );
        // The folder may belong to the file's owner.
        let mut manifest = Manifest::new();
        manifest.file(
            path(folder.path(), "foreign/f"),
            owned("daemon", "root", "0400"),
            Content::new("x"),
        );
        assert!(installed(shell, &manifest).starts_with("created "));
    }
}

#[test]
fn what_is_not_a_file_is_not_replaced_and_missing_users_are_named() {
    for shell in SHELLS {
        let folder = folder();
        fs::create_dir(folder.path().join("f")).unwrap();
        assert!(refused(shell, &file(folder.path(), "f", b"x")).contains("not a file"));
        let mut manifest = Manifest::new();
        manifest.file(
            path(folder.path(), "g"),
            owned("nosuchuser", "root", "0400"),
            Content::new("x"),
        );
        assert!(refused(shell, &manifest).contains("no user nosuchuser"));
    }
}

#[test]
fn a_manifest_cut_anywhere_changes_nothing_and_a_whole_one_completes_it() {
    for shell in SHELLS {
        let folder = folder();
        installed(shell, &file(folder.path(), "a", b"old a"));
        let mut manifest = file(folder.path(), "a", b"new a");
        manifest.file(
            path(folder.path(), "b"),
            Ownership::root(Mode::SECRET),
            Content::new("new b"),
        );
        manifest.link(path(folder.path(), "c"), "b", Account::root());
        let whole = manifest.encode().unwrap();
        for end in (0..whole.len() - 1).step_by(5) {
            let output = feed(shell, &whole[..end]);
            assert!(!output.status.success(), "cut after {end} bytes");
            assert_eq!(
                names(folder.path()),
                BTreeSet::from(["a".to_owned()]),
                "cut after {end} bytes"
            );
            assert_eq!(
                fs::read(folder.path().join("a")).unwrap(),
                b"old a",
                "cut after {end} bytes"
            );
        }
        installed(shell, &manifest);
        assert_eq!(names(folder.path()).len(), 3);
        assert_eq!(fs::read(folder.path().join("c")).unwrap(), b"new b");
    }
}

#[test]
fn a_killed_run_leaves_the_old_file_and_the_next_one_cleans_up_after_it() {
    for shell in SHELLS {
        let folder = folder();
        installed(shell, &file(folder.path(), "a", b"old"));
        let input = file(folder.path(), "a", b"new").encode().unwrap();
        let mut child = start(shell);
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(&input[..input.len() - "end\n".len()])
            .unwrap();
        eventually("the file is made ready", || {
            unfinished(folder.path())
                .is_some_and(|file| fs::read(file).is_ok_and(|content| content == b"new"))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
        assert!(unfinished(folder.path()).is_some());
        installed(shell, &file(folder.path(), "b", b"other"));
        assert_eq!(unfinished(folder.path()), None);
        installed(shell, &file(folder.path(), "a", b"new"));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"new");
    }
}

#[test]
fn a_run_waits_for_another_one_on_the_same_node() {
    for shell in SHELLS {
        let folder = folder();
        let first = file(folder.path(), "a", b"first").encode().unwrap();
        let mut child = start(shell);
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(&first[..first.len() - "end\n".len()])
            .unwrap();
        eventually("the first run has begun", || {
            unfinished(folder.path()).is_some()
        });
        let second = file(folder.path(), "a", b"second");
        let waiting = std::thread::spawn(move || installed(shell, &second));
        stdin.write_all(b"end\n").unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
        assert!(waiting.join().unwrap().starts_with("changed "));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"second");
    }
}

#[test]
fn what_a_folders_owner_plants_there_holds_nobody_up() {
    for shell in SHELLS {
        let folder = folder();
        let its = folder.path().join("its");
        fs::create_dir(&its).unwrap();
        // Names that a run would use if they were constant, and one that cannot be removed as a file.
        for name in [".nixcfg-new.a", ".nixcfg-old.a"] {
            let made = Command::new("mkfifo").arg(its.join(name)).status();
            assert!(made.unwrap().success());
        }
        fs::create_dir(its.join(".nixcfg-new.x")).unwrap();
        let given = Command::new("chown")
            .arg("-R")
            .arg("daemon")
            .arg(&its)
            .status();
        assert!(given.unwrap().success());
        let mut manifest = Manifest::new();
        let content = Content::new(&b"new"[..]);
        manifest.file(path(&its, "a"), owned("daemon", "daemon", "0400"), content);
        assert!(installed(shell, &manifest).starts_with("created "));
        assert_eq!(fs::read(its.join("a")).unwrap(), b"new");
    }
}

#[test]
fn no_account_but_roots_can_take_the_lock() {
    let folder = folder();
    installed(SHELLS[0], &file(folder.path(), "a", b"new"));
    let locks = Path::new("/run/nixcfg/locks");
    assert_eq!(
        locks.metadata().unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert!(locks.join("install").exists());
}

#[test]
fn a_folder_that_an_access_control_list_opens_is_refused() {
    for shell in SHELLS {
        let folder = folder();
        for (rights, opens) in [("u:daemon:r-x", false), ("u:daemon:rwx", true)] {
            let set = Command::new("setfacl")
                .args(["-m", rights])
                .arg(folder.path())
                .status();
            assert!(set.unwrap().success());
            let manifest = file(folder.path(), "a", b"new");
            if opens {
                assert!(refused(shell, &manifest).contains("access control list"));
            } else {
                installed(shell, &manifest);
            }
        }
    }
}

#[test]
fn content_is_in_no_argument_list_and_no_environment() {
    for shell in SHELLS {
        let folder = folder();
        let input = file(folder.path(), "a", b"rabbit-hole-rabbit-hole-rabbit-")
            .encode()
            .unwrap();
        let mut child = start(shell);
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(&input[..input.len() - "end\n".len()])
            .unwrap();
        eventually("the file is made ready", || {
            unfinished(folder.path()).is_some()
        });
        let mut looked_at = 0;
        for process in fs::read_dir("/proc").unwrap().flatten() {
            for what in ["cmdline", "environ"] {
                if let Ok(bytes) = fs::read(process.path().join(what)) {
                    looked_at += 1;
                    let text = String::from_utf8_lossy(&bytes);
                    assert!(
                        !text.contains("rabbit-hole-rabbit")
                            && !text.contains("cmFiYml0LWhvbGUtcmFi"),
                        "{:?} {what}",
                        process.path()
                    );
                }
            }
        }
        assert!(looked_at > 2);
        drop(stdin);
        child.wait().unwrap();
    }
}

/// Runs a manifest in a mount namespace after `prepare`, which gets the folder as `$1`. Returns standard
/// error, then names and contents of the folder's files.
fn in_file_system(
    shell: &[&str],
    folder: &Path,
    prepare: &str,
    manifest: &Manifest,
) -> (String, String) {
    let around = "prepare=$1 folder=$2; shift 2; eval \"$prepare\"; \"$@\" && echo SUCCEEDED; ls -A \"$folder\"; cat \"$folder\"/a";
    let argv = INSTALL.argv(&[]);
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", around, "sh", prepare])
        .arg(folder)
        .args(shell)
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(&manifest.encode().unwrap());
    let output = child.wait_with_output().unwrap();
    (
        String::from_utf8(output.stderr).unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn a_full_disk_is_an_error_and_leaves_the_old_files() {
    for shell in SHELLS {
        let folder = folder();
        let prepare = "mount -t tmpfs -o size=64k,mode=755 none $folder; printf 'old' >$folder/a; head -c 40000 /dev/zero >$folder/filler";
        let mut manifest = file(folder.path(), "a", b"new");
        manifest.file(
            path(folder.path(), "b"),
            Ownership::root(Mode::SECRET),
            Content::new(vec![7; 50_000]),
        );
        let (said, left) = in_file_system(shell, folder.path(), prepare, &manifest);
        assert!(
            said.contains("No space left on device") && said.contains("cannot write"),
            "{said}"
        );
        assert_eq!(left, "a\nfiller\nold");
    }
}

#[test]
fn a_read_only_file_system_is_an_error_unless_all_is_as_wanted() {
    for shell in SHELLS {
        let folder = folder();
        let prepare = "mount -t tmpfs -o mode=755 none $folder; printf 'old' >$folder/a; chmod 600 $folder/a; mount -o remount,ro $folder";
        let (said, left) = in_file_system(
            shell,
            folder.path(),
            prepare,
            &file(folder.path(), "a", b"new"),
        );
        assert!(
            said.contains("Read-only file system") && said.contains("cannot write"),
            "{said}"
        );
        assert_eq!(left, "a\nold");
        let (said, left) = in_file_system(
            shell,
            folder.path(),
            prepare,
            &file(folder.path(), "a", b"old"),
        );
        assert_eq!(said, "");
        assert!(
            left.contains("unchanged ") && left.contains("SUCCEEDED"),
            "{left}"
        );
    }
}
