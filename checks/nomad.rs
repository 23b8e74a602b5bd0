//! `deploy-apps` and `nomad-scheduler` against a real Nomad, the program that `NOMAD` names.

use std::process::{Command, Stdio};

use crate::support::NIX_CONFIG;
use crate::support::agent::{self, Agents, Setup};
use crate::support::cluster::{Cluster, Running};
use crate::support::pass::{self, ended};
use crate::support::stage::{QUICK, SCHEDULER, Stage};
use serde_json::{Value, json};

#[test]
fn a_job_that_no_node_has_room_for_ends_and_says_why() {
    let stage = Stage::new();
    stage.job("core", "service", "sleep 600", QUICK);
    let text = stage
        .text("core")
        .replace("memory = 16", "memory = 90000000");
    stage.file("core", &text);
    for _ in 0..2 {
        ended(
            &stage.run("deploy-apps", &[]),
            5,
            &[
                "no node has room for the group ‘main’: memory (1 node)",
                "core is not healthy: no node had room",
            ],
        );
    }
    // The job's own constraints exclude the nodes.
    let text = text.replace("memory = 90000000", "memory = 16").replace(
        "group \"main\" {",
        "constraint { \n attribute = \"${attr.kernel.name}\" \n value = \"plan9\" \n }\n group \"main\" {",
    );
    stage.file("core", &text);
    ended(
        &stage.run("deploy-apps", &[]),
        5,
        &["${attr.kernel.name} = plan9 (1 node)"],
    );
}

#[test]
fn a_task_that_runs_for_a_moment_is_not_healthy() {
    let stage = Stage::new();
    for kind in ["system", "batch"] {
        stage.job(kind, kind, "sleep 2; echo no such device >&2; exit 1", "");
        ended(
            &stage.run("deploy-apps", &[kind]),
            5,
            &[
                &format!("{kind} is not healthy: a task failed"),
                "no such device",
            ],
        );
    }
    // A task that needs some restarts to stay up.
    let script = "test -e /tmp/nixcfg-$NOMAD_ALLOC_ID && exec sleep 600; sleep 2; touch /tmp/nixcfg-$NOMAD_ALLOC_ID; exit 3";
    stage.job("slow", "system", script, QUICK);
    let text = stage.text("slow").replace(
        "attempts = 0\n                  mode = \"fail\"",
        "attempts = 5 \n delay = \"1s\"",
    );
    stage.file(
        "slow",
        &text.replace("min_healthy_time = \"1s\"", "min_healthy_time = \"4s\""),
    );
    ended(
        &stage.run("deploy-apps", &["slow"]),
        0,
        &[
            "slow.main[0] on alder was started again: Exit Code: 3",
            "slow  healthy",
        ],
    );
}

#[test]
fn a_job_that_nomad_refuses_is_told_before_any_is_registered() {
    let stage = Stage::new();
    stage.job("core", "service", "sleep 600", QUICK);
    stage.job("zoo", "service", "sleep 600", QUICK);
    let text = stage
        .text("zoo")
        .replace("driver = \"raw_exec\"", "driver = \"\"");
    stage.file("zoo", &text);
    ended(
        &stage.run("deploy-apps", &[]),
        2,
        &["app/zoo/deploy/zoo.hcl", "Missing task driver"],
    );
    assert!(stage.registered().is_empty());
}

#[test]
fn jobs_become_healthy_and_a_second_run_changes_nothing() {
    let stage = Stage::new();
    stage.job("core", "service", "sleep 600", QUICK);
    stage.job("telemetry", "system", "sleep 600", QUICK);
    stage.job("once", "batch", "sleep 1", "");
    let first = stage.run("deploy-apps", &[]);
    ended(
        &first,
        0,
        &[
            "core       healthy",
            "telemetry  healthy",
            "once       healthy",
        ],
    );
    // The plan of a new job shows its file's fields, not each default.
    let said = pass::said(&first);
    assert!(said.contains("+ args[1]: \"sleep 600\""), "{said}");
    assert!(
        !said.contains("KillTimeout") && !said.contains("RestartPolicy"),
        "{said}"
    );
    ended(
        &stage.run("deploy-apps", &[]),
        0,
        &[
            "core       unchanged",
            "telemetry  unchanged",
            "once       unchanged",
        ],
    );
}

#[test]
fn a_job_that_is_broken_is_broken_in_the_next_run_too() {
    let stage = Stage::new();
    stage.job("core", "service", "echo no such bucket >&2; exit 1", QUICK);
    for _ in 0..2 {
        ended(
            &stage.run("deploy-apps", &[]),
            5,
            &[
                "core is not healthy: its deployment is failed",
                "no such bucket",
            ],
        );
    }
    stage.job("once", "batch", "echo no such file >&2; exit 1", "");
    for _ in 0..2 {
        ended(
            &stage.run("deploy-apps", &["once"]),
            5,
            &["once is not healthy: a task failed", "no such file"],
        );
    }
}

