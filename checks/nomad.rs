//! `deploy-apps` and `nomad-scheduler` against a real Nomad, the program that `NOMAD` names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/cluster.rs"]
mod cluster;
#[allow(dead_code)]
#[path = "support/pass.rs"]
mod pass;

use std::process::{Command, Output, Stdio};

use agent::Agents;
use cluster::{Cluster, Running};

/// A cluster with a real Nomad and no Consul.
struct Stage {
    cluster: Cluster,
    agents: Agents,
    programs: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self::with(1)
    }

    fn with(servers: usize) -> Self {
        let cluster = Cluster::new();
        let agents = Agents::start(&cluster, servers);
        let programs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&agents.program, programs.path().join("nomad")).unwrap();
        Self {
            cluster,
            agents,
            programs,
        }
    }

    fn command(&self, operation: &str, args: &[&str]) -> Command {
        self.command_at(0, operation, args)
    }

    fn command_at(&self, agent: usize, operation: &str, args: &[&str]) -> Command {
        let ports = format!("--no-ssh={}:1", self.agents.agents[agent].port);
        let mut command = self.cluster.nixcfg(&[operation, "prod", &ports]);
        let path = format!(
            "{}:{}",
            self.programs.path().display(),
            std::env::var("PATH").unwrap()
        );
        command.args(args).env("PATH", path);
        command
    }

    fn run(&self, operation: &str, args: &[&str]) -> Output {
        self.command(operation, args).output().unwrap()
    }

    /// Writes the job of an app: `kind` with one group of one task, a script of `sh`.
    fn job(&self, app: &str, kind: &str, script: &str, more: &str) {
        let schedules = match kind {
            "system" => "",
            _ => "reschedule { \n attempts = 0 \n unlimited = false \n }",
        };
        let text = format!(
            r#"job "{app}" {{
              datacenters = ["lyon"]
              type = "{kind}"
              group "main" {{
                {more}
                {schedules}
                restart {{
                  attempts = 0
                  mode = "fail"
                }}
                task "main" {{
                  driver = "raw_exec"
                  config {{
                    command = "/bin/sh"
                    args = ["-c", "{script}"]
                  }}
                  resources {{
                    cpu = 20
                    memory = 16
                  }}
                }}
              }}
            }}"#
        );
        self.file(app, &text);
    }

    fn file(&self, app: &str, text: &str) {
        let folder = self
            .cluster
            .folder()
            .join(format!("cluster/prod/app/{app}/deploy"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{app}.hcl")), text).unwrap();
    }

    fn text(&self, app: &str) -> String {
        let file = format!("cluster/prod/app/{app}/deploy/{app}.hcl");
        std::fs::read_to_string(self.cluster.folder().join(file)).unwrap()
    }

    fn registered(&self) -> Vec<String> {
        let jobs = self.agents.ask("/v1/jobs");
        let jobs = jobs.as_array().unwrap();
        jobs.iter()
            .map(|job| job["ID"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// An update that comes to its end quickly.
const QUICK: &str = r#"update {
  min_healthy_time = "1s"
  healthy_deadline = "5s"
  progress_deadline = "10s"
}"#;

#[track_caller]
fn ended(output: &Output, code: i32, told: &[&str]) {
    let said = pass::said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for text in told {
        assert!(said.contains(text), "nothing tells {text:?}:\n{said}");
    }
}

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
                "no node has room for the group ‘main’: memory (1 nodes)",
                "core is not healthy: no node had room",
            ],
        );
    }
    // Nodes that the job's own conditions leave out.
    let text = text.replace("memory = 90000000", "memory = 16").replace(
        "group \"main\" {",
        "constraint { \n attribute = \"${attr.kernel.name}\" \n value = \"plan9\" \n }\n group \"main\" {",
    );
    stage.file("core", &text);
    ended(
        &stage.run("deploy-apps", &[]),
        5,
        &["${attr.kernel.name} = plan9 (1 nodes)"],
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
    // One that is started again until it stays up.
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
    ended(
        &stage.run("deploy-apps", &[]),
        0,
        &[
            "core       healthy",
            "telemetry  healthy",
            "once       healthy",
        ],
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
