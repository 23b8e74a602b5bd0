//! `nomad-scheduler`, `deploy-apps` and `app-secrets`, with a stand-in for Nomad (support/nomad.rs,
//! standin/nomad) and a real Consul.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::cluster::{Cluster, Running};
use crate::support::consul::{self, Consul};
use crate::support::endpoint::Endpoint;
use crate::support::nomad::{self, Nomad};
use crate::support::pass::{self, ended};
use serde_json::{Value, json};

/// A cluster with a stand-in for Nomad and no Consul.
struct Stage {
    cluster: Cluster,
    nomad: Nomad,
    endpoint: Endpoint,
}

impl Stage {
    fn new() -> Self {
        let cluster = Cluster::new();
        let nomad = Nomad::new();
        let endpoint = nomad::endpoint(&cluster, &nomad);
        Self {
            cluster,
            nomad,
            endpoint,
        }
    }

    fn command(&self, operation: &str) -> Command {
        let ports = format!("--no-ssh={}:1", self.endpoint.port);
        let mut command = self.cluster.nixcfg(&[operation, "prod", &ports]);
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/standin");
        let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap());
        command.env("PATH", path);
        command
    }

    fn run(&self, operation: &str, args: &[&str]) -> Output {
        self.command(operation).args(args).output().unwrap()
    }

    /// Asserts that a run of an operation with its options ended with `code` and printed each of `told`.
    #[track_caller]
    fn ends(&self, line: &str, code: i32, told: &[&str]) {
        let words: Vec<&str> = line.split(' ').collect();
        ended(&self.run(words[0], &words[1..]), code, told);
    }

    /// Writes the job of an app.
    fn job(&self, app: &str, file: &str, text: &str) {
        let folder = self
            .cluster
            .folder()
            .join(format!("cluster/prod/app/{app}/deploy"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }

    fn simple(&self, app: &str, kind: &str, outcome: &str) {
        let job = json!({"ID": app, "Type": kind, "Meta": {"outcome": outcome}});
        self.job(app, &format!("{app}.hcl"), &job.to_string());
    }
}

#[test]
fn the_scheduler_is_set_once_and_what_the_tool_does_not_know_stays() {
    let stage = Stage::new();
    stage.ends(
        "nomad-scheduler",
        0,
        &[
            "MemoryOversubscriptionEnabled: false → true",
            "PreemptionConfig.BatchSchedulerEnabled: false → true",
            "are as wanted",
        ],
    );
    let settings = Value::Object(stage.nomad.state.lock().unwrap().scheduler.clone());
    assert_eq!(settings["FutureSetting"]["kept"], true);
    assert_eq!(settings["PreemptionConfig"]["FutureKind"], 3);
    assert_eq!(
        settings["PreemptionConfig"]["SysBatchSchedulerEnabled"],
        true
    );
    stage.ends("nomad-scheduler", 0, &["as wanted already"]);
    assert_eq!(stage.nomad.writes().len(), 1);
}

#[test]
fn settings_that_nomad_does_not_know_are_told_and_not_claimed() {
    let stage = Stage::new();
    let setting = "MemoryOversubscriptionEnabled";
    stage.nomad.set(|state| _ = state.scheduler.remove(setting));
    for _ in 0..2 {
        stage.ends(
            "nomad-scheduler",
            5,
            &["Nomad does not take over MemoryOversubscriptionEnabled"],
        );
    }
    let settings = stage.nomad.state.lock().unwrap().scheduler.clone();
    assert_eq!(settings["PreemptionConfig"]["BatchSchedulerEnabled"], true);
}

#[test]
fn a_check_of_the_scheduler_changes_nothing_and_fails_while_it_differs() {
    let stage = Stage::new();
    stage.ends(
        "nomad-scheduler --check",
        5,
        &["would change", "not as wanted"],
    );
    assert!(stage.nomad.writes().is_empty());
    stage.run("nomad-scheduler", &[]);
    stage.ends("nomad-scheduler --check", 0, &[]);
}

#[test]
fn scheduler_settings_that_someone_else_changes_meanwhile_are_read_again() {
    let stage = Stage::new();
    stage.nomad.set(|state| state.overtaken = 1);
    stage.ends("nomad-scheduler", 0, &["someone else changed them"]);
    assert_eq!(stage.nomad.writes().len(), 2);
    let stage = Stage::new();
    stage.nomad.set(|state| state.overtaken = 9);
    stage.ends("nomad-scheduler", 5, &["by someone else each time"]);
}

#[test]
fn a_nomad_without_leader_changes_nothing() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.nomad.set(|state| state.leaderless = true);
    for operation in ["nomad-scheduler", "deploy-apps"] {
        let mut command = stage.command(operation);
        let output = command.env("NIXCFG_HASTE", "1,a leader=4").output();
        ended(&output.unwrap(), 3, &["Nomad has no leader"]);
    }
    assert!(stage.nomad.writes().is_empty());
}

