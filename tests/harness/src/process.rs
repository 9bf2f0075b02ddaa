//! A child process with its output in a file, ended with the value that holds it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its standard output and error appended to `log`.
    ///
    /// # Errors
    /// When the program cannot be started or the log file not be opened.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {name}: {:?}", command.get_program()))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // The only failure is that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Errors
    /// When it still runs after `limit`; it is killed then.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        bail!(
            "{} did not stop within {limit:?} of SIGTERM\n{}",
            self.name,
            self.log_tail()
        )
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait_ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{} still runs\n{}", self.name, self.log_tail())
    }

    /// Waits until it listens on `port`.
    ///
    /// # Errors
    /// When it ends before, or does not listen within `limit`; with the end of its log.
    pub fn wait_for_port(&mut self, port: u16, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} before it listened\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "{} does not listen on {port} after {limit:?}\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The last lines of its output, for a failure's message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Everything that it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where systems don't take the ports of outgoing connections from: one of those, free now, may be taken by any client
/// before the server that it was meant for listens.
const SERVER_PORTS: Range<u16> = 10_000..32_000;

/// Ports that were free a moment ago. This process gives none twice until it has given all.
///
/// # Errors
/// When the loopback interface has none left.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    static NEXT: LazyLock<AtomicUsize> =
        LazyLock::new(|| AtomicUsize::new(rand::random_range(0..SERVER_PORTS.len())));
    let mut ports = [0; N];
    let mut tries = 0;
    for port in &mut ports {
        *port = loop {
            let index = NEXT.fetch_add(1, Ordering::Relaxed) % SERVER_PORTS.len();
            let candidate = SERVER_PORTS.start + u16::try_from(index)?;
            match TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)) {
                Ok(_) => break candidate,
                Err(error) if tries > SERVER_PORTS.len() => return Err(error.into()),
                Err(_) => tries += 1,
            }
        };
    }
    Ok(ports)
}

/// The folder for downloads and compiled peers, shared between runs.
#[must_use]
pub fn cache_dir() -> PathBuf {
    std::env::var_os("CARRICK_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/carrick"),
        PathBuf::from,
    )
}

/// The root of this repository: the clone that cargo runs in now. Clones may share a target folder, so the one that
/// this was compiled in may be another, or gone.
#[must_use]
pub fn repository() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    package
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
        .join("..")
}
