//! The states of nodes as one HTML page, which loads nothing and runs nothing.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Limits, State};
use crate::cluster::{Cluster, Daemon, Name, Role};
use crate::error::Error;
use crate::event::{count, printable};
use crate::nix::store::StorePath;

const STYLE: &str = include_str!("page.css");
/// A browser loads and runs nothing, even if what a node says got into a tag.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Few days: a certificate with fewer is shown as one to renew soon.
const SOON: i64 = 45;

/// What the page shows.
pub struct Page<'a> {
    pub cluster: &'a Cluster,
    /// When the nodes were looked at.
    pub taken: OffsetDateTime,
    pub limits: Limits,
    /// Nodes that answered, with what is wrong with them.
    pub seen: BTreeMap<&'a Name, (&'a State, &'a [String])>,
    /// Why others did not.
    pub unreached: &'a [Error],
}

/// A node on the page.
enum Node<'a> {
    Seen(&'a State, &'a [String]),
    Unreached(&'a Error),
}

impl Node<'_> {
    /// The class of its colour.
    fn class(&self) -> &'static str {
        match self {
            Self::Seen(_, []) => "well",
            // It runs what is wanted, and waits for somebody.
            Self::Seen(state, trouble) if !state.restart_for.is_empty() && trouble.len() == 1 => {
                "wait"
            }
            _ => "bad",
        }
    }
}

