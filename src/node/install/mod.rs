//! Writes files on nodes: the one way in which passwords, certificates and
//! secrets get there.
//!
//! A [`Manifest`] says what is wanted. [`install`] brings a node to it in one
//! round trip as root: what is as wanted is left alone, everything else is made
//! ready beside its place, flushed to the disk and renamed. Up to the renames
//! any failure leaves all files as they were; a run that was cut off is completed
//! by the next one. Content is on standard input only.

use std::collections::BTreeMap;
use std::fmt;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::cluster::ownership::{Account, Ownership};
use crate::cluster::{Name, NodePath};
use crate::error::{Error, Exit, Result};
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, Output, Script};

/// Reads a manifest and brings the node to it.
pub const INSTALL: Script = Script {
    name: "nixcfg-install",
    limit: Script::WORK,
    text: concat!(include_str!("install.sh"), include_str!("run.sh")),
};

/// How often a node is asked what became of its files.
const TRIES: usize = 3;

/// What is wanted on a node, in the order in which it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Folders come before what is in them. Missing ones that are not named are made as root's, with mode 0755.
    pub entries: Vec<Entry>,
}

/// One thing that is wanted on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder. What is in it stays.
    Folder {
        /// Where.
        path: NodePath,
        /// Whose.
        ownership: Ownership,
    },
    /// A regular file.
    File {
        /// Where.
        path: NodePath,
        /// Whose.
        ownership: Ownership,
        /// All of it.
        content: Content,
    },
    /// A symbolic link.
    Link {
        /// Where.
        path: NodePath,
        /// What it points at, relative to its folder or absolute.
        target: String,
        /// The user, besides root, to whom its folder may belong.
        user: Account,
    },
    /// No file and no link.
    Absent {
        /// Where.
        path: NodePath,
    },
}

/// The content of a file: wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Zeroizing<Vec<u8>>);

impl Content {
    /// Takes over bytes as a file's content.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(…)")
    }
}

impl Entry {
    /// Where it is.
    pub fn path(&self) -> &NodePath {
        match self {
            Entry::Folder { path, .. }
            | Entry::File { path, .. }
            | Entry::Link { path, .. }
            | Entry::Absent { path } => path,
        }
    }
}

impl Manifest {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder.
    pub fn folder(&mut self, path: NodePath, ownership: Ownership) {
        self.entries.push(Entry::Folder { path, ownership });
    }

    /// Adds a file.
    pub fn file(&mut self, path: NodePath, ownership: Ownership, content: Content) {
        self.entries.push(Entry::File {
            path,
            ownership,
            content,
        });
    }

    /// Adds a symbolic link, in a folder that may be `user`'s.
    pub fn link(&mut self, path: NodePath, target: impl Into<String>, user: Account) {
        self.entries.push(Entry::Link {
            path,
            target: target.into(),
            user,
        });
    }

    /// Has a file removed, in a folder that must be root's.
    pub fn absent(&mut self, path: NodePath) {
        self.entries.push(Entry::Absent { path });
    }

    /// The manifest as `install.sh` reads it: a line a folder or absence, two a
    /// file (the second is the content in base64, RFC 4648 §4) and a link (the second
    /// is its target), and a last one that tells a whole manifest from one cut short.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(Vec::new());
        for entry in &self.entries {
            match entry {
                Entry::Folder { path, ownership } => {
                    text.extend_from_slice(
                        format!("folder {} {path}\n", words(ownership)).as_bytes(),
                    );
                }
                Entry::File {
                    path,
                    ownership,
                    content,
                } => {
                    let content = Zeroizing::new(Base64::encode_string(&content.0));
                    text.extend_from_slice(
                        format!("file {} {path}\n", words(ownership)).as_bytes(),
                    );
                    text.extend_from_slice(content.as_bytes());
                    text.push(b'\n');
                }
                Entry::Link { path, target, user } => {
                    if target.is_empty() || target.contains(char::is_control) {
                        return Err(Error::usage(format!(
                            "the link {path} cannot point at ‘{}’",
                            target.escape_debug()
                        )));
                    }
                    text.extend_from_slice(format!("link {user} {path}\n{target}\n").as_bytes());
                }
                Entry::Absent { path } => {
                    text.extend_from_slice(format!("absent root {path}\n").as_bytes());
                }
            }
        }
        text.extend_from_slice(b"end\n");
        Ok(text)
    }
}

fn words(ownership: &Ownership) -> String {
    format!("{} {} {}", ownership.mode, ownership.user, ownership.group)
}

/// What became of something that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there, with another content, owner or mode.
    Changed,
    /// It was there, and is no more.
    Removed,
    /// It was there as wanted, or was to be absent and is, and was not touched.
    Unchanged,
}

/// What became of everything that was wanted, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    changes: BTreeMap<String, Change>,
    whole: bool,
}

