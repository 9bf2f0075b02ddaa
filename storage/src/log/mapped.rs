//! Memory that one writer appends to while readers hold slices of it: the only unsafe file.
//!
//! A [`Region`] is a mapped file or heap memory with a *published* mark. Invariants:
//!
//! - published ≤ capacity, and a region's mark only grows (`Release`; readers load `Acquire`);
//! - bytes below the mark never change and stay mapped as long as anyone holds the region or
//!   [`Bytes`] of it: readers may take `&[u8]` of them at any time, on any thread;
//! - bytes from the mark on are touched by the one [`Tail`] of the region only;
//! - a file has at most one `Tail` at a time, and a new one starts at or above every mark that
//!   readers of the same file hold. Truncation therefore never reuses a file: it writes a new one;
//! - a file is never cut below a mark that was published of it, so no published page can be lost
//!   (SIGBUS). What lies past the file's end (a trimmed tail) is above every mark.
//!
//! Two mappings of one file share its pages, so the last two rules are about files and cannot be
//! checked here: `active.rs` and `segment.rs` keep them. Nothing outside of this process may
//! change the files: the data folder's lock stands for that.

#![expect(
    unsafe_code,
    reason = "this module is the safe face of shared mappings"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};

/// What the bytes of a region lie in.
#[derive(Debug)]
enum Backing {
    /// A shared file mapping, unmapped on drop.
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
        // its bytes are initialized (file or zeroed), were written before the mark was stored
        // (Release) and loaded (Acquire), and are never written again.
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

/// The right to append to a region. There is one per region; it is not `Clone`.
#[derive(Debug)]
pub struct Tail {
    region: Arc<Region>,
    /// Bytes that may be written: less than what is mapped once the file was trimmed.
    capacity: usize,
}

impl Tail {
    /// Zeroed heap memory of `capacity` bytes, nothing published.
    pub fn heap(capacity: usize) -> Tail {
        let backing = Backing::heap(capacity);
        let capacity = backing.len();
        Tail {
            region: Arc::new(Region {
                backing,
                published: AtomicUsize::new(0),
            }),
            capacity,
        }
    }

    /// Maps `file` for appending after its first `published` bytes, up to `capacity`, which must
    /// be reserved on the disk. The module's rules for files apply.
    pub fn file(file: &File, published: usize, capacity: usize) -> io::Result<Tail> {
        assert!(published <= capacity, "what is published is mapped");
        let backing = if capacity == 0 {
            Backing::heap(0)
        } else {
            Backing::File(MmapOptions::new().len(capacity).map_raw(file)?)
        };
        let region = Arc::new(Region {
            backing,
            published: AtomicUsize::new(published),
        });
        Ok(Tail { region, capacity })
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
        self.capacity - self.len()
    }

    /// The first `len` bytes after the published ones, to write; `None` when there is no room.
    /// They hold zeros, or what was last written there and not published.
    pub fn spare(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.spare_bytes() {
            return None;
        }
        let at = self.len();
        // SAFETY: at + len ≤ capacity ≤ mapped length. Readers only slice below the mark, the mark
        // moves only through `&mut self`, and there is one tail, so the slice is exclusive.
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

    /// Gives up the room after the published bytes: the file is about to be cut there.
    pub fn give_up_spare(&mut self) {
        self.capacity = self.len();
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
    fn a_mapped_file_holds_what_is_published() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let mut tail = Tail::file(&file, 0, 8192).unwrap();
        tail.spare(3).unwrap().copy_from_slice(b"abc");
        tail.publish(3);
        let old = Arc::clone(tail.region());
        tail.give_up_spare();
        assert!(tail.spare(1).is_none());
        file.set_len(3).unwrap();
        file.set_len(16384).unwrap();
        let mut larger = Tail::file(&file, 3, 16384).unwrap();
        larger.spare(3).unwrap().copy_from_slice(b"def");
        larger.publish(3);
        assert_eq!(old.slice(0..3).unwrap(), b"abc");
        assert!(old.slice(0..4).is_none());
        let sealed = Region::read_only(&file, 6).unwrap();
        assert_eq!(&sealed.bytes(0..6).unwrap()[..], b"abcdef");
    }
}
