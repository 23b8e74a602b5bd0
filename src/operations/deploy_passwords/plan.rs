//! Compares a node's passwords with the wanted ones, and plans the changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Name;
use crate::cluster::NodePath;
use crate::cluster::ownership::{Mode, Ownership};
use crate::error::{Error, Exit, Result};
use crate::node::install::{Content, Manifest};
use crate::node::ssh::answer::Answer;
use crate::password::hash::Hash;

/// A user's line in `/etc/shadow`, compared with the wanted hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// There is no such user.
    Absent,
    /// It has the wanted hash.
    Same,
    /// It has another hash.
    Different,
    /// No password fits it.
    Locked,
}

impl Account {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "absent" => Self::Absent,
            "same" => Self::Same,
            "different" => Self::Different,
            "locked" => Self::Locked,
            _ => return None,
        })
    }
}

/// The state of a node, from `inspect.sh`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By user: the account, and whether the password file is as wanted.
    pub users: BTreeMap<Name, (Account, bool)>,
    /// Members of wheel who are no administrators.
    pub removed: BTreeMap<Name, Account>,
    /// Files in the folders of password files that are no administrator's.
    pub files: BTreeSet<Name>,
    /// Whether `/etc/shadow` is on a read-only file system.
    pub read_only: bool,
}

impl Seen {
    /// Parses the output of `inspect.sh`.
    pub fn parse(answer: &Answer) -> Result<Self> {
        let mut seen = Self::default();
        for line in answer.text().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["user", user, account, file] => {
                    let account = Account::read(account).ok_or_else(|| strange(line))?;
                    seen.users.insert(user.parse()?, (account, *file == "same"));
                }
                // This tool cannot have made an account whose name it refuses.
                ["removed", user, account] => {
                    if let (Ok(user), Some(account)) = (user.parse(), Account::read(account)) {
                        seen.removed.insert(user, account);
                    }
                }
                ["file", user] => seen.files.extend(user.parse::<Name>().ok()),
                ["readonly"] => seen.read_only = true,
                _ => {}
            }
        }
        Ok(seen)
    }

    /// An error where a user who was asked about is not told of.
    pub fn tells_of<'a>(&self, mut asked: impl Iterator<Item = &'a Name>) -> Result<()> {
        match asked.find(|user| !self.users.contains_key(*user)) {
            Some(user) => Err(strange(&format!("nothing of {user}"))),
            None => Ok(()),
        }
    }
}

fn strange(told: &str) -> Error {
    Error::unexpected("the node does not tell its passwords as it should").saying(told)
}

/// A password that is wanted on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its hash.
    pub hash: Hash,
    /// The file that `hashedPasswordFile` names.
    pub file: NodePath,
}

/// The changes on a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Users whose file to write.
    pub write: BTreeSet<Name>,
    /// Users whose hash to make effective.
    pub set: BTreeSet<Name>,
    /// Users to lock.
    pub lock: BTreeSet<Name>,
    /// Users whose password file to remove.
    pub remove: BTreeSet<Name>,
    /// Former administrators that keep what they have.
    pub left: BTreeSet<Name>,
    /// Users who have no account yet.
    pub unknown: BTreeSet<Name>,
}

