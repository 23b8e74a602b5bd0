//! Signals that end a run.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Context, Result};

/// A signal to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// ^C, which the terminal sends to all its programs.
    Interrupt,
    /// A request to end, or the end of the terminal.
    Terminate,
}

/// Receives signals, which then no longer end the process by themselves.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context(|| "signals cannot be listened to".into());
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Interrupt,
            _ = self.terminate.recv() => Told::Terminate,
            _ = self.hangup.recv() => Told::Terminate,
        }
    }
}
