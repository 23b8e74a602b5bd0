//! Scripts: fixed programs for a node's shell, and their arguments.

use std::time::Duration;

/// A fixed program for a node's `/bin/sh`. Values come as arguments or on standard input.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Its name in process lists and errors.
    pub name: &'static str,
    /// Its text, in parts. All of them follow [`PRELUDE`].
    pub text: &'static [&'static str],
    /// How long it may take, in seconds, without the time of sudo.
    pub seconds: u64,
}

/// What every script begins with.
pub const PRELUDE: &str = include_str!("prelude.sh");
/// How long a script that reads or makes a small change may take, in seconds.
pub const MINUTE: u64 = 60;

impl Script {
    /// How long it may take.
    pub const fn within(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// All of its text.
    pub fn text(&self) -> String {
        [PRELUDE, &self.text.concat()].concat()
    }

    /// The argument vector that runs it.
    pub fn argv(&self, args: &[&str]) -> Vec<String> {
        let words = ["sh", "-c", &self.text(), self.name].map(str::to_owned);
        let args = args.iter().map(|arg| (*arg).to_owned());
        words.into_iter().chain(args).collect()
    }
}

/// Arguments that the prelude's `named` reads: scripts with more than two take them so.
pub fn named<const N: usize>(arguments: [(&str, &str); N]) -> [String; N] {
    arguments.map(|(name, value)| format!("{name}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_arguments_are_taken_in_any_order_and_none_is_missing_or_unknown() {
        let script = Script {
            name: "nixcfg-test",
            text: &[r#"named one two -- "$@"; shift "$taken"; printf '%s|' "$one" "$two" "$@""#],
            seconds: MINUTE,
        };
        let run = |args: &[&str]| {
            let argv = script.argv(args);
            let output = std::process::Command::new(&argv[0])
                .args(&argv[1..])
                .output()
                .unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stdout).unwrap(),
            )
        };
        let all = named([("two", "a=b $(c) 'd\ne"), ("one", "")]);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let taken = "|a=b $(c) 'd\ne|";
        assert_eq!(run(&all), (Some(0), taken.to_owned()));
        let more = [&all[..], &["--", "three=3", "four"]].concat();
        assert_eq!(run(&more), (Some(0), format!("{taken}three=3|four|")));
        for wrong in [
            &["one=1"][..],
            &["one=1", "three=3", "two=2"],
            &["one=1", "one=2", "two=2"],
            &["one=1", "two"],
            &["one=1", "two=2", "=3"],
        ] {
            assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
        }
    }
}
