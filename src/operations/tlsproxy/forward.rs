//! Further TCP ports: `NAME=LOCAL:HOST:PORT`, and those of `cluster.forwards`.

use std::str::FromStr;

use crate::cluster::Name;
use crate::cluster::services::{Forward, Forwards};
use crate::error::{Error, Result};

/// A forward of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: Name,
    pub forward: Forward,
}

impl FromStr for Named {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || {
            Error::usage(format!("‘{text}’ is no forward")).help(
                "write NAME=LOCAL:HOST:PORT, for example ldap=1389:bottin.service.prod.consul:389",
            )
        };
        let (name, rest) = text.split_once('=').ok_or_else(malformed)?;
        let (local, remote) = rest.split_once(':').ok_or_else(malformed)?;
        let (host, port) = remote.rsplit_once(':').ok_or_else(malformed)?;
        let number = |text: &str| {
            text.parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(malformed)
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
            return Err(malformed());
        }
        Ok(Self {
            name: name.parse().map_err(|_| malformed())?,
            forward: Forward {
                local_port: number(local)?,
                host: host.to_owned(),
                port: number(port)?,
            },
        })
    }
}

/// The forwards of the cluster and of the command line, with `offset` added to the local ports. Of
/// two with one name, that of the command line counts.
pub fn all(of_cluster: &Forwards, given: &[Named], offset: u16) -> Result<Forwards> {
    let mut all = of_cluster.clone();
    all.extend(given.iter().map(|n| (n.name.clone(), n.forward.clone())));
    for forward in all.values_mut() {
        forward.local_port = moved(forward.local_port, offset)?;
    }
    Ok(all)
}

/// A local port with the offset added.
pub fn moved(port: u16, offset: u16) -> Result<u16> {
    port.checked_add(offset).ok_or_else(|| {
        Error::usage(format!(
            "there is no port {port} + {offset}: ports end at {}",
            u16::MAX
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(local_port: u16, host: &str, port: u16) -> Forward {
        Forward {
            local_port,
            host: host.into(),
            port,
        }
    }

    #[test]
    fn a_forward_of_the_command_line_is_read() {
        let named: Named = "ldap=1389:bottin.service.staging.consul:389"
            .parse()
            .unwrap();
        assert_eq!(named.name.as_str(), "ldap");
        assert_eq!(
            named.forward,
            forward(1389, "bottin.service.staging.consul", 389)
        );
        let v6: Named = "db=5432:[2001:db8::1]:5432".parse().unwrap();
        assert_eq!(v6.forward.host, "2001:db8::1");
    }

    #[test]
    fn a_malformed_forward_is_refused_with_an_example() {
        for text in [
            "1389:host:389",
            "ldap=1389",
            "ldap=1389:389",
            "ldap=0:host:389",
            "ldap=1389:host:65536",
            "ldap=1389::389",
            "ldap=1389:-oProxyCommand=x:1",
            "a b=1:host:2",
            "ldap=1389:ho st:389",
        ] {
            let error = text.parse::<Named>().unwrap_err();
            assert!(
                error.help.is_some_and(|h| h.contains("ldap=1389:")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_command_line_wins_over_the_cluster_and_all_ports_move() {
        let of_cluster = Forwards::from([
            ("ldap".parse().unwrap(), forward(1389, "a", 389)),
            ("db".parse().unwrap(), forward(5432, "b", 5432)),
        ]);
        let given = ["ldap=2389:c:389".parse().unwrap()];
        let all = all(&of_cluster, &given, 100).unwrap();
        let ports: Vec<_> = all
            .values()
            .map(|f| (f.local_port, f.host.as_str()))
            .collect();
        assert_eq!(ports, [(5532, "b"), (2489, "c")]);
    }

    #[test]
    fn an_offset_beyond_the_last_port_is_refused() {
        assert!(moved(65000, 600).is_err());
    }
}
