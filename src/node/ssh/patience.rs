//! How long a node may take to answer, and what is said of one that took longer.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::Connection;
use crate::error::{Error, Kind};

/// How often OpenSSH asks a silent connection before it gives it up (ssh_config(5), `ServerAliveCountMax`).
const QUESTIONS: u32 = 3;
/// What is read of OpenSSH's log, in bytes.
const MOST_LOG: u64 = 16 * 1024;

/// How long a login may take. A connection that is silent for as long is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(Duration);

impl Patience {
    /// Where nothing else is said, in seconds.
    pub const USUAL: u16 = 20;

    /// That many seconds.
    pub fn seconds(seconds: u16) -> Self {
        Self(Duration::from_secs(seconds.into()))
    }

    /// All of a login, as far as OpenSSH has the node's word that it is one.
    pub fn whole(self) -> Duration {
        self.0
    }

    /// Its first part: TCP, and OpenSSH's own handshake.
    pub fn connect(self) -> Duration {
        self.0 / 2
    }

    /// How often a silent connection is asked whether it lives. OpenSSH gives it up when the
    /// next question would be due. It knows whole seconds alone.
    pub fn alive(self) -> Duration {
        Duration::from_secs(self.0.as_secs().div_ceil((QUESTIONS + 1).into()).max(1))
    }

    /// The same as options of `ssh`.
    pub fn options(self) -> Vec<OsString> {
        [
            format!("-oConnectTimeout={}", self.connect().as_secs()),
            format!("-oServerAliveInterval={}", self.alive().as_secs()),
        ]
        .map(OsString::from)
        .to_vec()
    }

    /// How long a connection may be silent.
    pub fn silence(self) -> Duration {
        self.alive() * (QUESTIONS + 1)
    }
}

impl Connection {
    /// An error of this connection, which says so where OpenSSH gave it up for its silence: a
    /// node that does not answer in time is not one whose connection broke.
    pub fn explained(&self, error: Error) -> Error {
        if error.kind != Kind::Lost || !self.gave_up() {
            return error;
        }
        let seconds = self.patience.silence().as_secs();
        Error::new(
            Kind::Lost,
            format!("said nothing for {seconds} seconds, and the connection was given up"),
        )
        .exit(error.exit)
        .on(self.node())
        .help("the node may be frozen or overloaded; --login-timeout gives it longer")
    }

    /// Whether OpenSSH gave the connection up: its log lies beside the master's socket.
    fn gave_up(&self) -> bool {
        let log = self.control_socket().with_file_name("log");
        read(&log).is_some_and(|said| says_so(&said))
    }
}

fn read(log: &Path) -> Option<String> {
    let mut said = Vec::new();
    let file = File::open(log).ok()?;
    file.take(MOST_LOG).read_to_end(&mut said).ok()?;
    Some(String::from_utf8_lossy(&said).into_owned())
}

/// OpenSSH's words (clientloop.c, `server_alive_check`, 9.2 to 10.0).
fn says_so(log: &str) -> bool {
    log.lines()
        .any(|line| line.starts_with("Timeout, server ") && line.contains(" not responding."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_be_silent_for_as_long_as_a_login_may_take() {
        for (seconds, alive, silence) in [(20, 5, 20), (60, 15, 60), (5, 2, 8), (600, 150, 600)] {
            let patience = Patience::seconds(seconds);
            assert_eq!(patience.alive(), Duration::from_secs(alive), "{seconds}");
            assert_eq!(
                patience.silence(),
                Duration::from_secs(silence),
                "{seconds}"
            );
        }
    }

    #[test]
    fn what_openssh_says_of_a_silent_node_is_understood() {
        assert!(says_so("Timeout, server 10.77.1.2 not responding.\r\n"));
        assert!(!says_so("Connection to 10.77.1.2 closed by remote host.\n"));
    }
}
