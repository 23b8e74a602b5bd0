//! The script that writes files on nodes, on real file systems, in Debian's and in NixOS's `sh`. As
//! root.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nixcfg::cluster::NodePath;
use nixcfg::cluster::ownership::Ownership;
use nixcfg::node::install::{Content, INSTALL, Manifest, Report};
use tempfile::TempDir;

/// Debian's `sh` is dash, NixOS's is bash.
const SHELLS: [&[&str]; 2] = [&["dash"], &["bash", "--posix"]];

/// A folder that only root can write to, like those of nodes, and the shell that installs there.
struct Place {
    shell: &'static [&'static str],
    folder: TempDir,
}

/// A place for each shell.
fn places() -> [Place; 2] {
    let uid = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    assert_eq!(uid.trim(), "0", "these tests must run as root");
    let folder = || TempDir::with_prefix_in("nixcfg-check-", "/run").unwrap();
    SHELLS.map(|shell| Place {
        shell,
        folder: folder(),
    })
}

/// What a run should make in a folder.
struct Wanted {
    folder: PathBuf,
    manifest: Manifest,
}

impl Wanted {
    fn in_folder(folder: &Path) -> Self {
        let folder = folder.to_owned();
        let manifest = Manifest::new();
        Self { folder, manifest }
    }

    fn path(&self, name: &str) -> NodePath {
        self.folder.join(name).to_str().unwrap().parse().unwrap()
    }

    /// A file; `owner` is user and group, as in `root:adm`.
    fn file(mut self, name: &str, owner: &str, mode: &str, content: impl Into<Vec<u8>>) -> Self {
        let content = Content::new(content);
        self.manifest
            .file(self.path(name), owned(owner, mode), content);
        self
    }

    fn folder(mut self, name: &str, owner: &str, mode: &str) -> Self {
        self.manifest.folder(self.path(name), owned(owner, mode));
        self
    }

    fn link(mut self, name: &str, target: &str, user: &str) -> Self {
        self.manifest
            .link(self.path(name), target, user.parse().unwrap());
        self
    }
}

fn owned(owner: &str, mode: &str) -> Ownership {
    let (user, group) = owner.split_once(':').unwrap();
    Ownership {
        user: user.parse().unwrap(),
        group: group.parse().unwrap(),
        mode: mode.parse().unwrap(),
    }
}

impl Place {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The temporary file for the file `a`.
    fn unfinished(&self) -> Option<PathBuf> {
        let making = |name: &String| name.starts_with(".nixcfg-new.") && name.ends_with(".a");
        let name = self.names().into_iter().find(making)?;
        Some(self.at(&name))
    }

    fn wanted(&self) -> Wanted {
        Wanted::in_folder(self.folder.path())
    }

    /// One file of root's own.
    fn file(&self, name: &str, content: &str) -> Wanted {
        self.wanted().file(name, "root:root", "0600", content)
    }

    fn start(&self) -> Child {
        let argv = INSTALL.argv(&[]);
        spawned(
            Command::new(self.shell[0])
                .args(&self.shell[1..])
                .args(&argv[1..]),
        )
    }

    /// Starts a run that has read all but the end of its input.
    fn start_without_end(&self, wanted: &Wanted) -> (Child, ChildStdin) {
        let input = wanted.manifest.encode().unwrap();
        let mut child = self.start();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&input[..input.len() - END.len()]).unwrap();
        eventually("the file is made ready", || self.unfinished().is_some());
        (child, stdin)
    }

    fn feed(&self, input: &[u8]) -> Output {
        fed(self.start(), input)
    }

    /// The script's report on a run that makes all of it.
    fn installed(&self, wanted: &Wanted) -> String {
        let output = self.feed(&wanted.manifest.encode().unwrap());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {said}", self.shell);
        assert_eq!(said, "", "{:?}", self.shell);
        let told = String::from_utf8(output.stdout).unwrap();
        let report = Report::parse(&told, &wanted.manifest);
        assert!(report.whole(), "{:?}: {told}", self.shell);
        told
    }

    /// The reason that the script gives for changing nothing.
    fn refused(&self, wanted: &Wanted) -> String {
        let output = self.feed(&wanted.manifest.encode().unwrap());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success(),
            "{:?} did not refuse: {said}",
            self.shell
        );
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told, "", "nothing may be changed");
        said
    }
}

