//! The secrets' store on the operator's side.
//!
//! A store is seen here as one folder of entries, those of a cluster. The
//! operator's own `pass` is the store there is ([`pass::Pass`]); another one
//! takes these two traits.

pub(crate) mod history;
pub mod name;
pub mod pass;
pub(crate) mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

pub use name::EntryName;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::secret::Secret;

/// Whether an entry that exists may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is kept, and the insertion fails.
    Keep,
    /// It is replaced.
    Replace,
}

/// A folder of secrets that can be read by anyone who may, at any time.
pub trait Store: Send + Sync {
    /// The right to write, held by one process at a time.
    type Writer: Writer;

    /// The names of all entries of the folder; none where there is no folder yet.
    fn list(&self) -> impl Future<Output = Result<BTreeSet<EntryName>>> + Send;

    /// The values of entries, all of which must exist.
    fn show(
        &self,
        names: &BTreeSet<EntryName>,
    ) -> impl Future<Output = Result<BTreeMap<EntryName, Secret>>> + Send;

    /// Takes the right to write; an error at once where another process has it.
    fn writer(&self) -> impl Future<Output = Result<Self::Writer>> + Send;

    /// Where an entry is, as the operator would name it.
    fn place(&self, name: &EntryName) -> String;
}

/// The right to write to a store; given back when dropped.
pub trait Writer: Send {
    /// Writes an entry whole, durably, before it returns. An interruption
    /// leaves what was there before.
    fn insert(
        &mut self,
        name: &EntryName,
        value: &Secret,
        existing: Existing,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes an entry, if it exists.
    fn remove(&mut self, name: &EntryName) -> impl Future<Output = Result<()>> + Send;

    /// Ends the run. Where the store has a history, everything about `names`
    /// that is not yet in it becomes one entry of it, what an interrupted run
    /// left included.
    fn finish(
        self,
        names: &BTreeSet<EntryName>,
        message: &str,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The store of a cluster's secrets: the one place that says which kind of store it is.
pub fn open(cluster: &Cluster) -> Result<pass::Pass> {
    pass::Pass::open(folder(cluster)?)
}

/// The folder of a cluster's secrets in the store: `<prefix>/cluster/<cluster>`.
pub fn folder(cluster: &Cluster) -> Result<EntryName> {
    format!("{}/cluster/{}", cluster.secrets_prefix, cluster.name).parse()
}
