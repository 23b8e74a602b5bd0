//! Every parser of output of nodes, Nix, pass, Consul and Nomad, by name. With any input it may
//! fail, but it must neither panic nor run for ever.
//!
//! In `checks/fuzz`, libFuzzer searches for bad inputs. The test below gives each parser its seeds
//! (`checks/fuzz/corpus/<name>/`) and thousands of variations, the same ones every time.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::cluster::Daemon;
use crate::event::printable;
use crate::nix::{build, closure, eval, inhibitors, message, source, untracked};
use crate::node::activation::Mode;
use crate::node::activation::outcome::{Report, Told};
use crate::node::generations::Generations;
use crate::node::install;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::login::Login;
use crate::node::ssh::sudo::Sudo;
use crate::node::{lease, probe};
use crate::nomad::follow::answer as follow;
use crate::nomad::{diff, drain, job};
use crate::operations::deploy_passwords::plan::Seen;
use crate::operations::doctor::node::{Nix, Offset};
use crate::operations::upgrade_nixos::{closure as sizes, preview};
use crate::operations::{doctor, status};
use crate::password::entry::Entry;
use crate::pki::node::State;
use crate::pki::x509::{Certificate, Key};
use crate::rollout::daemons;
use crate::rollout::quorum::{self, Health};
use crate::scaffold::survey::Survey;
use crate::secret::Secret;
use crate::secrets::keyring::Held;
use crate::store::history::Standing;
use crate::store::{history, keys, trouble};

