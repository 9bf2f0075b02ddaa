//! Rotation: a new data key, every secret encrypted with it, the older data keys removed. What a
//! crash interrupts, the next start ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cipher::Master;
use super::keys::is_of;
use super::step::Step;
use super::{SecretError, Vault};
use crate::metadata::Transaction;
use crate::records::data_key::DataKeyKeyspace;
use crate::records::link_secret::LinkSecretKeyspace;
use crate::records::sealed::KeyOf;

/// What a rotation has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The data key in use now.
    pub generation: u32,
    /// Secrets that are encrypted with it.
    pub renewed: usize,
    /// Secrets that can't be read, by name. They, and the keys that they need, stay as they are.
    pub unreadable: Vec<String>,
    /// Whether the master key is new, too.
    pub is_master_new: bool,
}

impl Vault {
    /// Replaces the data key while the broker runs; also the master key if it is in the data folder.
    /// Blocks on disk.
    ///
    /// # Errors
    /// `Busy`, or what failed. Every secret is readable in any case; another rotation, or the next
    /// start, ends this one.
    pub fn rotate(&self) -> Result<Rotation, SecretError> {
        let mut master = self.changes.try_lock().ok_or(SecretError::Busy)?;
        // An earlier one may have been interrupted after it had stored its next key file.
        let stored = self.metadata.scan::<DataKeyKeyspace>()?;
        self.folder
            .settle(|id| stored.iter().any(|(_, record)| record.master_id == id))?;
        if master.is_none() {
            self.take_over(&mut master)?;
        }
        self.catch_up(&mut master)?;
        self.replace_key(&mut master)?;
        let (renewed, unreadable) = self.catch_up(&mut master)?;
        let generation = self.keys.read().current.unwrap_or_default();
        tracing::info!(
            generation,
            renewed,
            ?unreadable,
            "the keys of secrets were rotated"
        );
        Ok(Rotation {
            generation,
            renewed,
            unreadable,
            is_master_new: self.given.current.is_none(),
        })
    }

    /// Encrypts every secret under the current data key that is not, and removes the keys that
    /// nothing needs any more. How many secrets are under the current one, and the names of those
    /// that can't be read.
    pub(super) fn catch_up(
        &self,
        master: &mut Option<Arc<Master>>,
    ) -> Result<(usize, Vec<String>), SecretError> {
        let places = self.places()?;
        let current = self.keys.read().current;
        let is_current = |key: KeyOf| current.is_some_and(|it| key == KeyOf::Generation(it));
        let has_older = places.iter().any(|(place, sealed)| {
            let owner = place
                .owner(&self.metadata)
                .filter(|_| !is_current(sealed.key));
            owner.is_some_and(|owner| self.open_secret(owner, sealed).is_ok())
        });
        if has_older && current.is_none() {
            self.add_key(master)?;
        }
        let (mut renewed, mut unreadable) = (0, Vec::new());
        for (place, sealed) in &places {
            if is_current(sealed.key) {
                renewed += 1;
                continue;
            }
            match has_older && self.renew(place)? {
                true => renewed += 1,
                false => unreadable.push(place.to_string()),
            }
            Step::SecretStored.reached()?;
        }
        let is_changed = self.remove_unneeded()? || has_older;
        if is_changed {
            self.metadata.purge::<DataKeyKeyspace>()?;
            self.metadata.purge::<LinkSecretKeyspace>()?;
            Step::Purged.reached()?;
        }
        Ok((renewed, unreadable))
    }

    /// Removes data keys that no secret needs, and the file in the data folder if a key elsewhere
    /// has replaced it. Whether a data key was removed.
    fn remove_unneeded(&self) -> Result<bool, SecretError> {
        // Nobody stores a secret under an older key any more: see `Sealing`.
        let needed: Vec<KeyOf> = self.places()?.into_iter().map(|(_, it)| it.key).collect();
        let generations: BTreeSet<u32> = needed
            .iter()
            .filter_map(|key| match key {
                KeyOf::Generation(generation) => Some(*generation),
                KeyOf::File(_) => None,
            })
            .collect();
        let unneeded: Vec<u32> = {
            let keys = self.keys.read();
            let stored = keys.open.keys().chain(keys.closed.keys()).copied();
            stored
                .filter(|it| !generations.contains(it) && keys.current != Some(*it))
                .collect()
        };
        if !unneeded.is_empty() {
            let mut change = Transaction::new();
            for generation in &unneeded {
                change.delete::<DataKeyKeyspace>(generation);
            }
            self.metadata.commit(change)?;
            let mut keys = self.keys.write();
            keys.open.retain(|it, _| !unneeded.contains(it));
            keys.closed.retain(|it, _| !unneeded.contains(it));
            drop(keys);
            Step::OldKeysRemoved.reached()?;
        }
        self.remove_folder_key(&needed)?;
        Ok(!unneeded.is_empty())
    }

    fn remove_folder_key(&self, needed: &[KeyOf]) -> Result<(), SecretError> {
        if self.given.current.is_none() {
            return Ok(());
        }
        let Ok(material) = self.folder.read() else {
            return Ok(());
        };
        let former = material.former();
        let is_former = |key: &KeyOf| match key {
            KeyOf::File(id) => former.as_ref().is_some_and(|it| it.id == *id),
            KeyOf::Generation(_) => false,
        };
        let stored = self.metadata.scan::<DataKeyKeyspace>()?;
        let protects = stored.iter().any(|(_, it)| is_of(&material, it.master_id));
        let is_given = |given: &super::config::Given| given.material == material;
        let is_present = self.given.current.as_ref().is_some_and(is_given);
        if protects || is_present || needed.iter().any(is_former) {
            return Ok(());
        }
        let (path, source) = (self.folder.path(), self.source());
        self.folder.remove()?;
        tracing::info!(path = %path.display(), source, "nothing needs this key file any more: removed");
        Ok(())
    }
}
