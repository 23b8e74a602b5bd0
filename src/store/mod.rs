//! The secrets' store on the operator's side.
//!
//! A store is one folder of entries, that of a cluster. [`pass::Pass`] is the operator's own
//! `pass`; another kind of store implements these two traits.

pub mod health;
pub(crate) mod history;
pub mod keys;
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
    /// Keeps it: the insertion fails.
    Keep,
    /// Replaces it.
    Replace,
}

/// A folder of secrets. Reading needs no lock.
pub trait Store: Send + Sync {
    /// The right to write, which one process at a time has.
    type Writer: Writer;

    /// The names of all entries; empty while the folder does not exist.
    fn list(&self) -> impl Future<Output = Result<BTreeSet<EntryName>>> + Send;

    /// The values of entries, all of which must exist.
    fn show(
        &self,
        names: &BTreeSet<EntryName>,
    ) -> impl Future<Output = Result<BTreeMap<EntryName, Secret>>> + Send;

    /// Takes the right to write. Fails at once if another process has it.
    fn writer(&self) -> impl Future<Output = Result<Self::Writer>> + Send;

    /// An entry's full name in the store, for messages.
    fn place(&self, name: &EntryName) -> String;
}

/// The right to write to a store. Dropping it returns the right.
pub trait Writer: Send {
    /// Writes an entry whole and durably before it returns. An interruption leaves the entry as it
    /// was.
    fn insert(
        &mut self,
        name: &EntryName,
        value: &Secret,
        existing: Existing,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes an entry, if it exists.
    fn remove(&mut self, name: &EntryName) -> impl Future<Output = Result<()>> + Send;

    /// Ends the run. A store with a history gets one new record with all changes of `names` that it
    /// lacks, even those of an interrupted run.
    fn finish(
        self,
        names: &BTreeSet<EntryName>,
        message: &str,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The store of a cluster's secrets. This alone decides which kind of store it is.
pub fn open(cluster: &Cluster) -> Result<pass::Pass> {
    pass::Pass::open(folder(cluster)?)
}

/// The folder of a cluster's secrets in the store: `<prefix>/cluster/<cluster>`.
pub fn folder(cluster: &Cluster) -> Result<EntryName> {
    format!("{}/cluster/{}", cluster.secrets_prefix, cluster.name).parse()
}
