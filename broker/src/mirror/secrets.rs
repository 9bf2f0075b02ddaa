//! Secrets of links, encrypted where they are stored.
//!
//! The key is in a separate file in the data folder, created when the first secret is stored, for
//! its owner only. RocksDB's files alone (a backup, a disk image without that file) reveal no
//! secrets; together with the key they reveal all.
//!
//! Invariants: the key file is complete and durable before the first secret that needs it is
//! stored, and is never overwritten. A secret is bound to its link and config: moved elsewhere, it
//! can't be read. An unreadable secret is an error of its link, never a reason not to start, and
//! stays as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use carrick_storage::disk::fsync_dir;
use parking_lot::Mutex;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::records::link_secret::{KEY_ID_BYTES, NONCE_BYTES, Sealed};

/// The key's file in the data folder.
pub const KEY_FILE: &str = "link.secrets.key";

/// How the file begins, before the key in hexadecimal and a line feed.
const HEADER: &str = "carrick-link-secrets-1 ";
const KEY_BYTES: usize = 32;

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
        /// `read` or `made`.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The file isn't one of ours, or was cut.
    #[error("the key file {} contains no key: put the right one back and restart", .0.display())]
    KeyDamaged(PathBuf),
    /// The secret was encrypted with another key.
    #[error(
        "it was encrypted with a different key than the one in {}: put the right one back, \
         restart and resume the link, or set this config again", .0.display()
    )]
    OtherKey(PathBuf),
    /// It isn't what was stored for this link and config.
    #[error("it is damaged: set this config again")]
    Damaged,
    /// The system has no random numbers.
    #[error("the system has no random numbers available")]
    NoRandom,
}

/// A key in memory.
struct Key {
    id: [u8; KEY_ID_BYTES],
    cipher: LessSafeKey,
}

/// Encrypts and decrypts.
pub struct Vault {
    path: PathBuf,
    random: SystemRandom,
    /// Once it was needed.
    key: Mutex<Option<Key>>,
}

/// What a secret belongs to.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// The link's id, which no other link ever has.
    pub link: Uuid,
    /// The config's name.
    pub config: &'a str,
}

impl Owner<'_> {
    fn bytes(&self) -> Vec<u8> {
        [self.link.as_bytes(), self.config.as_bytes()].concat()
    }
}

