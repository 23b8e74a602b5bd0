//! How every operation on a cluster begins: the flake, the cluster's data, the selected nodes, and
//! a first look at each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::Value;

use crate::cluster::{Cluster, Name, name, select};
use crate::error::{Error, Exit, Result};
use crate::event::Reporter;
use crate::nix::Settings;
use crate::nix::cache::Cache;
use crate::nix::eval::{self, Named};
use crate::nix::source::{self, Flake, Source};
use crate::nix::untracked::Untracked;
use crate::node::Sudo;
use crate::node::each::{ALL, each};
use crate::node::probe::{self, Probed};
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Access, Patience};
use crate::secret::{self, Passwords, Secret};

/// How the tool was called: what is the same for every operation.
pub struct Invocation {
    pub reporter: Reporter,
    /// `--flake`.
    pub flake: String,
    /// `SUDO_PASS` and the passwords of single nodes, if given.
    pub passwords: Passwords,
}

/// The argument that names a cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct FlakeArgs {
    /// The cluster: a folder below cluster/
    pub cluster: Name,

    #[command(flatten)]
    pub nix: NixArgs,
}

/// The arguments of operations that log in to nodes.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    pub described: FlakeArgs,

    #[command(flatten)]
    pub login: LoginArgs,
}

/// Options of logins.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LoginArgs {
    /// How to reach the nodes [default: cluster/CLUSTER/ssh_config]
    #[arg(help_heading = "Login", long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// Log in as this user [default: that of ssh_config, else that of the node's files, else your
    /// own name]
    #[arg(help_heading = "Login", long, value_name = "USER", env = "SSH_USER")]
    pub ssh_user: Option<String>,

    /// How many seconds a login may take, and a connection may be silent [default: 20]
    #[arg(help_heading = "Login", long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(5..=600))]
    pub login_timeout: Option<u16>,
}

/// Options for every call of Nix.
#[derive(Debug, Clone, clap::Args)]
pub struct NixArgs {
    /// Use another flake for one of its inputs
    #[arg(help_heading = "Nix", long, num_args = 2, value_names = ["INPUT", "REF"], action = clap::ArgAction::Append)]
    pub override_input: Vec<String>,

    /// Set an option of Nix
    #[arg(help_heading = "Nix", long, num_args = 2, value_names = ["NAME", "VALUE"], action = clap::ArgAction::Append)]
    pub option: Vec<String>,

    /// Show Nix's whole trace in errors
    #[arg(help_heading = "Nix", long)]
    pub show_trace: bool,
}

impl NixArgs {
    /// Options for every call of Nix. Local references become absolute, as the working directory
    /// will be the repository's root.
    pub fn settings(&self, cwd: &Path) -> Settings {
        let pairs = |flat: &[String]| -> Vec<(String, String)> {
            flat.chunks_exact(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect()
        };
        Settings {
            override_inputs: pairs(&self.override_input)
                .into_iter()
                .map(|(input, flake)| (input, source::absolute_reference(&flake, cwd)))
                .collect(),
            options: pairs(&self.option),
            show_trace: self.show_trace,
        }
    }
}

/// An operation whose cluster has been read.
pub struct Operation {
    pub reporter: Reporter,
    /// Options for calls of Nix.
    pub settings: Settings,
    /// The repository's root, which is the working directory.
    pub root: PathBuf,
    /// The flake, pinned.
    pub source: Source,
    /// The cache of the flake's evaluation.
    pub cache: Cache,
    pub cluster: Arc<Cluster>,
    /// Its files that Git does not track.
    pub untracked: Untracked,
    /// How to reach its nodes.
    pub access: Access,
    /// The sudo passwords that were given or asked for.
    pub passwords: Passwords,
    /// Another password, for nodes that refuse the first one: while the operator's own password
    /// changes, some nodes may have the new one.
    pub other_password: Option<Arc<Secret>>,
}

impl Operation {
    /// Finds the flake, makes its folder the working directory, and reads the cluster. `ssh_config`
    /// names files relative to that folder.
    pub async fn start(args: &ClusterArgs, invocation: Invocation) -> Result<Self> {
        let mut this = Self::begin(&args.described, &args.login, invocation, true).await?;
        this.access = this.access.to(&this.cluster.nodes).await?;
        Ok(this)
    }

    /// The same without a warning of what Nix does not see, for who tells of it itself.
    pub async fn quietly(args: &ClusterArgs, invocation: Invocation) -> Result<Self> {
        let mut this = Self::begin(&args.described, &args.login, invocation, false).await?;
        this.access = this.access.to(&this.cluster.nodes).await?;
        Ok(this)
    }

    /// The same, for an operation that logs in to no node.
    pub async fn start_without_nodes(args: &FlakeArgs, invocation: Invocation) -> Result<Self> {
        Self::begin(args, &LoginArgs::default(), invocation, true).await
    }

