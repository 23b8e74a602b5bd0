//! Computes the next commands from what is known of the cluster.

use serde::Serialize;

use crate::cluster::Name;
use crate::event::count;

/// What is known of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub cluster: Name,
    /// Its nodes.
    pub nodes: Vec<Name>,
    /// The user to log in as, if the commands must name one.
    pub login: Option<String>,
    /// Whether Git does not track some of its files.
    pub untracked: bool,
    /// Nodes that nobody has logged in to yet, or that cannot be reached.
    pub unreached: Vec<Name>,
    /// Secrets that the store lacks.
    pub secrets: Vec<String>,
    /// Certificates that the store lacks.
    pub certificates: Vec<String>,
    /// Nodes that run another system than the flake says.
    pub behind: Vec<Name>,
    /// Nodes without some of their secrets.
    pub without_secrets: Vec<Name>,
    /// Nodes without some of their certificates.
    pub without_certificates: Vec<Name>,
    /// Administrators whose passwords the store lacks.
    pub without_password: Vec<Name>,
    /// Nodes without the passwords that the store has.
    pub without_passwords: Vec<Name>,
    /// Nodes that need a restart.
    pub restart: Vec<Name>,
}

impl Facts {
    /// A cluster that has only its files.
    pub fn new(cluster: Name, nodes: Vec<Name>, admins: Vec<Name>) -> Self {
        Self {
            cluster,
            login: None,
            untracked: true,
            unreached: nodes.clone(),
            secrets: vec!["all".into()],
            certificates: vec!["all".into()],
            behind: nodes.clone(),
            without_secrets: nodes.clone(),
            without_certificates: nodes.clone(),
            without_password: admins,
            without_passwords: nodes.clone(),
            restart: Vec::new(),
            nodes,
        }
    }

    /// A cluster whose files have a new node, of which the others do not know.
    pub fn added(cluster: Name, nodes: Vec<Name>, node: Name) -> Self {
        let its = vec![node];
        Self {
            untracked: true,
            unreached: its.clone(),
            secrets: vec!["those of the node".into()],
            certificates: vec!["those of the node".into()],
            behind: nodes.clone(),
            without_secrets: its.clone(),
            without_certificates: its.clone(),
            without_passwords: its,
            ..Self::settled(cluster, nodes)
        }
    }

    /// A cluster that is as its files say.
    pub fn settled(cluster: Name, nodes: Vec<Name>) -> Self {
        Self {
            cluster,
            nodes,
            login: None,
            untracked: false,
            unreached: Vec::new(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            behind: Vec::new(),
            without_secrets: Vec::new(),
            without_certificates: Vec::new(),
            without_password: Vec::new(),
            without_passwords: Vec::new(),
            restart: Vec::new(),
        }
    }
}

/// A command, and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The command, as typed.
    pub command: String,
    pub why: String,
}

/// The commands to run, in order.
pub fn steps(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |command: String, why: String| steps.push(Step { command, why });
    let cluster = &facts.cluster;
    let login = facts.login.as_ref();
    let login = login.map_or(String::new(), |user| format!(" --ssh-user {user}"));
    // No name means all nodes.
    let on = |operation: &str, nodes: &[Name]| {
        let all = nodes.len() == facts.nodes.len();
        let names = nodes.iter().filter(|_| !all);
        let names: String = names.map(|name| format!(" {name}")).collect();
        format!("nix run .#{operation} -- {cluster}{names}{login}")
    };
    let are = |nodes: &[Name], what: &str| format!("{}: {what}", list(nodes));
    if facts.untracked {
        let why = "Nix sees what Git tracks, and nothing else";
        step(format!("git add cluster/{cluster}"), why.into());
    }
    if !facts.unreached.is_empty() {
        let why = are(&facts.unreached, "see whether logins work");
        step(format!("{} -- true", on("exec", &facts.unreached)), why);
    }
    if !facts.secrets.is_empty() {
        let why = format!("the store lacks secrets: {}", few(&facts.secrets));
        step(format!("nix run .#gen-secrets -- {cluster}"), why);
    }
    if !facts.certificates.is_empty() {
        let why = format!("the store lacks certificates: {}", few(&facts.certificates));
        step(format!("nix run .#gen-pki -- {cluster}"), why);
    }
    if !facts.behind.is_empty() {
        let why = are(&facts.behind, "not the system that the flake says");
        step(on("deploy-nixos", &facts.behind), why);
    }
    if !facts.without_secrets.is_empty() {
        let why = are(&facts.without_secrets, "secrets are not there yet");
        step(on("deploy-secrets", &facts.without_secrets), why);
    }
    if !facts.without_certificates.is_empty() {
        let why = are(
            &facts.without_certificates,
            "certificates are not there yet",
        );
        step(on("deploy-pki", &facts.without_certificates), why);
    }
    for admin in &facts.without_password {
        let why = format!("the store lacks the password of {admin}, for sudo");
        step(format!("nix run .#passwd -- {cluster} {admin}"), why);
    }
    let without = if facts.without_password.is_empty() {
        &facts.without_passwords
    } else {
        &facts.nodes
    };
    if !without.is_empty() {
        let why = are(without, "passwords are not there yet");
        step(on("deploy-passwords", without), why);
    }
    if !facts.restart.is_empty() {
        let why = are(&facts.restart, "what is new takes a restart");
        let command = format!("{} --reboot", on("deploy-nixos", &facts.restart));
        step(command, why);
    }
    steps
}