impl Plan {
    /// Plans for a node on which `login` is logged in. `login` is never locked.
    pub fn new(
        seen: &Seen,
        login: Option<&Name>,
        only: Option<&Name>,
        lock_removed: bool,
    ) -> Result<Self> {
        let mut plan = Self::default();
        for (user, (account, file)) in &seen.users {
            if !file {
                plan.write.insert(user.clone());
            }
            match account {
                Account::Same => {}
                Account::Different | Account::Locked => {
                    plan.set.insert(user.clone());
                }
                Account::Absent => {
                    plan.unknown.insert(user.clone());
                }
            }
        }
        let meant = |user: &&Name| only.is_none_or(|only| only == *user);
        let usable = seen
            .removed
            .iter()
            .filter(|(_, account)| **account == Account::Different)
            .map(|(user, _)| user);
        for user in usable.filter(meant) {
            let list = if lock_removed && Some(user) != login {
                &mut plan.lock
            } else {
                &mut plan.left
            };
            list.insert(user.clone());
        }
        for user in seen.files.iter().filter(meant) {
            let list = if lock_removed && Some(user) != login {
                &mut plan.remove
            } else {
                &mut plan.left
            };
            list.insert(user.clone());
        }
        if seen.read_only && !(plan.set.is_empty() && plan.lock.is_empty()) {
            return Err(Error::new(
                Exit::Partial,
                "/etc/shadow is on a read-only file system; nothing was changed",
            )
            .help("is the disk failing, or are users immutable by userborn? then deploy-nixos makes password files effective"));
        }
        Ok(plan)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.write.is_empty()
            && self.set.is_empty()
            && self.lock.is_empty()
            && self.remove.is_empty()
    }

    /// The wanted files. `removable` are the folders that may hold files of former administrators.
    pub fn manifest(
        &self,
        wanted: &BTreeMap<Name, Wanted>,
        folders: &BTreeSet<NodePath>,
    ) -> Result<Manifest> {
        let mut manifest = Manifest::new();
        for user in &self.write {
            let Some(wanted) = wanted.get(user) else {
                continue;
            };
            if let Some(folder) = wanted.file.folder()
                && folder.as_str() == FOLDER
            {
                manifest.folder(folder, Ownership::root(Mode::PRIVATE_FOLDER));
            }
            let content = Content::new(format!("{}\n", wanted.hash.expose()));
            manifest.file(wanted.file.clone(), Ownership::root(Mode::PRIVATE), content);
        }
        for user in &self.remove {
            for folder in folders {
                manifest.absent(folder.join(user.as_str())?);
            }
        }
        Ok(manifest)
    }

    /// The accounts, in the format of `guard.sh`.
    pub fn accounts(&self, wanted: &BTreeMap<Name, Wanted>) -> zeroize::Zeroizing<String> {
        let mut text = zeroize::Zeroizing::new(String::new());
        for user in &self.set {
            if let Some(wanted) = wanted.get(user) {
                text.push_str("set ");
                text.push_str(user.as_str());
                text.push(' ');
                text.push_str(wanted.hash.expose());
                text.push('\n');
            }
        }
        for user in &self.lock {
            text.push_str("lock ");
            text.push_str(user.as_str());
            text.push('\n');
        }
        text.push_str("end\n");
        text
    }

    /// What was done, as data: lists of users by action.
    pub fn data(&self) -> serde_json::Value {
        serde_json::json!({
            "set": self.set, "written": self.write, "locked": self.lock,
            "removed": self.remove, "formerAdministrators": self.left,
        })
    }

    /// What was done, in words.
    pub fn words(&self) -> String {
        let list = |verb: &str, users: &BTreeSet<Name>| {
            let names: Vec<&str> = users.iter().map(Name::as_str).collect();
            (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
        };
        let files: BTreeSet<Name> = self.write.difference(&self.set).cloned().collect();
        let parts: Vec<String> = [
            list("password set:", &self.set),
            list("file written:", &files),
            list("locked:", &self.lock),
            list("file removed:", &self.remove),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() {
            "unchanged".into()
        } else {
            parts.join("; ")
        }
    }
}

/// The default folder of password files, for root alone.
const FOLDER: &str = "/var/lib/nixcfg/passwords";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(printed: &str) -> Result<Seen> {
        Seen::parse(&crate::node::ssh::answer::tests::read(printed)?)
    }

    const HASH: &str = "$2b$12$uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn an_answer_that_leaves_a_user_out_is_refused() {
        let seen = parse("user alice same same\nend\n").unwrap();
        let (alice, bob) = (name("alice"), name("bob"));
        assert!(seen.tells_of([&alice].into_iter()).is_ok());
        assert!(seen.tells_of([&alice, &bob].into_iter()).is_err());
    }

