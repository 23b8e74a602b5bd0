//! Secrets in memory, and the operator's sudo password.
//!
//! Children inherit `SUDO_PASS` and `SUDO_PASS_<node>`, and `/proc` shows them. So
//! [`shed_environment`] executes the program again without these variables, and passes their values
//! through a pipe.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::error::{Context, Error, Exit, Result};
use crate::event::printable;

/// The variables with the operator's sudo password, the preferred one first.
pub const PASSWORD_VARIABLES: [&str; 2] = ["SUDO_PASS", "ROOT_PASS"];

/// The prefix of variables with the password of one node.
const OF_NODE: &str = "SUDO_PASS_";

/// The variable that names the pipe's descriptor after [`shed_environment`], and the process that
/// it is for.
const DESCRIPTOR_VARIABLE: &str = "NIXCFG_SUDO_PASS_FD";

/// The capacity of a pipe, in bytes (Linux, pipe(7)).
const PIPE: usize = 64 * 1024;

/// Keeps this process's memory, with its secrets, out of core dumps and away from other processes
/// of the user. Children are dumpable again.
///
/// Memory may still be swapped: see `doc/security.md`.
pub fn forbid_dumps() {
    // This fails only on systems without this feature.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// A secret text: wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for the place that has to write it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The operator's sudo passwords: one for all nodes, and those of single nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passwords {
    all: Option<Arc<Secret>>,
    nodes: BTreeMap<String, Arc<Secret>>,
}

impl Passwords {
    /// The password for a node: its own one, or else the one for all.
    pub fn of(&self, node: &str) -> Option<Arc<Secret>> {
        self.nodes
            .get(&variable(node))
            .or(self.all.as_ref())
            .cloned()
    }

    /// Whether a node has a password of its own.
    pub fn has_own(&self, node: &str) -> bool {
        self.nodes.contains_key(&variable(node))
    }

    /// Whether there is one for all nodes.
    pub fn has_all(&self) -> bool {
        self.all.is_some()
    }

    /// Sets the one for all nodes.
    pub fn set_all(&mut self, password: Arc<Secret>) {
        self.all = Some(password);
    }

    /// Sets the one of a single node.
    pub fn set_own(&mut self, node: &str, password: Arc<Secret>) {
        self.nodes.insert(variable(node), password);
    }

    /// The variables that belong to none of `nodes`.
    pub fn strangers<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> Vec<String> {
        let known: Vec<String> = nodes.map(variable).collect();
        let given = self.nodes.keys();
        given
            .filter(|name| !known.contains(name))
            .cloned()
            .collect()
    }

    /// Parses lines of the form `NAME=VALUE`.
    fn read(text: &str) -> Result<Self> {
        let mut passwords = Self::default();
        let lines = || text.lines().filter_map(|line| line.split_once('='));
        for (name, value) in lines().filter(|(name, _)| name.starts_with(OF_NODE)) {
            let password = Secret::new(value.to_owned());
            check(name, &password)?;
            passwords.nodes.insert(name.to_owned(), Arc::new(password));
        }
        for variable in PASSWORD_VARIABLES {
            if let Some((name, value)) = lines().find(|(name, _)| *name == variable) {
                let password = Secret::new(value.to_owned());
                check(name, &password)?;
                passwords.all = Some(Arc::new(password));
                break;
            }
        }
        Ok(passwords)
    }
}

/// The variable with the password of a node. Variables of a shell have no `-`.
pub fn variable(node: &str) -> String {
    format!("{OF_NODE}{}", node.replace('-', "_"))
}

