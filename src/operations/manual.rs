//! `manual`: writes manual pages and shell completions. The package's build runs it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;

use crate::completion;
use crate::error::{Context, Result};

/// The arguments of `manual`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The folder to create and write to
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Runs `manual`.
pub fn run(args: &Args, command: &Command) -> Result<()> {
    write(&args.folder, command)
        .context(|| format!("the manual cannot be written to {}", args.folder.display()))
}

/// Writes `nixcfg.1`, `nixcfg-<operation>.1` and a completion file for each shell, under their
/// usual names.
fn write(folder: &Path, command: &Command) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in completion::functions()? {
        std::fs::write(folder.join(name), text)?;
    }
    page(folder, command, "nixcfg")?;
    // Operators do not call hidden operations.
    let shown = |one: &&Command| !one.is_hide_set() && one.get_name() != "help";
    for operation in command.get_subcommands().filter(shown) {
        page(
            folder,
            operation,
            &format!("nixcfg-{}", operation.get_name()),
        )?;
    }
    Ok(())
}

fn page(folder: &Path, command: &Command, name: &str) -> io::Result<()> {
    let mut file = File::create(folder.join(format!("{name}.1")))?;
    let command = command.clone().display_name(name.to_owned());
    clap_mangen::Man::new(command).title(name).render(&mut file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_operation_has_a_page_and_each_shell_a_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Cli::described()).unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        for operation in Cli::described().get_subcommands() {
            let name = operation.get_name();
            let page = folder.path().join(format!("nixcfg-{name}.1"));
            assert_eq!(page.exists(), name != "help" && name != "manual", "{name}");
        }
        let page = text("nixcfg-deploy-nixos.1");
        assert!(page.contains(".TH nixcfg-deploy-nixos 1"), "{page}");
        assert!(page.contains("Build and activate the NixOS"), "{page}");
        assert!(page.contains("confirm\\-timeout"), "{page}");
        assert!(text("nixcfg.1").contains("SUDO_PASS"));
        for shell in ["nixcfg.bash", "nixcfg.fish", "_nixcfg"] {
            assert!(text(shell).contains("NIXCFG_COMPLETE"), "{shell}");
        }
    }
}
