//! The generations of nodes' systems.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use serde::Serialize;

use crate::cluster::Name;
use crate::error::{Error, Result};
use crate::nix::store::StorePath;
use crate::node::each::{ALL, each};
use crate::node::probe::Probed;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::{Connection, MINUTE, Script};

const LIST: Script = Script {
    name: "nixcfg-generations",
    text: &[include_str!("list.sh")],
    seconds: MINUTE,
};

/// One generation of a node's system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// When it was made, in UTC.
    pub made: String,
    /// Its system.
    pub system: StorePath,
}

/// The generations of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generations {
    /// All of them, lowest number first.
    pub all: Vec<Generation>,
    /// The number of the one that the profile points to.
    pub current: Option<u64>,
}

impl Generations {
    pub(crate) fn read(answer: &Answer) -> Self {
        let mut all: Vec<Generation> = answer
            .all("generation")
            .filter_map(|line| {
                let mut words = line.splitn(3, ' ');
                Some(Generation {
                    number: words.next()?.parse().ok()?,
                    made: words.next()?.to_owned(),
                    system: words.next()?.parse().ok()?,
                })
            })
            .collect();
        all.sort_by_key(|generation| generation.number);
        let link = answer.one("boots").strip_prefix("system-");
        let current = link.and_then(|link| link.strip_suffix("-link")?.parse().ok());
        Self { all, current }
    }

    /// The generation of a system: the profile's own if it is that system, else the newest.
    pub fn of(&self, system: &StorePath) -> Option<u64> {
        let its = self.all.iter().filter(|one| one.system == *system);
        let numbers: Vec<u64> = its.map(|one| one.number).collect();
        let own = self.current.filter(|current| numbers.contains(current));
        own.or(numbers.last().copied())
    }

    /// The generation with this number, or the one before the profile's.
    pub fn target(&self, number: Option<u64>) -> Result<&Generation> {
        let numbers = || {
            let numbers: Vec<String> = self.all.iter().map(|g| g.number.to_string()).collect();
            format!("it has {}", numbers.join(", "))
        };
        match (number, self.current) {
            (Some(number), _) => self
                .all
                .iter()
                .find(|generation| generation.number == number)
                .ok_or_else(|| Error::usage(format!("has no generation {number}")).help(numbers())),
            (None, Some(current)) => self
                .all
                .iter()
                .rfind(|generation| generation.number < current)
                .ok_or_else(|| {
                    Error::usage(format!("has no generation before {current}")).help(numbers())
                }),
            (None, None) => Err(Error::usage("has no system profile")),
        }
    }
}

/// Asks a node for its generations.
pub async fn list(connection: &Connection) -> Result<Generations> {
    Ok(Generations::read(&connection.ask(LIST, &[]).await?))
}

/// Asks all nodes at once.
pub async fn list_all(probed: &BTreeMap<Name, Probed>) -> BTreeMap<Name, Result<Generations>> {
    let lists = each(ALL, probed, |_, p| list(&p.connection));
    lists
        .map(|(name, list)| (name.clone(), list))
        .collect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "generation 10 2026-01-03T00:00:00Z /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-c\n\
        generation 2 2026-01-01T00:00:00Z /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a\n\
        generation 9 2026-01-02T00:00:00Z /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-b\n\
        boots system-9-link\nend\n";

    fn read(printed: &str) -> Generations {
        Generations::read(&crate::node::ssh::answer::tests::read(printed).unwrap())
    }

    #[test]
    fn the_generation_before_is_the_one_before_the_profiles_own_not_before_the_newest() {
        let generations = read(TOLD);
        assert_eq!(generations.target(None).unwrap().number, 2);
        assert_eq!(generations.target(Some(10)).unwrap().system.name(), "c");
    }

    #[test]
    fn a_system_is_found_by_the_profiles_own_generation_or_by_its_newest() {
        let again = format!(
            "generation 11 x /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-b\ngeneration 12 x /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a\n{TOLD}"
        );
        let generations = read(&again);
        let system = |name: &str| {
            let path = format!("/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-{name}");
            path.parse().unwrap()
        };
        assert_eq!(generations.of(&system("b")), Some(9));
        assert_eq!(generations.of(&system("a")), Some(12));
        assert_eq!(generations.of(&system("z")), None);
    }

    #[test]
    fn a_generation_that_is_not_there_is_refused_with_those_that_are() {
        let error = read(TOLD).target(Some(3)).unwrap_err();
        assert_eq!(error.help.as_deref(), Some("it has 2, 9, 10"));
        let one = "generation 1 x /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a\nboots system-1-link\nend\n";
        assert!(read(one).target(None).is_err());
    }
}
