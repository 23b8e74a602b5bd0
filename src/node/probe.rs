//! The probe: everything that a run needs to know of a node, in one round trip.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use crate::cluster::Name;
use crate::error::{Error, Exit, Kind, Result};
use crate::nix::inhibitors::Inhibitors;
use crate::nix::parts::{PARTS, different_parts};
use crate::nix::store::StorePath;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::bounded::Lines;
use crate::node::ssh::elevate::{Elevation, Ended};
use crate::node::ssh::sudo::Sudo;
use crate::node::ssh::{Access, Connection, MINUTE, Script, named, tail, within};
use crate::secret::Secret;

const PROBE: Script = Script {
    name: "nixcfg-probe",
    text: &[include_str!("probe.sh")],
    seconds: MINUTE,
};

const MISSING: Script = Script {
    name: "nixcfg-missing",
    text: &["xargs nix-store --check-validity --print-invalid || exit\necho end\n"],
    // Nix may check tens of thousands of paths.
    seconds: 300,
};

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The user of the login.
    pub user: String,
    /// The platform, in Nix's terms, such as `x86_64-linux`.
    pub system: String,
    /// The running system (`/run/current-system`).
    pub current: Option<StorePath>,
    /// The system it was booted with (`/run/booted-system`).
    pub booted: Option<StorePath>,
    /// The newest generation of the system profile.
    pub profile: Option<StorePath>,
    /// Free space for the Nix store, in bytes.
    pub free: Option<u64>,
    /// Units that have failed.
    pub failed_units: Vec<String>,
    /// The state of sudo.
    pub sudo: Sudo,
    /// The boot identifier, which differs after each start.
    pub boot: String,
    /// The address that the login came from, as the node sees it.
    pub from: String,
    /// Kernel, initrd, kernel modules and systemd that it was booted with.
    pub booted_parts: Vec<String>,
    pub profile_parts: Vec<String>,
    /// The switch inhibitors of the running system.
    pub running_inhibitors: Inhibitors,
    pub profile_inhibitors: Inhibitors,
    /// When, by whom and for which operation this tool drained it in Nomad; none if it did not.
    pub drained: Option<String>,
    pub addresses: Vec<IpAddr>,
    /// The run whose switch is neither confirmed nor undone.
    pub pending: Option<String>,
    /// The valid lease on the node, if somebody holds it.
    pub lease: Option<Holder>,
}

/// The holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    /// The operator, as `user@machine`.
    pub who: String,
    /// The address that the operator logs in from.
    pub from: String,
    /// The operation.
    pub what: String,
    /// The beginning of the lease, in UTC.
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (from {}, since {}, for {})",
            self.who, self.from, self.since, self.what
        )
    }
}

/// A lease expires when it is not renewed for this long, in seconds.
pub const LEASE_AGE: u64 = 60;

/// A probed node and the connection to it.
pub struct Probed {
    /// The one connection of this run.
    pub connection: Connection,
    pub facts: Facts,
    /// The last password tried.
    pub password: Option<Arc<Secret>>,
    /// The running probe, which keeps the connection busy.
    held: Mutex<Held>,
}

/// The remote side of a probe. Dropping this ends it.
struct Held {
    _ended: Ended,
    stdin: openssh::ChildStdin,
    answers: Lines<BufReader<openssh::ChildStdout>>,
}

