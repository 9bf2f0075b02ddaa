//! Secrets of links, encrypted where they are stored. No broker property that is secret can be set
//! while the broker runs.
//!
//! Two layers of keys ([`cipher`]). Secrets are encrypted with a data key. Data keys are stored with
//! the cluster's metadata, encrypted with the master key: a passphrase, a key file or a systemd
//! credential ([`config`]), or else a file in the data folder ([`folder`]). So a rotation
//! ([`rotation`]) needs no new passphrase, and a new passphrase re-encrypts only the data keys.
//!
//! Invariants:
//! - A key is durable before the first secret that needs it, and is removed only when nothing that
//!   is stored needs it. A crash at any point leaves every secret readable.
//! - Who encrypts a secret holds [`Sealing`] until it is stored. So once a rotation has switched to
//!   a new data key, nothing is stored any more under an older one.
//! - A secret is bound to its place: moved elsewhere, it can't be read.
//! - A secret that can't be read is an error of its owner, never a reason not to start, and stays as
//!   it is until it is set again.

mod cipher;
mod config;
mod folder;
mod keys;
mod places;
mod rotation;
mod step;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use uuid::Uuid;

pub use config::SecretsConfig;
#[cfg(test)]
pub use folder::FOLDER_KEY;
pub use step::Step;

use crate::clock::now_ms;
use crate::metadata::{Metadata, MetadataError};
use crate::records::sealed::{KeyOf, Sealed};
use cipher::Master;
use folder::FolderKey;
use keys::Keys;

/// Why a secret can't be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file was removed, or the data folder was copied without it.
    #[error(
        "the key file {} is missing: put it back, restart and resume the link, or set this \
         config again", .0.display()
    )]
    KeyMissing(PathBuf),
    /// The file can't be read or made.
    #[error("the key file {} can't be {what}: {source}", .path.display())]
    Io {
        path: PathBuf,
        /// `read`, `made`, `replaced` or `removed`.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The file isn't one of ours, or was cut.
    #[error("the key file {} contains no key: put the right one back and restart", .0.display())]
    KeyDamaged(PathBuf),
    /// The secret was encrypted under another master key.
    #[error(
        "it was encrypted under a different key than {0}: put the right one back, or name it in \
         password.encoder.old.secret or secrets.old.key.file, and restart; or set this config again"
    )]
    OtherKey(String),
    /// It isn't what was stored for this place.
    #[error("it is damaged: set this config again")]
    Damaged,
    /// The system has no random numbers.
    #[error("the system has no random numbers available")]
    NoRandom,
    /// The metadata can't be read or changed.
    #[error(transparent)]
    Store(#[from] MetadataError),
    /// A rotation is in progress, or was broken off by a test.
    #[error("the keys of secrets are being rotated: try again when that is done")]
    Busy,
}

/// What a secret belongs to: a link's config.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// No other link ever has this id.
    pub link: Uuid,
    pub config: &'a str,
}

impl Owner<'_> {
    /// What is authenticated with the secret.
    fn bytes(&self) -> Vec<u8> {
        [b"link ", &self.link.as_bytes()[..], self.config.as_bytes()].concat()
    }

    /// The same for a secret of version 1.
    fn former_bytes(&self) -> Vec<u8> {
        [self.link.as_bytes(), self.config.as_bytes()].concat()
    }
}

/// Encrypts and decrypts.
pub struct Vault {
    metadata: Metadata,
    given: SecretsConfig,
    folder: FolderKey,
    keys: RwLock<Keys>,
    /// The master key once it was needed. One change of keys at a time.
    changes: Mutex<Option<Arc<Master>>>,
}

/// What is known of the keys, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Where the master key comes from.
    pub source: String,
    /// Whether that is the data folder.
    pub is_in_data_folder: bool,
    /// The data key in use: its generation, and when it was made, in ms. `None` before there is a
    /// secret.
    pub current: Option<(u32, i64)>,
    /// Data keys that older secrets still need.
    pub older: usize,
    /// Secrets that are stored.
    pub secrets: usize,
    /// Those that can't be read, by name.
    pub unreadable: Vec<String>,
}

/// The right to store secrets under the current data key; held until they are stored.
pub struct Sealing<'a> {
    vault: &'a Vault,
    keys: RwLockReadGuard<'a, Keys>,
}

