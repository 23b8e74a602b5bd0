//! The operator's own `pass`, the program itself.
//!
//! `pass show` reads. `pass insert` writes to a small store of its own, the stage, beside the
//! entry; from there the file is renamed to its place. So an interruption never leaves half an
//! entry, and no entry replaces another unasked, as `pass insert` does without a terminal. `pass`
//! commits nothing, so a run ends with one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use rustix::fs::{FlockOperation, RenameFlags};

use super::history::History;
use super::trouble::{self, explain, may_pass};
use super::{EntryName, Existing, Store, Writer};
use crate::error::{Context, Error, Exit, Result};
use crate::private;
use crate::process::Command;
use crate::secret::Secret;

/// How many entries are decrypted at once; GnuPG's agent fails with many more.
pub(super) const AT_ONCE: usize = 8;
/// How often an entry is tried.
const TRIES: u32 = 4;
/// How long to wait before the second try; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(50);
/// The prefix of a stage's name, beside its entry.
const STAGE_PREFIX: &str = ".nixcfg-stage-";
/// Files that name the readers of a folder.
pub(super) const RECIPIENTS: [&str; 2] = [".gpg-id", ".gpg-id.sig"];
/// A folder of the operator's password store.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The store's root.
    pub(super) root: PathBuf,
    /// The folder, below the root.
    folder: EntryName,
}

impl Pass {
    /// The folder `folder` of the store that `pass` uses.
    pub fn open(folder: EntryName) -> Result<Self> {
        let root = match std::env::var_os("PASSWORD_STORE_DIR") {
            Some(root) if !root.is_empty() => PathBuf::from(root),
            _ => match std::env::home_dir() {
                Some(home) => home.join(".password-store"),
                None => {
                    return Err(Error::usage("there is no home folder for a password store")
                        .help("set PASSWORD_STORE_DIR"));
                }
            },
        };
        Self::at(&root, folder)
    }

    /// The folder `folder` of the store at `root`.
    pub fn at(root: &Path, folder: EntryName) -> Result<Self> {
        let root = root.canonicalize().map_err(|e| {
            Error::usage(format!("there is no password store at {}: {e}", root.display()))
                .help("make one with ‘pass init KEY’, clone your team’s, or point PASSWORD_STORE_DIR at it")
        })?;
        Ok(Self { root, folder })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.root.join(self.folder.as_str())
    }

    pub(super) fn file(&self, name: &EntryName) -> PathBuf {
        self.path().join(format!("{name}.gpg"))
    }

    fn pass(&self, store: &Path) -> Command {
        let command = Command::new("pass")
            .env("PASSWORD_STORE_DIR", store)
            .env("LC_ALL", "C.UTF-8");
        match (
            std::env::var_os("GPG_TTY"),
            rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new()),
        ) {
            (None, Ok(terminal)) => command.env("GPG_TTY", terminal.to_string_lossy().as_ref()),
            _ => command,
        }
    }

    async fn show_one(&self, name: &EntryName) -> Result<Secret> {
        let place = self.place(name);
        let options = std::env::var("PASSWORD_STORE_GPG_OPTS").unwrap_or_default();
        let command = self
            .pass(&self.root)
            .env(
                "PASSWORD_STORE_GPG_OPTS",
                format!("{options} --status-fd=2"),
            )
            .args(["show", "--", &place]);
        for tried in 1.. {
            let error = match command.output().await {
                Ok(bytes) => return text(bytes, &place),
                Err(error) => error,
            };
            let said = error.output.clone().unwrap_or_default();
            if !may_pass(&said) {
                return Err(explain(error, &place));
            }
            if tried == TRIES {
                return Err(if have_key(&options, &trouble::recipients(&said)).await {
                    trouble::locked(error, &place)
                } else {
                    explain(error, &place)
                });
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(tried - 1)).await;
        }
        Err(command.failed("it was not tried"))
    }
}

/// Whether GnuPG, called with the operator's options, has one of these keys.
async fn have_key(options: &str, keys: &[&str]) -> bool {
    let command = Command::new("gpg").args(options.split_whitespace()).args([
        "--batch",
        "--list-secret-keys",
        "--",
    ]);
    for key in keys {
        if let Ok(finished) = command.clone().arg(key).run(|_| {}).await
            && finished.success
        {
            return true;
        }
    }
    false
}

/// Turns the output of `pass` into a secret, without a copy that stays in memory.
fn text(bytes: Vec<u8>, place: &str) -> Result<Secret> {
    String::from_utf8(bytes).map(Secret::new).map_err(|e| {
        drop(zeroize::Zeroizing::new(e.into_bytes()));
        Error::usage(format!("{place} is not text"))
    })
}

impl Store for Pass {
    type Writer = PassWriter;

    async fn list(&self) -> Result<BTreeSet<EntryName>> {
        let mut names = BTreeSet::new();
        walk(&self.path(), "", &mut names)?;
        Ok(names)
    }

