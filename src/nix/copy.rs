//! Copying closures to a node whose Nix daemon does not trust the operator.
//!
//! A daemon accepts unsigned paths from root only. So `nix copy` gets a private socket on this
//! machine. Each connection to it is relayed, through the node's SSH connection, to a `nix-daemon
//! --stdio` that sudo started. Nothing changes on the node, and no other program learns the
//! password.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::store::StorePath;
use super::{Settings, message};
use crate::error::{Context, Error, Kind, Result};
use crate::node::ssh::elevate::Elevation;
use crate::node::ssh::{Connection, at_most};

/// The node's command, which speaks Nix's protocol on its standard streams.
const DAEMON: [&str; 2] = ["nix-daemon", "--stdio"];
/// The message of a full disk (strerror(3)).
const FULL: &str = "No space left on device";
/// The message of a version whose protocol the other side no longer speaks: "The remote Nix daemon
/// version is too old" and "the Nix client version is too old" (lix/libstore/remote-store.cc and
/// daemon.cc, Lix 2.94).
const TOO_OLD: &str = "version is too old";
/// Size of a relayed block, in bytes.
const BLOCK: usize = 128 * 1024;

/// The first that a nix-daemon says (WORKER_MAGIC_2, 64 bits, the lowest first; nix,
/// worker-protocol.hh).
const GREETING: &[u8; 8] = b"oixd\0\0\0\0";
/// The most that it may say during a copy, in bytes: answers about 30,000 paths, and its log.
const MOST_SAID: usize = 64 << 20;

/// The most memory of `nix copy`, in bytes, and the stack and heap of each of its threads. It reserves
/// a text before it comes, as long as the daemon says it is. Nix itself takes up to 700 MiB, most of
/// it unused.
const MOST_MEMORY: u64 = 2 << 30;
const THREAD: u64 = 16 << 20;

/// How long a copy may stand still. A daemon that downloads or waits for a lock sends messages
/// meanwhile.
const STANDSTILL: Duration = Duration::from_secs(900);

/// Waits until a count has not changed for `time`.
async fn stalled(count: &AtomicU64, time: Duration) {
    let mut last = count.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(time).await;
        let now = count.load(Ordering::Relaxed);
        if now == last {
            return;
        }
        last = now;
    }
}

/// Copies the closure of `path` to the node. Calls `sent` with the number of bytes sent so far.
pub async fn copy(
    settings: &Settings,
    connection: &Connection,
    how: &Elevation,
    folder: &Path,
    path: &StorePath,
    substitute: bool,
    sent: impl Fn(u64) + Send + Sync + 'static,
) -> Result<()> {
    let node = connection.node();
    let socket = folder.join(format!("{node}.nix"));
    // A socket of an earlier attempt cannot be bound again.
    let _ = std::fs::remove_file(&socket);
    let listener =
        UnixListener::bind(&socket).context(|| format!("cannot listen at {}", socket.display()))?;
    let relay = Arc::new(Relay {
        connection: connection.clone(),
        how: how.clone(),
        sent: AtomicU64::new(0),
        moved: AtomicU64::new(0),
        report: Box::new(sent),
        said: Mutex::default(),
    });
    let accepting = tokio::spawn(accept(listener, relay.clone()));
    let mut arguments = vec!["copy", "--no-check-sigs"];
    if substitute {
        arguments.push("--substitute-on-destination");
    }
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let command = settings
        .store_command(&arguments)
        .arg("--to")
        .arg(format!("unix://{}", socket.display()))
        .arg(path.to_string())
        .memory(MOST_MEMORY + threads * THREAD);
    let standstill = at_most("copying", STANDSTILL);
    let finished = tokio::select! {
        finished = command.run(|_| {}) => finished,
        () = stalled(&relay.moved, standstill) => Err(Error::new(
            Kind::NoAnswer,
            format!("copying stands still: nothing came or went for {} seconds", standstill.as_secs()),
        )
        .on(node)
        .running(command.display())
        .help("is its nix-daemon collecting garbage, or its disk failing? what was copied stays")),
    };
    accepting.abort();
    let _ = std::fs::remove_file(&socket);
    let finished = finished?;
    if finished.success {
        return Ok(());
    }
    let remote = relay.said.lock().await.clone();
    let said = format!("{}\n{remote}", message::essence(&finished.stderr_tail));
    let kind = if said.contains(FULL) {
        Kind::NodeFull
    } else {
        Kind::NotAsWanted
    };
    let error = Error::new(kind, "copying failed")
        .on(node)
        .running(command.display())
        .saying(&said);
    Err(error.help(help(&said)))
}

/// The help for a message of Nix or of the node's daemon. The protocol has no codes, so the text
/// decides.
fn help(said: &str) -> &'static str {
    if said.contains(FULL) {
        "free space on the node: sudo nix-collect-garbage --delete-older-than 30d"
    } else if said.contains(TOO_OLD) {
        "Lix from 2.94 on and Nix before 2.18 do not speak to each other: run the tool with a Nix, or update the node's"
    } else {
        "what was copied stays; running again goes on from there"
    }
}

