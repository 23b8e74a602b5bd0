//! `tlsproxy`: serves a cluster's Nomad and Consul as plain HTTP on this machine.

pub mod forward;
pub mod guard;
mod holder;
mod inside;
pub mod listen;
pub mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use tokio::task::JoinSet;

use crate::cluster::Daemon;
use crate::cluster::Name;
use crate::cluster::services::{Forward, Forwards};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Reporter};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::signal::Signals;
use crate::uplink::api::{self, Api};
use crate::uplink::client::Client;
use crate::uplink::link::Remote;
use crate::uplink::reach::{self, Reach};
use crate::uplink::{Failure, Uplink};
use forward::{Named, moved};
use listen::Loopback;

/// How many open files 500 connections and their other ends need.
const OPEN_FILES: u64 = 4096;
/// The size of a forwarded block, in bytes.
const CHUNK: usize = 64 * 1024;

/// The arguments of `tlsproxy`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    reach: Reach,

    /// Forward another TCP port, beside those of cluster.nix
    #[arg(long = "forward", value_name = "NAME=LOCAL:HOST:PORT")]
    forwards: Vec<Named>,

    /// Add this number to all local ports
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_offset: u16,

    /// A command to run inside; the proxy ends with it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The usual port of an API.
const fn usual_port(daemon: Daemon) -> u16 {
    match daemon {
        Daemon::Nomad => 4646,
        Daemon::Consul => 8500,
    }
}

/// The environment variable with an API's address.
const fn variable(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Nomad => "NOMAD_ADDR",
        Daemon::Consul => "CONSUL_HTTP_ADDR",
    }
}

/// Runs `tlsproxy` until a signal or the end of its command.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let _reporter = invocation.reporter.clone();
    let mut signals = Signals::listen()?;
    let prepared = tokio::select! {
        prepared = prepare(args, invocation) => prepared?,
        _ = signals.next() => return Err(Error::new(Exit::Interrupted, "stopped")),
    };
    prepared.serve(args, &mut signals).await
}

/// Everything needed to serve, checked.
struct Prepared {
    operation: Operation,
    uplink: Arc<Uplink>,
    apis: BTreeMap<Daemon, Loopback>,
    forwards: BTreeMap<Name, (Forward, Loopback)>,
}

async fn prepare(args: &Args, invocation: Invocation) -> Result<Prepared> {
    let reporter = invocation.reporter.clone();
    if !args.reach.by_ssh() && !args.forwards.is_empty() {
        return Err(
            Error::usage("--forward goes through ssh, which --no-ssh leaves out")
                .help("open the forward in your ssh_config too (LocalForward)"),
        );
    }
    let operation = Operation::start(&args.cluster, invocation).await?;
    let uplink = args.reach.uplink(&operation)?;
    let daemons = reach::daemons(&operation)?;
    let mut apis = BTreeMap::new();
    for daemon in daemons {
        let port = moved(usual_port(daemon), args.port_offset)?;
        apis.insert(daemon, Loopback::bind(port, daemon.title()).await?);
    }
    // With --no-ssh, the same program that forwards the APIs' ports forwards these.
    let of_cluster = if args.reach.by_ssh() {
        operation.cluster.forwards.clone()
    } else {
        Forwards::new()
    };
    let mut forwards = BTreeMap::new();
    for (name, forward) in forward::all(&of_cluster, &args.forwards, args.port_offset)? {
        let listener = Loopback::bind(forward.local_port, &format!("‘{name}’")).await?;
        forwards.insert(name, (forward, listener));
    }
    raise_limit();
    reporter.phase("connecting");
    check(&uplink, apis.keys().copied(), &reporter).await?;
    Ok(Prepared {
        operation,
        uplink,
        apis,
        forwards,
    })
}

