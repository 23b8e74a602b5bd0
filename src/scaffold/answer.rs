//! Parses the operator's answers, by the rules of the model.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use base64ct::{Base64, Encoding};

use crate::cluster::Name;
use crate::cluster::ownership::Account;
use crate::error::{Error, Result};

/// A node's name and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: Name,
    pub address: IpAddr,
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, address) = text.split_once('=').ok_or_else(|| {
            Error::usage(format!("‘{text}’ is no NAME=ADDRESS")).help("such as alder=192.0.2.11")
        })?;
        Ok(Self {
            name: label(name)?,
            address: address
                .parse()
                .map_err(|_| Error::usage(format!("‘{address}’ is no IP address")))?,
        })
    }
}

/// Parses a name that is a host name and a DNS label.
pub fn label(text: &str) -> Result<Name> {
    let name: Name = text.parse()?;
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.as_str().chars().all(lower) && !name.as_str().ends_with('-') {
        Ok(name)
    } else {
        Err(
            Error::usage(format!("‘{text}’ is no name of a cluster, site or node"))
                .help("lower-case letters, digits and hyphens, with no hyphen at its ends"),
        )
    }
}

/// Parses a user's name.
pub fn user(text: &str) -> Result<Name> {
    text.parse::<Account>()?;
    Ok(text.parse()?)
}

/// The operator's own public key, if a file of the usual name exists.
pub fn own_key() -> Option<String> {
    let file = Path::new(&std::env::var_os("HOME")?).join(".ssh/id_ed25519.pub");
    file.is_file().then(|| file.display().to_string())
}

/// The public key in a file. Refuses anything else, above all a private key.
pub fn public_key(file: &str) -> Result<String> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::usage(format!("the public key {file} cannot be read: {e}")))?;
    let key = text.trim();
    if key.lines().count() == 1 && is_key(key) {
        Ok(key.to_owned())
    } else {
        Err(
            Error::usage(format!("{file} is no public SSH key on one line"))
                .help("public keys are in files that end with .pub"),
        )
    }
}

/// Whether a line is a kind and a key of that kind. The key consists of fields that begin with
/// their length in four bytes, the kind first, with nothing missing or left over (RFC 4253, 6.6).
/// The model checks the lengths of each kind.
fn is_key(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(data)) = (words.next(), words.next()) else {
        return false;
    };
    let Ok(data) = Base64::decode_vec(data) else {
        return false;
    };
    let mut rest = data.as_slice();
    let mut fields = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length);
        let Some((field, after)) = usize::try_from(length)
            .ok()
            .and_then(|length| after.split_at_checked(length))
        else {
            return false;
        };
        fields.push(field);
        rest = after;
    }
    rest.is_empty() && fields.len() > 1 && fields.first() == Some(&kind.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_name_and_an_address() {
        let place: Place = "alder=2001:db8::1".parse().unwrap();
        assert_eq!(place.name.as_str(), "alder");
        for bad in [
            "alder",
            "alder=here",
            "Alder=192.0.2.1",
            "al_der=192.0.2.1",
            "=192.0.2.1",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_administrator_is_a_user_of_linux() {
        assert_eq!(user("alice_2").unwrap().as_str(), "alice_2");
        assert_eq!(user("j.doe").unwrap().as_str(), "j.doe");
        for bad in ["Alice", "2alice", "", "a b", "root;", &"a".repeat(32)] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_private_key_is_no_public_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id");
        for (text, good) in [
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf alice\n",
                true,
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D alice\n",
                false,
            ),
            (
                "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf\n",
                false,
            ),
            ("ssh-rsa AAAA x\n", false),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", false),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf a\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf b\n",
                false,
            ),
            ("", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(public_key(file.to_str().unwrap()).is_ok(), good, "{text}");
        }
    }
}
