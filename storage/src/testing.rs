//! Damage for tests: what a crash of the machine or a bad disk does to a log's files.
//!
//! Only on a log that is not open: the files of an open one are mapped.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The files in `dir` that end in `.extension`, sorted by name.
pub fn files(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Cuts the file to `len` bytes: a torn tail.
pub fn tear(path: &Path, len: u64) -> io::Result<()> {
    open(path)?.set_len(len)
}

/// Flips one bit of the byte at `at`.
pub fn flip_bit(path: &Path, at: u64, bit: u8) -> io::Result<()> {
    let file = open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, at)
}

/// Overwrites everything from `from` on with zeros: pages that never reached the disk.
pub fn zero_tail(path: &Path, from: u64) -> io::Result<()> {
    let file = open(path)?;
    let len = file.metadata()?.len();
    file.set_len(from.min(len))?;
    file.set_len(len)
}

/// Writes `bytes` at `at`, whatever was there.
pub fn overwrite(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    open(path)?.write_all_at(bytes, at)
}
