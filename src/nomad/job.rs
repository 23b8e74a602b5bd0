//! A job: the operator's own `nomad` reads it from HCL; the API plans and registers it.

use std::path::{Path, PathBuf};

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::diff;
use crate::error::{Error, Exit, Kind, Result};
use crate::process::Command;
use crate::uplink::api::{Api, Trouble};

/// A job in the form of Nomad's API.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its file.
    pub file: PathBuf,
    pub id: String,
    /// `service`, `batch`, `system` or `sysbatch`.
    pub kind: String,
    pub namespace: String,
    /// The whole job.
    pub data: Map<String, Value>,
}

/// Nomad's plan for a job.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Plan {
    /// The version of the job that the plan is made against; 0 if there is none.
    #[serde(default)]
    pub job_modify_index: u64,
    /// What would change.
    #[serde(default)]
    pub diff: Value,
    /// Groups that no node has room for, by name.
    #[serde(default, rename = "FailedTGAllocs")]
    pub unplaced: Option<Map<String, Value>>,
    /// Nomad's warnings.
    #[serde(default)]
    pub warnings: Option<String>,
}

/// The result of a registration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Registered {
    /// The evaluation that places the job; empty for a periodic or parameterized job.
    #[serde(default, rename = "EvalID")]
    pub evaluation: String,
    /// Nomad's warnings.
    #[serde(default)]
    pub warnings: Option<String>,
}

impl Job {
    /// Reads a job from its HCL by `nomad job run -output`: the HTTP API's parser refuses functions
    /// that jobs use, such as `file()`.
    pub async fn read(file: &Path) -> Result<Self> {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(Error::usage(format!("{} is not a file", file.display())));
        };
        let command = Command::new("nomad")
            .args(["job", "run", "-output", "-no-color"])
            .arg(name)
            .current_dir(folder);
        let finished = command.run(|_| {}).await.map_err(|e| match e.kind {
            Kind::NotOnPath => e.help(
                "install Nomad: it reads the jobs, here as on the cluster; `nix develop` brings it",
            ),
            _ => e,
        })?;
        if !finished.success {
            let said = String::from_utf8_lossy(&finished.stdout);
            return Err(Error::usage(format!("{} is not a job", file.display()))
                .running(command.display())
                .saying(format!("{said}\n{}", finished.stderr_tail).trim()));
        }
        Self::parse(file, &finished.stdout).map_err(|e| e.running(command.display()))
    }

    pub(crate) fn parse(file: &Path, output: &[u8]) -> Result<Self> {
        let not_understood = |why: &str| {
            Error::unexpected(format!(
                "what nomad makes of {} is not understood: {why}",
                file.display()
            ))
        };
        let mut value: Value =
            serde_json::from_slice(output).map_err(|e| not_understood(&e.to_string()))?;
        let Some(Value::Object(data)) = value.get_mut("Job").map(Value::take) else {
            return Err(not_understood("there is no Job in it"));
        };
        let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            file: file.to_owned(),
            id: text("ID").ok_or_else(|| not_understood("the job has no ID"))?,
            kind: text("Type").unwrap_or_else(|| "service".into()),
            namespace: text("Namespace").unwrap_or_else(|| "default".into()),
            data,
        })
    }

    /// Whether it is periodic or parameterized.
    pub fn is_only_called(&self) -> bool {
        let has = |name: &str| self.data.get(name).is_some_and(|value| !value.is_null());
        has("Periodic") || has("ParameterizedJob")
    }

    /// The query parameter of its namespace.
    pub fn query(&self) -> String {
        format!("namespace={}", escaped(&self.namespace))
    }

    /// Asks what registering the job would do. Nomad checks the job with that; a refusal means a
    /// mistake in the file.
    pub async fn plan(&self, api: &Api) -> Result<Plan, Trouble> {
        let path = format!("/v1/job/{}/plan?{}", escaped(&self.id), self.query());
        let body = json!({ "Job": self.data, "Diff": true }).to_string();
        let answer = api.send(Method::PUT, &path, body.into()).await?;
        if answer.status == StatusCode::INTERNAL_SERVER_ERROR && !answer.is_passing()
            || answer.status == StatusCode::BAD_REQUEST
        {
            let said = String::from_utf8_lossy(&answer.body);
            let what = format!("Nomad does not take {}", self.file.display());
            return Err(Trouble::Said(Error::usage(what).saying(said.trim())));
        }
        api.read(&path, &api.ok(&path, answer)?)
    }

    /// Registers the job unless it has changed since the plan. None if the answer was lost but the
    /// job is registered.
    pub async fn register(&self, api: &Api, plan: &Plan) -> Result<Option<Registered>, Trouble> {
        let index = plan.job_modify_index;
        let body = json!({ "Job": self.data, "EnforceIndex": true, "JobModifyIndex": index });
        let path = format!("/v1/jobs?{}", self.query());
        let answer = api
            .send(Method::PUT, &path, body.to_string().into())
            .await?;
        let other = String::from_utf8_lossy(&answer.body).contains("job modify index");
        if answer.status.is_success() || !other {
            return api.read(&path, &api.ok(&path, answer)?).map(Some);
        }
        // The request was repeated. If the first one succeeded, nothing is left to change.
        if answer.again && diff::is_empty(&self.plan(api).await?.diff) {
            return Ok(None);
        }
        let what = format!(
            "{} was changed by someone else since it was planned",
            self.id
        );
        Err(Trouble::Said(
            Error::new(Exit::Partial, what).help("run again to plan it anew"),
        ))
    }
}

/// Encodes a text for a URL's path or query (RFC 3986, section 2).
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_taken_as_nomad_prints_it() {
        let output =
            br#"{"Job": {"ID": "web/1", "Type": "system", "Namespace": null, "New": {"x": 1}}}"#;
        let job = Job::parse(Path::new("web.hcl"), output).unwrap();
        assert_eq!((job.id.as_str(), job.kind.as_str()), ("web/1", "system"));
        assert_eq!(job.query(), "namespace=default");
        assert_eq!(job.data["New"]["x"], 1);
    }

    #[test]
    fn what_is_no_job_is_an_error_with_the_file_in_it() {
        for output in [
            &b"{}"[..],
            b"oops",
            b"5",
            b"[]",
            br#"{"Job": {"Name": "x"}}"#,
        ] {
            let error = Job::parse(Path::new("web.hcl"), output).unwrap_err();
            assert!(error.what.contains("web.hcl"));
        }
    }

    #[test]
    fn an_id_is_escaped_in_a_path() {
        assert_eq!(escaped("a/b c?ü"), "a%2Fb%20c%3F%C3%BC");
    }
}