impl Page<'_> {
    /// The page's text.
    pub fn text(&self) -> String {
        let title = format!("Cluster {}", self.cluster.name);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (title) }
                        (self.summary())
                    }
                    main {
                        (self.attention())
                        @for (site, nodes) in self.sites() {
                            h2 { "Site " (site) }
                            div.nodes { @for (name, node) in nodes { (self.node(name, &node)) } }
                        }
                        (self.daemons())
                        (self.certificates())
                    }
                }
            }
        };
        format!("{}\n", page.into_string())
    }

    fn summary(&self) -> Markup {
        let well = self.seen.values().filter(|(_, trouble)| trouble.is_empty());
        let all = self.seen.len() + self.unreached.len();
        let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
        let taken = self.taken.to_offset(time::UtcOffset::UTC);
        html! {
            p {
                (well.count()) " of " (count(all, "node")) " well"
                span.soft { ", seen at " (taken.format(format).unwrap_or_default()) }
            }
        }
    }

    /// Nodes by site.
    fn sites(&self) -> BTreeMap<&Name, BTreeMap<&str, Node<'_>>> {
        let mut sites: BTreeMap<&Name, BTreeMap<&str, Node>> = BTreeMap::new();
        let mut add = |name: &Name, node| {
            if let Some((known, data)) = self.cluster.nodes.get_key_value(name) {
                let of_site = sites.entry(&data.site).or_default();
                of_site.insert(known.as_str(), node);
            }
        };
        for (name, (state, trouble)) in &self.seen {
            add(name, Node::Seen(state, trouble));
        }
        for error in self.unreached {
            if let Some(name) = &error.node {
                add(name, Node::Unreached(error));
            }
        }
        sites
    }

    /// What somebody should look at, by node; nothing if all are well.
    fn attention(&self) -> Markup {
        let sites = self.sites();
        let nodes = sites.values().flatten();
        let wrong: BTreeMap<&str, (&str, String)> = nodes
            .filter_map(|(name, node)| {
                let told = match node {
                    Node::Seen(_, []) => return None,
                    Node::Seen(_, trouble) => trouble.join("; "),
                    Node::Unreached(error) => error.what.clone(),
                };
                Some((*name, (node.class(), told)))
            })
            .collect();
        html! {
            @if !wrong.is_empty() {
                h2 { "To look at" }
                ul { @for (name, (class, told)) in wrong { li { strong { (name) } " " span class=(class) { (said(&told)) } } } }
            }
        }
    }

    fn node(&self, name: &str, node: &Node) -> Markup {
        let data = self
            .cluster
            .nodes
            .iter()
            .find(|(known, _)| known.as_str() == name);
        let server = data.is_some_and(|(_, data)| data.role == Role::Server);
        let address = data.and_then(|(_, data)| data.inner_address());
        html! {
            section class={ "node " (node.class()) } {
                h3 { (name) }
                p.soft {
                    @if server { "server" } @else { "client" }
                    @if let Some(address) = address { ", " (address) }
                }
                @match node {
                    Node::Unreached(error) => p.bad { (said(&error.what)) },
                    Node::Seen(state, trouble) => {
                        @if trouble.is_empty() { p.well { "well" } }
                        @else { ul { @for one in *trouble { li class=(node.class()) { (said(one)) } } } }
                        (self.facts(state))
                    }
                }
            }
        }
    }

    fn facts(&self, state: &State) -> Markup {
        let drift = match (&state.wanted, &state.running) {
            (None, _) => ("soft", "not compared with the flake"),
            (wanted, running) if wanted == running => ("well", "as the flake says"),
            _ => ("wait", "another than the flake says"),
        };
        let generation = state.generation.trim_start_matches("system-");
        html! {
            dl {
                dt { "System" }
                dd {
                    (state.running.as_ref().map_or("?", StorePath::name))
                    ", " span class=(drift.0) { (drift.1) }
                }
                dt { "Generation" }
                dd { (said(generation.trim_end_matches("-link"))) }
                @if !state.restart_for.is_empty() {
                    dt { "Restart" }
                    dd.wait { "for its " (said(&state.restart_for.join(", "))) }
                }
                @if let Some(free) = state.free {
                    dt { "Disk" }
                    dd class=(if free < self.limits.free { "bad" } else { "soft" }) {
                        (free) " % free"
                        (bar(i64::from(100 - free.min(100)), 100))
                    }
                }
                @if let Some(holder) = &state.lease {
                    dt { "Lease" }
                    dd { "held by " (said(&holder.who)) }
                }
                @if let Some(reason) = &state.not_root {
                    dt { "Not seen" }
                    dd.soft { "certificates and leaders: " (said(reason)) }
                }
            }
        }
    }

    /// Consul and Nomad: what is seen, and from which nodes.
    fn daemons(&self) -> Markup {
        let mut views: BTreeMap<(Daemon, String, bool), Vec<&str>> = BTreeMap::new();
        for (name, (state, _)) in &self.seen {
            for (daemon, agent) in &state.daemons {
                let well = agent.trouble(*daemon).is_none();
                let view = views.entry((*daemon, agent.words(*daemon), well));
                view.or_default().push(name.as_str());
            }
        }
        html! {
            @if !views.is_empty() {
                h2 { "Consul and Nomad" }
                ul {
                    @for ((_, words, well), nodes) in views {
                        li { span class=(if well { "well" } else { "bad" }) { (said(&words)) } span.soft { ", as seen on " (nodes.join(", ")) } }
                    }
                }
            }
        }
    }

    /// The days that certificates have left, the fewest first.
    fn certificates(&self) -> Markup {
        let mut all: Vec<(i64, &str, &str)> = Vec::new();
        for (name, (state, _)) in &self.seen {
            let its = state.certificates.iter();
            all.extend(its.map(|(file, days)| (*days, name.as_str(), file.as_str())));
        }
        all.sort_unstable();
        let most = all.iter().map(|(days, ..)| *days).max().unwrap_or_default();
        html! {
            @if !all.is_empty() {
                h2 { "Certificates" }
                table {
                    caption { "Days until each ends" }
                    tbody {
                        @for (days, name, file) in all {
                            tr {
                                th scope="row" { (name) }
                                td { (said(file.rsplit('/').next().unwrap_or(file))) }
                                td class=(self.age(days)) { (days_left(days)) (bar(days, most)) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The class of a certificate with so many days left.
    fn age(&self, days: i64) -> &'static str {
        match days {
            _ if days < self.limits.certificate_days => "bad",
            _ if days < SOON => "wait",
            _ => "well",
        }
    }
}

fn days_left(days: i64) -> String {
    if days < 0 {
        format!("ended {} ago", count(-days, "day"))
    } else {
        count(days, "day")
    }
}

/// What others said, as it may be shown; maud escapes it.
fn said(text: &str) -> String {
    printable(text).into_owned()
}

/// A bar, of which `part` of `whole` is filled.
fn bar(part: i64, whole: i64) -> Markup {
    let percent = part.clamp(0, whole.max(1)) * 100 / whole.max(1);
    html! { span.bar aria-hidden="true" { span style={ "width:" (percent) "%" } {} } }
}

#[cfg(test)]
mod tests {
    use super::super::daemons::Agent;
    use super::super::tests::well;
    use super::*;
    use crate::cluster::schema::tests::example;
    use crate::error::Exit;

    /// The page of the example, of which one node is well, one not and one not reached.
    fn page() -> String {
        let cluster = example();
        let names: Vec<&Name> = cluster.nodes.keys().collect();
        let (good, mut bad) = (well(), well());
        bad.failed_units = vec!["<script>alert(1)</script>.service".into()];
        bad.certificates.insert("/pki/a&b.crt".into(), 3);
        bad.restart_for = vec!["kernel\u{1b}]0;owned\u{7}".into()];
        let mut agent = Agent::stopped("consul.service");
        agent.running = true;
        (agent.leader, agent.servers) = (Some("<b>alder".into()), Some((3, 3)));
        bad.daemons.insert(Daemon::Consul, agent);
        let trouble = bad.trouble(Limits::USUAL);
        let unreached = [Error::new(Exit::Probe, "does not answer\" onload=\"x")
            .on(names.get(2).copied().unwrap_or(names[0]))];
        let page = Page {
            cluster: &cluster,
            taken: OffsetDateTime::UNIX_EPOCH,
            limits: Limits::USUAL,
            seen: BTreeMap::from([
                (names[0], (&good, &[][..])),
                (names[1], (&bad, trouble.as_slice())),
            ]),
            unreached: &unreached,
        };
        page.text()
    }

    #[test]
    fn every_node_is_on_the_page_with_its_site_and_what_is_wrong() {
        let page = page();
        let cluster = example();
        for (name, node) in cluster.nodes.iter().take(3) {
            assert!(page.contains(&format!("<h3>{name}</h3>")), "{page}");
            assert!(page.contains(&format!("Site {}", node.site)), "{page}");
        }
        for part in [
            "1 of 3 nodes well",
            "seen at 1970-01-01 00:00 UTC",
            "as the flake says",
            "60 % free",
            "a&amp;b.crt",
            "3 days<span class=\"bar\"",
            "does not answer",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn what_a_node_says_is_text_and_the_page_loads_and_runs_nothing() {
        let page = page();
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;.service"));
        assert!(page.contains("&lt;b&gt;alder"));
        for part in [
            "<script",
            "onload=\"",
            "\u{1b}",
            "\u{7}",
            "src=",
            "href=",
            "url(",
        ] {
            assert!(!page.contains(part), "{part}: {page}");
        }
        assert!(page.contains(POLICY.split(';').next().unwrap()));
    }

    #[test]
    fn certificates_come_with_the_fewest_days_first() {
        let page = page();
        let table = page.split("<table>").nth(1).unwrap();
        let first = table.find("3 days").unwrap();
        assert!(first < table.find("300 days").unwrap());
        assert_eq!(days_left(-2), "ended 2 days ago");
        assert_eq!(days_left(1), "1 day");
    }
}