/// Moves the passwords out of the environment, so that `/proc/<pid>/environ` shows them neither for
/// this process nor for a child.
///
/// Returns the passwords. Must be called first, while the process has one thread.
pub fn shed_environment() -> Result<Passwords> {
    if let Some(number) = std::env::var(DESCRIPTOR_VARIABLE)
        .ok()
        .and_then(|value| own_descriptor(&value))
    {
        return read_descriptor(number);
    }
    let mut given = Zeroizing::new(String::with_capacity(PIPE));
    let mut names = Vec::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        if !PASSWORD_VARIABLES.contains(&name) && !name.starts_with(OF_NODE) {
            continue;
        }
        check(name, &Secret::new(value.to_owned()))?;
        if given.len() + name.len() + value.len() + 2 > PIPE {
            return Err(Error::usage("the sudo password is too long"));
        }
        given.push_str(name);
        given.push('=');
        given.push_str(value);
        given.push('\n');
        names.push(name.to_owned());
    }
    if names.is_empty() {
        return Ok(Passwords::default());
    }
    let (reader, mut writer) = std::io::pipe().context(|| "cannot make a pipe".into())?;
    writer
        .write_all(given.as_bytes())
        .context(|| "cannot write to a pipe".into())?;
    drop(writer);
    rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty())
        .context(|| "cannot keep a pipe open".into())?;
    let program =
        std::env::current_exe().context(|| "cannot find the program's own file".into())?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(
        DESCRIPTOR_VARIABLE,
        format!("{} {}", reader.as_raw_fd(), std::process::id()),
    );
    for name in names {
        command.env_remove(name);
    }
    Err(Error::unexpected(format!(
        "cannot start again without the password in the environment: {}",
        command.exec()
    )))
}

/// The descriptor, if the variable is meant for this process. A child that is a nixcfg inherits the
/// variable and an empty pipe; it has another process number.
fn own_descriptor(value: &str) -> Option<u32> {
    let (descriptor, process) = value.split_once(' ')?;
    (process.parse() == Ok(std::process::id()))
        .then(|| descriptor.parse().ok())
        .flatten()
}

fn read_descriptor(number: u32) -> Result<Passwords> {
    let mut text = Zeroizing::new(String::with_capacity(PIPE));
    File::open(format!("/dev/fd/{number}"))
        .and_then(|mut file| file.read_to_string(&mut text))
        .context(|| "cannot take over the sudo password".into())?;
    Passwords::read(&text)
}

/// Refuses a password of several lines: sudo would pass the rest to the program that it starts.
fn check(variable: &str, password: &Secret) -> Result<()> {
    if password.expose().is_empty() {
        return Err(Error::usage("the sudo password is empty").help(format!(
            "set {variable} to it, or unset {variable} to be asked"
        )));
    }
    if password.expose().contains(['\n', '\r', '\0']) {
        return Err(Error::usage("the sudo password holds a line break"));
    }
    Ok(())
}

/// Whether the operator can be asked: the process is in the foreground of a terminal.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && File::open("/dev/tty").is_ok_and(|tty| is_foreground(&tty))
}

/// Asks for the sudo password on the terminal, without echo.
///
/// Blocks. The terminal's modes are restored even if the caller is interrupted (see
/// [`TerminalGuard`]).
pub fn ask(prompt: &str) -> Result<Secret> {
    if !std::io::stdin().is_terminal() && File::open("/dev/tty").is_err() {
        return Err(Error::usage(
            "the nodes ask for a sudo password, and there is no terminal to ask for it",
        )
        .help("set SUDO_PASS, for example: read -rs SUDO_PASS; export SUDO_PASS"));
    }
    let password = Secret::new(read_unechoed(prompt)?);
    check("SUDO_PASS", &password)?;
    Ok(password)
}

/// Reads a line from the terminal without echo. Blocks.
///
/// The echo is off before the prompt appears; otherwise the first letters of a fast typist would be
/// shown.
pub fn read_unechoed(prompt: &str) -> Result<String> {
    if File::open("/dev/tty").is_ok_and(|tty| !is_foreground(&tty)) {
        return Err(Error::usage(
            "this runs in the background of its terminal, where it cannot ask for a password",
        )
        .help("bring it to the foreground (fg), or set SUDO_PASS"));
    }
    let _modes = TerminalGuard::unechoed();
    let _quiet = Quiet::begin();
    rpassword::prompt_password(printable(prompt).as_ref()).map_err(|e| match e.kind() {
        std::io::ErrorKind::Interrupted => {
            Error::new(Exit::Interrupted, "stopped; nothing was changed")
        }
        _ => Error::unexpected(format!("cannot read what is typed: {e}")),
    })
}

