//! Users of a broker that does not run: its folder is opened for as long as they are changed.

use std::path::Path;

use carrick_storage::disk::DataDir;

use super::StartError;
use crate::auth::Users;
use crate::heavy::Heavy;
use crate::metadata::Metadata;
use crate::metadata::rocks::RocksMetadata;

/// The users in a data folder, which stays locked for as long as this exists.
pub struct UsersOnDisk {
    pub users: Users,
    _data_dir: DataDir,
}

impl UsersOnDisk {
    /// Whether no broker has run on the folder yet, nor have users been added.
    ///
    /// # Errors
    /// It holds something else, or cannot be read.
    pub fn is_new(folder: &Path) -> Result<bool, StartError> {
        Ok(!DataDir::exists(folder)?)
    }

    /// Opens the folder; one that is not there is made, for a broker that has never run.
    ///
    /// # Errors
    /// A broker runs on it, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, StartError> {
        let data_dir = DataDir::open(folder)?;
        let metadata = Metadata::new(std::sync::Arc::new(RocksMetadata::open(
            &data_dir.meta_dir(),
        )?));
        Ok(Self {
            users: Users::open(metadata, Heavy::default())?,
            _data_dir: data_dir,
        })
    }
}
