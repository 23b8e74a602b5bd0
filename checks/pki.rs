//! `gen-pki`: its results for every state of the store, and failures, none of which loses a key.
//! Independent programs verify the certificates (`pki/verifiers`).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::support::memory::Memory;
use crate::support::pass::{PassStore, inside, run, said};
use crate::support::{Counters, Ran, Repo, Tool};
use nixcfg::cluster::Cluster;
use nixcfg::cluster::Daemon;
use nixcfg::error::{Error, Exit};
use nixcfg::event::{Event, Renderer, Reporter};
use nixcfg::operations::rotate_ca::{Step, change};
use nixcfg::pki::Year;
use nixcfg::pki::generate::generate;
use nixcfg::pki::layout::{Holder, PairId};
use nixcfg::pki::stored::Stored;
use nixcfg::pki::x509::{Certificate, Key};
use nixcfg::secret::Secret;
use nixcfg::store::pass::Pass;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

/// Shows nothing.
struct Silent;

impl Renderer for Silent {
    fn show(&self, _: &Event) {}
}

fn silent() -> Reporter {
    Reporter::with(Arc::new(Silent))
}

fn cluster(per_node: bool) -> Cluster {
    let node = |role: &str| json!({"site": "lyon", "system": "x86_64-linux", "role": role, "configuration": "x"});
    let files = |app: &str| json!({"directory": format!("/var/lib/{app}/pki"), "owner": "root", "group": "root", "unit": format!("{app}.service")});
    Cluster::parse(&json!({
        "schema": 1, "name": "prod", "secretsPrefix": "example", "mutableUsers": true,
        "nodes": {"alder": node("server"), "birch": node("server"), "cedar": node("server"), "dogwood": node("client")},
        "pki": {"perNode": per_node, "consul": files("consul"), "nomad": files("nomad")},
        "consul": {"enable": true, "datacenter": "prod", "domain": "consul", "httpsPort": 8501},
        "nomad": {"enable": true, "region": "prod", "httpPort": 4646},
    }))
    .unwrap()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

async fn make(store: &Memory, per_node: bool, now: OffsetDateTime) -> Result<(), Error> {
    let (cluster, year) = (cluster(per_node), Year::of(now));
    generate(&cluster, &Daemon::ALL, year, store, &silent(), now).await?;
    Ok(())
}

/// An authority by OpenSSL with an RSA key, like those of the original's scripts.
fn rsa_authority(store: &Memory, app: &str, traditional: bool, more: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("key"), dir.path().join("crt"));
    run(Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(&key)
        .args(traditional.then_some("-traditional"))
        .arg("4096"));
    let request = "req -new -x509 -sha256 -days 3650 -subj /C=FR/ST=Paris/O=Example/CN=prod";
    run(Command::new("openssl")
        .args(request.split(' '))
        .args(more)
        .arg("-key")
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    let key = std::fs::read_to_string(key).unwrap();
    let first = if traditional {
        "-----BEGIN RSA PRIVATE KEY-----"
    } else {
        "-----BEGIN PRIVATE KEY-----"
    };
    assert!(
        key.starts_with(first),
        "this OpenSSL wrote {}",
        key.lines().next().unwrap()
    );
    store.put(&format!("{app}-ca.key"), &key);
    store.put(
        &format!("{app}-ca.crt"),
        &std::fs::read_to_string(certificate).unwrap(),
    );
}

/// Two authorities made by `gen-pki`.
fn ours() -> Value {
    json!({"consul-ca.crt": {"ours": true, "strict": true}, "nomad-ca.crt": {"ours": true, "strict": true}})
}

/// Verifies every certificate of a store by `pki/verifiers`, for the purpose that its name tells.
fn verify(store: &Memory, authorities: Value) {
    let dir = tempfile::tempdir().unwrap();
    let mut leaves = BTreeMap::new();
    for (name, text) in store.all() {
        let Some(stem) = name.strip_suffix(".crt") else {
            continue;
        };
        std::fs::write(dir.path().join(&name), text).unwrap();
        if stem.ends_with("-ca") || stem.ends_with("-retired") {
            continue;
        }
        let app = if stem.starts_with("consul") {
            "consul"
        } else {
            "nomad"
        };
        let operator = stem.ends_with("-client");
        let agent = stem.ends_with("-agent") || stem.ends_with("-node-dogwood");
        let role = if operator {
            "cli"
        } else if agent {
            "client"
        } else {
            "server"
        };
        let mut names = vec![format!("{role}.prod.{app}")];
        if !operator {
            names.push("localhost".into());
        }
        if role == "server" && app == "consul" {
            names.push("consul.service.prod.consul".into());
            let of_node =
                |node: &&&str| !stem.contains("-node-") || stem.ends_with(&format!("-node-{node}"));
            names.extend(
                ["alder", "birch", "cedar"]
                    .iter()
                    .filter(of_node)
                    .map(|node| format!("{node}.server.prod.consul")),
            );
        }
        let addresses: &[&str] = if operator { &[] } else { &["127.0.0.1", "::1"] };
        leaves.insert(name, json!({"ca": format!("{app}-ca.crt"), "server": !operator, "names": names, "addresses": addresses}));
    }
    std::fs::write(
        dir.path().join("expect.json"),
        json!({"authorities": authorities, "leaves": leaves}).to_string(),
    )
    .unwrap();
    let verifiers = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/pki/verifiers");
    let output = Command::new(verifiers).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test]
async fn certificates_of_a_new_authority_pass_every_verifier_for_what_they_are_and_for_nothing_else()
 {
    let store = Memory::default();
    make(&store, false, now()).await.unwrap();
    let names: Vec<String> = store
        .all()
        .into_keys()
        .filter(|name| name.ends_with(".crt"))
        .collect();
    assert_eq!(names.len(), 8, "{names:?}");
    verify(&store, ours());
}

#[tokio::test]
async fn certificates_of_nodes_of_their_own_pass_every_verifier() {
    let store = Memory::default();
    make(&store, true, now()).await.unwrap();
    assert_eq!(
        store
            .all()
            .keys()
            .filter(|name| name.contains("-node-"))
            .count(),
        16
    );
    verify(&store, ours());
}

#[tokio::test]
async fn an_rsa_authority_of_openssl_signs_whichever_way_its_key_is_written() {
    for more in [
        &["-addext", "keyUsage=critical,keyCertSign,cRLSign"][..],
        &[],
    ] {
        let store = Memory::default();
        rsa_authority(&store, "consul", true, more);
        rsa_authority(&store, "nomad", false, more);
        let before = store.all();
        make(&store, false, now()).await.unwrap();
        for (name, text) in before {
            assert_eq!(store.get(&name), Some(text), "{name} was changed");
        }
        let theirs = json!({"ours": false, "strict": !more.is_empty()});
        verify(
            &store,
            json!({"consul-ca.crt": theirs, "nomad-ca.crt": theirs}),
        );
    }
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let store = Memory::default();
    make(&store, false, now()).await.unwrap();
    let before = store.all();
    *store.writes_left.lock().unwrap() = Some(0);
    make(&store, false, now()).await.unwrap();
    assert_eq!(store.all(), before);
}

#[tokio::test]
async fn next_years_certificates_are_made_beside_this_years_by_the_same_authority() {
    let store = Memory::default();
    make(&store, false, now()).await.unwrap();
    let before = store.all();
    let next = Year::new(now().year() + 1);
    let (cluster, silent) = (cluster(false), silent());
    let made = generate(&cluster, &Daemon::ALL, next, &store, &silent, now());
    made.await.unwrap();
    let after = store.all();
    assert_eq!(after.len(), before.len() + 12);
    assert!(before.iter().all(|(name, text)| after[name] == *text));
    verify(&store, ours());
}

#[tokio::test]
async fn a_run_that_is_cut_off_anywhere_is_completed_by_the_next_and_no_key_is_lost() {
    let whole = 16;
    for writes in 0..whole {
        let store = Memory::default();
        *store.writes_left.lock().unwrap() = Some(writes);
        assert_eq!(
            make(&store, false, now()).await.unwrap_err().what,
            "cut off",
            "{writes}"
        );
        let before = store.all();
        assert_eq!(before.len(), writes);
        for name in before.keys().filter(|name| name.ends_with(".crt")) {
            assert!(
                before.contains_key(&name.replace(".crt", ".key")),
                "{name} has no key"
            );
        }
        *store.writes_left.lock().unwrap() = None;
        make(&store, false, now()).await.unwrap();
        let after = store.all();
        assert_eq!(after.len(), whole);
        assert!(
            before.iter().all(|(name, text)| after[name] == *text),
            "{writes}: something was replaced"
        );
    }
}

/// The error of `gen-pki` for a complete store changed by `spoil`. It must not touch the store.
async fn refused(spoil: impl FnOnce(&Memory), now: OffsetDateTime) -> String {
    let store = Memory::default();
    make(&store, false, self::now()).await.unwrap();
    spoil(&store);
    let before = store.all();
    let year = Year::of(self::now());
    let error = generate(&cluster(false), &Daemon::ALL, year, &store, &silent(), now)
        .await
        .unwrap_err();
    assert_eq!(error.exit, Exit::Usage, "{error}");
    assert!(store.all() == before, "the store was changed");
    error.to_string()
}

#[tokio::test]
async fn a_damaged_store_is_told_of_and_left_alone() {
    for name in ["consul-ca.crt", "nomad-ca.key"] {
        let cut = |store: &Memory| {
            let text = store.get(name).unwrap();
            store.put(name, &text[..text.len() / 2]);
        };
        let told = refused(cut, now()).await;
        assert!(told.contains(&format!("{name} cannot be read")), "{told}");
    }
    let foreign = |store: &Memory| store.put("consul-ca.key", &store.get("nomad-ca.key").unwrap());
    let told = refused(foreign, now()).await;
    assert!(told.contains("does not fit the key"), "{told}");
}

#[tokio::test]
async fn a_clock_in_the_wrong_year_makes_nothing() {
    let past = now() - Duration::days(3 * 365);
    assert!(refused(|_| {}, past).await.contains("the store has"));
    let future = now() + Duration::days(3651);
    assert!(refused(|_| {}, future).await.contains("the store has"));
}

/// Does the store's part of a step of a rotation.
async fn rotate(store: &Memory, step: Step) -> Result<(), Error> {
    let names: Vec<String> = store.all().into_keys().collect();
    let stems = names.iter().filter_map(|name| name.strip_suffix(".crt"));
    let mut pairs = vec![PairId::authority(Daemon::Consul)];
    pairs.extend(stems.filter_map(|stem| PairId::parse(Daemon::Consul, stem)));
    let stored = Stored::read(store, &pairs).await.unwrap();
    // The first authority must be older, however fast the test is.
    let later = now() + Duration::seconds(5);
    change(
        &cluster(false),
        Daemon::Consul,
        step,
        &stored,
        &mut store.clone(),
        later,
    )
    .await
}

fn authorities(store: &Memory) -> Vec<Certificate> {
    Certificate::read_all(&store.get("consul-ca.crt").unwrap(), "ca").unwrap()
}

#[tokio::test]
async fn certificates_pass_every_verifier_at_each_step_of_a_rotation() {
    let store = Memory::default();
    rsa_authority(
        &store,
        "consul",
        true,
        &["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    );
    make(&store, false, now()).await.unwrap();
    let old = authorities(&store);
    let theirs = json!({"consul-ca.crt": {"ours": false, "strict": true}, "nomad-ca.crt": {"ours": true, "strict": true}});
    rotate(&store, Step::Trust).await.unwrap();
    let both = authorities(&store);
    assert_eq!((both.len(), &both[..1]), (2, &old[..]));
    verify(&store, theirs.clone());
    rotate(&store, Step::Leaves).await.unwrap();
    assert_eq!(authorities(&store), [both[1].clone(), both[0].clone()]);
    verify(&store, theirs);
    rotate(&store, Step::Drop).await.unwrap();
    assert_eq!(authorities(&store), [both[1].clone()]);
    let retired =
        Certificate::read_all(&store.get("consul-ca-retired.crt").unwrap(), "ca").unwrap();
    assert_eq!(retired, old);
    let mut left = store.all();
    left.remove("consul-ca-retired.crt");
    let store = Memory::default();
    left.iter().for_each(|(name, text)| store.put(name, text));
    verify(&store, ours());
}

#[tokio::test]
async fn a_rotation_that_is_cut_off_anywhere_goes_on_and_no_certificate_is_ever_without_its_key() {
    let steps = [Step::Trust, Step::Leaves, Step::Drop];
    for cut in 0..3 {
        for writes in 0.. {
            let store = Memory::default();
            make(&store, false, now()).await.unwrap();
            for step in &steps[..cut] {
                rotate(&store, *step).await.unwrap();
            }
            *store.writes_left.lock().unwrap() = Some(writes);
            let whole = rotate(&store, steps[cut]).await.is_ok();
            *store.writes_left.lock().unwrap() = None;
            let keys =
                Key::read_all(&Secret::new(store.get("consul-ca.key").unwrap()), "key").unwrap();
            let authorities = self::authorities(&store);
            assert!(
                keys.iter().any(|key| key.fits(&authorities[0])),
                "step {cut}, {writes} writes"
            );
            for name in ["consul2026", "consul2026-agent", "consul2026-client"] {
                let name = name.replace("2026", &now().year().to_string());
                let leaf =
                    Certificate::read_all(&store.get(&format!("{name}.crt")).unwrap(), &name)
                        .unwrap();
                assert!(
                    authorities.iter().any(|ca| leaf[0].signed_by(ca)),
                    "{name}: step {cut}, {writes} writes"
                );
            }
            let retired = PairId {
                daemon: Daemon::Consul,
                holder: Holder::Retired,
            };
            let pairs = [PairId::authority(Daemon::Consul), retired];
            let stored = Stored::read(&store, &pairs).await.unwrap();
            assert!(
                stored
                    .retired(Daemon::Consul)
                    .is_none_or(|one| !authorities.contains(one.certificate)),
                "nodes cannot both trust one and not: step {cut}, {writes} writes"
            );
            for step in &steps[cut..] {
                rotate(&store, *step).await.unwrap();
            }
            assert_eq!(self::authorities(&store).len(), 1);
            if whole {
                break;
            }
        }
    }
}

/// Runs `gen-pki` on the store of `PassStore`.
async fn in_pass() -> Result<(), Error> {
    let store = Pass::open("example/cluster/prod".parse().unwrap()).unwrap();
    let (cluster, year, now) = (cluster(false), Year::of(now()), now());
    generate(&cluster, &Daemon::ALL, year, &store, &silent(), now).await?;
    Ok(())
}

#[tokio::test]
async fn a_run_on_a_real_store_is_one_commit_and_openssl_reads_what_pass_shows() {
    if inside() {
        in_pass().await.unwrap();
        return in_pass().await.unwrap();
    }
    let store = PassStore::git();
    store.inside("a_run_on_a_real_store_is_one_commit_and_openssl_reads_what_pass_shows");
    assert_eq!(
        store.history(&store.root()),
        [
            format!("Add certificates of prod for {}", now().year()).as_str(),
            "begin"
        ]
    );
    assert_eq!(store.uncommitted(&store.root()), "");
    let shown = store.pass(&["show", "example/cluster/prod/consul-ca.crt"]);
    let read = Certificate::read_all(&shown, "shown").unwrap();
    assert!(read[0].authority);
    let file = store.scratch().join("key");
    std::fs::write(
        &file,
        store.pass(&["show", "example/cluster/prod/nomad-ca.key"]),
    )
    .unwrap();
    run(Command::new("openssl")
        .args(["pkey", "-noout", "-check", "-in"])
        .arg(file));
}

#[tokio::test]
async fn the_second_of_two_operators_changes_nothing() {
    if inside() {
        return match std::env::var_os("SECOND") {
            None => in_pass().await.unwrap(),
            Some(_) => {
                let error = in_pass().await.unwrap_err();
                assert!(error.what.contains("another nixcfg writes"), "{error}");
            }
        };
    }
    let this = "the_second_of_two_operators_changes_nothing";
    let store = PassStore::git();
    let mut first = store
        .rerun(this)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let folder = store.root().join("example/cluster/prod");
    while std::fs::read_dir(&folder).map_or(0, Iterator::count) < 2 {
        assert!(
            first.try_wait().unwrap().is_none(),
            "the first one was too fast"
        );
    }
    let second = store.rerun(this).env("SECOND", "1").output().unwrap();
    assert!(second.status.success(), "{}", said(&second));
    assert!(first.wait().unwrap().success());
    assert_eq!(store.history(&store.root()).len(), 2);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 16);
}

/// `nixcfg gen-pki prod` on this repository's cluster.
fn gen_pki(repo: &Repo, store: &PassStore, args: &[&str]) -> Ran {
    Tool::new(repo, "gen-pki").args(args).store(store).run()
}

#[test]
fn the_command_makes_what_is_missing_once() {
    let (repo, store) = (Repo::new(), PassStore::git());
    gen_pki(&repo, &store, &["--app", "consul"])
        .exits(0)
        .shows("3 made");
    gen_pki(&repo, &store, &[])
        .exits(0)
        .tells("nomad-ca.crt made");
    let again = gen_pki(&repo, &store, &["--json"]).exits(0);
    let summary: Value = serde_json::from_str(again.out.lines().last().unwrap()).unwrap();
    assert_eq!(summary["made"], json!([]));
    assert!(
        summary["text"]
            .as_str()
            .unwrap()
            .starts_with("nothing to do"),
        "{summary}"
    );
    assert_eq!(store.history(&store.root()).len(), 3);
}

#[test]
fn the_command_refuses_a_store_that_cannot_be_used_and_a_year_that_is_not_about_now() {
    let (repo, store) = (Repo::new(), PassStore::empty());
    gen_pki(&repo, &store, &[])
        .exits(2)
        .tells("is not initialised");
    gen_pki(&repo, &store, &["--year", "2016"])
        .exits(2)
        .tells("2016 is too far from it");
    assert_eq!(std::fs::read_dir(store.root()).unwrap().count(), 0);
}

/// Runs an operation with a clock that is wrong by some days.
fn at_another_time(
    repo: &Repo,
    store: &PassStore,
    operation: &str,
    days: &str,
    args: &[&str],
) -> Ran {
    let preload = Command::new("faketime")
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .unwrap();
    let mut tool = Tool::new(repo, operation).args(args).store(store);
    if operation != "gen-pki" {
        tool = tool.by(&repo.path().join("cluster/prod/ssh_config"));
    }
    tool.env("LD_PRELOAD", said(&preload).trim())
        .env("FAKETIME", format!("{days}d"))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .run()
}

#[test]
fn a_clock_that_is_years_wrong_is_told_of_by_every_operation_and_changes_nothing() {
    let (repo, store) = (Repo::new(), PassStore::plain());
    gen_pki(&repo, &store, &[]).exits(0);
    let entries = || store.pass(&["ls"]);
    let (before, year) = (entries(), now().year().to_string());
    for operation in ["gen-pki", "deploy-pki"] {
        let then = (now() - Duration::days(1500)).date().to_string();
        at_another_time(&repo, &store, operation, "-1500", &[])
            .exits(2)
            .tells(&format!("this machine’s clock says {then}"));
        at_another_time(&repo, &store, operation, "+1500", &["--year", &year])
            .exits(2)
            .tells("is too far from it");
        assert_eq!(entries(), before);
    }
    // A certificate that has expired by this clock is reported as expired.
    at_another_time(&repo, &store, "gen-pki", "+4000", &[])
        .exits(2)
        .tells("consul-ca.crt ended on");
    let status = at_another_time(&repo, &store, "pki-status", "-1500", &[]);
    status.exits(5).tells("clock says");
    assert_eq!(entries(), before);
}

#[test]
fn a_store_that_is_not_fit_is_refused_before_any_node_is_logged_in_to() {
    let (repo, store, counters) = (Repo::new(), PassStore::plain(), Counters::new(&["ssh"]));
    let deploy = |args: &[&str]| {
        let tool = Tool::new(&repo, "deploy-pki").args(args).store(&store);
        let tool = tool.by(&repo.path().join("cluster/prod/ssh_config"));
        let ran = tool.env("PATH", counters.path()).run();
        assert_eq!(counters.take(), Vec::<String>::new());
        ran
    };
    let year = now().year();
    let entry = |name: &str| format!("example/cluster/prod/{name}");
    deploy(&[])
        .exits(2)
        .tells("consul-ca.crt is not in the store");
    gen_pki(&repo, &store, &[]).exits(0);
    deploy(&["--year", &(year + 1).to_string()])
        .exits(2)
        .tells("is not in the store");

    let own = format!("consul{year}.key");
    let kept = store.pass(&["show", &entry(&own)]);
    store.insert(&entry(&own), &store.pass(&["show", &entry("nomad-ca.key")]));
    deploy(&[]).exits(2).tells("does not fit the key");
    store.insert(&entry(&own), &kept);

    let ended = Memory::default();
    let past = now() - Duration::days(800);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (cluster, silent) = (cluster(false), silent());
    let making = generate(
        &cluster,
        &Daemon::ALL,
        Year::new(year),
        &ended,
        &silent,
        past,
    );
    runtime.block_on(making).unwrap();
    for (name, text) in ended.all() {
        store.insert(&entry(&name), &text);
    }
    deploy(&[]).exits(2).tells("ended on");
    let status = Tool::new(&repo, "pki-status").store(&store).run();
    status.exits(5).tells("ended on");
}
