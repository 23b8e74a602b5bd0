//! The PKI's files on a node, and the state of its daemons.

use std::collections::{BTreeMap, BTreeSet};

use base64ct::{Base64, Encoding};

use super::files::Wanted;
use crate::error::{Error, Kind, Result};
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, MINUTE, Script, tail};

const STATE: Script = Script {
    name: "nixcfg-pki-state",
    text: &[include_str!("state.sh")],
    seconds: MINUTE,
};

const SIGNAL: Script = Script {
    name: "nixcfg-pki-signal",
    text: &[include_str!("signal.sh")],
    // A restart waits for the daemon to end and to start.
    seconds: 300,
};

/// How often a node is asked for its state.
const TRIES: u32 = 3;

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Whether systemd has it.
    pub loaded: bool,
    pub active: bool,
    /// The start of its process, in seconds since 1970.
    pub started: f64,
}

/// An existing file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The latest change of the file or of its link, in seconds since 1970.
    pub changed: f64,
    /// A certificate's text, or a key's digest.
    pub content: String,
}

/// Files and units on a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    units: BTreeMap<String, Unit>,
    files: BTreeMap<String, File>,
    /// Files that are not there.
    absent: BTreeSet<String>,
}

impl State {
    /// Reads the state of a node as root.
    pub async fn read(
        connection: &Connection,
        how: &Elevation,
        units: &[&str],
        files: &[&Wanted],
    ) -> Result<Self> {
        let paths = || files.iter().map(|file| file.path.as_str());
        let args: Vec<&str> = units
            .iter()
            .flat_map(|unit| ["unit", *unit])
            .chain(paths().flat_map(|path| ["file", path]))
            .collect();
        // A lost login can leave a truncated answer.
        let mut tries = 0;
        loop {
            tries += 1;
            match connection.ask_root(how, STATE, &args, &[]).await {
                Err(e) if e.kind == Kind::Lost && tries < TRIES => {}
                Err(e) => return Err(e),
                Ok(answer) => {
                    let read = Self::parse(&answer).and_then(|state| state.of(units, paths()));
                    return read.map_err(|e| e.on(connection.node()).saying(tail(answer.text())));
                }
            }
        }
    }

    /// Refuses a state that does not tell of each of these.
    fn of<'a>(self, units: &[&str], mut files: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut units = units.iter();
        let untold = units
            .find(|unit| !self.units.contains_key(**unit))
            .copied()
            .or_else(|| {
                files.find(|path| !self.files.contains_key(*path) && !self.absent.contains(*path))
            });
        match untold {
            None => Ok(self),
            Some(what) => {
                let what = format!("{} does not tell of {what}", STATE.name);
                Err(Error::new(Kind::BadAnswer, what))
            }
        }
    }

    pub(crate) fn parse(answer: &Answer) -> Result<Self> {
        let mut state = Self::default();
        let strange = || Error::unexpected("does not tell of its certificates as expected");
        for line in answer.text().lines() {
            let (kind, rest) = line.split_once(' ').ok_or_else(strange)?;
            match kind {
                "unit" => {
                    let words: Vec<&str> = rest.split(' ').collect();
                    let [name, loaded, active, _, started] = words.as_slice() else {
                        return Err(strange());
                    };
                    let unit = Unit {
                        loaded: *loaded == "loaded",
                        active: matches!(*active, "active" | "reloading" | "activating"),
                        started: started.parse().map_err(|_| strange())?,
                    };
                    state.units.insert((*name).to_owned(), unit);
                }
                "crt" | "key" => {
                    let mut words = rest.splitn(3, ' ');
                    let (Some(changed), Some(data), Some(path)) =
                        (words.next(), words.next(), words.next())
                    else {
                        return Err(strange());
                    };
                    let content = match kind {
                        // A file that is not text is damaged: it differs from every wanted one, so
                        // it is replaced.
                        "crt" => {
                            let bytes = Base64::decode_vec(data).map_err(|_| strange())?;
                            String::from_utf8_lossy(&bytes).into_owned()
                        }
                        _ => data.to_owned(),
                    };
                    let changed = changed.parse().map_err(|_| strange())?;
                    state
                        .files
                        .insert(path.to_owned(), File { changed, content });
                }
                "none" => _ = state.absent.insert(rest.to_owned()),
                _ => return Err(strange()),
            }
        }
        Ok(state)
    }

    /// A unit; an unknown one does not run.
    pub fn unit(&self, name: &str) -> Unit {
        let unknown = Unit {
            loaded: false,
            active: false,
            started: 0.0,
        };
        self.units.get(name).cloned().unwrap_or(unknown)
    }

    /// A file, if it exists.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Whether a file that is read at the start only is younger than the unit's process.
    pub fn newer(&self, wanted: &[Wanted], unit: &Unit) -> bool {
        wanted
            .iter()
            .filter(|file| file.at_start)
            .filter_map(|file| self.file(file.path.as_str()))
            .any(|file| file.changed > unit.started)
    }
}