impl Report {
    /// Reads what `install.sh` printed, of which a part may be lost.
    pub fn parse(told: &str) -> Self {
        let change = |word| match word {
            "created" => Some(Change::Created),
            "changed" => Some(Change::Changed),
            "removed" => Some(Change::Removed),
            "unchanged" => Some(Change::Unchanged),
            _ => None,
        };
        // What is not a line to its end names another path.
        let lines = told.rfind('\n').map_or("", |end| &told[..end]);
        let changes = lines
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(word, path)| Some((path.to_owned(), change(word)?)))
            .collect();
        Self {
            changes,
            whole: told.ends_with("\nend\n") || told == "end\n",
        }
    }

    /// The report on a manifest: whole only if it tells of each path. A node that merely
    /// says that it is done has shown nothing.
    pub fn on(manifest: &Manifest, told: &str) -> Self {
        let mut report = Self::parse(told);
        let mut paths = manifest.entries.iter().map(Entry::path);
        report.whole &= paths.all(|path| report.of(path).is_some());
        report
    }

    /// Whether nothing of it was lost.
    pub fn whole(&self) -> bool {
        self.whole
    }

    /// Takes over what a later run on the same manifest told. What this report,
    /// of which a part was lost, does not tell of may have been changed before:
    /// then it counts as changed.
    fn then(&mut self, later: Self) {
        for (path, change) in later.changes {
            match self.changes.get(&path) {
                Some(known) if *known != Change::Unchanged => {}
                Some(_) => {
                    self.changes.insert(path, change);
                }
                None if change == Change::Unchanged => {
                    self.changes.insert(path, Change::Changed);
                }
                None => {
                    self.changes.insert(path, change);
                }
            }
        }
        self.whole = later.whole;
    }

    /// What became of `path`; nothing if it was not among what is wanted.
    pub fn of(&self, path: &NodePath) -> Option<Change> {
        self.changes.get(path.as_str()).copied()
    }

    /// The paths of everything that was created or changed.
    pub fn touched(&self) -> impl Iterator<Item = &str> {
        self.changes
            .iter()
            .filter(|(_, change)| **change != Change::Unchanged)
            .map(|(path, _)| path.as_str())
    }

    /// The error of a run of `install.sh` that ended after this.
    pub fn failed(&self, node: &Name, said: &str) -> Error {
        let touched: Vec<&str> = self.touched().collect();
        let what = match touched.is_empty() {
            true => "files could not be written; nothing was changed".to_owned(),
            false => format!(
                "files could not be written; before that were: {}",
                touched.join(", ")
            ),
        };
        Error::new(Exit::Partial, what)
            .on(node)
            .saying(said)
            .help("run again once this is put right: what is done is not done twice")
    }
}

/// Brings a node to a manifest. An error says what was changed before it came to that.
pub async fn install(
    connection: &Connection,
    how: &Elevation,
    manifest: &Manifest,
) -> Result<Report> {
    let input = manifest.encode()?;
    let mut reports = Reports::on(manifest);
    loop {
        let output = connection.run_root(how, INSTALL, &[], &input).await?;
        if let Some(report) = reports.add(connection.node(), &output)? {
            return Ok(report);
        }
    }
}

/// The reports of runs on one manifest, until they are whole together: a login that is lost
/// can cut one short, even where the run ends well.
pub struct Reports<'a> {
    manifest: &'a Manifest,
    known: Report,
    runs: usize,
}

impl<'a> Reports<'a> {
    /// None yet.
    pub fn on(manifest: &'a Manifest) -> Self {
        Self {
            manifest,
            known: Report::default(),
            runs: 0,
        }
    }

