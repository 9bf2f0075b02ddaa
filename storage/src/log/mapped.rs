//! Bytes that one writer appends to while readers hold slices of them: the only unsafe file.
//!
//! A [`Region`] is a mapped file or heap memory with a *published* mark. Invariants:
//!
//! - published ≤ capacity (asserted), and a region's mark only grows (`Release`; readers load
//!   `Acquire`): nothing but `publish` moves it, by what was written;
//! - bytes below the mark never change and stay mapped as long as anyone holds the region or
//!   [`Bytes`] of it: readers may take `&[u8]` of them at any time, on any thread;
//! - bytes from the mark on are touched by the one [`Tail`] or [`FileTail`] of the region only;
//! - a mapping may be longer than its file. The mark never is (asserted), nor is what a `FileTail`
//!   copies into a mapping: no code touches a page beyond the file (SIGBUS). Bytes get into a file
//!   by `write`, which every mapping of it shows, or by a copy over zeros that were written that
//!   way before;
//! - a file has at most one `FileTail` at a time, and a new one starts at or above every mark that
//!   readers of the same file hold. Truncation therefore never reuses a file: it writes a new one;
//! - a file is never cut below its published mark.
//!
//! Two mappings of one file share its pages, so the last two rules are about files and cannot be
//! checked here: `active.rs` and `segment.rs` keep them. No other process may change the files: the
//! data folder's lock ensures that.

#![expect(
    unsafe_code,
    reason = "this module is the safe face of shared mappings"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};

/// What holds the bytes of a region.
#[derive(Debug)]
enum Backing {
    /// A shared mapping of a file, unmapped on drop.
    File(MmapRaw),
    /// Zeroed heap memory of `len` bytes; dangling when `len` is 0.
    Heap { start: NonNull<u8>, len: usize },
}

// SAFETY: the pointer is owned by the region (allocated and freed by it, no thread affinity), and
// who may touch which bytes is ruled by the module's invariants, not by the thread.
unsafe impl Send for Backing {}
// SAFETY: as above; shared access only ever reads published bytes, which do not change.
unsafe impl Sync for Backing {}

impl Backing {
    fn heap(len: usize) -> Backing {
        let Some(layout) = heap_layout(len) else {
            return Backing::Heap {
                start: NonNull::dangling(),
                len: 0,
            };
        };
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Backing::Heap { start, len },
            None => handle_alloc_error(layout),
        }
    }

    fn start(&self) -> *mut u8 {
        match self {
            Backing::File(map) => map.as_mut_ptr(),
            Backing::Heap { start, .. } => start.as_ptr(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Backing::File(map) => map.len(),
            Backing::Heap { len, .. } => *len,
        }
    }
}

/// Layout of heap memory of `len` bytes; `None` for none at all (or more than there can be).
fn heap_layout(len: usize) -> Option<Layout> {
    if len == 0 {
        None
    } else {
        Layout::array::<u8>(len).ok()
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        if let Backing::Heap { start, len } = self
            && let Some(layout) = heap_layout(*len)
        {
            // SAFETY: allocated by `Backing::heap` with the same layout, and dropped once; nobody
            // holds a slice any more, for slices borrow the region or own a reference to it.
            unsafe { dealloc(start.as_ptr(), layout) }
        }
    }
}

/// Bytes that readers share. See the module for who may touch what.
#[derive(Debug)]
pub struct Region {
    backing: Backing,
    published: AtomicUsize,
}

impl Region {
    /// Maps the first `len` bytes of `file` for reading. The file must be that long and stay so.
    pub fn read_only(file: &File, len: usize) -> io::Result<Arc<Region>> {
        let backing = if len == 0 {
            Backing::heap(0)
        } else {
            Backing::File(MmapOptions::new().len(len).map_raw_read_only(file)?)
        };
        Ok(Arc::new(Region {
            backing,
            published: AtomicUsize::new(len),
        }))
    }

    /// Bytes that may be read.
    pub fn published(&self) -> usize {
        self.published.load(Ordering::Acquire)
    }

    /// A range of published bytes; `None` when it is not one.
    pub fn slice(&self, range: Range<usize>) -> Option<&[u8]> {
        if range.start > range.end || range.end > self.published() {
            return None;
        }
        // SAFETY: start ≤ end ≤ published ≤ capacity, so the range lies in one live allocation;
        // its bytes are initialized (zeroed memory, or a file that is at least that long), were
        // written before the mark was stored (Release) and loaded (Acquire), and are never
        // written again.
        Some(unsafe {
            std::slice::from_raw_parts(self.backing.start().add(range.start), range.len())
        })
    }