#[test]
fn a_run_that_was_interrupted_is_gone_on_with_by_the_next_one() {
    let mut stage = Stage::new();
    let update = r#"update {
      min_healthy_time = "5s"
      healthy_deadline = "20s"
      progress_deadline = "30s"
    }"#;
    stage.job("core", "service", "sleep 600", update);
    let mut command = stage.command("deploy-apps", &[]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    stage.agents.wait("a deployment", |agents| {
        agents.ask("/v1/deployments")[0]["Status"] == "running"
    });
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.0.wait().unwrap().code(), Some(130));
    ended(
        &stage.run("deploy-apps", &[]),
        0,
        &["main 1 of 1 healthy", "core  healthy"],
    );
}

#[test]
fn canaries_that_wait_are_told_in_each_run() {
    let stage = Stage::new();
    let update = QUICK.replace("{\n", "{\n canary = 1\n");
    stage.job("core", "service", "sleep 600", &update);
    ended(&stage.run("deploy-apps", &[]), 0, &["core  healthy"]);
    stage.job("core", "service", "sleep 700", &update);
    for _ in 0..2 {
        ended(
            &stage.run("deploy-apps", &[]),
            0,
            &["nomad deployment promote", "core  waits for its promotion"],
        );
    }
}

#[test]
fn a_leader_that_goes_in_the_midst_of_a_deployment_is_waited_out() {
    let mut stage = Stage::with(3);
    // The first agent runs the tasks, so another must lead.
    while stage.agents.leader(1) == Some(0) {
        stage.agents.kill(0);
        stage.agents.wait("another leader", |agents| {
            agents.leader(1).is_some_and(|leader| leader != 0)
        });
        stage.agents.resume(0);
        stage.agents.wait("the first agent", |agents| {
            agents.leader(0).is_some() && agents.ask("/v1/nodes")[0]["Status"] == "ready"
        });
    }
    let update = QUICK
        .replace("\"1s\"", "\"4s\"")
        .replace("\"5s\"", "\"50s\"")
        .replace("\"10s\"", "\"60s\"");
    for app in ["core", "garage", "web"] {
        stage.job(app, "service", "sleep 600", &update);
    }
    let mut command = stage.command_at(0, "deploy-apps", &[]);
    let run = std::thread::spawn(move || command.output().unwrap());
    stage.agents.wait("a deployment", |agents| {
        agents.ask("/v1/deployments")[0]["Status"] == "running"
    });
    let leader = stage.agents.leader(0).unwrap();
    stage.agents.kill(leader);
    ended(
        &run.join().unwrap(),
        0,
        &["core    healthy", "garage  healthy", "web     healthy"],
    );
    assert_eq!(stage.registered(), ["core", "garage", "web"]);
    // A write by check-and-set just after the leader has gone.
    stage.agents.resume(leader);
    stage.agents.wait("three servers", |agents| {
        agents.ask("/v1/operator/autopilot/health")["FailureTolerance"] == 1
    });
    let leader = stage.agents.leader(0).unwrap();
    stage.agents.kill(leader);
    let mut command = stage.command_at((leader + 1) % 3, "nomad-scheduler", &[]);
    ended(
        &command.output().unwrap(),
        stage.scheduler_code(),
        &["PreemptionConfig.BatchSchedulerEnabled: false → true"],
    );
}

#[test]
fn a_cluster_of_one_server_is_waited_for_while_it_restarts() {
    let mut stage = Stage::new();
    let update = QUICK
        .replace("\"1s\"", "\"4s\"")
        .replace("\"5s\"", "\"50s\"")
        .replace("\"10s\"", "\"60s\"");
    stage.job("core", "service", "sleep 600", &update);
    let mut command = stage.command("deploy-apps", &[]);
    let run = std::thread::spawn(move || command.output().unwrap());
    stage.agents.wait("a deployment", |agents| {
        agents.ask("/v1/deployments")[0]["Status"] == "running"
    });
    stage.agents.kill(0);
    stage.agents.resume(0);
    ended(&run.join().unwrap(), 0, &["core  healthy"]);
}

#[test]
fn two_servers_stand_still_while_one_is_missing() {
    let mut stage = Stage::with(2);
    stage.job("core", "service", "sleep 600", QUICK);
    stage.agents.kill(1);
    for operation in ["deploy-apps", "nomad-scheduler"] {
        ended(&stage.run(operation, &[]), 3, &["Nomad has no leader"]);
    }
    stage.agents.resume(1);
    stage
        .agents
        .wait("a leader", |agents| agents.leader(0).is_some());
    assert!(stage.registered().is_empty());
    ended(&stage.run("deploy-apps", &[]), 0, &["core  healthy"]);
}

