//! What error messages of `pass` and GnuPG mean.

use std::path::Path;

use crate::error::{Error, Exit};

/// Whether another try may help. A busy GnuPG agent prints the message of a missing key; a second
/// try distinguishes the two.
pub fn may_pass(said: &str) -> bool {
    let said = said.to_lowercase();
    said.contains("no secret key") || said.contains("cannot allocate memory")
}

/// The keys that an entry is encrypted for, from GnuPG's status lines.
pub fn recipients(said: &str) -> Vec<&str> {
    said.lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] ENC_TO "))
        .filter_map(|rest| rest.split(' ').next())
        .collect()
}

/// The error of an entry that cannot be decrypted although its key is there. GnuPG prints the
/// message of a missing key.
pub fn locked(error: Error, place: &str) -> Error {
    let said = spoken(error.output.as_deref().unwrap_or_default());
    let mut told = Error::new(
        Exit::Usage,
        format!("your GPG key is locked: {place} cannot be read"),
    )
    .saying(said)
    .help("unlock it once (pass show of any entry); on a terminal: export GPG_TTY=$(tty)");
    told.command = error.command;
    told
}

/// The text without GnuPG's status lines.
pub(super) fn spoken(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("[GNUPG:]"))
        .collect();
    lines.join("\n")
}

/// The error of a `.gpg-id` whose signature `pass` refused; none if `error` is another one.
pub fn unsigned(error: &Error, list: &Path) -> Option<Error> {
    let said = spoken(error.output.as_deref().unwrap_or_default());
    // `verify_file` of pass 1.7: "Signature for … does not exist." and "… is invalid."
    said.contains("Signature for ").then(|| {
        Error::usage(format!(
            "{} is not signed by a key of PASSWORD_STORE_SIGNING_KEY",
            list.display()
        ))
        .help("who changed it? one who may sign does so by ‘pass init -p FOLDER KEY…’")
    })
}

/// Explains the `error` of a failed `pass` about `place`.
pub fn explain(error: Error, place: &str) -> Error {
    let said = spoken(error.output.as_deref().unwrap_or_default());
    let has = |words: &[&str]| {
        let said = said.to_lowercase();
        words.iter().any(|word| said.contains(word))
    };
    let told = |what: String, help: &str| {
        let mut told = Error::new(Exit::Usage, what).saying(&said).help(help);
        told.command = error.command.clone();
        told
    };
    if has(&["you must run:"]) {
        told(
            "the password store is not initialised".into(),
            "make one with ‘pass init KEY’, clone your team’s, or point PASSWORD_STORE_DIR at it",
        )
    } else if has(&["is not in the password store"]) {
        told(
            format!("{place} is not in the password store"),
            "is the store up to date? pull it, or make what is missing",
        )
    } else if has(&["no pinentry"]) {
        told(
            format!(
                "your GPG key is locked, and nothing can ask for its passphrase: {place} cannot be read"
            ),
            "install a pinentry (pinentry-curses), or unlock the key another way",
        )
    } else if has(&["no secret key"]) {
        told(
            format!("{place} is not encrypted for a key that you have"),
            "ask someone who can read the store to add your key: pass init -p FOLDER KEY…",
        )
    } else if has(&[
        "no public key",
        "unusable public key",
        "no assurance",
        "no name",
        // GnuPG 2.4, if its keyserver or the domain of the address cannot be reached.
        "skipped: unknown host",
    ]) {
        told(
            format!("{place} cannot be encrypted for everyone who is to read it"),
            "import and trust the keys named in the store’s .gpg-id",
        )
    } else {
        Error {
            output: Some(said).filter(|said| !said.is_empty()),
            ..error
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_key_is_told_from_a_foreign_one() {
        let failed = |said: &str| Error::unexpected("pass failed").saying(said);
        let foreign = explain(failed("gpg: decryption failed: No secret key"), "x");
        assert!(
            foreign
                .what
                .contains("not encrypted for a key that you have")
        );
        let said = "[GNUPG:] ENC_TO 46C2693467FBCB06 18 0\ngpg: decryption failed: No secret key";
        assert_eq!(recipients(said), ["46C2693467FBCB06"]);
        let locked = locked(failed(said), "x");
        assert_eq!(locked.exit, Exit::Usage);
        assert_eq!(
            locked.output.as_deref(),
            Some("gpg: decryption failed: No secret key")
        );
    }

    #[test]
    fn what_is_not_understood_stays_as_it_was() {
        let error = explain(
            Error::unexpected("pass failed").saying("no space left"),
            "x",
        );
        assert_eq!(error.what, "pass failed");
    }
}
