//! The last changes of metadata, for domains that keep a copy.

use std::collections::VecDeque;

use tokio::sync::watch;

use super::Version;

/// Bytes of keys and values that are kept. Who is further behind reads everything again.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A record that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: Vec<u8>,
    /// `None` if it was removed.
    pub value: Option<Vec<u8>>,
    /// The transaction that changed it.
    pub version: Version,
}

impl Change {
    fn size_bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// What has changed after some version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// Everything up to this version is among them.
    pub upto: Version,
}

/// Invariant: `forgotten` ≤ versions of what is kept, which do not fall ≤ `newest`.
pub(super) struct Feed {
    kept: VecDeque<Change>,
    kept_bytes: usize,
    /// Changes up to this version are not kept.
    forgotten: Version,
    newest: watch::Sender<Version>,
}

impl Feed {
    /// A feed of the changes after `start`.
    pub fn starting_after(start: Version) -> Self {
        Self {
            kept: VecDeque::new(),
            kept_bytes: 0,
            forgotten: start,
            newest: watch::Sender::new(start),
        }
    }

    /// Adds all changes of one transaction, and wakes those who wait.
    pub fn push(&mut self, version: Version, changes: Vec<Change>) {
        assert!(version > *self.newest.borrow(), "versions grow");
        for change in changes {
            self.kept_bytes += change.size_bytes();
            self.kept.push_back(change);
        }
        while self.kept_bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_bytes -= oldest.size_bytes();
            self.forgotten = oldest.version;
        }
        self.newest.send_replace(version);
    }

    /// What has changed after `after` under `prefix`; `None` if some of it is not kept any more.
    pub fn after(&self, after: Version, prefix: &[u8]) -> Option<Changes> {
        if after < self.forgotten {
            return None;
        }
        let first = self.kept.partition_point(|change| change.version <= after);
        let changes = self.kept.range(first..);
        Some(Changes {
            changes: changes
                .filter(|change| change.key.starts_with(prefix))
                .cloned()
                .collect(),
            upto: after.max(*self.newest.borrow()),
        })
    }

    pub fn watch(&self) -> watch::Receiver<Version> {
        self.newest.subscribe()
    }
}