impl Probed {
    /// Asks the running probe which of `paths` are not valid on the node.
    pub async fn missing(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>> {
        if paths.is_empty() {
            return Ok(BTreeSet::new());
        }
        let node = self.connection.node();
        let list: String = paths.iter().map(|path| format!("{path}\n")).collect();
        let mut held = self.held.lock().await;
        let Held { stdin, answers, .. } = &mut *held;
        let asked = async {
            let asked = stdin.write_all(format!("{list}\n").as_bytes()).await;
            asked.map_err(|e| lost(node, &e.to_string()))
        };
        let told = async {
            let mut told = Vec::new();
            answers.again();
            while let Some(line) = answers.next().await? {
                if let Some(code) = line.strip_prefix("end ") {
                    return Ok((told, code == "0"));
                }
                told.push(line);
            }
            Err(lost(node, &told.join("\n")))
        };
        // Writes and reads at once: with many paths the answer begins before the question ends.
        let both = async { tokio::try_join!(asked, told) };
        let ((), (told, well)) = within(node, MISSING.name, MISSING.within(), both).await?;
        if well {
            return told.iter().map(|path| path.parse()).collect();
        }
        let said: Vec<&str> = told
            .iter()
            .filter_map(|line| line.strip_prefix("said "))
            .collect();
        drop(held);
        self.missing_by_root(&list, &said.join("\n")).await
    }
}

impl Probed {
    /// Asks the same as root, as `nix.settings.allowed-users` may exclude administrators.
    async fn missing_by_root(&self, list: &str, said: &str) -> Result<BTreeSet<StorePath>> {
        let Some(how) = self.facts.elevation(self.password.as_ref()) else {
            let what = "cannot be asked which paths it has";
            return Err(Error::unexpected(what)
                .on(self.connection.node())
                .saying(said)
                .help("where nix.settings.allowed-users leaves you out, root asks: give the sudo password in SUDO_PASS"));
        };
        let told = self
            .connection
            .ask_root(&how, MISSING, &[], list.as_bytes())
            .await?;
        told.text().lines().map(str::parse).collect()
    }
}

fn lost(node: &Name, said: &str) -> Error {
    Error::new(Kind::Lost, "the connection was lost")
        .on(node)
        .saying(said)
}

impl Probed {
    /// Probes the node again, over the same connection. Does not try sudo again.
    pub async fn again(self) -> Result<Self> {
        let Self {
            connection,
            facts,
            password,
            held,
        } = self;
        drop(held);
        let (told, held) = look(&connection)
            .await
            .map_err(|e| connection.explained(e.exit(Exit::Probe)))?;
        let facts = parse(&told, facts.sudo)
            .map_err(|e| e.on(connection.node()).saying(tail(&told.join("\n"))))?;
        Ok(Self {
            connection,
            facts,
            password,
            held: Mutex::new(held),
        })
    }
}

/// Connects to a node and probes it. Tries a password once.
pub async fn probe(access: &Access, node: &Name, password: Option<Arc<Secret>>) -> Result<Probed> {
    let connection = access.connect(node).await?;
    // At the same time, as sudo takes longer than the rest.
    let looked = look(&connection);
    let tried = connection.try_sudo(password.as_deref());
    let ((told, held), sudo) =
        tokio::try_join!(looked, tried).map_err(|e| connection.explained(e.exit(Exit::Probe)))?;
    let facts = parse(&told, sudo).map_err(|e| e.on(node).saying(tail(&told.join("\n"))))?;
    Ok(Probed {
        connection,
        facts,
        password,
        held: Mutex::new(held),
    })
}

/// The lines of the probe, and its remote side.
async fn look(connection: &Connection) -> Result<(Vec<String>, Held)> {
    let node = connection.node();
    let [parts] = named([("parts", &PARTS.join(" "))]);
    let (stdin, stdout, ended) = connection
        .spawn_script(PROBE, &[&parts])
        .await?
        .into_parts();
    let mut answers = Lines::new(node, stdout);
    let told = async {
        let mut told = Vec::new();
        loop {
            match answers.next().await? {
                Some(line) if Answer::ends(&line) => return Ok(told),
                Some(line) => told.push(line),
                None => return Err(cut(node, &told)),
            }
        }
    };
    let told = within(node, PROBE.name, PROBE.within(), told).await?;
    let held = Held {
        _ended: ended,
        stdin,
        answers,
    };
    Ok((told, held))
}

/// The error of a truncated probe. Missing lines prove nothing.
fn cut(node: &Name, told: &[String]) -> Error {
    Error::new(Kind::Lost, "the connection was lost while it was looked at")
        .help("run again")
        .exit(Exit::Probe)
        .on(node)
        .saying(tail(&told.join("\n")))
}

/// Tries, once, a password that was asked for after the probe.
pub async fn try_password(probed: &mut Probed, password: &Arc<Secret>) -> Result<()> {
    probed.facts.sudo = probed.connection.try_sudo(Some(password)).await?;
    probed.password = Some(password.clone());
    Ok(())
}

pub(crate) fn parse(told: &[String], sudo: Sudo) -> Result<Facts> {
    let all = |key: &str| -> Vec<&str> {
        told.iter()
            .filter_map(|line| line.split_once(' '))
            .filter(|(k, _)| *k == key)
            .map(|(_, value)| value.trim())
            .collect()
    };
    let one = |key: &str| all(key).first().copied().unwrap_or_default();
    let store_path = |key: &str| one(key).parse::<StorePath>().ok();
    if one("user").is_empty() {
        return Err(
            Error::new(Kind::BadAnswer, "does not answer as a node should")
                .help("is it a Unix system?"),
        );
    }
    Ok(Facts {
        user: one("user").to_owned(),
        system: system(one("machine"), one("kernel")),
        current: store_path("current"),
        booted: store_path("booted"),
        profile: store_path("profile"),
        free: one("free").parse::<u64>().ok().map(|kib| kib * 1024),
        failed_units: all("failed").into_iter().map(str::to_owned).collect(),
        sudo,
        boot: one("boot").to_owned(),
        from: one("from").to_owned(),
        booted_parts: words(one("booted-parts")),
        profile_parts: words(one("profile-parts")),
        running_inhibitors: Inhibitors::read(one("running-inhibitors")),
        profile_inhibitors: Inhibitors::read(one("profile-inhibitors")),
        drained: drained(one),
        addresses: all("address")
            .iter()
            .filter_map(|ip| ip.parse().ok())
            .collect(),
        pending: Some(one("pending").to_owned()).filter(|run| !run.is_empty()),
        lease: lease(one),
    })
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn drained<'a>(one: impl Fn(&str) -> &'a str) -> Option<String> {
    let (since, who, what) = (one("drained-since"), one("drained-who"), one("drained-for"));
    (!since.is_empty()).then(|| format!("{since} by {who}, for {what}"))
}

fn lease<'a>(one: impl Fn(&str) -> &'a str) -> Option<Holder> {
    let renewed: u64 = one("lease-renewed").parse().ok()?;
    let now: u64 = one("uptime").parse().ok()?;
    (now.saturating_sub(renewed) < LEASE_AGE).then(|| Holder {
        who: one("lease-who").to_owned(),
        from: one("lease-from").to_owned(),
        what: one("lease-for").to_owned(),
        since: one("lease-since").to_owned(),
    })
}