#[test]
fn acls_ask_for_a_token_and_take_it_from_the_environment() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.nomad.set(|state| state.token = Some("right".into()));
    stage.ends(
        "nomad-scheduler",
        3,
        &["NOMAD_TOKEN is not set", "operator:write"],
    );
    stage.ends("deploy-apps", 3, &["NOMAD_TOKEN is not set", "submit-job"]);
    let with = |token: &str| {
        let mut command = stage.command("deploy-apps");
        command.env("NOMAD_TOKEN", token).output().unwrap()
    };
    ended(
        &with("wrong"),
        3,
        &["the token in NOMAD_TOKEN may not do this"],
    );
    assert!(stage.nomad.writes().is_empty());
    ended(&with("right"), 0, &["core  healthy"]);
}

#[test]
fn apps_run_in_the_clusters_order_and_a_second_run_changes_nothing() {
    let stage = Stage::new();
    for app in ["garage", "aaa", "core"] {
        stage.simple(app, "service", "healthy");
    }
    stage.simple("telemetry", "system", "healthy");
    stage.simple("zzz", "batch", "healthy");
    let first = stage.run("deploy-apps", &[]);
    ended(
        &first,
        0,
        &[
            "+ Job ‘core’",
            "core: main 1 of 1 healthy, 1 placed (successful)",
            "1 of 1 run",
        ],
    );
    let registered =
        ["core", "telemetry", "garage", "aaa", "zzz"].map(|job| format!("/v1/jobs {job}"));
    assert_eq!(stage.nomad.writes(), registered);
    stage.ends("deploy-apps", 0, &["garage     unchanged"]);
    assert_eq!(stage.nomad.writes().len(), 5);
}

#[test]
fn a_plan_registers_nothing_and_shows_what_would_change() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.ends(
        "deploy-apps --plan",
        0,
        &["+ Job ‘core’", "core  would change"],
    );
    assert!(stage.nomad.writes().is_empty());
    stage.run("deploy-apps", &[]);
    stage.job(
        "core",
        "core.hcl",
        r#"{"ID": "core", "Type": "service", "Priority": 70}"#,
    );
    stage.ends("deploy-apps --plan core", 0, &["~ Priority: \"\" → \"70\""]);
}

#[test]
fn a_job_that_fails_stops_what_comes_later_and_shows_why() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.simple("frontend", "service", "failing");
    stage.simple("garage", "service", "healthy");
    stage
        .nomad
        .set(|state| state.log = "starting\nno such bucket\n".into());
    let output = stage.run("deploy-apps", &[]);
    ended(
        &output,
        5,
        &[
            "frontend is not healthy: its deployment is failed",
            "failed to pull image",
            "main stderr: no such bucket",
            "not looked at: garage",
        ],
    );
    assert_eq!(stage.nomad.writes(), ["/v1/jobs core", "/v1/jobs frontend"]);
    stage.simple("frontend", "system", "failing");
    stage.ends(
        "deploy-apps frontend",
        5,
        &["a task failed", "no such bucket"],
    );
}

#[test]
fn a_job_that_never_gets_healthy_ends_with_its_deadline_and_shows_what_its_tasks_say() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.simple("frontend", "service", "stuck");
    stage.simple("garage", "service", "healthy");
    stage
        .nomad
        .set(|state| state.log = "listening on the wrong port\n".into());
    stage.ends(
        "deploy-apps",
        5,
        &[
            "frontend is not healthy: its deployment is failed: Failed due to progress deadline",
            "frontend.main[0] on alder",
            "main: Alloc Unhealthy: Task not running for min_healthy_time",
            "main stderr: listening on the wrong port",
            "not looked at: garage",
        ],
    );
    assert_eq!(stage.nomad.writes(), ["/v1/jobs core", "/v1/jobs frontend"]);
}

#[test]
fn a_job_that_no_node_has_room_for_ends_by_a_limit_of_the_tools_own() {
    let stage = Stage::new();
    stage.simple("core", "service", "unplaced");
    stage.simple("garage", "system", "unplaced");
    for app in ["core", "garage", "core"] {
        ended(
            &stage.run("deploy-apps", &[app]),
            5,
            &[
                "no node has room for the group ‘main’: memory (1 node)",
                "a part of it",
            ],
        );
    }
}

#[test]
fn an_election_in_the_midst_of_a_deployment_is_waited_out() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.nomad.set(|state| state.election = 7);
    stage.ends("deploy-apps", 0, &["core  healthy"]);
    assert_eq!(stage.nomad.writes(), ["/v1/jobs core"]);
}

