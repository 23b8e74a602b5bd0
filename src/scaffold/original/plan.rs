//! Plans our files from the original's settings, and lists those that have no place in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::file::{File, Taken};
use super::{Left, Original};
use crate::cluster::Name;
use crate::error::{Error, Result};
use crate::nix::syntax::attribute;
use crate::scaffold::files;

/// The port of the original's WireGuard where no file sets one.
const WIREGUARD_PORT: u64 = 33799;

/// What is written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cluster {
    /// Texts by their path in the cluster's folder.
    pub files: Vec<(String, String)>,
    /// The nodes, and whether each is a server.
    pub nodes: Vec<(Name, bool)>,
    pub left: Vec<Left>,
}

/// Plans the cluster `name`, with its DNS domain and its folder in the password store.
pub fn plan(original: &Original, name: &Name, domain: &str, store: &str) -> Result<Cluster> {
    let prefix = original.prefix()?;
    let mut cluster = File::new(prefix, &original.cluster);
    let sites = original.sites.iter();
    let sites = sites.map(|(site, settings)| (site, File::new(prefix, settings)));
    let mut sites: BTreeMap<&Name, File> = sites.collect();
    let nodes = original.nodes.iter();
    let nodes = nodes.map(|(node, settings)| (node, File::new(prefix, settings)));
    let mut nodes: BTreeMap<&Name, File> = nodes.collect();
    if nodes.is_empty() {
        let folder = original.folder.join("node");
        let what = format!("there are no files of nodes in {}", folder.display());
        return Err(Error::usage(what));
    }

    let mut planned = Cluster::default();
    let mut head = head(&mut cluster, domain, store);
    for (site, file) in &mut sites {
        let values = Value::Object(site_of(file));
        let taken = Taken::of(file, original, &mut planned.left);
        let option = format!("cluster.sites.{}", attribute(site.as_str()));
        let text = taken.text(None, (option, &values));
        planned.files.push((format!("site/{site}.nix"), text));
    }
    let servers = servers(original, &mut nodes, &mut planned.left);
    let (mut unlocked, mut meshed, mut lacking) = (false, false, Vec::new());
    for (node, file) in &mut nodes {
        let server = servers.contains(*node);
        let mut values = node_of(original, node, file, &mut planned.left);
        values["site"] = json!(original.site_of(node, file, &mut cluster)?);
        values["role"] = json!(if server { "server" } else { "client" });
        for own in ["address", "publicKey", "endpoint"] {
            if let Some(text) = cluster.text(&format!("clusterNodes.{node}.{own}")) {
                values["wireguard"][own] = json!(text);
            }
        }
        match values.get("wireguard") {
            Some(_) => meshed = true,
            None => lacking.push(node.as_str()),
        }
        unlocked |= file
            .own
            .keys()
            .any(|name| name.starts_with("remoteUnlock."));
        // The node has these from its site and its own settings.
        file.take("remoteUnlock.networkInterface");
        file.take("remoteUnlock.defaultGateway");
        let taken = Taken::of(file, original, &mut planned.left);
        let imports = format!("imports = [ ../hardware/{node}.nix ];");
        let option = format!("cluster.nodes.{}", attribute(node.as_str()));
        let text = taken.text(Some(imports), (option, &values));
        planned.files.push((format!("node/{node}.nix"), text));
        let hardware = format!("hardware/{node}.nix");
        planned
            .files
            .push((hardware, files::no_hardware(name, node)));
        planned.nodes.push(((*node).clone(), server));
    }
    if meshed {
        mesh(
            original,
            prefix,
            &mut cluster,
            &mut head,
            &lacking,
            &mut planned.left,
        );
    }
    if unlocked {
        head["remoteUnlock"]["enable"] = json!(true);
        planned.left.push(original.about(
            "remoteUnlock",
            "the RAM disk's SSH server gets port 2222 and a new host key: run deploy-secrets before deploy-nixos".into(),
        ));
    }
    let taken = Taken::of(&cluster, original, &mut planned.left);
    let text = taken.text(None, ("cluster".into(), &head));
    planned.files.push(("cluster.nix".into(), text));
    let ssh_config = original.ssh_config(name);
    planned.files.push(("ssh_config".into(), ssh_config));
    let known_hosts = original.known_hosts.clone().unwrap_or_default();
    planned.files.push(("known_hosts".into(), known_hosts));

    let all = std::iter::once(&cluster)
        .chain(sites.values())
        .chain(nodes.values());
    for setting in all.flat_map(|file| file.own.values()) {
        let why = match &setting.value {
            Err(why) => why,
            Ok(_) if setting.path.iter().any(|name| name == "clusterNodes") => {
                "no file in node/ is of that name"
            }
            Ok(_) => "nixcfg has no such setting here",
        };
        planned.left.push(original.left(setting, why));
    }
    for folder in &original.others {
        let why = if folder.ends_with("app") {
            format!("its apps: cp -r {} cluster/{name}/", folder.display())
        } else {
            "the original's own modules, which nixcfg replaces: look for settings of yours in them"
                .into()
        };
        planned.left.push(Left {
            file: original.relative(folder),
            line: None,
            what: None,
            why,
        });
    }
    planned.left.sort_by(|a, b| {
        (a.what.is_none(), &a.file, a.line).cmp(&(b.what.is_none(), &b.file, b.line))
    });
    Ok(planned)
}

