//! Asks a node about a closure that only the node has.

use super::diff::Closure;
use crate::error::{Error, Result};
use crate::nix::store::StorePath;
use crate::node::ssh::answer::Answer;
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, Script};

const CLOSURE: Script = Script {
    name: "nixcfg-closure",
    text: &[include_str!("closure.sh")],
    // A closure has tens of thousands of paths.
    seconds: 300,
};

/// Asks a node for a closure, over the present connection. If the node's Nix refuses the user
/// (`nix.settings.allowed-users`), asks as root if possible.
pub async fn ask(
    connection: &Connection,
    how: Option<&Elevation>,
    root: &StorePath,
) -> Result<Closure> {
    let root = root.to_string();
    let told = connection.ask(CLOSURE, &[&root]).await;
    let told = match (told, how) {
        (Err(_), Some(how)) => connection.ask_root(how, CLOSURE, &[&root], b"").await?,
        (told, _) => told?,
    };
    read(&told).map_err(|e| e.on(connection.node()))
}

/// Parses paths, then as many sizes.
pub(crate) fn read(answer: &Answer) -> Result<Closure> {
    let lines: Vec<&str> = answer.text().lines().collect();
    let (paths, sizes) = lines.split_at(lines.len() / 2);
    let pairs = paths.iter().zip(sizes).map(|(path, size)| {
        let size = size
            .parse()
            .map_err(|_| Error::unexpected(format!("‘{size}’ is no size of a store path")))?;
        Ok((path.parse()?, size))
    });
    match lines.len() % 2 {
        0 => pairs.collect(),
        _ => Err(Error::unexpected(
            "not every path of a closure has its size",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(printed: &str) -> Result<Closure> {
        super::read(&crate::node::ssh::answer::tests::read(&format!(
            "{printed}end\n"
        ))?)
    }

    #[test]
    fn each_path_has_its_size_and_rubbish_is_refused() {
        let a = "/nix/store/0cq1bq31hix6xjnvpn8kfablndjcqb0n-a";
        let b = "/nix/store/1cq1bq31hix6xjnvpn8kfablndjcqb0n-b";
        let closure = read(&format!("{a}\n{b}\n1\n2\n")).unwrap();
        assert_eq!(closure.values().copied().collect::<Vec<_>>(), [1, 2]);
        assert!(read(&format!("{a}\n{b}\n1\n")).is_err());
        assert!(read(&format!("{a}\nmany\n")).is_err());
    }
}
