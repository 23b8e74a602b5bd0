//! The switch inhibitors of a NixOS system: values that must not change live.

use std::collections::BTreeMap;
use std::path::Path;

/// The file of a system that holds them, from NixOS 26.05 on.
pub const FILE: &str = "switch-inhibitors";

/// A system's inhibitors: strings by name; none if the system has no such file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inhibitors(Option<BTreeMap<String, String>>);

impl Inhibitors {
    /// Parses the file: a JSON object of strings.
    pub fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).ok())
    }

    /// Those of a system in the local store.
    pub fn of(toplevel: &Path) -> Self {
        let text = std::fs::read_to_string(toplevel.join(FILE));
        text.map_or_else(|_| Self::default(), |text| Self::read(&text))
    }

    /// The inhibitors that forbid a live switch from these to `new`. For names that both have,
    /// NixOS compares the strings (nixos/modules/system/activation/switchable-system.nix). If only
    /// one system has the file, the two are of different releases. NixOS then allows the switch,
    /// but the message bus differs between these releases and must not be replaced live.
    pub fn against(&self, new: &Self) -> Vec<String> {
        match (&self.0, &new.0) {
            (Some(old), Some(new)) => {
                let changed = |(name, value): (&String, &String)| {
                    let new = new.get(name)?;
                    (new != value).then(|| name.clone())
                };
                old.iter().filter_map(changed).collect()
            }
            (None, None) => Vec::new(),
            _ => vec![FILE.to_owned()],
        }
    }
}

/// The inhibitors in words.
pub fn in_words(inhibited: &[String]) -> String {
    let one = |name: &String| {
        match name.as_str() {
        FILE => "switch inhibitors (only one of the two systems has any: they are of different releases of NixOS, whose message bus may differ)".to_owned(),
        name => name.to_owned(),
    }
    };
    inhibited.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn against(old: &str, new: &str) -> Vec<String> {
        Inhibitors::read(old).against(&Inhibitors::read(new))
    }

    #[test]
    fn strings_of_names_that_both_systems_have_are_compared() {
        let old = r#"{"bus": "dbus", "gone": "1", "same": "a \"b\""}"#;
        assert_eq!(
            against(
                old,
                "{\n  \"bus\": \"broker\",\n  \"new\": \"1\",\n  \"same\": \"a \\\"b\\\"\"\n}\n"
            ),
            ["bus"]
        );
        assert!(against(old, old).is_empty());
    }

    #[test]
    fn a_file_that_one_system_alone_has_keeps_it_out() {
        assert_eq!(against("", "{}"), [FILE]);
        assert_eq!(against(r#"{"bus": "dbus"}"#, ""), [FILE]);
        assert!(against("", "").is_empty());
    }

    #[test]
    fn they_are_read_from_a_system() {
        let toplevel = tempfile::tempdir().unwrap();
        assert_eq!(Inhibitors::of(toplevel.path()), Inhibitors::default());
        std::fs::write(toplevel.path().join(FILE), r#"{"bus": "dbus"}"#).unwrap();
        let of = Inhibitors::of(toplevel.path());
        assert_eq!(of, Inhibitors::read(r#"{"bus":"dbus"}"#));
    }
}
