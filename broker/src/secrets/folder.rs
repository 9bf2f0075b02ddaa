//! The key file in the data folder.
//!
//! Invariants: the file is complete and durable before anything that it protects is stored. It is
//! replaced only by one that protects all that it protected; the next one waits beside it until
//! then.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use carrick_storage::disk::fsync_dir;

use super::SecretError;
use super::cipher::{Material, RawKey};
use super::config::{HEADER, parse_key};
use crate::records::data_key::Derivation;
use crate::records::sealed::KEY_ID_BYTES;

/// The file's name in the data folder. (Once it protected only the secrets of links.)
pub const FOLDER_KEY: &str = "link.secrets.key";
/// The one that takes its place.
const NEXT: &str = "link.secrets.key.next";

pub(super) struct FolderKey {
    folder: PathBuf,
}

impl FolderKey {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(FOLDER_KEY)
    }

    fn next(&self) -> PathBuf {
        self.folder.join(NEXT)
    }

    /// The key.
    ///
    /// # Errors
    /// `KeyMissing`, `KeyDamaged`, `Io`.
    pub(super) fn read(&self) -> Result<Material, SecretError> {
        read(&self.path())
    }

    /// Makes the first key.
    ///
    /// # Errors
    /// `Io`, `NoRandom`, also if there is a file.
    pub(super) fn make(&self) -> Result<Material, SecretError> {
        let path = self.path();
        let key = RawKey::random()?;
        let made = self.write(&self.next(), &key).and_then(|()| {
            fs::hard_link(self.next(), &path)?;
            fs::remove_file(self.next())?;
            self.sync()
        });
        made.map_err(failed("made", &path))?;
        tracing::info!(path = %path.display(), "created a key for secrets");
        Ok(Material::File(key))
    }

    /// Makes a key that is to take the present one's place.
    ///
    /// # Errors
    /// `Io`, `NoRandom`.
    pub(super) fn make_next(&self) -> Result<Material, SecretError> {
        let path = self.next();
        let key = RawKey::random()?;
        let made = self.write(&path, &key).and_then(|()| self.sync());
        made.map_err(failed("made", &path))?;
        Ok(Material::File(key))
    }

    /// Everything is protected by the next key: it takes its place.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn put_in_place(&self) -> Result<(), SecretError> {
        let path = self.path();
        let put = fs::rename(self.next(), &path).and_then(|()| self.sync());
        put.map_err(failed("replaced", &path))
    }

    /// Ends what a crash has left: a next key that protects something takes its place, another one
    /// was never used.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn settle(
        &self,
        is_in_use: impl Fn([u8; KEY_ID_BYTES]) -> bool,
    ) -> Result<(), SecretError> {
        let path = self.next();
        match read(&path) {
            Err(SecretError::KeyMissing(_)) => return Ok(()),
            Err(error @ SecretError::Io { .. }) => return Err(error),
            Ok(next)
                if next
                    .master(Derivation::File)
                    .is_some_and(|it| is_in_use(it.id)) =>
            {
                return self.put_in_place();
            }
            Ok(_) | Err(_) => {}
        }
        fs::remove_file(&path).map_err(failed("removed", &path))
    }

    /// Nothing needs the key any more.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn remove(&self) -> Result<(), SecretError> {
        let path = self.path();
        let removed = fs::remove_file(&path).and_then(|()| self.sync());
        removed.map_err(failed("removed", &path))
    }

    fn write(&self, path: &Path, key: &RawKey) -> io::Result<()> {
        // What a crash has left was never used: `settle` has looked.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(format!("{HEADER}{}\n", key.to_hex()).as_bytes())?;
        file.sync_all()
    }

    fn sync(&self) -> io::Result<()> {
        fsync_dir(&self.folder).map_err(|error| io::Error::other(error.to_string()))
    }
}

fn read(path: &Path) -> Result<Material, SecretError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SecretError::KeyMissing(path.to_owned()));
        }
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mode = fs::metadata(path)
        .map_err(failed("read", path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        tracing::warn!(%path, "other users may read the key of secrets: run chmod 600 on it");
    }
    let key = parse_key(&bytes).ok_or_else(|| SecretError::KeyDamaged(path.to_owned()))?;
    Ok(Material::File(key))
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> SecretError {
    let path = path.to_owned();
    move |source| SecretError::Io {
        path: path.clone(),
        what,
        source,
    }
}
