//! Folders that no other user can enter: for sockets to root's daemons, and for files before
//! encryption.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::{Builder, TempDir};

/// Makes a folder below `base` that only this user can enter, under every umask. Dropping it
/// removes it.
pub fn folder(prefix: &str, base: &Path) -> io::Result<TempDir> {
    Builder::new()
        .prefix(prefix)
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(base)
}

/// Makes a lasting folder, and its missing parents, that only this user can enter, under every
/// umask. An existing folder must belong to this user; others lose their access.
pub fn lasting(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let found = folder.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        let what = "the folder is somebody else's";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)),
    }
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

    #[test]
    fn a_folder_that_stays_is_closed_to_others_whoever_could_enter_it_before() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a/b");
        let mode = || folder.metadata().unwrap().mode() & 0o7777;
        lasting(&folder).unwrap();
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        lasting(&folder).unwrap();
        assert_eq!(mode(), 0o700);
    }
}
