//! The aborted transactions of a segment: `<base offset>.txnindex`, in Kafka's format
//! (`TransactionIndex`, `AbortedTxn`), so that readers of committed data can skip them.
//!
//! ```text
//! entry (34 bytes, big-endian): version i16 = 0 · producer id i64 · first offset i64
//!                               · last offset i64 (the ABORT marker) · last stable offset i64
//! ```
//!
//! Invariants:
//! - A transaction is indexed in the segment that holds its ABORT marker, when the marker is
//!   appended. Committed and empty transactions are not indexed.
//! - Last offsets increase strictly; first offset ≤ last offset; last stable ≤ last offset + 1. An
//!   entry that breaks this is an error: it may come from batches that are damaged on the disk.
//! - The active segment has a file only once there is an entry. It is rebuilt from the log where
//!   recovery scans.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrick_protocol::ids::{Offset, ProducerId};
use parking_lot::RwLock;

use super::LogError;
use super::aborted::{Aborted, AbortedTxn};
use crate::codec::{DecodeError, Reader, Writer};

const ENTRY_BYTES: usize = 34;
const ENTRY_VERSION: i16 = 0;

impl AbortedTxn {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENTRY_BYTES);
        out.put_i16(ENTRY_VERSION);
        out.put_i64(self.producer_id.0);
        out.put_i64(self.first_offset.0);
        out.put_i64(self.last_offset.0);
        out.put_i64(self.last_stable.0);
        out
    }

    fn decode(entry: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(entry);
        let version = reader.i16()?;
        if version != ENTRY_VERSION {
            return Err(DecodeError::new(format!(
                "entry version {version}, known is 0"
            )));
        }
        Ok(Self {
            producer_id: ProducerId(reader.i64()?),
            first_offset: Offset(reader.i64()?),
            last_offset: Offset(reader.i64()?),
            last_stable: Offset(reader.i64()?),
        })
    }
}

/// Writes an index file with these entries, which keep the invariants.
pub(super) fn write_entries(path: &Path, entries: &[AbortedTxn]) -> Result<(), LogError> {
    let bytes: Vec<u8> = entries.iter().flat_map(AbortedTxn::encode).collect();
    fs::write(path, bytes).map_err(|error| LogError::io(path, error))
}

/// The index of one segment, owned by the log's writer.
#[derive(Debug)]
pub struct AbortedIndex {
    path: PathBuf,
    base_offset: Offset,
    /// Opened when it is written to.
    file: Option<Arc<File>>,
    view: AbortedView,
}

impl AbortedIndex {
    /// Opens the index of the segment at `base_offset` in the folder `dir`; without a file it is
    /// empty.
    ///
    /// Fails with [`LogError::Corrupt`] when entries break an invariant or are cut off: then
    /// [`AbortedIndex::create`] it and append what a scan of the segment yields.
    pub fn open(dir: &Path, base_offset: Offset) -> Result<Self, LogError> {
        let mut index = Self::empty(dir, base_offset);
        let bytes = match fs::read(&index.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(index),
            Err(error) => return Err(LogError::io(&index.path, error)),
        };
        if bytes.len() % ENTRY_BYTES != 0 {
            let problem = format!("{} bytes are no whole number of entries", bytes.len());
            return Err(LogError::corrupt(&index.path, problem));
        }
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        for entry in bytes.chunks_exact(ENTRY_BYTES) {
            let corrupt = |problem: String| LogError::corrupt(&index.path, problem);
            let entry = AbortedTxn::decode(entry).map_err(|error| corrupt(error.reason))?;
            index.check(entries.last(), &entry).map_err(corrupt)?;
            entries.push(entry);
        }
        index.view = AbortedView::new(entries);
        Ok(index)
    }

    /// Makes the index of a new or rescanned segment: empty, and no file left of an earlier one.
    pub fn create(dir: &Path, base_offset: Offset) -> Result<Self, LogError> {
        let index = Self::empty(dir, base_offset);
        index.remove_file()?;
        Ok(index)
    }

    fn empty(dir: &Path, base_offset: Offset) -> Self {
        let path = dir.join(format!("{:020}.txnindex", base_offset.0));
        Self {
            path,
            base_offset,
            file: None,
            view: AbortedView::default(),
        }
    }

