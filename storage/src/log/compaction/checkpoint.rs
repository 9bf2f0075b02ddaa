//! Up to where a log was cleaned: the file `cleaner-offset-checkpoint` in its folder, two lines of
//! text: version 0, offset. Written durably; without it, or when it is damaged, all is dirty.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use carrick_protocol::ids::Offset;

use super::super::LogError;
use crate::disk::atomic_write;

const NAME: &str = "cleaner-offset-checkpoint";

pub(super) fn load(dir: &Path) -> Result<Offset, LogError> {
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Offset::NONE),
        Err(error) if error.kind() == ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(LogError::io(&path, error)),
    };
    let offset = match text.lines().collect::<Vec<_>>()[..] {
        ["0", offset] => offset.parse().ok().filter(|offset| *offset >= 0),
        _ => None,
    };
    if offset.is_none() {
        tracing::warn!(path = %path.display(), "not readable: all is cleaned again");
    }
    Ok(offset.map_or(Offset::NONE, Offset))
}

pub(super) fn save(dir: &Path, cleaned: Offset) -> Result<(), LogError> {
    let text = format!("0\n{}\n", cleaned.0);
    Ok(atomic_write(&dir.join(NAME), text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), Offset::NONE);
        save(dir.path(), Offset(77)).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Offset(77));
        for damaged in ["", "0\n", "1\n5\n", "0\nx\n", "0\n-4\n"] {
            fs::write(dir.path().join(NAME), damaged).unwrap();
            assert_eq!(load(dir.path()).unwrap(), Offset::NONE, "{damaged:?}");
        }
        fs::write(dir.path().join(NAME), [0xff, 0xfe]).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Offset::NONE);
    }
}