/// A parser: its name, and a function that gives it bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All parsers.
pub const TARGETS: &[Target] = &[
    ("answer", |bytes| {
        if let Ok(node) = "alder".parse() {
            let _ = Answer::read(&node, "script", &text(bytes));
        }
    }),
    ("build", |bytes| {
        let _ = build::lines(bytes);
        text(bytes)
            .lines()
            .for_each(|line| _ = build::failed_derivation(line));
    }),
    ("certificate", |bytes| {
        let _ = Certificate::read(bytes, "a certificate");
        for read in Certificate::read_all(&text(bytes), "a file")
            .into_iter()
            .flatten()
        {
            let _ = (read.pem(), read.fingerprint(), read.signed_by(&read));
        }
    }),
    ("closure", |bytes| _ = sizes::read(&lines(bytes))),
    ("cluster", |bytes| {
        if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
            let _ = Cluster::parse(&value);
        }
    }),
    ("daemons", |bytes| daemons::odd(&lines(bytes))),
    ("diff", |bytes| {
        if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
            let _ = (diff::is_empty(&value), diff::lines(&value));
        }
    }),
    ("doctor", |bytes| {
        let said = text(bytes);
        let _ = doctor::machine::tool("nix", (2, 8), Some(&said));
        let told = Answer::of(&said.lines().map(str::to_owned).collect::<Vec<_>>());
        let offset = Offset::read(0, &told, 1);
        let _ = doctor::node::clock(offset, Some(300));
        let _ =
            doctor::node::own_offset(&offset.into_iter().chain([Offset(0)]).collect::<Vec<_>>());
        let _ = doctor::node::nix(&Nix::read(&told), &Sudo::Right);
    }),
    ("drain", |bytes| as_json::<Vec<drain::Client>>(bytes)),
    ("facts", |bytes| {
        let told: Vec<String> = text(bytes).lines().map(str::to_owned).collect();
        if let Ok(facts) = probe::parse(&told, crate::node::Sudo::Right) {
            let _ = facts.pending_restart();
        }
    }),
    ("follow", |bytes| {
        as_json::<follow::Evaluation>(bytes);
        if let Ok(job) = serde_json::from_slice::<follow::Registered>(bytes) {
            let _ = (job.patience(), job.min_healthy("main"));
        }
        if let Ok(deployment) = serde_json::from_slice::<follow::Deployment>(bytes) {
            let _ = (deployment.progress(), deployment.waits_for_promotion());
        }
        for one in serde_json::from_slice::<Vec<follow::Allocation>>(bytes)
            .into_iter()
            .flatten()
        {
            let _ = (
                one.runs(),
                one.failed(),
                one.health(),
                one.restarts(),
                one.started(),
            );
        }
        if let Ok(Value::Object(unplaced)) = serde_json::from_slice(bytes) {
            let _ = follow::reasons(Some(&unplaced));
        }
    }),
    ("generations", |bytes| {
        let read = Generations::read(&lines(bytes));
        let _ = (read.target(None), read.target(Some(7)));
    }),
    ("gpg", |bytes| {
        let said = text(bytes);
        let _ = keys::Key::read("alice", &said);
        let _ = keys::expanded(keys::names(&said), &said);
    }),
    ("health", |bytes| {
        _ = (
            Health::read("Consul", 200, bytes),
            quorum::never_formed(200, bytes),
        )
    }),
    ("history", |bytes| {
        let _ = (history::paths(bytes), Standing::read(&text(bytes)));
    }),
    ("inhibitors", |bytes| {
        let read = inhibitors::Inhibitors::read(&text(bytes));
        let _ = read.against(&read);
    }),
    ("install", |bytes| {
        let mut manifest = install::Manifest::new();
        if let Ok(path) = "/a".parse() {
            manifest.absent(path);
        }
        let _ = install::Report::parse(&text(bytes), &manifest).whole();
    }),
    ("job", |bytes| {
        as_json::<job::Plan>(bytes);
        as_json::<job::Registered>(bytes);
        if let Ok(job) = job::Job::parse(Path::new("a.hcl"), bytes) {
            let _ = (job.query(), job.is_only_called());
        }
    }),
    ("key", |bytes| {
        let _ = Key::read_all(&Secret::new(text(bytes)), "a file");
    }),
    ("keyring", |bytes| {
        for daemon in Daemon::ALL {
            if let Ok(held) = Held::read(daemon, bytes) {
                let key = Secret::new("a".into());
                let _ = (held.agents(), held.everywhere(&key), held.others(&[&key]));
            }
        }
    }),
    ("lease", |bytes| {
        let told: Vec<String> = text(bytes).lines().map(str::to_owned).collect();
        let _ = lease::holder(&told).to_string();
    }),
    ("login", |bytes| _ = Login::read(&text(bytes))),
    ("message", |bytes| {
        let _ = (
            message::essence(&text(bytes)),
            message::log_lines(&text(bytes)),
        );
    }),
    ("pass", |bytes| {
        let said = text(bytes);
        let error = crate::error::Error::unexpected("pass failed").saying(&said);
        let _ = (trouble::may_pass(&said), trouble::recipients(&said).len());
        let _ = trouble::unsigned(&error, Path::new("/a"));
        let _ = trouble::explain(error, "a").to_string();
    }),
    ("password", |bytes| {
        _ = Entry::parse(&Secret::new(text(bytes)))
    }),
    ("passwords", |bytes| _ = Seen::parse(&lines(bytes))),
    ("path-info", |bytes| {
        if let Ok(value) = serde_json::from_slice(bytes)
            && let Ok(graph) = closure::Graph::parse(&value)
            && let Ok(root) = ROOT.parse()
        {
            let _ = (graph.closure(&root).len(), graph.sizes(&root).len());
            let _ = graph.size(&graph.closure(&root));
        }
    }),
    ("pki-state", |bytes| _ = State::parse(&lines(bytes))),
    ("printable", |bytes| {
        let shown = printable(&text(bytes)).into_owned();
        assert!(
            !shown.chars().any(|c| c == '\u{1b}' || c == '\r'),
            "{shown:?}"
        );
    }),
    ("source", |bytes| {
        if let Ok(metadata) = serde_json::from_slice(bytes) {
            let _ = source::parse(&metadata, &source::Flake::folder(Path::new("/a")));
        }
    }),
    ("status", |bytes| {
        for line in text(bytes).lines() {
            let _ = status::free(line);
            let _ = status::certificate(line, time::OffsetDateTime::UNIX_EPOCH);
        }
    }),
    ("survey", |bytes| _ = Survey::parse(&text(bytes))),
    ("switch", |bytes| {
        if let (Ok(told), Ok(toplevel)) = (Told::read(&lines(bytes)), ROOT.parse()) {
            for mode in [Mode::Switch, Mode::Boot, Mode::Test, Mode::DryActivate] {
                let report = Report::read(&told, &toplevel, mode, text(bytes));
                let _ = (
                    report.words(mode),
                    report.last_lines(),
                    report.failed_units(),
                );
            }
        }
    }),
    ("systems", |bytes| {
        as_json::<std::collections::BTreeMap<String, eval::System>>(bytes)
    }),
    ("untracked", |bytes| {
        _ = untracked::Untracked::read(bytes, "/a".into())
    }),
    ("units", |bytes| _ = preview::Units::read(&text(bytes))),
];

