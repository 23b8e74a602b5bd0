//! The files of the PKI on a node. Their names are those of the earlier scripts. The daemons'
//! configuration names links, which are the same every year.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::Year;
use super::layout::PairId;
use super::stored::Stored;
use super::x509::{Certificate, Key};
use crate::cluster::Daemon;
use crate::cluster::ownership::{Mode, Ownership};
use crate::cluster::{Cluster, Name, NodePath};
use crate::error::{Error, Result};
use crate::node::install::{Content, Manifest};

/// A pair on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The pair in the store.
    pub pair: PairId,
    /// The name of the link, without `.crt` or `.key`.
    link: String,
    /// The name of the year's file, without `.crt` or `.key`.
    file: String,
}

/// The pairs in the folder of a daemon on a node, the agent's own first. Nomad also has the pair
/// for its requests to Consul.
pub fn pairs(cluster: &Cluster, daemon: Daemon, year: Year, node: &Name) -> Vec<Deployed> {
    let mut pairs = vec![Deployed {
        pair: PairId::of_node(cluster, daemon, year, node),
        link: daemon.to_string(),
        file: format!("{daemon}{year}"),
    }];
    if daemon == Daemon::Nomad && cluster.consul.enable {
        let pair = PairId::operator(Daemon::Consul, year);
        pairs.push(Deployed {
            link: "consul-client".into(),
            file: pair.stem(),
            pair,
        });
    }
    pairs
}

/// The daemons whose authorities are in the folder of a daemon.
pub fn authorities(cluster: &Cluster, daemon: Daemon) -> Vec<Daemon> {
    match daemon {
        Daemon::Nomad if cluster.consul.enable => vec![Daemon::Nomad, Daemon::Consul],
        daemon => vec![daemon],
    }
}

/// The certificates that all agents of `daemon` should trust, as a file.
pub fn bundle(stored: &Stored, daemon: Daemon) -> String {
    stored
        .trusted(daemon)
        .iter()
        .map(Certificate::pem)
        .collect()
}

/// The file in the folder of a daemon with the certificates that it trusts of `authority`'s.
pub fn trusted(cluster: &Cluster, daemon: Daemon, authority: Daemon) -> Result<NodePath> {
    let folder = &daemon.place(cluster).directory;
    folder.join(&format!("{authority}-ca.crt"))
}

/// A file that is wanted on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub path: NodePath,
    /// What `state.sh` reports of it if it is as wanted: the text of a certificate, the digest of a
    /// key.
    pub content: String,
    /// Whether Nomad reads it at its start only.
    pub at_start: bool,
}

/// The files in the folder of a daemon on a node, under the names of the links.
pub fn wanted(
    cluster: &Cluster,
    daemon: Daemon,
    year: Year,
    node: &Name,
    stored: &Stored,
) -> Result<Vec<Wanted>> {
    let folder = &daemon.place(cluster).directory;
    let at_start = |of: Daemon| daemon == Daemon::Nomad && of == Daemon::Consul;
    let mut files = Vec::new();
    for authority in authorities(cluster, daemon) {
        files.push(Wanted {
            path: trusted(cluster, daemon, authority)?,
            content: bundle(stored, authority),
            at_start: at_start(authority),
        });
    }
    for deployed in pairs(cluster, daemon, year, node) {
        let (certificate, key) = whole(stored, &deployed.pair)?;
        let digest = HEXLOWER.encode(&Sha256::digest(key.pem().expose()));
        let at_start = at_start(deployed.pair.daemon);
        for (ending, content) in [("crt", certificate.pem()), ("key", digest)] {
            let path = folder.join(&format!("{}.{ending}", deployed.link))?;
            files.push(Wanted {
                path,
                content,
                at_start,
            });
        }
    }
    Ok(files)
}