/// Nix's name of the platform that `uname -m` and `uname -s` print.
fn system(machine: &str, kernel: &str) -> String {
    let cpu = match machine {
        "i386" | "i586" | "i686" => "i686",
        "arm64" => "aarch64",
        other => other,
    };
    format!("{cpu}-{}", kernel.to_lowercase())
}

impl Facts {
    /// The parts for which the profile's newest generation needs a restart.
    pub fn pending_restart(&self) -> Vec<String> {
        let mut pending = different_parts(&self.booted_parts, &self.profile_parts);
        pending.extend(self.running_inhibitors.against(&self.profile_inhibitors));
        pending
    }

    /// Whether a password has to be asked for.
    pub fn wants_password(&self) -> bool {
        self.sudo == Sudo::Wanted
    }

    /// How to become root, with the password that the probe tried.
    pub fn elevation(&self, password: Option<&Arc<Secret>>) -> Option<Elevation> {
        match (&self.sudo, password) {
            (Sudo::Root, _) => Some(Elevation::Root),
            (Sudo::Passwordless, _) => Some(Elevation::Passwordless),
            (Sudo::Right, Some(password)) => Some(Elevation::Password(password.clone())),
            _ => None,
        }
    }

    /// Why the tool cannot become root; none if it can.
    pub fn no_root(&self, node: &Name) -> Option<Error> {
        let wanted = "sudo asks for a password, and none was given";
        match &self.sudo {
            Sudo::Wanted => Some(Error::new(Exit::Probe, wanted).on(node)),
            _ => self.refused(node),
        }
    }

    /// Why sudo refuses or is missing; none if it works.
    fn refused(&self, node: &Name) -> Option<Error> {
        match &self.sudo {
            Sudo::Refused(refusal) => {
                let (what, help) = refusal.in_words(&self.user);
                let error = Error::new(Exit::Probe, what).on(node);
                Some(error.saying(&refusal.said).help(help))
            }
            Sudo::Absent => Some(
                Error::new(Exit::Probe, "has no sudo, and the login is not root’s")
                    .on(node)
                    .help("log in as root with SSH_USER=root, if the node allows it"),
            ),
            _ => None,
        }
    }