const ROOT: &str = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a";

/// Turns bytes into text as the tool does: replacement characters stand for invalid bytes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A complete answer of these lines.
fn lines(bytes: &[u8]) -> Answer {
    let lines: Vec<String> = text(bytes).lines().map(str::to_owned).collect();
    Answer::of(&lines)
}

fn as_json<T: DeserializeOwned>(bytes: &[u8]) {
    let _ = serde_json::from_slice::<T>(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    /// The number of variations of each parser's seeds.
    const VARIATIONS: usize = 2000;
    /// Pieces that often break parsers.
    const WORDS: [&[u8]; 16] = [
        b" ",
        b"\n",
        b"\0",
        b"-1",
        b"0",
        b"18446744073709551615",
        b"-9223372036854775808",
        b"1e999",
        b"NaN",
        b"null",
        b"[",
        b"{}",
        b"\x1b[2J",
        b"\xff\xfe",
        b"/nix/store/",
        b"end\n",
    ];

    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let folder = corpus().join(name);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect()
    }

    fn corpus() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/fuzz/corpus")
    }

    /// Pseudo-random numbers, the same each time (xorshift, Marsaglia 2003).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit.max(1) as u64) as usize
        }
    }

    fn vary(bytes: &mut Vec<u8>, others: &[Vec<u8>], numbers: &mut Numbers) {
        let at = numbers.below(bytes.len() + 1);
        let to = at + numbers.below((bytes.len() - at).min(64) + 1);
        match numbers.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            3 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let other = &others[numbers.below(others.len())];
                let from = numbers.below(other.len() + 1);
                bytes.splice(at..to, other[from..].iter().copied());
            }
            _ => drop(bytes.splice(at..to, WORDS[numbers.below(WORDS.len())].iter().copied())),
        }
    }

    #[test]
    fn no_parser_panics_at_its_seeds_nor_at_variations_of_them() {
        for (number, (name, parse)) in TARGETS.iter().enumerate() {
            let seeds = seeds(name);
            seeds.iter().for_each(|seed| parse(seed));
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ number as u64);
            for _ in 0..VARIATIONS {
                let mut bytes = seeds[numbers.below(seeds.len())].clone();
                for _ in 0..=numbers.below(4) {
                    vary(&mut bytes, &seeds, &mut numbers);
                }
                let tried = std::panic::catch_unwind(|| parse(&bytes));
                assert!(
                    tried.is_ok(),
                    "{name} panics at {:?}",
                    bytes.escape_ascii().to_string()
                );
            }
        }
    }

    #[test]
    fn each_parser_has_seeds_and_each_seed_a_parser() {
        let folders = std::fs::read_dir(corpus()).unwrap();
        let folders: BTreeSet<String> = folders
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(folders, names);
        assert_eq!(names.len(), TARGETS.len());
    }
}
