//! ACLs of a real Nomad and a real Consul: what each operation needs is what doc/acls.md says, and a
//! refusal says what is missing.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::agent::Setup;
use crate::support::cluster::Cluster;
use crate::support::consul::{self, Consul};
use crate::support::pass::{self, ended};
use crate::support::stage::{QUICK, SCHEDULER, Stage};

/// The rules of doc/acls.md below a title, as an administrator would copy them.
fn documented(title: &str) -> String {
    let text = include_str!("../doc/acls.md");
    let (_, part) = text
        .split_once(&format!("\n### {title}\n"))
        .unwrap_or_else(|| panic!("{title} is not in doc/acls.md"));
    let (_, part) = part.split_once("```hcl\n").unwrap();
    part.split_once("```").unwrap().0.to_owned()
}

/// A Nomad with ACLs, whose first token the test has.
fn nomad() -> Stage {
    let setup = Setup {
        acl: true,
        ..Setup::default()
    };
    Stage::of(Cluster::new(), &setup)
}

/// Makes a policy of Nomad's.
fn policy(stage: &Stage, name: &str, rules: &str) {
    let first = &stage.agents.agents[0];
    let body = json!({"Name": name, "Rules": rules});
    let path = format!("/v1/acl/policy/{name}");
    let (status, said) = stage.agents.call(first, "PUT", &path, Some(&body));
    assert_eq!(status, 200, "{name}: {said}");
}

/// A token of Nomad's with these rules.
fn token(stage: &Stage, name: &str, rules: &str) -> String {
    policy(stage, name, rules);
    let first = &stage.agents.agents[0];
    let body = json!({"Name": name, "Type": "client", "Policies": [name]});
    let (_, made) = stage
        .agents
        .call(first, "PUT", "/v1/acl/token", Some(&body));
    made["SecretID"].as_str().unwrap().to_owned()
}

fn run(stage: &Stage, token: &str, operation: &str, args: &[&str]) -> Output {
    let mut command = stage.command(operation, args);
    command.env("NOMAD_TOKEN", token).output().unwrap()
}

