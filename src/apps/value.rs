//! `secrets.toml`: which secrets an app reads, and how each is made.
//!
//! One table a secret, `[secrets."<app>/<name>"]`, with a `type` and what goes
//! with it. The types are those of the original scripts, and `random`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Context, Error, Result};

/// How a secret is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A person types it.
    User {
        /// What it is.
        description: String,
        /// How one looks.
        example: Option<String>,
        /// Whether it has several lines.
        multiline: bool,
    },
    /// A command of the operator's machine prints it.
    Command(String),
    /// It is written here, and is no secret.
    Constant(String),
    /// So many random letters and digits.
    Random(usize),
    /// The key of a self-signed certificate.
    SslKey(Pair),
    /// The certificate.
    SslCert(Pair),
}

/// What the key and the certificate of a pair have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The name by which they belong together.
    pub name: String,
    /// The names that the certificate is for; empty for a key that leaves these to the certificate.
    pub domains: Vec<String>,
}

/// The secrets of an app, by key below `secrets/`.
pub type Wanted = BTreeMap<String, Kind>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    secrets: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    r#type: String,
    description: Option<String>,
    example: Option<String>,
    #[serde(default)]
    multiline: bool,
    command: Option<String>,
    value: Option<String>,
    length: Option<usize>,
    name: Option<String>,
    #[serde(default)]
    cert_domains: Vec<String>,
}

/// Reads an app's `secrets.toml`; none where the app reads no secrets.
pub fn read(file: &Path) -> Result<Option<Wanted>> {
    if !file.is_file() {
        return Ok(None);
    }
    let text =
        std::fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
    parse(&text)
        .map(Some)
        .map_err(|why| Error::usage(format!("{} cannot be used", file.display())).saying(why))
}

fn parse(text: &str) -> std::result::Result<Wanted, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let mut wanted = Wanted::new();
    for (key, entry) in file.secrets {
        if key.is_empty() || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("‘{key}’ is no key"));
        }
        let kind = entry.kind().map_err(|why| format!("{key}: {why}"))?;
        wanted.insert(key, kind);
    }
    check_pairs(&wanted)?;
    Ok(wanted)
}

impl Entry {
    fn kind(self) -> std::result::Result<Kind, String> {
        let need = |value: Option<String>, name: &str| {
            value.ok_or_else(|| format!("the field ‘{name}’ is missing"))
        };
        let pair = |name, domains| Pair { name, domains };
        Ok(match self.r#type.to_lowercase().as_str() {
            "user" => Kind::User {
                description: need(self.description, "description")?,
                example: self.example,
                multiline: self.multiline,
            },
            "command" => Kind::Command(need(self.command, "command")?),
            "constant" => Kind::Constant(need(self.value, "value")?),
            "random" => match self.length.unwrap_or(32) {
                length @ 8..=4096 => Kind::Random(length),
                length => return Err(format!("a length of {length} is not between 8 and 4096")),
            },
            "ssl_key" => Kind::SslKey(pair(need(self.name, "name")?, self.cert_domains)),
            "ssl_cert" => match self.cert_domains.is_empty() {
                true => return Err("the field ‘cert_domains’ is missing".into()),
                false => Kind::SslCert(pair(need(self.name, "name")?, self.cert_domains)),
            },
            other => {
                return Err(format!(
                    "the type ‘{other}’ is none of user, command, constant, random, SSL_KEY, SSL_CERT"
                ));
            }
        })
    }
}

/// A certificate needs its key, and a key its certificate.
fn check_pairs(wanted: &Wanted) -> std::result::Result<(), String> {
    let names = |of: fn(&Kind) -> Option<&Pair>| -> Vec<&str> {
        let mut names: Vec<&str> = wanted
            .values()
            .filter_map(of)
            .map(|p| p.name.as_str())
            .collect();
        names.sort_unstable();
        names
    };
    let keys = names(|kind| match kind {
        Kind::SslKey(pair) => Some(pair),
        _ => None,
    });
    let certificates = names(|kind| match kind {
        Kind::SslCert(pair) => Some(pair),
        _ => None,
    });
    if keys == certificates && keys.windows(2).all(|two| two[0] != two[1]) {
        return Ok(());
    }
    Err(format!(
        "each SSL_KEY goes with one SSL_CERT of the same name: keys {}, certificates {}",
        keys.join(", "),
        certificates.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_read() {
        let wanted = parse(
            r#"
            [secrets."directory/ldap_base_dn"]
            type = 'user'
            description = 'LDAP base DN'
            example = 'dc=example,dc=org'
            [secrets."garage/rpc_secret"]
            type = 'command'
            command = 'openssl rand -hex 32'
            [secrets."garage/region"]
            type = 'constant'
            value = 'garage'
            [secrets."garage/admin_token"]
            type = 'random'
            [secrets."email/tls.key"]
            type = 'SSL_KEY'
            name = 'email'
            [secrets."email/tls.crt"]
            type = 'SSL_CERT'
            name = 'email'
            cert_domains = ['imap.example.org']
            "#,
        )
        .unwrap();
        assert_eq!(wanted.len(), 6);
        assert_eq!(wanted["garage/admin_token"], Kind::Random(32));
        assert!(
            matches!(&wanted["email/tls.crt"], Kind::SslCert(pair) if pair.domains == ["imap.example.org"])
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            ("[secrets.a]\ntype = 'magic'", "‘magic’"),
            ("[secrets.a]\ntype = 'user'", "‘description’ is missing"),
            ("[secrets.a]\ntype = 'constant'\nvalu = 'x'", "valu"),
            ("[secrets.\"../a\"]\ntype = 'random'", "‘../a’ is no key"),
            (
                "[secrets.a]\ntype = 'random'\nlength = 3",
                "between 8 and 4096",
            ),
            (
                "[secrets.a]\ntype = 'SSL_KEY'\nname = 'x'",
                "goes with one SSL_CERT",
            ),
            ("[secrets", "secrets"),
        ];
        for (text, told) in cases {
            let why = parse(text).unwrap_err();
            assert!(why.contains(told), "{text}: {why}");
        }
    }
}