    async fn show(&self, names: &BTreeSet<EntryName>) -> Result<BTreeMap<EntryName, Secret>> {
        let mut values = BTreeMap::new();
        let mut names = names.iter();
        // The first entry alone, so that GnuPG asks once for a locked key.
        if let Some(first) = names.next() {
            values.insert(first.clone(), self.show_one(first).await?);
        }
        let rest: Vec<_> = names
            .map(async |name| self.show_one(name).await.map(|value| (name.clone(), value)))
            .collect();
        let mut rest = stream::iter(rest).buffer_unordered(AT_ONCE);
        while let Some(shown) = rest.next().await {
            values.extend([shown?]);
        }
        Ok(values)
    }

    async fn writer(&self) -> Result<PassWriter> {
        let lock = lock(&self.root)?;
        remove_stages(&self.path())?;
        Ok(PassWriter {
            pass: self.clone(),
            _lock: lock,
        })
    }

    fn place(&self, name: &EntryName) -> String {
        format!("{}/{name}", self.folder)
    }
}

/// The right to write to a folder of a password store.
#[derive(Debug)]
pub struct PassWriter {
    pass: Pass,
    /// The store's root, locked until it is closed.
    _lock: File,
}

impl PassWriter {
    /// Encrypts a value for the readers of `target` into a stage, and returns the stage's folder.
    async fn stage(
        &self,
        value: &Secret,
        target: &Path,
        place: &str,
    ) -> Result<(tempfile::TempDir, PathBuf)> {
        let recipients = recipients(&self.pass.root, target)?;
        // Where it is set, `pass` reads no list.
        if std::env::var_os("PASSWORD_STORE_KEY").is_none_or(|keys| keys.is_empty()) {
            ends_its_lines(&recipients.join(RECIPIENTS[0]))?;
        }
        let folder = self.pass.path();
        self.make_folder(&folder)?;
        let stage = private::folder(STAGE_PREFIX, &folder)
            .context(|| format!("cannot write to {}", folder.display()))?;
        // `pass` itself reads these files and verifies the signature.
        for name in RECIPIENTS {
            let file = recipients.join(name);
            if file.is_file() {
                fs::copy(&file, stage.path().join(name))
                    .context(|| format!("cannot read {}", file.display()))?;
            }
        }
        self.pass
            .pass(stage.path())
            .args(["insert", "--multiline", "--force", "--", "entry"])
            .stdin(value.expose())
            .output()
            .await
            .map_err(|e| {
                let list = recipients.join(RECIPIENTS[0]);
                trouble::unsigned(&e, &list).unwrap_or_else(|| explain(e, place))
            })?;
        let file = stage.path().join("entry.gpg");
        let written = File::open(&file).and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        match written {
            Ok(data) if data.len() > 0 => Ok((stage, file)),
            Ok(_) => Err(Error::unexpected(format!("pass wrote nothing for {place}"))),
            Err(e) => Err(Error::unexpected(format!(
                "pass did not write {place}: {e}"
            ))),
        }
    }

    /// Makes a folder of the store, with the permissions that `pass` gives it.
    fn make_folder(&self, folder: &Path) -> Result<()> {
        let umask = std::env::var("PASSWORD_STORE_UMASK")
            .ok()
            .and_then(|text| u32::from_str_radix(&text, 8).ok())
            .unwrap_or(0o077);
        DirBuilder::new()
            .recursive(true)
            .mode(0o777 & !umask)
            .create(folder)
            .context(|| format!("cannot make {}", folder.display()))
    }
}

impl Writer for PassWriter {
    async fn insert(&mut self, name: &EntryName, value: &Secret, existing: Existing) -> Result<()> {
        let place = self.pass.place(name);
        let target = self.pass.file(name);
        let exists = || {
            Error::unexpected(format!("{place} exists already, and is not replaced"))
                .help("did someone make it at the same time? run again to go on from what is there")
        };
        if existing == Existing::Keep && fs::symlink_metadata(&target).is_ok() {
            return Err(exists());
        }
        let (stage, staged) = self.stage(value, &target, &place).await?;
        let folder = target.parent().unwrap_or(&self.pass.root).to_path_buf();
        self.make_folder(&folder)?;
        let flags = match existing {
            Existing::Keep => RenameFlags::NOREPLACE,
            Existing::Replace => RenameFlags::empty(),
        };
        match rustix::fs::renameat_with(rustix::fs::CWD, &staged, rustix::fs::CWD, &target, flags) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(exists()),
            Err(e) => {
                return Err(Error::unexpected(format!(
                    "cannot write {}: {e}",
                    target.display()
                )));
            }
        }
        sync(&folder)?;
        stage
            .close()
            .context(|| "cannot remove what was staged".into())
    }

    async fn remove(&mut self, name: &EntryName) -> Result<()> {
        let file = self.pass.file(name);
        match fs::remove_file(&file) {
            Ok(()) => sync(file.parent().unwrap_or(&self.pass.root)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::unexpected(format!(
                "cannot remove {}: {e}",
                file.display()
            ))),
        }
    }

    async fn finish(self, names: &BTreeSet<EntryName>, message: &str) -> Result<()> {
        match History::find(&self.pass.root, &self.pass.path()).await? {
            Some(history) => history.commit(names, message).await,
            None => Ok(()),
        }
    }
}

