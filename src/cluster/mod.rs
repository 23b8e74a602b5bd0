//! A cluster as its Nix files describe it: plain data, parsed once.

mod daemon;
pub mod name;
pub mod ownership;
mod path;
pub mod schema;
pub mod select;
pub mod services;

pub use daemon::Daemon;
pub use name::Name;
pub use path::NodePath;
pub use schema::{Address, Check, Cluster, Node, Role, Ssh};
