//! The end of a login's master, the `ssh` in the background that carries it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a master may take to answer.
const ANSWER: Duration = Duration::from_millis(500);

/// A first packet: its length, `MUX_MSG_HELLO`, the version (OpenSSH, PROTOCOL.mux, sections 1 and 3).
const HELLO: [u32; 3] = [8, 0x0000_0001, 4];
/// The packet that ends a master: its length, `MUX_C_TERMINATE`, a number for the answer (the same, section 9).
const TERMINATE: [u32; 3] = [8, 0x1000_0005, 0];

/// Has a master end at once, whatever it still carries: a connection whose
/// far end is silent would keep it otherwise.
pub(super) fn terminate(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.read_exact(&mut [0; 12])?;
    let packets: Vec<u8> = [HELLO, TERMINATE]
        .iter()
        .flatten()
        .flat_map(|word| word.to_be_bytes())
        .collect();
    stream.write_all(&packets)?;
    // It says yes, and is gone.
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(())
}
