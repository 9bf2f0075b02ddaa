//! The answer to a request that waits for the disk.

use tokio::sync::oneshot;

use super::Refusal;

/// Gives one answer.
#[derive(Debug)]
pub struct Answer<T>(oneshot::Sender<T>);

/// Waits for it.
#[derive(Debug)]
pub struct Awaited<T>(oneshot::Receiver<T>);

/// Both ends.
pub fn answer<T>() -> (Answer<T>, Awaited<T>) {
    let (give, get) = oneshot::channel();
    (Answer(give), Awaited(get))
}

impl<T> Answer<T> {
    pub fn give(self, answer: T) {
        // Whoever no longer waits has closed its connection.
        let _ = self.0.send(answer);
    }
}

impl<T> Awaited<T> {
    /// `None` if the coordinator has ended, so no answer will come.
    pub async fn received(self) -> Option<T> {
        self.0.await.ok()
    }
}

impl<T, X: From<Refusal>> Awaited<Result<T, X>> {
    /// # Errors
    /// The answer's own, or `ShuttingDown` if none will come.
    pub async fn result(self) -> Result<T, X> {
        let received = self.received().await;
        received.unwrap_or_else(|| Err(Refusal::ShuttingDown.into()))
    }

    /// As [`Self::result`], for a thread outside tokio.
    ///
    /// # Errors
    /// As `result`.
    pub fn blocking_result(self) -> Result<T, X> {
        let received = self.0.blocking_recv();
        received.unwrap_or_else(|_| Err(Refusal::ShuttingDown.into()))
    }
}