/// Whether this process is in the terminal's foreground. In the background, changing the modes
/// would stop it by SIGTTOU (POSIX, 11.1.4).
fn is_foreground(tty: &File) -> bool {
    rustix::termios::tcgetpgrp(tty).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Keeps the echo off while a secret is typed. When the program is stopped, the shell sets its own
/// modes, and leaves them so when the program continues.
struct Quiet(Option<tokio::task::JoinHandle<()>>);

impl Quiet {
    fn begin() -> Self {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Self(None);
        };
        // Listens before the prompt appears, so that no early stop is missed.
        let _entered = runtime.enter();
        let kind = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
        Self(signal(kind).ok().map(|mut continued| {
            runtime.spawn(async move {
                while continued.recv().await.is_some() {
                    // Some shells return the terminal only after they have sent the signal.
                    for _ in 0..20 {
                        if hide() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            })
        }))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Sets the modes in which [`rpassword`] reads: each key at once, without echo. False while another
/// process has the terminal.
fn hide() -> bool {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex};
    let Ok(tty) = File::open("/dev/tty") else {
        return true;
    };
    if !is_foreground(&tty) {
        return false;
    }
    if let Ok(mut modes) = rustix::termios::tcgetattr(&tty) {
        let shown = LocalModes::ECHO | LocalModes::ECHONL;
        modes
            .local_modes
            .remove(shown | LocalModes::ICANON | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _ = rustix::termios::tcsetattr(&tty, OptionalActions::Now, &modes);
    }
    true
}

/// Restores the terminal's modes when dropped: an interrupted prompt would otherwise leave the
/// shell without echo.
pub struct TerminalGuard(Option<(File, rustix::termios::Termios)>);

impl TerminalGuard {
    /// Saves the modes of the controlling terminal, if there is one.
    pub fn new() -> Self {
        Self(File::open("/dev/tty").ok().and_then(|tty| {
            let modes = rustix::termios::tcgetattr(&tty).ok()?;
            Some((tty, modes))
        }))
    }

    /// The same, and turns the echo off until it is dropped.
    fn unechoed() -> Self {
        let guard = Self::new();
        if let Some((tty, modes)) = &guard.0
            && is_foreground(tty)
        {
            let mut quiet = modes.clone();
            quiet.local_modes.remove(rustix::termios::LocalModes::ECHO);
            let _ = rustix::termios::tcsetattr(tty, rustix::termios::OptionalActions::Now, &quiet);
        }
        guard
    }
}

impl Default for TerminalGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        if let Some((tty, modes)) = &self.0
            && is_foreground(tty)
        {
            // A failure means that the terminal is gone.
            let _ = rustix::termios::tcsetattr(tty, rustix::termios::OptionalActions::Now, modes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(…)");
    }

    #[test]
    fn a_descriptor_is_the_process_own_and_no_childs() {
        let own = std::process::id();
        assert_eq!(own_descriptor(&format!("7 {own}")), Some(7));
        assert_eq!(own_descriptor(&format!("7 {}", own + 1)), None);
        assert_eq!(own_descriptor("7"), None);
    }

    #[test]
    fn a_password_of_two_lines_is_refused() {
        let check = |text: &str| check("SUDO_PASS", &Secret::new(text.into()));
        assert!(check("a\nb").is_err());
        assert!(check("").is_err());
        assert!(check("wonder land").is_ok());
    }

    #[test]
    fn a_node_has_its_own_password_or_that_for_all() {
        let text = "ROOT_PASS=r\nSUDO_PASS=s=t\nSUDO_PASS_a_b=own\n";
        let mut passwords = Passwords::read(text).unwrap();
        let of =
            |passwords: &Passwords, node: &str| passwords.of(node).unwrap().expose().to_owned();
        assert_eq!(of(&passwords, "a-b"), "own");
        assert_eq!(of(&passwords, "c"), "s=t");
        assert!(passwords.has_own("a-b") && !passwords.has_own("c"));
        passwords.set_own("c", Arc::new(Secret::new("other".into())));
        assert_eq!(of(&passwords, "c"), "other");
        assert_eq!(passwords.strangers(["a-b"].into_iter()), ["SUDO_PASS_c"]);
        let only = Passwords::read("ROOT_PASS=r\n").unwrap();
        assert_eq!(of(&only, "a"), "r");
        assert_eq!(Passwords::read("").unwrap().of("a"), None);
        assert!(Passwords::read("SUDO_PASS_a=\n").is_err());
    }
}
