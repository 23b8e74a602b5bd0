//! A node: how it is found and logged in to, and what it tells of itself.

use std::collections::BTreeMap;
use std::fmt;

use time::OffsetDateTime;

use super::check::Check;
use crate::cluster::{Cluster, Daemon, Name};
use crate::error::Error;
use crate::node::probe::Facts;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::known::Known;
use crate::node::ssh::sudo::Sudo;
use crate::operations::next::steps::few;
use crate::operations::status::daemons::Agent;
use crate::operations::status::{Limits, State};

/// Clocks may be so far apart, in seconds: logs and leases are of use still.
const APART: i64 = 60;
/// How far before its making a certificate begins, in seconds (`pki::x509`).
const BACK_DATED: i64 = 3600;
const DAY: i64 = 86_400;

/// What a node was found to be.
pub struct Seen {
    /// What the probe told.
    pub facts: Facts,
    /// How it is.
    pub state: State,
    /// Its clock.
    pub clock: Option<Offset>,
    /// Its Nix.
    pub nix: Nix,
}

/// How far another clock is before this one, in seconds; at least so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub i64);

impl Offset {
    /// Of a clock that said `there` between two moments here, all in whole seconds.
    pub fn of(before: i64, there: i64, after: i64) -> Self {
        match there {
            // It was up to a second later than it said.
            _ if there + 1 < before => Self(there + 1 - before),
            _ if there > after => Self(there - after),
            _ => Self(0),
        }
    }

    /// Of a clock that told its time in the answer of `doctor.sh`. A time that is no date tells nothing.
    pub fn read(before: i64, told: &Answer, after: i64) -> Option<Self> {
        let there = OffsetDateTime::from_unix_timestamp(told.one("time").parse().ok()?);
        Some(Self::of(before, there.ok()?.unix_timestamp(), after))
    }

    /// Whether it is too far.
    fn is_far(self) -> bool {
        self.0.abs() > APART
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0.abs();
        let of = |unit: i64| (n + unit / 2) / unit;
        match n {
            0..120 => write!(f, "{n} s")?,
            120..7200 => write!(f, "{} min", of(60))?,
            7200..172_800 => write!(f, "{} h", of(3600))?,
            _ => write!(f, "{} days", of(DAY))?,
        }
        f.write_str(if self.0 < 0 { " behind" } else { " ahead" })
    }
}

/// The Nix of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nix {
    /// What it says it is.
    pub version: String,
    /// Whether it answers the operator's own user.
    pub answers: bool,
}

impl Nix {
    /// Reads it out of the answer of `doctor.sh`.
    pub fn read(told: &Answer) -> Self {
        Self {
            version: told.one("nix").to_owned(),
            answers: told.one("answers") == "yes",
        }
    }
}

/// How far the clock of this machine is from what all nodes agree on, where it is this machine's that is wrong.
pub fn own_offset(offsets: &[Offset]) -> Option<Offset> {
    let (first, last) = (offsets.iter().min()?, offsets.iter().max()?);
    let agree = last.0 - first.0 <= APART;
    let far = first.is_far() && last.is_far();
    (offsets.len() > 1 && agree && far).then_some(Offset(-first.0))
}

/// The clock of this machine.
pub fn own_clock(offset: Option<Offset>) -> Check {
    let help = "timedatectl: certificates made now would be of a wrong time";
    match offset {
        Some(offset) => {
            let told = format!("this machine’s clock is {offset}, as all nodes have it");
            Check::wrong("clock", told, help)
        }
        None => Check::ok(
            "clock",
            "this machine’s agrees with a node’s, or too few were seen",
        ),
    }
}

/// All that is looked at on a node that was reached.
pub fn checks(node: &Name, seen: &Seen, own: Option<Offset>, cluster: &Cluster) -> Vec<Check> {
    let mut checks = vec![reached(&seen.facts)];
    if let Some(told) = cluster.nodes.get(node) {
        checks.push(system(node, &seen.facts, &told.system));
    }
    let cluster = cluster.name.as_str();
    checks.push(sudo(node, &seen.facts));
    let days = seen.state.certificates.values().min().copied();
    // What is wrong with this machine's clock is not told of each node.
    let offset = seen
        .clock
        .map(|clock| Offset(clock.0 + own.map_or(0, |own| own.0)));
    checks.push(clock(offset, days));
    checks.push(disk(seen.state.free, Limits::USUAL.free));
    checks.push(nix(&seen.nix, &seen.facts.sudo));
    for (of, agent) in &seen.state.daemons {
        checks.push(daemon(&seen.state, *of, agent, cluster, node));
    }
    if !seen.state.daemons.is_empty() {
        checks.push(certificates(&seen.state, cluster));
    }
    checks.into_iter().map(|check| check.on(node)).collect()
}