/// Steps for people: each command is alone on its line, for copying.
pub fn words(steps: &[Step]) -> String {
    let words = steps
        .iter()
        .map(|step| format!("  {}\n    {}", step.command, step.why));
    words.collect::<Vec<_>>().join("\n")
}

fn list(nodes: &[Name]) -> String {
    let names: Vec<String> = nodes.iter().map(Name::to_string).collect();
    few(&names)
}

/// The first few names, and the number of others.
pub fn few(names: &[String]) -> String {
    const FEW: usize = 4;
    match names.len().saturating_sub(FEW) {
        0 => names.join(", "),
        more => format!("{} and {}", names[..FEW].join(", "), count(more, "other")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn commands(facts: &Facts) -> Vec<String> {
        steps(facts).into_iter().map(|step| step.command).collect()
    }

    fn settled() -> Facts {
        Facts::settled("prod".parse().unwrap(), names(&["alder", "birch"]))
    }

    #[test]
    fn a_new_cluster_has_its_whole_way_before_it() {
        let mut facts = Facts::new("prod".parse().unwrap(), names(&["alder"]), names(&["al"]));
        assert_eq!(
            commands(&facts),
            [
                "git add cluster/prod",
                "nix run .#exec -- prod -- true",
                "nix run .#gen-secrets -- prod",
                "nix run .#gen-pki -- prod",
                "nix run .#deploy-nixos -- prod",
                "nix run .#deploy-secrets -- prod",
                "nix run .#deploy-pki -- prod",
                "nix run .#passwd -- prod al",
                "nix run .#deploy-passwords -- prod",
            ]
        );
        facts.login = Some("al".into());
        assert!(commands(&facts)[4].ends_with("prod --ssh-user al"));
    }

    #[test]
    fn a_new_node_gets_everything_and_the_others_learn_of_it() {
        let nodes = names(&["alder", "birch"]);
        let birch = nodes[1].clone();
        let facts = Facts::added("prod".parse().unwrap(), nodes, birch);
        assert_eq!(
            commands(&facts),
            [
                "git add cluster/prod",
                "nix run .#exec -- prod birch -- true",
                "nix run .#gen-secrets -- prod",
                "nix run .#gen-pki -- prod",
                "nix run .#deploy-nixos -- prod",
                "nix run .#deploy-secrets -- prod birch",
                "nix run .#deploy-pki -- prod birch",
                "nix run .#deploy-passwords -- prod birch",
            ]
        );
    }

    #[test]
    fn nothing_is_left_to_do_where_all_is_as_wanted() {
        assert!(steps(&settled()).is_empty());
    }

    #[test]
    fn nodes_are_named_where_it_is_not_all_of_them() {
        let facts = Facts {
            without_certificates: names(&["birch"]),
            restart: names(&["alder", "birch"]),
            ..settled()
        };
        assert_eq!(
            commands(&facts),
            [
                "nix run .#deploy-pki -- prod birch",
                "nix run .#deploy-nixos -- prod --reboot"
            ]
        );
    }

    #[test]
    fn a_line_holds_a_few_names() {
        let facts = Facts {
            secrets: ["a", "b", "c", "d", "e"].map(String::from).into(),
            ..settled()
        };
        let told = words(&steps(&facts));
        assert_eq!(
            told,
            "  nix run .#gen-secrets -- prod\n    the store lacks secrets: a, b, c, d and 1 other"
        );
    }
}
