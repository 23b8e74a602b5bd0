//! What a shell completes: operations and options, and the names of clusters, nodes and apps.
//!
//! Names are those of the repository's files (`cluster/<cluster>/node/<node>.nix`), as evaluation
//! would take seconds at each key.

use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

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

/// The candidates for the command line that a shell asks about, which follows a `--`.
fn asked(names: fn(&Path, &[String]) -> Vec<String>) -> Vec<CompletionCandidate> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let words: Vec<String> = words.filter_map(|word| word.into_string().ok()).collect();
    let names = root(&words).map(|root| names(&root, &words));
    let names = names.unwrap_or_default().into_iter();
    names.map(CompletionCandidate::new).collect()
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
    let known = clusters(root, words);
    match words.iter().find(|word| known.contains(word)) {
        Some(cluster) => entries(&root.join("cluster").join(cluster).join(folder)),
        None => Vec::new(),
    }
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
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
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
