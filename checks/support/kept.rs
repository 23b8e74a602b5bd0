//! A program in the background of a test. Its output goes to a file, and is shown if the test fails:
//! it explains why a wait was in vain.

use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};

/// Dereferences to the process. Dropping it does not end the process.
pub struct Kept {
    child: Child,
    name: String,
    said: std::fs::File,
}

impl Kept {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let said = tempfile::tempfile().unwrap();
        let child = command
            .stdout(said.try_clone().unwrap())
            .stderr(said.try_clone().unwrap())
            .spawn()
            .unwrap();
        let name = command.get_program().to_string_lossy().into_owned();
        Self { child, name, said }
    }

    /// Its output so far.
    pub fn said(&self) -> String {
        // The program writes at the shared file offset, so this reads at explicit offsets.
        let mut bytes = vec![0; 64 * 1024];
        let length = self.said.metadata().map_or(0, |file| file.len());
        let from = length.saturating_sub(bytes.len() as u64);
        let read = std::os::unix::fs::FileExt::read_at(&self.said, &mut bytes, from);
        String::from_utf8_lossy(&bytes[..read.unwrap_or(0)]).into_owned()
    }
}

impl Deref for Kept {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what {} said:\n{}", self.name, self.said());
        }
    }
}
