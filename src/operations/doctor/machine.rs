//! The operator's machine: programs, and the flake's lock.

use serde_json::Value;
use time::OffsetDateTime;

use super::check::Check;
use crate::error::{Kind, Result};
use crate::nix::source::Flake;
use crate::pki::day;
use crate::process::Command;

/// The programs that operations call: how each is asked for its version, and the oldest that will do.
const TOOLS: [(&str, &str, (u32, u32)); 5] = [
    ("nix", "--version", (2, 8)),
    // `%` in ControlPath, and names of files in quotes.
    ("ssh", "-V", (7, 8)),
    ("git", "--version", (2, 11)),
    ("gpg", "--version", (2, 1)),
    ("pass", "--version", (1, 7)),
];

/// Looks at each program.
pub async fn tools() -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (name, how, least) in TOOLS {
        let said = match Command::new(name).arg(how).run(|_| {}).await {
            Ok(done) => {
                Some(String::from_utf8_lossy(&done.stdout).into_owned() + &done.stderr_tail)
            }
            Err(error) if error.kind == Kind::NotOnPath => None,
            Err(error) => return Err(error),
        };
        checks.push(tool(name, least, said.as_deref()));
    }
    Ok(checks)
}

/// A program that `said` what it is; nothing where it is not on PATH.
pub fn tool(name: &'static str, least: (u32, u32), said: Option<&str>) -> Check {
    let apps = "or run the flake's apps (nix run .#…), which bring it";
    let Some(said) = said else {
        let help = format!("install {name}, {apps}");
        return Check::wrong(name, "is not on PATH", help);
    };
    let words = said.split(|c: char| c.is_whitespace() || c == ',');
    let mut versions = words.filter_map(|word| Some((version(word)?, word)));
    match versions.next() {
        None => Check::unseen(name, "does not tell its version"),
        Some((have, word)) if have < least => {
            let (major, minor) = least;
            let help = format!("install {name} {major}.{minor} or newer, {apps}");
            Check::wrong(name, format!("{word} is too old"), help)
        }
        Some((_, word)) => Check::ok(name, word),
    }
}

/// The first two numbers of a word such as `v1.7.4` or `OpenSSH_9.2p1`.
fn version(word: &str) -> Option<(u32, u32)> {
    let word = word.rsplit('_').next()?;
    let word = word.strip_prefix('v').unwrap_or(word);
    let (major, rest) = word.split_once('.')?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let minor = &rest[..end.unwrap_or(rest.len())];
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What is known of a flake's lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Its text, where it is there.
    pub text: Option<String>,
    /// Whether Git does not track it, where that counts.
    pub untracked: bool,
}

impl Lock {
    /// Reads it.
    pub async fn of(flake: &Flake) -> Result<Self> {
        let text = std::fs::read_to_string(flake.root.join("flake.lock")).ok();
        let tracked = Command::new("git").arg("-C").arg(&flake.root);
        let tracked = tracked.args(["ls-files", "--error-unmatch", "flake.lock"]);
        Ok(Self {
            untracked: flake.is_in_git() && !tracked.run(|_| {}).await?.success,
            text,
        })
    }
}

/// Whether everybody who uses the flake has the same nixpkgs.
pub fn lock(lock: &Lock, now: OffsetDateTime) -> Check {
    let Some(text) = &lock.text else {
        let told = "there is no flake.lock: each machine would take another nixpkgs";
        return Check::wrong("lock", told, "nix flake lock && git add flake.lock");
    };
    if lock.untracked {
        let told = "flake.lock is not tracked by Git, so Nix does not see it";
        return Check::wrong("lock", told, "git add flake.lock");
    }
    let Ok(lock) = serde_json::from_str::<Value>(text) else {
        let told = "flake.lock is not JSON: a merge may have left marks in it";
        return Check::wrong("lock", told, "git checkout HEAD -- flake.lock");
    };
    let nodes = &lock["nodes"];
    let root = lock["root"].as_str().unwrap_or("root");
    let nixpkgs = nodes[root]["inputs"]["nixpkgs"].as_str();
    let since = nixpkgs.and_then(|name| nodes[name]["locked"]["lastModified"].as_i64());
    match since.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()) {
        Some(at) => {
            let days = (now - at).whole_days();
            Check::ok("lock", format!("nixpkgs of {}, {days} days old", day(at)))
        }
        None => Check::ok("lock", "flake.lock is there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verdict;

    #[test]
    fn a_tool_is_there_and_new_enough_or_what_to_do_is_told() {
        let of = |name, least, said| tool(name, least, said);
        for (name, least, said, told) in [
            ("nix", (2, 8), "nix (Nix) 2.24.9", "2.24.9"),
            (
                "ssh",
                (7, 8),
                "OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.15",
                "OpenSSH_9.2p1",
            ),
            ("git", (2, 11), "git version 2.39.5", "2.39.5"),
            (
                "gpg",
                (2, 1),
                "gpg (GnuPG) 2.2.40\nlibgcrypt 1.10.1",
                "2.2.40",
            ),
            ("pass", (1, 7), "=====\n= v1.7.4 =\n", "v1.7.4"),
        ] {
            assert_eq!(of(name, least, Some(said)), Check::ok(name, told));
        }
        let old = of("nix", (2, 8), Some("nix (Nix) 2.3.16"));
        assert_eq!(old.verdict, Verdict::Wrong);
        assert!(old.help.unwrap().contains("nix 2.8 or newer"));
        assert!(of("pass", (1, 7), None).told.contains("not on PATH"));
        assert_eq!(of("git", (2, 11), Some("?")).verdict, Verdict::Unseen);
    }

    #[test]
    fn a_lock_is_there_and_tracked_and_tells_its_age() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let text = r#"{"root":"root","nodes":{"root":{"inputs":{"nixpkgs":"n"}},"n":{"locked":{"lastModified":1799913600}}}}"#;
        let mut one = Lock {
            text: Some(text.into()),
            untracked: false,
        };
        assert_eq!(lock(&one, now).told, "nixpkgs of 2027-01-14, 1 days old");
        one.untracked = true;
        assert_eq!(lock(&one, now).help.unwrap(), "git add flake.lock");
        one = Lock {
            text: Some("<<<<<<< HEAD".into()),
            untracked: false,
        };
        assert_eq!(lock(&one, now).verdict, Verdict::Wrong);
        assert_eq!(lock(&Lock::default(), now).verdict, Verdict::Wrong);
    }
}
