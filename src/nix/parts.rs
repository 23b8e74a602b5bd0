//! The parts of a system that only a restart brings.

/// What of a system only a restart brings, in the order in which a probe tells it.
pub const PARTS: [&str; 4] = ["kernel", "initrd", "kernel-modules", "systemd"];

/// The parts in which two systems differ, by where their parts lie.
pub fn different_parts(one: &[String], other: &[String]) -> Vec<String> {
    let pairs = PARTS.iter().zip(one.iter().zip(other));
    pairs
        .filter(|(_, (one, other))| one != other)
        .map(|(part, _)| (*part).to_owned())
        .collect()
}
