//! A node as it is: what a first look over one connection tells.

pub mod probe;

pub use probe::{Facts, Sudo};