    /// Adds an entry; its last offset must be above that of every earlier entry.
    ///
    /// Nothing is added on an error: [`LogError::Corrupt`] for an entry that does not fit,
    /// [`LogError::DiskFull`], [`LogError::Io`].
    pub fn append(&mut self, entry: AbortedTxn) -> Result<(), LogError> {
        let problem = self.view.with(|entries| self.check(entries.last(), &entry));
        problem.map_err(|problem| LogError::corrupt(&self.path, problem))?;
        let position = (self.view.len * ENTRY_BYTES) as u64;
        let file = self.open_file()?;
        write_entry(&file, &entry.encode(), position)
            .map_err(|error| LogError::io(&self.path, error))?;
        self.view.push(entry);
        Ok(())
    }

    /// Removes the entries whose marker lies at or past `offset`.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), LogError> {
        let kept = self.view.with(|entries| {
            let kept = entries.partition_point(|entry| entry.last_offset < offset);
            entries[..kept].to_vec()
        });
        if kept.len() == self.view.len {
            return Ok(());
        }
        let len = (kept.len() * ENTRY_BYTES) as u64;
        self.open_file()?
            .set_len(len)
            .map_err(|error| LogError::io(&self.path, error))?;
        self.view = AbortedView::new(kept);
        Ok(())
    }

    /// The file to sync before the log's recovery point moves past the segment's markers; `None`
    /// while it was not written to since it was opened.
    pub fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// Closes the file until it is written to.
    pub fn close_file(&mut self) {
        self.file = None;
    }

    /// Whether it has entries for markers at or past `end`.
    pub fn reaches(&self, end: Offset) -> bool {
        let last = self.view.with(|entries| entries.last().copied());
        last.is_some_and(|entry| entry.last_offset >= end)
    }

    /// The file's path, whether it exists or not.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entries as of now, for readers.
    pub fn view(&self) -> AbortedView {
        self.view.clone()
    }

    fn remove_file(&self) -> Result<(), LogError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(LogError::io(&self.path, error))
            }
            _ => Ok(()),
        }
    }

    fn open_file(&mut self) -> Result<Arc<File>, LogError> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options
            .open(&self.path)
            .map_err(|error| LogError::io(&self.path, error))?;
        Ok(self.file.insert(Arc::new(file)).clone())
    }

    /// What is wrong with `entry` coming after `last`, if anything.
    fn check(&self, last: Option<&AbortedTxn>, entry: &AbortedTxn) -> Result<(), String> {
        if let Some(last) = last
            && entry.last_offset <= last.last_offset
        {
            return Err(format!("{entry:?} is not past {}", last.last_offset));
        }
        if entry.last_offset < self.base_offset {
            return Err(format!("{entry:?} ends before the segment"));
        }
        if entry.first_offset > entry.last_offset || entry.last_stable > entry.last_offset.next() {
            return Err(format!("{entry:?} contradicts itself"));
        }
        Ok(())
    }
}

/// Writes a whole entry, or nothing: a part of one would make the file unreadable once the segment
/// takes no more.
fn write_entry(file: &File, entry: &[u8], position: u64) -> io::Result<()> {
    #[cfg(test)]
    let written = tests::write_what_fits(file, entry, position);
    #[cfg(not(test))]
    let written = file.write_all_at(entry, position);
    written.inspect_err(|_| {
        // Best effort: the next entry is written over what stays.
        let _ = file.set_len(position);
    })
}

/// The entries of a segment as they were at one moment; cheap to clone and kept in a snapshot.
#[derive(Clone, Debug, Default)]
pub struct AbortedView {
    /// Only grows. Truncation makes a copy, so that a view never changes.
    aborted: Arc<RwLock<Aborted>>,
    len: usize,
}

impl AbortedView {
    fn new(entries: Vec<AbortedTxn>) -> Self {
        let len = entries.len();
        Self {
            aborted: Arc::new(RwLock::new(Aborted::of(entries))),
            len,
        }
    }

