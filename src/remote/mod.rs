//! Commands of the operator's own on nodes: `exec` on many, `ssh` on one.

pub mod exec;
pub mod shell;
