//! The command line: one sub-command per operation, with the names of the flake's apps.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::completion;
use crate::error::Result;
use crate::event::{Level, Reporter};
use crate::operation::Invocation;
use crate::operations::{
    add_node, app_secrets, deploy_apps, deploy_nixos, deploy_passwords, deploy_pki, deploy_secrets,
    doctor, exec, gen_pki, gen_secrets, generations, init, manual, next, nomad_scheduler, passwd,
    pki_status, rollback, rotate_ca, rotate_gossip, ssh, status, tlsproxy, upgrade_nixos,
};
use crate::secret::Passwords;

/// Runs a NixOS cluster.
#[derive(Debug, Parser)]
#[command(name = "nixcfg", version = version(), after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    operation: Operation,
}

/// The version, and the revision where that is known: the flake's package sets it, and a build by
/// cargo may.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let revision = std::env::var("NIXCFG_REVISION").ok();
        let revision = revision.or(option_env!("NIXCFG_REVISION").map(str::to_owned));
        versioned(
            env!("CARGO_PKG_VERSION"),
            revision.as_deref().unwrap_or_default(),
        )
    })
}

fn versioned(version: &str, revision: &str) -> String {
    match revision {
        "" => version.to_owned(),
        revision => format!("{version} ({revision})"),
    }
}

/// The heading in `--help`. Set on each option: on the struct it would apply to the
/// options flattened after it.
const COMMON: &str = "Common options";

/// Options of every operation.
#[derive(Debug, clap::Args)]
struct Global {
    /// The flake that describes the clusters
    #[arg(help_heading = COMMON, global = true, long, value_name = "REF", default_value = ".")]
    flake: String,

    /// Print events as JSON, one to a line
    #[arg(help_heading = COMMON, global = true, long)]
    json: bool,

    /// Show the commands that are run as well
    #[arg(help_heading = COMMON, global = true, long, short, conflicts_with = "quiet")]
    verbose: bool,

    /// Show only what failed
    #[arg(help_heading = COMMON, global = true, long, short, conflicts_with = "json")]
    quiet: bool,

    /// Append everything that happens to a file, commands too
    #[arg(help_heading = COMMON, global = true, long, value_name = "FILE")]
    log: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Environment:
  SUDO_PASS   the sudo password on the nodes (asked for if it is needed and not set);
              SUDO_PASS_<node> is that of one node, with _ for - in its name
  SSH_USER    log in to the nodes as this user
  NO_COLOR    no colours on a terminal, if it is set
  NIXCFG_LOG  diagnostics of nixcfg itself, such as debug
  NIXCFG_TRACE
              file for a picture of where the time goes, for Perfetto or speedscope

Exit codes:
  0    every node is as wanted
  1    something unexpected
  2    wrong arguments or cluster files
  3    a node cannot be reached or used; nothing was changed
  4    a system does not evaluate or build
  5    some nodes are not as wanted
  130  stopped by ^C";

/// One line about each operation. The flake's apps have the same texts.
const DESCRIPTIONS: &str = include_str!("operations/descriptions.json");

#[derive(Debug, Subcommand)]
enum Operation {
    Init(init::Args),
    AddNode(add_node::Args),
    DeployNixos(deploy_nixos::Args),
    UpgradeNixos(upgrade_nixos::Args),
    Rollback(rollback::Args),
    Generations(generations::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    Next(next::Args),
    Exec(exec::Args),
    Ssh(ssh::Args),
    Passwd(passwd::Args),
    NomadScheduler(nomad_scheduler::Args),
    DeployApps(deploy_apps::Args),
    AppSecrets(app_secrets::Args),
    Tlsproxy(tlsproxy::Args),
    GenPki(gen_pki::Args),
    DeployPki(deploy_pki::Args),
    PkiStatus(pki_status::Args),
    DeployPasswords(deploy_passwords::Args),
    GenSecrets(gen_secrets::Args),
    DeploySecrets(deploy_secrets::Args),
    RotateCa(rotate_ca::Args),
    RotateGossip(rotate_gossip::Args),
    #[command(hide = true)]
    Manual(manual::Args),
}

impl Cli {
    /// Describes the command line. Errors show the usage of `--help`: clap's own usage lists
    /// options as required that the environment sets.
    pub fn described() -> Command {
        let descriptions: BTreeMap<String, String> =
            serde_json::from_str(DESCRIPTIONS).unwrap_or_default();
        let mut command = Self::command();
        command.build();
        command.mut_subcommands(|mut operation| {
            if let Some(text) = descriptions.get(operation.get_name()) {
                operation = operation.about(text).long_about(None);
            }
            operation = completion::add(operation);
            let usage = operation.render_usage().to_string();
            match usage.strip_prefix("Usage: ") {
                Some(usage) => operation.override_usage(usage.to_owned()),
                None => operation,
            }
        })
    }

