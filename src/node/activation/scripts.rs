//! The scripts of a watched change.

use crate::node::lease::RECORD;
use crate::node::ssh::{MINUTE, PRELUDE, Script};

/// How long a switch may take, in seconds. Then the node ends it.
pub const LONGEST_SWITCH: u64 = 900;

/// The functions of a node's way back.
pub const WAY_BACK: &str = include_str!("way-back.sh");

/// Prepares the way back, then switches.
pub const ACTIVATE: Script = Script {
    name: "nixcfg-activate",
    text: &[
        // The program of the transient unit, and the one that goes back, which stays on the node
        // until the confirmation.
        "switch_text() {\ncat <<'NIXCFG_TEXT'\n",
        PRELUDE,
        WAY_BACK,
        include_str!("switch.sh"),
        "NIXCFG_TEXT\n}\nreturn_text() {\ncat <<'NIXCFG_TEXT'\n",
        PRELUDE,
        WAY_BACK,
        include_str!("return.sh"),
        "NIXCFG_TEXT\n}\n",
        WAY_BACK,
        RECORD,
        include_str!("arm.sh"),
        include_str!("activate.sh"),
    ],
    seconds: LONGEST_SWITCH + MINUTE,
};
/// Prints how a switch ended.
pub const OUTCOME: Script = Script {
    name: "nixcfg-outcome",
    text: &[WAY_BACK, include_str!("outcome.sh")],
    seconds: LONGEST_SWITCH + 5 * MINUTE,
};
/// Confirms a switch, and removes the way back.
pub const CONFIRM: Script = Script {
    name: "nixcfg-confirm",
    text: &[WAY_BACK, include_str!("confirm.sh")],
    seconds: MINUTE,
};
/// Makes the node go back now.
pub const GO_BACK: Script = Script {
    name: "nixcfg-go-back",
    text: &[WAY_BACK, include_str!("go-back.sh")],
    seconds: MINUTE,
};

/// Extends the time for the confirmation by that of a restart; prints whether Nomad runs.
pub const EXTEND: Script = Script {
    name: "nixcfg-extend",
    text: &[WAY_BACK, include_str!("extend.sh")],
    seconds: MINUTE,
};
/// Restarts the node.
pub const RESTART: Script = Script {
    name: "nixcfg-restart",
    text: &[WAY_BACK, include_str!("restart.sh")],
    seconds: MINUTE,
};
/// Notes on the node that Nomad drained it, or that it is eligible again.
pub const DRAINED: Script = Script {
    name: "nixcfg-drained",
    text: &[include_str!("drained.sh")],
    seconds: MINUTE,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_shell_that_parses() {
        for text in [
            ACTIVATE.text(),
            [WAY_BACK, include_str!("switch.sh")].concat(),
            [WAY_BACK, include_str!("return.sh")].concat(),
            OUTCOME.text(),
            CONFIRM.text(),
            GO_BACK.text(),
            EXTEND.text(),
            RESTART.text(),
            DRAINED.text(),
        ] {
            let status = std::process::Command::new("sh")
                .args(["-n", "-c", &text])
                .status()
                .unwrap();
            assert!(status.success(), "{text}");
        }
    }
}
