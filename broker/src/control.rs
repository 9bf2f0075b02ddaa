//! Separate threads for what operators do: REST, and links with their mirrors.
//!
//! Clients can keep all of the broker's threads busy. A failover, a readiness check or the creation
//! of a link must not wait for them, nor must mirrors, which a failover has to stop.

use std::future::pending;
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// The threads. They end with this, whatever still runs there.
pub struct Control(Option<Runtime>);

impl Control {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system has none left.
    pub fn start() -> io::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        let runtime = threads.thread_name("control").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `work` there; what it spawns and opens stays there.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let Some(runtime) = &self.0 else {
            return pending().await;
        };
        match runtime.spawn(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The threads have ended, and the broker with them.
                Err(_) => pending().await,
            },
        }
    }

    /// While the guard lives, spawned tasks run on these threads.
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Not by its own drop, which waits: this may be a thread that must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::{Arc, Barrier};
    use std::thread::current;
    use std::time::Duration;

    use crate::testing::TestBroker;

    #[tokio::test]
    async fn work_and_what_it_spawns_runs_on_threads_of_its_own() {
        let control = Control::start().unwrap();
        let name = || current().name().map(ToOwned::to_owned);
        let spawned = async move { tokio::spawn(async move { name() }).await.unwrap() };
        assert_eq!(control.run(spawned).await.as_deref(), Some("control"));
        let task = {
            let _there = control.enter();
            tokio::spawn(async move { name() })
        };
        assert_eq!(task.await.unwrap().as_deref(), Some("control"));
    }

    #[test]
    fn operators_are_answered_while_clients_keep_every_thread_busy() {
        const THREADS: usize = 2;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .unwrap();
        let it = runtime.block_on(TestBroker::start(&[]));
        let (busy, over) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
        let barriers = Arc::new((busy, over));
        for _ in 0..THREADS {
            let barriers = Arc::clone(&barriers);
            runtime.spawn(async move {
                barriers.0.wait();
                barriers.1.wait();
            });
        }
        barriers.0.wait();
        let mut stream = TcpStream::connect(it.running.rest_addresses()[0]).unwrap();
        let limit = Duration::from_secs(60);
        stream.set_read_timeout(Some(limit)).unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        barriers.1.wait();
        runtime.block_on(it.running.shutdown());
    }
}
