//! `gen-pki`: makes missing certificates, and touches no existing one.

use time::OffsetDateTime;

use crate::cluster::Daemon;
use crate::error::Result;
use crate::operation::{FlakeArgs, Invocation, Operation};
use crate::operations::next::after;
use crate::pki::Year;
use crate::pki::generate::{chosen, generate};
use crate::store;

/// The arguments of `gen-pki`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: FlakeArgs,

    /// The year in the names of the certificates [default: this one]
    #[arg(long, value_name = "YEAR")]
    year: Option<i32>,

    /// Make the certificates of this daemon only
    #[arg(long, value_enum)]
    app: Option<Daemon>,
}

/// Runs `gen-pki`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let now = OffsetDateTime::now_utc();
    let year = Year::choose(args.year, now)?;
    let operation = Operation::start_without_nodes(&args.cluster, invocation).await?;
    let daemons = chosen(&operation.cluster, args.app)?;
    let store = store::open(&operation.cluster)?;
    let cluster = &operation.cluster;
    let (summary, made) = generate(cluster, &daemons, year, &store, &reporter, now).await?;
    let mut facts = after::known(cluster).await;
    if made {
        facts.without_certificates = facts.nodes.clone();
    }
    after::tell(&reporter, summary, &facts);
    Ok(())
}
