//! Explains OpenSSH's messages.

use std::time::Duration;

use super::master::NoMaster;
use crate::cluster::Name;
use crate::error::{Error, Kind};

/// The error of a failed login.
pub(super) fn cannot_connect(node: &Name, command: &str, error: NoMaster) -> Error {
    let said = match error {
        NoMaster::Start(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Error::new(Kind::NotOnPath, "ssh is not on PATH")
                .help("install OpenSSH's client");
        }
        NoMaster::Start(e) => {
            return Error::unexpected(format!("cannot start ssh: {e}")).on(node);
        }
        NoMaster::Said(said) => without_banners(&said),
    };
    let kind = kind_of(&said);
    let new = |what: &str| {
        Error::new(kind, what)
            .on(node)
            .running(command)
            .saying(&said)
    };
    if said.contains("account has expired") {
        return new("refuses the login: the account has expired")
            .help("on the node, as root: chage -E -1 USER; or is it meant to have?");
    }
    match kind {
        Kind::HostKeyChanged => new("presents another host key than the one known for it").help(
            "if the node was reinstalled, replace its line in known_hosts; if not, someone may be answering in its place",
        ),
        Kind::HostKeyUnknown => new("has a host key that is not known").help(format!(
            "compare the key's fingerprint on the node, then add it: ssh-keyscan {node} >> known_hosts"
        )),
        Kind::LoginRefused => new("refuses the login").help(
            "is your SSH key loaded (ssh-add -l) and among the administrator's keys on the node? is the account's home there, if its keys are in it? SSH_USER names another user",
        ),
        _ => new("cannot be reached").help(format!("try: {command} -v")),
    }
}

/// The error of a login that took too long.
pub(super) fn timed_out(node: &Name, command: &str, after: Duration) -> Error {
    Error::new(
        Kind::NoAnswer,
        format!("the login was not done within {} seconds", after.as_secs()),
    )
    .on(node)
    .running(command)
    .help("the node may be frozen or overloaded, or a firewall drops packets; --login-timeout gives it longer")
}

/// The error of a connection that broke.
pub fn lost(node: &Name, error: &openssh::Error) -> Error {
    Error::new(Kind::Lost, "the connection was lost")
        .on(node)
        .saying(chain(error))
}

/// The meaning of OpenSSH's message.
fn kind_of(said: &str) -> Kind {
    let has = |text: &str| said.contains(text);
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        Kind::HostKeyChanged
    } else if has("Host key verification failed") || has("host key is known for") {
        Kind::HostKeyUnknown
    } else if has("Permission denied")
        || has("Too many authentication failures")
        || has("account has expired")
    {
        Kind::LoginRefused
    } else {
        Kind::Unreachable
    }
}

/// An error and its causes, without repeating what a cause already said.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = next.source();
    }
    without_banners(&said)
}

/// Removes lines of banners, such as `@@@@@`.
fn without_banners(said: &str) -> String {
    said.lines()
        .filter(|line| !line.starts_with("@@@"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_told_apart() {
        let cases = [
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Kind::HostKeyChanged,
            ),
            (
                "No ED25519 host key is known for n1 and you have requested strict checking.\nHost key verification failed.",
                Kind::HostKeyUnknown,
            ),
            (
                "alice@n1: Permission denied (publickey).",
                Kind::LoginRefused,
            ),
            (
                "Your account has expired; please contact your system administrator.\nConnection closed by 10.0.0.1 port 22",
                Kind::LoginRefused,
            ),
            (
                "connect to host 10.0.0.1 port 22: No route to host",
                Kind::Unreachable,
            ),
        ];
        for (said, kind) in cases {
            assert_eq!(kind_of(said), kind, "{said}");
        }
    }
}
