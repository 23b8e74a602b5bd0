//! Servers that take no connection, as another server finds. Nomad's autopilot calls a server that was
//! just lost healthy for 40 seconds.

use super::quorum::Health;
use crate::error::{Error, Kind, Result};
use crate::node::ssh::answer::Answer;
use crate::node::ssh::{Connection, MINUTE, Script, tail};

/// Defines `is_deaf`.
pub const FUNCTION: &str = include_str!("deaf.sh");

const EARS: Script = Script {
    name: "nixcfg-ears",
    text: &[FUNCTION, include_str!("ears.sh")],
    seconds: MINUTE,
};

/// Notes in `health`, which was asked of the node of `connection`, the servers that take no connection
/// from there.
pub async fn note(connection: &Connection, health: &mut Health) -> Result<()> {
    let addresses = health.servers.iter().map(|server| server.address.as_str());
    let addresses: Vec<&str> = addresses.filter(|address| !address.is_empty()).collect();
    if addresses.is_empty() {
        return Ok(());
    }
    let answer = connection.ask(EARS, &addresses).await?;
    let deaf = deaf(&answer, &addresses).map_err(|e| e.on(connection.node()))?;
    deaf.iter().for_each(|address| health.is_deaf_at(address));
    Ok(())
}

/// Those of `addresses` at which no server takes a connection. Each must be told of: an end alone does
/// not say that all do.
fn deaf(answer: &Answer, addresses: &[&str]) -> Result<Vec<String>> {
    let mut deaf = Vec::new();
    for address in addresses {
        let tells = |word: &str| answer.all(word).any(|told| told == *address);
        match (tells("deaf"), tells("hears")) {
            (true, false) => deaf.push((*address).to_owned()),
            (false, true) => {}
            _ => {
                let what = format!("does not say whether a server takes connections at {address}");
                return Err(Error::new(Kind::BadAnswer, what).saying(tail(answer.text())));
            }
        }
    }
    Ok(deaf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::ssh::answer::tests::read;

    #[test]
    fn an_end_alone_does_not_say_that_every_server_takes_connections() {
        let addresses = ["10.0.0.1:8300", "[2001:db8::1]:8300"];
        let told = |printed: &str| deaf(&read(printed).unwrap(), &addresses).map_err(|e| e.kind);
        let both = "hears 10.0.0.1:8300\ndeaf [2001:db8::1]:8300\nend\n";
        assert_eq!(told(both).unwrap(), ["[2001:db8::1]:8300"]);
        for printed in ["end\n", "hears 10.0.0.1:8300\nend\n", "deaf\nhears\nend\n"] {
            assert_eq!(told(printed).unwrap_err(), Kind::BadAnswer, "{printed}");
        }
    }
}
