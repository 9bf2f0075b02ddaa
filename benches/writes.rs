//! What does it cost to get bytes into logs? No network, no protocol: `Log::append` and flushes, into fresh files.
//!
//! Prints every round of every case and the median. CPU is user and system time of this process; the time of an
//! append is measured around each call. `WRITES_MB` (512) bytes are written in a round, `WRITES_ROUNDS` (5) rounds,
//! below `WRITES_DIR` (the folder for temporary files). Cases whose name does not contain `WRITES_ONLY` are left out.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::cpu;
use carrick_protocol::batch::{BatchBuilder, CheckedBatches};
use carrick_protocol::ids::{LeaderEpoch, Offset};
use carrick_storage::log::{Log, LogConfig, Placement};

const NOW_MS: i64 = 1_700_000_000_000;
const MIB: usize = 1024 * 1024;
/// Batches that are made before they are written: what that costs is not measured.
const MADE_AT_ONCE_BYTES: usize = 32 * MIB;
/// Appends to one log that share a flush, where there are flushes.
const APPENDS_PER_FLUSH: usize = 64;

/// What is written, and how.
struct Case {
    name: &'static str,
    /// A mirror's runs are stored as they are, a client's batches get their offsets.
    is_mirrored: bool,
    batch_bytes: usize,
    logs: usize,
    is_flushed: bool,
}

/// What one round took.
struct Round {
    cpu_seconds_per_gib: f64,
    mib_per_second: f64,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for is_flushed in [false, true] {
        for (name, is_mirrored, batch_bytes, logs) in [
            ("mirrored, 1 MiB, 4 logs", true, MIB, 4),
            ("produced, 64 KiB, 1 log", false, 64 * 1024, 1),
            ("produced, 64 KiB, 64 logs", false, 64 * 1024, 64),
            ("produced, 64 KiB, 1000 logs", false, 64 * 1024, 1000),
            ("produced, 1 KiB, 1 log", false, 1024, 1),
            ("produced, 1 KiB, 64 logs", false, 1024, 64),
            ("produced, 1 KiB, 1000 logs", false, 1024, 1000),
        ] {
            cases.push(Case {
                name,
                is_mirrored,
                batch_bytes,
                logs,
                is_flushed,
            });
        }
    }
    cases
}

fn main() -> Result<()> {
    let number = |name: &str, default: usize| {
        let given = std::env::var(name).map_or(Ok(default), |value| value.parse());
        given.with_context(|| format!("{name} is no number"))
    };
    let (megabytes, rounds) = (number("WRITES_MB", 512)?, number("WRITES_ROUNDS", 5)?);
    let only = std::env::var("WRITES_ONLY").unwrap_or_default();
    println!(
        "{:<30}{:>6}{:>7}{:>12}{:>9}{:>10}{:>10}{:>10}",
        "", "fsync", "round", "CPU s/GiB", "MiB/s", "p50 us", "p99 us", "max us"
    );
    for case in cases().iter().filter(|case| case.name.contains(&only)) {
        let mut done = Vec::new();
        for number in 1..=rounds {
            let round = case.round(megabytes * MIB)?;
            case.print(&number.to_string(), &round);
            done.push(round);
        }
        case.print("median", &median(&done));
    }
    Ok(())
}

impl Case {
    /// Writes `bytes` to fresh logs, each its share in turn.
    fn round(&self, bytes: usize) -> Result<Round> {
        let parent = std::env::var_os("WRITES_DIR").map_or_else(std::env::temp_dir, Into::into);
        let dir = tempfile::tempdir_in(parent)?;
        let mut logs = Vec::new();
        for number in 0..self.logs {
            let folder = dir.path().join(format!("load-{number}"));
            logs.push(Log::open(&folder, LogConfig::default(), NOW_MS)?.0);
        }
        let batch_bytes = batch(self.batch_bytes, Offset(0)).bytes().len();
        let (appends, at_once) = (bytes / batch_bytes, MADE_AT_ONCE_BYTES / batch_bytes + 1);
        let mut times = Vec::with_capacity(appends);
        let (mut seconds, mut cpu_seconds) = (0.0, 0.0);
        for first in (0..appends).step_by(at_once) {
            let numbers = first..appends.min(first + at_once);
            let made = self.made(numbers.clone());
            let (begin, cpu_before) = (Instant::now(), cpu::seconds(std::process::id())?);
            for (number, batch) in numbers.zip(made.iter().cycle()) {
                let log = &mut logs[number % self.logs];
                let start = Instant::now();
                log.append(batch, self.placement(), NOW_MS)?;
                times.push(start.elapsed());
                if self.is_flushed && (number / self.logs + 1).is_multiple_of(APPENDS_PER_FLUSH) {
                    log.flush_handle().flush()?;
                }
            }
            cpu_seconds += cpu::seconds(std::process::id())? - cpu_before;
            seconds += begin.elapsed().as_secs_f64();
        }
        let written: u64 = logs.iter().map(Log::size_bytes).sum();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let mib = written as f64 / MIB as f64;
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        Ok(Round {
            cpu_seconds_per_gib: cpu_seconds / (mib / 1024.0),
            mib_per_second: mib / seconds,
            p50: at(50),
            p99: at(99),
            max: at(100),
        })
    }

    fn placement(&self) -> Placement {
        match self.is_mirrored {
            true => Placement::Exact,
            false => Placement::Next {
                leader_epoch: LeaderEpoch(1),
                log_append_time_ms: None,
            },
        }
    }

    /// The batches of these appends, checked as whoever takes them from a peer does. A client's are
    /// all the same.
    fn made(&self, numbers: Range<usize>) -> Vec<CheckedBatches> {
        let records = batch(self.batch_bytes, Offset(0)).last().next_offset().0;
        let one = |number: usize| {
            let earlier = i64::try_from(number / self.logs).unwrap_or(i64::MAX);
            batch(self.batch_bytes, Offset(earlier * records))
        };
        match self.is_mirrored {
            true => numbers.map(one).collect(),
            false => vec![batch(self.batch_bytes, Offset(0))],
        }
    }

    fn print(&self, number: &str, round: &Round) {
        println!(
            "{:<30}{:>6}{number:>7}{:>12.2}{:>9.0}{:>10.1}{:>10.1}{:>10.0}",
            self.name,
            if self.is_flushed { "on" } else { "off" },
            round.cpu_seconds_per_gib,
            round.mib_per_second,
            micros(round.p50),
            micros(round.p99),
            micros(round.max),
        );
    }
}

/// One batch of about `bytes`, in records of up to 1 KiB.
fn batch(bytes: usize, base: Offset) -> CheckedBatches {
    let value = vec![7; bytes.min(1024) - 100];
    let mut builder = BatchBuilder::new().base_offset(base);
    for _ in 0..bytes.div_ceil(1024) {
        builder = builder.record(NOW_MS, None, Some(&value));
    }
    builder.build_checked()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Each figure's own median.
fn median(rounds: &[Round]) -> Round {
    fn middle<T: Copy + PartialOrd>(rounds: &[Round], figure: impl Fn(&Round) -> T) -> T {
        let mut figures: Vec<T> = rounds.iter().map(figure).collect();
        figures.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        figures[figures.len() / 2]
    }
    Round {
        cpu_seconds_per_gib: middle(rounds, |round| round.cpu_seconds_per_gib),
        mib_per_second: middle(rounds, |round| round.mib_per_second),
        p50: middle(rounds, |round| round.p50),
        p99: middle(rounds, |round| round.p99),
        max: middle(rounds, |round| round.max),
    }
}