/// What makes a daemon use its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It uses them already.
    Nothing,
    /// A signal: it reads them again.
    Reload,
    /// A restart: it reads some of them at its start only.
    Restart,
    /// A start: it does not run.
    Start,
}

impl Action {
    /// The action in words.
    pub const fn doing(self) -> &'static str {
        match self {
            Action::Nothing => "nothing",
            Action::Reload => "reloading",
            Action::Restart => "restarting",
            Action::Start => "starting",
        }
    }
}

/// Carries out an action on a unit.
pub async fn act(
    connection: &Connection,
    how: &Elevation,
    action: Action,
    unit: &str,
) -> Result<()> {
    let word = match action {
        Action::Nothing => return Ok(()),
        Action::Reload => "reload",
        Action::Restart => "restart",
        Action::Start => "start",
    };
    let told = connection.ask_root(how, SIGNAL, &[word, unit], &[]).await?;
    let done = format!("{word} {unit}");
    told.did(connection.node(), SIGNAL.name, ("done", &done))
        .map(drop)
}

/// The last lines of a unit's log.
pub async fn log(connection: &Connection, how: &Elevation, unit: &str) -> Result<String> {
    let told = connection
        .ask_root(how, SIGNAL, &["log", unit], &[])
        .await?;
    let done = format!("done log {unit}\n");
    Ok(told.text().replace(&done, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "unit nomad.service loaded active 12 100.5\nunit consul.service not-found inactive 0 0\ncrt 99.25 Y2VydA== /p/nomad ca.crt\nkey 101 abcd /p/consul-client.key\nnone /p/nomad.crt\nend\n";

    fn parse(printed: &str) -> Result<State> {
        State::parse(&crate::node::ssh::answer::tests::read(printed)?)
    }

    fn wanted(path: &str) -> Vec<Wanted> {
        vec![Wanted {
            path: path.parse().unwrap(),
            content: String::new(),
            at_start: true,
        }]
    }

    #[test]
    fn what_a_node_tells_is_read() {
        let state = parse(TOLD).unwrap();
        assert_eq!(
            state.unit("nomad.service"),
            Unit {
                loaded: true,
                active: true,
                started: 100.5
            }
        );
        assert!(!state.unit("consul.service").loaded);
        assert_eq!(state.file("/p/nomad ca.crt").unwrap().content, "cert");
        assert!(state.file("/p/nomad.crt").is_none());
        assert!(parse("Welcome!").is_err());
        let whole = TOLD.len();
        assert!((0..whole).all(|end| parse(&TOLD[..end]).is_err()));
    }

    #[test]
    fn only_a_file_that_came_after_the_start_needs_another_start() {
        let state = parse(TOLD).unwrap();
        let unit = state.unit("nomad.service");
        assert!(state.newer(&wanted("/p/consul-client.key"), &unit));
        assert!(!state.newer(&wanted("/p/nomad ca.crt"), &unit));
    }
}
