//! Gives one parser, which the variable `PARSER` names, what libFuzzer makes up.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nixcfg::fuzz::TARGETS;

static PARSER: OnceLock<fn(&[u8])> = OnceLock::new();

fn chosen() -> fn(&[u8]) {
    let name = std::env::var("PARSER").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    found.unwrap_or_else(|| panic!("PARSER is one of {}", names.join(" "))).1
}

fuzz_target!(|data: &[u8]| PARSER.get_or_init(chosen)(data));