impl Vault {
    /// Reads the data keys. Protects them by the master key that is given now, if that is another
    /// one than before, and ends a rotation that was interrupted. `data_dir` has the key file if no
    /// other key is given. Blocks on disk.
    ///
    /// # Errors
    /// The metadata can't be read. Keys that can't be read are errors of the secrets that need them.
    pub fn open(
        metadata: Metadata,
        given: SecretsConfig,
        data_dir: &Path,
    ) -> Result<Self, MetadataError> {
        let vault = Self {
            metadata,
            given,
            folder: FolderKey::new(data_dir),
            keys: RwLock::default(),
            changes: Mutex::default(),
        };
        vault.load()?;
        {
            let mut master = vault.changes.lock();
            if let Err(error) = vault
                .take_over(&mut master)
                .and_then(|()| vault.catch_up(&mut master))
            {
                tracing::error!(%error, "secrets stay stored as they are until the next start");
            }
        }
        Ok(vault)
    }

    /// Encrypts secrets. The first time it makes the keys, and waits for the disk. Don't hold it
    /// for longer than it takes to store them.
    ///
    /// # Errors
    /// `Io`, `KeyDamaged`, `NoRandom`, `Store`.
    pub fn sealing(&self) -> Result<Sealing<'_>, SecretError> {
        loop {
            let keys = self.keys.read();
            if keys.current.is_some() {
                return Ok(Sealing { vault: self, keys });
            }
            drop(keys);
            let mut master = self.changes.lock();
            if self.keys.read().current.is_none() {
                self.add_key(&mut master)?;
            }
        }
    }

    /// Decrypts a secret.
    ///
    /// # Errors
    /// All of [`SecretError`].
    pub fn open_secret(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<String, SecretError> {
        self.open_with(&self.keys.read(), owner, sealed)
    }

    fn open_with(
        &self,
        keys: &Keys,
        owner: Owner<'_>,
        sealed: &Sealed,
    ) -> Result<String, SecretError> {
        let bytes = match sealed.key {
            KeyOf::Generation(generation) => match keys.open.get(&generation) {
                Some(key) => key.open(sealed.nonce, &owner.bytes(), &sealed.ciphertext)?,
                None => return Err(self.why_closed(keys.closed.get(&generation))),
            },
            KeyOf::File(id) => match keys.former.iter().find(|former| former.id == id) {
                Some(key) => key.open(sealed.nonce, &owner.former_bytes(), &sealed.ciphertext)?,
                None => return Err(self.why_closed(Some(&keys::Closed::OtherKey))),
            },
        };
        String::from_utf8(bytes).map_err(|_| SecretError::Damaged)
    }

    /// Where the master key comes from.
    pub fn source(&self) -> String {
        match &self.given.current {
            Some(given) => given.name.clone(),
            None => format!("the file {}", self.folder.path().display()),
        }
    }

    /// Whether the master key is in the data folder, with all that it protects.
    pub fn is_in_data_folder(&self) -> bool {
        self.given.current.is_none()
    }

    /// What is known of the keys. Blocks on disk.
    ///
    /// # Errors
    /// `Store`.
    pub fn describe(&self) -> Result<Description, SecretError> {
        let places = self.places()?;
        let unreadable = places.iter().filter(|(place, sealed)| {
            let owner = place.owner(&self.metadata);
            owner.is_none_or(|owner| self.open_secret(owner, sealed).is_err())
        });
        let unreadable = unreadable.map(|(place, _)| place.to_string()).collect();
        let keys = self.keys.read();
        let current = keys.current.and_then(|generation| {
            let key = keys.open.get(&generation)?;
            Some((generation, key.created_ms))
        });
        let stored = keys.open.len() + keys.closed.len();
        Ok(Description {
            source: self.source(),
            is_in_data_folder: self.is_in_data_folder(),
            older: stored - usize::from(current.is_some()),
            current,
            secrets: places.len(),
            unreadable,
        })
    }
}

impl Sealing<'_> {
    /// As [`Vault::open_secret`], for who holds this.
    ///
    /// # Errors
    /// All of [`SecretError`].
    pub fn open(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<String, SecretError> {
        self.vault.open_with(&self.keys, owner, sealed)
    }

    /// Encrypts a secret under the current data key.
    ///
    /// # Errors
    /// `NoRandom`.
    pub fn seal(&self, owner: Owner<'_>, secret: &str) -> Result<Sealed, SecretError> {
        let generation = self.keys.current.ok_or(SecretError::NoRandom)?;
        let key = self.keys.open.get(&generation);
        let key = key.ok_or(SecretError::NoRandom)?;
        let (nonce, ciphertext) = key.seal(&owner.bytes(), secret.as_bytes())?;
        Ok(Sealed {
            key: KeyOf::Generation(generation),
            nonce,
            ciphertext,
        })
    }
}
