//! Restores a lock file at the end of a run that deployed nothing, or when the run is stopped.
//! After a killed run, the next one restores it, by a note beside the file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::lock::Update;
use crate::change::Changed;
use crate::error::{Context, Error, Result};
use crate::event::Reporter;
use crate::nix::source::Flake;

/// The note's name, beside `flake.lock`. It is no part of the flake unless somebody adds it to Git.
const NOTE: &str = ".flake.lock.upgrade";

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    before: String,
    after: String,
    deploying: bool,
}

/// Holds a repository's lock file. Dropping it restores the file if no node was changed.
#[derive(Debug)]
pub struct Guard {
    /// Open and locked during the run.
    file: File,
    note: PathBuf,
    lock: PathBuf,
    held: Option<Note>,
    changed: Changed,
}

impl Guard {
    /// Takes the repository's lock file, and settles what a killed run left.
    pub fn open(flake: &Flake, reporter: &Reporter) -> Result<Self> {
        let (note, lock) = (flake.root.join(NOTE), flake.root.join("flake.lock"));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        // Its content becomes flake.lock again, so nobody else may write it.
        let file = file.mode(0o600);
        let file = file.open(&note).map_err(|e| {
            Error::usage(format!("{} cannot be written: {e}", note.display()))
                .help("upgrade-nixos changes the lock file of a flake in a folder of yours")
        })?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::usage("another upgrade-nixos is at work in this repository"))?;
        let left = std::fs::read_to_string(&note).unwrap_or_default();
        if let Ok(left) = serde_json::from_str::<Note>(&left) {
            reporter.warning(None, settle(&left, &lock)?);
        }
        Ok(Self {
            file,
            note,
            lock,
            held: None,
            changed: Changed::default(),
        })
    }

    /// Writes the lock file, and a note of its former text.
    pub fn write(mut self, update: &Update) -> Result<Self> {
        if update.before == update.after {
            return Ok(self);
        }
        let note = Note {
            before: update.before.clone(),
            after: update.after.clone(),
            deploying: false,
        };
        self.keep(&note)?;
        self.held = Some(note);
        replace(&self.lock, &update.after)?;
        Ok(self)
    }

    /// The flag that says whether a node was changed.
    pub fn changed(&self) -> Changed {
        self.changed.clone()
    }

    /// Notes that nodes are changed from here on.
    pub fn deploying(&self) -> Result<()> {
        match &self.held {
            Some(note) => self.keep(&Note {
                before: note.before.clone(),
                after: note.after.clone(),
                deploying: true,
            }),
            None => Ok(()),
        }
    }

    /// Ends the hold: keeps or restores the lock file.
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if let Some(note) = self.held.take()
            && !self.changed.is_set()
        {
            replace(&self.lock, &note.before)?;
        }
        match std::fs::remove_file(&self.note) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).context(|| format!("cannot remove {}", self.note.display()))
            }
            _ => Ok(()),
        }
    }

    /// Rewrites the note in place, as its file is the locked one.
    fn keep(&self, note: &Note) -> Result<()> {
        let text = serde_json::to_vec(note)
            .map_err(|e| Error::unexpected(format!("the note cannot be printed: {e}")))?;
        let write = || {
            use std::os::unix::fs::FileExt;
            self.file.set_len(0)?;
            self.file.write_all_at(&text, 0)?;
            self.file.sync_all()
        };
        write().context(|| format!("cannot write {}", self.note.display()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            tracing::error!("{e}");
        }
    }
}

/// Keeps or restores the lock file of a killed run, and returns what was done.
fn settle(left: &Note, lock: &Path) -> Result<&'static str> {
    let now = std::fs::read_to_string(lock).unwrap_or_default();
    if left.deploying && now == left.after {
        return Ok("an upgrade was killed while it deployed: flake.lock stays as it had it");
    }
    if now == left.after {
        replace(lock, &left.before)?;
        return Ok("an upgrade was killed before it deployed: flake.lock is as it was before it");
    }
    Ok("an upgrade was killed; flake.lock is not as it had it, and stays")
}

/// Replaces a file whole or not at all, with its mode.
fn replace(file: &Path, text: &str) -> Result<()> {
    let write = || {
        let mode = std::fs::metadata(file)?.permissions().mode();
        crate::file::replace(file, text, mode & 0o7777)
    };
    write().context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;

    fn repository() -> (tempfile::TempDir, Flake) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("flake.lock"), "old").unwrap();
        let flake = Flake::folder(dir.path());
        (dir, flake)
    }

    fn update(flake: &Flake) -> Update {
        Update::of(flake.root.join("flake.lock"), "old", "new")
    }

    fn lock(flake: &Flake) -> String {
        std::fs::read_to_string(flake.root.join("flake.lock")).unwrap()
    }

    fn open(flake: &Flake) -> Result<Guard> {
        let command_line = clap::Command::default();
        let reporter = Reporter::new(false, Level::Usual, None, command_line).unwrap();
        Guard::open(flake, &reporter)
    }

    #[test]
    fn the_lock_is_put_back_unless_a_node_was_changed() {
        let (_dir, flake) = repository();
        let guard = open(&flake).unwrap().write(&update(&flake)).unwrap();
        assert_eq!(lock(&flake), "new");
        assert!(open(&flake).is_err(), "one at a time");
        drop(guard);
        assert_eq!(lock(&flake), "old");
        let guard = open(&flake).unwrap().write(&update(&flake)).unwrap();
        guard.changed().set();
        guard.close().unwrap();
        assert_eq!(lock(&flake), "new");
        assert!(!flake.root.join(NOTE).exists());
    }

    #[test]
    fn what_a_killed_run_left_is_put_back_by_the_next_unless_it_deployed() {
        for (deploying, after) in [(false, "old"), (true, "new")] {
            let (_dir, flake) = repository();
            let guard = open(&flake).unwrap().write(&update(&flake)).unwrap();
            if deploying {
                guard.deploying().unwrap();
            }
            // As if killed: nothing is dropped, and the system releases the locks.
            rustix::fs::flock(&guard.file, FlockOperation::Unlock).unwrap();
            std::mem::forget(guard);
            drop(open(&flake).unwrap());
            assert_eq!(lock(&flake), after);
        }
    }

    #[test]
    fn a_lock_that_was_changed_since_is_not_touched() {
        let (_dir, flake) = repository();
        let guard = open(&flake).unwrap().write(&update(&flake)).unwrap();
        rustix::fs::flock(&guard.file, FlockOperation::Unlock).unwrap();
        std::mem::forget(guard);
        std::fs::write(flake.root.join("flake.lock"), "another").unwrap();
        drop(open(&flake).unwrap());
        assert_eq!(lock(&flake), "another");
    }
}
