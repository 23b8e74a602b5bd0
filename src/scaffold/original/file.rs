//! The settings of one file: those that are taken, and the rest as a file of ours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Left, Original, Setting};
use crate::nix::syntax;

/// Options of NixOS that nixcfg sets from `cluster.*`, so that another value would contradict it.
const OURS: [&str; 6] = [
    "services.consul",
    "services.nomad",
    "services.wgautomesh",
    "networking.wireguard",
    "networking.hostName",
    "boot.initrd.network",
];
/// The settings of one file.
#[derive(Default)]
pub struct File<'a> {
    /// Those of the original's own options, by their names without the prefix, dotted.
    pub own: BTreeMap<String, &'a Setting>,
    /// Those of NixOS.
    nixos: Vec<&'a Setting>,
}

impl<'a> File<'a> {
    pub fn new(prefix: &[String], settings: &'a [Setting]) -> Self {
        let mut file = Self::default();
        for setting in settings {
            match setting.path.strip_prefix(prefix) {
                Some(rest) => {
                    file.own.insert(rest.join("."), setting);
                }
                None => file.nixos.push(setting),
            }
        }
        file
    }

    /// The value of an own option, if it is plain data.
    pub fn peek(&self, name: &str) -> Option<&'a Value> {
        self.own.get(name)?.value.as_ref().ok()
    }

    /// Takes the value of an own option, if it is plain data. Others stay, to be listed.
    pub fn take(&mut self, name: &str) -> Option<&'a Value> {
        let value = self.peek(name)?;
        self.own.remove(name);
        Some(value)
    }

    pub fn text(&mut self, name: &str) -> Option<&'a str> {
        self.peek(name)?.as_str()?;
        self.take(name)?.as_str()
    }

    /// The names below an own option: `n` of `clusterNodes.n.address`.
    pub fn below(&self, option: &str) -> BTreeSet<String> {
        let names = self.own.values().filter_map(|setting| {
            let at = setting.path.iter().position(|name| name == option)?;
            setting.path.get(at + 1).cloned()
        });
        names.collect()
    }
}

/// The settings of NixOS of one file, as one of ours takes them.
pub struct Taken<'a> {
    values: BTreeMap<&'a [String], (Option<i64>, Value)>,
}

impl<'a> Taken<'a> {
    /// Takes those that are plain data and not nixcfg's own; lists the others.
    pub fn of(file: &File<'a>, original: &Original, left: &mut Vec<Left>) -> Self {
        let mut values: BTreeMap<&[String], (Option<i64>, Value)> = BTreeMap::new();
        for setting in &file.nixos {
            let why = match &setting.value {
                _ if setting.path == ["imports"] => "what it imports is not read",
                _ if OURS.iter().any(|own| is_below(&setting.path, own)) => {
                    "nixcfg sets it from `cluster.*`"
                }
                Err(why) => why,
                Ok(value) => match values.get_mut(setting.path.as_slice()) {
                    // NixOS joins the definitions of a list.
                    Some((_, Value::Array(earlier))) if value.is_array() => {
                        earlier.extend(value.as_array().into_iter().flatten().cloned());
                        continue;
                    }
                    Some(_) => "is set twice in this file",
                    None => {
                        values.insert(&setting.path, (setting.priority, value.clone()));
                        continue;
                    }
                },
            };
            left.push(original.left(setting, why));
        }
        Self { values }
    }

    /// The text of a file with these settings after `first` and the setting `ours`.
    pub fn text(&self, first: Option<String>, ours: (String, &Value)) -> String {
        let (name, value) = syntax::dotted(ours.0, ours.1);
        let mut parts: Vec<String> = first.into_iter().collect();
        parts.push(format!("{name} = {};", syntax::value(value, 2)));
        let rest = self.values.iter().map(|(path, (priority, value))| {
            let name: Vec<String> = path.iter().map(|name| syntax::attribute(name)).collect();
            let value = match priority {
                None => syntax::value(value, 2),
                Some(priority) => {
                    format!("lib.mkOverride {priority} {}", syntax::element(value, 2))
                }
            };
            format!("{} = {value};", name.join("."))
        });
        let rest: Vec<String> = rest.collect();
        if !rest.is_empty() {
            parts.push(rest.join("\n  "));
        }
        let prioritised = self.values.values().any(|(priority, _)| priority.is_some());
        let head = if prioritised { "{ lib, ... }:\n" } else { "" };
        format!("{head}{{\n  {}\n}}\n", parts.join("\n\n  "))
    }
}

/// Whether a path is the dotted option or below it.
fn is_below(path: &[String], option: &str) -> bool {
    let option: Vec<&str> = option.split('.').collect();
    path.len() >= option.len() && option.iter().zip(path).all(|(a, b)| a == b)
}
