//! How long a node may take to answer, and the error of one that takes longer.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::Connection;
use crate::error::{Error, Kind};

/// How many questions OpenSSH sends on a silent connection before it gives up (ssh_config(5),
/// `ServerAliveCountMax`).
const QUESTIONS: u32 = 3;
/// How much of OpenSSH's log is read, in bytes.
const MOST_LOG: u64 = 16 * 1024;

/// How long a login may take, and how long a connection may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(Duration);

impl Patience {
    /// The default, in seconds.
    pub const USUAL: u16 = 20;

    pub fn seconds(seconds: u16) -> Self {
        Self(Duration::from_secs(seconds.into()))
    }

    /// The time for a whole login.
    pub fn whole(self) -> Duration {
        self.0
    }

    /// The time for its first part: TCP and OpenSSH's handshake.
    pub fn connect(self) -> Duration {
        self.0 / 2
    }

    /// The pause between questions on a silent connection, in whole seconds. OpenSSH gives up when
    /// the question after the last would be due.
    pub fn alive(self) -> Duration {
        Duration::from_secs(self.0.as_secs().div_ceil((QUESTIONS + 1).into()).max(1))
    }

    /// The times as options of `ssh`.
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
    /// Turns an error of this connection into one about silence if OpenSSH gave up for that reason:
    /// such a node did not break the connection.
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

    /// Whether OpenSSH gave up the connection, by its log beside the master's socket.
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

/// Whether the log has OpenSSH's message about it (clientloop.c, `server_alive_check`, 9.2 to
/// 10.0).
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
