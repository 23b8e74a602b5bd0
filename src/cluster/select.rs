//! Selection of nodes on a command line: names, globs, `@tag`, `site:NAME`, `role:server`, `!not`,
//! and `-` for a list on standard input.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{Cluster, Name, Node, Role, name};
use crate::error::{Error, Result};

/// One selector of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    negated: bool,
    term: Term,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Glob(String),
    Tag(String),
    Site(String),
    Role(Role),
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (negated, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let term = if let Some(tag) = rest.strip_prefix('@') {
            Term::Tag(tag.to_owned())
        } else if let Some(site) = rest.strip_prefix("site:") {
            Term::Site(site.to_owned())
        } else if let Some(role) = rest.strip_prefix("role:") {
            Term::Role(match role {
                "server" => Role::Server,
                "client" => Role::Client,
                _ => {
                    return Err(Error::usage(format!(
                        "‘{text}’: a role is server or client"
                    )));
                }
            })
        } else {
            Term::Glob(rest.to_owned())
        };
        if matches!(&term, Term::Glob(t) | Term::Tag(t) | Term::Site(t) if t.is_empty()) {
            return Err(Error::usage(format!("‘{text}’ selects nothing")));
        }
        Ok(Self { negated, term })
    }
}

impl Term {
    fn matches(&self, name: &Name, node: &Node) -> bool {
        match self {
            Term::Glob(pattern) => glob(pattern.as_bytes(), name.as_str().as_bytes()),
            Term::Tag(tag) => node.tags.contains(tag),
            Term::Site(site) => glob(site.as_bytes(), node.site.as_str().as_bytes()),
            Term::Role(role) => node.role == *role,
        }
    }
}

/// Whether `text` matches a pattern of literal bytes, `*` and `?`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..]))
        }
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &text[1..]),
        (Some(p), Some(t)) if p == t => glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

/// Replaces the word `-` by the words of `input`.
pub fn expand(
    words: &[String],
    input: impl FnOnce() -> std::io::Result<String>,
) -> Result<Vec<String>> {
    if !words.iter().any(|word| word == "-") {
        return Ok(words.to_vec());
    }
    let input = input()
        .map_err(|e| Error::usage(format!("cannot read the nodes from standard input: {e}")))?;
    let mut expanded = Vec::new();
    for word in words {
        if word == "-" {
            expanded.extend(input.split_whitespace().map(str::to_owned));
        } else {
            expanded.push(word.clone());
        }
    }
    if expanded.is_empty() {
        return Err(Error::usage("standard input names no node"));
    }
    Ok(expanded)
}

/// The nodes that `words` select: the union of the positive selectors (all nodes if there is none),
/// without the negated ones. A selector that matches nothing is an error, as it is probably
/// misspelt.
pub fn select(cluster: &Cluster, words: &[String]) -> Result<BTreeSet<Name>> {
    let selectors: Vec<Selector> = words
        .iter()
        .map(|word| word.parse())
        .collect::<Result<_>>()?;
    let mut selected = BTreeSet::new();
    let mut excluded = BTreeSet::new();
    for (selector, word) in selectors.iter().zip(words) {
        let matching: Vec<&Name> = cluster
            .nodes
            .iter()
            .filter(|(name, node)| selector.term.matches(name, node))
            .map(|(name, _)| name)
            .collect();
        if matching.is_empty() {
            return Err(nothing_matches(cluster, &selector.term, word));
        }
        let target = if selector.negated {
            &mut excluded
        } else {
            &mut selected
        };
        target.extend(matching.into_iter().cloned());
    }
    if selectors.iter().all(|selector| selector.negated) {
        selected.extend(cluster.nodes.keys().cloned());
    }
    let selected: BTreeSet<Name> = selected.difference(&excluded).cloned().collect();
    if selected.is_empty() {
        return Err(Error::usage("no node is left of those selected"));
    }
    Ok(selected)
}

fn nothing_matches(cluster: &Cluster, term: &Term, word: &str) -> Error {
    let error = |what: String| Error::usage(what);
    match term {
        Term::Glob(name) => {
            let names: Vec<&str> = cluster.nodes.keys().map(Name::as_str).collect();
            error(format!(
                "the cluster ‘{}’ has no node ‘{name}’",
                cluster.name
            ))
            .help(name::suggestion(name, &names, "nodes"))
        }
        Term::Tag(tag) => {
            let tags: BTreeSet<&str> = cluster
                .nodes
                .values()
                .flat_map(|n| &n.tags)
                .map(String::as_str)
                .collect();
            let tags: Vec<&str> = tags.into_iter().collect();
            error(format!("no node has the tag ‘{tag}’")).help(name::suggestion(tag, &tags, "tags"))
        }
        Term::Site(site) => {
            let sites: BTreeSet<&str> = cluster.nodes.values().map(|n| n.site.as_str()).collect();
            let sites: Vec<&str> = sites.into_iter().collect();
            error(format!("no node is at a site ‘{site}’"))
                .help(name::suggestion(site, &sites, "sites"))
        }
        Term::Role(_) => error(format!("‘{word}’ matches no node")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::tests::example;
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let selected = select(&example(), &words).unwrap();
        selected.iter().map(ToString::to_string).collect()
    }

    fn refused(word: &str) -> Error {
        select(&example(), &[word.to_owned()]).unwrap_err()
    }

    #[test]
    fn no_selector_means_every_node() {
        assert_eq!(names(&[]), ["alder", "birch", "cedar"]);
    }

    #[test]
    fn names_globs_tags_sites_and_roles_select() {
        assert_eq!(names(&["birch"]), ["birch"]);
        assert_eq!(names(&["*er", "b?rch"]), ["alder", "birch"]);
        assert_eq!(names(&["@ssd"]), ["alder", "cedar"]);
        assert_eq!(names(&["site:lyon"]), ["alder", "birch"]);
        assert_eq!(names(&["role:server"]), ["alder", "cedar"]);
    }

    #[test]
    fn a_negation_takes_away_from_all_or_from_what_is_selected() {
        assert_eq!(names(&["!birch"]), ["alder", "cedar"]);
        assert_eq!(names(&["site:lyon", "!role:client"]), ["alder"]);
    }

    #[test]
    fn a_selector_that_matches_nothing_is_an_error_with_a_suggestion() {
        assert_eq!(
            refused("adler").help.as_deref(),
            Some("did you mean ‘alder’?")
        );
        assert_eq!(refused("@sdd").help.as_deref(), Some("did you mean ‘ssd’?"));
        assert_eq!(
            refused("site:paris").help.as_deref(),
            Some("sites: brest, lyon")
        );
        assert!(refused("role:boss").what.contains("server or client"));
        let none = select(&example(), &["alder".into(), "!alder".into()]).unwrap_err();
        assert!(none.what.contains("no node is left"));
    }

    #[test]
    fn a_dash_stands_for_the_words_of_standard_input() {
        let words = expand(
            &["-".into(), "cedar".into()],
            || Ok("alder\nbirch\n".into()),
        )
        .unwrap();
        assert_eq!(words, ["alder", "birch", "cedar"]);
        assert!(expand(&["-".into()], || Ok("\n".into())).is_err());
        assert_eq!(
            expand(&["alder".into()], || unreachable!()).unwrap(),
            ["alder"]
        );
    }
}
