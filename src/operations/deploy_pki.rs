//! `deploy-pki`: brings the year's certificates to the nodes and makes the daemons use them.

use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::operations::next::after;
use crate::pki::deploy::{bring, finish, load, members};
use crate::pki::generate::chosen;
use crate::pki::rollout::Care;
use crate::pki::{Year, publish};

/// The arguments of `deploy-pki`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The nodes: names, globs, @tag, site:NAME, role:server, !not, - for standard input [default: all]
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,

    /// The year of the certificates [default: this one]
    #[arg(long, value_name = "YEAR")]
    year: Option<i32>,

    #[command(flatten)]
    care: Care,

    /// Replace the authorities that the nodes trust by the store's; nodes that are left out are cut
    /// off then
    #[arg(long)]
    replace_authority: bool,

    /// Put authorities and operators' pairs into Consul's KV, private keys included, for jobs that read them there
    #[arg(long)]
    publish_kv: bool,
}

/// Runs `deploy-pki`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let now = OffsetDateTime::now_utc();
    let year = Year::choose(args.year, now)?;
    let mut operation = Operation::start(&args.cluster, invocation).await?;
    let nodes = operation.select(&args.nodes)?;
    let daemons = chosen(&operation.cluster, None)?;
    if args.publish_kv && !operation.cluster.consul.enable {
        return Err(Error::usage(
            "there is no Consul to publish to: cluster.consul.enable is off",
        ));
    }
    let work = load(&operation, &daemons, year, now).await?;
    let members = members(&mut operation, &nodes).await?;
    let replace = args.replace_authority;
    let results = bring(&work, &members, &daemons, &reporter, args.care, replace).await?;
    if args.publish_kv && results.failed.is_empty() {
        reporter.phase("publishing to Consul’s KV");
        publish::publish(&work, &daemons, &members, &reporter).await?;
    }
    let conclusion = finish(&reporter, &nodes, &results);
    let mut facts = after::known(&operation.cluster).await;
    facts.behind = results.early.into_iter().collect();
    let connections = members.iter();
    let connections = connections.map(|member| (&member.name, member.connection()));
    after::ask(&mut facts, &operation.cluster, connections).await;
    facts.without_certificates.clear();
    after::conclude(&reporter, conclusion, &facts)
}