/// What cannot be looked at where nobody can log in.
pub fn unreached(node: &Name, error: &Error) -> Vec<Check> {
    let rest = "sudo, clock, disk, Nix, daemons and certificates are not seen";
    vec![
        Check::failed("login", error).on(node),
        Check::unseen("rest", rest).on(node),
    ]
}

/// Whether ssh knows where the node is, and its host key. Where a login worked, it does.
pub fn known(node: &Name, known: &Known, reached: bool) -> Check {
    let host = &known.host;
    if !reached && host == node.as_str() {
        let told = format!("ssh_config has no HostName of {node}, which is looked up by that name");
        return Check::wrong(
            "ssh",
            told,
            format!("add it: Host {node}, and its address as HostName"),
        );
    }
    if !reached && !known.key {
        let name = &known.known_as;
        let told = format!("no host key is known for {name}");
        let help = "compare the key's fingerprint at the machine's console, then add it to known_hosts (ssh-keyscan)";
        return Check::wrong("ssh", told, help);
    }
    Check::ok("ssh", format!("at {host}, its host key is known"))
}

/// Who is logged in.
pub fn reached(facts: &Facts) -> Check {
    Check::ok("login", format!("as {}", facts.user))
}

/// Whether root can be had, and the node is the one that it is said to be.
pub fn sudo(node: &Name, facts: &Facts) -> Check {
    match (&facts.sudo, facts.no_root(node)) {
        (Sudo::Wanted, _) => {
            let why = "asks for a password: give it in SUDO_PASS to have it tried";
            Check::unseen("sudo", why)
        }
        (_, Some(error)) => Check::failed("sudo", &error),
        (Sudo::Root, None) => Check::ok("sudo", "the login is root’s"),
        (Sudo::Passwordless, None) => Check::ok("sudo", "asks for nothing"),
        (_, None) => Check::ok("sudo", "the password is right"),
    }
}

/// Whether it is a machine of the kind that its configuration is for, where sudo is no other trouble.
pub fn system(node: &Name, facts: &Facts, wanted: &str) -> Check {
    let refused = matches!(&facts.sudo, Sudo::Refused(_) | Sudo::Absent);
    match facts.unusable(node, wanted).filter(|_| !refused) {
        Some(error) => Check::failed("system", &error),
        None => Check::ok("system", facts.system.as_str()),
    }
}

/// A node's clock, `ahead` of this machine's, and the fewest `days` that a certificate of the node has left.
pub fn clock(ahead: Option<Offset>, days: Option<i64>) -> Check {
    let Some(offset) = ahead else {
        return Check::unseen("clock", "does not tell its time");
    };
    let help = "on the node: timedatectl; it wants a server of time that it can reach";
    if !offset.is_far() {
        return match offset.0 {
            0 => Check::ok("clock", "right"),
            _ => Check::ok("clock", offset.to_string()),
        };
    }
    let told = match days {
        Some(days) if offset.0 >= (days + 1) * DAY => {
            format!("{offset}: its certificates have ended by it")
        }
        _ if offset.0 < -BACK_DATED => {
            format!("{offset}: certificates made now do not count there yet")
        }
        _ => offset.to_string(),
    };
    Check::wrong("clock", told, help)
}

/// Its disk, `free` of it in per cent.
pub fn disk(free: Option<u8>, least: u8) -> Check {
    match free {
        None => Check::unseen("disk", "does not tell how full it is"),
        Some(free) if free < least => {
            let help = "on the node, as root: nix-collect-garbage --delete-older-than 30d";
            Check::wrong("disk", format!("{free} % free"), help)
        }
        Some(free) => Check::ok("disk", format!("{free} % free")),
    }
}

