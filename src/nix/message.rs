//! Nix's error messages, without the trace around them.

/// The message at the end of what Nix printed: from the last `error:` on,
/// with its position, without the advice to ask for a trace.
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn output_without_an_error_line_is_kept_whole() {
        assert_eq!(essence("  something else\n"), "something else");
    }
}