#[test]
fn a_region_may_have_a_dash_and_a_digit() {
    let stage = Stage::of(Cluster::of_region("north-2"), &Setup::default());
    stage.job("core", "service", "sleep 600", QUICK);
    ended(&stage.run("deploy-apps", &[]), 0, &["core  healthy"]);
    ended(
        &stage.run("nomad-scheduler", &[]),
        stage.scheduler_code(),
        &["as wanted"],
    );
}

#[test]
fn the_scheduler_is_set_as_far_as_this_nomad_knows_its_settings() {
    let stage = Stage::new();
    let knows = |settings: &Value| {
        let own = &settings["SchedulerConfig"];
        !own["MemoryOversubscriptionEnabled"].is_null()
            && !own["PreemptionConfig"]["SysBatchSchedulerEnabled"].is_null()
    };
    let settings = stage.agents.ask(SCHEDULER);
    let (code, told) = if knows(&settings) {
        (0, "Nomad's scheduler settings are as wanted")
    } else {
        (5, "Nomad does not take over MemoryOversubscriptionEnabled")
    };
    ended(&stage.run("nomad-scheduler", &[]), code, &[told]);
    ended(&stage.run("nomad-scheduler", &["--check"]), code, &[]);
    let settings = stage.agents.ask(SCHEDULER);
    assert_eq!(
        settings["SchedulerConfig"]["PreemptionConfig"]["ServiceSchedulerEnabled"],
        true
    );
}

/// A node is empty only when its allocations have ended: Nomad calls a drain complete when it has told
/// system jobs to stop, and at the deadline when it has told all jobs.
#[test]
fn a_drain_is_over_while_a_task_still_stops() {
    let mut stage = Stage::new();
    stage.job(
        "core",
        "system",
        "trap : INT TERM; while :; do sleep 1; done",
        QUICK,
    );
    let text = stage.text("core");
    stage.file(
        "core",
        &text.replace("driver =", "kill_timeout = \"8s\"\n driver ="),
    );
    ended(&stage.run("deploy-apps", &[]), 0, &["core  healthy"]);
    let node = stage.agents.ask("/v1/nodes")[0]["ID"]
        .as_str()
        .unwrap()
        .to_owned();
    let drain = json!({"DrainSpec": {"Deadline": 60_000_000_000_u64, "IgnoreSystemJobs": false}, "MarkEligible": false});
    let port = stage.agents.agents[0].port;
    stage
        .agents
        .call_port(port, "PUT", &format!("/v1/node/{node}/drain"), Some(&drain));
    stage.agents.wait("the end of the drain", |agents| {
        agents.ask(&format!("/v1/node/{node}"))["DrainStrategy"].is_null()
    });
    let path = format!("/v1/node/{node}/allocations");
    let status = |agents: &Agents| agents.ask(&path)[0]["ClientStatus"].clone();
    assert_eq!(status(&stage.agents), "running");
    stage
        .agents
        .wait("the end of the task", |agents| status(agents) == "complete");
}

/// An attribute of a node's configuration in `cluster/prod` of this repository.
fn generated(node: &str, what: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let attribute = format!("{root}#nixosConfigurations.prod-{node}.config.{what}");
    let nixpkgs = format!("path:{root}/checks/lab/nixpkgs");
    let mut command = Command::new("nix");
    command
        .args(["eval", "--json", "--no-write-lock-file", &attribute])
        .args(["--override-input", "nixpkgs", &nixpkgs])
        .env("NIX_CONFIG", NIX_CONFIG);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", pass::said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Nomad before 1.4 has no `config validate`.
#[test]
fn the_generated_settings_have_no_key_that_the_programs_do_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let validated = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", pass::said(&output));
    };
    let nomad = agent::program().unwrap();
    let help = Command::new(&nomad)
        .args(["config", "-help"])
        .output()
        .unwrap();
    if pass::said(&help).contains("validate") {
        for node in ["alder", "cedar"] {
            let path = file("nomad.json", &generated(node, "services.nomad.settings"));
            validated(Command::new(&nomad).args(["config", "validate"]).arg(&path));
            // The check finds a fault.
            let wrong =
                generated(node, "services.nomad.settings").replacen('{', "{\"no_such_key\":1,", 1);
            let path = file("wrong.json", &wrong);
            let output = Command::new(&nomad)
                .args(["config", "validate"])
                .arg(&path)
                .output()
                .unwrap();
            assert!(!output.status.success());
        }
    }
    if let Some(consul) = std::env::var_os("CONSUL").filter(|path| !path.is_empty()) {
        for node in ["alder", "cedar"] {
            let text: String =
                serde_json::from_str(&generated(node, "environment.etc.\"consul.json\".text"))
                    .unwrap();
            let path = file("consul.json", &text);
            validated(Command::new(&consul).arg("validate").arg(&path));
        }
    }
}
