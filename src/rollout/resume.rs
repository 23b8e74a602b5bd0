//! The command for the nodes that a run left undone: the run's own command, with these nodes as its
//! selectors.

use clap::Command;

use crate::cluster::Name;
use crate::process::quote;

/// The command, from this process's own command line, which `cli` describes.
pub fn command<'a>(cli: &Command, undone: impl Iterator<Item = &'a Name>) -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    rebuild(
        &words.collect::<Vec<_>>(),
        cli,
        &undone.map(Name::as_str).collect::<Vec<_>>(),
    )
}

/// The program, the operation and the cluster, the nodes, and every option as it was given.
fn rebuild(words: &[String], cli: &Command, nodes: &[&str]) -> String {
    let mut cli = cli.clone();
    cli.build();
    let mut operation = None;
    let mut options = Vec::new();
    let mut positional: Vec<String> = words.iter().take(1).cloned().collect();
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        match word.strip_prefix("--") {
            Some("") => positional.extend(rest.by_ref().cloned()),
            Some(option) => {
                options.push(word.clone());
                if !option.contains('=') {
                    let count = values(operation.unwrap_or(&cli), option);
                    options.extend(rest.by_ref().take(count).cloned());
                }
            }
            None => {
                operation = operation.or_else(|| cli.find_subcommand(word));
                positional.push(word.clone());
            }
        }
    }
    // The words after the cluster are nodes.
    positional.truncate(3);
    // The program's name, unless that is a path in the Nix store.
    if positional
        .first()
        .is_some_and(|program| program.starts_with("/nix/store/"))
    {
        let app = positional.get(1).map(|operation| format!(".#{operation}"));
        let called = [
            "nix".into(),
            "run".into(),
            app.unwrap_or_default(),
            "--".into(),
        ];
        positional.splice(..2.min(positional.len()), called);
    }
    positional.extend(nodes.iter().map(ToString::to_string));
    positional.extend(options);
    let quoted: Vec<String> = positional.iter().map(|word| quote(word)).collect();
    quoted.join(" ")
}

/// How many words follow an option as its values.
fn values(command: &Command, option: &str) -> usize {
    let long = |arg: &&clap::Arg| arg.get_long() == Some(option);
    let arg = command.get_arguments().find(long);
    arg.filter(|arg| arg.get_action().takes_values())
        .and_then(|arg| arg.get_num_args())
        .map_or(0, |count| count.min_values())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn resumed(line: &[&str], nodes: &[&str]) -> String {
        let words: Vec<String> = line.iter().map(ToString::to_string).collect();
        rebuild(&words, &Cli::command(), nodes)
    }

    #[test]
    fn nodes_take_the_place_of_selectors_and_options_stay() {
        assert_eq!(
            resumed(
                &[
                    "nixcfg",
                    "deploy-nixos",
                    "prod",
                    "!cedar",
                    "--canary",
                    "alder",
                    "--override-input",
                    "nixpkgs",
                    "path:/x",
                    "@storage",
                    "--steal",
                    "--flake=.",
                    "-",
                ],
                &["birch", "dogwood"]
            ),
            "nixcfg deploy-nixos prod birch dogwood --canary alder --override-input nixpkgs path:/x --steal --flake=."
        );
    }

    #[test]
    fn an_app_of_the_flake_is_called_as_such() {
        let program = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-nixcfg-0.1.0/bin/nixcfg";
        assert_eq!(
            resumed(&[program, "deploy-nixos", "prod", "--steal"], &["birch"]),
            "nix run '.#deploy-nixos' -- prod birch --steal"
        );
    }

    #[test]
    fn options_before_the_operation_are_kept_with_their_values() {
        assert_eq!(
            resumed(
                &[
                    "nixcfg",
                    "--flake",
                    "x",
                    "--json",
                    "deploy-nixos",
                    "prod",
                    "alder"
                ],
                &["birch"]
            ),
            "nixcfg deploy-nixos prod birch --flake x --json"
        );
    }

    #[test]
    fn words_that_a_shell_would_take_apart_are_quoted() {
        assert_eq!(
            resumed(
                &["/a b/nixcfg", "deploy-nixos", "prod", "--flake", "it's"],
                &["alder"]
            ),
            r"'/a b/nixcfg' deploy-nixos prod alder --flake 'it'\''s'"
        );
    }
}
