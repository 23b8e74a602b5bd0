//! `init`: writes the files of a new cluster.

use std::path::{Path, PathBuf};

use crate::cluster::Name;
use crate::error::{Context, Error, Result};
use crate::event::{Event, Reporter};
use crate::nix::Settings;
use crate::operation::Invocation;
use crate::operations::next::after;
use crate::operations::next::steps::Facts;
use crate::scaffold::answer::{Place, label, own_key, public_key, user};
use crate::scaffold::ask::Asker;
use crate::scaffold::files::{self, Node};
use crate::scaffold::original::{self, Original};
use crate::scaffold::{Common, Machine, note, root, tell_git};

/// The arguments of `init`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,

    /// DNS domain of the nodes
    #[arg(long)]
    domain: Option<String>,

    /// Prefix of the cluster's entries in the password store
    #[arg(long, value_name = "FOLDER")]
    prefix: Option<String>,

    /// The first administrator
    #[arg(long, value_name = "USER")]
    admin: Option<String>,

    /// The administrator's public SSH key
    #[arg(long, value_name = "FILE")]
    key: Option<String>,

    /// The first site
    #[arg(long, value_name = "NAME")]
    site: Option<String>,

    /// A node of that site; may be given several times
    #[arg(long = "node", value_name = "NAME=ADDRESS")]
    nodes: Vec<Place>,

    /// Take the cluster over from FOLDER, cluster/<name> of a repository of the original scripts;
    /// contacts no machine
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = ["admin", "key", "site", "nodes", "no_survey", "offline"]
    )]
    from: Option<PathBuf>,
}

/// Runs `init`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let common = &args.common;
    let asker = Asker {
        reporter: reporter.clone(),
        yes: common.yes,
    };
    let cluster = label(common.cluster.as_str())?;
    let root = root(&invocation.flake)?;
    let folder = root.join("cluster").join(cluster.as_str());
    if folder.exists() {
        return Err(
            Error::usage(format!("there is a cluster ‘{cluster}’ already"))
                .help(format!("add-node {cluster} adds nodes to it")),
        );
    }

    let original = match &args.from {
        Some(from) => Some(original::read(from, &Settings::default()).await?),
        None => None,
    };
    let domain = asker
        .line(
            args.domain.as_ref(),
            "DNS domain of the nodes",
            Some(format!("{cluster}.example.org")),
            "--domain",
        )
        .await?;
    let prefix = asker
        .line(
            args.prefix.as_ref(),
            "Folder in the password store",
            original
                .as_ref()
                .and_then(Original::store)
                .or(Some("nixcfg".into())),
            "--prefix",
        )
        .await?;
    if let Some(original) = original {
        let plan = original::plan(&original, &cluster, &domain, &prefix)?;
        write_new(&folder, &plan.files)?;
        tell_git(&root, &cluster, &reporter).await;
        taken_over(&plan, &cluster, common.ssh_user.as_deref(), &reporter);
        return Ok(());
    }
    let me = std::env::var("USER").ok().filter(|name| name != "root");
    let question = ("First administrator", me.clone(), "--admin");
    let admin = asker.value(args.admin.as_ref(), question, user).await?;
    let question = ("Their public SSH key", own_key(), "--key");
    let key = asker.value(args.key.as_ref(), question, public_key).await?;
    let question = ("First site", None, "--site");
    let site = asker.value(args.site.as_ref(), question, label).await?;
    let places = places(args, &asker).await?;

    // Three servers survive the loss of one. Two survive none, like one.
    let servers = if places.len() >= 3 { 3 } else { 1 };
    let login = common.ssh_user.clone().unwrap_or_else(|| admin.to_string());
    let mut machines = Vec::new();
    for (number, place) in places.into_iter().enumerate() {
        let node = Node {
            name: place.name,
            address: place.address,
            port: 22,
            server: number < servers,
        };
        machines.push(meet(node, common, &login, &asker).await?);
    }

    let texts = texts(
        &cluster,
        &files::cluster(&domain, &prefix, &admin, &key),
        &site,
        &machines,
    );
    write_new(&folder, &texts)?;
    tell_git(&root, &cluster, &reporter).await;
    for machine in &machines {
        let at = format!(" at {}", machine.node.address);
        written(&machine.node.name, machine.node.server, &at, &reporter);
    }
    let names = machines.iter().map(|machine| machine.node.name.clone());
    let mut facts = Facts::new(cluster, names.collect(), vec![admin]);
    facts.login = Some(login).filter(|login| me.as_ref() != Some(login));
    tell_next(&facts, &reporter);
    Ok(())
}

/// Reports a node whose files were written.
fn written(node: &Name, server: bool, at: &str, reporter: &Reporter) {
    let role = if server { "server" } else { "client" };
    reporter.emit(Event::Done {
        node: node.clone(),
        ok: true,
        outcome: format!("written, a {role}{at}"),
        data: serde_json::json!({"action": "written", "role": role}),
    });
}

fn tell_next(facts: &Facts, reporter: &Reporter) {
    note(reporter, format!("look at cluster/{}", facts.cluster));
    after::note(reporter, facts);
}