    /// A range of published bytes that keeps the region alive, without a copy.
    pub fn bytes(self: &Arc<Self>, range: Range<usize>) -> Option<Bytes> {
        self.slice(range.clone())?;
        Some(Bytes::from_owner(Published {
            region: Arc::clone(self),
            range,
        }))
    }
}

/// A checked range of a region: the owner behind [`Bytes`].
struct Published {
    region: Arc<Region>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Published {
    fn as_ref(&self) -> &[u8] {
        self.region.slice(self.range.clone()).unwrap_or_default()
    }
}

/// The right to append to a region on the heap. There is one per region; it is not `Clone`.
#[derive(Debug)]
pub struct Tail {
    region: Arc<Region>,
}

impl Tail {
    /// Zeroed heap memory of `capacity` bytes, nothing published.
    pub fn heap(capacity: usize) -> Tail {
        Tail {
            region: Arc::new(Region {
                backing: Backing::heap(capacity),
                published: AtomicUsize::new(0),
            }),
        }
    }

    /// A larger heap region with the same published bytes. Readers of the old one keep it.
    pub fn grown_heap(&self, capacity: usize) -> Tail {
        let mut grown = Tail::heap(capacity.max(self.len()));
        if let (Some(old), Some(new)) = (self.region.slice(0..self.len()), grown.spare(self.len()))
        {
            new.copy_from_slice(old);
            grown.publish(self.len());
        }
        grown
    }

    /// What readers share.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Bytes published.
    pub fn len(&self) -> usize {
        self.region.published()
    }

    /// Bytes that may still be written.
    pub fn spare_bytes(&self) -> usize {
        self.region.backing.len() - self.len()
    }

    /// The first `len` bytes after the published ones, to write; `None` when there is no room.
    /// They hold zeros, or what was last written there and not published.
    pub fn spare(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.spare_bytes() {
            return None;
        }
        let at = self.len();
        // SAFETY: at + len ≤ capacity, and the memory is the heap's: a `Tail` is made over nothing
        // else. Readers only slice below the mark, the mark moves only through `&mut self`, and
        // there is one tail, so the slice is exclusive.
        Some(unsafe { std::slice::from_raw_parts_mut(self.region.backing.start().add(at), len) })
    }

    /// Makes the next `len` bytes readable; they never change any more.
    ///
    /// # Panics
    /// When they were never there to be written.
    pub fn publish(&mut self, len: usize) {
        assert!(
            len <= self.spare_bytes(),
            "only written bytes are published"
        );
        self.region
            .published
            .store(self.len() + len, Ordering::Release);
    }
}

/// The right to append to a file that readers have mapped. There is one per file.
#[derive(Debug)]
pub struct FileTail {
    region: Arc<Region>,
    /// Bytes of the file: zeros after what was written last.
    file_len: usize,
    /// Bytes after the published ones that were written last.
    written: usize,
    /// Whether the mapping may be written to.
    is_writable: bool,
}

impl FileTail {
    /// Of an empty file: nothing is mapped.
    pub fn empty() -> FileTail {
        FileTail {
            region: Tail::heap(0).region,
            file_len: 0,
            written: 0,
            is_writable: false,
        }
    }

    /// Continues after the first `len` bytes of `file`, which exist.
    pub fn open(file: &File, len: usize) -> io::Result<FileTail> {
        Ok(FileTail {
            region: Region::read_only(file, len)?,
            file_len: len,
            written: 0,
            is_writable: false,
        })
    }

    /// What readers share.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Bytes published.
    pub fn len(&self) -> usize {
        self.region.published()
    }

    /// Bytes that can be published before more must be mapped.
    pub fn capacity(&self) -> usize {
        self.region.backing.len()
    }

    /// Maps the first `capacity` bytes of `file`, however many of them are there. Readers of the
    /// old mapping keep it.
    pub fn map(&mut self, file: &File, capacity: usize) -> io::Result<()> {
        assert!(self.len() <= capacity, "what is published is mapped");
        self.region = Arc::new(Region {
            backing: Backing::File(MmapOptions::new().len(capacity).map_raw(file)?),
            published: AtomicUsize::new(self.len()),
        });
        self.written = 0;
        self.is_writable = true;
        Ok(())
    }

