//! Interprets messages of sudo 1.9 and sudo-rs.

use openssh::ChildStderr;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc::UnboundedSender;

use super::begin::Mark;
use super::bounded;

/// Whether and how sudo makes the user root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sudo {
    /// The login is root's own.
    Root,
    /// sudo asks for nothing.
    Passwordless,
    /// sudo asks for a password, and none was given.
    Wanted,
    /// The given password is right.
    Right,
    /// sudo refuses.
    Refused(Refusal),
    /// There is no sudo.
    Absent,
}

impl Sudo {
    /// Whether sudo refused the password and another one may be right.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Sudo::Refused(refusal) if refusal.reason == Reason::Password)
    }
}

/// Why sudo refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The password is not that of the user whose password it asks for.
    Password,
    /// It works on a terminal only (`requiretty`).
    Terminal,
    /// It is broken: not owned by root, or not setuid.
    Broken,
    /// The user is no administrator.
    NotAllowed,
    /// The password, or the account, has expired.
    Expired,
    /// It asks for more than one password.
    More,
    /// Another reason, known by its message alone.
    Other,
}

/// A refusal of sudo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// The user whose password it asked for, if it asked.
    pub whose: Option<String>,
    /// Its message.
    pub said: String,
}

impl Refusal {
    /// Interprets sudo's prompts and message after one password or none.
    pub(super) fn new(asked: &[Prompt], said: String) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let reason = if has(&["must have a tty"]) {
            Reason::Terminal
        } else if has(&["setuid", "no new privileges", "must be owned by uid 0"]) {
            Reason::Broken
        } else if has(&[
            "is expired",
            "Account expired",
            "Password expired",
            "expired password",
        ]) {
            Reason::Expired
        } else if has(&[
            "not in the sudoers",
            "not allowed",
            "may not run sudo",
            "I'm afraid I can't do that",
        ]) {
            Reason::NotAllowed
        } else if asked.len() > 1 && !asked[1].anew {
            Reason::More
        } else if !asked.is_empty()
            && (asked.len() > 1 || has(&["incorrect password", "incorrect authentication"]))
        {
            Reason::Password
        } else {
            Reason::Other
        };
        let whose = asked.first().map(|prompt| prompt.whose.clone());
        // A prompt that was taken out leaves a blank line.
        let said = said.lines().filter(|line| !line.trim().is_empty());
        let said = said.collect::<Vec<_>>().join("\n");
        Self {
            reason,
            whose,
            said,
        }
    }

    /// Whether `sudo -n` lacked a password only.
    pub(super) fn wants_password(&self) -> bool {
        let wants = ["password is required", "authentication is required"];
        self.reason == Reason::Other && wants.iter().any(|words| self.said.contains(words))
    }

    /// The meaning for `user`, and the help.
    pub fn in_words(&self, user: &str) -> (String, String) {
        let whose = self.whose.as_deref().unwrap_or(user);
        let (what, help) = match self.reason {
            Reason::Password if whose == user => (
                format!("the sudo password of {user} is wrong"),
                "it was tried once; more tries may lock the account. SUDO_PASS_<node> gives another for one node".to_owned(),
            ),
            Reason::Password => (
                format!("sudo asks for the password of {whose}, not of {user}, and this one is wrong"),
                format!("give that of {whose} in SUDO_PASS_<node>, or take rootpw, targetpw and runaspw out of the node’s sudoers"),
            ),
            Reason::Terminal => (
                "sudo works at a terminal only".to_owned(),
                "take `Defaults requiretty` out of the node’s sudoers, or add `Defaults:%wheel !requiretty`".to_owned(),
            ),
            Reason::Broken => (
                "sudo does not work".to_owned(),
                "on NixOS it is /run/wrappers/bin/sudo that works: is another one before it in PATH?".to_owned(),
            ),
            Reason::NotAllowed => (
                format!("{user} may not use sudo"),
                "an administrator is in the group wheel".to_owned(),
            ),
            Reason::Expired => (
                format!("the password or the account of {whose} has expired for sudo"),
                "set the password anew on the node, with a terminal or as root (chage -l tells what has expired)".to_owned(),
            ),
            Reason::More => (
                "sudo asks for more than a password".to_owned(),
                "only one password can be given: exempt administrators from the second question in the node’s PAM".to_owned(),
            ),
            Reason::Other => (
                format!("sudo refuses {user}"),
                "try it on the node: sudo -k true".to_owned(),
            ),
        };
        (what, help)
    }
}

/// A prompt of sudo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The user whose password it asks for.
    pub(super) whose: String,
    /// Whether sudo-rs asks.
    pub(super) rs: bool,
    /// Whether there was other output since the previous prompt.
    pub(super) anew: bool,
}

/// The prompt for sudo: the mark, and `%p`, the user whose password it asks for.
pub(super) fn prompt(mark: &Mark) -> String {
    format!("{}:%p:", mark.as_str())
}

