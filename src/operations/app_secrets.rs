//! `app-secrets`: makes missing secrets that an app's jobs read from Consul.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal};

use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;
use zeroize::Zeroizing;

use crate::apps::kv::Kv;
use crate::apps::plan::{Action, key_of, plan, rotated};
use crate::apps::value::{self, Kind, Pair, Wanted};
use crate::apps::{self, in_order, present};
use crate::cluster::Daemon;
use crate::cluster::Name;
use crate::error::{Context, Error, Exit, Result};
use crate::event::{Event, Reporter, count};
use crate::operation::{ClusterArgs, Invocation, Operation};
use crate::process::Command;
use crate::secret::{Secret, read_unechoed};
use crate::secrets::generate::letters;
use crate::uplink::api::Api;
use crate::uplink::client::Client;
use crate::uplink::reach::{self, Reach};

/// The length of a service user's password, in characters.
const PASSWORD_LENGTH: usize = 32;
/// How long self-signed certificates are valid. Their daemons check no dates of their peers.
const CERTIFICATE_YEARS: i32 = 10;

/// The arguments of `app-secrets`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    reach: Reach,

    /// The app: a folder below cluster/CLUSTER/app/
    #[arg(value_name = "APP")]
    app: Name,

    /// List what is missing and change nothing; exit with 5 if anything is
    #[arg(long)]
    check: bool,

    /// Replace this secret; may be repeated. Without a NAME: all with `rotate = true`
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with = "check"
    )]
    rotate: Vec<String>,
}

/// Runs `app-secrets`.
pub async fn run(args: &Args, invocation: Invocation) -> Result<()> {
    let reporter = invocation.reporter.clone();
    let operation = Operation::start(&args.cluster, invocation).await?;
    let cluster = &operation.cluster;
    in_order(
        &present(&cluster.name)?,
        &[],
        std::slice::from_ref(&args.app),
    )?;
    let file = apps::folder(&cluster.name)
        .join(args.app.as_str())
        .join("secrets.toml");
    let Some(wanted) = value::read(&file)? else {
        return Err(Error::usage(format!("there is no {}", file.display()))
            .help("an app that reads no secrets needs none"));
    };
    if !reach::daemons(&operation)?.contains(&Daemon::Consul) {
        return Err(Error::usage(format!(
            "the cluster ‘{}’ runs no Consul",
            cluster.name
        )));
    }
    let uplink = args.reach.uplink(&operation)?;
    let api = Api::new(Client::new(uplink, Daemon::Consul));
    let kv = Kv(&api);
    reporter.phase("reading the names of the secrets in Consul");
    let rotate = rotated(&wanted, &args.rotate)?;
    let actions = plan(&wanted, &there(&wanted, &kv).await?, &rotate)?;
    let changing: Vec<&str> = actions
        .iter()
        .filter(|(_, action)| **action != Action::Keep)
        .map(|(key, _)| key.as_str())
        .collect();
    if changing.is_empty() {
        let text = format!(
            "{} has all of its {}",
            args.app,
            count(wanted.len(), "secret")
        );
        reporter.emit(Event::Summary {
            text,
            data: json!({"missing": []}),
        });
        return Ok(());
    }
    if args.check {
        let text = changing.iter().map(|key| format!("missing: {key}"));
        reporter.emit(Event::Summary {
            text: text.collect::<Vec<_>>().join("\n"),
            data: json!({ "missing": changing }),
        });
        return Err(Error::new(
            Exit::Partial,
            format!(
                "{} lacks {} of its {}",
                args.app,
                changing.len(),
                count(wanted.len(), "secret")
            ),
        )
        .help("leave out --check to make them"));
    }
    let values = make(&wanted, &actions, &kv, &reporter).await?;
    write(&wanted, &actions, values, &kv, &reporter).await?;
    tell_users(&wanted, &actions, &reporter);
    Ok(())
}

