//! The parts of a system that only a restart brings.

/// The names of these parts, in the order of a probe's answer.
pub const PARTS: [&str; 4] = ["kernel", "initrd", "kernel-modules", "systemd"];

/// The parts in which two systems differ, from the paths of their parts.
pub fn different_parts(one: &[String], other: &[String]) -> Vec<String> {
    let pairs = PARTS.iter().zip(one.iter().zip(other));
    pairs
        .filter(|(_, (one, other))| one != other)
        .map(|(part, _)| (*part).to_owned())
        .collect()
}