impl Vault {
    /// With the key in the folder `data_dir`, which is read when it is needed.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(KEY_FILE),
            random: SystemRandom::new(),
            key: Mutex::new(None),
        }
    }

    /// Encrypts a secret; creates the key if there is none. Waits for the disk.
    ///
    /// # Errors
    /// `Io`, `KeyDamaged`, `NoRandom`.
    pub fn seal(&self, owner: Owner<'_>, secret: &str) -> Result<Sealed, SecretError> {
        let mut slot = self.key.lock();
        if slot.is_none() {
            match self.read_key() {
                Ok(key) => *slot = Some(key),
                Err(SecretError::KeyMissing(_)) => {
                    self.make_key()?;
                    *slot = Some(self.read_key()?);
                }
                Err(error) => return Err(error),
            }
        }
        let key = slot.as_ref().ok_or(SecretError::NoRandom)?;
        let mut nonce = [0; NONCE_BYTES];
        self.fill(&mut nonce)?;
        let mut ciphertext = secret.as_bytes().to_vec();
        key.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(owner.bytes()),
                &mut ciphertext,
            )
            .map_err(|_| SecretError::Damaged)?;
        Ok(Sealed {
            key_id: key.id,
            nonce,
            ciphertext,
        })
    }

    /// Decrypts a secret. Waits for the disk.
    ///
    /// # Errors
    /// All of [`SecretError`].
    pub fn open(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<String, SecretError> {
        let mut slot = self.key.lock();
        if slot.is_none() {
            *slot = Some(self.read_key()?);
        }
        let key = slot
            .as_ref()
            .filter(|key| key.id == sealed.key_id)
            .ok_or_else(|| SecretError::OtherKey(self.path.clone()))?;
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let mut text = sealed.ciphertext.clone();
        let opened = key
            .cipher
            .open_in_place(nonce, Aad::from(owner.bytes()), &mut text)
            .map_err(|_| SecretError::Damaged)?;
        String::from_utf8(opened.to_vec()).map_err(|_| SecretError::Damaged)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), SecretError> {
        self.random.fill(bytes).map_err(|_| SecretError::NoRandom)
    }

    fn io(&self, what: &'static str) -> impl Fn(io::Error) -> SecretError {
        let path = self.path.clone();
        move |source| SecretError::Io {
            path: path.clone(),
            what,
            source,
        }
    }

    fn read_key(&self) -> Result<Key, SecretError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SecretError::KeyMissing(self.path.clone()));
            }
            Err(error) => return Err(self.io("read")(error)),
        };
        let mode = fs::metadata(&self.path)
            .map_err(self.io("read"))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let path = self.path.display();
            tracing::warn!(%path, "other users may read the key of links' secrets: run chmod 600 \
                 on it");
        }
        let damaged = || SecretError::KeyDamaged(self.path.clone());
        let hex = text.trim_end().strip_prefix(HEADER).ok_or_else(damaged)?;
        let bytes = from_hex(hex).ok_or_else(damaged)?;
        let cipher = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| damaged())?;
        let mut id = [0; KEY_ID_BYTES];
        let hash = digest(&SHA256, &[HEADER.as_bytes(), &bytes].concat());
        id.copy_from_slice(&hash.as_ref()[..KEY_ID_BYTES]);
        Ok(Key {
            id,
            cipher: LessSafeKey::new(cipher),
        })
    }

    /// Makes the file: whole under another name first, then linked to its own, which must be free.
    fn make_key(&self) -> Result<(), SecretError> {
        let mut bytes = [0; KEY_BYTES];
        self.fill(&mut bytes)?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let temporary = self.path.with_extension("key.tmp");
        self.write_new(&temporary, &format!("{HEADER}{hex}\n"))
            .map_err(self.io("made"))?;
        tracing::info!(path = %self.path.display(), "created a key for the secrets of links");
        Ok(())
    }

    fn write_new(&self, temporary: &Path, text: &str) -> io::Result<()> {
        // What a crash has left was never used.
        match fs::remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(temporary, &self.path)?;
        fs::remove_file(temporary)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fsync_dir(folder).map_err(|error| io::Error::other(error.to_string()))
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 2 * KEY_BYTES || !hex.is_ascii() {
        return None;
    }
    (0..KEY_BYTES)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(config: &str) -> Owner<'_> {
        Owner {
            link: Uuid::from_bytes([3; 16]),
            config,
        }
    }

    #[test]
    fn a_secret_comes_back_after_a_restart_and_never_looks_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path());
        let sealed = vault.seal(owner("a"), "sesame").unwrap();
        assert_ne!(vault.seal(owner("a"), "sesame").unwrap(), sealed);
        let later = Vault::new(dir.path());
        assert_eq!(later.open(owner("a"), &sealed).unwrap(), "sesame");
        let mode = fs::metadata(dir.path().join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn it_is_of_no_use_elsewhere_or_changed() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path());
        let sealed = vault.seal(owner("a"), "sesame").unwrap();
        assert!(matches!(
            vault.open(owner("b"), &sealed),
            Err(SecretError::Damaged)
        ));
        let other_link = Owner {
            link: Uuid::from_bytes([4; 16]),
            config: "a",
        };
        assert!(matches!(
            vault.open(other_link, &sealed),
            Err(SecretError::Damaged)
        ));
        let mut changed = sealed;
        changed.ciphertext[0] ^= 1;
        assert!(matches!(
            vault.open(owner("a"), &changed),
            Err(SecretError::Damaged)
        ));
    }

    #[test]
    fn a_missing_wrong_or_damaged_key_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        let sealed = Vault::new(dir.path()).seal(owner("a"), "sesame").unwrap();
        fs::remove_file(&path).unwrap();
        let open = || {
            Vault::new(dir.path())
                .open(owner("a"), &sealed)
                .unwrap_err()
        };
        assert!(matches!(open(), SecretError::KeyMissing(_)));
        assert!(open().to_string().contains(KEY_FILE));
        Vault::new(dir.path()).seal(owner("b"), "other").unwrap();
        assert!(matches!(open(), SecretError::OtherKey(_)));
        for text in ["", "x", "carrick-link-secrets-1 00\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(open(), SecretError::KeyDamaged(_)), "{text}");
            let vault = Vault::new(dir.path());
            assert!(vault.seal(owner("a"), "x").is_err(), "written over");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