/// Reports which users the operator has to create, and whose password has to be set.
fn tell_users(wanted: &Wanted, actions: &BTreeMap<String, Action>, reporter: &Reporter) {
    for (key, spec) in wanted {
        if let Kind::UserPassword(name) = &spec.kind
            && actions[key] != Action::Keep
        {
            reporter.warning(
                None,
                format!(
                    "the user ‘{name}’ is not created by this tool: create it, with the password in Consul at secrets/{key}"
                ),
            );
        }
    }
}

/// The secrets that are in Consul. Its list silently omits keys that a token may not read, but it
/// refuses to read such a key.
async fn there(wanted: &Wanted, kv: &Kv<'_>) -> Result<BTreeSet<String>> {
    let mut there = kv.keys().await?;
    for key in wanted.keys() {
        if !there.contains(key) && kv.get(key).await?.is_some() {
            there.insert(key.clone());
        }
    }
    Ok(there)
}

/// Makes all new values before the first one is written. Typed ones come first, so that a mistake
/// costs nothing.
async fn make(
    wanted: &Wanted,
    actions: &BTreeMap<String, Action>,
    kv: &Kv<'_>,
    reporter: &Reporter,
) -> Result<BTreeMap<String, Secret>> {
    let making = || {
        wanted
            .iter()
            .filter(|(key, _)| actions[*key] != Action::Keep)
    };
    let mut values = BTreeMap::new();
    for (key, spec) in making() {
        if let Kind::User {
            description,
            example,
            multiline,
        } = &spec.kind
        {
            let value = ask(key, description, example.as_deref(), *multiline, reporter).await?;
            values.insert(key.clone(), value);
        }
    }
    for (key, spec) in making() {
        let value = match &spec.kind {
            Kind::User { .. } | Kind::SslCert(_) => continue,
            Kind::Command(command) => printed(key, command).await?,
            Kind::Constant(value) | Kind::UserName(value) => Secret::new(value.clone()),
            Kind::Random(length) => letters(*length)?,
            Kind::UserPassword(_) => letters(PASSWORD_LENGTH)?,
            Kind::SslKey(_) => new_key()?,
        };
        values.insert(key.clone(), value);
    }
    for (key, spec) in making() {
        let Kind::SslCert(pair) = &spec.kind else {
            continue;
        };
        let Some(key_name) = key_of(wanted, &pair.name) else {
            continue;
        };
        let certificate = match values.get(key_name) {
            Some(own) => certificate(own, pair)?,
            None => match kv.get(key_name).await? {
                Some(entry) => certificate(&entry.value, pair)?,
                None => return Err(Error::unexpected(format!("{key_name} has gone meanwhile"))),
            },
        };
        values.insert(key.clone(), certificate);
    }
    Ok(values)
}

/// Writes the values, keys before their certificates. The next run continues an interrupted one.
async fn write(
    wanted: &Wanted,
    actions: &BTreeMap<String, Action>,
    mut values: BTreeMap<String, Secret>,
    kv: &Kv<'_>,
    reporter: &Reporter,
) -> Result<()> {
    let is_certificate =
        |key: &str| matches!(wanted.get(key), Some(spec) if matches!(spec.kind, Kind::SslCert(_)));
    let mut order: Vec<String> = values.keys().cloned().collect();
    order.sort_by_key(|key| (is_certificate(key), key.clone()));
    let mut written = Vec::new();
    for key in order {
        let Some(value) = values.remove(&key) else {
            continue;
        };
        let index = match actions[&key] {
            Action::Rotate => kv.get(&key).await?.map_or(0, |entry| entry.index),
            _ => 0,
        };
        if !kv.put(&key, &value, index).await? {
            return Err(Error::new(
                Exit::Partial,
                format!("{key} was written by someone else at the same time, and is left as it is"),
            )
            .saying(format!("written: {}", written.join(", ")))
            .help("run again to go on from what is there"));
        }
        let did = match actions[&key] {
            Action::Rotate => "made anew",
            _ => "made",
        };
        reporter.emit(Event::Log {
            node: None,
            line: format!("{key}: {did}"),
        });
        written.push(key);
    }
    let text = format!("{} written", count(written.len(), "secret"));
    reporter.emit(Event::Summary {
        text,
        data: json!({ "written": written }),
    });
    Ok(())
}

