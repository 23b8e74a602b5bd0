//! `add-node`: one more node of a cluster.

use std::net::IpAddr;
use std::path::Path;

use crate::cluster::name;
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::operation::Invocation;
use crate::scaffold::answer::label;
use crate::scaffold::ask::Asker;
use crate::scaffold::files::{self, Node};
use crate::scaffold::{self, Common, Machine};

/// The arguments of `add-node`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,

    /// The new node's name
    node: String,

    /// Its address
    #[arg(long)]
    address: IpAddr,

    /// Its site
    #[arg(long, value_name = "NAME")]
    site: String,

    /// Make the site: the cluster has none of that name yet
    #[arg(long)]
    new_site: bool,

    /// Let it vote in Consul and Nomad; the number of those that do must stay odd
    #[arg(long)]
    server: bool,

    /// The port of its SSH server
    #[arg(long, default_value_t = 22)]
    port: u16,
}

/// Runs `add-node`. The node's own file comes last, so that a run that was cut short is completed by another.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let common = &args.common;
    let asker = Asker {
        reporter: reporter.clone(),
        yes: common.yes,
    };
    let (node, site) = (label(&args.node)?, label(&args.site)?);
    let root = scaffold::root(&invocation.flake)?;
    let folder = root.join("cluster").join(common.cluster.as_str());
    if !folder.join("cluster.nix").is_file() {
        return Err(
            Error::usage(format!("there is no cluster ‘{}’", common.cluster))
                .help(format!("init {} makes it", common.cluster)),
        );
    }
    let node_file = folder.join(format!("node/{node}.nix"));
    if node_file.exists() {
        return Err(Error::usage(format!(
            "there is a node ‘{node}’ already: {}",
            node_file.display()
        )));
    }
    let site_file = folder.join(format!("site/{site}.nix"));
    if !site_file.exists() && !args.new_site {
        let known = sites(&folder)?;
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(
            Error::usage(format!("there is no site ‘{site}’")).help(format!(
                "{}; --new-site makes one",
                name::suggestion(site.as_str(), &known, "sites")
            )),
        );
    }

    let machine = Machine::meet(
        Node {
            name: node,
            address: args.address,
            port: args.port,
            server: args.server,
        },
        common,
        &asker,
    )
    .await?;
    let Machine { node, key, survey } = &machine;
    if !site_file.exists() {
        replace(&site_file, &files::site(&site))?;
    }
    replace(
        &folder.join(format!("hardware/{}.nix", node.name)),
        &files::hardware(survey.as_ref()),
    )?;
    if let Some(key) = key {
        extend(
            &folder.join("known_hosts"),
            &format!("{}\n", key.line),
            &key.line,
        )?;
    }
    extend(
        &folder.join("ssh_config"),
        &files::host(node),
        &format!("Host {}", node.name),
    )?;
    replace(&node_file, &files::node(node, &site, survey.as_ref()))?;
    scaffold::tell_git(&root, &common.cluster, &reporter).await;
    reporter.emit(Event::Done {
        node: node.name.clone(),
        ok: true,
        outcome: format!("written, in site {site} at {}", node.address),
        data: serde_json::json!({"action": "written", "site": site}),
    });
    Ok(())
}

/// The sites that the cluster has files of.
fn sites(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.join("site");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => {
            return Err(Error::usage(format!(
                "cannot read {}: {e}",
                folder.display()
            )));
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_suffix(".nix")?.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Adds text at the end of a file, unless it has the line that stands for it.
fn extend(file: &Path, text: &str, line: &str) -> Result<()> {
    let before = match std::fs::read_to_string(file) {
        Ok(before) => before,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::usage(format!("cannot read {}: {e}", file.display()))),
    };
    if before.lines().any(|other| other.trim() == line) {
        return Ok(());
    }
    let gap = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    replace(file, &format!("{before}{gap}{text}"))
}

/// Writes a file in one step.
fn replace(file: &Path, text: &str) -> Result<()> {
    let doing = || format!("cannot write {}", file.display());
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).context(doing)?;
    let mut new = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .context(doing)?;
    std::io::Write::write_all(&mut new, text.as_bytes()).context(doing)?;
    new.as_file().sync_all().context(doing)?;
    new.persist(file).context(doing)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_extended_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssh_config");
        for _ in 0..2 {
            extend(&file, "\nHost alder\n  HostName 192.0.2.11\n", "Host alder").unwrap();
        }
        extend(&file, "\nHost birch\n", "Host birch").unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "\nHost alder\n  HostName 192.0.2.11\n\nHost birch\n"
        );
    }

    #[test]
    fn a_last_line_without_its_end_is_not_run_into() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, "a b c").unwrap();
        extend(&file, "d e f\n", "d e f").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a b c\nd e f\n");
    }

    #[test]
    fn sites_are_the_files_of_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sites(folder.path()).unwrap().is_empty());
        std::fs::create_dir(folder.path().join("site")).unwrap();
        for name in ["lyon.nix", "brest.nix", "README.md"] {
            std::fs::write(folder.path().join("site").join(name), "").unwrap();
        }
        assert_eq!(sites(folder.path()).unwrap(), ["brest", "lyon"]);
    }
}
