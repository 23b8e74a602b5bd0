//! A cluster with real agents of Nomad, and apps for it.

use std::process::{Command, Output};

use super::agent::{Agents, Setup};
use super::cluster::Cluster;

/// An update block with short times.
pub const QUICK: &str = r#"update {
  min_healthy_time = "1s"
  healthy_deadline = "5s"
  progress_deadline = "10s"
}"#;

/// The path of the scheduler's settings in Nomad's API.
pub const SCHEDULER: &str = "/v1/operator/scheduler/configuration";

/// A cluster with a real Nomad and no Consul.
pub struct Stage {
    pub cluster: Cluster,
    pub agents: Agents,
    programs: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(1)
    }

    pub fn with(servers: usize) -> Self {
        Self::of(
            Cluster::new(),
            &Setup {
                servers,
                ..Setup::default()
            },
        )
    }

    pub fn of(cluster: Cluster, setup: &Setup) -> Self {
        let agents = Agents::start(&cluster, setup);
        let programs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&agents.program, programs.path().join("nomad")).unwrap();
        Self {
            cluster,
            agents,
            programs,
        }
    }

    pub fn command(&self, operation: &str, args: &[&str]) -> Command {
        self.command_at(0, operation, args)
    }

    pub fn command_at(&self, agent: usize, operation: &str, args: &[&str]) -> Command {
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

    pub fn run(&self, operation: &str, args: &[&str]) -> Output {
        self.command(operation, args).output().unwrap()
    }

    /// Writes the job of an app: of type `kind`, with one group of one task, an `sh` script.
    pub fn job(&self, app: &str, kind: &str, script: &str, more: &str) {
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

    pub fn file(&self, app: &str, text: &str) {
        let folder = self
            .cluster
            .folder()
            .join(format!("cluster/prod/app/{app}/deploy"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{app}.hcl")), text).unwrap();
    }

    pub fn text(&self, app: &str) -> String {
        let file = format!("cluster/prod/app/{app}/deploy/{app}.hcl");
        std::fs::read_to_string(self.cluster.folder().join(file)).unwrap()
    }

    /// The exit code of `nomad-scheduler`: 5 if this Nomad is too old for some of its settings.
    pub fn scheduler_code(&self) -> i32 {
        let port = self.agents.agents.iter().map(|agent| agent.port);
        let told = port
            .map(|port| self.agents.call_port(port, "GET", SCHEDULER, None))
            .find(|(status, _)| *status == 200)
            .unwrap();
        let settings = &told.1["SchedulerConfig"];
        let known = !settings["MemoryOversubscriptionEnabled"].is_null()
            && !settings["PreemptionConfig"]["SysBatchSchedulerEnabled"].is_null();
        if known { 0 } else { 5 }
    }

    pub fn registered(&self) -> Vec<String> {
        let jobs = self.agents.ask("/v1/jobs");
        let jobs = jobs.as_array().unwrap();
        jobs.iter()
            .map(|job| job["ID"].as_str().unwrap().to_owned())
            .collect()
    }
}
