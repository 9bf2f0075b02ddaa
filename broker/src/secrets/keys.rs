//! The data keys: how they are read, protected and added.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cipher::{DataKey, Former, Master, Material, RawKey};
use super::config::Given;
use super::step::Step;
use super::{Sealing, SecretError, Vault, now_ms};
use crate::metadata::{MetadataError, Transaction};
use crate::records::data_key::{DataKeyKeyspace, DataKeyRecord, Derivation};
use crate::records::sealed::KEY_ID_BYTES;

/// Data keys by generation.
#[derive(Default)]
pub(super) struct Keys {
    /// The one that secrets are encrypted with from now on.
    pub(super) current: Option<u32>,
    pub(super) open: BTreeMap<u32, DataKey>,
    pub(super) closed: BTreeMap<u32, Closed>,
    /// Keys of secrets of version 1.
    pub(super) former: Vec<Former>,
}

/// Why a data key can't be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    OtherKey,
    Damaged,
}

impl Keys {
    fn newest(&self) -> u32 {
        let newest = self.open.keys().chain(self.closed.keys()).max();
        newest.copied().unwrap_or_default()
    }
}

impl Sealing<'_> {
    pub(super) fn generation(&self) -> u32 {
        self.keys.current.unwrap_or_default()
    }
}

impl Vault {
    /// Why a data key is closed, in words for the operator.
    pub(super) fn why_closed(&self, closed: Option<&Closed>) -> SecretError {
        match closed {
            Some(Closed::OtherKey) if self.given.current.is_none() => match self.folder.read() {
                Ok(_) => {
                    SecretError::OtherKey(format!("the one in {}", self.folder.path().display()))
                }
                Err(error) => error,
            },
            Some(Closed::OtherKey) => SecretError::OtherKey(self.source()),
            Some(Closed::Damaged) | None => SecretError::Damaged,
        }
    }

    /// All that may have protected data keys, the present one first.
    fn candidates(&self) -> Vec<Material> {
        let given = self.given.current.iter().chain(&self.given.older);
        let given = given.map(|Given { material, .. }| material.clone());
        let mut all: Vec<Material> = given.collect();
        match self.folder.read() {
            Ok(material) if self.given.current.is_none() => all.insert(0, material),
            Ok(material) => all.push(material),
            Err(SecretError::KeyMissing(_)) => {}
            Err(error) => tracing::error!(%error, "the key of secrets can't be read"),
        }
        all
    }

    /// Reads and decrypts the data keys.
    pub(super) fn load(&self) -> Result<(), MetadataError> {
        let stored = self.metadata.scan::<DataKeyKeyspace>()?;
        let is_in_use = |id| stored.iter().any(|(_, record)| record.master_id == id);
        if let Err(error) = self.folder.settle(is_in_use) {
            tracing::error!(%error, "the key of secrets can't be settled");
        }
        let candidates = self.candidates();
        let mut masters = Masters::new(&candidates);
        let mut keys = Keys {
            former: candidates.iter().filter_map(Material::former).collect(),
            ..Keys::default()
        };
        for (generation, record) in &stored {
            match masters.open(*generation, record) {
                Ok(key) => drop(keys.open.insert(*generation, key)),
                Err(closed) => drop(keys.closed.insert(*generation, closed)),
            }
        }
        keys.current = keys.open.keys().max().copied();
        if !keys.closed.is_empty() {
            tracing::error!(
                source = self.source(),
                "the key of some secrets is not the one that protects them: name the former one in \
                 password.encoder.old.secret or secrets.old.key.file and restart, or set them again"
            );
        }
        *self.keys.write() = keys;
        Ok(())
    }

    /// Protects all data keys by the present master key.
    pub(super) fn take_over(&self, slot: &mut Option<Arc<Master>>) -> Result<(), SecretError> {
        let stored = self.metadata.scan::<DataKeyKeyspace>()?;
        let keys = self.keys.read();
        let open: Vec<_> = stored
            .iter()
            .filter(|(generation, _)| keys.open.contains_key(generation))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let present = self.present()?;
        let of_present = open.iter().find_map(|(_, record)| {
            let master = present.master(record.derivation)?;
            (master.id == record.master_id).then_some(master)
        });
        let master = match of_present {
            Some(master) => Arc::new(master),
            None => Arc::new(fresh(&present)?),
        };
        if open.iter().any(|(_, record)| record.master_id != master.id) {
            let mut change = Transaction::new();
            self.wrap_all(&keys, &master, &mut change)?;
            self.metadata.commit(change)?;
            self.metadata.purge::<DataKeyKeyspace>()?;
            tracing::info!(
                source = self.source(),
                "a new master key protects secrets now"
            );
        }
        *slot = Some(master);
        Ok(())
    }

