//! The plan of `app-secrets`.

use std::collections::{BTreeMap, BTreeSet};

use super::value::{Kind, Pair, Spec, Wanted};
use crate::error::{Error, Result};

/// What to do about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It exists.
    Keep,
    /// It is missing.
    Make,
    /// It exists, and is replaced.
    Rotate,
}

/// The secrets that `--rotate` selects; an empty name selects all that may be replaced at any time.
pub fn rotated(wanted: &Wanted, given: &[String]) -> Result<Vec<String>> {
    let mut names: Vec<String> = given.iter().filter(|n| !n.is_empty()).cloned().collect();
    if names.len() < given.len() {
        let rotating = wanted.iter().filter(|(_, spec)| spec.rotates);
        let before = names.len();
        names.extend(rotating.map(|(key, _)| key.clone()));
        if names.len() == before {
            return Err(Error::usage("no secret of the app has ‘rotate = true’")
                .help("name the secret: --rotate NAME"));
        }
    }
    Ok(names)
}

/// What to do about each secret. An existing one is replaced only if it is in `rotate`; a
/// certificate and its key are replaced together.
pub fn plan(
    wanted: &Wanted,
    present: &BTreeSet<String>,
    rotate: &[String],
) -> Result<BTreeMap<String, Action>> {
    for name in rotate {
        if !wanted.contains_key(name) {
            let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
            return Err(Error::usage(format!("the app reads no secret ‘{name}’"))
                .help(crate::cluster::name::suggestion(name, &names, "secrets")));
        }
    }
    let rotated: BTreeSet<&str> = wanted
        .iter()
        .filter(|(key, _)| rotate.contains(key))
        .filter_map(|(_, spec)| pair(&spec.kind))
        .map(|pair| pair.name.as_str())
        .collect();
    let mut actions = BTreeMap::new();
    for (key, spec) in wanted {
        let anew = rotate.contains(key)
            || pair(&spec.kind).is_some_and(|p| rotated.contains(p.name.as_str()));
        let action = match (present.contains(key), anew) {
            (false, _) => Action::Make,
            (true, true) => Action::Rotate,
            (true, false) => Action::Keep,
        };
        actions.insert(key.clone(), action);
    }
    for (key, spec) in wanted {
        // A lost key cannot be made for its certificate, but a certificate can be made for its key.
        if let Kind::SslKey(pair) = &spec.kind
            && actions[key] == Action::Make
            && let Some(certificate) = certificate_of(wanted, &pair.name)
            && actions[certificate] == Action::Keep
        {
            return Err(Error::usage(format!(
                "{key} is missing, but the certificate for it, {certificate}, is there"
            ))
            .help(format!("make both anew: --rotate {certificate}")));
        }
    }
    Ok(actions)
}

fn pair(kind: &Kind) -> Option<&Pair> {
    match kind {
        Kind::SslKey(pair) | Kind::SslCert(pair) => Some(pair),
        _ => None,
    }
}

fn certificate_of<'a>(wanted: &'a Wanted, name: &str) -> Option<&'a String> {
    let is = |spec: &Spec| matches!(&spec.kind, Kind::SslCert(pair) if pair.name == name);
    wanted.iter().find(|(_, spec)| is(spec)).map(|(key, _)| key)
}

/// The key of the secret that holds the key of the pair `name`.
pub fn key_of<'a>(wanted: &'a Wanted, name: &str) -> Option<&'a String> {
    let is = |spec: &Spec| matches!(&spec.kind, Kind::SslKey(pair) if pair.name == name);
    wanted.iter().find(|(_, spec)| is(spec)).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let pair = || Pair {
            name: "mail".into(),
            domains: vec!["mail.example.org".into()],
        };
        let spec = |kind, rotates| Spec { kind, rotates };
        BTreeMap::from([
            ("a/token".to_owned(), spec(Kind::Random(16), true)),
            (
                "mail/tls.crt".to_owned(),
                spec(Kind::SslCert(pair()), false),
            ),
            ("mail/tls.key".to_owned(), spec(Kind::SslKey(pair()), false)),
        ])
    }

    fn planned(present: &[&str], rotate: &[&str]) -> Result<Vec<Action>> {
        let present = present.iter().map(ToString::to_string).collect();
        let rotate: Vec<String> = rotate.iter().map(ToString::to_string).collect();
        plan(&wanted(), &present, &rotate).map(|actions| actions.into_values().collect())
    }

    #[test]
    fn only_what_is_missing_is_made() {
        use Action::{Keep, Make, Rotate};
        assert_eq!(planned(&[], &[]).unwrap(), [Make, Make, Make]);
        assert_eq!(planned(&["a/token"], &[]).unwrap(), [Keep, Make, Make]);
        assert_eq!(
            planned(&["a/token", "mail/tls.key"], &["a/token"]).unwrap(),
            [Rotate, Make, Keep]
        );
    }

    #[test]
    fn a_key_and_its_certificate_are_made_anew_together() {
        use Action::{Make, Rotate};
        let all = ["a/token", "mail/tls.crt", "mail/tls.key"];
        let actions = planned(&all, &["mail/tls.crt"]).unwrap();
        assert_eq!(actions[1..], [Rotate, Rotate]);
        let lost_key = planned(&all[..2], &[]).unwrap_err();
        assert!(lost_key.help.unwrap().contains("--rotate mail/tls.crt"));
        assert_eq!(
            planned(&all[..2], &["mail/tls.crt"]).unwrap()[1..],
            [Rotate, Make]
        );
    }

    #[test]
    fn a_secret_that_the_app_does_not_read_cannot_be_made_anew() {
        let error = planned(&[], &["a/tokem"]).unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean ‘a/token’?"));
    }

    #[test]
    fn a_rotation_without_a_name_takes_what_says_so() {
        let given =
            |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
        assert_eq!(rotated(&wanted(), &given(&[""])).unwrap(), ["a/token"]);
        assert_eq!(rotated(&wanted(), &given(&["x"])).unwrap(), ["x"]);
        assert!(rotated(&wanted(), &[]).unwrap().is_empty());
        let mut none = wanted();
        none.remove("a/token");
        assert!(rotated(&none, &given(&[""])).is_err());
    }
}
