//! Logins on nodes that carry TCP connections, and these connections.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::cluster::Name;
use crate::error::{Error, Exit, Result};
use crate::node::ssh::{Access, Child, Connection, MINUTE, Script};

/// Runs as long as the login: it keeps the login open, and its end shows the login's end.
const HOLD: [&str; 4] = ["sh", "-c", "exec cat", "nixcfg-hold"];
/// The most that it may say, in bytes: only a login shell prints anything.
const MOST_NOISE: u64 = 64 << 10;

/// Shows that the node answers.
const PRESENT: Script = Script {
    name: "nixcfg-present",
    text: &["exit 0"],
    seconds: MINUTE,
};

/// How long a doubtful node may take to answer.
const PRESENCE: Duration = Duration::from_secs(3);

/// How long a node comes after all others once its login has failed.
const REST: Duration = Duration::from_secs(30);
/// Numbers the sockets, as all logins of a run share a folder.
static SOCKETS: AtomicUsize = AtomicUsize::new(0);

/// A host and a TCP port, as seen from a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remote {
    /// A name or an address.
    pub host: String,
    pub port: u16,
}

/// The logins of a run, one per node, made when needed.
pub struct Links {
    access: Access,
    slots: BTreeMap<Name, Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    link: Option<Arc<Link>>,
    failure: Option<(Instant, Error)>,
}

impl Links {
    /// Logins on `nodes`. None is made yet.
    pub fn new(access: Access, nodes: &[Name]) -> Self {
        let slot = |node: &Name| (node.clone(), Mutex::default());
        Self {
            access,
            slots: nodes.iter().map(slot).collect(),
        }
    }

    /// Connects to `remote` from `node`. If the login has failed since `began`, that failure is the
    /// result: of several waiting callers, one tries. A login from before `began` may have ended
    /// unnoticed, and is then made anew.
    pub async fn open(&self, node: &Name, remote: &Remote, began: Instant) -> Result<Channel> {
        loop {
            let link = self.link(node, began).await?;
            match link.open(remote).await {
                Ok(channel) => return Ok(channel),
                Err(e) => {
                    link.dead.store(true, Ordering::Relaxed);
                    if link.made >= began {
                        return Err(e);
                    }
                }
            }
        }
    }

    /// Whether the login on `node` has ended, or failed a moment ago. One under way counts as good.
    pub fn has_ended(&self, node: &Name) -> bool {
        let slot = self.slots.get(node).and_then(|slot| slot.try_lock().ok());
        slot.is_some_and(|slot| match (&slot.link, &slot.failure) {
            (Some(link), _) => link.has_ended(),
            (None, Some((when, _))) => when.elapsed() < REST,
            (None, None) => false,
        })
    }

    async fn link(&self, node: &Name, began: Instant) -> Result<Arc<Link>> {
        let Some(slot) = self.slots.get(node) else {
            return Err(Error::unexpected("is not a node to go through").on(node));
        };
        let mut slot = slot.lock().await;
        if let Some(link) = &slot.link
            && !link.has_ended()
        {
            return Ok(link.clone());
        }
        slot.link = None;
        if let Some((when, error)) = &slot.failure
            && *when >= began
        {
            return Err(error.clone());
        }
        match Link::establish(&self.access, node).await {
            Ok(link) => {
                let link = Arc::new(link);
                slot.failure = None;
                slot.link = Some(link.clone());
                Ok(link)
            }
            Err(e) => {
                slot.failure = Some((Instant::now(), e.clone()));
                Err(e)
            }
        }
    }
}

/// The forwards of one login: a socket for each remote port.
pub struct Forwards {
    connection: Connection,
    folder: PathBuf,
    sockets: Mutex<BTreeMap<Remote, PathBuf>>,
}

impl Forwards {
    /// Through `connection`, with sockets in a private folder.
    pub fn new(connection: Connection, folder: PathBuf) -> Self {
        Self {
            connection,
            folder,
            sockets: Mutex::default(),
        }
    }

    /// Connects to `remote`.
    pub async fn open(&self, remote: &Remote) -> Result<Channel> {
        let mut sockets = self.sockets.lock().await;
        let socket = match sockets.get(remote) {
            Some(socket) => socket.clone(),
            None => {
                let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
                let socket = self.folder.join(format!("forward-{number}"));
                self.connection
                    .forward(&socket, &remote.host, remote.port)
                    .await?;
                sockets.insert(remote.clone(), socket.clone());
                socket
            }
        };
        drop(sockets);
        match UnixStream::connect(&socket).await {
            Ok(stream) => Ok(Channel {
                stream: Stream::Unix(stream),
                link: None,
            }),
            Err(e) => Err(Error::new(Exit::Probe, "the connection was lost")
                .on(self.connection.node())
                .saying(e.to_string())),
        }
    }
}