    fn push(&mut self, entry: AbortedTxn) {
        self.aborted.write().push(entry);
        self.len += 1;
    }

    fn with<T>(&self, read: impl FnOnce(&[AbortedTxn]) -> T) -> T {
        if self.len == 0 {
            return read(&[]);
        }
        read(&self.aborted.read().entries()[..self.len])
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    /// Adds to `found` the entries that overlap `from..upto`; false when later segments can't have
    /// any more (`TransactionIndex.collectAbortedTxns`).
    fn collect(&self, from: Offset, upto: Offset, found: &mut Vec<AbortedTxn>) -> bool {
        if self.len == 0 {
            return true;
        }
        let aborted = self.aborted.read();
        aborted.collect(self.len, from, upto, found);
        // Last stable offsets never go back: what ends later begins no earlier than the last one.
        aborted.entries()[self.len - 1].last_stable < upto
    }
}

/// The aborted transactions that overlap `from..upto`, in order of their markers
/// (`UnifiedLog.collectAbortedTransactions`).
///
/// `views` are the segment that contains `from` and all later ones, oldest first. Views that can't
/// have any are not requested.
pub(crate) fn collect_aborted<'a>(
    views: impl IntoIterator<Item = Result<&'a AbortedView, LogError>>,
    from: Offset,
    upto: Offset,
) -> Result<Vec<AbortedTxn>, LogError> {
    let mut found = Vec::new();
    for view in views {
        if !view?.collect(from, upto, &mut found) {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use rustix::io::Errno;

    use super::*;

    thread_local! {
        /// Whether this thread's indexes get no more than half an entry on the disk.
        static IS_FULL: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn write_what_fits(file: &File, entry: &[u8], position: u64) -> io::Result<()> {
        if !IS_FULL.get() {
            return file.write_all_at(entry, position);
        }
        file.write_all_at(&entry[..ENTRY_BYTES / 2], position)?;
        Err(Errno::NOSPC.into())
    }

    #[test]
    fn an_entry_that_did_not_fit_leaves_a_file_that_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = AbortedIndex::open(dir.path(), Offset(0)).unwrap();
        index.append(aborted(1, 2, 3, 4)).unwrap();
        IS_FULL.set(true);
        let full = index.append(aborted(1, 5, 6, 7)).unwrap_err();
        IS_FULL.set(false);
        assert!(matches!(full, LogError::DiskFull { .. }), "{full}");
        let reopened = AbortedIndex::open(dir.path(), Offset(0)).unwrap();
        assert_eq!(entries(&reopened), vec![aborted(1, 2, 3, 4)]);
    }

    fn aborted(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable: Offset(stable),
        }
    }

    fn entries(index: &AbortedIndex) -> Vec<AbortedTxn> {
        index.view().with(<[AbortedTxn]>::to_vec)
    }

    #[test]
    fn entries_survive_in_kafkas_layout() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = AbortedIndex::open(dir.path(), Offset(5)).unwrap();
        assert!(!index.path().exists(), "no file before there is an entry");
        index.append(aborted(1, 2, 7, 8)).unwrap();
        index.append(aborted(0x0102, 3, 9, 4)).unwrap();
        let bytes = fs::read(dir.path().join("00000000000000000005.txnindex")).unwrap();
        let second = [
            0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
            0, 0, 0, 0, 4,
        ];
        assert_eq!(bytes[ENTRY_BYTES..], second);
        let reopened = AbortedIndex::open(dir.path(), Offset(5)).unwrap();
        assert_eq!(
            entries(&reopened),
            vec![aborted(1, 2, 7, 8), aborted(0x0102, 3, 9, 4)]
        );
    }

    #[test]
    fn entries_that_do_not_fit_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = AbortedIndex::open(dir.path(), Offset(5)).unwrap();
        index.append(aborted(1, 2, 7, 8)).unwrap();
        for bad in [
            aborted(1, 2, 7, 8),
            aborted(2, 9, 8, 9),
            aborted(2, 8, 8, 10),
        ] {
            assert!(index.append(bad).is_err(), "{bad:?}");
        }
        assert_eq!(index.view().len(), 1);
        let mut other = AbortedIndex::create(dir.path(), Offset(5)).unwrap();
        assert!(
            other.append(aborted(1, 2, 4, 5)).is_err(),
            "ends before the segment"
        );
        assert_eq!(other.view().len(), 0);
    }

    #[test]
    fn damaged_files_are_errors_until_created_again() {
        let good = aborted(1, 2, 7, 8).encode();
        let mut newer = good.clone();
        newer[1] = 1;
        let twice = [good.clone(), good.clone()].concat();
        for bytes in [good[..33].to_vec(), newer, twice, vec![0xff; 34]] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("00000000000000000000.txnindex");
            fs::write(&path, &bytes).unwrap();
            let error = AbortedIndex::open(dir.path(), Offset(0)).unwrap_err();
            assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
            AbortedIndex::create(dir.path(), Offset(0)).unwrap();
            assert!(entries(&AbortedIndex::open(dir.path(), Offset(0)).unwrap()).is_empty());
        }
    }

    #[test]
    fn truncation_leaves_earlier_views_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = AbortedIndex::open(dir.path(), Offset(0)).unwrap();
        for last in [3, 6, 9] {
            index.append(aborted(1, last - 1, last, last + 1)).unwrap();
        }
        let before = index.view();
        index.truncate_to(Offset(6)).unwrap();
        index.append(aborted(2, 4, 6, 7)).unwrap();
        assert_eq!(before.with(<[AbortedTxn]>::len), 3);
        assert_eq!(before.with(|entries| entries[1]), aborted(1, 5, 6, 7));
        let expected = vec![aborted(1, 2, 3, 4), aborted(2, 4, 6, 7)];
        assert_eq!(entries(&index), expected);
        assert_eq!(
            entries(&AbortedIndex::open(dir.path(), Offset(0)).unwrap()),
            expected
        );
        index.remove_file().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// One step of a log with three producers: a batch of a transaction or its marker.
    fn steps() -> impl Strategy<Value = Vec<(i64, u8)>> {
        proptest::collection::vec((0..3_i64, 0..4_u8), 0..60)
    }

    /// Plays the steps, one offset each; returns the aborted transactions in marker order.
    fn play(steps: &[(i64, u8)]) -> Vec<AbortedTxn> {
        let mut open: Vec<(i64, i64)> = Vec::new();
        let mut aborts = Vec::new();
        for (offset, (producer, action)) in (0..).zip(steps) {
            let position = open.iter().position(|(id, _)| id == producer);
            match (position, action) {
                (None, 0..=2) => open.push((*producer, offset)),
                (Some(position), 2..=3) => {
                    let (_, first) = open.remove(position);
                    let oldest = open.iter().map(|(_, first)| *first).min();
                    if *action == 2 {
                        aborts.push(aborted(
                            *producer,
                            first,
                            offset,
                            oldest.unwrap_or(offset + 1),
                        ));
                    }
                }
                _ => {}
            }
        }
        aborts
    }

    proptest! {
        #[test]
        fn a_lookup_finds_what_a_scan_of_everything_finds(
            steps in steps(),
            bounds in (0..60_i64, 1..30_i64),
            segment_len in 1..20_i64,
        ) {
            let aborts = play(&steps);
            let (from, upto) = (Offset(bounds.0), Offset(bounds.0 + bounds.1));
            let segments = steps.len() as i64 / segment_len + 1;
            let views: Vec<AbortedView> = (0..segments)
                .map(|segment| {
                    let in_it = |abort: &&AbortedTxn| abort.last_offset.0 / segment_len == segment;
                    AbortedView::new(aborts.iter().filter(in_it).copied().collect())
                })
                .collect();
            let first = ((from.0 / segment_len) as usize).min(views.len());
            let found = collect_aborted(views[first..].iter().map(Ok), from, upto).unwrap();
            let expected: Vec<AbortedTxn> = aborts
                .into_iter()
                .filter(|abort| abort.last_offset >= from && abort.first_offset < upto)
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn arbitrary_files_never_panic(bytes: Vec<u8>) {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("00000000000000000000.txnindex"), bytes).unwrap();
            let _ = AbortedIndex::open(dir.path(), Offset(0));
        }
    }
}