    async fn begin(
        args: &FlakeArgs,
        login: &LoginArgs,
        invocation: Invocation,
        warns: bool,
    ) -> Result<Self> {
        let Invocation {
            reporter,
            flake,
            passwords,
        } = invocation;
        let cwd = std::env::current_dir()
            .map_err(|e| Error::usage(format!("there is no working directory: {e}")))?;
        let flake = Flake::locate(&flake, &cwd)?;
        let settings = args.nix.settings(&cwd);
        let given = login.ssh_config.as_ref().map(|file| cwd.join(file));
        std::env::set_current_dir(&flake.root)
            .map_err(|e| Error::usage(format!("cannot enter {}: {e}", flake.root.display())))?;
        reporter.phase("reading the cluster");
        let (source, untracked) = tokio::join!(
            source::pin(&flake, &settings),
            Untracked::of(&flake, args.cluster.as_str())
        );
        let source = source?;
        if let Some(what) = untracked.warning().filter(|_| warns) {
            reporter.warning(None, what);
        }
        let mut cache = Cache::open(&source, &settings);
        let cluster = load(&source, &settings, &mut cache, &args.cluster).await;
        let cluster = cluster.map_err(|e| untracked.explain(e, args.cluster.as_str()))?;
        let names = cluster.nodes.keys().map(Name::as_str);
        for variable in passwords.strangers(names) {
            reporter.warning(
                None,
                format!("{variable} names no node of {}", cluster.name),
            );
        }
        let own = Path::new("cluster")
            .join(args.cluster.as_str())
            .join("ssh_config");
        let config_file = given.or_else(|| own.is_file().then_some(own));
        let patience = Patience::seconds(login.login_timeout.unwrap_or(Patience::USUAL));
        let access = Access::new(config_file, login.ssh_user.clone(), patience)?;
        Ok(Self {
            reporter,
            settings,
            root: flake.root,
            source,
            cache,
            cluster: Arc::new(cluster),
            untracked,
            access,
            passwords,
            other_password: None,
        })
    }

    /// The nodes that the words of a command line select.
    pub fn select(&self, words: &[String]) -> Result<BTreeSet<Name>> {
        let words = select::expand(words, || std::io::read_to_string(std::io::stdin()))?;
        let selected = select::select(&self.cluster, &words).map_err(|error| {
            let explain = |error, word: &String| self.untracked.explain(error, word);
            words.iter().fold(error, explain)
        })?;
        self.reporter.expect(&selected);
        Ok(selected)
    }

    /// Probes all `nodes` at once. Fails unless every one can be used. With `need_root`, asks for
    /// the sudo password, once, if a node needs it.
    pub async fn probe(
        &mut self,
        nodes: &BTreeSet<Name>,
        need_root: bool,
    ) -> Result<BTreeMap<Name, Probed>> {
        let mut bad = Vec::new();
        let mut probed = self.probe_each(nodes, &mut bad).await;
        if need_root && bad.is_empty() {
            self.try_where_wanted(&mut probed, &mut bad).await?;
        }
        self.judge(&probed, &mut bad);
        if bad.is_empty() {
            return Ok(probed);
        }
        self.reporter.failures(&bad);
        let exit = if bad.iter().all(|e| e.kind.exit() == Exit::Usage) {
            Exit::Usage
        } else {
            Exit::Probe
        };
        let what = format!(
            "{} of {} nodes cannot be used; nothing was changed",
            bad.len(),
            nodes.len()
        );
        let names = bad.iter().filter_map(|error| error.node.as_ref());
        let names: BTreeSet<String> = names.map(|name| format!("'!{name}'")).collect();
        let names: Vec<String> = names.into_iter().collect();
        let error = Error::new(exit, what);
        if names.len() == nodes.len() {
            return Err(error); // without them nothing would be left
        }
        Err(error.help(format!("to go on without: {}", names.join(" "))))
    }

    /// Probes all `nodes` at once, and returns those that can be used and the errors of the others.
    /// For operations that change nothing.
    pub async fn probe_some(
        &mut self,
        nodes: &BTreeSet<Name>,
        need_root: bool,
    ) -> Result<(BTreeMap<Name, Probed>, Vec<Error>)> {
        let mut bad = Vec::new();
        let mut probed = self.probe_each(nodes, &mut bad).await;
        if need_root {
            self.try_where_wanted(&mut probed, &mut bad).await?;
        }
        self.judge(&probed, &mut bad);
        let names: BTreeSet<&Name> = bad.iter().filter_map(|error| error.node.as_ref()).collect();
        probed.retain(|name, _| !names.contains(name));
        Ok((probed, bad))
    }