#[test]
fn nomads_operations_need_the_rights_that_are_documented() {
    let stage = nomad();
    stage.job("core", "service", "echo no such bucket >&2; exit 1", QUICK);
    for operation in ["deploy-apps", "nomad-scheduler"] {
        ended(
            &stage.run(operation, &[]),
            3,
            &["NOMAD_TOKEN is not set", "doc/acls.md"],
        );
        ended(
            &run(
                &stage,
                "11111111-2222-3333-4444-555555555555",
                operation,
                &[],
            ),
            3,
            &["the token in NOMAD_TOKEN may not do this", "doc/acls.md"],
        );
    }
    // The apps' token may not set the scheduler, and the other way round.
    let apps = token(&stage, "apps", &documented("deploy-apps"));
    let scheduler = token(&stage, "scheduler", &documented("nomad-scheduler"));
    ended(
        &run(&stage, &apps, "nomad-scheduler", &[]),
        3,
        &["operator:write"],
    );
    ended(
        &run(&stage, &scheduler, "deploy-apps", &[]),
        3,
        &["submit-job"],
    );
    ended(
        &run(&stage, &scheduler, "nomad-scheduler", &[]),
        0,
        &["as wanted"],
    );
    // It also reads the logs of what fails.
    ended(
        &run(&stage, &apps, "deploy-apps", &[]),
        5,
        &["its deployment is failed", "main stderr: no such bucket"],
    );
    stage.job("core", "service", "sleep 600", QUICK);
    ended(
        &run(&stage, &apps, "deploy-apps", &[]),
        0,
        &["core  healthy"],
    );
    // To compare needs less than to change.
    let reads = token(&stage, "reads", r#"operator { policy = "read" }"#);
    ended(
        &run(&stage, &reads, "nomad-scheduler", &["--check"]),
        0,
        &[],
    );
    ended(
        &run(&stage, &reads, "deploy-apps", &["--plan"]),
        3,
        &["submit-job"],
    );
}

/// A token without a namespace's logs still gets everything else told.
#[test]
fn a_token_that_may_not_read_logs_deploys_all_the_same() {
    let stage = nomad();
    let rules = r#"namespace "default" { capabilities = ["submit-job", "read-job"] }"#;
    let apps = token(&stage, "apps", rules);
    stage.job("core", "service", "echo no such bucket >&2; exit 1", QUICK);
    let output = run(&stage, &apps, "deploy-apps", &[]);
    ended(
        &output,
        5,
        &["its deployment is failed", "the token lacks read-logs"],
    );
    assert!(!pass::said(&output).contains("stderr: no such bucket"));
}

#[test]
fn a_node_is_drained_with_the_rights_that_are_documented() {
    let mut stage = nomad();
    stage.job("core", "service", "sleep 600", QUICK);
    let first = stage.agents.token.clone().unwrap();
    ended(
        &run(&stage, &first, "deploy-apps", &[]),
        0,
        &["core  healthy"],
    );
    let own = token(&stage, "restarts", &documented("--reboot"));
    let blind = token(&stage, "blind", r#"node { policy = "write" }"#);
    let node = stage.agents.ask("/v1/nodes")[0]["ID"].clone();
    let path = format!("/v1/node/{}", node.as_str().unwrap());
    let allocations = format!("{path}/allocations");
    let all = stage.agents.ask(&allocations);
    assert_eq!(all.as_array().unwrap().len(), 1);
    // Nomad leaves out, without a word, what a token may not read.
    stage.agents.token = Some(blind);
    assert_eq!(stage.agents.ask(&allocations), json!([]));
    stage.agents.token = Some(own);
    assert_eq!(stage.agents.ask("/v1/nodes")[0]["Status"], "ready");
    assert_eq!(stage.agents.ask(&allocations), all);
    let first = &stage.agents.agents[0];
    let drain = json!({"DrainSpec": {"Deadline": 60_000_000_000_u64, "IgnoreSystemJobs": false}});
    for (path, body) in [
        (format!("{path}/drain"), drain),
        (
            format!("{path}/drain"),
            json!({"DrainSpec": null, "MarkEligible": true}),
        ),
        (
            format!("{path}/eligibility"),
            json!({"Eligibility": "eligible"}),
        ),
    ] {
        let (status, said) = stage.agents.call(first, "PUT", &path, Some(&body));
        assert_eq!(status, 200, "{path}: {said}");
    }
}

/// What nodes ask of their own agents, for which they have no token.
#[test]
fn nomad_tells_nodes_of_itself_with_the_policy_that_is_documented() {
    let mut stage = nomad();
    let first = stage.agents.token.clone();
    let asked = ["/v1/operator/autopilot/health", "/v1/nodes"];
    let status = |stage: &Stage, path: &str| stage.agents.get(&stage.agents.agents[0], path).0;
    stage.agents.token = None;
    for path in asked {
        assert_eq!(status(&stage, path), 403, "{path}");
    }
    for path in ["/v1/status/leader", "/v1/status/peers?stale"] {
        assert_eq!(status(&stage, path), 200, "{path}");
    }
    stage.agents.token = first;
    policy(&stage, "anonymous", &documented("Nomad, without a token"));
    stage.agents.token = None;
    for path in asked {
        stage
            .agents
            .wait(path, |agents| agents.get(&agents.agents[0], path).0 == 200);
    }
    assert_eq!(status(&stage, SCHEDULER), 200);
    assert_eq!(status(&stage, "/v1/job/core/allocations"), 403);
}

const FIRST: &str = "12345678-1234-1234-1234-123456789abc";

#[test]
fn consuls_operations_need_the_rights_that_are_documented() {
    // The field's name before 1.11.
    let name = if consul::given() {
        "initial_management"
    } else {
        "master"
    };
    let cluster = Cluster::new();
    let folder = cluster.folder().join("cluster/prod/app/mail");
    std::fs::create_dir_all(&folder).unwrap();
    let wanted = "[secrets.\"mail/domain\"]\ntype = 'constant'\nvalue = 'example.org'\n";
    std::fs::write(folder.join("secrets.toml"), wanted).unwrap();
    let consul = Consul::start(
        &cluster,
        &format!(
            r#""acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"{name}": "{FIRST}"}}}},"#
        ),
    );
    let token = |name: &str, rules: &str| -> String {
        let put = |path: &str, body: &Value| {
            consul
                .call(&cluster, Some(FIRST), "PUT", path, Some(body))
                .1
        };
        put("/v1/acl/policy", &json!({"Name": name, "Rules": rules}));
        let body = json!({"Policies": [{"Name": name}]});
        let made = put("/v1/acl/token", &body);
        made["SecretID"]
            .as_str()
            .unwrap_or_else(|| panic!("{made}"))
            .to_owned()
    };
    let run = |token: Option<&str>| {
        let ports = format!("--no-ssh=1:{}", consul.port);
        let mut command = cluster.nixcfg(&["app-secrets", "prod", "mail", &ports]);
        if let Some(token) = token {
            command.env("CONSUL_HTTP_TOKEN", token);
        }
        command.output().unwrap()
    };
    ended(
        &run(None),
        3,
        &["CONSUL_HTTP_TOKEN is not set", "doc/acls.md"],
    );
    let reads = r#"key_prefix "secrets/" { policy = "read" }"#;
    ended(
        &run(Some(&token("reads", reads))),
        3,
        &[
            "the token in CONSUL_HTTP_TOKEN may not do this",
            "key:write",
        ],
    );
    let own = token("secrets", &documented("app-secrets"));
    ended(&run(Some(&own)), 0, &["1 secret written"]);

    // What nodes ask of their own agents, for which they have no token.
    let health = "/v1/operator/autopilot/health";
    let get = |path: &str| consul.call(&cluster, None, "GET", path, None);
    let member = "/v1/health/node/alder";
    assert_eq!(get(health).0, 403);
    assert_eq!(get(member), (200, json!([])));
    for path in ["/v1/status/leader", "/v1/status/peers?stale"] {
        assert_eq!(get(path).0, 200, "{path}");
    }
    let put = |path: &str, body: &Value| {
        let (status, said) = consul.call(&cluster, Some(FIRST), "PUT", path, Some(body));
        assert_eq!(status, 200, "{path}: {said}");
    };
    let rules = documented("Consul, without a token");
    put("/v1/acl/policy", &json!({"Name": "nodes", "Rules": rules}));
    // The anonymous token's ID is the same everywhere.
    let anonymous = "00000000-0000-0000-0000-000000000002";
    put(
        &format!("/v1/acl/token/{anonymous}"),
        &json!({"AccessorID": anonymous, "Policies": [{"Name": "nodes"}]}),
    );
    let told = |path: &str| {
        (0..100).any(|_| {
            let (status, said) = get(path);
            let well = status == 200 && said != json!([]);
            if !well {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            well
        })
    };
    assert!(told(health) && told(member));
    assert_eq!(get("/v1/kv/secrets/mail/domain?raw").0, 403);
}