/// The last line of an input.
const END: &str = "end\n";

fn spawned(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn fed(mut child: Child, input: &[u8]) -> Output {
    // A script that refuses may end before it has read all input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs a program that has to succeed.
fn run(program: &str, args: &[&str], path: &Path) {
    let status = Command::new(program).args(args).arg(path).status();
    assert!(status.unwrap().success(), "{program} {args:?}");
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
    for place in places() {
        let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let wanted = place
            .wanted()
            .folder("pki", "daemon:adm", "0750")
            .file("pki/a key", "daemon:adm", "0440", every_byte.clone())
            .file("pki/empty", "daemon:root", "0400", "")
            .link("pki/ä", "a key", "daemon");
        let told = place.installed(&wanted);
        assert_eq!(told.matches("created ").count(), 4, "{told}");
        assert_eq!(fs::read(place.at("pki/a key")).unwrap(), every_byte);
        assert_eq!(place.read("pki/empty"), "");
        let target = fs::read_link(place.at("pki/ä")).unwrap();
        assert_eq!(target, PathBuf::from("a key"));
        let look = |name: &str| place.at(name).metadata().unwrap();
        for (name, mode) in [("pki", 0o750), ("pki/a key", 0o440), ("pki/empty", 0o400)] {
            assert_eq!(look(name).mode() & 0o7777, mode, "{name}");
        }
        assert_eq!(look("pki/a key").uid(), look("pki").uid());
        assert_ne!(look("pki").uid(), 0);
        assert_eq!(look("pki/empty").gid(), 0);
    }
}

#[test]
fn what_is_as_wanted_is_not_touched() {
    for place in places() {
        let wanted = place
            .wanted()
            .folder("d", "root:root", "0700")
            .file("d/f", "root:root", "0400", "x\n")
            .link("d/l", "f", "root");
        place.installed(&wanted);
        let look = |name: &str| {
            let at = place.at(name).symlink_metadata().unwrap();
            (at.ino(), at.mtime_nsec(), at.ctime_nsec())
        };
        let before = [look("d"), look("d/f"), look("d/l")];
        let told = place.installed(&wanted);
        assert_eq!(told.matches("unchanged ").count(), 3, "{told}");
        assert_eq!([look("d"), look("d/f"), look("d/l")], before);
    }
}

#[test]
fn another_content_owner_or_mode_is_a_change() {
    for place in places() {
        for (content, owner, mode, told) in [
            ("a", "root:root", "0400", "created "),
            ("b", "root:root", "0400", "changed "),
            ("b", "daemon:root", "0400", "changed "),
            ("b", "daemon:adm", "0400", "changed "),
            ("b", "daemon:adm", "0440", "changed "),
            ("b", "daemon:adm", "0440", "unchanged "),
        ] {
            let wanted = place.wanted().file("f", owner, mode, content);
            let report = place.installed(&wanted);
            assert!(report.starts_with(told), "{owner} {mode}: {report}");
        }
        assert_eq!(place.read("f"), "b");
    }
}

#[test]
fn a_file_or_link_in_the_place_of_the_other_is_replaced_and_never_followed() {
    for place in places() {
        fs::write(place.at("victim"), "old").unwrap();
        symlink("victim", place.at("f")).unwrap();
        let told = place.installed(&place.file("f", "new"));
        assert!(told.starts_with("changed "));
        assert_eq!(place.read("victim"), "old");
        assert!(place.at("f").symlink_metadata().unwrap().is_file());
        let told = place.installed(&place.wanted().link("f", "victim", "root"));
        assert!(told.starts_with("changed "));
        assert_eq!(place.read("f"), "old");
    }
}

#[test]
fn folders_in_which_others_could_exchange_the_file_are_refused() {
    for place in places() {
        for (name, owner, mode) in [
            ("foreign", "daemon", "755"),
            ("open", "root", "777"),
            ("shared", "root:adm", "775"),
            ("sticky", "root", "1777"),
        ] {
            fs::create_dir_all(place.at(name).join("below")).unwrap();
            run("chown", &[owner], &place.at(name));
            run("chmod", &[mode], &place.at(name));
            let said = place.refused(&place.file(&format!("{name}/below/f"), "x"));
            assert!(said.contains(name) && said.contains("exchange"), "{said}");
        }
        symlink("real", place.at("link")).unwrap();
        let real = place.at("real");
        fs::create_dir(&real).unwrap();
        let said = place.refused(&place.file("link/f", "x"));
        assert!(said.contains("symbolic link"), "{said}");
        assert!(said.contains(real.to_str().unwrap()), "{said}");
        // The folder may belong to the file's owner.
        let its = place.wanted().file("foreign/f", "daemon:root", "0400", "x");
        assert!(place.installed(&its).starts_with("created "));
    }
}

#[test]
fn what_is_not_a_file_is_not_replaced_and_missing_users_are_named() {
    for place in places() {
        fs::create_dir(place.at("f")).unwrap();
        let said = place.refused(&place.file("f", "x"));
        assert!(said.contains("not a file"), "{said}");
        let nobodys = place.wanted().file("g", "nosuchuser:root", "0400", "x");
        let said = place.refused(&nobodys);
        assert!(said.contains("no user nosuchuser"), "{said}");
    }
}

#[test]
fn a_manifest_cut_anywhere_changes_nothing_and_a_whole_one_completes_it() {
    for place in places() {
        place.installed(&place.file("a", "old a"));
        let wanted = place
            .file("a", "new a")
            .file("b", "root:root", "0400", "new b")
            .link("c", "b", "root");
        let whole = wanted.manifest.encode().unwrap();
        for end in (0..whole.len() - 1).step_by(5) {
            let output = place.feed(&whole[..end]);
            assert!(!output.status.success(), "cut after {end} bytes");
            let only = BTreeSet::from(["a".to_owned()]);
            assert_eq!(place.names(), only, "cut after {end} bytes");
            assert_eq!(place.read("a"), "old a", "cut after {end} bytes");
        }
        place.installed(&wanted);
        assert_eq!(place.names().len(), 3);
        assert_eq!(place.read("c"), "new b");
    }
}

#[test]
fn a_killed_run_leaves_the_old_file_and_the_next_one_cleans_up_after_it() {
    for place in places() {
        place.installed(&place.file("a", "old"));
        let (mut child, _stdin) = place.start_without_end(&place.file("a", "new"));
        eventually("the file is made ready", || {
            let ready = place.unfinished();
            ready.is_some_and(|file| fs::read(file).is_ok_and(|content| content == b"new"))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(place.read("a"), "old");
        assert!(place.unfinished().is_some());
        place.installed(&place.file("b", "other"));
        assert_eq!(place.unfinished(), None);
        place.installed(&place.file("a", "new"));
        assert_eq!(place.read("a"), "new");
    }
}

#[test]
fn a_run_waits_for_another_one_on_the_same_node() {
    for place in places() {
        let (mut child, mut stdin) = place.start_without_end(&place.file("a", "first"));
        let second = place.file("a", "second");
        let told = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| place.installed(&second));
            stdin.write_all(END.as_bytes()).unwrap();
            drop(stdin);
            assert!(child.wait().unwrap().success());
            waiting.join().unwrap()
        });
        assert!(told.starts_with("changed "));
        assert_eq!(place.read("a"), "second");
    }
}

#[test]
fn what_a_folders_owner_plants_there_holds_nobody_up() {
    for place in places() {
        let its = place.at("its");
        fs::create_dir(&its).unwrap();
        // Names that a run would use if they were constant, and one that cannot be removed as a file.
        for name in [".nixcfg-new.a", ".nixcfg-old.a"] {
            run("mkfifo", &[], &its.join(name));
        }
        fs::create_dir(its.join(".nixcfg-new.x")).unwrap();
        run("chown", &["-R", "daemon"], &its);
        let wanted = place.wanted().file("its/a", "daemon:daemon", "0400", "new");
        assert!(place.installed(&wanted).starts_with("created "));
        assert_eq!(place.read("its/a"), "new");
    }
}

#[test]
fn no_account_but_roots_can_take_the_lock() {
    let [place, _] = places();
    place.installed(&place.file("a", "new"));
    let locks = Path::new("/run/nixcfg/locks");
    assert_eq!(locks.metadata().unwrap().mode() & 0o7777, 0o700);
    assert!(locks.join("install").exists());
}

#[test]
fn a_folder_that_an_access_control_list_opens_is_refused() {
    for place in places() {
        run("setfacl", &["-m", "u:daemon:r-x"], place.folder.path());
        place.installed(&place.file("a", "new"));
        run("setfacl", &["-m", "u:daemon:rwx"], place.folder.path());
        let said = place.refused(&place.file("a", "new"));
        assert!(said.contains("access control list"), "{said}");
    }
}

#[test]
fn content_is_in_no_argument_list_and_no_environment() {
    for place in places() {
        let wanted = place.file("a", "rabbit-hole-rabbit-hole-rabbit-");
        let (mut child, stdin) = place.start_without_end(&wanted);
        let mut looked_at = 0;
        for process in fs::read_dir("/proc").unwrap().flatten() {
            for what in ["cmdline", "environ"] {
                if let Ok(bytes) = fs::read(process.path().join(what)) {
                    looked_at += 1;
                    let text = String::from_utf8_lossy(&bytes);
                    let plain = text.contains("rabbit-hole-rabbit");
                    let coded = text.contains("cmFiYml0LWhvbGUtcmFi");
                    assert!(!plain && !coded, "{:?} {what}", process.path());
                }
            }
        }
        assert!(looked_at > 2);
        drop(stdin);
        child.wait().unwrap();
    }
}

impl Place {
    /// Installs in a mount namespace after `prepare`, which gets the folder as `$1`. Returns standard
    /// error, then names and contents of the folder's files.
    fn in_file_system(&self, prepare: &str, wanted: &Wanted) -> (String, String) {
        let around = "prepare=$1 folder=$2; shift 2; eval \"$prepare\"; \"$@\" && echo SUCCEEDED; ls -A \"$folder\"; cat \"$folder\"/a";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", around, "sh", prepare])
            .arg(self.folder.path())
            .args(self.shell)
            .args(&INSTALL.argv(&[])[1..]);
        let output = fed(spawned(&mut command), &wanted.manifest.encode().unwrap());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stderr), text(output.stdout))
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_the_old_files() {
    for place in places() {
        let prepare = "mount -t tmpfs -o size=64k,mode=755 none $folder; printf 'old' >$folder/a; head -c 40000 /dev/zero >$folder/filler";
        let wanted = place
            .file("a", "new")
            .file("b", "root:root", "0400", vec![7; 50_000]);
        let (said, left) = place.in_file_system(prepare, &wanted);
        assert!(said.contains("No space left on device"), "{said}");
        assert!(said.contains("cannot write"), "{said}");
        assert_eq!(left, "a\nfiller\nold");
    }
}

#[test]
fn a_read_only_file_system_is_an_error_unless_all_is_as_wanted() {
    for place in places() {
        let prepare = "mount -t tmpfs -o mode=755 none $folder; printf 'old' >$folder/a; chmod 600 $folder/a; mount -o remount,ro $folder";
        let (said, left) = place.in_file_system(prepare, &place.file("a", "new"));
        assert!(said.contains("Read-only file system"), "{said}");
        assert!(said.contains("cannot write"), "{said}");
        assert_eq!(left, "a\nold");
        let (said, left) = place.in_file_system(prepare, &place.file("a", "old"));
        assert_eq!(said, "");
        assert!(left.contains("unchanged "), "{left}");
        assert!(left.contains("SUCCEEDED"), "{left}");
    }
}