/// Locks the store against other processes of this tool. The kernel releases the lock when the
/// process ends, in any way.
fn lock(root: &Path) -> Result<File> {
    let file = File::open(root).context(|| format!("cannot open {}", root.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(
            Exit::Unexpected,
            format!(
                "another nixcfg writes to the store {} at this moment",
                root.display()
            ),
        )
        .help("nothing was changed; run again when it is done")),
        Err(e) => Err(Error::unexpected(format!(
            "cannot lock {}: {e}",
            root.display()
        ))),
    }
}

/// The folder whose `.gpg-id` names the readers of an entry's file: the nearest one above it, as
/// for `pass`.
pub(super) fn recipients(root: &Path, file: &Path) -> Result<PathBuf> {
    let nearest = file
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(root))
        .find(|folder| folder.join(RECIPIENTS[0]).is_file());
    match nearest {
        Some(nearest) => Ok(nearest.to_owned()),
        None => Err(Error::usage(format!(
            "the password store {} is not initialised",
            root.display()
        ))
        .help("make it one with ‘pass init KEY’, or point PASSWORD_STORE_DIR at your team’s")),
    }
}

/// Refuses a list of recipients whose last line has no newline: `pass` 1.7.4 reads it with the
/// shell's `read`, and does not encrypt for the key in such a line, without a word.
pub(super) fn ends_its_lines(list: &Path) -> Result<()> {
    let text = fs::read_to_string(list).context(|| format!("cannot read {}", list.display()))?;
    let last = text.rsplit('\n').next().unwrap_or_default();
    let key = last.split('#').next().unwrap_or_default().trim();
    if key.is_empty() {
        return Ok(());
    }
    let what = format!(
        "pass would not encrypt for ‘{key}’: the last line of {} has no newline",
        list.display()
    );
    Err(Error::usage(what).help(
        "end the line, then encrypt the entries anew: ‘pass init’ with all keys, ‘-p FOLDER’ for a folder’s own list",
    ))
}

/// Removes stages that an interrupted run left.
fn remove_stages(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.context(|| format!("cannot read {}", folder.display()))?,
    };
    for entry in entries {
        let entry = entry.context(|| format!("cannot read {}", folder.display()))?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(STAGE_PREFIX)
        {
            fs::remove_dir_all(entry.path())
                .context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Makes changes in a folder durable.
fn sync(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .context(|| format!("cannot write {}", folder.display()))
}

fn walk(folder: &Path, prefix: &str, names: &mut BTreeSet<EntryName>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => {
            return Err(Error::unexpected(format!(
                "cannot read {}: {e}",
                folder.display()
            )));
        }
    };
    for entry in entries {
        let entry = entry.context(|| format!("cannot read {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            walk(&path, &format!("{prefix}{name}/"), names)?;
        } else if let Some(name) = name.strip_suffix(".gpg")
            && let Ok(name) = format!("{prefix}{name}").parse()
        {
            names.insert(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_recipients_count_and_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        let of = |file: &str| recipients(root, &root.join(file));
        assert!(
            of("a/b/x.gpg")
                .unwrap_err()
                .what
                .contains("not initialised")
        );
        fs::write(root.join(".gpg-id"), "outer").unwrap();
        fs::write(root.join("a/b/.gpg-id"), "inner").unwrap();
        for (file, folder) in [
            ("x.gpg", ""),
            ("a/x.gpg", ""),
            ("a/b/x.gpg", "a/b"),
            ("a/b/not/there/yet/x.gpg", "a/b"),
            ("a/bb/x.gpg", ""),
        ] {
            assert_eq!(of(file).unwrap(), root.join(folder), "{file}");
        }
    }

    #[test]
    fn a_key_that_pass_would_not_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join(".gpg-id");
        for (text, unread) in [
            ("alice\n", None),
            ("alice\nbob # of the night shift\n\n", None),
            ("alice\n# nobody else", None),
            ("alice\nbob # of the night shift", Some("‘bob’")),
            ("alice", Some("‘alice’")),
        ] {
            fs::write(&list, text).unwrap();
            let told = ends_its_lines(&list).err().map(|error| error.what);
            assert_eq!(told.is_some(), unread.is_some(), "{text:?}: {told:?}");
            assert!(
                told.unwrap_or_default()
                    .contains(unread.unwrap_or_default())
            );
        }
    }

    #[test]
    fn a_second_lock_fails_at_once_and_the_first_one_ends_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(
            lock(dir.path())
                .unwrap_err()
                .what
                .contains("another nixcfg")
        );
        drop(first);
        assert!(lock(dir.path()).is_ok());
    }
}