/// The settings of the overlay, in which the nodes keep their keys.
fn mesh(
    original: &Original,
    prefix: &[String],
    file: &mut File,
    head: &mut Value,
    lacking: &[&str],
    left: &mut Vec<Left>,
) {
    let note = |why: String| original.about("clusterNodes", why);
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        left.push(note(format!(
            "lacks {lacking}: give each a wireguard.address and publicKey, or remove its file"
        )));
    }
    // No store has the keys.
    let own = prefix.last().map_or("", String::as_str);
    let keys = format!("/var/lib/{own}/wireguard-keys/private");
    left.push(note(format!(
        "the nodes keep their keys, in {keys}: correct cluster.wireguard.privateKeyFile if they are elsewhere"
    )));
    let length = file
        .peek("clusterPrefix")
        .and_then(|prefix| prefix.as_str()?.rsplit_once('/')?.1.parse::<u64>().ok());
    if let Some(length) = length {
        file.take("clusterPrefix");
        head["wireguard"]["prefixLength"] = json!(length);
    }
    if let Some(port) = file.take("wgautomeshPort") {
        head["wireguard"]["gossipPort"] = port.clone();
    }
    let port = file.take("wireguardPort").cloned();
    head["wireguard"]["port"] = port.unwrap_or(json!(WIREGUARD_PORT));
    head["wireguard"]["enable"] = json!(true);
    head["wireguard"]["keys"] = json!("node");
    head["wireguard"]["privateKeyFile"] = json!(keys);
}

/// `cluster.*` of the whole cluster, but for the overlay.
fn head(file: &mut File, domain: &str, store: &str) -> Value {
    let mut ours = json!({ "domain": domain, "secretsPrefix": store });
    file.take("clusterName");
    for user in file.below("adminAccounts") {
        if let Some(keys) = file.take(&format!("adminAccounts.{user}")) {
            ours["admins"][user]["keys"] = keys.clone();
        }
    }
    ours
}
/// `cluster.sites.<site>.*`.
fn site_of(file: &mut File) -> Map<String, Value> {
    file.take("siteName");
    let mut site = json!({});
    for (theirs, kind, family) in [
        ("staticIPv4.defaultGateway", "gateway", "ipv4"),
        ("staticIPv6.defaultGateway", "gateway", "ipv6"),
        ("staticIPv4.prefixLength", "prefixLength", "ipv4"),
        ("staticIPv6.prefixLength", "prefixLength", "ipv6"),
        ("publicIPv4", "publicAddress", "ipv4"),
    ] {
        if let Some(value) = file.take(theirs).filter(|value| !value.is_null()) {
            site[kind][family] = value.clone();
        }
    }
    match site {
        Value::Object(site) => site,
        _ => Map::new(),
    }
}

/// The servers: those that say so; else three, or one where there are fewer nodes.
fn servers(
    original: &Original,
    nodes: &mut BTreeMap<&Name, File>,
    left: &mut Vec<Left>,
) -> BTreeSet<Name> {
    let mut said = false;
    let mut servers = BTreeSet::new();
    for (node, file) in nodes.iter_mut() {
        if let Some(value) = file.take("isRaftServer") {
            said = true;
            if value == &json!(true) {
                servers.insert((*node).clone());
            }
        }
    }
    if !said {
        let most = if nodes.len() >= 3 { 3 } else { 1 };
        servers.extend(nodes.keys().take(most).map(|node| (*node).clone()));
        let names: Vec<&str> = servers.iter().map(Name::as_str).collect();
        left.push(original.about(
            "isRaftServer",
            format!(
                "no node sets it; {} became servers: correct their `role`",
                names.join(", ")
            ),
        ));
    }
    servers
}

/// `cluster.nodes.<node>.*`: its addresses and interface.
fn node_of(original: &Original, node: &Name, file: &mut File, left: &mut Vec<Left>) -> Value {
    let bare = |text: &str| {
        text.split('/')
            .next()
            .and_then(|text| text.parse::<IpAddr>().ok())
    };
    let mut values = json!({});
    for (theirs, family) in [
        ("staticIPv4.address", "ipv4"),
        ("staticIPv6.address", "ipv6"),
    ] {
        if let Some(address) = file.text(theirs).and_then(bare) {
            values["address"][family] = json!(address);
        }
    }
    let is_static = values.get("address").is_some();
    let interface = file.take("networkInterface").cloned();
    let interface = interface.or_else(|| file.peek("remoteUnlock.networkInterface").cloned());
    if let Some(interface) = interface.filter(|_| is_static) {
        values["interface"] = interface;
    }
    let unlocked = file.own.get("remoteUnlock.staticIP").copied();
    let address = file.text("remoteUnlock.staticIP").and_then(bare);
    match (address, unlocked) {
        _ if is_static => {}
        (Some(address), Some(setting)) => {
            values["address"]["ipv4"] = json!(address);
            let why = format!(
                "became the node's address; its initial RAM disk asks DHCP unless cluster.nodes.{node}.interface is set"
            );
            left.push(original.left(setting, why));
        }
        _ => {
            if let Some(address) = original.host_name(node) {
                let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
                values["address"][family] = json!(address);
            }
        }
    }
    values
}