struct Relay {
    connection: Connection,
    how: Elevation,
    sent: AtomicU64,
    /// Bytes in both directions.
    moved: AtomicU64,
    report: Box<dyn Fn(u64) + Send + Sync>,
    said: Mutex<String>,
}

async fn accept(listener: UnixListener, relay: Arc<Relay>) {
    let mut streams = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let relay = relay.clone();
        streams.spawn(async move {
            if let Err(e) = relay.serve(stream).await {
                relay.say(&e.to_string()).await;
            }
        });
    }
}

impl Relay {
    async fn serve(&self, stream: UnixStream) -> Result<()> {
        let daemon = self.connection.spawn_root(&self.how, &DAEMON).await?;
        let (mut to_daemon, mut from_daemon, ended) = daemon.into_parts();
        let (mut from_nix, mut to_nix) = stream.into_split();
        let up = async {
            let mut block = vec![0; BLOCK];
            loop {
                match from_nix.read(&mut block).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => {
                        if to_daemon.write_all(&block[..n]).await.is_err() {
                            break;
                        }
                        self.moved.fetch_add(n as u64, Ordering::Relaxed);
                        let sent = self.sent.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
                        (self.report)(sent);
                    }
                }
            }
            drop(to_daemon);
        };
        let down = async {
            if let Err(what) = pass_on(&mut from_daemon, &mut to_nix, &self.moved).await {
                self.say(what).await;
            }
            let _ = to_nix.shutdown().await;
        };
        tokio::join!(up, down);
        self.say(&ended.last_words().await).await;
        Ok(())
    }

    async fn say(&self, text: &str) {
        let mut said = self.said.lock().await;
        if !text.is_empty() && !said.contains(text) {
            said.push_str(text);
            said.push('\n');
        }
    }
}

/// Passes on what a daemon says, up to its end. `nix` would keep all of what has no greeting.
async fn pass_on(
    daemon: &mut (impl AsyncRead + Unpin),
    nix: &mut (impl AsyncWrite + Unpin),
    moved: &AtomicU64,
) -> std::result::Result<(), &'static str> {
    let mut block = vec![0; BLOCK];
    let (mut greeting, mut left) = (0, MOST_SAID);
    // Either end may close first; `nix copy` reports what that means.
    while let Ok(n @ 1..) = daemon.read(&mut block).await {
        let said = &block[..n];
        moved.fetch_add(n as u64, Ordering::Relaxed);
        let first = &said[..n.min(GREETING.len() - greeting)];
        if first != &GREETING[greeting..greeting + first.len()] {
            return Err("it does not answer as a nix-daemon should");
        }
        greeting += first.len();
        left = left.checked_sub(n).ok_or("its nix-daemon says too much")?;
        if nix.write_all(said).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passed(
        said: impl AsyncRead + Unpin,
    ) -> (std::result::Result<(), &'static str>, usize) {
        let (mut said, mut nix) = (said, Vec::new());
        let ended = pass_on(&mut said, &mut nix, &AtomicU64::new(0)).await;
        (ended, nix.len())
    }

    #[tokio::test]
    async fn what_is_no_nix_daemon_is_not_passed_on_and_one_without_an_end_is_cut_off() {
        let whole = [GREETING.as_slice(), b"and more"].concat();
        assert_eq!(passed(&whole[..]).await, (Ok(()), whole.len()));
        // In two reads, and one that ends early.
        let parts = GREETING[..3].chain(&whole[3..]);
        assert_eq!(passed(parts).await, (Ok(()), whole.len()));
        assert_eq!(passed(&GREETING[..3]).await, (Ok(()), 3));
        let (ended, bytes) = passed(tokio::io::repeat(b'x')).await;
        assert_eq!((ended.is_err(), bytes), (true, 0));
        let (ended, bytes) = passed(GREETING.as_slice().chain(tokio::io::repeat(0))).await;
        assert!(ended.is_err() && bytes <= MOST_SAID, "{bytes}");
    }

    #[test]
    fn a_daemon_of_another_age_is_not_tried_again() {
        for said in [
            "error: The remote Nix daemon version is too old",
            "error: the Nix client version is too old",
        ] {
            assert!(help(said).contains("update the node's"), "{said}");
        }
        assert!(help("error: writing to file: No space left on device").contains("free space"));
        assert!(help("error: unexpected end-of-file").contains("running again"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_moves_does_not_stand_still() {
        let count = AtomicU64::new(0);
        let began = tokio::time::Instant::now();
        let moving = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(800)).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::join!(moving, stalled(&count, STANDSTILL));
        assert!(began.elapsed() >= Duration::from_secs(4000) + STANDSTILL);
    }
}
