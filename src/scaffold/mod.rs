//! `init` and `add-node`: the files of a new cluster and of a new node.

pub mod answer;
pub mod ask;
pub mod files;
pub mod host_key;
pub mod original;
pub mod survey;

use std::path::{Path, PathBuf};

use crate::cluster::Name;
use crate::error::{Context, Error, Result};
use crate::event::{Event, Reporter};
use crate::nix::source::Flake;
use crate::private;
use crate::process::Command;
use ask::Asker;
use files::Node;
use host_key::HostKey;
use survey::Survey;

/// Options of `init` and `add-node`.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// The cluster: a folder below cluster/
    pub cluster: Name,

    /// Log in to the machines as this user [default: for init the administrator, for add-node your
    /// own name]
    #[arg(long, value_name = "USER", env = "SSH_USER")]
    pub ssh_user: Option<String>,

    /// Do not log in to the machines; you write their hardware configuration yourself
    #[arg(long)]
    pub no_survey: bool,

    /// Do not even ask the machines for their host keys
    #[arg(long)]
    pub offline: bool,

    /// Accept all proposed answers, host keys included, without asking
    #[arg(long)]
    pub yes: bool,
}

/// A future node, with its machine's answers.
pub struct Machine {
    pub node: Node,
    pub key: Option<HostKey>,
    pub survey: Option<Survey>,
}

impl Machine {
    /// A machine that was not asked.
    pub fn unmet(node: Node) -> Self {
        Self {
            node,
            key: None,
            survey: None,
        }
    }

    /// Asks the machine for its host key, lets the operator confirm it, and surveys the machine.
    pub async fn meet(
        node: Node,
        common: &Common,
        login: Option<&str>,
        asker: &Asker,
    ) -> Result<Self> {
        if common.offline {
            return Ok(Self::unmet(node));
        }
        let key = host_key::scan(&node.name, node.address, node.port).await?;
        say(
            &asker.reporter,
            &node.name,
            format!("{} shows the host key {}", node.address, key.fingerprint),
        );
        if !asker
            .agrees(&format!("Is that the key of {}?", node.name))
            .await?
        {
            return Err(
                Error::usage("its host key was not accepted; nothing was written")
                    .on(&node.name)
                    .help("on its console: ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub"),
            );
        }
        let survey = if common.no_survey {
            None
        } else {
            let private = private::folder("nixcfg-", &std::env::temp_dir())
                .context(|| "cannot make a private folder".into())?;
            let found = survey::survey(
                &node.name,
                node.address,
                node.port,
                login,
                &key,
                private.path(),
            )
            .await?;
            if found.hardware.is_none() {
                asker.reporter.warning(
                        Some(&node.name),
                        format!(
                            "it has no nixos-generate-config: hardware/{}.nix is a guess for you to correct",
                            node.name
                        ),
                    );
            }
            Some(found)
        };
        Ok(Self {
            node,
            key: Some(key),
            survey,
        })
    }
}

/// The repository's root.
pub fn root(flake: &str) -> Result<PathBuf> {
    let cwd = std::env::current_dir()
        .map_err(|e| Error::usage(format!("there is no working directory: {e}")))?;
    let root = Flake::locate(flake, &cwd)?.root;
    if root.join("flake.nix").is_file() {
        Ok(root)
    } else {
        Err(Error::usage(format!(
            "{flake} is no folder here, to write files in"
        )))
    }
}

/// Makes the files known to Git, as Nix ignores others. The operator adds their content.
pub async fn tell_git(root: &Path, cluster: &Name, reporter: &Reporter) {
    let git = |args: &[&str]| Command::new("git").arg("-C").arg(root).args(args);
    let inside = git(&["rev-parse", "--is-inside-work-tree"])
        .run(|_| ())
        .await;
    if !inside.is_ok_and(|done| done.success) {
        return;
    }
    let path = format!("cluster/{cluster}");
    let added = git(&["add", "--intent-to-add", "--", &path])
        .run(|_| ())
        .await;
    if !added.is_ok_and(|done| done.success) {
        reporter.warning(
            None,
            format!("Git does not know of {path}, and Nix will not see it: git add {path}"),
        );
    }
}

pub fn say(reporter: &Reporter, node: &Name, line: String) {
    reporter.emit(Event::Log {
        node: Some(node.clone()),
        line,
    });
}

pub fn note(reporter: &Reporter, line: String) {
    reporter.emit(Event::Log { node: None, line });
}