    /// Copies `parts` over the zeros after the published bytes; false if there are not enough.
    pub fn copy(&mut self, parts: &[IoSlice<'_>]) -> bool {
        self.written = 0;
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let end = self.len() + bytes;
        if !self.is_writable || end > self.file_len.min(self.capacity()) {
            return false;
        }
        // SAFETY: len + bytes ≤ mapped length and ≤ the file's length, so the pages are there, and
        // the mapping is writable. Readers only slice below the mark, the mark moves only through
        // `&mut self`, and there is one tail, so the slice is exclusive.
        let mut spare = unsafe {
            std::slice::from_raw_parts_mut(self.region.backing.start().add(self.len()), bytes)
        };
        for part in parts {
            let (to, rest) = spare.split_at_mut(part.len());
            to.copy_from_slice(part);
            spare = rest;
        }
        self.written = bytes;
        true
    }

    /// Writes `parts`, none of them empty, after the published bytes, and takes all of them for
    /// batches but the last `zeros` bytes. On an error the file may hold some of them; nothing is
    /// published, and the next write goes to the same place.
    pub fn write(
        &mut self,
        file: &File,
        mut parts: &mut [IoSlice<'_>],
        zeros: usize,
    ) -> io::Result<()> {
        self.written = 0;
        let mut written = 0;
        while !parts.is_empty() {
            match rustix::io::pwritev(file, parts, (self.len() + written) as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    written += count;
                    IoSlice::advance_slices(&mut parts, count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.file_len = self.file_len.max(self.len() + written);
        self.written = written - zeros;
        Ok(())
    }

    /// Zeros in the file after the published bytes.
    pub fn zeros(&self) -> usize {
        self.file_len - self.len()
    }

    /// Publishes the bytes that were written last; they never change from now on.
    ///
    /// # Panics
    /// When it is not mapped, or not in the file.
    pub fn publish(&mut self) {
        let published = self.len() + std::mem::take(&mut self.written);
        assert!(
            published <= self.capacity().min(self.file_len),
            "only bytes of the file that are mapped are read"
        );
        self.region.published.store(published, Ordering::Release);
    }

    /// Cuts the file back to the published bytes. After an error its zeros are still there, and
    /// nothing is copied over them.
    pub fn cut(&mut self, file: &File) -> io::Result<()> {
        self.written = 0;
        // Nothing may touch what is about to be cut off, whether the cut succeeds or not.
        let is_writable = std::mem::replace(&mut self.is_writable, false);
        file.set_len(self.len() as u64)?;
        self.file_len = self.len();
        self.is_writable = is_writable;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_bytes_are_readable_and_spare_bytes_are_not() {
        let mut tail = Tail::heap(16);
        tail.spare(4).unwrap().copy_from_slice(b"abcd");
        assert_eq!(tail.region().slice(0..1), None);
        tail.publish(4);
        assert_eq!(tail.region().slice(0..4).unwrap(), b"abcd");
        assert_eq!(tail.region().slice(2..5), None);
        assert!(tail.spare(13).is_none());
        assert_eq!(tail.spare(12).unwrap(), [0; 12]);
    }

    #[test]
    fn slices_stay_valid_while_the_tail_goes_on() {
        let mut tail = Tail::heap(8);
        tail.spare(4).unwrap().copy_from_slice(b"abcd");
        tail.publish(4);
        let region = Arc::clone(tail.region());
        let held = region.slice(0..4).unwrap();
        tail.spare(4).unwrap().copy_from_slice(b"efgh");
        tail.publish(4);
        assert_eq!(held, b"abcd");
        assert_eq!(region.slice(0..8).unwrap(), b"abcdefgh");
    }

    #[test]
    fn bytes_outlive_tail_and_growth() {
        let mut tail = Tail::heap(4);
        tail.spare(4).unwrap().copy_from_slice(b"abcd");
        tail.publish(4);
        let held = tail.region().bytes(1..3).unwrap();
        let mut grown = tail.grown_heap(8);
        drop(tail);
        grown.spare(4).unwrap().copy_from_slice(b"efgh");
        grown.publish(4);
        assert_eq!(&held[..], b"bc");
        assert_eq!(grown.region().slice(0..8).unwrap(), b"abcdefgh");
    }

    #[test]
    fn a_reader_on_another_thread_sees_what_was_published() {
        const STEPS: usize = 64;
        let mut tail = Tail::heap(STEPS);
        let region = Arc::clone(tail.region());
        let reader = std::thread::spawn(move || {
            loop {
                let seen = region.slice(0..region.published()).unwrap();
                assert!(
                    seen.iter()
                        .enumerate()
                        .all(|(at, byte)| usize::from(*byte) == at + 1)
                );
                if seen.len() == STEPS {
                    return;
                }
                std::thread::yield_now();
            }
        });
        for step in 1..=STEPS {
            tail.spare(1).unwrap()[0] = step as u8;
            tail.publish(1);
        }
        reader.join().unwrap();
    }

    #[test]
    fn empty_regions_are_fine() {
        let mut tail = Tail::heap(0);
        assert_eq!(tail.spare(0).unwrap(), []);
        tail.publish(0);
        assert_eq!(tail.region().slice(0..0).unwrap(), []);
        assert!(tail.region().bytes(0..0).unwrap().is_empty());
        assert!(tail.region().bytes(0..1).is_none());
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    fn a_reversed_range_is_none() {
        let mut tail = Tail::heap(4);
        tail.publish(4);
        assert!(tail.region().slice(3..1).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps files")]
    fn a_mapping_longer_than_its_file_shows_what_is_written_later() {
        let file = tempfile::tempfile().unwrap();
        let mut tail = FileTail::empty();
        tail.map(&file, 8192).unwrap();
        let old = Arc::clone(tail.region());
        let mut parts = [IoSlice::new(b"ab"), IoSlice::new(b"c")];
        tail.write(&file, &mut parts, 0).unwrap();
        assert!(old.slice(0..1).is_none(), "written is not published");
        tail.publish();
        assert_eq!(old.slice(0..3).unwrap(), b"abc");
        assert_eq!(file.metadata().unwrap().len(), 3);
        tail.map(&file, 16384).unwrap();
        tail.write(&file, &mut [IoSlice::new(b"def")], 0).unwrap();
        tail.publish();
        assert!(old.slice(0..4).is_none(), "the old mapping's mark stays");
        assert_eq!(tail.region().slice(0..6).unwrap(), b"abcdef");
        let sealed = Region::read_only(&file, 6).unwrap();
        assert_eq!(&sealed.bytes(0..6).unwrap()[..], b"abcdef");
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps files")]
    fn small_parts_are_copied_over_zeros_as_long_as_there_are_any() {
        let file = tempfile::tempfile().unwrap();
        let mut tail = FileTail::empty();
        assert!(!tail.copy(&[IoSlice::new(b"a")]));
        tail.map(&file, 4096).unwrap();
        assert!(!tail.copy(&[IoSlice::new(b"a")]), "the file is empty");
        let mut parts = [IoSlice::new(b"abc"), IoSlice::new(&[0; 5])];
        tail.write(&file, &mut parts, 5).unwrap();
        tail.publish();
        assert_eq!((tail.len(), tail.zeros()), (3, 5));
        assert!(tail.copy(&[IoSlice::new(b"de"), IoSlice::new(b"f")]));
        assert!(tail.region().slice(0..4).is_none(), "copied, not published");
        tail.publish();
        assert_eq!(tail.region().slice(0..6).unwrap(), b"abcdef");
        assert!(!tail.copy(&[IoSlice::new(b"ghi")]), "too few zeros");
        tail.write(&file, &mut [IoSlice::new(b"ghi")], 0).unwrap();
        tail.publish();
        assert_eq!(tail.region().slice(0..9).unwrap(), b"abcdefghi");
        assert_eq!(tail.zeros(), 0);
        let read_only = Region::read_only(&file, 9).unwrap();
        assert_eq!(read_only.slice(0..9).unwrap(), b"abcdefghi");
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps files")]
    fn zeros_that_could_not_be_cut_off_are_cut_off_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).open(&path);
        let file = file.unwrap();
        let mut tail = FileTail::empty();
        tail.map(&file, 4096).unwrap();
        let mut parts = [IoSlice::new(b"abc"), IoSlice::new(&[0; 5])];
        tail.write(&file, &mut parts, 5).unwrap();
        tail.publish();
        tail.cut(&File::open(&path).unwrap()).unwrap_err();
        assert_eq!((tail.len(), tail.zeros()), (3, 5));
        assert!(!tail.copy(&[IoSlice::new(b"d")]), "they may go any moment");
        tail.write(&file, &mut [IoSlice::new(b"d")], 0).unwrap();
        tail.publish();
        tail.cut(&file).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcd");
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps files")]
    fn what_is_cut_is_written_over() {
        let file = tempfile::tempfile().unwrap();
        let mut tail = FileTail::empty();
        tail.map(&file, 4096).unwrap();
        tail.write(&file, &mut [IoSlice::new(b"wrong")], 0).unwrap();
        tail.cut(&file).unwrap();
        tail.publish();
        assert_eq!((tail.len(), tail.zeros()), (0, 0));
        assert_eq!(file.metadata().unwrap().len(), 0);
        tail.write(&file, &mut [IoSlice::new(b"right")], 0).unwrap();
        tail.publish();
        assert_eq!(tail.region().slice(0..5).unwrap(), b"right");
    }
}