    fn planned(told: &str, lock_removed: bool) -> Plan {
        let seen = parse(&format!("{told}end\n")).unwrap();
        Plan::new(&seen, Some(&name("alice")), None, lock_removed).unwrap()
    }

    fn wanted() -> BTreeMap<Name, Wanted> {
        let of = |user: &str| Wanted {
            hash: HASH.parse().unwrap(),
            file: format!("{FOLDER}/{user}").parse().unwrap(),
        };
        [(name("alice"), of("alice")), (name("bob"), of("bob"))].into()
    }

    #[test]
    fn what_is_as_wanted_is_not_touched() {
        let plan = planned("user alice same same\n", true);
        assert!(plan.is_empty());
        assert_eq!(plan.words(), "unchanged");
    }

    #[test]
    fn file_and_account_are_compared_apart() {
        let plan = planned("user alice different same\nuser bob same absent\n", false);
        assert_eq!(plan.set, [name("alice")].into());
        assert_eq!(plan.write, [name("bob")].into());
        assert_eq!(plan.words(), "password set: alice; file written: bob");
        assert_eq!(plan.data()["set"], serde_json::json!(["alice"]));
    }

    #[test]
    fn a_locked_account_gets_its_password_and_a_missing_one_its_file() {
        let plan = planned("user alice locked same\nuser bob absent absent\n", false);
        assert_eq!(plan.set, [name("alice")].into());
        assert_eq!(plan.unknown, [name("bob")].into());
        assert_eq!(plan.write, [name("bob")].into());
    }

    #[test]
    fn former_administrators_are_told_and_locked_only_when_asked() {
        let told = "removed carol different\nremoved dave locked\nfile erin\n";
        let plan = planned(told, false);
        assert_eq!(plan.left, [name("carol"), name("erin")].into());
        assert!(plan.is_empty());
        let plan = planned(told, true);
        assert_eq!(plan.lock, [name("carol")].into());
        assert_eq!(plan.remove, [name("erin")].into());
        assert!(plan.left.is_empty());
    }

    #[test]
    fn the_operator_at_work_is_never_locked() {
        let plan = planned("removed alice different\nfile alice\n", true);
        assert!(plan.is_empty());
        assert_eq!(plan.left, [name("alice")].into());
    }

    #[test]
    fn a_read_only_shadow_is_an_error_only_where_it_would_change() {
        let seen =
            |account| parse(&format!("user alice {account} absent\nreadonly\nend\n")).unwrap();
        assert!(Plan::new(&seen("different"), None, None, false).is_err());
        assert!(Plan::new(&seen("same"), None, None, false).is_ok());
    }

    #[test]
    fn an_answer_cut_short_is_no_answer() {
        assert!(parse("user alice same same\n").is_err());
        assert!(parse("user alice odd same\nend\n").is_err());
    }

    #[test]
    fn files_are_roots_alone_and_accounts_come_after_them() {
        let plan = planned(
            "user alice different different\nremoved carol different\nfile carol\n",
            true,
        );
        let folders = [FOLDER.parse().unwrap()].into();
        let manifest = plan.manifest(&wanted(), &folders).unwrap();
        let text = String::from_utf8_lossy(&manifest.encode().unwrap()).into_owned();
        assert!(text.starts_with("folder 700 root root /var/lib/nixcfg/passwords\nfile 600 root root /var/lib/nixcfg/passwords/alice\n"), "{text}");
        assert!(
            text.ends_with("absent root /var/lib/nixcfg/passwords/carol\nend\n"),
            "{text}"
        );
        assert_eq!(
            *plan.accounts(&wanted()),
            format!("set alice {HASH}\nlock carol\nend\n")
        );
    }
}
