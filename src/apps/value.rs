//! `secrets.toml`: the secrets that an app reads, and how each is made.
//!
//! Each secret is a table `[secrets."<app>/<name>"]` with a `type` and its fields. The types are
//! those of the earlier scripts, and `random`. A table `[service_users."<name>"]` stands for two
//! secrets, a name and a password.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Context, Error, Result};

/// How a secret is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A person types it.
    User {
        /// Its description, for the person.
        description: String,
        /// An example value.
        example: Option<String>,
        /// Whether it has several lines.
        multiline: bool,
    },
    /// A command of the operator's machine prints it.
    Command(String),
    /// It is in the file, and no secret.
    Constant(String),
    /// This many random letters and digits.
    Random(usize),
    /// The key of a self-signed certificate.
    SslKey(Pair),
    /// The certificate.
    SslCert(Pair),
    /// The name of a user of the cluster's directory.
    UserName(String),
    /// The password of that user: random letters and digits.
    UserPassword(String),
}

/// A secret that an app reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// How it is made.
    pub kind: Kind,
    /// Whether `--rotate` without a name makes it anew.
    pub rotates: bool,
}

/// What the key and certificate of a pair share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The name that joins them.
    pub name: String,
    /// The DNS names of the certificate; empty for a key that leaves them to the certificate.
    pub domains: Vec<String>,
}

/// The secrets of an app, by key below `secrets/`.
pub type Wanted = BTreeMap<String, Spec>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    secrets: BTreeMap<String, Entry>,
    #[serde(default)]
    service_users: BTreeMap<String, ServiceUser>,
}

/// A user as whom an app logs in to another one. Both fields are keys below `secrets/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceUser {
    username_secret: String,
    password_secret: String,
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
    cert_domains: Domains,
    #[serde(default)]
    rotate: bool,
}

/// DNS names of a certificate. Files of the earlier scripts hold the list as a string:
/// `"['mail.example.org']"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Domains {
    List(Vec<String>),
    Text(String),
}

impl Default for Domains {
    fn default() -> Self {
        Domains::List(Vec::new())
    }
}

impl Domains {
    fn names(self) -> std::result::Result<Vec<String>, String> {
        #[derive(Deserialize)]
        struct List {
            names: Vec<String>,
        }
        match self {
            Domains::List(names) => Ok(names),
            Domains::Text(text) => toml::from_str(&format!("names = {text}"))
                .map(|list: List| list.names)
                .map_err(|_| format!("the field ‘cert_domains’ is no list of names: {text}")),
        }
    }
}

/// Reads an app's `secrets.toml`; none if there is no such file.
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
        let spec = entry.spec().map_err(|why| format!("{key}: {why}"))?;
        add(&mut wanted, key, spec)?;
    }
    for (name, user) in file.service_users {
        let spec = |kind| Spec {
            kind,
            rotates: false,
        };
        let password = spec(Kind::UserPassword(name.clone()));
        add(&mut wanted, user.password_secret, password)?;
        add(
            &mut wanted,
            user.username_secret,
            spec(Kind::UserName(name)),
        )?;
    }
    check_pairs(&wanted)?;
    Ok(wanted)
}

fn add(wanted: &mut Wanted, key: String, spec: Spec) -> std::result::Result<(), String> {
    if key.is_empty() || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("‘{key}’ is no key"));
    }
    if wanted.contains_key(&key) {
        return Err(format!("two tables make ‘{key}’"));
    }
    wanted.insert(key, spec);
    Ok(())
}

impl Entry {
    fn spec(self) -> std::result::Result<Spec, String> {
        let rotates = self.rotate;
        let kind = self.kind()?;
        if rotates && matches!(kind, Kind::User { .. } | Kind::Constant(_)) {
            return Err("‘rotate’ is for secrets that are made without asking".into());
        }
        Ok(Spec { kind, rotates })
    }

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
            "ssl_key" => Kind::SslKey(pair(need(self.name, "name")?, self.cert_domains.names()?)),
            "ssl_cert" => {
                let domains = self.cert_domains.names()?;
                if domains.is_empty() {
                    return Err("the field ‘cert_domains’ is missing".into());
                }
                Kind::SslCert(pair(need(self.name, "name")?, domains))
            }
            other => {
                return Err(format!(
                    "the type ‘{other}’ is none of user, command, constant, random, SSL_KEY, SSL_CERT"
                ));
            }
        })
    }
}

/// Refuses a certificate without its key, and a key without its certificate.
fn check_pairs(wanted: &Wanted) -> std::result::Result<(), String> {
    let names = |of: fn(&Kind) -> Option<&Pair>| -> Vec<&str> {
        let mut names: Vec<&str> = wanted
            .values()
            .filter_map(|spec| of(&spec.kind))
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
        assert_eq!(wanted["garage/admin_token"].kind, Kind::Random(32));
        assert!(
            matches!(&wanted["email/tls.crt"].kind, Kind::SslCert(pair) if pair.domains == ["imap.example.org"])
        );
    }

    #[test]
    fn files_of_the_original_scripts_are_read() {
        let wanted = parse(
            r#"
            [service_users."reader"]
            username_secret = "wiki/db/user"
            password_secret = "wiki/db/password"
            [secrets."wiki/session_key"]
            type = 'command'
            rotate = true
            command = 'openssl rand -hex 16'
            description = 'signs the cookies of browsers'
            [secrets."wiki/tls.crt"]
            type = 'SSL_CERT'
            name = 'wiki'
            cert_domains = "['wiki', 'wiki.example.org']"
            [secrets."wiki/tls.key"]
            type = 'SSL_KEY'
            name = 'wiki'
            "#,
        )
        .unwrap();
        assert_eq!(wanted.len(), 5);
        let kind = |key: &str| &wanted[key].kind;
        assert_eq!(kind("wiki/db/user"), &Kind::UserName("reader".into()));
        let password = Kind::UserPassword("reader".into());
        assert_eq!(kind("wiki/db/password"), &password);
        assert!(
            matches!(kind("wiki/tls.crt"), Kind::SslCert(pair) if pair.domains == ["wiki", "wiki.example.org"])
        );
        let rotating: Vec<&String> = wanted
            .iter()
            .filter_map(|(key, spec)| spec.rotates.then_some(key))
            .collect();
        assert_eq!(rotating, ["wiki/session_key"]);
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
            (
                "[secrets.a]\ntype = 'constant'\nvalue = 'x'\nrotate = true",
                "made without asking",
            ),
            (
                "[secrets.a]\ntype = 'SSL_CERT'\nname = 'x'\ncert_domains = 'x.example.org'",
                "no list of names: x.example.org",
            ),
            (
                "[service_users.a]\nusername_secret = 'a'\npassword_secret = 'a'",
                "two tables make ‘a’",
            ),
            (
                "[service_users.a]\nusername_secret = 'a'",
                "password_secret",
            ),
        ];
        for (text, told) in cases {
            let why = parse(text).unwrap_err();
            assert!(why.contains(told), "{text}: {why}");
        }
    }
}