/// Whether it takes store paths: root's copy does not have to be trusted, and asks where the operator may not.
pub fn nix(nix: &Nix, sudo: &Sudo) -> Check {
    let root = matches!(sudo, Sudo::Root | Sudo::Passwordless | Sudo::Right);
    let version = nix.version.rsplit(' ').next().unwrap_or_default();
    match (nix.answers, root) {
        _ if version.is_empty() => {
            let help = "is it NixOS? its system has nix-store: doc/installing.md";
            Check::wrong("nix", "has no Nix on PATH", help)
        }
        (true, true) => Check::ok("nix", format!("{version}, takes paths from root")),
        (false, true) => {
            let told = format!("{version}, takes paths from root, who asks for you as well");
            Check::ok("nix", told)
        }
        (true, false) => Check::unseen("nix", format!("{version}; paths come by root")),
        (false, false) => {
            let told = format!("{version} does not answer you; root can ask it");
            Check::unseen("nix", told)
        }
    }
}

/// Consul or Nomad: whether it runs, and has a leader.
pub fn daemon(state: &State, of: Daemon, agent: &Agent, cluster: &str, node: &Name) -> Check {
    let name = of.name();
    if let Some(files) = state.waiting.get(&agent.unit) {
        let help = format!("nix run .#next -- {cluster}");
        return Check::wrong(name, format!("waits for {}", few(files)), help);
    }
    match agent.trouble(of) {
        Some(trouble) => {
            let unit = agent.unit.trim_end_matches(".service");
            let help = format!("nix run .#ssh -- {cluster} {node} -- journalctl -n 50 -u {unit}");
            Check::wrong(name, trouble, help)
        }
        None if state.not_root.is_some() => {
            Check::ok(name, format!("{}; its leader is not seen", agent.words(of)))
        }
        None => Check::ok(name, agent.words(of)),
    }
}