/// Reports what was taken over from a repository of the original scripts, and what was not.
fn taken_over(plan: &original::Cluster, cluster: &Name, login: Option<&str>, reporter: &Reporter) {
    for (node, server) in &plan.nodes {
        written(node, *server, "", reporter);
    }
    if !plan.left.is_empty() {
        let lines: Vec<String> = plan.left.iter().map(|left| format!("  {left}")).collect();
        note(reporter, format!("not taken over:\n{}", lines.join("\n")));
    }
    note(
        reporter,
        format!(
            "no machine was contacted, and nothing is deployed before cluster/{cluster}/hardware/<node>.nix has what `nixos-generate-config --show-hardware-config` prints on each node"
        ),
    );
    // Its store and nodes have most of what a new cluster lacks; `next` looks at them.
    let login = login.map_or(String::new(), |user| format!(" --ssh-user {user}"));
    note(
        reporter,
        format!("then:\n  git add cluster/{cluster}\n  nix run .#next -- {cluster}{login}"),
    );
}

/// The nodes given; else asks for nodes until an empty answer.
async fn places(args: &Args, asker: &Asker) -> Result<Vec<Place>> {
    let mut places = args.nodes.clone();
    while args.nodes.is_empty() && !asker.yes {
        let answer = asker
            .read("Node, as NAME=ADDRESS (empty: no more): ".into(), "--node")
            .await?;
        if answer.is_empty() {
            break;
        } else {
            match answer.parse() {
                Ok(place) => match another(&places, &place) {
                    Ok(()) => places.push(place),
                    Err(error) => asker.reporter.failure(&error),
                },
                Err(error) => asker.reporter.failure(&error),
            }
        }
    }
    for (number, place) in places.iter().enumerate() {
        another(&places[..number], place)?;
    }
    if places.is_empty() {
        Err(Error::usage("a cluster has at least one node").help("--node alder=192.0.2.11"))
    } else {
        Ok(places)
    }
}

/// Fails if a node has the name or address of an earlier one.
fn another(earlier: &[Place], place: &Place) -> Result<()> {
    let Place { name, address } = place;
    if earlier.iter().any(|other| other.name == *name) {
        return Err(Error::usage(format!("the node ‘{name}’ is given twice")));
    }
    if earlier.iter().any(|other| other.address == *address) {
        return Err(Error::usage(format!(
            "two nodes have the address {address}"
        )));
    }
    Ok(())
}

/// Meets a machine. In a dialogue, repeats that until it works or the operator continues without.
async fn meet(node: Node, common: &Common, login: &str, asker: &Asker) -> Result<Machine> {
    loop {
        let error = match Machine::meet(node.clone(), common, Some(login), asker).await {
            Err(error) if !asker.yes => error,
            other => return other,
        };
        asker.reporter.failure(&error);
        let question = format!(
            "Try {} again, go on without looking at it, or stop? (again/without/stop): ",
            node.name
        );
        match asker.read(question, "--offline").await {
            Ok(answer) if answer == "again" => {}
            Ok(answer) if answer == "without" => return Ok(Machine::unmet(node)),
            _ => return Err(error),
        }
    }
}

/// Every file of a new cluster, by its path in the cluster's folder.
fn texts(
    cluster: &Name,
    cluster_nix: &str,
    site: &Name,
    machines: &[Machine],
) -> Vec<(String, String)> {
    let mut ssh_config = files::ssh_config(cluster);
    let mut known_hosts = String::new();
    let mut texts = vec![(format!("site/{site}.nix"), files::site(site))];
    for Machine { node, key, survey } in machines {
        ssh_config += &files::host(node);
        known_hosts.extend(key.iter().map(|key| format!("{}\n", key.line)));
        texts.push((
            format!("hardware/{}.nix", node.name),
            files::hardware(survey.as_ref()),
        ));
        texts.push((
            format!("node/{}.nix", node.name),
            files::node(node, site, survey.as_ref()),
        ));
    }
    texts.push(("ssh_config".into(), ssh_config));
    texts.push(("known_hosts".into(), known_hosts));
    texts.push(("cluster.nix".into(), cluster_nix.to_owned()));
    texts
}

/// Writes a folder whole or not at all.
fn write_new(folder: &Path, texts: &[(String, String)]) -> Result<()> {
    let doing = || format!("cannot write {}", folder.display());
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).context(doing)?;
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .context(doing)?;
    for (name, text) in texts {
        let path = new.path().join(name);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above).context(doing)?;
        }
        std::fs::write(&path, text).context(doing)?;
    }
    readable(new.path()).context(doing)?;
    std::fs::rename(new.path(), folder).context(doing)?;
    // The temporary folder is the cluster now.
    let _ = new.keep();
    Ok(())
}

/// Gives the folder, private while temporary, its usual mode.
fn readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaffold::host_key::HostKey;

    #[test]
    fn a_cluster_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = folder.path().join("cluster/prod");
        let machine = Machine {
            node: Node {
                name: "alder".parse().unwrap(),
                address: "192.0.2.11".parse().unwrap(),
                port: 22,
                server: true,
            },
            key: Some(HostKey {
                line: "192.0.2.11 ssh-ed25519 AAAA".into(),
                fingerprint: "SHA256:x".into(),
            }),
            survey: None,
        };
        let site = "lyon".parse().unwrap();
        let texts = texts(&"prod".parse().unwrap(), "{ }\n", &site, &[machine]);
        write_new(&cluster, &texts).unwrap();
        let read = |name: &str| std::fs::read_to_string(cluster.join(name)).unwrap();
        assert_eq!(read("known_hosts"), "192.0.2.11 ssh-ed25519 AAAA\n");
        assert!(read("ssh_config").contains("UserKnownHostsFile ./cluster/prod/known_hosts"));
        assert!(read("node/alder.nix").contains("cluster.nodes.alder"));
        let names: Vec<_> = std::fs::read_dir(folder.path().join("cluster"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["prod"]);
    }
}
