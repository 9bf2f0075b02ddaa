//! Files of stores, and whether they have changed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use carrick_protocol::credentials::store::FILE_MAX_BYTES;

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    /// The file's stamp now; a file that is missing has one, too.
    pub(super) fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path);
        let stamp = metadata.and_then(|it| Ok((it.modified()?, it.len(), it.ino())));
        Self(stamp.ok())
    }
}

/// The content, if it is no larger than a store.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} can't be read: {error}", path.display());
    let size_bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if size_bytes > FILE_MAX_BYTES {
        return Err(format!(
            "{} has {size_bytes} bytes, more than {FILE_MAX_BYTES}",
            path.display()
        ));
    }
    std::fs::read(path).map_err(unreadable)
}
