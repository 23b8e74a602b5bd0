//! A test's own password store and GPG keys.
//!
//! Environment variables tell GnuPG where its keys are, so a test that calls the library runs in a
//! second process of the test program ([`PassStore::rerun`]).

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::fed;

/// The variable that marks the second process.
const INSIDE: &str = "NIXCFG_TEST_INSIDE";

/// A store, and the folder with its keys; both are removed at the end.
pub struct PassStore {
    dir: tempfile::TempDir,
}

/// Another reader of the store, whose public key the operator has.
pub struct Reader {
    keys: tempfile::TempDir,
}

impl Reader {
    /// The entry as they read it by `pass`; none if they cannot decrypt it.
    pub fn reads(&self, store: &PassStore, entry: &str) -> Option<String> {
        let mut command = Command::new("pass");
        store.in_env(command.args(["show", entry]));
        let output = self.as_them(&mut command).output().unwrap();
        let foreign = said(&output).contains("No secret key");
        assert!(output.status.success() || foreign, "{}", said(&output));
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Makes a command use their keys only.
    pub fn as_them<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("GNUPGHOME", self.keys.path())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        end_agent(self.keys.path());
    }
}

/// Arguments of gpg for a key that does not expire.
fn quick_key<'a>(name: &'a str, passphrase: &'a str) -> [&'a str; 11] {
    [
        "--batch",
        "--quiet",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        passphrase,
        "--quick-generate-key",
        name,
        "future-default",
        "default",
        "never",
    ]
}

/// Ends the GPG agent of these keys.
fn end_agent(keys: &Path) {
    let _ = Command::new("gpgconf")
        .arg("--homedir")
        .arg(keys)
        .args(["--kill", "all"])
        .status();
}

/// Writes the settings of a GPG folder: nobody can be asked for a passphrase.
fn settle(keys: &Path) {
    std::fs::set_permissions(keys, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(
        keys.join("gpg-agent.conf"),
        "pinentry-program /bin/false\nallow-loopback-pinentry\n",
    )
    .unwrap();
    // Imported keys are trusted like the operator's own.
    std::fs::write(keys.join("gpg.conf"), "trust-model always\n").unwrap();
}

/// Whether this is the second process.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs a program to its end. Any exit code but 0 fails the test.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All output of a program.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Asserts that a run of the tool ended with `code` and printed each of `told`.
#[track_caller]
pub fn ended(output: &Output, code: i32, told: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for text in told {
        assert!(said.contains(text), "nothing tells {text:?}:\n{said}");
    }
}

impl PassStore {
    /// A store without Git, for a key without a passphrase.
    pub fn plain() -> Self {
        let store = Self::empty();
        store.key("tester", "");
        store.pass(&["init", "tester"]);
        store
    }

    /// A plain store in a Git repository.
    pub fn git() -> Self {
        let store = Self::plain();
        store.begin_history(&store.root());
        store
    }

    /// A folder for a store that is not initialised.
    pub fn empty() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nixcfg-store-")
            .tempdir_in("/tmp")
            .unwrap();
        for folder in ["gnupg", "store", "home"] {
            std::fs::DirBuilder::new()
                .create(dir.path().join(folder))
                .unwrap();
        }
        settle(&dir.path().join("gnupg"));
        Self { dir }
    }

    /// Makes `folder` a Git repository with its content.
    pub fn begin_history(&self, folder: &Path) {
        self.git_in(folder, &["init", "-q"]);
        self.git_in(folder, &["add", "-A"]);
        self.git_in(folder, &["commit", "-q", "-m", "begin"]);
    }

    /// Runs Git in a folder of the store.
    pub fn git_in(&self, folder: &Path, args: &[&str]) -> String {
        run(self.in_env(Command::new("git").arg("-C").arg(folder).args(args)))
    }

    /// Makes keys of another reader, and imports the public key as the operator.
    pub fn reader(&self, name: &str) -> Reader {
        let keys = tempfile::Builder::new()
            .prefix("nixcfg-keys-")
            .tempdir_in("/tmp")
            .unwrap();
        settle(keys.path());
        let reader = Reader { keys };
        let theirs = |args: &[&str]| {
            let mut command = Command::new("gpg");
            self.in_env(command.args(args));
            run(reader.as_them(&mut command))
        };
        theirs(&quick_key(name, ""));
        let public = self.scratch().join(format!("{name}.asc"));
        let file = public.to_str().unwrap();
        theirs(&["--quiet", "--armor", "--output", file, "--export", name]);
        run(self.in_env(Command::new("gpg").args(["--quiet", "--import", file])));
        reader
    }

    /// The fingerprint of a key.
    pub fn fingerprint(&self, name: &str) -> String {
        let listed =
            run(self.in_env(Command::new("gpg").args(["--with-colons", "--list-keys", name])));
        let line = listed.lines().find(|line| line.starts_with("fpr:"));
        line.unwrap().split(':').nth(9).unwrap().to_owned()
    }

    /// Makes a key for the operator.
    pub fn key(&self, name: &str, passphrase: &str) {
        run(self.in_env(Command::new("gpg").args(quick_key(name, passphrase))));
    }

    /// Runs `pass` on the store.
    pub fn pass(&self, args: &[&str]) -> String {
        run(self.in_env(Command::new("pass").args(args)))
    }

    /// Puts an entry into the store.
    pub fn insert(&self, entry: &str, text: &str) {
        let mut command = Command::new("pass");
        self.in_env(command.args(["insert", "-m", "-f", entry]));
        let output = fed(&mut command, text).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    /// The commits of the repository that `folder` is in, newest first.
    pub fn history(&self, folder: &Path) -> Vec<String> {
        let log = self.git_in(folder, &["log", "--format=%s"]);
        log.lines().map(str::to_owned).collect()
    }

    /// Git's list of uncommitted changes.
    pub fn uncommitted(&self, folder: &Path) -> String {
        self.git_in(folder, &["status", "--porcelain"])
    }

    /// The store's root.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A folder for other files of the test.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a command use this store and these keys, and nothing of the machine's.
    pub fn in_env<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("PASSWORD_STORE_DIR", self.root())
            .env("GNUPGHOME", self.dir.path().join("gnupg"))
            .env("HOME", self.dir.path().join("home"))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "tester")))
            .envs(
                ["AUTHOR", "COMMITTER"]
                    .map(|who| (format!("GIT_{who}_EMAIL"), "tester@example.org")),
            )
            .env_remove("GPG_TTY")
            .env_remove("PASSWORD_STORE_KEY")
    }

    /// The calling module's test of that name, in a process that uses this store.
    #[track_caller]
    pub fn rerun(&self, test: &str) -> Command {
        let module = Path::new(Location::caller().file()).file_stem().unwrap();
        let test = format!("{}::{test}", module.display());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([&test, "--exact", "--nocapture", "--test-threads=1"])
            .env(INSIDE, "1")
            .stdin(Stdio::null());
        self.in_env(&mut command);
        command
    }

    /// Runs the calling module's test of that name in a process that uses this store.
    #[track_caller]
    pub fn inside(&self, test: &str) {
        let output = self.rerun(test).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(
            said(&output).contains("1 passed"),
            "no test is called {test}: {}",
            said(&output)
        );
    }
}

impl Drop for PassStore {
    fn drop(&mut self) {
        end_agent(&self.dir.path().join("gnupg"));
    }
}