/// A login on a node. It ends when the last connection through it has ended.
pub struct Link {
    connection: Connection,
    /// Keeps the folder with the master's socket.
    _access: Access,
    forwards: Forwards,
    made: Instant,
    dead: Arc<AtomicBool>,
    /// When the node last answered [`Link::doubt`].
    present: Mutex<Option<Instant>>,
    watch: JoinHandle<()>,
    _hold: (Child, openssh::ChildStdin),
}

impl Link {
    async fn establish(access: &Access, node: &Name) -> Result<Self> {
        let connection = access.connect(node).await?;
        let mut child = connection.spawn(&HOLD).await?;
        let (Some(stdin), Some(stdout)) = (child.stdin().take(), child.stdout().take()) else {
            return Err(Error::unexpected("a command without streams").on(node));
        };
        let dead = Arc::new(AtomicBool::new(false));
        let (ended, held) = (dead.clone(), connection.clone());
        let watch = tokio::spawn(async move {
            let talks = ends_or_talks(stdout).await;
            ended.store(true, Ordering::Relaxed);
            if talks {
                tracing::info!(node = %held.node(), "login given up: it says too much");
                held.end();
            }
        });
        Ok(Self {
            _access: access.clone(),
            forwards: Forwards::new(connection.clone(), access.folder().to_owned()),
            connection,
            made: Instant::now(),
            dead,
            present: Mutex::default(),
            watch,
            _hold: (child, stdin),
        })
    }

    async fn open(self: &Arc<Self>, remote: &Remote) -> Result<Channel> {
        let channel = self.forwards.open(remote).await?;
        let link = Some(self.clone());
        Ok(Channel { link, ..channel })
    }

    /// Asks the node for an answer, and gives the login up without one; returns whether it is given
    /// up. An answer since `began` is enough: of several callers, one asks.
    pub async fn doubt(&self, began: Instant) -> bool {
        let mut present = self.present.lock().await;
        if !self.dead.load(Ordering::Relaxed) && *present < Some(began) {
            let asked = self.connection.run_ok(PRESENT, &[], &[]);
            if matches!(tokio::time::timeout(PRESENCE, asked).await, Ok(Ok(_))) {
                *present = Some(Instant::now());
            } else {
                tracing::info!(node = %self.connection.node(), "login given up");
                self.dead.store(true, Ordering::Relaxed);
                // Ends all connections through it: the node is gone.
                self.connection.end();
            }
        }
        self.dead.load(Ordering::Relaxed)
    }

    /// Whether it is known to have ended. A master removes its socket when it ends.
    fn has_ended(&self) -> bool {
        self.dead.load(Ordering::Relaxed) || !self.connection.control_socket().exists()
    }

    /// Whether the login is from before `moment`.
    pub fn is_older_than(&self, moment: Instant) -> bool {
        self.made < moment
    }
}

/// Waits for the end of a stream, or for more than [`MOST_NOISE`]; returns whether it was more.
async fn ends_or_talks(stream: impl AsyncRead + Unpin) -> bool {
    let mut stream = stream.take(MOST_NOISE + 1);
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    stream.limit() == 0
}

impl Drop for Link {
    fn drop(&mut self) {
        self.watch.abort();
        self.connection.end();
    }
}

/// A connection to a service, not yet secured.
pub struct Channel {
    stream: Stream,
    /// Keeps the login for the connection's life.
    link: Option<Arc<Link>>,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Channel {
    /// A connection over TCP.
    pub fn tcp(stream: TcpStream) -> Self {
        // Both sides send small messages, which must not be delayed.
        let _ = stream.set_nodelay(true);
        Self {
            stream: Stream::Tcp(stream),
            link: None,
        }
    }

    /// The login that carries it.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.link.clone()
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_login_that_talks_without_end_is_not_listened_to_for_ever() {
        assert!(ends_or_talks(tokio::io::repeat(b'x')).await);
        assert!(!ends_or_talks(tokio::io::repeat(b'x').take(MOST_NOISE)).await);
        assert!(!ends_or_talks(tokio::io::empty()).await);
    }
}