#[test]
fn a_mistake_in_one_job_registers_none() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.job("im", "im.hcl", "job \"im\" {{");
    stage.ends(
        "deploy-apps",
        2,
        &["im.hcl is not a job", "Error getting job struct"],
    );
    stage.job("im", "im.hcl", r#"{"ID": "core"}"#);
    stage.ends("deploy-apps", 2, &["‘core’ is in two files"]);
    stage.ends("deploy-apps cor", 2, &["did you mean ‘core’?"]);
    assert!(stage.nomad.writes().is_empty());
}

#[test]
fn a_job_may_take_in_a_file_beside_it() {
    let stage = Stage::new();
    stage.job(
        "core",
        "core.hcl",
        r#"{"ID": "core", "Payload": file("../config/x.conf")}"#,
    );
    let config = stage.cluster.folder().join("cluster/prod/app/core/config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("x.conf"), "one\ntwo\n").unwrap();
    stage.ends("deploy-apps --detach", 0, &["core  registered"]);
    let job = stage.nomad.state.lock().unwrap().jobs["core"].clone();
    assert_eq!(job["Spec"]["Payload"], "one\ntwo\n");
}

#[test]
fn a_job_that_changes_between_plan_and_registration_is_left_alone() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.nomad.set(|state| state.meddled = true);
    stage.ends(
        "deploy-apps",
        5,
        &["core was changed by someone else since it was planned"],
    );
    assert_eq!(
        stage.nomad.state.lock().unwrap().jobs["core"]["Spec"],
        json!({})
    );
}

