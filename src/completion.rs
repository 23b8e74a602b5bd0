//! What a shell completes: operations and options, the names of clusters, nodes and apps, and tags,
//! sites and roles that select nodes.
//!
//! Names are those of the repository's files (`cluster/<cluster>/node/<node>.nix`), as evaluation
//! would take seconds at each key. Tags are those of the last evaluation.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use serde_json::Value;

use crate::nix::cache;

/// The variable in which a shell's function asks for candidates.
const ASKED: &str = "NIXCFG_COMPLETE";
/// Shells, each with the usual name of its file.
const SHELLS: [(&dyn EnvCompleter, &str); 3] = [
    (&Bash, "nixcfg.bash"),
    (&Fish, "nixcfg.fish"),
    (&Zsh, "_nixcfg"),
];

/// Answers a shell that asks for candidates, and ends the process. Returns otherwise.
pub fn answer(command: fn() -> Command) {
    CompleteEnv::with_factory(command).var(ASKED).complete();
}

/// The functions by which shells ask this program, with the names of their files.
pub fn functions() -> std::io::Result<Vec<(&'static str, Vec<u8>)>> {
    let written = SHELLS.iter().map(|(shell, file)| {
        let mut text = Vec::new();
        shell.write_registration(ASKED, "nixcfg", "nixcfg", "nixcfg", &mut text)?;
        Ok((*file, text))
    });
    written.collect()
}

/// Adds the candidates of each argument, by the name of its value.
pub fn add(operation: Command) -> Command {
    operation.mut_args(|arg| match value(&arg) {
        Some("CLUSTER") => arg.add(ArgValueCandidates::new(|| asked(clusters))),
        Some("NODE") if matches!(arg.get_action(), ArgAction::Append) => {
            arg.add(ArgValueCompleter::new(selectors))
        }
        Some("NODE") => arg.add(ArgValueCandidates::new(|| asked(nodes))),
        Some("APP") => arg.add(ArgValueCandidates::new(|| asked(apps))),
        _ => arg,
    })
}

fn value(arg: &Arg) -> Option<&str> {
    match arg.get_value_names() {
        Some([name]) => Some(name.as_str()),
        _ => None,
    }
}

/// The command line that a shell asks about, which follows a `--`.
fn line() -> Vec<String> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    words.filter_map(|word| word.into_string().ok()).collect()
}

/// The candidates for the command line.
fn asked(names: fn(&Path, &[String]) -> Vec<String>) -> Vec<CompletionCandidate> {
    let words = line();
    let names = root(&words).map(|root| names(&root, &words));
    let names = names.unwrap_or_default().into_iter();
    names.map(CompletionCandidate::new).collect()
}

/// The candidates for a word that selects nodes.
fn selectors(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = line();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    let at = index.and_then(|at| at.parse().ok());
    let before = &words[..at.unwrap_or(words.len()).min(words.len())];
    let (Some(root), Some(current)) = (root(&words), current.to_str()) else {
        return Vec::new();
    };
    let mut all = nodes(&root, &words);
    all.extend(terms(&root, &words));
    let those = ending(all, before, current).into_iter();
    those.map(CompletionCandidate::new).collect()
}

/// What completes a word. bash takes a word apart at a colon, which is a word then unless it comes
/// last, and wants the end alone.
fn ending(all: Vec<String>, before: &[String], current: &str) -> Vec<String> {
    let word = |back: usize| {
        let word = before.len().checked_sub(back).and_then(|at| before.get(at));
        word.map_or("", String::as_str)
    };
    let lead = match (word(1), current) {
        (":", _) => format!("{}:", word(2)),
        (kind @ ("site" | "role"), "") => format!("{kind}:"),
        _ => String::new(),
    };
    let all = all
        .iter()
        .filter_map(|candidate| candidate.strip_prefix(&lead));
    let those = all.filter(|candidate| candidate.starts_with(current));
    those.map(str::to_owned).collect()
}

/// Words that select several nodes.
fn terms(root: &Path, words: &[String]) -> Vec<String> {
    let Some(cluster) = cluster(root, words) else {
        return Vec::new();
    };
    let known = nodes(root, words);
    let mut terms: Vec<String> = tags(&cache::latest(&cluster), &known)
        .into_iter()
        .map(|tag| format!("@{tag}"))
        .collect();
    let sites = of_cluster(root, words, "site").into_iter();
    terms.extend(sites.filter_map(|file| Some(format!("site:{}", file.strip_suffix(".nix")?))));
    terms.extend(["role:client", "role:server"].map(str::to_owned));
    terms
}