    /// Parses a command line.
    pub fn read<I: Into<OsString> + Clone>(
        line: impl IntoIterator<Item = I>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::described().try_get_matches_from(line)?;
        Self::from_arg_matches(&matches)
    }

    /// The reporter for the operation.
    pub fn reporter(&self) -> Result<Reporter> {
        let global = &self.global;
        let level = match (global.quiet, global.verbose) {
            (true, _) => Level::Quiet,
            (false, true) => Level::Verbose,
            (false, false) => Level::Usual,
        };
        Reporter::new(global.json, level, global.log.as_deref(), Self::command())
    }

    /// Whether the operation handles ^C itself.
    pub fn minds_interrupts(&self) -> bool {
        match &self.operation {
            Operation::Tlsproxy(_) => true,
            Operation::Status(args) => args.watches(),
            _ => false,
        }
    }

    /// Runs the operation. Each is boxed, as the compiler cannot lay out one future with all of
    /// them.
    pub async fn run(self, reporter: Reporter, passwords: Passwords) -> Result<()> {
        let invocation = Invocation {
            reporter,
            passwords,
            flake: self.global.flake,
        };
        match self.operation {
            Operation::Init(args) => Box::pin(init::run(&args, invocation)).await,
            Operation::AddNode(args) => Box::pin(add_node::run(&args, invocation)).await,
            Operation::DeployNixos(args) => Box::pin(deploy_nixos::run(&args, invocation)).await,
            Operation::UpgradeNixos(args) => Box::pin(upgrade_nixos::run(&args, invocation)).await,
            Operation::Rollback(args) => Box::pin(rollback::run(&args, invocation)).await,
            Operation::Generations(args) => Box::pin(generations::run(&args, invocation)).await,
            Operation::Status(args) => Box::pin(status::run(&args, invocation)).await,
            Operation::Doctor(args) => Box::pin(doctor::run(&args, invocation)).await,
            Operation::Next(args) => Box::pin(next::run(&args, invocation)).await,
            Operation::Exec(args) => Box::pin(exec::run(&args, invocation)).await,
            Operation::Ssh(args) => Box::pin(ssh::run(&args, invocation)).await,
            Operation::Passwd(args) => Box::pin(passwd::run(&args, invocation)).await,
            Operation::NomadScheduler(args) => {
                Box::pin(nomad_scheduler::run(&args, invocation)).await
            }
            Operation::DeployApps(args) => Box::pin(deploy_apps::run(&args, invocation)).await,
            Operation::AppSecrets(args) => Box::pin(app_secrets::run(&args, invocation)).await,
            Operation::Tlsproxy(args) => Box::pin(tlsproxy::run(&args, invocation)).await,
            Operation::GenPki(args) => Box::pin(gen_pki::run(&args, invocation)).await,
            Operation::DeployPki(args) => Box::pin(deploy_pki::run(&args, invocation)).await,
            Operation::PkiStatus(args) => Box::pin(pki_status::run(&args, invocation)).await,
            Operation::DeployPasswords(args) => {
                Box::pin(deploy_passwords::run(&args, invocation)).await
            }
            Operation::GenSecrets(args) => Box::pin(gen_secrets::run(&args, invocation)).await,
            Operation::DeploySecrets(args) => {
                Box::pin(deploy_secrets::run(&args, invocation)).await
            }
            Operation::RotateCa(args) => Box::pin(rotate_ca::run(&args, invocation)).await,
            Operation::RotateGossip(args) => Box::pin(rotate_gossip::run(&args, invocation)).await,
            Operation::Manual(args) => manual::run(&args, &Self::described()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_operation_has_its_description_and_each_description_its_operation() {
        let described: BTreeMap<String, String> = serde_json::from_str(DESCRIPTIONS).unwrap();
        let command = Cli::described();
        let shown = command
            .get_subcommands()
            .filter(|operation| operation.get_name() != "help" && !operation.is_hide_set())
            .map(|operation| {
                let about = operation.get_about().map(ToString::to_string);
                (operation.get_name().to_owned(), about.unwrap_or_default())
            });
        assert_eq!(shown.collect::<BTreeMap<_, _>>(), described);
    }

    #[test]
    fn the_revision_follows_the_version_where_it_is_known() {
        assert_eq!(versioned("0.1.0", ""), "0.1.0");
        assert_eq!(versioned("0.1.0", "512601e"), "0.1.0 (512601e)");
    }

    #[test]
    fn nodes_may_follow_and_precede_options() {
        let line = [
            "nixcfg",
            "deploy-nixos",
            "prod",
            "alder",
            "--mode",
            "boot",
            "birch",
            "!cedar",
        ];
        assert!(Cli::try_parse_from(line).is_ok());
    }

    #[test]
    fn a_heading_has_the_same_options_everywhere() {
        let mut headings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for operation in Cli::command().get_subcommands() {
            let mut own: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for arg in operation.get_arguments() {
                if let Some(heading) = arg.get_help_heading() {
                    let options = own.entry(heading.to_owned()).or_default();
                    options.push(arg.get_id().to_string());
                }
            }
            for (heading, options) in own {
                let known = headings.entry(heading).or_insert_with(|| options.clone());
                assert_eq!(*known, options, "{}", operation.get_name());
            }
        }
        let heading = |name: &str| headings[name].join(" ");
        assert!(heading("Nix").contains("show_trace"));
        assert!(heading("Login").contains("ssh_user"));
    }

    #[test]
    fn options_of_every_operation_stand_before_or_after_its_name() {
        for line in [
            ["nixcfg", "--json", "--flake", "x", "status", "prod"],
            ["nixcfg", "status", "prod", "--flake", "x", "--json"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!((cli.global.flake.as_str(), cli.global.json), ("x", true));
        }
    }

    #[test]
    fn what_is_shown_is_asked_for_in_one_way() {
        for line in [
            ["nixcfg", "-v", "status", "prod"],
            ["nixcfg", "status", "prod", "-q"],
        ] {
            assert!(Cli::try_parse_from(line).unwrap().reporter().is_ok());
        }
        for both in [["-q", "-v"], ["-q", "--json"]] {
            let line = ["nixcfg", "status", "prod"].into_iter().chain(both);
            assert!(Cli::try_parse_from(line).is_err());
        }
    }

    #[test]
    fn operations_on_the_store_alone_take_no_way_to_log_in() {
        for operation in ["gen-pki", "gen-secrets"] {
            let line = ["nixcfg", operation, "prod", "--ssh-config", "x"];
            assert!(Cli::try_parse_from(line).is_err(), "{operation}");
        }
        let line = ["nixcfg", "passwd", "prod", "alice", "--ssh-user", "x"];
        assert!(Cli::try_parse_from(line).is_err());
    }

    #[test]
    fn what_is_missing_is_told_with_the_usage_of_help() {
        let error = Cli::read(["nixcfg", "status", "--json", "--ssh-user", "x"]).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("nixcfg status [OPTIONS] <CLUSTER> [NODE]..."),
            "{told}"
        );
        assert!(!told.contains("--ssh-user"), "{told}");
        let line = ["nixcfg", "status", "prod", "--flake", "x", "--json"];
        assert!(Cli::read(line).unwrap().global.json);
    }

    /// The words of a command in a document, as a shell reads them. Documents use quotes and
    /// comments only.
    fn in_document(line: &str) -> Option<Vec<String>> {
        let line = line.trim().strip_prefix("nix run .#")?;
        let open = line.contains(['…', '<', '[', '|', '`', ';']);
        let line = line.split(" #").next().unwrap_or_default();
        let (operation, rest) = line.split_once(" --").unwrap_or((line, ""));
        let words = rest.split_whitespace().map(|word| word.replace('\'', ""));
        let line = ["nixcfg".to_owned(), operation.to_owned()].into_iter();
        (!open).then(|| line.chain(words).collect())
    }

    #[test]
    fn commands_in_documents_are_commands_of_this_program() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = std::fs::read_dir(root.join("doc")).unwrap();
        let pages = pages.map(|page| page.unwrap().path());
        let mut found = BTreeMap::new();
        for page in pages.chain([root.join("README.md")]) {
            let text = std::fs::read_to_string(&page).unwrap();
            for line in text.lines().filter_map(in_document) {
                let read = Cli::read(&line);
                assert!(read.is_ok(), "{}: {line:?}", page.display());
                let name = page.file_name().unwrap().to_string_lossy().into_owned();
                *found.entry(name).or_insert(0) += 1;
            }
        }
        assert!(found["runbook.md"] > 40, "{found:?}");
        assert!(found["README.md"] > 0 && found.len() >= 8, "{found:?}");
    }

    /// A section that several operations have stands in the first one's snapshot only.
    #[test]
    fn help_of_every_operation_is_as_reviewed() {
        let mut command = Cli::described();
        command.build();
        let operations = command
            .get_subcommands()
            .filter(|each| each.get_name() != "help" && !each.is_hide_set());
        let operations: Vec<Command> = operations.cloned().collect();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for operation in std::iter::once(command).chain(operations) {
            let name = match operation.get_name() {
                "nixcfg" => "help".to_owned(),
                operation => format!("help-{operation}"),
            };
            // What the variables hold is the machine's.
            let mut operation = operation.mut_args(|arg| arg.hide_env_values(true));
            let help = operation.render_long_help().to_string();
            let sections = help
                .trim_end()
                .split("\n\n")
                .fold(Vec::new(), |mut all, part| {
                    match all.last_mut() {
                        Some(last) if part.starts_with(' ') => *last = format!("{last}\n\n{part}"),
                        _ => all.push(part.to_owned()),
                    }
                    all
                });
            let sections = sections
                .into_iter()
                .map(|section| match known.get(&section) {
                    Some(first) => format!("{}  as in {first}", section.lines().next().unwrap()),
                    None => {
                        known.insert(section.clone(), name.clone());
                        section
                    }
                });
            crate::is_as_reviewed(&name, &sections.collect::<Vec<_>>().join("\n\n"));
            names.insert(format!("{name}.snap"));
        }
        // None is left of an operation that is gone.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/snapshots");
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<String> = files.filter(|name| name.starts_with("help")).collect();
        assert_eq!(files, names);
    }

    #[test]
    fn an_option_without_effect_is_refused() {
        let line = ["nixcfg", "deploy-nixos", "prod", "--drain-timeout", "9"];
        assert!(Cli::try_parse_from(line).is_err());
    }

    #[test]
    fn an_unknown_mode_is_a_usage_error() {
        let error =
            Cli::try_parse_from(["nixcfg", "deploy-nixos", "prod", "--mode", "swich"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