#[test]
fn an_interrupt_leaves_the_job_and_the_next_run_goes_on_with_it() {
    let stage = Stage::new();
    stage.simple("core", "service", "healthy");
    stage.nomad.set(|state| state.held = true);
    stage.simple("garage", "service", "healthy");
    let child = stage.command("deploy-apps").spawn().unwrap();
    let mut running = Running(child);
    while stage.nomad.writes().is_empty() {
        assert_eq!(running.0.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.0.wait().unwrap().code(), Some(130));
    assert_eq!(stage.nomad.writes(), ["/v1/jobs core"]);
    let watched = || stage.nomad.state.lock().unwrap().watched;
    let before = watched();
    let mut command = stage.command("deploy-apps");
    let second = std::thread::spawn(move || command.output().unwrap());
    while watched() == before && !second.is_finished() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    stage.nomad.set(|state| state.held = false);
    ended(
        &second.join().unwrap(),
        0,
        &["core    healthy", "garage  healthy"],
    );
    assert_eq!(stage.nomad.writes(), ["/v1/jobs core", "/v1/jobs garage"]);
}

#[test]
fn detached_jobs_are_not_waited_for() {
    let stage = Stage::new();
    stage.simple("core", "service", "never");
    stage.ends("deploy-apps --detach", 0, &["core  registered"]);
}

/// A cluster with a real Consul and an app that reads secrets.
struct Secrets {
    cluster: Cluster,
    consul: Consul,
}

const WANTED: &str = r#"
[secrets."mail/password"]
type = 'user'
description = 'password of the relay'
[secrets."mail/token"]
type = 'command'
command = 'printf abc; printf def'
[secrets."mail/domain"]
type = 'constant'
value = 'example.org'
[secrets."mail/session"]
type = 'random'
[secrets."mail/tls.key"]
type = 'SSL_KEY'
name = 'mail'
[secrets."mail/tls.crt"]
type = 'SSL_CERT'
name = 'mail'
cert_domains = ['mail.example.org']
"#;

impl Secrets {
    fn new(more: &str) -> Self {
        let cluster = Cluster::new();
        let folder = cluster.folder().join("cluster/prod/app/mail");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("secrets.toml"), WANTED).unwrap();
        let consul = Consul::start(&cluster, more);
        Self { cluster, consul }
    }

    fn command(&self, args: &[&str]) -> Command {
        let ports = format!("--no-ssh=1:{}", self.consul.port);
        let mut command = self
            .cluster
            .nixcfg(&["app-secrets", "prod", "mail", &ports]);
        command.args(args);
        command
    }

    fn run(&self, args: &[&str], typed: &str, token: Option<&str>) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(token) = token {
            command.env("CONSUL_HTTP_TOKEN", token);
        }
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A run without questions does not read it.
        let _ = stdin.write_all(typed.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// Asserts that a run with these options ended with `code` and printed each of `told`.
    #[track_caller]
    fn ends(&self, line: &str, typed: &str, code: i32, told: &[&str]) {
        let args: Vec<&str> = line.split_whitespace().collect();
        ended(&self.run(&args, typed, None), code, told);
    }

    fn value(&self, key: &str) -> Option<String> {
        self.consul.value(&self.cluster, key)
    }
}

#[test]
fn missing_secrets_are_made_once_and_none_that_is_there_is_replaced() {
    let stage = Secrets::new("");
    let check = stage.run(&["--check"], "", None);
    ended(
        &check,
        5,
        &["missing: mail/password", "mail lacks 6 of its 6 secrets"],
    );
    assert_eq!(stage.value("mail/domain"), None);
    let made = stage.run(&[], "typed in\n", None);
    ended(&made, 0, &["6 secrets written"]);
    assert!(!pass::said(&made).contains("typed in"));
    let values = || {
        [
            "mail/password",
            "mail/token",
            "mail/domain",
            "mail/session",
            "mail/tls.key",
            "mail/tls.crt",
        ]
        .map(|key| stage.value(key).unwrap())
    };
    let first = values();
    assert_eq!(first[..3], ["typed in", "abcdef", "example.org"]);
    assert_eq!(first[3].len(), 32);
    assert!(first[5].starts_with("-----BEGIN CERTIFICATE-----"));
    stage.ends("--check", "", 0, &["mail has all of its 6 secrets"]);
    stage.ends("", "other\n", 0, &["mail has all of its 6 secrets"]);
    assert_eq!(values(), first);
    stage.ends("--rotate mail/tls.crt", "", 0, &["mail/tls.key: made anew"]);
    let second = values();
    assert_eq!(second[..4], first[..4]);
    assert!(second[4] != first[4] && second[5] != first[5]);
    stage.ends(
        "--rotate mail/nothing",
        "",
        2,
        &["reads no secret ‘mail/nothing’"],
    );
}

#[test]
fn files_of_the_original_make_their_users_names_and_passwords_and_rotate_by_themselves() {
    let stage = Secrets::new("");
    let file = stage
        .cluster
        .folder()
        .join("cluster/prod/app/mail/secrets.toml");
    let text = r#"
[service_users."reader"]
username_secret = "mail/db/user"
password_secret = "mail/db/password"
[secrets."mail/session"]
type = 'command'
rotate = true
command = 'date +%N; printf x'
description = 'signs the cookies of browsers'
[secrets."mail/tls.crt"]
type = 'SSL_CERT'
name = 'mail'
cert_domains = "['mail.example.org']"
[secrets."mail/tls.key"]
type = 'SSL_KEY'
name = 'mail'
"#;
    std::fs::write(file, text).unwrap();
    stage.ends(
        "--check",
        "",
        5,
        &["mail lacks 5 of its 5 secrets", "missing: mail/db/password"],
    );
    stage.ends(
        "",
        "",
        0,
        &["the user ‘reader’ is not created", "5 secrets written"],
    );
    let values = || {
        [
            "mail/db/user",
            "mail/db/password",
            "mail/session",
            "mail/tls.key",
        ]
        .map(|key| stage.value(key).unwrap())
    };
    let first = values();
    assert_eq!(first[0], "reader");
    assert_eq!(first[1].len(), 32);
    stage.ends("", "", 0, &["mail has all of its 5 secrets"]);
    stage.ends(
        "--rotate",
        "",
        0,
        &["mail/session: made anew", "1 secret written"],
    );
    let second = values();
    assert_ne!(second[2], first[2]);
    assert_eq!((&second[..2], &second[3]), (&first[..2], &first[3]));
}

#[test]
fn only_whom_the_stores_folder_is_encrypted_for_can_make_secrets() {
    let stage = Secrets::new("");
    let store = &stage.cluster.store;
    let bob = store.reader("bob");
    // From now on only bob can read the cluster's entries, although the operator owns the store's root.
    store.pass(&["init", "-p", "example/cluster/prod", "bob"]);
    stage.ends(
        "",
        "typed in\n",
        2,
        &["is not encrypted for a key that you have"],
    );
    assert_eq!(stage.value("mail/domain"), None);
    let mut command = stage.command(&["--check"]);
    let by_bob = bob.as_them(&mut command).output().unwrap();
    ended(&by_bob, 5, &["mail lacks 6 of its 6 secrets"]);
}

#[test]
fn an_answer_that_is_missing_writes_nothing() {
    let stage = Secrets::new("");
    stage.ends("", "", 2, &["mail/password has to be typed in"]);
    assert_eq!(stage.value("mail/domain"), None);
}

#[test]
fn consuls_acls_ask_for_a_token_and_take_it_from_the_environment() {
    // The field's name before 1.11.
    let first = if consul::given() {
        "initial_management"
    } else {
        "master"
    };
    let stage = Secrets::new(&format!(
        r#""acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"{first}": "12345678-1234-1234-1234-123456789abc"}}}},"#,
    ));
    stage.ends(
        "--check",
        "",
        3,
        &["CONSUL_HTTP_TOKEN is not set", "key:write"],
    );
    let right = stage.run(
        &["--check"],
        "",
        Some("12345678-1234-1234-1234-123456789abc"),
    );
    ended(&right, 5, &["missing: mail/domain"]);
}
