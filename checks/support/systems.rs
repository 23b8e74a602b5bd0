//! Systems that tests deploy, and switches that wait.

use std::process::{Child, Stdio};

use super::{Lab, Tool};

/// A part of an activation that waits for /run/go-on; see [`held_in_switch`].
pub const HOLD: &str = "touch /run/switching; while ! [ -e /run/go-on ]; do sleep 0.1; done";

/// An activation script that waits in a switch only.
pub fn hold() -> String {
    format!(
        r#"system.activationScripts.hold.text = "if [ \"$NIXOS_ACTION\" = switch ]; then {HOLD}; fi";"#
    )
}

/// Starts a run that waits in the switch of `node`, whose system has [`HOLD`].
pub fn held_in_switch(lab: &Lab, node: &str, run: Tool) -> Child {
    lab.root(node, "rm -f /run/switching /run/go-on");
    let mut command = run.into_command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    lab.until(node, "test -e /run/switching");
    child
}

/// A system with a text that identifies it, and more settings.
pub fn system(text: &str, more: &str) -> String {
    format!(r#"{{ lib, pkgs, ... }}: {{ environment.etc."nixcfg-test".text = "{text}"; {more} }}"#)
}
