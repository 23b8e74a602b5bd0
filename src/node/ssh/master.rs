//! A login's master: the `ssh` in the background that carries it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use super::bounded::MOST_ERRORS;

/// How long a master may take to answer.
const ANSWER: Duration = Duration::from_millis(500);
/// The prefix of masters' folders. KEEPER has it too.
const PREFIX: &str = "login-";

/// The first packet: its length, `MUX_MSG_HELLO`, the version (OpenSSH, PROTOCOL.mux, sections 1
/// and 3).
const HELLO: [u32; 3] = [8, 0x0000_0001, 4];
/// The packet that ends a master: its length, `MUX_C_TERMINATE`, a number for the answer (the same, section 9).
const TERMINATE: [u32; 3] = [8, 0x1000_0005, 0];

/// Waits until the run's end closes the pipe. Then ends remaining masters, and removes the folder,
/// so that none can begin. Argument: the run's folder.
const KEEPER: &str = r#"trap '' HUP INT QUIT TERM
read -r _
[ -d "$1" ] || exit 0
for socket in "$1"/login-*/master; do
  if [ -S "$socket" ]; then ssh -F none -S "$socket" -O exit nixcfg & fi
done
sleep 1
rm -rf "$1""#;

/// Why there is no master.
pub enum NoMaster {
    /// ssh did not start.
    Start(io::Error),
    /// ssh failed with this message.
    Said(String),
}

/// Starts a master. `arguments` are those of `ssh`, host included.
///
/// It makes no forwards of `ssh_config`: two runs at once would compete for their ports.
pub(super) async fn start(
    folder: &Path,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<openssh::Session, NoMaster> {
    let dir = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(folder)
        .map_err(NoMaster::Start)?;
    let (log, banner) = (dir.path().join("log"), dir.path().join("banner"));
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.arg("-E")
        .arg(&log)
        .arg("-S")
        .arg(dir.path().join("master"))
        .args(["-M", "-f", "-N", "-o", "ClearAllForwardings=yes"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // A pipe would stay open while the master runs.
        .stderr(std::fs::File::create(&banner).map_err(NoMaster::Start)?)
        .kill_on_drop(true);
    let status = ssh.status().await.map_err(NoMaster::Start)?;
    if status.success() {
        return Ok(openssh::Session::new_native_mux(dir));
    }
    Err(NoMaster::Said(
        [read(&banner), read(&log)].concat().trim().to_owned(),
    ))
}

fn read(file: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(file) {
        let _ = file.take(MOST_ERRORS as u64).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).replace('\r', "")
}

/// Starts the process that ends a dying run's masters. Dropping the result triggers it.
pub(super) fn keep(folder: &Path) -> io::Result<Option<ChildStdin>> {
    let mut child = std::process::Command::new("sh")
        .args(["-c", KEEPER, "nixcfg-keeper"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // ^C at the terminal must not reach it.
        .process_group(0)
        .spawn()?;
    Ok(child.stdin.take())
}

/// Ends a master at once. Otherwise a connection with a silent far end would keep it alive.
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
    // It confirms and ends.
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_run_that_dies_goes() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir_all(run.join("login-1")).unwrap();
        let kept = keep(&run).unwrap();
        assert!(kept.is_some() && run.exists());
        drop(kept);
        while run.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
