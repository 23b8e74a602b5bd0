//! `add-node`: writes the files of another node.

use std::net::IpAddr;
use std::path::Path;

use crate::cluster::name;
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::operation::Invocation;
use crate::operations::next::after;
use crate::operations::next::steps::Facts;
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

    /// Create the site, which the cluster does not have yet
    #[arg(long)]
    new_site: bool,

    /// Let it vote in Consul and Nomad; the number of servers must stay odd
    #[arg(long)]
    server: bool,

    /// The port of its SSH server
    #[arg(long, default_value_t = 22)]
    port: u16,
}

/// Runs `add-node`. It writes the node's own file last, so another run can complete an interrupted
/// one.
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
        let known = modules(&folder.join("site"))?;
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
        common.ssh_user.as_deref(),
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
        let line = key.line.clone();
        rewrite(&folder.join("known_hosts"), |text| known(text, &line))?;
    }
    let config = folder.join("ssh_config");
    let before = rewrite(&config, |text| reached(text, node))?;
    let host = format!("Host {}", node.name);
    let had = before.lines().any(|line| line.trim() == host);
    if had && reached(&before, node) != before {
        let what = format!(
            "{} had a part on it, of an earlier node perhaps: it leads to {} now",
            config.display(),
            node.address
        );
        scaffold::say(&reporter, &node.name, what);
    }
    replace(&node_file, &files::node(node, &site, survey.as_ref()))?;
    scaffold::tell_git(&root, &common.cluster, &reporter).await;
    reporter.emit(Event::Done {
        node: node.name.clone(),
        ok: true,
        outcome: format!("written, in site {site} at {}", node.address),
        data: serde_json::json!({"action": "written", "site": site}),
    });
    let nodes = modules(&folder.join("node"))?;
    let nodes = nodes.iter().filter_map(|name| name.parse().ok()).collect();
    let mut facts = Facts::added(common.cluster.clone(), nodes, node.name.clone());
    facts.login = common.ssh_user.clone();
    after::note(&reporter, &facts);
    Ok(())
}

/// The names of the modules in a folder of the cluster.
fn modules(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
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

/// Rewrites a file by `change`, and returns its former text.
fn rewrite(file: &Path, change: impl Fn(&str) -> String) -> Result<String> {
    let before = match std::fs::read_to_string(file) {
        Ok(before) => before,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::usage(format!("cannot read {}: {e}", file.display()))),
    };
    let after = change(&before);
    if after != before {
        replace(file, &after)?;
    }
    Ok(before)
}

/// Adds a confirmed key to the text of `known_hosts`, and removes others of its kind for that
/// address.
fn known(text: &str, line: &str) -> String {
    let whose = |line: &str| {
        let mut words = line.split_whitespace();
        (
            words.next().map(str::to_owned),
            words.next().map(str::to_owned),
        )
    };
    if text.lines().any(|other| other.trim() == line) {
        return text.to_owned();
    }
    let kept = text.lines().filter(|other| whose(other) != whose(line));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    format!("{kept}{line}\n")
}

/// Adds a node's section to the text of `ssh_config`. In an existing section it changes address and
/// port only.
fn reached(text: &str, node: &Node) -> String {
    let host = format!("Host {}", node.name);
    let Some(at) = text.lines().position(|line| line.trim() == host) else {
        let gap = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        return format!("{text}{gap}{}", files::host(node));
    };
    let word = |line: &str| {
        let word = line.trim().split([' ', '\t', '=']).next();
        word.unwrap_or_default().to_ascii_lowercase()
    };
    let new = files::host(node);
    let mut after: Vec<&str> = text.lines().take(at).collect();
    after.extend(new.trim().lines());
    let mut inside = true;
    for line in text.lines().skip(at + 1) {
        inside &= !matches!(word(line).as_str(), "host" | "match");
        if !(inside && matches!(word(line).as_str(), "hostname" | "port")) {
            after.push(line);
        }
    }
    let after: String = after.into_iter().map(|line| format!("{line}\n")).collect();
    after
}

/// Writes a file in one step.
fn replace(file: &Path, text: &str) -> Result<()> {
    let doing = || format!("cannot write {}", file.display());
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).context(doing)?;
    crate::file::replace(file, text, 0o644).context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn birch(address: &str, port: u16) -> Node {
        Node {
            name: "birch".parse().unwrap(),
            address: address.parse().unwrap(),
            port,
            server: false,
        }
    }

    #[test]
    fn ssh_config_leads_to_where_the_node_is_now() {
        let before = "Host alder\n  HostName 192.0.2.11";
        let once = reached(before, &birch("192.0.2.12", 22));
        assert_eq!(
            once,
            "Host alder\n  HostName 192.0.2.11\n\nHost birch\n  HostName 192.0.2.12\n"
        );
        assert_eq!(reached(&once, &birch("192.0.2.12", 22)), once);
        // Everything else stays.
        let old = "Host birch\n  hostname=192.0.2.9\n  Port 2222\n  User deploy\n\nHost cedar\n  Port 23\n";
        assert_eq!(
            reached(old, &birch("192.0.2.12", 22)),
            "Host birch\n  HostName 192.0.2.12\n  User deploy\n\nHost cedar\n  Port 23\n"
        );
        assert!(reached(old, &birch("192.0.2.12", 24)).contains("  Port 24\n  User"));
    }

    #[test]
    fn an_address_has_the_key_that_was_confirmed() {
        let before = "a ssh-ed25519 OLD\na ssh-rsa OTHER\nb ssh-ed25519 B";
        let after = known(before, "a ssh-ed25519 NEW");
        assert_eq!(
            after,
            "a ssh-rsa OTHER\nb ssh-ed25519 B\na ssh-ed25519 NEW\n"
        );
        assert_eq!(known(&after, "a ssh-ed25519 NEW"), after);
    }

    #[test]
    fn a_file_that_is_not_there_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssh_config");
        let before = rewrite(&file, |text| format!("{text}x")).unwrap();
        assert_eq!(before, "");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    }

    #[test]
    fn sites_are_the_files_of_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        assert!(modules(&site).unwrap().is_empty());
        std::fs::create_dir(&site).unwrap();
        for name in ["lyon.nix", "brest.nix", "README.md"] {
            std::fs::write(site.join(name), "").unwrap();
        }
        assert_eq!(modules(&site).unwrap(), ["brest", "lyon"]);
    }
}
