//! The segment that will replace others, while it is being written: files whose names end in
//! `.cleaned`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use carrick_protocol::batch::{Batch, CheckedBatches};
use carrick_protocol::ids::Offset;

use super::super::aborted::AbortedTxn;
use super::super::active::SEGMENT_LIMIT_BYTES;
use super::super::files::{Kind, path_of};
use super::super::indexes::Indexes;
use super::super::transactions::write_entries;
use super::super::{LogConfig, LogError};
use super::swap::{INDEX_KINDS, cleaned_path};
use crate::disk::sync_all;

/// Bytes per write.
const BUFFER_BYTES: usize = 256 << 10;

/// A cleaned segment being written.
#[derive(Debug)]
pub(super) struct Output {
    dir: PathBuf,
    base: Offset,
    file: BufWriter<File>,
    size: usize,
    indexes: Indexes,
    aborted: Vec<AbortedTxn>,
}

impl Output {
    pub fn create(dir: &Path, base: Offset) -> Result<Output, LogError> {
        let path = cleaned_path(dir, base, Kind::Log);
        let file = File::create(&path).map_err(|e| LogError::io(&path, e))?;
        Ok(Output {
            dir: dir.to_path_buf(),
            base,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            size: 0,
            indexes: Indexes::new(base),
            aborted: Vec::new(),
        })
    }

    /// Adds a batch at or past the end of the last one.
    pub fn push(&mut self, batch: &CheckedBatches, config: &LogConfig) -> Result<(), LogError> {
        let Batch { header, bytes, .. } = batch.only();
        if self.size + bytes.len() > SEGMENT_LIMIT_BYTES {
            return Err(LogError::BatchTooLarge { bytes: bytes.len() });
        }
        let path = cleaned_path(&self.dir, self.base, Kind::Log);
        self.file
            .write_all(bytes)
            .map_err(|e| LogError::io(&path, e))?;
        self.indexes.note(&header, self.size, config);
        self.size += bytes.len();
        Ok(())
    }

    /// Adds an aborted transaction whose marker was added.
    pub fn push_aborted(&mut self, transaction: AbortedTxn) {
        self.aborted.push(transaction);
    }

    /// Brings all to the disk. The file keeps the time of the last segment it replaces, which
    /// retention looks at where there are no timestamps. Returns its size.
    pub fn finish(mut self, last: Offset) -> Result<usize, LogError> {
        let (dir, base) = (self.dir, self.base);
        let path = cleaned_path(&dir, base, Kind::Log);
        let failed = |e| LogError::io(&path, e);
        let file = self.file.into_inner().map_err(|e| failed(e.into_error()))?;
        let modified =
            fs::metadata(path_of(&dir, last, Kind::Log)).and_then(|meta| meta.modified());
        file.set_modified(modified.unwrap_or_else(|_| SystemTime::now()))
            .map_err(failed)?;
        sync_all(&file).map_err(failed)?;
        self.indexes.note_time();
        self.indexes.write(|kind| cleaned_path(&dir, base, kind))?;
        write_entries(&cleaned_path(&dir, base, Kind::Aborted), &self.aborted)?;
        for kind in INDEX_KINDS {
            let path = cleaned_path(&dir, base, kind);
            let synced = File::open(&path).and_then(|file| sync_all(&file));
            synced.map_err(|e| LogError::io(&path, e))?;
        }
        Ok(self.size)
    }
}
