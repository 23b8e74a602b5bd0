//! Servers that take no connection, as another server finds. Nomad's autopilot calls a server that was
//! just lost healthy for 40 seconds.

use super::quorum::Health;
use crate::error::Result;
use crate::node::ssh::{Connection, MINUTE, Script};

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
    let deaf: Vec<&str> = answer.all("deaf").collect();
    deaf.iter().for_each(|address| health.is_deaf_at(address));
    Ok(())
}
