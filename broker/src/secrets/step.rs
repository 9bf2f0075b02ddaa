//! The named steps of a rotation, in order.
//!
//! A crash test ends the process at each ([`Step::crash_here`]) and shows that the next start reads
//! every secret. Unless a test has named a step, passing one costs a load of an atomic.

use std::sync::atomic::{AtomicU8, Ordering};

use super::SecretError;

/// A point that a rotation passes. The name says what has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// The next key file is beside the present one.
    NextKeyFile = 1,
    /// The new data key is stored, and the next key file protects all data keys.
    KeysStored,
    /// The next key file has taken its place.
    KeyFileInPlace,
    /// One secret more is encrypted with the new data key.
    SecretStored,
    /// Data keys that nothing needs are removed.
    OldKeysRemoved,
    /// Their former values can no longer be read from the disk.
    Purged,
}

/// The step at which the process ends; 0 for none.
static CRASH_AT: AtomicU8 = AtomicU8::new(0);

impl Step {
    pub const ALL: [Step; 6] = [
        Self::NextKeyFile,
        Self::KeysStored,
        Self::KeyFileInPlace,
        Self::SecretStored,
        Self::OldKeysRemoved,
        Self::Purged,
    ];

    /// The step of that name, as `Debug` writes it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|step| format!("{step:?}") == name)
    }

    /// From now on the process ends when it passes this step, as if it were killed.
    pub fn crash_here(self) {
        CRASH_AT.store(self as u8, Ordering::Relaxed);
    }

    /// Passes the step.
    #[cfg_attr(
        not(test),
        expect(clippy::unnecessary_wraps, reason = "it fails in tests only")
    )]
    pub(super) fn reached(self) -> Result<(), SecretError> {
        if CRASH_AT.load(Ordering::Relaxed) == self as u8 {
            std::process::abort();
        }
        #[cfg(test)]
        tests::passed()?;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// This many steps of this thread are passed before one breaks, if any does.
        static PASSED_BEFORE: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Breaks off this thread's work at one step, after this many have been passed.
    pub fn break_after(steps: u32) {
        PASSED_BEFORE.set(Some(steps));
    }

    /// Breaks nothing off any more; true if something would still have been.
    pub fn break_nothing() -> bool {
        PASSED_BEFORE.take().is_some()
    }

    pub(super) fn passed() -> Result<(), SecretError> {
        match PASSED_BEFORE.get() {
            None => Ok(()),
            Some(0) => {
                PASSED_BEFORE.set(None);
                Err(SecretError::Busy)
            }
            Some(left) => {
                PASSED_BEFORE.set(Some(left - 1));
                Ok(())
            }
        }
    }

    #[test]
    fn every_step_has_its_name() {
        for step in Step::ALL {
            assert_eq!(Step::named(&format!("{step:?}")), Some(step));
        }
        assert_eq!(Step::named("x"), None);
    }
}
