//! Writes files on nodes. Passwords, certificates and secrets all go this way.
//!
//! A [`Manifest`] describes the wanted files. [`install`] brings a node to it in one round trip as
//! root. It leaves alone what is as wanted; it writes everything else beside its place, flushes it
//! to the disk, and renames it. Any failure before the renames leaves all files as they were, and
//! the next run completes an interrupted one. Content travels on standard input only.

use std::collections::BTreeMap;
use std::fmt;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::cluster::ownership::{Account, Ownership};
use crate::cluster::{Name, NodePath};
use crate::error::{Error, Exit, Result};
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, Output, Script};

/// Functions that write files: every script that writes one begins with them.
pub const FUNCTIONS: &str = include_str!("install.sh");

/// Reads a manifest and brings the node to it.
pub const INSTALL: Script = Script {
    name: "nixcfg-install",
    text: &[FUNCTIONS, include_str!("run.sh")],
    // Another run may hold the lock for 150 seconds.
    seconds: 300,
};

/// How often to run the script for a whole report.
const TRIES: usize = 3;

/// The wanted files of a node, in the order of their creation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Folders come before their content. Missing folders that are not listed are created as
    /// root's, with mode 0755.
    pub entries: Vec<Entry>,
}

/// A wanted file, folder or link, or an unwanted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder. Its content stays.
    Folder {
        path: NodePath,
        ownership: Ownership,
    },
    /// A regular file.
    File {
        path: NodePath,
        ownership: Ownership,
        content: Content,
    },
    /// A symbolic link.
    Link {
        path: NodePath,
        /// What it points at, relative to its folder or absolute.
        target: String,
        /// The user, besides root, to whom its folder may belong.
        user: Account,
    },
    /// No file and no link.
    Absent { path: NodePath },
}

/// The content of a file: wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Zeroizing<Vec<u8>>);

impl Content {
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
    /// An empty manifest.
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

    /// Adds a file to remove, in a folder that must be root's.
    pub fn absent(&mut self, path: NodePath) {
        self.entries.push(Entry::Absent { path });
    }

    /// The manifest in the format of `install.sh`. A folder or an absence is one line. A file or a
    /// link is two: the second has the file's content in base64 (RFC 4648 §4), or the link's
    /// target. A last line shows that the manifest is complete.
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

/// The change of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It existed with another content, owner or mode.
    Changed,
    /// It was removed.
    Removed,
    /// It was as wanted already, and was not touched.
    Unchanged,
}

/// The changes of all entries, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    changes: BTreeMap<String, Change>,
    whole: bool,
}

impl Report {
    /// Parses the output of `install.sh`, which may be truncated. It is whole if it has its end and
    /// reports every path.
    pub fn parse(printed: &str, manifest: &Manifest) -> Self {
        let change = |word| match word {
            "created" => Some(Change::Created),
            "changed" => Some(Change::Changed),
            "removed" => Some(Change::Removed),
            "unchanged" => Some(Change::Unchanged),
            _ => None,
        };
        // A truncated line would name another path.
        let lines = printed.rfind('\n').map_or("", |end| &printed[..end]);
        let changes: BTreeMap<String, Change> = lines
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(word, path)| Some((path.to_owned(), change(word)?)))
            .collect();
        let ended = printed.ends_with("\nend\n") || printed == "end\n";
        let told = |entry: &Entry| changes.contains_key(entry.path().as_str());
        let whole = ended && manifest.entries.iter().all(told);
        Self { changes, whole }
    }

    /// Whether the report is whole.
    pub fn whole(&self) -> bool {
        self.whole
    }

    /// Adds the report of a later run with the same manifest. A path missing from a truncated
    /// report counts as changed.
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

    /// The change of `path`; none if the manifest does not have it.
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

    /// The error of a run of `install.sh` with this report.
    pub fn failed(&self, node: &Name, said: &str) -> Error {
        let touched: Vec<&str> = self.touched().collect();
        let what = if touched.is_empty() {
            "files could not be written; nothing was changed".to_owned()
        } else {
            format!(
                "files could not be written; before that were: {}",
                touched.join(", ")
            )
        };
        Error::new(Exit::Partial, what)
            .on(node)
            .saying(said)
            .help("run again once this is put right: what is done is not done twice")
    }
}

/// Brings a node to a manifest. An error says what was changed before it.
pub async fn install(
    connection: &Connection,
    how: &Elevation,
    manifest: &Manifest,
) -> Result<Report> {
    let input = manifest.encode()?;
    let (report, _) = write(connection, how, INSTALL, manifest, &input).await?;
    Ok(report)
}

