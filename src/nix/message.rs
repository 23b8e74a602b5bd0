//! Prepares Nix's messages for people: errors without their trace, logs without JSON.

use serde_json::Value;

/// The error in Nix's output: from the last `error:` on, with its position, without the advice to
/// ask for a trace.
///
/// Newer versions of Nix print the whole trace first and the error itself last.
pub fn essence(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    let is_error = |line: &str| {
        let line = line.trim_start();
        line.starts_with("error:") && line.len() > "error:".len()
    };
    let Some(start) = lines.iter().rposition(|line| is_error(line)) else {
        return stderr.trim().to_owned();
    };
    let indent = lines[start].len() - lines[start].trim_start().len();
    let mut kept: Vec<&str> = lines[start..]
        .iter()
        .map(|line| {
            line.get(indent.min(line.len() - line.trim_start().len())..)
                .unwrap_or(line)
        })
        .filter(|line| !line.contains("--show-trace"))
        .collect();
    while kept.last().is_some_and(|line| line.trim().is_empty()) {
        kept.pop();
    }
    kept.join("\n")
}

/// What to do if Nix could not download what a flake needs; none if its output tells of no download.
pub fn help_with_download(stderr: &str) -> Option<&'static str> {
    let said = ["resolve host", "unable to download"];
    let needed = said.iter().any(|words| stderr.contains(words));
    needed.then_some("an input has to be downloaded: check the network, or name a local copy with --override-input")
}

/// The lines of a build's log. Builders inside Nix, above all downloads, log events as JSON; of
/// these it returns the messages.
pub fn log_lines(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| match line.strip_prefix("@nix ") {
            None => Some(line.to_owned()),
            Some(event) => serde_json::from_str::<Value>(event)
                .ok()
                .filter(|event| event["action"] == "msg")
                .and_then(|event| event["msg"].as_str().map(str::to_owned)),
        })
        .flat_map(|text| {
            let plain = console::strip_ansi_codes(&text);
            plain.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_download_is_told_in_words() {
        let log = concat!(
            "@nix {\"action\":\"start\",\"id\":1,\"level\":4,\"text\":\"downloading 'https://x.example/a'\",\"type\":101}\n",
            "@nix {\"action\":\"result\",\"fields\":[0,0,0,0],\"id\":1,\"type\":105}\n",
            "@nix {\"action\":\"msg\",\"level\":1,\"msg\":\"\\u001b[35;1mwarning:\\u001b[0m no host; retrying in 271 ms\"}\n",
            "@nix {\"action\":\"stop\",\"id\":1}\n",
            "\u{1b}[31;1merror:\u{1b}[0m unable to download 'https://x.example/a'\n",
        );
        assert_eq!(
            log_lines(log),
            [
                "warning: no host; retrying in 271 ms",
                "error: unable to download 'https://x.example/a'"
            ]
        );
    }

    #[test]
    fn the_log_of_a_program_is_kept_as_it_is() {
        assert_eq!(log_lines("one\n\n  @nix two\n"), ["one", "  @nix two"]);
    }

    #[test]
    fn the_trace_of_a_new_nix_is_left_out() {
        let stderr = "warning: Git tree is dirty\nerror:\n       … while calling the 'head' builtin\n         at /nix/store/x/lib/attrsets.nix:1:2:\n\n       error: The option `cluster.nodees' does not exist. Definition values:\n       - In `/x/cluster.nix': 1\n";
        assert_eq!(
            essence(stderr),
            "error: The option `cluster.nodees' does not exist. Definition values:\n- In `/x/cluster.nix': 1"
        );
    }

    #[test]
    fn a_syntax_error_keeps_its_position() {
        let stderr = "error: syntax error, unexpected '}'\n\n       at /x/cluster.nix:3:1:\n\n            2|\n            3| }\n             | ^\n(use '--show-trace' to show detailed location information)\n";
        let message = essence(stderr);
        assert!(message.starts_with("error: syntax error"));
        assert!(message.contains("at /x/cluster.nix:3:1:"));
        assert!(!message.contains("show-trace"));
    }

    /// Printed by Nix 2.8 without a network, from `nix eval`.
    #[test]
    fn a_download_that_fails_is_told_with_what_to_do() {
        let stderr = "error: unable to download 'https://x.example/tarball/a': Couldn't resolve host name (6)\n";
        assert!(help_with_download(stderr).unwrap().contains("network"));
        assert_eq!(help_with_download("error: undefined variable 'a'\n"), None);
    }

    #[test]
    fn output_without_an_error_line_is_kept_whole() {
        assert_eq!(essence("  something else\n"), "something else");
    }
}