/// Makes a first connection to each daemon. If one does not answer but the other does, that is a
/// warning: the operator may want to repair it.
async fn check(
    uplink: &Arc<Uplink>,
    daemons: impl Iterator<Item = Daemon>,
    reporter: &Reporter,
) -> Result<()> {
    let mut asked: FuturesUnordered<_> = daemons
        .map(|daemon| async move {
            let api = Api::new(Client::new(uplink.clone(), daemon));
            (daemon, api.leader().await)
        })
        .collect();
    let mut silent: Vec<Error> = Vec::new();
    let mut answering = 0;
    while let Some((daemon, leader)) = asked.next().await {
        match leader {
            Ok(Some(_)) => answering += 1,
            Ok(None) => {
                answering += 1;
                reporter.warning(None, format!("{} has no leader", daemon.title()));
            }
            Err(api::Trouble::Uplink(Failure::Unreachable(e) | Failure::Broken(e))) => {
                silent.push(e);
            }
            Err(api::Trouble::Uplink(other)) => return Err(other.into()),
            Err(api::Trouble::Said(e)) => {
                answering += 1;
                reporter.warning(None, e.what);
            }
        }
    }
    match (answering, silent.pop()) {
        (0, Some(last)) => {
            silent.iter().for_each(|e| reporter.failure(e));
            Err(last)
        }
        (_, last) => {
            for e in silent.iter().chain(&last) {
                reporter.warning(None, e.what.clone());
            }
            Ok(())
        }
    }
}

impl Prepared {
    async fn serve(self, args: &Args, signals: &mut Signals) -> Result<()> {
        let Self {
            operation,
            uplink,
            apis,
            forwards,
        } = self;
        let reporter = &operation.reporter;
        let address = |port: u16| format!("http://localhost:{port}");
        let addresses: Vec<(&str, String)> = apis
            .iter()
            .map(|(daemon, listener)| (variable(*daemon), address(listener.port())))
            .collect();
        if args.command.is_empty() {
            announce(reporter, &addresses, &forwards);
        }
        // Dropping this ends all connections, then the logins under them.
        let mut serving = JoinSet::new();
        for (daemon, listener) in apis {
            let client = Client::new(uplink.clone(), daemon);
            serving.spawn(proxy::serve(listener, client, reporter.clone()));
        }
        for (name, (forward, listener)) in forwards {
            serving.spawn(carry(
                name,
                forward,
                listener,
                uplink.clone(),
                reporter.clone(),
            ));
        }
        let result = if args.command.is_empty() {
            signals.next().await;
            Ok(())
        } else {
            inside::run(&args.command, &addresses, signals).await
        };
        serving.shutdown().await;
        result
    }
}

fn announce(
    reporter: &Reporter,
    addresses: &[(&str, String)],
    forwards: &BTreeMap<Name, (Forward, Loopback)>,
) {
    let apis = addresses
        .iter()
        .map(|(variable, address)| format!("export {variable}={address}"));
    let others = forwards.iter().map(|(name, (forward, listener))| {
        let (port, Forward { host, port: to, .. }) = (listener.port(), forward);
        format!("# {name}: localhost:{port} is {host}:{to}")
    });
    let data: serde_json::Map<_, _> = addresses
        .iter()
        .map(|(variable, address)| ((*variable).to_owned(), json!(address)))
        .chain(forwards.iter().map(|(name, (_, listener))| {
            (
                name.to_string(),
                json!(format!("localhost:{}", listener.port())),
            )
        }))
        .collect();
    reporter.emit(Event::Summary {
        text: apis.chain(others).collect::<Vec<_>>().join("\n"),
        data: json!({ "addresses": data }),
    });
}

/// Serves a forward until dropped.
async fn carry(
    name: Name,
    forward: Forward,
    listener: Loopback,
    uplink: Arc<Uplink>,
    reporter: Reporter,
) -> std::convert::Infallible {
    let remote = Remote {
        host: forward.host,
        port: forward.port,
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (mut stream, place) = listener.accept() => {
                let (uplink, remote) = (uplink.clone(), remote.clone());
                let (name, reporter) = (name.clone(), reporter.clone());
                connections.spawn(async move {
                    let _place = place;
                    let mut channel = match uplink.route().open_remote(&remote).await {
                        Ok(channel) => channel,
                        Err(e) => return reporter.warning(None, format!("{name}: {e}")),
                    };
                    let carried = tokio::io::copy_bidirectional_with_sizes(
                        &mut stream, &mut channel, CHUNK, CHUNK,
                    );
                    if let Err(e) = carried.await {
                        tracing::debug!(%name, "connection: {e}");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Raises the limit of open files for this process and its ssh.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        if let Err(e) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("open files are not raised to {wanted}: {e}");
        }
    }
}
