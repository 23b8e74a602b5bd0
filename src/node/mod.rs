//! One node: the connection to it, its probe, and the changes on it.

pub mod activation;
pub mod each;
pub mod generations;
pub mod install;
pub mod lease;
pub mod probe;
pub mod ssh;

pub use probe::Facts;
pub use ssh::sudo::Sudo;