/// Everything that `install` has to bring to a node for a daemon.
pub fn manifest(
    cluster: &Cluster,
    daemon: Daemon,
    year: Year,
    node: &Name,
    stored: &Stored,
    manifest: &mut Manifest,
) -> Result<()> {
    let place = daemon.place(cluster);
    let folder = &place.directory;
    let ownership = |mode| Ownership {
        user: place.owner.clone(),
        group: place.group.clone(),
        mode,
    };
    let (folder_mode, key_mode) = if place.group_reads {
        (Mode::GROUP_FOLDER, Mode::GROUP_SECRET)
    } else {
        (Mode::PRIVATE_FOLDER, Mode::SECRET)
    };
    manifest.folder(folder.clone(), ownership(folder_mode));
    for authority in authorities(cluster, daemon) {
        let path = folder.join(&format!("{authority}-ca.crt"))?;
        manifest.file(
            path,
            ownership(Mode::PUBLIC),
            Content::new(bundle(stored, authority)),
        );
    }
    let pairs = pairs(cluster, daemon, year, node);
    for deployed in &pairs {
        let (certificate, key) = whole(stored, &deployed.pair)?;
        let path = |ending| folder.join(&format!("{}.{ending}", deployed.file));
        manifest.file(
            path("key")?,
            ownership(key_mode),
            Content::new(key.pem().expose()),
        );
        manifest.file(
            path("crt")?,
            ownership(Mode::PUBLIC),
            Content::new(certificate.pem()),
        );
    }
    for Deployed { link, file, .. } in &pairs {
        for ending in ["key", "crt"] {
            manifest.link(
                folder.join(&format!("{link}.{ending}"))?,
                format!("{file}.{ending}"),
                place.owner.clone(),
            );
        }
    }
    Ok(())
}

fn whole<'a>(stored: &'a Stored, pair: &PairId) -> Result<(&'a Certificate, &'a Key)> {
    stored.held(pair).pair().ok_or_else(|| {
        Error::usage(format!("{pair}.crt is not in the store"))
            .help("make it with gen-pki, or pull the store if others did")
    })
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::cluster::schema::tests::example;
    use crate::pki::spec::Spec;
    use crate::pki::stored::Held;

    fn whole() -> Stored {
        let (mut stored, now) = (Stored::default(), OffsetDateTime::now_utc());
        for daemon in Daemon::ALL {
            for pair in PairId::wanted(&example(), daemon, Year::of(now)) {
                let key = Key::generate().unwrap();
                let spec = Spec::of(&example(), &pair);
                let certificate = match stored.authority(daemon) {
                    None => key.self_signed(&spec, None, now).unwrap(),
                    Some(authority) => authority.sign(&spec, &key, now).unwrap(),
                };
                let (certificates, keys) = (vec![certificate], vec![key]);
                stored.put(pair, Held { certificates, keys });
            }
        }
        stored
    }

    /// The first words of the folder's line and of each key's: kind, mode, user, group.
    fn closed(cluster: &Cluster, daemon: Daemon) -> Vec<String> {
        let (mut manifest, year) = (Manifest::new(), Year::of(OffsetDateTime::now_utc()));
        let node = "alder".parse().unwrap();
        self::manifest(cluster, daemon, year, &node, &whole(), &mut manifest).unwrap();
        let text = String::from_utf8(manifest.encode().unwrap().to_vec()).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("folder") || line.ends_with(".key"));
        let first = lines.filter_map(|line| Some(line.split_once(" /")?.0.to_owned()));
        first.filter(|line| !line.starts_with("link")).collect()
    }

    #[test]
    fn keys_are_for_their_owner_alone_or_for_a_group_through_which_they_are_read() {
        let mut cluster = example();
        let owners = [
            "folder 700 root root",
            "file 400 root root",
            "file 400 root root",
        ];
        assert_eq!(closed(&cluster, Daemon::Nomad), owners);
        cluster.pki.nomad.group = "nomad-pki".parse().unwrap();
        cluster.pki.nomad.group_reads = true;
        let groups = [
            "folder 750 root nomad-pki",
            "file 440 root nomad-pki",
            "file 440 root nomad-pki",
        ];
        assert_eq!(closed(&cluster, Daemon::Nomad), groups);
    }
}
