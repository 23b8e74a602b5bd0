//! The difference of two closures: names, versions, sizes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::event::bytes;
use crate::nix::store::StorePath;

/// The paths of a closure, with the sizes of their archives in bytes.
pub type Closure = BTreeMap<StorePath, u64>;

/// The most lines shown of a node's changes.
const MOST_LINES: usize = 40;
/// The least change of size that is shown without a change of version, in bytes.
const WORTH: u64 = 64 << 10;

/// The change of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The package.
    pub name: String,
    /// Its versions before; none if it is new.
    pub before: Vec<String>,
    /// Its versions after; none if it is removed.
    pub after: Vec<String>,
    /// The growth, in bytes.
    pub growth: i64,
}

/// The changes from one closure to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Diff {
    /// Packages whose versions change, and those that grow or shrink much.
    pub changes: Vec<Change>,
    /// The size before, in bytes.
    pub before: u64,
    /// The size after, in bytes.
    pub after: u64,
}

/// Splits a path's name into package and version. The version begins at the first dash that no
/// letter follows (Nix manual, `builtins.parseDrvName`).
fn package(name: &str) -> (&str, &str) {
    let dash = name.match_indices('-').find(|(at, _)| {
        name[at + 1..]
            .chars()
            .next()
            .is_some_and(|c| !c.is_alphabetic())
    });
    dash.map_or((name, ""), |(at, _)| (&name[..at], &name[at + 1..]))
}

#[derive(Default)]
struct Side<'a> {
    versions: BTreeSet<&'a str>,
    size: u64,
}

fn sides(closure: &Closure) -> BTreeMap<&str, Side<'_>> {
    let mut sides: BTreeMap<&str, Side> = BTreeMap::new();
    for (path, size) in closure {
        let (name, version) = package(path.name());
        let side = sides.entry(name).or_default();
        side.size += size;
        if !version.is_empty() {
            side.versions.insert(version);
        }
    }
    sides
}

impl Diff {
    /// Compares two closures.
    pub fn of(before: &Closure, after: &Closure) -> Self {
        let (old, new) = (sides(before), sides(after));
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        let none = Side::default();
        let mut changes = Vec::new();
        for name in names {
            let (a, b) = (
                old.get(name).unwrap_or(&none),
                new.get(name).unwrap_or(&none),
            );
            let growth = b.size.cast_signed() - a.size.cast_signed();
            if a.versions != b.versions || growth.unsigned_abs() >= WORTH {
                let versions =
                    |side: &Side| side.versions.iter().map(ToString::to_string).collect();
                changes.push(Change {
                    name: name.to_owned(),
                    before: versions(a),
                    after: versions(b),
                    growth,
                });
            }
        }
        Self {
            changes,
            before: before.values().sum(),
            after: after.values().sum(),
        }
    }

    /// The changes, one line each, and their sum.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.changes.iter().take(MOST_LINES).map(line).collect();
        if self.changes.len() > MOST_LINES {
            lines.push(format!("… and {} more", self.changes.len() - MOST_LINES));
        }
        let growth = self.after.cast_signed() - self.before.cast_signed();
        lines.push(format!(
            "in all: {} → {} ({})",
            bytes(self.before),
            bytes(self.after),
            signed(growth)
        ));
        lines
    }
}

fn signed(growth: i64) -> String {
    let sign = if growth < 0 { "-" } else { "+" };
    format!("{sign}{}", bytes(growth.unsigned_abs()))
}

fn line(change: &Change) -> String {
    let versions = |versions: &[String]| {
        if versions.is_empty() {
            "none".to_owned()
        } else {
            versions.join(", ")
        }
    };
    if change.before == change.after {
        format!("{}: {}", change.name, signed(change.growth))
    } else {
        format!(
            "{}: {} → {} ({})",
            change.name,
            versions(&change.before),
            versions(&change.after),
            signed(change.growth)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closure(paths: &[(&str, u64)]) -> Closure {
        let path = |name: &str| format!("/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-{name}");
        paths
            .iter()
            .map(|(name, size)| (path(name).parse().unwrap(), *size))
            .collect()
    }

    #[test]
    fn a_name_ends_where_its_version_begins() {
        assert_eq!(package("linux-6.18.1"), ("linux", "6.18.1"));
        assert_eq!(package("gtk-doc-1.34-dev"), ("gtk-doc", "1.34-dev"));
        assert_eq!(package("unit-nomad.service"), ("unit-nomad.service", ""));
        assert_eq!(package("x-"), ("x-", ""));
    }

    #[test]
    fn versions_that_change_are_told_and_small_changes_of_size_are_not() {
        let before = closure(&[
            ("linux-6.18.1", 100),
            ("glibc-2.40", 10),
            ("etc", 5),
            ("gone-1", 1),
        ]);
        let after = closure(&[
            ("linux-6.19", 300),
            ("glibc-2.40", 10),
            ("etc", 6),
            ("big-1", 1 << 20),
        ]);
        let diff = Diff::of(&before, &after);
        assert_eq!(
            diff.lines(),
            [
                "big: none → 1 (+1.00 MiB)",
                "gone: 1 → none (-1 B)",
                "linux: 6.18.1 → 6.19 (+200 B)",
                "in all: 116 B → 1.00 MiB (+1.00 MiB)"
            ]
        );
    }

    #[test]
    fn two_versions_at_once_are_one_package() {
        let before = closure(&[("perl-5.38", 1)]);
        let after = closure(&[("perl-5.38", 1), ("perl-5.40", 1)]);
        let diff = Diff::of(&before, &after);
        assert_eq!(diff.lines()[0], "perl: 5.38 → 5.38, 5.40 (+1 B)");
    }
}