/// The prompts in a text, and the text without them.
pub(super) fn without_prompts(text: &str, mark: &Mark) -> (Vec<Prompt>, String) {
    let mut prompts = Vec::new();
    let mut rest = text;
    let (mut said, mut since) = (String::new(), String::new());
    let start = format!("{}:", mark.as_str());
    while let Some((before, after)) = rest.split_once(&start) {
        // The prompt is not complete yet.
        let Some((whose, after)) = after.split_once(':') else {
            break;
        };
        // sudo-rs puts the prompt in brackets, before PAM's own.
        let (before, rs) = match before.strip_suffix("[sudo: ") {
            Some(before) => (before, true),
            None => (before, false),
        };
        since.push_str(before);
        prompts.push(Prompt {
            whose: whose.to_owned(),
            rs,
            anew: !since.trim().is_empty(),
        });
        said.push_str(&std::mem::take(&mut since));
        rest = if rs {
            after.split_once('\n').map_or("", |(_, after)| after)
        } else {
            after
        };
    }
    said.push_str(rest);
    (prompts, said)
}

/// Reads standard error and returns it without prompts; reports each prompt at once.
pub(super) async fn listen(
    stderr: ChildStderr,
    mark: Mark,
    prompts: UnboundedSender<Prompt>,
) -> String {
    let mut text = Vec::new();
    let mut told = 0;
    let mut stderr = BufReader::new(stderr);
    loop {
        let chunk = match stderr.fill_buf().await {
            Ok(chunk) if !chunk.is_empty() => chunk,
            _ => break,
        };
        let room = bounded::MOST_ERRORS.saturating_sub(text.len());
        text.extend_from_slice(&chunk[..chunk.len().min(room)]);
        let n = chunk.len();
        stderr.consume(n);
        if room > 0 && !prompts.is_closed() {
            let (seen, _) = without_prompts(&String::from_utf8_lossy(&text), &mark);
            for prompt in seen.into_iter().skip(told) {
                told += 1;
                let _ = prompts.send(prompt);
            }
        }
    }
    let (_, said) = without_prompts(&String::from_utf8_lossy(&text), &mark);
    said.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> (Vec<Prompt>, String) {
        let mark = Mark::new().unwrap();
        without_prompts(&text.replace("MARK", mark.as_str()), &mark)
    }

    fn refused(text: &str) -> Refusal {
        let (asked, said) = asked(text);
        Refusal::new(&asked, said)
    }

    #[test]
    fn no_blank_line_is_left_of_a_prompt() {
        let said = refused("MARK:alice:\nSorry, try again.\nMARK:alice:\nsudo: no password\n").said;
        assert_eq!(said, "Sorry, try again.\nsudo: no password");
    }

    /// Messages seen from sudo 1.9.16 and sudo-rs 0.2.5 of Debian trixie.
    #[test]
    fn what_sudo_says_is_told_by_its_reason() {
        let cases = [
            (
                "MARK:alice:Sorry, try again.\nMARK:alice:",
                Reason::Password,
                "password of alice is wrong",
            ),
            (
                "MARK:alice:sudo: 1 incorrect password attempt\n",
                Reason::Password,
                "password of alice is wrong",
            ),
            (
                "[sudo: MARK:alice:] Password: \nsudo: Authentication failed, try again.\n[sudo: MARK:alice:] Password: ",
                Reason::Password,
                "password of alice is wrong",
            ),
            (
                "MARK:root:Sorry, try again.\nMARK:root:",
                Reason::Password,
                "the password of root, not of alice",
            ),
            (
                "sudo: sorry, you must have a tty to run sudo\n",
                Reason::Terminal,
                "at a terminal only",
            ),
            (
                "sudo-rs: sudo must be owned by uid 0 and have the setuid bit set\n",
                Reason::Broken,
                "does not work",
            ),
            (
                "MARK:alice:alice is not in the sudoers file.\n",
                Reason::NotAllowed,
                "may not use sudo",
            ),
            (
                "MARK:alice:sudo: Account or password is expired, reset your password and try again\nMARK:alice:",
                Reason::Expired,
                "has expired",
            ),
            (
                "MARK:alice:MARK:alice:",
                Reason::More,
                "more than a password",
            ),
            ("sudo: something new\n", Reason::Other, "refuses alice"),
        ];
        for (text, reason, words) in cases {
            let refusal = refused(text);
            assert_eq!(refusal.reason, reason, "{text}");
            assert!(refusal.in_words("alice").0.contains(words), "{text}");
            assert!(!refusal.said.contains("nixcfg-"), "{refusal:?}");
        }
    }

    #[test]
    fn only_a_missing_password_is_asked_for() {
        assert!(refused("sudo: a password is required\n").wants_password());
        assert!(refused("sudo-rs: interactive authentication is required\n").wants_password());
        assert!(!refused("sudo: sorry, you must have a tty to run sudo\n").wants_password());
    }

    #[test]
    fn prompts_are_taken_out_and_the_rest_stays() {
        let (prompts, said) =
            asked("sudo: unable to resolve host a\nMARK:alice:the program's own\n");
        assert_eq!(said, "sudo: unable to resolve host a\nthe program's own\n");
        assert_eq!((prompts.len(), prompts[0].whose.as_str()), (1, "alice"));
        let (prompts, said) = asked("[sudo: MARK:alice:] Password: \nthe program's own\n");
        assert_eq!(said, "the program's own\n");
        assert!(prompts[0].rs);
        // Half a prompt is no prompt yet.
        assert!(asked("MARK:ali").0.is_empty());
    }
}