/// The certificates on its disk.
pub fn certificates(state: &State, cluster: &str) -> Check {
    let name = "certificates";
    let bring = format!("nix run .#gen-pki -- {cluster}, then deploy-pki");
    if state.not_root.is_some() {
        return Check::unseen(name, "only root reads them");
    }
    let least = Limits::USUAL.certificate_days;
    let ending: BTreeMap<_, _> = state
        .certificates
        .iter()
        .filter(|(_, days)| **days < least)
        .collect();
    match (ending.first_key_value(), state.certificates.values().min()) {
        (Some((file, days)), _) => {
            Check::wrong(name, format!("{file} has {days} days left"), bring)
        }
        (None, Some(days)) => Check::ok(name, format!("{days} days left")),
        (None, None) => Check::wrong(name, "there are none", bring),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verdict;
    use crate::node::ssh::answer::tests::read;
    use crate::operations::status::tests::well;

    fn wrong(check: Check, told: &str) {
        assert_eq!(check.verdict, Verdict::Wrong, "{check:?}");
        assert!(check.told.contains(told), "{check:?}");
        assert!(check.help.is_some(), "{check:?}");
    }

    fn alder() -> Name {
        "alder".parse().unwrap()
    }

    #[test]
    fn a_clock_is_as_far_off_as_is_certain() {
        assert_eq!(Offset::of(100, 100, 101), Offset(0));
        // What was said in the second before may have been said just now.
        assert_eq!(Offset::of(100, 99, 100), Offset(0));
        assert_eq!(Offset::of(100, 90, 101), Offset(-9));
        assert_eq!(Offset::of(100, 111, 101), Offset(10));
        let told = |time: i64| read(&format!("time {time}\nend\n")).unwrap();
        assert_eq!(Offset::read(100, &told(90), 101), Some(Offset(-9)));
        for never in [i64::MAX, i64::MIN] {
            assert_eq!(Offset::read(100, &told(never), 101), None);
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_what_becomes_of_certificates() {
        assert_eq!(clock(Some(Offset(0)), None), Check::ok("clock", "right"));
        assert_eq!(clock(Some(Offset(-60)), None).told, "60 s behind");
        wrong(clock(Some(Offset(61)), Some(300)), "61 s ahead");
        wrong(
            clock(Some(Offset(-3601)), None),
            "60 min behind: certificates made now do not count",
        );
        wrong(
            clock(Some(Offset(8 * DAY)), Some(7)),
            "8 days ahead: its certificates have ended",
        );
        wrong(clock(Some(Offset(8 * DAY)), Some(8)), "8 days ahead");
        assert_eq!(clock(None, None).verdict, Verdict::Unseen);
    }

    #[test]
    fn where_all_nodes_agree_it_is_this_clock_that_is_off() {
        let of = |all: &[i64]| {
            let all: Vec<Offset> = all.iter().map(|n| Offset(*n)).collect();
            own_offset(&all)
        };
        assert_eq!(of(&[-7200, -7190]), Some(Offset(7200)));
        for well in [&[][..], &[-7200], &[-7200, 0], &[7200, -7200], &[10, 12]] {
            assert_eq!(of(well), None, "{well:?}");
        }
        wrong(
            own_clock(Some(Offset(7200))),
            "this machine’s clock is 2 h ahead",
        );
        assert_eq!(own_clock(None).verdict, Verdict::Ok);
    }

    #[test]
    fn where_ssh_would_go_is_told_before_it_goes() {
        let mut one = Known {
            host: "192.0.2.1".into(),
            known_as: "[192.0.2.1]:2222".into(),
            key: true,
        };
        assert_eq!(known(&alder(), &one, false).verdict, Verdict::Ok);
        one.key = false;
        wrong(
            known(&alder(), &one, false),
            "no host key is known for [192.0.2.1]:2222",
        );
        assert_eq!(known(&alder(), &one, true).verdict, Verdict::Ok);
        one.host = "alder".into();
        wrong(known(&alder(), &one, false), "no HostName of alder");
    }

    #[test]
    fn a_full_disk_is_told() {
        wrong(disk(Some(9), 10), "9 % free");
        assert_eq!(disk(Some(10), 10), Check::ok("disk", "10 % free"));
        assert_eq!(disk(None, 10).verdict, Verdict::Unseen);
    }

    #[test]
    fn paths_are_taken_where_root_can_be_had() {
        let told = read("nix nix-store (Nix) 2.24.9\nanswers yes\nend\n").unwrap();
        let mut one = Nix::read(&told);
        assert_eq!(
            nix(&one, &Sudo::Right).told,
            "2.24.9, takes paths from root"
        );
        assert_eq!(nix(&one, &Sudo::Wanted).verdict, Verdict::Unseen);
        one.answers = false;
        assert!(nix(&one, &Sudo::Root).told.contains("asks for you"));
        assert!(
            nix(&one, &Sudo::Wanted)
                .told
                .contains("does not answer you")
        );
        wrong(nix(&Nix::default(), &Sudo::Root), "no Nix");
    }

    #[test]
    fn a_daemon_waits_or_fails_or_runs() {
        let mut state = well();
        let of =
            |state: &State, agent: &Agent| daemon(state, Daemon::Consul, agent, "prod", &alder());
        let mut agent = Agent::stopped("consul.service");
        wrong(of(&state, &agent), "Consul does not run");
        let help = of(&state, &agent).help.unwrap();
        assert!(help.contains("journalctl -n 50 -u consul"), "{help}");
        let files = vec!["/var/lib/consul/pki/consul.crt".to_owned()];
        state.waiting.insert("consul.service".into(), files);
        wrong(
            of(&state, &agent),
            "waits for /var/lib/consul/pki/consul.crt",
        );
        state.waiting.clear();
        agent.running = true;
        assert_eq!(of(&state, &agent), Check::ok("consul", "Consul runs"));
        state.not_root = Some("no password".into());
        assert!(of(&state, &agent).told.contains("its leader is not seen"));
    }

    #[test]
    fn certificates_that_end_or_are_not_there_are_told() {
        let mut state = well();
        assert_eq!(certificates(&state, "prod").told, "300 days left");
        state.certificates.insert("/pki/nomad.crt".into(), 13);
        wrong(
            certificates(&state, "prod"),
            "/pki/nomad.crt has 13 days left",
        );
        state.certificates.clear();
        wrong(certificates(&state, "prod"), "there are none");
        state.not_root = Some("no password".into());
        assert_eq!(certificates(&state, "prod").verdict, Verdict::Unseen);
    }
}