    /// Takes what a run left; the report where it is whole now, nothing where it has to be
    /// run again. An error says what was changed before it came to that.
    pub fn add(&mut self, node: &Name, output: &Output) -> Result<Option<Report>> {
        let report = Report::on(self.manifest, &output.stdout);
        if self.runs == 0 {
            self.known = report.clone();
        }
        self.known.then(report);
        self.runs += 1;
        if !output.status.success() {
            return Err(self.known.failed(node, &output.stderr));
        }
        if self.known.whole() {
            return Ok(Some(self.known.clone()));
        }
        if self.runs < TRIES {
            return Ok(None);
        }
        let what = format!(
            "files were written, but {TRIES} times what became of them was not told to its end"
        );
        Err(Error::new(Exit::Partial, what)
            .on(node)
            .help("run again: what is done is not done twice"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ownership::Mode;

    fn path(text: &str) -> NodePath {
        text.parse().unwrap()
    }

    #[test]
    fn a_manifest_is_lines_with_the_content_in_base64() {
        let mut manifest = Manifest::new();
        manifest.folder(path("/var/lib/x"), Ownership::root(Mode::PRIVATE_FOLDER));
        let ownership = Ownership {
            user: "garage".parse().unwrap(),
            group: "web".parse().unwrap(),
            mode: Mode::SECRET,
        };
        manifest.file(path("/var/lib/x/a key"), ownership, Content::new("a\0\nb"));
        manifest.link(path("/var/lib/x/key"), "a key", Account::root());
        assert_eq!(
            String::from_utf8_lossy(&manifest.encode().unwrap()),
            "folder 700 root root /var/lib/x\nfile 400 garage web /var/lib/x/a key\nYQAKYg==\nlink root /var/lib/x/key\na key\nend\n"
        );
    }

    #[test]
    fn content_is_not_shown_by_debug() {
        let mut manifest = Manifest::new();
        manifest.file(
            path("/a"),
            Ownership::root(Mode::SECRET),
            Content::new("hunter2"),
        );
        let shown = format!("{manifest:?}");
        assert!(
            shown.contains("/a") && !shown.contains("104") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn a_link_to_two_lines_is_refused() {
        for target in ["", "a\nend"] {
            let mut manifest = Manifest::new();
            manifest.link(path("/a"), target, Account::root());
            assert!(manifest.encode().is_err(), "{target:?}");
        }
    }

    #[test]
    fn a_report_tells_what_became_of_each_path() {
        let report = Report::parse("unchanged /a\ncreated /b c\nchanged /d\nnoise\nend\n");
        assert!(report.whole());
        assert_eq!(report.of(&path("/a")), Some(Change::Unchanged));
        assert_eq!(report.of(&path("/b c")), Some(Change::Created));
        assert_eq!(report.of(&path("/e")), None);
        assert_eq!(report.touched().collect::<Vec<_>>(), ["/b c", "/d"]);
    }

    #[test]
    fn a_report_that_was_cut_anywhere_is_not_whole_and_names_no_other_path() {
        let whole = "created /a/folder\ncreated /a/folder/key\nend\n";
        for end in 0..whole.len() {
            let report = Report::parse(&whole[..end]);
            assert!(!report.whole(), "{end}");
            let known = ["/a/folder", "/a/folder/key"];
            assert!(report.touched().all(|path| known.contains(&path)), "{end}");
        }
        assert!(Report::parse("end\n").whole());
        assert!(!Report::parse("created /the end\n").whole());
    }

    /// What comes of runs that print these, one after the other, each with an exit code.
    fn after(runs: &[(&str, i32)]) -> (Result<Report>, usize) {
        use std::os::unix::process::ExitStatusExt;
        let mut manifest = Manifest::new();
        for path in ["/a", "/b", "/c"] {
            manifest.absent(path.parse().unwrap());
        }
        let mut reports = Reports::on(&manifest);
        for (asked, (stdout, code)) in (1..).zip(runs) {
            let output = Output {
                status: std::process::ExitStatus::from_raw(code << 8),
                stdout: (*stdout).to_owned(),
                stderr: String::new(),
            };
            match reports.add(&"alder".parse().unwrap(), &output) {
                Ok(None) => {}
                Ok(Some(report)) => return (Ok(report), asked),
                Err(error) => return (Err(error), asked),
            }
        }
        panic!("{} runs were not enough", runs.len())
    }

    #[test]
    fn a_report_that_is_lost_is_asked_for_again_and_what_may_have_changed_counts_as_changed() {
        let again = "unchanged /a\nunchanged /b\nunchanged /c\nend\n";
        let (report, asked) = after(&[("unchanged /a\ncreated /b\nchang", 0), (again, 0)]);
        let report = report.unwrap();
        assert_eq!(report.of(&path("/a")), Some(Change::Unchanged));
        assert_eq!(report.of(&path("/b")), Some(Change::Created));
        assert_eq!(report.of(&path("/c")), Some(Change::Changed));
        assert_eq!(asked, 2);
        let (report, asked) = after(&[("", 0), (again, 0)]);
        assert_eq!((report.unwrap().touched().count(), asked), (3, 2));
        let (report, asked) = after(&[(again, 0)]);
        assert_eq!((report.unwrap().touched().count(), asked), (0, 1));
    }

    #[test]
    fn a_node_that_says_only_that_it_is_done_has_written_nothing() {
        let (report, asked) = after(&[("end\n", 0), ("end\n", 0), ("unchanged /a\nend\n", 0)]);
        assert!(report.unwrap_err().what.contains("3 times"));
        assert_eq!(asked, 3);
    }

    #[test]
    fn a_report_that_is_lost_each_time_is_an_error_as_a_run_that_fails_is() {
        let (report, asked) = after(&[("", 0), ("", 0), ("created /a\n", 0)]);
        assert!(report.unwrap_err().what.contains("3 times"));
        assert_eq!(asked, 3);
        let (report, asked) = after(&[("", 0), ("created /b\n", 1)]);
        assert!(report.unwrap_err().what.contains("before that were: /b"));
        assert_eq!(asked, 2);
    }
}