/// Runs a script that writes a manifest until its report is whole, as a lost login can truncate
/// one. Returns the report and the other output of all runs.
pub async fn write(
    connection: &Connection,
    how: &Elevation,
    script: Script,
    manifest: &Manifest,
    input: &[u8],
) -> Result<(Report, Output)> {
    let node = connection.node();
    let mut reports = Reports::default();
    for _ in 0..TRIES {
        let output = connection.run_root(how, script, &[], input).await?;
        if let Some(whole) = reports.add(node, manifest, output)? {
            return Ok(whole);
        }
    }
    Err(never_told(node))
}

/// The reports of runs with one manifest.
#[derive(Default)]
struct Reports {
    known: Option<Report>,
    printed: String,
}

impl Reports {
    /// Adds a run. Returns the result once the report is whole.
    fn add(
        &mut self,
        node: &Name,
        manifest: &Manifest,
        mut output: Output,
    ) -> Result<Option<(Report, Output)>> {
        let report = Report::parse(&output.stdout, manifest);
        self.printed.push_str(&output.stdout);
        let known = self.known.get_or_insert_with(|| report.clone());
        known.then(report);
        if !output.status.success() {
            return Err(known.failed(node, &output.stderr));
        }
        if !known.whole() {
            return Ok(None);
        }
        output.stdout = std::mem::take(&mut self.printed);
        Ok(Some((known.clone(), output)))
    }
}

fn never_told(node: &Name) -> Error {
    let what = format!(
        "files were written, but {TRIES} times what became of them was not told to its end"
    );
    Error::new(Exit::Partial, what)
        .on(node)
        .help("run again: what is done is not done twice")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ownership::Mode;

    fn path(text: &str) -> NodePath {
        text.parse().unwrap()
    }

    fn wanted(paths: &[&str]) -> Manifest {
        let mut manifest = Manifest::new();
        paths.iter().for_each(|text| manifest.absent(path(text)));
        manifest
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
        let printed = "unchanged /a\ncreated /b c\nchanged /d\nnoise\nend\n";
        let report = Report::parse(printed, &wanted(&["/a", "/b c", "/d"]));
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
            let report = Report::parse(&whole[..end], &wanted(&["/a/folder/key"]));
            assert!(!report.whole(), "{end}");
            let known = ["/a/folder", "/a/folder/key"];
            assert!(report.touched().all(|path| known.contains(&path)), "{end}");
        }
        assert!(Report::parse("end\n", &wanted(&[])).whole());
        assert!(!Report::parse("created /the end\n", &wanted(&["/the end"])).whole());
    }

    #[test]
    fn an_end_alone_does_not_say_that_anything_was_written() {
        let manifest = wanted(&["/a", "/b"]);
        for printed in [
            "end\n",
            "created /a\nend\n",
            "created /a\ncreated /c\nend\n",
        ] {
            assert!(!Report::parse(printed, &manifest).whole(), "{printed:?}");
        }
        assert!(Report::parse("created /a\nunchanged /b\nend\n", &manifest).whole());
        let (report, asked) = after(&[("end\n", 0), ("end\n", 0), ("end\n", 0)]);
        assert!(report.unwrap_err().what.contains("3 times"));
        assert_eq!(asked, 3);
    }

    /// The result of runs that print these texts with these exit codes.
    fn after(runs: &[(&str, i32)]) -> (Result<Report>, usize) {
        use std::os::unix::process::ExitStatusExt;
        let node = "alder".parse().unwrap();
        let manifest = wanted(&["/a", "/b", "/c"]);
        let mut reports = Reports::default();
        for (number, (stdout, code)) in runs.iter().take(TRIES).enumerate() {
            let output = Output {
                status: std::process::ExitStatus::from_raw(code << 8),
                stdout: (*stdout).to_owned(),
                stderr: String::new(),
            };
            match reports.add(&node, &manifest, output) {
                Ok(None) => {}
                Ok(Some((report, _))) => return (Ok(report), number + 1),
                Err(error) => return (Err(error), number + 1),
            }
        }
        (Err(never_told(&node)), runs.len())
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
    fn a_report_that_is_lost_each_time_is_an_error_as_a_run_that_fails_is() {
        let (report, asked) = after(&[("", 0), ("", 0), ("created /a\n", 0)]);
        assert!(report.unwrap_err().what.contains("3 times"));
        assert_eq!(asked, 3);
        let (report, asked) = after(&[("", 0), ("created /b\n", 1)]);
        assert!(report.unwrap_err().what.contains("before that were: /b"));
        assert_eq!(asked, 2);
    }
}