/// The tags of the first cluster that has one of these nodes.
fn tags(clusters: &[Value], known: &[String]) -> BTreeSet<String> {
    let nodes = clusters
        .iter()
        .filter_map(|cluster| cluster.get("nodes")?.as_object());
    let mut ours = nodes.filter(|nodes| known.iter().any(|node| nodes.contains_key(node)));
    let nodes = ours.next().into_iter().flat_map(|nodes| nodes.values());
    let tags = nodes
        .filter_map(|node| node.get("tags")?.as_array())
        .flatten();
    tags.filter_map(|tag| Some(tag.as_str()?.to_owned()))
        .collect()
}

/// The folder of the flake: that of `--flake`, or the nearest one with a `flake.nix`.
fn root(words: &[String]) -> Option<PathBuf> {
    let given = words.iter().position(|word| word == "--flake");
    if let Some(given) = given.and_then(|at| words.get(at + 1)) {
        return Some(PathBuf::from(given.strip_prefix("path:").unwrap_or(given)));
    }
    let here = std::env::current_dir().ok()?;
    let mut above = here.ancestors();
    above
        .find(|folder| folder.join("flake.nix").is_file())
        .map(Path::to_owned)
}

/// Folders with a `cluster.nix`.
fn clusters(root: &Path, _: &[String]) -> Vec<String> {
    let mut names = entries(&root.join("cluster"));
    names.retain(|name| {
        root.join("cluster")
            .join(name)
            .join("cluster.nix")
            .is_file()
    });
    names
}

fn nodes(root: &Path, words: &[String]) -> Vec<String> {
    let files = of_cluster(root, words, "node").into_iter();
    files
        .filter_map(|file| file.strip_suffix(".nix").map(str::to_owned))
        .collect()
}

fn apps(root: &Path, words: &[String]) -> Vec<String> {
    of_cluster(root, words, "app")
}

/// The entries of a folder of the cluster that the command line names.
fn of_cluster(root: &Path, words: &[String], folder: &str) -> Vec<String> {
    match cluster(root, words) {
        Some(cluster) => entries(&root.join("cluster").join(cluster).join(folder)),
        None => Vec::new(),
    }
}

/// The cluster that the command line names.
fn cluster(root: &Path, words: &[String]) -> Option<String> {
    let known = clusters(root, words);
    words.iter().find(|word| known.contains(word)).cloned()
}

fn entries(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = found
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_word_that_selects_nodes_is_completed_whole_or_as_bash_takes_it_apart() {
        let all = words("alder birch @storage site:brest site:lyon role:server");
        let of = |before: &str, current: &str| ending(all.clone(), &words(before), current);
        assert_eq!(of("nixcfg status prod", "si"), ["site:brest", "site:lyon"]);
        assert_eq!(of("nixcfg status prod", "site:l"), ["site:lyon"]);
        assert_eq!(of("nixcfg status prod", "@s"), ["@storage"]);
        assert_eq!(of("nixcfg status prod @", "@s"), ["@storage"]);
        assert_eq!(of("nixcfg status prod site", ""), ["brest", "lyon"]);
        assert_eq!(of("nixcfg status prod site :", "b"), ["brest"]);
    }

    #[test]
    fn tags_are_those_of_a_cluster_with_one_of_the_nodes() {
        let cluster = |node: &str, tag: &str| serde_json::json!({"nodes": {node: {"tags": [tag]}}});
        let clusters = [cluster("elm", "old"), cluster("alder", "edge"), Value::Null];
        let tags = tags(&clusters, &["alder".into(), "birch".into()]);
        assert_eq!(Vec::from_iter(tags), ["edge"]);
    }

    #[test]
    fn names_are_those_of_the_files_of_the_named_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str| {
            let file = folder.path().join("cluster").join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "{ }").unwrap();
        };
        for file in [
            "prod/cluster.nix",
            "prod/node/birch.nix",
            "prod/node/alder.nix",
            "prod/node/.swp",
            "prod/node/notes.md",
            "prod/app/mail/mail.hcl",
            "staging/cluster.nix",
            "common/all.nix",
        ] {
            write(file);
        }
        let root = folder.path();
        assert_eq!(clusters(root, &[]), ["prod", "staging"]);
        let line = words("nixcfg status prod ");
        assert_eq!(nodes(root, &line), ["alder", "birch"]);
        assert_eq!(apps(root, &line), ["mail"]);
        for line in [
            "nixcfg status staging ",
            "nixcfg status ",
            "nixcfg status other ",
        ] {
            assert!(nodes(root, &words(line)).is_empty(), "{line}");
        }
        let given = format!("nixcfg --flake path:{} status", root.display());
        assert_eq!(super::root(&words(&given)).as_deref(), Some(root));
    }
}