    fn wrap_all(
        &self,
        keys: &Keys,
        master: &Master,
        change: &mut Transaction,
    ) -> Result<(), SecretError> {
        for (generation, key) in &keys.open {
            change.put::<DataKeyKeyspace>(generation, &master.wrap(*generation, key)?);
        }
        Ok(())
    }

    /// What the master key is made from now on. Makes the file in the data folder if it is to be
    /// there and is not.
    fn present(&self) -> Result<Material, SecretError> {
        match &self.given.current {
            Some(given) => Ok(given.material.clone()),
            None => match self.folder.read() {
                Err(SecretError::KeyMissing(_)) => self.folder.make(),
                read => read,
            },
        }
    }

    /// Adds a data key, which secrets are encrypted with from now on.
    pub(super) fn add_key(&self, slot: &mut Option<Arc<Master>>) -> Result<(), SecretError> {
        let master = match slot {
            Some(master) => Arc::clone(master),
            None => Arc::new(fresh(&self.present()?)?),
        };
        let mut change = Transaction::new();
        let (generation, key) = self.new_key(&master, &mut change)?;
        self.metadata.commit(change)?;
        *slot = Some(master);
        self.use_key(generation, key);
        Ok(())
    }

    fn new_key(
        &self,
        master: &Master,
        change: &mut Transaction,
    ) -> Result<(u32, DataKey), SecretError> {
        let generation = self.keys.read().newest() + 1;
        let key = DataKey::of(RawKey::random()?, now_ms())?;
        change.put::<DataKeyKeyspace>(&generation, &master.wrap(generation, &key)?);
        Ok((generation, key))
    }

    fn use_key(&self, generation: u32, key: DataKey) {
        let mut keys = self.keys.write();
        keys.open.insert(generation, key);
        keys.current = Some(generation);
    }

    /// Replaces the data key, and the file in the data folder if the master key is there.
    pub(super) fn replace_key(&self, slot: &mut Option<Arc<Master>>) -> Result<(), SecretError> {
        if self.given.current.is_some() || slot.is_none() {
            self.add_key(slot)?;
            return Step::KeysStored.reached();
        }
        let next = Arc::new(fresh(&self.folder.make_next()?)?);
        Step::NextKeyFile.reached()?;
        let mut change = Transaction::new();
        let (generation, key) = self.new_key(&next, &mut change)?;
        self.wrap_all(&self.keys.read(), &next, &mut change)?;
        self.metadata.commit(change)?;
        Step::KeysStored.reached()?;
        self.folder.put_in_place()?;
        Step::KeyFileInPlace.reached()?;
        *slot = Some(next);
        self.use_key(generation, key);
        Ok(())
    }
}

fn fresh(material: &Material) -> Result<Master, SecretError> {
    let master = material.master(material.derivation()?);
    master.ok_or(SecretError::Damaged)
}

/// Master keys that were made so far: a passphrase's takes time.
struct Masters<'a> {
    candidates: &'a [Material],
    made: Vec<(usize, Derivation, Option<Master>)>,
}

impl<'a> Masters<'a> {
    fn new(candidates: &'a [Material]) -> Self {
        Self {
            candidates,
            made: Vec::new(),
        }
    }

    fn open(&mut self, generation: u32, record: &DataKeyRecord) -> Result<DataKey, Closed> {
        let mut closed = Closed::OtherKey;
        for at in 0..self.candidates.len() {
            let Some(master) = self.master(at, record.derivation) else {
                continue;
            };
            if master.id == record.master_id {
                match master.unwrap(generation, record) {
                    Ok(key) => return Ok(key),
                    Err(_) => closed = Closed::Damaged,
                }
            }
        }
        Err(closed)
    }

    fn master(&mut self, at: usize, derivation: Derivation) -> Option<&Master> {
        let known = |(other, with, _): &(usize, Derivation, Option<Master>)| {
            *other == at && *with == derivation
        };
        let index = match self.made.iter().position(known) {
            Some(index) => index,
            None => {
                let master = self.candidates[at].master(derivation);
                self.made.push((at, derivation, master));
                self.made.len() - 1
            }
        };
        self.made[index].2.as_ref()
    }
}

/// Whether this is the id of the master key of that file.
pub(super) fn is_of(material: &Material, id: [u8; KEY_ID_BYTES]) -> bool {
    let master = material.master(Derivation::File);
    master.is_some_and(|master| master.id == id)
}
