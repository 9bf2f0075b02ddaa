//! Frees the space of folders that were moved away, one after the other, on one thread: large ones
//! take a while, and thousands of them must not become thousands of threads.

use std::sync::mpsc::{Receiver, Sender, channel};

use carrick_storage::disk::RetiredFolder;

/// Hands folders over. What is not removed when the broker stops is removed at its next start.
pub(super) struct Remover {
    folders: Sender<RetiredFolder>,
}

impl Remover {
    /// Starts the thread, which ends when the remover is dropped and all is removed.
    pub(super) fn start() -> Self {
        let (folders, received) = channel();
        let thread = std::thread::Builder::new().name("folder-remover".to_owned());
        if let Err(error) = thread.spawn(move || remove_all(&received)) {
            tracing::warn!(%error, "files of deleted partitions remain until the next start");
        }
        Self { folders }
    }

    /// Has folders removed soon.
    pub(super) fn remove(&self, folders: Vec<RetiredFolder>) {
        for folder in folders {
            // Without the thread they wait for the next start.
            let _ = self.folders.send(folder);
        }
    }
}

fn remove_all(folders: &Receiver<RetiredFolder>) {
    for folder in folders {
        let path = folder.path().to_owned();
        if let Err(error) = folder.remove() {
            tracing::warn!(path = %path.display(), %error, "a deleted partition's files remain");
        }
    }
}