    /// Why a run cannot use the node; none if it can.
    pub fn unusable(&self, node: &Name, wanted_system: &str) -> Option<Error> {
        let error = |what: String| Error::new(Exit::Probe, what).on(node);
        if let Some(refused) = self.refused(node) {
            return Some(refused);
        }
        if self.current.is_none() {
            return Some(
                error("does not run NixOS: there is no /run/current-system".into())
                    .help("install NixOS on it first: doc/installing.md"),
            );
        }
        if self.system != wanted_system {
            return Some(
                error(format!(
                    "is {}, but its configuration is for {wanted_system}",
                    self.system
                ))
                .help("is it the right machine? otherwise set cluster.nodes.<node>.system"),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(extra: &[&str]) -> Vec<String> {
        let mut lines: Vec<String> = [
            "uid 1000",
            "user alice",
            "kernel Linux",
            "machine x86_64",
            "current /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-nixos-system-alder",
            "booted ",
            "profile /nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-nixos-system-alder",
            "free 2048",
            "failed foo.service",
            "failed bar.service",
        ]
        .map(String::from)
        .into();
        lines.extend(extra.iter().map(ToString::to_string));
        lines
    }

    #[test]
    fn what_the_probe_prints_is_read() {
        let facts = parse(&told(&[]), Sudo::Right).unwrap();
        assert_eq!(facts.system, "x86_64-linux");
        assert_eq!(facts.free, Some(2048 * 1024));
        assert_eq!(facts.failed_units, ["foo.service", "bar.service"]);
        assert_eq!(facts.booted, None);
        assert_eq!(facts.current, facts.profile);
        assert_eq!((facts.pending, facts.lease), (None, None));
    }

    #[test]
    fn a_restart_is_pending_where_the_next_start_brings_another_kernel() {
        let parts = |profile: &str| {
            let lines = ["booted-parts k i m s", profile];
            parse(&told(&lines), Sudo::Right).unwrap().pending_restart()
        };
        assert!(parts("profile-parts k i m s").is_empty());
        assert_eq!(parts("profile-parts K i m S"), ["kernel", "systemd"]);
        let inhibited = [
            r#"running-inhibitors {"bus": "dbus"}"#,
            r#"profile-inhibitors {   "bus": "broker" } "#,
        ];
        let facts = parse(&told(&inhibited), Sudo::Right).unwrap();
        assert_eq!(facts.pending_restart(), ["bus"]);
    }

    #[test]
    fn a_lease_counts_for_a_minute_after_its_last_renewal() {
        let lease = |uptime: &str| {
            let lines = [
                "lease-id a",
                "lease-who al@desk",
                "lease-from 10.0.0.1",
                "lease-for deploy-nixos",
                "lease-since 2026-01-01T00:00:00Z",
                "lease-renewed 100",
                uptime,
            ];
            parse(&told(&lines), Sudo::Right).unwrap().lease
        };
        assert_eq!(lease("uptime 159").unwrap().who, "al@desk");
        assert_eq!(lease("uptime 160"), None);
    }

    #[test]
    fn another_architecture_is_unusable() {
        let node: Name = "alder".parse().unwrap();
        let facts = parse(&told(&[]), Sudo::Right).unwrap();
        assert!(facts.unusable(&node, "x86_64-linux").is_none());
        let error = facts.unusable(&node, "aarch64-linux").unwrap();
        assert_eq!(error.exit, Exit::Probe);
        assert!(
            error
                .what
                .contains("is x86_64-linux, but its configuration is for aarch64-linux")
        );
    }

    #[test]
    fn a_probe_that_was_cut_tells_nothing_of_the_node() {
        let node: Name = "alder".parse().unwrap();
        let all = told(&[]);
        for end in 0..=all.len() {
            let error = cut(&node, &all[..end]);
            assert_eq!((error.kind, error.exit), (Kind::Lost, Exit::Probe), "{end}");
        }
    }

    #[test]
    fn what_answers_otherwise_is_not_mistaken_for_a_node() {
        assert!(parse(&["Welcome!".to_owned()], Sudo::Right).is_err());
    }

    #[test]
    fn root_is_had_only_with_a_password_that_was_tried() {
        let password = Arc::new(Secret::new("x".into()));
        let wanted = parse(&told(&[]), Sudo::Wanted).unwrap();
        assert!(wanted.wants_password());
        assert_eq!(wanted.elevation(Some(&password)), None);
        let right = parse(&told(&[]), Sudo::Right).unwrap();
        assert!(matches!(
            right.elevation(Some(&password)),
            Some(Elevation::Password(_))
        ));
    }
}
