//! How long gen-pki takes without GnuPG, and how long a real store takes to
//! read as many secrets as two programs' PKI has. Prints milliseconds, the
//! median of 21 runs. `cargo bench --bench pki`

#![allow(clippy::unwrap_used, clippy::panic)] // A benchmark fails by panicking.

#[allow(dead_code, unused_imports)] // A part of it is used.
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Instant;

use nixcfg::cluster::Cluster;
use nixcfg::cluster::Daemon;
use nixcfg::event::{Event, Renderer, Reporter};
use nixcfg::pki::Year;
use nixcfg::pki::generate::generate;
use nixcfg::store::Store;
use nixcfg::store::pass::Pass;
use serde_json::json;
use support::memory::Memory;
use time::OffsetDateTime;

const RUNS: usize = 21;
const ENTRIES: usize = 14;
const FOLDER: &str = "example/cluster/prod";

struct Silent;

impl Renderer for Silent {
    fn show(&self, _: &Event) {}
}

fn cluster() -> Cluster {
    let node = |role: &str| json!({"site": "lyon", "system": "x86_64-linux", "role": role, "configuration": "x"});
    let files = |app: &str| json!({"directory": format!("/var/lib/{app}/pki"), "owner": "root", "group": "root", "unit": format!("{app}.service")});
    Cluster::parse(&json!({
        "schema": 1, "name": "prod", "secretsPrefix": "example", "mutableUsers": true,
        "nodes": {"alder": node("server"), "birch": node("server"), "cedar": node("server"), "dogwood": node("client")},
        "pki": {"perNode": false, "consul": files("consul"), "nomad": files("nomad")},
        "consul": {"enable": true, "datacenter": "prod", "domain": "consul", "httpsPort": 8501},
        "nomad": {"enable": true, "region": "prod", "httpPort": 4646},
    }))
    .unwrap()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs the rest of this program with the store's keys: GnuPG finds them by its environment.
fn with_keys() -> bool {
    if support::pass::inside() {
        return true;
    }
    let store = support::pass::PassStore::plain();
    for entry in 0..ENTRIES {
        store.insert(&format!("{FOLDER}/entry{entry}"), &"x".repeat(1000));
    }
    let mut command = store.rerun("");
    print!("{}", support::pass::run(&mut command));
    false
}

#[tokio::main]
async fn main() {
    if !with_keys() {
        return;
    }
    let reporter = Reporter::with(Arc::new(Silent));
    let now = OffsetDateTime::now_utc();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        generate(
            &cluster(),
            &Daemon::ALL,
            Year::of(now),
            &Memory::default(),
            &reporter,
            now,
        )
        .await
        .unwrap();
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    println!(
        "gen-pki without GnuPG, 8 pairs made: {:.1} ms",
        median(times)
    );

    let store = Pass::open(FOLDER.parse().unwrap()).unwrap();
    let names = store.list().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        assert_eq!(store.show(&names).await.unwrap().len(), ENTRIES);
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    println!("{ENTRIES} secrets read from pass: {:.0} ms", median(times));
    let mut times = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        for name in &names {
            store.show(&[name.clone()].into()).await.unwrap();
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    println!("{ENTRIES} secrets read one by one: {:.0} ms", median(times));
}
