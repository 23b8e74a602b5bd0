//! Nomad's own settings and its jobs, by its HTTP API.

pub mod diff;
pub mod drain;
pub mod follow;
pub mod job;
pub mod scheduler;