/// Asks the operator on the terminal without echo, or reads standard input if that is no terminal.
async fn ask(
    key: &str,
    description: &str,
    example: Option<&str>,
    multiline: bool,
    reporter: &Reporter,
) -> Result<Secret> {
    let example = example.map_or(String::new(), |e| format!(", such as {e}"));
    let end = if multiline {
        "; end with an empty line"
    } else {
        ""
    };
    let prompt = format!("{key} ({description}{example}{end}): ");
    let key = key.to_owned();
    reporter
        .ask(move || read_answer(&key, &prompt, multiline))
        .await
}

fn read_answer(key: &str, prompt: &str, multiline: bool) -> Result<Secret> {
    let missing = || {
        Error::usage(format!("{key} has to be typed in, and nothing was"))
            .help("run on a terminal, or give the answers on standard input, a line each")
    };
    let line = || -> Result<Secret> {
        if std::io::stdin().is_terminal() {
            return read_unechoed(prompt).map(Secret::new);
        }
        let mut text = Zeroizing::new(String::new());
        let read = std::io::stdin().lock().read_line(&mut text);
        match read.context(|| "cannot read standard input".into())? {
            0 => Err(missing()),
            _ => Ok(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned())),
        }
    };
    let mut text = Zeroizing::new(line()?.expose().to_owned());
    if text.is_empty() {
        return Err(missing());
    }
    if multiline {
        while let Ok(next) = line()
            && !next.expose().is_empty()
        {
            text.push('\n');
            text.push_str(next.expose());
        }
    }
    Ok(Secret::new(text.to_string()))
}

/// The output of a command on the operator's machine, without the final line break.
async fn printed(key: &str, command: &str) -> Result<Secret> {
    // Files of the earlier scripts use bash, for example `<<<`.
    let told = Command::new("bash").args(["-c", command]).output().await;
    let bytes = Zeroizing::new(told.map_err(|e| e.help(format!("the command is that of {key}")))?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::usage(format!("the command of {key} does not print text")))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        Err(Error::usage(format!("the command of {key} prints nothing")).running(command))
    } else {
        Ok(Secret::new(text.to_owned()))
    }
}

fn new_key() -> Result<Secret> {
    let key = KeyPair::generate().context(|| "cannot make a key".into())?;
    Ok(Secret::new(key.serialize_pem()))
}

/// Makes a self-signed certificate for a key.
fn certificate(key: &Secret, pair: &Pair) -> Result<Secret> {
    let of = || format!("cannot make a certificate for ‘{}’", pair.name);
    let key = KeyPair::from_pem(key.expose()).context(of)?;
    let mut params = CertificateParams::new(pair.domains.clone()).context(of)?;
    let name = pair.domains.first().unwrap_or(&pair.name);
    params
        .distinguished_name
        .push(DnType::CommonName, name.as_str());
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::HOUR;
    params.not_after = now + time::Duration::days(365) * CERTIFICATE_YEARS;
    let certificate = params.self_signed(&key).context(of)?;
    Ok(Secret::new(certificate.pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_fails_or_prints_nothing_makes_no_secret() {
        assert_eq!(printed("a", "echo x").await.unwrap().expose(), "x");
        assert!(printed("a", "exit 3").await.is_err());
        assert!(printed("a", "true").await.is_err());
    }

    #[test]
    fn a_certificate_is_for_its_key_and_its_names() {
        let key = new_key().unwrap();
        let pair = Pair {
            name: "mail".into(),
            domains: vec!["mail.example.org".into()],
        };
        let made = certificate(&key, &pair).unwrap();
        assert!(made.expose().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(certificate(&Secret::new("no key".into()), &pair).is_err());
    }
}
