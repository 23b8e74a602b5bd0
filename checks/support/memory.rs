//! A store in memory that can fail after some writes, as if a run were cut off between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use nixcfg::error::{Error, Result};
use nixcfg::secret::Secret;
use nixcfg::store::{EntryName, Existing, Store, Writer};

/// The store. Clones share it.
#[derive(Clone, Default)]
pub struct Memory {
    entries: Arc<Mutex<BTreeMap<EntryName, Secret>>>,
    /// How many writes still succeed.
    pub writes_left: Arc<Mutex<Option<usize>>>,
}

impl Memory {
    /// The value of an entry.
    pub fn get(&self, name: &str) -> Option<String> {
        let entries = self.entries.lock().unwrap();
        entries
            .get(&name.parse().unwrap())
            .map(|value| value.expose().to_owned())
    }

    /// Sets an entry, new or not.
    pub fn put(&self, name: &str, text: &str) {
        self.entries
            .lock()
            .unwrap()
            .insert(name.parse().unwrap(), Secret::new(text.to_owned()));
    }

    /// All entries.
    pub fn all(&self) -> BTreeMap<String, String> {
        let entries = self.entries.lock().unwrap();
        entries
            .iter()
            .map(|(name, value)| (name.to_string(), value.expose().to_owned()))
            .collect()
    }

    fn write(&self) -> Result<()> {
        match &mut *self.writes_left.lock().unwrap() {
            Some(0) => Err(Error::unexpected("cut off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Store for Memory {
    type Writer = Self;

    async fn list(&self) -> Result<BTreeSet<EntryName>> {
        Ok(self.entries.lock().unwrap().keys().cloned().collect())
    }

    async fn show(&self, names: &BTreeSet<EntryName>) -> Result<BTreeMap<EntryName, Secret>> {
        let entries = self.entries.lock().unwrap();
        Ok(names
            .iter()
            .map(|name| (name.clone(), entries[name].clone()))
            .collect())
    }

    async fn writer(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn place(&self, name: &EntryName) -> String {
        name.to_string()
    }
}

impl Writer for Memory {
    async fn insert(&mut self, name: &EntryName, value: &Secret, existing: Existing) -> Result<()> {
        self.write()?;
        let mut entries = self.entries.lock().unwrap();
        assert!(
            existing == Existing::Replace || !entries.contains_key(name),
            "{name} would be overwritten"
        );
        entries.insert(name.clone(), value.clone());
        Ok(())
    }

    async fn remove(&mut self, name: &EntryName) -> Result<()> {
        self.write()?;
        self.entries.lock().unwrap().remove(name);
        Ok(())
    }

    async fn finish(self, _: &BTreeSet<EntryName>, _: &str) -> Result<()> {
        Ok(())
    }
}
