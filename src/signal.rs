//! The operator's wish to end a run.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Context, Result};

/// What a run was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// ^C, which a terminal tells every program in it.
    Interrupt,
    /// A request to end, or the end of the terminal.
    Terminate,
}

/// Signals from now on; they no longer end the process by themselves.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context(|| "signals cannot be listened to".into());
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Interrupt,
            _ = self.terminate.recv() => Told::Terminate,
            _ = self.hangup.recv() => Told::Terminate,
        }
    }
}
