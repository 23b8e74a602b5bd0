//! The operator's SSH agent.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use super::{Kept, Lab};

/// An SSH agent with the lab's key, as a cluster's own `ssh_config` names no key.
pub struct Agent {
    process: Kept,
    folder: tempfile::TempDir,
    /// The file of the key.
    pub key: String,
}

impl Agent {
    /// Starts one.
    pub fn start(lab: &Lab) -> Self {
        let config = fs::read_to_string(lab.ssh_config()).unwrap();
        let key = config
            .lines()
            .find_map(|line| line.trim().strip_prefix("IdentityFile "))
            .unwrap()
            .to_owned();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let mut process = Kept::start(Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket));
        // The socket exists a moment before the agent listens.
        while UnixStream::connect(&socket).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "ssh-agent has ended");
            std::thread::yield_now();
        }
        let added = Command::new("ssh-add")
            .args(["-q", &key])
            .env("SSH_AUTH_SOCK", &socket)
            .status()
            .unwrap();
        assert!(added.success());
        Self {
            process,
            folder,
            key,
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
