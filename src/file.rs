//! Files of this machine that are written in one step.

use std::io::{Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Replaces a file by `text`, whole or not at all, with the permissions `mode`. Its folder exists.
pub fn replace(file: &Path, text: &str, mode: u32) -> Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut new = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    // The umask limits the mode that a file is created with.
    let mode = std::fs::Permissions::from_mode(mode);
    new.as_file().set_permissions(mode)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page");
        for (text, mode) in [("one", 0o644), ("two", 0o600)] {
            replace(&file, text, mode).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
            let found = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
        }
        assert!(replace(&folder.path().join("none/page"), "", 0o644).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