    /// Asks for the password, once, if a node needs one, and tries it there. Then asks once for the
    /// password of each node that refuses it while others accept it.
    async fn try_where_wanted(
        &mut self,
        probed: &mut BTreeMap<Name, Probed>,
        bad: &mut Vec<Error>,
    ) -> Result<()> {
        let those = |probed: &BTreeMap<Name, Probed>, which: fn(&Probed) -> bool| -> Vec<Name> {
            let all = probed.iter().filter(|(_, p)| which(p));
            all.map(|(name, _)| name.clone()).collect()
        };
        let wanting = those(probed, |p| p.facts.wants_password());
        if !self.passwords.has_all() && !wanting.is_empty() {
            let users: BTreeSet<&str> = probed.values().map(|p| p.facts.user.as_str()).collect();
            let users = users.into_iter().collect::<Vec<_>>().join(", ");
            let prompt = format!("sudo password of {users} on {}: ", self.cluster.name);
            let password = self.ask(prompt).await?;
            try_everywhere(probed, &wanting, &password, bad).await;
            self.passwords.set_all(password);
        }
        let right = those(probed, |p| p.facts.sudo == Sudo::Right);
        let wrong = those(probed, |p| p.facts.sudo.is_wrong_password());
        if right.is_empty() || !secret::can_ask() {
            return Ok(());
        }
        for node in wrong {
            let Some(p) = probed.get_mut(&node) else {
                continue;
            };
            if self.passwords.has_own(node.as_str()) {
                continue;
            }
            let user = &p.facts.user;
            let prompt = format!("sudo password of {user} on {node}, which is another: ");
            let password = self.ask(prompt).await?;
            bad.extend(probe::try_password(p, &password).await.err());
            self.passwords.set_own(node.as_str(), password);
        }
        Ok(())
    }

    /// Adds the errors of probed nodes that cannot be used, and sorts all errors by node.
    fn judge(&self, probed: &BTreeMap<Name, Probed>, bad: &mut Vec<Error>) {
        for (name, p) in probed {
            if let Some(node) = self.cluster.nodes.get(name) {
                bad.extend(p.facts.unusable(name, &node.system));
            }
        }
        bad.sort_by(|a, b| a.node.cmp(&b.node));
    }

    /// Probes one node, with its known password.
    pub async fn probe_one(&self, node: &Name) -> Result<Probed> {
        probe::probe(&self.access, node, self.passwords.of(node.as_str())).await
    }

    async fn probe_each(
        &self,
        nodes: &BTreeSet<Name>,
        bad: &mut Vec<Error>,
    ) -> BTreeMap<Name, Probed> {
        let mut looks = each(
            ALL,
            nodes.iter().map(|node| (node, ())),
            async |node, ()| {
                let mut probed = self.probe_one(node).await?;
                if let Some(other) = &self.other_password
                    && probed.facts.sudo.is_wrong_password()
                {
                    probe::try_password(&mut probed, other).await?;
                }
                Ok(probed)
            },
        );
        let mut probed = BTreeMap::new();
        while let Some((node, look)) = looks.next().await {
            match look {
                Ok(p) => drop(probed.insert(node.clone(), p)),
                Err(e) => bad.push(e),
            }
        }
        probed
    }

    async fn ask(&self, prompt: String) -> Result<Arc<Secret>> {
        let asked = self.reporter.ask(move || secret::ask(&prompt)).await;
        asked.map(Arc::new)
    }

    /// How to become root on a probed node.
    pub fn elevation(&self, probed: &Probed) -> Result<Elevation> {
        probed
            .facts
            .elevation(probed.password.as_ref())
            .ok_or_else(|| {
                Error::unexpected("becoming root was not prepared").on(probed.connection.node())
            })
    }
}

async fn try_everywhere(
    probed: &mut BTreeMap<Name, Probed>,
    wanting: &[Name],
    password: &Arc<Secret>,
    bad: &mut Vec<Error>,
) {
    let those = probed.iter_mut().filter(|(name, _)| wanting.contains(name));
    let tried = each(ALL, those, |_, p| probe::try_password(p, password));
    bad.extend(
        tried
            .filter_map(async |(_, tried)| tried.err())
            .collect::<Vec<_>>()
            .await,
    );
}

/// Reads the cluster `name` of `source`, from the cache or by evaluation.
async fn load(
    source: &Source,
    settings: &Settings,
    cache: &mut Cache,
    name: &Name,
) -> Result<Cluster> {
    if let Some(data) = cache.known.clusters.get(name.as_str()) {
        return read(name, data);
    }
    match eval::cluster(source, settings, name.as_str()).await? {
        Named::Found { data } => {
            let cluster = read(name, &data)?;
            cache.known.clusters.insert(name.to_string(), data);
            Ok(cluster)
        }
        Named::Missing { names } => {
            let error = Error::usage(format!("there is no cluster ‘{name}’ in this flake"));
            Err(error.help(name::suggestion(name.as_str(), &names, "clusters")))
        }
    }
}

fn read(name: &Name, data: &Value) -> Result<Cluster> {
    Cluster::parse(data).map_err(|e| e.running(format!("nix eval --json .#clusters.{name}")))
}
