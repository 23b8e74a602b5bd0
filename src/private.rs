//! Folders for what nobody else may see: sockets to root's daemons, what is being encrypted.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{Builder, TempDir};

/// Makes a folder below `base` that only this user enters, whatever the umask is. It is
/// removed when dropped.
pub fn folder(prefix: &str, base: &Path) -> io::Result<TempDir> {
    Builder::new()
        .prefix(prefix)
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_enters_a_private_folder() {
        let base = tempfile::tempdir().unwrap();
        let folder = folder("x-", base.path()).unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}
